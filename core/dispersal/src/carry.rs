//! Carrying one deal through: the doing to [`crate::deal`]'s deciding.
//!
//! Effects become futures; what they return, what the chain says and the passing of time become
//! events. A deal that was declared is never given up: failures wait and are tried again, until the
//! chain has the file, or has dropped the deal because its territory expired.
//!
//! Money is spent once: right before a declaration is sent, its row says so and is staged; in this
//! life a declaration of unknown outcome is repeated only after a look that found nothing, over the
//! same port, which lets at most one of the two be executed; a later life first puts a fence behind the
//! calls of the earlier ([`gw_types::ports::Chain::fence`]), or waits until they have lapsed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use gw_codec::hash::ZERO_FRAGMENT;
use gw_data::rows::{self, DealRow, DealState, SegmentState};
use gw_types::ports::{ChainEvent, DealSpec, DeclaredSegment, FileState, MinerAddr};
use gw_types::{
    AccountId, FRAGMENTS, Fid, FragmentIndex, Hash32, Level, Outcome, PortError, PortErrorKind, PortResult,
    SEGMENT_BYTES, SegmentSeq,
};

use crate::deal::{Deal, Effect, Event};
use crate::error::DispersalError;
use crate::pick;
use crate::rows as own;
use crate::rows::{AttemptRow, LOCAL};
use crate::shared::Shared;
use crate::state::{DealProgress, Who};

/// Looks at the chain after a declaration of unknown outcome, before it is repeated.
const LOOKS_AFTER_UNKNOWN: u32 = 3;
/// How often a fragment is offered to a miner that does not answer, or does not know the deal yet
/// because its node lags behind ours.
const PUT_ATTEMPTS: u32 = 4;

/// One deal under way.
pub(crate) struct Carrier {
    shared: Arc<Shared>,
    fid: Fid,
    row: DealRow,
    segments: Arc<[(SegmentSeq, DeclaredSegment)]>,
    /// What an earlier life left undecided.
    attempt: Option<AttemptRow>,
    /// Whether, and from which block on, what an earlier life left undecided is decided.
    fence: Fence,
    /// The file, once it is Active.
    file: Option<FileState>,
}

/// See [`Shared::fence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    NotYet,
    Wanted,
    Underway,
    Stands(u32),
}

/// How a deal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// It is Active.
    Active,
    /// It is not on chain and will not be: the intent is withdrawn, for this reason.
    Withdrawn(String),
}

/// What the futures of a carrier bring.
enum Happened {
    Looked(PortResult<Look>),
    Fenced(PortResult<u32>),
    Event(Event),
    Refused(String),
}

type Work = FuturesUnordered<BoxFuture<'static, Result<Happened, DispersalError>>>;

/// What the chain has of a deal.
struct Look {
    block: u32,
    found: Found,
}

enum Found {
    Nothing,
    Open(Vec<(FragmentIndex, AccountId)>),
    File(FileState),
}

