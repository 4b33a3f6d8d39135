//! A machine on which a store can be opened, killed and opened again: model disk, model catalog, the
//! real database and data layer between.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_codec::hash::fragment_hash;
use gw_data::rows::{self, SegmentState, StripeRow};
use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::MemoryCatalog;
use gw_db::{Db, DbConfig, DbPorts};
use gw_sim::{ForgettingCatalog, ForgettingDisk, MemDisk, NoMiners, SimClock};
use gw_store::{Durability, Horizon, Store, StoreConfig, StorePorts, StoredMaps};
use gw_types::ports::{Catalog, Disk, StripeHashes, Striper};
use gw_types::{
    FRAGMENT_BYTES, FragmentIndex, Hash32, Level, Lsn, PortError, PortErrorKind, PortResult, SegmentSeq,
    StreamId,
};
use parking_lot::Mutex;

use crate::support::TestKeys;

/// Nothing is dispersed here, so nothing is asked of the network.
#[derive(Debug)]
struct Nowhere;

fn nowhere<T>() -> PortResult<T> {
    Err(PortError::definite(PortErrorKind::Unavailable, "these tests have no network"))
}

#[async_trait]
impl Striper for Nowhere {
    async fn hash(&self, _: Bytes) -> PortResult<StripeHashes> {
        nowhere()
    }
    async fn fragment(&self, _: Bytes, _: FragmentIndex) -> PortResult<Bytes> {
        nowhere()
    }
    async fn rebuild(&self, _: Vec<(FragmentIndex, Bytes)>, _: FragmentIndex) -> PortResult<Bytes> {
        nowhere()
    }
}

/// A dispersal that never gets anywhere.
#[derive(Debug)]
struct Stalled;

#[async_trait]
impl Durability for Stalled {
    async fn wait(&self, _: Level, _: StreamId, _: Lsn) -> PortResult<()> {
        std::future::pending().await
    }
    async fn flush(&self, _: Level) -> PortResult<()> {
        std::future::pending().await
    }
    fn watermark(&self, _: Level) -> Lsn {
        Lsn(0)
    }
    fn standstill(&self) -> Option<String> {
        Some("11 of 14 miners answer".to_owned())
    }
}

/// Nothing is dispersed, and it lasts as long as a test says.
#[derive(Debug)]
struct Lasting(Arc<Mutex<Horizon>>);

#[async_trait]
impl Durability for Lasting {
    async fn wait(&self, _: Level, _: StreamId, _: Lsn) -> PortResult<()> {
        nowhere()
    }
    async fn flush(&self, _: Level) -> PortResult<()> {
        nowhere()
    }
    fn watermark(&self, _: Level) -> Lsn {
        Lsn(0)
    }
    fn horizon(&self) -> Horizon {
        self.0.lock().clone()
    }
}

/// What opening made.
struct Opened {
    store: Store,
    db: Arc<Db>,
    data: Arc<Data>,
}

async fn open(
    disk: Arc<dyn Disk>,
    catalog: Arc<dyn Catalog>,
    keys: Arc<TestKeys>,
    clock: &SimClock,
    durability: Option<Arc<dyn Durability>>,
    config: StoreConfig,
) -> Opened {
    let clock = Arc::new(clock.clone());
    let files = SegmentFiles::new(disk.clone());
    let ports = DbPorts { disk, catalog, clock: clock.clone(), sink: files.clone() };
    let db = Db::open(ports, DbConfig::default()).await.unwrap();
    let ports = DataPorts {
        db: db.clone(),
        files,
        keys: keys.clone(),
        miners: Arc::new(NoMiners),
        striper: Arc::new(Nowhere),
        clock: clock.clone(),
    };
    let data_config = DataConfig { staging_bytes_max: Some(1 << 30), ..DataConfig::default() };
    let data = Data::open(ports, data_config).await.unwrap();
    let ports = StorePorts { db: db.clone(), data: data.clone(), keys, clock, durability };
    let config = StoreConfig { part_bytes_min: 16, ..config };
    Opened { store: Store::open(ports, config).await.unwrap(), db, data }
}

/// A machine whose disk keeps everything.
pub struct Machine {
    disk: MemDisk,
    catalog: Arc<MemoryCatalog>,
    keys: Arc<TestKeys>,
    pub clock: SimClock,
    below: Mutex<Option<(Arc<Db>, Arc<Data>)>>,
}

