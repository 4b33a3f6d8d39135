//! The frontends before a store in memory, made anew from time to time so that a long run stays small.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gw_clock::SystemClock;
use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::MemoryCatalog;
use gw_db::{Db, DbConfig, DbPorts};
use gw_nbd::{Listen, NbdConfig, NbdServer, Principals, RunningNbd, StoreExports};
use gw_s3::{NewBuckets, RunningS3, S3Config, S3Server};
use gw_sim::{MemDisk, NoMiners};
use gw_store::{BucketOptions, ExportSpec, Secret, Store, StoreConfig, StorePorts, UserSpec};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::Clock;
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use crate::sign::{Request, signed};
use crate::wire::request;

pub(crate) const ACCESS_KEY: &str = "AKIAFUZZFUZZFUZZFUZZ";
pub(crate) const SECRET: &str = "a-secret-of-no-worth";
/// Whose bucket anybody may read and write.
pub(crate) const BUCKET: &str = "bucket";
/// Inputs that one world serves.
const RUNS_MAX: u32 = 20_000;
const VOLUME_BYTES: u64 = 1 << 20;

/// The servers.
pub(crate) struct World {
    pub(crate) s3: SocketAddr,
    pub(crate) nbd: SocketAddr,
    runs: u32,
    _running: (RunningS3, RunningNbd),
    /// Last: what it runs goes before it.
    _runtime: Runtime,
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Asks the servers, and afterwards whether any thread of theirs has panicked.
pub(crate) fn ask(with: impl FnOnce(&World)) {
    let mut held = WORLD.lock();
    if held.as_ref().is_none_or(|world| world.runs >= RUNS_MAX) {
        *held = None;
        watch_panics();
        *held = Some(World::new());
    }
    let world = held.as_mut().expect("it was made above");
    world.runs += 1;
    with(world);
    assert!(!PANICKED.load(Ordering::SeqCst), "a task of the server has panicked, see above");
}

fn watch_panics() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::SeqCst) {
        return;
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::SeqCst);
        before(info);
    }));
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (s3, nbd) = runtime.block_on(async {
            let store = store().await;
            let exports = Arc::new(StoreExports::new(Store::clone(&store)));
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let nbd = NbdConfig::new(Listen::Tcp(any), Principals::new(true));
            let nbd = NbdServer::bind(nbd, exports).await.expect("a free port");
            let config = S3Config {
                listen: any,
                sigv2_presigned: true,
                new_buckets: NewBuckets::Classic,
                ..S3Config::default()
            };
            (S3Server::bind(config, store).await.expect("a free port"), nbd)
        });
        let nbd_address = *nbd.tcp_addrs().first().expect("it listens on TCP");
        let world =
            Self { s3: s3.local_addr(), nbd: nbd_address, runs: 0, _running: (s3, nbd), _runtime: runtime };
        world.open_bucket();
        world
    }
    /// Makes the bucket that anybody may use.
    pub(crate) fn open_bucket(&self) {
        let made = self.signed(Request {
            method: "PUT",
            target: &format!("/{BUCKET}"),
            headers: vec![("x-amz-acl".to_owned(), "public-read-write".to_owned())],
            body: aws_sigv4::http_request::SignableBody::Bytes(&[]),
            body_len: 0,
            service: "s3",
            presigned: false,
        });
        assert_eq!(made, Some(200), "the bucket is made");
    }
    fn signed(&self, to_send: Request<'_>) -> Option<u16> {
        signed(self.s3, to_send).map(|head| request(self.s3, &head, &[]).status)
    }
}

async fn store() -> Arc<Store> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let keys = Arc::new(RootKeys::new(RootKey::generate().expect("randomness"), clock.clone()));
    let disk = Arc::new(MemDisk::new());
    let files = SegmentFiles::new(disk.clone());
    let catalog = Arc::new(MemoryCatalog::new());
    let ports = DbPorts { disk, catalog, clock: clock.clone(), sink: files.clone() };
    let db = Db::open(ports, DbConfig::default()).await.expect("an empty database opens");
    let ports = DataPorts {
        db: db.clone(),
        files,
        keys: keys.clone(),
        miners: Arc::new(NoMiners),
        striper: Arc::new(LocalStriper::new(NonZeroUsize::MIN)),
        clock: clock.clone(),
    };
    let config = DataConfig { staging_bytes_max: Some(1 << 30), ..DataConfig::default() };
    let data = Data::open(ports, config).await.expect("an empty data layer opens");
    let ports = StorePorts { db, data, keys, clock, durability: None };
    let store = Store::open(ports, StoreConfig::default()).await.expect("an empty store opens");
    let admin = Authenticated::user("root", Frontend::Admin);
    let spec = UserSpec {
        name: "ann".to_owned(),
        admin: false,
        access_key: Some(ACCESS_KEY.to_owned()),
        secret: Some(Secret::new(SECRET)),
    };
    store.user_add(&admin, spec).await.expect("a new user");
    let (bucket, key) = (BucketName::new("disks").expect("a name"), ObjectKey::new("disk").expect("a key"));
    store.bucket_create(&admin, &bucket, BucketOptions::default()).await.expect("a new bucket");
    store.volume_create(&admin, (&bucket, &key), VOLUME_BYTES).await.expect("a new volume");
    let spec = ExportSpec {
        name: "disk".to_owned(),
        bucket,
        key,
        snapshot: None,
        read_only: false,
        anyone: true,
        users: Vec::new(),
    };
    store.export_set(&admin, &spec).await.expect("a new export");
    Arc::new(store)
}
