//! Crashes from a seed: several tasks commit, the power goes (or the process is killed) after some
//! change of the disk, and what opens again is checked against everything that was ever promised.
//!
//! A failing seed is printed; `GW_CRASH_SEED=<n>` runs that one alone, `GW_CRASH_SEEDS=<count>` more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use gw_db::{Db, DbError};
use gw_sim::{ForgettingCatalog, Rng};
use gw_types::ports::{Disk, RowChange};
use gw_types::{Lsn, SegmentSeq, StreamId};

use crate::support::{DiskSink, Machine, rows, tiny};

const SEEDS: u64 = 400;
const LIVES: u64 = 5;
const SEGMENT_RECORDS: u64 = 16;
const SLOT_BYTES: u64 = 700;

/// A killed process leaves names that nobody has synced; the next one believes what it sees, removes
/// what looks like a leftover, and then the power goes: the old manifest may come back, and the run
/// that it names must still be there. (Seed 728 of the test below found this.)
#[tokio::test]
async fn a_kill_anywhere_then_a_restart_and_then_a_power_cut_lose_nothing() {
    for changes in 1.. {
        let machine = Machine::new();
        machine.disk.cut_after(changes);
        let acknowledged = three_checkpoints(&machine).await;
        let finished = !machine.disk.is_off();
        machine.disk.restart();
        for more in [0, 1, 2, 3, 4, 6, 10, 1000] {
            let again = Machine { disk: machine.disk.copy(), ..machine.clone() };
            again.disk.cut_after(more);
            // It gets as far as it gets.
            drop(again.open(tiny()).await);
            for seed in 0..10 {
                let left = again.power_cut(seed);
                let db = left
                    .open(tiny())
                    .await
                    .unwrap_or_else(|error| panic!("{changes} {more} {seed}: {error}"));
                assert!(db.appended() >= acknowledged, "{changes} {more} {seed}");
            }
        }
        if finished {
            return;
        }
    }
}

async fn three_checkpoints(machine: &Machine) -> Lsn {
    let mut acknowledged = Lsn(0);
    let Ok(db) = machine.open(tiny()).await else { return acknowledged };
    db.hold_records_after(Lsn(u64::MAX));
    for round in 0..3 {
        for key in ["a", "b"] {
            let Ok(lsn) = crate::support::put(&db, key, &format!("{round}").repeat(800)) else {
                return acknowledged;
            };
            if db.wait_staged(lsn).await.is_err() {
                return acknowledged;
            }
            acknowledged = lsn;
        }
        if db.checkpoint().await.is_err() || db.merge_runs().await.is_err() {
            return acknowledged;
        }
    }
    acknowledged
}

/// One commit as it was made.
#[derive(Clone)]
struct Made {
    changes: Vec<RowChange>,
    inline: Option<Vec<u8>>,
    streams: Vec<StreamId>,
}

/// What the outside world knows.
#[derive(Default)]
struct World {
    /// Every commit that was made and may still exist, by LSN.
    log: BTreeMap<Lsn, Made>,
    acknowledged: Lsn,
    epoch: u16,
    /// Records up to here need not be told any more.
    shipped: Lsn,
}

impl World {
    fn state_at(&self, lsn: Lsn) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        for (key, value) in self.log.range(..=lsn).flat_map(|(_, made)| &made.changes) {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        rows
    }
}

fn place_of(lsn: Lsn) -> (SegmentSeq, u64) {
    (SegmentSeq(lsn.0 / SEGMENT_RECORDS), lsn.0 % SEGMENT_RECORDS * SLOT_BYTES)
}

#[test]
fn whatever_the_power_takes_nothing_acknowledged_is_lost_and_the_rest_is_a_prefix() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("GW_CRASH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GW_CRASH_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| lives_of(seed));
        if outcome.is_err() {
            panic!("failed at seed {seed}: replay with GW_CRASH_SEED={seed}");
        }
    }
}

