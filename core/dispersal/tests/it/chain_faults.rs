//! A chain that is away, loses answers, refuses, or has no room; miners that fail.

use std::time::Duration;

use gw_sim::{CallKind, ChainFault, ModelMiners};
use gw_types::ports::{DealSpec, DeclaredSegment, TerritoryState};
use gw_types::{FRAGMENT_BYTES, Fid, Hash32, Level, SEGMENT_BYTES, StreamId};

use crate::world::{Gateway, OWNER, World, sample, territory};

async fn started(world: &World) -> (Gateway, gw_types::Lsn) {
    let gateway = world.open().await;
    let lsn = gateway.put("a", &sample(1, 150_000)).await;
    (gateway, lsn)
}

/// Waits for the commit during `seconds`; whether it got there.
async fn got_there(world: &World, gateway: &Gateway, lsn: gw_types::Lsn, seconds: u64) -> bool {
    let wait = async {
        tokio::select! {
            biased;
            done = gateway.dispersal.wait(Level::Finalized, StreamId(0), lsn) => done.is_ok(),
            () = world.sleep(seconds) => false,
        }
    };
    world.run(wait).await
}

async fn locked(world: &World) -> u128 {
    let found = world.run(world.chain.owner(OWNER).territory(&territory())).await.unwrap();
    found.map_or(0, |territory| territory.locked)
}

#[tokio::test]
async fn a_chain_that_is_away_is_waited_for_and_named_in_status() {
    let world = World::new(12).await;
    let (gateway, lsn) = started(&world).await;
    world.chain.set_away(true);
    assert!(!got_there(&world, &gateway, lsn, 600).await);
    assert!(gateway.waiting_for().contains("the chain is away"), "{}", gateway.waiting_for());
    world.chain.set_away(false);
    assert!(got_there(&world, &gateway, lsn, 300).await);
    assert_eq!(gateway.waiting_for(), "");
    world.check_chain();
}

#[tokio::test]
async fn a_chain_that_goes_away_in_every_phase_costs_time_and_nothing_else() {
    for seconds in [0, 2, 4, 6, 8, 10] {
        let mut world = World::new(13).await;
        world.config.linger = Duration::from_millis(500);
        world.chain.set_finality(Duration::from_secs(4));
        for number in 0..13 {
            world.miners.fault(number, |fault| fault.slow = Duration::from_millis(700 + 100 * number as u64));
        }
        let (gateway, lsn) = started(&world).await;
        assert!(!got_there(&world, &gateway, lsn, seconds).await || seconds > 8, "{seconds}");
        world.chain.set_away(true);
        world.seconds(90).await;
        world.chain.set_away(false);
        assert!(got_there(&world, &gateway, lsn, 900).await, "{seconds}: {:?}", gateway.dispersal.status());
        world.check_chain();
    }
}

#[tokio::test]
async fn an_unknown_outcome_never_leads_to_a_second_declaration() {
    let faults = [
        ChainFault::LostUnsent,
        ChainFault::LostLands(Duration::ZERO),
        ChainFault::LostLands(Duration::from_secs(10)),
        ChainFault::LostLands(Duration::from_secs(60)),
    ];
    for fault in faults {
        let world = World::new(12).await;
        world.chain.fail_next(CallKind::Declare, fault);
        let (gateway, lsn) = started(&world).await;
        assert!(got_there(&world, &gateway, lsn, 600).await, "{fault:?}: {:?}", gateway.dispersal.status());
        world.check_chain();
        assert_eq!(locked(&world).await, 0, "{fault:?}: nothing leaked");
    }
}

/// The process dies between sending a declaration and seeing it; the next life has another client,
/// which knows nothing of it, and the first declaration would land only after the second life has
/// looked. A fence decides it within seconds.
#[tokio::test]
async fn a_declaration_of_an_earlier_life_is_fenced_off() {
    for fault in [ChainFault::LostUnsent, ChainFault::LostLands(Duration::from_secs(40))] {
        let mut world = World::new(12).await;
        world.config.lapse_blocks = u32::MAX;
        world.chain.set_finality(Duration::from_secs(6));
        world.chain.fail_next(CallKind::Declare, fault);
        let (gateway, lsn) = started(&world).await;
        assert!(!got_there(&world, &gateway, lsn, 4).await);
        gateway.kill();
        let again = world.open().await;
        assert!(!got_there(&world, &again, lsn, 4).await);
        assert!(again.waiting_for().contains("may have been declared"), "{}", again.waiting_for());
        assert!(got_there(&world, &again, lsn, 60).await, "{fault:?}: {:?}", again.dispersal.status());
        assert_eq!(again.waiting_for(), "");
        world.check_chain();
        assert_eq!(locked(&world).await, 0, "{fault:?}: nothing leaked");
    }
}

