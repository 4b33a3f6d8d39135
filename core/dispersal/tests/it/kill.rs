//! The gateway is killed, or its power goes, at a point of a dispersal that a seed chooses; again and
//! again. In the end everything that was acknowledged is finalized, by one declaration for each deal.
//!
//! The chain here drops a call that was not executed within its mortality, as a real one does: what a
//! later life waits for (`lapse_blocks`) would otherwise prove nothing.
//!
//! A failing seed is printed; `GW_KILL_SEED=<n>` runs that one alone, `GW_KILL_SEEDS=<count>` more.

use std::collections::BTreeMap;
use std::time::Duration;

use gw_sim::{CallKind, ChainFault, Rng};
use gw_types::Level;
use gw_types::ports::Clock;

use crate::world::{Gateway, World, sample};

const SEEDS: u64 = 6;
const LIVES: u64 = 4;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn kills_and_power_cuts_anywhere_lose_nothing_and_declare_nothing_twice() {
    if let Some(seed) = from_environment("GW_KILL_SEED") {
        return one(seed).await;
    }
    for seed in 0..from_environment("GW_KILL_SEEDS").unwrap_or(SEEDS) {
        println!("seed {seed}");
        one(seed).await;
    }
}

async fn one(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut world = World::new(14).await;
    world.config.linger = Duration::from_millis(200);
    if rng.one_in(2) {
        // Only a fence tells what became of calls of the life before.
        world.config.lapse_blocks = u32::MAX;
    }
    world.chain.set_finality(Duration::from_secs(rng.below(15)));
    for number in 0..14 {
        world.miners.fault(number, |fault| fault.slow = Duration::from_millis(rng.below(1500)));
    }
    // What was acknowledged, and what may or may not be there.
    let mut bodies: BTreeMap<String, u64> = BTreeMap::new();
    let mut marks = gw_dispersal::Marks::default();
    for life in 0..LIVES {
        if rng.one_in(3) {
            let lost = [ChainFault::LostUnsent, ChainFault::LostLands(Duration::from_secs(rng.below(30)))];
            world.chain.fail_next(CallKind::Declare, lost[rng.below(2) as usize]);
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
        let work = work(&world, &gateway, &mut rng, life, &mut bodies);
        let killed = async {
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
    let gateway = world.open().await;
    for (name, body) in &bodies {
        assert!(gateway.read(name).await == sample(*body, 30_000), "seed {seed}: {name}");
    }
    gateway.flush(Level::Finalized).await;
    world.check_chain();
    world.run(gateway.dispersal.evict()).await.unwrap();
    gateway.data.drop_cache();
    for (name, body) in &bodies {
        assert!(gateway.read(name).await == sample(*body, 30_000), "seed {seed}: {name} from the miners");
    }
    let elsewhere = world.elsewhere();
    assert_eq!(elsewhere.restore().await.namespace(), gateway.namespace(), "seed {seed}");
}

fn reborn(world: World, rng: &mut Rng, by_disk: bool) -> World {
    let is_cut = by_disk || rng.one_in(2);
    let seed = rng.next_u64();
    let after = if is_cut { world.power_cut(seed) } else { world.killed(seed) };
    World { config: world.config, ..after }
}

async fn work(
    world: &World,
    gateway: &Gateway,
    rng: &mut Rng,
    life: u64,
    bodies: &mut BTreeMap<String, u64>,
) {
    for round in 0..2 {
        for number in 0..2 {
            let body = life * 100 + round * 10 + number;
            let name = format!("{life} {round} {number}");
            // Every name is written once, and counts from its acknowledgement on.
            if gateway.try_put(&name, &sample(body, 30_000)).await.is_err() {
                return;
            }
            bodies.insert(name, body);
        }
        let level = if rng.one_in(2) { Level::Dispersed } else { Level::Finalized };
        tokio::select! {
            flushed = gateway.dispersal.flush(level) => if flushed.is_err() { return },
            // A dead disk lets a flush wait for ever.
            () = world.sleep(600) => return,
        }
        if gateway.dispersal.evict().await.is_err() {
            return;
        }
    }
}
