//! The development network: a chain in this process and miners on loopback, kept in the data
//! directory and resumed with the same accounts and ports. Everything in it is a stand-in and says
//! so; the gateway in front of it is the real one.

mod identity;
mod miner;
mod secret_text;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gw_chain::{RpcClient, Signer, SubxtChain};
use gw_devchain::{DevChain, DevChainConfig, Genesis, GenesisMiner, WsServer};
use gw_types::TerritoryName;
use gw_types::ports::{Chain, Clock, MinerChain};
use tokio::sync::Mutex;

use crate::cli::{DevArgs, DevMinerAct};
use crate::datadir::DataDir;
use crate::error::{Context, Result, fail};

pub use identity::Identity;
use miner::MinerHost;
pub use miner::{MinerFile, run_miner};

/// The territory that `dev` buys.
pub const TERRITORY: &str = "cess-gateway-dev";
const GIB: u128 = 1 << 30;
/// One CESS in planck.
const CESS: u128 = 1_000_000_000_000_000_000;
const UNIT_PRICE: u128 = 30 * CESS;

/// A running development network.
pub struct DevNet {
    chain: DevChain,
    ws: WsServer,
    client: SubxtChain,
    miners: Mutex<Miners>,
}

struct Miners {
    dir: Arc<DataDir>,
    identity: Identity,
    hosts: BTreeMap<u16, MinerHost>,
    processes: bool,
    clock: Arc<dyn Clock>,
}

impl DevNet {
    /// Starts (or begins) the network of a data directory.
    pub async fn start(dir: Arc<DataDir>, args: &DevArgs, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut identity = Identity::load_or_make(&dir, args.miners)?;
        let (chain, ws) = start_chain(&dir, &identity, args).await?;
        let signer =
            Signer::from_mnemonic(&identity.mnemonic).context(|| "reading the account".to_owned())?;
        let client = SubxtChain::from_rpc_client(RpcClient::new(chain.rpc_client()), signer)
            .await
            .context(|| "talking to the development chain".to_owned())?;
        identity.chain_port = ws.local_addr().port();
        let mut miners =
            Miners { dir, identity, hosts: BTreeMap::new(), processes: args.miner_processes, clock };
        miners.start_all(&client, ws.local_addr()).await?;
        miners.identity.save(&miners.dir)?;
        let net = Self { chain, ws, client, miners: Mutex::new(miners) };
        net.buy_territory(args).await?;
        Ok(net)
    }

    /// The chain, for the gateway's account.
    pub fn chain(&self) -> Arc<dyn Chain> {
        Arc::new(self.client.clone())
    }

    /// `ws://host:port`.
    pub fn chain_url(&self) -> String {
        format!("ws://{}", self.ws.local_addr())
    }

    /// Remembered ports and credentials.
    pub async fn identity(&self) -> Identity {
        self.miners.lock().await.identity.clone()
    }

    /// Changes what is remembered.
    pub async fn remember(&self, change: impl FnOnce(&mut Identity)) -> Result<()> {
        let mut miners = self.miners.lock().await;
        change(&mut miners.identity);
        miners.identity.save(&miners.dir)
    }

    /// `dev miner I …`.
    pub async fn act(&self, index: u16, act: &DevMinerAct) -> Result<()> {
        let mut miners = self.miners.lock().await;
        if usize::from(index) >= miners.identity.miners.len() {
            return fail(format!("there are miners 0 to {}", miners.identity.miners.len() - 1));
        }
        let stop = matches!(act, DevMinerAct::Stop);
        miners.identity.miners[usize::from(index)].stopped = stop;
        miners.identity.save(&miners.dir)?;
        match act {
            DevMinerAct::Stop => {
                if let Some(host) = miners.hosts.remove(&index) {
                    host.stop().await;
                }
                Ok(())
            }
            _ => {
                if !miners.hosts.contains_key(&index) {
                    miners.start_one(index, &self.client, self.ws.local_addr()).await?;
                }
                let host = miners.hosts.get_mut(&index);
                match host {
                    Some(host) => host.fault(act).await,
                    None => fail(format!("miner {index} did not start")),
                }
            }
        }
    }

    /// Stops miners, then the chain. Nothing that was answered is lost.
    pub async fn stop(self) {
        let mut miners = self.miners.into_inner();
        let stops = std::mem::take(&mut miners.hosts).into_values().map(MinerHost::stop);
        futures::future::join_all(stops).await;
        self.chain.shutdown().await;
    }

