//! One run: from memory, from the segment file, from the disk cache, or from miners, and opened.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use gw_codec::frame::{FrameCipher, OpenError};
use gw_db::Snapshot;
use gw_types::ports::WrappedBucketKey;
use gw_types::{PortErrorKind, SEALED_FRAME_BYTES, SegmentSeq};

use super::plan::{SealedRun, Span};
use super::remote::{self, Columns};
use super::stats::bump;
use crate::data::Shared;
use crate::disk_cache;
use crate::rows::{self, SegmentRow, SegmentState};
use crate::{DataError, DataMap};

/// File runs up to this are kept in memory.
const KEEP_FILE_BYTES_MAX: u64 = 256 << 10;

/// What opens a body.
#[derive(Debug)]
pub(crate) struct BodyKeys {
    pub(crate) map: Arc<DataMap>,
    pub(crate) bucket: WrappedBucketKey,
}

/// A run with the ciphers of its spans.
struct Opener<'a> {
    run: &'a SealedRun,
    ciphers: Vec<Arc<FrameCipher>>,
}

impl<'a> Opener<'a> {
    async fn new(shared: &Shared, keys: &BodyKeys, run: &'a SealedRun) -> Result<Self, DataError> {
        let mut ciphers: Vec<Arc<FrameCipher>> = Vec::with_capacity(run.spans.len());
        for span in &run.spans {
            if let Some(last) = ciphers.last().filter(|last| last.key_id() == span.key) {
                ciphers.push(last.clone());
                continue;
            }
            let wrapped = keys.map.key(span.key).ok_or_else(|| {
                DataError::Corrupt(format!("a map names key {} and does not carry it", span.key))
            })?;
            ciphers.push(shared.ring.open(&keys.bucket, span.key, wrapped).await?);
        }
        Ok(Self { run, ciphers })
    }

    /// Nothing opened, so the keys may be the wrong ones: they are asked for anew next time.
    fn doubt(&self, shared: &Shared, keys: &BodyKeys) {
        for span in &self.run.spans {
            if let Some(wrapped) = keys.map.key(span.key) {
                shared.ring.forget(span.key, wrapped);
            }
        }
    }

    /// The plain bytes wanted, if every frame opens.
    fn open(&self, sealed: &[u8]) -> Result<Bytes, OpenError> {
        if sealed.len() as u64 != self.run.sealed_len() {
            return Err(OpenError::Length(sealed.len()));
        }
        let mut plain = Vec::with_capacity(sealed.len());
        let mut rest = sealed;
        for (span, cipher) in self.run.spans.iter().zip(&self.ciphers) {
            let (own, behind) = rest.split_at(span.sealed_len as usize);
            open_span(cipher, span, own, &mut plain)?;
            rest = behind;
        }
        Ok(plain.into())
    }
}

fn open_span(cipher: &FrameCipher, span: &Span, sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), OpenError> {
    let at = plain.len();
    for (frame, sealed) in span.frames.clone().zip(sealed.chunks(SEALED_FRAME_BYTES as usize)) {
        cipher.open_into(span.extent, frame, sealed, plain)?;
    }
    let (skip, len) = (span.skip as usize, span.len as usize);
    if plain.len() - at < skip + len {
        return Err(OpenError::Length(sealed.len()));
    }
    if skip > 0 {
        plain.drain(at..at + skip);
    }
    plain.truncate(at + len);
    Ok(())
}

/// Fetches and opens a run.
pub(crate) async fn fetch(shared: &Shared, keys: &BodyKeys, run: &SealedRun) -> Result<Bytes, DataError> {
    let opener = Opener::new(shared, keys, run).await?;
    if let Some(sealed) = shared.cache.run(run) {
        if let Ok(plain) = opener.open(&sealed) {
            bump(&shared.stats.cache_hits, 1);
            return Ok(plain);
        }
        shared.cache.remove_run(run);
    }
    loop {
        let snapshot = shared.ports.db.snapshot();
        let Some(home) = Home::find(&snapshot, run)? else { return scattered(shared, keys, run).await };
        let at = (home.segment, home.start);
        match from_home(shared, &opener, home, snapshot).await {
            // Compaction may have moved the bytes, and what they were on may be gone since.
            Err(error) if has_moved(shared, run, at)? => {
                tracing::debug!(%error, segment = %run.segment, "bytes were moved while they were read");
            }
            other => {
                if matches!(other, Err(DataError::Corrupt(_) | DataError::Unreachable(_))) {
                    opener.doubt(shared, keys);
                }
                return other;
            }
        }
    }
}

fn has_moved(shared: &Shared, run: &SealedRun, from: (SegmentSeq, u32)) -> Result<bool, DataError> {
    let now = Home::find(&shared.ports.db.snapshot(), run)?;
    Ok(now.is_none_or(|now| (now.segment, now.start) != from))
}

async fn from_home(
    shared: &Shared,
    opener: &Opener<'_>,
    home: Home,
    snapshot: Snapshot,
) -> Result<Bytes, DataError> {
    // The columns are looked up on the same snapshot, but only when the file does not help.
    if home.row.local
        && let Some(plain) = from_file(shared, opener, home.segment, home.start).await?
    {
        return Ok(plain);
    }
    let columns = home.columns(&snapshot, opener.run)?;
    // Miners may take long, and a snapshot that is held keeps memory.
    drop(snapshot);
    match columns {
        Some(columns) => match from_disk_cache(shared, opener).await {
            Some(plain) => Ok(plain),
            None => from_miners(shared, opener, columns).await,
        },
        None => Err(DataError::Corrupt(format!(
            "bytes {}.. of segment {} are wrong or gone on this disk, and it is not dispersed yet",
            home.start, home.segment
        ))),
    }
}

