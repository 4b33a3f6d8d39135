//! Opening: from what is on disk to a database that takes commits.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
use crate::runs::RunSet;
use crate::shared::{Commit, Shared};
use crate::snapshot::Snapshots;
use crate::{Db, DbConfig, DbError, DbPorts, checkpoint};

impl Db {
    /// Opens what is on the disk, or makes it.
    pub async fn open(ports: DbPorts, config: DbConfig) -> Result<Arc<Self>, DbError> {
        let disk = ports.disk.clone();
        let found = recover::find(&*disk).await?;
        let last = cut_newest(&found).await?;
        let identity = found.first().map_or(ports.clock.now().0 as u64, |file| file.header.journal);
        let epoch = found.last().map_or(0, |file| file.header.epoch);
        let epoch = epoch.checked_add(1).ok_or_else(|| {
            DbError::refused("this data directory has been opened 65535 times: its epochs are used up")
        })?;

        let header = Header { epoch, journal: identity, first: last.next() };
        let spare = Spare::create(&*disk, 0, &config)?;
        let name = spare.promote(&*disk, header).await?;
        disk.sync_dir("").await?;

        let shared = Arc::new(share(ports, config, epoch, &spare, last));
        let found: Vec<Found> = found.into_iter().filter(|file| file.header.first != header.first).collect();
        replay(&shared, &found).await?;
        shared.index.lock().files.push_back(IndexedFile::new(name, spare.file.clone(), header));

        let flusher = Flusher::new(shared.clone(), spare.file, header);
        let tasks = vec![tokio::spawn(flusher.run()), tokio::spawn(checkpoint::run(shared.clone()))];
        Ok(Arc::new(Db { shared, tasks: Mutex::new(tasks) }))
    }
}

/// Reads the newest file, makes its end durable and returns the last LSN.
async fn cut_newest(found: &[Found]) -> Result<Lsn, DbError> {
    let Some(newest) = found.last() else { return Ok(Lsn(0)) };
    let parsed = recover::parse(newest, true).await?;
    recover::cut(&parsed).await?;
    Ok(parsed.indexed.last)
}

fn share(ports: DbPorts, config: DbConfig, epoch: u16, head: &Spare, last: Lsn) -> Shared {
    Shared {
        checkpoint: AtomicU64::new(ports.catalog.applied().0),
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
        runs: RunSet::default(),
        pending_bytes: AtomicU64::new(0),
        hold: AtomicU64::new(0),
        checkpointing: tokio::sync::Mutex::new(()),
        checkpoint_failed: Mutex::new(None),
        disk_full: AtomicBool::new(false),
        poison: OnceLock::new(),
        stopping: AtomicBool::new(false),
        work: Notify::new(),
        wake: Notify::new(),
        syncs: AtomicU64::new(0),
        records: AtomicU64::new(0),
    }
}

async fn replay(shared: &Shared, found: &[Found]) -> Result<(), DbError> {
    let mut expected: Option<Lsn> = None;
    let applied = shared.ports.catalog.applied();
    for file in found {
        if expected.is_some_and(|expected| expected != file.header.first) {
            return Err(DbError::corrupt(
                format::file_name(expected.unwrap_or_default()),
                0,
                "a journal file is missing",
            ));
        }
        let parsed = recover::parse(file, false).await?;
        expected = Some(parsed.indexed.last.next());
        for frame in &parsed.frames {
            replay_frame(shared, frame, applied)?;
        }
        shared.index.lock().files.push_back(parsed.indexed);
    }
    Ok(())
}

fn replay_frame(shared: &Shared, frame: &Frame, applied: Lsn) -> Result<(), DbError> {
    for inline in &frame.body.inlines {
        shared.ports.sink.place(inline.segment, inline.offset, &inline.bytes)?;
    }
    if frame.lsn > applied {
        // Copies: the frame shares the memory of the whole file.
        let own = |(key, value): &Change| {
            (Bytes::copy_from_slice(key), value.as_deref().map(Bytes::copy_from_slice))
        };
        let changes: Vec<Change> = frame.body.changes.iter().map(own).collect();
        shared.overlay.insert(frame.lsn, &changes);
    }
    let _ = Ordering::Relaxed;
    Ok(())
}
