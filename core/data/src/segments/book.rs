//! Which bytes of the open segments are free. Pure: no files, no time.
//!
//! A lane is the open segments of one class and stream, at most [`Book::new`]'s `lanes_max`. Room is
//! taken first-fit in order of segment number, so bodies pack tightly whatever their size, and a range
//! that comes back (an aborted write, the unused tail of a lease) is used again. No range crosses a
//! fragment border.
//!
//! ```text
//!   free -> leased -> parked(lsn) -> committed        a commit has it
//!     ^        |          |
//!     +--------+----------+                           aborted; the commit failed
//! ```
//!
//! A range is *parked* while its commit is being decided: whether the row of its segment covers it
//! tells, once any later commit (or an empty one) has held the commit lock.

use std::collections::BTreeMap;

use gw_types::{
    FRAGMENT_BYTES, LEASE_BYTES, Lsn, SEALED_FRAME_BYTES, SEGMENT_BYTES, SegmentSeq, StreamId, Timestamp,
};

use crate::rows::{Filled, LaneClass, SegmentRow};

/// A full lease: as many whole sealed frames as [`LEASE_BYTES`] hold, 63. Whole frames, because then
/// every frame border of a body is also one of its file offsets.
pub(crate) const FRAMES_LEASE_BYTES: u32 = (LEASE_BYTES / SEALED_FRAME_BYTES * SEALED_FRAME_BYTES) as u32;
/// A gap of at least so many frames is taken by a body that wants more than it; smaller ones wait
/// for small bodies, so that large ones do not fall into many extents.
const GAP_FRAMES_MIN: u32 = 8;
const FRAME: u32 = SEALED_FRAME_BYTES as u32;
const FRAGMENT: u32 = FRAGMENT_BYTES as u32;
/// A segment without a gap of this size takes nothing more worth waiting for.
const FULL_GAP_BYTES: u32 = 16 << 10;

/// Whose open segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneKey {
    pub(crate) class: LaneClass,
    pub(crate) stream: StreamId,
}

/// A range of an open segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: SegmentSeq,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Place {
    pub(crate) fn end(&self) -> u32 {
        self.start + self.len
    }
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    place: Place,
    lsn: Lsn,
}

/// An open segment.
#[derive(Debug)]
struct OpenSegment {
    lane: LaneKey,
    /// When its first bytes were committed, as far as this life knows.
    dated: Option<Timestamp>,
    free: FreeRanges,
    /// Leases that are out.
    out: u32,
    parked: Vec<Parked>,
    /// Bytes that commits have.
    committed: u64,
    /// Takes no more leases.
    closed: bool,
}

/// Parked ranges whose fate is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) committed_bytes: u64,
    pub(crate) failed_bytes: u64,
}

/// All open segments.
#[derive(Debug)]
pub(crate) struct Book {
    segments: BTreeMap<SegmentSeq, OpenSegment>,
    lanes_max: usize,
}

impl Book {
    pub(crate) fn new(lanes_max: usize) -> Self {
        assert!(lanes_max > 0, "a lane needs a segment");
        Self { segments: BTreeMap::new(), lanes_max }
    }

    /// Adds a segment that is new, or was open when the last life ended. Returns what had to be closed
    /// so that its lane has no more open segments than it may.
    pub(crate) fn open(
        &mut self,
        seq: SegmentSeq,
        lane: LaneKey,
        row: Option<&SegmentRow>,
    ) -> Option<SegmentSeq> {
        let free = row.map_or_else(FreeRanges::whole, |row| FreeRanges(row.holes()));
        let opened = OpenSegment {
            lane,
            dated: row.map(|row| row.opened_at),
            free,
            out: 0,
            parked: Vec::new(),
            committed: row.map_or(0, |row| row.used_bytes),
            closed: false,
        };
        let old = self.segments.insert(seq, opened);
        assert!(old.is_none(), "a segment is opened once");
        let open = self.segments.iter().filter(|(_, segment)| segment.lane == lane && !segment.closed);
        if open.clone().count() <= self.lanes_max {
            return None;
        }
        let fullest =
            open.filter(|(other, _)| **other != seq).min_by_key(|(_, segment)| segment.free.bytes());
        let fullest = fullest.map(|(seq, _)| *seq)?;
        self.close(fullest);
        Some(fullest)
    }

