//! The conductor: seals segments, cuts the log, groups sealed segments into deals and has them
//! carried.
//!
//! One task. A round: seal what is due; stripe what is sealed; cut the log when somebody waits or it
//! is old; let go of segments that died before they were dispersed; give striped segments to
//! carriers. With a waiter, a round covers everything committed up to the moment after `linger`, so
//! waiters share one cut. Rounds wait for nothing on the network but the question for miners and
//! space before a new deal; carriers and upkeep are tasks of their own. What fails is shown, and
//! tried again after a pause that grows; a round never ends the conductor, and a carrier that ends
//! with an error or a panic is begun again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use gw_data::rows::{self, DealState, LaneClass, SegmentState};
use gw_types::ports::ChainEvent;
use gw_types::{Fid, Level, Lsn, SEGMENT_BYTES, SegmentSeq};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use crate::carry::{Carried, Carrier};
use crate::config::{DispersalConfig, DispersalPorts};
use crate::cutter;
use crate::error::DispersalError;
use crate::packer::{self, Free, Intent, Queue};
use crate::rows as own;
use crate::rows::{CutRow, LOCAL};
use crate::shared::Shared;
use crate::state::{Board, Wanted, Who};
use crate::upkeep::Upkeep;
use crate::watermark::{Cut, Marks, Watermarks};

/// A round without a reason.
const PULSE: Duration = Duration::from_secs(1);
/// Rows read at a time.
const ROWS_MAX: usize = 1000;
/// Deals of one stream carried at once, and of the log.
const CARRIERS_OF_ONE_MAX: usize = 4;
/// Deals carried at once; those of the log may come on top.
const CARRIERS_MAX: usize = 16;
/// Segments sealed at once.
const SEALS_AT_ONCE: usize = 8;
/// Segments striped at once; each is 32 MiB in memory.
const STRIPES_AT_ONCE: usize = 2;

/// How a carrier's task ended.
type Ended = Result<(Id, Result<Carried, DispersalError>), JoinError>;

pub(crate) struct Conductor {
    shared: Arc<Shared>,
    carriers: JoinSet<Result<Carried, DispersalError>>,
    carried: HashMap<Id, (Fid, Queue, Vec<SegmentSeq>)>,
    /// Deals whose carrier stopped: when they are taken up again, and how often they stopped.
    stopped: BTreeMap<Fid, (Duration, u32)>,
    /// Sealed segments in no deal.
    free: BTreeSet<SegmentSeq>,
    /// Those of them that died, and a commit at or behind the one that dropped the last reference.
    dead: BTreeMap<SegmentSeq, Lsn>,
    /// Everything up to here must be finalized, because it is old.
    aged: Lsn,
    last_cut: Duration,
    /// Since when somebody waits for a cut.
    due_since: Option<Duration>,
    /// No new deal of these before this moment, and how long the pause was.
    pack_after: BTreeMap<Queue, (Duration, Duration)>,
    round_pause: Duration,
    upkeep: JoinSet<Upkeep>,
    /// `None` while it works.
    idle_upkeep: Option<Upkeep>,
    upkeep_at: Duration,
    staging_bytes_max: u64,
}

impl Conductor {
    /// Reads where an earlier run stood. Carriers of its deals begin with [`Conductor::run`].
    pub(crate) fn resume(
        ports: DispersalPorts,
        config: DispersalConfig,
    ) -> Result<(Self, Arc<Shared>), DispersalError> {
        let row = own::marks(&ports.db.snapshot())?;
        ports.db.hold_records_after(row.cut_to);
        let marks = Watermarks::resume(Marks { dispersed: row.dispersed, finalized: row.finalized });
        let board = Arc::new(Board::new(marks.marks().clone()));
        let now = ports.clock.elapsed();
        let staging_bytes_max = ports.data.status()?.staging_bytes_max;
        let shared = Arc::new(Shared::new(ports, config, board, marks));
        let mut conductor = Self {
            carriers: JoinSet::new(),
            carried: HashMap::new(),
            stopped: BTreeMap::new(),
            free: BTreeSet::new(),
            dead: BTreeMap::new(),
            aged: Lsn(0),
            last_cut: now,
            due_since: None,
            pack_after: BTreeMap::new(),
            round_pause: Duration::ZERO,
            upkeep: JoinSet::new(),
            idle_upkeep: Some(Upkeep::default()),
            upkeep_at: now,
            staging_bytes_max,
            shared: Arc::clone(&shared),
        };
        conductor.resume_cuts()?;
        conductor.resume_segments()?;
        conductor.resume_deals()?;
        Ok((conductor, shared))
    }

