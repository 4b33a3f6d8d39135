//! From open to sealed: nothing but committed bytes, and nobody waits for a slow upload.

use std::time::Duration;

use bytes::Bytes;
use gw_data::rows::SegmentState;
use gw_data::{DataError, LaneClass};
use gw_types::{SEGMENT_BYTES, StreamId};

use crate::world::{World, sample};

#[tokio::test]
async fn a_sealed_segment_holds_committed_bytes_and_zeros() {
    let world = World::new().await;
    world.put("a", sample(1, 300_000)).await;
    let mut aborted = world.data.begin(LaneClass::Bulk, &world.bucket, Some(2_000_000)).await.unwrap();
    aborted.write(sample(2, 2_000_000)).await.unwrap();
    let aborted = aborted.finish().await.unwrap();
    world.put("b", sample(3, 200_000)).await;
    drop(aborted);
    let seq = world.data.sealable(Duration::ZERO).unwrap();
    assert_eq!(seq.len(), 1);
    let seq = seq[0];
    assert!(matches!(world.data.segment_bytes(seq).await, Err(DataError::Refused(_))), "it is still open");
    assert!(world.data.seal(seq).await.unwrap());
    assert!(!world.data.seal(seq).await.unwrap(), "once");
    let bytes = world.data.segment_bytes(seq).await.unwrap();
    assert_eq!(bytes.len() as u64, SEGMENT_BYTES);
    let row = world.row(seq);
    assert_eq!((row.state, row.filled.len()), (SegmentState::Sealed, 2));
    for hole in row.holes() {
        assert!(bytes[hole.start as usize..hole.end as usize].iter().all(|byte| *byte == 0));
    }
    for name in ["a", "b"] {
        let map = world.map(name).unwrap();
        world.check(&map, &sample(if name == "a" { 1 } else { 3 }, map.len as usize), 0..map.len).await;
    }
}

#[tokio::test]
async fn a_segment_is_due_when_it_is_old_enough() {
    let world = World::new().await;
    let hour = Duration::from_secs(3600);
    world.put("a", sample(1, 5000)).await;
    assert!(world.data.sealable(hour).unwrap().is_empty());
    world.clock.advance(hour);
    assert_eq!(world.data.sealable(hour).unwrap().len(), 1);
    let world = world.reopened().await;
    assert_eq!(world.data.sealable(hour).unwrap().len(), 1, "its age survives a restart");
}

#[tokio::test]
async fn a_full_segment_is_due_at_once() {
    let world = World::new().await;
    for at in 0..9 {
        world.put(&format!("b{at}"), sample(at, 4 << 20)).await;
    }
    let due = world.data.sealable(Duration::from_secs(3600)).unwrap();
    let rows = world.rows();
    assert_eq!(rows.len(), 2);
    let used: Vec<u64> = rows.iter().map(|(_, row)| row.used_bytes).collect();
    assert!(used[0] > SEGMENT_BYTES * 95 / 100, "{used:?}");
    assert!(due.len() <= 1);
}

#[tokio::test]
async fn a_seal_moves_the_room_of_unfinished_bodies_elsewhere() {
    let world = World::new().await;
    let slow_body = sample(9, 3_500_000);
    let mut slow = world.data.begin(LaneClass::Bulk, &world.bucket, Some(3_500_000)).await.unwrap();
    slow.write(slow_body.slice(..2_200_000)).await.unwrap();
    let quick_body = sample(1, 100_000);
    let quick = world.put("quick", quick_body.clone()).await;
    let due = world.data.sealable(Duration::ZERO).unwrap();
    assert_eq!(due.len(), 1);
    assert!(world.data.seal(due[0]).await.unwrap(), "the slow upload is not waited for");
    let sealed = world.row(due[0]);
    assert_eq!(sealed.filled.len(), 1, "nothing of the slow upload is in it");
    slow.write(slow_body.slice(2_200_000..)).await.unwrap();
    let staged = slow.finish().await.unwrap();
    let map = world.db.transact(|txn| staged.attach(txn)).unwrap().value;
    world.check(&map, &slow_body, 0..3_500_000).await;
    world.check(&quick, &quick_body, 0..100_000).await;
    assert_eq!(world.row(due[0]), sealed);
    assert!(world.data.locate(&map, 0..1).unwrap()[0].segment > due[0]);
}

#[tokio::test]
async fn a_finished_body_that_is_never_committed_delays_a_seal_for_a_bounded_time() {
    let world = World::new().await;
    world.put("a", sample(1, 100_000)).await;
    let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
    writer.write(sample(2, 100_000)).await.unwrap();
    let staged = writer.finish().await.unwrap();
    let due = world.data.sealable(Duration::ZERO).unwrap()[0];
    let busy = world.clock.run_until(world.data.seal(due)).await;
    assert!(matches!(busy, Err(DataError::Busy(_))));
    drop(staged);
    assert!(world.data.seal(due).await.unwrap());
}

#[tokio::test]
async fn a_whole_segment_is_written_and_sealed_in_one_step() {
    let world = World::new().await;
    let log = sample(4, 1_000_000);
    let seq = world.data.write_whole(LaneClass::Log, StreamId(0), log.clone()).await.unwrap();
    let bytes = world.data.segment_bytes(seq).await.unwrap();
    assert_eq!(bytes.slice(..1_000_000), log);
    assert!(bytes[1_000_000..].iter().all(|byte| *byte == 0));
    let row = world.row(seq);
    assert_eq!((row.state, row.live_bytes, row.class), (SegmentState::Sealed, 1_000_000, LaneClass::Log));
    assert!(world.data.write_whole(LaneClass::Log, StreamId(0), Bytes::new()).await.is_err());
    let world = world.reopened().await;
    assert_eq!(world.data.segment_bytes(seq).await.unwrap(), bytes);
}

#[tokio::test]
async fn only_finalized_segments_are_evicted_and_only_dead_ones_discarded() {
    let world = World::new().await;
    world.put("a", sample(1, 100_000)).await;
    let due = world.data.sealable(Duration::ZERO).unwrap()[0];
    assert!(!world.data.evict(due).await.unwrap(), "open");
    world.disperse_all().await;
    assert!(!world.data.discard(due).unwrap(), "alive");
    assert!(world.data.evict(due).await.unwrap());
    assert!(!world.data.evict(due).await.unwrap(), "once");
    assert!(world.files().is_empty());
    world.delete("a");
    assert!(world.data.discard(due).unwrap());
    assert!(world.rows().is_empty());
    let map = world.put("next", sample(2, 100_000)).await;
    assert!(world.data.locate(&map, 0..1).unwrap()[0].segment > due, "its number is never used again");
    let world = world.reopened().await;
    world.delete("next");
    let map = world.put("last", sample(2, 10)).await;
    assert!(world.data.locate(&map, 0..1).unwrap()[0].segment > due);
}
