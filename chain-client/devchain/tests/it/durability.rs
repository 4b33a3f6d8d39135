//! What was in a block stays, whatever ends the process.

use crate::support::{Net, bytes, config, connect, fid, id, key};
use gw_devchain::{DevChain, Genesis};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};
use subxt::dynamic::Value;
use subxt_rpcs::RpcClient;
use tempfile::TempDir;

async fn reopen(dir: TempDir) -> Net {
    let mut config = config(dir.path());
    config.genesis = Genesis::default();
    let chain = DevChain::open(config).await.unwrap();
    let api = connect(RpcClient::new(chain.rpc_client())).await;
    Net { chain, api, dir }
}

#[tokio::test]
async fn a_restart_keeps_the_chain_and_its_own_genesis() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    net.store(&alice, &fid(1), 1, "default").await;
    net.declare(&alice, &fid(2), 1, "default").await.unwrap();
    net.report_all(5, &fid(2)).await;
    let (genesis, best) = (net.chain.genesis_hash(), net.chain.best_block());
    net.chain.shutdown().await;

    let net = reopen(net.dir).await;
    assert_eq!((net.chain.genesis_hash(), net.chain.best_block()), (genesis, best));
    assert!(net.file(&fid(1)).await.is_some());
    assert_eq!(net.deal(&fid(2)).await.unwrap().complete_list.len(), 5);
    for index in 5..12 {
        net.report(index, index as u8 + 1, &fid(2)).await.unwrap();
    }
    assert!(net.file(&fid(2)).await.is_some());
    assert!(net.block() > best.0);
}

#[tokio::test]
async fn a_chain_that_was_only_dropped_reopens_where_it_was() {
    let net = Net::start().await;
    net.mint(&key("Alice"), 1, "default", 30).await.unwrap();
    let best = net.chain.best_block();
    let Net { chain, api, dir } = net;
    drop((chain, api));
    let net = reopen(dir).await;
    assert!(net.block() >= best.0);
    assert_eq!(net.territory(&key("Alice"), "default").await.total_space, 1 << 30);
}

const CHILD_DIR: &str = "GW_DEVCHAIN_KILL_DIR";

/// The process that is killed. It says which transfers are in a block, until it is killed.
#[tokio::test]
async fn child_that_transfers_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let chain = DevChain::open(config(Path::new(&dir))).await.unwrap();
    let api = connect(RpcClient::new(chain.rpc_client())).await;
    let net = Net { chain, api, dir: tempfile::tempdir().unwrap() };
    for round in 0.. {
        let to = Value::unnamed_variant("Id", [bytes(id(&key(&format!("heir{round}"))))]);
        let args = vec![to, Value::u128(2_000_000_000_000_000_000)];
        match net.call(&key("Bob"), "Balances", "transfer_keep_alive", args).await {
            Ok(_) => println!("landed {round}"),
            Err(error) => println!("failed {round}: {error}"),
        }
    }
}

#[tokio::test]
async fn kill_nine_loses_nothing_that_was_in_a_block() {
    let dir = tempfile::tempdir().unwrap();
    let mut landed = 0;
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::child_that_transfers_until_it_is_killed", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.map(Result::unwrap) {
            assert!(!line.contains("failed"), "{line}");
            if let Some(at) = line.find("landed ") {
                landed = landed.max(line[at + 7..].trim().parse::<u32>().unwrap() + 1);
                seen += 1;
            }
            if seen == 15 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(landed >= 15);
    let net = reopen(dir).await;
    for round in 0..landed {
        let heir = id(&key(&format!("heir{round}")));
        assert!(net.free(&heir).await > 0, "transfer {round} of {landed} is gone");
    }
    net.make_block().await;
}
