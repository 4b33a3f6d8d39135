//! The compactor: space of the territory comes back from deals that are mostly dead.
//!
//! A run looks at all deals ([`survey`]), chooses those that pay ([`plan`], pure), has the live bytes of
//! their segments copied into the `Gc` lane ([`gw_data::Data::compact`], one commit for each segment),
//! waits until the commits and what they point at are finalized, and has the upkeep delete the old deals;
//! then it looks again, until nothing pays. It begins when the room in the territory is low, when too
//! much of what is paid for is dead, or by hand. The first and the last are urgent: they may take the
//! reserve, and have the log cut for themselves instead of waiting for the next cut.
//!
//! Nothing is remembered: a crash leaves copies that no row names, or moved segments whose deal the
//! upkeep finds, and never a hole. A deal that cannot be moved (miners away, references missing) is
//! shown, and left for a while.

mod plan;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gw_data::rows;
use gw_data::{DataError, Live};
use gw_types::{Fid, Lsn, SegmentSeq, StreamId, TERRITORY_BYTES_PER_SEGMENT};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::DispersalError;
use crate::room::{self, Space};
use crate::shared::Shared;
use crate::state::{Compacted, CompactionPhase, Who};
use crate::upkeep::streams_of;
use crate::watermark::StreamMarks;
use plan::{Batch, Candidate, Terms};

/// How long a deal that could not be moved is left.
const AVOID: Duration = Duration::from_secs(1800);
/// How long a run waits until emptied deals are deleted; what is in the way is shown by the upkeep.
const COLLECTING: Duration = Duration::from_secs(600);
/// Attempts at the walk over all maps before a run gives way to writers.
const LOOKS: u32 = 10;

/// Why a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    ByHand,
    /// Bodies are refused.
    RoomFull,
    RoomLow,
    Dead,
}

impl Reason {
    fn is_urgent(self) -> bool {
        self != Self::Dead
    }

    /// Segments that a batch must gain. Each has the log cut, and what is open sealed with little in it.
    fn gain_min(self) -> u64 {
        match self {
            Self::ByHand | Self::RoomFull => 1,
            Self::RoomLow | Self::Dead => 4,
        }
    }

    fn terms(self, space: &Space, age_min: Duration) -> Terms {
        let (live_percent_max, age_min) = match self {
            Self::ByHand | Self::RoomFull | Self::RoomLow => (90, Duration::ZERO),
            // What may die in a while need not be moved now.
            Self::Dead => (75, age_min),
        };
        let new_segments_max = space.for_compaction(self.is_urgent());
        Terms { new_segments_max, live_percent_max, age_min, gain_min: self.gain_min() }
    }

    /// Whether so many dead segments are worth a cut of the log for them alone.
    fn reclaims(self, dead: u64) -> bool {
        match self {
            Self::ByHand => dead > 0,
            Self::RoomFull | Self::RoomLow => dead > self.gain_min(),
            Self::Dead => false,
        }
    }
}

/// Where runs are asked for by hand, and what they gave.
#[derive(Debug)]
pub(crate) struct Desk {
    asked: watch::Sender<u64>,
    done: watch::Sender<u64>,
    last: Mutex<Option<Result<Compacted, String>>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { asked: watch::Sender::new(0), done: watch::Sender::new(0), last: Mutex::default() }
    }
}

impl Desk {
    /// Asks for a run and waits for one that began after this.
    pub(crate) async fn ask(&self) -> Result<Compacted, DispersalError> {
        let mut done = self.done.subscribe();
        let mut ticket = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            ticket = *asked;
        });
        // The sender lives as long as this.
        let _ = done.wait_for(|done| *done >= ticket).await;
        let last = self.last.lock().clone();
        match last {
            Some(Ok(compacted)) => Ok(compacted),
            Some(Err(reason)) => Err(DispersalError::Held(reason)),
            None => Ok(Compacted::default()),
        }
    }

    fn answer(&self, ticket: u64, outcome: Result<Compacted, String>) {
        *self.last.lock() = Some(outcome);
        self.done.send_replace(ticket);
    }
}

