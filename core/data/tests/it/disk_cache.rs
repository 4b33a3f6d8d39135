//! Frames from miners, kept on the disk: served when memory has none, never believed unopened.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_data::{DataConfig, DataMap};
use gw_sim::{FaultDisk, FaultOp, ForgettingDisk};
use gw_types::ports::{Clock, Disk};

use crate::world::{World, sample};

const LEN: u64 = 3_000_000;

/// No frame in memory, so that what is not fetched is from the disk.
fn config() -> DataConfig {
    DataConfig {
        cache_bytes_max: 0,
        disk_cache_bytes_max: 32 << 20,
        disk_cache_free_bytes_min: 0,
        ..DataConfig::default()
    }
}

/// A dispersed body, nothing of it left on this machine.
async fn cold(world: &World) -> (DataMap, Bytes) {
    let body = sample(1, LEN as usize);
    let map = world.put("a", body.clone()).await;
    world.disperse_and_evict().await;
    (map, body)
}

fn fetched(world: &World) -> u64 {
    world.data.status().unwrap().reads.fetched_bytes
}

fn cache_files(world: &World) -> Vec<(String, Vec<u8>)> {
    let entries = world.disk.list("cache").unwrap();
    entries
        .into_iter()
        .map(|entry| (entry.name.clone(), world.disk.mem().contents(&entry.name).unwrap()))
        .collect()
}

#[tokio::test]
async fn the_disk_serves_what_memory_has_not_and_keeps_it_sealed() {
    let world = World::with(config()).await;
    let (map, body) = cold(&world).await;
    // The bounds of a cold read hold with the cache in between.
    world.check(&map, &body, 65_536..131_072).await;
    assert!(fetched(&world) as f64 <= 65_536.0 * 1.01);
    world.check(&map, &body, 1_000_000..1_000_000 + (1 << 20)).await;
    assert!(fetched(&world) as f64 <= 65_536.0 * 1.01 + f64::from(1 << 20) * 1.13);
    world.check(&map, &body, 0..LEN).await;
    let before = fetched(&world);
    for range in [0..LEN, 5..6, 70_000..1_900_000, LEN - 1..LEN] {
        world.check(&map, &body, range).await;
    }
    let status = world.data.status().unwrap();
    assert_eq!(fetched(&world), before);
    assert!(status.disk_cache.hits >= 4 && status.disk_cache.bytes >= LEN, "{status:?}");
    assert_eq!((status.cache_bytes, status.disk_cache.off), (0, None));
    let files = cache_files(&world);
    for at in (0..LEN as usize).step_by(300_000) {
        let plain = &body[at..at + 32];
        assert!(!files.iter().any(|(_, bytes)| bytes.windows(32).any(|window| window == plain)));
    }
}

#[tokio::test]
async fn a_damaged_frame_is_fetched_again_and_mended() {
    let world = World::with(config()).await;
    let (map, body) = cold(&world).await;
    world.check(&map, &body, 0..LEN).await;
    let (name, bytes) = cache_files(&world).remove(0);
    for offset in (0..bytes.len() as u64).step_by(400_000) {
        assert!(world.disk.mem().damage(&name, offset, 4));
    }
    let before = fetched(&world);
    world.check(&map, &body, 0..LEN).await;
    let after = fetched(&world);
    assert!(after > before, "what was damaged came from miners");
    world.check(&map, &body, 0..LEN).await;
    assert_eq!(fetched(&world), after, "and is here again");
}

#[tokio::test]
async fn a_restart_keeps_it_and_a_drop_empties_it() {
    let world = World::with(config()).await;
    let (map, body) = cold(&world).await;
    world.check(&map, &body, 0..LEN).await;
    world.data.keep_cache();
    let world = world.reopened().await;
    world.check(&map, &body, 0..LEN).await;
    assert_eq!(fetched(&world), 0);

    world.data.drop_cache();
    assert!(world.disk.list("cache").unwrap().is_empty());
    assert_eq!(world.data.status().unwrap().disk_cache.bytes, 0);
    world.check(&map, &body, 0..LEN).await;
    assert!(fetched(&world) >= LEN);

    // Nothing was ever synced; whatever a power cut leaves of it, reads are right.
    for seed in 0..8 {
        world.power_cut(seed).await.check(&map, &body, 0..LEN).await;
    }
}

