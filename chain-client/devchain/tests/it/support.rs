//! A chain in a temporary directory, its accounts, and short ways to send calls and read storage.

use codec::Decode;
use gw_devchain::{
    DevChain, DevChainConfig, Genesis, GenesisMiner,
    runtime::types::{CESS, DealInfo, FileInfo, GIB, Hash, MinerInfo, TerritoryInfo, UserFileSliceInfo},
};
use std::{path::Path, sync::OnceLock, time::Duration};
use subxt::{
    OnlineClient, SubstrateConfig,
    backend::LegacyBackend,
    config::DefaultExtrinsicParamsBuilder,
    dynamic::{self, Value},
};
use subxt_rpcs::RpcClient;
use subxt_signer::{SecretUri, sr25519::Keypair};
use tempfile::TempDir;

pub type Api = OnlineClient<SubstrateConfig>;

/// Space of each genesis miner.
pub const MINER_SPACE: u128 = 200 * GIB;
/// Genesis miners.
pub const MINERS: usize = 13;
/// Money of each genesis account.
pub const WEALTH: u128 = 100_000_000 * CESS;

pub fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}").parse::<SecretUri>().unwrap()).unwrap()
}

pub fn miner(index: usize) -> Keypair {
    key(&format!("miner{index}"))
}

pub fn id(who: &Keypair) -> [u8; 32] {
    who.public_key().0
}

pub fn config(path: &Path) -> DevChainConfig {
    let users = ["Alice", "Bob", "Carol", "Dave"].map(key);
    let miners = (0..MINERS).map(miner);
    let genesis = Genesis {
        balances: users.into_iter().chain(miners.clone()).map(|who| (id(&who), WEALTH)).collect(),
        sudo: Some(id(&key("Alice"))),
        miners: miners
            .enumerate()
            .map(|(index, who)| GenesisMiner {
                account: id(&who),
                endpoint: format!("http://127.0.0.1:{}", 15_000 + index),
                idle_space: MINER_SPACE,
            })
            .collect(),
        unit_price: 30 * CESS,
    };
    DevChainConfig {
        genesis,
        heartbeat: Duration::from_secs(3600),
        block_min: Duration::from_millis(1),
        ..DevChainConfig::new(path)
    }
}

/// The clients share what they learn of the metadata, which is the same in each chain.
pub async fn connect(rpc: RpcClient) -> Api {
    static CONFIG: OnceLock<SubstrateConfig> = OnceLock::new();
    let backend = LegacyBackend::builder().build(rpc);
    let config = CONFIG.get_or_init(SubstrateConfig::new).clone();
    Api::from_backend_with_config(config, std::sync::Arc::new(backend)).await.unwrap()
}

pub struct Net {
    pub chain: DevChain,
    pub api: Api,
    pub dir: TempDir,
}

/// What a call led to: its events as `Pallet.Name` and their fields, or the error's name.
pub type Outcome = Result<Vec<(String, Vec<u8>)>, String>;

