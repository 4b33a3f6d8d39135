//! Which bytes of some segments are alive: one walk over every row that holds a map.
//!
//! No row says of an extent who refers to it, so all maps are walked, once for many segments, in one
//! snapshot: whatever is referred to later is a part of something that is referred to in it. A segment
//! that took in bytes of others (its guests) is alive where their maps point, through their `moved`
//! rows.
//!
//! The sum of what is found is compared with the live bytes that commits have counted. When less is
//! found, somebody keeps maps in rows that the walk does not know, and the segment must not be touched:
//! moving it would lose bytes.

use std::collections::{BTreeMap, BTreeSet};

use gw_db::{DbError, Snapshot};
use gw_types::SegmentSeq;

use crate::map::MapEntry;
use crate::rows::{self, Filled, MapRow, SegmentState};
use crate::{DataError, DataMap};

/// Rows read before other tasks have their turn.
const PAGE_ROWS: usize = 512;
/// References kept over all segments of one walk, 8 bytes each. A segment has at most some hundred
/// thousand; those beyond are left for another walk.
const RANGES_MAX: usize = 4 << 20;

/// Who keeps maps in rows of his own: the store, for one. Knows the rows, not the state.
pub trait MapRows: Send + Sync + std::fmt::Debug {
    /// Tables (first bytes of keys) with rows that may hold maps.
    fn tables(&self) -> &[u8];
    /// The maps that a row holds: all that count as references to bytes.
    fn maps(&self, key: &[u8], value: &[u8]) -> Result<Vec<DataMap>, DataError>;
}

/// What is alive in some segments.
#[derive(Debug, Default)]
pub struct Live {
    found: BTreeMap<SegmentSeq, Vec<Filled>>,
    left: BTreeMap<SegmentSeq, &'static str>,
}

impl Live {
    /// The live runs of a segment, in order, without overlap; each holds the whole of every reference
    /// that touches it. `Err` says why it must be left alone.
    pub fn of(&self, seq: SegmentSeq) -> Result<&[Filled], &'static str> {
        match (self.left.get(&seq), self.found.get(&seq)) {
            (Some(reason), _) => Err(reason),
            (None, Some(runs)) => Ok(runs),
            (None, None) => Err("it was not looked for"),
        }
    }
}

/// References to one segment, as maps name it.
#[derive(Debug, Default)]
struct Target {
    ranges: Vec<Filled>,
    bytes: u64,
    is_given_up: bool,
}

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    snapshot: &'a Snapshot,
    victims: Vec<SegmentSeq>,
    targets: BTreeMap<SegmentSeq, Target>,
    kept: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, victims: &[SegmentSeq]) -> Result<Self, DataError> {
        let mut targets = BTreeMap::new();
        for victim in victims {
            if let Some(row) = rows::segment(snapshot, *victim)? {
                targets.extend(row.guests.iter().map(|guest| (*guest, Target::default())));
            }
            targets.insert(*victim, Target::default());
        }
        Ok(Self { snapshot, victims: victims.to_vec(), targets, kept: 0 })
    }

    /// Goes through all tables. Yields between pages; `is_pressed` ends it early.
    pub(super) async fn go(
        &mut self,
        holder: &dyn MapRows,
        is_pressed: impl Fn() -> bool,
    ) -> Result<(), DataError> {
        let tables: BTreeSet<u8> =
            holder.tables().iter().copied().chain([rows::MAP_TABLE, rows::LEAF_TABLE]).collect();
        for table in tables {
            let mut from = vec![table];
            loop {
                let page = self.snapshot.scan(&from, &[table + 1], false, PAGE_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                from = last.to_vec();
                from.push(0);
                for (key, value) in &page {
                    self.row(holder, key, value)?;
                }
                if is_pressed() {
                    return Err(DataError::Busy("too much is being written to look for live bytes now"));
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn row(&mut self, holder: &dyn MapRows, key: &[u8], value: &[u8]) -> Result<(), DataError> {
        if key.first() == Some(&rows::MAP_TABLE) {
            let row: MapRow = rows::decode(key, value)?;
            row.entries.iter().for_each(|entry| self.entry(entry));
            return Ok(());
        }
        if key.first() == Some(&rows::LEAF_TABLE) {
            rows::decode_leaf(key, value)?.iter().for_each(|entry| self.entry(entry));
            return Ok(());
        }
        for map in holder.maps(key, value)? {
            map.own_entries().iter().for_each(|entry| self.entry(entry));
        }
        Ok(())
    }

    fn entry(&mut self, entry: &MapEntry) {
        let Some((segment, range)) = entry.sealed_range() else { return };
        let Some(target) = self.targets.get_mut(&segment) else { return };
        target.bytes += entry.live_bytes();
        if self.kept >= RANGES_MAX {
            self.kept -= target.ranges.len();
            *target = Target { is_given_up: true, ..Target::default() };
        }
        if !target.is_given_up {
            target.ranges.push(Filled { start: range.start, end: range.end });
            self.kept += 1;
        }
    }

    pub(super) fn end(self) -> Result<Live, DataError> {
        let mut live = Live::default();
        for victim in self.victims.clone() {
            match self.victim(victim)? {
                Ok(runs) => drop(live.found.insert(victim, runs)),
                Err(reason) => drop(live.left.insert(victim, reason)),
            }
        }
        Ok(live)
    }

    fn victim(&self, victim: SegmentSeq) -> Result<Result<Vec<Filled>, &'static str>, DbError> {
        let Some(row) = rows::segment(self.snapshot, victim)? else { return Ok(Err("it is gone")) };
        let mut ranges = Vec::new();
        for seq in [victim].iter().chain(&row.guests) {
            let Some(target) = self.targets.get(seq) else { continue };
            if target.is_given_up {
                return Ok(Err("it has too many references to be looked at together with others"));
            }
            let counted = if *seq == victim { Some(row.live_bytes) } else { self.live_bytes(*seq)? };
            if counted.is_some_and(|counted| target.bytes < counted) {
                return Ok(Err("fewer references were found than commits have counted"));
            }
            if *seq == victim {
                ranges.extend(&target.ranges);
                continue;
            }
            let moved = rows::moved(self.snapshot, *seq)?.unwrap_or_default();
            // What has no place there is in another home, or is a reference that no longer counts.
            ranges.extend(target.ranges.iter().filter_map(|range| {
                let (home, start) = moved.place(range.start, range.end)?;
                (home == victim).then_some(Filled { start, end: start + (range.end - range.start) })
            }));
        }
        Ok(Ok(joined(ranges)))
    }

    fn live_bytes(&self, seq: SegmentSeq) -> Result<Option<u64>, DbError> {
        let row = rows::segment(self.snapshot, seq)?;
        Ok(row.filter(|row| row.state == SegmentState::Moved).map(|row| row.live_bytes))
    }
}

/// Overlapping runs joined; those that only touch stay apart, so that they may be parted.
fn joined(mut ranges: Vec<Filled>) -> Vec<Filled> {
    ranges.sort_unstable();
    let mut runs: Vec<Filled> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match runs.last_mut().filter(|last| range.start < last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => runs.push(range),
        }
    }
    runs.shrink_to_fit();
    runs
}

#[cfg(test)]
mod tests {
    use super::{Filled, joined};

    #[test]
    fn overlapping_references_are_one_run_and_neighbours_are_two() {
        let run = |start, end| Filled { start, end };
        let runs = joined(vec![run(100, 200), run(0, 50), run(50, 60), run(150, 300), run(110, 120)]);
        assert_eq!(runs, [run(0, 50), run(50, 60), run(100, 300)]);
    }
}
