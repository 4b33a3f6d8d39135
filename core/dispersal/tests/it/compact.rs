//! Space comes back from what is mostly dead, while everything goes on; and every byte is still there.

use std::collections::BTreeMap;
use std::time::Duration;

use gw_data::rows::{self, LaneClass, SegmentState};
use gw_data::{DataError, MapEntry};
use gw_dispersal::{Compacted, DispersalError};
use gw_types::{Level, TERRITORY_BYTES_PER_SEGMENT};

use crate::world::{Gateway, OWNER, World, sample, territory};

const LEN: usize = 200_000;

/// A territory of 2 GiB: 21 segments, of which 3 are the reserve.
async fn small() -> World {
    let world = World::poor(12).await;
    world.run(world.chain.owner(OWNER).mint_territory(&territory(), 2, 365)).await.unwrap();
    world
}

async fn compact(world: &World, gateway: &Gateway) -> Result<Compacted, DispersalError> {
    world.run(gateway.dispersal.compact()).await
}

/// One deal of bodies for each round, with the log in another.
async fn rounds(gateway: &Gateway, bodies: &mut BTreeMap<String, u64>, rounds: std::ops::Range<u64>) {
    for round in rounds {
        for number in 0..2 {
            let (name, body) = (format!("{round} {number}"), round * 10 + number);
            gateway.put(&name, &sample(body, LEN)).await;
            bodies.insert(name, body);
        }
        gateway.flush(Level::Finalized).await;
    }
}

async fn check(gateway: &Gateway, bodies: &BTreeMap<String, u64>) {
    for (name, body) in bodies {
        assert!(gateway.read(name).await == sample(*body, LEN), "{name}");
    }
}

async fn check_from_miners(world: &World, gateway: &Gateway, bodies: &BTreeMap<String, u64>) {
    world.run(gateway.dispersal.evict()).await.unwrap();
    gateway.data.drop_cache();
    for dead in 0..8 {
        world.miners.fault(dead, |fault| fault.is_down = true);
    }
    check(gateway, bodies).await;
    for dead in 0..8 {
        world.miners.fault(dead, |fault| fault.is_down = false);
    }
}

/// Segments on chain that hold bodies.
fn body_segments(gateway: &Gateway) -> usize {
    let on_chain = |row: &rows::SegmentRow| row.deal.is_some() && row.class != LaneClass::Log;
    gateway.segments().iter().filter(|(_, row)| on_chain(row)).count()
}

#[tokio::test]
async fn sparse_deals_become_one_and_every_byte_is_still_there() {
    let world = World::new(13).await;
    let gateway = world.open().await;
    let mut bodies = BTreeMap::new();
    rounds(&gateway, &mut bodies, 0..3).await;
    for round in 0..3 {
        gateway.delete(&format!("{round} 1")).await;
        bodies.remove(&format!("{round} 1"));
    }
    let before = gateway.namespace();
    assert_eq!(body_segments(&gateway), 3);
    let done = compact(&world, &gateway).await.unwrap();
    assert_eq!((done.deals, done.hindrance.clone()), (3, None));
    assert_eq!(done.freed_bytes, 3 * TERRITORY_BYTES_PER_SEGMENT);
    assert_eq!(done.taken_bytes, TERRITORY_BYTES_PER_SEGMENT);
    assert!(done.moved_bytes >= 3 * LEN as u64);
    assert_eq!(body_segments(&gateway), 1);
    assert_eq!(gateway.namespace(), before, "no name and no map has changed");
    check(&gateway, &bodies).await;
    check_from_miners(&world, &gateway, &bodies).await;
    world.check_chain();
    let status = gateway.dispersal.status().compaction;
    assert_eq!((status.segments, status.done.deals), (1, 3));
    let again = compact(&world, &gateway).await.unwrap();
    assert_eq!(again, Compacted::default(), "there is nothing left that pays");

    // The new home is moved again, and dies in the end; then nothing is left of it either.
    rounds(&gateway, &mut bodies, 3..5).await;
    assert_eq!(compact(&world, &gateway).await.unwrap().deals, 3);
    check_from_miners(&world, &gateway, &bodies).await;
    for name in bodies.keys() {
        gateway.delete(name).await;
    }
    compact(&world, &gateway).await.unwrap();
    world.seconds(300).await;
    let left: Vec<_> =
        gateway.segments().into_iter().filter(|(_, row)| row.class != LaneClass::Log).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(gateway.waiting_for(), "");
}

