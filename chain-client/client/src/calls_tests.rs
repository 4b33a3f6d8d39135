//! Bytes and keys that other implementations made with the metadata of the live chain (spec 137),
//! held against what subxt makes of our calls: with that very metadata, and with that of the
//! development chain, which must agree. The live chain's metadata is 380 kB of somebody else's
//! runtime and is not part of this repository: where it is not found, its half is skipped and said
//! to be.

use std::path::PathBuf;
use std::sync::Arc;

use gw_types::ports::{DealSpec, DeclaredSegment};
use gw_types::{AccountId, Fid, FragmentIndex, Hash32, TerritoryName};
use sp_crypto_hashing::{blake2_256, sha2_256};
use subxt::config::substrate::{H256, SpecVersionForRange};
use subxt::ext::codec::Decode;
use subxt::ext::frame_decode::storage::{IntoDecodableValues, IntoEncodableValues};
use subxt::ext::scale_encode::EncodeAsFields;
use subxt::{Metadata, OfflineClient, OfflineClientAtBlock, SubstrateConfig};

use super::Call;
use crate::Signer;
use crate::wire::hex_hash;

const FRAGMENTS: [&str; 12] = [
    "44f9e5c888f2137d0b1fc7d0ca925c2779ca9a619c6ab520a38f40abd745eb58",
    "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74",
    "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74",
    "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74",
    "341d48a1cba7a94cb6afdbc279edfbd7ce7de7171a93a175b6a9627e38152590",
    "66ecda29a455212c8ac25f2bf6b4914146b0bc5b8c4108091dd83025a82afc90",
    "04439f51669e298ca58087ee982ec9bd8b320cbd694f64496085d0fecb64f734",
    "94d2ebbb72609c61b8b080de0bc5d723d5b4220f05e3668dde57b6f9532ef985",
    "1a5734a21e132864ca736cd36c59963498d2c4b4a841356d3cfd51ece9a9dce8",
    "bfaa47b3bbe4e6dda9156e30d40074db3de0175d321f56da4675a0c0c9129fb3",
    "f9ac6598d46307f2117dc589bd7eab1da3b2a755f5b1f461800d81108b1d647d",
    "51db2f19cb1203d7ef2976c779674d47d3ebb6e39f2cc3ee7c64588d5125e715",
];
const SEGMENT: &str = "4099efcdc72e70a8f4766700b7f4c489f9e381f6ee58ef3f85ce5e886069ff7f";
const FID: &str = "971cea40ecadd9e245a24f9c3d3a734f7a5ad67db197e85a8d5809b8735a0f32";

type Offline = OfflineClientAtBlock<SubstrateConfig>;

async fn chains() -> Vec<Offline> {
    live_chain().into_iter().chain([development_chain().await]).collect()
}

async fn development_chain() -> Offline {
    let directory = tempfile::tempdir().unwrap();
    let config = gw_devchain::DevChainConfig::new(directory.path().join("chain"));
    let chain = gw_devchain::DevChain::open(config).await.unwrap();
    let rpc = subxt_rpcs::RpcClient::new(chain.rpc_client());
    let metadata: String = rpc.request("state_getMetadata", subxt_rpcs::client::rpc_params![]).await.unwrap();
    chain.shutdown().await;
    offline(&hex::decode(metadata.trim_start_matches("0x")).unwrap())
}

fn live_chain() -> Option<Offline> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/reference/cess-metadata-spec137.scale");
    let path = std::env::var_os("CESS_METADATA_SPEC137").map_or(beside, PathBuf::from);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: no metadata at {}; set CESS_METADATA_SPEC137", path.display());
        return None;
    };
    Some(offline(&bytes))
}

fn offline(mut metadata: &[u8]) -> Offline {
    let metadata = Metadata::decode(&mut metadata).unwrap();
    let range = SpecVersionForRange { block_range: 0..u64::MAX, spec_version: 137, transaction_version: 1 };
    let config = SubstrateConfig::builder()
        .set_genesis_hash(H256([1; 32]))
        .set_metadata_for_spec_versions([(137, Arc::new(metadata))])
        .set_spec_version_for_block_ranges([range])
        .build();
    OfflineClient::new_with_config(config).at_block(1000u64).unwrap()
}

fn bytes<A: EncodeAsFields>(chain: &Offline, call: &Call<A>) -> Vec<u8> {
    chain.transactions().call_data(call).unwrap()
}

fn account(name: &str) -> AccountId {
    Signer::from_uri(name).unwrap().account()
}

fn hash(hex: &str) -> Hash32 {
    Hash32::from_hex(hex).unwrap()
}

fn name() -> TerritoryName {
    TerritoryName::new("default").unwrap()
}

fn deal() -> DealSpec {
    DealSpec {
        fid: Fid(hash(FID)),
        segments: vec![DeclaredSegment { hash: hash(SEGMENT), fragments: FRAGMENTS.map(hash) }],
        file_name: "hello.txt".into(),
        territory: name(),
        file_size: 13,
    }
}

#[tokio::test]
async fn calls_have_the_bytes_the_live_chain_reads() {
    chains().await.iter().for_each(bytes_of_calls);
}

