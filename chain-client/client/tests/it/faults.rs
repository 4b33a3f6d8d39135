//! What a bad way to the node does to a call, and what it must not do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use gw_chain::{RpcClient, Signer, SubxtChain};
use gw_types::ports::{Chain, ChainEvent};
use gw_types::{Outcome, PortError, PortErrorKind, TerritoryName};

use crate::net::{CESS, Net, beggar, other, owner, quick};
use crate::toxic::{Poison, Toxic};

const SUBMIT: &str = "author_submitAndWatchExtrinsic";
const NEXT_NONCE: &str = "system_accountNextIndex";

struct Bad {
    net: Net,
    way: Toxic,
    chain: SubxtChain,
    payments: AtomicU64,
}

async fn bad_way(signer: Signer) -> Bad {
    let net = Net::start().await;
    let way = Toxic::new(net.dev.rpc_client());
    let mut config = quick();
    config.request_timeout = Duration::from_secs(2);
    config.finality_timeout = Duration::from_secs(2);
    let chain = SubxtChain::from_rpc_client_with(RpcClient::new(way.clone()), signer, config).await.unwrap();
    Bad { net, way, chain, payments: AtomicU64::default() }
}

impl Bad {
    /// A payment unlike every other.
    async fn pay(&self) -> Result<(), PortError> {
        let number = self.payments.fetch_add(1, Ordering::Relaxed);
        self.chain.transfer_keep_alive(other().account(), CESS + u128::from(number)).await.map(drop)
    }

    /// Always the same.
    async fn pay_the_same(&self) -> Result<(), PortError> {
        self.chain.transfer_keep_alive(other().account(), 7 * CESS).await.map(drop)
    }

    async fn received(&self) -> u128 {
        self.chain.balance_of(other().account()).await.unwrap() - 1_000_000 * CESS
    }
}

fn name() -> TerritoryName {
    TerritoryName::new("somewhere").unwrap()
}

#[track_caller]
fn check(result: Result<(), PortError>, kind: PortErrorKind, outcome: Outcome) {
    let error = result.expect_err("this must fail");
    assert_eq!((error.kind(), error.outcome()), (kind, outcome), "{error}");
}

/// The dangerous case: the error says nothing about what happened, and it did happen.
#[tokio::test]
async fn a_connection_lost_after_sending_leaves_the_outcome_unknown() {
    for poison in [Poison::EndAfter(1), Poison::EndAfter(0), Poison::LoseAnswer] {
        let bad = bad_way(owner()).await;
        let mut events = bad.chain.events().await.unwrap();
        bad.way.poison(SUBMIT, poison);
        let sent = bad.chain.mint_territory(&name(), 1, 30).await.map(drop);
        check(sent, PortErrorKind::Unavailable, Outcome::Unknown);
        // Looking before repeating finds it.
        while bad.chain.territory(&name()).await.unwrap().is_none() {
            events.next().await.unwrap();
        }
        bad.pay().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_lost_while_sending_leaves_the_outcome_unknown_and_no_gap() {
    let bad = bad_way(owner()).await;
    bad.way.poison(SUBMIT, Poison::LoseRequest);
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Unknown);
    // The node never saw it: its number is used by the next call, which would otherwise hang.
    bad.pay().await.unwrap();
    assert_eq!(bad.way.calls(NEXT_NONCE), 2);
}

/// The caller looked, saw nothing, and made the call again, while the first one sat in the pool.
#[tokio::test]
async fn a_call_made_again_after_an_unknown_fate_happens_once() {
    for poison in [Poison::EndAfter(0), Poison::LoseAnswer, Poison::LoseRequest] {
        let bad = bad_way(owner()).await;
        bad.way.poison(SUBMIT, poison);
        check(bad.pay_the_same().await, PortErrorKind::Unavailable, Outcome::Unknown);
        // At once, before the next block: the second either takes the first one's place or waits.
        let mut events = bad.chain.events().await.unwrap();
        while let Err(error) = bad.pay_the_same().await {
            assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
            events.next().await.unwrap();
            if bad.received().await > 0 {
                break;
            }
        }
        assert_eq!(bad.received().await, 7 * CESS);
        // Once it is known to be settled, the same payment is a new one.
        while let Err(error) = bad.pay_the_same().await {
            assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        }
        assert_eq!(bad.received().await, 14 * CESS);
    }
}

#[tokio::test]
async fn equal_calls_that_are_all_well_all_happen() {
    let bad = bad_way(owner()).await;
    for result in join_all((0..10).map(|_| bad.pay_the_same())).await {
        result.unwrap();
    }
    assert_eq!(bad.received().await, 70 * CESS);
}

#[tokio::test]
async fn before_sending_every_failure_is_definite() {
    let bad = bad_way(owner()).await;
    // The nonce first: it is asked for only once if all goes well.
    for method in [NEXT_NONCE, "chain_getFinalizedHead", "chain_getHeader", "state_call"] {
        let sent = bad.way.calls(SUBMIT);
        // Once is mended by a new connection, except for the nonce.
        bad.way.poison(method, Poison::LoseRequest);
        bad.way.poison(method, Poison::LoseRequest);
        check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Definite);
        assert_eq!(bad.way.calls(SUBMIT), sent, "{method}");
        let _ = bad.pay().await;
    }
    bad.pay().await.unwrap();
}

