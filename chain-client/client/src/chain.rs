//! [`SubxtChain`]: the ports over subxt, and the verbs beyond them that setting up needs.
//!
//! One value is one account on one node. Clones and [`SubxtChain::with_signer`] share the
//! connection, so a process with many accounts (a gateway and its miners in development) holds one.
//! Reading verbs see the newest finalized block. Sending verbs return when the call is in a
//! finalized block; see [`crate::submit`] for what an error means at which point.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use gw_types::ports::{
    Chain, ChainEvent, ChainHead, DealSpec, DealState, FileState, HeldFile, MinerChain, MinerInfo,
    NetworkSpace, Receipt, Territory,
};
use gw_types::{AccountId, Fid, FragmentIndex, PortError, PortErrorKind, PortResult, TerritoryName};
use parking_lot::Mutex;
use subxt::dynamic::{Value, transaction};
use subxt::ext::scale_encode::EncodeAsFields;
use subxt::ext::scale_value::Composite;
use subxt_rpcs::RpcClient;

use crate::calls::{self, Call};
use crate::config::ChainConfig;
use crate::events;
use crate::fault::Fault;
use crate::link::Link;
use crate::signer::Signer;
use crate::submit::{Landed, Sender};
use crate::wire::{
    self, AccountInfo, DealInfo, FileInfo, Owner, SegmentInfo, UserFileSliceInfo, args, event, hex_hash,
};

/// Segments of one deal (pallet file-bank `SegmentCount`).
const SEGMENTS_MAX: usize = 1000;
/// Bytes of a file's name (pallet file-bank `NameMinLength`, `NameStrLimit`).
const FILE_NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// What an order buys (pallet storage-handler `OrderType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderType {
    /// A new territory.
    Buy,
    /// More space for the days that remain.
    Expansion,
    /// More days.
    Renewal,
}

/// An order to pay for somebody's territory.
#[derive(Clone, Debug)]
pub struct OrderSpec {
    /// Whose territory.
    pub target: AccountId,
    /// Its name.
    pub territory: TerritoryName,
    /// What is bought.
    pub order_type: OrderType,
    /// GiB to buy; ignored by a renewal.
    pub gib: u32,
    /// Days to buy; ignored by an expansion.
    pub days: u32,
    /// Minutes until the order lapses, as the pallet counts them (6 blocks each), below 100.
    pub expires_minutes: u32,
}

/// The CESS chain, for one account, through one node.
#[derive(Clone)]
pub struct SubxtChain {
    link: Arc<Link>,
    sender: Arc<Sender>,
    miners: Arc<Mutex<Option<KnownMiners>>>,
}

/// The miners as of one block: that a caller asks twice within a block costs nothing.
struct KnownMiners {
    block: u32,
    miners: Vec<MinerInfo>,
}

impl SubxtChain {
    /// Connects to a node, `wss://…` or, on loopback, `ws://…`, with default limits.
    ///
    /// # Errors
    /// `Refused` for a URL that may not be used, `Unavailable` when the node cannot be reached.
    pub async fn connect(url: &str, signer: Signer) -> PortResult<Self> {
        Self::connect_with(url, signer, ChainConfig::default()).await
    }

    /// Connects to a node with limits of one's own.
    ///
    /// # Errors
    /// As [`SubxtChain::connect`].
    pub async fn connect_with(url: &str, signer: Signer, config: ChainConfig) -> PortResult<Self> {
        Self::open(Link::to_url(url, config)?, signer).await
    }

    /// Uses an RPC client that is at hand, such as a chain in this process.
    ///
    /// # Errors
    /// When it does not answer as a Substrate node.
    pub async fn from_rpc_client(rpc: RpcClient, signer: Signer) -> PortResult<Self> {
        Self::from_rpc_client_with(rpc, signer, ChainConfig::default()).await
    }