/// Keeps the room and compacts, until told to stop.
pub(crate) async fn keep(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let compactor = Compactor { shared: Arc::clone(&shared), avoided: BTreeMap::new() };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = keep_room(&shared) => {}
        () = compactor.go() => {}
    }
}

async fn keep_room(shared: &Shared) {
    loop {
        if let Err(error) = room::refresh(shared).await {
            // The data path says so, too; what was known goes on holding.
            tracing::debug!(%error, "the room of the territory is not known");
        }
        shared.ports.clock.sleep(room::LOOK).await;
    }
}

struct Compactor {
    shared: Arc<Shared>,
    /// Deals that could not be moved, and until when they are left.
    avoided: BTreeMap<Fid, Duration>,
}

/// A run under way.
struct Run {
    reason: Reason,
    done: Compacted,
    homes: BTreeSet<SegmentSeq>,
}

impl Compactor {
    async fn go(mut self) {
        let mut asked = self.shared.desk.asked.subscribe();
        loop {
            let ticket = *asked.borrow_and_update();
            let is_asked = ticket > *self.shared.desk.done.borrow();
            let outcome = self.maybe_run(is_asked).await;
            self.phase(CompactionPhase::Idle);
            match &outcome {
                Ok(_) => self.shared.board.goes_on(Who::Compactor),
                Err(error) => self.shared.board.waits(Who::Compactor, format!("compaction: {error}")),
            }
            if is_asked {
                let outcome = outcome.map_err(|error| error.to_string());
                self.shared.desk.answer(ticket, outcome.map(Option::unwrap_or_default));
            }
            tokio::select! {
                _ = asked.changed() => {}
                () = self.shared.ports.clock.sleep(self.shared.config.upkeep) => {}
            }
        }
    }

    async fn maybe_run(&mut self, is_asked: bool) -> Result<Option<Compacted>, DispersalError> {
        let now = self.shared.ports.clock.elapsed();
        self.avoided.retain(|_, until| *until > now);
        let survey = self.survey().await?;
        let Some(space) = room::look(&self.shared).await? else {
            return if is_asked {
                Err(DispersalError::Held("there is no active territory to compact".to_owned()))
            } else {
                Ok(None)
            };
        };
        let config = &self.shared.config;
        let paid = survey.dead_bytes() + survey.live_bytes;
        let is_dead = survey.dead_bytes() * 100 > paid * u64::from(config.compact_dead_percent.min(100));
        let reason = match () {
            () if is_asked => Reason::ByHand,
            () if space.is_low(config) && space.is_full() => Reason::RoomFull,
            () if space.is_low(config) => Reason::RoomLow,
            () if is_dead => Reason::Dead,
            () => return Ok(None),
        };
        let run = Run { reason, done: Compacted::default(), homes: BTreeSet::new() };
        self.run(run, survey, space).await.map(Some)
    }

    async fn survey(&self) -> Result<survey::Survey, DispersalError> {
        let survey = survey::survey(&self.shared).await?;
        self.shared.board.note(|status| {
            let shown = &mut status.compaction;
            shown.segments = survey.segments;
            shown.live_bytes = survey.live_bytes;
            shown.dead_bytes = survey.dead_bytes();
            shown.log_segments = survey.log_segments;
        });
        Ok(survey)
    }

