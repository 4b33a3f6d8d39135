//! The miner tells the chain what it holds, once, whatever happens in between.

use std::time::Duration;

use gw_miner_client::conformance::{fid, fragment, segment_with};
use gw_miner_wire::ZERO_FRAGMENT;
use gw_types::{AccountId, FragmentIndex, Hash32};

use crate::world::{Mood, World, eventually};

fn reports(world: &World) -> Vec<(gw_types::Fid, u8)> {
    world.chain.0.lock().reports.clone()
}

#[tokio::test]
async fn a_column_is_reported_when_its_last_fragment_is_stored() {
    let world = World::start().await;
    let (first, first_bytes) = fragment(1);
    let (second, second_bytes) = fragment(2);
    // Column 3 of a deal of three segments, the last of which is zeros there.
    let mut segments: Vec<_> = [first, second, ZERO_FRAGMENT]
        .map(|hash| {
            let mut segment = segment_with(Hash32([hash.0[0]; 32]));
            segment.fragments[3] = hash;
            segment
        })
        .into();
    segments[2].fragments[4] = Hash32([0xEE; 32]);
    world.chain.declare(fid(1), segments);
    world.put(fid(1), first, &first_bytes).await.unwrap();
    world.put(fid(1), ZERO_FRAGMENT, &first_bytes).await.unwrap();
    assert!(reports(&world).is_empty(), "one fragment is missing");
    world.put(fid(1), second, &second_bytes).await.unwrap();
    eventually("it is reported", || world.miner.counters().reports == 1).await;
    assert_eq!(reports(&world), [(fid(1), 4)], "the chain counts from 1");
    let attempts = world.chain.0.lock().attempts;
    let asked = (attempts, world.chain.0.lock().questions);
    assert_eq!(asked, (1, 2), "about the deal and about the report, not with each put");
    world.put(fid(1), second, &second_bytes).await.unwrap();
    let world = world.restart().await;
    assert_eq!(reports(&world).len(), 1, "neither another put nor a restart repeats it");
}

#[tokio::test]
async fn a_report_that_was_not_sent_is_sent_after_a_restart() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.chain.set_mood(Mood::Refusing);
    world.put(fid(1), hash, &bytes).await.unwrap();
    eventually("it was tried", || world.miner.counters().report_failures > 0).await;
    assert!(reports(&world).is_empty());
    let World { dir, chain, clock, miner, client } = world;
    miner.shutdown().await;
    chain.set_mood(Mood::Well);
    let config = crate::world::config(dir.path());
    let miner = cess_miner::Miner::start(config, chain.clone(), clock.clone()).await.unwrap();
    let world = World { dir, chain, clock, miner, client };
    eventually("it is reported without another put", || reports(&world) == [(fid(1), 1)]).await;
}

#[tokio::test]
async fn a_failed_report_is_tried_again_after_a_pause() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.chain.set_mood(Mood::Refusing);
    world.put(fid(1), hash, &bytes).await.unwrap();
    eventually("it was tried", || world.miner.counters().report_failures == 1).await;
    assert_eq!(world.chain.0.lock().attempts, 1, "no second try without a pause");
    world.chain.set_mood(Mood::Well);
    let reported = eventually("it is reported", || !reports(&world).is_empty());
    world.clock.advance_until(Duration::from_millis(100), reported).await;
}

/// The reply of a report is lost after the chain has taken it. The miner looks before it repeats.
#[tokio::test]
async fn a_report_whose_reply_was_lost_is_looked_up_and_not_repeated() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.chain.set_mood(Mood::LosingReplies);
    world.put(fid(1), hash, &bytes).await.unwrap();
    eventually("the reply was lost", || world.miner.counters().report_failures == 1).await;
    let asked = world.chain.0.lock().questions;
    let looked = eventually("it is looked up", || world.chain.0.lock().questions > asked);
    world.clock.advance_until(Duration::from_millis(100), looked).await;
    let world = world.restart().await;
    assert_eq!((reports(&world).len(), world.chain.0.lock().attempts), (1, 1));
}

#[tokio::test]
async fn a_column_that_another_miner_has_reported_is_left_alone() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    let taken = (FragmentIndex::new(0).unwrap(), AccountId([1; 32]));
    world.chain.0.lock().deals.get_mut(&fid(1)).unwrap().complete.push(taken);
    world.put(fid(1), hash, &bytes).await.unwrap();
    // One question was about the put.
    eventually("the deal is looked at", || world.chain.0.lock().questions >= 2).await;
    let world = world.restart().await;
    assert_eq!(world.chain.0.lock().attempts, 0);
}

/// A file is deleted and later declared again with the same bytes, so under the same fid. What the
/// miner noted in the first life must not keep it silent in the second.
#[tokio::test]
async fn a_deal_declared_anew_is_reported_anew() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    eventually("it is reported", || world.miner.counters().reports == 1).await;
    world.declare(fid(1), &[hash]);
    world.chain.set_mood(Mood::Refusing);
    world.put(fid(1), hash, &bytes).await.unwrap();
    eventually("the second one was tried", || world.miner.counters().report_failures > 0).await;
    world.chain.set_mood(Mood::Well);
    let world = world.restart().await;
    eventually("it is reported again", || reports(&world).len() == 2).await;
}