    /// Uses an RPC client that is at hand, with limits of one's own.
    ///
    /// # Errors
    /// As [`SubxtChain::from_rpc_client`].
    pub async fn from_rpc_client_with(
        rpc: RpcClient,
        signer: Signer,
        config: ChainConfig,
    ) -> PortResult<Self> {
        Self::open(Link::in_process(rpc, config), signer).await
    }

    async fn open(link: Link, signer: Signer) -> PortResult<Self> {
        let link = Arc::new(link);
        // Fetches the metadata too, so that the first real call does not wait for it.
        link.snapshot().await?;
        Ok(Self::on(link, signer))
    }

    fn on(link: Arc<Link>, signer: Signer) -> Self {
        let sender = Arc::new(Sender::new(signer, link.config().calls_in_flight_max));
        Self { link, sender, miners: Arc::default() }
    }

    /// The same chain for another account, over the same connection. Make one for each account and
    /// clone it: two made for one account do not know of each other's nonces and collide often.
    pub fn with_signer(&self, signer: Signer) -> Self {
        Self::on(Arc::clone(&self.link), signer)
    }

    /// The key that signs.
    pub fn signer(&self) -> &Signer {
        self.sender.signer()
    }

    /// The account that pays and owns. (Both ports have this verb; here no trait is needed.)
    pub fn account_id(&self) -> AccountId {
        self.signer().account()
    }

    async fn send<A: EncodeAsFields + Send + Sync>(&self, call: Call<A>) -> PortResult<Landed> {
        self.sender.send(&self.link, &call).await
    }

    async fn receipt<A: EncodeAsFields + Send + Sync>(&self, call: Call<A>) -> PortResult<Receipt> {
        self.send(call).await.map(|landed| landed.receipt)
    }

    /// Free balance of any account, planck.
    ///
    /// # Errors
    /// As a reading verb of the port.
    pub async fn balance_of(&self, account: AccountId) -> PortResult<u128> {
        let reading = self.link.read(|snapshot| async move {
            snapshot.value::<_, AccountInfo>("System", "Account", (account.0,)).await
        });
        Ok(reading.await?.unwrap_or_default().data.free)
    }

    /// Accounts that may declare and delete for `owner` (pallet oss `AuthorityList`).
    ///
    /// # Errors
    /// As a reading verb of the port.
    pub async fn operators_of(&self, owner: AccountId) -> PortResult<Vec<AccountId>> {
        let reading = self.link.read(|snapshot| async move {
            snapshot.value::<_, Vec<[u8; 32]>>("Oss", "AuthorityList", (owner.0,)).await
        });
        Ok(reading.await?.unwrap_or_default().into_iter().map(AccountId).collect())
    }

    /// Sends `planck` to `to`, never more than leaves this account alive (`Balances.transfer_keep_alive`).
    ///
    /// # Errors
    /// `Full` when the balance does not suffice.
    pub async fn transfer_keep_alive(&self, to: AccountId, planck: u128) -> PortResult<Receipt> {
        self.receipt(calls::transfer_keep_alive(to, planck)).await
    }

    /// Registers this account as a miner (`Sminer.regnstk`): `staking` planck are reserved, `tib`
    /// TiB declared.
    ///
    /// # Errors
    /// `Refused` when it is one already.
    pub async fn register_miner(
        &self,
        beneficiary: AccountId,
        endpoint: &str,
        staking: u128,
        tib: u32,
    ) -> PortResult<Receipt> {
        self.receipt(calls::register_miner(beneficiary, endpoint, staking, tib)).await
    }

    /// Registers this account as a gateway (`Oss.register`); `endpoint` is a 38-byte peer id, zeros
    /// where there is none, `domain` at most 50 bytes.
    ///
    /// # Errors
    /// `Refused` when it is one already.
    pub async fn register_gateway(&self, endpoint: [u8; 38], domain: &str) -> PortResult<Receipt> {
        self.receipt(calls::register_gateway(endpoint, domain)).await
    }

