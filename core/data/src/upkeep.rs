//! The verbs of whoever seals, disperses, evicts and compacts.
//!
//! | verb | when |
//! |---|---|
//! | [`Data::sealable`], [`Data::seal`] | Open -> Sealed: from then on the file never changes |
//! | [`Data::segment_bytes`] | to stripe and send it |
//! | rows helpers (`put_segment`, `put_deal`) | hashes, deals, Dispersed, Finalized: in commits of the caller |
//! | [`Data::evict`] | Finalized: the local file may go |
//! | [`Data::write_whole`] | log and checkpoint segments, which are sealed at once |
//! | [`Data::live`], [`Data::compact`], [`Data::abandon`], [`Data::discard`] | compaction, collection |
//!
//! Staging discounts a segment when it is finalized or has no file here; it notices that when it would
//! otherwise refuse, and in [`Data::status`].

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_db::{DbError, Txn};
use gw_types::{LEASE_BYTES, Lsn, SEGMENT_BYTES, SegmentSeq, StreamId, Timestamp};

use crate::config::{DataStatus, SegmentTotals};
use crate::data::{LOCAL_STREAM, Shared};
use crate::rows::{self, LaneClass, MovedRange, MovedRow, SegmentRow, SegmentState, inconsistent};
use crate::segments::{LaneKey, Lease, Place, Reservation, SealStep};
use crate::write::fill;
use crate::{Data, DataError};

/// How long a seal waits for finished bodies to be committed or dropped.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
const DRAIN_TICK: Duration = Duration::from_millis(20);

impl Data {
    /// Open segments that should be sealed: full ones, and those whose first bytes were committed at
    /// least `age` ago ([`Duration::ZERO`]: all with committed bytes).
    pub fn sealable(&self, age: Duration) -> Result<Vec<SegmentSeq>, DataError> {
        self.shared.settle()?;
        for husk in self.shared.lanes.husks() {
            self.shared.lanes.forget(husk);
            self.shared.ports.files.remove(husk)?;
        }
        // All of them means all, also when the wall clock was set back.
        let old = match i64::try_from(age.as_nanos()) {
            Ok(0) => i64::MAX,
            Ok(age) => self.shared.ports.clock.now().0.saturating_sub(age),
            Err(_) => i64::MIN,
        };
        Ok(self.shared.lanes.sealable(Timestamp(old)))
    }

    /// Seals a segment: no more leases, those of unfinished bodies move elsewhere, all that no commit
    /// filled becomes zeros, the file is synced, the row says so. `false` when it is not open any more
    /// or held nothing (then it is gone). [`DataError::Busy`] when a finished body was neither
    /// committed nor dropped for ten seconds.
    pub async fn seal(&self, seq: SegmentSeq) -> Result<bool, DataError> {
        let shared = &self.shared;
        shared.lanes.close(seq);
        if !shared.drain(seq).await? {
            return Ok(false);
        }
        let row = rows::segment(&shared.ports.db.snapshot(), seq)?;
        let Some(row) = row.filter(|row| row.used_bytes > 0) else {
            shared.lanes.forget(seq);
            shared.ports.files.remove(seq)?;
            return Ok(false);
        };
        if row.state != SegmentState::Open {
            return Ok(false);
        }
        shared.ports.files.zero(seq, &row.holes())?;
        shared.ports.files.sync(seq).await?;
        let committed = shared.ports.db.transact(|txn| {
            txn.stream(LOCAL_STREAM);
            let mut now = must(txn, seq)?;
            if now.state != SegmentState::Open {
                return Ok(false);
            }
            if now.filled != row.filled {
                return Err(DataError::from(inconsistent(format!(
                    "segment {seq} took bytes while it was sealed"
                ))));
            }
            now.state = SegmentState::Sealed;
            rows::put_segment(txn, seq, &now)?;
            Ok(true)
        })?;
        if committed.value {
            shared.lanes.forget(seq);
        }
        Ok(committed.value)
    }

    /// The 32 MiB of a sealed segment whose file is here.
    pub async fn segment_bytes(&self, seq: SegmentSeq) -> Result<Bytes, DataError> {
        let row = rows::segment(&self.shared.ports.db.snapshot(), seq)?;
        match row {
            None => Err(DataError::Refused(format!("there is no segment {seq}"))),
            Some(row) if row.state == SegmentState::Open => {
                Err(DataError::Refused(format!("segment {seq} is still open")))
            }
            Some(_) => Ok(self.shared.ports.files.read(seq, 0..SEGMENT_BYTES).await?),
        }
    }

