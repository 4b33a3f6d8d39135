//! The overlay: row versions newer than the catalog engine, in memory, ordered by key.
//!
//! Each commit adds a version under its LSN; a reader sees of each key the newest version that is
//! not newer than its snapshot. A checkpoint collects the newest version up to an LSN of each key,
//! gives it to the engine, and only then drops it here, so a reader that looks here first and in the
//! engine second finds every row in one of them. The lock is held for one commit or one page.
//!
//! Some rows change with every commit (counters of a bucket, of a segment). Of such a key, versions that
//! no snapshot and no checkpoint can ask for any more go when the next one comes, or they would fill
//! most of the overlay.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gw_types::Lsn;
use parking_lot::RwLock;

use crate::read::{KeyRange, UpperPage};

/// A row of a commit: `None` deletes.
pub(crate) type Change = (Bytes, Option<Bytes>);

/// What a version costs beside its bytes: two `Bytes`, an LSN, its share of tree nodes. Rounded up.
const VERSION_OVERHEAD_BYTES: u64 = 128;
/// Keys looked at under one hold of the lock.
const EXAMINED_MAX: usize = 4096;

#[derive(Debug)]
struct Version {
    lsn: Lsn,
    value: Option<Bytes>,
}

/// Versions of one key. Most keys have one, so the older ones live in a vector that is not allocated.
#[derive(Debug)]
struct Versions {
    newest: Version,
    /// Ascending.
    older: Vec<Version>,
}

impl Versions {
    fn at(&self, lsn: Lsn) -> Option<&Version> {
        if self.newest.lsn <= lsn {
            return Some(&self.newest);
        }
        self.older.iter().rev().find(|version| version.lsn <= lsn)
    }

