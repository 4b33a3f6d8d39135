//! The embedded development chain: a **simulated** CESS in this process.
//!
//! It is a real FRAME runtime with those pallets of CESS that storing and reading files need, at CESS's indices and
//! with CESS's names, fields and rules, executed natively; around it a small node with a Merkle trie on disk, a
//! transaction pool, blocks on demand and instant finality. What it is not: there is no consensus, no network, no
//! wasm, no enclave, no audit and no proof of space. Miners are believed. Money is worthless. Use it to develop and
//! to test; the same client code then runs against a real node.
//!
//! [`DevChain::open`] starts it on a directory, [`DevChain::rpc_client`] gives subxt a client in this process and
//! [`DevChain::serve_ws`] a WebSocket on loopback. Block numbers are time: a day is 14,400 blocks as on CESS, where
//! a block takes six seconds. Under load this chain makes up to ten blocks a second (`block_min`), so that a
//! territory of 30 days may freeze after half a day of constant load; rent long.
//!
//! **Promise:** a transaction reported as in a block survives a crash of the process and of the machine. A directory
//! is used by one process at a time.
//!
//! Subscriptions follow every block; states of the last 256 blocks and blocks of the last 4096 can be read.

mod error;
mod executor;
mod genesis;
mod in_process;
mod node;
mod pool;
mod rpc;
pub mod runtime;
mod store;
mod ws;

pub use error::{DevChainError, ExecutionError, StoreError};
pub use genesis::{Genesis, GenesisMiner};
pub use in_process::InProcess;
pub use ws::WsServer;

use node::{Node, Pace};
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use store::Store;
use tokio::{sync::watch, task::JoinHandle};

/// How long another process may take to let go of the directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// How long the last callers may take to let go of the chain, between two looks.
const CLOSE_RETRY: Duration = Duration::from_millis(1);

/// How the chain runs.
#[derive(Debug, Clone)]
pub struct DevChainConfig {
    /// Its directory; made where there is none.
    pub path: PathBuf,
    /// What a new chain begins with; a directory that has one keeps its own.
    pub genesis: Genesis,
    /// A block is made at least so often. CESS makes one each six seconds.
    pub heartbeat: Duration,
    /// Blocks are at least so far apart.
    pub block_min: Duration,
    /// sled's page cache, in bytes.
    pub cache_bytes: u64,
}

impl DevChainConfig {
    /// An empty genesis, a heartbeat of 6 s, blocks at least 100 ms apart, 16 MiB of cache.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            genesis: Genesis::default(),
            heartbeat: Duration::from_secs(6),
            block_min: Duration::from_millis(100),
            cache_bytes: 16 << 20,
        }
    }
}

/// A running development chain. Dropping it stops it, without waiting; what was in a block is on disk.
pub struct DevChain {
    node: Arc<Node>,
    author: JoinHandle<()>,
    stop: watch::Sender<()>,
    servers: Mutex<Vec<WsServer>>,
}

impl std::fmt::Debug for DevChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevChain").field("head", &self.node.head()).finish_non_exhaustive()
    }
}

impl DevChain {
    /// Opens the chain of a directory, or begins one there. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The directory cannot be used, another process has held it for five seconds, or the genesis is impossible.
    pub async fn open(config: DevChainConfig) -> Result<Self, DevChainError> {
        let pace = Pace { heartbeat: config.heartbeat.max(config.block_min), block_min: config.block_min };
        let config = Arc::new(config);
        let deadline = Instant::now() + LOCK_PATIENCE;
        let node = loop {
            let wanted = Arc::clone(&config);
            match tokio::task::spawn_blocking(move || open_node(&wanted)).await? {
                // A process that was killed a moment ago may still hold the lock.
                Err(DevChainError::Store(StoreError::Locked)) if Instant::now() < deadline => {
                    tokio::time::sleep(LOCK_RETRY).await;
                }
                outcome => break Arc::new(outcome?),
            }
        };
        let (stop, stopped) = watch::channel(());
        let author = node::spawn_author(Arc::clone(&node), pace, stopped);
        Ok(Self { node, author, stop, servers: Mutex::default() })
    }

    /// A client in this process, for `subxt_rpcs::RpcClient::new`. It does not keep the chain alive.
    pub fn rpc_client(&self) -> InProcess {
        InProcess::new(&self.node)
    }

    /// Serves the same over WebSocket (and HTTP POST) on a loopback address; port 0 picks a free one.
    ///
    /// # Errors
    /// The address is not loopback, or taken.
    pub async fn serve_ws(&self, addr: SocketAddr) -> Result<WsServer, DevChainError> {
        let server = ws::serve(&self.node, addr).await?;
        self.servers.lock().push(server.clone());
        Ok(server)
    }

    /// The genesis block's hash, which tells this chain from every other.
    pub fn genesis_hash(&self) -> [u8; 32] {
        self.node.genesis.0
    }

    /// Number and hash of the best block, which is final.
    pub fn best_block(&self) -> (u32, [u8; 32]) {
        let head = self.node.head();
        (head.header.number, head.hash.0)
    }

    /// Stops: no block is made any more, servers are closed, the directory is synced and let go.
    pub async fn shutdown(self) {
        let Self { node, author, stop, servers } = self;
        drop(stop);
        if let Err(error) = author.await {
            tracing::error!(%error, "the block maker did not end well");
        }
        let servers = std::mem::take(&mut *servers.lock());
        for server in servers {
            server.stop().await;
        }
        node.close().await;
        // Calls that were under way hold the node for a moment longer.
        while Arc::strong_count(&node) > 1 {
            tokio::time::sleep(CLOSE_RETRY).await;
        }
        if let Err(error) = tokio::task::spawn_blocking(move || drop(node)).await {
            tracing::error!(%error, "closing the directory");
        }
    }
}

fn open_node(config: &DevChainConfig) -> Result<Node, DevChainError> {
    let store = Store::open(&config.path, config.cache_bytes)?;
    let best = match store.best()? {
        Some(best) => {
            tracing::info!(path = %config.path.display(), number = best.number, "simulated CESS chain reopened");
            best
        }
        None => {
            let block = executor::genesis_block(&store, &config.genesis.storage()?);
            let header = block.header.clone();
            store.commit(block)?;
            tracing::info!(path = %config.path.display(), "simulated CESS chain begun; it is for development only");
            header
        }
    };
    Node::new(store, best)
}
