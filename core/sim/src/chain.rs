//! A model of the CESS chain in memory, with the faults of a real one on demand.
//!
//! [`ModelChain`] is the chain; [`ModelChain::owner`] and [`ModelChain::miner`] are clients on it, one
//! value for one account in one process. Every call makes a block of its own, and the clock makes one
//! every six seconds. A call waits in the pool until it is final; with `set_finality` that takes time,
//! and nobody sees what it does before. Clients keep the port's promise about repetition: the same
//! call made again on the same value, after an answer of unknown outcome, is not executed twice. A new
//! value, like a restarted process, knows nothing of that.
//!
//! Deterministic: time comes from the clock it is given, and nothing is random.

mod ledger;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use gw_types::ports::{
    Chain, ChainEvent, ChainHead, Clock, DealSpec, DealState, FileState, HeldFile, MinerChain, MinerInfo,
    NetworkSpace, Receipt, Territory,
};
use gw_types::{AccountId, Fid, FragmentIndex, Hash32, PortError, PortErrorKind, PortResult, TerritoryName};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::Rng;
use ledger::{Call, Ledger, Refusal};

const BLOCK_SECONDS: u32 = 6;
/// Planck of every call.
const FEE: u128 = 10_000_000_000_000_000;
/// Events that a slow listener may have waiting; behind them it loses the subscription.
const EVENTS_MAX: usize = 4096;

/// Which calls a fault is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// `upload_declaration`.
    Declare,
    /// `delete_file`.
    Delete,
    /// `transfer_report`.
    Report,
    /// Everything else.
    Other,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// The chain refuses it.
    Refused,
    /// The chain has no room for it.
    Full,
    /// It cannot be sent: definite.
    Unsent,
    /// The answer is lost at once, and the call never reaches the chain.
    LostUnsent,
    /// The answer is lost at once, and the call is executed this much later.
    LostLands(Duration),
}

/// The chain.
#[derive(Clone, Debug)]
pub struct ModelChain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// Blocks beyond those of the clock.
    extra_blocks: u32,
    finality: Duration,
    away: bool,
    faults: BTreeMap<CallKind, VecDeque<ChainFault>>,
    /// Blocks within which a call must be executed after it was handed over.
    mortality: u32,
    /// By the time at which they are final, then in order.
    pool: BTreeMap<(Duration, u64), Pooled>,
    /// `None`: it lapsed.
    verdicts: BTreeMap<u64, Option<Result<Receipt, Refusal>>>,
    /// Calls that somebody waits for.
    watched: BTreeSet<u64>,
    calls: u64,
    listeners: Vec<mpsc::Sender<ChainEvent>>,
}

/// A call that was handed over and is not executed yet.
#[derive(Debug)]
struct Pooled {
    account: AccountId,
    call: Call,
    /// The last block in which it may be executed.
    lapses: u32,
}

