//! What a database is opened with, and what it says about itself.

use std::sync::Arc;

use async_trait::async_trait;
use gw_types::ports::{Catalog, Clock, Disk};
use gw_types::{Lsn, PortError, PortResult, SegmentSeq};

/// The ports a database stands on.
#[derive(Clone)]
pub struct DbPorts {
    /// Where `journal/` and `runs/` are. Segment files of others may stand beside them.
    pub disk: Arc<dyn Disk>,
    /// The index. It may be fresh: it is then filled from runs and journal.
    pub catalog: Arc<dyn Catalog>,
    /// Time, for ages and for [`crate::Txn::now`].
    pub clock: Arc<dyn Clock>,
    /// Takes the inline bytes of records to their segment files.
    pub sink: Arc<dyn InlineSink>,
}

/// Where inline bytes of journal records go: segment files.
///
/// Placing is idempotent: after a crash the same bytes are placed again at the same offset. A place
/// in a segment that has been sealed since receives the same bytes it has; in a segment whose file is
/// gone (evicted, compacted) it must be ignored. Records whose places were synced before
/// ([`InlineSink::sync_placed`]) and checkpointed are not placed again.
#[async_trait]
pub trait InlineSink: Send + Sync {
    /// Puts `bytes` at `offset` of `segment`, into the operating system's cache, so that a reader
    /// sees them at once. Called under the commit lock, before the commit is visible: it must not
    /// wait for the device, and after an error the commit does not happen.
    fn place(&self, segment: SegmentSeq, offset: u64, bytes: &[u8]) -> PortResult<()>;
    /// Returns when all bytes placed before the call are on stable storage. An error poisons the database.
    async fn sync_placed(&self) -> PortResult<()>;
}

/// A sink that drops what it is given, for databases without inline bytes.
#[derive(Debug, Default)]
pub struct NoInlines;

#[async_trait]
impl InlineSink for NoInlines {
    fn place(&self, _segment: SegmentSeq, _offset: u64, _bytes: &[u8]) -> PortResult<()> {
        Ok(())
    }
    async fn sync_placed(&self) -> PortResult<()> {
        Ok(())
    }
}

/// Sizes and ages. Every one is a maximum: when it is reached someone waits or is refused.
#[derive(Clone, Debug)]
pub struct DbConfig {
    /// A journal file longer than this is followed by a new one. Default 64 MiB.
    pub journal_file_bytes_max: u64,
    /// Bytes of journal kept on disk; above it commits are refused as busy. It is reached only when the log
    /// stream (see [`crate::Db::hold_records_after`]) or checkpoints have stood still for long. Default 16 GiB.
    pub journal_bytes_max: u64,
    /// Room is reserved on disk in steps of this size. Default 16 MiB.
    pub journal_step_bytes: u64,
    /// Bytes of records appended but not yet synced; above it commits are refused as busy. Default 64 MiB.
    pub pending_bytes_max: u64,
    /// Bytes written before one sync; what gathers beyond waits for the next. Default 8 MiB.
    pub group_bytes_max: u64,
    /// Longest record. Default 16 MiB.
    pub record_bytes_max: u64,
    /// A checkpoint begins when the overlay is larger; at twice this commits are refused as busy. Default 32 MiB.
    pub overlay_bytes_max: u64,
    /// A checkpoint begins when more was appended to the journal since the last one: a crash leaves about
    /// so much to replay. Default 256 MiB.
    pub checkpoint_journal_bytes: u64,
    /// A checkpoint begins when the oldest change in the overlay is older. Default 60 s.
    pub checkpoint_age_ms: u64,
    /// Local checkpoint runs kept before they are merged whatever their sizes. Default 12.
    pub runs_max: usize,
    /// Rows a catalog engine is given at a time: sled stops its readers while it applies a batch. Default 2048.
    pub catalog_batch_rows_max: usize,
}

impl Default for DbConfig {
    fn default() -> Self {
        Self {
            journal_file_bytes_max: 64 << 20,
            journal_bytes_max: 16 << 30,
            journal_step_bytes: 16 << 20,
            pending_bytes_max: 64 << 20,
            group_bytes_max: 8 << 20,
            record_bytes_max: 16 << 20,
            overlay_bytes_max: 32 << 20,
            checkpoint_journal_bytes: 256 << 20,
            checkpoint_age_ms: 60_000,
            runs_max: 12,
            catalog_batch_rows_max: 2048,
        }
    }
}

/// Whether commits are taken, and why not.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Set when a write or sync failed: read-only until a restart.
    pub poisoned: Option<Arc<PortError>>,
    /// The last checkpoint failed with this; it is tried again.
    pub checkpoint_failed: Option<Arc<str>>,
    /// The last commit was refused because the disk is full.
    pub disk_full: bool,
}

impl Health {
    /// Whether a commit may be tried.
    pub fn is_writable(&self) -> bool {
        self.poisoned.is_none()
    }
}

/// Figures for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DbStats {
    /// Newest record.
    pub appended: Lsn,
    /// Newest record in the synced journal.
    pub staged: Lsn,
    /// Newest record in a local checkpoint run.
    pub checkpoint: Lsn,
    /// Newest record in the catalog engine.
    pub applied: Lsn,
    /// Bytes appended and not yet synced.
    pub pending_bytes: u64,
    /// Estimated bytes of the overlay in memory.
    pub overlay_bytes: u64,
    /// Row versions in the overlay.
    pub overlay_rows: u64,
    /// Snapshots held by readers.
    pub snapshots: usize,
    /// LSN of the oldest of them.
    pub snapshot_oldest: Option<Lsn>,
    /// Journal files on disk.
    pub journal_files: usize,
    /// Bytes of records in them.
    pub journal_bytes: u64,
    /// Local checkpoint runs.
    pub runs: usize,
    /// Bytes in them.
    pub run_bytes: u64,
    /// Rows (and deletions) in them.
    pub run_rows: u64,
    /// Bytes of the catalog engine on disk.
    pub catalog_bytes: u64,
    /// Journal syncs since open.
    pub syncs: u64,
    /// Records synced since open; divided by `syncs` it is the mean group.
    pub records: u64,
}
