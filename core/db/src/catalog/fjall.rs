//! fjall 3 as a catalog.
//!
//! Rows and the applied LSN live in two keyspaces written by one batch, which fjall's own journal makes
//! atomic and syncs before it returns. Compression is left out: rows are short and mostly random
//! (hashes, ids, wrapped keys). Caches and buffers are small because the overlay above holds what is hot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use gw_types::ports::{Catalog, Row, RowChange};
use gw_types::{Lsn, PortError, PortErrorKind, PortResult};

use super::value::{self, APPLIED_KEY};
use super::{blocking, guarded};

/// Blocks kept in memory.
const CACHE_BYTES: u64 = 32 << 20;
/// Rows gathered in memory before they become a table.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// fjall's own journal.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// Files kept open.
const OPEN_FILES_MAX: usize = 128;

/// An ordered map in a fjall database.
pub struct FjallCatalog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    db: Database,
    rows: Keyspace,
    meta: Keyspace,
    applied: AtomicU64,
}

fn failed(what: &str, error: fjall::Error) -> PortError {
    match error {
        fjall::Error::Io(error) => PortError::from_io(format!("fjall: {what}"), error),
        fjall::Error::Poisoned => PortError::definite(PortErrorKind::Poisoned, format!("fjall: {what}")),
        fjall::Error::Locked => PortError::definite(
            PortErrorKind::Unavailable,
            format!("fjall: {what}: another process has it open"),
        ),
        error => PortError::definite(PortErrorKind::Corrupt, format!("fjall: {what}")).with_source(error),
    }
}

impl FjallCatalog {
    /// Opens or makes the database in the folder `path`. `Corrupt` when its files are damaged.
    pub fn open(path: &Path) -> PortResult<Self> {
        guarded("open fjall", || Self::open_inner(path))
    }

    fn open_inner(path: &Path) -> PortResult<Self> {
        let open = |error| failed("open", error);
        let db = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .max_cached_files(Some(OPEN_FILES_MAX))
            .worker_threads(1)
            .open()
            .map_err(|error| match error {
                // A file that a manifest names and that is not there, or that ends early.
                fjall::Error::Io(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    PortError::definite(PortErrorKind::Corrupt, "fjall: open").with_source(error)
                }
                error => open(error),
            })?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = db.keyspace("rows", options).map_err(open)?;
        let meta = db.keyspace("meta", options).map_err(open)?;
        let stored = meta.get(APPLIED_KEY).map_err(|error| failed("read the applied LSN", error))?;
        let applied = match stored {
            None if rows.is_empty().map_err(open)? => 0,
            None => {
                return Err(PortError::definite(PortErrorKind::Corrupt, "fjall: the applied LSN is gone"));
            }
            Some(stored) => {
                let bytes = value::open(APPLIED_KEY, &stored)?;
                let bytes = bytes.as_slice().try_into().map_err(|error| {
                    PortError::definite(PortErrorKind::Corrupt, "fjall: the applied LSN").with_source(error)
                })?;
                u64::from_le_bytes(bytes)
            }
        };
        let inner = Inner { path: path.into(), db, rows, meta, applied: AtomicU64::new(applied) };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn commit(&self, batch: Vec<RowChange>, applied: Lsn) -> PortResult<()> {
        let mut writes = self.db.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in batch {
            match value {
                Some(value) => {
                    let stored = value::seal(&key, &value);
                    writes.insert(&self.rows, key, stored);
                }
                None => writes.remove(&self.rows, key),
            }
        }
        writes.insert(&self.meta, APPLIED_KEY, value::seal(APPLIED_KEY, &applied.0.to_le_bytes()));
        writes.commit().map_err(|error| failed("commit", error))?;
        self.applied.store(applied.0, Ordering::Release);
        Ok(())
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> PortResult<Vec<Row>> {
        let range = if to.is_empty() { self.rows.range(from..) } else { self.rows.range(from..to) };
        if reverse { collect(range.rev().take(limit)) } else { collect(range.take(limit)) }
    }
}

fn collect(rows: impl Iterator<Item = fjall::Guard>) -> PortResult<Vec<Row>> {
    rows.map(|row| {
        let (key, stored) = row.into_inner().map_err(|error| failed("scan", error))?;
        Ok((key.to_vec(), value::open(&key, &stored)?))
    })
    .collect()
}

#[async_trait]
impl Catalog for FjallCatalog {
    fn get(&self, key: &[u8]) -> PortResult<Option<Vec<u8>>> {
        value::check_key(key)?;
        guarded("read fjall", || {
            let stored = self.inner.rows.get(key).map_err(|error| failed("read", error))?;
            stored.map(|stored| value::open(key, &stored)).transpose()
        })
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> PortResult<Vec<Row>> {
        if limit == 0 || (!to.is_empty() && to <= from) {
            return Ok(Vec::new());
        }
        guarded("scan fjall", || self.inner.scan(from, to, reverse, limit))
    }

    async fn commit(&self, batch: Vec<RowChange>, applied: Lsn) -> PortResult<()> {
        value::check_batch(&batch)?;
        let inner = self.inner.clone();
        blocking("commit to fjall", move || inner.commit(batch, applied)).await
    }

    fn applied(&self) -> Lsn {
        Lsn(self.inner.applied.load(Ordering::Acquire))
    }

    fn disk_bytes(&self) -> PortResult<u64> {
        super::folder_bytes(&self.inner.path)
    }
}

impl std::fmt::Debug for FjallCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FjallCatalog({}, applied {})", self.inner.path.display(), self.applied())
    }
}
