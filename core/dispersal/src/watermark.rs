//! How far a stream is dispersed and finalized: pure bookkeeping over cuts of the log.
//!
//! A *cut* is a run of the log, (previous last, last], whose records stand in a log segment of their
//! own. A cut has reached a level when its log segment and every segment its records name have
//! reached it; a watermark is the last LSN of the longest prefix of cuts that have. So a watermark
//! never passes a record whose bytes, or whose own text, could be lost, and it never moves back.
//!
//! A segment may die before it was dispersed: a later record has dropped the last reference to it.
//! Nobody needs its bytes then, but only where that later record is known, too. So the cuts from the
//! first that needs the segment to the one that holds the record become one ([`Watermarks::excuse`]).

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

/// What excusing a dead segment does to the cuts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excuse {
    segment: SegmentSeq,
    /// Last LSNs of the cuts that go on as part of `merged`.
    pub gone: Vec<Lsn>,
    /// What they became; `None` when no cut needs the segment.
    pub merged: Option<Cut>,
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

    /// Whether a cut that is not finalized needs the segment.
    pub fn needs(&self, segment: SegmentSeq) -> bool {
        self.cuts.iter().any(|cut| cut.needs.contains(&segment))
    }

    /// A further cut, with the levels that its segments have reached already. Cuts come in order of
    /// the log.
    pub fn push(&mut self, cut: Cut, known: &[(SegmentSeq, Level)]) {
        assert!(cut.last > self.cut_to(), "cuts come in order of the log");
        self.cuts.push_back(cut);
        for (segment, level) in known {
            self.note(*segment, *level);
        }
        self.advance();
    }

    /// Segments have reached `level`.
    pub fn reached(&mut self, segments: &[SegmentSeq], level: Level) {
        for segment in segments {
            if self.needs(*segment) {
                self.note(*segment, level);
            }
        }
        self.advance();
    }

    fn note(&mut self, segment: SegmentSeq, level: Level) {
        let known = self.reached.entry(segment).or_insert(level);
        *known = (*known).max(level);
    }

    /// Segments that keep the stream from reaching `level` up to `lsn`.
    pub fn missing(&self, level: Level, lsn: Lsn) -> BTreeSet<SegmentSeq> {
        let before = self.cuts.iter().take_while(|cut| cut.last < lsn).count();
        let lacks = |segment: &&SegmentSeq| self.reached.get(*segment).is_none_or(|at| *at < level);
        self.cuts.iter().take(before + 1).flat_map(|cut| cut.needs.iter().filter(lacks)).copied().collect()
    }

    /// What it takes to need a segment no more that died, undispersed, with a record at or before
    /// `dead_at`; `None` when the log has not been cut so far.
    pub fn excuse(&self, segment: SegmentSeq, dead_at: Lsn) -> Option<Excuse> {
        if self.cut_to() < dead_at {
            return None;
        }
        let first = self.cuts.iter().position(|cut| cut.needs.contains(&segment));
        let Some(first) = first else { return Some(Excuse { segment, gone: Vec::new(), merged: None }) };
        let last_need = self.cuts.iter().rposition(|cut| cut.needs.contains(&segment)).unwrap_or(first);
        let holds_drop = self.cuts.iter().position(|cut| cut.last >= dead_at).unwrap_or(first);
        let run = self.cuts.range(first..=last_need.max(holds_drop));
        let mut needs: BTreeSet<SegmentSeq> = run.clone().flat_map(|cut| cut.needs.iter().copied()).collect();
        needs.remove(&segment);
        let mut gone: Vec<Lsn> = run.map(|cut| cut.last).collect();
        let last = gone.pop().expect("the run has at least the first");
        Some(Excuse { segment, gone, merged: Some(Cut { last, needs }) })
    }

    /// Does what [`Watermarks::excuse`] said. In between, nothing but [`Watermarks::reached`] may have
    /// been called; that cannot have finished the cuts in question, since they need the segment.
    pub fn apply(&mut self, excuse: Excuse) {
        if let Some(merged) = excuse.merged {
            let at = self.cuts.iter().position(|cut| cut.last == merged.last);
            let at = at.expect("a cut that needs an undispersed segment is not finished");
            self.cuts[at] = merged;
            self.cuts.retain(|cut| !excuse.gone.contains(&cut.last));
        }
        self.advance();
    }

    fn advance(&mut self) {
        let has = |cut: &Cut, level: Level, reached: &BTreeMap<SegmentSeq, Level>| {
            cut.needs.iter().all(|segment| reached.get(segment).is_some_and(|at| *at >= level))
        };
        let mut is_shorter = false;
        while let Some(cut) = self.cuts.front().filter(|cut| has(cut, Level::Finalized, &self.reached)) {
            self.finalized = cut.last;
            self.cuts.pop_front();
            is_shorter = true;
        }
        let dispersed = self.cuts.iter().take_while(|cut| has(cut, Level::Dispersed, &self.reached)).last();
        self.dispersed = dispersed.map_or(self.finalized, |cut| cut.last).max(self.dispersed);
        if is_shorter {
            let cuts = &self.cuts;
            self.reached.retain(|segment, _| cuts.iter().any(|cut| cut.needs.contains(segment)));
        }
        assert!(self.dispersed >= self.finalized, "what is finalized is dispersed");
    }
}

