//! The words every part of cess-gateway shares: identifiers, sizes, errors and ports.
//!
//! This crate does no I/O: no runtime, no file system, no clock. It names things once (see the
//! glossary in ARCHITECTURE.md) and states, in the documentation of each port, the contract that
//! every implementation keeps. Bare integers do not cross a function boundary elsewhere; they are
//! wrapped here.

mod bucket;
mod date;
mod error;
mod id;
mod principal;
mod size;

pub mod ports;

pub use bucket::{BucketName, BucketNameError, ObjectKey, ObjectKeyError};
pub use date::Day;
pub use error::{Outcome, PortError, PortErrorKind, PortResult};
pub use id::{
    AccountId, ExtentId, Fid, FragmentIndex, Hash32, InodeId, KeyId, Lsn, MapId, SegmentSeq, StreamId,
    TerritoryName, UploadSeq, VersionSeq,
};
pub use principal::{Action, Actor, Authenticated, Circumstances, Frontend, Session};
pub use size::{
    DATA_FRAGMENTS, FRAGMENT_BYTES, FRAGMENTS, FRAME_BYTES, FRAME_TAG_BYTES, LEASE_BYTES, PARITY_FRAGMENTS,
    SEALED_FRAME_BYTES, SEGMENT_BYTES, TERRITORY_BYTES_PER_SEGMENT,
};

/// How safe a prefix of the log is (architecture section 3). Ordered: later means safer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In the synced journal of this machine: survives power loss, not the loss of this disk.
    Staged,
    /// The record and all bytes it names are held by their miners.
    Dispersed,
    /// In Active deals of finalized blocks.
    Finalized,
}

/// Nanoseconds since the Unix epoch. Negative values are times before 1970 (POSIX allows them).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds, rounded towards the past.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }
    /// The nanoseconds behind [`Timestamp::unix_seconds`], 0..1_000_000_000.
    pub const fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(1_000_000_000) as u32
    }
}
