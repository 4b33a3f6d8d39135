//! The key tree over a root key in memory.
//!
//! ```text
//!   root key (RootKey)
//!    |-- HKDF "cess-gw/bucket-wrapping/v1"  -> wraps bucket keys      (random, gw_codec::wrap)
//!    |      bucket key                      -> wraps data keys        (random, gw_codec::wrap)
//!    |          data key                    -> seals frames           (gw_codec::frame)
//!    |-- HKDF "cess-gw/record/v1", salt     -> seals one record       (gw_codec::record)
//!    `-- HKDF "cess-gw/fingerprint/v1"      -> the public fingerprint
//! ```
//!
//! Keys below the root are random and wrapped, never derived from names: a bucket is erased by
//! losing 94 bytes, and a root is changed by wrapping the bucket keys anew. Every verb is computed
//! at once on the calling task; the dearest, an unwrap of two levels, takes a few microseconds, and
//! records are sealed at gigabytes a second. Unwrapped keys are kept for a bounded time.

use std::sync::Arc;

use async_trait::async_trait;
use gw_codec::record::{self, RECORD_SALT_BYTES};
use gw_codec::wrap::{self, KeyKind, WRAP_NONCE_BYTES};
use gw_types::ports::{Clock, DataKey, KeyEvidence, Keys, WrappedBucketKey, WrappedDataKey};
use gw_types::{PortError, PortErrorKind, PortResult};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::cache::{CacheLimits, CacheName, KeyCache};
use crate::entropy::{Entropy, OsEntropy, draw};
use crate::root::RootKey;

const BUCKET_WRAPPING_LABEL: &str = "cess-gw/bucket-wrapping/v1";
const BUCKET_CONTEXT: &[u8] = b"cess-gw/bucket-key/v1";
const DATA_CONTEXT: &[u8] = b"cess-gw/data-key/v1";

/// [`Keys`] over a root key in this process's memory. Marked `simulated`: no enclave holds it.
pub struct RootKeys {
    root: RootKey,
    bucket_wrapping: Box<Zeroizing<[u8; 32]>>,
    cache: Mutex<KeyCache>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootKeys").field("fingerprint", &self.root.fingerprint()).finish_non_exhaustive()
    }
}

impl RootKeys {
    /// The tree under `root`. `clock` only ages the cache of unwrapped keys.
    pub fn new(root: RootKey, clock: Arc<dyn Clock>) -> Self {
        let bucket_wrapping = Box::new(root.derive(BUCKET_WRAPPING_LABEL));
        let cache = Mutex::new(KeyCache::new(CacheLimits::default()));
        Self { root, bucket_wrapping, cache, clock, entropy: Arc::new(OsEntropy) }
    }

    /// The same with other limits on unwrapped keys in memory.
    #[must_use]
    pub fn with_cache(mut self, limits: CacheLimits) -> Self {
        self.cache = Mutex::new(KeyCache::new(limits));
        self
    }

    /// The same with another well of random bytes: for simulations only.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Unwrapped keys in memory now.
    pub fn cached_keys(&self) -> usize {
        self.cache.lock().len()
    }

    fn bucket_key(&self, bucket: &WrappedBucketKey) -> PortResult<Arc<DataKey>> {
        self.cached(CacheName::new(&[], &bucket.0), || {
            wrap::unwrap(&self.bucket_wrapping, KeyKind::Bucket, BUCKET_CONTEXT, &bucket.0)
                .map_err(|error| corrupt("the bucket key does not open under this root key", error))
        })
    }

    fn data_key(&self, bucket: &WrappedBucketKey, data: &WrappedDataKey) -> PortResult<Arc<DataKey>> {
        self.cached(CacheName::new(&bucket.0, &data.0), || {
            let wrapping = self.bucket_key(bucket)?;
            wrap::unwrap(wrapping.expose(), KeyKind::Data, DATA_CONTEXT, &data.0)
                .map_err(|error| corrupt("the data key does not open under its bucket key", error))
        })
    }

    /// The lock is not held while `open` works, so two tasks may open the same key; both get it.
    fn cached(
        &self,
        name: CacheName,
        open: impl FnOnce() -> PortResult<Zeroizing<[u8; 32]>>,
    ) -> PortResult<Arc<DataKey>> {
        if let Some(key) = self.cache.lock().get(name, self.clock.elapsed()) {
            return Ok(key);
        }
        let key = Arc::new(DataKey::new(*open()?));
        self.cache.lock().put(name, Arc::clone(&key), self.clock.elapsed());
        Ok(key)
    }

    fn wrap_data_key(&self, bucket: &DataKey, key: &[u8; 32]) -> PortResult<WrappedDataKey> {
        let nonce = draw::<WRAP_NONCE_BYTES>(&*self.entropy)?;
        Ok(WrappedDataKey(wrap::wrap(bucket.expose(), KeyKind::Data, DATA_CONTEXT, nonce, key).to_vec()))
    }
}

#[async_trait]
impl Keys for RootKeys {
    async fn new_bucket_key(&self) -> PortResult<WrappedBucketKey> {
        let key = Zeroizing::new(draw::<32>(&*self.entropy)?);
        let nonce = draw::<WRAP_NONCE_BYTES>(&*self.entropy)?;
        let wrapped = wrap::wrap(&self.bucket_wrapping, KeyKind::Bucket, BUCKET_CONTEXT, nonce, &key);
        Ok(WrappedBucketKey(wrapped.to_vec()))
    }

    async fn new_data_key(&self, bucket: &WrappedBucketKey) -> PortResult<(DataKey, WrappedDataKey)> {
        let wrapping = self.bucket_key(bucket)?;
        let key = Zeroizing::new(draw::<32>(&*self.entropy)?);
        let wrapped = self.wrap_data_key(&wrapping, &key)?;
        let name = CacheName::new(&bucket.0, &wrapped.0);
        let key = Arc::new(DataKey::new(*key));
        self.cache.lock().put(name, Arc::clone(&key), self.clock.elapsed());
        Ok(((*key).clone(), wrapped))
    }

    async fn unwrap(&self, bucket: &WrappedBucketKey, data: &WrappedDataKey) -> PortResult<DataKey> {
        self.data_key(bucket, data).map(|key| (*key).clone())
    }

    async fn rewrap(
        &self,
        from: &WrappedBucketKey,
        to: &WrappedBucketKey,
        data: &WrappedDataKey,
    ) -> PortResult<WrappedDataKey> {
        let key = self.data_key(from, data)?;
        let wrapping = self.bucket_key(to)?;
        self.wrap_data_key(&wrapping, key.expose())
    }

    async fn seal_record(&self, purpose: &str, plain: &[u8]) -> PortResult<Vec<u8>> {
        let salt = draw::<RECORD_SALT_BYTES>(&*self.entropy)?;
        Ok(record::seal(self.root.expose(), purpose, salt, plain))
    }

    async fn open_record(&self, purpose: &str, sealed: &[u8]) -> PortResult<Vec<u8>> {
        record::open(self.root.expose(), purpose, sealed)
            .map_err(|error| corrupt("the sealed record does not open under this root key", error))
    }

    fn random(&self, out: &mut [u8]) -> PortResult<()> {
        self.entropy.fill(out)
    }

    fn evidence(&self) -> KeyEvidence {
        KeyEvidence { kind: "software".to_owned(), simulated: true, fingerprint: self.root.fingerprint() }
    }
}

fn corrupt(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> PortError {
    PortError::definite(PortErrorKind::Corrupt, what).with_source(error)
}
