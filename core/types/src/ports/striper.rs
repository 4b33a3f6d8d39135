use async_trait::async_trait;
use bytes::Bytes;

use crate::{FRAGMENTS, FragmentIndex, Hash32, PortResult};

/// All hashes of one segment's stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeHashes {
    /// SHA-256 of the 32 MiB segment.
    pub segment: Hash32,
    /// SHA-256 of each 8 MiB fragment, in order of index.
    pub fragments: [Hash32; FRAGMENTS],
}

/// Erasure-codes whole segments, 4 + 8, bit-compatible with klauspost/reedsolomon's default matrix.
/// Bytes are passed by reference count; nothing is kept after a call returns.
#[async_trait]
pub trait Striper: Send + Sync + std::fmt::Debug {
    /// Hashes of the segment and its 12 fragments. `segment` has exactly [`crate::SEGMENT_BYTES`].
    async fn hash(&self, segment: Bytes) -> PortResult<StripeHashes>;
    /// One fragment: a slice of the segment (index < 4), or one parity row, encoded now.
    async fn fragment(&self, segment: Bytes, index: FragmentIndex) -> PortResult<Bytes>;
    /// Rebuilds `wanted` from the same byte range of any 4 others. All inputs have the same length
    /// (any length: the code works column by column) and distinct indices.
    async fn rebuild(&self, columns: Vec<(FragmentIndex, Bytes)>, wanted: FragmentIndex)
    -> PortResult<Bytes>;
}
