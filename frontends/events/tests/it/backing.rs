//! A machine whose store can be closed and opened again: the real database, data layer and key tree
//! on a model disk and catalog.

use gw_clock::SystemClock;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::MemoryCatalog;
use gw_db::{Db, DbConfig, DbPorts};
use gw_sim::{MemDisk, NoMiners};
use gw_store::{
    BucketOptions, EventKind, EventQueue, EventTarget, FinishOptions, Notifications, NotifyRule, PutOptions,
    Store, StoreConfig, StorePorts,
};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::Clock;
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey};

pub(crate) struct Machine {
    clock: Arc<dyn Clock>,
    keys: Arc<RootKeys>,
    disk: Arc<MemDisk>,
    catalog: Arc<MemoryCatalog>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let keys = Arc::new(RootKeys::new(RootKey::generate().unwrap(), clock.clone()));
        Self { clock, keys, disk: Arc::new(MemDisk::new()), catalog: Arc::new(MemoryCatalog::new()) }
    }

    /// A store that knows the target `t`.
    pub(crate) async fn open(&self) -> Here {
        let files = SegmentFiles::new(self.disk.clone());
        let ports = DbPorts {
            disk: self.disk.clone(),
            catalog: self.catalog.clone(),
            clock: self.clock.clone(),
            sink: files.clone(),
        };
        let db = Db::open(ports, DbConfig::default()).await.unwrap();
        let ports = DataPorts {
            db: db.clone(),
            files,
            keys: self.keys.clone(),
            miners: Arc::new(NoMiners),
            striper: Arc::new(LocalStriper::new(NonZeroUsize::MIN)),
            clock: self.clock.clone(),
        };
        let config = DataConfig { staging_bytes_max: Some(1 << 30), ..DataConfig::default() };
        let data = Data::open(ports, config).await.unwrap();
        let ports =
            StorePorts { db, data, keys: self.keys.clone(), clock: self.clock.clone(), durability: None };
        let config = StoreConfig { event_targets: vec![EventTarget::new("t")], ..StoreConfig::default() };
        let who = Authenticated::user("root", Frontend::Admin);
        let bucket = BucketName::new("bucket").unwrap();
        Here { store: Store::open(ports, config).await.unwrap(), who, bucket }
    }
}

/// A bucket whose puts and deletes are told to `t`.
pub(crate) struct Here {
    pub(crate) store: Store,
    who: Authenticated,
    bucket: BucketName,
}

impl Here {
    pub(crate) async fn new(machine: &Machine) -> Self {
        let here = machine.open().await;
        here.store.bucket_create(&here.who, &here.bucket, BucketOptions::default()).await.unwrap();
        let words = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"];
        let rule = NotifyRule {
            id: "rule".to_owned(),
            target: "t".to_owned(),
            events: words.iter().flat_map(|word| EventKind::meant(word)).collect(),
            prefix: String::new(),
            suffix: String::new(),
        };
        let rules = Notifications { rules: vec![rule], text: Vec::new() };
        here.store.bucket_notifications_set(&here.who, &here.bucket, Some(rules)).await.unwrap();
        here
    }
    pub(crate) async fn put(&self, key: &str) {
        let key = ObjectKey::new(key).unwrap();
        let writer = self.store.put(&self.who, &self.bucket, &key, PutOptions::default()).await.unwrap();
        writer.finish(FinishOptions::default()).await.unwrap();
    }
    pub(crate) async fn queue(&self) -> EventQueue {
        self.store.event_queues(&self.who).unwrap().remove(0)
    }
    /// Returns when `fits` holds of the queue.
    pub(crate) async fn queue_becomes(&self, fits: impl Fn(&EventQueue) -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !fits(&self.queue().await) {
            assert!(Instant::now() < until, "{:?}", self.queue().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
