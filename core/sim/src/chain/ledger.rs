//! What the model chain computes: accounts, territories, miners, deals and files, and what each call
//! does to them. Pure: no time but the height it is given, no waiting.
//!
//! The rules are those of the CESS pallets file-bank, storage-handler, sminer and oss as the
//! development chain has them, with their error names: strictly more room than a deal needs, twelve
//! different miners, a second declaration of an open deal overwrites it and leaks its lock, a
//! declaration of an Active file adds an owner, no time-outs, Frozen refuses, Expired drops.

use std::collections::{BTreeMap, BTreeSet};

use gw_types::ports::{
    ChainEvent, DealSpec, DealState, FileSegment, FileState, HeldFile, MinerAddr, MinerInfo, NetworkSpace,
    PlacedFragment, Territory, TerritoryState,
};
use gw_types::{
    AccountId, FRAGMENT_BYTES, FRAGMENTS, Fid, FragmentIndex, Hash32, TERRITORY_BYTES_PER_SEGMENT,
    TerritoryName,
};

const GIB: u128 = 1 << 30;
/// Blocks of a day at six seconds.
pub(crate) const DAY: u32 = 14_400;
/// Blocks between Frozen and Expired (pallet storage-handler `FrozenDays`).
const FROZEN_BLOCKS: u32 = 7 * DAY;
const DAYS_MIN: u32 = 30;
/// An account keeps at least one CESS.
const EXISTENTIAL_DEPOSIT: u128 = 1_000_000_000_000_000_000;
const SEGMENTS_MAX: usize = 1000;

/// What an account may ask the chain to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Mint { name: TerritoryName, gib: u32, days: u32 },
    Expand { name: TerritoryName, gib: u32 },
    Renew { name: TerritoryName, days: u32 },
    Authorize { operator: AccountId },
    Declare(DealSpec),
    Delete { fid: Fid },
    Report { fid: Fid, index: FragmentIndex },
    Move { endpoint: String },
}

/// A dispatch error: its name, and whether it means that room or money is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) name: &'static str,
    pub(crate) is_full: bool,
}

const fn refused(name: &'static str) -> Refusal {
    Refusal { name, is_full: false }
}
const fn full(name: &'static str) -> Refusal {
    Refusal { name, is_full: true }
}

const NO_TERRITORY: Refusal = refused("StorageHandler.NotHaveTerritory");

#[derive(Debug)]
struct OpenDeal {
    owner: AccountId,
    spec: DealSpec,
    complete: Vec<(FragmentIndex, AccountId)>,
}

#[derive(Debug)]
struct File {
    segments: Vec<FileSegment>,
    file_size: u128,
    completed_at: u32,
    /// Account, name, territory.
    owners: Vec<(AccountId, String, TerritoryName)>,
}

#[derive(Debug)]
struct Miner {
    account: AccountId,
    endpoint: String,
    state: String,
    idle: u128,
    locked: u128,
    service: u128,
}

/// All of the chain's state.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) unit_price: u128,
    balances: BTreeMap<AccountId, u128>,
    operators: BTreeSet<(AccountId, AccountId)>,
    territories: BTreeMap<(AccountId, TerritoryName), Territory>,
    /// In order of registration.
    miners: Vec<Miner>,
    space: NetworkSpace,
    deals: BTreeMap<Fid, OpenDeal>,
    files: BTreeMap<Fid, File>,
    held: BTreeMap<AccountId, Vec<HeldFile>>,
    /// Declarations that were executed, whatever they did.
    declarations: BTreeMap<Fid, u32>,
}

fn territory_bytes(segments: usize) -> u128 {
    u128::from(TERRITORY_BYTES_PER_SEGMENT) * segments as u128
}

fn column_bytes(segments: usize) -> u128 {
    u128::from(FRAGMENT_BYTES) * segments as u128
}

impl Ledger {
    pub(crate) fn new(unit_price: u128) -> Self {
        Self {
            unit_price,
            balances: BTreeMap::new(),
            operators: BTreeSet::new(),
            territories: BTreeMap::new(),
            miners: Vec::new(),
            space: NetworkSpace { idle: 0, service: 0, purchased: 0 },
            deals: BTreeMap::new(),
            files: BTreeMap::new(),
            held: BTreeMap::new(),
            declarations: BTreeMap::new(),
        }
    }

