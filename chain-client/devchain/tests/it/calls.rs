//! The whole path of a file, and what surrounds every call: fees, nonces, permission to be root.

use crate::support::{Net, WEALTH, bytes, event, fails, fid, hash, id, key, miner};
use gw_devchain::runtime::{
    storage_handler::treasury,
    types::{CESS, FRAGMENT_SIZE, FileState, GIB, SEGMENT_SPACE, TerritoryState},
};
use std::collections::BTreeSet;
use subxt::dynamic::Value;

#[tokio::test]
async fn a_file_is_bought_declared_reported_kept_and_deleted() {
    let net = Net::start().await;
    let alice = key("Alice");
    let outcome = net.mint(&alice, 1, "default", 30).await;
    event(&outcome, "StorageHandler.MintTerritory");
    let bought = net.territory(&alice, "default").await;
    assert_eq!((bought.total_space, bought.remaining_space), (GIB, GIB));
    assert_eq!((bought.used_space, bought.locked_space), (0, 0));
    assert_eq!(bought.state, TerritoryState::Active);
    assert_eq!(bought.deadline - bought.start, 30 * 14_400);

    let fid = fid(1);
    event(&net.declare(&alice, &fid, 2, "default").await, "FileBank.UploadDeclaration");
    let deal = net.deal(&fid).await.unwrap();
    assert_eq!((deal.file_size, deal.segment_list.len(), deal.complete_list.len()), (13, 2, 0));
    assert_eq!(net.territory(&alice, "default").await.locked_space, 2 * SEGMENT_SPACE);

    net.report_all(11, &fid).await;
    assert!(net.file(&fid).await.is_none());
    let busy = net.miner_info(0).await;
    assert_eq!((busy.lock_space, busy.service_space), (2 * FRAGMENT_SIZE, 0));
    let idle_before = net.number("TotalIdleSpace").await;
    let last = net.report(11, 12, &fid).await;
    event(&last, "FileBank.StorageCompleted");
    event(&last, "FileBank.TransferReport");

    let file = net.file(&fid).await.unwrap();
    assert!(net.deal(&fid).await.is_none());
    assert_eq!((file.file_size, file.stat, file.owner.len()), (13, FileState::Active, 1));
    for segment in &file.segment_list {
        let miners: Vec<[u8; 32]> = segment.fragment_list.iter().map(|f| f.miner.clone().into()).collect();
        let expected: Vec<[u8; 32]> = (0..12).map(|index| id(&miner(index))).collect();
        assert_eq!(miners, expected, "column i is with the miner that reported index i + 1");
        assert_eq!(miners.iter().collect::<BTreeSet<_>>().len(), 12);
        assert!(segment.fragment_list.iter().all(|f| f.avail && f.tag.is_none()));
    }
    let used = net.territory(&alice, "default").await;
    assert_eq!((used.used_space, used.locked_space), (2 * SEGMENT_SPACE, 0));
    assert_eq!(used.remaining_space, GIB - 2 * SEGMENT_SPACE);
    let serving = net.miner_info(0).await;
    assert_eq!((serving.lock_space, serving.service_space), (0, 2 * FRAGMENT_SIZE));
    assert_eq!(net.number("TotalIdleSpace").await, idle_before - 2 * SEGMENT_SPACE);
    assert_eq!(net.number("TotalServiceSpace").await, 2 * SEGMENT_SPACE);
    let held = net.held(&alice).await;
    assert_eq!((held[0].file_hash, held[0].file_size), (fid, 2 * SEGMENT_SPACE));

    let args = vec![bytes(id(&alice)), hash(&fid)];
    event(&net.call(&alice, "FileBank", "delete_file", args).await, "FileBank.DeleteFile");
    assert!(net.file(&fid).await.is_none());
    assert!(net.held(&alice).await.is_empty());
    assert_eq!(net.territory(&alice, "default").await.remaining_space, GIB);
    assert_eq!(net.number("TotalIdleSpace").await, idle_before);
    assert_eq!(net.number("TotalServiceSpace").await, 0);
    let idle = net.miner_info(0).await;
    assert_eq!((idle.idle_space, idle.service_space), (busy.idle_space + 2 * FRAGMENT_SIZE, 0));
    net.chain.shutdown().await;
}

