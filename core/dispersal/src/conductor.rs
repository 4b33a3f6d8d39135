//! The conductor: seals segments, cuts the log, groups sealed segments into deals and has them
//! carried, and raises the watermarks.
//!
//! One task. A round: seal what is due; stripe what is sealed; cut the log when somebody waits or
//! it is old; give striped segments to a carrier. With a waiter, a round covers everything
//! committed up to the moment after `linger`, so waiters share one cut. Rounds wait for nothing on
//! the network: carriers are tasks of their own and report back by [`Conductor::reached`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gw_codec::fid::FidRule;
use gw_data::rows::{self, DealRow, DealState, LaneClass, SegmentRow, SegmentState};
use gw_types::ports::DeclaredSegment;
use gw_types::{Fid, Hash32, Level, Lsn, SegmentSeq, StreamId, TERRITORY_BYTES_PER_SEGMENT};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::carry::{Carried, Carrier, Reached, healthy_miners};
use crate::config::{DispersalConfig, DispersalPorts};
use crate::error::DispersalError;
use crate::log::{self, LogRecord, Part};
use crate::name::DealName;
use crate::pick;
use crate::rows as own;
use crate::rows::{CutRow, LOCAL};
use crate::state::{Board, Marks};
use crate::watermark::{Cut, Watermarks};

/// A round without a reason.
const PULSE: Duration = Duration::from_secs(1);
/// Records read from the journal at a time.
const RECORD_BYTES_MAX: usize = 8 << 20;
/// Segment rows read at a time.
const ROWS_MAX: usize = 1000;
/// Deals carried at once; each holds a segment and some fragments in memory.
const CARRIERS_MAX: usize = 2;

pub(crate) struct Conductor {
    ports: DispersalPorts,
    config: DispersalConfig,
    board: Arc<Board>,
    marks: Arc<Mutex<Watermarks>>,
    again: Arc<Notify>,
    carriers: JoinSet<(Fid, Result<Carried, DispersalError>)>,
    last_cut: Duration,
    pause: Duration,
}

impl Conductor {
    /// Reads where an earlier run stood. Carriers of its deals begin with [`Conductor::run`].
    pub(crate) fn resume(ports: DispersalPorts, config: DispersalConfig) -> Result<(Self, Arc<Board>), DispersalError> {
        let snapshot = ports.db.snapshot();
        let row = own::marks(&snapshot)?;
        let mut marks = Watermarks::resume(row.dispersed, row.finalized);
        for (last, cut) in own::cuts(&snapshot)? {
            if last > row.finalized {
                let known = levels(&ports, &cut.needs)?;
                marks.push(Cut { last, needs: cut.needs }, &known);
            }
        }
        ports.db.hold_records_after(row.cut_to);
        let shown = Marks { dispersed: marks.at(Level::Dispersed), finalized: marks.at(Level::Finalized) };
        let board = Arc::new(Board::new(shown));
        let last_cut = ports.clock.elapsed();
        let conductor = Self {
            pause: config.retry,
            ports,
            config,
            board: Arc::clone(&board),
            marks: Arc::new(Mutex::new(marks)),
            again: Arc::new(Notify::new()),
            carriers: JoinSet::new(),
            last_cut,
        };
        Ok((conductor, board))
    }

