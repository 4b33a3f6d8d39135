//! Local checkpoints as others read them, rebuilding, and restoring.

use std::collections::BTreeMap;

use gw_db::{CheckpointRows, Db, DbError};
use gw_sim::{ForgettingCatalog, Rng};
use gw_types::Lsn;

use crate::support::{Machine, delete, get, put_staged, rows, tiny};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Applies changes, in whatever pages they come, over an older state.
async fn apply(mut changes: CheckpointRows, mut state: Rows) -> Rows {
    if changes.is_full() {
        state.clear();
    }
    let mut last = None;
    loop {
        let page = changes.page(7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            return state;
        }
        for (key, value) in page {
            assert!(last.replace(key.clone()) < Some(key.clone()), "rows ascend");
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    }
}

#[tokio::test]
async fn a_checkpoint_equals_the_state_and_its_changes_lead_from_any_older_one() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let machine = Machine::new();
        let mut config = tiny();
        config.overlay_bytes_max = 1 << 20;
        let db = machine.open(config).await.unwrap();
        let mut older: Vec<(Lsn, Rows)> = vec![(Lsn(0), Rows::new())];
        for _ in 0..12 {
            for _ in 0..rng.below(30) {
                let key = format!("key{:02}", rng.below(60));
                if rng.one_in(3) {
                    delete(&db, &key)
                } else {
                    put_staged(&db, &key, &"v".repeat(rng.below(90) as usize)).await
                };
            }
            db.wait_staged(db.appended()).await.unwrap();
            let lsn = db.checkpoint().await.unwrap();
            if rng.one_in(2) {
                db.merge_runs().await.unwrap();
            }
            let state = rows(&db.snapshot());
            let all = db.checkpoint_rows().await.unwrap();
            assert!(all.lsn() == lsn && all.is_full());
            assert_eq!(apply(all, Rows::new()).await, state, "seed {seed}");
            for (since, old) in &older {
                let changes = db.changed_rows(*since).await.unwrap();
                assert_eq!(apply(changes, old.clone()).await, state, "seed {seed} since {since}");
            }
            older.push((lsn, state));
        }
        let stats = db.stats();
        let live: usize =
            older.last().unwrap().1.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        assert!(stats.runs <= 13, "{stats:?}");
        db.merge_runs().await.unwrap();
        assert!(
            db.stats().runs <= 3 && db.stats().run_bytes < 2 * live as u64 + 6000,
            "{live} live, {:?}",
            db.stats()
        );
    }
}

#[tokio::test]
async fn a_checkpoint_is_readable_while_its_runs_are_merged_away() {
    let machine = Machine::new();
    let mut config = tiny();
    config.overlay_bytes_max = 1 << 20;
    let db = machine.open(config).await.unwrap();
    put_staged(&db, "a", "1").await;
    db.checkpoint().await.unwrap();
    let mut read = db.checkpoint_rows().await.unwrap();
    let (upto, files) = db.run_files().unwrap();
    put_staged(&db, "a", "2").await;
    db.checkpoint().await.unwrap();
    db.merge_runs().await.unwrap();
    assert_eq!(machine.files("runs").len(), 2, "one run and the manifest");
    assert_eq!(read.rows(10).await.unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
    assert_eq!((upto, files.len()), (Lsn(1), 1));
    let bytes = files[0].read_at(0, files[0].info.len as usize).await.unwrap();
    assert!(bytes.starts_with(b"CGWRUNF\x01") && bytes.ends_with(b"CGWRUNF\x01"));
}

#[tokio::test]
async fn a_run_has_these_bytes() {
    let machine = Machine::new();
    let db = machine.open(tiny()).await.unwrap();
    put_staged(&db, "key", "value").await;
    let lsn = delete(&db, "gone");
    db.wait_staged(lsn).await.unwrap();
    db.checkpoint().await.unwrap();
    let bytes = machine.mem().contents("runs/0000000000000001").unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = "43475752554e46011c00000080d0a91404000000ffffffff676f6e6503000000050000006b657976616c756501000000000000000200000000000000010000000000000001000000000000000200000000000000010000000000000000000000dc3d85c143475752554e4601";

#[tokio::test]
async fn rebuilding_after_the_catalog_is_deleted_gives_the_old_state() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let machine = Machine::new();
        let db = machine.open(tiny()).await.unwrap();
        if rng.one_in(2) {
            db.hold_records_after(Lsn(u64::MAX));
        }
        for _ in 0..150 {
            let key = format!("key{:02}", rng.below(60));
            if rng.one_in(3) {
                delete(&db, &key)
            } else {
                put_staged(&db, &key, "some value").await
            };
        }
        db.wait_staged(db.appended()).await.unwrap();
        let state = rows(&db.snapshot());
        db.close().await.unwrap();
        let fresh = Machine { catalog: ForgettingCatalog::new(), ..machine.clone() };
        let db = Db::rebuild(fresh.ports(), tiny()).await.unwrap();
        assert_eq!(rows(&db.snapshot()), state, "seed {seed}");
        db.close().await.unwrap();
        let used = Machine { catalog: fresh.catalog.clone(), ..machine.clone() };
        if db.stats().applied > Lsn(0) {
            assert!(Db::rebuild(used.ports(), tiny()).await.is_err(), "a used catalog is not rebuilt over");
        }
    }
}