#[tokio::test]
async fn a_read_survives_one_lost_connection() {
    let bad = bad_way(owner()).await;
    for poison in [Poison::LoseRequest, Poison::LoseAnswer, Poison::Hang] {
        bad.way.poison("state_getStorage", poison);
        assert!(bad.chain.balance().await.unwrap() > 0);
    }
    bad.way.poison("state_getStorage", Poison::LoseRequest);
    bad.way.poison("state_getStorage", Poison::LoseRequest);
    check(bad.chain.balance().await.map(drop), PortErrorKind::Unavailable, Outcome::Definite);
}

#[tokio::test]
async fn a_number_that_does_not_fit_is_asked_for_and_the_call_goes_through() {
    let bad = bad_way(owner()).await;
    bad.pay().await.unwrap();
    assert_eq!(bad.way.calls(NEXT_NONCE), 1);
    // Another program spends this account's next number.
    bad.net.client(owner()).await.transfer_keep_alive(other().account(), CESS).await.unwrap();
    bad.pay().await.unwrap();
    assert_eq!((bad.way.calls(SUBMIT), bad.way.calls(NEXT_NONCE)), (3, 2));
    bad.pay().await.unwrap();
    assert_eq!((bad.way.calls(SUBMIT), bad.way.calls(NEXT_NONCE)), (4, 2));
}

#[tokio::test]
async fn a_number_taken_in_the_pool_is_passed_over() {
    let bad = bad_way(owner()).await;
    let foreign = bad.net.client(owner()).await;
    // Five of theirs and five of ours at once, from lanes that do not know of each other.
    let ours = join_all((0..5).map(|_| bad.pay()));
    let theirs = join_all((0..5).map(|_| foreign.transfer_keep_alive(other().account(), CESS)));
    let (ours, theirs) = futures::join!(ours, theirs);
    for result in ours {
        result.unwrap();
    }
    for result in theirs {
        result.unwrap();
    }
}

/// Not every node tells what waits in its pool.
#[tokio::test]
async fn without_the_pools_answer_the_finalized_nonce_serves() {
    let bad = bad_way(owner()).await;
    bad.way.poison(NEXT_NONCE, Poison::Answer(-32601, "Method not found"));
    bad.pay().await.unwrap();
    bad.pay().await.unwrap();
    assert_eq!(bad.way.calls(NEXT_NONCE), 1);
}

#[tokio::test]
async fn a_refusal_of_the_pool_is_definite_and_its_number_is_used_again() {
    let bad = bad_way(owner()).await;
    bad.pay().await.unwrap();
    bad.way.poison(SUBMIT, Poison::Answer(1016, "Immediately Dropped"));
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Definite);
    bad.way.poison(SUBMIT, Poison::Answer(1010, "Transaction has a bad signature"));
    check(bad.pay().await, PortErrorKind::Refused, Outcome::Definite);
    bad.pay().await.unwrap();
    assert_eq!(bad.way.calls(NEXT_NONCE), 1);
}

#[tokio::test]
async fn a_node_that_keeps_refusing_the_number_is_not_asked_for_ever() {
    let bad = bad_way(owner()).await;
    for _ in 0..8 {
        bad.way.poison(SUBMIT, Poison::Answer(1014, "Priority is too low"));
    }
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Definite);
    assert_eq!(bad.way.calls(SUBMIT), 8);
    bad.pay().await.unwrap();
}

#[tokio::test]
async fn the_wait_for_finality_is_bounded() {
    let bad = bad_way(owner()).await;
    bad.way.poison(SUBMIT, Poison::Silence);
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Unknown);
    bad.pay().await.unwrap();
}

#[tokio::test]
async fn the_wait_for_the_nodes_answer_is_bounded() {
    let bad = bad_way(owner()).await;
    bad.way.poison(SUBMIT, Poison::Hang);
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Unknown);
    bad.way.poison("chain_getFinalizedHead", Poison::Hang);
    bad.way.poison("chain_getFinalizedHead", Poison::Hang);
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Definite);
    bad.pay().await.unwrap();
}

/// The block is final; that its events cannot be read at once changes nothing.
#[tokio::test]
async fn the_result_of_a_final_call_is_asked_for_again() {
    let bad = bad_way(owner()).await;
    bad.way.poison("chain_getBlock", Poison::LoseRequest);
    bad.pay().await.unwrap();
    for _ in 0..3 {
        bad.way.poison("chain_getBlock", Poison::LoseRequest);
    }
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Unknown);
    bad.pay().await.unwrap();
    assert_eq!(bad.way.calls(NEXT_NONCE), 1, "it is final, so its number is known to be spent");
}

