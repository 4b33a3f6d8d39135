//! The connection to the node, and its return after a break.
//!
//! A link knows one node: a WebSocket URL, or an RPC client that is given (a chain in the same
//! process, which cannot be lost). Whoever needs the chain asks for the current [`Connection`]; when
//! the last one has broken, the asker opens a new one, with a bounded number of attempts and growing
//! waits between them, while others wait for the same result. A failure is remembered for as long as
//! the longest wait, so that a hundred callers do not make a hundred rounds of attempts.
//!
//! Metadata is kept across connections (one copy for each spec version). The genesis hash is kept
//! too: when another chain answers at the same URL, that is refused, not followed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gw_types::{PortError, PortErrorKind};
use jsonrpsee::ws_client::{PingConfig, WsClient, WsClientBuilder};
use subxt::backend::LegacyBackend;
use subxt::config::RpcConfigFor;
use subxt::config::substrate::H256;
use subxt::{OnlineClient, SubstrateConfig};
use subxt_rpcs::{LegacyRpcMethods, RpcClient};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::config::ChainConfig;
use crate::fault::Fault;

/// A peer that has not answered a ping for this long is gone.
const PING_SILENCE_MAX: Duration = Duration::from_secs(40);
const PING_EVERY: Duration = Duration::from_secs(15);
/// Notifications of one subscription that may wait for us; beyond them the subscription ends.
const NOTIFICATIONS_WAITING_MAX: usize = 1024;

pub(crate) type Methods = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// One open connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: OnlineClient<SubstrateConfig>,
    pub(crate) methods: Methods,
    serial: u64,
    socket: Option<Arc<WsClient>>,
}

impl Connection {
    fn is_open(&self) -> bool {
        self.socket.as_ref().is_none_or(|socket| socket.is_connected())
    }
}

enum Node {
    Url(String),
    InProcess(RpcClient),
}

/// The way to one node.
pub(crate) struct Link {
    node: Node,
    config: ChainConfig,
    substrate: SubstrateConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Connection>,
    serial: u64,
    genesis: Option<H256>,
    failed: Option<(Instant, String)>,
}

impl Link {
    /// # Errors
    /// `Refused` for a URL that is not `ws://` or `wss://`, and for `ws://` beyond loopback unless
    /// the configuration allows it.
    pub(crate) fn to_url(url: &str, config: ChainConfig) -> Result<Self, PortError> {
        let refused =
            |why: &str| PortError::definite(PortErrorKind::Refused, format!("chain URL {url}: {why}"));
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("ws" | "wss")) {
            return Err(refused("it must begin with ws:// or wss://"));
        }
        let secure =
            subxt_rpcs::utils::url_is_secure(url).map_err(|error| refused("not a URL").with_source(error))?;
        if !secure && !config.allow_insecure {
            return Err(refused(
                "ws:// is only for loopback, because the answers could be changed on the way; use wss://, or set allow_insecure",
            ));
        }
        Ok(Self::new(Node::Url(url.to_owned()), config))
    }

    pub(crate) fn in_process(rpc: RpcClient, config: ChainConfig) -> Self {
        Self::new(Node::InProcess(rpc), config)
    }

    fn new(node: Node, config: ChainConfig) -> Self {
        Self { node, config, substrate: SubstrateConfig::new(), state: Mutex::default() }
    }

    pub(crate) fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// The current connection, opened anew if need be.
    pub(crate) async fn connection(&self) -> Result<Connection, PortError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = state.current.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        state.current = None;
        if let Some((when, why)) = &state.failed
            && when.elapsed() < self.config.backoff_max
        {
            return Err(PortError::definite(PortErrorKind::Unavailable, why.clone()));
        }
        match self.connect(&mut state).await {
            Ok(connection) => {
                state.failed = None;
                state.current = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), format!("{error} (tried a moment ago)")));
                Err(error)
            }
        }
    }

    /// Forgets a connection that has shown itself broken. One opened since then is kept.
    pub(crate) async fn lost(&self, connection: &Connection) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|current| current.serial == connection.serial) {
            state.current = None;
        }
    }

    async fn connect(&self, state: &mut State) -> Result<Connection, PortError> {
        let mut wait = self.config.backoff_first;
        let mut attempt = 1;
        loop {
            let error = match self.open(state).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.kind() != PortErrorKind::Unavailable => return Err(error),
                Err(error) => error,
            };
            if attempt >= self.config.connect_attempts {
                return Err(error);
            }
            tracing::debug!(%error, attempt, "chain not reachable, trying again");
            sleep(wait).await;
            wait = (wait * 2).min(self.config.backoff_max);
            attempt += 1;
        }
    }

    async fn open(&self, state: &mut State) -> Result<Connection, PortError> {
        let (rpc, socket) = match &self.node {
            Node::InProcess(rpc) => (rpc.clone(), None),
            Node::Url(url) => {
                let socket = Arc::new(self.open_socket(url).await?);
                (RpcClient::new(Arc::clone(&socket)), Some(socket))
            }
        };
        let backend = LegacyBackend::builder().build(rpc.clone());
        let opening = OnlineClient::from_backend_with_config(self.substrate.clone(), Arc::new(backend));
        let client = match timeout(self.config.request_timeout, opening).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(Fault::from_client(&error).error),
            Err(_) => return Err(Fault::slow("asking the node for its genesis block").error),
        };
        let genesis = client.genesis_hash();
        if *state.genesis.get_or_insert(genesis) != genesis {
            let message = format!("another chain answers at {self:?}: its genesis block is {genesis:?}");
            return Err(PortError::definite(PortErrorKind::Refused, message));
        }
        state.serial += 1;
        Ok(Connection { client, methods: LegacyRpcMethods::new(rpc), serial: state.serial, socket })
    }

    async fn open_socket(&self, url: &str) -> Result<WsClient, PortError> {
        let ping = PingConfig::new().ping_interval(PING_EVERY).inactive_limit(PING_SILENCE_MAX);
        WsClientBuilder::new()
            .connection_timeout(self.config.connect_timeout)
            .request_timeout(self.config.request_timeout)
            .max_response_size(self.config.answer_bytes_max)
            .max_request_size(self.config.request_bytes_max)
            .max_buffer_capacity_per_subscription(NOTIFICATIONS_WAITING_MAX)
            .enable_ws_ping(ping)
            .build(url)
            .await
            .map_err(|error| {
                PortError::definite(
                    PortErrorKind::Unavailable,
                    format!("cannot connect to the chain at {url}"),
                )
                .with_source(error)
            })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Url(url) => f.write_str(url),
            Node::InProcess(_) => f.write_str("the chain in this process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Link;
    use crate::config::ChainConfig;
    use gw_types::PortErrorKind;

    #[test]
    fn plain_text_beyond_loopback_is_refused_unless_allowed() {
        for url in
            ["ws://127.0.0.1:9944", "ws://localhost:9944", "ws://[::1]:1", "wss://rpc.example.org", "WSS://a"]
        {
            Link::to_url(url, ChainConfig::default()).unwrap();
        }
        let far = "ws://rpc.example.org:9944";
        for url in [far, "http://127.0.0.1", "https://a", "127.0.0.1:9944", "ws://", ""] {
            let error = Link::to_url(url, ChainConfig::default()).unwrap_err();
            assert_eq!(error.kind(), PortErrorKind::Refused, "{url}");
        }
        let allowed = ChainConfig { allow_insecure: true, ..ChainConfig::default() };
        Link::to_url(far, allowed).unwrap();
    }
}