impl Machine {
    pub fn new() -> Self {
        Self {
            disk: MemDisk::new(),
            catalog: Arc::new(MemoryCatalog::new()),
            keys: Arc::default(),
            clock: SimClock::default(),
            below: Mutex::default(),
        }
    }
    pub async fn open(&self) -> Store {
        self.open_with(None, StoreConfig::default()).await
    }
    pub async fn open_told(&self, change: impl FnOnce(&mut StoreConfig)) -> Store {
        let mut config = StoreConfig::default();
        change(&mut config);
        self.open_with(None, config).await
    }
    pub async fn open_with_stalled_dispersal(&self) -> Store {
        self.open_with(Some(Arc::new(Stalled)), StoreConfig::default()).await
    }
    /// Where what is stored lasts as long as this says.
    pub async fn open_lasting(&self, horizon: Arc<Mutex<Horizon>>) -> Store {
        self.open_with(Some(Arc::new(Lasting(horizon))), StoreConfig::default()).await
    }
    async fn open_with(&self, durability: Option<Arc<dyn Durability>>, config: StoreConfig) -> Store {
        let (disk, catalog) = (Arc::new(self.disk.clone()), self.catalog.clone());
        let opened = open(disk, catalog, self.keys.clone(), &self.clock, durability, config).await;
        *self.below.lock() = Some((opened.db, opened.data));
        opened.store
    }
    /// Sealed bytes that something refers to, in all segments.
    pub fn live_bytes(&self) -> u64 {
        let status = self.below.lock().as_ref().unwrap().1.status().unwrap();
        assert_eq!(status.lost, 0);
        [status.open, status.sealed, status.dispersed, status.finalized, status.moved]
            .iter()
            .map(|totals| totals.live_bytes)
            .sum()
    }
    /// Waits until what is left to be done on maps is done.
    pub async fn tend(&self) {
        let data = self.below.lock().as_ref().unwrap().1.clone();
        data.tend_layers().await.unwrap();
    }
    /// What dispersal says bodies may still take of the territory.
    pub fn set_room(&self, bytes: Option<u64>) {
        let data = self.below.lock().as_ref().unwrap().1.clone();
        data.set_room(bytes, data.room_mark());
    }
    /// Finalizes every segment as if the network had it, and compacts all that has anything alive in
    /// it, on this disk.
    pub async fn compact_all(&self) {
        let (db, data) = self.below.lock().clone().unwrap();
        for seq in data.sealable(Duration::ZERO).unwrap() {
            data.seal(seq).await.unwrap();
        }
        let mut victims = Vec::new();
        for (seq, mut row) in rows::segments(&db.snapshot(), SegmentSeq(0), usize::MAX).unwrap() {
            if row.state != SegmentState::Sealed {
                continue;
            }
            let bytes = data.segment_bytes(seq).await.unwrap();
            let fragment = |index: usize| {
                let fragment = bytes.chunks(FRAGMENT_BYTES as usize).nth(index);
                fragment.map_or(Hash32([0; 32]), fragment_hash)
            };
            row.stripe =
                Some(StripeRow { segment: Hash32([0; 32]), fragments: std::array::from_fn(fragment) });
            row.state = SegmentState::Finalized;
            db.transact(|txn| rows::put_segment(txn, seq, &row)).unwrap();
            victims.push(seq);
        }
        let live = data.live(&victims, &StoredMaps).await.unwrap();
        for seq in victims {
            data.compact(seq, live.of(seq).unwrap()).await.unwrap();
        }
    }
    /// Rows of the store's tables that name objects, uploads and garbage: all but users, buckets and
    /// the answers kept for completed uploads.
    pub fn rows_left(&self) -> usize {
        let snapshot = self.below.lock().as_ref().unwrap().0.snapshot();
        let count = |from: u8, to: u8| snapshot.scan(&[from], &[to], false, usize::MAX).unwrap().len();
        count(0x13, 0x22) + count(0x24, 0x40)
    }
    /// Ends the store's life; what it still holds in memory is of no use any more.
    pub async fn kill(&self, store: Store) {
        store.close().await.unwrap();
    }
    /// Everything on the disk.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let folders = ["", "journal", "runs", "segments"];
        let entries = folders.iter().flat_map(|folder| self.disk.list(folder).unwrap());
        let files: Vec<Vec<u8>> = entries.filter_map(|entry| self.disk.contents(&entry.name)).collect();
        assert!(!files.is_empty());
        files
    }
}

/// A machine whose disk and catalog forget what was not synced.
pub struct ForgetfulMachine {
    pub disk: ForgettingDisk,
    catalog: Arc<ForgettingCatalog>,
    keys: Arc<TestKeys>,
}

impl ForgetfulMachine {
    pub fn new() -> Self {
        Self {
            disk: ForgettingDisk::new(),
            catalog: Arc::new(ForgettingCatalog::new()),
            keys: Arc::default(),
        }
    }
    pub async fn open(&self) -> Store {
        let (disk, catalog) = (Arc::new(self.disk.clone()), self.catalog.clone());
        open(disk, catalog, self.keys.clone(), &SimClock::default(), None, StoreConfig::default()).await.store
    }
    /// The machine after a power cut; this one is not changed.
    pub fn power_cut(&self, seed: u64) -> Self {
        Self {
            disk: self.disk.power_cut(seed),
            catalog: Arc::new(self.catalog.power_cut(seed)),
            keys: self.keys.clone(),
        }
    }
}
