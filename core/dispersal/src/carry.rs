//! Carrying one deal through: the doing to [`crate::deal`]'s deciding.
//!
//! Effects become futures; what they return, what the chain says and the passing of time become
//! events. A deal that was declared is never given up: failures wait and are tried again, until the
//! chain has the file. Each declaration follows a look at the chain, and an answer of unknown
//! outcome is followed by looks for as long as the call could still land.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use gw_data::rows::{self, DealRow, DealState, SegmentRow, SegmentState};
use gw_types::ports::{ChainEvent, DealSpec, DeclaredSegment, FileState, MinerAddr};
use gw_types::{AccountId, FRAGMENTS, Fid, FragmentIndex, Hash32, Level, Outcome, PortError, PortErrorKind, SegmentSeq};
use tokio::sync::{Mutex, Semaphore};

use crate::config::{DispersalConfig, DispersalPorts};
use crate::deal::{Deal, Effect, Event};
use crate::error::DispersalError;
use crate::pick;
use crate::rows::LOCAL;
use crate::state::{Board, DealProgress};

/// Looks at the chain after a declaration of unknown outcome, before it may be sent again. The
/// account's nonce makes a second landing impossible once any later call of ours has landed.
const LOOKS_AFTER_UNKNOWN: u32 = 5;

/// Tells the conductor that segments have reached a level.
pub(crate) type Reached = Arc<dyn Fn(&[SegmentSeq], Level) -> Result<(), DispersalError> + Send + Sync>;

/// One deal under way.
pub(crate) struct Carrier {
    pub(crate) ports: DispersalPorts,
    pub(crate) config: DispersalConfig,
    pub(crate) board: Arc<Board>,
    pub(crate) reached: Reached,
    pub(crate) fid: Fid,
    pub(crate) row: DealRow,
    pub(crate) segments: Vec<(SegmentSeq, DeclaredSegment)>,
    loader: Arc<Loader>,
    sends: Arc<Semaphore>,
}

/// How a deal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// It is Active.
    Active,
    /// The chain refused the declaration: nothing was declared, the intent is withdrawn.
    Refused,
}

impl Carrier {
    pub(crate) fn new(
        ports: DispersalPorts,
        config: DispersalConfig,
        board: Arc<Board>,
        reached: Reached,
        (fid, row): (Fid, DealRow),
        segments: Vec<(SegmentSeq, DeclaredSegment)>,
    ) -> Self {
        let loader = Arc::new(Loader { ports: ports.clone(), last: Mutex::new(None) });
        let sends = Arc::new(Semaphore::new(config.sends_max));
        Self { ports, config, board, reached, fid, row, segments, loader, sends }
    }

    /// Until the deal is Active, or was refused before it was declared.
    pub(crate) async fn carry(mut self) -> Result<Carried, DispersalError> {
        let mut deal = Deal::new(self.row.miners.clone(), self.ports.clock.elapsed());
        let mut work: FuturesUnordered<BoxFuture<'static, Event>> = FuturesUnordered::new();
        let mut heard = self.listen().await;
        let mut events = vec![self.look().await];
        loop {
            for event in events.drain(..) {
                if matches!(event, Event::Refused) {
                    return self.withdraw();
                }
                for effect in deal.apply(event) {
                    self.act(&deal, effect, &mut work).await?;
                }
            }
            self.show(&deal);
            if deal.is_active() {
                return Ok(Carried::Active);
            }
            let tick = self.ports.clock.sleep(self.config.poll);
            events = tokio::select! {
                Some(event) = work.next(), if !work.is_empty() => vec![event],
                told = heard.next() => match told {
                    Some(event) if concerns(&event, self.fid) => vec![self.look().await],
                    Some(_) => Vec::new(),
                    None => {
                        self.ports.clock.sleep(self.config.retry).await;
                        heard = self.listen().await;
                        Vec::new()
                    }
                },
                () = tick => vec![Event::Tick(self.ports.clock.elapsed()), self.look().await],
            };
        }
    }