fn lives_of(seed: u64) {
    let mut rng = Rng::new(seed);
    let world = Rc::new(RefCell::new(World::default()));
    let mut machine = Machine::new();
    for life in 0..LIVES {
        if !rng.one_in(4) {
            let most = [20, 200, 800][rng.below(3) as usize];
            machine.disk.cut_after(1 + rng.below(most));
        }
        // A runtime per life: dropping it is the end of every task, wherever it stands.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let local = tokio::task::LocalSet::new();
        let life = live(machine.clone(), world.clone(), rng.fork(), life);
        runtime.block_on(local.run_until(machine.clock.clone().run_until(life)));
        drop(local);
        drop(runtime);
        machine.disk.restart();
        if !rng.one_in(4) {
            machine = machine.power_cut(rng.next_u64());
        }
        if rng.one_in(6) {
            machine.catalog = ForgettingCatalog::new();
        }
    }
    // The last word: with the power on, it opens.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let db = machine.open(tiny()).await.unwrap();
        check_recovered(&machine, &db, &world).await;
        db.close().await.unwrap();
    });
}

async fn live(machine: Machine, world: Rc<RefCell<World>>, mut rng: Rng, life: u64) {
    let db = match machine.open(tiny()).await {
        Ok(db) => db,
        Err(error) => {
            assert!(machine.disk.is_off(), "life {life}: cannot be opened: {error}");
            return;
        }
    };
    check_recovered(&machine, &db, &world).await;
    if machine.disk.is_off() {
        return;
    }
    db.hold_records_after(world.borrow().shipped);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(tokio::task::spawn_local(write(db.clone(), world.clone(), rng.fork())));
    }
    tasks.push(tokio::task::spawn_local(watch(db.clone(), world.clone())));
    tasks.push(tokio::task::spawn_local(keep_house(db.clone(), machine.clone(), world.clone(), rng.fork())));
    for task in tasks {
        task.await.unwrap();
    }
    if rng.one_in(3) {
        let closed = db.close().await;
        assert!(closed.is_ok() || machine.disk.is_off());
    }
}

/// Everything that was promised before, of a database that has just been opened.
async fn check_recovered(machine: &Machine, db: &Arc<Db>, world: &Rc<RefCell<World>>) {
    let appended = db.appended();
    let placed = {
        let mut world = world.borrow_mut();
        assert_eq!(db.staged(), appended, "what was recovered is staged");
        assert!(
            appended >= world.acknowledged,
            "{} was acknowledged, {appended} is there",
            world.acknowledged
        );
        assert!(world.log.len() as u64 >= appended.0, "records from nowhere");
        assert!(db.epoch() > world.epoch, "an epoch was used twice");
        world.epoch = db.epoch();
        world.log.split_off(&appended.next());
        assert_eq!(
            rows(&db.snapshot()),
            world.state_at(appended),
            "the state is the prefix up to {appended}"
        );
        let inlines = world.log.iter().filter_map(|(lsn, made)| Some((*lsn, made.inline.clone()?)));
        inlines.collect::<Vec<_>>()
    };
    for (lsn, bytes) in placed {
        if machine.disk.is_off() {
            return;
        }
        let (segment, offset) = place_of(lsn);
        let found = match machine.disk.open(&DiskSink::name(segment)) {
            Ok(file) => file.read_at(offset, bytes.len()).await,
            Err(error) => Err(error),
        };
        assert!(
            machine.disk.is_off() || found.as_ref().is_ok_and(|found| *found == bytes),
            "the inline bytes of record {lsn} are not in their segment: {found:?}"
        );
    }
    check_records(machine, db, world).await;
}

/// Every record that is still held is told as it was made.
async fn check_records(machine: &Machine, db: &Db, world: &Rc<RefCell<World>>) {
    let (mut after, staged) = (world.borrow().shipped, db.staged());
    while after < staged {
        let records = match db.records(after, 2000).await {
            Ok(records) => records,
            Err(error) => {
                assert!(machine.disk.is_off(), "records after {after}: {error}");
                return;
            }
        };
        let world = world.borrow();
        for record in records {
            after = after.next();
            let made = &world.log[&after];
            assert_eq!((record.lsn, &record.streams), (after, &made.streams));
            let mut changes = made.changes.clone();
            changes.sort();
            assert_eq!(record.changes, changes);
        }
    }
}

