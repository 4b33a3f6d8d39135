//! Which log parts follow one another: pure.

use std::collections::BTreeSet;

use gw_types::{Hash32, Lsn};

/// What puts a part in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) number: u64,
    /// Hash of the log segment before.
    pub(super) prev: Hash32,
    /// Of its own.
    pub(super) hash: Hash32,
    pub(super) epoch: u16,
    pub(super) last: Lsn,
}

/// The parts from number 0 on, each behind the one before, up to the first gap; as indices.
///
/// Two parts may stand behind the same one, when a restore once had to leave some behind. The gateway
/// that went on from there had a higher epoch. Of one epoch, the one that goes on is right, then the
/// one that covers more.
pub(super) fn chain_of(links: &[Link]) -> Vec<usize> {
    let followed: BTreeSet<Hash32> = links.iter().map(|link| link.prev).collect();
    let mut chain = Vec::new();
    let mut prev = Hash32([0; 32]);
    loop {
        let behind = |link: &Link| link.number == chain.len() as u64 && link.prev == prev;
        let candidates = links.iter().enumerate().filter(|(_, link)| behind(link));
        let best = candidates.max_by_key(|(_, link)| (link.epoch, followed.contains(&link.hash), link.last));
        let Some((at, link)) = best else { return chain };
        prev = link.hash;
        chain.push(at);
    }
}

#[cfg(test)]
mod tests {
    use gw_types::{Hash32, Lsn};

    use super::{Link, chain_of};

    fn link(number: u64, prev: u8, hash: u8, epoch: u16, last: u64) -> Link {
        Link { number, prev: Hash32([prev; 32]), hash: Hash32([hash; 32]), epoch, last: Lsn(last) }
    }

    #[test]
    fn parts_are_taken_in_order_up_to_the_first_gap() {
        let links = [link(2, 2, 3, 1, 30), link(0, 0, 1, 1, 10), link(1, 1, 2, 1, 20), link(4, 4, 5, 1, 50)];
        assert_eq!(chain_of(&links), [1, 2, 0]);
        assert!(chain_of(&links[2..]).is_empty());
    }

    #[test]
    fn the_younger_of_two_branches_is_right() {
        // 1 was lost, a restore went on from 0 with 11; later 1 and 2 came back.
        let links =
            [link(0, 0, 1, 1, 10), link(1, 1, 2, 1, 20), link(2, 2, 3, 1, 30), link(1, 1, 11, 18, 15)];
        assert_eq!(chain_of(&links), [0, 3]);
    }

    #[test]
    fn of_one_epoch_the_part_that_goes_on_is_right() {
        let links = [link(0, 0, 1, 1, 10), link(0, 0, 9, 1, 12), link(1, 1, 2, 1, 20)];
        assert_eq!(chain_of(&links), [0, 2]);
        assert_eq!(chain_of(&links[..2]), [1]);
    }
}
