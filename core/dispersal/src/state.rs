//! What waiters and `status` see of dispersal: watermarks, progress and the reasons of a standstill.

use std::collections::{BTreeMap, BTreeSet};

use gw_types::{Fid, Lsn, StreamId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::packer::Queue;
use crate::watermark::{Marks, StreamMarks};

/// Reasons shown at once.
const REASONS_MAX: usize = 3;

/// A deal under way, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealProgress {
    /// Its segments.
    pub segments: usize,
    /// `"looking"`, `"declaring"`, `"declared"`, `"active"`.
    pub phase: &'static str,
    /// Columns held by their miner, of 12.
    pub columns_held: usize,
}

/// What dispersal is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DispersalStatus {
    /// Deals under way.
    pub deals: BTreeMap<Fid, DealProgress>,
    /// Deals that became Active since the start.
    pub deals_done: u64,
    /// Miners that answered the last probe with room. On a large network only some are probed.
    pub miners_healthy: usize,
    /// Miners the chain would let report a column of the last deal.
    pub miners_known: usize,
    /// Why something does not move, when something does not, and what to do about it.
    pub waiting_for: Option<String>,
    /// Room in the territory; `None` while there is no Active one, or nobody has asked yet.
    pub room: Option<RoomStatus>,
    /// What compaction sees and does.
    pub compaction: CompactionStatus,
}

/// Room in the territory, in bytes of it (96 MiB a segment) unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomStatus {
    /// What may still be declared.
    pub free_bytes: u64,
    /// Of it, what is kept from bodies.
    pub reserve_bytes: u64,
    /// Sealed bytes that bodies could take when the chain was last asked.
    pub bodies_bytes: u64,
    /// Bodies are refused.
    pub is_full: bool,
}

/// What compaction sees and does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactionStatus {
    /// What it is doing now.
    pub phase: CompactionPhase,
    /// Deals in hand.
    pub victims: u64,
    /// Segments of them that are still to be moved.
    pub segments_left: u64,
    /// Segments in Active deals, those of the log not counted.
    pub segments: u64,
    /// Bytes in them that something refers to.
    pub live_bytes: u64,
    /// Bytes in them that are deleted, or were never filled.
    pub dead_bytes: u64,
    /// Segments in deals with the log, which are never given back.
    pub log_segments: u64,
    /// What it has done since the start.
    pub done: Compacted,
}

/// What compaction is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionPhase {
    /// Nothing.
    #[default]
    Idle,
    /// Looking for what is alive.
    Looking,
    /// Copying.
    Moving,
    /// Waiting until the new homes, and the log that tells of them, are finalized.
    Dispersing,
    /// Waiting until the old deals are deleted.
    Collecting,
}

/// What compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Deals that are gone from the chain.
    pub deals: u64,
    /// Space of the territory that they gave back.
    pub freed_bytes: u64,
    /// Space of the territory that new homes took; the log's is not counted.
    pub taken_bytes: u64,
    /// Sealed bytes that were copied.
    pub moved_bytes: u64,
    /// Why it did not do more, when something was in its way.
    pub hindrance: Option<String>,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// New deals: miners, territory.
    Packer(Queue),
    /// New deals, after the chain has refused one.
    Chain(Queue),
    /// Sealing and cutting.
    Log,
    /// A deal, for an answer of the chain.
    Look(Fid),
    /// A deal, for its declaration.
    Declare(Fid),
    /// A deal, for another miner.
    Spare(Fid),
    /// A deal that stopped and will be taken up again.
    Stopped(Fid),
    /// Collecting and placements.
    Upkeep,
    /// Bodies, for room in the territory.
    Room,
    /// Compaction.
    Compactor,
}

#[derive(Debug, Default)]
struct Shown {
    status: DispersalStatus,
    reasons: BTreeMap<Who, String>,
}

/// Shared between the tasks and their callers.
#[derive(Debug)]
pub(crate) struct Board {
    marks: watch::Sender<StreamMarks>,
    /// Highest LSN somebody waits for.
    wanted: watch::Sender<Wanted>,
    shown: Mutex<Shown>,
}

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of every stream.
    pub(crate) all: Lsn,
    /// Of one, where that is more.
    pub(crate) streams: BTreeMap<StreamId, Lsn>,
}

impl Wanted {
    /// The highest of all.
    pub(crate) fn highest(&self) -> Lsn {
        self.streams.values().copied().fold(self.all, Lsn::max)
    }
}

