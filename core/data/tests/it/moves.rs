//! Compaction of a segment: bytes move to another one, every map goes on working, nothing wrong is
//! copied, and whatever happens meanwhile costs at most the copy.

use std::sync::Arc;
use std::time::Duration;

use gw_data::rows::{self, SegmentState};
use gw_data::{Compacted, DataConfig, DataError, DataMap, LaneClass, MapRows};
use gw_types::ports::Disk;
use gw_types::{FRAGMENTS, SegmentSeq};

use crate::world::{Fault, NamedMaps, World, sample};

const LEN: usize = 100_000;

async fn compact(world: &World, victim: SegmentSeq) -> Result<Compacted, DataError> {
    let live = world.data.live(&[victim], &NamedMaps).await.unwrap();
    world.data.compact(victim, live.of(victim).unwrap()).await
}

/// Bodies in one finalized segment.
async fn finalized(world: &World, bodies: u64) -> SegmentSeq {
    for at in 0..bodies {
        world.put(&format!("b{at}"), sample(at, LEN)).await;
    }
    let sealed = world.disperse_all().await;
    assert_eq!(sealed.len(), 1);
    sealed[0]
}

async fn check(world: &World, names: &[u64]) {
    for at in names {
        let map = world.map(&format!("b{at}")).unwrap();
        world.check(&map, &sample(*at, LEN), 0..LEN as u64).await;
        world.check(&map, &sample(*at, LEN), 65_000..66_000).await;
    }
}

async fn home(world: &World, name: &str) -> SegmentSeq {
    world.data.locate(&world.map(name).unwrap(), 0..1).unwrap()[0].segment
}

#[tokio::test]
async fn maps_follow_their_bytes_through_two_compactions() {
    let world = World::with(DataConfig { cache_bytes_max: 0, ..DataConfig::default() }).await;
    let old = finalized(&world, 5).await;
    world.delete("b1");
    world.delete("b3");
    let moved = compact(&world, old).await.unwrap();
    assert_eq!(moved.moved_bytes, world.row(old).live_bytes);
    assert_eq!(world.row(old).state, SegmentState::Moved);
    check(&world, &[0, 2, 4]).await;
    let world = world.reopened().await;
    check(&world, &[0, 2, 4]).await;

    let first = home(&world, "b2").await;
    assert_ne!(first, old);
    assert_eq!((world.row(first).guests, world.row(first).class), (vec![old], LaneClass::Gc));
    world.disperse_all().await;
    assert!(world.data.abandon(old).unwrap());
    assert_eq!(world.row(old).deal, None);
    world.delete("b0");
    let moved = compact(&world, first).await.unwrap();
    assert_eq!(moved.moved_bytes, world.row(old).live_bytes);
    check(&world, &[2, 4]).await;
    let second = home(&world, "b2").await;
    assert!(second != first && second != old, "still one hop");
    assert_eq!(world.row(second).guests, [old, first]);

    assert!(!world.data.discard(old).unwrap(), "b2 and b4 are still counted there");
    world.delete("b2");
    world.delete("b4");
    assert_eq!(world.row(old).live_bytes, 0);
    world.data.seal(second).await.unwrap();
    assert!(!world.data.discard(second).unwrap(), "its guests have not been discarded");
    for seq in [old, first, second] {
        assert!(world.data.discard(seq).unwrap(), "{seq}");
    }
    assert!(world.rows().is_empty() && world.files().is_empty());
}

#[tokio::test]
async fn an_evicted_segment_is_read_from_any_four_miners_and_only_right_fragments_are_copied() {
    let world = World::with(DataConfig { cache_bytes_max: 0, ..DataConfig::default() }).await;
    let old = finalized(&world, 3).await;
    world.delete("b1");
    assert!(world.data.evict(old).await.unwrap());
    for index in 0..FRAGMENTS {
        let fault = match index {
            0..4 => Some(Fault::Lying),
            4..7 => Some(Fault::Down),
            7 => Some(Fault::Mute),
            _ => None,
        };
        world.miners.fault(index, fault);
    }
    let live = world.data.live(&[old], &NamedMaps).await.unwrap();
    let runs = live.of(old).unwrap().to_vec();
    world.clock.run_until(world.data.compact(old, &runs)).await.unwrap();
    world.miners.heal();
    check(&world, &[0, 2]).await;

    // Nine are too many: then nothing has changed.
    let world = World::with(DataConfig { cache_bytes_max: 0, ..DataConfig::default() }).await;
    let old = finalized(&world, 3).await;
    assert!(world.data.evict(old).await.unwrap());
    (0..9).for_each(|index| world.miners.fault(index, Some(Fault::Lying)));
    let error = world.clock.run_until(compact(&world, old)).await.unwrap_err();
    assert!(matches!(error, DataError::Unreachable(_)), "{error}");
    assert_eq!(world.row(old).state, SegmentState::Finalized);
    world.miners.heal();
    check(&world, &[0, 1, 2]).await;
}

