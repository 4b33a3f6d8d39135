//! What is dead goes: on chain, on the miners' books and here; never before its death is finalized.

use gw_data::rows::{self, LaneClass};
use gw_types::{Level, StreamId};

use crate::world::{OWNER, World, sample, territory};

async fn used(world: &World) -> u128 {
    world.run(world.chain.owner(OWNER).territory(&territory())).await.unwrap().unwrap().used
}

#[tokio::test]
async fn a_dead_deal_is_deleted_after_its_death_is_finalized() {
    let mut world = World::new(12).await;
    // Data and log in deals of their own.
    world.config.bulk_deal_segments_max = 1;
    let gateway = world.open().await;
    gateway.put("a", &sample(1, 200_000)).await;
    gateway.put("b", &sample(2, 40_000)).await;
    gateway.flush(Level::Finalized).await;
    let before = world.files();
    let all = used(&world).await;

    let deleted = gateway.delete("a").await;
    world.seconds(600).await;
    assert_eq!(world.files().len(), before.len(), "its death is not finalized");
    gateway.flush(Level::Finalized).await;
    assert!(gateway.dispersal.marks().finalized >= deleted);
    world.seconds(300).await;
    let after = world.files();
    let gone: Vec<_> = before.keys().filter(|fid| !after.contains_key(fid)).collect();
    assert_eq!(gone.len(), 1, "{:?}", gateway.dispersal.status());
    assert_eq!(rows::deal(&gateway.db.snapshot(), *gone[0]).unwrap(), None);
    assert!(gateway.segments().iter().all(|(_, row)| row.deal.is_none_or(|(fid, _)| fid != *gone[0])));
    // The log of the deletion has taken the place of what was freed.
    assert_eq!(used(&world).await, all);
    assert!(gateway.read("b").await == sample(2, 40_000));
    assert_eq!(gateway.waiting_for(), "");
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_is_finished_later_also_by_another_life() {
    let mut world = World::new(12).await;
    world.config.bulk_deal_segments_max = 1;
    let gateway = world.open().await;
    gateway.put("a", &sample(1, 200_000)).await;
    gateway.flush(Level::Finalized).await;
    gateway.delete("a").await;
    gateway.flush(Level::Finalized).await;
    let before = world.files().len();
    let lands = gw_sim::ChainFault::LostLands(std::time::Duration::from_secs(5));
    world.chain.fail_next(gw_sim::CallKind::Delete, lands);
    while gateway.waiting_for().is_empty() {
        world.seconds(1).await;
    }
    gateway.close().await;
    world.seconds(10).await;
    assert_eq!(world.files().len(), before - 1);
    let again = world.open().await;
    again.flush(Level::Finalized).await;
    world.seconds(300).await;
    let live = again.segments().into_iter().filter(|(_, row)| row.class != LaneClass::Log);
    assert_eq!(live.count(), 0, "its rows are gone, too");
    assert_eq!(again.waiting_for(), "");
    world.check_chain();
}

#[tokio::test]
async fn a_segment_that_dies_before_it_is_dispersed_is_dropped_and_holds_nobody_up() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    gateway.put("big", &sample(1, 300_000)).await;
    gateway.put("kept", &sample(2, 20_000)).await;
    gateway.delete("big").await;
    gateway.flush(Level::Finalized).await;
    world.check_chain();
    let segments: usize = world.files().values().map(|file| file.segments.len()).sum();
    assert_eq!(segments, 2 + segments.saturating_sub(2).min(1), "the dead one was not sent");
    assert!(gateway.segments().iter().all(|(_, row)| row.live_bytes > 0), "{:?}", gateway.segments());
    let found = world.restorable().await;
    assert_eq!(found.parts_left, 0);

    // One that is already in a cut when it dies: the cut waits for the one that tells of the death.
    let lsn = gateway.put("short-lived", &sample(3, 300_000)).await;
    for number in 0..12 {
        world.miners.fault(number, |fault| fault.is_down = true);
    }
    let early = async {
        tokio::select! {
            biased;
            _ = gateway.dispersal.wait(Level::Dispersed, StreamId(0), lsn) => true,
            () = world.sleep(60) => false,
        }
    };
    assert!(!world.run(early).await);
    gateway.delete("short-lived").await;
    for number in 0..12 {
        world.miners.fault(number, |fault| fault.is_down = false);
    }
    gateway.flush(Level::Finalized).await;
    assert_eq!(gateway.waiting_for(), "");
    assert!(gateway.segments().iter().all(|(_, row)| row.live_bytes > 0), "{:?}", gateway.segments());
    world.check_chain();
    let elsewhere = world.elsewhere();
    assert_eq!(elsewhere.restore().await.namespace(), gateway.namespace());
}

#[tokio::test]
async fn a_log_segment_that_was_never_remembered_is_never_dispersed() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    gateway.put("a", &sample(1, 5000)).await;
    // As a crash between writing a part and remembering its cut leaves it.
    let orphan = gateway.data.write_whole(LaneClass::Log, StreamId(0), sample(2, 1000));
    let orphan = world.run(orphan).await.unwrap();
    world.run(gateway.db.wait_staged(gateway.db.appended())).await.unwrap();
    gateway.kill();
    let again = world.open().await;
    assert_eq!(rows::segment(&again.db.snapshot(), orphan).unwrap(), None);
    again.flush(Level::Finalized).await;
    world.check_chain();
    assert_eq!(world.restorable().await.parts_left, 0);
}

#[tokio::test]
async fn deals_with_log_segments_stay() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    gateway.put("a", &sample(1, 5000)).await;
    gateway.flush(Level::Finalized).await;
    gateway.delete("a").await;
    for _ in 0..2 {
        gateway.flush(Level::Finalized).await;
        world.seconds(500).await;
    }
    assert_eq!(world.files().len(), 2, "two parts of the log, and no bodies");
    let elsewhere = world.elsewhere();
    assert!(elsewhere.restore().await.namespace().is_empty());
}
