//! What reads cost.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ReadTotals;

/// Counters since open.
#[derive(Debug, Default)]
pub(crate) struct ReadStats {
    pub(crate) asked_bytes: AtomicU64,
    pub(crate) fetched_bytes: AtomicU64,
    pub(crate) hedges: AtomicU64,
    pub(crate) rebuilds: AtomicU64,
    pub(crate) bad_columns: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) file_reads: AtomicU64,
    pub(crate) remote_reads: AtomicU64,
}

pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl ReadStats {
    pub(crate) fn totals(&self) -> ReadTotals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadTotals {
            asked_bytes: of(&self.asked_bytes),
            fetched_bytes: of(&self.fetched_bytes),
            hedges: of(&self.hedges),
            rebuilds: of(&self.rebuilds),
            bad_columns: of(&self.bad_columns),
            cache_hits: of(&self.cache_hits),
            file_reads: of(&self.file_reads),
            remote_reads: of(&self.remote_reads),
        }
    }
}
