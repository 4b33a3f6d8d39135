//! What every catalog must do, as a suite that all of them run.
//!
//! It panics with the promise that is broken. `open` opens the same catalog again each time; the one
//! opened before has been dropped by then.

use std::collections::BTreeMap;
use std::sync::Arc;

use gw_types::Lsn;
use gw_types::ports::{Catalog, Row, RowChange};

/// Runs the suite on a fresh catalog.
pub async fn run(open: impl AsyncFn() -> Arc<dyn Catalog>) {
    let catalog = open().await;
    a_fresh_one_is_empty(&*catalog);
    values_come_back_as_written(&*catalog).await;
    scans_keep_order_bounds_and_limits(&*catalog).await;
    refusals_change_nothing(&*catalog).await;
    drop(catalog);
    what_was_committed_is_there_after_a_restart(&open).await;
    random_batches_equal_a_model(&open).await;
}

fn a_fresh_one_is_empty(catalog: &dyn Catalog) {
    assert_eq!(catalog.applied(), Lsn(0), "fresh: nothing is applied");
    assert_eq!(catalog.get(b"a").expect("get"), None);
    assert_eq!(scan(catalog, b"", b"", false, 10), []);
    assert_eq!(scan(catalog, b"", b"", true, 10), []);
}

async fn values_come_back_as_written(catalog: &dyn Catalog) {
    let big = vec![7; 300 << 10];
    let batch = vec![
        put(b"a", b"1"),
        put(b"empty", b""),
        put(b"big", &big),
        put(&[0xff; 300], b"long key"),
        put(&[0], b"zero"),
    ];
    catalog.commit(batch, Lsn(1)).await.expect("commit");
    assert_eq!(catalog.get(b"a").expect("get").as_deref(), Some(&b"1"[..]));
    assert_eq!(catalog.get(b"empty").expect("get").as_deref(), Some(&b""[..]), "an empty value is a value");
    assert_eq!(catalog.get(b"big").expect("get"), Some(big));
    assert_eq!(catalog.get(&[0xff; 300]).expect("get").as_deref(), Some(&b"long key"[..]));
    assert_eq!(catalog.applied(), Lsn(1));
    let batch = vec![put(b"a", b"2"), delete(b"big"), delete(b"never was")];
    catalog.commit(batch.clone(), Lsn(2)).await.expect("commit");
    catalog.commit(batch, Lsn(2)).await.expect("a batch may be applied twice");
    assert_eq!(catalog.get(b"a").expect("get").as_deref(), Some(&b"2"[..]));
    assert_eq!(catalog.get(b"big").expect("get"), None, "deleted");
    catalog.commit(Vec::new(), Lsn(3)).await.expect("an empty batch moves the applied LSN");
    assert_eq!(catalog.applied(), Lsn(3));
    let all = scan(catalog, b"", b"", false, 100).into_iter().map(|(key, _)| delete(&key));
    catalog.commit(all.collect(), Lsn(4)).await.expect("commit");
    assert_eq!(scan(catalog, b"", b"", false, 100), [], "everything can be deleted");
}

async fn scans_keep_order_bounds_and_limits(catalog: &dyn Catalog) {
    let keys: [&[u8]; 7] = [b"\x01", b"a", b"a\0", b"a\0\0", b"ab", b"b", b"\xff\xff"];
    let batch = keys.iter().rev().map(|key| put(key, key)).collect();
    catalog.commit(batch, Lsn(5)).await.expect("commit");
    let keys_of = |from: &[u8], to: &[u8], reverse, limit| -> Vec<Vec<u8>> {
        scan(catalog, from, to, reverse, limit).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys_of(b"", b"", false, 100), keys, "bytewise order");
    let down: Vec<&[u8]> = keys.iter().rev().copied().collect();
    assert_eq!(keys_of(b"", b"", true, 100), down, "and the other way");
    assert_eq!(keys_of(b"a", b"b", false, 100), &keys[1..5], "from is included, to is not");
    assert_eq!(keys_of(b"a", b"b", true, 100), [keys[4], keys[3], keys[2], keys[1]]);
    assert_eq!(keys_of(b"a", b"b", false, 2), &keys[1..3], "a limit takes the first");
    assert_eq!(keys_of(b"a", b"b", true, 2), [keys[4], keys[3]], "or the last");
    assert_eq!(keys_of(b"a\0", b"", false, 2), &keys[2..4]);
    for (from, to) in [(&b"b"[..], &b"a"[..]), (b"a", b"a")] {
        assert!(
            keys_of(from, to, false, 9).is_empty() && keys_of(from, to, true, 9).is_empty(),
            "an empty range"
        );
    }
    assert!(keys_of(b"", b"", false, 0).is_empty(), "limit 0");
    let gone = keys.iter().map(|key| delete(key)).collect();
    catalog.commit(gone, Lsn(6)).await.expect("commit");
}

