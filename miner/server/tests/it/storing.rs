//! What the disk holds: after crashes, restarts, and when there is no room.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cess_miner::{Miner, MinerStartError};
use gw_miner_client::conformance::{fid, fragment};
use gw_miner_wire::ZERO_FRAGMENT;
use gw_types::ports::Miners;
use gw_types::{FRAGMENT_BYTES, Outcome, PortErrorKind};

use crate::world::{FakeChain, HandClock, Raw, World, client, config, count_files, eventually, form};

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        if path.is_dir() {
            copy_tree(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// The directory as it was when the put was answered, with the miner still running, is what a crash
/// at that moment would leave.
#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash, ZERO_FRAGMENT]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    world.put(fid(1), ZERO_FRAGMENT, &bytes.slice(..0)).await.unwrap();
    let left = tempfile::tempdir().unwrap();
    copy_tree(world.dir.path(), left.path());
    let chain = Arc::clone(&world.chain) as _;
    let miner = Miner::start(config(left.path()), chain, Arc::clone(&world.clock) as _).await.unwrap();
    let addr = gw_types::ports::MinerAddr { endpoint: miner.endpoint(), ..world.addr() };
    let got = world.client.get(&addr, fid(1), hash, 0..FRAGMENT_BYTES as u32).await.unwrap();
    assert!(got == bytes);
    assert_eq!(Raw::new("GET", fid(1), ZERO_FRAGMENT).send(miner.local_addr(), b"").await.status, 200);
    assert_eq!(miner.counters().used_bytes, FRAGMENT_BYTES);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_at_the_start() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    let (orphan, orphan_bytes) = fragment(2);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    let dir = world.dir.path().to_owned();
    world.miner.shutdown().await;
    // Killed in the middle of a put; between rename and index; in the middle of an index record.
    std::fs::write(dir.join("tmp/17"), &bytes[..1_000_000]).unwrap();
    let name = orphan.to_hex();
    std::fs::create_dir_all(dir.join("fragments").join(&name[..2])).unwrap();
    std::fs::write(dir.join("fragments").join(&name[..2]).join(&name), &orphan_bytes).unwrap();
    let mut index = std::fs::read(dir.join("index.log")).unwrap();
    index.extend_from_slice(&[1; 40]);
    std::fs::write(dir.join("index.log"), index).unwrap();
    let miner = Miner::start(config(&dir), world.chain, world.clock).await.unwrap();
    assert_eq!((count_files(&dir.join("tmp")), count_files(&dir.join("fragments"))), (0, 1));
    assert_eq!(miner.counters().used_bytes, FRAGMENT_BYTES);
    assert_eq!(Raw::new("GET", fid(1), hash).send(miner.local_addr(), b"").await.status, 200);
}

#[tokio::test]
async fn a_fragment_that_vanished_from_the_disk_is_not_found_and_can_be_put_again() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    std::fs::remove_dir_all(world.dir.path().join("fragments")).unwrap();
    let world = world.restart().await;
    assert_eq!(world.get(fid(1), hash).await.unwrap_err().kind(), PortErrorKind::NotFound);
    world.put(fid(1), hash, &bytes).await.unwrap();
    assert!(world.get(fid(1), hash).await.unwrap() == bytes);
}

#[tokio::test]
async fn two_miners_cannot_share_a_directory() {
    let world = World::start().await;
    let chain = Arc::new(FakeChain::default());
    let second = Miner::start(config(world.dir.path()), chain, HandClock::new()).await;
    assert!(matches!(second, Err(MinerStartError::Directory { .. })));
    let world = world.restart().await;
    assert_eq!(world.miner.counters().used_bytes, 0);
}

#[tokio::test]
async fn one_fragment_of_two_deals_is_stored_once() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.declare(fid(2), &[hash]);
    for fid in [fid(1), fid(2), fid(1)] {
        world.put(fid, hash, &bytes).await.unwrap();
        assert!(world.get(fid, hash).await.unwrap() == bytes);
    }
    assert_eq!((world.files_in("fragments"), world.miner.counters().used_bytes), (1, FRAGMENT_BYTES));
}

#[tokio::test]
async fn the_same_fragment_put_twice_at_once_is_stored_once() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    let puts = (0..4).map(|_| world.put(fid(1), hash, &bytes));
    futures::future::join_all(puts).await.into_iter().for_each(|put| put.unwrap());
    assert_eq!((world.files_in("fragments"), world.files_in("tmp")), (1, 0));
    let counters = world.miner.counters();
    assert_eq!((counters.used_bytes, counters.reserved_bytes), (FRAGMENT_BYTES, 0));
}

