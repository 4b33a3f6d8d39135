//! Starting and stopping a miner.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use futures::future::select;
use gw_types::AccountId;
use gw_types::ports::{Clock, MinerChain};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::{Fault, MinerConfig};
use crate::counters::{Counters, MinerCounters};
use crate::deals::Deals;
use crate::fragments::FragmentStore;
use crate::report::ReportQueue;
use crate::server::{BLOCKING_MAX, Shared, serve, stopped};
use crate::status::ChainState;
use crate::{collect, report};

/// Why a miner did not start.
#[derive(Debug, thiserror::Error)]
pub enum MinerStartError {
    /// Its directory cannot be used, or another miner uses it.
    #[error("the directory {dir} cannot be used")]
    Directory {
        /// Which.
        dir: String,
        /// Why.
        source: io::Error,
    },
    /// The address is taken or not ours. [`io::ErrorKind::AddrInUse`] may be met with port 0 and
    /// `MinerChain::update_endpoint`.
    #[error("cannot listen on {listen}")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Starts miners.
#[derive(Debug)]
pub struct Miner;

impl Miner {
    /// Opens the store, listens and begins to report. The miner's account is the chain's; it must be
    /// registered by somebody else.
    pub async fn start(
        config: MinerConfig,
        chain: Arc<dyn MinerChain>,
        clock: Arc<dyn Clock>,
    ) -> Result<RunningMiner, MinerStartError> {
        let (dir, capacity_bytes) = (config.dir.clone(), config.capacity_bytes);
        let opened = tokio::task::spawn_blocking(move || FragmentStore::open(&dir, capacity_bytes)).await;
        let store = opened
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| MinerStartError::Directory { dir: config.dir.display().to_string(), source })?;
        let listen_error = |source| MinerStartError::Listen { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let local_addr = listener.local_addr().map_err(listen_error)?;
        let shared = Arc::new(Shared {
            deals: Deals::new(Arc::clone(&chain), Arc::clone(&clock)),
            reports: ReportQueue::new(config.max_report_queue),
            counters: Counters::default(),
            chain_state: ChainState::default(),
            fault: Mutex::new(Fault::None),
            blocking: Arc::new(Semaphore::new(BLOCKING_MAX)),
            config,
            chain,
            clock,
            store,
        });
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&shared), stopping.clone()));
        tasks.spawn(until_stopped(report::run(Arc::clone(&shared)), stopping.clone()));
        if let Some(collect) = shared.config.collect.clone() {
            tasks.spawn(until_stopped(collect::run(Arc::clone(&shared), collect), stopping));
        }
        tracing::info!(%local_addr, dir = %shared.config.dir.display(), "a simulated miner serves");
        Ok(RunningMiner { shared, local_addr, stop, tasks })
    }
}

async fn until_stopped(work: impl Future<Output = ()>, mut stop: watch::Receiver<bool>) {
    select(pin!(work), pin!(stopped(&mut stop))).await;
}

/// A miner that serves. Dropped, it stops at once and cuts off what is under way; nothing that was
/// answered is lost either way.
#[derive(Debug)]
pub struct RunningMiner {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl RunningMiner {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
    /// The same as the chain wants it: `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.local_addr)
    }
    /// The miner's account.
    pub fn account(&self) -> AccountId {
        self.shared.chain.account()
    }
    /// Switches a fault on or, with [`Fault::None`], off. It holds for requests that come from now on.
    pub fn set_fault(&self, fault: Fault) {
        *self.shared.fault.lock() = fault;
    }
    /// What it has done and what it holds.
    pub fn counters(&self) -> MinerCounters {
        let space = self.shared.store.space.now();
        MinerCounters {
            used_bytes: space.used_bytes,
            reserved_bytes: space.reserved_bytes,
            capacity_bytes: space.capacity_bytes,
            ..self.shared.counters.read()
        }
    }
    /// Takes no more requests, lets those under way finish (up to the drain time-out), and returns
    /// when the directory is free. Reports that were not sent are sent after the next start.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        let blocking = Arc::clone(&self.shared.blocking);
        let all = blocking.acquire_many(BLOCKING_MAX as u32);
        if self.shared.within(self.shared.config.drain_timeout, all).await.is_none() {
            tracing::warn!("the disk is still busy with a put");
        }
    }
}
