//! Segments: what is known of each 32 MiB container of sealed bytes.

use gw_db::{DbError, Read, Txn};
use gw_types::ports::StripeHashes;
use gw_types::{FRAGMENTS, Fid, Hash32, SEGMENT_BYTES, SegmentSeq, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Counter, SEGMENT_TABLE, counter, get, inconsistent, numbered, put, put_counter, scan_numbered};

/// What kind of bytes share a segment: those that are likely to die together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LaneClass {
    /// Large bodies, in leases.
    Bulk,
    /// Bodies up to [`crate::INLINE_MAX`], which travel in the journal. Writers choose it themselves.
    Inline,
    /// The log and its checkpoints.
    Log,
    /// What compaction has moved.
    Gc,
    /// Blocks of volumes.
    Volume,
}

impl LaneClass {
    /// Classes that staging must never refuse, because only they make room in it.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Log | Self::Gc)
    }
}

/// How far a segment has come. Ordered: later means safer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SegmentState {
    /// Takes bytes.
    Open,
    /// Never changes again; its file is on this machine.
    Sealed,
    /// All twelve fragments are held by their miners.
    Dispersed,
    /// In an Active deal of a finalized block.
    Finalized,
    /// Its live bytes were moved into other segments ([`super::MovedRow`]).
    Moved,
}

/// A run of bytes that a commit has put into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Filled {
    /// First byte.
    pub start: u32,
    /// First byte behind it.
    pub end: u32,
}

/// The hashes by which chain and miners know a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeRow {
    /// SHA-256 of the segment.
    pub segment: Hash32,
    /// SHA-256 of each fragment.
    pub fragments: [Hash32; FRAGMENTS],
}

impl From<StripeHashes> for StripeRow {
    fn from(hashes: StripeHashes) -> Self {
        Self { segment: hashes.segment, fragments: hashes.fragments }
    }
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// What it holds.
    pub class: LaneClass,
    /// The stream (so the territory) it belongs to.
    pub stream: StreamId,
    /// How far it has come.
    pub state: SegmentState,
    /// When its first bytes were committed.
    pub opened_at: Timestamp,
    /// What commits have put into it, in order, adjacent runs joined. Everything else is zeros once
    /// it is sealed.
    pub filled: Vec<Filled>,
    /// Sum of `filled`.
    pub used_bytes: u64,
    /// Sealed bytes of the frames that references need, once for each reference: 0 exactly when
    /// nothing refers to the segment. References to a moved segment keep counting here.
    pub live_bytes: u64,
    /// Hashes, once it is striped.
    pub stripe: Option<StripeRow>,
    /// Its deal, and its index in it.
    pub deal: Option<(Fid, u16)>,
    /// Whether its file is on this machine.
    pub local: bool,
    /// Segments whose live bytes were moved into this one. It is dead only when they are, too.
    pub guests: Vec<SegmentSeq>,
}

impl SegmentRow {
    /// A segment without bytes.
    pub fn new(class: LaneClass, stream: StreamId, opened_at: Timestamp) -> Self {
        Self {
            class,
            stream,
            state: SegmentState::Open,
            opened_at,
            filled: Vec::new(),
            used_bytes: 0,
            live_bytes: 0,
            stripe: None,
            deal: None,
            local: true,
            guests: Vec::new(),
        }
    }

    /// Whether all of the range was put there by commits.
    pub fn covers(&self, start: u32, end: u32) -> bool {
        let at = self.filled.partition_point(|filled| filled.end <= start);
        self.filled.get(at).is_some_and(|filled| filled.start <= start && end <= filled.end)
    }

    /// Adds committed bytes. An error when some of them are committed already.
    pub(crate) fn fill(&mut self, start: u32, end: u32) -> Result<(), DbError> {
        assert!(start < end && u64::from(end) <= SEGMENT_BYTES, "a filled run lies in its segment");
        let at = self.filled.partition_point(|filled| filled.end < start);
        self.used_bytes += u64::from(end - start);
        let mut run = Filled { start, end };
        let mut joined = at;
        while let Some(next) = self.filled.get(joined).filter(|next| next.start <= run.end) {
            if next.end > run.start && next.start < run.end {
                return Err(inconsistent(format!("bytes {start}..{end} of a segment were committed twice")));
            }
            run = Filled { start: run.start.min(next.start), end: run.end.max(next.end) };
            joined += 1;
        }
        self.filled.splice(at..joined, [run]);
        Ok(())
    }

    /// What no commit has put anything into, in order.
    pub fn holes(&self) -> Vec<Filled> {
        let mut holes = Vec::new();
        let mut at = 0;
        for filled in &self.filled {
            if at < filled.start {
                holes.push(Filled { start: at, end: filled.start });
            }
            at = filled.end;
        }
        if u64::from(at) < SEGMENT_BYTES {
            holes.push(Filled { start: at, end: SEGMENT_BYTES as u32 });
        }
        holes
    }
}

/// The row of a segment.
pub fn segment(read: &(impl Read + ?Sized), seq: SegmentSeq) -> Result<Option<SegmentRow>, DbError> {
    get(read, &numbered(SEGMENT_TABLE, seq.0))
}

/// Up to `limit` segments from `from` on, in order of number.
pub fn segments(
    read: &(impl Read + ?Sized),
    from: SegmentSeq,
    limit: usize,
) -> Result<Vec<(SegmentSeq, SegmentRow)>, DbError> {
    let rows = scan_numbered(read, SEGMENT_TABLE, from.0, limit)?;
    Ok(rows.into_iter().map(|(seq, row)| (SegmentSeq(seq), row)).collect())
}

/// Writes the row, and remembers the number as used for ever.
pub fn put_segment(txn: &mut Txn<'_>, seq: SegmentSeq, row: &SegmentRow) -> Result<(), DbError> {
    if counter(txn, Counter::Segment)? < seq.0 {
        put_counter(txn, Counter::Segment, seq.0);
    }
    put(txn, numbered(SEGMENT_TABLE, seq.0), row);
    Ok(())
}

/// Deletes the row. Its number stays used.
pub fn delete_segment(txn: &mut Txn<'_>, seq: SegmentSeq) {
    txn.delete(numbered(SEGMENT_TABLE, seq.0));
}
