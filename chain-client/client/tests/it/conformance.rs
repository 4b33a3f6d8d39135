//! The suite that every chain passes.

use gw_chain::{SubxtChain, conformance};

use crate::net::{Net, owner, quick, world};

#[tokio::test]
async fn the_client_in_process_keeps_every_promise_of_the_ports() {
    let net = Net::start().await;
    let chain = net.client(owner()).await;
    conformance::run(&world(&chain, "in process")).await;
    net.dev.shutdown().await;
}

#[tokio::test]
async fn the_client_over_websocket_keeps_every_promise_of_the_ports() {
    let net = Net::start().await;
    let server = net.dev.serve_ws("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("ws://{}", server.local_addr());
    let chain = SubxtChain::connect_with(&url, owner(), quick()).await.unwrap();
    conformance::run(&world(&chain, "socket")).await;
    net.dev.shutdown().await;
}