    fn resume_cuts(&mut self) -> Result<(), DispersalError> {
        let finalized = self.shared.board.floor().finalized;
        for (last, cut) in own::cuts(&self.shared.ports.db.snapshot())? {
            if last > finalized {
                self.shared.push(Cut { last, needs: cut.needs })?;
            }
        }
        // All of it is staged, and some of it was shown before.
        self.shared.board.raise(self.shared.marks.lock().marks());
        Ok(())
    }

    /// Finds sealed segments without a deal, and log segments that no cut remembers.
    fn resume_segments(&mut self) -> Result<(), DispersalError> {
        let mut from = SegmentSeq(0);
        loop {
            let page = rows::segments(&self.shared.ports.db.snapshot(), from, ROWS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = last.next();
            for (seq, row) in page {
                let is_free = matches!(row.state, SegmentState::Sealed | SegmentState::Dispersed);
                if !is_free || row.deal.is_some() {
                    continue;
                }
                if row.class == LaneClass::Log && !self.shared.marks.lock().needs(seq) {
                    cutter::drop_orphan(&self.shared, seq)?;
                } else {
                    self.free.insert(seq);
                }
            }
        }
    }

    fn resume_deals(&mut self) -> Result<(), DispersalError> {
        let now = self.shared.ports.clock.elapsed();
        let mut after = None;
        loop {
            let page = rows::deals(&self.shared.ports.db.snapshot(), after, ROWS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            let open = page.into_iter().filter(|(_, row)| row.state != DealState::Active);
            self.stopped.extend(open.map(|(fid, _)| (fid, (now, 0))));
        }
    }

    /// Until told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let clock = Arc::clone(&self.shared.ports.clock);
        let mut wanted = self.shared.board.wanted();
        let mut heard = self.quiet(Duration::ZERO);
        loop {
            wanted.mark_unchanged();
            let outcome = tokio::select! {
                () = stopped(&mut stop) => return,
                outcome = self.round() => outcome,
            };
            let pause = self.judge(outcome);
            tokio::select! {
                () = stopped(&mut stop) => return,
                // A waiter is worth another attempt at what failed.
                Ok(()) = wanted.changed() => self.pack_after.values_mut().for_each(|(after, _)| *after = clock.elapsed()),
                () = self.shared.again.notified() => {}
                Some(ended) = self.carriers.join_next_with_id() => self.ended(ended),
                Some(ended) = self.upkeep.join_next() => self.kept(ended),
                told = heard.next() => heard = self.hear(told, heard).await,
                () = clock.sleep(pause) => {}
            }
        }
    }

    /// How long to rest after a round.
    fn judge(&mut self, outcome: Result<(), DispersalError>) -> Duration {
        match outcome {
            Ok(()) => {
                self.shared.board.goes_on(Who::Log);
                self.round_pause = Duration::ZERO;
                let now = self.shared.ports.clock.elapsed();
                let linger =
                    self.due_since.map(|since| (since + self.shared.config.linger).saturating_sub(now));
                linger.filter(|linger| !linger.is_zero()).map_or(PULSE, |linger| linger.min(PULSE))
            }
            Err(error) => {
                self.shared.board.waits(Who::Log, error.to_string());
                let config = &self.shared.config;
                self.round_pause = (self.round_pause * 2).clamp(config.retry, config.retry_max);
                self.round_pause
            }
        }
    }

    async fn hear(
        &self,
        told: Option<ChainEvent>,
        heard: BoxStream<'static, ChainEvent>,
    ) -> BoxStream<'static, ChainEvent> {
        match told {
            Some(ChainEvent::Repaired { fragment }) => {
                self.shared.note_repair(fragment);
                heard
            }
            Some(_) => heard,
            None => match self.shared.ports.chain.events().await {
                // Behind it comes a rest, so that a stream that ends at once keeps nobody busy.
                Ok(events) => events.chain(self.quiet(self.shared.config.poll)).boxed(),
                Err(_) => self.quiet(self.shared.config.poll),
            },
        }
    }

