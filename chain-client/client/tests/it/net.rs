//! A development chain with accounts and twelve miners, and clients on it.

use std::sync::Arc;
use std::time::Duration;

use gw_chain::conformance::World;
use gw_chain::{ChainConfig, RpcClient, Signer, SubxtChain};
use gw_devchain::{DevChain, DevChainConfig, Genesis, GenesisMiner};
use gw_types::ports::MinerChain;
use tempfile::TempDir;

pub const CESS: u128 = 1_000_000_000_000_000_000;

pub struct Net {
    pub dev: DevChain,
    _directory: TempDir,
}

pub fn owner() -> Signer {
    Signer::from_seed([1; 32]).unwrap()
}

pub fn other() -> Signer {
    Signer::from_seed([2; 32]).unwrap()
}

pub fn root() -> Signer {
    Signer::from_seed([3; 32]).unwrap()
}

/// Has no money.
pub fn beggar() -> Signer {
    Signer::from_seed([4; 32]).unwrap()
}

pub fn miner(number: u8) -> Signer {
    Signer::from_seed([100 + number; 32]).unwrap()
}

impl Net {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let miners = (0..12).map(|number| GenesisMiner {
            account: miner(number).account().0,
            endpoint: format!("http://127.0.0.1:{}", 15000 + u16::from(number)),
            idle_space: 100 << 30,
        });
        let rich = [owner(), other(), root()].into_iter().chain((0..12).map(miner));
        let genesis = Genesis {
            balances: rich.map(|signer| (signer.account().0, 1_000_000 * CESS)).collect(),
            sudo: Some(root().account().0),
            miners: miners.collect(),
            ..Genesis::default()
        };
        let mut config = DevChainConfig::new(directory.path().join("chain"));
        config.genesis = genesis;
        config.block_min = Duration::from_millis(10);
        config.heartbeat = Duration::from_millis(500);
        Self { dev: DevChain::open(config).await.unwrap(), _directory: directory }
    }

    pub fn rpc(&self) -> RpcClient {
        RpcClient::new(self.dev.rpc_client())
    }

    pub async fn client(&self, signer: Signer) -> SubxtChain {
        SubxtChain::from_rpc_client_with(self.rpc(), signer, quick()).await.unwrap()
    }
}

/// Limits for a chain on this machine.
pub fn quick() -> ChainConfig {
    ChainConfig {
        finality_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(10),
        connect_attempts: 2,
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_millis(20),
        ..ChainConfig::default()
    }
}

pub fn world(chain: &SubxtChain, label: &str) -> World {
    let miner = |number| Arc::new(chain.with_signer(miner(number))) as Arc<dyn MinerChain>;
    World {
        owner: Arc::new(chain.clone()),
        other: Arc::new(chain.with_signer(other())),
        miners: (0..12).map(miner).collect(),
        label: label.into(),
    }
}