/// A run whose parts compaction has put at different places: each part is a run of its own.
fn scattered<'a>(
    shared: &'a Shared,
    keys: &'a BodyKeys,
    run: &'a SealedRun,
) -> BoxFuture<'a, Result<Bytes, DataError>> {
    async move {
        if run.spans.len() < 2 {
            return Err(DataError::Corrupt(format!("bytes of segment {} were moved and lost", run.segment)));
        }
        let mut plain = Vec::new();
        let mut at = run.range.start;
        for span in &run.spans {
            let range = at..at + span.sealed_len;
            at = range.end;
            let part = SealedRun { segment: run.segment, range, spans: vec![span.clone()] };
            plain.extend_from_slice(&fetch(shared, keys, &part).await?);
        }
        Ok(plain.into())
    }
    .boxed()
}

/// Where a run is now.
struct Home {
    segment: SegmentSeq,
    start: u32,
    row: SegmentRow,
}

impl Home {
    /// `None` when compaction has not moved the run as one.
    fn find(snapshot: &Snapshot, run: &SealedRun) -> Result<Option<Self>, DataError> {
        let row = must(snapshot, run.segment)?;
        if row.state != SegmentState::Moved {
            return Ok(Some(Self { segment: run.segment, start: run.range.start, row }));
        }
        let moved = rows::moved(snapshot, run.segment)?.unwrap_or_default();
        let Some((segment, start)) = moved.place(run.range.start, run.range.end) else { return Ok(None) };
        Ok(Some(Self { segment, start, row: must(snapshot, segment)? }))
    }

    /// Who holds it; `None` while nobody must.
    fn columns(&self, snapshot: &Snapshot, run: &SealedRun) -> Result<Option<Columns>, DataError> {
        let (Some((fid, _)), Some(stripe)) = (&self.row.deal, &self.row.stripe) else { return Ok(None) };
        if self.row.state < SegmentState::Dispersed {
            return Ok(None);
        }
        let end = self.start + (run.range.end - run.range.start);
        let deal = rows::deal(snapshot, *fid)?;
        Ok(deal.and_then(|deal| Columns::new(*fid, &deal, stripe, self.start..end)))
    }
}

fn must(snapshot: &Snapshot, segment: SegmentSeq) -> Result<SegmentRow, DataError> {
    rows::segment(snapshot, segment)?
        .ok_or_else(|| DataError::Corrupt(format!("a map names segment {segment}, which has no row")))
}

/// `None` when the file is gone or its bytes do not open; then other sources are asked.
async fn from_file(
    shared: &Shared,
    opener: &Opener<'_>,
    segment: SegmentSeq,
    start: u32,
) -> Result<Option<Bytes>, DataError> {
    let range = u64::from(start)..u64::from(start) + opener.run.sealed_len();
    let sealed = match shared.ports.files.read(segment, range).await {
        Ok(sealed) => sealed,
        // Evicted since the row was read.
        Err(error) if error.kind() == PortErrorKind::NotFound => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, %segment, start, "a segment file cannot be read");
            return Ok(None);
        }
    };
    match opener.open(&sealed) {
        Ok(plain) => {
            bump(&shared.stats.file_reads, 1);
            if opener.run.sealed_len() <= KEEP_FILE_BYTES_MAX {
                shared.cache.put_run(opener.run, &sealed);
            }
            Ok(Some(plain))
        }
        Err(error) => {
            tracing::error!(%error, %segment, start, "bytes of a segment file do not open");
            Ok(None)
        }
    }
}

/// Frames that miners sent before. What does not open is forgotten, and fetched again.
async fn from_disk_cache(shared: &Shared, opener: &Opener<'_>) -> Option<Bytes> {
    let (cache, run, clock) = (shared.disk_cache.as_ref()?, opener.run, &shared.ports.clock);
    if cache.is_resting(clock.elapsed()) {
        return None;
    }
    let found = match select(pin!(cache.run(run)), clock.sleep(disk_cache::PATIENCE)).await {
        Either::Left((found, _)) => found,
        Either::Right(((), _)) => {
            tracing::warn!("the disk cache does not answer and is left alone for a minute");
            cache.rest(clock.elapsed());
            None
        }
    };
    let plain = found.as_ref().and_then(|sealed| opener.open(sealed).ok());
    cache.count(plain.is_some());
    match (&found, &plain) {
        (Some(sealed), Some(_)) if run.sealed_len() <= KEEP_FILE_BYTES_MAX => {
            shared.cache.put_run(run, sealed)
        }
        (Some(_), None) => {
            tracing::warn!(segment = %run.segment, start = run.range.start, "cached frames do not open");
            cache.reject(run);
        }
        _ => {}
    }
    plain
}

async fn from_miners(shared: &Shared, opener: &Opener<'_>, columns: Columns) -> Result<Bytes, DataError> {
    bump(&shared.stats.remote_reads, 1);
    bump(&shared.stats.asked_bytes, opener.run.plain_len());
    let (sealed, plain) = remote::fetch(shared, &columns, |sealed| opener.open(sealed).ok()).await?;
    shared.cache.put_run(opener.run, &sealed);
    if let Some(cache) = &shared.disk_cache
        && !cache.is_resting(shared.ports.clock.elapsed())
    {
        cache.put(opener.run, &sealed);
    }
    Ok(plain)
}