#[tokio::test]
async fn a_refused_declaration_is_withdrawn_and_tried_again_with_pauses() {
    let world = World::new(12).await;
    // Bodies and the log are tried each on their own.
    for _ in 0..10 {
        world.chain.fail_next(CallKind::Declare, ChainFault::Refused);
    }
    let (gateway, lsn) = started(&world).await;
    assert!(
        !got_there(&world, &gateway, lsn, 12).await,
        "five refusals of each take pauses of 1, 2, 4 and 8 s"
    );
    assert!(gateway.waiting_for().contains("was not declared"), "{}", gateway.waiting_for());
    assert!(got_there(&world, &gateway, lsn, 120).await);
    assert_eq!(gateway.waiting_for(), "");
    world.check_chain();
}

#[tokio::test]
async fn without_a_territory_nothing_is_declared_and_status_says_what_to_do() {
    let world = World::poor(12).await;
    let (gateway, lsn) = started(&world).await;
    assert!(!got_there(&world, &gateway, lsn, 600).await);
    assert!(gateway.waiting_for().contains("territory mint default"), "{}", gateway.waiting_for());
    assert!(world.chain.declarations().is_empty());
    world.mint().await;
    assert!(got_there(&world, &gateway, lsn, 120).await);
    assert_eq!(gateway.waiting_for(), "");
}

/// A deal that is none of ours.
fn foreign_deal(segments: u8) -> DealSpec {
    let segment = |number: u8| DeclaredSegment {
        hash: Hash32([number; 32]),
        fragments: std::array::from_fn(|index| Hash32([number ^ (index as u8) << 4; 32])),
    };
    DealSpec {
        fid: Fid(Hash32([0xEE; 32])),
        segments: (0..segments).map(segment).collect(),
        file_name: "foreign".into(),
        territory: territory(),
        file_size: u128::from(segments) * u128::from(SEGMENT_BYTES),
    }
}

#[tokio::test]
async fn a_full_or_frozen_territory_is_named_and_nothing_is_declared() {
    let world = World::poor(12).await;
    let owner = world.chain.owner(OWNER);
    // 1 GiB has room for ten segments, and a deal needs strictly less than all of it.
    world.run(owner.mint_territory(&territory(), 1, 365)).await.unwrap();
    let gateway = world.open().await;
    gateway.put("a", &sample(1, 100_000)).await;
    gateway.flush(Level::Finalized).await;
    let lsn = gateway.put("one more", &sample(9, 100_000)).await;
    // Somebody else takes what is left before it can be declared.
    world.run(owner.declare(&foreign_deal(8))).await.unwrap();
    assert!(!got_there(&world, &gateway, lsn, 300).await);
    assert!(gateway.waiting_for().contains("territory expand default"), "{}", gateway.waiting_for());
    assert_eq!(world.chain.declarations().len(), 3);
    world.run(owner.expand_territory(&territory(), 1)).await.unwrap();
    assert!(got_there(&world, &gateway, lsn, 120).await);
    world.run(async { world.sleep(20).await }).await;

    world.chain.set_deadline(OWNER, &territory(), world.chain.height());
    let lsn = gateway.put("frozen", &sample(10, 100_000)).await;
    assert!(!got_there(&world, &gateway, lsn, 300).await);
    assert!(gateway.waiting_for().contains("territory renew default"), "{}", gateway.waiting_for());
    world.run(owner.renew_territory(&territory(), 30)).await.unwrap();
    assert!(got_there(&world, &gateway, lsn, 120).await);
}

