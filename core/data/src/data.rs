//! The data layer's handle: opening, and the verbs of the store. What dispersal needs is in
//! [`crate::upkeep`], reading in [`crate::read`].
//!
//! At open the segment rows are compared with the files that are there. A file that no row claims is
//! removed (a write that was never committed, an eviction that was cut short). A finalized segment
//! whose file is gone is marked so. Open segments are taken up again where the last life left them:
//! what their rows do not count as filled is free.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gw_types::ports::WrappedBucketKey;
use gw_types::{PortError, PortErrorKind, SegmentSeq, StreamId};

use crate::config::{DataConfig, DataPorts};
use crate::disk_cache::{DiskCache, Limits};
use crate::keyring::{BodyKey, KeyRing};
use crate::read::{BodyReader, FrameCache, Penalties, ReadStats};
use crate::rows::{self, Counter, LaneClass, SegmentRow, SegmentState};
use crate::segments::{LaneKey, Lanes, Reservation, Staging};
use crate::write::{BodySpec, BodyWriter};
use crate::{DataError, DataMap, tender};

/// The stream of records that stay at home: marks on segments, which change no name and no byte of a
/// user and are found again from the chain.
pub const LOCAL_STREAM: StreamId = StreamId(u32::MAX);

const STAGING_DEFAULT_MAX: u64 = 64 << 30;
/// Rows changed by one commit at open.
const ROWS_A_COMMIT: usize = 256;

/// What writers, readers and upkeep share.
pub(crate) struct Shared {
    pub(crate) ports: DataPorts,
    pub(crate) config: DataConfig,
    pub(crate) ring: KeyRing,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) cache: FrameCache,
    /// `None` where the configuration wants none.
    pub(crate) disk_cache: Option<Arc<DiskCache>>,
    pub(crate) penalties: Penalties,
    pub(crate) stats: ReadStats,
    /// Newest commit at the last recount.
    recounted: AtomicU64,
}

impl Shared {
    /// Makes a reservation reach `bytes`. Where staging seems full, segments that were finalized
    /// since are discounted first.
    pub(crate) fn reserve(&self, reservation: &mut Reservation, bytes: u64) -> Result<(), DataError> {
        match reservation.reach(bytes) {
            Err(full @ DataError::StagingFull { .. }) => {
                // Only a commit finalizes a segment, so a storm of refusals costs one walk for each.
                let newest = self.ports.db.appended();
                if self.recounted.swap(newest.0, Ordering::AcqRel) == newest.0 {
                    return Err(full);
                }
                self.recount()?;
                reservation.reach(bytes)
            }
            other => other,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("ring", &self.ring).finish_non_exhaustive()
    }
}

/// The data layer. See the crate's page.
#[derive(Debug)]
pub struct Data {
    pub(crate) shared: Arc<Shared>,
}

impl Data {
    /// Opens over a database that was opened with `ports.files` as its sink.
    pub async fn open(ports: DataPorts, config: DataConfig) -> Result<Arc<Self>, DataError> {
        let survey = Survey::take(&ports)?;
        survey.clean(&ports)?;
        let epoch = epoch(&ports)?;
        let used = survey.staged.iter().map(|(_, bytes)| bytes).sum();
        let max = match config.staging_bytes_max {
            Some(max) => max,
            None => STAGING_DEFAULT_MAX.min((ports.files.free_bytes()?.saturating_add(used)) / 2),
        };
        let lanes = Lanes::new(ports.files.clone(), Staging::new(used, max), config.lanes_max, survey.next);
        survey.staged.iter().for_each(|(seq, bytes)| lanes.count(*seq, *bytes));
        survey.open.iter().for_each(|(seq, row)| lanes.reopen(*seq, row));
        let ring = KeyRing::new(
            ports.keys.clone(),
            ports.clock.clone(),
            epoch,
            config.ciphers_max,
            config.cipher_age_max,
        );
        let limits = Limits::new(config.disk_cache_bytes_max, config.disk_cache_free_bytes_min);
        let disk_cache = DiskCache::open(ports.files.disk().clone(), limits).await;
        let shared = Shared {
            ring,
            lanes,
            cache: FrameCache::new(config.cache_bytes_max),
            disk_cache,
            penalties: Penalties::default(),
            stats: ReadStats::default(),
            recounted: AtomicU64::new(0),
            ports,
            config,
        };
        let shared = Arc::new(shared);
        tokio::spawn(tender::run(Arc::downgrade(&shared), shared.ports.db.subscribe_staged()));
        Ok(Arc::new(Self { shared }))
    }

    /// Begins a body. Reserves staging for `len_hint` plain bytes; a longer body grows its
    /// reservation, and a wrong hint costs only packing.
    pub async fn begin(
        &self,
        class: LaneClass,
        bucket: &WrappedBucketKey,
        len_hint: Option<u64>,
    ) -> Result<BodyWriter, DataError> {
        self.begin_in(class, StreamId::default(), bucket, len_hint, None)
    }

    /// Begins a body in the lane of a stream (another territory, a volume), or under a key that it
    /// shares with other bodies of the same bucket (see [`BodyKey`]).
    pub fn begin_in(
        &self,
        class: LaneClass,
        stream: StreamId,
        bucket: &WrappedBucketKey,
        len_hint: Option<u64>,
        key: Option<BodyKey>,
    ) -> Result<BodyWriter, DataError> {
        let spec = BodySpec { lane: LaneKey { class, stream }, bucket: bucket.clone(), len_hint, key };
        BodyWriter::begin(self.shared.clone(), spec)
    }

