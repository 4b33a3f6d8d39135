//! A request body on its way from the socket to s3s: watched, counted, never collected.
//!
//! A frame is asked of the connection only when whoever writes the object wants one, so an unread
//! socket is the back-pressure. Time spent waiting for the client is measured, time in which we did
//! not ask is not: a slow disk of ours never looks like a slow client. s3s wraps the errors of the
//! body it reads in private types without a source, so the fault is also left in a [`BodyWatch`],
//! where the operation finds it.
//!
//! A refusal often comes while the client is still sending. Closing the socket then would reset the
//! connection and the client would see that instead of the error. So a body that is given up is read
//! on for a while, by a task of its own with a maximum of bytes and time, and thrown away. A client
//! that waits for `100 Continue` and has sent nothing is spared that.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::BodyFault;
use super::framing::Framer;

/// What others may know of a body while and after it is read.
#[derive(Debug, Default)]
pub(crate) struct BodyWatch {
    fault: OnceLock<BodyFault>,
    bytes: AtomicU64,
}

impl BodyWatch {
    /// The first fault, if there was one.
    pub(crate) fn fault(&self) -> Option<BodyFault> {
        self.fault.get().copied()
    }
    /// Bytes received, frames included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// How long a client may keep us waiting: `grace`, and one second for each `bytes_per_second_min`
/// bytes that it sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) grace: Duration,
    pub(crate) bytes_per_second_min: u64,
}

impl Pace {
    fn allowance(&self, bytes: u64) -> Duration {
        self.grace.saturating_add(Duration::from_secs(bytes / self.bytes_per_second_min.max(1)))
    }
}

/// How a body that is given up is read to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linger {
    pub(crate) bytes_max: u64,
    pub(crate) timeout: Duration,
}

