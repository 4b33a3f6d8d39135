//! A lost gateway is made anew from chain, miners and keys.

use gw_data::rows::SegmentState;
use gw_dispersal::DealName;
use gw_sim::ModelMiners;
use gw_types::ports::FileState;
use gw_types::{Level, Lsn};

use crate::world::{Gateway, World, sample};

/// Names, bytes and rows without bytes, over several flushes and lives.
async fn history(world: &World) -> Gateway {
    let mut gateway = world.open().await;
    for round in 0..3_u64 {
        for number in 0..4 {
            gateway.put(&format!("object {number}"), &sample(round * 10 + number, 20_000)).await;
        }
        gateway.put_row(0x11, &format!("round {round}"), "done");
        gateway.put_row(0x3F, "newest", &round.to_string());
        gateway.flush(Level::Finalized).await;
        if round == 1 {
            gateway.close().await;
            gateway = world.open().await;
        }
    }
    gateway
}

fn kill_eight(world: &World, first: usize) {
    for number in 0..8 {
        world.miners.fault((first + number) % 12, |fault| fault.is_down = true);
    }
}

#[tokio::test]
async fn the_namespace_comes_back_on_an_empty_directory_with_eight_miners_dead() {
    let world = World::new(12).await;
    let gateway = history(&world).await;
    let namespace = gateway.namespace();
    let finalized = gateway.dispersal.marks().finalized;
    drop(gateway);
    kill_eight(&world, 0);
    let elsewhere = world.elsewhere();
    let found = elsewhere.restorable().await;
    assert_eq!(found.parts_left, 0);
    assert!(found.lsn >= finalized);
    let restored = elsewhere.restore().await;
    assert_eq!(restored.namespace(), namespace);
    assert_eq!(restored.dispersal.marks().finalized, found.lsn);
    for number in 0..4_u64 {
        let body = restored.read(&format!("object {number}")).await;
        assert!(body == sample(20 + number, 20_000), "object {number}");
    }
    assert!(restored.segments().iter().all(|(_, row)| row.state == SegmentState::Finalized && !row.local));
}

#[tokio::test]
async fn a_restored_gateway_goes_on_and_can_be_restored_again() {
    let world = World::new(12).await;
    let gateway = history(&world).await;
    let (epoch, last) = (gateway.data.epoch(), gateway.segments().last().unwrap().0);
    drop(gateway);
    let second = world.elsewhere();
    let restored = second.restore().await;
    assert!(restored.data.epoch() > epoch, "no extent is ever numbered twice");
    restored.put("object 1", &sample(77, 20_000)).await;
    restored.put("another", &sample(78, 90_000)).await;
    assert!(restored.segments().iter().filter(|(_, row)| row.local).all(|(seq, _)| *seq > last));
    restored.flush(Level::Finalized).await;
    world.check_chain();
    let namespace = restored.namespace();
    let epoch = restored.data.epoch();
    restored.close().await;
    // It also survives an ordinary restart.
    let restarted = second.open().await;
    assert_eq!(restarted.namespace(), namespace);
    drop(restarted);
    let third = world.elsewhere();
    let again = third.restore().await;
    assert_eq!(again.namespace(), namespace);
    assert!(again.data.epoch() > epoch);
    assert!(again.read("another").await == sample(78, 90_000));
    assert!(again.read("object 2").await == sample(22, 20_000));
}

#[tokio::test]
async fn liars_are_found_out_while_the_log_is_read() {
    let world = World::new(12).await;
    let gateway = history(&world).await;
    let namespace = gateway.namespace();
    drop(gateway);
    for number in 0..4 {
        world.miners.fault(number, |fault| fault.is_down = true);
        world.miners.fault(number + 4, |fault| fault.lies = true);
    }
    let elsewhere = world.elsewhere();
    assert_eq!(elsewhere.restore().await.namespace(), namespace);
}

#[tokio::test]
async fn nine_dead_miners_are_too_many_and_a_missing_part_gives_a_prefix() {
    let world = World::new(24).await;
    let gateway = world.open().await;
    let mut states: Vec<(Lsn, _)> = Vec::new();
    for round in 0..4_u64 {
        gateway.put(&format!("{round}"), &sample(round, 20_000)).await;
        gateway.put("same", &sample(100 + round, 20_000)).await;
        gateway.flush(Level::Finalized).await;
        states.push((gateway.dispersal.marks().finalized, gateway.namespace()));
    }
    drop(gateway);
    // All miners of the third part of the log are gone; others may hold enough of the rest.
    let holds_log = |file: &FileState| {
        let name = file.held_as.as_ref().and_then(|(name, _)| DealName::decode(name));
        name.is_some_and(|name| name.parts > 0)
    };
    let mut deals: Vec<_> = world.files().into_values().filter(holds_log).collect();
    deals.sort_by_key(|file| file.completed_at);
    let lost: Vec<_> = deals[2].segments[0].fragments.iter().map(|fragment| fragment.miner).collect();
    for number in (0..24).filter(|number| lost.contains(&ModelMiners::account(*number))) {
        world.miners.fault(number, |fault| fault.lost_all = true);
    }
    // Those that share too many miners with it are lost as well; a prefix it is all the same.
    let readable = |deal: usize| {
        let fragments = &deals[deal].segments[0].fragments;
        fragments.iter().filter(|fragment| !lost.contains(&fragment.miner)).count() >= 4
    };
    let prefix = (0..4).take_while(|deal| readable(*deal)).count();
    assert!(prefix <= 2);
    let elsewhere = world.elsewhere();
    let found = elsewhere.restorable().await;
    assert_eq!(found.parts, prefix as u64);
    assert_eq!(found.parts_left, 4 - prefix as u64);
    if prefix == 0 {
        return;
    }
    let restored = elsewhere.restore().await;
    let expected = &states[prefix - 1];
    assert_eq!(restored.namespace(), expected.1);
    assert_eq!(restored.map(&format!("{}", prefix - 1)).map(|map| map.len), Some(20_000));

    // It goes on from there; when the lost parts come back, the younger branch is the right one.
    restored.put("after", &sample(50, 20_000)).await;
    restored.flush(Level::Finalized).await;
    let namespace = restored.namespace();
    drop(restored);
    for number in 0..24 {
        world.miners.fault(number, |fault| fault.lost_all = false);
    }
    let third = world.elsewhere();
    assert_eq!(third.restore().await.namespace(), namespace);
}

#[tokio::test]
async fn only_an_empty_database_is_restored_into_and_strangers_files_are_left_alone() {
    let world = World::new(12).await;
    let elsewhere = world.elsewhere();
    let found = elsewhere.restorable().await;
    assert_eq!((found.parts, found.parts_left, found.row_count()), (0, 0, 0));
    let gateway = world.open().await;
    gateway.put("a", &sample(1, 20_000)).await;
    gateway.flush(Level::Finalized).await;
    let found = elsewhere.restorable().await;
    assert!(found.row_count() > 0);
    let refused = world.run(found.write(&gateway.db, gw_types::Timestamp(0))).await;
    assert!(refused.unwrap_err().to_string().contains("empty"));
}