impl Carrier {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (fid, row): (Fid, DealRow),
        segments: Vec<(SegmentSeq, DeclaredSegment)>,
    ) -> Result<Self, DispersalError> {
        let attempt = own::attempt(&shared.ports.db.snapshot(), fid)?;
        Ok(Self { shared, fid, row, segments: segments.into(), attempt, fence: Fence::NotYet, file: None })
    }

    /// Until the deal is Active, or certainly not on chain.
    pub(crate) async fn carry(mut self) -> Result<Carried, DispersalError> {
        let clock = Arc::clone(&self.shared.ports.clock);
        let mut deal = Deal::new(self.row.miners.clone(), twins(&self.segments), clock.elapsed());
        let mut work = Work::new();
        let mut declaring: Work = Work::new();
        let mut heard = self.listen().await;
        let mut is_listening = true;
        let (mut look_at, mut is_looking) = (Duration::ZERO, false);
        self.show(&deal);
        loop {
            let now = clock.elapsed();
            if !is_looking && now >= look_at {
                is_looking = true;
                work.push(Box::pin(looked(Arc::clone(&self.shared), self.fid)));
            }
            let pause = if is_looking { self.shared.config.poll } else { look_at.saturating_sub(now) };
            let happened = tokio::select! {
                Some(happened) = work.next() => happened?,
                Some(happened) = declaring.next() => happened?,
                told = heard.next() => {
                    match told {
                        Some(event) if concerns(&event, self.fid) => look_at = Duration::ZERO,
                        Some(_) => {}
                        // Not again at once: a connection that breaks at once must not keep us busy.
                        None if std::mem::replace(&mut is_listening, false) => heard = self.quiet(),
                        None => {
                            heard = self.listen().await;
                            is_listening = true;
                        }
                    }
                    continue;
                }
                () = clock.sleep(pause) => continue,
            };
            let events = match happened {
                Happened::Looked(look) => {
                    is_looking = false;
                    look_at = clock.elapsed() + self.shared.config.poll;
                    let events = self.judge(look, &deal);
                    if self.fence == Fence::Wanted {
                        self.fence = Fence::Underway;
                        work.push(Box::pin(fenced(Arc::clone(&self.shared))));
                    }
                    events
                }
                Happened::Fenced(fenced) => {
                    look_at = self.fenced(fenced, look_at);
                    continue;
                }
                Happened::Event(event) => vec![event],
                Happened::Refused(reason) => return self.withdraw(reason).await,
            };
            if let Some(ended) = self.apply(&mut deal, events, &mut work, &mut declaring).await? {
                return Ok(ended);
            }
        }
    }

    /// Feeds the machine and does what it wants.
    async fn apply(
        &mut self,
        deal: &mut Deal,
        events: Vec<Event>,
        work: &mut Work,
        declaring: &mut Work,
    ) -> Result<Option<Carried>, DispersalError> {
        let mut effects = VecDeque::new();
        for event in events {
            effects.extend(deal.apply(event));
        }
        if !deal.is_declaring() {
            // It must not be repeated once the chain has the deal.
            declaring.clear();
        }
        if !deal.has_orphan() && !deal.has_late() {
            self.shared.board.goes_on(Who::Spare(self.fid));
        }
        for effect in effects {
            match effect {
                Effect::Declare => declaring.push(Box::pin(declare(Arc::clone(&self.shared), self.spec()))),
                Effect::Opened => self.opened()?,
                Effect::Send(index, miner) => work.push(self.send(index, miner)),
                Effect::FindSpare => work.push(self.find_spare(deal)),
                Effect::Dispersed => self.dispersed().await?,
                Effect::Finalized => {
                    self.finalized().await?;
                    return Ok(Some(Carried::Active));
                }
                Effect::Gone => {
                    let reason = "the chain has dropped an open deal: its territory has expired";
                    return self.withdraw(reason.to_owned()).await.map(Some);
                }
            }
        }
        self.show(deal);
        Ok(None)
    }

    /// A stream of events, or a quiet one: then the clock alone asks.
    async fn listen(&self) -> BoxStream<'static, ChainEvent> {
        self.shared.ports.chain.events().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "no chain events; asking by the clock");
            self.quiet()
        })
    }

    /// A stream that brings nothing and ends after a while.
    fn quiet(&self) -> BoxStream<'static, ChainEvent> {
        let (clock, pause) = (Arc::clone(&self.shared.ports.clock), self.shared.config.poll);
        futures::stream::once(async move { clock.sleep(pause).await }).filter_map(|()| async { None }).boxed()
    }

    /// Turns a look into events.
    fn judge(&mut self, look: PortResult<Look>, deal: &Deal) -> Vec<Event> {
        let (board, who) = (&self.shared.board, Who::Look(self.fid));
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                board.waits(who, format!("the chain does not answer: {error}"));
                return Vec::new();
            }
        };
        board.goes_on(who);
        let event = match look.found {
            Found::Nothing => {
                let lapses =
                    self.attempt.map(|attempt| attempt.block.saturating_add(self.shared.config.lapse_blocks));
                let is_fenced = matches!(self.fence, Fence::Stands(block) if look.block >= block);
                let may_come = !is_fenced && lapses.is_some_and(|lapses| look.block < lapses);
                if may_come && deal.phase() == "looking" {
                    let reason = "a deal may have been declared right before the last stop: finding out";
                    board.waits(Who::Declare(self.fid), reason.to_owned());
                    if self.fence == Fence::NotYet {
                        self.fence = Fence::Wanted;
                    }
                }
                Event::NotOnChain { may_come }
            }
            Found::Open(reported) => Event::Open(reported),
            Found::File(file) => {
                self.file = Some(file.clone());
                Event::Completed(file)
            }
        };
        vec![Event::Tick(self.shared.ports.clock.elapsed(), look.block), event]
    }

    /// What an earlier life handed over is decided, or cannot be now; gives the time of the next look.
    fn fenced(&mut self, fenced: PortResult<u32>, look_at: Duration) -> Duration {
        match fenced {
            Ok(block) => {
                self.fence = Fence::Stands(block);
                Duration::ZERO
            }
            Err(error) => {
                tracing::debug!(%error, "calls of an earlier life are not fenced off yet");
                self.fence = Fence::NotYet;
                look_at
            }
        }
    }

    fn spec(&self) -> DealSpec {
        let segments: Vec<DeclaredSegment> =
            self.segments.iter().map(|(_, declared)| declared.clone()).collect();
        DealSpec {
            fid: self.fid,
            file_size: u128::from(SEGMENT_BYTES) * segments.len() as u128,
            segments,
            file_name: self.row.file_name.clone(),
            territory: self.row.territory.clone(),
        }
    }

    fn send(
        &self,
        index: FragmentIndex,
        miner: MinerAddr,
    ) -> BoxFuture<'static, Result<Happened, DispersalError>> {
        let (shared, fid, segments) = (Arc::clone(&self.shared), self.fid, Arc::clone(&self.segments));
        Box::pin(async move {
            let event = match send_column(&shared, fid, &segments, index, &miner).await {
                Ok(()) => Event::Sent(index, miner.account),
                Err(SendError::Ours(error)) => return Err(error),
                Err(SendError::Miner(error)) => {
                    tracing::warn!(%fid, index = index.get(), endpoint = %miner.endpoint, %error, "a column was not sent");
                    Event::SendFailed(index, miner.account)
                }
            };
            Ok(Happened::Event(event))
        })
    }

    fn find_spare(&self, deal: &Deal) -> BoxFuture<'static, Result<Happened, DispersalError>> {
        let (shared, fid, segments) = (Arc::clone(&self.shared), self.fid, self.segments.len());
        let holders = deal.holders();
        let fresh: Vec<AccountId> = holders.iter().chain(deal.failed()).copied().collect();
        let is_orphan = deal.has_orphan();
        Box::pin(async move {
            let who = Who::Spare(fid);
            let found = shared.healthy_miners(fid, segments, &holders, 1).await;
            let reason = match found {
                Ok(candidates) => {
                    // For a column that nobody holds, one that failed before is better than none.
                    let again = || pick::pick(fid, &candidates, &holders, 1).pop().filter(|_| is_orphan);
                    if let Some(miner) = pick::pick(fid, &candidates, &fresh, 1).pop().or_else(again) {
                        return Ok(Happened::Event(Event::Spare(miner)));
                    }
                    if is_orphan {
                        "a column of a deal needs another miner and none is free".to_owned()
                    } else {
                        "a miner does not report its column of a deal, and no other miner is free".to_owned()
                    }
                }
                Err(error) => format!("looking for another miner: {error}"),
            };
            shared.board.waits(who, reason);
            Ok(Happened::Event(Event::NoSpare))
        })
    }

    /// The deal is on chain.
    fn opened(&mut self) -> Result<(), DispersalError> {
        self.attempt = None;
        self.shared.board.goes_on(Who::Declare(self.fid));
        self.row.state = DealState::Declared;
        let (fid, row) = (self.fid, self.row.clone());
        self.shared.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            own::delete_attempt(txn, fid)?;
            rows::put_deal(txn, fid, &row);
            Ok::<_, DispersalError>(())
        })?;
        Ok(())
    }

    async fn dispersed(&self) -> Result<(), DispersalError> {
        let segments = &self.row.segments;
        let committed = self.shared.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            raise(txn, segments, SegmentState::Dispersed)
        })?;
        self.shared.ports.db.wait_staged(committed.lsn).await?;
        self.shared.reached(segments, Level::Dispersed).await
    }

    async fn finalized(&mut self) -> Result<(), DispersalError> {
        if let Some(file) = &self.file {
            self.row.miners = placement(&self.shared, file, &self.row.miners).await;
        }
        self.row.state = DealState::Active;
        let (fid, row) = (self.fid, self.row.clone());
        let committed = self.shared.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            own::delete_attempt(txn, fid)?;
            rows::put_deal(txn, fid, &row);
            raise(txn, &row.segments, SegmentState::Finalized)
        })?;
        self.shared.ports.db.wait_staged(committed.lsn).await?;
        self.shared.reached(&self.row.segments, Level::Finalized).await?;
        if let Err(error) = self.shared.ports.data.trim().await {
            tracing::warn!(%error, "segment files that need not be here any more stay until the next look");
        }
        self.shared.board.forget(fid);
        self.shared.board.note(|status| status.deals_done += 1);
        Ok(())
    }

    /// Nothing is declared: the segments wait for another deal.
    async fn withdraw(&self, reason: String) -> Result<Carried, DispersalError> {
        let (fid, segments) = (self.fid, &self.row.segments);
        let committed = self.shared.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            own::delete_attempt(txn, fid)?;
            rows::delete_deal(txn, fid);
            for seq in segments {
                if let Some(mut row) = rows::segment(txn, *seq)? {
                    row.deal = None;
                    rows::put_segment(txn, *seq, &row)?;
                }
            }
            Ok::<_, DispersalError>(())
        })?;
        self.shared.ports.db.wait_staged(committed.lsn).await?;
        self.shared.board.forget(fid);
        Ok(Carried::Withdrawn(reason))
    }

    fn show(&self, deal: &Deal) {
        let progress =
            DealProgress { segments: self.segments.len(), phase: deal.phase(), columns_held: deal.held() };
        self.shared.board.note(|status| {
            status.deals.insert(self.fid, progress);
        });
    }
}

