//! Keys and the striper may be away, late, or wrong: a body that fails leaves nothing, a read brings
//! right bytes or none.

use std::pin::pin;

use futures::future::{Either, select};
use gw_data::{DataError, LaneClass};
use gw_sim::{PortFault, PortOp};

use crate::world::{World, sample};

#[tokio::test]
async fn without_keys_a_body_is_refused_and_leaves_nothing() {
    for fault in [PortFault::Away, PortFault::Lost, PortFault::Lies] {
        for len in [100_usize, 700_000] {
            let world = World::new().await;
            let kept = sample(1, 50_000);
            let map = world.put("kept", kept.clone()).await;
            let before = world.data.status().unwrap().staging_used_bytes;
            world.key_faults.fail(PortOp::NewDataKey, 0, 1, fault);
            let refused = world.put_keyed("lost", sample(2, len), None).await;
            assert!(
                matches!(refused, Err(DataError::Port(_) | DataError::Corrupt(_))),
                "{fault:?}, {len} bytes: {refused:?}"
            );
            assert_eq!(world.key_faults.hits(), 1);
            assert!(world.map("lost").is_none());
            while world.data.status().unwrap().staging_used_bytes != before {
                tokio::task::yield_now().await;
            }
            let body = sample(3, len);
            let again = world.put("again", body.clone()).await;
            world.check(&again, &body, 0..len as u64).await;
            world.check(&map, &kept, 0..50_000).await;
            // No lease was left behind: everything open can be sealed.
            world.disperse_all().await;
        }
    }
}

#[tokio::test]
async fn without_its_key_a_body_is_not_read_and_with_a_wrong_one_neither() {
    let world = World::new().await;
    let body = sample(1, 300_000);
    let map = world.put("a", body.clone()).await;
    let mut world = world;
    for fault in [PortFault::Away, PortFault::Lost, PortFault::Lies] {
        world = world.reopened().await;
        world.key_faults.fail(PortOp::Unwrap, 0, 1, fault);
        let hits = world.key_faults.hits();
        let refused = world.read(&map, 0..300_000).await;
        assert!(refused.is_err(), "{fault:?}");
        assert_eq!(world.key_faults.hits(), hits + 1);
        // Whatever was answered then is not remembered.
        world.check(&map, &body, 0..300_000).await;
    }
}

/// Whether it was still waiting after many turns.
async fn given_up<T>(act: impl Future<Output = T>) -> bool {
    let turns = async {
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
    };
    matches!(select(pin!(act), pin!(turns)).await, Either::Right(_))
}

#[tokio::test]
async fn a_wait_for_a_key_can_be_given_up_and_holds_nobody_else_up() {
    let world = World::new().await;
    let body = sample(1, 300_000);
    let map = world.put("a", body.clone()).await;
    let world = world.reopened().await;
    world.key_faults.fail(PortOp::NewDataKey, 0, 1, PortFault::Hangs);
    world.key_faults.fail(PortOp::Unwrap, 0, 1, PortFault::Hangs);
    assert!(given_up(world.put_keyed("hung", sample(2, 700_000), None)).await);
    assert!(given_up(world.read(&map, 0..300_000)).await);
    assert_eq!(world.key_faults.hits(), 2);
    world.check(&map, &body, 0..300_000).await;
    world.put("b", sample(3, 700_000)).await;
    world.disperse_all().await;
}

#[tokio::test]
async fn a_copy_to_another_bucket_is_refused_whole_when_its_keys_cannot_be_wrapped_anew() {
    let world = World::new().await;
    let body = sample(1, 300_000);
    let map = world.put("a", body.clone()).await;
    let other = world.keys.new_bucket_key().await.unwrap();
    for fault in [PortFault::Away, PortFault::Lost] {
        world.key_faults.fail(PortOp::Rewrap, 0, 1, fault);
        assert!(world.data.rewrap(&map, &world.bucket, &other).await.is_err());
    }
    // A wrap that is damaged on the way opens nothing, and never a wrong key.
    world.key_faults.fail(PortOp::Rewrap, 0, 1, PortFault::Lies);
    let damaged = world.data.rewrap(&map, &world.bucket, &other).await.unwrap();
    let mut reader = world.data.read(std::sync::Arc::new(damaged), other, 0..300_000);
    assert!(reader.next().await.unwrap().is_err());
    world.check(&map, &body, 0..300_000).await;
}

#[tokio::test]
async fn a_striper_that_lies_or_is_away_never_makes_a_read_wrong() {
    let world = World::new().await;
    let body = sample(1, 3_000_000);
    let map = world.put("a", body.clone()).await;
    world.disperse_and_evict().await;
    for index in 0..8 {
        world.miners.fault(index, Some(crate::world::Fault::Down));
    }
    for fault in [PortFault::Lies, PortFault::Away, PortFault::Lost] {
        world.data.drop_cache();
        world.striper_faults.fail(PortOp::Rebuild, 0, u64::MAX, fault);
        let hits = world.striper_faults.hits();
        let refused = world.clock.run_until(world.read(&map, 0..1_000_000)).await;
        assert!(refused.is_err(), "{fault:?}");
        assert!(world.striper_faults.hits() > hits);
        world.striper_faults.heal();
        world.clock.run_until(world.check(&map, &body, 0..1_000_000)).await;
    }
    // Once is not enough to fail a read: it is asked again.
    world.data.drop_cache();
    world.striper_faults.fail(PortOp::Rebuild, 0, 1, PortFault::Lies);
    let read = world.clock.run_until(world.read(&map, 0..1_000_000)).await;
    assert!(read.is_err() || read.unwrap() == body[..1_000_000]);
    drop(world.data.begin(LaneClass::Bulk, &world.bucket, Some(1)).await.unwrap());
}
