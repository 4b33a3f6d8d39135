//! Local checkpoints: from the overlay to a run of our own, then to the engine; then journal files go.
//!
//! Order matters. (1) Inline bytes are synced in their segments. (2) The newest version of each row up
//! to an LSN is written as a run, and the manifest that names the run says so. (3) The same rows go to
//! the engine, in batches (sled stops readers while it applies one); all but the last keep the old
//! applied LSN, so after a crash the journal is replayed over them, which is harmless because rows are
//! absolute. (4) They leave the overlay. (5) Journal files all of whose records are in a run, in the
//! engine and in segments are removed, oldest first, unless the log stream still wants them.
//! A crash between any two leaves a state from which [`crate::Db::open`] finds the same rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gw_types::Lsn;
use gw_types::ports::{Row, RowChange};

use crate::overlay::Change;
use crate::runs::{FOLDER, Merged, RunFile, RunInfo};
use crate::shared::Shared;
use crate::{Db, DbError, journal};

/// Time before a failed checkpoint is tried again.
const RETRY_MS: u64 = 1000;
/// Time before looking again when a snapshot keeps the overlay from shrinking.
const HELD_MS: u64 = 50;

impl Db {
    /// A local checkpoint now: everything staged that no snapshot needs goes to a run and to the
    /// engine; then journal files are released. Returns the LSN up to which that holds.
    pub async fn checkpoint(&self) -> Result<Lsn, DbError> {
        self.shared.checkpoint_now().await
    }

    /// Merges runs until none is due; the background does so too, after each checkpoint.
    pub async fn merge_runs(&self) -> Result<(), DbError> {
        while self.shared.merge_once().await? {}
        Ok(())
    }

    /// All rows as of the newest local checkpoint, page by page. It stays readable for as long as it
    /// is held, whatever is merged meanwhile.
    pub async fn checkpoint_rows(&self) -> Result<CheckpointRows, DbError> {
        let (upto, files) = self.shared.runs.open_files()?;
        CheckpointRows::open(upto, &files, true).await
    }

    /// The rows that changed after `since`, as of the newest local checkpoint (perhaps some older ones
    /// with them; all absolute). When the runs cannot tell changes that old apart any more, it is
    /// [`CheckpointRows::is_full`]: all rows, and what is not among them does not exist.
    pub async fn changed_rows(&self, since: Lsn) -> Result<CheckpointRows, DbError> {
        let (upto, mut files) = self.shared.runs.open_files()?;
        let wanted = files.iter().take_while(|file| file.info.last > since).count();
        // The oldest run has lost its deletions.
        let full = wanted == files.len() && since < upto;
        files.truncate(wanted);
        CheckpointRows::open(upto, &files, full).await
    }

    /// The runs of the newest local checkpoint, newest first, open for reading as files.
    pub fn run_files(&self) -> Result<(Lsn, Vec<RunFile>), DbError> {
        self.shared.runs.open_files()
    }
}

/// Rows of a local checkpoint, in order of key.
pub struct CheckpointRows {
    upto: Lsn,
    full: bool,
    rows: Merged,
}

impl CheckpointRows {
    async fn open(upto: Lsn, files: &[RunFile], full: bool) -> Result<Self, DbError> {
        Ok(Self { upto, full, rows: Merged::open(files, !full).await? })
    }
    /// The LSN whose state they are.
    pub fn lsn(&self) -> Lsn {
        self.upto
    }
    /// Whether these are all rows (then none is a deletion) or only changes.
    pub fn is_full(&self) -> bool {
        self.full
    }
    /// The next rows, at most `rows_max`; empty at the end.
    pub async fn page(&mut self, rows_max: usize) -> Result<Vec<RowChange>, DbError> {
        let own = |(key, value): Change| (key.to_vec(), value.map(|value| value.to_vec()));
        Ok(self.rows.page(rows_max).await?.into_iter().map(own).collect())
    }
    /// The next rows of a full checkpoint, at most `rows_max`; empty at the end.
    pub async fn rows(&mut self, rows_max: usize) -> Result<Vec<Row>, DbError> {
        Ok(self.page(rows_max).await?.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }
}

/// Keeps the versions of rows that a checkpoint collects.
struct Collecting<'a>(&'a Shared);

impl<'a> Collecting<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.collecting.store(0, Ordering::SeqCst);
        Self(shared)
    }
    fn state(&self, upto: Lsn) {
        self.0.collecting.store(upto.0, Ordering::SeqCst);
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        self.0.collecting.store(u64::MAX, Ordering::SeqCst);
    }
}

