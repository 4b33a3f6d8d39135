//! What is looked after slowly: dead deals are collected, and placements follow the chain.
//!
//! A deal is dead when nothing needs the bytes of any of its segments: nothing refers to them, or they
//! have been moved. It is deleted on chain only after the record that dropped the last reference, or
//! moved the last bytes, is finalized, so that no restore can come to a state that still needs it; the
//! LSN at which it was first seen dead stands for that record, or the one that compaction has left. The
//! row of a moved segment stays while maps name it. Deals with log segments are never collected here.
//!
//! Miners move and columns are repaired: endpoints are compared with the chain's list at the start and
//! whenever that has changed, columns whose repair an event told are looked up, and a few deals are
//! compared with the chain each time, so that nothing that was missed stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gw_data::rows::{self, DealRow, DealState, SegmentRow, SegmentState};
use gw_types::ports::MinerAddr;
use gw_types::{AccountId, Fid, Hash32, Lsn, Outcome, SegmentSeq, StreamId};

use crate::cutter::is_dead;
use crate::error::DispersalError;
use crate::placement;
use crate::rows::LOCAL;
use crate::shared::Shared;
use crate::state::Who;

/// Rows read at a time.
const ROWS_MAX: usize = 500;
/// Deals deleted each time.
const COLLECT_MAX: usize = 8;
/// Deals compared with the chain each time.
const COMPARE_MAX: usize = 4;

/// What it remembers from one time to the next. All of it can be found again.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// Dead deals, and the newest commit when that was first seen.
    dead: BTreeMap<Fid, Lsn>,
    /// The newest commit at the last scan.
    scanned: Lsn,
    /// Endpoints that all placements have.
    endpoints: BTreeMap<AccountId, String>,
    /// The last deal compared.
    cursor: Option<Fid>,
    /// Deals that should be on chain and are not.
    missing: BTreeSet<Fid>,
}

impl Upkeep {
    /// Once over everything.
    pub(crate) async fn work(mut self, shared: Arc<Shared>) -> Self {
        match self.pass(&shared).await {
            Ok(()) => match self.missing.first() {
                None => shared.board.goes_on(Who::Upkeep),
                Some(first) => shared.board.waits(
                    Who::Upkeep,
                    format!(
                        "{} deals are no longer on chain ({first} is one): their territory has expired, or they were \
                         deleted elsewhere; what is only there is lost",
                        self.missing.len()
                    ),
                ),
            },
            Err(error) => shared.board.waits(Who::Upkeep, format!("looking after deals: {error}")),
        }
        self
    }

    async fn pass(&mut self, shared: &Shared) -> Result<(), DispersalError> {
        shared.ports.data.trim().await?;
        let repaired = std::mem::take(&mut *shared.repaired.lock());
        let newest = shared.ports.db.appended();
        let mut touched = BTreeSet::new();
        if newest > self.scanned || !repaired.is_empty() {
            touched = self.scan(shared, &repaired).await?;
            self.scanned = newest;
        }
        self.collect(shared).await?;
        self.follow_endpoints(shared).await?;
        let after = self.cursor;
        let some = rows::deals(&shared.ports.db.snapshot(), after, COMPARE_MAX)?;
        self.cursor = some.last().map(|(fid, _)| *fid);
        touched.extend(some.into_iter().map(|(fid, _)| fid));
        // A dead deal may be gone from the chain already; it is about to go here.
        for fid in touched.into_iter().filter(|fid| !self.dead.contains_key(fid)).collect::<Vec<_>>() {
            self.compare(shared, fid).await?;
        }
        Ok(())
    }