    /// Removes the local file of a finalized segment. `false`: it is not finalized, or not here.
    pub async fn evict(&self, seq: SegmentSeq) -> Result<bool, DataError> {
        let committed = self.shared.ports.db.transact(|txn| {
            txn.stream(LOCAL_STREAM);
            let row = rows::segment(txn, seq)?;
            let Some(mut row) = row.filter(|row| row.local && row.state == SegmentState::Finalized) else {
                return Ok::<_, DataError>(false);
            };
            row.local = false;
            rows::put_segment(txn, seq, &row)?;
            Ok(true)
        })?;
        if committed.value {
            // Should this be lost in a crash, the next open finds the file unclaimed, or the row
            // without its file, and mends either.
            self.shared.ports.files.remove(seq)?;
            self.shared.lanes.discount(seq);
        }
        Ok(committed.value)
    }

    /// Writes up to 32 MiB as a segment of its own, synced and sealed. It counts as wholly alive
    /// until [`Data::discard`] is preceded by a row without live bytes.
    pub async fn write_whole(
        &self,
        class: LaneClass,
        stream: StreamId,
        bytes: Bytes,
    ) -> Result<SegmentSeq, DataError> {
        let len = u32::try_from(bytes.len()).ok().filter(|len| *len > 0 && u64::from(*len) <= SEGMENT_BYTES);
        let len = len.ok_or_else(|| DataError::Refused(format!("{} bytes are no segment", bytes.len())))?;
        let mut reservation = Reservation::new(&self.shared.lanes.staging, class.is_ours());
        self.shared.reserve(&mut reservation, u64::from(len))?;
        let seq = self.shared.lanes.new_number();
        let files = &self.shared.ports.files;
        files.create(seq).await?;
        let written = async {
            files.write(seq, 0, &bytes)?;
            files.sync(seq).await?;
            self.shared.ports.db.transact(|txn| {
                txn.stream(LOCAL_STREAM);
                let mut row = SegmentRow::new(class, stream, txn.now());
                row.fill(0, len)?;
                row.live_bytes = u64::from(len);
                row.state = SegmentState::Sealed;
                rows::put_segment(txn, seq, &row)?;
                Ok::<_, DataError>(())
            })
        };
        if let Err(error) = written.await {
            files.remove(seq)?;
            return Err(error);
        }
        reservation.pass_on(u64::from(len));
        self.shared.lanes.count(seq, u64::from(len));
        Ok(seq)
    }

    /// Copies sealed bytes (at most a lease, 4 MiB) into the compaction lane of a stream, not synced.
    pub(crate) async fn stage_copy(&self, stream: StreamId, sealed: &[u8]) -> Result<StagedCopy, DataError> {
        if sealed.is_empty() || sealed.len() as u64 > LEASE_BYTES {
            return Err(DataError::Refused(format!("{} bytes are not copied at a time", sealed.len())));
        }
        let len = sealed.len() as u32;
        let lane = LaneKey { class: LaneClass::Gc, stream };
        let mut reservation = Reservation::new(&self.shared.lanes.staging, true);
        self.shared.reserve(&mut reservation, u64::from(len))?;
        let lease = self.shared.lanes.lease(lane, len, true).await?;
        let gate = lease.gate().await;
        lease.append(&gate, 0, sealed)?;
        drop(gate);
        Ok(StagedCopy { shared: self.shared.clone(), lane, lease, len, reservation })
    }

    /// In a commit: from now on all that refers to `old` is read at its new places. `moved` covers
    /// every byte that was alive in one snapshot taken after `old` was sealed. Only finalized segments
    /// are moved: watermarks have passed everything that points at them, and would pass it unseen
    /// otherwise.
    pub(crate) fn move_segment(
        &self,
        txn: &mut Txn<'_>,
        old: SegmentSeq,
        moved: &MovedRow,
    ) -> Result<(), DbError> {
        let mut row = must(txn, old)?;
        if row.state != SegmentState::Finalized {
            return Err(inconsistent(format!("segment {old} is {:?} and cannot be moved", row.state)));
        }
        for guest in std::mem::take(&mut row.guests) {
            let before = rows::moved(txn, guest)?.unwrap_or_default();
            let after = compose(&before, old, moved);
            add_guest(txn, guest, &after)?;
            rows::put_moved(txn, guest, &after);
        }
        add_guest(txn, old, moved)?;
        rows::put_moved(txn, old, moved);
        row.state = SegmentState::Moved;
        row.local = false;
        rows::put_segment(txn, old, &row)
    }

