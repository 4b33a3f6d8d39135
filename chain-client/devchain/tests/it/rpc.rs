//! The RPC surface: the same in process and over WebSocket, and the latter for this machine only.

use crate::support::{Net, bytes, connect, id, key};
use gw_devchain::DevChainError;
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use subxt_rpcs::{RpcClient, rpc_params};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LOOPBACK: &str = "127.0.0.1:0";

#[tokio::test]
async fn a_client_over_websocket_does_what_one_in_process_does() {
    let net = Net::start().await;
    let server = net.chain.serve_ws(LOOPBACK.parse().unwrap()).await.unwrap();
    let rpc = RpcClient::from_url(format!("ws://{}", server.local_addr())).await.unwrap();
    let api = connect(rpc).await;
    assert_eq!(api.genesis_hash().0, net.chain.genesis_hash());
    let mut blocks = api.stream_blocks().await.unwrap();
    let tx = subxt::dynamic::transaction("System", "remark", vec![bytes(b"over the wire")]);
    let at = api.at_current_block().await.unwrap();
    let progress = at.transactions().sign_and_submit_then_watch_default(&tx, &key("Bob")).await.unwrap();
    let landed = progress.wait_for_finalized().await.unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&landed.block_hash()) {
        seen.push(blocks.next().await.unwrap().unwrap().hash());
    }
    server.stop().await;
    assert!(TcpStream::connect(server.local_addr()).await.is_err());
}

#[tokio::test]
async fn subxt_finds_its_way_without_being_told_the_backend() {
    let net = Net::start().await;
    let rpc = RpcClient::new(net.chain.rpc_client());
    let api = subxt::OnlineClient::<subxt::PolkadotConfig>::from_rpc_client(rpc).await.unwrap();
    assert_eq!(api.at_current_block().await.unwrap().spec_version(), 137);
}

