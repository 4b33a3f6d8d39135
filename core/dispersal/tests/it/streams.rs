//! Streams: one that cannot be dispersed holds up no other, and a restore takes of each what is whole.

use std::collections::BTreeSet;

use gw_codec::hash::ZERO_FRAGMENT;
use gw_types::{Hash32, Level, Lsn, StreamId};

use crate::world::{Gateway, World, sample};

const NAMES: StreamId = StreamId(0);
const VOLUME: StreamId = StreamId(5);

/// Whether the stream gets there within half a minute.
async fn gets_there(world: &World, gateway: &Gateway, stream: StreamId, lsn: Lsn) -> bool {
    let early = async {
        tokio::select! {
            biased;
            done = gateway.dispersal.wait(Level::Finalized, stream, lsn) => done.is_ok(),
            () = world.sleep(30) => false,
        }
    };
    world.run(early).await
}

/// From now on no miner takes what open segments of the stream will be: they are sealed, and the log
/// with them, by a flush that is given up.
async fn stall(world: &World, gateway: &Gateway, stream: StreamId) {
    for number in 0..12 {
        world.miners.fault(number, |fault| fault.is_down = true);
    }
    let given_up = async {
        tokio::select! {
            biased;
            _ = gateway.dispersal.flush(Level::Finalized) => panic!("nobody is there"),
            () = world.sleep(15) => {}
        }
    };
    world.run(given_up).await;
    let of_stream = gateway.segments().into_iter().filter(|(_, row)| row.stream == stream);
    let mut hashes: BTreeSet<Hash32> =
        of_stream.filter_map(|(_, row)| row.stripe).flat_map(|stripe| stripe.fragments).collect();
    hashes.remove(&ZERO_FRAGMENT);
    assert!(!hashes.is_empty(), "nothing of the stream is sealed");
    world.miners.refuse(hashes);
    for number in 0..12 {
        world.miners.fault(number, |fault| fault.is_down = false);
    }
}

#[tokio::test]
async fn a_stalled_stream_holds_nobody_else_up() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let body = sample(1, 90_000);
    gateway.put("before", &body).await;
    let blocked = gateway.put_in(VOLUME, "block", &sample(2, 90_000)).await;
    let after = gateway.put("after", &body).await;
    stall(&world, &gateway, VOLUME).await;

    assert!(gets_there(&world, &gateway, NAMES, after).await, "{:?}", gateway.dispersal.status());
    assert!(!gets_there(&world, &gateway, VOLUME, blocked).await, "no miner has its bytes");
    let marks = gateway.dispersal.stream_marks();
    assert!(marks.of(NAMES).finalized >= after);
    assert!(marks.of(VOLUME).finalized < blocked && marks.floor.finalized < blocked);

    // It goes on like that, also what is deleted is collected, and over a restart.
    gateway.delete("before").await;
    let later = gateway.put("later", &body).await;
    assert!(gets_there(&world, &gateway, NAMES, later).await);
    gateway.close().await;
    let gateway = world.open().await;
    assert!(gateway.dispersal.stream_marks().of(NAMES).finalized >= later, "a mark that was seen stays");
    assert!(!gets_there(&world, &gateway, VOLUME, blocked).await);
    let newest = gateway.put("newest", &body).await;
    assert!(gets_there(&world, &gateway, NAMES, newest).await);

    world.miners.refuse([]);
    assert!(gets_there(&world, &gateway, VOLUME, blocked).await);
    gateway.flush(Level::Finalized).await;
    assert_eq!(gateway.waiting_for(), "");
    world.check_chain();
}

#[tokio::test]
async fn a_restore_takes_of_each_stream_what_is_whole() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let block = |version: u64| sample(10 + version, 90_000);
    gateway.put("file", &sample(1, 90_000)).await;
    gateway.put_in(VOLUME, "block", &block(0)).await;
    gateway.flush(Level::Finalized).await;
    gateway.put("file", &sample(2, 90_000)).await;
    gateway.put_in(VOLUME, "block", &block(1)).await;
    stall(&world, &gateway, VOLUME).await;
    let last = gateway.put("more", &sample(3, 90_000)).await;
    assert!(gets_there(&world, &gateway, NAMES, last).await);
    drop(gateway);

    let second = world.elsewhere();
    let found = second.restorable().await;
    assert_eq!((found.parts_left, found.streams_left.as_slice()), (0, &[VOLUME][..]));
    assert!(found.lsn >= last);
    let restored = second.restore().await;
    assert!(restored.read("more").await == sample(3, 90_000));
    assert!(restored.read("file").await == sample(2, 90_000));
    assert!(restored.read("block").await == block(0), "the volume is as it was when it was last whole");

    // What was left out does not come back, even when its bytes turn up on the chain after all.
    restored.put_in(VOLUME, "block", &block(2)).await;
    restored.put("another", &sample(4, 90_000)).await;
    restored.flush(Level::Finalized).await;
    let namespace = restored.namespace();
    drop(restored);
    world.miners.refuse([]);
    let lost_one = world.open().await;
    world.seconds(60).await;
    drop(lost_one);
    let third = world.elsewhere();
    let found = third.restorable().await;
    assert_eq!(found.streams_left, []);
    let again = third.restore().await;
    assert_eq!(again.namespace(), namespace);
    assert!(again.read("block").await == block(2));
    assert!(again.read("another").await == sample(4, 90_000));
}

#[tokio::test]
async fn what_streams_share_none_has_without_the_other() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    gateway.put("file", &sample(1, 90_000)).await;
    gateway.flush(Level::Finalized).await;
    gateway.put_in(VOLUME, "block", &sample(2, 90_000)).await;
    stall(&world, &gateway, VOLUME).await;
    let own = gateway.put("own", &sample(3, 90_000)).await;
    assert!(gets_there(&world, &gateway, NAMES, own).await);
    let copy = gateway.share(NAMES, "block", "copy");
    assert!(!gets_there(&world, &gateway, NAMES, copy).await, "the copy's bytes are the volume's");
    drop(gateway);
    let second = world.elsewhere();
    let restored = second.restore().await;
    assert!(restored.map("copy").is_none() && restored.map("block").is_none());
    assert!(restored.read("own").await == sample(3, 90_000));
    drop(restored);

    let gateway = world.open().await;
    assert!(!gets_there(&world, &gateway, NAMES, copy).await);
    world.miners.refuse([]);
    assert!(gets_there(&world, &gateway, NAMES, copy).await);
    assert!(gateway.read("copy").await == sample(2, 90_000));
}
