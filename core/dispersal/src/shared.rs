//! What the conductor, its carriers and the upkeep share: ports, watermarks, limits on memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::StreamExt;
use gw_data::rows::{self, SegmentState};
use gw_types::ports::MinerAddr;
use gw_types::{AccountId, FRAGMENT_BYTES, Fid, Hash32, Level, Lsn, PortResult, SegmentSeq};
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::compact::Desk;
use crate::config::{DispersalConfig, DispersalPorts};
use crate::error::DispersalError;
use crate::pick;
use crate::rows as own;
use crate::rows::LOCAL;
use crate::state::Board;
use crate::watermark::{Cut, Needs, Watermarks};

/// Whole segments (32 MiB) in memory at once for sending.
const RESIDENT_MAX: usize = 3;
/// Miners probed at once.
const PROBES_AT_ONCE: usize = 32;
/// Healthy miners found beyond those needed, so that there is a choice between hosts.
const PROBE_SPARES: usize = 12;
/// Fragments whose repair was told and not looked into yet.
const REPAIRED_MAX: usize = 10_000;

pub(crate) struct Shared {
    pub(crate) ports: DispersalPorts,
    pub(crate) config: DispersalConfig,
    pub(crate) board: Arc<Board>,
    pub(crate) marks: Mutex<Watermarks>,
    /// Wakes the conductor.
    pub(crate) again: Notify,
    /// Fragments on their way to miners, over all deals.
    pub(crate) sends: Semaphore,
    pub(crate) loader: Loader,
    /// Fragments that the chain says have moved to another miner.
    pub(crate) repaired: Mutex<BTreeSet<Hash32>>,
    /// The finalized block after which no call of an earlier life can be executed.
    fenced: OnceCell<u32>,
    /// Deals that compaction has emptied, and the commit from which on nothing needs them.
    pub(crate) emptied: Mutex<BTreeMap<Fid, Lsn>>,
    /// Somebody waits for the upkeep.
    pub(crate) is_upkeep_wanted: AtomicBool,
    /// A dead deal waits for the watermark.
    pub(crate) is_mark_wanted: AtomicBool,
    pub(crate) desk: Desk,
}

impl Shared {
    pub(crate) fn new(
        ports: DispersalPorts,
        config: DispersalConfig,
        board: Arc<Board>,
        marks: Watermarks,
    ) -> Self {
        Self {
            loader: Loader::default(),
            sends: Semaphore::new(config.sends_max.max(1)),
            ports,
            config,
            board,
            marks: Mutex::new(marks),
            again: Notify::new(),
            repaired: Mutex::default(),
            fenced: OnceCell::new(),
            emptied: Mutex::default(),
            is_upkeep_wanted: AtomicBool::new(false),
            is_mark_wanted: AtomicBool::new(false),
            desk: Desk::default(),
        }
    }

    /// Puts an end to calls of an earlier life, once in this life; gives the finalized block after which
    /// what they did is seen, and nothing is added to it.
    pub(crate) async fn fence(&self) -> PortResult<u32> {
        let chain = &self.ports.chain;
        let fenced = self.fenced.get_or_try_init(|| async {
            chain.fence().await?;
            Ok(chain.head().await?.block)
        });
        fenced.await.copied()
    }

    /// A further cut of the log, whose rows are staged.
    pub(crate) fn push(&self, cut: Cut) -> Result<(), DispersalError> {
        // Rows are read under this lock: whoever raises a segment writes its row before coming here,
        // so what is not read below is told afterwards.
        let mut marks = self.marks.lock();
        let known = self.levels(&cut.needs)?;
        marks.push(cut, &known);
        Ok(())
    }

    /// Levels that segments have reached by their rows. A segment without a row was dropped: nothing
    /// points at it any more, so it holds nobody up.
    pub(crate) fn levels(&self, needs: &Needs) -> Result<Vec<(SegmentSeq, Level)>, DispersalError> {
        let snapshot = self.ports.db.snapshot();
        let mut known = Vec::new();
        for seq in needs.all() {
            let level = match rows::segment(&snapshot, seq)? {
                None => Some(Level::Finalized),
                Some(row) => match row.state {
                    SegmentState::Open | SegmentState::Sealed => None,
                    SegmentState::Dispersed => Some(Level::Dispersed),
                    SegmentState::Finalized | SegmentState::Moved => Some(Level::Finalized),
                },
            };
            known.extend(level.map(|level| (seq, level)));
        }
        Ok(known)
    }

    /// Segments have reached a level; their rows say so already and are staged.
    pub(crate) async fn reached(&self, segments: &[SegmentSeq], level: Level) -> Result<(), DispersalError> {
        self.marks.lock().reached(segments, level);
        let published = self.publish().await;
        self.again.notify_one();
        published
    }

