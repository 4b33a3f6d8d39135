//! How far each stream is dispersed and finalized: pure bookkeeping over cuts of the log.
//!
//! A *cut* is a run of the log, (previous last, last], whose records stand in a log segment of their
//! own. A stream has passed a cut at a level when the cut's log segment and every segment that the
//! stream's records name have reached it, and it has passed every cut before. So a watermark never
//! passes a record whose bytes, or whose own text, could be lost; it never moves back; and a stream
//! whose bytes cannot be dispersed holds up no other. Records of several streams tie those together:
//! none of them passes the cut unless all do.
//!
//! The *floor* is what every stream has passed.
//!
//! A segment may die before it was dispersed: a later record has dropped the last reference to it.
//! Nobody needs its bytes then, but only where that later record is known, too. So the cuts from the
//! first that needs the segment to the one that holds the record become one ([`Watermarks::excuse`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gw_types::{Level, Lsn, SegmentSeq, StreamId};

/// One run of the log that stands in log segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Last LSN in it.
    pub last: Lsn,
    /// What it needs.
    pub needs: Needs,
}

/// What must be safe before a cut is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Needs {
    /// Log segments, which every stream needs.
    pub log: BTreeSet<SegmentSeq>,
    /// Segments that records of a stream name. A stream with records is here, whether they name any
    /// or not.
    pub streams: BTreeMap<StreamId, BTreeSet<SegmentSeq>>,
    /// Streams that share records.
    pub tied: BTreeSet<Vec<StreamId>>,
}

impl Needs {
    /// Adds what a record of these streams names.
    pub fn add(&mut self, streams: &[StreamId], names: &[SegmentSeq]) {
        for stream in streams {
            self.streams.entry(*stream).or_default().extend(names);
        }
        if streams.len() > 1 {
            self.tied.insert(streams.to_vec());
        }
    }

    /// Adds everything that another needs.
    pub fn extend(&mut self, other: &Self) {
        self.log.extend(&other.log);
        for (stream, segments) in &other.streams {
            self.streams.entry(*stream).or_default().extend(segments);
        }
        self.tied.extend(other.tied.iter().cloned());
    }

    /// Needs the segment no more.
    fn remove(&mut self, segment: SegmentSeq) {
        self.log.remove(&segment);
        self.streams.values_mut().for_each(|segments| {
            segments.remove(&segment);
        });
    }

    /// All segments, whoever needs them.
    pub fn all(&self) -> impl Iterator<Item = SegmentSeq> {
        self.log.iter().chain(self.streams.values().flatten()).copied()
    }

    fn contains(&self, segment: SegmentSeq) -> bool {
        self.log.contains(&segment) || self.streams.values().any(|segments| segments.contains(&segment))
    }

    /// The stream and those it is tied to, directly or by others.
    fn group(&self, stream: StreamId) -> BTreeSet<StreamId> {
        let mut group = BTreeSet::from([stream]);
        loop {
            let before = group.len();
            for tie in &self.tied {
                if tie.iter().any(|one| group.contains(one)) {
                    group.extend(tie);
                }
            }
            if group.len() == before {
                return group;
            }
        }
    }

    /// What a group of streams needs.
    fn of<'a>(&'a self, group: &'a BTreeSet<StreamId>) -> impl Iterator<Item = SegmentSeq> + 'a {
        let own = group.iter().filter_map(|stream| self.streams.get(stream)).flatten();
        self.log.iter().chain(own).copied()
    }
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

/// How far something has come above `staged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Everything up to here is held by its miners.
    pub dispersed: Lsn,
    /// Everything up to here is in Active deals.
    pub finalized: Lsn,
}

impl Marks {
    /// The mark of a level; `staged` is not kept here.
    pub fn at(self, level: Level) -> Lsn {
        match level {
            Level::Staged | Level::Dispersed => self.dispersed,
            Level::Finalized => self.finalized,
        }
    }