    /// Takes an authorisation back (`Oss.cancel_authorize`).
    ///
    /// # Errors
    /// `Refused` when there was none.
    pub async fn cancel_operator(&self, operator: AccountId) -> PortResult<Receipt> {
        self.receipt(calls::cancel_authorize(operator)).await
    }

    /// Makes an order that anyone may pay (`StorageHandler.create_order`); gives its id.
    ///
    /// # Errors
    /// As a sending verb of the port.
    pub async fn create_order(&self, order: &OrderSpec) -> PortResult<(Receipt, Vec<u8>)> {
        let order_type = match order.order_type {
            OrderType::Buy => "Buy",
            OrderType::Expansion => "Expansion",
            OrderType::Renewal => "Renewal",
        };
        let call = calls::create_order(args::CreateOrder {
            target_acc: order.target.0,
            territory_name: order.territory.as_str().as_bytes().to_vec(),
            order_type: Value::unnamed_variant(order_type, []),
            gib_count: order.gib,
            days: order.days,
            expired: order.expires_minutes,
        });
        let landed = self.send(call).await?;
        let created = landed.find::<event::CreatePayOrder>("StorageHandler", "CreatePayOrder");
        let created = created.map_err(|fault| fault.error)?.ok_or_else(|| {
            PortError::unknown(PortErrorKind::Corrupt, "the order was made, and the chain did not say its id")
        })?;
        Ok((landed.receipt, created.order_hash))
    }

    /// Pays an order (`StorageHandler.exec_order`).
    ///
    /// # Errors
    /// `Full` when the balance or the network's space does not suffice.
    pub async fn exec_order(&self, order_id: &[u8]) -> PortResult<Receipt> {
        self.receipt(calls::exec_order(order_id)).await
    }

    /// Renames an empty territory.
    ///
    /// # Errors
    /// `Refused` when it holds files.
    pub async fn rename_territory(&self, old: &TerritoryName, new: &TerritoryName) -> PortResult<Receipt> {
        self.receipt(calls::rename_territory(old, new)).await
    }

    /// Gives an empty territory to another account. The chain names it anew, by the 32 bytes of its
    /// token, which are hardly ever UTF-8: this client then leaves it out of the receiver's list.
    ///
    /// # Errors
    /// `Refused` when it holds files.
    pub async fn grant_territory(&self, name: &TerritoryName, receiver: AccountId) -> PortResult<Receipt> {
        self.receipt(calls::grant_territory(name, receiver)).await
    }

    /// Revives an expired territory.
    ///
    /// # Errors
    /// `Refused` when it is not expired.
    pub async fn reactivate_territory(&self, name: &TerritoryName, days: u32) -> PortResult<Receipt> {
        self.receipt(calls::reactivate_territory(name, days)).await
    }

    /// Any call, by name, arguments by name. For set-up and tests.
    ///
    /// # Errors
    /// As a sending verb of the port; `Refused` and definite when the chain has no such call.
    pub async fn call(&self, pallet: &str, call: &str, arguments: Vec<(&str, Value)>) -> PortResult<Receipt> {
        self.receipt(transaction(pallet, call, Composite::named(arguments))).await
    }

    /// Any call as root (`Sudo.sudo`); this account must be the sudo key. An error inside is
    /// reported as if the call had been made directly. For set-up and tests.
    ///
    /// # Errors
    /// As [`SubxtChain::call`].
    pub async fn sudo(&self, pallet: &str, call: &str, arguments: Vec<(&str, Value)>) -> PortResult<Receipt> {
        let inner = transaction(pallet, call, Composite::named(arguments)).into_value();
        self.receipt(transaction("Sudo", "sudo", args::Sudo { call: inner })).await
    }

    async fn read_deal(&self, fid: Fid) -> PortResult<Option<DealState>> {
        let key = hex_hash(fid.0);
        let reading = self.link.read(|snapshot| async move {
            let deal = snapshot.value::<_, DealInfo>("FileBank", "DealMap", (key,)).await?;
            deal.map(|deal| {
                Ok(DealState {
                    complete: deal
                        .complete_list
                        .iter()
                        .map(|column| column.read())
                        .collect::<Result<_, Fault>>()?,
                    segments: deal
                        .segment_list
                        .iter()
                        .map(|segment| segment.read())
                        .collect::<Result<_, Fault>>()?,
                })
            })
            .transpose()
        });
        reading.await
    }

