//! What a declaration and a report must be, and what happens to deals that go odd ways.

use crate::support::{
    MINER_SPACE, Net, bytes, declaration, event, fails, fid, hash, hex_hash, id, key, miner, segment,
    segment_list,
};
use gw_devchain::runtime::types::{FRAGMENT_SIZE, GIB, SEGMENT_SPACE};
use subxt::dynamic::Value;

#[tokio::test]
async fn a_territory_must_have_more_than_the_file_takes() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 3, "exact", 30).await.unwrap();
    assert_eq!(3 * GIB, 32 * SEGMENT_SPACE);
    let refused = net.declare(&alice, &fid(1), 32, "exact").await;
    fails(refused, "InsufficientAvailableSpace");
    net.declare(&alice, &fid(1), 31, "exact").await.unwrap();
    assert_eq!(net.territory(&alice, "exact").await.remaining_space, SEGMENT_SPACE);
    fails(net.declare(&alice, &fid(2), 1, "exact").await, "InsufficientAvailableSpace");
    fails(net.declare(&alice, &fid(2), 1, "nowhere").await, "NotHaveTerritory");
}

#[tokio::test]
async fn a_declaration_is_checked_before_it_locks_anything() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    let good = fid(1);
    let declare = |args: Vec<Value>| net.call(&alice, "FileBank", "upload_declaration", args);
    let with =
        |own: &_, segments: &[Value], name: &str| declaration(own, segments, &alice, name, "default", 1);

    let eleven = [segment(&good, &[good; 11])];
    fails(declare(with(&good, &eleven, "name")).await, "SpecError");
    let one = segment_list(&good, 1);
    fails(declare(with(&good, &one, "ab")).await, "SpecError");
    let upper = hex_hash(&"AB".repeat(32));
    fails(declare(with(&upper, &one, "name")).await, "BugInvalid");
    fails(declare(with(&good, &segment_list(&upper, 1), "name")).await, "BugInvalid");
    let not_hex = hex_hash(&"xy".repeat(32));
    fails(declare(with(&good, &[segment(&good, &[not_hex; 12])], "name")).await, "BugInvalid");
    // What does not fit the types is no transaction at all.
    fails(declare(with(&good, &one, &"n".repeat(64))).await, "1001");
    fails(declare(with(&good, &[segment(&good, &[good; 13])], "name")).await, "1001");

    let untouched = net.territory(&alice, "default").await;
    assert_eq!((untouched.remaining_space, untouched.locked_space), (GIB, 0));
    declare(with(&good, &one, "abc")).await.unwrap();
    declare(with(&fid(2), &one, &"n".repeat(63))).await.unwrap();
}

#[tokio::test]
async fn a_thousand_segments_pass_and_one_more_does_not() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 94, "large", 30).await.unwrap();
    let good = fid(1);
    fails(net.declare(&alice, &good, 1001, "large").await, "1001");
    net.declare(&alice, &good, 1000, "large").await.unwrap();
    assert_eq!(net.deal(&good).await.unwrap().segment_list.len(), 1000);
    net.report_all(12, &good).await;
    assert_eq!(net.file(&good).await.unwrap().segment_list.len(), 1000);
}

#[tokio::test]
async fn only_the_owner_and_whom_he_authorised_may_declare_and_delete() {
    let net = Net::start().await;
    let (alice, bob) = (key("Alice"), key("Bob"));
    net.mint(&alice, 1, "default", 30).await.unwrap();
    let own = fid(1);
    let args = || declaration(&own, &segment_list(&own, 1), &alice, "name", "default", 1);
    let by_bob = || net.call(&bob, "FileBank", "upload_declaration", args());
    fails(by_bob().await, "NoPermission");
    net.call(&alice, "Oss", "authorize", vec![bytes(id(&bob))]).await.unwrap();
    event(&by_bob().await, "FileBank.UploadDeclaration");
    net.report_all(12, &own).await;
    net.call(&alice, "Oss", "cancel_authorize", vec![bytes(id(&bob))]).await.unwrap();
    let delete = || vec![bytes(id(&alice)), hash(&own)];
    fails(net.call(&bob, "FileBank", "delete_file", delete()).await, "NoPermission");
    net.call(&alice, "Oss", "authorize", vec![bytes(id(&bob))]).await.unwrap();
    net.call(&bob, "FileBank", "delete_file", delete()).await.unwrap();
    assert!(net.file(&own).await.is_none());
    fails(net.call(&bob, "FileBank", "delete_file", delete()).await, "NonExistent");
}

#[tokio::test]
async fn a_report_needs_a_free_index_and_a_miner_that_did_not_report() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    let own = fid(1);
    fails(net.report(0, 1, &own).await, "NonExistent");
    net.declare(&alice, &own, 1, "default").await.unwrap();
    fails(net.report(0, 0, &own).await, "SpecError");
    fails(net.report(0, 13, &own).await, "SpecError");
    net.report(0, 5, &own).await.unwrap();
    fails(net.report(1, 5, &own).await, "Existed");
    fails(net.report(0, 6, &own).await, "Existed");
    let stranger = net.call(&alice, "FileBank", "transfer_report", vec![Value::u128(1), hash(&own)]).await;
    fails(stranger, "NotMiner");
    let leave = vec![bytes(id(&miner(2)))];
    net.call(&miner(2), "Sminer", "miner_exit_prep", leave).await.unwrap();
    fails(net.report(2, 7, &own).await, "MinerStateError");
    assert_eq!(net.deal(&own).await.unwrap().complete_list.len(), 1);
}

