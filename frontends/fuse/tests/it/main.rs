//! The promises of a mount, on real mounts of namespaces in memory.

mod hanging;
mod harness;
mod left;
mod life;
mod lists;
mod posix;
mod remembered;
