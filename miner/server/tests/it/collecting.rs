//! Fragments of deals that the chain has forgotten go, but not before their time.

use std::time::Duration;

use cess_miner::CollectConfig;
use gw_miner_client::conformance::{fid, fragment, segment_with};
use gw_types::FRAGMENT_BYTES;
use gw_types::ports::{FileSegment, FileState, PlacedFragment};

use crate::world::{ME, Mood, World, eventually};

const INTERVAL: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(3600);

async fn start() -> World {
    World::start_with(|config| config.collect = Some(CollectConfig { interval: INTERVAL, grace: GRACE }))
        .await
}

/// Lets time pass in steps of one interval, each seen by a whole pass.
async fn passes(world: &World, count: u32) {
    for _ in 0..count {
        let before = world.chain.0.lock().questions;
        let asked = eventually("a pass asks the chain", || world.chain.0.lock().questions > before);
        world.clock.advance_until(INTERVAL, asked).await;
    }
}

#[tokio::test]
async fn forgotten_deals_are_removed_after_their_grace_and_give_their_room_back() {
    let world = start().await;
    let (shared, shared_bytes) = fragment(1);
    let (alone, alone_bytes) = fragment(2);
    world.declare(fid(1), &[shared, alone]);
    world.declare(fid(2), &[shared]);
    world.put(fid(1), shared, &shared_bytes).await.unwrap();
    world.put(fid(1), alone, &alone_bytes).await.unwrap();
    world.put(fid(2), shared, &shared_bytes).await.unwrap();
    passes(&world, 3).await;
    assert_eq!(world.miner.counters().collected, 0, "both are open");
    world.chain.0.lock().deals.remove(&fid(1));
    let collected = eventually("the deal is removed", || world.miner.counters().collected == 1);
    world.clock.advance_until(INTERVAL, collected).await;
    assert_eq!((world.files_in("fragments"), world.miner.counters().used_bytes), (1, FRAGMENT_BYTES));
    assert!(world.get(fid(1), alone).await.is_err());
    assert!(world.get(fid(2), shared).await.unwrap() == shared_bytes, "the other deal still holds it");
    let world = world.restart().await;
    assert!(world.get(fid(1), shared).await.is_err(), "gone after a restart too");
    assert_eq!(world.miner.counters().used_bytes, FRAGMENT_BYTES);
}

#[tokio::test]
async fn one_look_a_chain_that_is_away_or_a_file_that_names_us_removes_nothing() {
    let world = start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    eventually("it is reported", || world.miner.counters().reports == 1).await;
    world.chain.set_mood(Mood::Away);
    passes(&world, 12).await;
    assert_eq!(world.miner.counters().collected, 0, "an error proves nothing");
    let placed = |hash| PlacedFragment { hash, miner: ME, available: true };
    let fragments = segment_with(hash).fragments.into_iter().map(placed).collect();
    let file = FileState {
        segments: vec![FileSegment { hash, fragments }],
        file_size: 1,
        held_as: None,
        completed_at: 3,
    };
    {
        let mut state = world.chain.0.lock();
        state.mood = Mood::Well;
        state.deals.clear();
        state.files.insert(fid(1), file);
    }
    passes(&world, 12).await;
    assert_eq!(world.miner.counters().collected, 0, "the file is Active and names us");
    assert!(world.get(fid(1), hash).await.unwrap() == bytes);
}
