//! The MD5 of a body, beside the writing of it.
//!
//! Small bodies are hashed where they are: 4 KiB take some 7 µs. From [`INLINE_BYTES`] on, bytes are
//! gathered to [`BATCH_BYTES`] and hashed on a blocking thread while the next ones are staged; at
//! most one batch is in work and one being gathered, so memory is bounded and a slow hash holds the
//! writer back.

use bytes::Bytes;
use md5::{Digest, Md5};
use tokio::task::JoinHandle;

use crate::error::{StoreError, StoreErrorKind, StoreResult};

const INLINE_BYTES: usize = 128 << 10;
const BATCH_BYTES: usize = 512 << 10;

/// A running MD5.
#[derive(Debug, Default)]
pub(crate) struct BodyDigest {
    state: State,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    seen: usize,
}

#[derive(Debug)]
enum State {
    Here(Md5),
    There(JoinHandle<Md5>),
    /// Only while it changes hands; seen from outside only after a lost thread.
    Gone,
}

impl Default for State {
    fn default() -> Self {
        Self::Here(Md5::new())
    }
}

impl BodyDigest {
    /// Takes the next bytes.
    pub(crate) async fn update(&mut self, bytes: Bytes) -> StoreResult<()> {
        self.seen = self.seen.saturating_add(bytes.len());
        if self.seen <= INLINE_BYTES
            && let State::Here(md5) = &mut self.state
        {
            md5.update(&bytes);
            return Ok(());
        }
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes < BATCH_BYTES {
            return Ok(());
        }
        let mut md5 = self.take().await?;
        let batch = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        self.state = State::There(tokio::task::spawn_blocking(move || {
            batch.iter().for_each(|bytes| md5.update(bytes));
            md5
        }));
        Ok(())
    }

    /// The digest of all bytes.
    pub(crate) async fn finish(mut self) -> StoreResult<[u8; 16]> {
        let mut md5 = self.take().await?;
        self.gathered.iter().for_each(|bytes| md5.update(bytes));
        Ok(md5.finalize().into())
    }

    /// The digest of the bytes up to now; more may come.
    pub(crate) async fn so_far(&mut self) -> StoreResult<[u8; 16]> {
        let mut md5 = self.take().await?;
        self.gathered.drain(..).for_each(|bytes| md5.update(bytes));
        self.gathered_bytes = 0;
        let digest = md5.clone().finalize().into();
        self.state = State::Here(md5);
        Ok(digest)
    }

    async fn take(&mut self) -> StoreResult<Md5> {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Here(md5) => Ok(md5),
            State::There(running) => running.await.map_err(|error| {
                StoreError::new(StoreErrorKind::Internal, "the digest's thread is gone").with_source(error)
            }),
            State::Gone => Err(StoreError::new(StoreErrorKind::Internal, "the digest's thread is gone")),
        }
    }
}

/// MD5 of bytes at hand.
pub(crate) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    parts.iter().for_each(|part| md5.update(part));
    md5.finalize().into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BodyDigest, md5};

    #[tokio::test]
    async fn the_digest_is_the_same_however_the_bytes_come() {
        let body: Vec<u8> = (0..3_000_001u32).map(|at| (at * 7 % 251) as u8).collect();
        let body = Bytes::from(body);
        for len in [0, 1, 4096, 131_072, 131_073, 700_000, body.len()] {
            let whole = md5(&[&body[..len]]);
            for step in [997, 65_536, 1 << 20] {
                let mut digest = BodyDigest::default();
                let mut at = 0;
                while at < len {
                    let end = (at + step).min(len);
                    digest.update(body.slice(at..end)).await.unwrap();
                    at = end;
                }
                assert_eq!(digest.finish().await.unwrap(), whole, "{len} {step}");
            }
        }
    }
}
