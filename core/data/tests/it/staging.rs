//! Limits of the disk: refused clearly, nothing leaked.

use std::sync::Arc;
use std::time::Duration;

use gw_codec::frame::sealed_len;
use gw_data::{DataConfig, DataError, LaneClass};
use gw_sim::{Fault, FaultDisk, FaultOp, ForgettingDisk};

use crate::world::{World, sample};

fn limited(bytes: u64) -> DataConfig {
    DataConfig { staging_bytes_max: Some(bytes), ..DataConfig::default() }
}

#[tokio::test]
async fn staging_refuses_what_it_has_no_room_for_and_takes_it_after_finality() {
    let world = World::with(limited(1_000_000)).await;
    let big = world.data.begin(LaneClass::Bulk, &world.bucket, Some(1_100_000)).await;
    assert!(matches!(big, Err(DataError::StagingFull { .. })), "by its length");
    world.put("a", sample(1, 600_000)).await;
    let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
    writer.write(sample(2, 300_000)).await.unwrap();
    let full = writer.write(sample(2, 300_000)).await;
    assert!(matches!(full, Err(DataError::StagingFull { .. })), "by growing");
    drop(writer);
    assert_eq!(world.data.status().unwrap().staging_used_bytes, sealed_len(600_000));
    world.disperse_all().await;
    world.put("b", sample(2, 600_000)).await;
    assert_eq!(world.data.status().unwrap().staging_used_bytes, sealed_len(600_000));
    let world = world.reopened().await;
    assert_eq!(world.data.status().unwrap().staging_used_bytes, sealed_len(600_000), "counted again at open");
}

#[tokio::test]
async fn the_log_is_never_refused_because_it_makes_the_room() {
    let world = World::with(limited(100_000)).await;
    world.put("a", sample(1, 90_000)).await;
    let seq =
        world.data.write_whole(LaneClass::Log, gw_types::StreamId(0), sample(2, 500_000)).await.unwrap();
    assert!(world.data.begin(LaneClass::Bulk, &world.bucket, Some(1)).await.is_err());
    assert_eq!(world.data.segment_bytes(seq).await.unwrap().slice(..500_000), sample(2, 500_000));
}

#[tokio::test]
async fn a_full_disk_is_said_so_and_leaks_nothing() {
    let world = World::with(limited(1 << 40)).await;
    world.put("a", sample(1, 100_000)).await;
    world.disk.mem().set_capacity(Some(40 << 20));
    let body = sample(2, 40_000_000);
    let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, Some(40_000_000)).await.unwrap();
    let outcome = async {
        writer.write(body).await?;
        writer.finish().await
    };
    assert!(matches!(outcome.await, Err(DataError::DiskFull(_))));
    assert!(world.data.status().unwrap().disk_full, "an alarm");
    while world.data.status().unwrap().staging_used_bytes != sealed_len(100_000) {
        tokio::task::yield_now().await;
    }
    world.disk.mem().set_capacity(None);
    assert!(!world.data.status().unwrap().disk_full, "it ends by itself when room is back");
    let body = sample(3, 5_000_000);
    let map = world.put("b", body.clone()).await;
    world.check(&map, &body, 0..5_000_000).await;
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_staged_until_a_restart() {
    let disk = ForgettingDisk::new();
    let faulty = FaultDisk::new(Arc::new(disk.clone()));
    let world = World::on(Arc::new(faulty.clone()), disk, limited(1 << 30)).await;
    let kept = sample(1, 200_000);
    world.put("kept", kept.clone()).await;
    faulty.fail_named(FaultOp::Sync, "segments/", 0, 1, Fault::Eio);
    let failed = world.put_keyed("lost", sample(2, 200_000), None).await;
    assert!(matches!(failed, Err(DataError::Poisoned(_))), "{failed:?}");
    let again = world.put_keyed("again", sample(2, 200_000), None).await;
    assert!(matches!(again, Err(DataError::Poisoned(_))), "the device works again and is not believed");
    assert!(world.data.status().unwrap().poisoned.is_some());
    let map = world.map("kept").unwrap();
    world.check(&map, &kept, 0..200_000).await;
    let world = world.reopened().await;
    assert!(world.map("lost").is_none());
    world.put("again", sample(2, 200_000)).await;
    assert!(world.data.sealable(Duration::ZERO).unwrap().len() == 1);
}
