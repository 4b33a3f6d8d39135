//! Hashing and erasure-coding on this machine's processors.
//!
//! The hashes of one segment run over 128 MiB, which takes tens of milliseconds, so they go to the
//! runtime's blocking threads, never to an async worker. The work falls into two equal halves, the
//! bytes themselves (segment and data fragments) and their parity, and each half is a job of its
//! own: one segment keeps two processors busy, several keep all of them busy.
//!
//! A semaphore bounds the jobs at work, and with them the segments: whoever calls beyond that waits.
//! A job whose caller has gone still runs to its end and holds its permit until then.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gw_codec::erasure::Code;
use gw_codec::hash::{data_hashes, join, parity_hashes};
use gw_codec::layout::{Segment, segment_range};
use gw_types::ports::{StripeHashes, Striper};
use gw_types::{FRAGMENT_BYTES, FragmentIndex, PortError, PortErrorKind, PortResult, SEGMENT_BYTES};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// A rebuild of at most this many bytes is done where it is asked for: at several gigabytes a second
/// it takes less time than handing it to another thread and back.
const INLINE_REBUILD_BYTES_MAX: usize = 64 << 10;

/// [`Striper`] on this machine. Needs a tokio runtime around its calls.
#[derive(Clone, Debug)]
pub struct LocalStriper {
    code: Arc<Code>,
    jobs: Arc<Semaphore>,
}

impl LocalStriper {
    /// At most `jobs_max` jobs (halves of a segment) at work; the number of processors is right.
    pub fn new(jobs_max: NonZeroUsize) -> Self {
        Self::with_code(Code::detect(), jobs_max)
    }

    /// The same on an engine of the caller's choice.
    pub fn with_code(code: Code, jobs_max: NonZeroUsize) -> Self {
        let jobs = jobs_max.get().min(Semaphore::MAX_PERMITS);
        Self { code: Arc::new(code), jobs: Arc::new(Semaphore::new(jobs)) }
    }

    /// What does the coding, for `status`: a kernel's name, or `"reference"`.
    pub fn engine(&self) -> &'static str {
        self.code.engine()
    }

    /// Waits for a permit, then runs `job` on a blocking thread.
    async fn run<T, F>(&self, job: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Code) -> T + Send + 'static,
    {
        let permit = Arc::clone(&self.jobs).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let code = Arc::clone(&self.code);
        let done = spawn_blocking(move || {
            let _permit = permit;
            job(&code)
        });
        done.await.map_err(|error| {
            let message = "the coding job was stopped; the process is shutting down";
            PortError::definite(PortErrorKind::Unavailable, message).with_source(error)
        })
    }
}

#[async_trait]
impl Striper for LocalStriper {
    async fn hash(&self, segment: Bytes) -> PortResult<StripeHashes> {
        whole(&segment)?;
        let bytes = segment.clone();
        let data = self.run(move |_| Segment::new(&bytes).map(data_hashes));
        let parity = self.run(move |code| Segment::new(&segment).map(|segment| parity_hashes(code, segment)));
        let (data, parity) = tokio::join!(data, parity);
        let (data, parity) = (data?, parity?);
        Ok(join(data.expect("the length was checked"), parity.expect("the length was checked")))
    }

    async fn fragment(&self, segment: Bytes, index: FragmentIndex) -> PortResult<Bytes> {
        whole(&segment)?;
        if let Some(range) = segment_range(index) {
            return Ok(segment.slice(range));
        }
        self.run(move |code| {
            let segment = Segment::new(&segment).expect("the length was checked");
            let mut out = vec![0; FRAGMENT_BYTES as usize];
            code.fragment(segment.data(), index, &mut out);
            Bytes::from(out)
        })
        .await
    }

    async fn rebuild(
        &self,
        columns: Vec<(FragmentIndex, Bytes)>,
        wanted: FragmentIndex,
    ) -> PortResult<Bytes> {
        let len = columns.first().map_or(0, |(_, bytes)| bytes.len());
        if len <= INLINE_REBUILD_BYTES_MAX {
            return rebuild(&self.code, &columns, wanted);
        }
        self.run(move |code| rebuild(code, &columns, wanted)).await?
    }
}

fn rebuild(code: &Code, columns: &[(FragmentIndex, Bytes)], wanted: FragmentIndex) -> PortResult<Bytes> {
    let given: Vec<_> = columns.iter().map(|(index, bytes)| (*index, bytes.as_ref())).collect();
    let len = given.first().map_or(0, |(_, bytes)| bytes.len());
    let mut out = vec![0; len];
    code.rebuild(&given, wanted, &mut out)
        .map_err(|error| PortError::definite(PortErrorKind::Refused, "not rebuilt").with_source(error))?;
    Ok(Bytes::from(out))
}

fn whole(segment: &Bytes) -> PortResult<()> {
    if segment.len() as u64 == SEGMENT_BYTES {
        return Ok(());
    }
    let message = format!("a segment has {SEGMENT_BYTES} bytes, this one has {}", segment.len());
    Err(PortError::definite(PortErrorKind::Refused, message))
}
