//! Snapshots: the state as it was after one commit, for as long as a reader needs it.
//!
//! Taking one notes its LSN, so that a checkpoint does not hand newer rows to the engine (which keeps
//! one version only). Old snapshots therefore keep the overlay growing: hold them for a request, not
//! for a session. Reads take no lock that a commit holds for longer than its row inserts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gw_types::Lsn;
use parking_lot::Mutex;

use crate::DbError;
use crate::read::{Read, Rows};
use crate::shared::Shared;

/// LSNs that readers hold.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    live: Mutex<BTreeMap<Lsn, usize>>,
}

impl Snapshots {
    fn acquire(&self, appended: &AtomicU64) -> Lsn {
        let mut live = self.live.lock();
        // Read under the lock: a floor computed before is not above it, one computed after sees it.
        let lsn = Lsn(appended.load(Ordering::Acquire));
        *live.entry(lsn).or_default() += 1;
        lsn
    }
    /// Returns whether the oldest snapshot moved.
    fn release(&self, lsn: Lsn) -> bool {
        let mut live = self.live.lock();
        let oldest = live.first_key_value().is_some_and(|(first, _)| *first == lsn);
        match live.get_mut(&lsn) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                live.remove(&lsn);
                oldest
            }
        }
    }
    /// The newest LSN up to which the engine may be moved.
    pub(crate) fn floor(&self, staged: Lsn) -> Lsn {
        self.oldest().map_or(staged, |oldest| oldest.min(staged))
    }
    pub(crate) fn oldest(&self) -> Option<Lsn> {
        self.live.lock().first_key_value().map(|(lsn, _)| *lsn)
    }
    pub(crate) fn count(&self) -> usize {
        self.live.lock().values().sum()
    }
}

/// The state after one commit.
pub struct Snapshot {
    shared: Arc<Shared>,
    lsn: Lsn,
}

impl Snapshot {
    pub(crate) fn take(shared: &Arc<Shared>) -> Self {
        let lsn = shared.snapshots.acquire(&shared.appended);
        Self { shared: shared.clone(), lsn }
    }
    /// The commit it shows last.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        self.shared.get_at(key, self.lsn)
    }
    /// See [`Read::scan`].
    pub fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Result<Rows, DbError> {
        self.shared.scan_at(from, to, reverse, limit, self.lsn)
    }
}

impl Read for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        Self::get(self, key)
    }
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Result<Rows, DbError> {
        Self::scan(self, from, to, reverse, limit)
    }
}

impl Clone for Snapshot {
    fn clone(&self) -> Self {
        self.shared.snapshots.again(self.lsn);
        Self { shared: self.shared.clone(), lsn: self.lsn }
    }
}

impl Snapshots {
    /// One more holder of an LSN that is held.
    fn again(&self, lsn: Lsn) {
        *self.live.lock().entry(lsn).or_default() += 1;
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.shared.snapshots.release(self.lsn) && self.shared.checkpoint_is_due() {
            self.shared.unheld.notify_one();
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({})", self.lsn)
    }
}
