//! Transactions that wait for a block.
//!
//! The runtime says of each what tags it needs and what it gives (for a signed transaction: account and nonce). One
//! whose needs nobody gave waits as "future"; the others are ready and come out by priority and age, each after
//! those it needs. Nothing here executes anything, and everything is bounded: transactions, their bytes, and how
//! many one account may have, all and future.

use crate::executor::Applied;
use serde_json::{Value, json};
use sp_core::H256;
use sp_runtime::transaction_validity::ValidTransaction;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
};
use tokio::sync::mpsc;

/// Most transactions.
const TXS_MAX: usize = 8192;
/// Most bytes of all transactions.
const BYTES_MAX: usize = 64 << 20;
/// Most transactions of one account.
const ACCOUNT_TXS_MAX: usize = 2048;
/// Most of them that wait for an earlier one.
const ACCOUNT_FUTURE_MAX: usize = 512;
/// How many blocks back a given tag still counts.
const TAG_MEMORY_BLOCKS: usize = 16;
/// How many blocks a transaction may wait for an earlier one.
const FUTURE_BLOCKS_MAX: u32 = 256;
/// Status messages of one transaction: future, ready, inBlock, finalized, or one that ends it.
pub(crate) const STATUSES_MAX: usize = 8;

type Tag = Vec<u8>;

/// Why a transaction was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It is here already.
    Known,
    /// Another with the same nonce is here, and this one does not pay more.
    Underpriced,
    /// There is no room.
    Full,
}

struct Entry {
    bytes: Vec<u8>,
    account: Option<[u8; 32]>,
    priority: u64,
    sequence: u64,
    expires: u64,
    since: u32,
    requires: Vec<Tag>,
    provides: Vec<Tag>,
    watcher: Option<mpsc::Sender<Value>>,
}

impl Entry {
    fn tell(&self, status: Value) {
        if let Some(watcher) = &self.watcher {
            // The channel has room for every status there is; a failure means that nobody listens any more.
            let _ = watcher.try_send(status);
        }
    }
}

/// The pool.
#[derive(Default)]
pub(crate) struct Pool {
    entries: HashMap<H256, Entry>,
    providers: HashMap<Tag, H256>,
    given: VecDeque<HashSet<Tag>>,
    bytes: usize,
    sequence: u64,
}

impl Pool {
    /// Takes a validated transaction. `number` is the best block's. `watcher` hears what becomes of it.
    pub(crate) fn insert(
        &mut self,
        hash: H256,
        bytes: Vec<u8>,
        valid: ValidTransaction,
        number: u32,
        watcher: Option<mpsc::Sender<Value>>,
    ) -> Result<(), Rejected> {
        if self.entries.contains_key(&hash) {
            return Err(Rejected::Known);
        }
        let rivals: HashSet<H256> =
            valid.provides.iter().filter_map(|tag| self.providers.get(tag).copied()).collect();
        if rivals.iter().any(|rival| self.entries[rival].priority >= valid.priority) {
            return Err(Rejected::Underpriced);
        }
        let mut requires = valid.requires;
        requires.retain(|tag| !self.given.iter().any(|block| block.contains(tag)));
        let account = valid.provides.first().and_then(|tag| account_of(tag.as_slice()));
        self.check_room(bytes.len(), account, &requires)?;
        for rival in rivals {
            self.end(&rival, json!({ "usurped": hash }));
        }
        self.sequence += 1;
        let entry = Entry {
            account,
            priority: valid.priority,
            sequence: self.sequence,
            expires: u64::from(number).saturating_add(valid.longevity),
            since: number,
            requires,
            provides: valid.provides,
            bytes,
            watcher,
        };
        entry.tell(json!(if self.is_future(&entry) { "future" } else { "ready" }));
        for tag in &entry.provides {
            self.providers.insert(tag.clone(), hash);
        }
        self.bytes += entry.bytes.len();
        self.entries.insert(hash, entry);
        Ok(())
    }

    fn is_future(&self, entry: &Entry) -> bool {
        entry.requires.iter().any(|tag| !self.providers.contains_key(tag))
    }

    fn check_room(&self, size: usize, account: Option<[u8; 32]>, requires: &[Tag]) -> Result<(), Rejected> {
        if self.entries.len() >= TXS_MAX || self.bytes + size > BYTES_MAX {
            return Err(Rejected::Full);
        }
        let Some(account) = account else { return Ok(()) };
        let future = requires.iter().any(|tag| !self.providers.contains_key(tag));
        let mine = self.entries.values().filter(|entry| entry.account == Some(account));
        let (all, waiting) = mine.fold((0, 0), |(all, waiting), entry| {
            (all + 1, waiting + usize::from(!entry.requires.is_empty() && self.is_future(entry)))
        });
        if all >= ACCOUNT_TXS_MAX || (future && waiting >= ACCOUNT_FUTURE_MAX) {
            return Err(Rejected::Full);
        }
        Ok(())
    }