    async fn run(
        &mut self,
        mut run: Run,
        mut survey: survey::Survey,
        mut space: Space,
    ) -> Result<Compacted, DispersalError> {
        loop {
            let seen = self.shared.ports.db.appended();
            survey.candidates.retain(|deal| !self.avoided.contains_key(&deal.fid));
            let terms = run.reason.terms(&space, self.shared.config.compact_age);
            let dead = std::mem::take(&mut survey.dead);
            if let Some(batch) = plan::choose(&survey.candidates, &terms) {
                tracing::info!(
                    deals = batch.deals.len(),
                    frees = batch.freed_segments,
                    takes = batch.new_segments,
                    reason = ?run.reason,
                    "compacting"
                );
                // What is dead already goes with the same cut of the log.
                self.note_empty(&dead, seen);
                self.batch(&mut run, batch, dead).await?;
            } else if run.reason.reclaims(dead.values().sum()) {
                self.note_empty(&dead, seen);
                self.reclaim(&mut run, &dead, seen).await?;
            } else {
                break;
            }
            survey = self.survey().await?;
            let Some(found) = room::refresh(&self.shared).await? else { break };
            space = found;
        }
        Ok(run.done)
    }

    /// Nothing needs these deals any more, from a commit at or before `lsn` on.
    fn note_empty(&self, dead: &BTreeMap<Fid, u64>, lsn: Lsn) {
        let mut emptied = self.shared.emptied.lock();
        for fid in dead.keys() {
            emptied.entry(*fid).or_insert(lsn);
        }
    }

    /// Moves a batch, and sees its deals off together with those that are dead already.
    async fn batch(
        &mut self,
        run: &mut Run,
        batch: Batch,
        dead: BTreeMap<Fid, u64>,
    ) -> Result<(), DispersalError> {
        self.phase(CompactionPhase::Looking);
        let victims: Vec<SegmentSeq> =
            batch.deals.iter().flat_map(|deal| deal.victims.iter().copied()).collect();
        self.hand(batch.deals.len(), victims.len());
        let live = self.look(&victims).await?;
        self.phase(CompactionPhase::Moving);
        let mut emptied = dead;
        let mut last = self.shared.ports.db.appended();
        for deal in &batch.deals {
            match self.empty(run, deal, &live).await {
                Ok(lsn) => {
                    last = last.max(lsn);
                    self.shared.emptied.lock().insert(deal.fid, lsn);
                    emptied.insert(deal.fid, deal.segments);
                }
                // This disk is at an end, not the deal.
                Err(error @ (DataError::DiskFull(_) | DataError::Poisoned(_) | DataError::Db(_))) => {
                    return Err(error.into());
                }
                Err(error) => self.avoid(run, deal, &error.to_string()),
            }
        }
        self.reclaim(run, &emptied, last).await
    }

    /// What is alive. Writers come first: when they need the memory it is tried again.
    async fn look(&self, victims: &[SegmentSeq]) -> Result<Live, DispersalError> {
        let mut pause = self.shared.config.retry;
        for _ in 1..LOOKS {
            match self.shared.ports.data.live(victims, &*self.shared.ports.maps).await {
                Err(DataError::Busy(_)) => {}
                other => return Ok(other?),
            }
            self.shared.ports.clock.sleep(pause).await;
            pause = (pause * 2).min(self.shared.config.retry_max);
        }
        Ok(self.shared.ports.data.live(victims, &*self.shared.ports.maps).await?)
    }

    /// Moves all that is alive out of a deal. Returns the commit from which on nothing needs it.
    async fn empty(&self, run: &mut Run, deal: &Candidate, live: &Live) -> Result<Lsn, DataError> {
        let mut last = Lsn(0);
        for seq in &deal.victims {
            let runs =
                live.of(*seq).map_err(|reason| DataError::Refused(format!("segment {seq}: {reason}")))?;
            let moved = self.shared.ports.data.compact(*seq, runs).await?;
            run.done.moved_bytes += moved.moved_bytes;
            run.homes.extend(&moved.homes);
            last = last.max(moved.lsn);
            self.shared.board.note(|status| {
                status.compaction.segments_left = status.compaction.segments_left.saturating_sub(1);
                status.compaction.done.moved_bytes += moved.moved_bytes;
            });
        }
        Ok(last)
    }

