//! When nothing goes wrong, and what may go on meanwhile.

use std::time::Duration;

use gw_data::rows::{self, SegmentState};
use gw_dispersal::DealName;
use gw_sim::ModelMiners;
use gw_types::{Level, StreamId};

use crate::world::{World, sample};

#[tokio::test]
async fn what_is_flushed_is_in_active_deals_on_twelve_miners_each() {
    let world = World::new(14).await;
    let gateway = world.open().await;
    let bodies: Vec<_> = (0..6).map(|number| sample(number, 1000 + 50_000 * number as usize)).collect();
    for (number, body) in bodies.iter().enumerate() {
        gateway.put(&format!("object {number}"), body).await;
    }
    let lsn = gateway.flush(Level::Dispersed).await;
    assert!(gateway.dispersal.marks().dispersed >= lsn);
    let lsn = gateway.flush(Level::Finalized).await;
    assert!(gateway.dispersal.marks().finalized >= lsn);
    world.check_chain();
    let files = world.files();
    assert!(!files.is_empty());
    for file in files.values() {
        let name = DealName::decode(&file.held_as.clone().unwrap().0).unwrap();
        assert_eq!(name.segments, file.segments.len());
    }
    assert_eq!(gateway.dispersal.status().waiting_for, None);
    assert_eq!(gateway.dispersal.status().deals_done, files.len() as u64);
    assert!(gateway.dispersal.status().deals.is_empty());

    // Nothing is here any more but what is not finalized: nothing.
    let evicted = world.run(gateway.dispersal.evict()).await.unwrap();
    assert_eq!((evicted.evicted, evicted.kept), (gateway.segments().len() as u64, 0));
    gateway.data.drop_cache();
    for dead in 0..8 {
        world.miners.fault(dead, |fault| fault.is_down = true);
    }
    for (number, body) in bodies.iter().enumerate() {
        assert!(gateway.read(&format!("object {number}")).await == body, "object {number}");
    }
}

#[tokio::test]
async fn files_that_are_finalized_go_by_themselves_where_there_is_no_room_for_them() {
    let mut world = World::new(12).await;
    world.data_config.finalized_bytes_max = Some(0);
    let gateway = world.open().await;
    let body = sample(1, 300_000);
    gateway.put("a", &body).await;
    gateway.flush(Level::Finalized).await;
    world.seconds(2).await;
    let here =
        |gateway: &crate::world::Gateway| gateway.segments().iter().filter(|(_, row)| row.local).count();
    assert_eq!(here(&gateway), 0, "{:?}", gateway.segments());
    assert!(gateway.read("a").await == body);

    // What was finalized before there was a bound goes with the upkeep.
    let mut world = World::new(12).await;
    let gateway = world.open().await;
    gateway.put("a", &body).await;
    gateway.flush(Level::Finalized).await;
    assert!(here(&gateway) > 0);
    gateway.close().await;
    world.data_config.finalized_bytes_max = Some(0);
    let gateway = world.open().await;
    world.seconds(120).await;
    assert_eq!(here(&gateway), 0);
    assert!(gateway.read("a").await == body);
}

#[tokio::test]
async fn a_second_start_finds_nothing_to_do_and_the_same_watermarks() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    gateway.put("a", &sample(1, 5000)).await;
    gateway.flush(Level::Finalized).await;
    let marks = gateway.dispersal.marks();
    gateway.close().await;
    let again = world.open().await;
    assert_eq!(again.dispersal.marks(), marks);
    world.seconds(600).await;
    assert_eq!(world.files().len(), 2, "bodies, and the log");
    world.check_chain();
}

#[tokio::test]
async fn waiters_share_one_cut() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let waits = (0..5).map(|number| {
        let gateway = &gateway;
        async move {
            let lsn = gateway.try_put(&format!("{number}"), &sample(number, 3000)).await.unwrap();
            gateway.dispersal.wait(Level::Finalized, StreamId(0), lsn).await.unwrap();
        }
    });
    world.run(futures::future::join_all(waits)).await;
    assert_eq!(world.files().len(), 2, "one deal of bodies, one of the log");
    assert!(world.files().values().all(|file| file.segments.len() == 1));
}

#[tokio::test]
async fn an_upload_in_progress_does_not_hold_a_flush_up() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let slow = sample(9, 300_000);
    let bucket = world.bucket.clone();
    let mut writer =
        gateway.data.begin(gw_data::LaneClass::Bulk, &bucket, Some(slow.len() as u64)).await.unwrap();
    world.run(writer.write(slow.slice(..150_000))).await.unwrap();
    gateway.put("quick", &sample(1, 200_000)).await;
    let before = world.now();
    gateway.flush(Level::Finalized).await;
    assert!(world.now() - before < 60, "it took {} s", world.now() - before);
    world.run(writer.write(slow.slice(150_000..))).await.unwrap();
    drop(world.run(writer.finish()).await.unwrap());
    world.check_chain();
}

