//! An attached volume: reads, a queue of changes, flushes.
//!
//! Changes go through one queue and one task, in the order in which they were asked for. The task takes
//! what has gathered and makes one commit of it, so a deep queue of small writes costs little more than
//! one; a caller that goes away leaves its change where it is, before all that is asked for later. When
//! the store is busy, or staging full, the task waits a while before it gives up.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gw_data::{DataMap, MapRun};
use gw_types::ports::WrappedBucketKey;
use gw_types::{Action, Authenticated, Level, Lsn, StreamId};
use tokio::sync::{mpsc, oneshot};

use super::snapshot::snapshot_row;
use super::{VolumeAt, leased, volume_row};
use crate::api::SnapshotName;
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::file::{File, FileAt, FilePiece, Hand, Leased};
use crate::rows::{Lease, VolumeRow, key};

/// Changes that wait for the task.
const QUEUE_MAX: usize = 256;
/// Bytes that become one commit.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long a change waits for room before it fails.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(25);

/// A part of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumePiece {
    /// Bytes.
    Data(Bytes),
    /// So many zeros that take no room.
    Zeros(u64),
}

impl From<FilePiece> for VolumePiece {
    fn from(piece: FilePiece) -> Self {
        match piece {
            FilePiece::Data(bytes) => Self::Data(bytes),
            FilePiece::Zeros(len) => Self::Zeros(len),
        }
    }
}

/// An attached volume, or one of its snapshots. Dropping it ends the lease and publishes what was
/// written.
#[derive(Debug)]
pub struct Volume {
    core: Arc<Core>,
    at: FileAt,
    size_bytes: u64,
    stream: StreamId,
    level: Level,
    key: WrappedBucketKey,
    kind: Kind,
    /// Newest commit that a caller was told of.
    answered: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Kind {
    Writer { leased: Leased, queue: mpsc::Sender<Order> },
    Reader,
    Snapshot(SnapshotName),
}

#[derive(Debug)]
struct Order {
    what: What,
    done: oneshot::Sender<StoreResult<()>>,
}

#[derive(Debug)]
enum What {
    Write(u64, Bytes),
    Punch(Range<u64>),
}

impl Core {
    /// Takes the lease of a volume, whoever may read and write its object. `Leased` while another has it.
    pub(crate) fn volume_attach(
        self: &Arc<Self>,
        who: &Authenticated,
        at: VolumeAt<'_>,
        holder: &str,
    ) -> StoreResult<Volume> {
        let done = self.commit(|work| {
            self.volume_file(&*work.txn, who, (at, Action::GetObject))?;
            let (file_at, bucket) = self.volume_file(&*work.txn, who, (at, Action::PutObject))?;
            let size_bytes = File::load(&*work.txn, &file_at)?.len()?;
            let mut row = volume_row(&*work.txn, &file_at)?.unwrap_or_else(|| VolumeRow::of(at, work.now));
            if let Some(lease) = &row.lease {
                let message = format!("the volume is attached by {}", lease.holder);
                return Err(StoreError::new(StoreErrorKind::Leased, message));
            }
            let epoch = work.new_version().0;
            row.lease = Some(Lease { epoch, holder: holder.to_owned(), since: work.now });
            work.put_row(key::volume(file_at.inode), &row);
            work.txn.stream(bucket.stream);
            Ok((file_at, bucket, size_bytes, epoch))
        })?;
        let (file_at, bucket, size_bytes, epoch) = done.value;
        let (queue, orders) = mpsc::channel(QUEUE_MAX);
        let answered = Arc::new(AtomicU64::new(done.lsn.0));
        let leased = leased(&file_at, epoch);
        let worker = Worker { core: self.clone(), at: file_at.clone(), leased, answered: answered.clone() };
        tokio::spawn(worker.run(orders));
        Ok(Volume {
            core: self.clone(),
            at: file_at,
            size_bytes,
            stream: leased.stream,
            level: bucket.settings.level,
            key: bucket.key,
            kind: Kind::Writer { leased, queue },
            answered,
        })
    }

