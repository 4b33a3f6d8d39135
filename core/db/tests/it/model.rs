//! Scans and reads against an ordered map.

use std::collections::BTreeMap;
use std::ops::Bound;

use gw_db::{DbError, Read, Snapshot};
use gw_sim::Rng;

use crate::support::{Machine, tiny};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn key(rng: &mut Rng) -> Vec<u8> {
    let len = 1 + rng.below(3) as usize;
    let mut key: Vec<u8> = (0..len).map(|_| [0, b'a', b'b', 0xff][rng.below(4) as usize]).collect();
    key.push(rng.below(6) as u8);
    key
}

fn check(read: &impl Read, model: &Model, rng: &mut Rng) {
    let (from, to) = (key(rng), if rng.one_in(4) { Vec::new() } else { key(rng) });
    let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to.clone()) };
    let expected: Vec<_> = if !to.is_empty() && to <= from {
        Vec::new()
    } else {
        model.range((Bound::Included(from.clone()), end)).collect()
    };
    let limit = [0, 1, 3, 20, 5000][rng.below(5) as usize];
    let found = |reverse| -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = read.scan(&from, &to, reverse, limit).unwrap();
        rows.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    let own = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    let up: Vec<_> = expected.iter().copied().take(limit).map(own).collect();
    let down: Vec<_> = expected.iter().copied().rev().take(limit).map(own).collect();
    assert_eq!(found(false), up, "{from:?}..{to:?} limit {limit}");
    assert_eq!(found(true), down, "{from:?}..{to:?} limit {limit} reverse");
    let one = key(rng);
    assert_eq!(read.get(&one).unwrap().map(|value| value.to_vec()), model.get(&one).cloned());
}

#[tokio::test]
async fn scans_and_reads_equal_a_model_while_rows_move_down() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let machine = Machine::new();
        let mut config = tiny();
        config.overlay_bytes_max = 1 << 20;
        let db = machine.open(config).await.unwrap();
        let mut model = Model::new();
        let mut held: Vec<(Snapshot, Model)> = Vec::new();
        for step in 0..150 {
            let committed = db.transact(|txn| {
                for _ in 0..rng.below(6) {
                    let key = key(&mut rng);
                    if rng.one_in(3) {
                        txn.delete(key.clone());
                        model.remove(&key);
                    } else {
                        let value = vec![step; rng.below(30) as usize];
                        txn.put(key.clone(), value.clone());
                        model.insert(key, value);
                    }
                }
                check(txn, &model, &mut rng);
                Ok::<_, DbError>(())
            });
            let committed = committed.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            match rng.below(12) {
                0 => db.wait_staged(committed.lsn).await.unwrap(),
                1 => drop(db.checkpoint().await.unwrap()),
                2 => held.push((db.snapshot(), model.clone())),
                3 if !held.is_empty() => drop(held.swap_remove(rng.below(held.len() as u64) as usize)),
                _ => {}
            }
            check(&db.snapshot(), &model, &mut rng);
            for (snapshot, model) in &held {
                check(snapshot, model, &mut rng);
            }
        }
    }
}

#[tokio::test]
async fn a_scan_passes_thousands_of_deleted_rows() {
    let machine = Machine::new();
    let mut config = tiny();
    config.overlay_bytes_max = 1 << 30;
    config.record_bytes_max = 10 << 20;
    config.pending_bytes_max = 64 << 20;
    let db = machine.open(config).await.unwrap();
    let write = |delete: bool| {
        let committed = db.transact(|txn| {
            for n in 0..20_000_u32 {
                let key = n.to_be_bytes().to_vec();
                if delete && n != 0 && n != 19_999 { txn.delete(key) } else { txn.put(key, vec![1]) }
            }
            Ok::<_, DbError>(())
        });
        committed.unwrap().lsn
    };
    db.wait_staged(write(false)).await.unwrap();
    db.checkpoint().await.unwrap();
    write(true);
    for reverse in [false, true] {
        assert_eq!(db.snapshot().scan(b"", b"", reverse, 10).unwrap().len(), 2);
    }
    let before = db.transact(|txn| {
        txn.delete(19_999_u32.to_be_bytes().to_vec());
        txn.scan(b"", b"", true, 10)
    });
    assert_eq!(before.unwrap().value.len(), 1);
}
