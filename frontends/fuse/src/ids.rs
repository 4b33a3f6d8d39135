//! Users and groups of the namespace as those of this machine, and back.
//!
//! The map is a list of ranges, as `/proc/PID/uid_map` is one. What is in no range is shown as the
//! overflow id and cannot be set: the same that the kernel's own id-mapped mounts do.

use std::str::FromStr;

use thiserror::Error;

/// What the kernel shows for an id that has no name here (`/proc/sys/kernel/overflowuid`).
pub const OVERFLOW_ID: u32 = 65_534;
/// Ranges of one map, as many as the kernel takes.
pub const RANGES_MAX: usize = 340;

/// A run of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    stored: u32,
    here: u32,
    count: u32,
}

/// A map of ids. The empty one changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    ranges: Vec<Range>,
}

/// Why a text is no map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no id map: it is STORED:HERE:COUNT, more of them with commas, without overlaps")]
pub struct BadIdMap {
    text: String,
}

impl IdMap {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The id on this machine of a stored one.
    pub fn here(&self, stored: u32) -> u32 {
        self.find(stored, |range| (range.stored, range.here)).unwrap_or(OVERFLOW_ID)
    }

    /// The stored id of one on this machine.
    pub fn stored(&self, here: u32) -> Option<u32> {
        self.find(here, |range| (range.here, range.stored))
    }

    fn find(&self, id: u32, ends: impl Fn(&Range) -> (u32, u32)) -> Option<u32> {
        if self.ranges.is_empty() {
            return Some(id);
        }
        self.ranges.iter().find_map(|range| {
            let (from, to) = ends(range);
            let into = id.checked_sub(from)?;
            (into < range.count).then(|| to + into)
        })
    }
}

impl FromStr for IdMap {
    type Err = BadIdMap;

    fn from_str(text: &str) -> Result<Self, BadIdMap> {
        let bad = || BadIdMap { text: text.to_owned() };
        let mut ranges: Vec<Range> = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let numbers: Vec<u32> = part
                .split(':')
                .map(|number| number.trim().parse().map_err(|_| bad()))
                .collect::<Result<_, _>>()?;
            let &[stored, here, count] = numbers.as_slice() else { return Err(bad()) };
            // The last id means "leave as it is" in chown(2).
            let fits = |start: u32| count > 0 && start.checked_add(count).is_some();
            let apart = |one: u32, two: u32, others: u32| one >= two + others || two >= one + count;
            let free = ranges.iter().all(|range| {
                apart(stored, range.stored, range.count) && apart(here, range.here, range.count)
            });
            if !fits(stored) || !fits(here) || !free || ranges.len() == RANGES_MAX {
                return Err(bad());
            }
            ranges.push(Range { stored, here, count });
        }
        Ok(Self { ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::{IdMap, OVERFLOW_ID};

    #[test]
    fn an_empty_map_changes_nothing() {
        let map: IdMap = "".parse().unwrap();
        assert_eq!((map.here(7), map.stored(7)), (7, Some(7)));
    }

    #[test]
    fn ranges_go_both_ways_and_the_rest_is_nobody() {
        let map: IdMap = "0:100000:1000,5000:1000:1".parse().unwrap();
        assert_eq!((map.here(0), map.here(999), map.here(5000)), (100_000, 100_999, 1000));
        assert_eq!((map.stored(100_001), map.stored(1000)), (Some(1), Some(5000)));
        assert_eq!((map.here(1000), map.stored(0)), (OVERFLOW_ID, None));
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for text in
            ["1", "1:2", "1:2:0", "a:b:c", "0:0:4294967295,", "0:0:10,5:20:1", "0:0:10,50:9:1", "1:2:3:4"]
        {
            let parsed: Result<IdMap, _> = text.parse();
            assert_eq!(parsed.is_ok(), text == "0:0:4294967295,", "{text}");
        }
    }
}
