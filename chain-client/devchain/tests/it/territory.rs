//! Buying, growing, prolonging and giving away territory.

use crate::support::{MINER_SPACE, MINERS, Net, bytes, event, fails, fid, id, key};
use codec::Decode;
use gw_devchain::runtime::types::{CESS, GIB, OrderInfo, TerritoryState};
use subxt::dynamic::Value;

#[tokio::test]
async fn a_territory_is_bought_for_at_least_thirty_days_and_under_a_new_name() {
    let net = Net::start().await;
    let alice = key("Alice");
    fails(net.mint(&alice, 1, "default", 29).await, "BoundariesNotMet");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    fails(net.mint(&alice, 1, "default", 30).await, "PurchasedSpace");
    assert_eq!(net.number("PurchasedSpace").await, GIB);
    net.mint(&alice, 2, "other", 31).await.unwrap();
    assert_eq!(net.number("PurchasedSpace").await, 3 * GIB);
    fails(net.mint(&alice, 1, &"n".repeat(64), 30).await, "1001");
}

#[tokio::test]
async fn no_more_is_sold_than_the_miners_have() {
    let net = Net::start().await;
    let alice = key("Alice");
    let all = MINERS as u128 * MINER_SPACE / GIB;
    fails(net.mint(&alice, all + 1, "all", 30).await, "InsufficientAvailableSpace");
    net.mint(&alice, all, "all", 30).await.unwrap();
    fails(net.mint(&alice, 1, "more", 30).await, "InsufficientAvailableSpace");
    // What holds files counts as well as what is idle.
    net.store(&alice, &fid(1), 1, "all").await;
    let grow = vec![bytes("all"), Value::u128(1)];
    fails(
        net.call(&alice, "StorageHandler", "expanding_territory", grow).await,
        "InsufficientAvailableSpace",
    );
}

#[tokio::test]
async fn who_cannot_pay_gets_nothing() {
    let net = Net::start_with(|config| config.genesis.balances.push((id(&key("Poor")), 900 * CESS))).await;
    let poor = key("Poor");
    fails(net.mint(&poor, 1, "default", 30).await, "InsufficientBalance");
    assert_eq!(net.number("PurchasedSpace").await, 0);
    assert!(net.raw("StorageHandler", "Territory", vec![bytes(id(&poor)), bytes("default")]).await.is_none());
}

#[tokio::test]
async fn a_territory_grows_for_the_days_left_and_is_prolonged_from_its_deadline() {
    let net = Net::start().await;
    let bob = key("Bob");
    net.mint(&bob, 1, "default", 30).await.unwrap();
    let first = net.territory(&bob, "default").await;
    let grown =
        net.call(&bob, "StorageHandler", "expanding_territory", vec![bytes("default"), Value::u128(2)]).await;
    let fields = event(&grown, "StorageHandler.ExpansionTerritory");
    let (_, space, spend) = <(Vec<u8>, u128, u128)>::decode(&mut &fields[..]).unwrap();
    assert_eq!((space, spend), (2 * GIB, 2 * 30 * 30 * CESS));
    let renewed =
        net.call(&bob, "StorageHandler", "renewal_territory", vec![bytes("default"), Value::u128(5)]).await;
    let fields = event(&renewed, "StorageHandler.RenewalTerritory");
    let (_, days, spend) = <(Vec<u8>, u32, u128)>::decode(&mut &fields[..]).unwrap();
    assert_eq!((days, spend), (5, 3 * 5 * 30 * CESS));
    let last = net.territory(&bob, "default").await;
    assert_eq!((last.total_space, last.remaining_space), (3 * GIB, 3 * GIB));
    assert_eq!(last.deadline, first.deadline + 5 * 14_400);
    let missing = vec![bytes("missing"), Value::u128(5)];
    fails(net.call(&bob, "StorageHandler", "renewal_territory", missing).await, "NotHaveTerritory");
}