    async fn listen(&self) -> BoxStream<'static, ChainEvent> {
        match self.ports.chain.events().await {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(%error, "no chain events; asking by the clock");
                futures::stream::pending().boxed()
            }
        }
    }

    /// What the chain has of this deal now.
    async fn look(&self) -> Event {
        loop {
            match look_once(&self.ports, self.fid).await {
                Ok(event) => {
                    self.board.waiting_for(None);
                    return event;
                }
                Err(error) => {
                    self.board.waiting_for(Some(format!("the chain does not answer: {error}")));
                    self.ports.clock.sleep(self.config.retry).await;
                }
            }
        }
    }

    fn withdraw(&self) -> Result<Carried, DispersalError> {
        let segments: Vec<SegmentSeq> = self.row.segments.clone();
        let fid = self.fid;
        self.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            rows::delete_deal(txn, fid);
            for seq in &segments {
                if let Some(mut row) = rows::segment(txn, *seq)? {
                    row.deal = None;
                    rows::put_segment(txn, *seq, &row)?;
                }
            }
            Ok::<_, DispersalError>(())
        })?;
        self.board.note(|status| {
            status.deals.remove(&fid);
        });
        Ok(Carried::Refused)
    }

    async fn act(
        &mut self,
        deal: &Deal,
        effect: Effect,
        work: &mut FuturesUnordered<BoxFuture<'static, Event>>,
    ) -> Result<(), DispersalError> {
        match effect {
            Effect::Declare => work.push(Box::pin(declare(self.ports.clone(), self.config.clone(), self.spec(), Arc::clone(&self.board)))),
            Effect::Send(index, miner) => work.push(self.send(index, miner)),
            Effect::FindSpare => work.push(self.find_spare(deal)),
            Effect::Dispersed => self.dispersed()?,
            Effect::Finalized => self.finalized().await?,
        }
        Ok(())
    }

    fn spec(&self) -> DealSpec {
        let segments: Vec<DeclaredSegment> = self.segments.iter().map(|(_, declared)| declared.clone()).collect();
        DealSpec {
            fid: self.fid,
            file_size: u128::from(gw_types::SEGMENT_BYTES) * segments.len() as u128,
            segments,
            file_name: self.row.file_name.clone(),
            territory: self.row.territory.clone(),
        }
    }

    fn send(&self, index: FragmentIndex, miner: MinerAddr) -> BoxFuture<'static, Event> {
        let (ports, loader, sends, fid) =
            (self.ports.clone(), Arc::clone(&self.loader), Arc::clone(&self.sends), self.fid);
        let segments = self.segments.clone();
        let account = miner.account;
        Box::pin(async move {
            match send_column(&ports, &loader, &sends, fid, &segments, index, &miner).await {
                Ok(()) => Event::Sent(index, account),
                Err(error) => {
                    tracing::warn!(%fid, index = index.get(), endpoint = %miner.endpoint, %error, "a column was not sent");
                    Event::SendFailed(index, account)
                }
            }
        })
    }

    fn find_spare(&self, deal: &Deal) -> BoxFuture<'static, Event> {
        let (ports, fid, taken) = (self.ports.clone(), self.fid, deal.taken());
        let (segments, retry, board) = (self.segments.len(), self.config.retry, Arc::clone(&self.board));
        Box::pin(async move {
            loop {
                match healthy_miners(&ports, segments, &board).await {
                    Ok(candidates) => {
                        if let Some(miner) = pick::pick(fid, &candidates, &taken, 1).pop() {
                            return Event::Spare(miner);
                        }
                        board.waiting_for(Some("a column needs another miner and none is free".to_owned()));
                    }
                    Err(error) => board.waiting_for(Some(format!("looking for another miner: {error}"))),
                }
                ports.clock.sleep(retry).await;
                // A miner that failed before may have come back: any that holds no column will do.
                if let Ok(candidates) = healthy_miners(&ports, segments, &board).await
                    && let Some(miner) = candidates.into_iter().find(|miner| taken.contains(&miner.account))
                {
                    return Event::Spare(miner);
                }
            }
        })
    }

    fn dispersed(&self) -> Result<(), DispersalError> {
        let segments = &self.row.segments;
        mark(&self.ports, segments, SegmentState::Dispersed)?;
        (self.reached)(segments, Level::Dispersed)
    }

    async fn finalized(&mut self) -> Result<(), DispersalError> {
        if let Some(file) = self.ports.chain.file(self.fid).await? {
            self.row.miners = placement(&self.ports, &file, &self.row.miners).await?;
        }
        self.row.state = DealState::Active;
        let (fid, row) = (self.fid, self.row.clone());
        self.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            rows::put_deal(txn, fid, &row);
            Ok::<_, DispersalError>(())
        })?;
        mark(&self.ports, &self.row.segments, SegmentState::Finalized)?;
        (self.reached)(&self.row.segments, Level::Finalized)
    }

    fn show(&self, deal: &Deal) {
        let phase = match (deal.is_active(), deal.is_declared()) {
            (true, _) => "active",
            (false, true) => "declared",
            (false, false) => "looking",
        };
        let progress = DealProgress { segments: self.segments.len(), phase, columns_held: deal.held() };
        let fid = self.fid;
        self.board.note(|status| {
            if progress.phase == "active" {
                status.deals.remove(&fid);
                status.deals_done += 1;
            } else {
                status.deals.insert(fid, progress);
            }
        });
    }
}