impl ModelChain {
    /// An empty chain that sells a GiB and day for 30 CESS.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            ledger: Ledger::new(30_000_000_000_000_000_000),
            extra_blocks: 0,
            finality: Duration::ZERO,
            mortality: 256,
            away: false,
            faults: BTreeMap::new(),
            pool: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            watched: BTreeSet::new(),
            calls: 0,
            listeners: Vec::new(),
        };
        Self { inner: Arc::new(Inner { clock, state: Mutex::new(state) }) }
    }

    /// Gives an account money, in planck.
    pub fn fund(&self, account: AccountId, planck: u128) {
        self.inner.state.lock().ledger.fund(account, planck);
    }
    /// Makes an account a positive miner with `idle` free bytes.
    pub fn register(&self, account: AccountId, endpoint: &str, idle: u128) {
        self.inner.state.lock().ledger.register(account, endpoint, idle);
    }
    /// Sets the word that the chain has for a miner's state.
    pub fn set_miner_state(&self, account: AccountId, state: &str) {
        self.inner.state.lock().ledger.set_miner_state(account, state);
    }
    /// Moves a column of an Active file to another miner, as a finished repair does.
    pub fn repair(&self, fid: Fid, index: FragmentIndex, miner: AccountId) {
        let mut state = self.inner.settled();
        let events = state.ledger.replace(fid, index, miner);
        state.tell(events);
    }
    /// Sets the block at which a territory freezes.
    pub fn set_deadline(&self, owner: AccountId, territory: &TerritoryName, block: u32) {
        self.inner.state.lock().ledger.set_deadline(owner, territory, block);
    }

    /// A client for an account that owns files.
    pub fn owner(&self, account: AccountId) -> Arc<dyn Chain> {
        Arc::new(self.client(account))
    }
    /// A client for a miner's account.
    pub fn miner(&self, account: AccountId) -> Arc<dyn MinerChain> {
        Arc::new(self.client(account))
    }
    fn client(&self, account: AccountId) -> Client {
        Client { chain: self.inner.clone(), account, doubts: Mutex::default() }
    }

    /// How long a call takes to be final.
    pub fn set_finality(&self, finality: Duration) {
        self.inner.state.lock().finality = finality;
    }
    /// Within how many blocks a call must be executed, or never; 256 at first. A call that lapses while
    /// somebody waits for it has an unknown outcome.
    pub fn set_mortality(&self, blocks: u32) {
        self.inner.state.lock().mortality = blocks;
    }
    /// Nobody reaches the chain, or everybody does again. Calls in its pool go on.
    pub fn set_away(&self, away: bool) {
        let mut state = self.inner.settled();
        state.away = away;
        if away {
            state.listeners.clear();
        }
    }
    /// The next call of this kind that has no fault yet gets this one.
    pub fn fail_next(&self, kind: CallKind, fault: ChainFault) {
        self.inner.state.lock().faults.entry(kind).or_default().push_back(fault);
    }

    /// Height of the newest block.
    pub fn height(&self) -> u32 {
        self.inner.height(&self.inner.settled())
    }
    /// How many declarations of each fid were executed. More than one of an open deal leaks its lock.
    pub fn declarations(&self) -> BTreeMap<Fid, u32> {
        self.inner.settled().ledger.declarations()
    }
    /// Open deals.
    pub fn open_deals(&self) -> Vec<Fid> {
        self.inner.settled().ledger.deal_fids()
    }
    /// An open deal, read without a client.
    pub fn deal(&self, fid: Fid) -> Option<DealState> {
        self.inner.settled().ledger.deal(fid)
    }
    /// A file as `account` sees it, read without a client.
    pub fn file(&self, fid: Fid, account: AccountId) -> Option<FileState> {
        self.inner.settled().ledger.file(fid, account)
    }
    /// The files of an account, read without a client.
    pub fn files(&self, account: AccountId) -> Vec<HeldFile> {
        self.inner.settled().ledger.files_of(account)
    }
}

impl Inner {
    fn height(&self, state: &State) -> u32 {
        let by_clock = self.clock.elapsed().as_secs() / u64::from(BLOCK_SECONDS);
        1 + u32::try_from(by_clock).unwrap_or(u32::MAX / 2) + state.extra_blocks
    }

    fn head(&self, state: &State) -> ChainHead {
        ChainHead { block: self.height(state), block_seconds: BLOCK_SECONDS }
    }

    /// The state, with everything executed that is final by now.
    fn settled(&self) -> parking_lot::MutexGuard<'_, State> {
        let now = self.clock.elapsed();
        let mut state = self.state.lock();
        let height = self.height(&state);
        state.ledger.tick(height);
        while let Some(entry) = state.pool.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, number), Pooled { account, call, lapses }) = entry.remove_entry();
            if self.height(&state) >= lapses {
                if state.watched.remove(&number) {
                    state.verdicts.insert(number, None);
                }
                continue;
            }
            state.extra_blocks += 1;
            let height = self.height(&state);
            state.ledger.tick(height);
            state.ledger.charge(account, FEE);
            let executed = state.ledger.apply(account, &call, height);
            if state.watched.remove(&number) {
                let receipt = Receipt { block: height, block_hash: block_hash(height), fee: FEE };
                let verdict = executed.as_ref().map(|_| receipt).map_err(Clone::clone);
                state.verdicts.insert(number, Some(verdict));
            }
            let mut events = executed.unwrap_or_default();
            events.push(ChainEvent::Block(self.head(&state)));
            state.tell(events);
        }
        state
    }
}

impl State {
    fn tell(&mut self, events: Vec<ChainEvent>) {
        self.listeners.retain(|listener| events.iter().all(|event| listener.try_send(event.clone()).is_ok()));
    }
}

fn block_hash(height: u32) -> Hash32 {
    let mut rng = Rng::new(u64::from(height));
    let mut hash = [0; 32];
    hash.copy_from_slice(&rng.bytes(32));
    Hash32(hash)
}

impl Call {
    fn kind(&self) -> CallKind {
        match self {
            Self::Declare(_) => CallKind::Declare,
            Self::Delete { .. } => CallKind::Delete,
            Self::Report { .. } => CallKind::Report,
            _ => CallKind::Other,
        }
    }
}