#[tokio::test]
async fn a_miner_without_idle_space_cannot_report() {
    let net = Net::start_with(|config| config.genesis.miners[3].idle_space = FRAGMENT_SIZE * 2 - 1).await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    net.declare(&alice, &fid(1), 2, "default").await.unwrap();
    fails(net.report(3, 1, &fid(1)).await, "Overflow");
    net.declare(&alice, &fid(2), 1, "default").await.unwrap();
    net.report(3, 1, &fid(2)).await.unwrap();
    let full = net.miner_info(3).await;
    assert_eq!((full.idle_space, full.lock_space), (FRAGMENT_SIZE - 1, FRAGMENT_SIZE));
}

#[tokio::test]
async fn declaring_an_open_deal_again_forgets_its_reports_and_leaks_its_space() {
    let net = Net::start().await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    let own = fid(1);
    net.declare(&alice, &own, 1, "default").await.unwrap();
    net.report_all(3, &own).await;
    net.declare(&alice, &own, 1, "default").await.unwrap();
    assert!(net.deal(&own).await.unwrap().complete_list.is_empty());
    assert_eq!(net.territory(&alice, "default").await.locked_space, 2 * SEGMENT_SPACE);
    net.report_all(12, &own).await;
    let after = net.territory(&alice, "default").await;
    assert_eq!((after.locked_space, after.used_space), (SEGMENT_SPACE, SEGMENT_SPACE));
    let miner = net.miner_info(0).await;
    assert_eq!((miner.lock_space, miner.service_space), (FRAGMENT_SIZE, FRAGMENT_SIZE));
    assert_eq!(miner.idle_space, MINER_SPACE - 2 * FRAGMENT_SIZE);
}

#[tokio::test]
async fn a_file_that_exists_only_gains_an_owner() {
    let net = Net::start().await;
    let (alice, bob) = (key("Alice"), key("Bob"));
    net.mint(&alice, 1, "default", 30).await.unwrap();
    net.mint(&bob, 1, "bobs", 30).await.unwrap();
    let own = fid(1);
    net.store(&alice, &own, 1, "default").await;
    fails(net.declare(&alice, &own, 1, "default").await, "Existed");
    event(&net.declare(&bob, &own, 1, "bobs").await, "FileBank.UploadDeclaration");
    assert!(net.deal(&own).await.is_none(), "no bytes move, no deal is open");
    assert_eq!(net.file(&own).await.unwrap().owner.len(), 2);
    assert_eq!(net.territory(&bob, "bobs").await.used_space, SEGMENT_SPACE);
    assert_eq!(net.held(&bob).await.len(), 1);

    let delete = |who: &_| vec![bytes(id(who)), hash(&own)];
    net.call(&alice, "FileBank", "delete_file", delete(&alice)).await.unwrap();
    assert_eq!(net.file(&own).await.unwrap().owner.len(), 1, "somebody still owns it");
    assert_eq!(net.miner_info(0).await.service_space, FRAGMENT_SIZE);
    net.call(&bob, "FileBank", "delete_file", delete(&bob)).await.unwrap();
    assert!(net.file(&own).await.is_none());
    assert_eq!(net.miner_info(0).await.idle_space, MINER_SPACE);
    assert_eq!(net.territory(&bob, "bobs").await.remaining_space, GIB);
}

#[tokio::test]
async fn a_file_moves_between_territories_of_its_owner() {
    let net = Net::start().await;
    let alice = key("Alice");
    for name in ["first", "second"] {
        net.mint(&alice, 1, name, 30).await.unwrap();
    }
    let own = fid(1);
    net.store(&alice, &own, 1, "first").await;
    let args = |to: &str| vec![bytes(id(&alice)), hash(&own), bytes(to)];
    fails(net.call(&alice, "FileBank", "territory_file_delivery", args("third")).await, "NotHaveTerritory");
    let moved = net.call(&alice, "FileBank", "territory_file_delivery", args("second")).await;
    event(&moved, "FileBank.TerritoryFileDelivery");
    assert_eq!(net.territory(&alice, "first").await.remaining_space, GIB);
    assert_eq!(net.territory(&alice, "second").await.used_space, SEGMENT_SPACE);
    assert_eq!(net.held(&alice).await[0].territory_name.as_slice(), b"second");
    let stranger = vec![bytes(id(&key("Bob"))), hash(&own), bytes("second")];
    fails(net.call(&key("Bob"), "FileBank", "territory_file_delivery", stranger).await, "NotOwner");
}

#[tokio::test]
async fn an_open_deal_waits_for_ever() {
    let net = Net::start_with(|config| config.heartbeat = std::time::Duration::from_millis(1)).await;
    let alice = key("Alice");
    net.mint(&alice, 1, "default", 30).await.unwrap();
    net.declare(&alice, &fid(1), 1, "default").await.unwrap();
    net.report_all(11, &fid(1)).await;
    let start = net.block();
    let mut heads = net.api.stream_blocks().await.unwrap();
    while net.block() < start + 600 {
        heads.next().await.unwrap().unwrap();
    }
    event(&net.report(11, 12, &fid(1)).await, "FileBank.StorageCompleted");
}
