//! The seam to dispersal: how a write waits for more than the local journal.
//!
//! The store itself knows only `staged`. Whoever disperses implements this port and is handed to
//! [`crate::Store::open`]; without it, a wait for more fails at once with
//! [`crate::StoreErrorKind::NoTerritory`] and never pretends.

use async_trait::async_trait;
use gw_types::{Level, Lsn, PortResult, StreamId, Timestamp};

/// Waits for, and tells, the watermarks behind `staged`.
///
/// The store bounds each wait. Implementations answer [`gw_types::PortErrorKind::Unavailable`] when
/// they stop, [`gw_types::PortErrorKind::Full`] or [`gw_types::PortErrorKind::NotFound`] when no
/// territory can take the bytes.
#[async_trait]
pub trait Durability: Send + Sync + std::fmt::Debug {
    /// Returns when the stream's watermark of `level` has passed `lsn`. A wait makes open segments
    /// be sealed after a short linger.
    async fn wait(&self, level: Level, stream: StreamId, lsn: Lsn) -> PortResult<()>;
    /// Brings every stream to `level` as of now.
    async fn flush(&self, level: Level) -> PortResult<()>;
    /// How far all streams have come.
    fn watermark(&self, level: Level) -> Lsn;
    /// Why nothing moves, when nothing does: a sentence for whoever waited in vain.
    fn standstill(&self) -> Option<String> {
        None
    }
    /// Till when what is stored lasts: what a retention is measured against. Asked inside commits, so it
    /// answers at once, from what it knows.
    fn horizon(&self) -> Horizon {
        Horizon::Open
    }
}

/// How long what is stored here lasts, as far as anybody can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// As long as it is wanted: nothing ends, or what ends is prolonged.
    Open,
    /// Until then, unless somebody does what the advice says.
    Ends {
        /// When.
        at: Timestamp,
        /// What the operator can do about it: half a sentence.
        advice: String,
    },
    /// It is not known yet.
    Unknown {
        /// Why: a sentence.
        why: String,
    },
}