#[tokio::test]
async fn a_restore_after_compaction_finds_every_byte_in_its_new_home() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let mut bodies = BTreeMap::new();
    rounds(&gateway, &mut bodies, 0..3).await;
    compact(&world, &gateway).await.unwrap();
    gateway.delete("0 0").await;
    gateway.delete("1 1").await;
    bodies.retain(|name, _| name != "0 0" && name != "1 1");
    rounds(&gateway, &mut bodies, 3..5).await;
    compact(&world, &gateway).await.unwrap();
    let namespace = gateway.namespace();
    drop(gateway);
    let elsewhere = world.elsewhere();
    let restored = elsewhere.restore().await;
    assert_eq!(restored.namespace(), namespace);
    check(&restored, &bodies).await;
    let states: Vec<_> = restored.segments().into_iter().map(|(_, row)| row.state).collect();
    assert!(
        states.iter().all(|state| matches!(state, SegmentState::Finalized | SegmentState::Moved)),
        "{states:?}"
    );
    // It goes on: more is deleted and compacted, and restored again.
    for name in ["2 0", "2 1", "3 0"] {
        restored.delete(name).await;
        bodies.remove(name);
    }
    rounds(&restored, &mut bodies, 5..7).await;
    assert!(compact(&elsewhere, &restored).await.unwrap().deals > 0);
    check_from_miners(&elsewhere, &restored, &bodies).await;
    let third = world.elsewhere();
    let again = third.restore().await;
    assert_eq!(again.namespace(), restored.namespace());
    check(&again, &bodies).await;
}

/// Letting go of a dead guest is a record that stays at home: the log still lists it in its home, and
/// that home is gone from the chain.
#[tokio::test]
async fn homes_whose_guests_have_died_are_not_missed_by_a_restore() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let mut bodies = BTreeMap::new();
    rounds(&gateway, &mut bodies, 0..3).await;
    compact(&world, &gateway).await.unwrap();
    let home = gateway.segments().into_iter().find(|(_, row)| row.class == LaneClass::Gc).unwrap().0;
    for name in bodies.keys() {
        gateway.delete(name).await;
    }
    gateway.put("kept", &sample(99, LEN)).await;
    for _ in 0..3 {
        compact(&world, &gateway).await.unwrap();
        gateway.flush(Level::Finalized).await;
        world.seconds(200).await;
    }
    assert!(gateway.segments().iter().all(|(seq, _)| *seq != home), "{:?}", gateway.segments());
    let elsewhere = world.elsewhere();
    assert_eq!(elsewhere.restorable().await.parts_left, 0);
    let restored = elsewhere.restore().await;
    assert_eq!(restored.namespace(), gateway.namespace());
    assert!(restored.read("kept").await == sample(99, LEN));
    let rows = restored.segments();
    assert!(
        rows.iter().all(|(_, row)| row.guests.is_empty() && row.state != SegmentState::Moved),
        "{rows:?}"
    );
}

