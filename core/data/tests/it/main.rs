//! The promises of the data layer, on model ports and a real database.

// Helpers outside `#[test]` functions are tests all the same.
#![allow(clippy::unwrap_used)]

mod crash;
mod disk_cache;
mod keys_away;
mod moves;
mod remote;
mod seal;
mod staging;
mod world;
mod write;