    async fn buy_territory(&self, args: &DevArgs) -> Result<()> {
        let name = TerritoryName::new(TERRITORY).expect("the name has 1 to 63 bytes");
        let there = self.client.territory(&name).await.context(|| "asking for the territory".to_owned())?;
        if there.is_none() {
            self.client.mint_territory(&name, args.territory_gib, args.territory_days).await.context(
                || format!("buying {} GiB of territory for {} days", args.territory_gib, args.territory_days),
            )?;
        }
        Ok(())
    }
}

async fn start_chain(dir: &DataDir, identity: &Identity, args: &DevArgs) -> Result<(DevChain, WsServer)> {
    let territory = u128::from(args.territory_gib);
    let price = territory * u128::from(args.territory_days) * UNIT_PRICE;
    let owner = Signer::from_mnemonic(&identity.mnemonic).context(|| "reading the account".to_owned())?;
    let mut balances = vec![(owner.account().0, price * 4 + 1_000_000 * CESS)];
    let mut miners = Vec::new();
    for miner in &identity.miners {
        let account = miner.signer()?.account().0;
        balances.push((account, 100_000 * CESS));
        // All twelfths of the territory, a quarter more, and a floor for many small deals.
        let idle_space = (territory * GIB / 12 * 5 / 4).max(64 * GIB);
        miners.push(GenesisMiner { account, endpoint: miner.endpoint(), idle_space });
    }
    let mut config = DevChainConfig::new(dir.join("chain"));
    config.genesis = Genesis { balances, sudo: Some(owner.account().0), miners, unit_price: UNIT_PRICE };
    let chain = DevChain::open(config).await.context(|| "opening the development chain".to_owned())?;
    let wanted = match identity.chain_port {
        0 => args.chain_listen,
        port if args.chain_listen.port() == 0 => SocketAddr::new(args.chain_listen.ip(), port),
        _ => args.chain_listen,
    };
    let ws = match chain.serve_ws(wanted).await {
        Ok(ws) => ws,
        Err(error) if wanted.port() != 0 => {
            tracing::warn!(%wanted, %error, "the chain's port is taken; a free one is used");
            let free = SocketAddr::new(wanted.ip(), 0);
            chain.serve_ws(free).await.context(|| "serving the development chain".to_owned())?
        }
        Err(error) => return Err(error).context(|| "serving the development chain".to_owned()),
    };
    Ok((chain, ws))
}

impl Miners {
    async fn start_all(&mut self, client: &SubxtChain, ws: SocketAddr) -> Result<()> {
        let indices: Vec<u16> = (0u16..)
            .zip(&self.identity.miners)
            .filter(|(_, miner)| !miner.stopped)
            .map(|(at, _)| at)
            .collect();
        let starts = indices.iter().map(|index| {
            let file = self.identity.miners[usize::from(*index)].clone();
            self.open(*index, file, client, ws)
        });
        let hosts = futures::future::try_join_all(starts).await?;
        for (index, host) in indices.into_iter().zip(hosts) {
            self.keep(index, host, client).await?;
        }
        Ok(())
    }

    async fn start_one(&mut self, index: u16, client: &SubxtChain, ws: SocketAddr) -> Result<()> {
        let file = self.identity.miners[usize::from(index)].clone();
        let host = self.open(index, file, client, ws).await?;
        self.keep(index, host, client).await?;
        self.identity.save(&self.dir)
    }

    async fn open(
        &self,
        index: u16,
        file: MinerFile,
        client: &SubxtChain,
        ws: SocketAddr,
    ) -> Result<MinerHost> {
        let folder = self.dir.join(&format!("miners/{index}"));
        if self.processes {
            MinerHost::spawn(index, &folder, &file, ws).await
        } else {
            let chain: Arc<dyn MinerChain> = Arc::new(client.with_signer(file.signer()?));
            MinerHost::embed(index, &folder, &file, chain, Arc::clone(&self.clock)).await
        }
    }

    /// Remembers the port, and tells the chain when it is not the registered one.
    async fn keep(&mut self, index: u16, host: MinerHost, client: &SubxtChain) -> Result<()> {
        let doing = || format!("registering miner {index}");
        let file = &mut self.identity.miners[usize::from(index)];
        file.port = host.port();
        let endpoint = file.endpoint();
        let chain = client.with_signer(file.signer()?);
        let registered = MinerChain::registered(&chain).await.context(doing)?;
        match registered {
            Some(known) if known.addr.endpoint == endpoint => {}
            Some(_) => {
                MinerChain::update_endpoint(&chain, &endpoint).await.context(doing)?;
            }
            None => {
                return fail(format!(
                    "miner {index} is not registered on this chain; was --miners raised? Use a new --data-dir"
                ));
            }
        }
        self.hosts.insert(index, host);
        Ok(())
    }
}

/// How long a miner process may take to serve.
const MINER_PATIENCE: Duration = Duration::from_secs(20);