    /// Forgets a segment to which nothing refers, and removes its file. `false` while something does
    /// (to it or to a guest), and for open segments. Only when its deal, if any, is deleted on chain.
    pub fn discard(&self, seq: SegmentSeq) -> Result<bool, DataError> {
        let committed = self.shared.ports.db.transact(|txn| {
            txn.stream(LOCAL_STREAM);
            let Some(row) = rows::segment(txn, seq)? else { return Ok::<_, DataError>(false) };
            if row.state == SegmentState::Open || row.live_bytes > 0 || !row.guests.is_empty() {
                return Ok(false);
            }
            if let Some(moved) = rows::moved(txn, seq)? {
                for home in homes(&moved) {
                    if let Some(mut row) = rows::segment(txn, home)? {
                        row.guests.retain(|guest| *guest != seq);
                        rows::put_segment(txn, home, &row)?;
                    }
                }
                rows::delete_moved(txn, seq);
            }
            rows::delete_segment(txn, seq);
            Ok(true)
        })?;
        if committed.value {
            self.shared.ports.files.remove(seq)?;
            self.shared.lanes.discount(seq);
        }
        Ok(committed.value)
    }

    /// Figures of this moment. Walks all segment rows.
    pub fn status(&self) -> Result<DataStatus, DataError> {
        let shared = &self.shared;
        shared.recount()?;
        let mut status = DataStatus {
            staging_used_bytes: shared.lanes.staging.used(),
            staging_bytes_max: shared.lanes.staging.max(),
            cache_bytes: shared.cache.bytes(),
            cache_bytes_max: shared.config.cache_bytes_max,
            disk_cache: shared.disk_cache.as_ref().map(|cache| cache.status()).unwrap_or_default(),
            reads: shared.stats.totals(),
            poisoned: shared.ports.files.poisoned(),
            disk_full: shared.ports.files.is_full(),
            ..DataStatus::default()
        };
        let present = shared.ports.files.list()?;
        rows::for_each_segment::<DataError>(&shared.ports.db.snapshot(), |seq, row| {
            let here = row.local && present.contains(&seq);
            if row.local && !here && row.live_bytes > 0 && row.state < SegmentState::Dispersed {
                status.lost += 1;
            }
            let totals = match row.state {
                SegmentState::Open => &mut status.open,
                SegmentState::Sealed => &mut status.sealed,
                SegmentState::Dispersed => &mut status.dispersed,
                SegmentState::Finalized => &mut status.finalized,
                SegmentState::Moved => &mut status.moved,
            };
            add(totals, &row, here);
            Ok(())
        })?;
        Ok(status)
    }
}

fn add(totals: &mut SegmentTotals, row: &SegmentRow, here: bool) {
    totals.count += 1;
    totals.used_bytes += row.used_bytes;
    totals.live_bytes += row.live_bytes;
    totals.local += u64::from(here);
}

fn must(txn: &Txn<'_>, seq: SegmentSeq) -> Result<SegmentRow, DbError> {
    rows::segment(txn, seq)?.ok_or_else(|| inconsistent(format!("segment {seq} has no row")))
}

fn homes(moved: &MovedRow) -> std::collections::BTreeSet<SegmentSeq> {
    moved.ranges.iter().map(|range| range.segment).collect()
}

fn add_guest(txn: &mut Txn<'_>, guest: SegmentSeq, moved: &MovedRow) -> Result<(), DbError> {
    for home in homes(moved) {
        let mut row = must(txn, home)?;
        if !row.guests.contains(&guest) {
            row.guests.push(guest);
            rows::put_segment(txn, home, &row)?;
        }
    }
    Ok(())
}