#[tokio::test]
async fn a_disk_that_does_not_answer_costs_one_wait_and_not_the_read() {
    let disk = ForgettingDisk::new();
    let faulty = FaultDisk::new(Arc::new(disk.clone()));
    let world = World::on(Arc::new(faulty.clone()), disk, config()).await;
    let (map, body) = cold(&world).await;
    world.check(&map, &body, 0..200_000).await;
    faulty.fail_named(FaultOp::Read, "cache/", 0, u64::MAX, gw_sim::Fault::Hangs);
    let began = world.clock.elapsed();
    for _ in 0..5 {
        world.clock.run_until(world.check(&map, &body, 0..200_000)).await;
    }
    let waited = world.clock.elapsed() - began;
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(world.data.status().unwrap().disk_cache.off, None);

    faulty.heal();
    world.clock.advance(Duration::from_secs(61));
    let (hits, before) = (world.data.status().unwrap().disk_cache.hits, fetched(&world));
    world.check(&map, &body, 0..200_000).await;
    assert!(world.data.status().unwrap().disk_cache.hits > hits && fetched(&world) == before);
}

#[tokio::test]
async fn finalized_files_and_cached_frames_share_one_bound() {
    const SEGMENT: u64 = 32 << 20;
    let limits =
        |bytes| DataConfig { disk_cache_bytes_max: bytes, finalized_bytes_max: Some(bytes), ..config() };
    let world = World::with(limits(6 * SEGMENT)).await;
    let mut maps = Vec::new();
    for number in 0..5 {
        let body = sample(number, 200_000);
        maps.push((world.put(&format!("a{number}"), body.clone()).await, body));
        world.disperse_all().await;
    }
    // One more that is only staged: it must stay, whatever the bound.
    let staged = world.put("staged", sample(9, 200_000)).await;
    let read = async |number: usize| {
        let (map, body) = &maps[number];
        world.check(map, body, 0..200_000).await;
    };
    // The first is used again, so the second is the one used longest ago.
    read(0).await;
    assert_eq!((world.files().len(), world.data.trim().await.unwrap()), (6, 2));
    assert_eq!((world.files().len(), world.data.trim().await.unwrap()), (4, 0));
    let asked = fetched(&world);
    for number in [0, 3, 4] {
        read(number).await;
    }
    assert_eq!(fetched(&world), asked, "these are still here");
    read(1).await;
    read(2).await;
    assert!(fetched(&world) > asked && world.data.status().unwrap().disk_cache.bytes > 0);
    world.check(&staged, &sample(9, 200_000), 0..200_000).await;

    let config = limits(0);
    let world = World { config, ..world }.reopened().await;
    assert_eq!(world.data.trim().await.unwrap(), 3);
    assert!(world.disk.list("cache").unwrap().is_empty() && world.files().len() == 1);
    world.check(&staged, &sample(9, 200_000), 0..200_000).await;
    for (map, body) in &maps {
        world.check(map, body, 0..200_000).await;
    }
}

#[tokio::test]
async fn reads_go_on_when_the_cache_fails_and_it_comes_back_when_dropped() {
    for op in [FaultOp::Create, FaultOp::Write, FaultOp::Read] {
        let disk = ForgettingDisk::new();
        let faulty = FaultDisk::new(Arc::new(disk.clone()));
        let world = World::on(Arc::new(faulty.clone()), disk, config()).await;
        let (map, body) = cold(&world).await;
        world.check(&map, &body, 0..200_000).await;
        let fault = if op == FaultOp::Write { gw_sim::Fault::Enospc } else { gw_sim::Fault::Eio };
        faulty.fail_named(op, "cache/", 0, u64::MAX, fault);
        // The first call may still fit into an open chunk.
        world.data.keep_cache();
        for _ in 0..3 {
            world.check(&map, &body, 0..LEN).await;
        }
        let status = world.data.status().unwrap();
        assert!(status.disk_cache.off.is_some() && status.poisoned.is_none(), "{op:?}: {status:?}");
        assert!(world.db.health().is_writable());
        world.put("b", sample(2, 100_000)).await;

        faulty.heal();
        world.data.drop_cache();
        world.check(&map, &body, 0..LEN).await;
        let before = fetched(&world);
        world.check(&map, &body, 0..LEN).await;
        assert_eq!(fetched(&world), before, "{op:?}");
    }
}
