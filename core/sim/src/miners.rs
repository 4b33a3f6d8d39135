//! Storage miners in memory, with the faults of real ones on demand.
//!
//! Each has an endpoint, a capacity and fragments under their hashes, checks what is put as the real
//! miner does (a declared deal, the right size, the right hash), and reports a column to the model
//! chain, by itself, when it holds all of it. Zeros at the end of a fragment are not kept, so segments
//! with little in them cost little memory. Reports run as tasks of the runtime in which a fragment is
//! put.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_codec::hash::{ZERO_FRAGMENT, fragment_hash, is_zero};
use gw_types::ports::{Clock, MinerAddr, MinerChain, MinerLatency, MinerStatus, Miners};
use gw_types::{AccountId, FRAGMENT_BYTES, Fid, FragmentIndex, Hash32, PortError, PortErrorKind, PortResult};
use parking_lot::{Mutex, MutexGuard};

use crate::ModelChain;

/// Between two looks of a miner at a deal it holds a column of.
const REPORT_RETRY: Duration = Duration::from_secs(2);

/// How a miner misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinerFault {
    /// Nobody reaches it.
    pub is_down: bool,
    /// Every answer comes this much later.
    pub slow: Duration,
    /// Gets bring changed bytes.
    pub lies: bool,
    /// Gets find nothing.
    pub lost_all: bool,
    /// Puts are refused for lack of room, though probes say otherwise.
    pub is_full: bool,
    /// It never reports to the chain.
    pub is_silent: bool,
    /// After so many more puts it is down.
    pub dies_after_puts: Option<u64>,
}

/// What a miner was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinerCounts {
    /// Puts that were taken.
    pub puts: u64,
    /// Gets that were answered with bytes.
    pub gets: u64,
    /// Bytes of those answers.
    pub get_bytes: u64,
}

#[derive(Debug)]
struct Miner {
    account: AccountId,
    chain: Arc<dyn MinerChain>,
    endpoint: String,
    capacity: u64,
    /// Without zeros at the end.
    fragments: BTreeMap<Hash32, Bytes>,
    deals: BTreeMap<Fid, BTreeSet<Hash32>>,
    /// Deals that a task looks after.
    attended: BTreeSet<Fid>,
    fault: MinerFault,
    counts: MinerCounts,
}

/// A network of miners and the client that reaches them.
#[derive(Clone, Debug)]
pub struct ModelMiners {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    chain: ModelChain,
    clock: Arc<dyn Clock>,
    miners: Mutex<Vec<Miner>>,
    /// Fragments that nobody takes.
    unwanted: Mutex<BTreeSet<Hash32>>,
}

impl ModelMiners {
    /// `count` miners with room for `capacity` bytes each, registered on the chain with as much idle
    /// space. Number n has the account of n's bytes and the endpoint `http://miner-n:80`.
    pub fn new(chain: &ModelChain, clock: Arc<dyn Clock>, count: u8, capacity: u64) -> Self {
        let inner =
            Inner { chain: chain.clone(), clock, miners: Mutex::default(), unwanted: Mutex::default() };
        let miners = Self { inner: Arc::new(inner) };
        for _ in 0..count {
            miners.add(capacity);
        }
        miners
    }

    /// One more miner; its number.
    pub fn add(&self, capacity: u64) -> usize {
        let mut miners = self.inner.miners.lock();
        let number = miners.len();
        let account = Self::account(number);
        let endpoint = format!("http://miner-{number}:80");
        self.inner.chain.register(account, &endpoint, u128::from(capacity));
        miners.push(Miner {
            account,
            chain: self.inner.chain.miner(account),
            endpoint,
            capacity,
            fragments: BTreeMap::new(),
            deals: BTreeMap::new(),
            attended: BTreeSet::new(),
            fault: MinerFault::default(),
            counts: MinerCounts::default(),
        });
        number
    }

