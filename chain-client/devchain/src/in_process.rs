//! The chain's RPC for callers in this process, as subxt's [`RpcClientT`].
//!
//! No socket, no copy beyond the JSON text. The handle does not keep the chain alive: after
//! [`crate::DevChain::shutdown`] each call fails with code -32000 and each subscription ends.

use crate::{error::RpcFault, node::Node, rpc};
use futures::StreamExt;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};
use subxt_rpcs::{
    Error, UserError,
    client::{RawRpcFuture, RawRpcSubscription, RpcClientT},
};

/// The in-process RPC client; `subxt_rpcs::RpcClient::new` takes it. Clones are cheap.
#[derive(Clone, Debug)]
pub struct InProcess {
    node: Weak<Node>,
    subscriptions: Arc<AtomicU64>,
}

impl InProcess {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::downgrade(node), subscriptions: Arc::default() }
    }
}

impl RpcClientT for InProcess {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move {
            let answer = rpc::request(&self.node, method, parse(params)?).await.map_err(to_user)?;
            to_raw_value(&answer).map_err(Error::Serialization)
        })
    }

    fn subscribe_raw<'a>(
        &'a self,
        sub: &'a str,
        params: Option<Box<RawValue>>,
        _unsub: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        Box::pin(async move {
            let values = rpc::subscribe(&self.node, sub, parse(params)?).await.map_err(to_user)?;
            let stream = values.map(|value| to_raw_value(&value).map_err(Error::Serialization));
            let id = self.subscriptions.fetch_add(1, Ordering::Relaxed);
            Ok(RawRpcSubscription { stream: Box::pin(stream), id: Some(id.to_string()) })
        })
    }
}

fn parse(params: Option<Box<RawValue>>) -> Result<Value, Error> {
    params.map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get()).map_err(Error::Deserialization))
}

fn to_user(fault: RpcFault) -> Error {
    let data = fault.data.and_then(|data| to_raw_value(&data).ok());
    Error::User(UserError { code: fault.code, message: fault.message, data })
}
