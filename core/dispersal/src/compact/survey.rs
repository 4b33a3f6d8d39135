//! What is alive in which deal, from the rows: the view that plans are made on.
//!
//! References to a moved segment are counted on its own row. Its live bytes are given to its homes in
//! proportion to what each took in: exact when all of it lives or dies together, an estimate otherwise.
//! Good enough for choosing; what is really moved is found by walking the maps.

use std::collections::BTreeMap;
use std::time::Duration;

use gw_data::rows::{self, DealState, LaneClass, SegmentRow, SegmentState};
use gw_types::{Fid, SEGMENT_BYTES, SegmentSeq};

use super::plan::Candidate;
use crate::cutter::is_dead;
use crate::error::DispersalError;
use crate::shared::Shared;

/// Rows read at a time.
const ROWS_MAX: usize = 500;

/// One look at all rows.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Active deals without log segments in which something is alive.
    pub(crate) candidates: Vec<Candidate>,
    /// Deals in which nothing is alive any more, with their segments: the upkeep deletes them.
    pub(crate) dead: BTreeMap<Fid, u64>,
    /// Segments of all Active deals but those of the log.
    pub(crate) segments: u64,
    /// Bytes alive in them.
    pub(crate) live_bytes: u64,
    /// Segments of deals with the log in them: never given back.
    pub(crate) log_segments: u64,
}

impl Survey {
    /// What the deals pay for and nobody needs, deleted or never filled.
    pub(crate) fn dead_bytes(&self) -> u64 {
        (self.segments * SEGMENT_BYTES).saturating_sub(self.live_bytes)
    }
}

/// What a walk over the segments finds.
#[derive(Debug, Default)]
struct Walked {
    deals: BTreeMap<Fid, Gathered>,
    /// Bytes of guests that are alive, by home.
    guests: BTreeMap<SegmentSeq, u64>,
    /// Moved segments that no map names any more, and whose deals are gone.
    husks: Vec<SegmentSeq>,
}

#[derive(Debug, Default)]
struct Gathered {
    victims: Vec<(SegmentSeq, u64)>,
    used_bytes: u64,
    has_log: bool,
    is_whole: bool,
}

/// Walks all segments and deals. Husks are thrown away on the way: their homes may be dead without them.
pub(crate) async fn survey(shared: &Shared) -> Result<Survey, DispersalError> {
    let mut walked = walk(shared).await?;
    if !walked.husks.is_empty() {
        for husk in std::mem::take(&mut walked.husks) {
            shared.ports.data.discard(husk)?;
        }
        walked = walk(shared).await?;
    }
    judge(shared, walked).await
}

async fn walk(shared: &Shared) -> Result<Walked, DispersalError> {
    let mut walked = Walked::default();
    let mut from = SegmentSeq(0);
    loop {
        let snapshot = shared.ports.db.snapshot();
        let page = rows::segments(&snapshot, from, ROWS_MAX)?;
        let Some((last, _)) = page.last() else { return Ok(walked) };
        from = last.next();
        for (seq, row) in page {
            if row.state == SegmentState::Moved && row.live_bytes > 0 {
                let moved = rows::moved(&snapshot, seq)?.unwrap_or_default();
                share_out(&mut walked.guests, row.live_bytes, &moved);
            }
            walked.take(seq, &row);
        }
        drop(snapshot);
        tokio::task::yield_now().await;
    }
}

impl Walked {
    fn take(&mut self, seq: SegmentSeq, row: &SegmentRow) {
        let Some((fid, _)) = row.deal else {
            self.husks.extend((row.state == SegmentState::Moved && is_dead(row)).then_some(seq));
            return;
        };
        let deal =
            self.deals.entry(fid).or_insert_with(|| Gathered { is_whole: true, ..Gathered::default() });
        deal.used_bytes += row.used_bytes;
        deal.has_log |= row.class == LaneClass::Log;
        deal.is_whole &= row.state >= SegmentState::Finalized;
        if row.state == SegmentState::Finalized && !is_dead(row) {
            deal.victims.push((seq, row.live_bytes));
        }
    }
}

fn share_out(homes: &mut BTreeMap<SegmentSeq, u64>, live_bytes: u64, moved: &rows::MovedRow) {
    let all: u64 = moved.ranges.iter().map(|range| u64::from(range.len)).sum();
    for range in &moved.ranges {
        let part = u128::from(live_bytes) * u128::from(range.len) / u128::from(all.max(1));
        *homes.entry(range.segment).or_default() += u64::try_from(part).unwrap_or(u64::MAX);
    }
}

async fn judge(shared: &Shared, walked: Walked) -> Result<Survey, DispersalError> {
    let Walked { deals: mut gathered, guests, .. } = walked;
    let now = shared.ports.clock.now();
    let mut survey = Survey::default();
    let mut after = None;
    loop {
        let page = rows::deals(&shared.ports.db.snapshot(), after, ROWS_MAX)?;
        let Some((last, _)) = page.last() else { return Ok(survey) };
        after = Some(*last);
        for (fid, row) in page.into_iter().filter(|(_, row)| row.state == DealState::Active) {
            let segments = row.segments.len() as u64;
            let deal = gathered.remove(&fid).unwrap_or_default();
            if deal.has_log {
                survey.log_segments += segments;
                continue;
            }
            let alive = |(seq, live): &(SegmentSeq, u64)| {
                (live + guests.get(seq).copied().unwrap_or_default()).min(SEGMENT_BYTES)
            };
            let live_bytes = deal.victims.iter().map(alive).sum();
            survey.segments += segments;
            survey.live_bytes += live_bytes;
            if deal.victims.is_empty() {
                survey.dead.insert(fid, segments);
            } else if deal.is_whole {
                let age = u64::try_from(now.0.saturating_sub(row.declared_at.0)).unwrap_or(0);
                survey.candidates.push(Candidate {
                    fid,
                    segments,
                    victims: deal.victims.into_iter().map(|(seq, _)| seq).collect(),
                    used_bytes: deal.used_bytes,
                    live_bytes,
                    age: Duration::from_nanos(age),
                });
            }
        }
        tokio::task::yield_now().await;
    }
}
