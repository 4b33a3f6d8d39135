//! Which deals are worth compacting now: pure.
//!
//! The chain gives space back by whole deals, so victims are deals. A deal's *capacity* is what it pays
//! for, whole segments; what is not alive in them is dead, whether it was deleted or never filled.
//! Deals that were sealed with little in them come first: nothing in them is about to die, so merging
//! them pays for sure. Then by benefit over cost, as log-structured file systems have it (Rosenblum and
//! Ousterhout 1991, section 3.6): free space gained times age, over the cost of reading and writing.
//!
//! A batch must pay: what it frees is more than what it takes for the new homes and for the log that
//! tells of them. New homes are dispersed before the old ones go, so they must fit into what is free.

use std::time::Duration;

use gw_types::{Fid, SEGMENT_BYTES, SegmentSeq};

/// Segments of the log that a batch costs.
const LOG_SEGMENTS: u64 = 1;
/// Live bytes of one batch, unless a single deal has more: new homes stand on this disk meanwhile.
const LIVE_BYTES_MAX: u64 = 32 * SEGMENT_BYTES;
/// Deals of one batch.
const DEALS_MAX: usize = 256;

/// A deal that could be compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) fid: Fid,
    /// What the chain counts.
    pub(crate) segments: u64,
    /// Those that may have something alive.
    pub(crate) victims: Vec<SegmentSeq>,
    pub(crate) used_bytes: u64,
    pub(crate) live_bytes: u64,
    /// Since it was declared.
    pub(crate) age: Duration,
}

impl Candidate {
    fn capacity_bytes(&self) -> u64 {
        self.segments * SEGMENT_BYTES
    }
    /// Filled for less than half when it was sealed.
    fn is_padded(&self) -> bool {
        self.used_bytes < self.capacity_bytes() / 2
    }
    fn live_percent(&self) -> u64 {
        (self.live_bytes * 100).div_ceil(self.capacity_bytes().max(1))
    }
    /// Benefit over cost, scaled: `(1 - u) * age / (1 + u)`.
    fn score(&self) -> u128 {
        let capacity = self.capacity_bytes();
        let free = capacity.saturating_sub(self.live_bytes);
        u128::from(free) * u128::from(self.age.as_secs() + 1) * 1000
            / u128::from(capacity + self.live_bytes).max(1)
    }
}

/// What a batch may take and must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// New segments that may be taken, those of the log not counted.
    pub(crate) new_segments_max: u64,
    /// Deals with more alive are left.
    pub(crate) live_percent_max: u64,
    /// Younger deals are left.
    pub(crate) age_min: Duration,
    /// Segments that must be gained.
    pub(crate) gain_min: u64,
}

/// Victims, in the order in which they are moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) deals: Vec<Candidate>,
    /// Segments that are freed in the end.
    pub(crate) freed_segments: u64,
    /// An estimate.
    pub(crate) new_segments: u64,
}

/// The batch that gains most; `None` when none pays.
pub(crate) fn choose(candidates: &[Candidate], terms: &Terms) -> Option<Batch> {
    let mut order: Vec<&Candidate> = candidates
        .iter()
        .filter(|deal| deal.segments > 0 && deal.age >= terms.age_min)
        .filter(|deal| deal.live_percent() <= terms.live_percent_max)
        .collect();
    order.sort_by_key(|deal| (!deal.is_padded(), std::cmp::Reverse(deal.score()), deal.fid));
    let (mut live, mut freed) = (0, 0);
    let mut taken: Vec<&Candidate> = Vec::new();
    // The longest run is not always the best: its last deals may cost a segment more than they free.
    let mut best: Option<(i128, usize, u64, u64)> = None;
    for deal in order {
        let new = new_segments(live + deal.live_bytes);
        let is_large = live + deal.live_bytes > LIVE_BYTES_MAX && !taken.is_empty();
        if new > terms.new_segments_max || is_large {
            continue;
        }
        live += deal.live_bytes;
        freed += deal.segments;
        taken.push(deal);
        let gain = i128::from(freed) - i128::from(new + LOG_SEGMENTS);
        if best.is_none_or(|(most, ..)| gain > most) {
            best = Some((gain, taken.len(), freed, new));
        }
        if taken.len() == DEALS_MAX {
            break;
        }
    }
    let (gain, len, freed_segments, new_segments) = best?;
    if gain < i128::from(terms.gain_min.max(1)) {
        return None;
    }
    let deals = taken[..len].iter().map(|deal| (*deal).clone()).collect();
    Some(Batch { deals, freed_segments, new_segments })
}

