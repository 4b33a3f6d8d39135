//! A real store in memory: the real database, data layer and key tree on a model disk and catalog.
//! Nothing is dispersed.

use gw_clock::SystemClock;
use std::num::NonZeroUsize;
use std::sync::Arc;

use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::MemoryCatalog;
use gw_db::{Db, DbConfig, DbPorts};
use gw_sim::{MemDisk, NoMiners};
use gw_store::{EventTarget, Secret, Store, StoreConfig, StorePorts, UserSpec};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::Clock;
use gw_types::{Authenticated, Frontend};

/// A store with users of these names, access keys and secrets.
pub async fn store(users: &[(&str, &str, &str)]) -> Arc<Store> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
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
        miners: Arc::new(NoMiners),
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