#[tokio::test]
async fn capacity_counts_puts_that_are_under_way() {
    let world = World::start_with(|config| config.capacity_bytes = FRAGMENT_BYTES + 1).await;
    let (hash, bytes) = fragment(1);
    let (other, other_bytes) = fragment(2);
    world.declare(fid(1), &[hash, other]);
    let body = form(hash, &bytes);
    let mut first = Raw::put(fid(1), hash, bytes.len()).begin(world.miner.local_addr()).await;
    first.write(&body[..3_000_000]).await;
    eventually("room is set aside", || world.miner.counters().reserved_bytes == FRAGMENT_BYTES).await;
    let refused = world.put(fid(1), other, &other_bytes).await.unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (PortErrorKind::Full, Outcome::Definite));
    first.write(&body[3_000_000..]).await;
    assert_eq!(first.answer().await.reply(), (200, "ok".to_owned()));
    let answer =
        Raw::put(fid(1), other, bytes.len()).send(world.miner.local_addr(), &form(other, &other_bytes)).await;
    assert_eq!(answer.reply(), (507, "the miner is full".to_owned()));
    assert_eq!(world.client.probe(&world.addr()).await.unwrap().free_bytes, 1);
}

/// A small file system of its own, where we may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=13m", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_gets_507_and_nothing_is_left_behind() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: only root can mount a small tmpfs");
        return;
    };
    let dir = disk.0.path().join("miner");
    let (chain, clock) = (Arc::new(FakeChain::default()), HandClock::new());
    let miner = Miner::start(config(&dir), Arc::clone(&chain) as _, Arc::clone(&clock) as _).await.unwrap();
    let (hash, bytes) = fragment(1);
    let (other, other_bytes) = fragment(2);
    chain.declare(fid(1), [hash, other].map(gw_miner_client::conformance::segment_with).to_vec());
    let addr = gw_types::ports::MinerAddr { account: crate::world::ME, endpoint: miner.endpoint() };
    let client = client(&clock);
    client.put(&addr, fid(1), hash, bytes.clone()).await.unwrap();
    let refused = client.put(&addr, fid(1), other, other_bytes).await.unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (PortErrorKind::Full, Outcome::Definite), "{refused}");
    assert_eq!((count_files(&dir.join("tmp")), count_files(&dir.join("fragments"))), (0, 1));
    assert_eq!(miner.counters().reserved_bytes, 0);
    let got = client.get(&addr, fid(1), hash, 0..FRAGMENT_BYTES as u32).await.unwrap();
    assert!(got == bytes, "what was there before is still there");
    miner.shutdown().await;
}

#[tokio::test]
async fn a_stop_lets_a_put_under_way_finish() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    let body = form(hash, &bytes);
    let mut put = Raw::put(fid(1), hash, bytes.len()).begin(world.miner.local_addr()).await;
    put.write(&body[..3_000_000]).await;
    eventually("the put has begun", || world.miner.counters().reserved_bytes > 0).await;
    let World { dir, chain, clock, miner, client } = world;
    let stop = tokio::spawn(miner.shutdown());
    put.write(&body[3_000_000..]).await;
    assert_eq!(put.answer().await.reply(), (200, "ok".to_owned()));
    stop.await.unwrap();
    let miner = Miner::start(config(dir.path()), chain, clock).await.unwrap();
    let addr = gw_types::ports::MinerAddr { account: crate::world::ME, endpoint: miner.endpoint() };
    assert!(client.get(&addr, fid(1), hash, 0..FRAGMENT_BYTES as u32).await.unwrap() == bytes);
}

/// A miner that comes back on its port is used again, over whatever connections the client kept.
#[tokio::test]
async fn a_client_survives_the_restart_of_a_miner() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    let (addr, port) = (world.addr(), world.miner.local_addr().port());
    let World { dir, chain, clock, miner, client } = world;
    miner.shutdown().await;
    let away = client.get(&addr, fid(1), hash, 0..16).await.unwrap_err();
    assert_eq!((away.kind(), away.outcome()), (PortErrorKind::Unavailable, Outcome::Definite));
    let mut config = config(dir.path());
    config.listen.set_port(port);
    let miner = Miner::start(config, chain, clock).await.unwrap();
    assert_eq!(client.get(&addr, fid(1), hash, 0..16).await.unwrap(), bytes[..16]);
    miner.shutdown().await;
}