    /// A volume, or one of its snapshots, to be read only. Takes no lease.
    pub(crate) fn volume_open(
        self: &Arc<Self>,
        who: &Authenticated,
        at: VolumeAt<'_>,
        name: Option<&SnapshotName>,
    ) -> StoreResult<Volume> {
        let snapshot = self.snapshot();
        let (file_at, bucket) = self.volume_file(&snapshot, who, (at, Action::GetObject))?;
        let (size_bytes, kind) = match name {
            Some(name) => (snapshot_row(&snapshot, &file_at, name)?.data.len, Kind::Snapshot(name.clone())),
            None => (File::load(&snapshot, &file_at)?.len()?, Kind::Reader),
        };
        Ok(Volume {
            core: self.clone(),
            at: file_at,
            size_bytes,
            stream: bucket.stream,
            level: bucket.settings.level,
            key: bucket.key,
            kind,
            answered: Arc::default(),
        })
    }
}

impl Volume {
    /// Its size when it was attached, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    /// Whether it takes changes.
    pub fn is_writable(&self) -> bool {
        matches!(self.kind, Kind::Writer { .. })
    }
    /// The level that its bucket asks for: [`Volume::flush`] waits for it.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The bytes of a range inside the volume, in order. All of it is in memory.
    pub async fn read(&self, range: Range<u64>) -> StoreResult<Vec<VolumePiece>> {
        self.check(&range)?;
        let pieces = match &self.kind {
            Kind::Snapshot(name) => {
                let map = snapshot_row(&self.core.snapshot(), &self.at, name)?.data;
                self.core.read_map(Arc::new(map), self.key.clone(), range.clone()).await?
            }
            _ => self.core.file_read(&self.at, range.clone()).await?,
        };
        let mut pieces: Vec<VolumePiece> = pieces.into_iter().map(VolumePiece::from).collect();
        let len = |piece: &VolumePiece| match piece {
            VolumePiece::Data(bytes) => bytes.len() as u64,
            VolumePiece::Zeros(len) => *len,
        };
        let missing = range.end - range.start - pieces.iter().map(len).sum::<u64>();
        if missing > 0 {
            // An object that was put need not end at a border of blocks.
            pieces.push(VolumePiece::Zeros(missing));
        }
        Ok(pieces)
    }

    /// Writes bytes: visible, and in the journal's order, when it returns; safe after a flush.
    pub async fn write(&self, at: u64, bytes: Bytes) -> StoreResult<()> {
        self.check(&(at..at.saturating_add(bytes.len() as u64)))?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.order(What::Write(at, bytes)).await
    }

    /// Makes a range zeros that take no room.
    pub async fn punch(&self, range: Range<u64>) -> StoreResult<()> {
        self.check(&range)?;
        if range.is_empty() {
            return Ok(());
        }
        self.order(What::Punch(range)).await
    }

    /// Returns when everything that was answered before has reached the bucket's level.
    pub async fn flush(&self) -> StoreResult<()> {
        let lsn = Lsn(self.answered.load(Ordering::Acquire));
        if lsn == Lsn(0) {
            return Ok(());
        }
        self.core.settle(lsn, self.stream, self.level).await
    }

    /// Holes and data of a range, in order, at most so many.
    pub fn runs(&self, range: Range<u64>, runs_max: usize) -> StoreResult<Vec<MapRun>> {
        self.check(&range)?;
        let runs = self.map()?.runs(&self.core.snapshot(), range.clone(), runs_max)?;
        Ok(filled_up(runs, range, runs_max))
    }

    /// Where it differs from one of its snapshots, in the same form.
    pub fn changes(
        &self,
        since: &SnapshotName,
        range: Range<u64>,
        runs_max: usize,
    ) -> StoreResult<Vec<MapRun>> {
        self.check(&range)?;
        let snapshot = self.core.snapshot();
        let old = snapshot_row(&snapshot, &self.at, since)?.data;
        let runs = self.map()?.changes(&snapshot, &old, range.clone(), runs_max)?;
        Ok(filled_up(runs, range, runs_max))
    }

    /// Its snapshots, oldest first.
    pub fn snapshots(&self) -> StoreResult<Vec<SnapshotName>> {
        Ok(self.core.snapshots_of(&self.at)?.into_iter().map(|info| info.name).collect())
    }

    /// Ends the lease; S3 sees what was written, and it is staged.
    pub async fn detach(self) -> StoreResult<()> {
        self.flush().await?;
        let (core, stream) = (self.core.clone(), self.stream);
        drop(self);
        let lsn = core.db.appended();
        core.settle(lsn, stream, Level::Staged).await
    }

    fn map(&self) -> StoreResult<DataMap> {
        match &self.kind {
            Kind::Snapshot(name) => Ok(snapshot_row(&self.core.snapshot(), &self.at, name)?.data),
            _ => self.core.file(&self.at)?.map(),
        }
    }

    fn check(&self, range: &Range<u64>) -> StoreResult<()> {
        if range.start <= range.end && range.end <= self.size_bytes {
            Ok(())
        } else {
            Err(StoreError::invalid("the range leaves the volume"))
        }
    }

