//! Leases in open segments, and how an open segment comes to be sealed.
//!
//! [`Lanes`] joins the [`Book`] of free ranges with the files. A [`Lease`] is exclusive room in an open
//! segment; dropping it gives the room back. Where it is may change until its writer has finished: a
//! segment that must be sealed while a slow upload holds room in it moves that room (and the sealed
//! bytes in it, which know nothing of their place) to another segment, so nobody waits for the
//! uploader. Whoever writes into a lease holds its gate meanwhile.
//!
//! Locks: a lease's gate, then the book. Nothing is awaited under the book.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use gw_types::{Lsn, PortResult, SegmentSeq, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedMutexGuard};

use super::book::{Book, LaneKey, Place};
use super::{SegmentFiles, Staging};
use crate::DataError;
use crate::rows::SegmentRow;

/// Open segments and the leases in them.
#[derive(Debug)]
pub(crate) struct Lanes {
    files: Arc<SegmentFiles>,
    pub(crate) staging: Arc<Staging>,
    state: Mutex<State>,
    next: AtomicU64,
    /// One segment file is made at a time: whoever waited finds room in it.
    opening: tokio::sync::Mutex<()>,
    /// Something came back or was settled.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    book: Book,
    /// Leases that may be moved, by segment.
    cells: HashMap<SegmentSeq, Vec<Weak<Lease>>>,
    /// Committed bytes that staging counts, by segment.
    counted: HashMap<SegmentSeq, u64>,
}

/// What stands between an open segment and its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealStep {
    /// No lease is out.
    Drained,
    /// Finished bodies are about to be committed or dropped.
    Wait,
    /// Not open.
    NotOpen,
}

impl Lanes {
    pub(crate) fn new(
        files: Arc<SegmentFiles>,
        staging: Arc<Staging>,
        lanes_max: usize,
        next: SegmentSeq,
    ) -> Arc<Self> {
        let state = State { book: Book::new(lanes_max), cells: HashMap::new(), counted: HashMap::new() };
        Arc::new(Self {
            files,
            staging,
            state: Mutex::new(state),
            next: AtomicU64::new(next.0),
            opening: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        })
    }

    /// A number that no segment ever had.
    pub(crate) fn new_number(&self) -> SegmentSeq {
        SegmentSeq(self.next.fetch_add(1, Ordering::AcqRel))
    }

    /// Takes over a segment that the last life left open.
    pub(crate) fn reopen(&self, seq: SegmentSeq, row: &SegmentRow) {
        let lane = LaneKey { class: row.class, stream: row.stream };
        self.state.lock().book.open(seq, lane, Some(row));
    }

    /// Counts committed bytes of a segment that is not finalized; staging has taken them already.
    pub(crate) fn count(&self, seq: SegmentSeq, bytes: u64) {
        *self.state.lock().counted.entry(seq).or_default() += bytes;
    }

    /// Segments that staging counts.
    pub(crate) fn counted(&self) -> Vec<SegmentSeq> {
        self.state.lock().counted.keys().copied().collect()
    }

    /// Staging counts the segment no more.
    pub(crate) fn discount(&self, seq: SegmentSeq) {
        if let Some(bytes) = self.state.lock().counted.remove(&seq) {
            self.staging.free(bytes);
        }
    }

