//! What the chain begins with.
//!
//! [`Genesis`] names the accounts and their money, the sudo key, the miners and the price; the treasury and the
//! faucet begin with one CESS each, because an account below that cannot exist. A directory that has a chain
//! keeps its own genesis, whatever is asked for here.

use crate::{
    error::DevChainError,
    runtime::{
        BalancesConfig, RuntimeGenesisConfig, SminerConfig, StorageHandlerConfig, SudoConfig,
        sminer::faucet_pot,
        storage_handler::treasury,
        types::{AccountId, EXISTENTIAL_DEPOSIT, EndPoint},
    },
};
use sp_core::storage::Storage;
use sp_runtime::BuildStorage;
use std::collections::{BTreeMap, BTreeSet};

/// A miner that is there from the first block, `positive` and with all its space idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisMiner {
    /// Its sr25519 public key.
    pub account: [u8; 32],
    /// Where it serves fragments, a URL or host:port, up to 100 bytes.
    pub endpoint: String,
    /// Its space in bytes.
    pub idle_space: u128,
}

/// What a new chain begins with. Accounts are sr25519 public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Account and planck; at least 10^18 each.
    pub balances: Vec<([u8; 32], u128)>,
    /// Who may call `Sudo.sudo`.
    pub sudo: Option<[u8; 32]>,
    /// The first miners. An upload needs twelve.
    pub miners: Vec<GenesisMiner>,
    /// Planck for a GiB and day. CESS's genesis says 30 x 10^18.
    pub unit_price: u128,
}

impl Default for Genesis {
    fn default() -> Self {
        Self { balances: Vec::new(), sudo: None, miners: Vec::new(), unit_price: 30 * EXISTENTIAL_DEPOSIT }
    }
}

impl Genesis {
    /// The storage of the first block.
    pub(crate) fn storage(&self) -> Result<Storage, DevChainError> {
        let config = RuntimeGenesisConfig {
            balances: BalancesConfig { balances: self.checked_balances()?, dev_accounts: None },
            sudo: SudoConfig { key: self.sudo.map(AccountId::from) },
            sminer: SminerConfig { miners: self.checked_miners()?, marker: Default::default() },
            storage_handler: StorageHandlerConfig { price: self.unit_price, marker: Default::default() },
            ..Default::default()
        };
        config.build_storage().map_err(|_| DevChainError::Genesis("the storage cannot be built"))
    }

    fn checked_balances(&self) -> Result<Vec<(AccountId, u128)>, DevChainError> {
        let mut all: BTreeMap<AccountId, u128> = BTreeMap::new();
        for (account, balance) in &self.balances {
            if *balance < EXISTENTIAL_DEPOSIT {
                return Err(DevChainError::Genesis("a balance is below one CESS"));
            }
            if all.insert(AccountId::from(*account), *balance).is_some() {
                return Err(DevChainError::Genesis("an account has two balances"));
            }
        }
        all.values()
            .try_fold(2 * EXISTENTIAL_DEPOSIT, |sum, balance| sum.checked_add(*balance))
            .ok_or(DevChainError::Genesis("the balances together are over 2^128"))?;
        for pot in [treasury(), faucet_pot()] {
            all.entry(pot).or_insert(EXISTENTIAL_DEPOSIT);
        }
        Ok(all.into_iter().collect())
    }

    fn checked_miners(&self) -> Result<Vec<(AccountId, EndPoint, u128)>, DevChainError> {
        let mut seen = BTreeSet::new();
        let mut checked = Vec::with_capacity(self.miners.len());
        for miner in &self.miners {
            if !seen.insert(miner.account) {
                return Err(DevChainError::Genesis("a miner is named twice"));
            }
            let endpoint = EndPoint::try_from(miner.endpoint.as_bytes().to_vec())
                .map_err(|_| DevChainError::Genesis("an endpoint is longer than 100 bytes"))?;
            checked.push((AccountId::from(miner.account), endpoint, miner.idle_space));
        }
        if checked.len() > 10_000 {
            return Err(DevChainError::Genesis("more than 10,000 miners"));
        }
        Ok(checked)
    }
}
