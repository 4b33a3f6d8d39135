//! A territory's end: frozen at its deadline, expired seven days later.

use crate::support::{Net, bytes, event, fails, fid, id, key, miner};
use gw_devchain::runtime::types::{FRAGMENT_SIZE, GIB, TerritoryInfo, TerritoryState};
use subxt::dynamic::Value;
use subxt_signer::sr25519::Keypair;

/// Root sets the deadline to the next block or so, and that block is made.
async fn freeze(net: &Net, who: &Keypair, name: &str) -> TerritoryInfo {
    let deadline = net.block() + 2;
    let fields = vec![
        ("user", bytes(id(who))),
        ("terr_name", bytes(name)),
        ("deadline", Value::u128(deadline.into())),
    ];
    net.sudo("StorageHandler", "update_user_territory_life", fields).await.unwrap();
    while net.block() < deadline {
        net.make_block().await;
    }
    let frozen = net.territory(who, name).await;
    assert_eq!((frozen.state, frozen.deadline), (TerritoryState::Frozen, deadline));
    frozen
}

/// Root moves the expiry from seven days after the deadline to now.
async fn expire(net: &Net, who: &Keypair, name: &str, frozen: &TerritoryInfo) {
    let planned = frozen.deadline + 100_800;
    let token = bytes(frozen.token.0);
    let entry =
        net.raw("StorageHandler", "TerritoryExpired", vec![Value::u128(planned.into()), token.clone()]).await;
    assert!(entry.is_some(), "expiry is seven days of blocks after the deadline");
    let soon = net.block() + 2;
    let fields = vec![
        ("old_block", Value::u128(planned.into())),
        ("new_block", Value::u128(soon.into())),
        ("token", token),
    ];
    net.sudo("StorageHandler", "update_expired_exec", fields).await.unwrap();
    while net.block() < soon {
        net.make_block().await;
    }
    assert_eq!(net.territory(who, name).await.state, TerritoryState::Expired);
}

#[tokio::test]
async fn a_frozen_territory_refuses_uploads_and_takes_them_again_when_renewed() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    net.declare(&alice, &fid(1), 1, "default").await.unwrap();
    let frozen = freeze(&net, &alice, "default").await;
    fails(net.declare(&alice, &fid(2), 1, "default").await, "NotActive");
    let grow = vec![bytes("default"), Value::u128(1)];
    fails(net.call(&alice, "StorageHandler", "expanding_territory", grow).await, "NotActive");
    // What was declared before still completes.
    net.report_all(12, &fid(1)).await;
    assert!(net.file(&fid(1)).await.is_some());

    let renew = vec![bytes("default"), Value::u128(3)];
    net.call(&alice, "StorageHandler", "renewal_territory", renew).await.unwrap();
    let renewed = net.territory(&alice, "default").await;
    assert_eq!(renewed.state, TerritoryState::Active);
    assert!(renewed.deadline >= frozen.deadline + 3 * 14_400);
    let planned = vec![Value::u128((frozen.deadline + 100_800).into()), bytes(frozen.token.0)];
    assert!(net.raw("StorageHandler", "TerritoryExpired", planned).await.is_none());
    net.declare(&alice, &fid(2), 1, "default").await.unwrap();
}

#[tokio::test]
async fn an_expired_territory_loses_its_files_and_its_space_is_for_sale_again() {
    let net = Net::start().await;
    let (alice, bob) = (key("Alice"), key("Bob"));
    net.mint(&alice, 2, "default", 30).await.unwrap();
    net.mint(&alice, 1, "other", 30).await.unwrap();
    net.mint(&bob, 1, "bobs", 30).await.unwrap();
    net.store(&alice, &fid(1), 1, "default").await;
    net.store(&alice, &fid(2), 1, "default").await;
    net.store(&alice, &fid(3), 1, "other").await;
    net.declare(&bob, &fid(2), 1, "bobs").await.unwrap();
    let frozen = freeze(&net, &alice, "default").await;
    assert!(net.file(&fid(1)).await.is_some(), "frozen files are readable");
    expire(&net, &alice, "default", &frozen).await;

    assert!(net.file(&fid(1)).await.is_none());
    assert_eq!(net.file(&fid(2)).await.unwrap().owner.len(), 1, "it is Bob's too");
    assert!(net.file(&fid(3)).await.is_some(), "another territory is not touched");
    assert_eq!(net.held(&alice).await.len(), 1);
    assert_eq!(net.number("PurchasedSpace").await, 2 * GIB);
    assert_eq!(net.miner_info(0).await.service_space, 2 * FRAGMENT_SIZE);
    let renew = vec![bytes("default"), Value::u128(3)];
    fails(net.call(&alice, "StorageHandler", "renewal_territory", renew.clone()).await, "StateError");

    let revived = net.call(&alice, "StorageHandler", "reactivate_territory", renew.clone()).await;
    event(&revived, "StorageHandler.ReactivateTerritory");
    let territory = net.territory(&alice, "default").await;
    assert_eq!((territory.state, territory.remaining_space), (TerritoryState::Active, 2 * GIB));
    assert_eq!(net.number("PurchasedSpace").await, 4 * GIB);
    fails(net.call(&alice, "StorageHandler", "reactivate_territory", renew).await, "NotExpire");
    net.declare(&alice, &fid(4), 1, "default").await.unwrap();
}

#[tokio::test]
async fn a_deal_of_an_expired_territory_is_dropped_without_a_word() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    net.declare(&alice, &fid(1), 1, "default").await.unwrap();
    net.report_all(5, &fid(1)).await;
    assert_eq!(net.miner_info(4).await.lock_space, FRAGMENT_SIZE);
    let frozen = freeze(&net, &alice, "default").await;
    expire(&net, &alice, "default", &frozen).await;
    assert!(net.deal(&fid(1)).await.is_some(), "it stays until somebody reports");
    let report = net.report(5, 6, &fid(1)).await.unwrap();
    assert!(!report.iter().any(|(name, _)| name.starts_with("FileBank.")), "{report:?}");
    assert!(net.deal(&fid(1)).await.is_none());
    assert_eq!(net.miner_info(4).await.lock_space, 0);
    assert_eq!(net.miner_info(5).await.lock_space, 0);
    let again = vec![Value::u128(6), crate::support::hash(&fid(1))];
    fails(net.call(&miner(5), "FileBank", "transfer_report", again).await, "NonExistent");
}