#[tokio::test]
async fn a_caller_who_goes_away_disturbs_nobody() {
    let bad = bad_way(owner()).await;
    bad.pay().await.unwrap();
    // Poll it a few times, so that it stops in different places, and drop it.
    for polls in 0..40 {
        let mut call = Box::pin(bad.pay());
        for _ in 0..polls {
            if (&mut call).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
    }
    bad.pay().await.unwrap();
}

#[tokio::test]
async fn no_money_is_full_at_the_pool_and_in_the_block() {
    let bad = bad_way(beggar()).await;
    check(bad.pay().await, PortErrorKind::Full, Outcome::Definite);
    let rich = bad.net.client(owner()).await;
    let too_much = rich.transfer_keep_alive(other().account(), 10_000_000 * CESS).await.map(drop);
    check(too_much, PortErrorKind::Full, Outcome::Definite);
    let unpayable = rich.mint_territory(&name(), 900, 3000).await.map(drop);
    check(unpayable, PortErrorKind::Full, Outcome::Definite);
    let no_space = rich.mint_territory(&name(), 1300, 30).await.map(drop);
    check(no_space, PortErrorKind::Full, Outcome::Definite);
}

#[tokio::test]
async fn dispatch_errors_are_named() {
    let bad = bad_way(owner()).await;
    let error = bad.chain.renew_territory(&name(), 30).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (PortErrorKind::Refused, Outcome::Definite));
    let message = error.message();
    assert!(message.contains("StorageHandler.renewal_territory"), "{message}");
    assert!(message.contains("StorageHandler.NotHaveTerritory"), "{message}");
}

#[tokio::test]
async fn a_call_the_chain_does_not_have_is_refused_unsent() {
    let bad = bad_way(owner()).await;
    check(
        bad.chain.call("FileBank", "create_bucket", vec![]).await.map(drop),
        PortErrorKind::Refused,
        Outcome::Definite,
    );
    check(
        bad.chain.call("Nowhere", "nothing", vec![]).await.map(drop),
        PortErrorKind::Refused,
        Outcome::Definite,
    );
    assert_eq!(bad.way.calls(SUBMIT), 0);
    bad.pay().await.unwrap();
}

#[tokio::test]
async fn many_calls_of_one_account_are_under_way_at_once() {
    let bad = bad_way(owner()).await;
    for result in join_all((0..40).map(|_| bad.pay())).await {
        result.unwrap();
    }
    assert_eq!((bad.way.calls(SUBMIT), bad.way.calls(NEXT_NONCE)), (40, 1));
}

#[tokio::test]
async fn the_stream_of_events_fills_gaps_and_ends_with_its_connection() {
    let bad = bad_way(owner()).await;
    bad.way.poison("chain_subscribeFinalizedHeads", Poison::EndAfter(4));
    let mut events = bad.chain.events().await.unwrap();
    let mut next = None;
    while let Some(event) = events.next().await {
        let ChainEvent::Block(head) = event else { continue };
        assert!(next.is_none_or(|next| next == head.block), "{next:?} {head:?}");
        next = Some(head.block + 1);
    }
    assert!(next.is_some());
    bad.way.poison("chain_subscribeFinalizedHeads", Poison::LoseRequest);
    assert!(bad.chain.events().await.unwrap().next().await.is_some());
}

/// What a killed process leaves behind: calls that wait somewhere, with numbers nobody knows.
#[tokio::test]
async fn behind_a_fence_no_call_of_an_earlier_life_is_executed() {
    let bad = bad_way(owner()).await;
    for _ in 0..3 {
        bad.way.poison(SUBMIT, Poison::Keep);
    }
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Unknown);
    assert!(bad.way.deliver().await, "without a fence it may come at any time");
    let later =
        SubxtChain::from_rpc_client_with(bad.net.dev.rpc_client().into(), owner(), quick()).await.unwrap();
    later.transfer_keep_alive(other().account(), CESS).await.unwrap();
    let before = bad.received().await;
    assert!(before > 2 * CESS - 1, "{before}");

    // Two at once have two numbers only when the first was accepted, so they are lost one by one.
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Unknown);
    later.transfer_keep_alive(other().account(), CESS).await.unwrap();
    check(bad.pay().await, PortErrorKind::Unavailable, Outcome::Unknown);
    let before = bad.received().await;
    let later = later.with_signer(owner());
    Chain::fence(&later).await.unwrap();
    bad.way.deliver().await;
    for _ in 0..4 {
        later.transfer_keep_alive(other().account(), CESS).await.unwrap();
    }
    assert_eq!(bad.received().await, before + 4 * CESS);
}