    /// Finds dead deals, and returns those that have one of the repaired fragments.
    async fn scan(
        &mut self,
        shared: &Shared,
        repaired: &BTreeSet<Hash32>,
    ) -> Result<BTreeSet<Fid>, DispersalError> {
        let (mut alive, mut touched) = (BTreeSet::new(), BTreeSet::new());
        let mut husks = Vec::new();
        let mut from = SegmentSeq(0);
        loop {
            // A snapshot for each page: a long one would keep the journal's overlay from shrinking.
            let page = rows::segments(&shared.ports.db.snapshot(), from, ROWS_MAX)?;
            let Some((last, _)) = page.last() else { break };
            from = last.next();
            for (seq, row) in &page {
                let Some((fid, _)) = row.deal else {
                    husks.extend((row.state == SegmentState::Moved && is_dead(row)).then_some(*seq));
                    continue;
                };
                if !is_collectable(row) {
                    alive.insert(fid);
                }
                let is_repaired =
                    |stripe: &rows::StripeRow| stripe.fragments.iter().any(|hash| repaired.contains(hash));
                if !repaired.is_empty() && row.stripe.as_ref().is_some_and(is_repaired) {
                    touched.insert(fid);
                }
            }
            tokio::task::yield_now().await;
        }
        for seq in husks {
            shared.ports.data.discard(seq)?;
        }
        let emptied = shared.emptied.lock().clone();
        let mut dead = BTreeMap::new();
        let now = shared.ports.db.appended();
        for_each_active(shared, |page| {
            for (fid, _) in page.into_iter().filter(|(fid, _)| !alive.contains(fid)) {
                let first = self.dead.get(&fid).copied().unwrap_or(now);
                dead.insert(fid, emptied.get(&fid).copied().unwrap_or(first));
            }
            Ok(())
        })
        .await?;
        self.dead = dead;
        Ok(touched)
    }

    async fn collect(&mut self, shared: &Shared) -> Result<(), DispersalError> {
        let marks = shared.board.shown_marks();
        let mut due = Vec::new();
        for (fid, lsn) in &self.dead {
            // A deal is of one stream, and so are the records that drop references to it.
            if marks.of_all(streams_of(shared, *fid)?).finalized >= *lsn {
                due.push(*fid);
            }
        }
        if due.len() < self.dead.len() {
            shared.is_mark_wanted.store(true, Ordering::Release);
        }
        for fid in due.into_iter().take(COLLECT_MAX) {
            collect_one(shared, fid).await?;
            shared.emptied.lock().remove(&fid);
            self.dead.remove(&fid);
            self.missing.remove(&fid);
        }
        Ok(())
    }

    async fn follow_endpoints(&mut self, shared: &Shared) -> Result<(), DispersalError> {
        let miners = shared.ports.chain.miners().await?;
        let now: BTreeMap<AccountId, String> =
            miners.into_iter().map(|miner| (miner.addr.account, miner.addr.endpoint)).collect();
        if now == self.endpoints {
            return Ok(());
        }
        let is_old =
            |addr: &MinerAddr| now.get(&addr.account).is_some_and(|endpoint| *endpoint != addr.endpoint);
        for_each_active(shared, |page| {
            let moved: Vec<Fid> = page
                .into_iter()
                .filter(|(_, row)| row.miners.iter().any(is_old))
                .map(|(fid, _)| fid)
                .collect();
            if moved.is_empty() {
                return Ok(());
            }
            tracing::info!(deals = moved.len(), "miners have moved; placements follow");
            shared.ports.db.transact(|txn| {
                txn.stream(LOCAL);
                for fid in moved {
                    let Some(mut row) = rows::deal(txn, fid)? else { continue };
                    for addr in &mut row.miners {
                        if let Some(endpoint) = now.get(&addr.account) {
                            addr.endpoint.clone_from(endpoint);
                        }
                    }
                    rows::put_deal(txn, fid, &row);
                }
                Ok::<_, DispersalError>(())
            })?;
            Ok(())
        })
        .await?;
        self.endpoints = now;
        Ok(())
    }

