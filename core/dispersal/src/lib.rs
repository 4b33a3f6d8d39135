//! Dispersal: from sealed segments on this disk to Active deals on the network, and back.
//!
//! The [`conductor`] seals segments, cuts the log into parts, groups both into deals and raises the
//! watermarks `dispersed` and `finalized`; a [`carry`] task brings one deal from intent to Active,
//! doing what the pure state machine in [`deal`] decides; [`restore`] reads it all back on an empty
//! directory. Promises: nothing is declared that is not sealed and synced here; no deal is declared
//! twice; a watermark passes a commit only when its text and every byte it points at have reached
//! the level; every wait ends with an answer or a reason in [`Dispersal::status`].

mod carry;
mod conductor;
mod config;
mod deal;
mod error;
mod log;
mod name;
mod pick;
mod restore;
mod rows;
mod state;
mod watermark;

use std::sync::Arc;

use gw_data::rows::SegmentState;
use gw_types::{Level, Lsn, PortError, PortErrorKind, SegmentSeq};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config::{DispersalConfig, DispersalPorts};
pub use error::DispersalError;
pub use name::DealName;
pub use restore::{Restorable, RestorePorts};
pub use rows::LOCAL;
pub use state::{DealProgress, DispersalStatus, Marks};

use conductor::Conductor;
use state::Board;

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
    ports: DispersalPorts,
    board: Arc<Board>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Dispersal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispersal").field("status", &self.board.status()).finish_non_exhaustive()
    }
}

impl Dispersal {
    /// Resumes where an earlier run stood. Must be called within a tokio runtime, before the first
    /// checkpoint of the database.
    pub fn start(ports: DispersalPorts, config: DispersalConfig) -> Result<Arc<Self>, DispersalError> {
        let (conductor, board) = Conductor::resume(ports.clone(), config)?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(conductor.run(stopped));
        Ok(Arc::new(Self { ports, board, stop, task: Mutex::new(Some(task)) }))
    }

    /// Watermarks above `staged`.
    pub fn marks(&self) -> Marks {
        *self.board.marks().borrow()
    }

    /// What it is doing.
    pub fn status(&self) -> DispersalStatus {
        self.board.status()
    }

    /// Returns when the watermark of `level` has passed `lsn`. Asks for a cut of the log; the wait
    /// itself is not bounded here, the caller's is.
    pub async fn wait(&self, level: Level, lsn: Lsn) -> Result<(), DispersalError> {
        self.ports.db.wait_staged(lsn).await?;
        if level == Level::Staged {
            return Ok(());
        }
        let mut marks = self.board.marks();
        self.board.want(lsn);
        match marks.wait_for(|marks| marks.at(level) >= lsn).await {
            Ok(_) => Ok(()),
            Err(_) => Err(PortError::unknown(PortErrorKind::Unavailable, "the gateway is stopping").into()),
        }
    }

    /// Brings everything committed so far to `level`, and returns the newest commit covered.
    pub async fn flush(&self, level: Level) -> Result<Lsn, DispersalError> {
        let lsn = self.ports.db.appended();
        self.wait(level, lsn).await?;
        Ok(lsn)
    }

    /// Removes the files of finalized segments, never of others.
    pub async fn evict(&self) -> Result<Evicted, DispersalError> {
        let mut outcome = Evicted::default();
        let mut from = SegmentSeq(0);
        loop {
            let page = gw_data::rows::segments(&self.ports.db.snapshot(), from, 1000)?;
            let Some((last, _)) = page.last() else { return Ok(outcome) };
            from = last.next();
            for (seq, row) in page.into_iter().filter(|(_, row)| row.local) {
                if row.state == SegmentState::Finalized && self.ports.data.evict(seq).await? {
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