async fn refusals_change_nothing(catalog: &dyn Catalog) {
    for key in [&b""[..], &[1; 65_536]] {
        let result = catalog.commit(vec![put(b"beside", b"1"), put(key, b"1")], Lsn(7)).await;
        assert!(result.is_err(), "a key of {} bytes is refused", key.len());
        assert_eq!(catalog.get(b"beside").expect("get"), None);
        assert_eq!(catalog.applied(), Lsn(6));
    }
}

async fn what_was_committed_is_there_after_a_restart(open: &impl AsyncFn() -> Arc<dyn Catalog>) {
    let catalog = open().await;
    assert_eq!(catalog.applied(), Lsn(6), "the applied LSN is durable");
    let rows: Vec<RowChange> = (0..2000_u32).map(|n| put(&n.to_be_bytes(), &[n as u8; 50])).collect();
    catalog.commit(rows, Lsn(7)).await.expect("commit");
    drop(catalog);
    let catalog = open().await;
    assert_eq!(catalog.applied(), Lsn(7));
    let found = scan(&*catalog, b"", b"", false, 10_000);
    assert_eq!(found.len(), 2000);
    assert!(
        found.iter().zip(0_u32..).all(|((key, value), n)| *key == n.to_be_bytes() && *value == [n as u8; 50])
    );
    assert!(catalog.disk_bytes().expect("disk_bytes") > 0);
    let gone = found.into_iter().map(|(key, _)| (key, None)).collect();
    catalog.commit(gone, Lsn(8)).await.expect("commit");
}

async fn random_batches_equal_a_model(open: &impl AsyncFn() -> Arc<dyn Catalog>) {
    let mut random = 0x1234_5678_u64;
    let mut draw = |end: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % end
    };
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut catalog = open().await;
    for step in 0..60_u64 {
        let mut batch = BTreeMap::new();
        for _ in 0..draw(30) {
            let key = format!("{:03}", draw(200)).into_bytes();
            let value = (draw(3) > 0).then(|| vec![draw(256) as u8; draw(500) as usize]);
            batch.insert(key, value);
        }
        for (key, value) in &batch {
            match value {
                Some(value) => model.insert(key.clone(), value.clone()),
                None => model.remove(key),
            };
        }
        catalog.commit(batch.into_iter().collect(), Lsn(9 + step)).await.expect("commit");
        if step % 20 == 19 {
            drop(catalog);
            catalog = open().await;
            assert_eq!(catalog.applied(), Lsn(9 + step));
        }
        let (from, to) = (format!("{:03}", draw(200)).into_bytes(), format!("{:03}", draw(200)).into_bytes());
        let within = |key: &Vec<u8>| *key >= from && *key < to;
        let expected: Vec<Row> = model
            .iter()
            .filter(|(key, _)| within(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let limit = draw(50) as usize;
        let first: Vec<Row> = expected.iter().take(limit).cloned().collect();
        let last: Vec<Row> = expected.iter().rev().take(limit).cloned().collect();
        assert_eq!(scan(&*catalog, &from, &to, false, limit), first, "step {step}");
        assert_eq!(scan(&*catalog, &from, &to, true, limit), last, "step {step}");
    }
    let all: Vec<Row> = model.into_iter().collect();
    assert_eq!(scan(&*catalog, b"", b"", false, usize::MAX), all);
}

fn put(key: &[u8], value: &[u8]) -> RowChange {
    (key.to_vec(), Some(value.to_vec()))
}

fn delete(key: &[u8]) -> RowChange {
    (key.to_vec(), None)
}

fn scan(catalog: &dyn Catalog, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Vec<Row> {
    catalog.scan(from, to, reverse, limit).expect("scan")
}
