//! Cutting the log: records of the journal, in order, into a sealed segment that can travel.
//!
//! A cut takes the records behind the last one up to a target, and stops early where a part is full
//! or where a record names a segment that is not sealed and striped yet: its hash must stand in the
//! part, for by it a restore finds the segment on chain. A crash between writing the segment and
//! remembering the cut leaves a log segment that no cut needs; it is dropped, never dispersed.

use std::collections::BTreeMap;

use gw_data::LaneClass;
use gw_data::rows::{self, SegmentRow, SegmentState};
use gw_db::{Record, Snapshot};
use gw_types::{Hash32, Lsn, SegmentSeq, StreamId};

use crate::error::DispersalError;
use crate::log::{self, LogRecord, Part, Run};
use crate::rows as own;
use crate::rows::{CutRow, LOCAL, MarksRow};
use crate::shared::Shared;
use crate::watermark::{Cut, Needs};

/// Records read from the journal at a time.
const READ_BYTES_MAX: usize = 4 << 20;

/// What one part will say.
struct Gathered {
    run: Run,
    /// Last LSN covered.
    last: Lsn,
    /// Hashes of the segments that the records name.
    hashes: BTreeMap<SegmentSeq, Hash32>,
    /// Whether a segment that is not striped ended it.
    is_blocked: bool,
}

/// How far the log was cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// New log segments.
    pub(crate) segments: Vec<SegmentSeq>,
    /// The next record waits for a segment to be sealed.
    pub(crate) is_blocked: bool,
}

/// Puts every record up to `target` that travels into log segments, as far as that can be done now.
/// `target` is staged.
pub(crate) async fn cut(shared: &Shared, target: Lsn) -> Result<Outcome, DispersalError> {
    let mut outcome = Outcome::default();
    loop {
        let marks = own::marks(&shared.ports.db.snapshot())?;
        if marks.cut_to >= target {
            return Ok(outcome);
        }
        let gathered = gather(shared, marks.cut_to, target).await?;
        let is_blocked = gathered.is_blocked;
        if gathered.last > marks.cut_to {
            outcome.segments.extend(write(shared, marks, gathered).await?);
        }
        if is_blocked {
            outcome.is_blocked = true;
            return Ok(outcome);
        }
    }
}

/// Passes the records up to `target` that stay at home, as far as no other stands between. Costs no
/// space: what waits for them to be finalized need not wait for the next part of the log.
pub(crate) async fn pass_local(shared: &Shared, target: Lsn) -> Result<(), DispersalError> {
    let marks = own::marks(&shared.ports.db.snapshot())?;
    let mut last = marks.cut_to;
    'all: while last < target {
        let records = shared.ports.db.records(last, READ_BYTES_MAX).await?;
        if records.is_empty() {
            break;
        }
        for record in records {
            if travels(&record) || record.lsn > target {
                break 'all;
            }
            last = record.lsn;
        }
    }
    if last > marks.cut_to {
        let nothing = Gathered { run: Run::default(), last, hashes: BTreeMap::new(), is_blocked: false };
        write(shared, marks, nothing).await?;
    }
    Ok(())
}

/// Whether a record is of any stream but that of records that stay at home.
fn travels(record: &Record) -> bool {
    record.streams.iter().any(|stream| *stream != LOCAL)
}

/// Reads records into one part.
async fn gather(shared: &Shared, after: Lsn, target: Lsn) -> Result<Gathered, DispersalError> {
    let mut gathered =
        Gathered { run: Run::default(), last: after, hashes: BTreeMap::new(), is_blocked: false };
    while gathered.last < target {
        let records = shared.ports.db.records(gathered.last, READ_BYTES_MAX).await?;
        if records.is_empty() {
            return Err(DispersalError::Log(format!("the journal has no record behind {}", gathered.last)));
        }
        let snapshot = shared.ports.db.snapshot();
        for record in records {
            if record.lsn > target {
                return Ok(gathered);
            }
            let lsn = record.lsn;
            if travels(&record) {
                if !gathered.add_names(&snapshot, &record.names)? {
                    gathered.is_blocked = true;
                    return Ok(gathered);
                }
                let mut streams = record.streams;
                streams.retain(|stream| *stream != LOCAL);
                let travelling = LogRecord { lsn, streams, names: record.names, changes: record.changes };
                if gathered.run.take(travelling).is_err() {
                    // The next part begins with it. Hashes of segments that it names do no harm here.
                    return Ok(gathered);
                }
            }
            gathered.last = lsn;
        }
    }
    Ok(gathered)
}

