//! Data keys: fresh ones for new bodies, and opened ones kept for a while.
//!
//! A key id is `epoch << 40 | n`, n counting from 0 in each life, so an id never comes back (a map may
//! hold the keys of many bodies). Expanded keys are kept up to a number and an age; an entry is used
//! only for the very wrapped form that it was opened from. `Keys` keeps unwrapped keys, too; this
//! cache saves the expansion and one async call for each small read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gw_codec::frame::FrameCipher;
use gw_types::ports::{Clock, Keys, WrappedBucketKey, WrappedDataKey};
use gw_types::{ExtentId, KeyId, PortError, PortErrorKind};
use quick_cache::sync::Cache;

use crate::DataError;

const KEY_COUNTER_BITS: u32 = 40;

/// A data key that several bodies may share: the parts of one multipart upload should, so that the
/// finished object's map carries one wrapped key and not ten thousand.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BodyKey {
    /// Its id.
    pub id: KeyId,
    /// Wrapped by the key of the bucket that the bodies are in.
    pub wrapped: WrappedDataKey,
}

#[derive(Clone)]
struct Opened {
    wrapped: WrappedDataKey,
    cipher: Arc<FrameCipher>,
    at: Duration,
}

/// Keys, and the counters of ids that must never repeat under them.
pub(crate) struct KeyRing {
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
    opened: Cache<(KeyId, u64), Opened>,
    age_max: Duration,
    epoch: u16,
    next_key: AtomicU64,
    next_extent: AtomicU64,
}

/// Tells wrapped forms of one key apart in the cache; equality is checked on the whole form.
fn hint(wrapped: &WrappedDataKey) -> u64 {
    wrapped.0.last_chunk().map_or(0, |last| u64::from_le_bytes(*last))
}

fn spent(what: &str) -> DataError {
    DataError::Port(PortError::definite(
        PortErrorKind::Refused,
        format!("{what} of this epoch are used up; restart"),
    ))
}

impl KeyRing {
    pub(crate) fn new(
        keys: Arc<dyn Keys>,
        clock: Arc<dyn Clock>,
        epoch: u16,
        entries_max: usize,
        age_max: Duration,
    ) -> Self {
        Self {
            keys,
            clock,
            opened: Cache::new(entries_max.max(1)),
            age_max,
            epoch,
            next_key: AtomicU64::new(0),
            next_extent: AtomicU64::new(0),
        }
    }

    /// The epoch in the ids that are made here.
    pub(crate) fn epoch(&self) -> u16 {
        self.epoch
    }

    /// An extent id that was never used.
    pub(crate) fn new_extent(&self) -> Result<ExtentId, DataError> {
        let counter = self.next_extent.fetch_add(1, Ordering::Relaxed);
        ExtentId::new(self.epoch, counter).ok_or_else(|| spent("extent ids"))
    }

    /// A fresh data key. Its wrap is opened once before anything is sealed under it: what was wrapped
    /// wrong, here or on the way, could never be opened again.
    pub(crate) async fn new_key(&self, bucket: &WrappedBucketKey) -> Result<BodyKey, DataError> {
        let counter = self.next_key.fetch_add(1, Ordering::Relaxed);
        if counter >> KEY_COUNTER_BITS != 0 {
            return Err(spent("key ids"));
        }
        let id = KeyId(u64::from(self.epoch) << KEY_COUNTER_BITS | counter);
        let (key, wrapped) = self.keys.new_data_key(bucket).await?;
        let again = self.keys.unwrap(bucket, &wrapped).await?;
        if again.expose() != key.expose() {
            return Err(DataError::Corrupt("a new data key does not come out of its own wrap".to_owned()));
        }
        self.keep(id, &wrapped, Arc::new(FrameCipher::new(&key, id)));
        Ok(BodyKey { id, wrapped })
    }

    /// The cipher of a key.
    pub(crate) async fn open(
        &self,
        bucket: &WrappedBucketKey,
        id: KeyId,
        wrapped: &WrappedDataKey,
    ) -> Result<Arc<FrameCipher>, DataError> {
        if let Some(cipher) = self.opened(id, wrapped) {
            return Ok(cipher);
        }
        let key = self.keys.unwrap(bucket, wrapped).await?;
        let cipher = Arc::new(FrameCipher::new(&key, id));
        self.keep(id, wrapped, cipher.clone());
        Ok(cipher)
    }

    /// Asks again next time: what the cipher should have opened did not open.
    pub(crate) fn forget(&self, id: KeyId, wrapped: &WrappedDataKey) {
        self.opened.remove(&(id, hint(wrapped)));
    }

    fn opened(&self, id: KeyId, wrapped: &WrappedDataKey) -> Option<Arc<FrameCipher>> {
        let opened = self.opened.get(&(id, hint(wrapped)))?;
        let fresh = self.clock.elapsed().saturating_sub(opened.at) <= self.age_max;
        if !fresh {
            self.opened.remove(&(id, hint(wrapped)));
        }
        (fresh && opened.wrapped == *wrapped).then_some(opened.cipher)
    }

    fn keep(&self, id: KeyId, wrapped: &WrappedDataKey, cipher: Arc<FrameCipher>) {
        let opened = Opened { wrapped: wrapped.clone(), cipher, at: self.clock.elapsed() };
        self.opened.insert((id, hint(wrapped)), opened);
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing(epoch {}, {} opened)", self.epoch, self.opened.len())
    }
}
