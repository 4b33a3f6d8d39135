//! Volumes of a real store in memory, over real sockets: held to the specification like files, shared by
//! the connections of one client, and given back with the last.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use gw_clock::SystemClock;
use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::MemoryCatalog;
use gw_db::{Db, DbConfig, DbPorts};
use gw_nbd::{Listen, NbdConfig, NbdServer, Principals, Proof, RunningNbd, StoreExports};
use gw_sim::{MemDisk, NoMiners};
use gw_store::{
    BucketOptions, ByteRange, ExportSpec, ReadOptions, SnapshotName, Store, StoreConfig, StorePorts,
};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::Clock;
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey};
use tempfile::TempDir;

use crate::client::{Client, Mode, Target};
use crate::conformance::judge_all;
use crate::harness::SIZE;

async fn store() -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let keys = Arc::new(RootKeys::new(RootKey::generate().unwrap(), clock.clone()));
    let disk = Arc::new(MemDisk::new());
    let files = SegmentFiles::new(disk.clone());
    let catalog = Arc::new(MemoryCatalog::new());
    let ports = DbPorts { disk, catalog, clock: clock.clone(), sink: files.clone() };
    let db = Db::open(ports, DbConfig::default()).await.unwrap();
    let ports = DataPorts {
        db: db.clone(),
        files,
        keys: keys.clone(),
        miners: Arc::new(NoMiners),
        striper: Arc::new(LocalStriper::new(NonZeroUsize::MIN)),
        clock: clock.clone(),
    };
    let config = DataConfig { staging_bytes_max: Some(1 << 30), ..DataConfig::default() };
    let data = Data::open(ports, config).await.unwrap();
    let ports = StorePorts { db, data, keys, clock, durability: None };
    Store::open(ports, StoreConfig::default()).await.unwrap()
}

/// A server on a store with one volume, exported to anyone as `disk`.
struct Served {
    store: Store,
    target: Target,
    running: RunningNbd,
    bucket: BucketName,
    key: ObjectKey,
    who: Authenticated,
    _folder: TempDir,
}

impl Served {
    async fn start() -> Self {
        let store = store().await;
        let who = Authenticated::user("root", Frontend::Admin);
        let (bucket, key) = (BucketName::new("disks").unwrap(), ObjectKey::new("vm/root").unwrap());
        store.bucket_create(&who, &bucket, BucketOptions::default()).await.unwrap();
        store.volume_create(&who, (&bucket, &key), SIZE).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("socket");
        let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap());
        let principals = Principals::new(false).with(Proof::Uid(uid), "ada");
        let config = NbdConfig::new(Listen::Unix { path: path.clone(), mode: 0o600 }, principals);
        let exports = Arc::new(StoreExports::new(store.clone()));
        let running = NbdServer::bind(config, exports).await.unwrap();
        Self { store, target: Target::Unix(path), running, bucket, key, who, _folder: folder }
    }
    async fn export(&self, name: &str, snapshot: Option<&str>, anyone: bool) {
        let spec = ExportSpec {
            name: name.to_owned(),
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            snapshot: snapshot.map(|name| SnapshotName::new(name).unwrap()),
            read_only: false,
            anyone,
            users: Vec::new(),
        };
        self.store.export_set(&self.who, &spec).await.unwrap();
    }
    async fn snapshot(&self, name: &str) {
        let name = SnapshotName::new(name).unwrap();
        self.store.volume_snapshot(&self.who, (&self.bucket, &self.key), &name).await.unwrap();
    }
    async fn attach(&self, name: &str) -> Result<Client, String> {
        Client::attached(&self.target, name, Mode::Structured, &[]).await
    }
    async fn object(&self) -> Vec<u8> {
        let read = self.store.get(&self.who, &self.bucket, &self.key, ReadOptions::default()).await.unwrap();
        let mut body = read.body(ByteRange::All).unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        bytes
    }
    async fn is_attached(&self) -> bool {
        let info = self.store.volume_info(&self.who, (&self.bucket, &self.key)).await.unwrap();
        info.attached.is_some()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_held_to_the_specification() {
    let served = Served::start().await;
    // So that there is a context beside that of allocation.
    served.snapshot("since-open").await;
    served.export("disk", None, true).await;
    served.export("frozen", Some("since-open"), true).await;
    judge_all(&served.target, "disk").await;
    served.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_client_share_a_volume_and_the_last_gives_it_back() {
    let served = Served::start().await;
    assert!(served.attach("disk").await.is_err(), "there is no such export yet");
    served.export("disk", None, true).await;
    let mut one = served.attach("disk").await.unwrap();
    let mut two = served.attach("disk").await.unwrap();
    one.put(0, 4096, b"from one").await.unwrap();
    assert_eq!(two.get(4096, 8).await.unwrap(), b"from one");
    assert!(served.is_attached().await);
    assert_eq!(served.object().await[4096..4104], *b"from one", "S3 sees at least the last flush");
    drop(one);
    two.put(0, 0, b"two").await.unwrap();
    drop(two);
    while served.is_attached().await {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.object().await[..3], *b"two");
    served.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_exports_that_stay_as_they_were() {
    let served = Served::start().await;
    served.export("disk", None, true).await;
    let mut live = served.attach("disk").await.unwrap();
    live.put(0, 0, b"before").await.unwrap();
    served.snapshot("monday").await;
    served.export("monday", Some("monday"), true).await;
    live.put(0, 0, b"after!").await.unwrap();
    let mut frozen = served.attach("monday").await.unwrap();
    assert_eq!(frozen.get(0, 6).await.unwrap(), b"before");
    assert_eq!(live.get(0, 6).await.unwrap(), b"after!");
    let refused = frozen.put(0, 0, b"x").await.unwrap();
    assert!(refused.expect(crate::client::EPERM, "a write to a snapshot").is_ok());
    served.running.shutdown().await;
}