    /// The epoch of the extents and keys that this life numbers.
    pub fn epoch(&self) -> u16 {
        self.shared.ring.epoch()
    }

    /// A fresh data key for several bodies of one bucket.
    pub async fn new_key(&self, bucket: &WrappedBucketKey) -> Result<BodyKey, DataError> {
        self.shared.ring.new_key(bucket).await
    }

    /// The same map for another bucket: its data keys wrapped anew, its bytes untouched.
    pub async fn rewrap(
        &self,
        map: &DataMap,
        from: &WrappedBucketKey,
        to: &WrappedBucketKey,
    ) -> Result<DataMap, DataError> {
        let mut keys = Vec::with_capacity(map.keys.len());
        for (id, wrapped) in &map.keys {
            keys.push((*id, self.shared.ports.keys.rewrap(from, to, wrapped).await?));
        }
        Ok(DataMap { len: map.len, keys, body: map.body.clone() })
    }

    /// Reads a range of a body, in order. The caller sees to it that the map is not released
    /// meanwhile. A range that leaves the body is the first item's error.
    pub fn read(&self, map: Arc<DataMap>, bucket: WrappedBucketKey, range: Range<u64>) -> BodyReader {
        BodyReader::new(self.shared.clone(), map, bucket, range)
    }

    /// Forgets every frame in memory and in the disk cache, which works again if it had turned itself
    /// off. Segment files stay: [`Data::evict`] is for those.
    pub fn drop_cache(&self) {
        self.shared.cache.clear();
        if let Some(cache) = &self.shared.disk_cache {
            cache.clear();
        }
    }

    /// Writes down what the disk cache holds, so that the next life finds it. For a graceful stop;
    /// without it what was cached last is fetched again.
    pub fn keep_cache(&self) {
        if let Some(cache) = &self.shared.disk_cache {
            cache.keep();
        }
    }
}

/// An epoch that no extent or key of this store has: the database's, unless this is a restored store
/// on a fresh database, which counts from 1 again.
fn epoch(ports: &DataPorts) -> Result<u16, DataError> {
    let before = rows::counter(&ports.db.snapshot(), Counter::Epoch)?;
    let epoch = u64::from(ports.db.epoch()).max(before + 1);
    u16::try_from(epoch).map_err(|_| {
        DataError::Port(PortError::definite(
            PortErrorKind::Refused,
            "all 65,535 epochs of this store are used up",
        ))
    })
}

/// What rows and files say about each other.
#[derive(Debug)]
struct Survey {
    /// Rows of open segments whose file is here.
    open: Vec<(SegmentSeq, SegmentRow)>,
    /// Bytes that staging counts.
    staged: Vec<(SegmentSeq, u64)>,
    /// Files that nobody claims.
    orphans: BTreeSet<SegmentSeq>,
    /// Rows that say `local`, whose file is gone and need not be here.
    gone: Vec<SegmentSeq>,
    next: SegmentSeq,
}

impl Survey {
    fn take(ports: &DataPorts) -> Result<Self, DataError> {
        let snapshot = ports.db.snapshot();
        let present = ports.files.list()?;
        let last_file = present.last().copied().unwrap_or_default();
        let last_named = SegmentSeq(rows::counter(&snapshot, Counter::Segment)?);
        let mut survey = Self {
            open: Vec::new(),
            staged: Vec::new(),
            next: last_file.max(last_named).next(),
            orphans: present,
            gone: Vec::new(),
        };
        rows::for_each_segment::<DataError>(&snapshot, |seq, row| {
            survey.next = survey.next.max(seq.next());
            let here = row.local && survey.orphans.remove(&seq);
            survey.note(seq, row, here);
            Ok(())
        })?;
        Ok(survey)
    }

    fn note(&mut self, seq: SegmentSeq, row: SegmentRow, here: bool) {
        let safe_elsewhere = row.state >= SegmentState::Dispersed;
        match (row.local, here) {
            (true, false) if safe_elsewhere => self.gone.push(seq),
            (true, false) if row.live_bytes > 0 => {
                tracing::error!(%seq, live_bytes = row.live_bytes, "the file of a segment that is not dispersed is gone");
            }
            _ => {}
        }
        if here && row.state < SegmentState::Finalized {
            self.staged.push((seq, row.used_bytes));
        }
        if here && row.state == SegmentState::Open {
            self.open.push((seq, row));
        }
    }

    fn clean(&self, ports: &DataPorts) -> Result<(), DataError> {
        for seq in &self.orphans {
            tracing::info!(%seq, "removing a segment file that no commit refers to");
            ports.files.remove(*seq)?;
        }
        for gone in self.gone.chunks(ROWS_A_COMMIT) {
            ports.db.transact(|txn| {
                txn.stream(LOCAL_STREAM);
                for seq in gone {
                    if let Some(mut row) = rows::segment(txn, *seq)? {
                        row.local = false;
                        rows::put_segment(txn, *seq, &row)?;
                    }
                }
                Ok::<_, DataError>(())
            })?;
        }
        Ok(())
    }
}