/// The territory fills up, most of it with what was deleted since. Bodies are refused before the last
/// room is taken; deleting works; compaction gives the space back, and writes go on.
#[tokio::test]
async fn a_full_territory_refuses_bodies_takes_deletions_and_comes_back() {
    let mut world = small().await;
    // By hand only, so that it fills up for sure.
    world.config.compact_room_bytes = Some(0);
    world.config.compact_dead_percent = 100;
    let gateway = world.open().await;
    let mut bodies = BTreeMap::new();
    let mut round = 0;
    let refused = loop {
        assert!(round < 20);
        world.seconds(11).await;
        match world.run(gateway.try_put(&format!("{round} 0"), &sample(round * 10, LEN))).await {
            Ok(_) => bodies.insert(format!("{round} 0"), round * 10),
            Err(error) => break error,
        };
        gateway.flush(Level::Finalized).await;
        round += 1;
    };
    assert!(matches!(refused, DataError::TerritoryFull { left_bytes: 0, .. }), "{refused}");
    assert!(gateway.waiting_for().contains("territory default is full"), "{}", gateway.waiting_for());
    assert!(gateway.dispersal.status().room.unwrap().is_full);
    check(&gateway, &bodies).await;

    let deleted = gateway.delete("0 0").await;
    bodies.remove("0 0");
    let done = compact(&world, &gateway).await.unwrap();
    assert!(gateway.dispersal.marks().finalized >= deleted);
    assert!(done.freed_bytes > done.taken_bytes + TERRITORY_BYTES_PER_SEGMENT, "{done:?}");
    assert_eq!(gateway.waiting_for(), "");
    check(&gateway, &bodies).await;
    gateway.put("after", &sample(77, LEN)).await;
    bodies.insert("after".into(), 77);
    gateway.flush(Level::Finalized).await;
    check_from_miners(&world, &gateway, &bodies).await;
    world.check_chain();
    let elsewhere = world.elsewhere();
    assert_eq!(elsewhere.restore().await.namespace(), gateway.namespace());
}

/// Nobody asks: writers overwrite the same names until the territory could hold it many times over.
#[tokio::test]
async fn space_of_a_territory_full_of_dead_data_is_regained_while_writes_go_on() {
    let mut world = small().await;
    world.config.seal_age = Duration::from_secs(300);
    let gateway = world.open().await;
    let mut bodies = BTreeMap::new();
    let mut refused = 0;
    let mut written = 0_u64;
    for round in 0..20_u64 {
        let name = format!("{}", round % 3);
        match world.run(gateway.try_put(&name, &sample(round, LEN))).await {
            Ok(_) => {
                bodies.insert(name, round);
                written += 1;
            }
            Err(DataError::TerritoryFull { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        world.seconds(310).await;
    }
    // The log is never given back, and takes what is left in the end.
    let status = gateway.dispersal.status();
    assert!(status.compaction.done.freed_bytes > 0, "{status:?}");
    assert!(written >= 14, "{written} written, {refused} refused: {status:?}");
    check(&gateway, &bodies).await;
    check_from_miners(&world, &gateway, &bodies).await;
}

#[tokio::test]
async fn a_deal_that_cannot_be_read_is_named_and_left_and_the_rest_is_moved() {
    let world = World::new(24).await;
    let gateway = world.open().await;
    let mut bodies = BTreeMap::new();
    rounds(&gateway, &mut bodies, 0..5).await;
    world.run(gateway.dispersal.evict()).await.unwrap();
    gateway.data.drop_cache();
    // Nine miners of the first deal lie; others may hold enough of the rest.
    let entry: MapEntry = gateway.map("0 0").unwrap().entries(&gateway.db.snapshot(), 0..1).unwrap()[0];
    let segment = entry.at.unwrap().segment;
    let row = rows::segment(&gateway.db.snapshot(), segment).unwrap().unwrap();
    let deal = rows::deal(&gateway.db.snapshot(), row.deal.unwrap().0).unwrap().unwrap();
    let liars: Vec<usize> = (0..24)
        .filter(|number| deal.miners[..9].iter().any(|miner| *miner == world.miners.addr(*number)))
        .collect();
    assert_eq!(liars.len(), 9);
    liars.iter().for_each(|number| world.miners.fault(*number, |fault| fault.lies = true));
    let done = compact(&world, &gateway).await.unwrap();
    assert!(done.hindrance.clone().unwrap_or_default().contains("right fragments"), "{done:?}");
    assert_eq!(
        rows::segment(&gateway.db.snapshot(), segment).unwrap().unwrap().state,
        SegmentState::Finalized
    );
    liars.iter().for_each(|number| world.miners.fault(*number, |fault| fault.lies = false));
    gateway.data.drop_cache();
    check(&gateway, &bodies).await;
    world.check_chain();
}