/// For each column the first with the same fragments in every segment.
fn twins(segments: &[(SegmentSeq, DeclaredSegment)]) -> [u8; FRAGMENTS] {
    let is_twin = |a: usize, b: usize| {
        segments.iter().all(|(_, declared)| declared.fragments[a] == declared.fragments[b])
    };
    std::array::from_fn(|column| (0..=column).find(|other| is_twin(*other, column)).unwrap_or(column) as u8)
}

fn concerns(event: &ChainEvent, ours: Fid) -> bool {
    match event {
        ChainEvent::Reported { fid, .. } | ChainEvent::Completed { fid } => *fid == ours,
        _ => false,
    }
}

async fn fenced(shared: Arc<Shared>) -> Result<Happened, DispersalError> {
    Ok(Happened::Fenced(shared.fence().await))
}

async fn looked(shared: Arc<Shared>, fid: Fid) -> Result<Happened, DispersalError> {
    Ok(Happened::Looked(look(&shared, fid).await))
}

/// What the chain has of this deal now.
async fn look(shared: &Shared, fid: Fid) -> PortResult<Look> {
    let chain = &shared.ports.chain;
    // The head first, so that what is found is at least as new. Then the deal: between the two answers
    // it may become a file, never the reverse.
    let block = chain.head().await?.block;
    let deal = chain.deal(fid).await?;
    let file = chain.file(fid).await?.filter(|file| file.held_as.is_some());
    let found = match (file, deal) {
        (Some(file), _) => Found::File(file),
        (None, Some(deal)) => Found::Open(deal.complete),
        (None, None) => Found::Nothing,
    };
    Ok(Look { block, found })
}

