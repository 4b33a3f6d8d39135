//! The JSON-RPC methods, once for the process itself and for WebSocket.
//!
//! They are those that subxt's `LegacyBackend` calls, and a few that other tools ask for first. No `archive_*` or
//! `chainHead_*` method is listed: a client that probes for them falls back to these. Every method gets its
//! parameters as a JSON array and either answers once ([`request`]) or opens a stream ([`subscribe`]).

use crate::{
    error::RpcFault,
    executor,
    node::{Head, Node, blocking},
    runtime::{Header, SS58_PREFIX, VERSION},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde_json::{Value, json};
use sp_core::H256;
use sp_runtime::AccountId32;
use sp_state_machine::{Backend, IterArgs};
use std::sync::Weak;
use tokio::sync::watch;

/// Most keys that one page gives.
const KEYS_MAX: u64 = 1000;
/// What the chain calls itself, so that nobody takes it for the real one.
const CHAIN_NAME: &str = "CESS development chain (simulated)";

/// The methods that answer once.
pub(crate) const METHODS: &[&str] = &[
    "author_pendingExtrinsics",
    "author_submitExtrinsic",
    "chain_getBlock",
    "chain_getBlockHash",
    "chain_getFinalizedHead",
    "chain_getHeader",
    "payment_queryInfo",
    "rpc_methods",
    "state_call",
    "state_getKeysPaged",
    "state_getMetadata",
    "state_getRuntimeVersion",
    "state_getStorage",
    "state_queryStorageAt",
    "system_accountNextIndex",
    "system_chain",
    "system_chainType",
    "system_health",
    "system_name",
    "system_nodeRoles",
    "system_properties",
    "system_syncState",
    "system_version",
];

/// A method that opens a stream: its name, that of its messages, and that which ends it.
pub(crate) struct Subscription {
    pub(crate) subscribe: &'static str,
    pub(crate) notification: &'static str,
    pub(crate) unsubscribe: &'static str,
}

const fn subscription(
    subscribe: &'static str,
    notification: &'static str,
    unsubscribe: &'static str,
) -> Subscription {
    Subscription { subscribe, notification, unsubscribe }
}

/// The methods that open a stream.
pub(crate) const SUBSCRIPTIONS: &[Subscription] = &[
    subscription("author_submitAndWatchExtrinsic", "author_extrinsicUpdate", "author_unwatchExtrinsic"),
    subscription("chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads"),
    subscription("chain_subscribeFinalizedHeads", "chain_finalizedHead", "chain_unsubscribeFinalizedHeads"),
    subscription("chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads"),
    subscription("state_subscribeRuntimeVersion", "state_runtimeVersion", "state_unsubscribeRuntimeVersion"),
];

/// Answers a method.
pub(crate) async fn request(node: &Weak<Node>, method: &str, params: Value) -> Result<Value, RpcFault> {
    if !METHODS.contains(&method) {
        return Err(RpcFault::no_method());
    }
    let method = method.to_owned();
    let params = Params::new(params)?;
    blocking(node, move |node| answer(node, &method, &params)).await
}

/// Opens a method's stream. The stream ends when the chain stops.
pub(crate) async fn subscribe(
    node: &Weak<Node>,
    method: &str,
    params: Value,
) -> Result<BoxStream<'static, Value>, RpcFault> {
    let params = Params::new(params)?;
    match method {
        "author_submitAndWatchExtrinsic" => {
            let bytes = params.bytes(0)?;
            let statuses = blocking(node, move |node| node.submit_watched(&bytes)).await?;
            Ok(stream::unfold(statuses, |mut s| async move { s.recv().await.map(|v| (v, s)) }).boxed())
        }
        "chain_subscribeAllHeads" | "chain_subscribeFinalizedHeads" | "chain_subscribeNewHeads" => {
            let heads = node.upgrade().ok_or_else(RpcFault::stopped)?.heads();
            Ok(follow_heads(node.clone(), heads))
        }
        "state_subscribeRuntimeVersion" => {
            let heads = node.upgrade().ok_or_else(RpcFault::stopped)?.heads();
            let first = stream::once(async { version() });
            Ok(first.chain(stream::once(until_stopped(heads)).filter_map(|()| async { None })).boxed())
        }
        _ => Err(RpcFault::no_method()),
    }
}

/// Waits for the end of the chain; its version never changes while it runs.
async fn until_stopped(mut heads: watch::Receiver<Head>) {
    while heads.changed().await.is_ok() {}
}

