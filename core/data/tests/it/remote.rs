//! Reading from miners: exact bytes, any eight of twelve may fail, nothing wrong ever leaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_data::{DataConfig, DataError, DataMap};
use gw_types::FRAGMENTS;

use crate::world::{Fault, World, account, sample};

/// A dispersed body of many extents, nothing of it left on this machine nor in memory.
async fn cold(len: usize) -> (World, DataMap, Bytes) {
    let config = DataConfig { cache_bytes_max: 0, ..DataConfig::default() };
    let world = World::with(config).await;
    let body = sample(1, len);
    let map = world.put("a", body.clone()).await;
    world.disperse_and_evict().await;
    (world, map, body)
}

#[tokio::test]
async fn a_cold_range_fetches_exactly_its_frames() {
    let (world, map, body) = cold(9_000_000).await;
    let mut before = world.data.status().unwrap().reads;
    let mut cost = async |range: std::ops::Range<u64>| {
        world.check(&map, &body, range.clone()).await;
        let after = world.data.status().unwrap().reads;
        let fetched = after.fetched_bytes - before.fetched_bytes;
        assert_eq!(after.asked_bytes - before.asked_bytes, range.end - range.start);
        before = after;
        fetched as f64 / (range.end - range.start) as f64
    };
    for frame in [0u64, 7, 62, 63, 64, 100, 130] {
        let factor = cost(frame * 65_536..(frame + 1) * 65_536).await;
        assert!(factor <= 1.01, "a frame-aligned read of 64 KiB fetched {factor} x");
    }
    for start in [0u64, 1, 65_535, 1_000_000, 3_600_000, 4_128_767, 7_951_424] {
        let factor = cost(start..start + (1 << 20)).await;
        assert!(factor <= 1.13, "a read of 1 MiB fetched {factor} x");
    }
    let factor = cost(0..9_000_000).await;
    assert!(factor <= 1.001, "a whole read fetched {factor} x");
    assert_eq!(world.data.status().unwrap().reads.rebuilds, 0);
}

#[tokio::test]
async fn memory_serves_what_was_fetched_before() {
    let world = World::new().await;
    let body = sample(1, 900_000);
    let map = world.put("a", body.clone()).await;
    world.disperse_and_evict().await;
    world.check(&map, &body, 0..900_000).await;
    let fetched = world.data.status().unwrap().reads.fetched_bytes;
    world.check(&map, &body, 10..899_990).await;
    world.check(&map, &body, 70_000..70_001).await;
    let status = world.data.status().unwrap();
    assert_eq!(status.reads.fetched_bytes, fetched);
    assert!(status.cache_bytes >= 900_000 && status.reads.cache_hits > 0);
}

/// Every fault on eight of twelve, and every kind of eight: with and without the miner that is asked
/// first.
#[tokio::test]
async fn any_eight_miners_may_be_gone_lost_short_or_lying() {
    let (world, map, body) = cold(300_000).await;
    for fault in [Fault::Down, Fault::Missing, Fault::Lying, Fault::Short] {
        for honest in [[0, 1, 2, 3], [8, 9, 10, 11], [1, 4, 7, 11], [3, 5, 6, 9]] {
            for index in 0..FRAGMENTS {
                world.miners.fault(index, (!honest.contains(&index)).then_some(fault));
            }
            world.check(&map, &body, 1000..200_000).await;
        }
    }
    let reads = world.data.status().unwrap().reads;
    assert!(reads.rebuilds > 0 && reads.bad_columns > 0);
}

#[tokio::test]
async fn a_mixture_of_faults_is_survived_with_columns_only() {
    let (world, map, body) = cold(2_000_000).await;
    let faults = [
        Some(Fault::Lying),
        Some(Fault::Down),
        None,
        Some(Fault::Missing),
        Some(Fault::Lying),
        None,
        Some(Fault::Slow(Duration::from_secs(40))),
        None,
        Some(Fault::Short),
        Some(Fault::Mute),
        Some(Fault::Lying),
        None,
    ];
    for (index, fault) in faults.into_iter().enumerate() {
        world.miners.fault(index, fault);
    }
    world.clock.run_until(world.check(&map, &body, 0..2_000_000)).await;
    world.clock.run_until(world.check(&map, &body, 500_000..565_536)).await;
    let reads = world.data.status().unwrap().reads;
    assert!(reads.fetched_bytes < 12 * reads.asked_bytes * 11 / 10, "columns, never whole fragments");
}

#[tokio::test]
async fn eight_slow_miners_cost_a_hedge_and_not_their_time() {
    let (world, map, body) = cold(300_000).await;
    world.miners.p95(Duration::from_millis(50));
    for index in 0..8 {
        world.miners.fault(index, Some(Fault::Slow(Duration::from_secs(20))));
    }
    let start = gw_types::ports::Clock::elapsed(&world.clock);
    world.clock.run_until(world.check(&map, &body, 0..65_536)).await;
    let took = gw_types::ports::Clock::elapsed(&world.clock) - start;
    assert!(took <= Duration::from_millis(400), "{took:?}");
    assert!(world.data.status().unwrap().reads.hedges > 0);
    let start = gw_types::ports::Clock::elapsed(&world.clock);
    world.clock.run_until(world.check(&map, &body, 65_536..131_072)).await;
    assert_eq!(
        gw_types::ports::Clock::elapsed(&world.clock),
        start,
        "who was overtaken is asked after others"
    );
}

