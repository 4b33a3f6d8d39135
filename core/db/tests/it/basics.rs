//! What callers of the handle rely on.

use gw_db::{Db, DbConfig, DbError};
use gw_types::{Lsn, SegmentSeq, StreamId, Timestamp};

use crate::support::{Machine, delete, get, manual, put, put_staged, rows, tiny};

#[tokio::test]
async fn a_commit_is_there_after_a_restart_and_the_epoch_grows() {
    let machine = Machine::new();
    let db = machine.open(DbConfig::default()).await.unwrap();
    assert_eq!((db.epoch(), db.appended(), db.staged()), (1, Lsn(0), Lsn(0)));
    assert_eq!(put_staged(&db, "key", "value").await, Lsn(1));
    assert_eq!((db.appended(), db.staged()), (Lsn(1), Lsn(1)));
    db.close().await.unwrap();
    for epoch in 2..6 {
        let db = machine.open(DbConfig::default()).await.unwrap();
        assert_eq!(db.epoch(), epoch);
        assert_eq!((db.appended(), db.staged()), (Lsn(1), Lsn(1)));
        assert_eq!(get(&db, "key").unwrap(), "value");
        db.close().await.unwrap();
    }
    assert_eq!(machine.files("journal").len(), 2, "empty files do not pile up");
}

#[tokio::test]
async fn a_transaction_reads_its_own_writes_over_the_newest_state() {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    for key in ["a", "b", "c", "d"] {
        put_staged(&db, key, "old").await;
    }
    db.checkpoint().await.unwrap();
    put(&db, "bb", "overlay").unwrap();
    let seen = db.transact(|txn| {
        assert_eq!((txn.lsn(), txn.get(b"a")?.unwrap()), (Lsn(6), "old".into()));
        assert_eq!(txn.now(), Timestamp(1_767_225_600_000_000_000));
        txn.put(b"aa".to_vec(), b"new".to_vec());
        txn.delete(b"c".to_vec());
        assert_eq!(txn.get(b"c")?, None);
        let up: Vec<_> = txn.scan(b"a", b"d", false, 10)?.into_iter().map(|(key, _)| key).collect();
        let down: Vec<_> = txn.scan(b"a", b"", true, 2)?.into_iter().map(|(key, _)| key).collect();
        Ok::<_, DbError>((up, down))
    });
    let (up, down) = seen.unwrap().value;
    assert_eq!(up, ["a", "aa", "b", "bb"]);
    assert_eq!(down, ["d", "bb"]);
}

#[tokio::test]
async fn an_error_in_the_closure_changes_nothing_and_no_change_writes_no_record() {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    put_staged(&db, "a", "1").await;
    let refused = db.transact(|txn| {
        txn.put(b"a".to_vec(), b"2".to_vec());
        txn.place_inline(SegmentSeq(1), 0, "never".into());
        Err::<(), _>(DbError::Busy("a test"))
    });
    assert!(matches!(refused, Err(DbError::Busy("a test"))));
    assert_eq!((get(&db, "a").unwrap(), db.appended()), ("1".into(), Lsn(1)));
    assert!(machine.files("segments").is_empty());
    let read = db.transact(|txn| txn.get(b"a")).unwrap();
    assert_eq!((read.lsn, read.value.unwrap()), (Lsn(1), "1".into()));
    assert_eq!(db.appended(), Lsn(1));
    // A record without rows is one: it names a segment for the log stream.
    let named = db.transact(|txn| {
        txn.names(SegmentSeq(9));
        Ok::<_, DbError>(())
    });
    assert_eq!(named.unwrap().lsn, Lsn(2));
}

#[tokio::test]
async fn a_snapshot_shows_one_commit_for_as_long_as_it_is_held() {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    put_staged(&db, "a", "1").await;
    put_staged(&db, "b", "1").await;
    db.checkpoint().await.unwrap();
    let before = db.snapshot();
    let expected = rows(&before);
    delete(&db, "a");
    put(&db, "b", "2").unwrap();
    let last = put_staged(&db, "c", "2").await;
    let copy = before.clone();
    drop(before);
    assert_eq!(db.checkpoint().await.unwrap(), Lsn(2), "the engine waits for the oldest reader");
    assert_eq!(rows(&copy), expected);
    assert_eq!(db.stats().snapshot_oldest, Some(Lsn(2)));
    drop(copy);
    assert_eq!(db.checkpoint().await.unwrap(), last);
    assert_eq!((db.stats().overlay_rows, db.stats().overlay_bytes), (0, 0));
    assert_eq!(get(&db, "a"), None);
    assert_eq!(rows(&db.snapshot()).len(), 2);
}