#[tokio::test]
async fn the_methods_that_tools_ask_for_answer() {
    let net = Net::start().await;
    net.make_block().await;
    let rpc = RpcClient::new(net.chain.rpc_client());
    let ask = async |method: &str, params: Json| -> Json {
        let mut list = subxt_rpcs::client::RpcParams::new();
        for param in params.as_array().unwrap() {
            list.push(param).unwrap();
        }
        rpc.request(method, list).await.unwrap()
    };
    let methods = ask("rpc_methods", json!([])).await;
    let methods: BTreeSet<&str> =
        methods["methods"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    assert!(methods.contains("author_submitAndWatchExtrinsic"));
    assert!(!methods.iter().any(|m| m.starts_with("archive") || m.starts_with("chainHead")));
    assert!(ask("system_chain", json!([])).await.as_str().unwrap().contains("simulated"));
    assert_eq!(ask("system_properties", json!([])).await["ss58Format"], 11330);
    let version = ask("state_getRuntimeVersion", json!([])).await;
    assert_eq!((&version["specVersion"], &version["specName"]), (&json!(137), &json!("cess-node")));
    assert!(ask("state_getMetadata", json!([])).await.as_str().unwrap().starts_with("0x6d657461"));

    let best = ask("chain_getBlockHash", json!([])).await;
    assert_eq!(best, ask("chain_getFinalizedHead", json!([])).await);
    assert_eq!(ask("chain_getBlockHash", json!([[0, "0x1", 999]])).await[2], Json::Null);
    let block = ask("chain_getBlock", json!([best])).await;
    assert_eq!(block["block"]["header"]["number"], "0x1");
    assert_eq!(block["block"]["extrinsics"].as_array().unwrap().len(), 2);

    let address = sp_core::crypto::Ss58Codec::to_ss58check_with_version(
        &sp_core::crypto::AccountId32::from(id(&key("Alice"))),
        sp_core::crypto::Ss58AddressFormat::custom(11330),
    );
    assert_eq!(address, "cXjmuHdBk4J3Zyt2oGodwGegNFaTFPcfC48PZ9NMmcUFzF6cc");
    assert_eq!(ask("system_accountNextIndex", json!([address])).await, 1);
    let price_key = "0xd594a5c1eaaed1896a72205f11d64700464608f06602a793c3e237f406d114f1";
    let stored = ask("state_queryStorageAt", json!([[price_key]])).await;
    assert_eq!(stored[0]["changes"][0][1], "0x0000b89d0d6955a00100000000000000");
    let keys = ask("state_getKeysPaged", json!(["0x", 5])).await;
    assert_eq!(keys.as_array().unwrap().len(), 5);
    let more = ask("state_getKeysPaged", json!(["0x", 5, keys[4]])).await;
    assert!(more[0].as_str() > keys[4].as_str());
}

#[tokio::test]
async fn a_signed_transaction_is_priced_taken_once_and_kept_until_its_turn() {
    let net = Net::start().await;
    let rpc = RpcClient::new(net.chain.rpc_client());
    let at = net.api.at_current_block().await.unwrap();
    let signed = async |nonce: u64| -> String {
        let tx = subxt::dynamic::transaction("System", "remark", vec![bytes(b"signed")]);
        let params = subxt::config::DefaultExtrinsicParamsBuilder::new().nonce(nonce).mortal(64).build();
        let tx = at.transactions().create_signed(&tx, &key("Carol"), params).await.unwrap();
        format!("0x{}", hex::encode(tx.encoded()))
    };
    let (first, second) = (signed(0).await, signed(1).await);
    let info: Json = rpc.request("payment_queryInfo", rpc_params![&first]).await.unwrap();
    let fee: u128 = info["partialFee"].as_str().unwrap().parse().unwrap();
    let bytes_fee = (first.len() as u128 / 2 - 1) * 10_000_000_000_000;
    assert!(fee > bytes_fee, "{fee} is for {bytes_fee} and some weight");

    rpc.request::<Json>("author_submitExtrinsic", rpc_params![&second]).await.unwrap();
    let again = rpc.request::<Json>("author_submitExtrinsic", rpc_params![&second]).await.unwrap_err();
    assert!(again.to_string().contains("1013"), "{again}");
    net.make_block().await;
    let pending: Vec<String> = rpc.request("author_pendingExtrinsics", rpc_params![]).await.unwrap();
    assert_eq!(pending, [second], "it waits for the nonce before it");
    rpc.request::<Json>("author_submitExtrinsic", rpc_params![&first]).await.unwrap();
    while !rpc.request::<Vec<String>>("author_pendingExtrinsics", rpc_params![]).await.unwrap().is_empty() {
        net.make_block().await;
    }
}

#[tokio::test]
async fn blocks_keep_their_distance_and_the_heart_beats_when_nothing_happens() {
    let distance = Duration::from_millis(60);
    let net = Net::start_with(|config| config.block_min = distance).await;
    let start = std::time::Instant::now();
    for _ in 0..5 {
        net.make_block().await;
    }
    assert!(start.elapsed() >= 4 * distance, "{:?}", start.elapsed());
    assert_eq!(net.block(), 5, "a block for each transaction and none besides");
    let idle = Net::start_with(|config| config.heartbeat = Duration::from_millis(10)).await;
    let mut blocks = idle.api.stream_blocks().await.unwrap();
    for _ in 0..3 {
        blocks.next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn nonsense_gets_an_error_and_the_chain_goes_on() {
    let net = Net::start().await;
    let rpc = RpcClient::new(net.chain.rpc_client());
    let unknown = "0x0000000000000000000000000000000000000000000000000000000000000001";
    let cases: [(&str, subxt_rpcs::client::RpcParams); 8] = [
        ("no_such_method", rpc_params![]),
        ("state_getStorage", rpc_params![7]),
        ("state_getStorage", rpc_params!["0xzz"]),
        ("state_getStorage", rpc_params!["0x00", unknown]),
        ("state_call", rpc_params!["Core_nothing", "0x"]),
        ("author_submitExtrinsic", rpc_params!["0x0102"]),
        ("system_accountNextIndex", rpc_params!["not an address"]),
        ("chain_getBlockHash", rpc_params!["twelve"]),
    ];
    for (method, params) in cases {
        assert!(rpc.request::<Json>(method, params).await.is_err(), "{method}");
    }
    assert_eq!(rpc.request::<Json>("chain_getHeader", rpc_params![unknown]).await.unwrap(), Json::Null);
    assert!(rpc.subscribe::<Json>("no_such_stream", rpc_params![], "no").await.is_err());
    net.make_block().await;
}

#[tokio::test]
async fn states_older_than_the_history_are_gone_and_say_so() {
    let net = Net::start_with(|config| config.heartbeat = Duration::from_millis(1)).await;
    let mut blocks = net.api.stream_blocks().await.unwrap();
    while net.block() < 300 {
        blocks.next().await.unwrap().unwrap();
    }
    let rpc = RpcClient::new(net.chain.rpc_client());
    let hash_of = async |number: u32| -> String {
        rpc.request("chain_getBlockHash", rpc_params![number]).await.unwrap()
    };
    let read = async |hash: String| -> Result<Json, subxt_rpcs::Error> {
        rpc.request(
            "state_getStorage",
            rpc_params!["0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac", hash],
        )
        .await
    };
    let recent = hash_of(net.block() - 200).await;
    assert!(read(recent).await.unwrap().is_string());
    let error = read(hash_of(3).await).await.unwrap_err();
    assert!(error.to_string().contains("discarded"), "{error}");
}

/// The first line of the answer to a WebSocket request with these headers.
async fn knock(addr: SocketAddr, host: &str, origin: Option<&str>) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let net = Net::start().await;
    let server = net.chain.serve_ws(LOOPBACK.parse().unwrap()).await.unwrap();
    let addr = server.local_addr();
    let here = addr.to_string();
    assert_eq!(knock(addr, &here, None).await, "HTTP/1.1 101");
    assert_eq!(knock(addr, "localhost", Some("http://localhost:8000")).await, "HTTP/1.1 101");
    assert_eq!(knock(addr, &here, Some("https://example.org")).await, "HTTP/1.1 403");
    assert_eq!(knock(addr, "rebound.example.org", None).await, "HTTP/1.1 403");
    let public: SocketAddr = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(net.chain.serve_ws(public).await, Err(DevChainError::NotLoopback(_))));
}

#[tokio::test]
async fn after_shutdown_clients_get_errors_and_streams_end() {
    let net = Net::start().await;
    let rpc = RpcClient::new(net.chain.rpc_client());
    let mut heads = rpc
        .subscribe::<Json>("chain_subscribeNewHeads", rpc_params![], "chain_unsubscribeNewHeads")
        .await
        .unwrap();
    assert!(heads.next().await.unwrap().is_ok());
    net.chain.shutdown().await;
    assert!(heads.next().await.is_none());
    let error = rpc.request::<Json>("system_chain", rpc_params![]).await.unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
}
