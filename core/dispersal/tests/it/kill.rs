//! The gateway is killed, or its power goes, at a point of a dispersal or of a compaction that a seed
//! chooses; again and again. In the end everything that was acknowledged is finalized, by one
//! declaration for each deal, and reads the same here, from the miners alone, and restored elsewhere.
//!
//! The chain here drops a call that was not executed within its mortality, as a real one does: what a
//! later life waits for (`lapse_blocks`) would otherwise prove nothing.
//!
//! A failing seed is printed; `GW_KILL_SEED=<n>` runs that one alone, `GW_KILL_SEEDS=<count>` more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use gw_sim::{CallKind, ChainFault, Rng};
use gw_types::Level;
use gw_types::ports::Clock;

use crate::world::{Gateway, World, sample};

const LIVES: u64 = 4;
const LEN: usize = 30_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    match from_environment("GW_KILL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("GW_KILL_SEEDS").unwrap_or(count),
    }
}

#[tokio::test]
async fn kills_and_power_cuts_anywhere_lose_nothing_and_declare_nothing_twice() {
    for seed in seeds(4) {
        println!("seed {seed}");
        one(seed, Work::Puts).await;
    }
}

#[tokio::test]
async fn kills_and_power_cuts_while_deals_are_compacted_leave_no_hole() {
    for seed in seeds(3) {
        println!("seed {seed}");
        one(seed, Work::Compaction).await;
    }
}

/// What a life does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// New names, flushed.
    Puts,
    /// The same names again and again, deleted, flushed and compacted.
    Compaction,
}

/// What may stand under each name: what was acknowledged last, and what was begun since.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, BTreeSet<Option<u64>>>);

impl Model {
    fn begin(&mut self, name: &str, body: Option<u64>) {
        self.0.entry(name.to_owned()).or_insert_with(|| BTreeSet::from([None])).insert(body);
    }
    fn acknowledge(&mut self, name: &str, body: Option<u64>) {
        self.0.insert(name.to_owned(), BTreeSet::from([body]));
    }
    async fn check(&self, gateway: &Gateway, when: &str) {
        for (name, possible) in &self.0 {
            let found: Option<Bytes> = match gateway.map(name) {
                Some(_) => Some(gateway.read(name).await),
                None => None,
            };
            let fits = |body: &Option<u64>| body.map(|body| sample(body, LEN)) == found;
            assert!(possible.iter().any(fits), "{when}: {name} is none of {possible:?}");
        }
    }
}

async fn one(seed: u64, kind: Work) {
    let mut rng = Rng::new(seed);
    let mut world = World::new(14).await;
    world.config.linger = Duration::from_millis(200);
    if rng.one_in(2) {
        // Only a fence tells what became of calls of the life before.
        world.config.lapse_blocks = u32::MAX;
    }
    let mut model = Model::default();
    if kind == Work::Compaction {
        sparse(&world, &mut model).await;
    }
    world.chain.set_finality(Duration::from_secs(rng.below(15)));
    for number in 0..14 {
        world.miners.fault(number, |fault| fault.slow = Duration::from_millis(rng.below(1500)));
    }
    let mut marks = gw_dispersal::Marks::default();
    for life in 0..LIVES {
        if rng.one_in(3) {
            let lost = [ChainFault::LostUnsent, ChainFault::LostLands(Duration::from_secs(rng.below(30)))];
            let call = [CallKind::Declare, CallKind::Delete][rng.below(2) as usize];
            world.chain.fail_next(call, lost[rng.below(2) as usize]);
        }
        let by_disk = rng.one_in(2);
        if by_disk {
            world.disk.cut_after(rng.below(220));
        }
        let Ok(gateway) = world.run(world.try_open()).await else {
            world = reborn(world, &mut rng, by_disk);
            continue;
        };
        assert!(gateway.dispersal.marks().finalized >= marks.finalized, "seed {seed} life {life}");
        assert!(gateway.dispersal.marks().dispersed >= marks.dispersed, "seed {seed} life {life}");
        let until = Duration::from_millis(rng.below(40_000));
        let killed = async {
            let work = async {
                match kind {
                    Work::Puts => puts(&world, &gateway, &mut rng, life, &mut model).await,
                    Work::Compaction => compaction(&world, &gateway, &mut rng, life, &mut model).await,
                }
            };
            tokio::select! {
                biased;
                () = work => {}
                () = world.clock.sleep(until) => {}
            }
        };
        world.run(killed).await;
        marks = gateway.dispersal.marks();
        gateway.kill();
        world = reborn(world, &mut rng, by_disk);
    }
    last_life(&world, &model, &format!("seed {seed}"), kind).await;
}