#[tokio::test]
async fn an_open_deal_whose_territory_expires_is_made_again() {
    let mut world = World::new(12).await;
    world.config.upkeep = Duration::from_secs(1_000_000);
    for number in 0..12 {
        world.miners.fault(number, |fault| fault.is_silent = true);
    }
    let (gateway, lsn) = started(&world).await;
    assert!(!got_there(&world, &gateway, lsn, 300).await);
    assert_eq!(world.chain.open_deals().len(), 2, "bodies, and the log");
    assert!(gateway.waiting_for().contains("does not report"), "{}", gateway.waiting_for());
    let puts: u64 = (0..12).map(|number| world.miners.counts(number).puts).sum();
    assert_eq!(puts, 24, "nothing is sent twice when nobody else is free");
    // It freezes now and expires a week later; the next report finds that out.
    world.chain.set_deadline(OWNER, &territory(), world.chain.height());
    world.clock.advance(Duration::from_secs(8 * 24 * 3600));
    world.miners.fault(0, |fault| fault.is_silent = false);
    world.seconds(600).await;
    assert!(world.chain.open_deals().is_empty(), "the chain has dropped it");
    let found = world.run(world.chain.owner(OWNER).territory(&territory())).await.unwrap().unwrap();
    assert_eq!(found.state, TerritoryState::Expired);
    assert!(gateway.waiting_for().contains("Expired"), "{}", gateway.waiting_for());
    assert!(gateway.dispersal.status().deals.is_empty());
}

#[tokio::test]
async fn eleven_miners_are_too_few_and_nothing_is_declared() {
    let world = World::new(11).await;
    let (gateway, lsn) = started(&world).await;
    assert!(!got_there(&world, &gateway, lsn, 600).await);
    assert!(gateway.waiting_for().contains("only 11 of the 12 miners"), "{}", gateway.waiting_for());
    let status = gateway.dispersal.status();
    assert_eq!((status.miners_healthy, status.miners_known), (11, 11));
    assert!(world.chain.declarations().is_empty());

    // One that is frozen, one without room and one that is down are no help.
    world.miners.add(64 * FRAGMENT_BYTES);
    world.chain.set_miner_state(ModelMiners::account(11), "frozen");
    world.miners.add(FRAGMENT_BYTES - 1);
    world.miners.add(64 * FRAGMENT_BYTES);
    world.miners.fault(13, |fault| fault.is_down = true);
    assert!(!got_there(&world, &gateway, lsn, 600).await);
    assert!(world.chain.declarations().is_empty());
    world.miners.fault(13, |fault| fault.is_down = false);
    assert!(got_there(&world, &gateway, lsn, 120).await);
    assert_eq!(gateway.waiting_for(), "");
    world.check_chain();
}

#[tokio::test]
async fn columns_of_miners_that_fail_go_to_others() {
    let world = World::new(17).await;
    world.miners.fault(0, |fault| fault.dies_after_puts = Some(1));
    world.miners.fault(1, |fault| fault.dies_after_puts = Some(0));
    world.miners.fault(2, |fault| fault.is_full = true);
    world.miners.fault(3, |fault| fault.is_silent = true);
    for number in 4..8 {
        world.miners.fault(number, |fault| fault.slow = Duration::from_secs(3));
    }
    let (gateway, lsn) = started(&world).await;
    assert!(got_there(&world, &gateway, lsn, 3600).await, "{:?}", gateway.dispersal.status());
    world.check_chain();
    for file in world.files().values() {
        let holders: Vec<_> = file.segments[0].fragments.iter().map(|fragment| fragment.miner).collect();
        for bad in 1..4 {
            assert!(!holders.contains(&ModelMiners::account(bad)), "miner {bad}");
        }
    }
}

#[tokio::test]
async fn a_deal_waits_for_a_miner_to_come_back_when_no_other_is_free() {
    let world = World::new(12).await;
    world.miners.fault(5, |fault| fault.dies_after_puts = Some(0));
    let (gateway, lsn) = started(&world).await;
    assert!(!got_there(&world, &gateway, lsn, 600).await);
    assert!(gateway.waiting_for().contains("needs another miner"), "{}", gateway.waiting_for());
    let status = gateway.dispersal.status();
    assert_eq!(status.deals.values().next().map(|deal| deal.columns_held), Some(11));
    world.miners.fault(5, |fault| *fault = gw_sim::MinerFault::default());
    assert!(got_there(&world, &gateway, lsn, 120).await);
    assert_eq!(gateway.waiting_for(), "");
    world.check_chain();
}