impl Gathered {
    /// Notes the hashes of segments; `false` when one has none yet and will get one.
    fn add_names(&mut self, snapshot: &Snapshot, names: &[SegmentSeq]) -> Result<bool, DispersalError> {
        let mut fresh = Vec::new();
        for seq in names {
            if self.hashes.contains_key(seq) {
                continue;
            }
            match rows::segment(snapshot, *seq)? {
                // It died and was dropped: nothing in this snapshot points at it.
                None => {}
                Some(row) if row.stripe.is_some() => {
                    fresh.extend(row.stripe.map(|stripe| (*seq, stripe.segment)));
                }
                // It died: the cut needs it until the record that dropped it is cut, too.
                Some(row) if is_dead(&row) => {}
                Some(_) => return Ok(false),
            }
        }
        self.hashes.extend(fresh);
        Ok(true)
    }
}

/// Whether a segment will never be needed again: sealed, and nothing refers to it or to what was
/// moved into it. Log segments are never dead.
pub(crate) fn is_dead(row: &SegmentRow) -> bool {
    row.state != SegmentState::Open
        && row.class != LaneClass::Log
        && row.live_bytes == 0
        && row.guests.is_empty()
}

/// Writes the part, remembers the cut and waits until that is staged. Returns the log segment.
async fn write(
    shared: &Shared,
    mut marks: MarksRow,
    gathered: Gathered,
) -> Result<Option<SegmentSeq>, DispersalError> {
    let Gathered { run, last, hashes, .. } = gathered;
    let mut needs = Needs::default();
    for record in &run.records {
        needs.add(&record.streams, &record.names);
    }
    let mut segment = None;
    if !run.records.is_empty() {
        let part = Part {
            number: marks.next_part,
            prev: marks.prev,
            last,
            epoch: shared.ports.data.epoch(),
            left_out: std::mem::take(&mut marks.left_out),
            segments: hashes.into_iter().collect(),
            records: run.records,
        };
        let (seq, hash) = write_part(shared, part).await?;
        marks.prev = hash;
        marks.next_part += 1;
        needs.log.insert(seq);
        segment = Some(seq);
    }
    marks.cut_to = last;
    match remember(shared, marks, &needs).await {
        Ok(()) => {
            shared.ports.db.hold_records_after(last);
            shared.push(Cut { last, needs })?;
            Ok(segment)
        }
        Err(error) => {
            if let Some(seq) = segment {
                // The next cut writes these records again, with the same number.
                drop_orphan(shared, seq)?;
            }
            Err(error)
        }
    }
}

async fn write_part(shared: &Shared, part: Part) -> Result<(SegmentSeq, Hash32), DispersalError> {
    // One after the other, so that not all three forms of a large part are in memory.
    let plain = part.encode();
    drop(part);
    let sealed = shared.ports.keys.seal_record(log::PURPOSE, &plain).await?;
    drop(plain);
    let framed = log::frame(&sealed);
    drop(sealed);
    let seq = shared.ports.data.write_whole(LaneClass::Log, StreamId(0), framed.into()).await?;
    match stripe(shared, seq).await {
        Ok(hash) => Ok((seq, hash)),
        Err(error) => {
            drop_orphan(shared, seq)?;
            Err(error)
        }
    }
}

async fn remember(shared: &Shared, marks: MarksRow, needs: &Needs) -> Result<(), DispersalError> {
    let committed = shared.ports.db.transact(|txn| {
        txn.stream(LOCAL);
        // The watermarks may have been raised since the row was read.
        let now = own::marks(txn)?;
        own::put_cut(txn, marks.cut_to, &CutRow { needs: needs.clone() });
        own::put_marks(txn, &MarksRow { dispersed: now.dispersed, finalized: now.finalized, ..marks });
        Ok::<_, DispersalError>(())
    })?;
    Ok(shared.ports.db.wait_staged(committed.lsn).await?)
}

/// Hashes a sealed segment and writes that down.
pub(crate) async fn stripe(shared: &Shared, seq: SegmentSeq) -> Result<Hash32, DispersalError> {
    let bytes = shared.ports.data.segment_bytes(seq).await?;
    let hashes = shared.ports.striper.hash(bytes).await?;
    let hash = hashes.segment;
    shared.ports.db.transact(|txn| {
        txn.stream(LOCAL);
        let row = rows::segment(txn, seq)?;
        let mut row = row.ok_or_else(|| DispersalError::Log(format!("segment {seq} has no row")))?;
        row.stripe = Some(hashes.into());
        rows::put_segment(txn, seq, &row)?;
        Ok::<_, DispersalError>(())
    })?;
    Ok(hash)
}

/// Drops a log segment that no cut needs.
pub(crate) fn drop_orphan(shared: &Shared, seq: SegmentSeq) -> Result<(), DispersalError> {
    tracing::info!(%seq, "dropping a log segment that was written and never remembered");
    shared.ports.db.transact(|txn| {
        txn.stream(LOCAL);
        if let Some(mut row) = rows::segment(txn, seq)? {
            row.live_bytes = 0;
            rows::put_segment(txn, seq, &row)?;
        }
        Ok::<_, DispersalError>(())
    })?;
    shared.ports.data.discard(seq)?;
    Ok(())
}
