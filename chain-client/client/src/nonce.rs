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

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

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

    /// To be called right before sending: until the node has answered, nothing is known. If the
    /// caller goes away in between, it stays that way.
    pub(crate) fn sending(&self) {
        self.lane.book.lock().next = None;
    }

    /// The node refused it: the number is free again.
    pub(crate) fn refused(self, nonce: u64) {
        self.lane.book.lock().next = Some(nonce);
    }

    /// The node holds it. Ends the turn.
    pub(crate) fn accepted(self, nonce: u64) -> Pending<'lane> {
        let mut book = self.lane.book.lock();
        book.pending.insert(nonce);
        let mut next = nonce + 1;
        while book.pending.contains(&next) {
            next += 1;
        }
        book.next = Some(next);
        Pending { lane: self.lane, nonce, landed: false }
    }
}

/// A call that the node holds and that is not yet final. Dropping it means that its fate is unknown.
pub(crate) struct Pending<'lane> {
    lane: &'lane NonceLane,
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
        } else {
            book.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NonceLane;

    #[tokio::test]
    async fn numbers_are_consecutive_and_the_chain_is_asked_once() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        assert_eq!(turn.known(), None);
        let nonce = turn.learn(5, 0);
        turn.sending();
        let first = turn.accepted(nonce);
        let turn = lane.turn().await;
        assert_eq!(turn.known(), Some(6));
        turn.sending();
        let second = turn.accepted(6);
        first.landed();
        second.landed();
        assert_eq!(lane.turn().await.known(), Some(7));
    }

    #[tokio::test]
    async fn a_refused_number_is_used_again() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        assert_eq!(turn.learn(5, 0), 5);
        turn.sending();
        turn.refused(5);
        assert_eq!(lane.turn().await.known(), Some(5));
    }

    #[tokio::test]
    async fn a_caller_who_left_while_sending_makes_the_next_one_ask() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        turn.learn(5, 0);
        turn.sending();
        drop(turn);
        assert_eq!(lane.turn().await.known(), None);
    }

    #[tokio::test]
    async fn an_unknown_fate_makes_the_next_one_ask_and_keeps_what_still_waits() {
        let lane = NonceLane::default();
        let turn = lane.turn().await;
        turn.learn(5, 0);
        let lost = turn.accepted(5);
        let waiting = lane.turn().await.accepted(6);
        drop(lost);
        let turn = lane.turn().await;
        assert_eq!(turn.known(), None);
        // The chain never saw 5: its number fills the gap before 6, and 6 is not handed out twice.
        assert_eq!(turn.learn(5, 0), 5);
        let filled = turn.accepted(5);
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
}
