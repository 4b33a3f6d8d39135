//! The seam to dispersal: how a write waits for more than the local journal.
//!
//! The store itself knows only `staged`. Whoever disperses implements this port and is handed to
//! [`crate::Store::open`]; without it, a wait for more fails at once with
//! [`crate::StoreErrorKind::NoTerritory`] and never pretends.

use async_trait::async_trait;
use gw_types::{Level, Lsn, PortResult, StreamId};

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
}