/// Sends the declaration until its fate is known.
async fn declare(shared: Arc<Shared>, spec: DealSpec) -> Result<Happened, DispersalError> {
    let (clock, config) = (&shared.ports.clock, &shared.config);
    let who = Who::Declare(spec.fid);
    let mut is_doubtful = false;
    let mut pause = config.retry;
    loop {
        let error = match attempt(&shared, &spec).await? {
            Ok(()) => return Ok(Happened::Event(Event::Declared)),
            Err(error) => error,
        };
        shared.board.waits(who, format!("declaring a deal: {error}"));
        let is_refusal = matches!(error.kind(), PortErrorKind::Refused | PortErrorKind::Full);
        if error.outcome() == Outcome::Definite && is_refusal && !is_doubtful {
            return Ok(Happened::Refused(error.to_string()));
        }
        is_doubtful |= error.outcome() == Outcome::Unknown;
        if is_doubtful {
            match settle_doubt(&shared, spec.fid).await {
                Some(event) => return Ok(Happened::Event(event)),
                // The chain has not got it, and refuses it now.
                None if error.outcome() == Outcome::Definite && is_refusal => {
                    return Ok(Happened::Refused(error.to_string()));
                }
                None => {}
            }
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(config.retry_max);
    }
}

/// Notes that a declaration is about to be sent, then sends it.
async fn attempt(shared: &Shared, spec: &DealSpec) -> Result<PortResult<()>, DispersalError> {
    let block = match shared.ports.chain.head().await {
        Ok(head) => head.block,
        Err(error) => return Ok(Err(error)),
    };
    let committed = shared.ports.db.transact(|txn| {
        txn.stream(LOCAL);
        own::put_attempt(txn, spec.fid, AttemptRow { block });
        Ok::<_, DispersalError>(())
    })?;
    shared.ports.db.wait_staged(committed.lsn).await?;
    Ok(shared.ports.chain.declare(spec).await.map(drop))
}

/// Looks until the chain has answered some times that it has nothing; `Some` when it has the deal.
async fn settle_doubt(shared: &Shared, fid: Fid) -> Option<Event> {
    let mut answers = 0;
    while answers < LOOKS_AFTER_UNKNOWN {
        shared.ports.clock.sleep(shared.config.poll).await;
        match look(shared, fid).await.map(|look| look.found) {
            Ok(Found::Open(reported)) => return Some(Event::Open(reported)),
            // The carrier's own look brings the file.
            Ok(Found::File(_)) => return Some(Event::Declared),
            Ok(Found::Nothing) => answers += 1,
            Err(_) => {}
        }
    }
    None
}

enum SendError {
    /// Something here failed: the deal stops and is taken up again.
    Ours(DispersalError),
    /// The miner failed.
    Miner(PortError),
}

async fn send_column(
    shared: &Shared,
    fid: Fid,
    segments: &[(SegmentSeq, DeclaredSegment)],
    index: FragmentIndex,
    miner: &MinerAddr,
) -> Result<(), SendError> {
    for (seq, declared) in segments {
        let hash = declared.fragments[index.get()];
        let mut pause = shared.config.retry;
        let mut left = PUT_ATTEMPTS;
        loop {
            let error = match send_fragment(shared, fid, *seq, (index, hash), miner).await {
                Ok(()) => break,
                Err(SendError::Miner(error)) => error,
                Err(ours) => return Err(ours),
            };
            left -= match error.kind() {
                // Putting the same fragment again is harmless, and passing faults are common.
                PortErrorKind::Unavailable => 2,
                // "No such deal" from a miner whose node lags behind ours.
                PortErrorKind::Refused => 1,
                _ => left,
            };
            if left == 0 {
                return Err(SendError::Miner(error));
            }
            shared.ports.clock.sleep(pause).await;
            pause *= 2;
        }
    }
    Ok(())
}

async fn send_fragment(
    shared: &Shared,
    fid: Fid,
    seq: SegmentSeq,
    (index, hash): (FragmentIndex, Hash32),
    miner: &MinerAddr,
) -> Result<(), SendError> {
    let _place = shared.sends.acquire().await.expect("the semaphore is never closed");
    if hash == ZERO_FRAGMENT {
        // A miner makes these itself (cess-miner, `fragment.go`).
        return shared
            .ports
            .miners
            .put(miner, fid, hash, bytes::Bytes::new())
            .await
            .map_err(SendError::Miner);
    }
    let resident = shared.loader.load(&shared.ports, seq).await.map_err(SendError::Ours)?;
    let fragment = shared.ports.striper.fragment(resident.bytes.clone(), index).await;
    let fragment = fragment.map_err(|error| SendError::Ours(error.into()))?;
    // A data fragment is part of the segment, which stays until it is sent; parity is not.
    let _resident = index.is_data().then_some(resident);
    shared.ports.miners.put(miner, fid, hash, fragment).await.map_err(SendError::Miner)
}

/// Raises the states of segments; states only move up.
fn raise(
    txn: &mut gw_db::Txn<'_>,
    segments: &[SegmentSeq],
    state: SegmentState,
) -> Result<(), DispersalError> {
    for seq in segments {
        if let Some(mut row) = rows::segment(txn, *seq)?.filter(|row| row.state < state) {
            row.state = state;
            rows::put_segment(txn, *seq, &row)?;
        }
    }
    Ok(())
}

/// Who holds each column, with endpoints as the chain has them now, or as they were known where it
/// does not answer.
async fn placement(
    shared: &Shared,
    file: &FileState,
    known: &[MinerAddr; FRAGMENTS],
) -> [MinerAddr; FRAGMENTS] {
    let listed = match shared.ports.chain.miners().await {
        Ok(miners) => miners.into_iter().map(|miner| miner.addr).collect(),
        Err(error) => {
            tracing::debug!(%error, "endpoints of a new deal are left for the upkeep to refresh");
            Vec::new()
        }
    };
    crate::placement::placement(file, &listed, known)
}
