//! What the data layer is opened with, and what it says about itself.

use std::sync::Arc;
use std::time::Duration;

use gw_db::Db;
use gw_types::ports::{Clock, Keys, Miners, Striper};

use crate::segments::SegmentFiles;

/// What [`crate::Data`] stands on.
#[derive(Clone)]
pub struct DataPorts {
    /// The database, opened with `files` as its sink.
    pub db: Arc<Db>,
    /// The segment files.
    pub files: Arc<SegmentFiles>,
    /// The key tree.
    pub keys: Arc<dyn Keys>,
    /// Where dispersed bytes are.
    pub miners: Arc<dyn Miners>,
    /// Rebuilds lost columns.
    pub striper: Arc<dyn Striper>,
    /// Time, for hedges, ages and time-outs.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for DataPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataPorts").field("db", &self.db).finish_non_exhaustive()
    }
}

/// Sizes and times. Every one is a maximum, or says what it is.
#[derive(Clone, Debug)]
pub struct DataConfig {
    /// Bytes in segments that are not finalized yet, reservations included. `None` (the default) is
    /// the smaller of 64 GiB and half of what is free on the disk at open.
    pub staging_bytes_max: Option<u64>,
    /// Sealed frames kept in memory. Default 64 MiB.
    pub cache_bytes_max: u64,
    /// Sealed frames from miners kept on the disk; below 16 MiB none are, and those of an earlier life are
    /// removed. Default 0.
    pub disk_cache_bytes_max: u64,
    /// Room on the disk that this cache, and segment files that need not be here, leave to others: with
    /// less they shrink. Default 1 GiB.
    pub disk_cache_free_bytes_min: u64,
    /// Bytes of the files of finalized segments and of the disk cache together, looked after by
    /// [`crate::Data::trim`]. `None` (the default): such files stay until they are evicted one by one.
    pub finalized_bytes_max: Option<u64>,
    /// Unwrapped, expanded keys kept in memory. Default 4096 (about 4 MiB).
    pub ciphers_max: usize,
    /// How long an unwrapped key may be kept. Default five minutes.
    pub cipher_age_max: Duration,
    /// Open segments of one class and stream. Default 4.
    pub lanes_max: usize,
    /// What a reader prefetches at first. Default 256 KiB.
    pub window_bytes_min: u64,
    /// What its window may grow to while it reads on. Default 8 MiB.
    pub window_bytes_max: u64,
    /// A hedge never starts earlier than this. Default 20 ms.
    pub hedge_min: Duration,
    /// Nor later. Default 2 s.
    pub hedge_max: Duration,
    /// When it starts for a miner without statistics. Default 250 ms.
    pub hedge_unknown: Duration,
    /// How long a miner that returned wrong bytes is asked last. Default ten minutes.
    pub penalty_liar: Duration,
    /// How long one that failed or was overtaken is asked after others. Default 30 s.
    pub penalty_failed: Duration,
    /// All a remote read of one run may take. Default 25 s.
    pub fetch_timeout: Duration,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            staging_bytes_max: None,
            cache_bytes_max: 64 << 20,
            disk_cache_bytes_max: 0,
            disk_cache_free_bytes_min: 1 << 30,
            finalized_bytes_max: None,
            ciphers_max: 4096,
            cipher_age_max: Duration::from_secs(300),
            lanes_max: 4,
            window_bytes_min: 256 << 10,
            window_bytes_max: 8 << 20,
            hedge_min: Duration::from_millis(20),
            hedge_max: Duration::from_secs(2),
            hedge_unknown: Duration::from_millis(250),
            penalty_liar: Duration::from_secs(600),
            penalty_failed: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(25),
        }
    }
}

/// Segments of one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentTotals {
    /// How many.
    pub count: u64,
    /// Bytes that commits have put into them.
    pub used_bytes: u64,
    /// Bytes that something still refers to (at most `used_bytes` in truth; shared bytes count once
    /// for each reference, so this figure may be larger).
    pub live_bytes: u64,
    /// How many of them have their file on this machine.
    pub local: u64,
}

/// What reads have cost since open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadTotals {
    /// Plain bytes that remote reads were asked for.
    pub asked_bytes: u64,
    /// Sealed bytes that miners sent for them, hedges and rebuilds included.
    pub fetched_bytes: u64,
    /// Reads that asked more miners than one.
    pub hedges: u64,
    /// Ranges rebuilt from four other columns.
    pub rebuilds: u64,
    /// Columns that were thrown away because tags or the code proved them wrong.
    pub bad_columns: u64,
    /// Runs served from memory.
    pub cache_hits: u64,
    /// Runs served from a segment file.
    pub file_reads: u64,
    /// Runs served by miners.
    pub remote_reads: u64,
}

/// The cache on disk of frames from miners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskCacheStatus {
    /// Bytes of its files.
    pub bytes: u64,
    /// Their limit; 0 where there is no such cache.
    pub bytes_max: u64,
    /// Frames in it.
    pub frames: u64,
    /// Runs it served since open.
    pub hits: u64,
    /// Runs it was asked for and did not have, or had wrong.
    pub misses: u64,
    /// Why it turned itself off, if so.
    pub off: Option<String>,
}

/// Figures for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataStatus {
    /// Staged and reserved bytes.
    pub staging_used_bytes: u64,
    /// Their limit.
    pub staging_bytes_max: u64,
    /// By state: open.
    pub open: SegmentTotals,
    /// Sealed, not yet dispersed.
    pub sealed: SegmentTotals,
    /// Held by their miners.
    pub dispersed: SegmentTotals,
    /// In Active deals of finalized blocks.
    pub finalized: SegmentTotals,
    /// Moved into others by compaction.
    pub moved: SegmentTotals,
    /// Bytes in the memory cache.
    pub cache_bytes: u64,
    /// Its limit.
    pub cache_bytes_max: u64,
    /// The cache on disk.
    pub disk_cache: DiskCacheStatus,
    /// What reads have cost.
    pub reads: ReadTotals,
    /// Segments whose bytes should be here and are not.
    pub lost: u64,
    /// Set when a segment file failed to sync.
    pub poisoned: Option<String>,
    /// The disk has no room for segment files. Cleared when room is back.
    pub disk_full: bool,
}
