use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gw_chain::conformance::{self, World};
use gw_sim::{CallKind, ChainFault, ModelChain, SimClock};
use gw_types::ports::{Chain, ChainEvent, DealSpec, DeclaredSegment, TerritoryState};
use gw_types::{
    AccountId, FRAGMENTS, Fid, FragmentIndex, Hash32, Outcome, PortErrorKind, TERRITORY_BYTES_PER_SEGMENT,
    TerritoryName,
};

const CESS: u128 = 1_000_000_000_000_000_000;
const OWNER: AccountId = AccountId([1; 32]);
const OTHER: AccountId = AccountId([2; 32]);
const DAY: u32 = 14_400;

fn miner(number: u8) -> AccountId {
    AccountId([100 + number; 32])
}

fn chain(clock: &SimClock) -> ModelChain {
    let chain = ModelChain::new(Arc::new(clock.clone()));
    chain.fund(OWNER, 1_000_000 * CESS);
    chain.fund(OTHER, 1_000_000 * CESS);
    for number in 0..12 {
        chain.register(miner(number), &format!("127.0.0.1:{}", 15000 + u16::from(number)), 100 << 30);
    }
    chain
}

fn territory() -> TerritoryName {
    TerritoryName::new("default").unwrap()
}

fn spec(seed: u8) -> DealSpec {
    let fragments = std::array::from_fn(|index| Hash32([seed.wrapping_add(index as u8 + 1); 32]));
    DealSpec {
        fid: Fid(Hash32([seed; 32])),
        segments: vec![DeclaredSegment { hash: Hash32([seed; 32]), fragments }],
        file_name: "a deal".into(),
        territory: territory(),
        file_size: 32 << 20,
    }
}

async fn ready(clock: &SimClock) -> (ModelChain, Arc<dyn Chain>) {
    let chain = chain(clock);
    let owner = chain.owner(OWNER);
    owner.mint_territory(&territory(), 1, 30).await.unwrap();
    (chain, owner)
}

async fn locked(owner: &dyn Chain) -> u128 {
    owner.territory(&territory()).await.unwrap().unwrap().locked / u128::from(TERRITORY_BYTES_PER_SEGMENT)
}

#[tokio::test]
async fn the_model_keeps_every_promise_of_the_ports() {
    let clock = SimClock::default();
    let chain = chain(&clock);
    let world = World {
        owner: chain.owner(OWNER),
        other: chain.owner(OTHER),
        miners: (0..12).map(|number| chain.miner(miner(number))).collect(),
        label: "model".into(),
    };
    conformance::run(&world).await;
}

#[tokio::test]
async fn the_model_keeps_them_when_finality_is_slow() {
    let clock = SimClock::default();
    let chain = chain(&clock);
    chain.set_finality(Duration::from_secs(18));
    let world = World {
        owner: chain.owner(OWNER),
        other: chain.owner(OTHER),
        miners: (0..12).map(|number| chain.miner(miner(number))).collect(),
        label: "slow".into(),
    };
    clock.run_until(conformance::run(&world)).await;
    assert!(chain.height() > 100);
}

#[tokio::test]
async fn a_second_declaration_of_an_open_deal_leaks_its_lock() {
    let (chain, owner) = ready(&SimClock::default()).await;
    owner.declare(&spec(1)).await.unwrap();
    chain.miner(miner(0)).report(spec(1).fid, FragmentIndex::new(0).unwrap()).await.unwrap();
    owner.declare(&spec(1)).await.unwrap();
    assert_eq!(locked(&*owner).await, 2);
    assert!(owner.deal(spec(1).fid).await.unwrap().unwrap().complete.is_empty(), "reports are forgotten");
    for number in 0..FRAGMENTS as u8 {
        let index = FragmentIndex::new(number).unwrap();
        chain.miner(miner(number)).report(spec(1).fid, index).await.unwrap();
    }
    assert_eq!(locked(&*owner).await, 1, "for good");
    assert_eq!(chain.declarations()[&spec(1).fid], 2);
}

#[tokio::test]
async fn a_territory_freezes_and_expires_and_takes_its_files_along() {
    let clock = SimClock::default();
    let (chain, owner) = ready(&clock).await;
    owner.declare(&spec(1)).await.unwrap();
    owner.declare(&spec(2)).await.unwrap();
    for number in 0..12 {
        let index = FragmentIndex::new(number).unwrap();
        chain.miner(miner(number)).report(spec(1).fid, index).await.unwrap();
    }
    clock.advance(Duration::from_secs(u64::from(30 * DAY + 10) * 6));
    let state = async || owner.territory(&territory()).await.unwrap().unwrap().state;
    assert_eq!(state().await, TerritoryState::Frozen);
    let refused = owner.declare(&spec(3)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (PortErrorKind::Refused, Outcome::Definite));
    assert!(owner.file(spec(1).fid).await.unwrap().is_some(), "frozen files are still there");

    clock.advance(Duration::from_secs(u64::from(7 * DAY) * 6));
    assert_eq!(state().await, TerritoryState::Expired);
    assert_eq!(owner.file(spec(1).fid).await.unwrap(), None);
    assert!(owner.files().await.unwrap().is_empty());
    assert!(owner.deal(spec(2).fid).await.unwrap().is_some(), "an open deal stays until somebody reports");
    chain.miner(miner(5)).report(spec(2).fid, FragmentIndex::new(5).unwrap()).await.unwrap();
    assert_eq!(owner.deal(spec(2).fid).await.unwrap(), None, "and is then dropped silently");
}

