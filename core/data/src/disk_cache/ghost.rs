//! Names of frames that were evicted from probation: a bounded memory of what was here lately.

use std::collections::{HashSet, VecDeque};

use gw_types::SegmentSeq;

/// Fingerprints of names, oldest forgotten first. Two names may share one (1 in 2^64): then a frame is
/// taken for one seen before, which costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Ghosts {
    pub(crate) fn push(&mut self, segment: SegmentSeq, offset: u32, most: usize) {
        let print = fingerprint(segment, offset);
        if self.known.insert(print) {
            self.order.push_back(print);
        }
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    pub(crate) fn knows(&self, segment: SegmentSeq, offset: u32) -> bool {
        self.known.contains(&fingerprint(segment, offset))
    }
}

/// The finaliser of splitmix64 over both numbers.
fn fingerprint(segment: SegmentSeq, offset: u32) -> u64 {
    let mixed = segment.0.rotate_left(32) ^ u64::from(offset) ^ 0x9e37_79b9_7f4a_7c15;
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Ghosts, SegmentSeq};

    #[test]
    fn the_oldest_names_are_forgotten_first() {
        let mut ghosts = Ghosts::default();
        for offset in 0..100 {
            ghosts.push(SegmentSeq(7), offset, 10);
        }
        assert!(!ghosts.knows(SegmentSeq(7), 89) && ghosts.knows(SegmentSeq(7), 90));
        assert!(!ghosts.knows(SegmentSeq(8), 95));
        assert_eq!((ghosts.known.len(), ghosts.order.len()), (10, 10));
    }
}