    /// Writes watermarks that have moved, waits until they are staged, then shows them: a mark that
    /// somebody has seen is there after a crash. May be called by several at once.
    pub(crate) async fn publish(&self) -> Result<(), DispersalError> {
        let marks = self.marks.lock().marks().clone();
        if self.board.shown_marks() == marks {
            return Ok(());
        }
        // Only the floor is written: how far the others are, the rows of cuts and segments tell.
        let floor = marks.floor;
        let committed = self.ports.db.transact(|txn| {
            let mut row = own::marks(txn)?;
            if row.dispersed >= floor.dispersed && row.finalized >= floor.finalized {
                return Ok(());
            }
            txn.stream(LOCAL);
            row.dispersed = row.dispersed.max(floor.dispersed);
            row.finalized = row.finalized.max(floor.finalized);
            for (last, _) in own::cuts(txn)?.into_iter().filter(|(last, _)| *last <= row.finalized) {
                own::delete_cut(txn, last);
            }
            own::put_marks(txn, &row);
            Ok::<_, DispersalError>(())
        })?;
        self.ports.db.wait_staged(committed.lsn).await?;
        self.board.raise(&marks);
        Ok(())
    }

    /// Miners that the chain would take, that are not among `taken`, and that answer a probe with room
    /// for a column of `segments`: at least `wanted`, if there are so many, and some to choose from.
    pub(crate) async fn healthy_miners(
        &self,
        fid: Fid,
        segments: usize,
        taken: &[AccountId],
        wanted: usize,
    ) -> PortResult<Vec<MinerAddr>> {
        let all = self.ports.chain.miners().await?;
        let eligible = pick::eligible(&all, segments).into_iter().map(|miner| miner.addr.clone());
        let eligible =
            pick::in_order(fid, eligible.filter(|miner| !taken.contains(&miner.account)).collect());
        let column = FRAGMENT_BYTES * segments as u64;
        let probe = |addr: MinerAddr| async move {
            let status = self.ports.miners.probe(&addr).await;
            status.ok().filter(|status| status.free_bytes >= column).map(|_| addr)
        };
        let known = eligible.len();
        let enough = wanted + PROBE_SPARES;
        let mut healthy: Vec<MinerAddr> = Vec::new();
        for some in eligible.chunks(PROBES_AT_ONCE) {
            let probes = futures::stream::iter(some.iter().cloned().map(probe));
            healthy.extend(
                probes.buffered(PROBES_AT_ONCE).filter_map(|found| async { found }).collect::<Vec<_>>().await,
            );
            if healthy.len() >= enough {
                break;
            }
        }
        if taken.is_empty() {
            let found = healthy.len();
            self.board.note(|status| {
                status.miners_known = known;
                status.miners_healthy = found;
            });
        }
        Ok(healthy)
    }

    /// Has the upkeep begin at once.
    pub(crate) fn want_upkeep(&self) {
        self.is_upkeep_wanted.store(true, Ordering::Release);
        self.again.notify_one();
    }

    pub(crate) fn note_repair(&self, fragment: Hash32) {
        let mut repaired = self.repaired.lock();
        // Beyond the limit the rolling comparison with the chain finds it.
        if repaired.len() < REPAIRED_MAX {
            repaired.insert(fragment);
        }
    }
}

/// Keeps the segments that columns are being cut from: columns walk through a deal's segments at
/// about the same pace, so few segments in memory serve all of them.
pub(crate) struct Loader {
    slots: Arc<Semaphore>,
    /// Held while a segment is read, so that it is read once.
    here: tokio::sync::Mutex<BTreeMap<SegmentSeq, Weak<Resident>>>,
}

/// A segment in memory. Keep it for as long as its bytes are used.
pub(crate) struct Resident {
    pub(crate) bytes: Bytes,
    _slot: OwnedSemaphorePermit,
}

impl Default for Loader {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(RESIDENT_MAX)), here: tokio::sync::Mutex::default() }
    }
}

impl Loader {
    /// Waits for a free slot. Who holds a segment must not wait here for another.
    pub(crate) async fn load(
        &self,
        ports: &DispersalPorts,
        seq: SegmentSeq,
    ) -> Result<Arc<Resident>, DispersalError> {
        let mut here = self.here.lock().await;
        if let Some(resident) = here.get(&seq).and_then(Weak::upgrade) {
            return Ok(resident);
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        let bytes = ports.data.segment_bytes(seq).await?;
        let resident = Arc::new(Resident { bytes, _slot: slot });
        here.retain(|_, other| other.strong_count() > 0);
        here.insert(seq, Arc::downgrade(&resident));
        Ok(resident)
    }
}