/// Where the bytes of a guest are after its home `old` has moved, too. What the second move left
/// behind was dead.
fn compose(first: &MovedRow, old: SegmentSeq, second: &MovedRow) -> MovedRow {
    let mut ranges = Vec::new();
    for range in &first.ranges {
        if range.segment != old {
            ranges.push(*range);
            continue;
        }
        for next in &second.ranges {
            let start = range.to.max(next.from);
            let end = (range.to + range.len).min(next.from + next.len);
            if start < end {
                ranges.push(MovedRange {
                    from: range.from + (start - range.to),
                    len: end - start,
                    segment: next.segment,
                    to: next.to + (start - next.from),
                });
            }
        }
    }
    ranges.sort_by_key(|range| range.from);
    MovedRow { ranges }
}

impl Shared {
    /// Judges every range whose commit is over. Takes the commit lock: under it no commit is being
    /// decided, so the newest rows tell about all of them.
    pub(crate) fn settle(&self) -> Result<(), DataError> {
        if self.lanes.unsettled().is_empty() {
            return Ok(());
        }
        self.ports.db.transact(|txn| {
            for seq in self.lanes.unsettled() {
                let row = rows::segment(txn, seq)?;
                self.lanes.settle(seq, row.as_ref(), Lsn(u64::MAX));
            }
            Ok::<_, DataError>(())
        })?;
        Ok(())
    }

    /// Discounts segments that staging need not count any more.
    pub(crate) fn recount(&self) -> Result<(), DataError> {
        let snapshot = self.ports.db.snapshot();
        for seq in self.lanes.counted() {
            let counts = |row: &SegmentRow| row.local && row.state < SegmentState::Finalized;
            if !rows::segment(&snapshot, seq)?.as_ref().is_some_and(counts) {
                self.lanes.discount(seq);
            }
        }
        Ok(())
    }

    /// Waits until no lease is out in a closed segment. `false` when it is not open.
    async fn drain(&self, seq: SegmentSeq) -> Result<bool, DataError> {
        let deadline = self.ports.clock.elapsed() + DRAIN_PATIENCE;
        loop {
            let mut changed = pin!(self.lanes.changed());
            changed.as_mut().enable();
            self.settle()?;
            match self.lanes.drain(seq).await? {
                SealStep::Drained => return Ok(true),
                SealStep::NotOpen => return Ok(false),
                SealStep::Wait if self.ports.clock.elapsed() >= deadline => {
                    return Err(DataError::Busy(
                        "a finished body in the segment is neither committed nor dropped",
                    ));
                }
                SealStep::Wait => {
                    let tick = pin!(self.ports.clock.sleep(DRAIN_TICK));
                    futures::future::select(changed, tick).await;
                }
            }
        }
    }
}

/// Sealed bytes copied to a new place, not yet in any commit. Dropping it gives the room back. Until it
/// is fixed a seal may move it, so that nobody waits for a compaction that waits for miners.
#[derive(Debug)]
pub(crate) struct StagedCopy {
    shared: Arc<Shared>,
    lane: LaneKey,
    lease: Arc<Lease>,
    len: u32,
    reservation: Reservation,
}

impl StagedCopy {
    /// From now on it stays where it is; its segment must be synced before it is attached.
    pub(crate) async fn fix(&self) -> Place {
        self.lease.fix(self.len).await
    }

    /// Makes the bytes part of the commit, which also writes where they were moved from. Their live
    /// bytes go on being counted by the old segment.
    pub(crate) fn attach(self, txn: &mut Txn<'_>, place: Place) -> Result<(), DbError> {
        fill(&self.shared, txn, self.lane, &[(place, 0)])?;
        self.lease.park(txn.lsn(), txn.now());
        self.reservation.pass_on(u64::from(place.len));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MovedRange, MovedRow, SegmentSeq, compose};

    #[test]
    fn two_moves_become_one_hop() {
        let old = SegmentSeq(2);
        let range = |from, len, segment, to| MovedRange { from, len, segment: SegmentSeq(segment), to };
        let first = MovedRow { ranges: vec![range(0, 100, 2, 1000), range(500, 50, 3, 0)] };
        let second = MovedRow { ranges: vec![range(990, 50, 4, 7), range(1060, 100, 5, 0)] };
        let both = compose(&first, old, &second);
        assert_eq!(both.ranges, [range(0, 40, 4, 17), range(60, 40, 5, 0), range(500, 50, 3, 0)]);
        assert_eq!(both.place(10, 20), Some((SegmentSeq(4), 27)));
        assert_eq!(both.place(30, 70), None);
    }
}
