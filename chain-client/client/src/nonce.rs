//! The order of one account's calls.
//!
//! Every extrinsic of an account carries the next number; two with the same number exclude each
//! other, and one that leaves a gap is not executed until the gap is filled. So calls take turns in
//! being handed to the node, and only in that: as soon as the node has accepted one, the next may
//! go, and any number wait for finality together. A number is spent only when the node has accepted
//! the extrinsic; one that was refused is used again, so no gap arises. Whenever it is unclear
//! whether the node holds an extrinsic (connection lost, pool dropped it, caller went away), the
//! book is closed and the next call asks the chain.
//!
//! What is never forgotten is what is certain: numbers seen in finalized blocks are behind us, and
//! numbers of calls that still wait for finality are not handed out again.
//!
//! A call whose fate is unknown may still sit in the node's pool, where nobody who looks at
//! finalized blocks can see it. So the lane remembers it as a doubt, by the hash of the call, until
//! its mortality has passed: the same call made again is given the same number, and of two
//! extrinsics with one number the chain takes one.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

/// BLAKE2b-256 of a call's bytes.
pub(crate) type CallHash = [u8; 32];

/// Doubts remembered; beyond them the one that lapses first is forgotten.
const DOUBTS_MAX: usize = 256;

/// One account's lane.
#[derive(Debug, Default)]
pub(crate) struct NonceLane {
    turn: AsyncMutex<()>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// The number for the next call; `None` when the chain must be asked.
    next: Option<u64>,
    /// All numbers below are in finalized blocks.
    landed: u64,
    /// Accepted by the node, not yet known to be final.
    pending: BTreeSet<u64>,
    /// Handed to the node and not known to be final or refused, with the block at which it lapses.
    /// Those that are pending are on their way; the others are in doubt.
    handed: BTreeMap<(CallHash, u64), u64>,
}

impl Book {
    fn hand(&mut self, call: CallHash, nonce: u64, lapses: u64) {
        self.handed.insert((call, nonce), lapses);
        if self.handed.len() > DOUBTS_MAX {
            let first = self.handed.iter().min_by_key(|(_, lapses)| **lapses).map(|(key, _)| *key);
            first.map(|key| self.handed.remove(&key));
        }
    }
}

impl NonceLane {
    /// Waits for the turn to hand a call to the node. Dropping the turn passes it on.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn { lane: self, _held: self.turn.lock().await }
    }
}

/// The right to hand one call to the node.
pub(crate) struct Turn<'lane> {
    lane: &'lane NonceLane,
    _held: AsyncMutexGuard<'lane, ()>,
}

impl<'lane> Turn<'lane> {
    /// The number to use, if it is known.
    pub(crate) fn known(&self) -> Option<u64> {
        self.lane.book.lock().next
    }

    /// The number to use, now that the chain says it expects `from_chain`. Never below `at_least`,
    /// never one that is final or waiting to be.
    pub(crate) fn learn(&self, from_chain: u64, at_least: u64) -> u64 {
        let mut book = self.lane.book.lock();
        let mut nonce = from_chain.max(book.landed).max(at_least);
        while book.pending.contains(&nonce) {
            nonce += 1;
        }
        book.next = Some(nonce);
        nonce
    }

    /// The number under which this very call was handed over with unknown fate, if it can still
    /// come into a block after `finalized`.
    pub(crate) fn doubt(&self, call: CallHash, finalized: u64) -> Option<u64> {
        let mut book = self.lane.book.lock();
        book.handed.retain(|_, lapses| *lapses > finalized);
        let same = book.handed.range((call, 0)..=(call, u64::MAX)).map(|((_, nonce), _)| *nonce);
        same.filter(|nonce| !book.pending.contains(nonce)).min()
    }

    /// To be called right before sending: until the node has answered, nothing is known. If the
    /// caller goes away in between, it stays that way. `lapses` is the block from which on the
    /// extrinsic is no longer valid.
    pub(crate) fn sending(&self, call: CallHash, nonce: u64, lapses: u64) {
        let mut book = self.lane.book.lock();
        book.next = None;
        book.hand(call, nonce, lapses);
    }

    /// The doubt about this call is settled: it is not, or no longer, in any pool.
    pub(crate) fn settled(&self, call: CallHash, nonce: u64) {
        self.lane.book.lock().handed.remove(&(call, nonce));
    }

    /// The node refused it: the number is free again.
    pub(crate) fn refused(self, call: CallHash, nonce: u64) {
        let mut book = self.lane.book.lock();
        book.next = Some(nonce);
        book.handed.remove(&(call, nonce));
    }

