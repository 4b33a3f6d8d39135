//! Bodies of every size come back byte for byte; what is aborted leaves nothing; small ones pack.

use bytes::Bytes;
use gw_codec::frame::sealed_len;
use gw_data::{DataError, DataMap, INLINE_MAX, LaneClass, MapBody};

use crate::world::{World, sample};

#[tokio::test]
async fn bodies_of_every_size_come_back_byte_for_byte() {
    let world = World::new().await;
    let frame = 65_536;
    for (at, len) in [0, 1, 4096, frame - 1, frame, frame + 1, 100_000, 1 << 20, (4 << 20) + 17, 9_000_000]
        .into_iter()
        .enumerate()
    {
        let body = sample(at as u64, len);
        let map = world.put(&format!("b{at}"), body.clone()).await;
        assert_eq!(map.len, len as u64);
        world.check(&map, &body, 0..len as u64).await;
        assert_eq!(world.map(&format!("b{at}")), Some(map));
    }
    for seq in world.data.sealable(std::time::Duration::ZERO).unwrap() {
        let row = world.row(seq);
        assert_eq!(row.live_bytes, row.used_bytes, "each byte has one reference");
    }
}

#[tokio::test]
async fn any_range_of_a_body_comes_back() {
    let world = World::new().await;
    let body = sample(7, 9_000_000);
    let map = world.put("b", body.clone()).await;
    for range in [
        0..1,
        8_999_999..9_000_000,
        65_535..65_537,
        4_128_767..4_128_769,
        5_000_000..5_000_000,
        123..7_654_321,
    ] {
        world.check(&map, &body, range).await;
    }
    for bad in [0..9_000_001, 9_000_001..9_000_001] {
        assert!(matches!(world.read(&map, bad).await, Err(DataError::Refused(_))));
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_the_same_body() {
    let world = World::new().await;
    for len in [10, 70_000, 3 << 20, 6_000_001] {
        let body = sample(len as u64, len);
        let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
        for part in body.chunks(77_777) {
            writer.write(body.slice_ref(part)).await.unwrap();
        }
        let staged = writer.finish().await.unwrap();
        assert_eq!(staged.len(), len as u64);
        let map = world.db.transact(|txn| staged.attach(txn)).unwrap().value;
        world.check(&map, &body, 0..len as u64).await;
    }
    let hinted = world.data.begin(LaneClass::Bulk, &world.bucket, Some(100_000)).await;
    let mut writer = hinted.unwrap();
    let body = sample(1, 3_000_000);
    writer.write(body.clone()).await.unwrap();
    let staged = writer.finish().await.unwrap();
    let map = world.db.transact(|txn| staged.attach(txn)).unwrap().value;
    world.check(&map, &body, 0..3_000_000).await;
}

#[tokio::test]
async fn a_hundred_small_bodies_take_little_more_than_their_sealed_size() {
    let world = World::new().await;
    for at in 0..100 {
        world.put(&format!("b{at}"), sample(at, 4096)).await;
    }
    let rows = world.rows();
    assert_eq!(rows.len(), 1, "all share a segment");
    let (seq, row) = &rows[0];
    assert_eq!(row.used_bytes, 100 * sealed_len(4096));
    assert_eq!(row.filled.len(), 1, "without a gap");
    assert_eq!(row.class, LaneClass::Inline);
    assert!(world.data.seal(*seq).await.unwrap());
    for at in 0..100 {
        let map = world.map(&format!("b{at}")).unwrap();
        world.check(&map, &sample(at, 4096), 0..4096).await;
    }
}

#[tokio::test]
async fn medium_bodies_pack_without_whole_leases() {
    let world = World::new().await;
    let mut sealed = 0;
    for at in 0..40 {
        let len = 70_000 + at * 13_001;
        world.put(&format!("b{at}"), sample(at as u64, len)).await;
        sealed += sealed_len(len as u64);
    }
    let rows = world.rows();
    assert_eq!(rows.iter().map(|(_, row)| row.used_bytes).sum::<u64>(), sealed);
    assert_eq!(rows.len(), 1);
    let reach = u64::from(rows[0].1.filled.last().unwrap().end);
    assert!(reach < sealed + sealed / 10, "{reach} bytes of a segment for {sealed} sealed ones");
}

#[tokio::test]
async fn an_aborted_write_leaves_nothing() {
    let world = World::new().await;
    world.put("kept", sample(1, 200_000)).await;
    let before = world.data.status().unwrap();
    for len in [1000, 300_000, 6_000_000] {
        let body = sample(2, len);
        let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, Some(len as u64)).await.unwrap();
        writer.write(body.clone()).await.unwrap();
        assert!(world.data.status().unwrap().staging_used_bytes > before.staging_used_bytes);
        drop(writer);
        // A batch that is being sealed holds its lease until it is done.
        while world.data.status().unwrap().staging_used_bytes != before.staging_used_bytes {
            tokio::task::yield_now().await;
        }
        let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
        writer.write(body).await.unwrap();
        drop(writer.finish().await.unwrap());
        assert_eq!(world.data.status().unwrap(), before);
    }
    let map = world.put("next", sample(3, 300_000)).await;
    let MapBody::Entries(entries) = &map.body else { panic!("a short map") };
    assert_eq!(entries[0].at.unwrap().offset, sealed_len(200_000) as u32, "the room is used again");
}

#[tokio::test]
async fn a_commit_that_fails_after_attach_gives_the_room_back() {
    let world = World::new().await;
    world.put("kept", sample(1, 1000)).await;
    let before = world.data.status().unwrap().staging_used_bytes;
    for len in [500, 200_000] {
        let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
        writer.write(sample(2, len)).await.unwrap();
        let staged = writer.finish().await.unwrap();
        let failed = world.db.transact(|txn| {
            staged.attach(txn)?;
            Err::<(), _>(DataError::Refused("a condition failed".into()))
        });
        assert!(failed.is_err());
    }
    world.data.sealable(std::time::Duration::MAX).unwrap();
    assert_eq!(world.data.status().unwrap().staging_used_bytes, before);
    let body = sample(3, 900);
    let map = world.put("next", body.clone()).await;
    world.check(&map, &body, 0..900).await;
    let MapBody::Entries(entries) = &map.body else { panic!("a short map") };
    assert_eq!(entries[0].at.unwrap().offset, sealed_len(1000) as u32, "the room is used again");
}

#[tokio::test]
async fn parts_under_one_key_make_a_body_with_one_key() {
    let world = World::new().await;
    let key = world.data.new_key(&world.bucket).await.unwrap();
    let mut parts = Vec::new();
    let mut whole = Vec::new();
    for at in 0..50 {
        let body = sample(at, 150_000);
        whole.extend_from_slice(&body);
        parts.push(world.put_keyed(&format!("p{at}"), body, Some(key.clone())).await.unwrap());
    }
    let joined = world.db.transact(|txn| DataMap::concat(txn, parts)).unwrap().value;
    assert_eq!((joined.len, joined.keys.len()), (7_500_000, 1));
    assert!(matches!(joined.body, MapBody::Pieces(_)));
    let whole = Bytes::from(whole);
    world.check(&joined, &whole, 0..7_500_000).await;
    world.check(&joined, &whole, 149_999..450_001).await;
    let part = world.db.transact(|txn| joined.share(txn, 100_000..5_000_000)).unwrap().value;
    world.check(&part, &whole.slice(100_000..5_000_000), 0..4_900_000).await;
}

#[tokio::test]
async fn a_copy_in_another_bucket_opens_with_its_key_alone() {
    let world = World::new().await;
    let body = sample(1, INLINE_MAX as usize + 5);
    let map = world.put("a", body.clone()).await;
    let other = world.keys.new_bucket_key().await.unwrap();
    let there = world.data.rewrap(&map, &world.bucket, &other).await.unwrap();
    let there = world.db.transact(|txn| there.share(txn, 0..there.len)).unwrap().value;
    world.delete("a");
    let mut reader = world.data.read(there.clone().into(), other, 0..there.len);
    assert_eq!(reader.next().await.unwrap().unwrap(), body);
    let wrong = world.read(&there, 0..there.len).await;
    assert!(matches!(wrong, Err(DataError::Corrupt(_)) | Ok(_)), "the key cache may know the key already");
    let cold = world.reopened().await;
    assert!(matches!(cold.read(&there, 0..there.len).await, Err(DataError::Corrupt(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_do_not_disturb_each_other() {
    let world = std::sync::Arc::new(World::new().await);
    let mut tasks = Vec::new();
    for at in 0..12u64 {
        let world = world.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..4u64 {
                let len = [3000, 80_000, 2_500_000, 5_000_000][((at + round) % 4) as usize];
                let body = sample(at * 100 + round, len);
                let name = format!("{at}-{round}");
                let map = world.put(&name, body.clone()).await;
                world.check(&map, &body, 0..len as u64).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for at in 0..12u64 {
        for round in 0..4u64 {
            let map = world.map(&format!("{at}-{round}")).unwrap();
            let body = sample(at * 100 + round, map.len as usize);
            world.check(&map, &body, 0..map.len).await;
        }
    }
}

#[tokio::test]
async fn a_write_that_was_cut_short_spoils_the_body_and_a_read_goes_on() {
    let world = World::new().await;
    let body = sample(1, 5_000_000);
    let mut writer = world.data.begin(LaneClass::Bulk, &world.bucket, None).await.unwrap();
    {
        let mut write = std::pin::pin!(writer.write(body.clone()));
        let first = futures::poll!(write.as_mut());
        assert!(first.is_pending(), "a segment file is made first");
    }
    assert!(matches!(writer.write(body.clone()).await, Err(DataError::Refused(_))));
    assert!(matches!(writer.finish().await, Err(DataError::Refused(_))));

    let map = world.put("a", body.clone()).await;
    let mut reader = world.data.read(map.into(), world.bucket.clone(), 0..5_000_000);
    let mut got = Vec::new();
    while got.len() < body.len() {
        // Polled once and dropped; only if it was ready already does it count.
        let polled = {
            let mut next = std::pin::pin!(reader.next());
            futures::poll!(next.as_mut())
        };
        let item = match polled {
            std::task::Poll::Ready(item) => item,
            std::task::Poll::Pending => reader.next().await,
        };
        got.extend_from_slice(&item.unwrap().unwrap());
    }
    assert!(got == body);
}
