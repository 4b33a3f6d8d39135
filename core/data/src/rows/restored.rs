//! Rows as a restore writes them: before any commit, as keys and values, while nobody else is there.

use gw_db::{DbError, Read};
use gw_types::ports::Row;
use gw_types::{Fid, SegmentSeq};

use super::{
    Counter, DEAL_TABLE, DealRow, MOVED_TABLE, SEGMENT_TABLE, SegmentRow, counter, encode, numbered,
};

/// The row of a segment.
pub fn segment(seq: SegmentSeq, row: &SegmentRow) -> Row {
    (segment_key(seq), encode(row))
}

/// The key of a segment's row.
pub fn segment_key(seq: SegmentSeq) -> Vec<u8> {
    numbered(SEGMENT_TABLE, seq.0)
}

/// The key of the row that says where a segment was moved.
pub fn moved_key(seq: SegmentSeq) -> Vec<u8> {
    numbered(MOVED_TABLE, seq.0)
}

/// The row of a deal.
pub fn deal(fid: Fid, row: &DealRow) -> Row {
    let mut key = vec![DEAL_TABLE];
    key.extend_from_slice(&fid.0.0);
    (key, encode(row))
}

/// The counters below which nothing is numbered any more: every later epoch is above `epoch`, every
/// later segment behind `segment`.
pub fn floors(epoch: u16, segment: SegmentSeq) -> [Row; 2] {
    [(Counter::Epoch.key(), encode(&u64::from(epoch))), (Counter::Segment.key(), encode(&segment.0))]
}

/// What the counter of epochs says.
pub fn epoch(read: &(impl Read + ?Sized)) -> Result<u64, DbError> {
    counter(read, Counter::Epoch)
}

/// What the counter of segments says.
pub fn last_segment(read: &(impl Read + ?Sized)) -> Result<SegmentSeq, DbError> {
    counter(read, Counter::Segment).map(SegmentSeq)
}
