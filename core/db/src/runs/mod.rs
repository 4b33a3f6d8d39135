//! Local checkpoint runs: the catalog's rows once more, in files of our own.
//!
//! Each checkpoint writes what changed as one sorted run. Runs are merged like the levels of an LSM
//! tree: a run is merged with the next older one as soon as it is at least half as long, so sizes grow
//! at least threefold from run to run, there are few of them, and together they are at most half again
//! as long as the oldest, which holds every row once (deletions end there). A checkpoint of the
//! namespace is therefore O(changes), and a lost or doubtful engine is filled again from runs and
//! journal without reading the engine.
//!
//! The manifest names the runs that count; a file it does not name is a leftover and is removed.

mod file;
mod manifest;
mod merge;

use std::sync::Arc;

use gw_types::Lsn;
use gw_types::ports::{Disk, DiskEntry, DiskFile};
use parking_lot::Mutex;

use crate::DbError;

pub(crate) use file::{RunReader, RunWriter, file_name};
pub(crate) use manifest::Manifest;
pub(crate) use merge::Merged;

pub(crate) const FOLDER: &str = "runs";

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its number; never reused.
    pub seq: u64,
    /// It holds what changed from this LSN on ...
    pub first: Lsn,
    /// ... to this one.
    pub last: Lsn,
    /// Bytes of the file.
    pub len: u64,
    /// Rows in it, deletions included.
    pub rows: u64,
    /// Deletions in it.
    pub deletions: u64,
}

/// An open run: its bytes may be read for as long as this lives, merged away or not.
#[derive(Clone, Debug)]
pub struct RunFile {
    /// What it is.
    pub info: RunInfo,
    file: Arc<dyn DiskFile>,
}

impl RunFile {
    /// Reads bytes of the file (its format is drawn in `runs/file.rs`).
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<bytes::Bytes, DbError> {
        Ok(self.file.read_at(offset, len).await?)
    }
    pub(crate) async fn reader(&self) -> Result<RunReader, DbError> {
        RunReader::open(self.file.clone(), &self.info).await
    }
}

pub(crate) struct RunSet {
    disk: Arc<dyn Disk>,
    /// As on disk. Held while run files are opened or removed, never over an await.
    manifest: Mutex<Manifest>,
    /// Held over a change of the manifest on disk.
    changing: tokio::sync::Mutex<()>,
    /// One merge at a time.
    pub(crate) merging: tokio::sync::Mutex<()>,
}

impl RunSet {
    /// Reads the manifest, checks that every run it names is there and that the journal, which begins
    /// at `first`, goes on where the runs end; then removes leftovers.
    pub(crate) async fn open(disk: Arc<dyn Disk>, journal: u64, first: Lsn) -> Result<Self, DbError> {
        let corrupt = |at, what: String| DbError::corrupt(manifest::NAME, at, what);
        let read = Manifest::read(&*disk).await?;
        if read.is_none() && first > Lsn(1) {
            return Err(corrupt(
                0,
                format!("it is missing, though the journal begins only at record {first}"),
            ));
        }
        let mut manifest = read.unwrap_or_else(|| Manifest { journal, next_seq: 1, ..Manifest::default() });
        if manifest.journal != journal {
            return Err(corrupt(8, "it belongs to another journal".into()));
        }
        if manifest.upto.next() < first {
            return Err(corrupt(
                16,
                format!("the runs end at record {}, the journal begins at record {first}", manifest.upto),
            ));
        }
        let entries = disk.list(FOLDER)?;
        for run in &manifest.runs {
            check_present(run, &entries)?;
        }
        if !entries.is_empty() {
            // The manifest just read may have its name only in memory, when the process before was killed
            // between rename and sync. Leftovers may go only once it is the one that a power cut leaves.
            disk.sync_dir(FOLDER).await?;
        }
        let named =
            |name: &str| name == manifest::NAME || manifest.runs.iter().any(|run| file_name(run.seq) == name);
        for entry in entries.iter().filter(|entry| !named(&entry.name)) {
            disk.remove(&entry.name)?;
            manifest.next_seq = manifest.next_seq.max(seq_of(&entry.name).map_or(0, |seq| seq + 1));
        }
        Ok(Self {
            disk,
            manifest: Mutex::new(manifest),
            changing: Default::default(),
            merging: Default::default(),
        })
    }

    /// Notes the epoch for the manifests to come.
    pub(crate) fn set_epoch(&self, epoch: u16) {
        self.manifest.lock().epoch = epoch;
    }

    pub(crate) fn manifest(&self) -> Manifest {
        self.manifest.lock().clone()
    }
    pub(crate) fn list(&self) -> Vec<RunInfo> {
        self.manifest.lock().runs.clone()
    }

    /// Opens the runs, newest first, and says up to which LSN they hold every row.
    pub(crate) fn open_files(&self) -> Result<(Lsn, Vec<RunFile>), DbError> {
        let manifest = self.manifest.lock();
        let mut files = Vec::new();
        for info in &manifest.runs {
            files.push(RunFile { info: info.clone(), file: self.disk.open(&file_name(info.seq))? });
        }
        Ok((manifest.upto, files))
    }

    /// Begins a run under a new number.
    pub(crate) fn begin(&self) -> Result<RunWriter, DbError> {
        let seq = {
            let mut manifest = self.manifest.lock();
            let seq = manifest.next_seq;
            manifest.next_seq += 1;
            seq
        };
        Ok(RunWriter::create(&*self.disk, seq)?)
    }

    /// Changes the manifest, on disk first.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), DbError> {
        let _one = self.changing.lock().await;
        let mut next = self.manifest();
        change(&mut next);
        next.write(&*self.disk).await?;
        let mut manifest = self.manifest.lock();
        // A number may have been given out meanwhile.
        next.next_seq = next.next_seq.max(manifest.next_seq);
        *manifest = next;
        Ok(())
    }

    /// Removes a run's file. Failing is no loss: the next open removes it.
    pub(crate) fn discard(&self, name: &str) {
        let _manifest = self.manifest.lock();
        if let Err(error) = self.disk.remove(name) {
            tracing::warn!(%error, name, "a run that is not needed any more cannot be removed");
        }
    }
}

fn check_present(run: &RunInfo, entries: &[DiskEntry]) -> Result<(), DbError> {
    let name = file_name(run.seq);
    match entries.iter().find(|entry| entry.name == name) {
        None => Err(DbError::corrupt(name, 0, "the run is missing, though the manifest names it")),
        Some(entry) if entry.len != run.len => {
            Err(DbError::corrupt(name, entry.len, format!("the manifest says that it has {} bytes", run.len)))
        }
        Some(_) => Ok(()),
    }
}

fn seq_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(FOLDER)?.strip_prefix('/')?, 16).ok()
}