fn concerns(event: &ChainEvent, ours: Fid) -> bool {
    match event {
        ChainEvent::Reported { fid, .. } | ChainEvent::Completed { fid } => *fid == ours,
        _ => false,
    }
}

async fn look_once(ports: &DispersalPorts, fid: Fid) -> Result<Event, PortError> {
    // The deal first: between the two answers it may become a file, never the reverse.
    let deal = ports.chain.deal(fid).await?;
    if let Some(file) = ports.chain.file(fid).await?
        && file.held_as.is_some()
    {
        return Ok(Event::Completed(file));
    }
    Ok(deal.map_or(Event::NotOnChain, |deal| Event::Open(deal.complete)))
}

async fn declare(ports: DispersalPorts, config: DispersalConfig, spec: DealSpec, board: Arc<Board>) -> Event {
    loop {
        let error = match ports.chain.declare(&spec).await {
            Ok(_) => return Event::Declared,
            Err(error) => error,
        };
        board.waiting_for(Some(format!("the declaration of a deal: {error}")));
        match (error.outcome(), error.kind()) {
            (Outcome::Definite, PortErrorKind::Refused | PortErrorKind::Full) => return Event::Refused,
            (Outcome::Definite, _) => ports.clock.sleep(config.retry).await,
            (Outcome::Unknown, _) => {
                for _ in 0..LOOKS_AFTER_UNKNOWN {
                    ports.clock.sleep(config.poll).await;
                    if let Ok(event @ (Event::Open(_) | Event::Completed(_))) = look_once(&ports, spec.fid).await {
                        return event;
                    }
                }
            }
        }
    }
}

