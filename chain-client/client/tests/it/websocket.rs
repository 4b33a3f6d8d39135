//! A node that goes and comes back.

use futures::StreamExt;
use gw_chain::{ChainConfig, SubxtChain};
use gw_types::ports::Chain;
use gw_types::{Outcome, PortErrorKind};

use crate::net::{CESS, Net, other, owner, quick};

#[tokio::test]
async fn the_next_call_after_a_break_connects_again() {
    let net = Net::start().await;
    let server = net.dev.serve_ws("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr();
    let chain = SubxtChain::connect_with(&format!("ws://{address}"), owner(), quick()).await.unwrap();
    chain.transfer_keep_alive(other().account(), CESS).await.unwrap();
    let mut events = chain.events().await.unwrap();
    assert!(events.next().await.is_some());

    server.stop().await;
    while events.next().await.is_some() {}
    let error = chain.balance().await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (PortErrorKind::Unavailable, Outcome::Definite), "{error}");
    let error = chain.transfer_keep_alive(other().account(), CESS).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (PortErrorKind::Unavailable, Outcome::Definite), "{error}");

    let server = net.dev.serve_ws(address).await.unwrap();
    // A failure is remembered for at most `backoff_max`, 20 ms here.
    let back = loop {
        match chain.transfer_keep_alive(other().account(), CESS).await {
            Ok(receipt) => break receipt,
            Err(error) => assert!(error.message().contains("a moment ago"), "{error}"),
        }
    };
    assert!(back.block > 0);
    assert!(chain.events().await.unwrap().next().await.is_some());

    // Idle, the node goes and comes back: nobody needs to notice.
    server.stop().await;
    let _server = net.dev.serve_ws(address).await.unwrap();
    chain.balance().await.unwrap();
    net.dev.shutdown().await;
}

#[tokio::test]
async fn another_chain_at_the_same_address_is_not_followed() {
    let net = Net::start().await;
    let server = net.dev.serve_ws("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr();
    let chain = SubxtChain::connect_with(&format!("ws://{address}"), owner(), quick()).await.unwrap();
    server.stop().await;

    let directory = tempfile::tempdir().unwrap();
    let config = gw_devchain::DevChainConfig::new(directory.path().join("other"));
    let stranger = gw_devchain::DevChain::open(config).await.unwrap();
    assert_ne!(stranger.genesis_hash(), net.dev.genesis_hash());
    let _server = stranger.serve_ws(address).await.unwrap();
    let error = chain.balance().await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Refused, "{error}");
    assert!(error.message().contains("another chain"), "{error}");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_reported_within_bounds() {
    // Port 1 on loopback: nobody listens.
    let error = SubxtChain::connect_with("ws://127.0.0.1:1", owner(), quick()).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (PortErrorKind::Unavailable, Outcome::Definite));
    let error =
        SubxtChain::connect_with("ws://192.0.2.1:9944", owner(), ChainConfig::default()).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Refused, "unencrypted, and not loopback");
}
