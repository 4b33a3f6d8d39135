//! Ports for tests, and short ways to commit and look.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gw_db::{Db, DbConfig, DbError, DbPorts, InlineSink, Read};
use gw_sim::{ForgettingCatalog, ForgettingDisk, MemDisk, SimClock};
use gw_types::ports::{Catalog, Disk, DiskFile};
use gw_types::{Lsn, PortResult, SegmentSeq};
use parking_lot::Mutex;

/// Segment files on the same disk as the journal, so that a power cut treats them alike.
pub struct DiskSink {
    disk: Arc<dyn Disk>,
    open: Mutex<BTreeMap<SegmentSeq, Arc<dyn DiskFile>>>,
}

impl DiskSink {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: Mutex::default() }
    }
    pub fn name(segment: SegmentSeq) -> String {
        format!("segments/{:08}", segment.0)
    }
    fn file(&self, segment: SegmentSeq) -> PortResult<Arc<dyn DiskFile>> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(&segment) {
            return Ok(file.clone());
        }
        let file =
            self.disk.open(&Self::name(segment)).or_else(|_| self.disk.create(&Self::name(segment)))?;
        open.insert(segment, file.clone());
        Ok(file)
    }
}

#[async_trait]
impl InlineSink for DiskSink {
    fn place(&self, segment: SegmentSeq, offset: u64, bytes: &[u8]) -> PortResult<()> {
        self.file(segment)?.write_at(offset, bytes)
    }
    async fn sync_placed(&self) -> PortResult<()> {
        let files: Vec<_> = self.open.lock().values().cloned().collect();
        for file in files {
            file.sync().await?;
        }
        self.disk.sync_dir("segments").await
    }
}

/// A database directory of the models.
#[derive(Clone)]
pub struct Machine {
    pub disk: ForgettingDisk,
    pub catalog: ForgettingCatalog,
    pub clock: SimClock,
}

impl Machine {
    pub fn new() -> Self {
        Self { disk: ForgettingDisk::new(), catalog: ForgettingCatalog::new(), clock: SimClock::default() }
    }
    pub fn ports(&self) -> DbPorts {
        ports(Arc::new(self.disk.clone()), Arc::new(self.catalog.clone()), &self.clock)
    }
    pub async fn open(&self, config: DbConfig) -> Result<Arc<Db>, DbError> {
        Db::open(self.ports(), config).await
    }
    /// What a power cut would leave, one of many.
    pub fn power_cut(&self, seed: u64) -> Self {
        Self {
            disk: self.disk.power_cut(seed),
            catalog: self.catalog.power_cut(seed ^ 0xc0ffee),
            clock: self.clock.clone(),
        }
    }
    pub fn mem(&self) -> &MemDisk {
        self.disk.mem()
    }
    pub fn files(&self, folder: &str) -> Vec<String> {
        self.disk.list(folder).unwrap().into_iter().map(|entry| entry.name).collect()
    }
}

pub fn ports(disk: Arc<dyn Disk>, catalog: Arc<dyn Catalog>, clock: &SimClock) -> DbPorts {
    DbPorts { sink: Arc::new(DiskSink::new(disk.clone())), disk, catalog, clock: Arc::new(clock.clone()) }
}

/// Small enough that a few dozen commits rotate files, checkpoint and merge.
pub fn tiny() -> DbConfig {
    DbConfig {
        journal_file_bytes_max: 3000,
        journal_bytes_max: 1 << 20,
        journal_step_bytes: 4096,
        pending_bytes_max: 64 << 10,
        group_bytes_max: 2000,
        record_bytes_max: 32 << 10,
        overlay_bytes_max: 6000,
        checkpoint_journal_bytes: 8000,
        checkpoint_age_ms: 1000,
        runs_max: 3,
        catalog_batch_rows_max: 7,
    }
}

/// As [`tiny`], but without checkpoints by size.
pub fn tiny_unhurried() -> DbConfig {
    DbConfig { overlay_bytes_max: 1 << 20, checkpoint_journal_bytes: 1 << 20, ..tiny() }
}

/// Never checkpoints by itself.
pub fn manual() -> DbConfig {
    DbConfig { journal_step_bytes: 64 << 10, checkpoint_age_ms: u64::MAX / 4_000_000, ..DbConfig::default() }
}

pub fn put(db: &Db, key: &str, value: &str) -> Result<Lsn, DbError> {
    let committed = db.transact(|txn| {
        txn.put(key.into(), value.into());
        Ok::<_, DbError>(())
    })?;
    Ok(committed.lsn)
}

pub async fn put_staged(db: &Db, key: &str, value: &str) -> Lsn {
    let lsn = put(db, key, value).unwrap();
    db.wait_staged(lsn).await.unwrap();
    lsn
}

pub fn delete(db: &Db, key: &str) -> Lsn {
    let act = |txn: &mut gw_db::Txn<'_>| {
        txn.delete(key.into());
        Ok::<_, DbError>(())
    };
    db.transact(act).unwrap().lsn
}

pub fn get(db: &Db, key: &str) -> Option<Bytes> {
    db.snapshot().get(key.as_bytes()).unwrap()
}

/// All rows.
pub fn rows(read: &impl Read) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let rows = read.scan(b"", b"", false, usize::MAX).unwrap();
    rows.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}