#[tokio::test]
async fn staged_records_are_told_in_order_across_files_and_only_while_they_are_held() {
    let machine = Machine::new();
    let db = machine.open(tiny()).await.unwrap();
    for n in 1..=100_u64 {
        let commit = db.transact(|txn| {
            txn.stream(StreamId(n as u32 % 3));
            txn.put(format!("key{:02}", n % 10).into_bytes(), vec![n as u8; 100]);
            txn.place_inline(SegmentSeq(n / 50), n * 64, vec![n as u8; 64].into());
            Ok::<_, DbError>(())
        });
        db.wait_staged(commit.unwrap().lsn).await.unwrap();
    }
    assert!(machine.files("journal").len() > 5);
    let mut after = Lsn(0);
    let mut pages = 0;
    while after < Lsn(100) {
        let records = db.records(after, 1000).await.unwrap();
        assert!(!records.is_empty() && records.len() < 20);
        for record in records {
            after = after.next();
            assert_eq!(record.lsn, after);
            assert_eq!(record.streams, [StreamId(after.0 as u32 % 3)]);
            assert_eq!(record.names, [SegmentSeq(after.0 / 50)]);
            assert_eq!(record.changes.len(), 1);
            assert_eq!(record.changes[0].1.as_deref(), Some(&[after.0 as u8; 100][..]));
        }
        pages += 1;
    }
    assert!(pages > 5);
    assert!(db.records(Lsn(100), 1000).await.unwrap().is_empty());
    assert_eq!(db.records(Lsn(42), 1).await.unwrap()[0].lsn, Lsn(43), "at least one");

    db.checkpoint().await.unwrap();
    assert_eq!(db.records(Lsn(0), 1).await.unwrap()[0].lsn, Lsn(1), "nothing was told: everything is held");
    db.hold_records_after(Lsn(60));
    db.checkpoint().await.unwrap();
    assert_eq!(db.records(Lsn(60), 1).await.unwrap()[0].lsn, Lsn(61));
    assert!(db.records(Lsn(0), 1).await.is_err(), "released");
    db.hold_records_after(Lsn(u64::MAX));
    db.checkpoint().await.unwrap();
    assert!(machine.files("journal").len() <= 3);
    db.close().await.unwrap();
    let db = machine.open(tiny()).await.unwrap();
    assert_eq!(rows(&db.snapshot()).len(), 10);
}

#[tokio::test]
async fn many_writers_share_a_sync() {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    let writers = (0..64).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            for n in 0..10 {
                put_staged(&db, &format!("{writer}-{n}"), "v").await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let stats = db.stats();
    assert_eq!((stats.records, stats.staged, stats.pending_bytes), (640, Lsn(640), 0));
    assert!(stats.syncs * 16 <= stats.records, "{} syncs", stats.syncs);
}

#[tokio::test]
async fn the_watermark_can_be_followed_and_waiting_ends_when_the_database_closes() {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    let mut staged = db.subscribe_staged();
    let lsn = put(&db, "a", "1").unwrap();
    staged.changed().await.unwrap();
    assert_eq!(*staged.borrow(), lsn);
    let late = tokio::spawn({
        let db = db.clone();
        async move { db.wait_staged(Lsn(99)).await }
    });
    tokio::task::yield_now().await;
    let last = put(&db, "b", "1").unwrap();
    db.close().await.unwrap();
    assert_eq!(db.staged(), last, "what was appended is staged first");
    assert!(matches!(put(&db, "c", "1"), Err(DbError::Poisoned(_))));
    assert!(late.await.unwrap().is_err());
    assert_eq!(get(&db, "b").unwrap(), "1", "reads go on");
    let ports = machine.ports();
    assert!(Db::rebuild(ports, manual()).await.is_ok(), "an untouched catalog may be rebuilt");
}

#[tokio::test]
async fn limits_are_told_by_name() {
    let machine = Machine::new();
    let db = machine.open(tiny()).await.unwrap();
    let long = db.transact(|txn| {
        txn.put(b"k".to_vec(), vec![0; 40_000]);
        Ok::<_, DbError>(())
    });
    assert!(long.unwrap_err().to_string().contains("record_bytes_max"));
    assert!(put(&db, "", "no key").is_err());
    assert_eq!(db.appended(), Lsn(0));
    // Nothing flushes while this task does not wait.
    let busy = loop {
        match db.transact(|txn| {
            txn.place_inline(SegmentSeq(1), 0, vec![0; 30_000].into());
            Ok::<_, DbError>(())
        }) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, DbError::Busy("pending_bytes_max")) && busy.is_transient());
    db.wait_staged(db.appended()).await.unwrap();
    let held = db.snapshot();
    let busy = loop {
        match put(&db, &format!("k{}", db.appended()), "value") {
            Ok(lsn) => db.wait_staged(lsn).await.unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, DbError::Busy("twice overlay_bytes_max")));
    assert!(db.stats().overlay_bytes < 3 * tiny().overlay_bytes_max);
    drop(held);
    machine.clock.run_for(std::time::Duration::from_secs(2)).await;
    put_staged(&db, "again", "there is room").await;
}

