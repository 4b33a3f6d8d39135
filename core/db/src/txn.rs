//! The inside of one commit: reads of the newest state and absolute writes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use gw_types::{Lsn, SegmentSeq, StreamId, Timestamp};

use crate::DbError;
use crate::read::{KeyRange, Read, Rows, UpperPage, merge_scan};
use crate::record::{Body, Inline};
use crate::shared::Shared;

/// A commit being decided. It lives under the commit lock: be quick, wait for nothing.
pub struct Txn<'a> {
    shared: &'a Shared,
    lsn: Lsn,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    streams: BTreeSet<StreamId>,
    names: Vec<SegmentSeq>,
    inlines: Vec<Inline>,
}

impl<'a> Txn<'a> {
    pub(crate) fn new(shared: &'a Shared, lsn: Lsn) -> Self {
        Self {
            shared,
            lsn,
            writes: BTreeMap::new(),
            streams: BTreeSet::new(),
            names: Vec::new(),
            inlines: Vec::new(),
        }
    }

    /// The number this commit gets if it changes anything.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
    /// Wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.shared.ports.clock.now()
    }
    /// The value of a key, own writes included.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.shared.get_at(key, self.newest()),
        }
    }
    /// See [`Read::scan`]; own writes included.
    pub fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Result<Rows, DbError> {
        if self.writes.is_empty() {
            return self.shared.scan_at(from, to, reverse, limit, self.newest());
        }
        merge_scan(
            KeyRange::new(from, to),
            reverse,
            limit,
            |range, page| self.page(range, reverse, page),
            |range, page| self.shared.scan_at(&range.from, range.to_or_empty(), reverse, page, self.newest()),
        )
    }
    /// Writes a row. The first byte of the key is its table; an empty key is refused at the end.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key.into(), Some(value.into()));
    }
    /// Deletes a row, if it is there.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key.into(), None);
    }
    /// Sends sealed bytes with the record to their place in a segment, which the commit then names.
    pub fn place_inline(&mut self, segment: SegmentSeq, offset: u64, bytes: Bytes) {
        self.names(segment);
        self.inlines.push(Inline { segment, offset, bytes });
    }
    /// Says that rows of this commit point at bytes of a segment (which are as durable as the
    /// journal: synced, or inline).
    pub fn names(&mut self, segment: SegmentSeq) {
        if !self.names.contains(&segment) {
            self.names.push(segment);
        }
    }
    /// A stream that this commit belongs to; stream 0 when never called. A commit may belong to
    /// several (it copies between them): then none has it, on the network, without the others.
    pub fn stream(&mut self, stream: StreamId) {
        self.streams.insert(stream);
    }

    /// The state this commit stands on.
    fn newest(&self) -> Lsn {
        Lsn(self.lsn.0 - 1)
    }

    fn page(&self, range: &KeyRange, reverse: bool, limit: usize) -> UpperPage {
        let to = range.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let walk = self.writes.range::<[u8], _>((Bound::Included(range.from.as_slice()), to));
        let clone = |(key, value): (&Bytes, &Option<Bytes>)| (key.clone(), value.clone());
        let rows: Vec<_> = if reverse {
            walk.rev().take(limit).map(clone).collect()
        } else {
            walk.take(limit).map(clone).collect()
        };
        let covered = if rows.len() < limit { None } else { rows.last().map(|(key, _)| key.clone()) };
        UpperPage { rows, covered }
    }

    pub(crate) fn into_body(self) -> Body {
        Body {
            streams: self.streams.into_iter().collect(),
            names: self.names,
            changes: self.writes.into_iter().collect(),
            inlines: self.inlines,
        }
    }
}

impl Read for Txn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        Txn::get(self, key)
    }
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Result<Rows, DbError> {
        Txn::scan(self, from, to, reverse, limit)
    }
}

impl std::fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Txn({}, {} rows)", self.lsn, self.writes.len())
    }
}