fn bytes_of_calls(chain: &Offline) {
    assert_eq!(
        hex::encode(bytes(chain, &super::mint_territory(&name(), 1, 30))),
        "6b00010000001c64656661756c741e000000"
    );
    assert_eq!(
        hex::encode(bytes(chain, &super::authorize(account("//Bob")))),
        "6c008eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48"
    );

    let declaration = bytes(chain, &super::upload_declaration(account("//Alice"), &deal()));
    assert_eq!(declaration.len(), 966);
    assert_eq!(declaration[..2], [0x68, 0x00]);
    assert_eq!(declaration[2..66], hex_hash(hash(FID)));
    let digest = "c4f6d1c73baeb28ea8d7d6bfa575565b7121e50af0472830b10fc0a9210bb11d";
    assert_eq!(hex::encode(sha2_256(&declaration)), digest);
    let digest = "b28e605606bdae91fa8efdcbedd4f0473f916d8eb84808b6647f203d047f0b61";
    assert_eq!(hex::encode(blake2_256(&declaration)), digest);

    let report = bytes(chain, &super::transfer_report(FragmentIndex::new(0).unwrap(), Fid(hash(FID))));
    assert_eq!(report.len(), 67);
    let digest = "2a65ceb1b6e57d0b2ef08e5405aea27578d7ffad158ad85f8da2189dc09ee130";
    assert_eq!(hex::encode(blake2_256(&report)), digest);

    let delete = bytes(chain, &super::delete_file(account("//Alice"), Fid(hash(FID))));
    assert_eq!(delete.len(), 98);
    let digest = "bda1540765df51a34a46cbe1d8d4124f568e34419ef34e926ea1b585eb26f958";
    assert_eq!(hex::encode(blake2_256(&delete)), digest);
}

#[tokio::test]
async fn the_live_chain_has_every_call_we_make() {
    chains().await.iter().for_each(indices_of_calls);
}

fn indices_of_calls(chain: &Offline) {
    let alice = account("//Alice");
    let begins = |call: &[u8], pallet: u8, index: u8| assert_eq!(call[..2], [pallet, index]);
    begins(&bytes(chain, &super::expand_territory(&name(), 1)), 107, 1);
    begins(&bytes(chain, &super::renew_territory(&name(), 30)), 107, 2);
    begins(&bytes(chain, &super::reactivate_territory(&name(), 30)), 107, 101);
    begins(&bytes(chain, &super::rename_territory(&name(), &name())), 107, 108);
    begins(&bytes(chain, &super::grant_territory(&name(), alice)), 107, 107);
    begins(&bytes(chain, &super::exec_order(&[1; 32])), 107, 7);
    begins(&bytes(chain, &super::cancel_authorize(alice)), 108, 1);
    begins(&bytes(chain, &super::register_gateway([0; 38], "gateway.example")), 108, 2);
    begins(&bytes(chain, &super::register_miner(alice, "http://127.0.0.1:1", 1, 1)), 105, 0);
    begins(&bytes(chain, &super::update_endpoint("http://127.0.0.1:1")), 105, 3);
    begins(&bytes(chain, &super::transfer_keep_alive(alice, 1)), 6, 3);
    let order = crate::wire::args::CreateOrder {
        target_acc: alice.0,
        territory_name: b"default".to_vec(),
        order_type: crate::Value::unnamed_variant("Renewal", []),
        gib_count: 1,
        days: 30,
        expired: 10,
    };
    let order = bytes(chain, &super::create_order(order));
    begins(&order, 107, 6);
    assert_eq!(order[order.len() - 13], 2, "Renewal");
}

#[tokio::test]
async fn keys_are_where_the_live_chain_keeps_its_values() {
    chains().await.iter().for_each(keys_of_values);
}

fn keys_of_values(chain: &Offline) {
    fn key<K: IntoEncodableValues + IntoDecodableValues>(
        chain: &Offline,
        pallet: &str,
        entry: &str,
        keys: K,
    ) -> String {
        let address = subxt::dynamic::storage::<K, crate::Value>(pallet, entry);
        hex::encode(chain.storage().entry(address).unwrap().fetch_key(keys).unwrap())
    }
    let alice = account("//Alice").0;
    assert_eq!(
        key(chain, "StorageHandler", "UnitPrice", ()),
        "d594a5c1eaaed1896a72205f11d64700464608f06602a793c3e237f406d114f1"
    );
    assert_eq!(
        key(chain, "StorageHandler", "Territory", (alice, b"default".to_vec())),
        "d594a5c1eaaed1896a72205f11d647003af49a9492056b7d0ff4b61962039138de1e86a9a8c739864cf3cc5ec2bea59fd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d48a21bacac698a12926f02c61ef3a0811c64656661756c74"
    );
    assert_eq!(
        key(chain, "Oss", "AuthorityList", (alice,)),
        "d73c407bc19d14499f837160c09a1b257298582d9dec448738505f93ee0ae740de1e86a9a8c739864cf3cc5ec2bea59fd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
    );
    let file = key(chain, "FileBank", "File", (hex_hash(hash(FID)),));
    assert!(file.starts_with("a3c62a50675125d74bc9f59e3f75adc9303fb39244d274417d5edffffa903f8a"));
    // The map's own hash of the key, then the key: 32 + 16 + 64 bytes.
    assert_eq!(file.len(), 2 * 112);
    let deal = key(chain, "FileBank", "DealMap", (hex_hash(hash(FID)),));
    assert!(deal.starts_with("a3c62a50675125d74bc9f59e3f75adc97810ae48440077708636387b1304c723"));
}

/// The territory's prefix is the account alone, so that one account's are listed without the rest.
#[tokio::test]
async fn territories_are_listed_by_account() {
    chains().await.iter().for_each(prefix_of_territories);
}

fn prefix_of_territories(chain: &Offline) {
    let alice = account("//Alice").0;
    let address = subxt::dynamic::storage::<([u8; 32], Vec<u8>), crate::Value>("StorageHandler", "Territory");
    let entry = chain.storage().entry(address).unwrap();
    let prefix = entry.iter_key((alice,)).unwrap();
    let key = entry.fetch_key((alice, b"default".to_vec())).unwrap();
    assert!(key.starts_with(&prefix));
    assert_eq!(prefix.len(), 32 + 16 + 32);
}
