use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::PortResult;

/// An unwrapped 256-bit data key. Shows nothing when printed and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// Takes the raw key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// For the cipher only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// A bucket's (or volume family's) key, wrapped by the root. Opaque bytes; safe to store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedBucketKey(pub Vec<u8>);

/// A data key wrapped by a bucket key, with the key commitment (AES-GCM-SIV does not commit).
/// Opaque bytes; safe to store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedDataKey(pub Vec<u8>);

/// What stands behind the root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEvidence {
    /// `"software"` until an enclave holds the root.
    pub kind: String,
    /// True for every implementation that is not attested hardware.
    pub simulated: bool,
    /// SHA-256 over the root's public fingerprint, hex: equal for equal roots.
    pub fingerprint: String,
}

/// The key tree: root -> bucket keys -> data keys. Random keys, wrapped, never derived from names.
#[async_trait]
pub trait Keys: Send + Sync + std::fmt::Debug {
    /// A fresh bucket key under the root.
    async fn new_bucket_key(&self) -> PortResult<WrappedBucketKey>;
    /// A fresh data key under the bucket key.
    async fn new_data_key(&self, bucket: &WrappedBucketKey) -> PortResult<(DataKey, WrappedDataKey)>;
    /// [`crate::PortErrorKind::Corrupt`] when the wrap, its bucket key or its commitment do not fit.
    async fn unwrap(&self, bucket: &WrappedBucketKey, data: &WrappedDataKey) -> PortResult<DataKey>;
    /// The same data key under another bucket key (cross-bucket copy).
    async fn rewrap(
        &self,
        from: &WrappedBucketKey,
        to: &WrappedBucketKey,
        data: &WrappedDataKey,
    ) -> PortResult<WrappedDataKey>;
    /// Seals a small record (secrets, checkpoints, log segments) under a key derived from the root
    /// for `purpose`. The sealed form carries its own random nonce.
    async fn seal_record(&self, purpose: &str, plain: &[u8]) -> PortResult<Vec<u8>>;
    /// Opens what [`Keys::seal_record`] made for the same purpose.
    async fn open_record(&self, purpose: &str, sealed: &[u8]) -> PortResult<Vec<u8>>;
    /// Random bytes from the same well, for ids and secrets.
    fn random(&self, out: &mut [u8]) -> PortResult<()>;
    /// What stands behind the root.
    fn evidence(&self) -> KeyEvidence;
}
