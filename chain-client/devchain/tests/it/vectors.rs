//! The SCALE vectors of cess-protocol.md section 6b, encoded by a client from this chain's own metadata.

use crate::support::{Net, bytes, declaration, hash, hex_hash, id, key, segment};
use gw_devchain::runtime::types::Hash;
use subxt::dynamic::{self, Value};

const FID: &str = "971cea40ecadd9e245a24f9c3d3a734f7a5ad67db197e85a8d5809b8735a0f32";
const SEGMENT: &str = "4099efcdc72e70a8f4766700b7f4c489f9e381f6ee58ef3f85ce5e886069ff7f";
const ZERO: &str = "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74";
const FRAGMENTS: [&str; 12] = [
    "44f9e5c888f2137d0b1fc7d0ca925c2779ca9a619c6ab520a38f40abd745eb58",
    ZERO,
    ZERO,
    ZERO,
    "341d48a1cba7a94cb6afdbc279edfbd7ce7de7171a93a175b6a9627e38152590",
    "66ecda29a455212c8ac25f2bf6b4914146b0bc5b8c4108091dd83025a82afc90",
    "04439f51669e298ca58087ee982ec9bd8b320cbd694f64496085d0fecb64f734",
    "94d2ebbb72609c61b8b080de0bc5d723d5b4220f05e3668dde57b6f9532ef985",
    "1a5734a21e132864ca736cd36c59963498d2c4b4a841356d3cfd51ece9a9dce8",
    "bfaa47b3bbe4e6dda9156e30d40074db3de0175d321f56da4675a0c0c9129fb3",
    "f9ac6598d46307f2117dc589bd7eab1da3b2a755f5b1f461800d81108b1d647d",
    "51db2f19cb1203d7ef2976c779674d47d3ebb6e39f2cc3ee7c64588d5125e715",
];

async fn encoded(net: &Net, pallet: &str, call: &str, args: Vec<Value>) -> Vec<u8> {
    let at = net.api.at_current_block().await.unwrap();
    at.transactions().call_data(&dynamic::transaction(pallet, call, args)).unwrap()
}

fn blake(bytes: &[u8]) -> String {
    hex::encode(sp_io::hashing::blake2_256(bytes))
}

#[tokio::test]
async fn calls_have_the_bytes_that_cess_expects() {
    let net = Net::start().await;
    let (alice, bob) = (key("Alice"), key("Bob"));
    let mint = vec![Value::u128(1), bytes("default"), Value::u128(30)];
    assert_eq!(
        hex::encode(encoded(&net, "StorageHandler", "mint_territory", mint).await),
        "6b00010000001c64656661756c741e000000"
    );
    assert_eq!(
        hex::encode(encoded(&net, "Oss", "authorize", vec![bytes(id(&bob))]).await),
        "6c008eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48"
    );
    let fid = hex_hash(FID);
    let fragments: Vec<Hash> = FRAGMENTS.iter().map(|text| hex_hash(text)).collect();
    let segments = [segment(&hex_hash(SEGMENT), &fragments)];
    let upload = declaration(&fid, &segments, &alice, "hello.txt", "default", 13);
    let upload = encoded(&net, "FileBank", "upload_declaration", upload).await;
    assert_eq!(upload.len(), 966);
    assert!(upload.starts_with(&[&[0x68, 0][..], FID.as_bytes()].concat()));
    assert_eq!(blake(&upload), "b28e605606bdae91fa8efdcbedd4f0473f916d8eb84808b6647f203d047f0b61");
    let report = encoded(&net, "FileBank", "transfer_report", vec![Value::u128(1), hash(&fid)]).await;
    assert_eq!(report.len(), 67);
    assert_eq!(blake(&report), "2a65ceb1b6e57d0b2ef08e5405aea27578d7ffad158ad85f8da2189dc09ee130");
    let delete = encoded(&net, "FileBank", "delete_file", vec![bytes(id(&alice)), hash(&fid)]).await;
    assert_eq!(delete.len(), 98);
    assert_eq!(blake(&delete), "bda1540765df51a34a46cbe1d8d4124f568e34419ef34e926ea1b585eb26f958");
}

#[tokio::test]
async fn storage_keys_are_those_of_cess() {
    let net = Net::start().await;
    let at = net.api.at_current_block().await.unwrap();
    let storage = at.storage();
    let entry = |pallet, name| storage.entry(dynamic::storage::<Vec<Value>, Value>(pallet, name)).unwrap();
    let key_of = |pallet, name, keys| hex::encode(entry(pallet, name).fetch_key(keys).unwrap());
    let alice = id(&key("Alice"));
    assert_eq!(
        key_of("StorageHandler", "UnitPrice", vec![]),
        "d594a5c1eaaed1896a72205f11d64700464608f06602a793c3e237f406d114f1"
    );
    assert_eq!(
        key_of("StorageHandler", "Territory", vec![bytes(alice), bytes("default")]),
        "d594a5c1eaaed1896a72205f11d647003af49a9492056b7d0ff4b61962039138de1e86a9a8c739864cf3cc5ec2bea59f\
         d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d48a21bacac698a12926f02c61ef3a081\
         1c64656661756c74"
    );
    assert_eq!(
        key_of("Oss", "AuthorityList", vec![bytes(alice)]),
        "d73c407bc19d14499f837160c09a1b257298582d9dec448738505f93ee0ae740de1e86a9a8c739864cf3cc5ec2bea59f\
         d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
    );
    assert_eq!(
        hex::encode(entry("FileBank", "File").key_prefix()),
        "a3c62a50675125d74bc9f59e3f75adc9303fb39244d274417d5edffffa903f8a"
    );
    assert_eq!(
        hex::encode(entry("FileBank", "DealMap").key_prefix()),
        "a3c62a50675125d74bc9f59e3f75adc97810ae48440077708636387b1304c723"
    );
}

#[tokio::test]
async fn constants_are_those_of_cess() {
    let net = Net::start().await;
    let at = net.api.at_current_block().await.unwrap();
    let constant = |pallet, name| at.constants().entry(dynamic::constant::<u128>(pallet, name)).unwrap();
    assert_eq!(constant("Balances", "ExistentialDeposit"), 1_000_000_000_000_000_000);
    assert_eq!(constant("StorageHandler", "FrozenDays"), 100_800);
    assert_eq!(constant("FileBank", "SegmentCount"), 1000);
    assert_eq!(constant("System", "SS58Prefix"), 11330);
    assert_eq!(at.spec_version(), 137);
    assert_eq!(at.transaction_version(), 1);
}