/// Commits and waits; notes what was made and what was acknowledged.
async fn write(db: Arc<Db>, world: Rc<RefCell<World>>, mut rng: Rng) {
    for _ in 0..rng.below(40) {
        let keys: std::collections::BTreeSet<u64> = (0..1 + rng.below(3)).map(|_| rng.below(40)).collect();
        let changes: Vec<RowChange> = keys
            .into_iter()
            .map(|key| {
                let value = (!rng.one_in(4)).then(|| {
                    let len = 1 + rng.below(120) as usize;
                    rng.bytes(len)
                });
                (format!("key{key:02}").into_bytes(), value)
            })
            .collect();
        let inline = rng.one_in(3).then(|| rng.bytes(600));
        let mut streams: Vec<_> = (0..=rng.below(2)).map(|_| StreamId(rng.below(3) as u32)).collect();
        streams.sort_unstable();
        streams.dedup();
        let committed = db.transact(|txn| {
            for (key, value) in &changes {
                match value {
                    Some(value) => txn.put(key.clone(), value.clone()),
                    None => txn.delete(key.clone()),
                }
            }
            if let Some(bytes) = &inline {
                let (segment, offset) = place_of(txn.lsn());
                txn.place_inline(segment, offset, bytes.clone().into());
            }
            streams.iter().for_each(|stream| txn.stream(*stream));
            Ok::<_, DbError>(())
        });
        let lsn = match committed {
            Ok(committed) => committed.lsn,
            Err(DbError::Busy(_)) => {
                tokio::task::yield_now().await;
                continue;
            }
            Err(_) => return,
        };
        let before = world.borrow_mut().log.insert(lsn, Made { changes, inline, streams });
        assert!(before.is_none(), "an LSN was given twice");
        if rng.one_in(3) {
            continue;
        }
        match db.wait_staged(lsn).await {
            Ok(()) => {
                let mut world = world.borrow_mut();
                world.acknowledged = world.acknowledged.max(lsn);
            }
            Err(_) => return,
        }
    }
}

/// Watermarks never move back and keep their order.
async fn watch(db: Arc<Db>, world: Rc<RefCell<World>>) {
    let mut last = Lsn(0);
    for _ in 0..200 {
        let staged = db.staged();
        assert!(last <= staged && staged <= db.appended(), "{last} {staged} {}", db.appended());
        let stats = db.stats();
        assert!(stats.checkpoint <= staged && stats.applied <= db.staged(), "{stats:?}");
        assert!(world.borrow().acknowledged <= staged);
        last = staged;
        tokio::task::yield_now().await;
    }
}

/// Checkpoints, holds, snapshots and merges in between.
async fn keep_house(db: Arc<Db>, machine: Machine, world: Rc<RefCell<World>>, mut rng: Rng) {
    let mut held = None;
    for _ in 0..rng.below(12) {
        for _ in 0..rng.below(20) {
            tokio::task::yield_now().await;
        }
        match rng.below(6) {
            0 | 1 => {
                let done = db.checkpoint().await;
                assert!(done.is_ok() || machine.disk.is_off(), "{done:?}");
            }
            2 => {
                let snapshot = db.snapshot();
                let state = rows(&snapshot);
                held = Some((snapshot, state));
            }
            3 => {
                if let Some((snapshot, state)) = held.take() {
                    assert_eq!(rows(&snapshot), state, "a snapshot never changes");
                    assert_eq!(state, world.borrow().state_at(snapshot.lsn()));
                }
            }
            4 => {
                check_records(&machine, &db, &world).await;
                let staged = db.staged();
                if !machine.disk.is_off() {
                    world.borrow_mut().shipped = staged;
                    db.hold_records_after(staged);
                }
            }
            _ => {
                let merged = db.merge_runs().await;
                assert!(merged.is_ok() || machine.disk.is_off(), "{merged:?}");
            }
        }
    }
}
