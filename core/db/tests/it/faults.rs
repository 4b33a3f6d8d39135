//! Devices that fail: the database says so, believes nothing afterwards, and loses nothing before.

use std::sync::Arc;

use gw_db::{Db, DbConfig, DbError};
use gw_sim::{Fault, FaultDisk, FaultOp, ForgettingCatalog, MemDisk, SimClock};
use gw_types::ports::Disk;
use gw_types::{Lsn, SegmentSeq};

use crate::support::{get, manual, ports, put, put_staged, tiny};

struct Rig {
    mem: MemDisk,
    disk: FaultDisk,
    catalog: ForgettingCatalog,
    clock: SimClock,
}

impl Rig {
    fn new() -> Self {
        let mem = MemDisk::new();
        let disk = FaultDisk::new(Arc::new(mem.clone()));
        Self { mem, disk, catalog: ForgettingCatalog::new(), clock: SimClock::default() }
    }
    async fn open(&self, config: DbConfig) -> Result<Arc<Db>, DbError> {
        Db::open(ports(Arc::new(self.disk.clone()), Arc::new(self.catalog.clone()), &self.clock), config)
            .await
    }
    fn segments(&self) -> Vec<u8> {
        self.mem.contents("segments/00000001").unwrap_or_default()
    }
}

fn put_inline(db: &Db, bytes: &'static [u8]) -> Result<Lsn, DbError> {
    let committed = db.transact(|txn| {
        txn.put(b"inline".to_vec(), bytes.to_vec());
        txn.place_inline(SegmentSeq(1), 0, bytes.into());
        Ok::<_, DbError>(())
    })?;
    Ok(committed.lsn)
}