/// Segments that so many live bytes fill. An extent is never parted and none crosses a fragment's
/// border, so gaps stay: three extents of 2.7 MiB do not fit where two of 4 MiB do. A quarter is what
/// a mixture of sizes costs; the worst there is costs half.
fn new_segments(live_bytes: u64) -> u64 {
    (live_bytes + live_bytes / 4).div_ceil(SEGMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gw_types::{Hash32, SEGMENT_BYTES};

    use super::{Batch, Candidate, Fid, Terms, choose};

    const TERMS: Terms =
        Terms { new_segments_max: 100, live_percent_max: 90, age_min: Duration::ZERO, gain_min: 1 };

    fn deal(number: u8, segments: u64, used: u64, live: u64, hours: u64) -> Candidate {
        Candidate {
            fid: Fid(Hash32([number; 32])),
            segments,
            victims: Vec::new(),
            used_bytes: used * segments * SEGMENT_BYTES / 100,
            live_bytes: live * segments * SEGMENT_BYTES / 100,
            age: Duration::from_secs(hours * 3600),
        }
    }

    fn chosen(deals: &[Candidate], terms: &Terms) -> Option<(Vec<u8>, u64, u64)> {
        let Batch { deals, freed_segments, new_segments } = choose(deals, terms)?;
        Some((deals.iter().map(|deal| deal.fid.0.0[0]).collect(), freed_segments, new_segments))
    }

    #[test]
    fn a_batch_must_free_more_than_it_takes() {
        assert_eq!(chosen(&[], &TERMS), None);
        assert_eq!(chosen(&[deal(1, 1, 1, 1, 1), deal(2, 1, 1, 1, 1)], &TERMS), None, "2 for 1, and the log");
        let three = [deal(1, 1, 1, 1, 1), deal(2, 1, 1, 1, 1), deal(3, 1, 1, 1, 1)];
        assert_eq!(chosen(&three, &TERMS), Some((vec![1, 2, 3], 3, 1)));
        assert_eq!(chosen(&three, &Terms { gain_min: 2, ..TERMS }), None);
        assert_eq!(chosen(&[deal(1, 8, 100, 95, 9)], &TERMS), None, "nearly all of it is alive");
    }

    #[test]
    fn padded_deals_come_first_then_old_and_empty_ones() {
        let deals =
            [deal(1, 8, 100, 40, 1), deal(2, 8, 100, 40, 50), deal(3, 8, 100, 10, 20), deal(4, 1, 5, 5, 1)];
        assert_eq!(chosen(&deals, &TERMS), Some((vec![4, 2, 3, 1], 25, 10)));
        let young = Terms { age_min: Duration::from_secs(2 * 3600), ..TERMS };
        assert_eq!(chosen(&deals, &young), Some((vec![2, 3], 16, 5)));
        let sparse = Terms { live_percent_max: 20, ..TERMS };
        assert_eq!(chosen(&deals, &sparse), Some((vec![4, 3], 9, 2)));
    }

    #[test]
    fn new_homes_fit_into_what_is_free() {
        let deals = [deal(1, 64, 100, 50, 9), deal(2, 8, 100, 20, 1)];
        assert_eq!(chosen(&deals, &Terms { new_segments_max: 2, ..TERMS }), Some((vec![2], 8, 2)));
        assert_eq!(chosen(&deals, &Terms { new_segments_max: 1, ..TERMS }), None);
        assert_eq!(chosen(&deals, &TERMS), Some((vec![1], 64, 40)), "a large deal is a batch of its own");
    }

    #[test]
    fn a_deal_that_costs_more_than_it_frees_ends_the_batch_before_it() {
        let deals = [deal(1, 4, 100, 10, 9), deal(2, 1, 100, 89, 1)];
        assert_eq!(chosen(&deals, &TERMS), Some((vec![1], 4, 1)));
    }
}