/// One account's client in one process.
#[derive(Debug)]
struct Client {
    chain: Arc<Inner>,
    account: AccountId,
    /// Calls whose fate this client does not know, and their number in the pool if they reached it.
    doubts: Mutex<Vec<(Call, Option<u64>)>>,
}

/// Forgets the verdict of a call that nobody waits for any more, and remembers the doubt.
struct Waiting<'a> {
    client: &'a Client,
    call: Call,
    number: u64,
    is_known: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            let mut state = self.client.chain.state.lock();
            state.watched.remove(&self.number);
            state.verdicts.remove(&self.number);
            self.client.doubts.lock().push((self.call.clone(), Some(self.number)));
        }
    }
}

impl Client {
    fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> PortResult<T> {
        let state = self.chain.settled();
        if state.away {
            return Err(away());
        }
        Ok(read(&state.ledger))
    }

    async fn send(&self, call: Call) -> PortResult<Receipt> {
        let (mut waiting, pause) = self.hand_over(call)?;
        if !pause.is_zero() {
            self.chain.clock.sleep(pause).await;
        }
        let mut state = self.chain.settled();
        if state.away {
            // The verdict is dropped with `waiting`, after the lock.
            drop(state);
            return Err(lost("the connection ended"));
        }
        let verdict = state.verdicts.remove(&waiting.number);
        drop(state);
        let Some(verdict) = verdict.expect("a call that is due has been judged") else {
            return Err(lost("it was not final within its mortality"));
        };
        waiting.is_known = true;
        verdict.map_err(|refusal| {
            let kind = if refusal.is_full { PortErrorKind::Full } else { PortErrorKind::Refused };
            PortError::definite(kind, format!("the chain refused it: {}", refusal.name))
        })
    }

    /// Puts the call into the pool, unless a fault or a doubt keeps it out.
    fn hand_over(&self, call: Call) -> PortResult<(Waiting<'_>, Duration)> {
        let mut state = self.chain.settled();
        if state.away {
            return Err(away());
        }
        self.check_doubt(&call, &state)?;
        let fault = state.faults.get_mut(&call.kind()).and_then(VecDeque::pop_front);
        let finality = state.finality;
        let now = self.chain.clock.elapsed();
        let lapses = self.chain.height(&state).saturating_add(state.mortality);
        let mut pooled = |delay: Duration| {
            state.calls += 1;
            let number = state.calls;
            state
                .pool
                .insert((now + delay, number), Pooled { account: self.account, call: call.clone(), lapses });
            number
        };
        match fault {
            None => {
                let number = pooled(finality);
                state.watched.insert(number);
                drop(state);
                Ok((Waiting { client: self, call, number, is_known: false }, finality))
            }
            Some(ChainFault::Refused) => {
                Err(PortError::definite(PortErrorKind::Refused, "the chain refused it (injected)"))
            }
            Some(ChainFault::Full) => {
                Err(PortError::definite(PortErrorKind::Full, "the chain has no room (injected)"))
            }
            Some(ChainFault::Unsent) => {
                Err(PortError::definite(PortErrorKind::Unavailable, "it could not be sent (injected)"))
            }
            Some(ChainFault::LostUnsent) => {
                self.doubts.lock().push((call, None));
                Err(lost("the connection failed (injected)"))
            }
            Some(ChainFault::LostLands(delay)) => {
                let number = pooled(delay);
                self.doubts.lock().push((call.clone(), Some(number)));
                Err(lost("the connection failed (injected)"))
            }
        }
    }

    /// A call in doubt that is made again: while the first is in the pool, or after it was executed
    /// unseen, the answer is Unknown once more.
    fn check_doubt(&self, call: &Call, state: &State) -> PortResult<()> {
        let mut doubts = self.doubts.lock();
        let Some(at) = doubts.iter().position(|(doubtful, _)| doubtful == call) else { return Ok(()) };
        let Some(number) = doubts[at].1 else {
            // It never reached the chain: this one takes its place.
            doubts.remove(at);
            return Ok(());
        };
        if !state.pool.keys().any(|(_, pooled)| *pooled == number) {
            doubts.remove(at);
        }
        Err(lost("it was made again while the first is on its way"))
    }
}

fn away() -> PortError {
    PortError::definite(PortErrorKind::Unavailable, "the chain is away")
}

fn lost(why: &str) -> PortError {
    PortError::unknown(PortErrorKind::Unavailable, why)
}

