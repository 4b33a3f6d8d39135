//! Faults that can be switched on, and what a client sees of them.

use std::time::Duration;

use cess_miner::Fault;
use gw_miner_client::conformance::{fid, fragment};
use gw_types::ports::Miners;
use gw_types::{FRAGMENT_BYTES, Outcome, PortErrorKind};

use crate::world::World;

async fn stocked() -> (World, gw_types::Hash32, bytes::Bytes) {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    (world, hash, bytes)
}

#[tokio::test]
async fn a_slow_miner_answers_later_and_its_latency_shows_it() {
    let (world, hash, bytes) = stocked().await;
    assert!(world.get(fid(1), hash).await.unwrap() == bytes);
    world.miner.set_fault(Fault::Slow(Duration::from_secs(3)));
    let addr = world.addr();
    let read = world.client.get(&addr, fid(1), hash, 0..65_552);
    let before = gw_types::ports::Clock::elapsed(&*world.clock);
    let got = world.clock.advance_until(Duration::from_millis(250), read).await.unwrap();
    assert!(got == bytes[..65_552]);
    let took = gw_types::ports::Clock::elapsed(&*world.clock) - before;
    assert!(took >= Duration::from_secs(3), "{took:?}");
    let latency = world.client.latency(&world.miner.account()).unwrap();
    assert!(latency.p95 >= Duration::from_secs(3) && latency.error_rate == 0.0, "{latency:?}");
    world.miner.set_fault(Fault::None);
    assert!(world.get(fid(1), hash).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_miner_too_slow_is_unavailable() {
    let (world, hash, _) = stocked().await;
    world.miner.set_fault(Fault::Slow(Duration::from_secs(3600)));
    let addr = world.addr();
    let read = world.client.get(&addr, fid(1), hash, 0..65_552);
    let error = world.clock.advance_until(Duration::from_secs(1), read).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (PortErrorKind::Unavailable, Outcome::Definite));
    assert_eq!(world.client.latency(&world.miner.account()).unwrap().error_rate, 1.0);
    world.miner.shutdown().await;
}

/// The port hands wrong bytes on: frames carry tags and fragments have hashes, and whoever asked
/// checks them.
#[tokio::test]
async fn a_corrupt_miner_sends_wrong_bytes_of_the_right_length() {
    let (world, hash, bytes) = stocked().await;
    world.miner.set_fault(Fault::Corrupt);
    let whole = world.get(fid(1), hash).await.unwrap();
    assert!(whole.len() == bytes.len() && whole != bytes);
    let part = world.client.get(&world.addr(), fid(1), hash, 70_000..70_016).await.unwrap();
    assert!(part.len() == 16 && part != bytes[70_000..70_016]);
    world.miner.set_fault(Fault::None);
    assert!(world.get(fid(1), hash).await.unwrap() == bytes, "the disk was never touched");
}

#[tokio::test]
async fn a_refusing_miner_is_unavailable_but_shows_its_status() {
    let (world, hash, bytes) = stocked().await;
    world.miner.set_fault(Fault::Refuse);
    let put = world.put(fid(1), hash, &bytes).await.unwrap_err();
    assert_eq!((put.kind(), put.outcome()), (PortErrorKind::Unavailable, Outcome::Definite), "{put}");
    assert_eq!(world.get(fid(1), hash).await.unwrap_err().kind(), PortErrorKind::Unavailable);
    let room = world.client.probe(&world.addr()).await.unwrap().free_bytes;
    assert_eq!(room, (1 << 30) - FRAGMENT_BYTES);
}
