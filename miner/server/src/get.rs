//! `GET /fragment`: the whole fragment with 200, or a range in cess-miner's odd form with 206 and no
//! Content-Range. Bytes are read in pieces as the client takes them. They are not verified here: a
//! reader verifies what it gets, whoever sends it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use gw_miner_wire::{ZERO_FRAGMENT, parse_range};
use gw_types::{FRAGMENT_BYTES, Hash32};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::answer::{Answer, Refusal};
use crate::config::Fault;
use crate::fragments::StoreError;
use crate::server::{Shared, addressed};

/// Bytes read at a time.
const PIECE_BYTES: u32 = 256 << 10;
/// A corrupt miner changes one byte in so many.
const CORRUPT_EVERY_BYTES: usize = 4096;

/// Answers a get.
pub(crate) async fn get(shared: &Arc<Shared>, headers: &HeaderMap, fault: Fault) -> Result<Answer, Refusal> {
    let (fid, fragment) = addressed(headers)?;
    if !shared.store.holds(&fid, &fragment) {
        return Err(Refusal::NOT_FOUND);
    }
    let (status, range) = match headers.get(RANGE) {
        None => (StatusCode::OK, 0..FRAGMENT_BYTES as u32),
        Some(value) => (StatusCode::PARTIAL_CONTENT, requested(value)?),
    };
    let source = Source { file: open(shared, fragment).await?, corrupt: fault == Fault::Corrupt };
    let len = u64::from(range.end - range.start);
    // The first piece is read before the answer begins, so that a disk error can still be said.
    let first = source.read(shared, range.start..range.end).await?;
    let next = range.start + first.len() as u32;
    let pieces = stream::unfold(
        Pieces { shared: Arc::clone(shared), source, first: Some(first), left: next..range.end },
        Pieces::next,
    );
    let mut answer = Response::new(StreamBody::new(pieces).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    shared.counters.gets.add(1);
    shared.counters.get_bytes.add(len);
    Ok(answer)
}

/// What is left to send.
struct Pieces {
    shared: Arc<Shared>,
    source: Source,
    first: Option<Bytes>,
    left: Range<u32>,
}

impl Pieces {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(Frame::data(first)), self));
        }
        if self.left.is_empty() {
            return None;
        }
        match self.source.read(&self.shared, self.left.clone()).await {
            Ok(piece) => {
                self.left.start += piece.len() as u32;
                Some((Ok(Frame::data(piece)), self))
            }
            Err(refusal) => {
                self.left.start = self.left.end;
                Some((Err(io::Error::other(refusal.msg)), self))
            }
        }
    }
}

/// Where bytes come from; no file means zeros.
struct Source {
    file: Option<Arc<File>>,
    corrupt: bool,
}

impl Source {
    /// The first bytes of `range`, at most [`PIECE_BYTES`].
    async fn read(&self, shared: &Arc<Shared>, range: Range<u32>) -> Result<Bytes, Refusal> {
        let mut bytes = vec![0; (range.end - range.start).min(PIECE_BYTES) as usize];
        if let Some(file) = &self.file
            && !bytes.is_empty()
        {
            let file = Arc::clone(file);
            let read = shared.blocking(move |_| {
                file.read_exact_at(&mut bytes, u64::from(range.start))?;
                Ok(bytes)
            });
            bytes = read.await?;
        }
        if self.corrupt {
            bytes.iter_mut().step_by(CORRUPT_EVERY_BYTES).for_each(|byte| *byte ^= 0xFF);
        }
        Ok(Bytes::from(bytes))
    }
}

async fn open(shared: &Arc<Shared>, fragment: Hash32) -> Result<Option<Arc<File>>, Refusal> {
    if fragment == ZERO_FRAGMENT {
        return Ok(None);
    }
    let opened = shared.blocking(move |shared| Ok(shared.store.open_fragment(&fragment)?)).await;
    match opened {
        Ok(file) => Ok(Some(Arc::new(file))),
        // Collected since it was looked up.
        Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Err(Refusal::NOT_FOUND),
        Err(error) => Err(error.into()),
    }
}

fn requested(value: &HeaderValue) -> Result<Range<u32>, Refusal> {
    let refuse = |msg: String| Refusal { status: StatusCode::RANGE_NOT_SATISFIABLE, msg: msg.into() };
    let text = value.to_str().map_err(|_| refuse("invalid range request".to_owned()))?;
    parse_range(text).map_err(|refusal| refuse(refusal.to_string()))
}
