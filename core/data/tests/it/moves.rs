//! Compaction's seam: bytes move to another segment, and every map goes on working.

use std::time::Duration;

use gw_data::DataError;
use gw_data::rows::{MovedRange, MovedRow, SegmentState};
use gw_types::{SegmentSeq, StreamId};

use crate::world::{World, sample};

/// Copies the sealed ranges of the named bodies out of a segment, one copy for each range.
async fn compact(world: &World, old: SegmentSeq, names: &[&str]) {
    let bytes = world.data.segment_bytes(old).await.unwrap();
    let mut ranges = Vec::new();
    for name in names {
        let map = world.map(name).unwrap();
        for entry in map.entries(&world.db.snapshot(), 0..map.len).unwrap() {
            let (segment, range) = entry.sealed_range().unwrap();
            // Where it is now, if it is a guest.
            let start = match gw_data::rows::moved(&world.db.snapshot(), segment).unwrap() {
                Some(moved) => moved.place(range.start, range.end).unwrap().1,
                None => range.start,
            };
            ranges.push(start..start + (range.end - range.start));
        }
    }
    ranges.sort_by_key(|range| range.start);
    let mut copies = Vec::new();
    for range in ranges {
        let copy = world
            .data
            .copy_in(StreamId(0), bytes.slice(range.start as usize..range.end as usize))
            .await
            .unwrap();
        copies.push((range, copy));
    }
    world
        .db
        .transact(|txn| {
            let mut moved = MovedRow::default();
            for (range, copy) in copies {
                let (segment, to) = copy.place();
                copy.attach(txn)?;
                moved.ranges.push(MovedRange {
                    from: range.start,
                    len: range.end - range.start,
                    segment,
                    to,
                });
            }
            world.data.move_segment(txn, old, &moved)?;
            Ok::<_, DataError>(())
        })
        .unwrap();
}

#[tokio::test]
async fn maps_follow_their_bytes_through_two_compactions() {
    let world = World::new().await;
    for at in 0..5u64 {
        world.put(&format!("b{at}"), sample(at, 100_000)).await;
    }
    let old = world.data.sealable(Duration::ZERO).unwrap()[0];
    world.data.seal(old).await.unwrap();
    world.delete("b1");
    world.delete("b3");
    compact(&world, old, &["b0", "b2", "b4"]).await;
    assert_eq!(world.row(old).state, SegmentState::Moved);

    let check = async |world: &World, names: &[u64]| {
        for at in names {
            let map = world.map(&format!("b{at}")).unwrap();
            world.check(&map, &sample(*at, 100_000), 0..100_000).await;
            world.check(&map, &sample(*at, 100_000), 65_000..66_000).await;
        }
    };
    check(&world, &[0, 2, 4]).await;
    let world = world.reopened().await;
    check(&world, &[0, 2, 4]).await;

    let map = world.map("b2").unwrap();
    let home = world.data.locate(&map, 0..1).unwrap()[0].segment;
    assert_ne!(home, old);
    assert_eq!(world.row(home).guests, [old]);
    world.data.seal(home).await.unwrap();
    world.delete("b0");
    compact(&world, home, &["b2", "b4"]).await;
    check(&world, &[2, 4]).await;
    let second = world.data.locate(&map, 0..1).unwrap()[0].segment;
    assert!(second != home && second != old, "still one hop");
    assert_eq!(world.row(second).guests, [old, home]);

    assert!(!world.data.discard(old).unwrap(), "b2 and b4 are still counted there");
    world.delete("b2");
    world.delete("b4");
    assert_eq!(world.row(old).live_bytes, 0);
    world.data.seal(second).await.unwrap();
    assert!(!world.data.discard(second).unwrap(), "its guests have not been discarded");
    for seq in [old, home, second] {
        assert!(world.data.discard(seq).unwrap(), "{seq}");
    }
    assert!(world.rows().is_empty() && world.files().is_empty());
}
