use async_trait::async_trait;

use crate::{Lsn, PortResult};

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// One row of a batch: `None` deletes.
pub type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// An ordered map on disk, the index of the journal.
///
/// Keys are ordered bytewise. The journal is the truth: an engine that cannot open its files may be
/// deleted and rebuilt. Values are returned as written or the call fails
/// ([`crate::PortErrorKind::Corrupt`]): each implementation keeps a CRC beside each value.
#[async_trait]
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> PortResult<Option<Vec<u8>>>;
    /// Up to `limit` rows with `from <= key < to` (`to` empty: no upper end), ascending, or from the
    /// upper end downwards when `reverse`.
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> PortResult<Vec<Row>>;
    /// Applies the batch and the new applied LSN in one atomic step and returns when it is on stable
    /// storage. Batches are absolute, so applying one twice is harmless. On error nothing or all of
    /// it may be there after the next open; until then reads may show either.
    async fn commit(&self, batch: Vec<RowChange>, applied: Lsn) -> PortResult<()>;
    /// LSN of the last committed batch; `Lsn(0)` when fresh.
    fn applied(&self) -> Lsn;
    /// Bytes on disk, for `status`.
    fn disk_bytes(&self) -> PortResult<u64>;
}