/// The header of the best block, and then of each later one, none left out.
fn follow_heads(node: Weak<Node>, heads: watch::Receiver<Head>) -> BoxStream<'static, Value> {
    let next = heads.borrow().header.number;
    stream::unfold((node, heads, next), |(node, mut heads, next)| async move {
        while heads.borrow().header.number < next {
            heads.changed().await.ok()?;
        }
        let head = heads.borrow().header.clone();
        let header = if head.number == next { head } else { header_of(&node, next).await? };
        Some((to_json(&header), (node, heads, next + 1)))
    })
    .boxed()
}

async fn header_of(node: &Weak<Node>, number: u32) -> Option<Header> {
    let header = blocking(node, move |node| match node.store.hash_of(number)? {
        Some(hash) => Ok(node.store.header(&hash)?),
        None => Ok(None),
    });
    header.await.ok().flatten()
}

fn answer(node: &Node, method: &str, params: &Params) -> Result<Value, RpcFault> {
    Ok(match method {
        "author_pendingExtrinsics" => json!(node.pending().iter().map(|tx| hex0x(tx)).collect::<Vec<_>>()),
        "author_submitExtrinsic" => json!(node.submit(&params.bytes(0)?)?),
        "chain_getBlock" => block(node, params.hash(0)?)?,
        "chain_getBlockHash" => block_hash(node, params)?,
        "chain_getFinalizedHead" => json!(node.head().hash),
        "chain_getHeader" => node.header(params.hash(0)?)?.map_or(Value::Null, |header| to_json(&header)),
        "payment_queryInfo" => query_info(node, params)?,
        "rpc_methods" => json!({ "methods": method_names() }),
        "state_call" => state_call(node, params)?,
        "state_getKeysPaged" => keys_paged(node, params)?,
        "state_getMetadata" => {
            let metadata: Vec<u8> = node.runtime_call(params.hash(0)?, "Metadata_metadata", &[])?;
            json!(hex0x(&metadata))
        }
        "state_getRuntimeVersion" => {
            node.state_root(params.hash(0)?)?;
            version()
        }
        "state_getStorage" => storage(node, &params.bytes(0)?, params.hash(1)?)?,
        "state_queryStorageAt" => query_storage(node, params)?,
        "system_accountNextIndex" => json!(node.next_nonce(&params.account(0)?)?),
        "system_chain" => json!(CHAIN_NAME),
        "system_chainType" => json!("Development"),
        "system_health" => json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }),
        "system_name" => json!("gw-devchain"),
        "system_nodeRoles" => json!(["Authority"]),
        "system_properties" => {
            json!({ "ss58Format": SS58_PREFIX, "tokenDecimals": 18, "tokenSymbol": "TCESS" })
        }
        "system_syncState" => {
            let number = node.head().header.number;
            json!({ "startingBlock": 0, "currentBlock": number, "highestBlock": number })
        }
        "system_version" => json!(env!("CARGO_PKG_VERSION")),
        _ => return Err(RpcFault::no_method()),
    })
}

fn method_names() -> Vec<&'static str> {
    let streams = SUBSCRIPTIONS.iter().flat_map(|s| [s.subscribe, s.unsubscribe]);
    let mut names: Vec<&str> = METHODS.iter().copied().chain(streams).collect();
    names.sort_unstable();
    names
}

fn block(node: &Node, at: Option<H256>) -> Result<Value, RpcFault> {
    let hash = at.unwrap_or_else(|| node.head().hash);
    let (Some(header), Some(body)) = (node.header(Some(hash))?, node.store.body(&hash)?) else {
        return Ok(Value::Null);
    };
    let extrinsics: Vec<String> = body.iter().map(|tx| hex0x(tx)).collect();
    Ok(json!({
        "block": { "header": to_json(&header), "extrinsics": extrinsics },
        "justifications": null,
    }))
}

/// One hash for a number or none, a list for a list.
fn block_hash(node: &Node, params: &Params) -> Result<Value, RpcFault> {
    let one = |value: &Value| -> Result<Value, RpcFault> {
        let best = node.head().header.number;
        let Some(number) = number(value)? else { return Ok(json!(node.head().hash)) };
        let number = u32::try_from(number).ok().filter(|number| *number <= best);
        let hash = number.map(|number| node.store.hash_of(number)).transpose()?.flatten();
        Ok(hash.map_or(Value::Null, |hash| json!(hash)))
    };
    match params.get(0) {
        Value::Array(list) => list.iter().take(KEYS_MAX as usize).map(one).collect(),
        single => one(single),
    }
}

/// A block number as subxt and others write it: a number, a hex string, or nothing.
fn number(value: &Value) -> Result<Option<u64>, RpcFault> {
    let bad = || RpcFault::bad_params("a block number is a number or a hex string");
    match value {
        Value::Null => Ok(None),
        Value::Number(n) => n.as_u64().map(Some).ok_or_else(bad),
        Value::String(text) => {
            let digits = text.strip_prefix("0x").ok_or_else(bad)?;
            u64::from_str_radix(digits, 16).map(Some).map_err(|_| bad())
        }
        _ => Err(bad()),
    }
}

