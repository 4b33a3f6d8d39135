//! Models of the outside world for tests: time, disks and a catalog in memory, each of which misbehaves
//! as the real one may, from a seed.
//!
//! Nothing here asks the operating system for time or randomness: same seed, same run. The crate knows
//! `gw-types` alone, so every layer can test with it.

pub mod catalog;
mod clock;
mod disk;
mod fault;
mod rng;

pub use catalog::ForgettingCatalog;
pub use clock::SimClock;
pub use disk::{Fault, FaultDisk, FaultOp, ForgettingDisk, MemDisk};
pub use rng::Rng;
