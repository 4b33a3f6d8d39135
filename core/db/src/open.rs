//! Opening: from what is on disk to a database that takes commits.
//!
//! The journal must run without a hole from what the runs hold to its end; the engine must not be
//! older than the journal's beginning, or it is filled from the runs first. Then the records behind
//! both are replayed: rows into the overlay, inline bytes to their segments. Before `open` returns the
//! newest record is synced, and a new journal file with the next epoch has a durable name.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gw_types::Lsn;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::journal::flush::Flusher;
use crate::journal::format::{self, Header};
use crate::journal::recover::{self, Found};
use crate::journal::{Head, Index, IndexedFile, Spare, Tail};
use crate::overlay::{Change, Overlay};
use crate::record::Frame;
use crate::runs::{self, RunSet};
use crate::shared::{Commit, Shared};
use crate::snapshot::Snapshots;
use crate::{Db, DbConfig, DbError, DbPorts, checkpoint};

impl Db {
    /// Opens what is on the disk, or makes it. A fresh catalog is filled from runs and journal.
    ///
    /// Errors: [`DbError::Corrupt`] names the file in which something that was synced is missing or
    /// damaged; nothing is skipped. `Refused` when an import was not finished.
    pub async fn open(ports: DbPorts, config: DbConfig) -> Result<Arc<Self>, DbError> {
        let disk = ports.disk.clone();
        let found = recover::find(&*disk).await?;
        check_not_lost(&ports, &found)?;
        let identity = found.first().map_or(ports.clock.now().0 as u64, |file| file.header.journal);
        let first = found.first().map_or(Lsn(1), |file| file.header.first);
        let runs = RunSet::open(disk.clone(), identity, first).await?;
        let last = cut_newest(&found).await?;
        check_end(&ports, &runs, &found, last)?;
        let epoch = next_epoch(&found, &runs)?;
        runs.set_epoch(epoch);

        // From here on a crash leaves one epoch more and nothing else.
        let header = Header { epoch, journal: identity, first: last.next() };
        let spare = Spare::create(&*disk, 0, &config)?;
        let name = spare.promote(&*disk, header).await?;
        disk.sync_dir("").await?;

        let shared = Arc::new(share(ports, config, epoch, runs, &spare, last));
        let found: Vec<Found> = found.into_iter().filter(|file| file.header.first != header.first).collect();
        fill_catalog(&shared, first).await?;
        replay(&shared, &found).await?;
        shared.index.lock().files.push_back(IndexedFile::new(name, spare.file.clone(), header));

        let flusher = Flusher::new(shared.clone(), spare.file, header);
        let tasks = vec![
            tokio::spawn(flusher.run()),
            tokio::spawn(checkpoint::run(shared.clone())),
            tokio::spawn(checkpoint::run_merges(shared.clone())),
        ];
        Ok(Arc::new(Db { shared, tasks: Mutex::new(tasks) }))
    }

    /// [`Db::open`] with a catalog that must be fresh: every row comes from runs and journal.
    pub async fn rebuild(ports: DbPorts, config: DbConfig) -> Result<Arc<Self>, DbError> {
        if ports.catalog.applied() != Lsn(0) || !ports.catalog.scan(&[], &[], false, 1)?.is_empty() {
            return Err(DbError::refused("a rebuild needs an empty catalog"));
        }
        Self::open(ports, config).await
    }
}

/// A directory without a journal must be without anything else.
fn check_not_lost(ports: &DbPorts, found: &[Found]) -> Result<(), DbError> {
    if !found.is_empty() {
        return Ok(());
    }
    let what = if ports.catalog.applied() > Lsn(0) {
        "there is no journal, though the catalog has been filled from one"
    } else if !ports.disk.list(runs::FOLDER)?.is_empty() {
        "there is no journal, though there are local checkpoint runs"
    } else {
        return Ok(());
    };
    Err(DbError::corrupt(format::FOLDER, 0, what))
}

/// Reads the newest file, makes its end durable and returns the last LSN.
async fn cut_newest(found: &[Found]) -> Result<Lsn, DbError> {
    let Some(newest) = found.last() else { return Ok(Lsn(0)) };
    let parsed = recover::parse(newest, true).await?;
    recover::cut(&parsed).await?;
    Ok(parsed.indexed.last)
}

/// What runs and engine hold was staged before, so the journal must reach at least as far.
fn check_end(ports: &DbPorts, runs: &RunSet, found: &[Found], last: Lsn) -> Result<(), DbError> {
    let manifest = runs.manifest();
    if manifest.importing {
        return Err(DbError::refused(
            "an import into this data directory was not finished; empty it and restore again",
        ));
    }
    let held = manifest.upto.max(manifest.placed).max(ports.catalog.applied());
    if last < held {
        let name = found.last().map_or(format::FOLDER, |file| &file.name);
        let what = format!("the journal ends at record {last}, but a checkpoint holds records up to {held}");
        return Err(DbError::corrupt(name, 0, what));
    }
    Ok(())
}

