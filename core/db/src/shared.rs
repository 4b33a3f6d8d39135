//! What the handle, its snapshots and its tasks share.
//!
//! Locks, in the order in which they may be taken: the commit lock, then one of the short ones
//! (overlay, index, snapshots), never the other way. A reader takes only the short ones.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gw_types::{Lsn, PortError, PortErrorKind};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::catalog::check_key;
use crate::journal::{Entry, Index, Tail};
use crate::overlay::Overlay;
use crate::read::{KeyRange, Rows, merge_scan};
use crate::record::Body;
use crate::runs::RunSet;
use crate::snapshot::Snapshots;
use crate::{DbConfig, DbError, DbPorts};

/// Behind the commit lock.
pub(crate) struct Commit {
    pub(crate) tail: Tail,
}

pub(crate) struct Shared {
    pub(crate) ports: DbPorts,
    pub(crate) config: DbConfig,
    pub(crate) epoch: u16,
    pub(crate) commit: Mutex<Commit>,
    pub(crate) appended: AtomicU64,
    pub(crate) staged: watch::Sender<Lsn>,
    pub(crate) overlay: Overlay,
    pub(crate) snapshots: Snapshots,
    pub(crate) index: Mutex<Index>,
    pub(crate) runs: RunSet,
    /// Newest record whose rows are all in the engine and in runs.
    pub(crate) checkpoint: AtomicU64,
    pub(crate) pending_bytes: AtomicU64,
    /// Bytes of all journal files, what is pending included.
    pub(crate) journal_bytes: AtomicU64,
    /// Bytes appended since the last checkpoint began.
    pub(crate) uncollected_bytes: AtomicU64,
    pub(crate) hold: AtomicU64,
    /// Between the first import and its end: no commits.
    pub(crate) importing: AtomicBool,
    /// The LSN whose state a checkpoint is collecting (or, for a moment, an older one); else `u64::MAX`.
    pub(crate) collecting: AtomicU64,
    /// One checkpoint at a time.
    pub(crate) checkpointing: tokio::sync::Mutex<()>,
    pub(crate) checkpoint_failed: Mutex<Option<Arc<str>>>,
    pub(crate) disk_full: AtomicBool,
    pub(crate) poison: OnceLock<Arc<PortError>>,
    pub(crate) stopping: AtomicBool,
    /// Wakes the flush task.
    pub(crate) work: Notify,
    /// Wakes the checkpoint task.
    pub(crate) wake: Notify,
    /// Wakes it when a snapshot that held it back is gone, or at a stop.
    pub(crate) unheld: Notify,
    /// Wakes the merge task.
    pub(crate) merge_wake: Notify,
    pub(crate) syncs: AtomicU64,
    pub(crate) records: AtomicU64,
}

impl Shared {
    pub(crate) fn appended(&self) -> Lsn {
        Lsn(self.appended.load(Ordering::Acquire))
    }
    pub(crate) fn staged(&self) -> Lsn {
        *self.staged.borrow()
    }
    pub(crate) fn checkpointed(&self) -> Lsn {
        Lsn(self.checkpoint.load(Ordering::Acquire))
    }
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
    pub(crate) fn overlay_is_over(&self) -> bool {
        self.overlay.bytes() > self.config.overlay_bytes_max
    }

    /// Whether what has gathered asks for a checkpoint, however young it is.
    pub(crate) fn checkpoint_is_due(&self) -> bool {
        self.overlay_is_over()
            || self.uncollected_bytes.load(Ordering::Relaxed) > self.config.checkpoint_journal_bytes
    }

    /// The overlay first, the engine second: rows move downwards.
    pub(crate) fn get_at(&self, key: &[u8], at: Lsn) -> Result<Option<Bytes>, DbError> {
        if let Some(value) = self.overlay.get(key, at) {
            return Ok(value);
        }
        Ok(self.ports.catalog.get(key)?.map(Bytes::from))
    }

    pub(crate) fn scan_at(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        limit: usize,
        at: Lsn,
    ) -> Result<Rows, DbError> {
        merge_scan(
            KeyRange::new(from, to),
            reverse,
            limit,
            |range, page| self.overlay.page(range, reverse, at, page),
            |range, page| {
                let rows = self.ports.catalog.scan(&range.from, range.to_or_empty(), reverse, page)?;
                Ok(rows.into_iter().map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect())
            },
        )
    }

    /// The error of a poisoned or closed database.
    pub(crate) fn refusal(&self) -> Option<DbError> {
        if let Some(error) = self.poison.get() {
            return Some(DbError::Poisoned(error.clone()));
        }
        self.is_stopping().then(closed)
    }

