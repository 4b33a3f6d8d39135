//! Compaction of one segment: what is alive in it is written elsewhere, then every map is pointed there
//! by one row.
//!
//! ```text
//!   Data::live      one walk over all maps: the live runs of the victims
//!   Data::compact   whole fragments, each proven by its hash -> parcels -> leases of the Gc lane, synced
//!                   -> one commit: new rows, `moved` row, guests re-pointed, the victim is `Moved`
//!   Data::abandon   the victim's deal is deleted: its row stays for as long as maps name it
//! ```
//!
//! Bytes are copied sealed; their frames know nothing of their place. They are taken from the local
//! file or from the miners, a fragment at a time, and only when the fragment has the hash that it was
//! declared with: a flipped bit would otherwise get a new hash that says it is right. Whole fragments,
//! because that hash is the one proof that needs no key.
//!
//! Each copy begins with a stamp of random bytes that nothing refers to. Without it, moving the only
//! thing in a segment would make the very same segment again, and chain and miners would take the new
//! deal for the old one, which is about to be deleted.
//!
//! A crash before the commit leaves bytes that no row names; the next open takes their room back. A
//! commit that finds its victim gone or changed writes nothing. Memory: a fragment and a parcel,
//! 12 MiB; five fragments while one is rebuilt.

mod live;
mod pack;

use std::collections::BTreeSet;

use bytes::BytesMut;
use gw_types::{FRAGMENT_BYTES, FragmentIndex, LEASE_BYTES, Lsn, SegmentSeq};

use crate::data::LOCAL_STREAM;
use crate::read::whole_fragment;
use crate::rows::{self, Filled, MovedRow, SegmentRow, SegmentState};
use crate::segments::{Place, RoomMark};
use crate::upkeep::StagedCopy;
use crate::{Data, DataError};
use pack::{Parcel, by_fragment};

pub use live::{Live, MapRows};

/// Bytes that make a copy unlike everything before.
const STAMP_BYTES: usize = 16;

/// What became of a victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Sealed bytes that have a new home; 0 when nothing was alive any more.
    pub moved_bytes: u64,
    /// Segments that they are in now.
    pub homes: BTreeSet<SegmentSeq>,
    /// From this commit on nothing needs the victim's own bytes.
    pub lsn: Lsn,
}

impl Data {
    /// Looks for what is alive in `victims`. [`DataError::Busy`] when writers need the memory that the
    /// walk's snapshot keeps.
    pub async fn live(&self, victims: &[SegmentSeq], holder: &dyn MapRows) -> Result<Live, DataError> {
        let db = &self.shared.ports.db;
        let snapshot = db.snapshot();
        let mut walk = live::Walk::new(&snapshot, victims)?;
        walk.go(holder, || db.is_pressed()).await?;
        walk.end()
    }

    /// Moves the live runs of a finalized segment. Nothing is dispersed here: the new home goes the way
    /// of every open segment, and until the commit is finalized there the old one must stay on chain.
    ///
    /// A victim that died meanwhile is left as it is. [`DataError::Refused`] when it is not finalized;
    /// [`DataError::Unreachable`] when too few miners give right bytes: then nothing has changed.
    pub async fn compact(&self, victim: SegmentSeq, runs: &[Filled]) -> Result<Compacted, DataError> {
        let snapshot = self.shared.ports.db.snapshot();
        let Some(row) = rows::segment(&snapshot, victim)? else {
            return Ok(Compacted { moved_bytes: 0, homes: BTreeSet::new(), lsn: snapshot.lsn() });
        };
        drop(snapshot);
        if row.state != SegmentState::Finalized {
            return Err(DataError::Refused(format!("segment {victim} is not finalized")));
        }
        let copies = self.copy_runs(victim, &row, runs).await?;
        let committed = self.shared.ports.db.transact(|txn| {
            txn.stream(row.stream);
            let now = rows::segment(txn, victim)?;
            let Some(now) = now.filter(|now| now.state == SegmentState::Finalized && now.deal == row.deal)
            else {
                return Err(DataError::Refused(format!("segment {victim} has changed meanwhile")));
            };
            if now.live_bytes == 0 && now.guests.is_empty() {
                return Ok(None);
            }
            let mut moved = MovedRow::default();
            let (mut moved_bytes, mut homes) = (0, BTreeSet::new());
            for (parcel, place, copy) in copies {
                moved.ranges.extend(parcel.ranges(place.segment, place.start));
                moved_bytes += parcel.runs.iter().map(|run| u64::from(run.end - run.start)).sum::<u64>();
                homes.insert(place.segment);
                copy.attach(txn, place)?;
            }
            self.move_segment(txn, victim, &moved)?;
            Ok(Some((moved_bytes, homes)))
        })?;
        self.shared.ports.db.wait_staged(committed.lsn).await?;
        if committed.value.is_some() {
            // The row says so already. Readers that have it open keep it.
            self.shared.ports.files.remove(victim)?;
        }
        let (moved_bytes, homes) = committed.value.unwrap_or_default();
        Ok(Compacted { moved_bytes, homes, lsn: committed.lsn })
    }

