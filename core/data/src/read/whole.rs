//! One whole data fragment, proven by its hash: from the segment's file, from its miner, or rebuilt
//! from any four others that are proven the same way.
//!
//! A range read is proven by the tags of the frames it wants; who copies bytes without their keys needs
//! another proof. The hash of each fragment stands in the segment's row, from when it was striped.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use gw_codec::hash::fragment_hash;
use gw_types::{
    DATA_FRAGMENTS, FRAGMENT_BYTES, Fid, FragmentIndex, PortError, PortErrorKind, PortResult, SegmentSeq,
};

use super::penalty::Standing;
use super::stats::bump;
use crate::DataError;
use crate::data::Shared;
use crate::rows::{self, DealRow, SegmentRow, StripeRow};

/// What one miner may take for a whole fragment: 70 KiB/s.
const FRAGMENT_TIMEOUT: Duration = Duration::from_secs(120);

/// The fragment `index` of a segment that is striped.
pub(crate) async fn whole_fragment(
    shared: &Shared,
    seq: SegmentSeq,
    row: &SegmentRow,
    index: FragmentIndex,
) -> Result<Bytes, DataError> {
    let stripe =
        row.stripe.as_ref().ok_or_else(|| DataError::Refused(format!("segment {seq} is not striped")))?;
    if row.local
        && let Some(bytes) = from_file(shared, seq, stripe, index).await
    {
        return Ok(bytes);
    }
    let Some((fid, _)) = row.deal else {
        return Err(DataError::Corrupt(format!("segment {seq} is wrong on this disk, and in no deal")));
    };
    let deal = rows::deal(&shared.ports.db.snapshot(), fid)?
        .ok_or_else(|| DataError::Corrupt(format!("the deal {fid} of segment {seq} has no row")))?;
    Holders { shared, fid, deal: &deal, stripe }.fragment(index).await
}

async fn from_file(
    shared: &Shared,
    seq: SegmentSeq,
    stripe: &StripeRow,
    index: FragmentIndex,
) -> Option<Bytes> {
    let start = index.get() as u64 * FRAGMENT_BYTES;
    match shared.ports.files.read(seq, start..start + FRAGMENT_BYTES).await {
        Ok(bytes) if fragment_hash(&bytes) == stripe.fragments[index.get()] => Some(bytes),
        Ok(_) => {
            tracing::error!(%seq, fragment = index.get(), "a segment file is not what was dispersed");
            None
        }
        Err(error) if error.kind() == PortErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, %seq, "a segment file cannot be read");
            None
        }
    }
}

/// Who holds the columns of a segment.
struct Holders<'a> {
    shared: &'a Shared,
    fid: Fid,
    deal: &'a DealRow,
    stripe: &'a StripeRow,
}

impl Holders<'_> {
    async fn fragment(&self, wanted: FragmentIndex) -> Result<Bytes, DataError> {
        let failure = match self.ask(wanted).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        tracing::debug!(fid = %self.fid, fragment = wanted.get(), error = %failure, "a fragment is rebuilt");
        let columns = self.any_four(wanted).await?;
        let rebuilt = self.shared.ports.striper.rebuild(columns, wanted).await?;
        if fragment_hash(&rebuilt) != self.stripe.fragments[wanted.get()] {
            // Four right fragments of a right stripe cannot give this.
            return Err(DataError::Corrupt(format!("the hashes of deal {} do not fit each other", self.fid)));
        }
        bump(&self.shared.stats.rebuilds, 1);
        Ok(rebuilt)
    }

    async fn any_four(&self, but: FragmentIndex) -> Result<Vec<(FragmentIndex, Bytes)>, DataError> {
        let now = self.shared.ports.clock.elapsed();
        let standing = |index: &FragmentIndex| {
            (self.shared.penalties.standing(&self.deal.miners[index.get()].account, now), index.get())
        };
        let mut order: Vec<FragmentIndex> = FragmentIndex::all().filter(|index| *index != but).collect();
        order.sort_by_key(standing);
        let asked = order.into_iter().map(|index| async move { (index, self.ask(index).await) });
        let mut asked = pin!(futures::stream::iter(asked).buffer_unordered(DATA_FRAGMENTS));
        let mut columns = Vec::with_capacity(DATA_FRAGMENTS);
        while let Some((index, column)) = asked.next().await {
            columns.extend(column.ok().map(|bytes| (index, bytes)));
            if columns.len() == DATA_FRAGMENTS {
                return Ok(columns);
            }
        }
        let (have, fid) = (columns.len(), self.fid);
        Err(DataError::Unreachable(format!(
            "{have} right fragments of deal {fid} can be read, and 4 are needed"
        )))
    }

    /// A column, if its miner gives the right one in time.
    async fn ask(&self, index: FragmentIndex) -> PortResult<Bytes> {
        let (shared, miner) = (self.shared, &self.deal.miners[index.get()]);
        let hash = self.stripe.fragments[index.get()];
        let call = shared.ports.miners.get(miner, self.fid, hash, 0..FRAGMENT_BYTES as u32);
        let limit = shared.ports.clock.sleep(FRAGMENT_TIMEOUT);
        let got = match select(call, limit).await {
            Either::Left((got, _)) => got,
            Either::Right(_) => {
                Err(PortError::definite(PortErrorKind::Unavailable, "a fragment did not come in time"))
            }
        };
        let got = got.and_then(|bytes| {
            bump(&shared.stats.fetched_bytes, bytes.len() as u64);
            if fragment_hash(&bytes) == hash {
                return Ok(bytes);
            }
            bump(&shared.stats.bad_columns, 1);
            tracing::warn!(miner = ?miner.account, fid = %self.fid, fragment = index.get(), "a miner returned wrong bytes");
            Err(PortError::definite(PortErrorKind::Corrupt, "a fragment has another hash"))
        });
        if let Err(error) = &got {
            let (standing, time) = if error.kind() == PortErrorKind::Corrupt {
                (Standing::Liar, shared.config.penalty_liar)
            } else {
                (Standing::Failed, shared.config.penalty_failed)
            };
            let now = shared.ports.clock.elapsed();
            shared.penalties.punish(miner.account, standing, now, now + time);
        }
        got
    }
}