    /// The account of a miner.
    pub fn account(number: usize) -> AccountId {
        AccountId([0xA0_u8.wrapping_add(number as u8); 32])
    }
    /// Where a miner is reached.
    pub fn addr(&self, number: usize) -> MinerAddr {
        let miners = self.inner.miners.lock();
        MinerAddr { account: miners[number].account, endpoint: miners[number].endpoint.clone() }
    }
    /// Changes how a miner misbehaves.
    pub fn fault(&self, number: usize, change: impl FnOnce(&mut MinerFault)) {
        change(&mut self.inner.miners.lock()[number].fault);
    }
    /// From now on no miner takes these fragments; those of earlier calls are taken again.
    pub fn refuse(&self, fragments: impl IntoIterator<Item = Hash32>) {
        *self.inner.unwanted.lock() = fragments.into_iter().collect();
    }
    /// What a miner was asked since the start.
    pub fn counts(&self, number: usize) -> MinerCounts {
        self.inner.miners.lock()[number].counts
    }
    /// The miner is reached elsewhere from now on, and the chain is told.
    pub async fn move_to(&self, number: usize, endpoint: &str) -> PortResult<()> {
        let chain = {
            let mut miners = self.inner.miners.lock();
            miners[number].endpoint = endpoint.to_owned();
            miners[number].chain.clone()
        };
        chain.update_endpoint(endpoint).await.map(|_| ())
    }
    /// Whether a miner holds a fragment.
    pub fn holds(&self, number: usize, fragment: &Hash32) -> bool {
        self.inner.miners.lock()[number].fragments.contains_key(fragment)
    }
    /// Gives a miner the fragment that another holds, as a repair does.
    pub fn copy_fragment(&self, from: usize, to: usize, fid: Fid, fragment: Hash32) {
        let mut miners = self.inner.miners.lock();
        let bytes = miners[from].fragments.get(&fragment).cloned();
        if let Some(bytes) = bytes {
            miners[to].fragments.insert(fragment, bytes);
            miners[to].deals.entry(fid).or_default().insert(fragment);
        }
    }
}

impl Inner {
    /// The number of the miner at an address, if it is up and there.
    fn reach(&self, addr: &MinerAddr) -> PortResult<(usize, Duration)> {
        let miners = self.miners.lock();
        let found =
            miners.iter().position(|miner| miner.account == addr.account && miner.endpoint == addr.endpoint);
        match found {
            Some(number) if !miners[number].fault.is_down => Ok((number, miners[number].fault.slow)),
            _ => Err(unreachable_miner(addr)),
        }
    }

    /// The same, after as long as the miner takes to answer.
    async fn visit(&self, addr: &MinerAddr) -> PortResult<usize> {
        let (number, slow) = self.reach(addr)?;
        if !slow.is_zero() {
            self.clock.sleep(slow).await;
            self.reach(addr)?;
        }
        Ok(number)
    }

    fn store(
        &self,
        number: usize,
        addr: &MinerAddr,
        fid: Fid,
        fragment: Hash32,
        body: &[u8],
    ) -> PortResult<bool> {
        let mut miners = self.miners.lock();
        let miner = &mut miners[number];
        if miner.fault.dies_after_puts == Some(0) {
            miner.fault.is_down = true;
            return Err(unreachable_miner(addr));
        }
        let is_new = !miner.fragments.contains_key(&fragment);
        if miner.fault.is_full || (is_new && miner.free() < FRAGMENT_BYTES) {
            return Err(PortError::definite(PortErrorKind::Full, "the miner is full"));
        }
        if is_new {
            miner.fragments.insert(fragment, Bytes::copy_from_slice(without_zeros(body)));
        }
        miner.deals.entry(fid).or_default().insert(fragment);
        miner.counts.puts += 1;
        if let Some(left) = &mut miner.fault.dies_after_puts {
            *left -= 1;
        }
        Ok(miner.attended.insert(fid))
    }

    /// Looks after one deal of one miner until its column is on chain or the deal is gone.
    async fn attend(self: Arc<Self>, number: usize, fid: Fid) {
        loop {
            let (chain, held, is_mute) = {
                let miners = self.miners.lock();
                let miner = &miners[number];
                let held = miner.deals.get(&fid).cloned().unwrap_or_default();
                (miner.chain.clone(), held, miner.fault.is_silent || miner.fault.is_down)
            };
            if !is_mute && matches!(report(&*chain, fid, &held).await, Ok(Reported::Over)) {
                break;
            }
            self.clock.sleep(REPORT_RETRY).await;
        }
        self.lock_miner(number, |miner| miner.attended.remove(&fid));
    }

    fn lock_miner<T>(&self, number: usize, act: impl FnOnce(&mut Miner) -> T) -> T {
        let mut miners: MutexGuard<'_, Vec<Miner>> = self.miners.lock();
        act(&mut miners[number])
    }
}

enum Reported {
    /// The chain needs nothing more of this miner for this deal.
    Over,
    /// The column is not complete yet.
    NotYet,
}

