//! Reading the chain as it was at one finalized block.
//!
//! A [`Snapshot`] is a block, the metadata in force there and the connection to ask. Every value is
//! fetched by pallet and entry name and decoded by the types of that metadata. Each request has a
//! bounded time.

use std::future::Future;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use gw_types::ports::{ChainHead, MinerInfo};
use gw_types::{AccountId, PortError, PortErrorKind};
use subxt::ext::frame_decode::storage::{IntoDecodableValues, IntoEncodableValues};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::{OnlineClientAtBlock, SubstrateConfig};
use tokio::time::timeout;

use crate::fault::Fault;
use crate::link::{Connection, Link};
use crate::wire::{ChainMinerInfo, TerritoryInfo};

/// A finalized block, to be asked.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) at: OnlineClientAtBlock<SubstrateConfig>,
    pub(crate) connection: Connection,
    pub(crate) request_timeout: Duration,
}

impl Snapshot {
    /// The newest finalized block.
    pub(crate) async fn newest(connection: Connection, request_timeout: Duration) -> Result<Self, Fault> {
        let client = connection.client.clone();
        let at = bounded(request_timeout, "reading the finalized head", client.at_current_block()).await?;
        let at = at.map_err(|error| Fault::from_block(&error))?;
        Ok(Self { at, connection, request_timeout })
    }

    pub(crate) fn head(&self, block_seconds: u32) -> Result<ChainHead, Fault> {
        Ok(ChainHead { block: block_number(self.at.block_number())?, block_seconds })
    }

    /// The value under `keys`, or the entry's default, or `None`.
    pub(crate) async fn value<K, V>(&self, pallet: &str, entry: &str, keys: K) -> Result<Option<V>, Fault>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
    {
        let what = format!("reading {pallet}.{entry}");
        let storage = self.at.storage();
        let address = subxt::dynamic::storage::<K, V>(pallet, entry);
        let entry = storage.entry(address).map_err(|error| Fault::from_storage(&what, &error))?;
        let fetched = bounded(self.request_timeout, &what, entry.try_fetch(keys)).await?;
        let Some(value) = fetched.map_err(|error| Fault::from_storage(&what, &error))? else {
            return Ok(None);
        };
        value.decode().map(Some).map_err(|error| Fault::corrupt(format!("{what}: {error}")))
    }

    /// A value that every chain has.
    pub(crate) async fn plain<V: DecodeAsType>(&self, pallet: &str, entry: &str) -> Result<V, Fault> {
        let value = self.value::<(), V>(pallet, entry, ()).await?;
        value.ok_or_else(|| {
            PortError::definite(PortErrorKind::NotFound, format!("{pallet}.{entry} is not set")).into()
        })
    }

    /// The territories of `owner`: raw name and entry.
    pub(crate) async fn territories(&self, owner: AccountId) -> Result<Vec<(Vec<u8>, TerritoryInfo)>, Fault> {
        const WHAT: &str = "reading StorageHandler.Territory";
        let storage = self.at.storage();
        let address =
            subxt::dynamic::storage::<([u8; 32], Vec<u8>), TerritoryInfo>("StorageHandler", "Territory");
        let opening = storage.iter(address, (owner.0,));
        let opened = bounded(self.request_timeout, WHAT, opening).await?;
        let mut entries = opened.map_err(|error| Fault::from_storage(WHAT, &error))?;
        let mut territories = Vec::new();
        while let Some(entry) = bounded(self.request_timeout, WHAT, entries.next()).await? {
            let entry = entry.map_err(|error| Fault::from_storage(WHAT, &error))?;
            let key = entry.key().and_then(|key| key.decode());
            let (_, name) = key.map_err(|error| Fault::corrupt(format!("{WHAT}: {error}")))?;
            let info = entry.value().decode().map_err(|error| Fault::corrupt(format!("{WHAT}: {error}")))?;
            territories.push((name, info));
        }
        Ok(territories)
    }

    pub(crate) async fn miner(&self, account: AccountId) -> Result<Option<MinerInfo>, Fault> {
        let entry = self.value::<_, ChainMinerInfo>("Sminer", "MinerItems", (account.0,)).await?;
        Ok(entry.map(|entry| entry.read(account)))
    }

    /// All miners, at most `at_once` being read at the same time.
    pub(crate) async fn miners(&self, at_once: usize) -> Result<Vec<MinerInfo>, Fault> {
        let accounts: Vec<[u8; 32]> = self.plain("Sminer", "AllMiner").await?;
        let miners: Vec<Option<MinerInfo>> =
            self.each_miner(accounts).buffered(at_once.max(1)).try_collect().await?;
        // A miner that is listed and has no entry is on its way out.
        Ok(miners.into_iter().flatten().collect())
    }

    fn each_miner(
        &self,
        accounts: Vec<[u8; 32]>,
    ) -> impl Stream<Item = impl Future<Output = Result<Option<MinerInfo>, Fault>> + Send> + Send {
        let snapshot = self.clone();
        futures::stream::iter(accounts).map(move |account| {
            let snapshot = snapshot.clone();
            async move { snapshot.miner(AccountId(account)).await }
        })
    }
}

impl Link {
    /// The newest finalized block, over a connection that is opened anew if it has broken.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, PortError> {
        self.read(|snapshot| async move { Ok(snapshot) }).await
    }

    /// Runs a reading verb on the newest finalized block; once more if the connection is lost.
    pub(crate) async fn read<T, Verb, Reading>(&self, verb: Verb) -> Result<T, PortError>
    where
        Verb: Fn(Snapshot) -> Reading + Send + Sync,
        Reading: Future<Output = Result<T, Fault>> + Send,
        T: Send,
    {
        let mut again = true;
        loop {
            let connection = self.connection().await?;
            let result = match Snapshot::newest(connection.clone(), self.config().request_timeout).await {
                Ok(snapshot) => verb(snapshot).await,
                Err(fault) => Err(fault),
            };
            match result {
                Ok(value) => return Ok(value),
                Err(fault) if fault.connection_lost => {
                    self.lost(&connection).await;
                    if !again {
                        return Err(fault.error);
                    }
                    again = false;
                }
                Err(fault) => return Err(fault.error),
            }
        }
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn bounded<T>(
    limit: Duration,
    what: &str,
    answer: impl Future<Output = T>,
) -> Result<T, Fault> {
    timeout(limit, answer).await.map_err(|_| Fault::slow(what))
}

/// Blocks are u32 on CESS (`BlockNumber = u32`).
pub(crate) fn block_number(number: u64) -> Result<u32, Fault> {
    u32::try_from(number).map_err(|_| Fault::corrupt(format!("block number {number}")))
}
