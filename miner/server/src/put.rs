//! `PUT /fragment`. The cheap questions come first: signature, length, does the chain know the
//! fragment, is there room. Then the body is taken in pieces of half a MiB, hashed and written as it
//! comes. A refused body of allowed size is read to its end all the same, because a client that is
//! still sending would otherwise lose the answer with the connection; a body that is too large is cut.

use std::sync::Arc;

use bytes::Bytes;
use gw_miner_wire::{FileField, MULTIPART_OVERHEAD_BYTES_MAX, boundary_of};
use gw_types::{FRAGMENT_BYTES, Fid, Hash32};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming as RequestBody;

use crate::answer::{self, Answer, Refusal};
use crate::fragments::Incoming;
use crate::server::{Shared, addressed};

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 512 << 10;
/// Longest body that is read.
const BODY_BYTES_MAX: u64 = FRAGMENT_BYTES + MULTIPART_OVERHEAD_BYTES_MAX;

/// Answers a put.
pub(crate) async fn put(shared: &Arc<Shared>, request: Request<RequestBody>) -> Result<Answer, Refusal> {
    let (parts, body) = request.into_parts();
    let mut body = Body { shared, body, read_bytes: 0 };
    let stored = shared.within(shared.config.put_timeout, store(shared, &parts.headers, &mut body)).await;
    let stored = stored.unwrap_or(Err(Refusal::TOO_SLOW));
    if !matches!(&stored, Err(refusal) if *refusal == Refusal::TOO_LARGE || *refusal == Refusal::TOO_SLOW) {
        shared.within(shared.config.stall_timeout, body.drain()).await;
    }
    shared.counters.put_bytes.add(stored?);
    shared.counters.puts.add(1);
    Ok(answer::ok::<()>(None))
}

/// Returns the bytes that were newly stored.
async fn store(shared: &Arc<Shared>, headers: &HeaderMap, body: &mut Body<'_>) -> Result<u64, Refusal> {
    let (fid, fragment) = addressed(headers)?;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > BODY_BYTES_MAX) {
        return Err(Refusal::TOO_LARGE);
    }
    if !shared.store.is_healthy() {
        return Err(Refusal::DISK_FAILED);
    }
    match shared.deals.names(fid, &fragment).await {
        Ok(true) => {}
        Ok(false) => return Err(Refusal::NOT_DECLARED),
        Err(error) => {
            tracing::warn!(%fid, %error, "the chain cannot be asked about a put");
            return Err(Refusal::CHAIN_AWAY);
        }
    }
    if shared.store.has_bytes(&fragment) && hold_present(shared, fid, fragment).await? {
        return Ok(0);
    }
    let boundary = headers.get(CONTENT_TYPE).and_then(|value| boundary_of(value.to_str().ok()?));
    let mut field = FileField::new(boundary.ok_or(Refusal::NO_FORM)?);
    let room = shared.store.space.reserve().ok_or(Refusal::FULL)?;
    let incoming = shared.blocking(move |shared| shared.store.begin(room)).await?;
    let incoming = receive(shared, body, &mut field, incoming).await?;
    shared
        .blocking(move |shared| {
            shared.store.finish(incoming, fid, fragment)?;
            shared.reports.add(fid, shared.clock.elapsed());
            Ok(())
        })
        .await?;
    Ok(FRAGMENT_BYTES)
}

async fn hold_present(shared: &Arc<Shared>, fid: Fid, fragment: Hash32) -> Result<bool, Refusal> {
    let held = shared.blocking(move |shared| {
        let held = shared.store.hold_present(fid, fragment)?;
        if held {
            shared.reports.add(fid, shared.clock.elapsed());
        }
        Ok(held)
    });
    Ok(held.await?)
}

/// Writes the field `file` as it comes.
async fn receive(
    shared: &Arc<Shared>,
    body: &mut Body<'_>,
    field: &mut FileField,
    mut incoming: Incoming,
) -> Result<Incoming, Refusal> {
    let mut gathered: Vec<Bytes> = Vec::new();
    let mut gathered_bytes = 0;
    while let Some(piece) = body.next().await? {
        field.feed(&piece);
        while let Some(bytes) = field.bytes().map_err(|_| Refusal::NO_FORM)? {
            gathered_bytes += bytes.len();
            gathered.push(bytes);
        }
        if gathered_bytes >= WRITE_BYTES {
            incoming = write(shared, incoming, std::mem::take(&mut gathered)).await?;
            gathered_bytes = 0;
        }
    }
    let incoming = write(shared, incoming, gathered).await?;
    if field.is_whole() { Ok(incoming) } else { Err(Refusal::NO_FORM) }
}

async fn write(
    shared: &Arc<Shared>,
    mut incoming: Incoming,
    pieces: Vec<Bytes>,
) -> Result<Incoming, Refusal> {
    let written = shared.blocking(move |_| {
        incoming.write(&pieces)?;
        Ok(incoming)
    });
    Ok(written.await?)
}

/// The request's body with its limits of length and pace.
struct Body<'a> {
    shared: &'a Shared,
    body: RequestBody,
    read_bytes: u64,
}

impl Body<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = self.shared.within(self.shared.config.stall_timeout, self.body.frame()).await;
            let Some(frame) = frame.ok_or(Refusal::TOO_SLOW)? else { return Ok(None) };
            let frame = frame.map_err(|_| Refusal::TRUNCATED)?;
            let Ok(piece) = frame.into_data() else { continue };
            self.read_bytes += piece.len() as u64;
            if self.read_bytes > BODY_BYTES_MAX {
                return Err(Refusal::TOO_LARGE);
            }
            return Ok(Some(piece));
        }
    }
    async fn drain(&mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }
}