    /// No more leases in it.
    pub(crate) fn close(&mut self, seq: SegmentSeq) {
        if let Some(segment) = self.segments.get_mut(&seq) {
            segment.closed = true;
        }
    }

    /// Takes room for `want` sealed bytes, or for fewer whole frames unless `exact`.
    pub(crate) fn take(&mut self, lane: LaneKey, want: u32, exact: bool) -> Option<Place> {
        assert!(want > 0 && want <= LEASE_BYTES as u32, "a lease has a size");
        let open = self.segments.iter_mut().filter(|(_, segment)| segment.lane == lane && !segment.closed);
        for (seq, segment) in open {
            if let Some((start, len)) = segment.free.take(want, exact) {
                segment.out += 1;
                return Some(Place { segment: *seq, start, len });
            }
        }
        None
    }

    /// Gives part of a lease back; it stays out with the rest.
    pub(crate) fn trim(&mut self, rest: Place) {
        if rest.len > 0 {
            self.at(rest.segment).free.give(rest.start, rest.end());
        }
    }

    /// Ends a lease and gives its range back.
    pub(crate) fn give_back(&mut self, place: Place) {
        let segment = self.at(place.segment);
        segment.out = segment.out.checked_sub(1).expect("a lease that comes back was out");
        segment.free.give(place.start, place.end());
    }

    /// Ends a lease: its range is in commit `lsn`, if that happens.
    pub(crate) fn park(&mut self, place: Place, lsn: Lsn, now: Timestamp) {
        let segment = self.at(place.segment);
        segment.out = segment.out.checked_sub(1).expect("a lease that is attached was out");
        segment.parked.push(Parked { place, lsn });
        segment.dated.get_or_insert(now);
    }

    /// Judges parked ranges of commits below `before` by the row of their segment.
    pub(crate) fn settle(&mut self, seq: SegmentSeq, row: Option<&SegmentRow>, before: Lsn) -> Settled {
        let mut settled = Settled::default();
        let Some(segment) = self.segments.get_mut(&seq) else { return settled };
        let (decided, open) =
            std::mem::take(&mut segment.parked).into_iter().partition(|parked| parked.lsn < before);
        segment.parked = open;
        let decided: Vec<Parked> = decided;
        for Parked { place, .. } in decided {
            if row.is_some_and(|row| row.covers(place.start, place.end())) {
                settled.committed_bytes += u64::from(place.len);
                segment.committed += u64::from(place.len);
            } else {
                settled.failed_bytes += u64::from(place.len);
                segment.free.give(place.start, place.end());
            }
        }
        settled
    }

    /// Segments with parked ranges.
    pub(crate) fn unsettled(&self) -> Vec<SegmentSeq> {
        self.segments.iter().filter(|(_, segment)| !segment.parked.is_empty()).map(|(seq, _)| *seq).collect()
    }

    /// Segments that should be sealed: with committed bytes, and either full with no lease out, or
    /// dated at or before `old`.
    pub(crate) fn sealable(&self, old: Timestamp) -> Vec<SegmentSeq> {
        let due = |segment: &OpenSegment| {
            let done = segment.out == 0 && (segment.closed || segment.free.largest() < FULL_GAP_BYTES);
            segment.committed > 0 && (done || segment.dated.is_some_and(|dated| dated <= old))
        };
        self.segments.iter().filter(|(_, segment)| due(segment)).map(|(seq, _)| *seq).collect()
    }

    /// Closed segments that hold nothing and never will.
    pub(crate) fn husks(&self) -> Vec<SegmentSeq> {
        let husk = |segment: &OpenSegment| {
            segment.closed && segment.out == 0 && segment.parked.is_empty() && segment.committed == 0
        };
        self.segments.iter().filter(|(_, segment)| husk(segment)).map(|(seq, _)| *seq).collect()
    }

