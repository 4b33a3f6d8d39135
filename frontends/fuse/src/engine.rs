//! Carrying a request out: measured, bounded in time and number, and answered whatever happens.
//!
//! A request for names or attributes is answered on the thread that took it. One that moves bytes is
//! begun there, because most of them are over at once and a change of threads costs more than they do;
//! if it has to wait it goes on as a task. After its time it is answered with `ETIMEDOUT`, while the
//! task runs to its end and keeps its share of the budget, since a write that is dropped half-way could
//! leave anything behind. A panic in the namespace is one request's `EIO`.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use gw_store::files::{Errno, Files, FilesError, FilesResult};
use tokio::runtime::Handle;

use crate::budget::{Budget, Share};
use crate::config::MountLimits;
use crate::convert;
use crate::metrics::{MountMetrics, Op};
use crate::watch::Watch;

/// What the kernel is told.
pub type Answer<T> = Result<T, fuser::Errno>;

/// Larger requests are tasks from the beginning, so that sealing and opening them holds up nobody.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// What a request that may wait takes.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    bytes: usize,
    limit: Duration,
}

pub struct Engine {
    files: Arc<dyn Files>,
    metrics: Arc<MountMetrics>,
    watch: Arc<Watch>,
    budget: Arc<Budget>,
    limits: MountLimits,
    runtime: Handle,
}

impl Engine {
    pub fn new(
        files: Arc<dyn Files>,
        metrics: Arc<MountMetrics>,
        watch: Arc<Watch>,
        limits: MountLimits,
        runtime: Handle,
    ) -> Self {
        let budget =
            Budget::new(limits.in_flight_bytes_max, limits.in_flight_requests_max, Arc::clone(&metrics));
        Self { files, metrics, watch, budget: Arc::new(budget), limits, runtime }
    }

    pub fn files(&self) -> Arc<dyn Files> {
        Arc::clone(&self.files)
    }

    pub fn metrics(&self) -> &Arc<MountMetrics> {
        &self.metrics
    }

    /// Of a request that moves so many bytes.
    pub fn moves(&self, bytes: usize) -> Cost {
        Cost { bytes, limit: self.limits.request_timeout }
    }

    /// Of a request that waits for durability.
    pub fn syncs(&self) -> Cost {
        Cost { bytes: 0, limit: self.limits.sync_timeout }
    }

    /// Answers at once.
    pub fn meta<T>(&self, op: Op, work: impl FnOnce(&dyn Files) -> FilesResult<T>) -> Answer<T> {
        let begun = Instant::now();
        let busy = self.watch.enter(op);
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self.files.as_ref())));
        drop(busy);
        judged(op, begun, &self.metrics, outcome.unwrap_or_else(|_| Err(panicked())))
    }

    /// Answers when the work is done, or its time is over.
    pub fn run<T: Send + 'static>(
        &self,
        op: Op,
        cost: Cost,
        work: impl Future<Output = FilesResult<T>> + Send + 'static,
        reply: impl FnOnce(Answer<T>) + Send + 'static,
    ) {
        let begun = Instant::now();
        let Some(share) = self.budget.take(cost.bytes, cost.limit) else {
            MountMetrics::add(&self.metrics.timed_out, 1);
            reply(judged(op, begun, &self.metrics, Err(Errno::TimedOut.into())));
            return;
        };
        let mut work: Work<T> = Box::pin(work);
        if cost.bytes <= INLINE_BYTES_MAX
            && let Poll::Ready(outcome) = self.first_poll(op, &mut work)
        {
            reply(judged(op, begun, &self.metrics, outcome));
            drop(share);
            return;
        }
        let metrics = Arc::clone(&self.metrics);
        let request = Request { op, begun, metrics, share };
        self.runtime.spawn(request.finish(cost.limit, work, reply));
    }

    fn first_poll<T>(&self, op: Op, work: &mut Work<T>) -> Poll<FilesResult<T>> {
        let _inside = self.runtime.enter();
        let _busy = self.watch.enter(op);
        // Nobody is woken: a future that is not ready is polled again by its task.
        let mut context = Context::from_waker(Waker::noop());
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)))
            .unwrap_or_else(|_| Poll::Ready(Err(panicked())))
    }
}

type Work<T> = Pin<Box<dyn Future<Output = FilesResult<T>> + Send>>;

/// A request that waits.
struct Request {
    op: Op,
    begun: Instant,
    metrics: Arc<MountMetrics>,
    share: Share,
}

impl Request {
    async fn finish<T>(self, limit: Duration, mut work: Work<T>, reply: impl FnOnce(Answer<T>)) {
        match tokio::time::timeout(limit, &mut work).await {
            Ok(outcome) => reply(judged(self.op, self.begun, &self.metrics, outcome)),
            Err(_) => {
                MountMetrics::add(&self.metrics.timed_out, 1);
                let late = FilesError::new(Errno::TimedOut, "the request has run out of time");
                reply(judged(self.op, self.begun, &self.metrics, Err(late)));
                if let Err(error) = work.await {
                    tracing::warn!(op = self.op.name(), %error, "a request failed after its time was over");
                }
            }
        }
        drop(self.share);
    }
}

fn panicked() -> FilesError {
    FilesError::new(Errno::Io, "the namespace panicked")
}

/// Measures it and logs what is nobody's answer but a failure of ours.
fn judged<T>(op: Op, begun: Instant, metrics: &MountMetrics, outcome: FilesResult<T>) -> Answer<T> {
    let usual = |errno| matches!(errno, Errno::NoEntry | Errno::NoData);
    let failed = outcome.as_ref().is_err_and(|error| !usual(error.errno));
    metrics.answered(op, begun, failed);
    outcome.map_err(|error| {
        match error.errno {
            Errno::Io | Errno::TimedOut | Errno::Stale => {
                tracing::warn!(op = op.name(), %error, "a request of the kernel failed");
            }
            _ => tracing::trace!(op = op.name(), %error, "refused"),
        }
        convert::errno(error.errno)
    })
}