#[async_trait]
impl Chain for Client {
    fn account(&self) -> AccountId {
        self.account
    }
    async fn head(&self) -> PortResult<ChainHead> {
        let state = self.chain.settled();
        if state.away { Err(away()) } else { Ok(self.chain.head(&state)) }
    }
    async fn balance(&self) -> PortResult<u128> {
        self.read(|ledger| ledger.balance(self.account))
    }
    async fn unit_price(&self) -> PortResult<u128> {
        self.read(|ledger| ledger.unit_price)
    }
    async fn network_space(&self) -> PortResult<NetworkSpace> {
        self.read(Ledger::network_space)
    }
    async fn miners(&self) -> PortResult<Vec<MinerInfo>> {
        self.read(Ledger::miners)
    }
    async fn territory(&self, name: &TerritoryName) -> PortResult<Option<Territory>> {
        self.read(|ledger| ledger.territory(self.account, name))
    }
    async fn territories(&self) -> PortResult<Vec<Territory>> {
        self.read(|ledger| ledger.territories(self.account))
    }
    async fn mint_territory(&self, name: &TerritoryName, gib: u32, days: u32) -> PortResult<Receipt> {
        self.send(Call::Mint { name: name.clone(), gib, days }).await
    }
    async fn expand_territory(&self, name: &TerritoryName, gib: u32) -> PortResult<Receipt> {
        self.send(Call::Expand { name: name.clone(), gib }).await
    }
    async fn renew_territory(&self, name: &TerritoryName, days: u32) -> PortResult<Receipt> {
        self.send(Call::Renew { name: name.clone(), days }).await
    }
    async fn authorize_operator(&self, operator: AccountId) -> PortResult<Receipt> {
        self.send(Call::Authorize { operator }).await
    }
    async fn declare(&self, deal: &DealSpec) -> PortResult<Receipt> {
        self.send(Call::Declare(deal.clone())).await
    }
    /// Calls in the pool that nobody watches and that are not due before the fence is final are never
    /// executed: their numbers are spent.
    async fn fence(&self) -> PortResult<()> {
        let finality = {
            let state = self.chain.settled();
            if state.away {
                return Err(away());
            }
            state.finality
        };
        if !finality.is_zero() {
            self.chain.clock.sleep(finality).await;
        }
        let mut state = self.chain.settled();
        if state.away {
            return Err(lost("the connection ended"));
        }
        let State { pool, watched, .. } = &mut *state;
        pool.retain(|(_, number), pooled| pooled.account != self.account || watched.contains(number));
        Ok(())
    }
    async fn deal(&self, fid: Fid) -> PortResult<Option<DealState>> {
        self.read(|ledger| ledger.deal(fid))
    }
    async fn file(&self, fid: Fid) -> PortResult<Option<FileState>> {
        self.read(|ledger| ledger.file(fid, self.account))
    }
    async fn files(&self) -> PortResult<Vec<HeldFile>> {
        self.read(|ledger| ledger.files_of(self.account))
    }
    async fn delete_file(&self, fid: Fid) -> PortResult<Receipt> {
        self.send(Call::Delete { fid }).await
    }
    async fn events(&self) -> PortResult<BoxStream<'static, ChainEvent>> {
        let (teller, listener) = mpsc::channel(EVENTS_MAX);
        let mut state = self.chain.settled();
        if state.away {
            return Err(away());
        }
        state.listeners.push(teller);
        Ok(unfold(
            listener,
            |mut listener| async move { listener.recv().await.map(|event| (event, listener)) },
        )
        .boxed())
    }
}

#[async_trait]
impl MinerChain for Client {
    fn account(&self) -> AccountId {
        self.account
    }
    async fn deal(&self, fid: Fid) -> PortResult<Option<DealState>> {
        self.read(|ledger| ledger.deal(fid))
    }
    async fn file(&self, fid: Fid) -> PortResult<Option<FileState>> {
        self.read(|ledger| ledger.file(fid, self.account))
    }
    async fn registered(&self) -> PortResult<Option<MinerInfo>> {
        self.read(|ledger| ledger.miner(self.account))
    }
    async fn report(&self, fid: Fid, index: FragmentIndex) -> PortResult<Receipt> {
        self.send(Call::Report { fid, index }).await
    }
    async fn update_endpoint(&self, endpoint: &str) -> PortResult<Receipt> {
        self.send(Call::Move { endpoint: endpoint.to_owned() }).await
    }
}