    /// Until told to stop. Errors of a round are shown and the round is tried again.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut wanted = self.board.wanted();
        if let Err(error) = self.resume_deals() {
            self.board.waiting_for(Some(format!("reading open deals: {error}")));
        }
        loop {
            let due = *wanted.borrow_and_update() > own_cut(&self.marks);
            if due {
                self.ports.clock.sleep(self.config.linger).await;
            }
            let outcome = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                outcome = self.round(due) => outcome,
            };
            let pause = match outcome {
                Ok(()) => {
                    self.pause = self.config.retry;
                    PULSE
                }
                Err(error) => {
                    self.board.waiting_for(Some(error.to_string()));
                    self.pause = (self.pause * 2).min(self.config.retry_max);
                    self.pause
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                Ok(()) = wanted.changed() => {}
                () = self.again.notified() => {}
                Some(ended) = self.carriers.join_next() => self.ended(ended),
                () = self.ports.clock.sleep(pause) => {}
            }
        }
    }

    fn ended(&mut self, ended: Result<(Fid, Result<Carried, DispersalError>), tokio::task::JoinError>) {
        match ended {
            Ok((fid, Ok(Carried::Active))) => tracing::info!(%fid, "a deal is active"),
            Ok((fid, Ok(Carried::Refused))) => tracing::warn!(%fid, "the chain refused a deal; its segments wait for another"),
            Ok((fid, Err(error))) => {
                self.board.waiting_for(Some(format!("a deal stopped: {error}")));
                tracing::error!(%fid, %error, "a deal stopped; it is resumed");
                if let Err(error) = self.resume_deals() {
                    tracing::error!(%error, "resuming deals");
                }
            }
            Err(error) => tracing::error!(%error, "a carrier ended badly; its deal is resumed at the next start"),
        }
    }

    async fn round(&mut self, forced: bool) -> Result<(), DispersalError> {
        let target = self.ports.db.appended();
        self.ports.db.wait_staged(target).await?;
        let age = if forced { Duration::ZERO } else { self.config.seal_age };
        for seq in self.ports.data.sealable(age)? {
            self.ports.data.seal(seq).await?;
        }
        self.stripe().await?;
        let old = self.ports.clock.elapsed().saturating_sub(self.last_cut) >= self.config.seal_age;
        if forced || old {
            self.cut(target).await?;
            self.last_cut = self.ports.clock.elapsed();
        }
        self.group(forced || old).await
    }

    /// Hashes every sealed segment that has no hashes yet.
    async fn stripe(&self) -> Result<(), DispersalError> {
        for (seq, row) in self.segments(|row| row.state == SegmentState::Sealed && row.stripe.is_none())? {
            if row.live_bytes == 0 {
                continue;
            }
            self.stripe_one(seq).await?;
        }
        Ok(())
    }

    async fn stripe_one(&self, seq: SegmentSeq) -> Result<Hash32, DispersalError> {
        let bytes = self.ports.data.segment_bytes(seq).await?;
        let hashes = self.ports.striper.hash(bytes).await?;
        let hash = hashes.segment;
        let committed = self.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            let mut row = rows::segment(txn, seq)?
                .ok_or_else(|| DispersalError::Log(format!("segment {seq} has no row")))?;
            row.stripe = Some(hashes.into());
            rows::put_segment(txn, seq, &row)?;
            Ok::<_, DispersalError>(())
        })?;
        self.ports.db.wait_staged(committed.lsn).await?;
        Ok(hash)
    }

    /// Puts every record up to `target` that travels into log segments.
    async fn cut(&self, target: Lsn) -> Result<(), DispersalError> {
        let mut marks = own::marks(&self.ports.db.snapshot())?;
        if target <= marks.cut_to {
            return Ok(());
        }
        let records = self.travelling(marks.cut_to, target).await?;
        let mut needs: BTreeSet<SegmentSeq> = records.iter().flat_map(|record| record.names.iter().copied()).collect();
        if !records.is_empty() {
            let mut segments = self.hashes(&needs)?;
            let runs = log::split(records);
            let count = runs.len();
            for (at, records) in runs.into_iter().enumerate() {
                let ends_cut = at + 1 == count;
                let part = Part {
                    number: marks.next_part,
                    prev: marks.prev,
                    last_of_cut: target,
                    ends_cut,
                    epoch: self.ports.db.epoch(),
                    segments: if ends_cut { std::mem::take(&mut segments) } else { Vec::new() },
                    records,
                };
                let sealed = self.ports.keys.seal_record(log::PURPOSE, &part.encode()).await?;
                let bytes = log::frame(&sealed);
                let seq = self.ports.data.write_whole(LaneClass::Log, StreamId(0), bytes.into()).await?;
                marks.prev = self.stripe_one(seq).await?;
                marks.next_part += 1;
                needs.insert(seq);
            }
        }
        marks.cut_to = target;
        let known = levels(&self.ports, &needs)?;
        let committed = self.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            own::put_cut(txn, target, &CutRow { needs: needs.clone() });
            own::put_marks(txn, &marks);
            Ok::<_, DispersalError>(())
        })?;
        self.ports.db.wait_staged(committed.lsn).await?;
        self.ports.db.hold_records_after(target);
        self.marks.lock().push(Cut { last: target, needs }, &known);
        publish(&self.ports, &self.board, &self.marks)
    }

    /// Hashes of the segments that records name: a restore finds them on chain by these. Every one is
    /// striped, because a cut seals and stripes first.
    fn hashes(&self, named: &BTreeSet<SegmentSeq>) -> Result<Vec<(SegmentSeq, Hash32)>, DispersalError> {
        let snapshot = self.ports.db.snapshot();
        let mut hashes = Vec::with_capacity(named.len());
        for seq in named {
            // A segment that died in the meantime was dropped with its row; nothing points at it.
            if let Some(stripe) = rows::segment(&snapshot, *seq)?.and_then(|row| row.stripe) {
                hashes.push((*seq, stripe.segment));
            }
        }
        Ok(hashes)
    }

    async fn travelling(&self, after: Lsn, target: Lsn) -> Result<Vec<LogRecord>, DispersalError> {
        let mut travelling = Vec::new();
        let mut after = after;
        while after < target {
            let records = self.ports.db.records(after, RECORD_BYTES_MAX).await?;
            let Some(last) = records.last() else { break };
            after = last.lsn;
            for record in records.into_iter().filter(|record| record.lsn <= target && record.stream != LOCAL) {
                travelling.push(LogRecord {
                    lsn: record.lsn,
                    stream: record.stream,
                    names: record.names,
                    changes: record.changes,
                });
            }
        }
        Ok(travelling)
    }

    /// Gives striped segments to carriers: whole deals at once, the rest when somebody waits or no
    /// more is coming.
    async fn group(&mut self, forced: bool) -> Result<(), DispersalError> {
        while self.carriers.len() < CARRIERS_MAX {
            let free =
                self.segments(|row| row.state == SegmentState::Sealed && row.stripe.is_some() && row.deal.is_none())?;
            let Some(chosen) = choose(free, &self.config, forced) else { return Ok(()) };
            self.intend(chosen).await?;
        }
        Ok(())
    }

    async fn intend(&mut self, chosen: Vec<(SegmentSeq, SegmentRow)>) -> Result<(), DispersalError> {
        self.check_territory(chosen.len()).await?;
        let declared = declared(&chosen)?;
        let hashes: Vec<Hash32> = declared.iter().map(|(_, segment)| segment.hash).collect();
        let fid = FidRule::Merkle.fid(&hashes).expect("a deal has segments");
        let candidates = healthy_miners(&self.ports, chosen.len(), &self.board).await?;
        let miners = pick::pick_stripe(fid, &candidates).map_err(|few| {
            DispersalError::Log(format!("only {few} of the 12 miners that a deal needs answer with room; nothing is declared"))
        })?;
        let parts = chosen.iter().filter(|(_, row)| row.class == LaneClass::Log).count();
        let first_part = self.first_part(&chosen).await?;
        let row = DealRow {
            segments: chosen.iter().map(|(seq, _)| *seq).collect(),
            miners,
            state: DealState::Intent,
            territory: self.config.territory.clone(),
            file_name: DealName { first_part, parts, segments: chosen.len() }.encode(),
            declared_at: self.ports.clock.now(),
        };
        let committed = self.ports.db.transact(|txn| {
            txn.stream(LOCAL);
            rows::put_deal(txn, fid, &row);
            for (index, (seq, _)) in chosen.iter().enumerate() {
                if let Some(mut segment) = rows::segment(txn, *seq)? {
                    segment.deal = Some((fid, u16::try_from(index).expect("a deal has at most 1000 segments")));
                    rows::put_segment(txn, *seq, &segment)?;
                }
            }
            Ok::<_, DispersalError>(())
        })?;
        self.ports.db.wait_staged(committed.lsn).await?;
        self.board.waiting_for(None);
        self.start_carrier(fid, row, declared);
        Ok(())
    }

    /// The number of the first log part among the chosen, read from the part itself.
    async fn first_part(&self, chosen: &[(SegmentSeq, SegmentRow)]) -> Result<u64, DispersalError> {
        let Some((seq, _)) = chosen.iter().find(|(_, row)| row.class == LaneClass::Log) else { return Ok(0) };
        let bytes = self.ports.data.segment_bytes(*seq).await?;
        let sealed = log::unframe(&bytes).map_err(|error| DispersalError::Log(error.to_string()))?;
        let plain = self.ports.keys.open_record(log::PURPOSE, sealed).await?;
        let part = Part::decode(&plain).map_err(|error| DispersalError::Log(error.to_string()))?;
        Ok(part.number)
    }

    async fn check_territory(&self, segments: usize) -> Result<(), DispersalError> {
        let name = &self.config.territory;
        let territory = self.ports.chain.territory(name).await?.ok_or_else(|| {
            DispersalError::Log(format!("there is no territory {name}: buy one with `cess-gateway territory mint {name} --gib N`"))
        })?;
        if territory.state != gw_types::ports::TerritoryState::Active {
            return Err(DispersalError::Log(format!(
                "territory {name} is {:?}: renew it with `cess-gateway territory renew {name} --days N`",
                territory.state
            )));
        }
        let wanted = u128::from(TERRITORY_BYTES_PER_SEGMENT) * segments as u128;
        if territory.remaining <= wanted {
            return Err(DispersalError::Log(format!(
                "territory {name} has no room for {segments} segments ({} bytes left, more than {wanted} needed): \
                 expand it with `cess-gateway territory expand {name} --gib N`",
                territory.remaining
            )));
        }
        Ok(())
    }

    fn resume_deals(&mut self) -> Result<(), DispersalError> {
        let snapshot = self.ports.db.snapshot();
        let mut after = None;
        loop {
            let page = rows::deals(&snapshot, after, ROWS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (fid, row) in page {
                if row.state == DealState::Active || self.board.status().deals.contains_key(&fid) {
                    continue;
                }
                let mut chosen = Vec::new();
                for seq in &row.segments {
                    let segment = rows::segment(&snapshot, *seq)?
                        .ok_or_else(|| DispersalError::Log(format!("a deal names segment {seq}, which has no row")))?;
                    chosen.push((*seq, segment));
                }
                let declared = declared(&chosen)?;
                self.start_carrier(fid, row, declared);
            }
        }
    }

    fn start_carrier(&mut self, fid: Fid, row: DealRow, declared: Vec<(SegmentSeq, DeclaredSegment)>) {
        let carrier = Carrier::new(
            self.ports.clone(),
            self.config.clone(),
            Arc::clone(&self.board),
            self.reached(),
            (fid, row),
            declared,
        );
        self.carriers.spawn(async move { (fid, carrier.carry().await) });
    }

    fn reached(&self) -> Reached {
        let (ports, board, marks, again) =
            (self.ports.clone(), Arc::clone(&self.board), Arc::clone(&self.marks), Arc::clone(&self.again));
        Arc::new(move |segments, level| {
            for seq in segments {
                marks.lock().reached(*seq, level);
            }
            publish(&ports, &board, &marks)?;
            again.notify_one();
            Ok(())
        })
    }

    fn segments(
        &self,
        wanted: impl Fn(&SegmentRow) -> bool,
    ) -> Result<Vec<(SegmentSeq, SegmentRow)>, DispersalError> {
        let snapshot = self.ports.db.snapshot();
        let mut found = Vec::new();
        let mut from = SegmentSeq(0);
        loop {
            let page = rows::segments(&snapshot, from, ROWS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            from = last.next();
            found.extend(page.into_iter().filter(|(_, row)| wanted(row)));
        }
    }
}

/// Which segments the next deal takes; `None` when it is better to wait for more.
fn choose(
    free: Vec<(SegmentSeq, SegmentRow)>,
    config: &DispersalConfig,
    forced: bool,
) -> Option<Vec<(SegmentSeq, SegmentRow)>> {
    let (bulk, mut small): (Vec<_>, Vec<_>) = free.into_iter().partition(|(_, row)| row.class == LaneClass::Bulk);
    if bulk.len() >= config.bulk_deal_segments_max {
        return Some(bulk.into_iter().take(config.bulk_deal_segments_max).collect());
    }
    if !forced {
        small.truncate(config.deal_segments_max);
        return (small.len() == config.deal_segments_max).then(|| log_last(small));
    }
    let mut all = bulk;
    all.append(&mut small);
    let mut all = log_last(all);
    all.truncate(config.bulk_deal_segments_max.min(1000));
    (!all.is_empty()).then_some(all)
}

/// A restore finds log parts as the last segments of a deal.
fn log_last(mut segments: Vec<(SegmentSeq, SegmentRow)>) -> Vec<(SegmentSeq, SegmentRow)> {
    segments.sort_by_key(|(seq, row)| (row.class == LaneClass::Log, *seq));
    segments
}

fn declared(chosen: &[(SegmentSeq, SegmentRow)]) -> Result<Vec<(SegmentSeq, DeclaredSegment)>, DispersalError> {
    let one = |(seq, row): &(SegmentSeq, SegmentRow)| {
        let stripe = row.stripe.as_ref().ok_or_else(|| DispersalError::Log(format!("segment {seq} is not striped")))?;
        Ok((*seq, DeclaredSegment { hash: stripe.segment, fragments: stripe.fragments }))
    };
    chosen.iter().map(one).collect()
}

/// Levels that segments have reached by their rows. A segment without a row was collected: nothing
/// newer points at it, so it holds nobody up.
fn levels(ports: &DispersalPorts, needs: &BTreeSet<SegmentSeq>) -> Result<Vec<(SegmentSeq, Level)>, DispersalError> {
    let snapshot = ports.db.snapshot();
    let mut known = Vec::new();
    for seq in needs {
        let level = match rows::segment(&snapshot, *seq)? {
            None => Some(Level::Finalized),
            Some(row) => match row.state {
                SegmentState::Open | SegmentState::Sealed => None,
                SegmentState::Dispersed => Some(Level::Dispersed),
                SegmentState::Finalized | SegmentState::Moved => Some(Level::Finalized),
            },
        };
        known.extend(level.map(|level| (*seq, level)));
    }
    Ok(known)
}

fn own_cut(marks: &Mutex<Watermarks>) -> Lsn {
    marks.lock().cut_to()
}

/// Writes watermarks that have moved, and shows them, in one step: carriers and the conductor may
/// come here at the same time, and neither may show an older mark than the other has shown.
fn publish(ports: &DispersalPorts, board: &Board, marks: &Mutex<Watermarks>) -> Result<(), DispersalError> {
    ports.db.transact(|txn| {
        let shown = {
            let marks = marks.lock();
            Marks { dispersed: marks.at(Level::Dispersed), finalized: marks.at(Level::Finalized) }
        };
        board.raise(shown);
        let mut row = own::marks(txn)?;
        if (row.dispersed, row.finalized) == (shown.dispersed, shown.finalized) {
            return Ok(());
        }
        txn.stream(LOCAL);
        row.dispersed = shown.dispersed;
        row.finalized = shown.finalized;
        for (last, _) in own::cuts(txn)?.into_iter().filter(|(last, _)| *last <= shown.finalized) {
            own::delete_cut(txn, last);
        }
        own::put_marks(txn, &row);
        Ok::<_, DispersalError>(())
    })?;
    Ok(())
}