    /// Whether a block made now would have a transaction.
    pub(crate) fn has_ready(&self) -> bool {
        self.entries.values().any(|entry| entry.requires.is_empty())
    }

    /// Up to `count` ready transactions, each after those it needs, the best paying and oldest first.
    pub(crate) fn ready(&self, count: usize) -> Vec<(H256, Vec<u8>)> {
        let mut missing: HashMap<H256, usize> = HashMap::new();
        let mut waiting: HashMap<&[u8], Vec<H256>> = HashMap::new();
        let mut heap = BinaryHeap::new();
        let rank = |hash: H256, entry: &Entry| (entry.priority, Reverse(entry.sequence), hash);
        for (hash, entry) in &self.entries {
            if entry.requires.is_empty() {
                heap.push(rank(*hash, entry));
            }
            missing.insert(*hash, entry.requires.len());
            for tag in &entry.requires {
                waiting.entry(tag).or_default().push(*hash);
            }
        }
        let mut chosen = Vec::new();
        while let Some((_, _, hash)) = heap.pop().filter(|_| chosen.len() < count) {
            let entry = &self.entries[&hash];
            chosen.push((hash, entry.bytes.clone()));
            for dependent in entry.provides.iter().filter_map(|tag| waiting.get(tag.as_slice())).flatten() {
                let left = missing.get_mut(dependent).expect("every entry was counted");
                *left -= 1;
                if *left == 0 {
                    heap.push(rank(*dependent, &self.entries[dependent]));
                }
            }
        }
        chosen
    }

    /// A block was made: `outcomes` are the transactions that were tried for it.
    pub(crate) fn on_block(&mut self, number: u32, block: H256, outcomes: &[(H256, Applied)]) {
        let mut given = HashSet::new();
        for (hash, applied) in outcomes {
            match applied {
                Applied::Included => {
                    if let Some(entry) = self.remove(hash) {
                        given.extend(entry.provides.iter().cloned());
                        entry.tell(json!({ "inBlock": block }));
                        entry.tell(json!({ "finalized": block }));
                    }
                }
                Applied::Invalid(why) => {
                    tracing::debug!(?hash, why, "a transaction became invalid");
                    self.end(hash, json!("invalid"));
                }
                // One that needs nothing and is early all the same would be tried in each block for ever.
                Applied::Early if self.entries.get(hash).is_some_and(|entry| entry.requires.is_empty()) => {
                    self.end(hash, json!("dropped"));
                }
                Applied::Full | Applied::Early => {}
            }
        }
        for entry in self.entries.values_mut() {
            entry.requires.retain(|tag| !given.contains(tag));
        }
        self.given.push_front(given);
        self.given.truncate(TAG_MEMORY_BLOCKS);
        self.expire(number);
    }

    fn expire(&mut self, number: u32) {
        let late = |entry: &Entry| {
            let lapsed = u64::from(number) >= entry.expires;
            let lost = self.is_future(entry) && number.saturating_sub(entry.since) > FUTURE_BLOCKS_MAX;
            lapsed || lost
        };
        let late: Vec<H256> =
            self.entries.iter().filter(|(_, entry)| late(entry)).map(|(hash, _)| *hash).collect();
        for hash in late {
            self.end(&hash, json!("dropped"));
        }
    }

    fn end(&mut self, hash: &H256, status: Value) {
        if let Some(entry) = self.remove(hash) {
            entry.tell(status);
        }
    }

    fn remove(&mut self, hash: &H256) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        self.bytes -= entry.bytes.len();
        for tag in &entry.provides {
            if self.providers.get(tag) == Some(hash) {
                self.providers.remove(tag);
            }
        }
        Some(entry)
    }

    /// The encoded transactions, in no particular order.
    pub(crate) fn pending(&self) -> Vec<Vec<u8>> {
        self.entries.values().map(|entry| entry.bytes.clone()).collect()
    }

    /// The nonce an account should use next, given the one its state says.
    pub(crate) fn next_nonce(&self, account: &[u8; 32], state: u32) -> u32 {
        let mut nonce = state;
        while self.providers.contains_key(&nonce_tag(account, nonce)) {
            nonce = nonce.saturating_add(1);
        }
        nonce
    }
}

