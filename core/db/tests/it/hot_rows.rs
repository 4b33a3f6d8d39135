//! A row that every commit changes: old versions go, but never one that a snapshot or a checkpoint
//! shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use gw_db::{Db, DbError, DbPorts, InlineSink, Snapshot};
use gw_types::{Lsn, PortResult, SegmentSeq};
use tokio::sync::Semaphore;

use crate::support::{Machine, tiny_unhurried};

const HOT: &[u8] = b"\x10hot";

/// Writes the commit's own number.
fn commit(db: &Db) -> Lsn {
    let committed = db.transact(|txn| {
        txn.put(HOT.to_vec(), txn.lsn().0.to_le_bytes().to_vec());
        Ok::<_, DbError>(())
    });
    committed.expect("the limits are far").lsn
}

fn number(value: &[u8]) -> Lsn {
    Lsn(u64::from_le_bytes(value.try_into().expect("eight bytes")))
}

fn check(snapshot: &Snapshot) {
    let value = snapshot.get(HOT).unwrap().expect("it was written first");
    assert_eq!(number(&value), snapshot.lsn());
}

#[tokio::test]
async fn versions_that_nobody_can_ask_for_do_not_gather() {
    let machine = Machine::new();
    let db = machine.open(tiny_unhurried()).await.unwrap();
    for _ in 0..300 {
        let lsn = commit(&db);
        db.wait_staged(lsn).await.unwrap();
    }
    assert!(db.stats().overlay_rows <= 3, "{:?}", db.stats());
    let held = db.snapshot();
    for _ in 0..50 {
        let lsn = commit(&db);
        db.wait_staged(lsn).await.unwrap();
    }
    check(&held);
    check(&db.snapshot());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn snapshots_and_checkpoints_show_their_very_commit_while_it_changes() {
    let machine = Machine::new();
    let db = machine.open(tiny_unhurried()).await.unwrap();
    let first = commit(&db);
    db.wait_staged(first).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (db, stop) = (db.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::Acquire) {
                let snapshot = db.snapshot();
                tokio::task::yield_now().await;
                check(&snapshot);
                let copy = snapshot.clone();
                drop(snapshot);
                tokio::task::yield_now().await;
                check(&copy);
            }
        }
    });
    let checkpoints = tokio::spawn({
        let (db, stop) = (db.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::Acquire) {
                db.checkpoint().await.unwrap();
                let mut rows = db.checkpoint_rows().await.unwrap();
                let page = rows.rows(10).await.unwrap();
                assert_eq!(number(&page[0].1), rows.lsn(), "a checkpoint is the state of one commit");
            }
        }
    });
    for step in 0..4000 {
        let lsn = commit(&db);
        if step % 7 == 0 {
            db.wait_staged(lsn).await.unwrap();
        }
    }
    stop.store(true, Ordering::Release);
    reader.await.unwrap();
    checkpoints.await.unwrap();
    check(&db.snapshot());
}

/// Stands between a checkpoint's choice of a state and its look at the rows.
struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

#[async_trait]
impl InlineSink for Gate {
    fn place(&self, _: SegmentSeq, _: u64, _: &[u8]) -> PortResult<()> {
        Ok(())
    }
    async fn sync_placed(&self) -> PortResult<()> {
        self.reached.add_permits(1);
        self.open.acquire().await.expect("it is never closed").forget();
        Ok(())
    }
}

/// A checkpoint had chosen commit 1 and was slow; meanwhile the row changed and changed again, and
/// what commit 1 had left of it was no longer asked for by any reader.
#[tokio::test]
async fn a_slow_checkpoint_finds_the_state_it_chose() {
    let machine = Machine::new();
    let gate = Arc::new(Gate { reached: Semaphore::new(0), open: Semaphore::new(0) });
    let ports = DbPorts { sink: gate.clone(), ..machine.ports() };
    let db = Db::open(ports, tiny_unhurried()).await.unwrap();
    let chosen = commit(&db);
    db.wait_staged(chosen).await.unwrap();
    let checkpoint = tokio::spawn({
        let db = db.clone();
        async move { db.checkpoint().await }
    });
    gate.reached.acquire().await.unwrap().forget();
    for _ in 0..20 {
        let lsn = commit(&db);
        db.wait_staged(lsn).await.unwrap();
    }
    gate.open.add_permits(1);
    assert_eq!(checkpoint.await.unwrap().unwrap(), chosen);
    let mut rows = db.checkpoint_rows().await.unwrap();
    let page = rows.rows(10).await.unwrap();
    assert_eq!((rows.lsn(), page.len()), (chosen, 1), "the row is in the checkpoint");
    assert_eq!(number(&page[0].1), chosen);
    check(&db.snapshot());
    // And now they may go.
    let lsn = commit(&db);
    db.wait_staged(lsn).await.unwrap();
    commit(&db);
    assert!(db.stats().overlay_rows <= 3, "{:?}", db.stats());
}