    /// Takes over who holds a deal's columns now.
    async fn compare(&mut self, shared: &Shared, fid: Fid) -> Result<(), DispersalError> {
        let file = shared.ports.chain.file(fid).await?.filter(|file| file.held_as.is_some());
        // Read after the chain: a deal that was collected meanwhile has no row any more.
        let row = rows::deal(&shared.ports.db.snapshot(), fid)?.filter(|row| row.state == DealState::Active);
        let Some(row) = row else {
            self.missing.remove(&fid);
            return Ok(());
        };
        let Some(file) = file else {
            if self.missing.insert(fid) {
                tracing::error!(%fid, segments = row.segments.len(), "a deal is no longer on chain");
            }
            return Ok(());
        };
        self.missing.remove(&fid);
        let listed: Vec<MinerAddr> = self
            .endpoints
            .iter()
            .map(|(account, endpoint)| MinerAddr { account: *account, endpoint: endpoint.clone() })
            .collect();
        let miners = placement::placement(&file, &listed, &row.miners);
        if miners == row.miners {
            return Ok(());
        }
        tracing::info!(%fid, "columns of a deal have moved; its placement follows");
        shared.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            if let Some(mut row) = rows::deal(txn, fid)? {
                row.miners = miners;
                rows::put_deal(txn, fid, &row);
            }
            Ok::<_, DispersalError>(())
        })?;
        Ok(())
    }
}

/// Streams that a deal holds segments of.
pub(crate) fn streams_of(shared: &Shared, fid: Fid) -> Result<BTreeSet<StreamId>, DispersalError> {
    let snapshot = shared.ports.db.snapshot();
    let mut streams = BTreeSet::new();
    for seq in rows::deal(&snapshot, fid)?.into_iter().flat_map(|row| row.segments) {
        streams.extend(rows::segment(&snapshot, seq)?.map(|row| row.stream));
    }
    Ok(streams)
}

fn is_collectable(row: &SegmentRow) -> bool {
    match row.state {
        SegmentState::Finalized => is_dead(row),
        SegmentState::Moved => true,
        SegmentState::Open | SegmentState::Sealed | SegmentState::Dispersed => false,
    }
}

async fn for_each_active(
    shared: &Shared,
    mut act: impl FnMut(Vec<(Fid, DealRow)>) -> Result<(), DispersalError>,
) -> Result<(), DispersalError> {
    let mut after = None;
    loop {
        let mut page = rows::deals(&shared.ports.db.snapshot(), after, ROWS_MAX)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        page.retain(|(_, row)| row.state == DealState::Active);
        act(page)?;
        tokio::task::yield_now().await;
    }
}

/// Deletes a dead deal on chain, then its rows and files. Begun again after a crash, it finds the file
/// gone and does the rest.
async fn collect_one(shared: &Shared, fid: Fid) -> Result<(), DispersalError> {
    let snapshot = shared.ports.db.snapshot();
    let Some(row) = rows::deal(&snapshot, fid)? else { return Ok(()) };
    // This cannot be undone, so what the scan saw is looked at once more.
    for seq in &row.segments {
        if rows::segment(&snapshot, *seq)?.is_some_and(|row| !is_collectable(&row)) {
            return Ok(());
        }
    }
    drop(snapshot);
    let chain = &shared.ports.chain;
    if is_held(shared, fid).await?
        && let Err(error) = chain.delete_file(fid).await
        // Refused: somebody else may have deleted it in between. Unknown: the next pass looks.
        && (error.outcome() == Outcome::Unknown || is_held(shared, fid).await?)
    {
        return Err(error.into());
    }
    for seq in &row.segments {
        if !shared.ports.data.discard(*seq)? {
            shared.ports.data.abandon(*seq)?;
        }
    }
    shared.ports.db.transact(|txn| {
        txn.stream(LOCAL);
        rows::delete_deal(txn, fid);
        Ok::<_, DispersalError>(())
    })?;
    tracing::info!(%fid, segments = row.segments.len(), "a dead deal was collected");
    Ok(())
}

async fn is_held(shared: &Shared, fid: Fid) -> Result<bool, DispersalError> {
    Ok(shared.ports.chain.file(fid).await?.is_some_and(|file| file.held_as.is_some()))
}
