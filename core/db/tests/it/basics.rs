use std::sync::Arc;

use gw_db::catalog::MemoryCatalog;
use gw_db::{Db, DbConfig, DbError, DbPorts, NoInlines};
use gw_sim::{MemDisk, SimClock};
use gw_types::Lsn;

fn ports(disk: &MemDisk, catalog: &Arc<MemoryCatalog>) -> DbPorts {
    DbPorts {
        disk: Arc::new(disk.clone()),
        catalog: catalog.clone(),
        clock: Arc::new(SimClock::default()),
        sink: Arc::new(NoInlines),
    }
}

#[tokio::test]
async fn a_commit_is_there_after_a_restart() {
    let (disk, catalog) = (MemDisk::new(), Arc::new(MemoryCatalog::new()));
    let db = Db::open(ports(&disk, &catalog), DbConfig::default()).await.unwrap();
    assert_eq!(db.epoch(), 1);
    let put = db
        .transact(|txn| {
            txn.put(b"key".to_vec(), b"value".to_vec());
            Ok::<_, DbError>(txn.lsn())
        })
        .unwrap();
    assert_eq!((put.value, put.lsn), (Lsn(1), Lsn(1)));
    db.wait_staged(put.lsn).await.unwrap();
    assert_eq!(db.records(Lsn(0), 1000).await.unwrap().len(), 1);
    db.close().await.unwrap();
    let db = Db::open(ports(&disk, &catalog), DbConfig::default()).await.unwrap();
    assert_eq!(db.epoch(), 2);
    assert_eq!(db.snapshot().get(b"key").unwrap().unwrap(), "value");
    db.checkpoint().await.unwrap();
    assert_eq!(db.snapshot().get(b"key").unwrap().unwrap(), "value");
}