impl Shared {
    pub(crate) async fn checkpoint_now(&self) -> Result<Lsn, DbError> {
        let _one = self.checkpointing.lock().await;
        if let Some(error) = self.poison.get() {
            return Err(DbError::Poisoned(error.clone()));
        }
        // Until the state is chosen no version of a row may go; then none that it shows.
        let collecting = Collecting::begin(self);
        let gathered = self.uncollected_bytes.load(Ordering::Relaxed);
        // Not above staged: a later life may give these numbers to other records.
        let placed = self.staged();
        let upto = self.snapshots.floor(placed);
        collecting.state(upto);
        let result = self.checkpoint_upto(upto, placed).await;
        drop(collecting);
        let result = match result {
            Ok(()) => {
                self.uncollected_bytes.fetch_sub(gathered, Ordering::Relaxed);
                self.release().await
            }
            Err(error) => Err(error),
        };
        self.note_checkpoint(result).map(|()| upto)
    }

    /// Keeps the outcome for [`Db::health`]; a failed device poisons, a full disk does not.
    fn note_checkpoint(&self, result: Result<(), DbError>) -> Result<(), DbError> {
        match result {
            Ok(()) => {
                *self.checkpoint_failed.lock() = None;
                Ok(())
            }
            Err(DbError::Port(error)) => {
                self.poison(error);
                Err(self.refusal().unwrap_or_else(crate::shared::closed))
            }
            Err(error) => {
                tracing::warn!(%error, "a local checkpoint failed");
                *self.checkpoint_failed.lock() = Some(error.to_string().into());
                Err(error)
            }
        }
    }

    /// Steps 1 to 4. Also used while the journal is replayed, when `upto` is the last record replayed.
    pub(crate) async fn checkpoint_upto(&self, upto: Lsn, placed: Lsn) -> Result<(), DbError> {
        let manifest = self.runs.manifest();
        let placed = placed.max(manifest.placed);
        if upto <= self.checkpointed() && placed == manifest.placed {
            return Ok(());
        }
        // Whatever the error: a sync that failed is not tried again.
        self.ports.sink.sync_placed().await.map_err(DbError::Port)?;
        if upto <= self.checkpointed() {
            return self.runs.change(|manifest| manifest.placed = placed).await;
        }
        let first = self.checkpointed().next();
        let run = self.write_run(first, upto).await?;
        self.runs
            .change(|manifest| {
                manifest.runs.splice(0..0, run);
                manifest.upto = upto;
                manifest.placed = placed;
            })
            .await?;
        self.apply(upto).await?;
        self.checkpoint.store(upto.0, Ordering::Release);
        Ok(())
    }