async fn last_life(world: &World, model: &Model, seed: &str, kind: Work) {
    let gateway = world.open().await;
    model.check(&gateway, seed).await;
    if kind == Work::Compaction {
        world.run(gateway.dispersal.compact()).await.unwrap();
    }
    gateway.flush(Level::Finalized).await;
    world.check_chain();
    world.run(gateway.dispersal.evict()).await.unwrap();
    gateway.data.drop_cache();
    model.check(&gateway, &format!("{seed}, from the miners")).await;
    let elsewhere = world.elsewhere();
    let restored = elsewhere.restore().await;
    assert_eq!(restored.namespace(), gateway.namespace(), "{seed}");
    model.check(&restored, &format!("{seed}, restored")).await;
}

fn reborn(world: World, rng: &mut Rng, by_disk: bool) -> World {
    let is_cut = by_disk || rng.one_in(2);
    let seed = rng.next_u64();
    let after = if is_cut { world.power_cut(seed) } else { world.killed(seed) };
    World { config: world.config, ..after }
}

/// How a life ends its work: something failed, or the time that a dead disk would take has passed.
struct Ended;

async fn put(gateway: &Gateway, name: &str, body: u64, model: &mut Model) -> Result<(), Ended> {
    model.begin(name, Some(body));
    gateway.try_put(name, &sample(body, LEN)).await.map_err(|_| Ended)?;
    model.acknowledge(name, Some(body));
    Ok(())
}

async fn delete(gateway: &Gateway, name: &str, model: &mut Model) -> Result<(), Ended> {
    model.begin(name, None);
    gateway.try_delete(name).await.map_err(|_| Ended)?;
    model.acknowledge(name, None);
    Ok(())
}

async fn flush(world: &World, gateway: &Gateway, rng: &mut Rng) -> Result<(), Ended> {
    let level = if rng.one_in(2) { Level::Dispersed } else { Level::Finalized };
    tokio::select! {
        flushed = gateway.dispersal.flush(level) => flushed.map(drop).map_err(|_| Ended),
        // A dead disk lets a flush wait for ever.
        () = world.sleep(600) => Err(Ended),
    }
}

async fn puts(world: &World, gateway: &Gateway, rng: &mut Rng, life: u64, model: &mut Model) {
    for round in 0..2 {
        for number in 0..2 {
            let body = life * 100 + round * 10 + number;
            if put(gateway, &format!("{life} {round} {number}"), body, model).await.is_err() {
                return;
            }
        }
        if flush(world, gateway, rng).await.is_err() || gateway.dispersal.evict().await.is_err() {
            return;
        }
    }
}

/// Some deals with little in them, before anything fails.
async fn sparse(world: &World, model: &mut Model) {
    let gateway = world.open().await;
    for number in 0..6_u64 {
        gateway.put(&format!("{number}"), &sample(1000 + number, LEN)).await;
        model.acknowledge(&format!("{number}"), Some(1000 + number));
        if number % 2 == 1 {
            gateway.flush(Level::Finalized).await;
        }
    }
    gateway.close().await;
}

async fn compaction(world: &World, gateway: &Gateway, rng: &mut Rng, life: u64, model: &mut Model) {
    let writes = async {
        for round in 0..4 {
            let name = format!("{}", rng.below(7));
            let done = match rng.below(8) {
                0..2 => delete(gateway, &name, model).await,
                2 => gateway.dispersal.evict().await.map(drop).map_err(|_| Ended),
                3 => flush(world, gateway, rng).await,
                _ => put(gateway, &name, life * 100 + round, model).await,
            };
            if done.is_err() {
                return;
            }
            world.sleep(rng.below(8)).await;
        }
        flush(world, gateway, rng).await.ok();
    };
    let compacts = async {
        tokio::select! {
            compacted = gateway.dispersal.compact() => drop(compacted),
            () = world.sleep(600) => {}
        }
    };
    tokio::join!(writes, compacts);
}
