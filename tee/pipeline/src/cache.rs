//! Unwrapped keys, kept for a while.
//!
//! Unwrapping costs a few microseconds, which is too much for each small read and nothing for the
//! first. So keys are kept under the hash of their wrapped form, at most so many and at most so
//! long, oldest out first. Age counts from insertion and is not renewed by use: a key that is no
//! longer given out is gone from memory after [`CacheLimits::age_max`], as soon as anything else
//! touches the cache. (Destroying a wrap, to erase what it protects, is complete after that time.)
//! Keys are wiped when they go; they sit behind a pointer, so that a growing table leaves no copies.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gw_codec::hash::sha256;
use gw_types::Hash32;
use gw_types::ports::DataKey;

/// How many unwrapped keys may be in memory, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Keys at a time; with 0 nothing is kept.
    pub entries_max: usize,
    /// From the moment of unwrapping.
    pub age_max: Duration,
}

impl Default for CacheLimits {
    /// 16,384 keys (about 3 MiB) for five minutes.
    fn default() -> Self {
        Self { entries_max: 16 << 10, age_max: Duration::from_secs(300) }
    }
}

/// A key's name in the cache: the hash of what it is wrapped in, so of nothing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheName(Hash32);

impl CacheName {
    /// The name of what `wrapped` holds when opened inside `within` (empty for the root).
    pub(crate) fn new(within: &[u8], wrapped: &[u8]) -> Self {
        let len = (within.len() as u64).to_be_bytes();
        Self(sha256(&[len.as_slice(), within, wrapped].concat()))
    }
}

/// First in, first out, by age.
pub(crate) struct KeyCache {
    limits: CacheLimits,
    keys: HashMap<CacheName, Arc<DataKey>>,
    /// In order of insertion, which is the order of age. Each key of the map stands here once.
    by_age: VecDeque<(Duration, CacheName)>,
}

impl KeyCache {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self { limits, keys: HashMap::new(), by_age: VecDeque::new() }
    }

    /// The key, unless it is too old at `now`.
    pub(crate) fn get(&mut self, name: CacheName, now: Duration) -> Option<Arc<DataKey>> {
        self.drop_aged(now);
        self.keys.get(&name).map(Arc::clone)
    }

    /// Keeps a key that was unwrapped at `now`. One that is there already stays as it is.
    pub(crate) fn put(&mut self, name: CacheName, key: Arc<DataKey>, now: Duration) {
        self.drop_aged(now);
        if self.limits.entries_max == 0 || self.keys.contains_key(&name) {
            return;
        }
        if self.keys.len() >= self.limits.entries_max {
            self.drop_oldest();
        }
        self.keys.insert(name, key);
        self.by_age.push_back((now, name));
        assert_eq!(self.keys.len(), self.by_age.len(), "each key stands in the queue once");
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    fn drop_aged(&mut self, now: Duration) {
        while let Some(&(since, _)) = self.by_age.front()
            && now.saturating_sub(since) >= self.limits.age_max
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, name)) = self.by_age.pop_front() {
            self.keys.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use gw_types::ports::DataKey;

    use super::{CacheLimits, CacheName, KeyCache};

    fn name(byte: u8) -> CacheName {
        CacheName::new(b"bucket", &[byte])
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn cache(entries_max: usize) -> KeyCache {
        KeyCache::new(CacheLimits { entries_max, age_max: at(10) })
    }

    fn put(cache: &mut KeyCache, byte: u8, now: u64) {
        cache.put(name(byte), Arc::new(DataKey::new([byte; 32])), at(now));
    }

    #[test]
    fn a_key_is_gone_at_its_age_whether_used_or_not() {
        let mut cache = cache(8);
        put(&mut cache, 1, 0);
        put(&mut cache, 2, 5);
        put(&mut cache, 1, 5);
        assert!(cache.get(name(1), at(9)).is_some());
        assert!(cache.get(name(1), at(10)).is_none());
        assert_eq!(cache.len(), 1);
        assert!(cache.get(name(3), at(15)).is_none());
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut cache = cache(2);
        for byte in 1..=3 {
            put(&mut cache, byte, 0);
        }
        assert!(cache.get(name(1), at(0)).is_none());
        assert_eq!(cache.get(name(3), at(0)).unwrap().expose(), &[3; 32]);
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut cache = cache(0);
        put(&mut cache, 1, 0);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn names_do_not_run_together() {
        assert_ne!(CacheName::new(b"ab", b"c"), CacheName::new(b"a", b"bc"));
    }
}
