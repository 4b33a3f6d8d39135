//! Restoring: rows from elsewhere into an empty database, before any commit.
//!
//! Rows go straight to runs and to the engine, not through the journal. Until
//! [`Db::finish_import`] the manifest says that an import is going on: commits are refused, and a
//! database that is opened again in that state is refused too, because it is no prefix of any log.

use std::sync::atomic::Ordering;

use gw_types::Lsn;
use gw_types::ports::{Row, RowChange};

use crate::catalog::check_key;
use crate::journal::{Entry, Head, Spare, format};
use crate::shared::Shared;
use crate::{Db, DbError};

impl Db {
    /// Adds rows, in any order; may be called many times. A row of a later call replaces one of an
    /// earlier call. Refused once anything was committed.
    pub async fn import(&self, rows: Vec<Row>) -> Result<(), DbError> {
        self.import_changes(rows.into_iter().map(|(key, value)| (key, Some(value))).collect()).await
    }

    /// As [`Db::import`], with deletions: for the records of log segments behind a checkpoint.
    pub async fn import_changes(&self, mut changes: Vec<RowChange>) -> Result<(), DbError> {
        let shared = &self.shared;
        let _one = shared.checkpointing.lock().await;
        begin(shared)?;
        for (key, _) in &changes {
            check_key(key)?;
        }
        // The sort is stable, so of one key the last change stays last.
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes.reverse();
        changes.dedup_by(|later, kept| later.0 == kept.0);
        changes.reverse();
        let mut writer = shared.runs.begin()?;
        for (key, value) in &changes {
            writer.push(&bytes::Bytes::copy_from_slice(key), value.as_deref())?;
        }
        let run = writer.finish(Lsn(0), Lsn(0)).await?;
        shared
            .runs
            .change(|manifest| {
                manifest.importing = true;
                manifest.runs.insert(0, run);
            })
            .await?;
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let batch = changes.by_ref().take(shared.config.catalog_batch_rows_max.max(1)).collect();
            shared.ports.catalog.commit(batch, Lsn(0)).await?;
        }
        shared.merge_wake.notify_one();
        Ok(())
    }

    /// Ends the import: the rows are the state as of `lsn`, and the next commit is the one after it.
    pub async fn finish_import(&self, lsn: Lsn) -> Result<(), DbError> {
        let shared = &self.shared;
        let _one = shared.checkpointing.lock().await;
        begin(shared)?;
        shared.runs.change(|manifest| manifest.importing = true).await?;
        if lsn > Lsn(0) {
            renumber(shared, lsn).await?;
        }
        shared.ports.catalog.commit(Vec::new(), lsn).await?;
        shared
            .runs
            .change(|manifest| {
                manifest.importing = false;
                manifest.upto = lsn;
                manifest.placed = lsn;
            })
            .await?;
        shared.checkpoint.store(lsn.0, Ordering::Release);
        shared.importing.store(false, Ordering::Release);
        Ok(())
    }
}

/// Refuses unless nothing was ever committed; keeps commits out from now on.
fn begin(shared: &Shared) -> Result<(), DbError> {
    let _commit = shared.commit.lock();
    if let Some(refusal) = shared.refusal() {
        return Err(refusal);
    }
    if shared.importing.load(Ordering::Acquire) {
        return Ok(());
    }
    let fresh = shared.appended() == Lsn(0)
        && shared.ports.catalog.applied() == Lsn(0)
        && shared.ports.catalog.scan(&[], &[], false, 1)?.is_empty();
    if !fresh {
        return Err(DbError::refused("only an empty database takes an import"));
    }
    shared.importing.store(true, Ordering::Release);
    Ok(())
}

/// Makes the journal go on behind `lsn`, in a new file.
async fn renumber(shared: &Shared, lsn: Lsn) -> Result<(), DbError> {
    let disk = &shared.ports.disk;
    let spare = Spare::create(&**disk, 0, &shared.config)?;
    {
        let mut commit = shared.commit.lock();
        commit.tail.head = Head::of(&spare);
        commit.tail.pending.push_back(Entry::Rotate(spare, lsn.next()));
        shared.appended.store(lsn.0, Ordering::Release);
    }
    shared.work.notify_one();
    shared.wait_staged(lsn).await?;
    // The file made at open is empty and must not stand before a hole.
    loop {
        let name = {
            let index = shared.index.lock();
            match index.files.front() {
                Some(oldest) if index.files.len() > 1 => oldest.name.clone(),
                _ => return Ok(()),
            }
        };
        disk.remove(&name)?;
        disk.sync_dir(format::FOLDER).await?;
        shared.index.lock().files.pop_front();
    }
}