#[tokio::test]
async fn a_slow_miner_is_hedged_after_its_p95_and_then_not_waited_for() {
    let (world, map, body) = cold(300_000).await;
    world.miners.p95(Duration::from_millis(80));
    world.miners.fault(0, Some(Fault::Slow(Duration::from_secs(5))));
    let now = |world: &World| gw_types::ports::Clock::elapsed(&world.clock);
    let start = now(&world);
    world.clock.run_until(world.check(&map, &body, 0..65_536)).await;
    assert_eq!(now(&world) - start, Duration::from_millis(80));
    world.miners.asked();
    let start = now(&world);
    world.clock.run_until(world.check(&map, &body, 65_536..131_072)).await;
    assert_eq!(now(&world), start, "it was overtaken, so others are asked at once");
    assert!(!world.miners.asked().contains_key(&account(0)));
}

#[tokio::test]
async fn a_liar_is_asked_last_for_a_while() {
    let (world, map, body) = cold(300_000).await;
    world.miners.fault(0, Some(Fault::Lying));
    world.check(&map, &body, 0..65_536).await;
    assert_eq!(world.data.status().unwrap().reads.bad_columns, 1);
    world.miners.heal();
    world.miners.asked();
    world.check(&map, &body, 0..65_536).await;
    assert!(!world.miners.asked().contains_key(&account(0)));
    world.clock.advance(DataConfig::default().penalty_liar);
    world.check(&map, &body, 0..65_536).await;
    assert_eq!(world.miners.asked().get(&account(0)), Some(&1));
}

#[tokio::test]
async fn nine_failures_are_an_error_within_bounded_time_and_never_wrong_bytes() {
    for fault in [Fault::Down, Fault::Lying, Fault::Mute] {
        let (world, map, _) = cold(100_000).await;
        for index in 0..9 {
            world.miners.fault(index, Some(fault));
        }
        let start = gw_types::ports::Clock::elapsed(&world.clock);
        let read = world.clock.run_until(world.read(&map, 0..65_536)).await;
        assert!(matches!(read, Err(DataError::Unreachable(_))), "{fault:?}");
        let took = gw_types::ports::Clock::elapsed(&world.clock) - start;
        assert!(took <= Duration::from_secs(25), "{fault:?} took {took:?}");
    }
}

/// A damaged file on this disk is a miss: the miners have the bytes. Without them it is an error.
#[tokio::test]
async fn damaged_bytes_on_this_disk_never_leave() {
    let config = DataConfig { cache_bytes_max: 0, ..DataConfig::default() };
    let world = World::with(config).await;
    let body = sample(1, 300_000);
    let map = world.put("a", body.clone()).await;
    let name = world.files()[0].clone();
    assert!(world.disk.mem().damage(&name, 70_000, 4));
    assert!(matches!(world.read(&map, 0..300_000).await, Err(DataError::Corrupt(_))));
    world.check(&map, &body, 131_072..300_000).await;
    assert!(world.disk.mem().damage(&name, 70_000, 4));
    world.disperse_all().await;
    assert!(world.disk.mem().damage(&name, 70_000, 4));
    world.check(&map, &body, 0..300_000).await;
    assert!(world.data.status().unwrap().reads.remote_reads > 0);
}

#[tokio::test]
async fn eviction_in_the_middle_of_a_read_is_not_noticed() {
    let world = World::with(DataConfig { cache_bytes_max: 0, ..DataConfig::default() }).await;
    let body = sample(1, 9_000_000);
    let map = world.put("a", body.clone()).await;
    let segments = world.disperse_all().await;
    let mut reader = world.data.read(Arc::new(map), world.bucket.clone(), 0..9_000_000);
    let mut got = Vec::new();
    for _ in 0..2 {
        got.extend_from_slice(&reader.next().await.unwrap().unwrap());
    }
    for seq in segments {
        assert!(world.data.evict(seq).await.unwrap());
    }
    while let Some(bytes) = reader.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    assert!(got == body);
    assert!(world.data.status().unwrap().reads.remote_reads > 0);
}

#[tokio::test]
async fn placement_names_the_fragment_and_its_miner() {
    let (world, map, _) = cold(9_000_000).await;
    let located = world.data.locate(&map, 0..9_000_000).unwrap();
    assert_eq!(located.first().unwrap().range.start, 0);
    assert_eq!(located.last().unwrap().range.end, 9_000_000);
    assert!(located.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
    assert_eq!(located.len(), 2, "two fragments of one segment: {located:?}");
    for place in &located {
        assert!(!place.local && place.deal.is_some());
        assert_eq!(place.fragments.len(), 12);
        assert_eq!(place.fragments[place.fragment.get()].1.account, account(place.fragment.get()));
    }
    assert_eq!(located[1].fragment.get(), 1);
}