    async fn read_file(&self, fid: Fid) -> PortResult<Option<FileState>> {
        let key = hex_hash(fid.0);
        let account = self.account_id();
        let reading = self.link.read(|snapshot| async move {
            let file = snapshot.value::<_, FileInfo>("FileBank", "File", (key,)).await?;
            file.map(|file| file_state(file, account)).transpose()
        });
        reading.await
    }
}

fn file_state(file: FileInfo, account: AccountId) -> Result<FileState, Fault> {
    let held_as = |owner: &Owner| {
        let name = String::from_utf8_lossy(&owner.file_name).into_owned();
        Ok::<_, Fault>((name, wire::territory_name(&owner.territory_name)?))
    };
    let ours = file.owner.iter().find(|owner| owner.user == account.0);
    Ok(FileState {
        segments: file.segment_list.iter().map(SegmentInfo::read).collect::<Result<_, _>>()?,
        file_size: file.file_size,
        held_as: ours.map(held_as).transpose()?,
        completed_at: file.completion,
    })
}

/// What the chain would refuse anyway, refused without paying a fee for it.
fn check_deal(deal: &DealSpec) -> PortResult<()> {
    let refuse = |why: String| {
        Err(PortError::definite(PortErrorKind::Refused, format!("declaration of {}: {why}", deal.fid)))
    };
    if !FILE_NAME_BYTES.contains(&deal.file_name.len()) {
        return refuse(format!("its name has {} bytes, the chain takes 3 to 63", deal.file_name.len()));
    }
    if deal.segments.is_empty() || deal.segments.len() > SEGMENTS_MAX {
        return refuse(format!(
            "it has {} segments, the chain takes 1 to {SEGMENTS_MAX}",
            deal.segments.len()
        ));
    }
    Ok(())
}

#[async_trait]
impl Chain for SubxtChain {
    fn account(&self) -> AccountId {
        self.account_id()
    }

    async fn head(&self) -> PortResult<ChainHead> {
        let block_seconds = self.link.config().block_seconds;
        self.link.read(|snapshot| async move { snapshot.head(block_seconds) }).await
    }

    async fn balance(&self) -> PortResult<u128> {
        self.balance_of(self.account_id()).await
    }

    async fn unit_price(&self) -> PortResult<u128> {
        self.link.read(|snapshot| async move { snapshot.plain("StorageHandler", "UnitPrice").await }).await
    }

    async fn network_space(&self) -> PortResult<NetworkSpace> {
        let reading = self.link.read(|snapshot| async move {
            Ok(NetworkSpace {
                idle: snapshot.plain("StorageHandler", "TotalIdleSpace").await?,
                service: snapshot.plain("StorageHandler", "TotalServiceSpace").await?,
                purchased: snapshot.plain("StorageHandler", "PurchasedSpace").await?,
            })
        });
        reading.await
    }

    async fn miners(&self) -> PortResult<Vec<MinerInfo>> {
        let at_once = self.link.config().miner_reads_at_once;
        let known = &self.miners;
        let reading = self.link.read(|snapshot| async move {
            let block = snapshot.head(0)?.block;
            if let Some(fresh) = known.lock().as_ref().filter(|known| known.block == block) {
                return Ok(fresh.miners.clone());
            }
            let miners = snapshot.miners(at_once).await?;
            *known.lock() = Some(KnownMiners { block, miners: miners.clone() });
            Ok(miners)
        });
        reading.await
    }

    async fn territory(&self, name: &TerritoryName) -> PortResult<Option<Territory>> {
        let owner = self.account_id();
        let info = self.link.read(|snapshot| async move {
            let key = (owner.0, name.as_str().as_bytes().to_vec());
            snapshot.value::<_, wire::TerritoryInfo>("StorageHandler", "Territory", key).await
        });
        Ok(info.await?.map(|info| info.read(name.clone())))
    }