#[tokio::test]
async fn a_journal_that_nobody_releases_has_a_limit() {
    let machine = Machine::new();
    let mut config = tiny();
    config.journal_bytes_max = 20_000;
    let db = machine.open(config.clone()).await.unwrap();
    let fill = async |db: &gw_db::Db| loop {
        match put(db, "key", &"v".repeat(300)) {
            Ok(lsn) => db.wait_staged(lsn).await.unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(fill(&db).await, DbError::Busy("journal_bytes_max")));
    db.checkpoint().await.unwrap();
    assert!(put(&db, "key", "held for the log stream").is_err());
    db.close().await.unwrap();
    let db = machine.open(config).await.unwrap();
    assert!(put(&db, "key", "and so after a restart").is_err());
    db.hold_records_after(db.staged());
    db.checkpoint().await.unwrap();
    put_staged(&db, "key", "released").await;
    assert!(matches!(fill(&db).await, DbError::Busy("journal_bytes_max")));
    assert!(db.stats().journal_bytes < 22_000);
}

#[tokio::test]
async fn own_tables_are_not_told_to_the_log_stream() {
    let machine = Machine::new();
    let db = machine.open(manual()).await.unwrap();
    let committed = db.transact(|txn| {
        txn.put(vec![0x0f, 1], b"own".to_vec());
        txn.put(vec![0x10, 1], b"told".to_vec());
        Ok::<_, DbError>(())
    });
    db.wait_staged(committed.unwrap().lsn).await.unwrap();
    let records = db.records(Lsn(0), 100).await.unwrap();
    assert_eq!(records[0].changes, [(vec![0x10, 1], Some(b"told".to_vec()))]);
}

/// Pairs of rows that always change together, read on other threads while they are written, moved
/// down and merged: no reader may see half a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_is_whole_while_other_threads_commit_and_rows_move_down() {
    let machine = Machine::new();
    let mut config = tiny();
    config.overlay_bytes_max = 60_000;
    let db = machine.open(config).await.unwrap();
    db.hold_records_after(Lsn(u64::MAX));
    let writers = (0..3_u32).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            for n in 0..400_u32 {
                let pair = (writer + n * 7) % 20;
                let committed = db.transact(|txn| {
                    for side in ["left", "right"] {
                        let key = format!("{side}{pair:02}").into_bytes();
                        if n % 5 == 4 {
                            txn.delete(key)
                        } else {
                            txn.put(key, [writer, n].map(u32::to_be_bytes).concat())
                        }
                    }
                    Ok::<_, DbError>(())
                });
                match committed {
                    Ok(committed) if n % 8 == 0 => db.wait_staged(committed.lsn).await.unwrap(),
                    Ok(_) | Err(DbError::Busy(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    let mut tasks: Vec<_> = writers.collect();
    for reverse in [false, true] {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..300 {
                let snapshot = db.snapshot();
                let side = |from: &[u8], to: &[u8]| -> Vec<_> {
                    let rows = snapshot.scan(from, to, reverse, 100).unwrap();
                    rows.into_iter().map(|(key, value)| (key.slice(key.len() - 2..), value)).collect()
                };
                assert_eq!(side(b"left", b"lefu"), side(b"right", b"righu"));
                tokio::task::yield_now().await;
            }
        }));
    }
    let keeper = db.clone();
    tasks.push(tokio::spawn(async move {
        for _ in 0..100 {
            keeper.checkpoint().await.unwrap();
            keeper.merge_runs().await.unwrap();
            tokio::task::yield_now().await;
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
    let state = rows(&db.snapshot());
    db.close().await.unwrap();
    let db = machine.open(tiny()).await.unwrap();
    assert_eq!(rows(&db.snapshot()), state);
}

#[tokio::test]
async fn a_checkpoint_comes_by_age_and_by_size() {
    let machine = Machine::new();
    let db = machine.open(tiny()).await.unwrap();
    put_staged(&db, "a", "1").await;
    machine.clock.run_for(std::time::Duration::from_millis(900)).await;
    assert_eq!(db.stats().checkpoint, Lsn(0));
    machine.clock.run_for(std::time::Duration::from_millis(200)).await;
    assert_eq!((db.stats().checkpoint, db.stats().applied), (Lsn(1), Lsn(1)));
    for n in 0..200 {
        put_staged(&db, &format!("{n}"), "no time passes").await;
    }
    let stats = db.stats();
    assert!(stats.checkpoint > Lsn(100) && stats.runs <= 4, "{stats:?}");
}