    /// Room for `want` sealed bytes, or for fewer whole frames unless `exact`. Opens a segment when
    /// none of the lane has room.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        lane: LaneKey,
        want: u32,
        exact: bool,
    ) -> Result<Arc<Lease>, DataError> {
        let place = self.place(lane, want, exact).await?;
        Ok(self.lease_at(place))
    }

    async fn place(&self, lane: LaneKey, want: u32, exact: bool) -> Result<Place, DataError> {
        if let Some(place) = self.state.lock().book.take(lane, want, exact) {
            return Ok(place);
        }
        let _turn = self.opening.lock().await;
        if let Some(place) = self.state.lock().book.take(lane, want, exact) {
            return Ok(place);
        }
        let seq = self.new_number();
        self.files.create(seq).await?;
        let mut state = self.state.lock();
        if let Some(closed) = state.book.open(seq, lane, None) {
            tracing::debug!(%closed, opened = %seq, "a lane closed its fullest segment");
        }
        Ok(state.book.take(lane, want, exact).expect("an empty segment has room for any lease"))
    }

    fn lease_at(self: &Arc<Self>, place: Place) -> Arc<Lease> {
        let lease = Arc::new(Lease {
            lanes: self.clone(),
            spot: Mutex::new(Some(Spot { place, written: 0, movable: true })),
            gate: Arc::default(),
        });
        let mut state = self.state.lock();
        let cells = state.cells.entry(place.segment).or_default();
        cells.retain(|cell| cell.strong_count() > 0);
        cells.push(Arc::downgrade(&lease));
        lease
    }

    /// Judges parked ranges of commits below `before`; see [`Book::settle`].
    pub(crate) fn settle(&self, seq: SegmentSeq, row: Option<&SegmentRow>, before: Lsn) {
        let mut state = self.state.lock();
        let settled = state.book.settle(seq, row, before);
        if settled.committed_bytes > 0 {
            *state.counted.entry(seq).or_default() += settled.committed_bytes;
        }
        drop(state);
        self.staging.free(settled.failed_bytes);
        self.changed.notify_waiters();
    }

    pub(crate) fn unsettled(&self) -> Vec<SegmentSeq> {
        self.state.lock().book.unsettled()
    }
    pub(crate) fn sealable(&self, old: Timestamp) -> Vec<SegmentSeq> {
        self.state.lock().book.sealable(old)
    }
    pub(crate) fn husks(&self) -> Vec<SegmentSeq> {
        self.state.lock().book.husks()
    }
    pub(crate) fn close(&self, seq: SegmentSeq) {
        self.state.lock().book.close(seq);
    }
    pub(crate) fn forget(&self, seq: SegmentSeq) {
        let mut state = self.state.lock();
        state.book.forget(seq);
        state.cells.remove(&seq);
    }

    /// Moves every movable lease out of a closed segment and says what is left in it.
    pub(crate) async fn drain(self: &Arc<Self>, seq: SegmentSeq) -> Result<SealStep, DataError> {
        let cells = {
            let mut state = self.state.lock();
            let Some(busy) = state.book.busy(seq) else { return Ok(SealStep::NotOpen) };
            if busy == 0 {
                return Ok(SealStep::Drained);
            }
            state.cells.remove(&seq).unwrap_or_default()
        };
        let mut kept = Vec::new();
        let mut outcome = Ok(());
        for cell in cells {
            let Some(lease) = cell.upgrade() else { continue };
            let moved = match outcome {
                Ok(()) => self.move_lease(seq, &lease).await,
                Err(_) => Ok(false),
            };
            if !matches!(moved, Ok(true)) {
                kept.push(cell);
            }
            outcome = outcome.and(moved.map(|_| ()));
        }
        let mut state = self.state.lock();
        state.cells.entry(seq).or_default().extend(kept);
        outcome?;
        Ok(match state.book.busy(seq) {
            None => SealStep::NotOpen,
            Some(0) => SealStep::Drained,
            Some(_) => SealStep::Wait,
        })
    }

    /// Waits until something came back, was moved or was settled. Register before looking.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Gives a lease another place, with what was written into it. `false` when it stays.
    async fn move_lease(self: &Arc<Self>, from: SegmentSeq, lease: &Arc<Lease>) -> Result<bool, DataError> {
        let _gate = lease.gate.clone().lock_owned().await;
        let Some(Spot { place: old, written, movable: true }) = *lease.spot.lock() else { return Ok(false) };
        if old.segment != from {
            return Ok(true);
        }
        let Some(lane) = self.state.lock().book.lane_of(from) else { return Ok(true) };
        // A lease of its own, so that an error on the way gives the new room back.
        let fresh = self.lease(lane, old.len, true).await?;
        let new = fresh.place();
        let start = u64::from(old.start);
        let sealed = self.files.read(from, start..start + u64::from(written)).await?;
        self.files.write(new.segment, u64::from(new.start), &sealed)?;
        if let Some(spot) = lease.spot.lock().as_mut() {
            spot.place = new;
            *fresh.spot.lock() = Some(Spot { place: old, written: 0, movable: false });
        }
        let cell = Arc::downgrade(lease);
        self.state.lock().cells.entry(new.segment).or_default().push(cell);
        Ok(true)
    }
}

#[derive(Clone, Copy, Debug)]
struct Spot {
    place: Place,
    /// Bytes at its front that hold something.
    written: u32,
    /// Until its writer has finished.
    movable: bool,
}

/// Exclusive room in an open segment.
#[derive(Debug)]
pub(crate) struct Lease {
    lanes: Arc<Lanes>,
    /// `None` once a commit has it.
    spot: Mutex<Option<Spot>>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Lease {
    /// Where it is now. Only settled leases stay there.
    pub(crate) fn place(&self) -> Place {
        self.spot.lock().expect("a lease has a place until a commit takes it").place
    }

    /// The right to write; the lease does not move meanwhile.
    pub(crate) async fn gate(&self) -> OwnedMutexGuard<()> {
        self.gate.clone().lock_owned().await
    }

    /// Writes behind what is there. The caller holds the gate.
    pub(crate) fn append(&self, _gate: &OwnedMutexGuard<()>, at: u32, bytes: &[u8]) -> PortResult<()> {
        let place = self.place();
        let len = u32::try_from(bytes.len()).expect("a batch is shorter than a lease");
        assert!(at + len <= place.len, "a writer stays in its lease");
        self.lanes.files.write(place.segment, u64::from(place.start + at), bytes)?;
        if let Some(spot) = self.spot.lock().as_mut() {
            spot.written = spot.written.max(at + len);
        }
        Ok(())
    }

    /// Keeps the first `len` bytes, gives the rest back and stays where it is from now on.
    pub(crate) async fn fix(&self, len: u32) -> Place {
        let _gate = self.gate().await;
        let mut spot = self.spot.lock();
        let spot = spot.as_mut().expect("a lease is fixed before a commit takes it");
        assert!(len > 0 && len <= spot.place.len, "a lease only shrinks");
        let rest = Place { start: spot.place.start + len, len: spot.place.len - len, ..spot.place };
        spot.place.len = len;
        spot.movable = false;
        self.lanes.state.lock().book.trim(rest);
        spot.place
    }

    /// The range is in commit `lsn` now, if that happens.
    pub(crate) fn park(&self, lsn: Lsn, now: Timestamp) {
        let spot = self.spot.lock().take().expect("a lease is attached once");
        self.lanes.state.lock().book.park(spot.place, lsn, now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(spot) = self.spot.get_mut().take() {
            self.lanes.state.lock().book.give_back(spot.place);
            self.lanes.changed.notify_waiters();
        }
    }
}
