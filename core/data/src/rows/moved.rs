//! Where compaction has put the live bytes of a segment.
//!
//! Map entries name their home segment for ever, so that maps need not be found and rewritten. When
//! compaction has copied the live ranges of a segment elsewhere it writes one row under the old
//! number; a read that meets a segment of state `Moved` translates through it, one hop. Moving the
//! new home again rewrites the rows of its guests, so there is never a second hop.
//!
//! *Which* ranges are live is not kept per extent: the compactor scans maps (and inodes, through
//! the store) in one snapshot. That is enough: every reference made later is to a part of bytes that
//! a reference of the snapshot covers. `live_bytes` of a moved segment go on being counted on its own
//! row; the new home lists it under `guests` and is dead only when it and its guests are.

use gw_db::{DbError, Read, Txn};
use gw_types::SegmentSeq;
use serde::{Deserialize, Serialize};

use super::{MOVED_TABLE, get, numbered, put};

/// A run of bytes and its new place. The bytes are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRange {
    /// First byte in the old segment.
    pub from: u32,
    /// How many bytes.
    pub len: u32,
    /// The new segment.
    pub segment: SegmentSeq,
    /// First byte there. The run crosses no fragment border.
    pub to: u32,
}

/// The new places of all that was alive in a segment, in order of `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRow {
    /// In order of `from`, without overlap.
    pub ranges: Vec<MovedRange>,
}

impl MovedRow {
    /// The new place of the bytes `start..end`; `None` when they were not moved as one run.
    pub fn place(&self, start: u32, end: u32) -> Option<(SegmentSeq, u32)> {
        let at = self.ranges.partition_point(|range| range.from <= start).checked_sub(1)?;
        let range = self.ranges[at];
        let behind = range.from.checked_add(range.len)?;
        (end <= behind).then(|| (range.segment, range.to + (start - range.from)))
    }
}

/// The row of a moved segment.
pub fn moved(read: &(impl Read + ?Sized), seq: SegmentSeq) -> Result<Option<MovedRow>, DbError> {
    get(read, &numbered(MOVED_TABLE, seq.0))
}

/// Writes the row.
pub fn put_moved(txn: &mut Txn<'_>, seq: SegmentSeq, row: &MovedRow) {
    put(txn, numbered(MOVED_TABLE, seq.0), row);
}

/// Deletes the row.
pub fn delete_moved(txn: &mut Txn<'_>, seq: SegmentSeq) {
    txn.delete(numbered(MOVED_TABLE, seq.0));
}