#[tokio::test]
async fn a_finished_body_that_nobody_commits_delays_only_what_shares_its_segment() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let first = gateway.put("first", &sample(1, 200_000)).await;
    gateway.flush(Level::Finalized).await;
    let held = world.run(gateway.stage(&sample(2, 200_000))).await.unwrap();
    let second = gateway.put("second", &sample(3, 200_000)).await;
    {
        let mut wait = std::pin::pin!(gateway.dispersal.wait(Level::Finalized, StreamId(0), second));
        let early = async {
            tokio::select! {
                biased;
                _ = &mut wait => true,
                () = world.sleep(120) => false,
            }
        };
        assert!(!world.run(early).await, "its segment cannot be sealed yet");
        assert!(gateway.waiting_for().contains("neither committed nor dropped"), "{}", gateway.waiting_for());
        drop(held);
        world.run(wait).await.unwrap();
    }
    assert_eq!(gateway.waiting_for(), "");
    assert!(first < second);
    world.check_chain();
}

#[tokio::test]
async fn what_is_old_is_dispersed_without_a_waiter() {
    let mut world = World::new(12).await;
    world.config.seal_age = Duration::from_secs(600);
    let gateway = world.open().await;
    let lsn = gateway.put("a", &sample(1, 5000)).await;
    world.seconds(500).await;
    assert!(world.files().is_empty());
    world.seconds(300).await;
    assert!(gateway.dispersal.marks().finalized >= lsn);
    world.check_chain();
    let files = world.files().len();
    world.seconds(3600).await;
    assert_eq!(world.files().len(), files, "time without writes costs nothing");
}

#[tokio::test]
async fn a_stop_ends_waits_and_a_start_goes_on() {
    let world = World::new(11).await;
    let gateway = world.open().await;
    let lsn = gateway.put("a", &sample(1, 5000)).await;
    let waits = gateway.dispersal.wait(Level::Finalized, StreamId(0), lsn);
    let stops = async {
        world.sleep(30).await;
        gateway.dispersal.stop().await;
    };
    let (waited, ()) = world.run(async { tokio::join!(waits, stops) }).await;
    assert!(waited.unwrap_err().to_string().contains("stopped"));
    assert!(gateway.dispersal.wait(Level::Finalized, StreamId(0), lsn).await.is_err(), "later waits too");
    gateway.close().await;
    world.miners.add(64 << 23);
    let again = world.open().await;
    again.flush(Level::Finalized).await;
    world.check_chain();
}

#[tokio::test]
async fn placements_follow_miners_that_move_and_columns_that_are_repaired() {
    let world = World::new(14).await;
    let gateway = world.open().await;
    let body = sample(1, 200_000);
    gateway.put("a", &body).await;
    gateway.flush(Level::Finalized).await;
    let (fid, file) = world.files().pop_first().unwrap();
    let row = || rows::deal(&gateway.db.snapshot(), fid).unwrap().unwrap();

    // All twelve move; four columns go to the two that held nothing, and to nobody else.
    let holders: Vec<usize> =
        file.segments[0].fragments.iter().map(|fragment| number_of(fragment.miner)).collect();
    for number in 0..14 {
        world.run(world.miners.move_to(number, &format!("http://moved-{number}:81"))).await.unwrap();
    }
    let spare = (0..14).find(|number| !holders.contains(number)).unwrap();
    let index = gw_types::FragmentIndex::new(2).unwrap();
    for segment in &file.segments {
        world.miners.copy_fragment(holders[2], spare, fid, segment.fragments[2].hash);
    }
    world.chain.repair(fid, index, ModelMiners::account(spare));
    world.seconds(130).await;
    let placed = row();
    assert!(placed.miners.iter().all(|addr| addr.endpoint.starts_with("http://moved-")), "{placed:?}");
    assert_eq!(placed.miners[2], world.miners.addr(spare));

    world.run(gateway.dispersal.evict()).await.unwrap();
    gateway.data.drop_cache();
    assert!(gateway.segments().iter().all(|(_, row)| row.state == SegmentState::Finalized && !row.local));
    assert!(gateway.read("a").await == body);
}

fn number_of(account: gw_types::AccountId) -> usize {
    (0..64).find(|number| ModelMiners::account(*number) == account).unwrap()
}