#[tokio::test]
async fn an_import_ends_at_its_lsn_and_the_log_goes_on_behind_it() {
    let machine = Machine::new();
    let db = machine.open(tiny()).await.unwrap();
    let row = |n: u32, value: &str| (format!("key{n:03}").into_bytes(), value.as_bytes().to_vec());
    db.import((0..100).rev().map(|n| row(n, "checkpoint")).collect()).await.unwrap();
    assert!(matches!(
        db.transact(|txn| {
            txn.put(b"too".to_vec(), b"early".to_vec());
            Ok::<_, DbError>(())
        }),
        Err(DbError::Port(_))
    ));
    let log = vec![
        (b"key005".to_vec(), None),
        (b"key007".to_vec(), Some(b"0".to_vec())),
        (b"key007".to_vec(), Some(b"log".to_vec())),
    ];
    db.import_changes(log).await.unwrap();
    db.finish_import(Lsn(5000)).await.unwrap();
    assert_eq!((db.appended(), db.staged(), db.stats().checkpoint), (Lsn(5000), Lsn(5000), Lsn(5000)));
    let check = |db: &Db| {
        assert_eq!(db.snapshot().scan(b"key", b"kez", false, 1000).unwrap().len(), 99);
        assert_eq!((get(db, "key005"), get(db, "key007").unwrap()), (None, "log".into()));
    };
    check(&db);
    assert_eq!(put_staged(&db, "after", "1").await, Lsn(5001));
    assert!(db.import(vec![row(1, "late")]).await.is_err(), "only before any commit");
    assert_eq!(db.records(Lsn(5000), 100).await.unwrap().len(), 1);
    db.checkpoint().await.unwrap();
    db.close().await.unwrap();
    drop(db);
    let fresh = Machine { catalog: ForgettingCatalog::new(), ..machine.clone() };
    for machine in [machine, fresh] {
        let db = machine.open(tiny()).await.unwrap();
        check(&db);
        assert_eq!((get(&db, "after").unwrap(), db.appended()), ("1".into(), Lsn(5001)));
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_import_that_was_not_finished_is_refused_at_the_next_open() {
    let machine = Machine::new();
    let db = machine.open(tiny()).await.unwrap();
    db.import(vec![(b"a".to_vec(), b"1".to_vec())]).await.unwrap();
    db.close().await.unwrap();
    drop(db);
    for seed in 0..20 {
        let error = machine.power_cut(seed).open(tiny()).await.unwrap_err();
        assert!(error.to_string().contains("import"), "{error}");
    }
    let db = Machine::new().open(tiny()).await.unwrap();
    db.finish_import(Lsn(0)).await.unwrap();
    assert_eq!(put_staged(&db, "a", "1").await, Lsn(1), "an empty import is none");
}
