//! Keys and the striper misbehave: dispersal waits, says why, and brings nothing wrong to the network.

use gw_sim::{PortFault, PortOp};
use gw_types::{Level, StreamId};

use crate::world::{World, sample};

/// Whether a commit is finalized within a minute.
async fn flushed(world: &World, gateway: &crate::world::Gateway, lsn: gw_types::Lsn) -> bool {
    let early = async {
        tokio::select! {
            biased;
            done = gateway.dispersal.wait(Level::Finalized, StreamId(0), lsn) => done.is_ok(),
            () = world.sleep(60) => false,
        }
    };
    world.run(early).await
}

#[tokio::test]
async fn while_the_striper_is_away_nothing_is_declared_and_then_it_goes_on() {
    for op in [PortOp::Hash, PortOp::Fragment] {
        let world = World::new(12).await;
        let gateway = world.open().await;
        world.striper_faults.fail(op, 0, u64::MAX, PortFault::Away);
        let lsn = gateway.put("a", &sample(1, 200_000)).await;
        assert!(!flushed(&world, &gateway, lsn).await);
        let why = gateway.waiting_for();
        assert!(why.contains(&format!("nobody answers {op:?}")), "{why}");
        assert_eq!(op == PortOp::Hash, world.chain.declarations().is_empty());
        world.striper_faults.heal();
        gateway.flush(Level::Finalized).await;
        assert_eq!(gateway.waiting_for(), "");
        world.check_chain();
    }
}

#[tokio::test]
async fn a_fragment_that_is_not_what_was_declared_is_taken_by_no_miner() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    let body = sample(1, 200_000);
    world.striper_faults.fail(PortOp::Fragment, 0, 6, PortFault::Lies);
    gateway.put("a", &body).await;
    gateway.flush(Level::Finalized).await;
    assert_eq!(world.striper_faults.hits(), 6);
    world.check_chain();
    world.run(gateway.dispersal.evict()).await.unwrap();
    gateway.data.drop_cache();
    for dead in 0..8 {
        world.miners.fault(dead, |fault| fault.is_down = true);
    }
    assert!(gateway.read("a").await == body);
}

#[tokio::test]
async fn while_no_record_can_be_sealed_the_log_waits_and_no_mark_passes_it() {
    let world = World::new(12).await;
    let gateway = world.open().await;
    for fault in [PortFault::Away, PortFault::Lost] {
        world.key_faults.fail(PortOp::SealRecord, 0, u64::MAX, fault);
        let lsn = gateway.put("a", &sample(1, 50_000)).await;
        assert!(!flushed(&world, &gateway, lsn).await, "{fault:?}");
        assert!(gateway.waiting_for().contains("SealRecord"), "{}", gateway.waiting_for());
        assert!(gateway.dispersal.marks().finalized < lsn);
        world.key_faults.heal();
        gateway.flush(Level::Finalized).await;
        assert!(gateway.dispersal.marks().finalized >= lsn);
    }
    world.check_chain();
    let namespace = gateway.namespace();
    drop(gateway);
    assert_eq!(world.elsewhere().restore().await.namespace(), namespace);
}
