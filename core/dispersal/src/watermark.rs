//! How far a stream is dispersed and finalized: pure bookkeeping over cuts of the log.
//!
//! A *cut* is a run of the log, (previous last, last], whose records stand in log segments of their
//! own. A cut has reached a level when its log segments and every segment its records name have
//! reached it; a watermark is the last LSN of the longest prefix of cuts that have. So a watermark
//! never passes a record whose bytes, or whose own text, could be lost, and it never moves back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gw_types::{Level, Lsn, SegmentSeq};

/// One run of the log that stands in log segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Last LSN in it.
    pub last: Lsn,
    /// Log segments and every segment that its records name.
    pub needs: BTreeSet<SegmentSeq>,
}

/// The watermarks of one stream above `staged`.
#[derive(Debug, Default)]
pub struct Watermarks {
    dispersed: Lsn,
    finalized: Lsn,
    /// In order; the front is the first that is not finalized.
    cuts: VecDeque<Cut>,
    /// Segments of `cuts` that have reached a level, and which.
    reached: BTreeMap<SegmentSeq, Level>,
}

impl Watermarks {
    /// Continues where an earlier run stood.
    pub fn resume(dispersed: Lsn, finalized: Lsn) -> Self {
        Self { dispersed: dispersed.max(finalized), finalized, ..Self::default() }
    }

    /// The watermark of a level this stream keeps; `staged` belongs to the journal.
    pub fn at(&self, level: Level) -> Lsn {
        match level {
            Level::Staged | Level::Dispersed => self.dispersed,
            Level::Finalized => self.finalized,
        }
    }

    /// Last LSN that is in some cut.
    pub fn cut_to(&self) -> Lsn {
        self.cuts.back().map_or(self.finalized, |cut| cut.last)
    }

    /// A further cut, with the levels that its segments have reached already. Cuts come in order of
    /// the log. Returns whether a watermark moved.
    pub fn push(&mut self, cut: Cut, known: &[(SegmentSeq, Level)]) -> bool {
        assert!(cut.last > self.cut_to() || self.cuts.is_empty(), "cuts come in order of the log");
        self.cuts.push_back(cut);
        for (segment, level) in known {
            self.note(*segment, *level);
        }
        self.advance()
    }

    /// A segment has reached `level`. Returns whether a watermark moved.
    pub fn reached(&mut self, segment: SegmentSeq, level: Level) -> bool {
        self.note(segment, level);
        self.advance()
    }

    fn note(&mut self, segment: SegmentSeq, level: Level) {
        let known = self.reached.entry(segment).or_insert(level);
        *known = (*known).max(level);
    }

    /// Segments that keep the stream from being finalized up to `lsn`.
    pub fn missing(&self, level: Level, lsn: Lsn) -> BTreeSet<SegmentSeq> {
        let before = self.cuts.iter().take_while(|cut| cut.last < lsn).count();
        let lacks = |segment: &&SegmentSeq| self.reached.get(*segment).is_none_or(|at| *at < level);
        self.cuts.iter().take(before + 1).flat_map(|cut| cut.needs.iter().filter(lacks)).copied().collect()
    }

    fn advance(&mut self) -> bool {
        let has = |cut: &Cut, level: Level, reached: &BTreeMap<SegmentSeq, Level>| {
            cut.needs.iter().all(|segment| reached.get(segment).is_some_and(|at| *at >= level))
        };
        let before = (self.dispersed, self.finalized);
        while let Some(cut) = self.cuts.front().filter(|cut| has(cut, Level::Finalized, &self.reached)) {
            self.finalized = cut.last;
            self.cuts.pop_front();
        }
        let dispersed = self.cuts.iter().take_while(|cut| has(cut, Level::Dispersed, &self.reached)).last();
        self.dispersed = dispersed.map_or(self.finalized, |cut| cut.last).max(self.dispersed);
        if self.cuts.is_empty() {
            self.reached.clear();
        }
        before != (self.dispersed, self.finalized)
    }
}

#[cfg(test)]
mod tests {
    use gw_types::{Level, Lsn, SegmentSeq};

    use super::{Cut, Watermarks};

    fn cut(last: u64, needs: &[u64]) -> Cut {
        Cut { last: Lsn(last), needs: needs.iter().copied().map(SegmentSeq).collect() }
    }

    #[test]
    fn a_watermark_passes_a_cut_only_with_all_its_segments() {
        let mut marks = Watermarks::resume(Lsn(0), Lsn(0));
        marks.push(cut(10, &[1, 2]), &[]);
        marks.push(cut(20, &[3]), &[]);
        assert!(!marks.reached(SegmentSeq(3), Level::Finalized));
        assert!(!marks.reached(SegmentSeq(1), Level::Dispersed));
        assert!(marks.reached(SegmentSeq(2), Level::Dispersed));
        assert_eq!((marks.at(Level::Dispersed), marks.at(Level::Finalized)), (Lsn(20), Lsn(0)));
        marks.reached(SegmentSeq(1), Level::Finalized);
        assert_eq!(marks.missing(Level::Finalized, Lsn(15)), [SegmentSeq(2)].into());
        marks.reached(SegmentSeq(2), Level::Finalized);
        assert_eq!(marks.at(Level::Finalized), Lsn(20));
    }

    #[test]
    fn a_segment_that_was_there_first_counts() {
        let mut marks = Watermarks::resume(Lsn(0), Lsn(0));
        marks.push(cut(1, &[9]), &[(SegmentSeq(9), Level::Finalized)]);
        marks.push(cut(2, &[9]), &[(SegmentSeq(9), Level::Finalized)]);
        assert_eq!(marks.at(Level::Finalized), Lsn(2));
    }

    #[test]
    fn a_watermark_never_moves_back() {
        let mut marks = Watermarks::resume(Lsn(7), Lsn(5));
        marks.push(cut(9, &[1]), &[]);
        assert_eq!((marks.at(Level::Dispersed), marks.at(Level::Finalized)), (Lsn(7), Lsn(5)));
        marks.reached(SegmentSeq(1), Level::Dispersed);
        assert_eq!((marks.at(Level::Dispersed), marks.at(Level::Finalized)), (Lsn(9), Lsn(5)));
    }
}
