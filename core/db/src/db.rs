//! The database handle.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gw_types::Lsn;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::journal::read_records;
use crate::record::Record;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::txn::Txn;
use crate::{DbError, DbStats, Health};

/// What a commit returned, and its place in the log: wait for the watermark to pass it before
/// acknowledging anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the closure returned.
    pub value: T,
    /// The commit's number; of the newest record when nothing was changed.
    pub lsn: Lsn,
}

/// An open database. See the crate's page.
pub struct Db {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Db {
    /// Commits: runs `act` under the commit lock on the newest state; if it returns `Ok` and changed
    /// anything, the record is appended and visible to every later snapshot. It is not yet durable:
    /// see [`Db::wait_staged`]. On `Err` nothing happened. A commit inside a commit waits for itself.
    ///
    /// Errors of its own: [`DbError::Poisoned`], [`DbError::Busy`], [`DbError::Full`], an error of
    /// the sink, and `Refused` for a record over `record_bytes_max`.
    pub fn transact<T, E: From<DbError>>(
        &self,
        act: impl FnOnce(&mut Txn<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        let mut commit = self.shared.commit.lock();
        self.shared.admit()?;
        let newest = self.shared.appended();
        let mut txn = Txn::new(&self.shared, newest.next());
        let value = act(&mut txn)?;
        let body = txn.into_body();
        if body.is_empty() {
            return Ok(Committed { value, lsn: newest });
        }
        self.shared.append(&mut commit, newest.next(), body)?;
        Ok(Committed { value, lsn: newest.next() })
    }

    /// The newest appended state.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.shared)
    }

    /// Returns when record `lsn` is in the synced journal, or never will be ([`DbError::Poisoned`]).
    pub async fn wait_staged(&self, lsn: Lsn) -> Result<(), DbError> {
        self.shared.wait_staged(lsn).await
    }
    /// Newest record.
    pub fn appended(&self) -> Lsn {
        self.shared.appended()
    }
    /// Newest record in the synced journal.
    pub fn staged(&self) -> Lsn {
        self.shared.staged()
    }
    /// Follows the staged watermark. A change is also signalled, with the old value, when the
    /// database is poisoned: look at [`Db::health`] then.
    pub fn subscribe_staged(&self) -> watch::Receiver<Lsn> {
        self.shared.staged.subscribe()
    }

    /// Staged records behind `after`, in order, at least one if there is one, until their rows fill
    /// `bytes_max`. `NotFound` when the next one has been released (see [`Db::hold_records_after`]).
    pub async fn records(&self, after: Lsn, bytes_max: usize) -> Result<Vec<Record>, DbError> {
        read_records(&self.shared.index, after, self.staged(), bytes_max).await
    }

    /// Keeps every journal file that holds a record newer than `lsn`. Replaced by each call and
    /// remembered by nobody: call it right after open. Until then everything is kept;
    /// `Lsn(u64::MAX)` keeps nothing beyond what recovery needs.
    pub fn hold_records_after(&self, lsn: Lsn) {
        self.shared.hold.store(lsn.0, Ordering::Release);
    }

    /// How often this data directory has been opened, this time included; from 1. Durable before
    /// open returned, so no two lives share it.
    pub fn epoch(&self) -> u16 {
        self.shared.epoch
    }

    /// Whether commits are taken, and why not.
    pub fn health(&self) -> Health {
        Health {
            poisoned: self.shared.poison.get().cloned(),
            checkpoint_failed: self.shared.checkpoint_failed.lock().clone(),
            disk_full: self.shared.disk_full.load(Ordering::Relaxed),
        }
    }

    /// Whether rows that wait for a checkpoint are near the limit at which commits are refused: whoever
    /// holds a snapshot for long should let it go.
    pub fn is_pressed(&self) -> bool {
        let shared = &self.shared;
        shared.overlay.bytes() >= shared.config.overlay_bytes_max.saturating_mul(3) / 2
    }

    /// Figures of this moment.
    pub fn stats(&self) -> DbStats {
        let shared = &self.shared;
        let (journal_files, journal_bytes) = {
            let index = shared.index.lock();
            (index.files.len(), index.bytes())
        };
        let runs = shared.runs.list();
        DbStats {
            appended: shared.appended(),
            staged: shared.staged(),
            checkpoint: shared.checkpointed(),
            applied: shared.ports.catalog.applied(),
            pending_bytes: shared.pending_bytes.load(Ordering::Relaxed),
            overlay_bytes: shared.overlay.bytes(),
            overlay_rows: shared.overlay.versions(),
            snapshots: shared.snapshots.count(),
            snapshot_oldest: shared.snapshots.oldest(),
            journal_files,
            journal_bytes,
            runs: runs.len(),
            run_bytes: runs.iter().map(|run| run.len).sum(),
            run_rows: runs.iter().map(|run| run.rows).sum(),
            catalog_bytes: shared.ports.catalog.disk_bytes().unwrap_or_default(),
            syncs: shared.syncs.load(Ordering::Relaxed),
            records: shared.records.load(Ordering::Relaxed),
        }
    }

    /// Stages what was appended and stops. Commits after it are refused; snapshots keep working.
    pub async fn close(&self) -> Result<(), DbError> {
        self.stop();
        let result = self.shared.wait_staged(self.shared.appended()).await;
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // A task that panicked has been reported by the runtime; there is nothing to add.
            let _ = task.await;
        }
        result
    }

    fn stop(&self) {
        // Under the commit lock, so that no commit slips in behind the last group.
        let _commit = self.shared.commit.lock();
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake_all();
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Db(epoch {}, {:?})", self.shared.epoch, self.stats())
    }
}