    /// Copies runs into the compaction lane, synced.
    async fn copy_runs(
        &self,
        victim: SegmentSeq,
        row: &SegmentRow,
        runs: &[Filled],
    ) -> Result<Vec<(Parcel, Place, StagedCopy)>, DataError> {
        let parts = by_fragment(runs).ok_or_else(|| {
            DataError::Corrupt(format!("a reference to segment {victim} crosses a fragment"))
        })?;
        let mut copies = Vec::new();
        let mut parcel = Parcel::behind(STAMP_BYTES as u32);
        let mut sealed = BytesMut::with_capacity(LEASE_BYTES as usize);
        sealed.resize(STAMP_BYTES, 0);
        self.shared.ports.keys.random(&mut sealed)?;
        for (index, runs) in parts {
            let index = FragmentIndex::new(index).expect("a segment has four data fragments");
            let bytes = whole_fragment(&self.shared, victim, row, index).await?;
            let base = index.get() as u32 * FRAGMENT_BYTES as u32;
            for run in runs {
                if !parcel.add(*run) {
                    let full = std::mem::take(&mut parcel);
                    copies.push((full, self.stage_copy(row.stream, &sealed).await?));
                    sealed.clear();
                    assert!(parcel.add(*run), "no reference is longer than a lease");
                }
                sealed.extend_from_slice(&bytes[(run.start - base) as usize..(run.end - base) as usize]);
            }
        }
        if !parcel.runs.is_empty() {
            copies.push((parcel, self.stage_copy(row.stream, &sealed).await?));
        }
        let mut fixed = Vec::with_capacity(copies.len());
        for (parcel, copy) in copies {
            fixed.push((parcel, copy.fix().await, copy));
        }
        let segments: BTreeSet<SegmentSeq> = fixed.iter().map(|(_, place, _)| place.segment).collect();
        for seq in segments {
            self.shared.ports.files.sync(seq).await?;
        }
        Ok(fixed)
    }

    /// Gives up the bytes of a moved segment whose deal is deleted on chain. Its row stays, since maps
    /// name it; [`Data::discard`] takes it when they no longer do. `false` when it is not moved.
    pub fn abandon(&self, seq: SegmentSeq) -> Result<bool, DataError> {
        let committed = self.shared.ports.db.transact(|txn| {
            txn.stream(LOCAL_STREAM);
            let row = rows::segment(txn, seq)?.filter(|row| row.state == SegmentState::Moved);
            let Some(mut row) = row else { return Ok::<_, DataError>(false) };
            (row.local, row.stripe, row.deal) = (false, None, None);
            rows::put_segment(txn, seq, &row)?;
            Ok(true)
        })?;
        if committed.value {
            self.shared.ports.files.remove(seq)?;
            self.shared.lanes.discount(seq);
        }
        Ok(committed.value)
    }

    /// Sealed bytes that bodies may still put into the territory; `None` when nobody has said.
    pub fn room_left(&self) -> Option<u64> {
        self.shared.lanes.staging.room.left()
    }

    /// To be taken before segments are counted for [`Data::set_room`].
    pub fn room_mark(&self) -> RoomMark {
        self.shared.lanes.staging.room.mark()
    }

    /// Says how many sealed bytes bodies may put into the territory beyond the segments that were
    /// counted after `since`; `None` lifts the limit. Bodies beyond it are refused with
    /// [`DataError::TerritoryFull`]; the log and compaction never are.
    pub fn set_room(&self, bytes: Option<u64>, since: RoomMark) {
        self.shared.lanes.staging.room.set(bytes, since);
    }
}
