//! Dispersal: from sealed segments on this disk to Active deals on the network, and back.
//!
//! The [`conductor`] seals segments, has the log cut into parts ([`cutter`], [`log`]), groups both into
//! deals ([`packer`], [`pick`]) and raises the watermarks `dispersed` and `finalized` ([`watermark`]); a
//! [`carry`] task brings one deal from intent to Active, doing what the pure state machine in [`deal`]
//! decides; [`upkeep`] collects dead deals and lets placements follow the chain; [`compact`] moves what
//! is alive out of deals that are mostly dead, in a reserve that [`room`] keeps; [`restore`] reads it all
//! back on an empty directory.
//!
//! Promises: nothing is declared that is not sealed and synced here; no deal is declared twice; a
//! watermark passes a commit only when its text and every byte it points at have reached the level,
//! and is staged before anybody sees it; every wait ends with an answer or has a reason in
//! [`Dispersal::status`]; every queue, window and buffer has a named maximum.
//!
//! Left out: checkpoints on the network (a restore reads the whole log, and log segments
//! are never collected); repair of lost fragments, which on CESS is the miners' own.

mod carry;
mod compact;
mod conductor;
mod config;
mod cutter;
mod deal;
mod error;
mod log;
mod name;
mod packer;
mod pick;
mod placement;
mod restore;
mod room;
mod rows;
mod shared;
mod state;
mod upkeep;
mod watermark;

use std::sync::Arc;

use gw_data::rows::SegmentState;
use gw_types::{Level, Lsn, PortError, PortErrorKind, SegmentSeq, StreamId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config::{DispersalConfig, DispersalPorts};
pub use error::DispersalError;
pub use name::DealName;
pub use restore::{Restorable, RestorePorts};
pub use rows::LOCAL;
pub use state::{Compacted, CompactionPhase, CompactionStatus, DealProgress, DispersalStatus, RoomStatus};
pub use watermark::{Marks, StreamMarks};

use conductor::Conductor;
use shared::Shared;
use state::Who;

/// What `evict` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Segment files removed.
    pub evicted: u64,
    /// Segment files that stay, because their segments are not finalized.
    pub kept: u64,
}

/// A running dispersal. Dropping it stops its tasks; what was under way goes on at the next start.
pub struct Dispersal {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Dispersal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispersal").field("status", &self.shared.board.status()).finish_non_exhaustive()
    }
}

impl Dispersal {
    /// Resumes where an earlier run stood. Must be called within a tokio runtime, before the first
    /// checkpoint of the database.
    pub fn start(ports: DispersalPorts, config: DispersalConfig) -> Result<Arc<Self>, DispersalError> {
        let (conductor, shared) = Conductor::resume(ports, config)?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(conduct(conductor, Arc::clone(&shared), stop.clone(), stopped));
        Ok(Arc::new(Self { shared, stop, task: Mutex::new(Some(task)) }))
    }

    /// Watermarks above `staged` that every stream has passed.
    pub fn marks(&self) -> Marks {
        self.shared.board.floor()
    }

    /// Watermarks of each stream.
    pub fn stream_marks(&self) -> StreamMarks {
        self.shared.board.shown_marks()
    }

    /// What it is doing.
    pub fn status(&self) -> DispersalStatus {
        self.shared.board.status()
    }

    /// Returns when the stream's watermark of `level` has passed `lsn`. Asks for a cut of the log; the
    /// wait itself is not bounded here, the caller's is.
    pub async fn wait(&self, level: Level, stream: StreamId, lsn: Lsn) -> Result<(), DispersalError> {
        self.wait_for(level, Some(stream), lsn).await
    }

    async fn wait_for(&self, level: Level, stream: Option<StreamId>, lsn: Lsn) -> Result<(), DispersalError> {
        self.shared.ports.db.wait_staged(lsn).await?;
        if level == Level::Staged {
            return Ok(());
        }
        let (mut marks, mut stop) = (self.shared.board.marks(), self.stop.subscribe());
        self.shared.board.want(stream, lsn);
        let is_passed = |marks: &StreamMarks| {
            let own = stream.map_or(marks.floor, |stream| marks.of(stream));
            own.at(level) >= lsn
        };
        let is_there = tokio::select! {
            biased;
            reached = marks.wait_for(is_passed) => reached.is_ok(),
            _ = stop.wait_for(|stop| *stop) => false,
        };
        if is_there {
            return Ok(());
        }
        // It may well be there after the next start.
        Err(PortError::unknown(PortErrorKind::Unavailable, "dispersal has stopped").into())
    }

    /// Brings everything committed so far, of every stream, to `level`, and returns the newest commit
    /// covered.
    pub async fn flush(&self, level: Level) -> Result<Lsn, DispersalError> {
        let lsn = self.shared.ports.db.appended();
        self.wait_for(level, None, lsn).await?;
        Ok(lsn)
    }

    /// Compacts until nothing is left that pays, whatever the thresholds say, and tells what that gave.
    /// A run under way is joined. The wait itself is not bounded here, the caller's is; what was begun
    /// goes on.
    pub async fn compact(&self) -> Result<Compacted, DispersalError> {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            done = self.shared.desk.ask() => done,
            _ = stop.wait_for(|stop| *stop) => {
                Err(PortError::unknown(PortErrorKind::Unavailable, "dispersal has stopped").into())
            }
        }
    }

    /// Removes the files of finalized segments, never of others.
    pub async fn evict(&self) -> Result<Evicted, DispersalError> {
        let mut outcome = Evicted::default();
        let mut from = SegmentSeq(0);
        loop {
            let page = gw_data::rows::segments(&self.shared.ports.db.snapshot(), from, 1000)?;
            let Some((last, _)) = page.last() else { return Ok(outcome) };
            from = last.next();
            for (seq, row) in page.into_iter().filter(|(_, row)| row.local) {
                if row.state == SegmentState::Finalized && self.shared.ports.data.evict(seq).await? {
                    outcome.evicted += 1;
                } else {
                    outcome.kept += 1;
                }
            }
        }
    }

    /// Stops its tasks and waits for them. Deals under way go on at the next start.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!(%error, "the conductor ended badly");
        }
    }
}

impl Drop for Dispersal {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

/// Runs the conductor; a fault of its own is shown, and ends every wait.
async fn conduct(
    conductor: Conductor,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
) {
    let mut task = tokio::task::JoinSet::new();
    let mut housekeeping = tokio::task::JoinSet::new();
    task.spawn(conductor.run(stopped.clone()));
    housekeeping.spawn(compact::keep(Arc::clone(&shared), stopped));
    loop {
        tokio::select! {
            ended = task.join_next() => {
                if let Some(Err(error)) = ended {
                    tracing::error!(%error, "the conductor ended badly");
                    let reason = "dispersal has stopped after a fault of its own: restart the gateway";
                    shared.board.waits(Who::Log, reason);
                    stop.send_replace(true);
                }
                return;
            }
            Some(ended) = housekeeping.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "compaction ended badly");
                    let reason = "compaction has stopped after a fault of its own: restart the gateway";
                    shared.board.waits(Who::Compactor, reason);
                }
            }
        }
    }
}