    /// Whether a commit may begin.
    pub(crate) fn admit(&self) -> Result<(), DbError> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        if self.importing.load(Ordering::Acquire) {
            return Err(DbError::refused("an import is going on"));
        }
        if self.pending_bytes.load(Ordering::Relaxed) >= self.config.pending_bytes_max {
            return Err(DbError::Busy("pending_bytes_max"));
        }
        if self.journal_bytes.load(Ordering::Relaxed) >= self.config.journal_bytes_max {
            return Err(DbError::Busy("journal_bytes_max"));
        }
        if self.overlay.bytes() >= self.config.overlay_bytes_max.saturating_mul(2) {
            self.wake.notify_one();
            return Err(DbError::Busy("twice overlay_bytes_max"));
        }
        Ok(())
    }

    /// Appends what a commit decided. On an error nothing happened (bytes may have been placed in a
    /// segment, at offsets that nothing points at).
    pub(crate) fn append(&self, commit: &mut Commit, lsn: Lsn, body: Body) -> Result<(), DbError> {
        let len = body.frame_len();
        if len > self.config.record_bytes_max {
            return Err(DbError::refused(format!("a record of {len} bytes is longer than record_bytes_max")));
        }
        for (key, _) in &body.changes {
            check_key(key)?;
        }
        let reserved = commit.tail.reserve(len, lsn, &self.config).map_err(DbError::from);
        self.disk_full.store(matches!(reserved, Err(DbError::Full(_))), Ordering::Relaxed);
        reserved?;
        for inline in &body.inlines {
            self.ports.sink.place(inline.segment, inline.offset, &inline.bytes)?;
        }
        let first_since_checkpoint = self.overlay.versions() == 0;
        self.overlay.insert(lsn, &body.changes, self.overlay_floor());
        commit.tail.push(lsn, body, len);
        self.pending_bytes.fetch_add(len, Ordering::Relaxed);
        self.journal_bytes.fetch_add(len, Ordering::Relaxed);
        self.uncollected_bytes.fetch_add(len, Ordering::Relaxed);
        self.appended.store(lsn.0, Ordering::Release);
        self.work.notify_one();
        if first_since_checkpoint || self.checkpoint_is_due() {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// No state before this LSN will be asked for: not by a snapshot (a new one is at `appended`), not by
    /// a checkpoint to come (its state is `staged`, or that of the oldest snapshot), nor by the one
    /// that is under way.
    fn overlay_floor(&self) -> Lsn {
        // In this order: a checkpoint that is not seen here takes its state later than we took ours.
        let floor = self.snapshots.floor(self.staged());
        floor.min(Lsn(self.collecting.load(Ordering::SeqCst)))
    }

    /// What the flush task writes next.
    pub(crate) fn take_group(&self) -> Vec<Entry> {
        let mut commit = self.commit.lock();
        let pending = &mut commit.tail.pending;
        let mut bytes = 0;
        let mut count = 0;
        for entry in pending.iter() {
            if bytes >= self.config.group_bytes_max {
                break;
            }
            if let Entry::Record(_, body) = entry {
                bytes += body.frame_len();
            }
            count += 1;
        }
        pending.drain(..count).collect()
    }

    pub(crate) fn move_staged(&self, lsn: Lsn, bytes: u64) {
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let before = self.staged.send_replace(lsn);
        assert!(before < lsn, "the staged watermark never moves back");
        if self.checkpoint_is_due() {
            self.wake.notify_one();
        }
    }

    pub(crate) fn poison(&self, error: PortError) {
        tracing::error!(%error, "the database is read-only until a restart");
        // The first failure is the cause; later ones follow from it.
        let _ = self.poison.set(Arc::new(error));
        self.wake_all();
        // Wakes those who wait for the watermark; its value stays.
        self.staged.send_modify(|_| {});
    }

    /// Wakes every task, to see that it should stop.
    pub(crate) fn wake_all(&self) {
        for task in [&self.work, &self.wake, &self.unheld, &self.merge_wake] {
            task.notify_one();
        }
    }

    pub(crate) async fn wait_staged(&self, lsn: Lsn) -> Result<(), DbError> {
        let mut staged = self.staged.subscribe();
        loop {
            if *staged.borrow_and_update() >= lsn {
                return Ok(());
            }
            if let Some(error) = self.poison.get() {
                return Err(DbError::Poisoned(error.clone()));
            }
            if self.is_stopping() && self.appended() < lsn {
                return Err(closed());
            }
            if staged.changed().await.is_err() {
                return Err(closed());
            }
        }
    }
}

pub(crate) fn closed() -> DbError {
    DbError::Poisoned(Arc::new(PortError::definite(PortErrorKind::Unavailable, "the database is closed")))
}