async fn send_column(
    ports: &DispersalPorts,
    loader: &Loader,
    sends: &Semaphore,
    fid: Fid,
    segments: &[(SegmentSeq, DeclaredSegment)],
    index: FragmentIndex,
    miner: &MinerAddr,
) -> Result<(), PortError> {
    for (seq, declared) in segments {
        let _place = sends.acquire().await.expect("the semaphore is never closed");
        let bytes = loader.load(*seq).await?;
        let fragment = ports.striper.fragment(bytes, index).await?;
        let hash: Hash32 = declared.fragments[index.get()];
        match ports.miners.put(miner, fid, hash, fragment.clone()).await {
            Ok(()) => {}
            // Putting the same fragment again is harmless, so a passing fault gets one more try.
            Err(error) if error.kind() == PortErrorKind::Unavailable => {
                ports.clock.sleep(Duration::from_millis(200)).await;
                ports.miners.put(miner, fid, hash, fragment).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a state into the rows of segments; states only move up.
fn mark(ports: &DispersalPorts, segments: &[SegmentSeq], state: SegmentState) -> Result<(), DispersalError> {
    ports.db.transact(|txn| {
        txn.stream(LOCAL);
        for seq in segments {
            let row: Option<SegmentRow> = rows::segment(txn, *seq)?;
            if let Some(mut row) = row.filter(|row| row.state < state) {
                row.state = state;
                rows::put_segment(txn, *seq, &row)?;
            }
        }
        Ok::<_, DispersalError>(())
    })?;
    Ok(())
}

/// Who holds each column, with endpoints as the chain has them now.
pub(crate) async fn placement(
    ports: &DispersalPorts,
    file: &FileState,
    known: &[MinerAddr],
) -> Result<[MinerAddr; FRAGMENTS], PortError> {
    let miners = ports.chain.miners().await?;
    let addr = |account: AccountId| {
        let listed = miners.iter().map(|miner| &miner.addr).find(|addr| addr.account == account);
        let known = known.iter().find(|addr| addr.account == account);
        listed.or(known).cloned().unwrap_or(MinerAddr { account, endpoint: String::new() })
    };
    let first = file.segments.first().ok_or_else(|| {
        PortError::definite(PortErrorKind::Corrupt, "the chain has a file without segments")
    })?;
    let placed: Vec<MinerAddr> = first.fragments.iter().map(|fragment| addr(fragment.miner)).collect();
    placed.try_into().map_err(|_| {
        PortError::definite(PortErrorKind::Corrupt, "the chain has a segment that has not twelve fragments")
    })
}

/// Miners that the chain would take and that answer a probe with room for the deal's column.
pub(crate) async fn healthy_miners(
    ports: &DispersalPorts,
    segments: usize,
    board: &Board,
) -> Result<Vec<MinerAddr>, PortError> {
    let all = ports.chain.miners().await?;
    let eligible: Vec<MinerAddr> = pick::eligible(&all, segments).into_iter().map(|miner| miner.addr.clone()).collect();
    let column = gw_types::FRAGMENT_BYTES * segments as u64;
    let known = eligible.len();
    let probed = futures::stream::iter(eligible.into_iter().map(|addr| {
        let miners = Arc::clone(&ports.miners);
        async move {
            let status = miners.probe(&addr).await;
            status.ok().filter(|status| status.free_bytes >= column).map(|_| addr)
        }
    }));
    let healthy: Vec<MinerAddr> = probed.buffer_unordered(32).filter_map(|found| async { found }).collect().await;
    board.note(|status| {
        status.miners_known = known;
        status.miners_healthy = healthy.len();
    });
    Ok(healthy)
}

/// Keeps the segment that the columns are being cut from: twelve columns walk through a deal's
/// segments at about the same pace, so one segment in memory serves nearly all of them.
struct Loader {
    ports: DispersalPorts,
    last: Mutex<Option<(SegmentSeq, bytes::Bytes)>>,
}

impl Loader {
    async fn load(&self, seq: SegmentSeq) -> Result<bytes::Bytes, PortError> {
        let mut last = self.last.lock().await;
        if let Some((kept, bytes)) = &*last
            && *kept == seq
        {
            return Ok(bytes.clone());
        }
        let bytes = self.ports.data.segment_bytes(seq).await.map_err(|error| {
            PortError::definite(PortErrorKind::Unavailable, format!("reading segment {seq}")).with_source(error)
        })?;
        *last = Some((seq, bytes.clone()));
        Ok(bytes)
    }
}