    /// Leases that are out, parked ones included; `None` when the segment is not open.
    pub(crate) fn busy(&self, seq: SegmentSeq) -> Option<usize> {
        self.segments.get(&seq).map(|segment| segment.out as usize + segment.parked.len())
    }

    pub(crate) fn lane_of(&self, seq: SegmentSeq) -> Option<LaneKey> {
        self.segments.get(&seq).map(|segment| segment.lane)
    }

    /// Forgets a segment that is open no more.
    pub(crate) fn forget(&mut self, seq: SegmentSeq) {
        let gone = self.segments.remove(&seq);
        assert!(gone.is_none_or(|segment| segment.out == 0), "no lease outlives its open segment");
    }

    fn at(&mut self, seq: SegmentSeq) -> &mut OpenSegment {
        self.segments.get_mut(&seq).expect("a segment with leases out stays open")
    }
}

/// Free ranges in order, adjacent ones joined.
#[derive(Debug)]
struct FreeRanges(Vec<Filled>);

impl FreeRanges {
    fn whole() -> Self {
        Self(vec![Filled { start: 0, end: SEGMENT_BYTES as u32 }])
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.end - range.start)).sum()
    }

    /// The largest gap that lies in one fragment.
    fn largest(&self) -> u32 {
        let gaps = self.0.iter().flat_map(|range| fragments_of(*range));
        gaps.map(|gap| gap.end - gap.start).max().unwrap_or(0)
    }

    fn take(&mut self, want: u32, exact: bool) -> Option<(u32, u32)> {
        let fits = |gap: Filled| {
            let room = gap.end - gap.start;
            if room >= want {
                Some(want)
            } else {
                (!exact && room >= GAP_FRAMES_MIN * FRAME).then(|| room / FRAME * FRAME)
            }
        };
        let found = self.0.iter().enumerate().find_map(|(at, range)| {
            fragments_of(*range).find_map(|gap| fits(gap).map(|len| (at, gap.start, len)))
        });
        let (at, start, len) = found?;
        let range = self.0[at];
        let rest = [Filled { start: range.start, end: start }, Filled { start: start + len, end: range.end }];
        self.0.splice(at..=at, rest.into_iter().filter(|rest| rest.start < rest.end));
        Some((start, len))
    }

    fn give(&mut self, start: u32, end: u32) {
        assert!(start < end && u64::from(end) <= SEGMENT_BYTES, "a range lies in its segment");
        let at = self.0.partition_point(|range| range.end < start);
        let mut joined = at;
        let mut run = Filled { start, end };
        while let Some(next) = self.0.get(joined).filter(|next| next.start <= run.end) {
            assert!(next.end <= run.start || next.start >= run.end, "no byte is free twice");
            run = Filled { start: run.start.min(next.start), end: run.end.max(next.end) };
            joined += 1;
        }
        self.0.splice(at..joined, [run]);
    }
}

/// A range cut at fragment borders.
fn fragments_of(range: Filled) -> impl Iterator<Item = Filled> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let end = (start / FRAGMENT + 1).saturating_mul(FRAGMENT).min(range.end);
        let gap = Filled { start, end };
        start = end;
        Some(gap)
    })
}

#[cfg(test)]
mod tests {
    use gw_types::{FRAGMENT_BYTES, SEALED_FRAME_BYTES, StreamId, Timestamp};
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    use super::{Book, FRAMES_LEASE_BYTES, LaneClass, LaneKey, Lsn, Place, SegmentRow, SegmentSeq};

    const LANE: LaneKey = LaneKey { class: LaneClass::Bulk, stream: StreamId(0) };
    const FRAGMENT: u32 = FRAGMENT_BYTES as u32;

    fn book() -> Book {
        let mut book = Book::new(2);
        assert_eq!(book.open(SegmentSeq(1), LANE, None), None);
        book
    }

