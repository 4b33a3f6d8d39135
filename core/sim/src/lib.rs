//! Models of the outside world for tests: time, disks and a catalog in memory, the chain and its
//! miners, each of which misbehaves as the real one may.
//!
//! Nothing here asks the operating system for time or randomness: same seed, same run. The crate knows
//! `gw-types` and `gw-codec` alone, so every layer can test with it.

pub mod catalog;
mod chain;
mod clock;
mod disk;
mod fault;
mod fault_keys;
mod miners;
mod no_miners;
mod rng;

pub use catalog::ForgettingCatalog;
pub use chain::{CallKind, ChainFault, ModelChain};
pub use clock::SimClock;
pub use disk::{Fault, FaultDisk, FaultOp, ForgettingDisk, MemDisk};
pub use fault_keys::{FaultKeys, FaultStriper, PortFault, PortOp};
pub use miners::{MinerCounts, MinerFault, ModelMiners};
pub use no_miners::NoMiners;
pub use rng::Rng;