/// A bit flips in the local file of a finalized segment. Copied as it is, it would be hashed and
/// declared anew, and no miner could give the right byte any more.
#[tokio::test]
async fn what_is_damaged_on_this_disk_is_taken_from_the_miners() {
    let world = World::with(DataConfig { cache_bytes_max: 0, ..DataConfig::default() }).await;
    let old = finalized(&world, 2).await;
    let file = world.disk.open(&format!("segments/{:016x}", old.0)).unwrap();
    let byte = file.read_at(70_000, 1).await.unwrap();
    file.write_at(70_000, &[byte[0] ^ 1]).unwrap();
    compact(&world, old).await.unwrap();
    check(&world, &[0, 1]).await;
    world.disperse_and_evict().await;
    check(&world, &[0, 1]).await;
}

#[tokio::test]
async fn a_victim_that_dies_or_goes_meanwhile_costs_only_the_copy() {
    let world = World::new().await;
    let old = finalized(&world, 2).await;
    let live = world.data.live(&[old], &NamedMaps).await.unwrap();
    world.delete("b0");
    world.delete("b1");
    let done = world.data.compact(old, live.of(old).unwrap()).await.unwrap();
    assert_eq!(done.moved_bytes, 0);
    assert_eq!(world.row(old).state, SegmentState::Finalized, "dead, and as it was");
    assert!(world.data.discard(old).unwrap());
    let gone = world.data.compact(old, live.of(old).unwrap()).await.unwrap();
    assert_eq!((gone.moved_bytes, gone.homes.len()), (0, 0));
    assert!(world.data.sealable(Duration::ZERO).unwrap().is_empty(), "the copies gave their room back");
}

/// A crash between the copies and the commit: the next life finds everything as it was, and room.
#[tokio::test]
async fn copies_without_a_commit_leave_nothing() {
    let world = World::new().await;
    let old = finalized(&world, 3).await;
    world.delete("b1");
    world.db.wait_staged(world.db.appended()).await.unwrap();
    let before = world.rows();
    for cut in [3, 5, 6, 7, 8, 9] {
        let cut_world = world.power_cut(cut).await;
        cut_world.disk.cut_after(cut);
        let compacted = compact(&cut_world, old).await;
        let again = cut_world.power_cut(cut * 7).await;
        check(&again, &[0, 2]).await;
        if compacted.is_ok() {
            assert_eq!(again.row(old).state, SegmentState::Moved, "{cut}");
        } else if again.row(old).state != SegmentState::Moved {
            assert_eq!(again.rows(), before, "{cut}");
        }
        compact(&again, old).await.ok();
        check(&again, &[0, 2]).await;
        assert_eq!(again.row(old).state, SegmentState::Moved, "{cut}");
    }
}

/// Somebody adds rows with maps, and forgets to say so to the compactor.
#[tokio::test]
async fn a_segment_whose_references_are_not_all_found_is_left_alone() {
    #[derive(Debug)]
    struct Forgetful;
    impl MapRows for Forgetful {
        fn tables(&self) -> &[u8] {
            &[0x10]
        }
        fn maps(&self, key: &[u8], value: &[u8]) -> Result<Vec<DataMap>, DataError> {
            if key.ends_with(b"b1") { Ok(Vec::new()) } else { NamedMaps.maps(key, value) }
        }
    }
    let world = World::new().await;
    let old = finalized(&world, 3).await;
    let live = world.data.live(&[old], &Forgetful).await.unwrap();
    assert!(live.of(old).unwrap_err().contains("fewer references"));
    assert!(live.of(SegmentSeq(99)).is_err());
    assert!(world.data.live(&[old], &NamedMaps).await.unwrap().of(old).is_ok());
}