    #[test]
    fn leases_are_whole_frames_and_never_cross_a_fragment_border() {
        let mut book = book();
        let places: Vec<Place> = std::iter::from_fn(|| book.take(LANE, FRAMES_LEASE_BYTES, false)).collect();
        assert_eq!(places.len(), 8);
        assert!(places.iter().all(|place| place.len == 63 * SEALED_FRAME_BYTES as u32));
        assert!(places.iter().all(|place| place.start / FRAGMENT == (place.end() - 1) / FRAGMENT));
        let small = book.take(LANE, SEALED_FRAME_BYTES as u32, true).unwrap();
        assert_eq!(small.start, places[1].end(), "the first gap is used by what fits");
    }

    #[test]
    fn a_range_that_comes_back_is_used_again() {
        let mut book = book();
        let (a, b) = (book.take(LANE, 1000, true).unwrap(), book.take(LANE, 500, true).unwrap());
        assert_eq!((a.start, b.start), (0, 1000));
        book.give_back(a);
        assert_eq!(book.take(LANE, 900, true).unwrap().start, 0);
        assert_eq!(book.take(LANE, 200, true).unwrap().start, 1500);
        assert_eq!(book.take(LANE, 100, true).unwrap().start, 900);
    }

    #[test]
    fn a_parked_range_comes_back_when_its_commit_failed() {
        let mut book = book();
        let places = [book.take(LANE, 100, true).unwrap(), book.take(LANE, 100, true).unwrap()];
        for place in places {
            book.park(place, Lsn(7), Timestamp(5));
        }
        let mut row = SegmentRow::new(LaneClass::Bulk, StreamId(0), Timestamp(5));
        row.fill(100, 200).unwrap();
        assert_eq!(book.settle(SegmentSeq(1), Some(&row), Lsn(7)), super::Settled::default(), "undecided");
        assert_eq!(book.busy(SegmentSeq(1)), Some(2));
        let settled = book.settle(SegmentSeq(1), Some(&row), Lsn(8));
        assert_eq!((settled.committed_bytes, settled.failed_bytes), (100, 100));
        assert_eq!(book.busy(SegmentSeq(1)), Some(0));
        assert_eq!(book.take(LANE, 100, true).unwrap().start, 0);
        assert!(book.sealable(Timestamp(4)).is_empty());
        assert_eq!(book.sealable(Timestamp(5)), [SegmentSeq(1)]);
    }

    #[test]
    fn a_lane_closes_its_fullest_segment_when_it_has_too_many() {
        let mut book = book();
        book.take(LANE, 100, true).unwrap();
        assert_eq!(book.open(SegmentSeq(2), LANE, None), None);
        assert_eq!(book.open(SegmentSeq(3), LANE, None), Some(SegmentSeq(1)));
        assert_eq!(book.take(LANE, 100, true).unwrap().segment, SegmentSeq(2));
        let other = LaneKey { class: LaneClass::Log, ..LANE };
        assert_eq!(book.take(other, 100, true), None, "classes share nothing");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn no_byte_is_ever_given_twice(acts in prop::collection::vec((1u32..400_000, any::<bool>(), any::<u8>()), 1..200)) {
            let mut book = book();
            let mut held: Vec<Place> = Vec::new();
            for (want, exact, pick) in acts {
                if pick % 3 == 0 && !held.is_empty() {
                    book.give_back(held.swap_remove(usize::from(pick) % held.len()));
                } else if let Some(place) = book.take(LANE, want, exact) {
                    assert!(place.len <= want && (place.len == want || !exact));
                    assert!(place.start / FRAGMENT == (place.end() - 1) / FRAGMENT);
                    assert!(held.iter().all(|other| other.end() <= place.start || place.end() <= other.start));
                    held.push(place);
                }
            }
            held.into_iter().for_each(|place| book.give_back(place));
            assert_eq!(book.at(SegmentSeq(1)).free.0.len(), 1);
        }
    }
}
