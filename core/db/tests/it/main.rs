//! The promises of the database, on model ports, and of its adapters, on the real file system.

// Helpers outside `#[test]` functions are tests all the same.
#![allow(clippy::unwrap_used)]

mod basics;
mod crash;
mod damage;
mod engines;
mod faults;
mod hot_rows;
mod model;
mod runs;
mod support;