    /// The higher of both, level by level.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            dispersed: self.dispersed.max(other.dispersed),
            finalized: self.finalized.max(other.finalized),
        }
    }
}

/// The watermarks of every stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamMarks {
    /// What every stream has passed.
    pub floor: Marks,
    /// How far a stream is that has no records in cuts that are not passed by all: as far as the log
    /// itself is safe.
    pub log: Marks,
    /// Streams with records in cuts that are not passed by all.
    pub streams: BTreeMap<StreamId, Marks>,
}

impl StreamMarks {
    /// The watermarks of a stream.
    pub fn of(&self, stream: StreamId) -> Marks {
        self.streams.get(&stream).copied().unwrap_or(self.log).max(self.floor)
    }

    /// The higher of both, stream by stream.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let both = self.streams.keys().chain(other.streams.keys());
        let mut joined = Self {
            floor: self.floor.max(other.floor),
            log: self.log.max(other.log),
            streams: both.map(|stream| (*stream, self.of(*stream).max(other.of(*stream)))).collect(),
        };
        let rest = joined.log.max(joined.floor);
        joined.streams.retain(|_, marks| *marks != rest);
        joined
    }

    /// The lowest watermarks of some streams; the floor's for none.
    pub fn of_all(&self, streams: impl IntoIterator<Item = StreamId>) -> Marks {
        let lower = |a: Marks, b: Marks| Marks {
            dispersed: a.dispersed.min(b.dispersed),
            finalized: a.finalized.min(b.finalized),
        };
        streams.into_iter().map(|stream| self.of(stream)).reduce(lower).unwrap_or(self.floor)
    }
}

/// The watermarks of all streams above `staged`.
#[derive(Debug, Default)]
pub struct Watermarks {
    marks: StreamMarks,
    /// In order; the front is the first that is not finalized for every stream.
    cuts: VecDeque<Cut>,
    /// Segments of `cuts` that have reached a level, and which.
    reached: BTreeMap<SegmentSeq, Level>,
}

impl Watermarks {
    /// Continues where an earlier run stood.
    pub fn resume(floor: Marks) -> Self {
        let floor = Marks { dispersed: floor.dispersed.max(floor.finalized), ..floor };
        let marks = StreamMarks { floor, log: floor, streams: BTreeMap::new() };
        Self { marks, ..Self::default() }
    }

    /// How far every stream is.
    pub fn marks(&self) -> &StreamMarks {
        &self.marks
    }

    /// Last LSN that is in some cut.
    pub fn cut_to(&self) -> Lsn {
        self.cuts.back().map_or(self.marks.floor.finalized, |cut| cut.last)
    }