/// One look of a miner at a deal, and a report if a column is complete.
async fn report(chain: &dyn MinerChain, fid: Fid, held: &BTreeSet<Hash32>) -> PortResult<Reported> {
    let Some(deal) = chain.deal(fid).await? else { return Ok(Reported::Over) };
    let me = chain.account();
    if deal.complete.iter().any(|(_, miner)| *miner == me) {
        return Ok(Reported::Over);
    }
    let is_open = |index: &FragmentIndex| deal.complete.iter().all(|(taken, _)| taken != index);
    let is_here = |index: &FragmentIndex| {
        deal.segments.iter().all(|segment| held.contains(&segment.fragments[index.get()]))
    };
    let ready: Vec<_> = FragmentIndex::all().filter(|index| is_open(index) && is_here(index)).collect();
    // Fragments of zeros make several columns complete at once: miners begin at different ones.
    match ready.get(usize::from(me.0[0]) % ready.len().max(1)) {
        Some(index) => chain.report(fid, *index).await.map(|_| Reported::Over),
        None => Ok(Reported::NotYet),
    }
}

impl Miner {
    fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.fragments.len() as u64 * FRAGMENT_BYTES)
    }
}

/// Without the pages of zeros at its end.
fn without_zeros(body: &[u8]) -> &[u8] {
    let zeros: usize = body.rchunks(4096).take_while(|page| is_zero(page)).map(<[u8]>::len).sum();
    &body[..body.len() - zeros]
}

fn unreachable_miner(addr: &MinerAddr) -> PortError {
    PortError::definite(PortErrorKind::Unavailable, format!("{} does not answer", addr.endpoint))
}

fn refused(why: &str) -> PortError {
    PortError::definite(PortErrorKind::Refused, why)
}

#[async_trait]
impl Miners for ModelMiners {
    async fn put(&self, miner: &MinerAddr, fid: Fid, fragment: Hash32, body: Bytes) -> PortResult<()> {
        let number = self.inner.visit(miner).await?;
        if self.inner.unwanted.lock().contains(&fragment) {
            return Err(unreachable_miner(miner));
        }
        let chain = self.inner.lock_miner(number, |miner| miner.chain.clone());
        let zeros = fragment == ZERO_FRAGMENT && body.is_empty();
        if !zeros && body.len() as u64 != FRAGMENT_BYTES {
            return Err(refused("the fragment size is wrong"));
        }
        if !is_declared(&*chain, fid, &fragment).await? {
            return Err(refused("the fragment does not match the fid"));
        }
        if !zeros && fragment_hash(&body) != fragment {
            return Err(refused("the fragment hash is wrong"));
        }
        if self.inner.store(number, miner, fid, fragment, &body)? {
            tokio::spawn(self.inner.clone().attend(number, fid));
        }
        Ok(())
    }

    async fn get(
        &self,
        miner: &MinerAddr,
        _fid: Fid,
        fragment: Hash32,
        range: Range<u32>,
    ) -> PortResult<Bytes> {
        if range.start > range.end || u64::from(range.end) > FRAGMENT_BYTES {
            return Err(refused("the range leaves the fragment"));
        }
        let number = self.inner.visit(miner).await?;
        self.inner.lock_miner(number, |miner| {
            let found = miner.fragments.get(&fragment).filter(|_| !miner.fault.lost_all);
            let found = found.ok_or_else(|| PortError::definite(PortErrorKind::NotFound, "not found"))?;
            let mut bytes = vec![0; range.len()];
            let stored = found.get(range.start as usize..).unwrap_or_default();
            let len = stored.len().min(bytes.len());
            bytes[..len].copy_from_slice(&stored[..len]);
            if miner.fault.lies
                && let Some(byte) = bytes.last_mut()
            {
                *byte ^= 0x55;
            }
            miner.counts.gets += 1;
            miner.counts.get_bytes += bytes.len() as u64;
            Ok(bytes.into())
        })
    }

    async fn probe(&self, miner: &MinerAddr) -> PortResult<MinerStatus> {
        let before = self.inner.clock.elapsed();
        let number = self.inner.visit(miner).await?;
        let free_bytes = self.inner.lock_miner(number, |miner| miner.free());
        Ok(MinerStatus { free_bytes, round_trip: self.inner.clock.elapsed().saturating_sub(before) })
    }

    fn latency(&self, _miner: &AccountId) -> Option<MinerLatency> {
        None
    }
}

async fn is_declared(chain: &dyn MinerChain, fid: Fid, fragment: &Hash32) -> PortResult<bool> {
    if let Some(deal) = chain.deal(fid).await? {
        return Ok(deal.segments.iter().any(|segment| segment.fragments.contains(fragment)));
    }
    let Some(file) = chain.file(fid).await? else { return Ok(false) };
    let mut placed = file.segments.iter().flat_map(|segment| &segment.fragments);
    Ok(placed.any(|placed| placed.hash == *fragment))
}
