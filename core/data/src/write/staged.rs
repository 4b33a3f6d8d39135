//! A body whose bytes are as durable as they must be before a commit may name them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use gw_db::{DbError, Txn};
use gw_types::ports::WrappedDataKey;
use gw_types::{ExtentId, KeyId, SegmentSeq};

use crate::data::Shared;
use crate::map::{self, DataMap, ExtentRef, MapEntry};
use crate::rows::{self, Counter, SegmentRow, SegmentState, inconsistent};
use crate::segments::{LaneKey, Lease, Place, Reservation};

/// A sealed extent in its place.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) id: ExtentId,
    pub(crate) len: u32,
    pub(crate) lease: Arc<Lease>,
    pub(crate) place: Place,
}

/// Where a finished body's sealed bytes are.
#[derive(Debug)]
pub(crate) enum Sealed {
    /// There are none.
    Nothing,
    /// In memory, on their way into the journal.
    Inline(Extent, Bytes),
    /// In synced segment files.
    Extents(Vec<Extent>),
}

/// A finished body. [`StagedBody::attach`] makes it part of a commit; dropping it gives everything back.
pub struct StagedBody {
    shared: Arc<Shared>,
    lane: LaneKey,
    len: u64,
    keys: Vec<(KeyId, WrappedDataKey)>,
    sealed: Sealed,
    reservation: Reservation,
}

impl StagedBody {
    pub(crate) fn new(
        shared: Arc<Shared>,
        lane: LaneKey,
        len: u64,
        keys: Vec<(KeyId, WrappedDataKey)>,
        sealed: Sealed,
        reservation: Reservation,
    ) -> Self {
        Self { shared, lane, len, keys, sealed, reservation }
    }

    /// Plain bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes the body part of the commit and returns its map, to be stored by the same commit. When
    /// the commit does not happen, the room comes back. After an error of this call the commit must
    /// not be made.
    pub fn attach(self, txn: &mut Txn<'_>) -> Result<DataMap, DbError> {
        let Self { shared, lane, keys, sealed, reservation, .. } = self;
        let (extents, inline) = match sealed {
            Sealed::Nothing => return Ok(DataMap::empty()),
            Sealed::Inline(extent, bytes) => (vec![extent], Some(bytes)),
            Sealed::Extents(extents) => (extents, None),
        };
        let key =
            keys.first().map(|(id, _)| *id).ok_or_else(|| inconsistent("sealed bytes without a key"))?;
        let entry = |extent: &Extent| MapEntry {
            len: extent.len,
            at: Some(ExtentRef {
                extent: extent.id,
                extent_len: extent.len,
                skip: 0,
                segment: extent.place.segment,
                offset: extent.place.start,
                key,
            }),
        };
        let entries: Vec<MapEntry> = extents.iter().map(entry).collect();
        let filled: Vec<(Place, u64)> =
            extents.iter().zip(&entries).map(|(extent, entry)| (extent.place, entry.live_bytes())).collect();
        fill(&shared, txn, lane, &filled)?;
        if rows::counter(txn, Counter::Epoch)? < u64::from(shared.ring.epoch()) {
            rows::put_counter(txn, Counter::Epoch, u64::from(shared.ring.epoch()));
        }
        if let Some(bytes) = inline {
            let place = extents[0].place;
            shared.cache.put(place.segment, place.start, bytes.clone());
            txn.place_inline(place.segment, u64::from(place.start), bytes);
        }
        let map = map::install(txn, keys, entries)?;
        let (lsn, now) = (txn.lsn(), txn.now());
        extents.iter().for_each(|extent| extent.lease.park(lsn, now));
        reservation.pass_on(filled.iter().map(|(place, _)| u64::from(place.len)).sum());
        Ok(map)
    }
}

/// Puts sealed ranges with their live bytes into the rows of their segments, and names those.
pub(crate) fn fill(
    shared: &Shared,
    txn: &mut Txn<'_>,
    lane: LaneKey,
    ranges: &[(Place, u64)],
) -> Result<(), DbError> {
    let mut changed: BTreeMap<SegmentSeq, SegmentRow> = BTreeMap::new();
    txn.stream(lane.stream);
    for (place, live_bytes) in ranges {
        let seq = place.segment;
        let row = match changed.entry(seq) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let found = rows::segment(txn, seq)?;
                // Every commit below this one is decided, and the row just read tells how.
                shared.lanes.settle(seq, found.as_ref(), txn.lsn());
                entry.insert(found.unwrap_or_else(|| SegmentRow::new(lane.class, lane.stream, txn.now())))
            }
        };
        if row.state != SegmentState::Open {
            return Err(inconsistent(format!("segment {seq} is {:?} and cannot take bytes", row.state)));
        }
        row.fill(place.start, place.end())?;
        row.live_bytes += live_bytes;
    }
    for (seq, row) in changed {
        rows::put_segment(txn, seq, &row)?;
        txn.names(seq);
    }
    Ok(())
}

impl std::fmt::Debug for StagedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedBody({} bytes)", self.len)
    }
}