impl Net {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut DevChainConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let chain = DevChain::open(config).await.unwrap();
        let api = connect(RpcClient::new(chain.rpc_client())).await;
        Self { chain, api, dir }
    }

    /// Sends a call and waits until it is final.
    pub async fn call(&self, who: &Keypair, pallet: &str, call: &str, args: Vec<Value>) -> Outcome {
        let tx = dynamic::transaction(pallet, call, args);
        let at = self.api.at_current_block().await.unwrap();
        let progress = at
            .transactions()
            .sign_and_submit_then_watch_default(&tx, who)
            .await
            .map_err(|error| format!("{error:?}"))?;
        finish(progress).await
    }

    /// As `call`, with a nonce of the caller's choice.
    pub async fn call_with_nonce(
        &self,
        who: &Keypair,
        nonce: u64,
        pallet: &str,
        call: &str,
        args: Vec<Value>,
    ) -> Outcome {
        let tx = dynamic::transaction(pallet, call, args);
        let params = DefaultExtrinsicParamsBuilder::new().nonce(nonce).mortal(64).build();
        let at = self.api.at_current_block().await.unwrap();
        let progress = at
            .transactions()
            .sign_and_submit_then_watch(&tx, who, params)
            .await
            .map_err(|error| format!("{error:?}"))?;
        finish(progress).await
    }

    pub async fn sudo(&self, pallet: &str, call: &str, fields: Vec<(&str, Value)>) -> Outcome {
        let inner = Value::unnamed_variant(pallet, [Value::named_variant(call, fields)]);
        let events = self.call(&key("Alice"), "Sudo", "sudo", vec![inner]).await?;
        let (_, result) = events.iter().find(|(name, _)| name == "Sudo.Sudid").unwrap();
        assert_eq!(result[0], 0, "the inner call failed: {result:?}");
        Ok(events)
    }

    pub async fn raw(&self, pallet: &str, entry: &str, keys: Vec<Value>) -> Option<Vec<u8>> {
        let address = dynamic::storage::<Vec<Value>, Value>(pallet, entry);
        let at = self.api.at_current_block().await.unwrap();
        let value = at.storage().try_fetch(address, keys).await.unwrap();
        value.map(|value| value.into_bytes())
    }

    pub async fn read<R: Decode>(&self, pallet: &str, entry: &str, keys: Vec<Value>) -> Option<R> {
        self.raw(pallet, entry, keys).await.map(|bytes| R::decode(&mut &bytes[..]).unwrap())
    }

    pub async fn free(&self, who: &[u8; 32]) -> u128 {
        let account: Option<(u32, u32, u32, u32, u128)> =
            self.read("System", "Account", vec![bytes(who)]).await;
        account.map_or(0, |account| account.4)
    }

    pub async fn territory(&self, who: &Keypair, name: &str) -> TerritoryInfo {
        self.read("StorageHandler", "Territory", vec![bytes(id(who)), bytes(name)]).await.unwrap()
    }

    pub async fn miner_info(&self, index: usize) -> MinerInfo {
        self.read("Sminer", "MinerItems", vec![bytes(id(&miner(index)))]).await.unwrap()
    }

    pub async fn deal(&self, fid: &Hash) -> Option<DealInfo> {
        self.read("FileBank", "DealMap", vec![hash(fid)]).await
    }

    pub async fn file(&self, fid: &Hash) -> Option<FileInfo> {
        self.read("FileBank", "File", vec![hash(fid)]).await
    }

    pub async fn held(&self, who: &Keypair) -> Vec<UserFileSliceInfo> {
        self.read("FileBank", "UserHoldFileList", vec![bytes(id(who))]).await.unwrap_or_default()
    }

    pub async fn number(&self, entry: &str) -> u128 {
        self.read("StorageHandler", entry, vec![]).await.unwrap_or_default()
    }

    pub fn block(&self) -> u32 {
        self.chain.best_block().0
    }

    pub async fn mint(&self, who: &Keypair, gib: u128, name: &str, days: u128) -> Outcome {
        let args = vec![Value::u128(gib), bytes(name), Value::u128(days)];
        self.call(who, "StorageHandler", "mint_territory", args).await
    }

    pub async fn declare(&self, who: &Keypair, fid: &Hash, segments: usize, territory: &str) -> Outcome {
        let args = declaration(fid, &segment_list(fid, segments), who, "file.bin", territory, 13);
        self.call(who, "FileBank", "upload_declaration", args).await
    }

    pub async fn report(&self, miner_index: usize, index: u8, fid: &Hash) -> Outcome {
        let args = vec![Value::u128(index.into()), hash(fid)];
        self.call(&miner(miner_index), "FileBank", "transfer_report", args).await
    }

    /// The first `count` miners report, miner i column i + 1.
    pub async fn report_all(&self, count: u8, fid: &Hash) {
        let reports = (0..count).map(|index| self.report(usize::from(index), index + 1, fid));
        for outcome in futures::future::join_all(reports).await {
            outcome.unwrap();
        }
    }

    pub async fn store(&self, who: &Keypair, fid: &Hash, segments: usize, territory: &str) {
        self.declare(who, fid, segments, territory).await.unwrap();
        self.report_all(12, fid).await;
        assert!(self.file(fid).await.is_some());
    }

    /// Makes a block with something in it.
    pub async fn make_block(&self) {
        self.call(&key("Alice"), "System", "remark", vec![bytes(b"tick")]).await.unwrap();
    }
}

type Progress = subxt::transactions::TransactionProgress<
    SubstrateConfig,
    subxt::client::OnlineClientAtBlockImpl<SubstrateConfig>,
>;

async fn finish(progress: Progress) -> Outcome {
    let events = progress.wait_for_finalized_success().await.map_err(|error| format!("{error} {error:?}"))?;
    let named = events.iter().map(|event| {
        let event = event.unwrap();
        (format!("{}.{}", event.pallet_name(), event.event_name()), event.field_bytes().to_vec())
    });
    Ok(named.collect())
}

/// The outcome is this error.
#[track_caller]
pub fn fails(outcome: Outcome, error: &str) {
    match outcome {
        Ok(events) => panic!("expected {error}, but it went through: {events:?}"),
        Err(text) => assert!(text.contains(error), "expected {error}, not {text}"),
    }
}

/// The outcome has this event; gives its fields.
#[track_caller]
pub fn event(outcome: &Outcome, name: &str) -> Vec<u8> {
    let events = outcome.as_ref().unwrap();
    let found = events.iter().find(|(event, _)| event == name);
    found.unwrap_or_else(|| panic!("no {name} among {events:?}")).1.clone()
}

pub fn bytes(text: impl AsRef<[u8]>) -> Value {
    Value::from_bytes(text)
}

pub fn hash(fid: &Hash) -> Value {
    Value::unnamed_composite([Value::from_bytes(fid.0)])
}

/// A hash that looks like any other.
pub fn fid(seed: u32) -> Hash {
    let digest = sp_io::hashing::sha2_256(&seed.to_le_bytes());
    hex_hash(&hex::encode(digest))
}

pub fn hex_hash(text: &str) -> Hash {
    Hash(text.as_bytes().try_into().unwrap())
}

pub fn segment(own: &Hash, fragments: &[Hash]) -> Value {
    Value::named_composite([
        ("hash", hash(own)),
        ("fragment_list", Value::unnamed_composite(fragments.iter().map(hash))),
    ])
}

pub fn segment_list(own: &Hash, count: usize) -> Vec<Value> {
    (0..count).map(|_| segment(own, &[*own; 12])).collect()
}

pub fn declaration(
    fid: &Hash,
    segments: &[Value],
    owner: &Keypair,
    name: &str,
    territory: &str,
    size: u128,
) -> Vec<Value> {
    let brief = Value::named_composite([
        ("user", bytes(id(owner))),
        ("file_name", bytes(name)),
        ("territory_name", bytes(territory)),
    ]);
    vec![hash(fid), Value::unnamed_composite(segments.iter().cloned()), brief, Value::u128(size)]
}
