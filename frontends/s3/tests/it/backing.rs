//! A real store in memory: the real database, data layer and key tree on a model disk and catalog.
//! Nothing is dispersed.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::MemoryCatalog;
use gw_db::{Db, DbConfig, DbPorts};
use gw_sim::MemDisk;
use gw_store::{EventTarget, Secret, Store, StoreConfig, StorePorts, UserSpec};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::{Clock, MinerAddr, MinerLatency, MinerStatus, Miners};
use gw_types::{
    AccountId, Authenticated, Fid, Frontend, Hash32, PortError, PortErrorKind, PortResult, Timestamp,
};

/// The system's clock: clients sign with it.
#[derive(Debug)]
struct WallClock(Instant);

#[async_trait]
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is past 1970");
        Timestamp(since.as_nanos().try_into().expect("nanoseconds fit until 2262"))
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// No miner at all.
#[derive(Debug)]
struct Nobody;

fn nobody<T>() -> PortResult<T> {
    Err(PortError::definite(PortErrorKind::Unavailable, "these tests have no miners"))
}

#[async_trait]
impl Miners for Nobody {
    async fn put(&self, _: &MinerAddr, _: Fid, _: Hash32, _: Bytes) -> PortResult<()> {
        nobody()
    }
    async fn get(&self, _: &MinerAddr, _: Fid, _: Hash32, _: std::ops::Range<u32>) -> PortResult<Bytes> {
        nobody()
    }
    async fn probe(&self, _: &MinerAddr) -> PortResult<MinerStatus> {
        nobody()
    }
    fn latency(&self, _: &AccountId) -> Option<MinerLatency> {
        None
    }
}

/// A store with users of these names, access keys and secrets.
pub async fn store(users: &[(&str, &str, &str)]) -> Arc<Store> {
    let clock: Arc<dyn Clock> = Arc::new(WallClock(Instant::now()));
    let keys =
        Arc::new(RootKeys::new(RootKey::generate().expect("the system has randomness"), clock.clone()));
    let disk = Arc::new(MemDisk::new());
    let files = SegmentFiles::new(disk.clone());
    let ports =
        DbPorts { disk, catalog: Arc::new(MemoryCatalog::new()), clock: clock.clone(), sink: files.clone() };
    let db = Db::open(ports, DbConfig::default()).await.expect("an empty database opens");
    let ports = DataPorts {
        db: db.clone(),
        files,
        keys: keys.clone(),
        miners: Arc::new(Nobody),
        striper: Arc::new(LocalStriper::new(NonZeroUsize::MIN)),
        clock: clock.clone(),
    };
    let config = DataConfig { staging_bytes_max: Some(1 << 30), ..DataConfig::default() };
    let data = Data::open(ports, config).await.expect("an empty data layer opens");
    let ports = StorePorts { db, data, keys, clock, durability: None };
    let config = StoreConfig { event_targets: vec![EventTarget::new("hook")], ..StoreConfig::default() };
    let store = Store::open(ports, config).await.expect("an empty store opens");
    let admin = Authenticated::user("root", Frontend::Admin);
    // The names that ceph/s3-tests asks for.
    for name in ["testkey-1", "testkey-2"] {
        store.kms_key_add(&admin, name).await.expect("a new key");
    }
    for (name, access_key, secret) in users {
        let spec = UserSpec {
            name: (*name).to_owned(),
            admin: false,
            access_key: Some((*access_key).to_owned()),
            secret: Some(Secret::new(*secret)),
        };
        store.user_add(&admin, spec).await.expect("a new user");
    }
    Arc::new(store)
}
