//! Who the development network is: accounts, ports and the first user's credentials, in one 0600
//! file. Keys are random, never the well-known ones.

use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::miner::MinerFile;
use crate::datadir::{DataDir, read_secret, write_secret};
use crate::error::{Context, Result, fail};

const FILE: &str = "dev.json";

/// The file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Of the gateway's account.
    #[serde(with = "super::secret_text")]
    pub mnemonic: Zeroizing<String>,
    pub miners: Vec<MinerFile>,
    /// 0 before the first start.
    pub chain_port: u16,
    pub s3_port: u16,
    pub admin_port: u16,
    /// Of the first user, once it exists.
    pub access_key: String,
    #[serde(with = "super::secret_text")]
    pub secret_key: Zeroizing<String>,
}

impl Identity {
    /// What the directory has, or a new one with `miners` miners.
    pub fn load_or_make(dir: &DataDir, miners: u16) -> Result<Self> {
        let path = dir.join(FILE);
        if let Some(bytes) = read_secret(&path)? {
            let identity: Self =
                serde_json::from_slice(&bytes).context(|| format!("reading {}", path.display()))?;
            if identity.miners.len() != usize::from(miners) {
                tracing::warn!(
                    kept = identity.miners.len(),
                    asked = miners,
                    "this data directory keeps its number of miners"
                );
            }
            return Ok(identity);
        }
        if dir.join("chain").exists() {
            return fail(format!(
                "{} is missing, and with it the keys of this data directory's accounts",
                path.display()
            ));
        }
        let (_, mnemonic) = gw_chain::Signer::generate().context(|| "making an account".to_owned())?;
        let ports = free_ports(usize::from(miners))?;
        let miners = ports.into_iter().map(MinerFile::generate).collect::<Result<Vec<MinerFile>>>()?;
        let identity = Self {
            mnemonic,
            miners,
            chain_port: 0,
            s3_port: 0,
            admin_port: 0,
            access_key: String::new(),
            secret_key: Zeroizing::new(String::new()),
        };
        identity.save(dir)?;
        Ok(identity)
    }

    /// Writes it.
    pub fn save(&self, dir: &DataDir) -> Result<()> {
        let json =
            Zeroizing::new(serde_json::to_vec_pretty(self).context(|| "writing the identity".to_owned())?);
        write_secret(&dir.join(FILE), &json)
    }
}

/// Ports that were free a moment ago, all different: the listeners are held until all are found.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let doing = || "looking for free ports".to_owned();
    let listeners = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<Vec<TcpListener>>>()
        .context(doing)?;
    listeners.iter().map(|listener| Ok(listener.local_addr().context(doing)?.port())).collect()
}
