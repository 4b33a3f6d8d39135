//! Gateways: registration, and authorisation by a signature that the gateway carries to the chain.

use crate::support::{Net, bytes, event, fails, id, key};
use codec::Encode;
use gw_devchain::runtime::types::OssInfo;
use subxt::dynamic::Value;

#[tokio::test]
async fn a_gateway_registers_changes_and_leaves() {
    let net = Net::start().await;
    let bob = key("Bob");
    let args = |peer: u8, domain: &str| vec![bytes([peer; 38]), bytes(domain)];
    fails(net.call(&bob, "Oss", "update", args(1, "https://one")).await, "UnRegister");
    event(&net.call(&bob, "Oss", "register", args(1, "https://one")).await, "Oss.OssRegister");
    fails(net.call(&bob, "Oss", "register", args(1, "https://one")).await, "Registered");
    event(&net.call(&bob, "Oss", "update", args(2, "https://two")).await, "Oss.OssUpdate");
    let info: OssInfo = net.read("Oss", "Oss", vec![bytes(id(&bob))]).await.unwrap();
    assert_eq!((info.peer_id, info.domain.as_slice()), ([2; 38], b"https://two".as_slice()));
    event(&net.call(&bob, "Oss", "destroy", vec![]).await, "Oss.OssDestroy");
    assert!(net.raw("Oss", "Oss", vec![bytes(id(&bob))]).await.is_none());
}

#[tokio::test]
async fn a_gateway_carries_its_users_signed_authorisation() {
    let net = Net::start().await;
    let (user, gateway) = (key("Nobody"), key("Bob"));
    let proxy = |signer: &subxt_signer::sr25519::Keypair, exp: u32| {
        let payload = (id(&gateway), exp).encode();
        let message = [b"<Bytes>".as_slice(), &payload, b"</Bytes>"].concat();
        let fields = [("oss", bytes(id(&gateway))), ("exp", Value::u128(exp.into()))];
        vec![bytes(id(&user)), bytes(signer.sign(&message).0), Value::named_composite(fields)]
    };
    let send = |args| net.call(&gateway, "Oss", "proxy_authorzie", args);
    fails(send(proxy(&key("Carol"), 10)).await, "VerifySigFailed");
    send(proxy(&user, 10)).await.unwrap();
    let list: Vec<[u8; 32]> = net.read("Oss", "AuthorityList", vec![bytes(id(&user))]).await.unwrap();
    assert_eq!(list, [id(&gateway)]);
    fails(send(proxy(&user, 11)).await, "Existed");
}
