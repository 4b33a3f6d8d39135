//! Power cuts and kills: committed bytes stay, everything else goes.

use std::time::Duration;

use gw_data::{DataMap, LaneClass};
use gw_types::SegmentSeq;

use crate::world::{World, sample};

/// A map commit that was staged names bytes that survive, small ones (which travel in the journal and are
/// only placed into the page cache) as well as large ones (which were synced before).
#[tokio::test]
async fn a_power_cut_keeps_committed_bytes() {
    let world = World::new().await;
    for at in 0..6u64 {
        let len = if at % 2 == 0 { 5000 } else { 700_000 };
        world.put(&format!("b{at}"), sample(at, len)).await;
    }
    let mut torn = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
    torn.write(sample(99, 1_500_000)).await.unwrap();
    for seed in 0..6 {
        let after = world.power_cut(seed).await;
        for at in 0..6u64 {
            let map: DataMap = after.map(&format!("b{at}")).expect("it was acknowledged");
            after.check(&map, &sample(at, map.len as usize), 0..map.len).await;
        }
        after.put("later", sample(50, 300_000)).await;
        for seq in after.data.sealable(Duration::ZERO).unwrap() {
            assert!(after.data.seal(seq).await.unwrap());
            let row = after.row(seq);
            let bytes = after.data.segment_bytes(seq).await.unwrap();
            for hole in row.holes() {
                assert!(bytes[hole.start as usize..hole.end as usize].iter().all(|byte| *byte == 0));
            }
        }
        for at in 0..6u64 {
            let map = after.map(&format!("b{at}")).unwrap();
            after.check(&map, &sample(at, map.len as usize), 0..map.len).await;
        }
    }
}

/// Inline bytes are placed again at each replay, also after their segment was sealed in the meantime.
#[tokio::test]
async fn replay_into_a_sealed_segment_changes_nothing() {
    let world = World::new().await;
    let body = sample(1, 9000);
    let map = world.put("a", body.clone()).await;
    let seq = world.data.sealable(Duration::ZERO).unwrap()[0];
    world.data.seal(seq).await.unwrap();
    let before = world.data.segment_bytes(seq).await.unwrap();
    let world = world.reopened().await;
    assert_eq!(world.data.segment_bytes(seq).await.unwrap(), before);
    world.check(&map, &body, 0..9000).await;
    let world = world.reopened().await;
    world.disperse(seq).await;
    assert!(world.data.evict(seq).await.unwrap());
    let world = world.reopened().await;
    assert!(world.files().is_empty(), "replay does not bring an evicted file back");
    world.check(&map, &body, 0..9000).await;
}

#[tokio::test]
async fn files_that_no_commit_claims_are_removed_at_open() {
    let world = World::new().await;
    let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
    writer.write(sample(1, 1_500_000)).await.unwrap();
    let staged = writer.finish().await.unwrap();
    assert_eq!(world.files().len(), 1);
    let after = world.power_cut(3).await;
    assert!(after.files().is_empty());
    let map = after.put("a", sample(2, 100_000)).await;
    assert!(
        after.data.locate(&map, 0..1).unwrap()[0].segment > SegmentSeq(1),
        "not even the number is used again"
    );
    drop(staged);
}

#[tokio::test]
async fn a_dispersed_segment_without_its_file_is_read_from_miners() {
    let world = World::new().await;
    let body = sample(1, 700_000);
    let map = world.put("a", body.clone()).await;
    world.disperse_all().await;
    use gw_types::ports::Disk;
    for name in world.files() {
        world.disk.remove(&name).unwrap();
    }
    let world = world.reopened().await;
    assert!(!world.rows()[0].1.local);
    world.check(&map, &body, 0..700_000).await;
}

/// The power goes after any number of changes to the disk, in the middle of puts and deletes: what was
/// acknowledged is there, whole, and what is there at all is whole.
#[tokio::test]
async fn power_may_go_at_any_moment() {
    for round in 0..14u64 {
        let world = World::new().await;
        world.disk.cut_after(8 + round * 5);
        let mut acknowledged = Vec::new();
        for at in 0..20u64 {
            let len = [700, 90_000, 20_000, 400_000][(at % 4) as usize];
            if world.put_keyed(&format!("b{at}"), sample(at, len), None).await.is_ok() {
                acknowledged.push(at);
            }
        }
        assert!(world.disk.is_off(), "round {round} is long enough");
        let after = world.power_cut(round).await;
        for at in 0..20u64 {
            match after.map(&format!("b{at}")) {
                Some(map) => after.check(&map, &sample(at, map.len as usize), 0..map.len).await,
                None => assert!(!acknowledged.contains(&at), "round {round} lost b{at}"),
            }
        }
        let used: u64 = after.rows().iter().map(|(_, row)| row.used_bytes).sum();
        assert_eq!(after.data.status().unwrap().staging_used_bytes, used);
    }
}