fn next_epoch(found: &[Found], runs: &RunSet) -> Result<u16, DbError> {
    let newest = found.last().map_or(0, |file| file.header.epoch).max(runs.manifest().epoch);
    newest.checked_add(1).ok_or_else(|| {
        DbError::refused(
            "this data directory has been opened 65535 times and has no epochs left; restore into a new one",
        )
    })
}

fn share(ports: DbPorts, config: DbConfig, epoch: u16, runs: RunSet, head: &Spare, last: Lsn) -> Shared {
    Shared {
        ports,
        config,
        epoch,
        commit: Mutex::new(Commit {
            tail: Tail { head: Head::of(head), spare: None, pending: Default::default() },
        }),
        appended: AtomicU64::new(last.0),
        staged: watch::Sender::new(last),
        overlay: Overlay::default(),
        snapshots: Snapshots::default(),
        index: Mutex::new(Index::default()),
        runs,
        checkpoint: AtomicU64::new(0),
        pending_bytes: AtomicU64::new(0),
        journal_bytes: AtomicU64::new(0),
        uncollected_bytes: AtomicU64::new(0),
        hold: AtomicU64::new(0),
        importing: AtomicBool::new(false),
        collecting: AtomicU64::new(u64::MAX),
        checkpointing: tokio::sync::Mutex::new(()),
        checkpoint_failed: Mutex::new(None),
        disk_full: AtomicBool::new(false),
        poison: OnceLock::new(),
        stopping: AtomicBool::new(false),
        work: Notify::new(),
        wake: Notify::new(),
        unheld: Notify::new(),
        merge_wake: Notify::new(),
        syncs: AtomicU64::new(0),
        records: AtomicU64::new(0),
    }
}

/// Fills an engine that is older than the journal from the runs, and notes what both hold.
async fn fill_catalog(shared: &Shared, first: Lsn) -> Result<(), DbError> {
    let upto = shared.runs.manifest().upto;
    let applied = shared.ports.catalog.applied();
    if applied < upto && (applied == Lsn(0) || applied.next() < first) {
        shared.load_runs().await?;
    }
    shared.checkpoint.store(shared.ports.catalog.applied().min(upto).0, Ordering::Release);
    Ok(())
}

async fn replay(shared: &Shared, found: &[Found]) -> Result<(), DbError> {
    let placed = shared.runs.manifest().placed;
    let mut expected: Option<Lsn> = None;
    for (number, file) in found.iter().enumerate() {
        if let Some(expected) = expected.filter(|expected| *expected != file.header.first) {
            let what = format!("the journal file that begins with record {expected} is missing");
            return Err(DbError::corrupt(format::file_name(expected), 0, what));
        }
        if let Some(next) = found.get(number + 1).map(|next| next.header.first)
            && next.0 - 1 <= placed.min(shared.checkpointed()).0
            && let Some(indexed) = recover::skim(file, next).await?
        {
            expected = Some(next);
            shared.journal_bytes.fetch_add(indexed.records_bytes(), Ordering::Relaxed);
            shared.index.lock().files.push_back(indexed);
            continue;
        }
        let parsed = recover::parse(file, false).await?;
        let last = parsed.indexed.last;
        expected = Some(last.next());
        for frame in &parsed.frames {
            replay_frame(shared, frame, placed)?;
        }
        shared.journal_bytes.fetch_add(parsed.indexed.records_bytes(), Ordering::Relaxed);
        shared.index.lock().files.push_back(parsed.indexed);
        if shared.overlay_is_over() {
            shared.checkpoint_upto(last, last).await?;
        }
    }
    Ok(())
}

fn replay_frame(shared: &Shared, frame: &Frame, placed: Lsn) -> Result<(), DbError> {
    if frame.lsn > placed {
        for inline in &frame.body.inlines {
            shared.ports.sink.place(inline.segment, inline.offset, &inline.bytes)?;
        }
    }
    if frame.lsn > shared.checkpointed() {
        // Copies, because the frame shares the memory of the whole file.
        let own = |(key, value): &Change| {
            (Bytes::copy_from_slice(key), value.as_deref().map(Bytes::copy_from_slice))
        };
        let changes: Vec<Change> = frame.body.changes.iter().map(own).collect();
        // Nobody reads yet, and a checkpoint on the way takes what is there.
        shared.overlay.insert(frame.lsn, &changes, frame.lsn);
    }
    Ok(())
}
