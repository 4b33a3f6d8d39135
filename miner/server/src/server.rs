//! The HTTP server: accepts connections up to a limit, hands requests to `put`, `get` and `status`, and
//! stops in good order. What all of them share is [`Shared`].

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use gw_miner_wire::{FRAGMENT_PATH, STATUS_PATH, decode_account, header, verify_signature};
use gw_types::ports::{Clock, MinerChain};
use gw_types::{Fid, Hash32};
use http::{HeaderMap, Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::answer::{Answer, Refusal};
use crate::config::{Fault, MinerConfig};
use crate::counters::Counters;
use crate::deals::Deals;
use crate::fragments::{FragmentStore, StoreError};
use crate::paced::Paced;
use crate::report::ReportQueue;
use crate::status::ChainState;
use crate::{get, put, status};

/// Blocking acts (disk) of one miner under way at once.
pub(crate) const BLOCKING_MAX: usize = 64;
/// Read buffer of a connection.
const READ_BUFFER_BYTES_MAX: usize = 512 << 10;
/// Pause after the system had no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One running miner, as its tasks see it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: MinerConfig,
    pub(crate) chain: Arc<dyn MinerChain>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: FragmentStore,
    pub(crate) deals: Deals,
    pub(crate) reports: ReportQueue,
    pub(crate) counters: Counters,
    pub(crate) chain_state: ChainState,
    pub(crate) fault: Mutex<Fault>,
    pub(crate) blocking: Arc<Semaphore>,
}

impl Shared {
    /// Runs `act` on a blocking thread. It runs to its end even when nobody waits any more; a stop
    /// waits for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Arc<Self>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit =
            Arc::clone(&self.blocking).acquire_owned().await.expect("this semaphore is never closed");
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let result = act(&shared);
            // Before the permit: who waits for the permits may want the directory's lock.
            drop(shared);
            drop(permit);
            result
        });
        done.await.unwrap_or_else(|error| Err(StoreError::Io(io::Error::other(error))))
    }
    /// `work`, unless it takes longer than `limit`.
    pub(crate) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), self.clock.sleep(limit)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// Returns when the miner is to stop (or was dropped).
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves until stopped, then waits for requests under way, up to the drain time-out.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(shared.config.max_connections.max(1)));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = accept(&listener, &permits, &shared);
        let Either::Left(((socket, permit), _)) = select(pin!(next), pin!(stopped(&mut stop))).await else {
            break;
        };
        connections.spawn(serve_connection(socket, permit, Arc::clone(&shared), stop.clone()));
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if shared.within(shared.config.drain_timeout, drained).await.is_none() {
        tracing::warn!("requests still under way were cut off");
    }
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    shared: &Shared,
) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("this semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (socket, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                shared.clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(
    socket: TcpStream,
    _permit: OwnedSemaphorePermit,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is refused");
    }
    let io = Paced::new(socket, Arc::clone(&shared.clock), shared.config.stall_timeout);
    let service_stop = stop.clone();
    let service = service_fn(|request| {
        let (shared, stop) = (Arc::clone(&shared), service_stop.clone());
        async move { Ok::<_, Infallible>(answer(&shared, request, stop).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.header_timeout)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = match select(connection.as_mut(), pin!(stopped(&mut stop))).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>, mut stop: watch::Receiver<bool>) -> Answer {
    let fault = *shared.fault.lock();
    if let Fault::Slow(delay) = fault {
        select(shared.clock.sleep(delay), pin!(stopped(&mut stop))).await;
    }
    let answer = match (request.uri().path(), request.method()) {
        (STATUS_PATH, &Method::GET) => Ok(status::status(shared).await),
        (FRAGMENT_PATH, _) if fault == Fault::Refuse => Err(Refusal::FAULT),
        (FRAGMENT_PATH, &Method::PUT) => put::put(shared, request).await,
        (FRAGMENT_PATH, &Method::GET) => get::get(shared, request.headers(), fault).await,
        (FRAGMENT_PATH | STATUS_PATH, _) => Err(Refusal::METHOD),
        _ => Err(Refusal::NOT_FOUND),
    };
    answer.unwrap_or_else(|refusal| {
        let is_ours = refusal.status.is_server_error() && refusal != Refusal::FULL;
        if is_ours { &shared.counters.failed } else { &shared.counters.refused }.add(1);
        tracing::debug!(status = refusal.status.as_u16(), msg = %refusal.msg, "refused");
        refusal.answer()
    })
}

/// Checks the signature and reads which fragment of which deal is meant.
pub(crate) fn addressed(headers: &HeaderMap) -> Result<(Fid, Hash32), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let account = decode_account(text(header::ACCOUNT)).ok_or(Refusal::SIGNATURE)?;
    let message = headers.get(header::MESSAGE).map(|value| value.as_bytes()).unwrap_or_default();
    if !verify_signature(&account, message, text(header::SIGNATURE)) {
        return Err(Refusal::SIGNATURE);
    }
    let (fid, fragment) = (text(header::FID), text(header::FRAGMENT));
    if fid.is_empty() || fragment.is_empty() {
        return Err(Refusal::NO_HASHES);
    }
    match (Hash32::from_hex(fid), Hash32::from_hex(fragment)) {
        (Some(fid), Some(fragment)) => Ok((Fid(fid), fragment)),
        _ => Err(Refusal::BAD_HASHES),
    }
}