#[tokio::test]
async fn nobody_sees_a_call_before_it_is_final_and_who_leaves_does_not_stop_it() {
    let clock = SimClock::default();
    let (chain, owner) = ready(&clock).await;
    chain.set_finality(Duration::from_secs(12));
    let sent = tokio::spawn({
        let owner = owner.clone();
        async move { owner.declare(&spec(1)).await }
    });
    clock.run_for(Duration::from_secs(11)).await;
    assert_eq!(owner.deal(spec(1).fid).await.unwrap(), None);
    sent.abort();
    clock.run_for(Duration::from_secs(2)).await;
    assert!(owner.deal(spec(1).fid).await.unwrap().is_some());
}

#[tokio::test]
async fn the_same_call_made_again_in_doubt_is_executed_once() {
    let clock = SimClock::default();
    let (chain, owner) = ready(&clock).await;
    chain.fail_next(CallKind::Declare, ChainFault::LostLands(Duration::from_secs(30)));
    assert_eq!(owner.declare(&spec(1)).await.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(owner.declare(&spec(1)).await.unwrap_err().outcome(), Outcome::Unknown, "still in the pool");
    clock.advance(Duration::from_secs(30));
    assert_eq!(owner.declare(&spec(1)).await.unwrap_err().outcome(), Outcome::Unknown, "landed unseen");
    assert_eq!(chain.declarations()[&spec(1).fid], 1);

    // One that never reached the chain gives its place to the repetition.
    chain.fail_next(CallKind::Declare, ChainFault::LostUnsent);
    assert_eq!(owner.declare(&spec(2)).await.unwrap_err().outcome(), Outcome::Unknown);
    owner.declare(&spec(2)).await.unwrap();

    // Another value knows of no doubt: this is what a restarted process must beware of.
    chain.fail_next(CallKind::Declare, ChainFault::LostLands(Duration::from_secs(30)));
    owner.declare(&spec(3)).await.unwrap_err();
    chain.owner(OWNER).declare(&spec(3)).await.unwrap();
    clock.advance(Duration::from_secs(30));
    assert_eq!(chain.declarations()[&spec(3).fid], 2);
}

#[tokio::test]
async fn faults_come_as_they_are_ordered() {
    let clock = SimClock::default();
    let (chain, owner) = ready(&clock).await;
    for (fault, kind) in [
        (ChainFault::Refused, PortErrorKind::Refused),
        (ChainFault::Full, PortErrorKind::Full),
        (ChainFault::Unsent, PortErrorKind::Unavailable),
    ] {
        chain.fail_next(CallKind::Declare, fault);
        let error = owner.declare(&spec(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (kind, Outcome::Definite));
    }
    let mut events = owner.events().await.unwrap();
    owner.declare(&spec(1)).await.unwrap();
    assert!(matches!(events.next().await, Some(ChainEvent::Block(_))));
    chain.set_away(true);
    assert_eq!(events.next().await, None, "the stream ends with the connection");
    assert_eq!(owner.head().await.unwrap_err().kind(), PortErrorKind::Unavailable);
    chain.set_away(false);
    assert!(owner.deal(spec(1).fid).await.unwrap().is_some());
}

#[tokio::test]
async fn a_chain_that_goes_away_under_a_call_leaves_its_outcome_unknown() {
    let clock = SimClock::default();
    let (chain, owner) = ready(&clock).await;
    chain.set_finality(Duration::from_secs(12));
    let declared = spec(1);
    let sent = owner.declare(&declared);
    let away = async {
        tokio::task::yield_now().await;
        chain.set_away(true);
    };
    let (result, ()) = clock.run_until(async { tokio::join!(sent, away) }).await;
    assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown);
    chain.set_away(false);
    assert_eq!(chain.declarations()[&spec(1).fid], 1);
}

#[tokio::test]
async fn a_call_lapses_with_its_mortality() {
    let clock = SimClock::default();
    let (chain, owner) = ready(&clock).await;
    chain.set_mortality(10);
    chain.fail_next(CallKind::Declare, ChainFault::LostLands(Duration::from_secs(60)));
    owner.declare(&spec(1)).await.unwrap_err();
    clock.advance(Duration::from_secs(60));
    assert!(chain.declarations().is_empty(), "ten blocks of six seconds have passed");
    chain.set_finality(Duration::from_secs(70));
    let declared = spec(2);
    let result = clock.run_until(owner.declare(&declared)).await;
    assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown);
    assert!(chain.declarations().is_empty());
}

#[tokio::test]
async fn behind_a_fence_no_lost_call_is_executed() {
    let clock = SimClock::default();
    let (chain, owner) = ready(&clock).await;
    for late in [false, true] {
        let delay = Duration::from_secs(if late { 60 } else { 0 });
        let lost = spec(if late { 2 } else { 1 });
        chain.fail_next(CallKind::Declare, ChainFault::LostLands(delay));
        owner.declare(&lost).await.unwrap_err();
        chain.set_finality(Duration::from_secs(6));
        clock.run_until(owner.fence()).await.unwrap();
        let seen = chain.declarations().contains_key(&lost.fid);
        assert_eq!(seen, !late);
        clock.advance(Duration::from_secs(120));
        assert_eq!(chain.declarations().contains_key(&lost.fid), seen);
    }
}