    async fn order(&self, what: What) -> StoreResult<()> {
        let Kind::Writer { queue, .. } = &self.kind else {
            return Err(StoreError::new(StoreErrorKind::AccessDenied, "the volume is attached read-only"));
        };
        let (done, answer) = oneshot::channel();
        let gone = |_| StoreError::new(StoreErrorKind::Leased, "the volume has been detached").maybe_done();
        queue.send(Order { what, done }).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

/// With what lies behind the end of the map as a hole, unless they were cut short.
fn filled_up(mut runs: Vec<MapRun>, range: Range<u64>, runs_max: usize) -> Vec<MapRun> {
    let missing = range.end - range.start - runs.iter().map(|run| run.len).sum::<u64>();
    if missing > 0 && runs.len() < runs_max {
        match runs.last_mut().filter(|last| !last.is_data) {
            Some(last) => last.len += missing,
            None => runs.push(MapRun { len: missing, is_data: false }),
        }
    }
    runs
}

impl Drop for Volume {
    fn drop(&mut self) {
        let Kind::Writer { leased, .. } = &self.kind else { return };
        let ended = self
            .core
            .file_publish(&self.at)
            .map(|_| ())
            .and_then(|()| self.core.end_lease(&self.at, leased.epoch));
        if let Err(error) = ended {
            // The next start publishes what is left, and takes the lease away.
            tracing::warn!(inode = self.at.inode.0, %error, "a volume was not detached in order");
        }
    }
}

impl Core {
    fn end_lease(&self, at: &FileAt, epoch: u64) -> StoreResult<()> {
        self.commit(|work| {
            let Some(mut row) = volume_row(&*work.txn, at)? else { return Ok(()) };
            if row.lease.as_ref().is_some_and(|lease| lease.epoch == epoch) {
                row.lease = None;
                work.put_row(key::volume(at.inode), &row);
            }
            Ok(())
        })
        .map(|_| ())
    }

    /// Takes a lease away from whoever has it: what he writes from now on is refused.
    pub(crate) fn volume_fence(&self, who: &Authenticated, at: VolumeAt<'_>) -> StoreResult<()> {
        self.commit(|work| {
            let (file_at, _) = self.volume_file(&*work.txn, who, (at, Action::PutObject))?;
            if let Some(mut row) = volume_row(&*work.txn, &file_at)? {
                row.lease = None;
                work.put_row(key::volume(file_at.inode), &row);
            }
            Ok(())
        })
        .map(|_| ())
    }
}

/// The task behind a volume's queue. It ends with the volume.
struct Worker {
    core: Arc<Core>,
    at: FileAt,
    leased: Leased,
    answered: Arc<AtomicU64>,
}

impl Worker {
    async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(order) => order,
                None => match orders.recv().await {
                    Some(order) => order,
                    None => return,
                },
            };
            match first.what {
                What::Punch(range) => {
                    let result = self.patiently(|| self.punch(range.clone())).await;
                    self.answer([first.done], result);
                }
                What::Write(at, bytes) => {
                    let mut bytes_sum = bytes.len();
                    let (mut pieces, mut waiting) = (vec![(at, bytes)], vec![first.done]);
                    while let Ok(order) = orders.try_recv() {
                        match order.what {
                            What::Write(at, bytes) if bytes_sum + bytes.len() <= BATCH_BYTES_MAX => {
                                bytes_sum += bytes.len();
                                pieces.push((at, bytes));
                                waiting.push(order.done);
                            }
                            what => {
                                next = Some(Order { what, done: order.done });
                                break;
                            }
                        }
                    }
                    let hand = Hand::Lease(self.leased);
                    let result = self.patiently(|| self.core.file_write(&self.at, hand, &pieces)).await;
                    self.answer(waiting, result);
                }
            }
        }
    }

    async fn punch(&self, range: Range<u64>) -> StoreResult<Lsn> {
        self.core.file_punch(&self.at, Hand::Lease(self.leased), range)
    }

    /// Tries again while what is in the way may pass.
    async fn patiently<F: Future<Output = StoreResult<Lsn>>>(&self, act: impl Fn() -> F) -> StoreResult<Lsn> {
        let begun = self.core.clock.elapsed();
        loop {
            let result = act().await;
            let passes = |error: &StoreError| {
                matches!(error.kind(), StoreErrorKind::Busy | StoreErrorKind::StagingFull)
            };
            match result {
                Err(error) if passes(&error) && self.core.clock.elapsed() - begun < PATIENCE => {
                    self.core.clock.sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }

    fn answer(
        &self,
        waiting: impl IntoIterator<Item = oneshot::Sender<StoreResult<()>>>,
        result: StoreResult<Lsn>,
    ) {
        if let Ok(lsn) = &result {
            self.answered.fetch_max(lsn.0, Ordering::AcqRel);
        }
        for done in waiting {
            let told = match &result {
                Ok(_) => Ok(()),
                Err(error) => Err(StoreError::new(error.kind(), error.to_string())),
            };
            // Whoever asked may have gone.
            let _ = done.send(told);
        }
    }
}