    /// Executes a call in block `height`; on a refusal nothing has changed.
    pub(crate) fn apply(
        &mut self,
        origin: AccountId,
        call: &Call,
        height: u32,
    ) -> Result<Vec<ChainEvent>, Refusal> {
        match call {
            Call::Mint { name, gib, days } => self.mint(origin, name, *gib, *days, height)?,
            Call::Expand { name, gib } => self.expand(origin, name, *gib, height)?,
            Call::Renew { name, days } => self.renew(origin, name, *days, height)?,
            Call::Authorize { operator } => drop(self.operators.insert((origin, *operator))),
            Call::Declare(spec) => self.declare(origin, spec)?,
            Call::Delete { fid } => return self.delete(origin, *fid),
            Call::Report { fid, index } => return self.report(origin, *fid, *index, height),
            Call::Move { endpoint } => self.miner_mut(origin)?.endpoint = mended(endpoint),
        }
        Ok(Vec::new())
    }

    /// Freezes and expires what is due at `height`; gives the files that went.
    pub(crate) fn tick(&mut self, height: u32) {
        let mut expired = Vec::new();
        for (key, territory) in &mut self.territories {
            if territory.state == TerritoryState::Active && territory.deadline <= height {
                territory.state = TerritoryState::Frozen;
            }
            if territory.state == TerritoryState::Frozen
                && territory.deadline.saturating_add(FROZEN_BLOCKS) <= height
            {
                territory.state = TerritoryState::Expired;
                self.space.purchased = self.space.purchased.saturating_sub(territory.total);
                expired.push(key.clone());
            }
        }
        for (owner, name) in expired {
            let fids: Vec<Fid> = self
                .files_of(owner)
                .iter()
                .filter(|held| held.territory == name)
                .map(|held| held.fid)
                .collect();
            self.held.entry(owner).or_default().retain(|held| held.territory != name);
            for fid in fids {
                self.leave(fid, |holder, territory| holder == owner && *territory == name);
            }
        }
    }
}

// Money and space.
impl Ledger {
    pub(crate) fn fund(&mut self, account: AccountId, planck: u128) {
        *self.balances.entry(account).or_default() += planck;
    }
    pub(crate) fn balance(&self, account: AccountId) -> u128 {
        self.balances.get(&account).copied().unwrap_or_default()
    }
    /// Takes a fee, as much of it as there is.
    pub(crate) fn charge(&mut self, account: AccountId, fee: u128) {
        let balance = self.balances.entry(account).or_default();
        *balance = balance.saturating_sub(fee);
    }
    pub(crate) fn network_space(&self) -> NetworkSpace {
        self.space
    }
    pub(crate) fn territory(&self, owner: AccountId, name: &TerritoryName) -> Option<Territory> {
        self.territories.get(&(owner, name.clone())).cloned()
    }
    pub(crate) fn territories(&self, owner: AccountId) -> Vec<Territory> {
        self.territories.iter().filter(|((of, _), _)| *of == owner).map(|(_, found)| found.clone()).collect()
    }

    fn check_payment(&self, who: AccountId, gib: u32, days: u32) -> Result<u128, Refusal> {
        let price = self.unit_price.saturating_mul(u128::from(gib) * u128::from(days));
        let left = self.balance(who).checked_sub(price);
        left.filter(|left| *left >= EXISTENTIAL_DEPOSIT)
            .map(|_| price)
            .ok_or(full("StorageHandler.InsufficientBalance"))
    }

    fn check_for_sale(&self, bytes: u128) -> Result<(), Refusal> {
        let sold = self.space.purchased + bytes;
        if sold > self.space.idle + self.space.service {
            return Err(full("StorageHandler.InsufficientAvailableSpace"));
        }
        Ok(())
    }

    fn mint(
        &mut self,
        who: AccountId,
        name: &TerritoryName,
        gib: u32,
        days: u32,
        height: u32,
    ) -> Result<(), Refusal> {
        let key = (who, name.clone());
        if self.territories.contains_key(&key) {
            return Err(refused("StorageHandler.PurchasedSpace"));
        }
        if days < DAYS_MIN {
            return Err(refused("StorageHandler.BoundariesNotMet"));
        }
        let total = GIB * u128::from(gib);
        self.check_for_sale(total)?;
        let price = self.check_payment(who, gib, days)?;
        self.charge(who, price);
        self.space.purchased += total;
        let territory = Territory {
            name: name.clone(),
            total,
            used: 0,
            locked: 0,
            remaining: total,
            start: height,
            deadline: height.saturating_add(days.saturating_mul(DAY)),
            state: TerritoryState::Active,
        };
        self.territories.insert(key, territory);
        Ok(())
    }

