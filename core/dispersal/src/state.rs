//! What waiters and `status` see of dispersal: watermarks, progress and the reason of a standstill.

use std::collections::BTreeMap;

use gw_types::{Fid, Level, Lsn};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Watermarks of the namespace stream above `staged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Everything up to here is held by its miners.
    pub dispersed: Lsn,
    /// Everything up to here is in Active deals.
    pub finalized: Lsn,
}

impl Marks {
    /// The mark of a level; `staged` is not kept here.
    pub fn at(self, level: Level) -> Lsn {
        match level {
            Level::Staged | Level::Dispersed => self.dispersed,
            Level::Finalized => self.finalized,
        }
    }
}

/// A deal under way, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealProgress {
    /// Its segments.
    pub segments: usize,
    /// `"looking"`, `"declared"`, `"active"`.
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
    /// Miners that answered the last probe with room.
    pub miners_healthy: usize,
    /// Miners the chain calls positive.
    pub miners_known: usize,
    /// Why nothing moves, when nothing does.
    pub waiting_for: Option<String>,
}

/// Shared between the tasks and their callers.
#[derive(Debug)]
pub(crate) struct Board {
    marks: watch::Sender<Marks>,
    /// Highest LSN somebody waits for.
    wanted: watch::Sender<Lsn>,
    status: Mutex<DispersalStatus>,
}

impl Board {
    pub(crate) fn new(marks: Marks) -> Self {
        Self { marks: watch::Sender::new(marks), wanted: watch::Sender::new(Lsn(0)), status: Mutex::default() }
    }
    pub(crate) fn marks(&self) -> watch::Receiver<Marks> {
        self.marks.subscribe()
    }
    /// Watermarks never move back.
    pub(crate) fn raise(&self, marks: Marks) {
        self.marks.send_if_modified(|now| {
            assert!(marks.dispersed >= now.dispersed && marks.finalized >= now.finalized, "watermarks never move back");
            std::mem::replace(now, marks) != marks
        });
    }
    pub(crate) fn want(&self, lsn: Lsn) {
        self.wanted.send_if_modified(|wanted| lsn > *wanted && std::mem::replace(wanted, lsn) < lsn);
    }
    pub(crate) fn wanted(&self) -> watch::Receiver<Lsn> {
        self.wanted.subscribe()
    }
    pub(crate) fn status(&self) -> DispersalStatus {
        self.status.lock().clone()
    }
    pub(crate) fn note(&self, change: impl FnOnce(&mut DispersalStatus)) {
        change(&mut self.status.lock());
    }
    pub(crate) fn waiting_for(&self, reason: Option<String>) {
        let mut status = self.status.lock();
        if status.waiting_for != reason {
            match &reason {
                Some(reason) => tracing::warn!(%reason, "dispersal waits"),
                None => tracing::info!("dispersal goes on"),
            }
            status.waiting_for = reason;
        }
    }
}
