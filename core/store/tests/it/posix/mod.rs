//! Mounts of the store: POSIX's promises, S3's view of them, and a model.

mod bodies;
mod crash;
mod model;
mod names;
mod paths;
mod random;
mod views;