    fn expand(&mut self, who: AccountId, name: &TerritoryName, gib: u32, height: u32) -> Result<(), Refusal> {
        let territory = self.territory(who, name).ok_or(NO_TERRITORY)?;
        if territory.state != TerritoryState::Active {
            return Err(refused("StorageHandler.NotActive"));
        }
        let days = territory.deadline.saturating_sub(height).div_ceil(DAY);
        let bytes = GIB * u128::from(gib);
        self.check_for_sale(bytes)?;
        let price = self.check_payment(who, gib, days)?;
        self.charge(who, price);
        self.space.purchased += bytes;
        let territory = self.territory_mut(who, name)?;
        territory.total += bytes;
        territory.remaining += bytes;
        Ok(())
    }

    fn renew(&mut self, who: AccountId, name: &TerritoryName, days: u32, height: u32) -> Result<(), Refusal> {
        let territory = self.territory(who, name).ok_or(NO_TERRITORY)?;
        if !matches!(territory.state, TerritoryState::Active | TerritoryState::Frozen) {
            return Err(refused("StorageHandler.StateError"));
        }
        let gib = u32::try_from(territory.total / GIB).unwrap_or(u32::MAX);
        let price = self.check_payment(who, gib, days)?;
        self.charge(who, price);
        let territory = self.territory_mut(who, name)?;
        if height > territory.deadline {
            territory.start = height;
        }
        territory.deadline = territory.deadline.max(height).saturating_add(days.saturating_mul(DAY));
        territory.state = TerritoryState::Active;
        Ok(())
    }

    fn territory_mut(&mut self, owner: AccountId, name: &TerritoryName) -> Result<&mut Territory, Refusal> {
        self.territories.get_mut(&(owner, name.clone())).ok_or(NO_TERRITORY)
    }

    /// Sets a territory's deadline, as root may (`update_user_territory_life`).
    pub(crate) fn set_deadline(&mut self, owner: AccountId, name: &TerritoryName, deadline: u32) {
        if let Ok(territory) = self.territory_mut(owner, name) {
            territory.deadline = deadline;
        }
    }
}

// Miners.
impl Ledger {
    pub(crate) fn register(&mut self, account: AccountId, endpoint: &str, idle: u128) {
        assert!(self.miners.iter().all(|miner| miner.account != account), "a miner is registered once");
        let endpoint = mended(endpoint);
        let state = "positive".to_owned();
        self.miners.push(Miner { account, endpoint, state, idle, locked: 0, service: 0 });
        self.space.idle += idle;
    }
    pub(crate) fn set_miner_state(&mut self, account: AccountId, state: &str) {
        if let Ok(miner) = self.miner_mut(account) {
            miner.state = state.to_owned();
        }
    }
    pub(crate) fn miners(&self) -> Vec<MinerInfo> {
        self.miners.iter().map(Miner::info).collect()
    }
    pub(crate) fn miner(&self, account: AccountId) -> Option<MinerInfo> {
        self.miners.iter().find(|miner| miner.account == account).map(Miner::info)
    }
    fn miner_mut(&mut self, account: AccountId) -> Result<&mut Miner, Refusal> {
        let found = self.miners.iter_mut().find(|miner| miner.account == account);
        found.ok_or(refused("Sminer.NotMiner"))
    }
    /// A repair: another miner holds this column of the file now.
    pub(crate) fn replace(&mut self, fid: Fid, index: FragmentIndex, miner: AccountId) -> Vec<ChainEvent> {
        let Some(file) = self.files.get_mut(&fid) else { return Vec::new() };
        let fragments = file.segments.iter_mut().filter_map(|segment| segment.fragments.get_mut(index.get()));
        fragments
            .map(|fragment| {
                fragment.miner = miner;
                ChainEvent::Repaired { fragment: fragment.hash }
            })
            .collect()
    }
}