    /// Whether a cut that is not finalized needs the segment.
    pub fn needs(&self, segment: SegmentSeq) -> bool {
        self.cuts.iter().any(|cut| cut.needs.contains(segment))
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

    fn has(&self, segment: SegmentSeq, level: Level) -> bool {
        self.reached.get(&segment).is_some_and(|at| *at >= level)
    }

    /// Segments that keep a stream (every stream: `None`) from reaching `level` up to `lsn`.
    pub fn missing(&self, level: Level, stream: Option<StreamId>, lsn: Lsn) -> BTreeSet<SegmentSeq> {
        let before = self.cuts.iter().take_while(|cut| cut.last < lsn).count();
        let cuts: Vec<&Cut> = self.cuts.iter().take(before + 1).collect();
        let lacks = |segment: &SegmentSeq| !self.has(*segment, level);
        let Some(stream) = stream else {
            return cuts.iter().flat_map(|cut| cut.needs.all()).filter(lacks).collect();
        };
        // From the last cut to the first: what ties streams together late needs all of them before.
        let mut group = BTreeSet::from([stream]);
        let mut missing = BTreeSet::new();
        for cut in cuts.into_iter().rev() {
            group = group.iter().flat_map(|stream| cut.needs.group(*stream)).collect();
            missing.extend(cut.needs.of(&group).filter(lacks));
        }
        missing
    }

    /// What it takes to need a segment no more that died, undispersed, with a record at or before
    /// `dead_at`; `None` when the log has not been cut so far.
    pub fn excuse(&self, segment: SegmentSeq, dead_at: Lsn) -> Option<Excuse> {
        if self.cut_to() < dead_at {
            return None;
        }
        let first = self.cuts.iter().position(|cut| cut.needs.contains(segment));
        let Some(first) = first else { return Some(Excuse { segment, gone: Vec::new(), merged: None }) };
        let last_need = self.cuts.iter().rposition(|cut| cut.needs.contains(segment)).unwrap_or(first);
        let holds_drop = self.cuts.iter().position(|cut| cut.last >= dead_at).unwrap_or(first);
        let run = self.cuts.range(first..=last_need.max(holds_drop));
        let mut needs = Needs::default();
        run.clone().for_each(|cut| needs.extend(&cut.needs));
        needs.remove(segment);
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
        let dispersed = self.passed(Level::Dispersed);
        let finalized = self.passed(Level::Finalized);
        let none = Lsn(0);
        let marks = |stream: Option<StreamId>| Marks {
            dispersed: dispersed.get(&stream).copied().unwrap_or(none),
            finalized: finalized.get(&stream).copied().unwrap_or(none),
        };
        let floor = |passed: &BTreeMap<Option<StreamId>, Lsn>| passed.values().min().copied().unwrap_or(none);
        let lowest = Marks { dispersed: floor(&dispersed), finalized: floor(&finalized) };
        let known: BTreeSet<StreamId> = dispersed.keys().flatten().copied().collect();
        let streams = known.iter().map(|stream| (*stream, marks(Some(*stream)).max(self.marks.of(*stream))));
        let mut now = StreamMarks {
            floor: self.marks.floor.max(lowest),
            log: self.marks.log.max(marks(None)),
            streams: streams.collect(),
        };
        let done = self.cuts.iter().take_while(|cut| cut.last <= now.floor.finalized).count();
        self.cuts.drain(..done);
        // A stream that is in no cut any more is as far as the log.
        let in_cuts = |stream: &StreamId| self.cuts.iter().any(|cut| cut.needs.streams.contains_key(stream));
        now.streams.retain(|stream, _| in_cuts(stream));
        self.marks = now;
        if done > 0 {
            let cuts = &self.cuts;
            self.reached.retain(|segment, _| cuts.iter().any(|cut| cut.needs.contains(*segment)));
        }
        let marks = self.marks.floor;
        assert!(marks.dispersed >= marks.finalized, "what is finalized is dispersed");
    }

    /// The last LSN of the last cut that each stream has passed at a level; under `None`, a stream
    /// without records.
    fn passed(&self, level: Level) -> BTreeMap<Option<StreamId>, Lsn> {
        let begin = self.marks.floor.at(Level::Finalized);
        let streams: BTreeSet<StreamId> =
            self.cuts.iter().flat_map(|cut| cut.needs.streams.keys().copied()).collect();
        let mut going: BTreeSet<StreamId> = streams.clone();
        let mut passed: BTreeMap<Option<StreamId>, Lsn> =
            streams.into_iter().map(Some).chain([None]).map(|stream| (stream, begin)).collect();
        for cut in &self.cuts {
            if !cut.needs.log.iter().all(|segment| self.has(*segment, level)) {
                break;
            }
            let fits = |stream: &StreamId| {
                let group = cut.needs.group(*stream);
                group.is_subset(&going) && cut.needs.of(&group).all(|segment| self.has(segment, level))
            };
            let goes_on: BTreeSet<StreamId> = going.iter().filter(|stream| fits(stream)).copied().collect();
            going = goes_on;
            passed.insert(None, cut.last);
            passed.extend(going.iter().map(|stream| (Some(*stream), cut.last)));
        }
        passed
    }
}

#[cfg(test)]
#[path = "watermark_tests.rs"]
mod tests;
