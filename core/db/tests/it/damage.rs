//! Damaged, torn and missing files: cut where that is right, an error that names the place elsewhere.

use std::sync::Arc;

use gw_db::{Db, DbError};
use gw_sim::ForgettingCatalog;
use gw_types::Lsn;
use gw_types::ports::Disk;

use crate::support::{Machine, get, manual, put, put_staged, tiny, tiny_unhurried};

fn corrupt(result: Result<Arc<Db>, DbError>) -> (String, u64, String) {
    match result {
        Err(DbError::Corrupt { file, offset, what }) => (file, offset, what),
        other => panic!("expected a corrupt file, got {other:?}"),
    }
}

/// Ten staged commits in one file, each in a group of its own.
async fn ten() -> (Machine, String) {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    for n in 0..10 {
        put_staged(&db, &format!("key{n}"), "value").await;
    }
    let name = machine.files("journal")[0].clone();
    (machine, name)
}

/// Where a record begins: the header has 64 bytes, each of these records the same length.
const RECORD_BYTES: u64 = 72;
fn start(record: u64) -> u64 {
    64 + (record - 1) * RECORD_BYTES
}

#[tokio::test]
async fn a_record_that_was_synced_and_is_damaged_is_an_error_that_names_its_place() {
    for record in 1..10 {
        for byte in [0, 4, 8, 20, 50, 71] {
            let (machine, name) = ten().await;
            assert!(machine.mem().damage(&name, start(record) + byte, 0x10));
            let (file, offset, what) = corrupt(machine.open(manual()).await);
            assert_eq!((&file, offset), (&name, start(record)), "{what}");
            assert!(what.contains(&format!("record {record} should be")), "{what}");
        }
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_nothing_acknowledged_is_lost() {
    for byte in 0..RECORD_BYTES {
        let (machine, name) = ten().await;
        // Nothing behind the last record says that it was synced: it may be a torn write.
        machine.mem().damage(&name, start(10) + byte, 0x10);
        let db = machine.open(manual()).await.unwrap();
        assert_eq!(db.appended(), Lsn(9), "byte {byte}");
        assert_eq!(get(&db, "key8").unwrap(), "value");
        assert_eq!(get(&db, "key9"), None);
        assert_eq!(put_staged(&db, "other", "history").await, Lsn(10));
        db.close().await.unwrap();
        let db = machine.open(manual()).await.unwrap();
        assert_eq!((db.appended(), get(&db, "other").unwrap()), (Lsn(10), "history".into()));
    }
}

/// The same group written twice, once torn: record n of the new life has the bytes of record n of the
/// old one, and behind it stand old bytes that fit. They must not come back.
#[tokio::test]
async fn records_of_an_earlier_life_never_replay() {
    let (machine, name) = ten().await;
    let old = machine.mem().contents(&name).unwrap();
    machine.mem().damage(&name, start(9), 0xff);
    machine.mem().damage(&name, start(10), 0xff);
    let db = machine.open(manual()).await.unwrap();
    assert_eq!(db.appended(), Lsn(8));
    put_staged(&db, "key8", "value").await;
    db.close().await.unwrap();
    drop(db);
    let name = machine.files("journal").pop().unwrap();
    let file = machine.disk.open(&name).unwrap();
    let end = file.len().unwrap();
    file.write_at(end, &old[start(10) as usize..start(11) as usize]).unwrap();
    let db = machine.open(manual()).await.unwrap();
    assert_eq!((db.appended(), get(&db, "key9")), (Lsn(9), None));
}

#[tokio::test]
async fn an_older_file_may_not_be_damaged_anywhere_nor_missing() {
    let build = async || {
        let machine = Machine::new();
        let db = machine.open(tiny_unhurried()).await.unwrap();
        for n in 0..120 {
            put_staged(&db, &format!("key{}", n % 4), &"value".repeat(8)).await;
        }
        let files = machine.files("journal");
        (machine, files)
    };
    let (machine, files) = build().await;
    assert!(files.len() > 4);
    let len = machine.mem().contents(&files[1]).unwrap().len() as u64;
    for offset in (0..len).step_by(97) {
        machine.mem().damage(&files[1], offset, 1);
        let (file, _, _) = corrupt(machine.open(tiny_unhurried()).await);
        assert_eq!(file, files[1], "byte {offset}");
        machine.mem().damage(&files[1], offset, 1);
    }
    machine.disk.open(&files[1]).unwrap().set_len(len - 8).unwrap();
    assert_eq!(corrupt(machine.open(tiny_unhurried()).await).0, files[1], "cut short");

    let (machine, files) = build().await;
    machine.disk.remove(&files[1]).unwrap();
    let (file, _, what) = corrupt(machine.open(tiny_unhurried()).await);
    assert_eq!(file, files[1]);
    assert!(what.contains("missing"));

    let (machine, files) = build().await;
    machine.open(tiny_unhurried()).await.unwrap().checkpoint().await.unwrap();
    machine.disk.remove(&machine.files("journal").pop().unwrap()).unwrap();
    machine.disk.remove(files.last().unwrap()).unwrap();
    machine.disk.remove(&files[files.len() - 2]).unwrap();
    machine.disk.remove(&files[files.len() - 3]).unwrap();
    let (_, _, what) = corrupt(machine.open(tiny_unhurried()).await);
    assert!(what.contains("but a checkpoint holds records up to"), "{what}");

    let (machine, _) = build().await;
    machine.open(tiny_unhurried()).await.unwrap().checkpoint().await.unwrap();
    machine.files("journal").iter().for_each(|name| machine.disk.remove(name).unwrap());
    assert!(corrupt(machine.open(tiny_unhurried()).await).2.contains("there is no journal"));
}

/// When dispersal stands still the journal is kept for the log stream, gibibytes of it. Opening need
/// not wait until all of it has been read, and damage in it is found by whoever reads it.
#[tokio::test]
async fn files_that_only_the_log_stream_wants_are_not_read_at_open_and_not_believed_later() {
    let build = async || {
        let machine = Machine::new();
        let db = machine.open(tiny_unhurried()).await.unwrap();
        for n in 0..120 {
            put_staged(&db, &format!("key{n}"), &"value".repeat(8)).await;
        }
        db.checkpoint().await.unwrap();
        db.close().await.unwrap();
        let files = machine.files("journal");
        (machine, files)
    };
    let (machine, files) = build().await;
    let db = machine.open(tiny_unhurried()).await.unwrap();
    assert_eq!(db.stats().overlay_rows, 0, "nothing is replayed");
    let mut next = 1;
    while next <= 120 {
        let records = db.records(Lsn(next - 1), 300).await.unwrap();
        assert_eq!(records[0].lsn, Lsn(next));
        next += records.len() as u64;
    }
    assert_eq!(db.records(Lsn(60), 1).await.unwrap()[0].lsn, Lsn(61));
    db.close().await.unwrap();

    machine.mem().damage(&files[1], 200, 1);
    let db = machine.open(tiny_unhurried()).await.unwrap();
    assert_eq!(db.snapshot().scan(b"", b"", false, 1000).unwrap().len(), 120);
    match db.records(Lsn(0), usize::MAX).await {
        Err(DbError::Corrupt { file, .. }) => assert_eq!(file, files[1]),
        other => panic!("{other:?}"),
    }

    // The end of each file is looked at, so a lost one and a lost end are noticed at open.
    let (machine, files) = build().await;
    machine.disk.remove(&files[1]).unwrap();
    let (file, _, what) = corrupt(machine.open(tiny_unhurried()).await);
    assert!(file == files[1] && what.contains("missing"), "{file}: {what}");
    let (machine, files) = build().await;
    let len = machine.mem().contents(&files[1]).unwrap().len() as u64;
    machine.mem().damage(&files[1], len - 20, 1);
    assert_eq!(corrupt(machine.open(tiny_unhurried()).await).0, files[1]);
}

#[tokio::test]
async fn a_file_of_another_database_is_noticed() {
    let (machine, name) = ten().await;
    let other = Machine::new();
    other.clock.advance(std::time::Duration::from_secs(1));
    let db = other.open(manual()).await.unwrap();
    put(&db, "foreign", "row").unwrap();
    db.close().await.unwrap();
    drop(db);
    let foreign = other.mem().contents(&other.files("journal")[0]).unwrap();
    let db = machine.open(manual()).await.unwrap();
    db.close().await.unwrap();
    let file = machine.disk.open(&name).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, &foreign).unwrap();
    let (_, offset, what) = corrupt(machine.open(manual()).await);
    assert_eq!((offset, what.contains("another journal")), (16, true));
}

#[tokio::test]
async fn a_lost_or_damaged_run_or_manifest_is_a_clear_error() {
    let build = async || {
        let machine = Machine::new();
        let db = machine.open(tiny_unhurried()).await.unwrap();
        db.hold_records_after(Lsn(u64::MAX));
        for n in 0..200 {
            put_staged(&db, &format!("key{n:03}"), "value").await;
        }
        db.checkpoint().await.unwrap();
        put_staged(&db, "one", "more").await;
        db.checkpoint().await.unwrap();
        db.merge_runs().await.unwrap();
        put_staged(&db, "and", "more").await;
        db.close().await.unwrap();
        machine
    };
    let machine = build().await;
    let runs = machine.files("runs");
    assert_eq!(runs, ["runs/0000000000000001", "runs/0000000000000002", "runs/MANIFEST"]);
    machine.disk.remove(&runs[0]).unwrap();
    let (file, _, what) = corrupt(machine.open(tiny()).await);
    assert!(file == runs[0] && what.contains("the manifest names it"), "{what}");

    let machine = build().await;
    machine.disk.remove("runs/MANIFEST").unwrap();
    let (file, _, what) = corrupt(machine.open(tiny()).await);
    assert!(file == "runs/MANIFEST" && what.contains("missing"), "{what}");

    let machine = build().await;
    machine.mem().damage("runs/MANIFEST", 30, 1);
    assert_eq!(corrupt(machine.open(tiny()).await).0, "runs/MANIFEST");

    // A damaged run is found when it is read: the engine has its rows, a rebuild does not.
    for offset in [0, 9, 13, 500, 3000] {
        let machine = build().await;
        assert!(machine.mem().damage(&runs[0], offset, 1));
        let fresh = Machine { catalog: ForgettingCatalog::new(), ..machine.clone() };
        assert_eq!(corrupt(Db::rebuild(fresh.ports(), tiny()).await).0, runs[0], "byte {offset}");
    }
    let machine = build().await;
    let fresh = Machine { catalog: ForgettingCatalog::new(), ..machine.clone() };
    let db = Db::rebuild(fresh.ports(), tiny()).await.unwrap();
    assert_eq!(db.snapshot().scan(b"", b"", false, 1000).unwrap().len(), 202);
}

#[tokio::test]
async fn an_engine_that_is_behind_the_journal_is_filled_from_the_runs() {
    let machine = Machine::new();
    let mut config = tiny();
    config.overlay_bytes_max = 1 << 20;
    let db = machine.open(config.clone()).await.unwrap();
    db.hold_records_after(Lsn(u64::MAX));
    put_staged(&db, "will be deleted", "1").await;
    db.checkpoint().await.unwrap();
    let old = machine.catalog.power_cut(0);
    for n in 0..200 {
        put_staged(&db, &format!("key{n:03}"), &"v".repeat(40)).await;
    }
    crate::support::delete(&db, "will be deleted");
    db.wait_staged(db.appended()).await.unwrap();
    db.checkpoint().await.unwrap();
    db.merge_runs().await.unwrap();
    db.close().await.unwrap();
    let behind = Machine { catalog: old, ..machine.clone() };
    let db = behind.open(config).await.unwrap();
    assert_eq!(get(&db, "will be deleted"), None, "an old row does not stay");
    assert_eq!(db.snapshot().scan(b"", b"", false, 1000).unwrap().len(), 200);
}

#[tokio::test]
async fn leftovers_of_unfinished_work_are_removed() {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    put_staged(&db, "a", "1").await;
    db.checkpoint().await.unwrap();
    db.close().await.unwrap();
    for name in ["journal/spare-7.new", "runs/00000000000000aa", "runs/MANIFEST.new"] {
        machine.disk.create(name).unwrap().write_at(0, b"half").unwrap();
    }
    let db = machine.open(manual()).await.unwrap();
    assert_eq!(machine.files("runs"), ["runs/0000000000000001", "runs/MANIFEST"]);
    assert!(machine.files("journal").iter().all(|name| !name.ends_with(".new")));
    put_staged(&db, "b", "1").await;
    db.checkpoint().await.unwrap();
}

/// While the journal still begins with record 1 the runs are not needed, and when they are gone they
/// are made again, whole: rows that only the engine had must be in them before the journal goes.
#[tokio::test]
async fn runs_that_are_lost_while_the_journal_is_whole_are_made_again() {
    let machine = Machine::new();
    let db = machine.open(tiny()).await.unwrap();
    for n in 0..50 {
        put_staged(&db, &format!("key{n}"), "value").await;
    }
    db.checkpoint().await.unwrap();
    db.close().await.unwrap();
    drop(db);
    for name in machine.files("runs") {
        machine.disk.remove(&name).unwrap();
    }
    let db = machine.open(tiny()).await.unwrap();
    db.hold_records_after(Lsn(u64::MAX));
    db.checkpoint().await.unwrap();
    assert!(db.records(Lsn(0), 1).await.is_err(), "the journal has been released");
    db.close().await.unwrap();
    drop(db);
    let fresh = Machine { catalog: ForgettingCatalog::new(), ..machine.clone() };
    let db = Db::rebuild(fresh.ports(), tiny()).await.unwrap();
    assert_eq!(db.snapshot().scan(b"", b"", false, 1000).unwrap().len(), 50);
}