impl Miner {
    fn info(&self) -> MinerInfo {
        let addr = MinerAddr { account: self.account, endpoint: self.endpoint.clone() };
        MinerInfo { addr, state: self.state.clone(), idle: self.idle }
    }
}

/// An endpoint as the port gives it: without NUL padding, with a scheme.
fn mended(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('\0');
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}

// Deals.
impl Ledger {
    pub(crate) fn deal(&self, fid: Fid) -> Option<DealState> {
        let deal = self.deals.get(&fid)?;
        Some(DealState { complete: deal.complete.clone(), segments: deal.spec.segments.clone() })
    }
    pub(crate) fn deal_fids(&self) -> Vec<Fid> {
        self.deals.keys().copied().collect()
    }
    pub(crate) fn declarations(&self) -> BTreeMap<Fid, u32> {
        self.declarations.clone()
    }

    fn declare(&mut self, who: AccountId, spec: &DealSpec) -> Result<(), Refusal> {
        if !(3..=63).contains(&spec.file_name.len()) || !(1..=SEGMENTS_MAX).contains(&spec.segments.len()) {
            return Err(refused("FileBank.SpecError"));
        }
        let bytes = territory_bytes(spec.segments.len());
        let territory = self.territory_mut(who, &spec.territory)?;
        // Strictly more must be free. CESS compares so.
        if territory.remaining <= bytes {
            return Err(full("FileBank.InsufficientAvailableSpace"));
        }
        if territory.state != TerritoryState::Active {
            return Err(refused("StorageHandler.NotActive"));
        }
        if self.files.contains_key(&spec.fid) {
            self.add_owner(who, spec, bytes)?;
        } else {
            let territory = self.territory_mut(who, &spec.territory)?;
            territory.locked += bytes;
            territory.remaining -= bytes;
            // An open deal of this fid is overwritten, and what it locked stays locked, as on CESS.
            self.deals.insert(spec.fid, OpenDeal { owner: who, spec: spec.clone(), complete: Vec::new() });
        }
        *self.declarations.entry(spec.fid).or_default() += 1;
        Ok(())
    }

    fn add_owner(&mut self, who: AccountId, spec: &DealSpec, bytes: u128) -> Result<(), Refusal> {
        let held = HeldFile { fid: spec.fid, territory: spec.territory.clone(), size: bytes };
        let list = self.held.entry(who).or_default();
        if list.contains(&held) {
            return Err(refused("FileBank.Existed"));
        }
        list.push(held);
        let file = self.files.get_mut(&spec.fid).ok_or(refused("FileBank.FileNonExistent"))?;
        file.owners.push((who, spec.file_name.clone(), spec.territory.clone()));
        let territory = self.territory_mut(who, &spec.territory)?;
        territory.used += bytes;
        territory.remaining -= bytes;
        Ok(())
    }

    fn report(
        &mut self,
        who: AccountId,
        fid: Fid,
        index: FragmentIndex,
        height: u32,
    ) -> Result<Vec<ChainEvent>, Refusal> {
        if self.miner_mut(who)?.state != "positive" {
            return Err(refused("FileBank.MinerStateError"));
        }
        let deal = self.deals.get(&fid).ok_or(refused("FileBank.NonExistent"))?;
        let column = column_bytes(deal.spec.segments.len());
        let territory = self.territory(deal.owner, &deal.spec.territory);
        if territory.is_none_or(|territory| territory.state == TerritoryState::Expired) {
            self.drop_deal(fid, column);
            return Ok(Vec::new());
        }
        if deal.complete.iter().any(|(taken, miner)| *taken == index || *miner == who) {
            return Err(refused("FileBank.Existed"));
        }
        let miner = self.miner_mut(who)?;
        miner.idle = miner.idle.checked_sub(column).ok_or(refused("Sminer.Overflow"))?;
        miner.locked += column;
        let mut events = vec![ChainEvent::Reported { miner: who, fid }];
        let deal = self.deals.get_mut(&fid).expect("it was there a moment ago");
        deal.complete.push((index, who));
        if deal.complete.len() == FRAGMENTS {
            self.complete(fid, column, height);
            events.push(ChainEvent::Completed { fid });
        }
        Ok(events)
    }

