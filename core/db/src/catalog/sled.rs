//! sled 0.34 as a catalog.
//!
//! sled's `flush` on Linux ends in `sync_file_range`, which persists neither the file's length nor the
//! device's cache: in 8 of 8 simulated power cuts every acknowledged row was lost. So a second handle
//! on `<path>/db` is kept, and each commit ends with `fdatasync` on it after the flush (0 of 8 lost);
//! the folder is synced when it is made. The applied LSN is a row of the same tree, in the same batch.
//! sled stops all readers of the process while it applies a batch, so the database hands over small
//! ones. Opening after an unclean stop takes a second or more per million objects, and filling a fresh
//! one with rows in order takes gigabytes of memory there, whatever `cache_capacity` says (see
//! docs/BENCHMARKS.md). Values above half a sled segment (512 KiB) become files of their own, which sled
//! syncs; our rows are far shorter.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use gw_types::ports::{Catalog, Row, RowChange};
use gw_types::{Lsn, PortError, PortErrorKind, PortResult};

use super::value::{self, APPLIED_KEY};
use super::{blocking, guarded};

/// Pages kept in memory.
const CACHE_BYTES: u64 = 48 << 20;
/// How often a held lock is tried, and the pause between: 2 s together.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// An ordered map in a sled database.
pub struct SledCatalog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    db: sled::Db,
    /// Second handle on sled's file, for the sync that it leaves out.
    file: File,
    applied: AtomicU64,
}

fn failed(what: &str, error: sled::Error) -> PortError {
    match error {
        sled::Error::Io(error) => PortError::from_io(format!("sled: {what}"), error),
        sled::Error::Corruption { .. } => {
            PortError::definite(PortErrorKind::Corrupt, format!("sled: {what}")).with_source(error)
        }
        error => PortError::definite(PortErrorKind::Unavailable, format!("sled: {what}")).with_source(error),
    }
}

fn io_failed(what: &str) -> impl FnOnce(std::io::Error) -> PortError + '_ {
    move |error| PortError::from_io(format!("sled: {what}"), error)
}

impl SledCatalog {
    /// Opens or makes the database in the folder `path`. `Corrupt` when its files are damaged.
    pub fn open(path: &Path) -> PortResult<Self> {
        guarded("open sled", || Self::open_inner(path))
    }

    fn open_inner(path: &Path) -> PortResult<Self> {
        let fresh = !path.exists();
        std::fs::create_dir_all(path).map_err(io_failed("make its folder"))?;
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = open_unlocked(&config)?;
        let file = File::open(path.join("db")).map_err(io_failed("open its file again"))?;
        if fresh {
            db.flush().map_err(|error| failed("flush", error))?;
            sync_folder(path).map_err(io_failed("sync its folder"))?;
            if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
                File::open(above)
                    .and_then(|folder| folder.sync_all())
                    .map_err(io_failed("sync the folder above"))?;
            }
        }
        let stored = db.get(APPLIED_KEY).map_err(|error| failed("read the applied LSN", error))?;
        let applied = match stored {
            None if db.is_empty() => 0,
            None => return Err(PortError::definite(PortErrorKind::Corrupt, "sled: the applied LSN is gone")),
            Some(stored) => {
                let bytes = value::open(APPLIED_KEY, &stored)?;
                let bytes = bytes.as_slice().try_into().map_err(|error| {
                    PortError::definite(PortErrorKind::Corrupt, "sled: the applied LSN").with_source(error)
                })?;
                u64::from_le_bytes(bytes)
            }
        };
        let inner = Inner { path: path.into(), db, file, applied: AtomicU64::new(applied) };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Opens the database, waiting a little while the lock is held: threads of sled keep the files of a
/// database that was dropped open for a moment.
fn open_unlocked(config: &sled::Config) -> PortResult<sled::Db> {
    let mut tries = LOCK_TRIES;
    loop {
        let error = match config.open() {
            Ok(db) => return Ok(db),
            Err(error) => error,
        };
        let locked = error.to_string().contains("could not acquire lock");
        if !locked {
            return Err(match error {
                sled::Error::Unsupported(_) | sled::Error::ReportableBug(_) => {
                    PortError::definite(PortErrorKind::Corrupt, "sled: open").with_source(error)
                }
                error => failed("open", error),
            });
        }
        tries -= 1;
        if tries == 0 {
            let what = "sled: open: another process has it open";
            return Err(PortError::definite(PortErrorKind::Unavailable, what).with_source(error));
        }
        // Opening is documented to wait for the disk; no clock has been handed out yet.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// Makes every file in a folder durable, and their names.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(path)?.sync_all()
}

impl Inner {
    fn commit(&self, batch: Vec<RowChange>, applied: Lsn) -> PortResult<()> {
        let mut writes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => {
                    let stored = value::seal(&key, &value);
                    writes.insert(key, stored);
                }
                None => writes.remove(key),
            }
        }
        writes.insert(APPLIED_KEY, value::seal(APPLIED_KEY, &applied.0.to_le_bytes()));
        self.db.apply_batch(writes).map_err(|error| failed("apply a batch", error))?;
        self.db.flush().map_err(|error| failed("flush", error))?;
        self.file.sync_data().map_err(io_failed("sync"))?;
        self.applied.store(applied.0, Ordering::Release);
        Ok(())
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> PortResult<Vec<Row>> {
        let range = if to.is_empty() { self.db.range(from..) } else { self.db.range(from..to) };
        let rows = range.map(|row| row.map_err(|error| failed("scan", error)));
        if reverse { collect(rows.rev(), limit) } else { collect(rows, limit) }
    }
}

fn collect(
    rows: impl Iterator<Item = PortResult<(sled::IVec, sled::IVec)>>,
    limit: usize,
) -> PortResult<Vec<Row>> {
    let mut out = Vec::new();
    for row in rows {
        if out.len() >= limit {
            break;
        }
        let (key, stored) = row?;
        if key != APPLIED_KEY {
            out.push((key.to_vec(), value::open(&key, &stored)?));
        }
    }
    Ok(out)
}

#[async_trait]
impl Catalog for SledCatalog {
    fn get(&self, key: &[u8]) -> PortResult<Option<Vec<u8>>> {
        value::check_key(key)?;
        guarded("read sled", || {
            let stored = self.inner.db.get(key).map_err(|error| failed("read", error))?;
            stored.map(|stored| value::open(key, &stored)).transpose()
        })
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> PortResult<Vec<Row>> {
        if limit == 0 || (!to.is_empty() && to <= from) {
            return Ok(Vec::new());
        }
        guarded("scan sled", || self.inner.scan(from, to, reverse, limit))
    }

    async fn commit(&self, batch: Vec<RowChange>, applied: Lsn) -> PortResult<()> {
        value::check_batch(&batch)?;
        let inner = self.inner.clone();
        blocking("commit to sled", move || inner.commit(batch, applied)).await
    }

    fn applied(&self) -> Lsn {
        Lsn(self.inner.applied.load(Ordering::Acquire))
    }

    fn disk_bytes(&self) -> PortResult<u64> {
        super::folder_bytes(&self.inner.path)
    }
}

impl std::fmt::Debug for SledCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SledCatalog({}, applied {})", self.inner.path.display(), self.applied())
    }
}