/// One body and nothing else in a segment: moved as it is, its new home would have the same hash, and
/// the chain would take it for the old one, which is about to be deleted.
#[tokio::test]
async fn a_new_home_is_never_the_same_segment_again() {
    let world = World::new().await;
    let old = finalized(&world, 1).await;
    let before = world.data.segment_bytes(old).await.unwrap();
    compact(&world, old).await.unwrap();
    let new = world.data.sealable(Duration::ZERO).unwrap()[0];
    world.data.seal(new).await.unwrap();
    assert!(world.data.segment_bytes(new).await.unwrap() != before);
    check(&world, &[0]).await;
}

#[tokio::test]
async fn shared_and_sliced_references_are_moved_as_a_whole() {
    let world = World::with(DataConfig { cache_bytes_max: 0, ..DataConfig::default() }).await;
    let old = finalized(&world, 1).await;
    // A copy of the middle, and the original is gone.
    let map = world.map("b0").unwrap();
    let slice = 70_000..80_000u64;
    let committed = world.db.transact(|txn| {
        let part = map.share(txn, slice.clone())?;
        txn.put([&[0x10], &b"part"[..]].concat(), postcard::to_stdvec(&part).unwrap());
        Ok::<_, DataError>(())
    });
    world.db.wait_staged(committed.unwrap().lsn).await.unwrap();
    world.delete("b0");
    let moved = compact(&world, old).await.unwrap();
    assert!(moved.moved_bytes < 70_000, "only the frames of the part: {}", moved.moved_bytes);
    let part = world.map("part").unwrap();
    let body = sample(0, LEN).slice(70_000..80_000);
    world.check(&part, &body, 0..10_000).await;
    // A later copy of it is found as well.
    world
        .db
        .transact(|txn| {
            let copy = part.share(txn, 5_000..6_000)?;
            txn.put([&[0x10], &b"copy"[..]].concat(), postcard::to_stdvec(&copy).unwrap());
            Ok::<_, DataError>(())
        })
        .unwrap();
    world.delete("part");
    world.check(&world.map("copy").unwrap(), &body.slice(5_000..6_000), 0..1_000).await;
    let first = home(&world, "copy").await;
    world.disperse_all().await;
    compact(&world, first).await.unwrap();
    world.check(&world.map("copy").unwrap(), &body.slice(5_000..6_000), 0..1_000).await;
}

#[tokio::test]
async fn a_reader_that_began_before_goes_on_reading() {
    let world = World::with(DataConfig { cache_bytes_max: 0, ..DataConfig::default() }).await;
    let body = sample(1, 3_000_000);
    let map = Arc::new(world.put("b0", body.clone()).await);
    let old = world.disperse_all().await[0];
    assert!(world.data.evict(old).await.unwrap());
    let mut reader = world.data.read(map, world.bucket.clone(), 0..3_000_000);
    let mut got = reader.next().await.unwrap().unwrap().to_vec();
    compact(&world, old).await.unwrap();
    // The old deal is deleted on chain, and its miners forget it.
    assert!(world.data.abandon(old).unwrap());
    let new = home(&world, "b0").await;
    world.data.seal(new).await.unwrap();
    while let Some(bytes) = reader.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    assert!(got == body);
    assert!(rows::moved(&world.db.snapshot(), old).unwrap().is_some());
}

#[tokio::test]
async fn the_territory_is_never_promised_twice() {
    let world = World::new().await;
    world.data.set_room(Some(250_000), world.data.room_mark());
    world.put("a", sample(1, 100_000)).await;
    let held = world.data.begin(LaneClass::Bulk, &world.bucket, Some(100_000)).await.unwrap();
    let refused = world.put_keyed("b", sample(2, 100_000), None).await.unwrap_err();
    assert!(matches!(refused, DataError::TerritoryFull { .. }), "{refused}");
    assert!(!refused.is_transient());
    drop(held);
    world.put("b", sample(2, 100_000)).await;
    assert!(world.put_keyed("c", sample(2, 100_000), None).await.is_err());
    world.delete("a");
    // Log and compaction pass by.
    let whole = world.data.write_whole(LaneClass::Log, gw_types::StreamId(0), sample(3, 300_000)).await;
    assert!(whole.is_ok());
    world.data.set_room(None, world.data.room_mark());
    world.put("c", sample(2, 100_000)).await;
}
