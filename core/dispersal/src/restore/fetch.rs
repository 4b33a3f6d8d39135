//! Fetching log parts from miners, any eight of which may be gone, slow or lying.
//!
//! The quick way reads only as many bytes of the data fragments as the part has, and rebuilds ranges
//! that do not come from four other columns. When what comes out does not open, somebody lied: then
//! whole fragments are fetched and checked by their hashes. Miners that failed are asked last from
//! then on.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use gw_codec::hash::fragment_hash;
use gw_types::ports::{FileSegment, MinerAddr};
use gw_types::{
    AccountId, DATA_FRAGMENTS, FRAGMENT_BYTES, FRAGMENTS, Fid, FragmentIndex, PortError, PortErrorKind,
    PortResult, SEGMENT_BYTES,
};
use parking_lot::Mutex;

use super::RestorePorts;
use crate::error::DispersalError;
use crate::log::{self, LogError, Part};

/// Reads log parts.
pub(super) struct Fetcher {
    ports: RestorePorts,
    /// Miners that have failed.
    failed: Mutex<BTreeSet<AccountId>>,
}

/// A log segment on chain.
struct Place<'a> {
    fid: Fid,
    segment: &'a FileSegment,
    miners: &'a [MinerAddr; FRAGMENTS],
}

impl Fetcher {
    pub(super) fn new(ports: RestorePorts) -> Self {
        Self { ports, failed: Mutex::default() }
    }

    /// The part in a log segment.
    pub(super) async fn part(
        &self,
        fid: Fid,
        segment: &FileSegment,
        miners: &[MinerAddr; FRAGMENTS],
    ) -> Result<Part, DispersalError> {
        let place = Place { fid, segment, miners };
        match self.quick(&place).await {
            Ok(part) => Ok(part),
            Err(error) => {
                tracing::debug!(%fid, %error, "a log part did not come the quick way; checking whole fragments");
                self.open(&self.checked(&place).await?).await
            }
        }
    }

    async fn quick(&self, place: &Place<'_>) -> Result<Part, DispersalError> {
        let head = self.bytes(place, log::HEADER_BYTES).await?;
        let len = log::framed_len(&head).map_err(not_a_part)?;
        self.open(&self.bytes(place, len).await?).await
    }

    async fn open(&self, framed: &[u8]) -> Result<Part, DispersalError> {
        let sealed = log::unframe(framed).map_err(not_a_part)?;
        let plain = self.ports.keys.open_record(log::PURPOSE, sealed).await?;
        Part::decode(&plain).map_err(not_a_part)
    }

    /// The first `len` bytes of a segment, unchecked.
    async fn bytes(&self, place: &Place<'_>, len: usize) -> Result<Bytes, DispersalError> {
        assert!(len as u64 <= SEGMENT_BYTES, "a part lies in its segment");
        let mut bytes = BytesMut::with_capacity(len);
        for index in FragmentIndex::all().take(DATA_FRAGMENTS) {
            let left = (len - bytes.len()) as u64;
            if left == 0 {
                break;
            }
            let range = 0..left.min(FRAGMENT_BYTES) as u32;
            let is_suspect = self.has_failed(place, index);
            let direct = if is_suspect { None } else { self.column(place, index, range.clone()).await.ok() };
            let column = match direct {
                Some(column) => column,
                None => self.rebuilt(place, index, range).await?,
            };
            bytes.extend_from_slice(&column);
        }
        Ok(bytes.freeze())
    }

    /// A range of one column, from the same range of any four others, or the column itself after all.
    async fn rebuilt(
        &self,
        place: &Place<'_>,
        wanted: FragmentIndex,
        range: Range<u32>,
    ) -> Result<Bytes, DispersalError> {
        let columns = self.any_four(place, range, |_, _| true).await?;
        if let Some((_, bytes)) = columns.iter().find(|(index, _)| *index == wanted) {
            return Ok(bytes.clone());
        }
        Ok(self.ports.striper.rebuild(columns, wanted).await?)
    }

    /// The segment's own bytes, of fragments that have the hashes which the chain has for them.
    async fn checked(&self, place: &Place<'_>) -> Result<Bytes, DispersalError> {
        let is_right = |index: FragmentIndex, bytes: &Bytes| {
            place
                .segment
                .fragments
                .get(index.get())
                .is_some_and(|fragment| fragment_hash(bytes) == fragment.hash)
        };
        let columns = self.any_four(place, 0..FRAGMENT_BYTES as u32, is_right).await?;
        let mut bytes = BytesMut::with_capacity(SEGMENT_BYTES as usize);
        for index in FragmentIndex::all().take(DATA_FRAGMENTS) {
            match columns.iter().find(|(have, _)| *have == index) {
                Some((_, column)) => bytes.extend_from_slice(column),
                None => bytes.extend_from_slice(&self.ports.striper.rebuild(columns.clone(), index).await?),
            }
        }
        Ok(bytes.freeze())
    }

    /// The same range of four columns that pass the check, asked four at a time.
    async fn any_four(
        &self,
        place: &Place<'_>,
        range: Range<u32>,
        is_right: impl Fn(FragmentIndex, &Bytes) -> bool,
    ) -> Result<Vec<(FragmentIndex, Bytes)>, DispersalError> {
        let mut order: Vec<FragmentIndex> = FragmentIndex::all().collect();
        order.sort_by_key(|index| (self.has_failed(place, *index), index.get()));
        let mut columns = Vec::with_capacity(DATA_FRAGMENTS);
        let asked = order.into_iter().map(|index| {
            let range = range.clone();
            async move { (index, self.column(place, index, range).await) }
        });
        let mut asked = std::pin::pin!(futures::stream::iter(asked).buffer_unordered(DATA_FRAGMENTS));
        while let Some((index, column)) = asked.next().await {
            match column {
                Ok(bytes) if is_right(index, &bytes) => columns.push((index, bytes)),
                Ok(_) => self.fail(place, index),
                Err(_) => {}
            }
            if columns.len() == DATA_FRAGMENTS {
                return Ok(columns);
            }
        }
        let (have, hash) = (columns.len(), place.segment.hash);
        Err(DispersalError::Log(format!(
            "only {have} of the 4 fragments needed of segment {hash} can be read"
        )))
    }

    async fn column(&self, place: &Place<'_>, index: FragmentIndex, range: Range<u32>) -> PortResult<Bytes> {
        let fragment = place.segment.fragments.get(index.get()).ok_or_else(|| {
            PortError::definite(PortErrorKind::NotFound, "the chain names no such fragment")
        })?;
        let miner = &place.miners[index.get()];
        let got = self.ports.miners.get(miner, place.fid, fragment.hash, range).await;
        if got.is_err() {
            self.fail(place, index);
        }
        got
    }

    fn fail(&self, place: &Place<'_>, index: FragmentIndex) {
        self.failed.lock().insert(place.miners[index.get()].account);
    }

    fn has_failed(&self, place: &Place<'_>, index: FragmentIndex) -> bool {
        self.failed.lock().contains(&place.miners[index.get()].account)
    }
}

fn not_a_part(error: LogError) -> DispersalError {
    DispersalError::Log(error.to_string())
}