/// `CheckNonce`'s tag: account ++ nonce (u32 little-endian).
fn nonce_tag(account: &[u8; 32], nonce: u32) -> Tag {
    [account.as_slice(), &nonce.to_le_bytes()].concat()
}

fn account_of(tag: &[u8]) -> Option<[u8; 32]> {
    (tag.len() == 36).then(|| tag.first_chunk().copied()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{ACCOUNT_FUTURE_MAX, Applied, Pool, Rejected, nonce_tag};
    use serde_json::json;
    use sp_core::H256;
    use sp_runtime::transaction_validity::ValidTransaction;
    use tokio::sync::mpsc;

    fn valid(account: u8, nonce: u32, state: u32, priority: u64) -> ValidTransaction {
        let tag = |nonce| nonce_tag(&[account; 32], nonce);
        ValidTransaction {
            priority,
            requires: if nonce > state { vec![tag(nonce - 1)] } else { vec![] },
            provides: vec![tag(nonce)],
            longevity: 64,
            propagate: true,
        }
    }

    fn hash(account: u8, nonce: u32) -> H256 {
        H256::from_low_u64_be(u64::from(account) << 32 | u64::from(nonce))
    }

    fn put(pool: &mut Pool, account: u8, nonce: u32, state: u32) -> Result<(), Rejected> {
        pool.insert(hash(account, nonce), vec![account], valid(account, nonce, state, 1), 0, None)
    }

    fn order(pool: &Pool) -> Vec<H256> {
        pool.ready(100).into_iter().map(|(hash, _)| hash).collect()
    }

    #[test]
    fn nonces_come_out_in_order_whatever_the_order_they_came_in() {
        let mut pool = Pool::default();
        for nonce in [3, 1, 2] {
            put(&mut pool, 7, nonce, 0).unwrap();
        }
        assert!(order(&pool).is_empty() && !pool.has_ready());
        put(&mut pool, 7, 0, 0).unwrap();
        assert_eq!(order(&pool), [0, 1, 2, 3].map(|n| hash(7, n)));
        assert_eq!(pool.next_nonce(&[7; 32], 0), 4);
    }

    #[test]
    fn a_tag_given_by_a_recent_block_counts() {
        let mut pool = Pool::default();
        put(&mut pool, 7, 0, 0).unwrap();
        pool.on_block(1, H256::zero(), &[(hash(7, 0), Applied::Included)]);
        put(&mut pool, 7, 1, 0).unwrap();
        assert_eq!(order(&pool), [hash(7, 1)]);
    }

    #[test]
    fn a_dearer_transaction_replaces_and_a_cheaper_one_is_refused() {
        let mut pool = Pool::default();
        let (sender, mut receiver) = mpsc::channel(8);
        pool.insert(hash(7, 0), vec![1], valid(7, 0, 0, 5), 0, Some(sender)).unwrap();
        let other = H256::repeat_byte(9);
        assert_eq!(pool.insert(other, vec![2], valid(7, 0, 0, 5), 0, None), Err(Rejected::Underpriced));
        assert_eq!(pool.insert(other, vec![2], valid(7, 0, 0, 6), 0, None), Ok(()));
        assert_eq!(receiver.try_recv().unwrap(), json!("ready"));
        assert_eq!(receiver.try_recv().unwrap(), json!({ "usurped": other }));
        assert_eq!(order(&pool), [other]);
    }

    #[test]
    fn one_account_cannot_fill_the_future() {
        let mut pool = Pool::default();
        for nonce in 0..ACCOUNT_FUTURE_MAX as u32 {
            put(&mut pool, 7, 2 * nonce + 5, 0).unwrap();
        }
        assert_eq!(put(&mut pool, 7, 5000, 0), Err(Rejected::Full));
        assert_eq!(put(&mut pool, 8, 0, 0), Ok(()));
        assert_eq!(put(&mut pool, 8, 0, 0), Err(Rejected::Known));
    }

    #[test]
    fn what_nobody_can_include_any_more_is_dropped() {
        let mut pool = Pool::default();
        let (sender, mut receiver) = mpsc::channel(8);
        pool.insert(hash(7, 4), vec![1], valid(7, 4, 0, 5), 0, Some(sender)).unwrap();
        pool.on_block(64, H256::zero(), &[]);
        assert_eq!(receiver.try_recv().unwrap(), json!("future"));
        assert_eq!(receiver.try_recv().unwrap(), json!("dropped"));
        assert!(pool.pending().is_empty() && pool.bytes == 0 && pool.providers.is_empty());
    }
}
