//! Miners that come, move and go; and the faucet.

use crate::support::{MINERS, Net, bytes, event, fails, id, key, miner};
use gw_devchain::runtime::types::{CESS, MinerInfo, TIB};
use subxt::dynamic::Value;

fn registration(stake: u128, tib: u128) -> Vec<Value> {
    let endpoint = bytes("http://127.0.0.1:1234");
    vec![bytes(id(&key("Bob"))), endpoint, Value::u128(stake), Value::u128(tib)]
}

#[tokio::test]
async fn a_miner_registers_with_collateral_and_serves_at_once() {
    let net = Net::start().await;
    let bob = key("Bob");
    let before = net.number("TotalIdleSpace").await;
    let register = |args| net.call(&bob, "Sminer", "regnstk", args);
    fails(register(registration(8_000 * CESS - 1, 2)).await, "CollateralNotUp");
    event(&register(registration(8_000 * CESS, 2)).await, "Sminer.Registered");
    fails(register(registration(8_000 * CESS, 2)).await, "AlreadyRegistered");
    let info: MinerInfo = net.read("Sminer", "MinerItems", vec![bytes(id(&bob))]).await.unwrap();
    assert_eq!(info.state.as_slice(), b"positive");
    assert_eq!((info.idle_space, info.collaterals), (2 * TIB, 8_000 * CESS));
    assert_eq!(net.number("TotalIdleSpace").await, before + 2 * TIB);
    let all: Vec<[u8; 32]> = net.read("Sminer", "AllMiner", vec![]).await.unwrap();
    assert_eq!((all.len(), all[MINERS]), (MINERS + 1, id(&bob)));
    let count: u32 = net.read("Sminer", "CounterForMinerItems", vec![]).await.unwrap();
    assert_eq!(count as usize, MINERS + 1);
}

#[tokio::test]
async fn a_miner_moves_and_leaves() {
    let net = Net::start().await;
    let one = miner(0);
    let moved = net.call(&one, "Sminer", "update_endpoint", vec![bytes("http://[::1]:9")]).await;
    event(&moved, "Sminer.UpdateEndPoint");
    assert_eq!(net.miner_info(0).await.endpoint.as_slice(), b"http://[::1]:9");
    fails(net.call(&key("Alice"), "Sminer", "update_endpoint", vec![bytes("http://here")]).await, "NotMiner");
    let leave = || vec![bytes(id(&one))];
    fails(net.call(&miner(1), "Sminer", "miner_exit_prep", leave()).await, "NotStakingAcc");
    event(&net.call(&one, "Sminer", "miner_exit_prep", leave()).await, "Sminer.MinerExitPrep");
    assert_eq!(net.miner_info(0).await.state.as_slice(), b"lock");
    fails(net.call(&one, "Sminer", "miner_exit_prep", leave()).await, "StateError");
}

#[tokio::test]
async fn the_faucet_gives_what_it_got_once_a_day() {
    let net = Net::start().await;
    let new = key("New");
    let top_up = vec![Value::u128(100 * CESS)];
    event(&net.call(&key("Alice"), "Sminer", "faucet_top_up", top_up).await, "Sminer.FaucetTopUpMoney");
    let alice = key("Alice");
    let draw = || net.call(&alice, "Sminer", "faucet", vec![bytes(id(&new))]);
    event(&draw().await, "Sminer.DrawFaucetMoney");
    assert_eq!(net.free(&id(&new)).await, 2 * CESS);
    fails(draw().await, "LessThan24Hours");
}