impl Board {
    pub(crate) fn new(marks: StreamMarks) -> Self {
        Self {
            marks: watch::Sender::new(marks),
            wanted: watch::Sender::new(Wanted::default()),
            shown: Mutex::default(),
        }
    }
    pub(crate) fn marks(&self) -> watch::Receiver<StreamMarks> {
        self.marks.subscribe()
    }
    pub(crate) fn shown_marks(&self) -> StreamMarks {
        self.marks.borrow().clone()
    }
    /// What every stream has passed.
    pub(crate) fn floor(&self) -> Marks {
        self.marks.borrow().floor
    }
    /// Watermarks never move back: of two who come here at once, the later may bring the older ones.
    pub(crate) fn raise(&self, marks: &StreamMarks) {
        self.marks.send_if_modified(|shown| {
            let joined = shown.joined(marks);
            let is_new = joined != *shown;
            *shown = joined;
            is_new
        });
    }
    /// Somebody waits for a stream, or for every one (`None`).
    pub(crate) fn want(&self, stream: Option<StreamId>, lsn: Lsn) {
        self.wanted.send_if_modified(|wanted| {
            let old = match stream {
                Some(stream) if lsn > wanted.all => wanted.streams.entry(stream).or_default(),
                Some(_) => return false,
                None => &mut wanted.all,
            };
            let is_new = lsn > *old;
            *old = lsn.max(*old);
            let all = wanted.all;
            wanted.streams.retain(|_, lsn| *lsn > all);
            is_new
        });
    }
    pub(crate) fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }
    pub(crate) fn status(&self) -> DispersalStatus {
        let shown = self.shown.lock();
        let mut status = shown.status.clone();
        let reasons: BTreeSet<&str> = shown.reasons.values().map(String::as_str).collect();
        let more = reasons.len().saturating_sub(REASONS_MAX);
        let mut text = reasons.into_iter().take(REASONS_MAX).collect::<Vec<_>>().join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        status.waiting_for = Some(text).filter(|text| !text.is_empty());
        status
    }
    pub(crate) fn note(&self, change: impl FnOnce(&mut DispersalStatus)) {
        change(&mut self.shown.lock().status);
    }
    pub(crate) fn waits(&self, who: Who, reason: impl Into<String>) {
        let reason = reason.into();
        let mut shown = self.shown.lock();
        if shown.reasons.get(&who) != Some(&reason) {
            tracing::warn!(?who, %reason, "dispersal waits");
            shown.reasons.insert(who, reason);
        }
    }
    pub(crate) fn goes_on(&self, who: Who) {
        if self.shown.lock().reasons.remove(&who).is_some() {
            tracing::info!(?who, "dispersal goes on");
        }
    }
    /// Nobody carries the deal any more.
    pub(crate) fn forget(&self, fid: Fid) {
        self.shown.lock().status.deals.remove(&fid);
        for who in [Who::Look(fid), Who::Declare(fid), Who::Spare(fid), Who::Stopped(fid)] {
            self.goes_on(who);
        }
    }
}

#[cfg(test)]
mod tests {
    use gw_types::{Fid, Hash32, Lsn, StreamId};

    use super::{Board, Marks, StreamMarks, Who};
    use crate::packer::Queue;

    #[test]
    fn reasons_are_shown_once_each_and_cleared_by_who_gave_them() {
        let board = Board::new(StreamMarks::default());
        let fid = |seed| Fid(Hash32([seed; 32]));
        board.waits(Who::Look(fid(1)), "the chain is away");
        board.waits(Who::Look(fid(2)), "the chain is away");
        board.waits(Who::Packer(Queue::Log), "buy space");
        assert_eq!(board.status().waiting_for.as_deref(), Some("buy space; the chain is away"));
        board.goes_on(Who::Packer(Queue::Log));
        board.forget(fid(1));
        assert_eq!(board.status().waiting_for.as_deref(), Some("the chain is away"));
        board.goes_on(Who::Look(fid(2)));
        assert_eq!(board.status().waiting_for, None);
    }

    #[test]
    fn shown_watermarks_never_move_back() {
        let marks = |dispersed, finalized| Marks { dispersed: Lsn(dispersed), finalized: Lsn(finalized) };
        let of = |floor, log, stream| StreamMarks { floor, log, streams: [(StreamId(1), stream)].into() };
        let board = Board::new(StreamMarks::default());
        board.raise(&of(marks(5, 3), marks(9, 9), marks(6, 5)));
        board.raise(&of(marks(4, 4), marks(8, 8), marks(7, 4)));
        assert_eq!(board.floor(), marks(5, 4));
        assert_eq!(board.shown_marks().of(StreamId(1)), marks(7, 5));
        assert_eq!(board.shown_marks().of(StreamId(2)), marks(9, 9));
        // The stream has passed everything; who still brings its old marks changes nothing.
        board.raise(&StreamMarks { floor: marks(9, 9), log: marks(9, 9), ..StreamMarks::default() });
        board.raise(&of(marks(5, 3), marks(9, 9), marks(6, 5)));
        assert_eq!(board.shown_marks().of(StreamId(1)), marks(9, 9));
    }

    #[test]
    fn what_is_wanted_of_all_covers_what_is_wanted_of_one() {
        let board = Board::new(StreamMarks::default());
        let wanted = || board.wanted().borrow().clone();
        board.want(Some(StreamId(1)), Lsn(5));
        board.want(Some(StreamId(2)), Lsn(9));
        board.want(None, Lsn(6));
        board.want(Some(StreamId(1)), Lsn(6));
        assert_eq!((wanted().all, wanted().highest()), (Lsn(6), Lsn(9)));
        assert_eq!(wanted().streams, [(StreamId(2), Lsn(9))].into());
        board.want(None, Lsn(3));
        assert_eq!(wanted().all, Lsn(6));
    }
}
