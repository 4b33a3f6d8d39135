//! Live runs packed into leases. Pure.
//!
//! Runs keep their order, so bodies that were written together stay together. A run is never parted:
//! a reference must find all its frames in one place.

use gw_types::{FRAGMENT_BYTES, LEASE_BYTES, SegmentSeq};

use crate::rows::{Filled, MovedRange};

/// Runs that are copied into one lease, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) runs: Vec<Filled>,
    /// Bytes before the first run.
    head: u32,
    /// All bytes.
    pub(super) len: u32,
}

impl Parcel {
    /// With room for `head` bytes in front.
    pub(super) fn behind(head: u32) -> Self {
        Self { runs: Vec::new(), head, len: head }
    }

    /// Adds a run, unless the parcel would outgrow a lease.
    pub(super) fn add(&mut self, run: Filled) -> bool {
        let len = run.end - run.start;
        if u64::from(self.len + len) > LEASE_BYTES {
            return false;
        }
        self.len += len;
        self.runs.push(run);
        true
    }

    /// Where the runs are, when the parcel stands at `start` of a segment. Runs that stood side by side
    /// are one range.
    pub(super) fn ranges(&self, segment: SegmentSeq, start: u32) -> Vec<MovedRange> {
        let mut to = start + self.head;
        let mut ranges: Vec<MovedRange> = Vec::new();
        for run in &self.runs {
            let len = run.end - run.start;
            match ranges.last_mut().filter(|last| last.from + last.len == run.start) {
                Some(last) => last.len += len,
                None => ranges.push(MovedRange { from: run.start, len, segment, to }),
            }
            to += len;
        }
        ranges
    }
}

/// The runs of each fragment of a segment, in order. `None` when one crosses a border, which no
/// reference does.
pub(super) fn by_fragment(runs: &[Filled]) -> Option<Vec<(u8, &[Filled])>> {
    let index = |at: u32| (u64::from(at) / FRAGMENT_BYTES) as u8;
    if runs.iter().any(|run| run.start >= run.end || index(run.start) != index(run.end - 1)) {
        return None;
    }
    let chunks = runs.chunk_by(|a, b| index(a.start) == index(b.start));
    Some(chunks.filter_map(|chunk| chunk.first().map(|first| (index(first.start), chunk))).collect())
}

#[cfg(test)]
mod tests {
    use gw_types::{FRAGMENT_BYTES, LEASE_BYTES, SegmentSeq};

    use super::{Filled, MovedRange, Parcel, by_fragment};

    fn run(start: u32, end: u32) -> Filled {
        Filled { start, end }
    }

    #[test]
    fn a_parcel_holds_whole_runs_up_to_a_lease() {
        let mut parcel = Parcel::default();
        assert!(parcel.add(run(100, 200)) && parcel.add(run(200, 260)) && parcel.add(run(300, 310)));
        assert!(!parcel.add(run(1000, 1000 + LEASE_BYTES as u32 - 169)));
        assert!(parcel.add(run(1000, 1000 + LEASE_BYTES as u32 - 170)));
        let range = |from, len, to| MovedRange { from, len, segment: SegmentSeq(7), to };
        let last = range(1000, LEASE_BYTES as u32 - 170, 50 + 170);
        assert_eq!(parcel.ranges(SegmentSeq(7), 50), [range(100, 160, 50), range(300, 10, 210), last]);
        let mut stamped = Parcel::behind(16);
        assert!(stamped.add(run(100, 200)));
        assert_eq!((stamped.len, stamped.ranges(SegmentSeq(7), 50)), (116, vec![range(100, 100, 66)]));
    }

    #[test]
    fn runs_are_told_apart_by_fragment() {
        let border = FRAGMENT_BYTES as u32;
        let runs =
            [run(0, 10), run(border - 5, border), run(border, border + 1), run(3 * border, 3 * border + 9)];
        let parts = by_fragment(&runs).unwrap();
        assert_eq!(parts, [(0, &runs[..2]), (1, &runs[2..3]), (3, &runs[3..])]);
        assert_eq!(by_fragment(&[run(border - 1, border + 1)]), None);
        assert_eq!(by_fragment(&[]), Some(Vec::new()));
    }
}