    /// A stream that brings nothing and ends after a while.
    fn quiet(&self, pause: Duration) -> BoxStream<'static, ChainEvent> {
        let clock = Arc::clone(&self.shared.ports.clock);
        futures::stream::once(async move { clock.sleep(pause).await }).filter_map(|()| async { None }).boxed()
    }

    fn ended(&mut self, ended: Ended) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((fid, queue, segments)) = self.carried.remove(&id) else { return };
        let reason = match ended {
            Ok((_, Ok(Carried::Active))) => {
                tracing::info!(%fid, segments = segments.len(), "a deal is active");
                self.stopped.remove(&fid);
                self.pack_after.remove(&queue);
                self.shared.board.goes_on(Who::Chain(queue));
                return;
            }
            Ok((_, Ok(Carried::Withdrawn(reason)))) => {
                tracing::warn!(%fid, %reason, "a deal was not declared; its segments wait for another");
                self.stopped.remove(&fid);
                self.free.extend(segments);
                self.shared.board.waits(Who::Chain(queue), format!("a deal was not declared: {reason}"));
                self.pause_packing(queue);
                return;
            }
            Ok((_, Err(error))) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(%fid, %reason, "a deal stopped; it is taken up again");
        self.shared.board.waits(Who::Stopped(fid), format!("a deal stopped and is taken up again: {reason}"));
        let now = self.shared.ports.clock.elapsed();
        let (due, times) = self.stopped.entry(fid).or_insert((now, 0));
        let pause = self.shared.config.retry.saturating_mul(1 << (*times).min(16));
        *due = now + pause.min(self.shared.config.retry_max);
        *times += 1;
    }

    fn kept(&mut self, ended: Result<Upkeep, JoinError>) {
        // After a panic it begins without what it remembered, all of which it finds again.
        self.idle_upkeep = Some(ended.unwrap_or_else(|error| {
            tracing::error!(%error, "the upkeep ended badly");
            Upkeep::default()
        }));
        self.upkeep_at = self.shared.ports.clock.elapsed() + self.shared.config.upkeep;
    }

    async fn round(&mut self) -> Result<(), DispersalError> {
        self.shared.publish().await?;
        self.take_up_stopped()?;
        self.begin_upkeep();
        let now = self.shared.ports.clock.elapsed();
        let wanted = self.wanted();
        self.due_since = if self.is_due(&wanted) { self.due_since.or(Some(now)) } else { None };
        let is_forced = self.due_since.is_some_and(|since| now >= since + self.shared.config.linger);
        let is_old = now.saturating_sub(self.last_cut) >= self.shared.config.seal_age;

        let target = self.shared.ports.db.appended();
        self.shared.ports.db.wait_staged(target).await?;
        let sealed = self.seal(if is_forced { Duration::ZERO } else { self.shared.config.seal_age }).await;
        self.find_dead()?;
        self.stripe().await?;
        if is_forced || is_old {
            let outcome = cutter::cut(&self.shared, target).await?;
            self.free.extend(outcome.segments);
            self.last_cut = now;
            if is_old {
                self.aged = target;
            }
            self.shared.publish().await?;
        } else if self.shared.is_mark_wanted.swap(false, Ordering::AcqRel) {
            cutter::pass_local(&self.shared, target).await?;
            self.shared.publish().await?;
        }
        self.excuse_dead().await?;
        self.pack().await?;
        sealed
    }

    /// Everything up to here should be finalized: of every stream, and of some.
    fn wanted(&self) -> Wanted {
        let mut wanted = self.shared.board.wanted().borrow().clone();
        wanted.all = wanted.all.max(self.aged);
        wanted
    }

    /// Whether somebody waits for the log to be cut: for his own commit, or for the one that dropped
    /// the last reference to a segment that his own needs.
    fn is_due(&self, wanted: &Wanted) -> bool {
        let marks = self.shared.marks.lock();
        let cut_to = marks.cut_to();
        let waits_for_drop = || {
            !missing(&marks, wanted).is_empty()
                && self.dead.iter().any(|(seq, dead_at)| *dead_at > cut_to && marks.needs(*seq))
        };
        wanted.highest() > cut_to || waits_for_drop()
    }

    /// Seals what is full or older than `age`. A segment that cannot be sealed now is shown and tried
    /// again; it stops no other.
    async fn seal(&mut self, age: Duration) -> Result<(), DispersalError> {
        let due = self.shared.ports.data.sealable(age)?;
        let data = &self.shared.ports.data;
        let seals = due.into_iter().map(|seq| async move { (seq, data.seal(seq).await) });
        let results: Vec<_> = futures::stream::iter(seals).buffer_unordered(SEALS_AT_ONCE).collect().await;
        let mut outcome = Ok(());
        for (seq, sealed) in results {
            match sealed {
                Ok(is_sealed) => self.free.extend(is_sealed.then_some(seq)),
                Err(error) => outcome = Err(error.into()),
            }
        }
        outcome
    }

    /// Hashes every sealed segment that has no hashes yet.
    async fn stripe(&self) -> Result<(), DispersalError> {
        let snapshot = self.shared.ports.db.snapshot();
        let mut bare = Vec::new();
        for seq in self.free.iter().filter(|seq| !self.dead.contains_key(seq)) {
            if rows::segment(&snapshot, *seq)?.is_some_and(|row| row.stripe.is_none()) {
                bare.push(*seq);
            }
        }
        drop(snapshot);
        let stripes = bare.into_iter().map(|seq| cutter::stripe(&self.shared, seq));
        let results: Vec<_> =
            futures::stream::iter(stripes).buffer_unordered(STRIPES_AT_ONCE).collect().await;
        results.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    /// Notes which free segments have died.
    fn find_dead(&mut self) -> Result<(), DispersalError> {
        let snapshot = self.shared.ports.db.snapshot();
        let mut gone = Vec::new();
        for seq in &self.free {
            match rows::segment(&snapshot, *seq)? {
                None => gone.push(*seq),
                Some(row) if cutter::is_dead(&row) => {
                    self.dead.entry(*seq).or_insert(snapshot.lsn());
                }
                Some(_) => {}
            }
        }
        for seq in gone {
            self.free.remove(&seq);
            self.dead.remove(&seq);
        }
        Ok(())
    }

    /// Lets go of dead segments that were never dispersed, once the record that dropped the last
    /// reference to each is cut.
    async fn excuse_dead(&mut self) -> Result<(), DispersalError> {
        let dead: Vec<(SegmentSeq, Lsn)> = self.dead.iter().map(|(seq, lsn)| (*seq, *lsn)).collect();
        let mut is_moved = false;
        for (seq, dead_at) in dead {
            let Some(excuse) = self.shared.marks.lock().excuse(seq, dead_at) else { continue };
            let committed = self.shared.ports.db.transact(|txn| {
                txn.stream(LOCAL);
                excuse.gone.iter().for_each(|last| own::delete_cut(txn, *last));
                if let Some(cut) = &excuse.merged {
                    own::put_cut(txn, cut.last, &CutRow { needs: cut.needs.clone() });
                }
                Ok::<_, DispersalError>(())
            })?;
            // Before its row goes: a cut that needs a segment without a row counts it as safe.
            self.shared.ports.db.wait_staged(committed.lsn).await?;
            self.shared.marks.lock().apply(excuse);
            self.shared.ports.data.discard(seq)?;
            self.free.remove(&seq);
            self.dead.remove(&seq);
            is_moved = true;
        }
        if is_moved { self.shared.publish().await } else { Ok(()) }
    }

    /// Gives striped segments to carriers. What stands in the way of new deals of one stream stops
    /// nothing else.
    async fn pack(&mut self) -> Result<(), DispersalError> {
        loop {
            let now = self.shared.ports.clock.elapsed();
            let needed = missing(&self.shared.marks.lock(), &self.wanted());
            let mut free = self.packable()?;
            for queue in
                self.pack_after.keys().filter(|queue| free.iter().all(|free| free.queue() != **queue))
            {
                self.shared.board.goes_on(Who::Packer(*queue));
            }
            let is_tight = free.len() as u64 * SEGMENT_BYTES >= self.staging_bytes_max / 2;
            let may_go = |queue: Queue| {
                let pause = self.pack_after.get(&queue);
                pause.is_none_or(|(after, _)| now >= *after) && self.has_carrier(queue)
            };
            free.retain(|free| may_go(free.queue()));
            let Some(chosen) = packer::choose(free, &needed, is_tight, &self.shared.config) else {
                return Ok(());
            };
            let packer::Chosen { queue, segments } = chosen;
            match packer::intend(&self.shared, &segments).await {
                Ok(intent) => {
                    self.shared.board.goes_on(Who::Packer(queue));
                    self.free.retain(|seq| !segments.contains(seq));
                    self.begin(intent)?;
                }
                Err(error) => {
                    self.shared.board.waits(Who::Packer(queue), error.to_string());
                    self.pause_packing(queue);
                }
            }
        }
    }

    /// Whether a deal may begin: each stream has carriers of its own, so that one whose deals do not
    /// come to an end leaves some to the others.
    fn has_carrier(&self, queue: Queue) -> bool {
        let own = self.carried.values().filter(|(_, carried, _)| *carried == queue).count();
        own < CARRIERS_OF_ONE_MAX && (queue == Queue::Log || self.carried.len() < CARRIERS_MAX)
    }

    fn packable(&self) -> Result<Vec<Free>, DispersalError> {
        let snapshot = self.shared.ports.db.snapshot();
        let mut free = Vec::new();
        for seq in self.free.iter().filter(|seq| !self.dead.contains_key(seq)) {
            let row = rows::segment(&snapshot, *seq)?;
            let striped = row.filter(|row| row.stripe.is_some());
            free.extend(striped.map(|row| Free { seq: *seq, class: row.class, stream: row.stream }));
        }
        Ok(free)
    }

    /// No new deal of these for a while; longer each time until one becomes Active.
    fn pause_packing(&mut self, queue: Queue) {
        let config = &self.shared.config;
        let now = self.shared.ports.clock.elapsed();
        let (after, pause) = self.pack_after.entry(queue).or_default();
        *pause = (*pause * 2).clamp(config.retry, config.retry_max);
        *after = now + *pause;
    }

    fn take_up_stopped(&mut self) -> Result<(), DispersalError> {
        let now = self.shared.ports.clock.elapsed();
        let due: Vec<Fid> =
            self.stopped.iter().filter(|(_, (due, _))| *due <= now).map(|(fid, _)| *fid).collect();
        for fid in due {
            if self.carried.values().any(|(carried, ..)| *carried == fid) {
                continue;
            }
            match packer::resume(&self.shared, fid)? {
                Some(intent) => self.begin(intent)?,
                None => {
                    // The last carrier failed behind its last commit.
                    self.stopped.remove(&fid);
                    self.shared.board.forget(fid);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, intent: Intent) -> Result<(), DispersalError> {
        let Intent { fid, row, declared, queue } = intent;
        let segments = row.segments.clone();
        let carrier = Carrier::new(Arc::clone(&self.shared), (fid, row), declared)?;
        self.shared.board.goes_on(Who::Stopped(fid));
        let handle = self.carriers.spawn(carrier.carry());
        self.carried.insert(handle.id(), (fid, queue, segments));
        Ok(())
    }

    fn begin_upkeep(&mut self) {
        if self.idle_upkeep.is_none() {
            return;
        }
        let is_wanted = self.shared.is_upkeep_wanted.swap(false, Ordering::AcqRel);
        if !is_wanted && self.shared.ports.clock.elapsed() < self.upkeep_at {
            return;
        }
        if let Some(upkeep) = self.idle_upkeep.take() {
            self.upkeep.spawn(upkeep.work(Arc::clone(&self.shared)));
        }
    }
}

/// What keeps the streams from where they are wanted.
fn missing(marks: &Watermarks, wanted: &Wanted) -> BTreeSet<SegmentSeq> {
    let floor = marks.marks().floor.finalized;
    let mut missing = BTreeSet::new();
    if wanted.all > floor {
        missing = marks.missing(Level::Finalized, None, wanted.all);
    }
    for (stream, lsn) in &wanted.streams {
        if *lsn > marks.marks().of(*stream).finalized {
            missing.extend(marks.missing(Level::Finalized, Some(*stream), *lsn));
        }
    }
    missing
}

/// Until told to stop, or nobody can tell any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
