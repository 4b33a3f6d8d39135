use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::miners::MinerAddr;
use crate::{AccountId, FRAGMENTS, Fid, FragmentIndex, Hash32, PortResult, TerritoryName};

/// Newest finalized block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Its height.
    pub block: u32,
    /// Seconds between blocks that deadlines are counted in (6 on CESS).
    pub block_seconds: u32,
}

/// Where a call landed: it is in a finalized block and succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Height of the block.
    pub block: u32,
    /// Hash of the block.
    pub block_hash: Hash32,
    /// Planck paid in fees, where the chain said.
    pub fee: u128,
}

/// pallet storage-handler: what is for sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSpace {
    /// Bytes miners have certified as idle.
    pub idle: u128,
    /// Bytes in use.
    pub service: u128,
    /// Bytes sold.
    pub purchased: u128,
}

/// pallet storage-handler `TerritoryState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TerritoryState {
    /// Usable.
    Active,
    /// Past its deadline: reads and renewal only.
    Frozen,
    /// Seven days later: its files are being removed.
    Expired,
    /// For sale.
    OnConsignment,
}

/// pallet storage-handler `TerritoryInfo`. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Territory {
    /// Its name, unique to its owner.
    pub name: TerritoryName,
    /// All of it.
    pub total: u128,
    /// In Active files.
    pub used: u128,
    /// In open deals.
    pub locked: u128,
    /// What a declaration may still take; it must be strictly more than the deal needs.
    pub remaining: u128,
    /// First block.
    pub start: u32,
    /// Block at which it freezes.
    pub deadline: u32,
    /// What may be done with it.
    pub state: TerritoryState,
}

/// A miner as the chain knows it (pallet sminer `MinerInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinerInfo {
    /// Account and endpoint.
    pub addr: MinerAddr,
    /// `"positive"`, `"frozen"`, `"exit"`, `"lock"`, `"offline"`, `"not ready"`.
    pub state: String,
    /// Bytes it can still take on.
    pub idle: u128,
}

/// One segment of a declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredSegment {
    /// SHA-256 of the segment.
    pub hash: Hash32,
    /// SHA-256 of each fragment.
    pub fragments: [Hash32; FRAGMENTS],
}

/// What `upload_declaration` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealSpec {
    /// Computed from the segments by one of the two fid rules.
    pub fid: Fid,
    /// 1..=1000.
    pub segments: Vec<DeclaredSegment>,
    /// 3..=63 bytes.
    pub file_name: String,
    /// Where its space comes from.
    pub territory: TerritoryName,
    /// True length of the file: our segments are full, so segments x 32 MiB.
    pub file_size: u128,
}

/// A deal that is declared and not yet Active (pallet file-bank `DealInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealState {
    /// Columns whose miner has reported.
    pub complete: Vec<(FragmentIndex, AccountId)>,
    /// As declared.
    pub segments: Vec<DeclaredSegment>,
}

/// One fragment of an Active file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedFragment {
    /// Its hash.
    pub hash: Hash32,
    /// Who holds it now (changes at a repair).
    pub miner: AccountId,
    /// False once its miner has declared it lost.
    pub available: bool,
}

/// One segment of an Active file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSegment {
    /// SHA-256 of the segment.
    pub hash: Hash32,
    /// In order of index.
    pub fragments: Vec<PlacedFragment>,
}

/// A file on chain (pallet file-bank `FileInfo`): the durable form of a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// In order.
    pub segments: Vec<FileSegment>,
    /// As declared.
    pub file_size: u128,
    /// Name and territory under which this account holds it, if it does.
    pub held_as: Option<(String, TerritoryName)>,
    /// Block of completion.
    pub completed_at: u32,
}

/// One entry of the account's list of files (`UserHoldFileList`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFile {
    /// Its fid.
    pub fid: Fid,
    /// Territory it takes space from.
    pub territory: TerritoryName,
    /// Bytes of territory.
    pub size: u128,
}

/// What finalized blocks say that concerns us. A hint, not a promise: a subscriber that misses one
/// finds the same fact by asking [`Chain::deal`] or [`Chain::file`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// A new finalized block.
    Block(ChainHead),
    /// A miner reported a column of a deal.
    Reported { miner: AccountId, fid: Fid },
    /// All twelve have: the deal is Active.
    Completed { fid: Fid },
    /// A fragment has moved to another miner.
    Repaired { fragment: Hash32 },
    /// A file was deleted.
    Deleted { fid: Fid },
}

