//! Ports: what the core asks of the world. A trait stands here only where at least two real
//! implementations exist; its documentation is the contract that one public conformance suite
//! checks on all of them.

mod catalog;
mod chain;
mod clock;
mod disk;
mod keys;
mod miners;
mod striper;

pub use catalog::{Catalog, Row, RowChange};
pub use chain::{
    Chain, ChainEvent, ChainHead, DealSpec, DealState, DeclaredSegment, FileSegment, FileState, HeldFile,
    MinerChain, MinerInfo, NetworkSpace, PlacedFragment, Receipt, Territory, TerritoryState,
};
pub use clock::Clock;
pub use disk::{Disk, DiskEntry, DiskFile};
pub use keys::{DataKey, KeyEvidence, Keys, WrappedBucketKey, WrappedDataKey};
pub use miners::{MinerAddr, MinerLatency, MinerStatus, Miners};
pub use striper::{StripeHashes, Striper};
