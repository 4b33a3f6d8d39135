//! Reading: plans over extent maps, local files, caches, and fragments of any four of twelve miners.
