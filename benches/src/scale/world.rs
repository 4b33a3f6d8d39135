//! What the measured store stands on: the real disk with a meter, no network.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use gw_db::disk::FileDisk;
use gw_types::ports::{Disk, DiskEntry, DiskFile, MinerAddr, MinerLatency, MinerStatus, Miners};
use gw_types::{AccountId, Fid, Hash32, PortError, PortErrorKind, PortResult};

/// Bytes written, by folder.
#[derive(Debug, Default)]
pub struct Meter {
    /// To `journal/`.
    pub journal: AtomicU64,
    /// To `runs/`.
    pub runs: AtomicU64,
    /// To `segments/`, where they were dropped.
    pub segments: AtomicU64,
}

impl Meter {
    fn of(&self, name: &str) -> &AtomicU64 {
        match name.split('/').next() {
            Some("journal") => &self.journal,
            Some("segments") => &self.segments,
            _ => &self.runs,
        }
    }
}

/// A folder of the file system that counts what is written, and drops what goes to segment files.
#[derive(Debug)]
pub struct MeteredDisk {
    inner: FileDisk,
    meter: Arc<Meter>,
}

impl MeteredDisk {
    /// Over the folder `root`.
    pub fn new(root: &Path) -> PortResult<Self> {
        Ok(Self { inner: FileDisk::new(root)?, meter: Arc::default() })
    }
    /// What was written so far.
    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }
    fn metered(&self, name: &str, file: Option<Arc<dyn DiskFile>>) -> Arc<dyn DiskFile> {
        Arc::new(MeteredFile {
            file,
            name: name.to_owned(),
            len: AtomicU64::new(0),
            meter: self.meter.clone(),
        })
    }
}

fn is_dropped(name: &str) -> bool {
    name.starts_with("segments/")
}

#[async_trait]
impl Disk for MeteredDisk {
    fn create(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        let file = if is_dropped(name) { None } else { Some(self.inner.create(name)?) };
        Ok(self.metered(name, file))
    }
    fn open(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        let file = if is_dropped(name) { None } else { Some(self.inner.open(name)?) };
        Ok(self.metered(name, file))
    }
    fn remove(&self, name: &str) -> PortResult<()> {
        if is_dropped(name) { Ok(()) } else { self.inner.remove(name) }
    }
    fn rename(&self, from: &str, to: &str) -> PortResult<()> {
        self.inner.rename(from, to)
    }
    fn list(&self, folder: &str) -> PortResult<Vec<DiskEntry>> {
        self.inner.list(folder)
    }
    async fn sync_dir(&self, folder: &str) -> PortResult<()> {
        if folder == "segments" { Ok(()) } else { self.inner.sync_dir(folder).await }
    }
    fn free_bytes(&self) -> PortResult<u64> {
        self.inner.free_bytes()
    }
}

/// A file, or (without one) a length.
#[derive(Debug)]
struct MeteredFile {
    file: Option<Arc<dyn DiskFile>>,
    name: String,
    len: AtomicU64,
    meter: Arc<Meter>,
}

#[async_trait]
impl DiskFile for MeteredFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> PortResult<()> {
        self.meter.of(&self.name).fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.as_ref().map_or(Ok(()), |file| file.write_at(offset, bytes))
    }
    async fn read_at(&self, offset: u64, len: usize) -> PortResult<Bytes> {
        match &self.file {
            Some(file) => file.read_at(offset, len).await,
            None => Err(PortError::definite(PortErrorKind::NotFound, "segment bytes are dropped here")),
        }
    }
    async fn sync(&self) -> PortResult<()> {
        match &self.file {
            Some(file) => file.sync().await,
            None => Ok(()),
        }
    }
    fn len(&self) -> PortResult<u64> {
        self.file.as_ref().map_or_else(|| Ok(self.len.load(Ordering::Relaxed)), |file| file.len())
    }
    fn set_len(&self, len: u64) -> PortResult<()> {
        self.len.store(len, Ordering::Relaxed);
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(len))
    }
}

/// No miners: nothing is dispersed here.
#[derive(Debug)]
pub struct NoMiners;

fn nowhere<T>() -> PortResult<T> {
    Err(PortError::definite(PortErrorKind::Unavailable, "this measurement has no network"))
}

#[async_trait]
impl Miners for NoMiners {
    async fn put(&self, _: &MinerAddr, _: Fid, _: Hash32, _: Bytes) -> PortResult<()> {
        nowhere()
    }
    async fn get(&self, _: &MinerAddr, _: Fid, _: Hash32, _: Range<u32>) -> PortResult<Bytes> {
        nowhere()
    }
    async fn probe(&self, _: &MinerAddr) -> PortResult<MinerStatus> {
        nowhere()
    }
    fn latency(&self, _: &AccountId) -> Option<MinerLatency> {
        None
    }
}