    /// Takes out the versions that another one hides from every reader at `floor` or later.
    fn take_hidden(&mut self, floor: Lsn) -> impl Iterator<Item = Version> + '_ {
        let at_floor = self.older.partition_point(|version| version.lsn <= floor);
        let hidden = if self.newest.lsn <= floor { at_floor } else { at_floor.saturating_sub(1) };
        self.older.drain(..hidden)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Overlay {
    keys: RwLock<BTreeMap<Bytes, Versions>>,
    bytes: AtomicU64,
    versions: AtomicU64,
}

fn cost(key: &Bytes, value: &Option<Bytes>) -> u64 {
    (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64 + VERSION_OVERHEAD_BYTES
}

impl Overlay {
    /// Estimated bytes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    pub(crate) fn versions(&self) -> u64 {
        self.versions.load(Ordering::Relaxed)
    }

    /// `None`: nothing known here, look below. `Some(None)`: deleted.
    pub(crate) fn get(&self, key: &[u8], at: Lsn) -> Option<Option<Bytes>> {
        let keys = self.keys.read();
        Some(keys.get(key)?.at(at)?.value.clone())
    }

    /// Adds the rows of one commit; `lsn` is newer than all that are here. Nobody will ask for a state
    /// before `floor`.
    pub(crate) fn insert(&self, lsn: Lsn, changes: &[Change], floor: Lsn) {
        let mut added = 0;
        let (mut freed, mut gone) = (0, 0);
        let mut keys = self.keys.write();
        for (key, value) in changes {
            added += cost(key, value);
            let version = Version { lsn, value: value.clone() };
            match keys.get_mut(key) {
                Some(versions) => {
                    debug_assert!(versions.newest.lsn < lsn);
                    let old = std::mem::replace(&mut versions.newest, version);
                    versions.older.push(old);
                    for hidden in versions.take_hidden(floor) {
                        freed += cost(key, &hidden.value);
                        gone += 1;
                    }
                }
                None => {
                    keys.insert(key.clone(), Versions { newest: version, older: Vec::new() });
                }
            }
        }
        drop(keys);
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.versions.fetch_add(changes.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.versions.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Up to `limit` keys that have a version at `at`, in the direction of the scan.
    pub(crate) fn page(&self, range: &KeyRange, reverse: bool, at: Lsn, limit: usize) -> UpperPage {
        let bounds = (
            Bound::Included(range.from.as_slice()),
            range.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        );
        let keys = self.keys.read();
        let walk = keys.range::<[u8], _>(bounds);
        if reverse { visible(walk.rev(), at, limit) } else { visible(walk, at, limit) }
    }

    /// The newest version up to `upto` of some keys behind `after`, ascending, and where to go on.
    pub(crate) fn collect(
        &self,
        after: Option<&Bytes>,
        upto: Lsn,
        limit: usize,
    ) -> (Vec<Change>, Option<Bytes>) {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let keys = self.keys.read();
        let page = visible(keys.range::<[u8], _>((start, Bound::Unbounded)), upto, limit);
        (page.rows, page.covered)
    }

    /// Forgets the versions up to `upto` of these keys: the engine has them now.
    pub(crate) fn drop_upto<'a>(&self, dropped: impl Iterator<Item = &'a [u8]>, upto: Lsn) {
        let (mut bytes, mut count) = (0, 0);
        let mut keys = self.keys.write();
        for key in dropped {
            let Some((key, versions)) = keys.get_key_value(key) else { continue };
            let key = key.clone();
            for version in
                versions.older.iter().chain([&versions.newest]).filter(|version| version.lsn <= upto)
            {
                bytes += cost(&key, &version.value);
                count += 1;
            }
            if versions.newest.lsn <= upto {
                keys.remove(&key);
            } else if let Some(versions) = keys.get_mut(&key) {
                versions.older.retain(|version| version.lsn > upto);
            }
        }
        drop(keys);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.versions.fetch_sub(count, Ordering::Relaxed);
    }
}

fn visible<'a>(walk: impl Iterator<Item = (&'a Bytes, &'a Versions)>, at: Lsn, limit: usize) -> UpperPage {
    let mut rows = Vec::new();
    for (examined, (key, versions)) in walk.enumerate() {
        if let Some(version) = versions.at(at) {
            rows.push((key.clone(), version.value.clone()));
        }
        if rows.len() >= limit || examined + 1 >= EXAMINED_MAX {
            return UpperPage { rows, covered: Some(key.clone()) };
        }
    }
    UpperPage { rows, covered: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> Change {
        (Bytes::copy_from_slice(key.as_bytes()), value.map(|value| Bytes::copy_from_slice(value.as_bytes())))
    }

    #[test]
    fn a_reader_sees_the_newest_version_not_newer_than_its_snapshot() {
        let overlay = Overlay::default();
        overlay.insert(Lsn(1), &[change("a", Some("1")), change("b", Some("1"))], Lsn(0));
        overlay.insert(Lsn(2), &[change("a", None)], Lsn(0));
        overlay.insert(Lsn(3), &[change("a", Some("3"))], Lsn(0));
        assert_eq!(overlay.get(b"a", Lsn(0)), None);
        assert_eq!(overlay.get(b"a", Lsn(1)), Some(Some("1".into())));
        assert_eq!(overlay.get(b"a", Lsn(2)), Some(None));
        assert_eq!(overlay.get(b"a", Lsn(9)), Some(Some("3".into())));
        overlay.drop_upto([&b"a"[..], &b"b"[..]].into_iter(), Lsn(2));
        assert_eq!(overlay.get(b"a", Lsn(2)), None);
        assert_eq!(overlay.get(b"a", Lsn(3)), Some(Some("3".into())));
        assert_eq!(overlay.versions(), 1);
        overlay.drop_upto([&b"a"[..]].into_iter(), Lsn(3));
        assert_eq!((overlay.bytes(), overlay.versions()), (0, 0));
    }

    #[test]
    fn versions_that_nobody_can_ask_for_go_when_the_next_one_comes() {
        let overlay = Overlay::default();
        for lsn in 1..=9 {
            overlay.insert(Lsn(lsn), &[change("a", Some("1"))], Lsn(0));
        }
        assert_eq!(overlay.versions(), 9);
        overlay.insert(Lsn(10), &[change("a", None)], Lsn(7));
        assert_eq!(overlay.versions(), 4, "7, 8, 9 and 10");
        assert_eq!(overlay.get(b"a", Lsn(6)), None);
        for lsn in 7..=9 {
            assert_eq!(overlay.get(b"a", Lsn(lsn)), Some(Some("1".into())));
        }
        assert_eq!(overlay.get(b"a", Lsn(10)), Some(None));
        overlay.insert(Lsn(11), &[change("a", Some("2"))], Lsn(11));
        assert_eq!(overlay.versions(), 1);
        overlay.drop_upto([&b"a"[..]].into_iter(), Lsn(11));
        assert_eq!((overlay.bytes(), overlay.versions()), (0, 0));
    }

    #[test]
    fn collecting_gives_one_version_a_key_and_a_place_to_go_on() {
        let overlay = Overlay::default();
        overlay.insert(Lsn(1), &[change("a", Some("1")), change("c", Some("1"))], Lsn(0));
        overlay.insert(Lsn(2), &[change("a", Some("2")), change("b", None)], Lsn(0));
        overlay.insert(Lsn(3), &[change("d", Some("3"))], Lsn(0));
        let (first, next) = overlay.collect(None, Lsn(2), 2);
        assert_eq!(first, [change("a", Some("2")), change("b", None)]);
        let (rest, end) = overlay.collect(next.as_ref(), Lsn(2), 10);
        assert_eq!(rest, [change("c", Some("1"))]);
        assert_eq!(end, None);
    }
}
