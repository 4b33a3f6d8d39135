//! The suites, on every implementation.

use std::sync::Arc;

use gw_db::catalog::{self, Engine, FjallCatalog, MemoryCatalog, SledCatalog, open_engine};
use gw_db::disk::{self, FileDisk};
use gw_db::{Db, DbPorts, NoInlines};
use gw_sim::{ForgettingCatalog, ForgettingDisk, MemDisk, SimClock};
use gw_types::Lsn;
use gw_types::ports::Catalog;

use crate::support::{get, manual, put_staged};

#[tokio::test]
async fn the_memory_catalog_conforms() {
    let one = Arc::new(MemoryCatalog::new());
    catalog::conformance::run(async || one.clone() as Arc<dyn Catalog>).await;
    let row = (b"a".to_vec(), Some(b"1".to_vec()));
    one.commit(vec![row], Lsn(99)).await.unwrap();
    assert!(one.damage(b"a"));
    assert!(one.get(b"a").is_err() && one.scan(b"a", b"b", false, 1).is_err(), "damage is noticed");
}

#[tokio::test]
async fn the_forgetting_catalog_conforms() {
    let one = ForgettingCatalog::new();
    catalog::conformance::run(async || Arc::new(one.clone()) as Arc<dyn Catalog>).await;
}

#[tokio::test]
async fn the_sled_catalog_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sled");
    catalog::conformance::run(async || Arc::new(SledCatalog::open(&path).unwrap()) as Arc<dyn Catalog>).await;
}

#[tokio::test]
async fn the_fjall_catalog_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fjall");
    catalog::conformance::run(async || Arc::new(FjallCatalog::open(&path).unwrap()) as Arc<dyn Catalog>)
        .await;
}

#[tokio::test]
async fn all_disks_conform() {
    let folder = tempfile::tempdir().unwrap();
    disk::conformance::run(Arc::new(FileDisk::new(folder.path().join("made/on/the/way")).unwrap())).await;
    disk::conformance::run(Arc::new(MemDisk::new())).await;
    disk::conformance::run(Arc::new(ForgettingDisk::new())).await;
    disk::conformance::run(Arc::new(gw_sim::FaultDisk::new(Arc::new(MemDisk::new())))).await;
}

/// sled 0.34 has refused to open after power cuts, or panicked, or come up empty. Whatever an engine
/// does with damaged files, the rows come back from runs and journal.
#[tokio::test]
async fn an_engine_that_cannot_be_opened_is_moved_aside_and_filled_again() {
    for engine in [Engine::Sled, Engine::Fjall] {
        let folder = tempfile::tempdir().unwrap();
        let open = async || {
            let ports = DbPorts {
                disk: Arc::new(FileDisk::new(folder.path()).unwrap()),
                catalog: open_engine(engine, &folder.path().join("catalog")).unwrap(),
                clock: Arc::new(SimClock::default()),
                sink: Arc::new(NoInlines),
            };
            Db::open(ports, manual()).await.unwrap()
        };
        let db = open().await;
        db.hold_records_after(Lsn(u64::MAX));
        for n in 0..300 {
            put_staged(&db, &format!("key{n}"), "value").await;
        }
        db.checkpoint().await.unwrap();
        put_staged(&db, "late", "in the journal only").await;
        db.close().await.unwrap();
        drop(db);
        let path = folder.path().join("catalog").join(engine.name());
        ruin(&path);
        let db = open().await;
        assert_eq!(get(&db, "key299").unwrap(), "value", "{engine:?}");
        assert_eq!(get(&db, "late").unwrap(), "in the journal only");
        assert_eq!(db.snapshot().scan(b"", b"", false, 1000).unwrap().len(), 301);
        assert!(path.with_extension("broken").exists(), "{engine:?}");
        db.close().await.unwrap();
    }
}

/// Overwrites every file with rubbish of the same length.
fn ruin(path: &std::path::Path) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            ruin(&path);
        } else {
            let len = std::fs::metadata(&path).unwrap().len() as usize;
            std::fs::write(&path, vec![0xa5; len]).unwrap();
        }
    }
}

#[tokio::test]
async fn another_engine_may_take_over() {
    let folder = tempfile::tempdir().unwrap();
    for (turn, engine) in [Engine::Fjall, Engine::Sled, Engine::Fjall].into_iter().enumerate() {
        let ports = DbPorts {
            disk: Arc::new(FileDisk::new(folder.path()).unwrap()),
            catalog: open_engine(engine, &folder.path().join("catalog")).unwrap(),
            clock: Arc::new(SimClock::default()),
            sink: Arc::new(NoInlines),
        };
        let db = Db::open(ports, manual()).await.unwrap();
        db.hold_records_after(Lsn(u64::MAX));
        for before in 0..turn {
            assert_eq!(get(&db, &format!("turn{before}")).unwrap(), "value");
        }
        put_staged(&db, &format!("turn{turn}"), "value").await;
        db.checkpoint().await.unwrap();
        db.close().await.unwrap();
    }
}