    /// The node holds it. Ends the turn.
    pub(crate) fn accepted(self, call: CallHash, nonce: u64) -> Pending<'lane> {
        let mut book = self.lane.book.lock();
        book.pending.insert(nonce);
        let mut next = nonce + 1;
        while book.pending.contains(&next) {
            next += 1;
        }
        book.next = Some(next);
        Pending { lane: self.lane, call, nonce, landed: false }
    }
}

/// A call that the node holds and that is not yet final. Dropping it means that its fate is unknown.
pub(crate) struct Pending<'lane> {
    lane: &'lane NonceLane,
    call: CallHash,
    nonce: u64,
    landed: bool,
}

impl Pending<'_> {
    /// It is in a finalized block, whatever the result of the call was.
    pub(crate) fn landed(mut self) {
        self.landed = true;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut book = self.lane.book.lock();
        book.pending.remove(&self.nonce);
        if self.landed {
            book.landed = book.landed.max(self.nonce + 1);
            book.handed.remove(&(self.call, self.nonce));
        } else {
            book.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DOUBTS_MAX, NonceLane};

    const CALL: [u8; 32] = [1; 32];
    const ANOTHER: [u8; 32] = [2; 32];
    const LAPSES: u64 = 256;

    #[tokio::test]
    async fn numbers_are_consecutive_and_the_chain_is_asked_once() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        assert_eq!(turn.known(), None);
        let nonce = turn.learn(5, 0);
        turn.sending(CALL, 5, LAPSES);
        let first = turn.accepted(CALL, nonce);
        let turn = lane.turn().await;
        assert_eq!(turn.known(), Some(6));
        turn.sending(CALL, 6, LAPSES);
        let second = turn.accepted(CALL, 6);
        first.landed();
        second.landed();
        assert_eq!(lane.turn().await.known(), Some(7));
    }

    #[tokio::test]
    async fn a_refused_number_is_used_again() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        assert_eq!(turn.learn(5, 0), 5);
        turn.sending(CALL, 5, LAPSES);
        turn.refused(CALL, 5);
        let turn = lane.turn().await;
        assert_eq!(turn.known(), Some(5));
        assert_eq!(turn.doubt(CALL, 0), None);
    }

    #[tokio::test]
    async fn a_caller_who_left_while_sending_makes_the_next_one_ask() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        turn.learn(5, 0);
        turn.sending(CALL, 5, LAPSES);
        drop(turn);
        let turn = lane.turn().await;
        assert_eq!(turn.known(), None);
        assert_eq!(turn.doubt(CALL, 0), Some(5));
        assert_eq!(turn.doubt(ANOTHER, 0), None);
    }

    #[tokio::test]
    async fn an_unknown_fate_makes_the_next_one_ask_and_keeps_what_still_waits() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        turn.learn(5, 0);
        let lost = turn.accepted(CALL, 5);
        let waiting = lane.turn().await.accepted(CALL, 6);
        drop(lost);
        let turn = lane.turn().await;
        assert_eq!(turn.known(), None);
        // The chain never saw 5: its number fills the gap before 6, and 6 is not handed out twice.
        assert_eq!(turn.learn(5, 0), 5);
        let filled = turn.accepted(ANOTHER, 5);
        assert_eq!(lane.turn().await.known(), Some(7));
        filled.landed();
        waiting.landed();
        // A node that lags does not bring a final number back.
        assert_eq!(lane.turn().await.learn(3, 0), 7);
    }

    #[tokio::test]
    async fn a_number_taken_by_somebody_else_is_skipped() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        assert_eq!(turn.learn(5, 6), 6);
    }

    #[tokio::test]
    async fn a_call_in_doubt_keeps_its_number_until_it_lands_or_lapses() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        turn.sending(CALL, 5, LAPSES);
        let pending = turn.accepted(CALL, 5);
        // On its way, it is in no doubt: the same call may be wanted twice.
        assert_eq!(lane.turn().await.doubt(CALL, 0), None);
        drop(pending);
        assert_eq!(lane.turn().await.doubt(CALL, LAPSES - 1), Some(5));
        let turn = lane.turn().await;
        turn.sending(CALL, 5, LAPSES + 10);
        turn.accepted(CALL, 5).landed();
        assert_eq!(lane.turn().await.doubt(CALL, 0), None);
        lane.turn().await.sending(CALL, 6, LAPSES);
        assert_eq!(lane.turn().await.doubt(CALL, LAPSES), None);
    }

    #[tokio::test]
    async fn doubts_are_bounded_and_the_oldest_goes_first() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        for nonce in 0..=DOUBTS_MAX as u64 {
            turn.sending([nonce as u8; 32], nonce, LAPSES + nonce);
        }
        assert_eq!(turn.doubt([1; 32], 0), Some(1));
        assert_eq!(
            turn.doubt([0; 32], 0),
            Some(DOUBTS_MAX as u64),
            "the first is forgotten, its namesake is not"
        );
    }
}