    async fn territories(&self) -> PortResult<Vec<Territory>> {
        let owner = self.account_id();
        let entries = self.link.read(|snapshot| async move { snapshot.territories(owner).await }).await?;
        let named = entries.into_iter().filter_map(|(name, info)| match String::from_utf8(name) {
            Ok(name) => TerritoryName::new(name).map(|name| info.read(name)),
            // Anyone may buy us a territory under any bytes; such a one is of no use to us.
            Err(name) => {
                tracing::debug!(name = ?name.as_bytes(), "a territory whose name is not UTF-8");
                None
            }
        });
        Ok(named.collect())
    }

    async fn mint_territory(&self, name: &TerritoryName, gib: u32, days: u32) -> PortResult<Receipt> {
        self.receipt(calls::mint_territory(name, gib, days)).await
    }

    async fn expand_territory(&self, name: &TerritoryName, gib: u32) -> PortResult<Receipt> {
        self.receipt(calls::expand_territory(name, gib)).await
    }

    async fn renew_territory(&self, name: &TerritoryName, days: u32) -> PortResult<Receipt> {
        self.receipt(calls::renew_territory(name, days)).await
    }

    async fn authorize_operator(&self, operator: AccountId) -> PortResult<Receipt> {
        self.receipt(calls::authorize(operator)).await
    }

    async fn declare(&self, deal: &DealSpec) -> PortResult<Receipt> {
        check_deal(deal)?;
        self.receipt(calls::upload_declaration(self.account_id(), deal)).await
    }

    async fn fence(&self) -> PortResult<()> {
        self.sender.fence(&self.link).await
    }

    async fn deal(&self, fid: Fid) -> PortResult<Option<DealState>> {
        self.read_deal(fid).await
    }

    async fn file(&self, fid: Fid) -> PortResult<Option<FileState>> {
        self.read_file(fid).await
    }

    async fn files(&self) -> PortResult<Vec<HeldFile>> {
        let owner = self.account_id();
        let reading = self.link.read(|snapshot| async move {
            let held = snapshot
                .value::<_, Vec<UserFileSliceInfo>>("FileBank", "UserHoldFileList", (owner.0,))
                .await?;
            let read = |file: UserFileSliceInfo| {
                let territory = wire::territory_name(&file.territory_name)?;
                Ok(HeldFile { fid: wire::fid(&file.file_hash)?, territory, size: file.file_size })
            };
            held.unwrap_or_default().into_iter().map(read).collect()
        });
        reading.await
    }

    async fn delete_file(&self, fid: Fid) -> PortResult<Receipt> {
        self.receipt(calls::delete_file(self.account_id(), fid)).await
    }

    async fn events(&self) -> PortResult<BoxStream<'static, ChainEvent>> {
        events::stream(&self.link).await
    }
}

#[async_trait]
impl MinerChain for SubxtChain {
    fn account(&self) -> AccountId {
        self.account_id()
    }

    async fn deal(&self, fid: Fid) -> PortResult<Option<DealState>> {
        self.read_deal(fid).await
    }

    async fn file(&self, fid: Fid) -> PortResult<Option<FileState>> {
        self.read_file(fid).await
    }

    async fn registered(&self) -> PortResult<Option<MinerInfo>> {
        let account = self.account_id();
        self.link.read(|snapshot| async move { snapshot.miner(account).await }).await
    }

    async fn report(&self, fid: Fid, index: FragmentIndex) -> PortResult<Receipt> {
        self.receipt(calls::transfer_report(index, fid)).await
    }

    async fn update_endpoint(&self, endpoint: &str) -> PortResult<Receipt> {
        self.receipt(calls::update_endpoint(endpoint)).await
    }
}

impl fmt::Debug for SubxtChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubxtChain({:?}, {})", self.link, self.signer().ss58())
    }
}
