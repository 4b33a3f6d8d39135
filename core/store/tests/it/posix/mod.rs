//! Mounts of the store: POSIX's promises, S3's view of them, and a model.

mod bodies;
mod closing;
mod crash;
mod lists;
mod model;
mod names;
pub mod paths;
mod random;
mod rights;
mod views;

pub use paths::{Looked, Paths, WRITE, mount};
