//! The journal and the catalog engines.
//!
//! `floor_*` is what the work itself costs: appending the same bytes to a file with room reserved and
//! calling fdatasync, alone and for as many records at a time as there are writers. `group_commit` is
//! `transact` + `wait_staged` from that many tasks on the real file system; divide items by time for
//! commits a second. `transact` is the commit alone, without device: what is under the commit lock.
//! Files are made in the target folder, because the system's temporary folder may be memory.

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gw_db::catalog::{Engine, MemoryCatalog, open_engine};
use gw_db::disk::FileDisk;
use gw_db::{Db, DbConfig, DbError, DbPorts, NoInlines};
use gw_sim::{MemDisk, SimClock};
use gw_types::Lsn;
use gw_types::ports::{Catalog, Disk, RowChange};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const VALUE_BYTES: usize = 300;
const WRITERS: [u64; 3] = [1, 16, 256];

fn is_test() -> bool {
    // As divan decides: `cargo test --benches` passes neither flag.
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    has("--test") || !has("--bench")
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder in the target folder")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}

fn open(runtime: &Runtime, disk: Arc<dyn Disk>, catalog: Arc<dyn Catalog>) -> Arc<Db> {
    let ports = DbPorts { disk, catalog, clock: Arc::new(SimClock::default()), sink: Arc::new(NoInlines) };
    let db = runtime.block_on(Db::open(ports, DbConfig::default())).expect("open");
    db.hold_records_after(Lsn(u64::MAX));
    db
}

/// A record of about 400 bytes: one row, spread keys.
fn commit(db: &Db, number: u64) -> Lsn {
    let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_000;
    let committed = db.transact(|txn| {
        txn.put(format!("\x10bench/{key:012}").into_bytes(), vec![7; VALUE_BYTES]);
        Ok::<_, DbError>(())
    });
    committed.expect("transact").lsn
}

#[divan::bench(args = WRITERS)]
fn floor_append_fdatasync(bencher: Bencher, records: u64) {
    let folder = folder();
    let file = std::fs::File::create(folder.path().join("floor")).expect("create");
    let group = vec![7; 400 * records as usize];
    let mut offset = 0;
    bencher.counter(ItemsCount::new(records)).bench_local(|| {
        if offset % (16 << 20) < group.len() as u64 {
            file.set_len(offset + (32 << 20)).expect("set_len");
        }
        file.write_all_at(&group, offset).expect("write");
        file.sync_data().expect("sync");
        offset += group.len() as u64;
    });
}

#[divan::bench(args = WRITERS)]
fn group_commit(bencher: Bencher, writers: u64) {
    let (folder, runtime) = (folder(), runtime());
    let disk = Arc::new(FileDisk::new(folder.path()).expect("a disk"));
    let db = open(&runtime, disk, Arc::new(MemoryCatalog::new()));
    let rounds = if is_test() { 1 } else { 8 };
    let numbers = Arc::new(AtomicU64::new(0));
    bencher.counter(ItemsCount::new(writers * rounds)).bench_local(|| {
        runtime.block_on(async {
            let tasks = (0..writers).map(|_| {
                let (db, numbers) = (db.clone(), numbers.clone());
                tokio::spawn(async move {
                    for _ in 0..rounds {
                        let lsn = commit(&db, numbers.fetch_add(1, Ordering::Relaxed));
                        db.wait_staged(lsn).await.expect("staged");
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("a writer");
            }
        });
    });
    runtime.block_on(db.close()).expect("close");
}

#[divan::bench]
fn transact(bencher: Bencher) {
    const COMMITS: u64 = 500;
    // Nothing runs on this runtime while transact is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let db = open(&runtime, Arc::new(MemDisk::new()), Arc::new(MemoryCatalog::new()));
    let mut number = 0;
    bencher
        .counter(ItemsCount::new(COMMITS))
        .with_inputs(|| {
            runtime.block_on(async {
                db.wait_staged(db.appended()).await.expect("staged");
                db.checkpoint().await.expect("checkpoint");
            });
        })
        .bench_local_values(|()| {
            for _ in 0..COMMITS {
                number += 1;
                black_box(commit(&db, number));
            }
        });
}

const ENGINES: [Engine; 2] = [Engine::Sled, Engine::Fjall];
const KEYS: u64 = 1_000_000;

struct Filled {
    catalog: Arc<dyn Catalog>,
    runtime: Runtime,
    rows: Vec<Vec<u8>>,
    _folder: TempDir,
}

fn key(number: u64) -> Vec<u8> {
    format!("\x10bench/{:012}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS).into_bytes()
}

fn batch(from: u64, len: u64) -> Vec<RowChange> {
    let mut batch: Vec<RowChange> =
        (from..from + len).map(|number| (key(number), Some(vec![7; 200]))).collect();
    batch.sort();
    batch
}

fn filled(engine: Engine) -> Filled {
    let (folder, runtime) = (folder(), runtime());
    let catalog = open_engine(engine, folder.path()).expect("an engine");
    let count = if is_test() { 2000 } else { 100_000 };
    for from in (0..count).step_by(2000) {
        runtime.block_on(catalog.commit(batch(from, 2000), Lsn(from + 1))).expect("commit");
    }
    Filled { catalog, runtime, rows: (0..count).map(key).collect(), _folder: folder }
}

#[divan::bench(args = ENGINES)]
fn catalog_get(bencher: Bencher, engine: Engine) {
    let filled = filled(engine);
    let mut number = 0;
    bencher.bench_local(|| {
        number = (number + 7919) % filled.rows.len();
        black_box(filled.catalog.get(&filled.rows[number]).expect("get")).expect("it is there")
    });
}

#[divan::bench(args = ENGINES)]
fn catalog_scan_1000(bencher: Bencher, engine: Engine) {
    let filled = filled(engine);
    let mut number = 0;
    bencher.counter(ItemsCount::new(1000_u64)).bench_local(|| {
        number = (number + 7919) % filled.rows.len();
        black_box(filled.catalog.scan(&filled.rows[number], b"", false, 1000).expect("scan"))
    });
}

#[divan::bench(args = ENGINES)]
fn catalog_commit_2000(bencher: Bencher, engine: Engine) {
    let filled = filled(engine);
    let number = Cell::new(0);
    let next = || {
        number.set(number.get() + 2000);
        batch(number.get(), 2000)
    };
    bencher.counter(ItemsCount::new(2000_u64)).with_inputs(next).bench_local_values(|batch| {
        filled.runtime.block_on(filled.catalog.commit(batch, Lsn(number.get()))).expect("commit");
    });
}