#[tokio::test]
async fn a_failed_sync_or_write_poisons_for_good() {
    for (op, fault) in [
        (FaultOp::Sync, Fault::Eio),
        (FaultOp::Sync, Fault::DoneButEio),
        (FaultOp::Sync, Fault::Enospc),
        (FaultOp::Write, Fault::Eio),
        (FaultOp::Write, Fault::Enospc),
    ] {
        let rig = Rig::new();
        let db = rig.open(manual()).await.unwrap();
        put_staged(&db, "before", "1").await;
        rig.disk.fail(op, 0, fault);
        let lsn = put(&db, "during", "1").unwrap();
        assert!(matches!(db.wait_staged(lsn).await, Err(DbError::Poisoned(_))), "{op:?} {fault:?}");
        rig.disk.heal();
        assert!(
            matches!(put(&db, "after", "1"), Err(DbError::Poisoned(_))),
            "the device works again: too late"
        );
        assert!(matches!(db.checkpoint().await, Err(DbError::Poisoned(_))));
        assert!(!db.health().is_writable() && db.health().poisoned.is_some());
        assert_eq!(db.staged(), Lsn(1), "the watermark stays");
        assert!(db.wait_staged(Lsn(1)).await.is_ok());
        assert_eq!(get(&db, "before").unwrap(), "1", "reads go on");
        assert!(db.close().await.is_err());
        drop(db);
        let db = rig.open(manual()).await.unwrap();
        assert_eq!(get(&db, "before").unwrap(), "1");
        assert!(db.health().is_writable() && get(&db, "after").is_none());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_the_commit_before_it_happens() {
    let rig = Rig::new();
    let mut config = manual();
    config.journal_step_bytes = 4096;
    let db = rig.open(config).await.unwrap();
    rig.mem.set_capacity(Some(4096));
    let full = loop {
        match put(&db, "key", &"v".repeat(300)) {
            Ok(lsn) => db.wait_staged(lsn).await.expect("what was taken has its room"),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, DbError::Full(_)) && db.health().disk_full && db.health().is_writable());
    let appended = db.appended();
    assert!(appended >= Lsn(9), "the room that was reserved is used up: {appended}");
    assert_eq!(db.staged(), appended);
    rig.mem.set_capacity(None);
    assert_eq!(put_staged(&db, "key", "there is room again").await, appended.next());
    assert!(!db.health().disk_full);
    db.close().await.unwrap();
    drop(db);
    let db = rig.open(manual()).await.unwrap();
    assert_eq!(get(&db, "key").unwrap(), "there is room again");
}

#[tokio::test]
async fn a_commit_whose_inline_bytes_find_no_room_does_not_happen() {
    let rig = Rig::new();
    let db = rig.open(manual()).await.unwrap();
    let first = put_inline(&db, b"first").unwrap();
    db.wait_staged(first).await.unwrap();
    rig.disk.fail_named(FaultOp::Write, "segments/", 0, 1, Fault::Enospc);
    assert!(matches!(put_inline(&db, b"second"), Err(DbError::Full(_))));
    rig.disk.fail_named(FaultOp::Write, "segments/", 0, 1, Fault::Eio);
    assert!(matches!(put_inline(&db, b"second"), Err(DbError::Port(_))));
    assert_eq!((db.appended(), rig.segments()), (first, b"first".to_vec()));
    db.wait_staged(put_inline(&db, b"third").unwrap()).await.unwrap();
    assert_eq!(rig.segments(), b"third");
}

#[tokio::test]
async fn a_segment_sync_that_fails_poisons_and_keeps_the_journal() {
    let rig = Rig::new();
    let db = rig.open(manual()).await.unwrap();
    db.hold_records_after(Lsn(u64::MAX));
    db.wait_staged(put_inline(&db, b"bytes").unwrap()).await.unwrap();
    rig.disk.fail_named(FaultOp::Sync, "segments/", 0, 1, Fault::Enospc);
    assert!(matches!(db.checkpoint().await, Err(DbError::Poisoned(_))));
    drop(db);
    rig.mem.remove("segments/00000001").unwrap();
    let db = rig.open(manual()).await.unwrap();
    assert_eq!(rig.segments(), b"bytes", "placed again from the journal");
    drop(db);
}

#[tokio::test]
async fn a_checkpoint_that_finds_no_room_is_tried_again_and_loses_nothing() {
    for (op, part) in [
        (FaultOp::Create, "runs/"),
        (FaultOp::Write, "runs/0"),
        (FaultOp::Sync, "runs/0"),
        (FaultOp::Write, "MANIFEST"),
        (FaultOp::Sync, "MANIFEST"),
        (FaultOp::Rename, "MANIFEST"),
    ] {
        let rig = Rig::new();
        let db = rig.open(manual()).await.unwrap();
        put_staged(&db, "a", "1").await;
        rig.disk.fail_named(op, part, 0, 1, Fault::Enospc);
        assert!(matches!(db.checkpoint().await, Err(DbError::Full(_))), "{op:?} {part}");
        assert!(db.health().checkpoint_failed.is_some() && db.health().is_writable());
        put_staged(&db, "b", "1").await;
        assert_eq!(db.checkpoint().await.unwrap(), Lsn(2), "{op:?} {part}");
        assert!(db.health().checkpoint_failed.is_none());
        db.close().await.unwrap();
        drop(db);
        let fresh = Rig { catalog: ForgettingCatalog::new(), ..rig };
        let db = fresh.open(manual()).await.unwrap();
        assert_eq!((get(&db, "a"), get(&db, "b")), (Some("1".into()), Some("1".into())));
    }
}

#[tokio::test]
async fn an_engine_that_fails_poisons_and_the_rows_come_from_the_journal() {
    let rig = Rig::new();
    let mut config = manual();
    config.catalog_batch_rows_max = 3;
    let db = rig.open(config.clone()).await.unwrap();
    db.hold_records_after(Lsn(u64::MAX));
    for n in 0..10 {
        put_staged(&db, &format!("key{n}"), "1").await;
    }
    rig.catalog.fail_after(2);
    assert!(matches!(db.checkpoint().await, Err(DbError::Poisoned(_))));
    assert_eq!(db.snapshot().scan(b"", b"", false, 100).unwrap().len(), 10, "half here, half there");
    drop(db);
    let rig = Rig { catalog: rig.catalog.power_cut(1), ..rig };
    let db = rig.open(config).await.unwrap();
    assert_eq!(db.snapshot().scan(b"", b"", false, 100).unwrap().len(), 10);
    db.checkpoint().await.unwrap();
}

#[tokio::test]
async fn every_single_failing_call_leaves_a_database_that_opens_with_all_that_was_acknowledged() {
    use FaultOp::{Create, Open, Read, Remove, Rename, SetLen, Sync, SyncDir, Write};
    for op in [Create, Open, Read, Remove, Rename, SetLen, Sync, SyncDir, Write] {
        for nth in 0..60 {
            for fault in [Fault::Eio, Fault::Enospc] {
                let rig = Rig::new();
                rig.disk.fail(op, nth, fault);
                let acknowledged = work(&rig).await;
                if rig.disk.hits() == 0 {
                    break;
                }
                rig.disk.heal();
                let db =
                    rig.open(tiny()).await.unwrap_or_else(|error| panic!("{op:?} {nth} {fault:?}: {error}"));
                for n in 0..acknowledged {
                    assert_eq!(
                        get(&db, &format!("key{n}")).unwrap(),
                        format!("{n}"),
                        "{op:?} {nth} {fault:?}"
                    );
                }
            }
        }
    }
}

/// Commits, checkpoints, closes and opens again; returns how many commits were acknowledged.
async fn work(rig: &Rig) -> usize {
    let mut acknowledged = 0;
    for _ in 0..2 {
        let Ok(db) = rig.open(tiny()).await else { continue };
        db.hold_records_after(Lsn(u64::MAX));
        for _ in 0..40 {
            let committed = db.transact(|txn| {
                txn.put(format!("key{acknowledged}").into(), format!("{acknowledged}").into());
                txn.put(b"filler".to_vec(), vec![1; 150]);
                txn.place_inline(SegmentSeq(1), acknowledged as u64 * 8, vec![acknowledged as u8; 8].into());
                Ok::<_, DbError>(())
            });
            let Ok(committed) = committed else { continue };
            if db.wait_staged(committed.lsn).await.is_err() {
                break;
            }
            acknowledged += 1;
        }
        // Whatever they answer, nothing acknowledged may be lost.
        let _ = db.checkpoint().await;
        let _ = db.merge_runs().await;
        let _ = db.close().await;
    }
    acknowledged
}
