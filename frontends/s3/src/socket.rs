//! A client's socket with time limits: nobody holds a connection for nothing.
//!
//! hyper's header time-out also counts the idle time between requests, and it starts only once the
//! protocol is known. So the limits stand here, on the bytes themselves. Between requests a
//! connection may be idle for `idle`; from the first byte of a request its head must be whole
//! within `head`; while an answer goes out, the client must take some of it within `stall`. While a
//! request is being worked on nothing is limited here: bodies have their own pace (see `guard`).

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How busy a connection is; shared between its socket and its requests.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    under_way: AtomicUsize,
    begun: AtomicU64,
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Busy {
    pub(crate) fn begin(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The three limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) stall: Duration,
}

/// A deadline whose timer is kept between uses.
#[derive(Default)]
struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn set(&mut self, at: Instant) {
        if self.at == Some(at) {
            return;
        }
        self.at = Some(at);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }
    fn clear(&mut self) {
        self.at = None;
    }
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&self.at, &mut self.timer) {
            (Some(_), Some(timer)) => timer.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

/// The socket.
pub(crate) struct PatientSocket<S> {
    inner: S,
    activity: Arc<Activity>,
    patience: Patience,
    /// Requests begun when the present silence or head began.
    seen: u64,
    /// Until when the next head must be whole, or its first byte be here.
    head: Deadline,
    head_begun: bool,
    stall: Deadline,
}

impl<S> PatientSocket<S> {
    pub(crate) fn new(inner: S, activity: Arc<Activity>, patience: Patience) -> Self {
        Self {
            inner,
            activity,
            patience,
            seen: 0,
            head: Deadline::default(),
            head_begun: false,
            stall: Deadline::default(),
        }
    }

    /// Whether a request is being worked on; notices when a new one has begun.
    fn is_busy(&mut self) -> bool {
        let begun = self.activity.begun.load(Ordering::Relaxed);
        if begun != self.seen {
            self.seen = begun;
            self.head_begun = false;
            self.head.clear();
        }
        self.activity.under_way.load(Ordering::Relaxed) > 0
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let busy = this.is_busy();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        if busy {
            this.head.clear();
            return polled;
        }
        if polled.is_ready() {
            if buf.filled().len() > before && !this.head_begun {
                this.head_begun = true;
                this.head.set(Instant::now() + this.patience.head);
            }
            return polled;
        }
        if this.head.at.is_none() {
            this.head.set(Instant::now() + this.patience.idle);
        }
        this.head.poll(cx).map(|()| Err(timed_out("no request in time")))
    }
}

impl<S: AsyncWrite + Unpin> PatientSocket<S> {
    /// What a write says, and whether the client has stopped taking bytes.
    fn judge<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall.clear();
            return polled;
        }
        if self.stall.at.is_none() {
            self.stall.set(Instant::now() + self.patience.stall);
        }
        self.stall.poll(cx).map(|()| Err(timed_out("the client reads nothing")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.judge(cx, polled)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, bytes);
        this.judge(cx, polled)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_flush(cx);
        this.judge(cx, polled)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::{Activity, Busy, Patience, PatientSocket};

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        stall: Duration::from_secs(60),
    };

    #[tokio::test(start_paused = true)]
    async fn silence_and_slow_heads_end_work_does_not() {
        let (mut client, server) = tokio::io::duplex(64);
        let activity = Arc::new(Activity::default());
        let mut socket = PatientSocket::new(server, Arc::clone(&activity), PATIENCE);
        let mut byte = [0; 1];

        // A head that drips is cut 10 s after its first byte, not after the last.
        client.write_all(b"G").await.unwrap();
        let start = Instant::now();
        socket.read_exact(&mut byte).await.unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        client.write_all(b"E").await.unwrap();
        socket.read_exact(&mut byte).await.unwrap();
        assert!(socket.read_exact(&mut byte).await.is_err());
        assert_eq!(start.elapsed().as_secs(), 10);

        // While a request is under way nothing is cut.
        let busy = Busy::begin(&activity);
        let waited = tokio::time::timeout(Duration::from_secs(500), socket.read_exact(&mut byte)).await;
        assert!(waited.is_err());
        drop(busy);

        // Afterwards silence may last 75 s.
        let start = Instant::now();
        assert!(socket.read_exact(&mut byte).await.is_err());
        assert_eq!(start.elapsed().as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut() {
        let (_client, server) = tokio::io::duplex(8);
        let mut socket = PatientSocket::new(server, Arc::default(), PATIENCE);
        let start = Instant::now();
        assert!(socket.write_all(&[0; 64]).await.is_err());
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