#[tokio::test]
async fn the_price_leaves_the_buyer_for_the_treasury_and_the_fee_is_by_length() {
    let net = Net::start().await;
    let bob = key("Bob");
    let treasury: [u8; 32] = treasury().into();
    let pot = net.free(&treasury).await;
    net.mint(&bob, 10, "default", 30).await.unwrap();
    let price = 10 * 30 * 30 * CESS;
    assert_eq!(net.free(&treasury).await - pot, price);
    let fee = WEALTH - price - net.free(&id(&bob)).await;
    assert!((CESS / 1000..CESS / 20).contains(&fee), "{fee}");

    let before = net.free(&id(&bob)).await;
    net.call(&bob, "System", "remark", vec![bytes([7; 10_000])]).await.unwrap();
    let after = net.free(&id(&bob)).await;
    let spent = before - after;
    assert!((CESS / 10..CESS / 5).contains(&spent), "10 kB cost about 0.1 CESS, not {spent}");
}

#[tokio::test]
async fn what_cannot_pay_or_comes_twice_is_refused_at_once() {
    let net = Net::start().await;
    let remark = || vec![bytes(b"hello")];
    fails(net.call(&key("Pauper"), "System", "remark", remark()).await, "1010");
    let alice = key("Alice");
    net.call_with_nonce(&alice, 0, "System", "remark", remark()).await.unwrap();
    fails(net.call_with_nonce(&alice, 0, "System", "remark", remark()).await, "1010");
}

#[tokio::test]
async fn only_the_sudo_key_is_root() {
    let net = Net::start().await;
    let price = || vec![Value::u128(5)];
    fails(net.call(&key("Bob"), "StorageHandler", "define_update_price", price()).await, "BadOrigin");
    let inner = Value::unnamed_variant(
        "StorageHandler",
        [Value::named_variant("define_update_price", [("price", Value::u128(5))])],
    );
    fails(net.call(&key("Bob"), "Sudo", "sudo", vec![inner]).await, "RequireSudo");
    net.sudo("StorageHandler", "define_update_price", vec![("price", Value::u128(5))]).await.unwrap();
    assert_eq!(net.number("UnitPrice").await, 5);
}

#[tokio::test]
async fn money_moves_between_accounts() {
    let net = Net::start().await;
    let new = key("New");
    let to = Value::unnamed_variant("Id", [bytes(id(&new))]);
    let args = vec![to.clone(), Value::u128(5 * CESS)];
    net.call(&key("Bob"), "Balances", "transfer_keep_alive", args).await.unwrap();
    assert_eq!(net.free(&id(&new)).await, 5 * CESS);
    let dust = vec![Value::unnamed_variant("Id", [bytes(id(&key("Dust")))]), Value::u128(CESS - 1)];
    fails(net.call(&key("Bob"), "Balances", "transfer_keep_alive", dust).await, "BelowMinimum");
}

#[tokio::test]
async fn a_hundred_transactions_in_flight_from_several_accounts_all_land() {
    let net = Net::start_with(|config| config.block_min = std::time::Duration::from_millis(20)).await;
    let senders = ["Alice", "Bob", "Carol", "Dave"].map(key);
    let mut sent = Vec::new();
    for (number, sender) in senders.iter().enumerate() {
        // Handed-out nonces, and every second one first, so that the pool must put them in order.
        for nonce in (0..30u64).filter(|n| n % 2 == 1).chain((0..30).filter(|n| n % 2 == 0)) {
            let note = vec![bytes([number as u8, nonce as u8, 9])];
            sent.push(net.call_with_nonce(sender, nonce, "System", "remark", note));
        }
    }
    let outcomes = futures::future::join_all(sent).await;
    assert_eq!(outcomes.len(), 120);
    for outcome in outcomes {
        outcome.unwrap();
    }
    assert!(net.block() < 60, "blocks hold many transactions: {}", net.block());
}
