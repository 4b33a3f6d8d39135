//! What the admin asks: how much, how safe, where; and the flush.

use std::sync::Arc;

use gw_data::{Located, SegmentState};
use gw_db::Read;
use gw_types::{Authenticated, BucketName, Level, Lsn, ObjectKey};

use crate::access;
use crate::api::{
    BucketStatus, ByteRange, PlacedFragment, PlacedRange, PlacedState, Placement, ReadOptions, StoreStatus,
    Usage, VersionId, Watermarks,
};
use crate::bucket::bucket_name;
use crate::core::{Core, load_usage, not_durable};
use crate::error::{StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, key};

const SCAN_PAGE: usize = 1024;

impl Core {
    pub(crate) fn status(&self, who: &Authenticated) -> StoreResult<StoreStatus> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let mut buckets = Vec::new();
        let mut sum = Usage::default();
        let mut from = Vec::new();
        loop {
            let found = rows::under(&snapshot, &key::buckets(""), &from, SCAN_PAGE)?;
            for (row_key, value) in &found {
                let row = BucketRow::decode(value)?;
                let usage = load_usage(&snapshot, row.root)?;
                sum.add(&usage);
                let name = bucket_name(row_key)?;
                buckets.push(BucketStatus { name, owner: row.owner, usage, quota: row.settings.quota });
            }
            match found.last() {
                Some((last, _)) if found.len() == SCAN_PAGE => from = key::after(last),
                _ => break,
            }
        }
        Ok(StoreStatus {
            users: count(&snapshot, &key::users())?,
            buckets,
            usage: sum,
            watermarks: self.watermarks(),
            data: self.data.status()?,
            pins: self.pins.count(),
            doomed: count(&snapshot, &key::all_doomed())?,
        })
    }

    fn watermarks(&self) -> Watermarks {
        let behind = |level| self.durability.as_ref().map(|durability| durability.watermark(level));
        Watermarks {
            appended: self.db.appended(),
            staged: self.db.staged(),
            dispersed: behind(Level::Dispersed),
            finalized: behind(Level::Finalized),
        }
    }

    pub(crate) fn placement(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        (key, version): (&ObjectKey, Option<VersionId>),
        range: ByteRange,
    ) -> StoreResult<Placement> {
        let read = self.get(who, bucket, key, &ReadOptions { version, ..ReadOptions::default() })?;
        let (size, etag) = (read.info().size, read.info().etag);
        let ranges = read.locate(range.resolve(size)?)?.into_iter().map(placed).collect();
        Ok(Placement { size, etag, ranges })
    }

    pub(crate) async fn flush(&self, who: &Authenticated, level: Level) -> StoreResult<Lsn> {
        access::decide_admin(&self.snapshot(), who)?;
        let lsn = self.db.appended();
        self.db.wait_staged(lsn).await?;
        if level > Level::Staged {
            let durability = self.durability.as_ref().ok_or(StoreErrorKind::NoTerritory)?;
            durability.flush(level).await.map_err(not_durable)?;
        }
        Ok(lsn)
    }
}

/// Rows under a prefix.
fn count(read: &impl Read, prefix: &[u8]) -> StoreResult<u64> {
    let (mut count, mut from) = (0, Vec::new());
    loop {
        let found = rows::under(read, prefix, &from, SCAN_PAGE)?;
        count += found.len() as u64;
        match found.last() {
            Some((last, _)) if found.len() == SCAN_PAGE => from = key::after(last),
            _ => return Ok(count),
        }
    }
}

fn placed(located: Located) -> PlacedRange {
    let state = match located.state {
        SegmentState::Finalized => PlacedState::Finalized,
        SegmentState::Dispersed => PlacedState::Dispersed,
        SegmentState::Open | SegmentState::Sealed | SegmentState::Moved => PlacedState::Staged,
    };
    let fragments =
        located.fragments.into_iter().map(|(index, miner)| PlacedFragment { index, miner }).collect();
    PlacedRange {
        range: located.range,
        segment: located.segment,
        state,
        local: located.local,
        fid: located.deal,
        fragment: located.fragment,
        fragment_range: located.fragment_range,
        fragments,
    }
}