    /// The territory is gone: miners get their space back, and the deal is forgotten without a word.
    fn drop_deal(&mut self, fid: Fid, column: u128) {
        let deal = self.deals.remove(&fid).expect("the caller found it");
        for (_, account) in deal.complete {
            if let Ok(miner) = self.miner_mut(account) {
                miner.locked -= column;
                miner.idle += column;
            }
        }
    }

    fn complete(&mut self, fid: Fid, column: u128, height: u32) {
        let OpenDeal { owner, spec, mut complete } = self.deals.remove(&fid).expect("the caller found it");
        complete.sort();
        for (_, account) in &complete {
            let miner = self.miner_mut(*account).expect("a miner that reported is registered");
            miner.locked -= column;
            miner.service += column;
        }
        let bytes = territory_bytes(spec.segments.len());
        if let Ok(territory) = self.territory_mut(owner, &spec.territory) {
            territory.locked -= bytes;
            territory.used += bytes;
        }
        self.space.idle = self.space.idle.saturating_sub(bytes);
        self.space.service += bytes;
        let segments = spec.segments.iter().map(|segment| FileSegment {
            hash: segment.hash,
            fragments: placed(&segment.fragments, &complete),
        });
        let file = File {
            segments: segments.collect(),
            file_size: spec.file_size,
            completed_at: height,
            owners: vec![(owner, spec.file_name.clone(), spec.territory.clone())],
        };
        self.files.insert(fid, file);
        self.held.entry(owner).or_default().push(HeldFile { fid, territory: spec.territory, size: bytes });
    }
}

fn placed(fragments: &[Hash32; FRAGMENTS], columns: &[(FragmentIndex, AccountId)]) -> Vec<PlacedFragment> {
    let place = |(hash, (_, miner)): (&Hash32, &(FragmentIndex, AccountId))| PlacedFragment {
        hash: *hash,
        miner: *miner,
        available: true,
    };
    fragments.iter().zip(columns).map(place).collect()
}

// Files.
impl Ledger {
    pub(crate) fn file(&self, fid: Fid, of: AccountId) -> Option<FileState> {
        let file = self.files.get(&fid)?;
        let held = file.owners.iter().find(|(owner, _, _)| *owner == of);
        Some(FileState {
            segments: file.segments.clone(),
            file_size: file.file_size,
            held_as: held.map(|(_, name, territory)| (name.clone(), territory.clone())),
            completed_at: file.completed_at,
        })
    }
    pub(crate) fn files_of(&self, owner: AccountId) -> Vec<HeldFile> {
        self.held.get(&owner).cloned().unwrap_or_default()
    }

    fn delete(&mut self, who: AccountId, fid: Fid) -> Result<Vec<ChainEvent>, Refusal> {
        let file = self.files.get(&fid).ok_or(refused("FileBank.NonExistent"))?;
        let bytes = territory_bytes(file.segments.len());
        let left: Vec<TerritoryName> = file
            .owners
            .iter()
            .filter(|(owner, _, _)| *owner == who)
            .map(|(_, _, name)| name.clone())
            .collect();
        for name in left {
            let territory = self.territory_mut(who, &name)?;
            territory.used -= bytes;
            territory.remaining += bytes;
        }
        self.held.entry(who).or_default().retain(|held| held.fid != fid);
        self.leave(fid, |owner, _| owner == who);
        Ok(vec![ChainEvent::Deleted { fid }])
    }

    /// Takes owners off a file; without any it goes, and its miners get their space back.
    fn leave(&mut self, fid: Fid, is_leaving: impl Fn(AccountId, &TerritoryName) -> bool) {
        let Some(file) = self.files.get_mut(&fid) else { return };
        file.owners.retain(|(owner, _, territory)| !is_leaving(*owner, territory));
        if !file.owners.is_empty() {
            return;
        }
        let file = self.files.remove(&fid).expect("it was there a moment ago");
        let fragments = file.segments.iter().flat_map(|segment| &segment.fragments);
        for fragment in fragments {
            self.space.service -= u128::from(FRAGMENT_BYTES);
            self.space.idle += u128::from(FRAGMENT_BYTES);
            if let Ok(miner) = self.miner_mut(fragment.miner) {
                miner.service = miner.service.saturating_sub(u128::from(FRAGMENT_BYTES));
                miner.idle += u128::from(FRAGMENT_BYTES);
            }
        }
    }
}