    /// `None` when no row changed.
    async fn write_run(&self, first: Lsn, upto: Lsn) -> Result<Option<RunInfo>, DbError> {
        let mut after = None;
        let mut writer = None;
        loop {
            let (rows, next) = self.overlay.collect(after.as_ref(), upto, self.config.catalog_batch_rows_max);
            if writer.is_none() && !rows.is_empty() {
                writer = Some(self.runs.begin()?);
            }
            if let Some(writer) = &mut writer {
                for (key, value) in &rows {
                    if let Err(error) = writer.push(key, value.as_deref()) {
                        self.runs.discard(writer.name());
                        return Err(error.into());
                    }
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let Some(writer) = writer else { return Ok(None) };
        let name = writer.name().to_owned();
        match writer.finish(first, upto).await {
            Ok(info) => Ok(Some(info)),
            Err(error) => {
                self.runs.discard(&name);
                Err(error.into())
            }
        }
    }

    /// Gives the rows to the engine and drops them here.
    async fn apply(&self, upto: Lsn) -> Result<(), DbError> {
        let mut after = None;
        loop {
            let (rows, next) = self.overlay.collect(after.as_ref(), upto, self.config.catalog_batch_rows_max);
            let applied = if next.is_none() { upto } else { self.ports.catalog.applied() };
            let batch =
                rows.iter().map(|(key, value)| (key.to_vec(), value.as_ref().map(|value| value.to_vec())));
            self.ports.catalog.commit(batch.collect(), applied).await?;
            self.overlay.drop_upto(rows.iter().map(|(key, _)| &key[..]), upto);
            after = next;
            if after.is_none() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Step 5.
    async fn release(&self) -> Result<(), DbError> {
        let manifest = self.runs.manifest();
        let bound = manifest
            .upto
            .min(manifest.placed)
            .min(self.ports.catalog.applied())
            .min(Lsn(self.hold.load(Ordering::Acquire)));
        loop {
            let (name, bytes) = {
                let index = self.index.lock();
                match index.files.front() {
                    Some(oldest) if index.files.len() > 1 && oldest.last <= bound => {
                        (oldest.name.clone(), oldest.records_bytes())
                    }
                    _ => return Ok(()),
                }
            };
            self.ports.disk.remove(&name)?;
            // Durable one by one: a crash must not bring back one file and not its successor.
            self.ports.disk.sync_dir(journal::format::FOLDER).await?;
            self.index.lock().files.pop_front();
            self.journal_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) async fn merge_once(&self) -> Result<bool, DbError> {
        match self.runs.merge_once(self.config.runs_max).await {
            Err(DbError::Port(error)) => {
                self.poison(error);
                Err(self.refusal().unwrap_or_else(crate::shared::closed))
            }
            other => other,
        }
    }

    /// Fills a fresh engine from the runs.
    pub(crate) async fn load_runs(&self) -> Result<(), DbError> {
        let catalog = &self.ports.catalog;
        self.clear_catalog().await?;
        let (upto, files) = self.runs.open_files()?;
        tracing::warn!(%upto, runs = files.len(), folder = FOLDER, "the catalog is rebuilt from local checkpoint runs");
        let mut rows = Merged::open(&files, false).await?;
        loop {
            let page = rows.page(self.config.catalog_batch_rows_max).await?;
            if page.is_empty() {
                return Ok(catalog.commit(Vec::new(), upto).await?);
            }
            let batch =
                page.into_iter().map(|(key, value)| (key.to_vec(), value.map(|value| value.to_vec())));
            catalog.commit(batch.collect(), Lsn(0)).await?;
        }
    }

    /// Removes every row, so that none stays that was deleted since.
    async fn clear_catalog(&self) -> Result<(), DbError> {
        loop {
            let rows = self.ports.catalog.scan(&[], &[], false, self.config.catalog_batch_rows_max)?;
            if rows.is_empty() {
                return Ok(());
            }
            let batch = rows.into_iter().map(|(key, _)| (key, None)).collect();
            self.ports.catalog.commit(batch, Lsn(0)).await?;
        }
    }
}

/// The checkpoint task: by size, by age, and again after a failure.
pub(crate) async fn run(shared: Arc<Shared>) {
    while !shared.is_stopping() && shared.poison.get().is_none() {
        if !shared.checkpoint_is_due() && !shared.wait_until_due().await {
            continue;
        }
        if shared.snapshots.floor(shared.staged()) <= shared.checkpointed() {
            shared.wait_until_possible().await;
            continue;
        }
        match shared.checkpoint_now().await {
            Ok(_) => shared.merge_wake.notify_one(),
            Err(_) => shared.pause(RETRY_MS).await,
        }
    }
}

impl Shared {
    /// Returns whether a checkpoint is due by age; `false`: look again.
    async fn wait_until_due(&self) -> bool {
        if self.overlay.versions() == 0 {
            self.wake.notified().await;
            return false;
        }
        tokio::select! {
            () = self.ports.clock.sleep(Duration::from_millis(self.config.checkpoint_age_ms)) => true,
            () = self.wake.notified() => false,
        }
    }

    /// Nothing can move down: either nothing more is staged, or a snapshot needs what is here.
    async fn wait_until_possible(&self) {
        if self.snapshots.oldest().is_some_and(|oldest| oldest < self.staged()) {
            self.pause(HELD_MS).await;
        } else {
            self.wake.notified().await;
        }
    }

    async fn pause(&self, ms: u64) {
        tokio::select! {
            () = self.ports.clock.sleep(Duration::from_millis(ms)) => {}
            () = self.unheld.notified() => {}
        }
    }
}

/// The merge task.
pub(crate) async fn run_merges(shared: Arc<Shared>) {
    loop {
        shared.merge_wake.notified().await;
        loop {
            if shared.is_stopping() || shared.poison.get().is_some() {
                return;
            }
            match shared.merge_once().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "merging local checkpoint runs failed; the next checkpoint tries again");
                    break;
                }
            }
        }
    }
}