/// The CESS chain, for one account.
///
/// Every verb that sends a call returns when the call is in a finalized block and succeeded there.
/// A dispatch error of the chain is [`crate::PortErrorKind::Refused`] and definite; `Full` where the
/// chain says that there is no room (territory or network) or no balance. A connection that breaks
/// between sending and finality is `Unavailable` with [`crate::Outcome::Unknown`]: look before
/// repeating. The very same call made again on the same value, while the first is in doubt, is never
/// executed beside the first (the answer may be Unknown once more); another value, as after a restart
/// of the process, knows of no doubt and asks for a [`Chain::fence`]. Calls may be made concurrently;
/// nonces are handed out inside.
/// Every wait is bounded.
#[async_trait]
pub trait Chain: Send + Sync + std::fmt::Debug {
    /// The account that pays and owns.
    fn account(&self) -> AccountId;
    /// Newest finalized block.
    async fn head(&self) -> PortResult<ChainHead>;
    /// Free balance, planck.
    async fn balance(&self) -> PortResult<u128>;
    /// Planck for one GiB for one day.
    async fn unit_price(&self) -> PortResult<u128>;
    /// What is for sale.
    async fn network_space(&self) -> PortResult<NetworkSpace>;
    /// All miners the chain lists, whatever their state.
    async fn miners(&self) -> PortResult<Vec<MinerInfo>>;
    /// One territory of this account.
    async fn territory(&self, name: &TerritoryName) -> PortResult<Option<Territory>>;
    /// All territories of this account.
    async fn territories(&self) -> PortResult<Vec<Territory>>;
    /// Buys `gib` GiB for `days` (>= 30) days.
    async fn mint_territory(&self, name: &TerritoryName, gib: u32, days: u32) -> PortResult<Receipt>;
    /// Adds `gib` GiB for the days that remain.
    async fn expand_territory(&self, name: &TerritoryName, gib: u32) -> PortResult<Receipt>;
    /// Adds `days` days.
    async fn renew_territory(&self, name: &TerritoryName, days: u32) -> PortResult<Receipt>;
    /// Allows `operator` to declare and delete for this account (pallet oss `authorize`).
    async fn authorize_operator(&self, operator: AccountId) -> PortResult<Receipt>;
    /// Declares a deal. Never call it for a fid whose [`Chain::deal`] is `Some`: the chain would lock
    /// the space twice. For a fid whose [`Chain::file`] is `Some` it only adds an owner.
    async fn declare(&self, deal: &DealSpec) -> PortResult<Receipt>;
    /// Returns when no call of this account that another value handed over before can be executed any
    /// more: each is in a finalized block by now, or never will be. It may cost the fees of a few calls
    /// that do nothing, and some blocks of time.
    async fn fence(&self) -> PortResult<()>;
    /// The open deal, if any.
    async fn deal(&self, fid: Fid) -> PortResult<Option<DealState>>;
    /// The Active file, if any.
    async fn file(&self, fid: Fid) -> PortResult<Option<FileState>>;
    /// All files this account holds.
    async fn files(&self) -> PortResult<Vec<HeldFile>>;
    /// Gives the file up; its space returns to the territory.
    async fn delete_file(&self, fid: Fid) -> PortResult<Receipt>;
    /// Events from now on. The stream ends when the connection does; subscribe again.
    async fn events(&self) -> PortResult<BoxStream<'static, ChainEvent>>;
}

/// What a miner asks of the chain, for the miner's own account. Same contract as [`Chain`].
#[async_trait]
pub trait MinerChain: Send + Sync + std::fmt::Debug {
    /// The miner's account.
    fn account(&self) -> AccountId;
    /// The open deal, if any.
    async fn deal(&self, fid: Fid) -> PortResult<Option<DealState>>;
    /// The Active file, if any.
    async fn file(&self, fid: Fid) -> PortResult<Option<FileState>>;
    /// This miner's own entry, if it is registered.
    async fn registered(&self) -> PortResult<Option<MinerInfo>>;
    /// `transfer_report(index, fid)`.
    async fn report(&self, fid: Fid, index: FragmentIndex) -> PortResult<Receipt>;
    /// `update_endpoint`.
    async fn update_endpoint(&self, endpoint: &str) -> PortResult<Receipt>;
}