#[cfg(test)]
mod tests {
    use gw_types::{Level, Lsn, SegmentSeq};

    use super::{Cut, Watermarks};

    fn cut(last: u64, needs: &[u64]) -> Cut {
        Cut { last: Lsn(last), needs: needs.iter().copied().map(SegmentSeq).collect() }
    }

    fn seqs(numbers: &[u64]) -> Vec<SegmentSeq> {
        numbers.iter().copied().map(SegmentSeq).collect()
    }

    fn at(marks: &Watermarks) -> (u64, u64) {
        (marks.at(Level::Dispersed).0, marks.at(Level::Finalized).0)
    }

    #[test]
    fn a_watermark_passes_a_cut_only_with_all_its_segments() {
        let mut marks = Watermarks::resume(Lsn(0), Lsn(0));
        marks.push(cut(10, &[1, 2]), &[]);
        marks.push(cut(20, &[3]), &[]);
        marks.reached(&seqs(&[3]), Level::Finalized);
        marks.reached(&seqs(&[1]), Level::Dispersed);
        assert_eq!(at(&marks), (0, 0));
        marks.reached(&seqs(&[2]), Level::Dispersed);
        assert_eq!(at(&marks), (20, 0));
        marks.reached(&seqs(&[1]), Level::Finalized);
        assert_eq!(marks.missing(Level::Finalized, Lsn(15)), [SegmentSeq(2)].into());
        marks.reached(&seqs(&[2]), Level::Finalized);
        assert_eq!(at(&marks), (20, 20));
    }

    #[test]
    fn a_segment_that_was_there_first_counts() {
        let mut marks = Watermarks::resume(Lsn(0), Lsn(0));
        marks.push(cut(1, &[9]), &[(SegmentSeq(9), Level::Finalized)]);
        marks.push(cut(2, &[9]), &[(SegmentSeq(9), Level::Finalized)]);
        assert_eq!(at(&marks), (2, 2));
    }

    #[test]
    fn a_watermark_never_moves_back() {
        let mut marks = Watermarks::resume(Lsn(7), Lsn(5));
        marks.push(cut(9, &[1]), &[]);
        assert_eq!(at(&marks), (7, 5));
        marks.reached(&seqs(&[1]), Level::Dispersed);
        assert_eq!(at(&marks), (9, 5));
    }

    #[test]
    fn a_segment_that_died_is_excused_only_with_the_record_that_dropped_it() {
        let mut marks = Watermarks::resume(Lsn(0), Lsn(0));
        marks.push(cut(10, &[1, 2]), &[]);
        marks.push(cut(20, &[3]), &[]);
        assert_eq!(marks.excuse(SegmentSeq(2), Lsn(25)), None, "the drop is not cut yet");
        marks.push(cut(30, &[4]), &[]);
        marks.push(cut(40, &[5]), &[]);
        let excuse = marks.excuse(SegmentSeq(2), Lsn(25)).unwrap();
        assert_eq!(excuse.gone, [Lsn(10), Lsn(20)]);
        assert_eq!(excuse.merged, Some(cut(30, &[1, 3, 4])));
        marks.apply(excuse);
        marks.reached(&seqs(&[1, 3, 5]), Level::Finalized);
        assert_eq!(at(&marks), (0, 0), "10 may not be passed without 30");
        marks.reached(&seqs(&[4]), Level::Finalized);
        assert_eq!(at(&marks), (40, 40));
        assert_eq!(marks.excuse(SegmentSeq(77), Lsn(40)).unwrap().merged, None);
    }

    #[test]
    fn an_excuse_alone_may_finish_a_cut() {
        let mut marks = Watermarks::resume(Lsn(0), Lsn(0));
        marks.push(cut(10, &[1, 2]), &[(SegmentSeq(1), Level::Finalized)]);
        let excuse = marks.excuse(SegmentSeq(2), Lsn(9)).unwrap();
        marks.apply(excuse);
        assert_eq!(at(&marks), (10, 10));
        assert!(marks.reached.is_empty(), "nothing is remembered for nobody");
    }
}