fn state_call(node: &Node, params: &Params) -> Result<Value, RpcFault> {
    let Value::String(method) = params.get(0) else {
        return Err(RpcFault::bad_params("the function's name is a string"));
    };
    let root = node.state_root(params.hash(2)?)?;
    Ok(json!(hex0x(&executor::call(&node.store, root, method, &params.bytes(1)?)?)))
}

fn query_info(node: &Node, params: &Params) -> Result<Value, RpcFault> {
    use codec::Encode;
    let mut data = params.bytes(0)?;
    let length = u32::try_from(data.len()).map_err(|_| RpcFault::bad_params("too long"))?;
    data.extend(length.encode());
    type Info = pallet_transaction_payment::RuntimeDispatchInfo<u128>;
    let info: Info = node.runtime_call(params.hash(1)?, "TransactionPaymentApi_query_info", &data)?;
    Ok(json!({
        "weight": { "ref_time": info.weight.ref_time(), "proof_size": info.weight.proof_size() },
        "class": "normal",
        "partialFee": info.partial_fee.to_string(),
    }))
}

fn storage(node: &Node, key: &[u8], at: Option<H256>) -> Result<Value, RpcFault> {
    let value = executor::state(&node.store, node.state_root(at)?).storage(key).map_err(unreadable)?;
    Ok(value.map_or(Value::Null, |bytes| json!(hex0x(&bytes))))
}

fn query_storage(node: &Node, params: &Params) -> Result<Value, RpcFault> {
    let Value::Array(keys) = params.get(0) else {
        return Err(RpcFault::bad_params("the keys are a list"));
    };
    let hash = params.hash(1)?.unwrap_or_else(|| node.head().hash);
    let mut changes = Vec::new();
    for key in keys.iter().take(KEYS_MAX as usize) {
        changes.push(json!([key, storage(node, &bytes_of(key)?, Some(hash))?]));
    }
    Ok(json!([{ "block": hash, "changes": changes }]))
}

fn keys_paged(node: &Node, params: &Params) -> Result<Value, RpcFault> {
    let prefix = if params.get(0).is_null() { Vec::new() } else { params.bytes(0)? };
    let count = params.get(1).as_u64().unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let start = if params.get(2).is_null() { None } else { Some(params.bytes(2)?) };
    let state = executor::state(&node.store, node.state_root(params.hash(3)?)?);
    let mut args = IterArgs::default();
    args.prefix = Some(&prefix);
    args.start_at = start.as_deref();
    args.start_at_exclusive = true;
    let keys = state.keys(args).map_err(unreadable)?;
    let page = keys.take(count as usize).map(|key| Ok(json!(hex0x(&key.map_err(unreadable)?))));
    page.collect()
}

fn unreadable(error: String) -> RpcFault {
    RpcFault::new(4003, "Client error: the state cannot be read").with_data(error)
}

fn version() -> Value {
    to_json(&VERSION)
}

fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("headers and versions have no keys that are not strings")
}

fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn bytes_of(value: &Value) -> Result<Vec<u8>, RpcFault> {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let text = text.ok_or_else(|| RpcFault::bad_params("bytes are a hex string that begins with 0x"))?;
    hex::decode(text).map_err(|error| RpcFault::bad_params(error.to_string()))
}

/// A method's parameters; those left out are null.
pub(crate) struct Params(Vec<Value>);

impl Params {
    fn new(value: Value) -> Result<Self, RpcFault> {
        match value {
            Value::Null => Ok(Self(Vec::new())),
            Value::Array(list) => Ok(Self(list)),
            _ => Err(RpcFault::bad_params("the parameters are a list")),
        }
    }

    fn get(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&Value::Null)
    }

    fn bytes(&self, index: usize) -> Result<Vec<u8>, RpcFault> {
        bytes_of(self.get(index))
    }

    fn hash(&self, index: usize) -> Result<Option<H256>, RpcFault> {
        match self.get(index) {
            Value::Null => Ok(None),
            value => {
                let bytes: [u8; 32] =
                    bytes_of(value)?.try_into().map_err(|_| RpcFault::bad_params("a hash has 32 bytes"))?;
                Ok(Some(H256(bytes)))
            }
        }
    }

    fn account(&self, index: usize) -> Result<[u8; 32], RpcFault> {
        use sp_core::crypto::Ss58Codec;
        let text = self.get(index).as_str().ok_or_else(|| RpcFault::bad_params("the account is a string"))?;
        let account = AccountId32::from_ss58check_with_version(text)
            .map_err(|error| RpcFault::bad_params(format!("the account: {error:?}")))?;
        Ok(account.0.into())
    }
}