async fn order(net: &Net, kind: &str, gib: u128, days: u128, minutes: u128) -> Vec<u8> {
    let args = vec![
        bytes(id(&key("Alice"))),
        bytes("default"),
        Value::unnamed_variant(kind, []),
        Value::u128(gib),
        Value::u128(days),
        Value::u128(minutes),
    ];
    let outcome = net.call(&key("Bob"), "StorageHandler", "create_order", args).await;
    let fields = event(&outcome, "StorageHandler.CreatePayOrder");
    Vec::decode(&mut &fields[..]).unwrap()
}

#[tokio::test]
async fn somebody_else_pays_an_order() {
    let net = Net::start().await;
    let (alice, carol) = (key("Alice"), key("Carol"));
    let pay = |id: Vec<u8>| net.call(&carol, "StorageHandler", "exec_order", vec![bytes(id)]);
    let buy = order(&net, "Buy", 2, 30, 60).await;
    let kept: OrderInfo = net.read("StorageHandler", "PayOrder", vec![bytes(&buy)]).await.unwrap();
    assert_eq!((kept.pay, kept.gib_count, kept.days), (2 * 30 * 30 * CESS, 2, 30));
    let before = net.free(&id(&carol)).await;
    event(&pay(buy.clone()).await, "StorageHandler.PaidOrder");
    assert!(before - net.free(&id(&carol)).await >= kept.pay);
    assert_eq!(net.territory(&alice, "default").await.total_space, 2 * GIB);
    fails(pay(buy).await, "PurchasedSpace");
    pay(order(&net, "Expansion", 1, 0, 60).await).await.unwrap();
    assert_eq!(net.territory(&alice, "default").await.total_space, 3 * GIB);
    let deadline = net.territory(&alice, "default").await.deadline;
    pay(order(&net, "Renewal", 0, 2, 60).await).await.unwrap();
    assert_eq!(net.territory(&alice, "default").await.deadline, deadline + 2 * 14_400);
    let at_once = order(&net, "Renewal", 0, 2, 0).await;
    fails(pay(at_once).await, "OrderExpired");
    fails(pay(vec![7; 32]).await, "NoOrder");
}

#[tokio::test]
async fn an_empty_territory_is_renamed_and_given_away_and_a_full_one_is_not() {
    let net = Net::start().await;
    let (alice, bob) = (key("Alice"), key("Bob"));
    net.mint(&alice, 1, "old", 30).await.unwrap();
    net.mint(&alice, 1, "busy", 30).await.unwrap();
    net.declare(&alice, &fid(1), 1, "busy").await.unwrap();
    let rename = |from: &str, to: &str| {
        net.call(&alice, "StorageHandler", "territory_rename", vec![bytes(from), bytes(to)])
    };
    fails(rename("busy", "name").await, "ObjectNotZero");
    fails(rename("old", "busy").await, "DuplicateName");
    fails(rename("none", "name").await, "NotHaveTerritory");
    rename("old", "new").await.unwrap();
    let territory = net.territory(&alice, "new").await;
    let grant = |name: &str| vec![bytes(name), bytes(id(&bob))];
    fails(net.call(&alice, "StorageHandler", "territory_grants", grant("busy")).await, "ObjectNotZero");
    net.call(&alice, "StorageHandler", "territory_grants", grant("new")).await.unwrap();
    let owned = (bytes(id(&bob)), bytes(territory.token.0));
    let moved: gw_devchain::runtime::types::TerritoryInfo =
        net.read("StorageHandler", "Territory", vec![owned.0, owned.1]).await.unwrap();
    assert_eq!((moved.token, moved.state), (territory.token, TerritoryState::Active));
    let key_of: ([u8; 32], Vec<u8>) =
        net.read("StorageHandler", "TerritoryKey", vec![bytes(territory.token.0)]).await.unwrap();
    assert_eq!(key_of, (id(&bob), territory.token.0.to_vec()));
}
