//! The verbs beyond the ports: money, miners, orders, root.

use gw_chain::{OrderSpec, OrderType, Signer, Value};
use gw_types::ports::{Chain, MinerChain};
use gw_types::{Outcome, PortErrorKind, TerritoryName};

use crate::net::{CESS, Net, other, owner, root};

#[tokio::test]
async fn a_new_account_is_funded_and_becomes_a_miner() {
    let net = Net::start().await;
    let chain = net.client(owner()).await;
    let (signer, _) = Signer::generate().unwrap();
    let receipt = chain.transfer_keep_alive(signer.account(), 10_000 * CESS).await.unwrap();
    assert!(receipt.fee > 0);
    assert_eq!(chain.balance_of(signer.account()).await.unwrap(), 10_000 * CESS);
    let miner = chain.with_signer(signer.clone());
    assert_eq!(miner.registered().await.unwrap(), None);
    miner.register_miner(signer.account(), "127.0.0.1:18000", 4_000 * CESS, 1).await.unwrap();
    let entry = miner.registered().await.unwrap().unwrap();
    assert_eq!(
        (entry.addr.account, entry.addr.endpoint.as_str()),
        (signer.account(), "http://127.0.0.1:18000")
    );
    assert_eq!(chain.miners().await.unwrap().len(), 13);
    let again = miner.register_miner(signer.account(), "127.0.0.1:18000", 4_000 * CESS, 1).await.unwrap_err();
    assert!(again.message().contains("Sminer.AlreadyRegistered"), "{again}");
}

#[tokio::test]
async fn an_order_is_paid_by_somebody_else() {
    let net = Net::start().await;
    let payer = net.client(owner()).await;
    let user = payer.with_signer(other());
    let territory = TerritoryName::new("a present").unwrap();
    let order = OrderSpec {
        target: other().account(),
        territory: territory.clone(),
        order_type: OrderType::Buy,
        gib: 2,
        days: 30,
        expires_minutes: 10,
    };
    let (_, id) = user.create_order(&order).await.unwrap();
    assert!(!id.is_empty());
    let before = user.balance().await.unwrap();
    payer.exec_order(&id).await.unwrap();
    assert_eq!(user.balance().await.unwrap(), before, "the payer pays");
    assert_eq!(user.territory(&territory).await.unwrap().unwrap().total, 2 << 30);
    let again = payer.exec_order(&id).await.unwrap_err();
    assert_eq!((again.kind(), again.outcome()), (PortErrorKind::Refused, Outcome::Definite));

    let renamed = TerritoryName::new("a name of my own").unwrap();
    user.rename_territory(&territory, &renamed).await.unwrap();
    user.grant_territory(&renamed, owner().account()).await.unwrap();
    assert!(user.territories().await.unwrap().is_empty());
    // It arrives under 32 random bytes, which are no name of ours, and does no harm.
    assert!(payer.territories().await.unwrap().is_empty());
}

#[tokio::test]
async fn root_sets_the_price_and_errors_inside_are_errors() {
    let net = Net::start().await;
    let chain = net.client(owner()).await;
    let root = chain.with_signer(root());
    let price = || vec![("price", Value::u128(7 * CESS))];
    root.sudo("StorageHandler", "define_update_price", price()).await.unwrap();
    assert_eq!(chain.unit_price().await.unwrap(), 7 * CESS);
    let denied = chain.sudo("StorageHandler", "define_update_price", price()).await.unwrap_err();
    assert!(denied.message().contains("Sudo.RequireSudo"), "{denied}");
    let direct = chain.call("StorageHandler", "define_update_price", price()).await.unwrap_err();
    assert!(direct.message().contains("BadOrigin"), "{direct}");
    let unknown = vec![
        ("user", Value::from_bytes(owner().account().0)),
        ("terr_name", Value::from_bytes(b"nowhere")),
        ("deadline", Value::u128(5)),
    ];
    let inside = root.sudo("StorageHandler", "update_user_territory_life", unknown).await.unwrap_err();
    assert!(inside.message().contains("StorageHandler."), "{inside}");
}

#[tokio::test]
async fn operators_are_listed_until_they_are_cancelled() {
    let net = Net::start().await;
    let chain = net.client(owner()).await;
    chain.authorize_operator(other().account()).await.unwrap();
    assert_eq!(chain.operators_of(owner().account()).await.unwrap(), [other().account()]);
    chain.cancel_operator(other().account()).await.unwrap();
    assert!(chain.operators_of(owner().account()).await.unwrap().is_empty());
    chain.register_gateway([0; 38], "gateway.example").await.unwrap();
    let again = chain.register_gateway([0; 38], "gateway.example").await.unwrap_err();
    assert!(again.message().contains("Oss.Registered"), "{again}");
}