    fn avoid(&mut self, run: &mut Run, deal: &Candidate, reason: &str) {
        tracing::warn!(fid = %deal.fid, %reason, "a deal cannot be compacted now");
        self.avoided.insert(deal.fid, self.shared.ports.clock.elapsed() + AVOID);
        run.done.hindrance = Some(format!("deal {}: {reason}", deal.fid));
    }

    /// Waits until everything up to `lsn` is finalized and these deals are deleted.
    async fn reclaim(
        &self,
        run: &mut Run,
        deals: &BTreeMap<Fid, u64>,
        lsn: Lsn,
    ) -> Result<(), DispersalError> {
        if deals.is_empty() {
            return Ok(());
        }
        self.phase(CompactionPhase::Dispersing);
        let mut streams = BTreeSet::new();
        for fid in deals.keys() {
            streams.extend(streams_of(&self.shared, *fid)?);
        }
        self.finalized(run.reason, &streams, lsn).await?;
        self.phase(CompactionPhase::Collecting);
        let mut left: Vec<Fid> = deals.keys().copied().collect();
        let deadline = self.shared.ports.clock.elapsed() + COLLECTING;
        loop {
            let snapshot = self.shared.ports.db.snapshot();
            let mut held = Vec::new();
            for fid in left {
                if rows::deal(&snapshot, fid)?.is_some() {
                    held.push(fid);
                }
            }
            drop(snapshot);
            left = held;
            if left.is_empty() {
                break;
            }
            if self.shared.ports.clock.elapsed() >= deadline {
                let reason = format!("{} deals that nobody needs are not deleted yet", left.len());
                return Err(DispersalError::Held(reason));
            }
            self.shared.want_upkeep();
            self.shared.ports.clock.sleep(self.shared.config.poll).await;
        }
        let bytes = |segments: u64| segments.saturating_mul(TERRITORY_BYTES_PER_SEGMENT);
        let taken = bytes(std::mem::take(&mut run.homes).len() as u64);
        let freed = bytes(deals.values().sum());
        run.done.deals += deals.len() as u64;
        run.done.freed_bytes += freed;
        run.done.taken_bytes += taken;
        tracing::info!(deals = deals.len(), freed_bytes = freed, taken_bytes = taken, "space came back");
        self.shared.board.note(|status| {
            let done = &mut status.compaction.done;
            done.deals += deals.len() as u64;
            done.freed_bytes += freed;
            done.taken_bytes += taken;
        });
        Ok(())
    }

    /// Waits for the watermarks; has the log cut for them when that is urgent, also when it becomes so.
    async fn finalized(
        &self,
        reason: Reason,
        streams: &BTreeSet<StreamId>,
        lsn: Lsn,
    ) -> Result<(), DispersalError> {
        let mut marks = self.shared.board.marks();
        let mut asked = self.shared.desk.asked.subscribe();
        let mut is_urgent = reason.is_urgent();
        loop {
            if is_urgent {
                streams.iter().for_each(|stream| self.shared.board.want(Some(*stream), lsn));
            }
            let is_passed = |marks: &StreamMarks| marks.of_all(streams.iter().copied()).finalized >= lsn;
            let reached = async { marks.wait_for(is_passed).await.is_ok() };
            tokio::select! {
                biased;
                _ = reached => return Ok(()),
                _ = asked.changed() => {
                    is_urgent = true;
                    continue;
                }
                () = self.shared.ports.clock.sleep(self.shared.config.upkeep) => {}
            }
            let space = room::look(&self.shared).await.ok().flatten();
            is_urgent |= space.is_some_and(|space| space.is_low(&self.shared.config));
        }
    }

    fn phase(&self, phase: CompactionPhase) {
        self.shared.board.note(|status| {
            status.compaction.phase = phase;
            if phase == CompactionPhase::Idle {
                (status.compaction.victims, status.compaction.segments_left) = (0, 0);
            }
        });
    }

    fn hand(&self, deals: usize, segments: usize) {
        self.shared.board.note(|status| {
            status.compaction.victims = deals as u64;
            status.compaction.segments_left = segments as u64;
        });
    }
}