/// A request body under watch. `B` is hyper's.
pub(crate) struct Intake<B: Body<Data = Bytes> + Send + Unpin + 'static> {
    /// `None` once it has ended.
    inner: Option<B>,
    linger: Option<Linger>,
    watch: Arc<BodyWatch>,
    framer: Option<Framer>,
    ready: VecDeque<Bytes>,
    pace: Pace,
    /// Time spent waiting in earlier waits.
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Intake<B> {
    pub(crate) fn new(inner: B, framer: Option<Framer>, pace: Pace, watch: Arc<BodyWatch>) -> Self {
        Self {
            inner: Some(inner),
            linger: None,
            watch,
            framer,
            ready: VecDeque::new(),
            pace,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
        }
    }

    /// Reads on for a while when it is given up.
    pub(crate) fn lingering(mut self, linger: Linger) -> Self {
        self.linger = Some(linger);
        self
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        self.ready.clear();
        if matches!(fault, BodyFault::TooSlow | BodyFault::Broken) {
            self.inner = None;
        }
        // Only the first fault counts; a second one changes nothing.
        let _ = self.watch.fault.set(fault);
        Poll::Ready(Some(Err(fault.into())))
    }

    fn stop_waiting(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Whether the client has used up its time.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            let left = self.pace.allowance(self.watch.bytes()).saturating_sub(self.waited);
            self.waiting_since = Some(now);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(now + left),
                None => self.timer = Some(Box::pin(tokio::time::sleep(left))),
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Intake<B> {
    fn drop(&mut self) {
        let (Some(inner), Some(linger)) = (self.inner.take(), self.linger) else { return };
        if let (false, Ok(runtime)) = (inner.is_end_stream(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(linger.timeout, throw_away(inner, linger.bytes_max)));
        }
    }
}

async fn throw_away<B: Body<Data = Bytes> + Unpin>(mut body: B, mut bytes_left: u64) {
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let len = frame.data_ref().map_or(0, Bytes::len) as u64;
        match bytes_left.checked_sub(len) {
            Some(left) => bytes_left = left,
            None => return,
        }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Intake<B> {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.watch.fault().is_some() {
                return Poll::Ready(None);
            }
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            let polled = Pin::new(inner).poll_frame(cx);
            if polled.is_pending() {
                ready!(this.poll_too_slow(cx));
                return this.fail(BodyFault::TooSlow);
            }
            this.stop_waiting();
            match ready!(polled) {
                Some(Ok(frame)) => {
                    // HTTP trailers mean nothing in S3.
                    let Ok(bytes) = frame.into_data() else { continue };
                    this.watch.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    match &mut this.framer {
                        None => this.ready.push_back(bytes),
                        Some(framer) => {
                            if let Err(fault) = framer.feed(bytes, &mut this.ready) {
                                return this.fail(fault);
                            }
                        }
                    }
                }
                // hyper's error for a body cut short; it says nothing more that a client could use.
                Some(Err(_)) => return this.fail(BodyFault::Broken),
                None => {
                    this.inner = None;
                    if let Some(Err(fault)) = this.framer.as_ref().map(Framer::finish) {
                        return this.fail(fault);
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let drained = self.inner.as_ref().is_none_or(|inner| self.framer.is_none() && inner.is_end_stream());
        self.ready.is_empty() && drained
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) if self.framer.is_none() => inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use bytes::Bytes;
    use http_body::{Body, Frame};
    use http_body_util::BodyExt as _;
    use tokio::time::{Instant, Sleep};

    use super::{BodyFault, BodyWatch, Framer, Intake, Linger, Pace};
    use crate::guard::Mode;

    /// Gives a byte string each time its delay has passed.
    struct Drip {
        every: Duration,
        left: VecDeque<&'static [u8]>,
        timer: Option<Pin<Box<Sleep>>>,
    }

    impl Body for Drip {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let every = self.every;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            Poll::Ready(self.left.pop_front().map(|bytes| Ok(Frame::data(Bytes::from_static(bytes)))))
        }
    }

    use std::future::Future as _;

    fn drip(every_secs: u64, count: usize) -> Drip {
        Drip { every: Duration::from_secs(every_secs), left: vec![&b"x"[..]; count].into(), timer: None }
    }

    const PACE: Pace = Pace { grace: Duration::from_secs(30), bytes_per_second_min: 1024 };

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_cut_after_the_grace() {
        let watch = Arc::new(BodyWatch::default());
        let body = Intake::new(drip(10, 1000), None, PACE, Arc::clone(&watch));
        let start = Instant::now();
        assert!(body.collect().await.is_err());
        assert_eq!(watch.fault(), Some(BodyFault::TooSlow));
        assert!(start.elapsed() < Duration::from_secs(32), "{:?}", start.elapsed());
        assert!(watch.bytes() <= 3);
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_slowness_is_not_held_against_the_client() {
        let watch = Arc::new(BodyWatch::default());
        let mut body = Intake::new(drip(1, 20), None, PACE, Arc::clone(&watch));
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        assert_eq!(watch.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_given_up_is_read_on_within_its_limits() {
        for (count, bytes_max, left) in [(5, 100, 0), (50, 10, 39)] {
            let rest = Arc::new(std::sync::Mutex::new(drip(0, count)));
            let linger = Linger { bytes_max, timeout: Duration::from_secs(5) };
            drop(Intake::new(Shared(Arc::clone(&rest)), None, PACE, Arc::default()).lingering(linger));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(rest.lock().unwrap().left.len(), left);
        }
    }

    /// Shows what of a body is left after it was dropped.
    struct Shared(Arc<std::sync::Mutex<Drip>>);

    impl Body for Shared {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Pin::new(&mut *self.0.lock().unwrap()).poll_frame(cx)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_framed_body_that_just_stops_leaves_its_fault_behind() {
        let watch = Arc::new(BodyWatch::default());
        let drip = Drip { every: Duration::ZERO, left: vec![&b"5\r\nhel"[..]].into(), timer: None };
        let body = Intake::new(drip, Some(Framer::new(Mode::Unsigned, 5)), PACE, Arc::clone(&watch));
        assert!(body.collect().await.is_err());
        assert_eq!(watch.fault(), Some(BodyFault::Incomplete));
    }
}
