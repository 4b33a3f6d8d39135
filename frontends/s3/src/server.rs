//! The listener: connections in, a bounded number of them, and an orderly end.
//!
//! Each connection is a task of its own, HTTP/1.1 or HTTP/2 as the client begins. TCP_NODELAY is set
//! on each socket: without it a streamed answer waits 40 ms for the client's delayed ACK. At the
//! limit of connections nobody is refused; the next client waits in the kernel's queue. A TLS
//! handshake is part of the connection's own task: a slow one holds up nobody else, and not for long.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gw_store::Store;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::config::StaticConfigProvider;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::access_log::AccessLog;
use crate::budget::Budgets;
use crate::config::{Limits, S3Config};
use crate::cors::Cors;
use crate::form::Forms;
use crate::iam::Iam;
use crate::layer::{Layer, RequestIds};
use crate::metrics::S3Metrics;
use crate::ops::Operations;
use crate::socket::{Activity, Patience, PatientSocket};
use crate::verify::{Domains, Gate, OnlyVerified, StoreAuth};
use crate::website::Websites;

/// hyper's read buffer: the most that is taken from a socket before somebody asks for it.
const READ_BUFFER_BYTES_MAX: usize = 256 << 10;
/// How long a stop waits for access logs to be put.
const LOG_DRAIN: std::time::Duration = std::time::Duration::from_secs(10);
/// A form field or header of s3s's own parsers never gets this far: the guard refuses forms.
const FORM_BYTES_MAX: u64 = 1;

/// The S3 frontend, before it listens.
#[derive(Debug)]
pub struct S3Server;

/// A listening S3 frontend. Dropping it cuts all connections; [`RunningS3::shutdown`] lets requests end.
#[derive(Debug)]
pub struct RunningS3 {
    local_addr: SocketAddr,
    metrics: Arc<S3Metrics>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    logging: JoinHandle<()>,
}

impl S3Server {
    /// Listens and serves until [`RunningS3::shutdown`].
    ///
    /// # Errors
    /// When the address cannot be bound, no region is given, or the system has no randomness.
    pub async fn bind(config: S3Config, store: impl Into<Arc<Store>>) -> io::Result<RunningS3> {
        if config.regions.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an S3 frontend needs at least one region",
            ));
        }
        let listener = TcpListener::bind(config.listen).await?;
        let has_tls = config.tls.is_some();
        let local_addr = listener.local_addr()?;
        let metrics = Arc::new(S3Metrics::default());
        let store = store.into();
        let cors = Cors {
            store: Arc::clone(&store),
            domains: Domains::new(&config.base_domains),
            websites: Domains::new(&config.website_domains),
        };
        let budgets = Arc::new(Budgets::new(config.key_limits));
        let (verify, inner) = services(&config, Arc::clone(&store), Arc::clone(&budgets));
        let domains = Domains::new(&config.base_domains);
        let iam = Iam { store: Arc::clone(&store), budgets: Arc::clone(&budgets) };
        let websites = Websites {
            store: Arc::clone(&store),
            inner: inner.clone(),
            domains: Domains::new(&config.website_domains),
        };
        let forms =
            Forms { store: Arc::clone(&store), inner, domains, sigv2: config.sigv2_presigned, budgets };
        let region = config.regions.first().map_or("", String::as_str);
        let (access_log, logging) =
            AccessLog::start((Arc::clone(&store), Arc::clone(&metrics)), region, &config.logs);
        let layer = Arc::new(Layer {
            access_log,
            websites,
            cors,
            forms,
            iam,
            verify,
            metrics: Arc::clone(&metrics),
            ids: RequestIds::new().map_err(|error| io::Error::other(error.to_string()))?,
            config,
        });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, layer, stopped));
        tracing::info!(%local_addr, tls = has_tls, "S3 listens");
        Ok(RunningS3 { local_addr, metrics, stop, accepting, logging })
    }
}

impl RunningS3 {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
    /// Its counters.
    pub fn metrics(&self) -> Arc<S3Metrics> {
        Arc::clone(&self.metrics)
    }
    /// Stops listening, lets running requests end for at most [`Limits::drain_timeout`], then cuts.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the S3 listener had failed");
        }
        // All ways in are gone with the connections, so it puts what it has and ends.
        if tokio::time::timeout(LOG_DRAIN, &mut self.logging).await.is_err() {
            tracing::warn!("access log lines are lost: they could not be put in time");
        }
    }
}

impl Drop for RunningS3 {
    fn drop(&mut self) {
        self.accepting.abort();
        self.logging.abort();
    }
}

/// The outer, verifying service around the inner, operating one; and the inner one.
fn services(config: &S3Config, store: Arc<Store>, budgets: Arc<Budgets>) -> (S3Service, S3Service) {
    let mut own = s3s::config::S3Config::default();
    own.xml_max_body_size = config.limits.xml_bytes_max;
    own.post_object_max_file_size = FORM_BYTES_MAX;
    own.presigned_url_max_skew_time_secs =
        u32::try_from(config.limits.clock_skew.as_secs()).unwrap_or(u32::MAX);
    let own = Arc::new(StaticConfigProvider::new(Arc::new(own)));

    let mut inner = S3ServiceBuilder::new(Operations::new(Arc::clone(&store), config));
    inner.set_config(Arc::<StaticConfigProvider>::clone(&own));
    inner.set_auth(StoreAuth(Arc::clone(&store)));
    inner.set_access(OnlyVerified);
    inner.set_host(Domains::new(&config.base_domains));

    let mut outer = S3ServiceBuilder::new(Nothing);
    outer.set_config(own);
    outer.set_auth(StoreAuth(Arc::clone(&store)));
    outer.set_host(Domains::new(&config.base_domains));
    let inner = inner.build();
    outer.set_route(Gate {
        store,
        inner: inner.clone(),
        domains: Domains::new(&config.base_domains),
        xml_bytes_max: config.limits.xml_bytes_max,
        budgets,
    });
    (outer.build(), inner)
}

/// The operations of the outer service, whose route takes every request: none.
struct Nothing;

impl s3s::S3 for Nothing {}

async fn accept(listener: TcpListener, layer: Arc<Layer>, mut stopped: watch::Receiver<bool>) {
    let limits = layer.config.limits.clone();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let builder = Arc::new(connection_builder(&limits));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = next(&listener, &slots) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let ((socket, remote), slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client gone before it was accepted.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            }
        };
        let watcher = graceful.watcher();
        let (builder, layer) = (Arc::clone(&builder), Arc::clone(&layer));
        connections.spawn(async move {
            let _slot = slot;
            layer.metrics.connections.fetch_add(1, Ordering::Relaxed);
            let metrics = Arc::clone(&layer.metrics);
            serve(socket, remote, layer, &builder, watcher).await;
            metrics.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "S3 connections are cut after the drain time");
    }
    connections.shutdown().await;
}

/// The next client, once there is room for it.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<((TcpStream, SocketAddr), OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, slot))
}

async fn serve(
    socket: TcpStream,
    remote: SocketAddr,
    layer: Arc<Layer>,
    builder: &auto::Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let Some(tls) = layer.config.tls.clone() else {
        return talk((socket, remote, false), layer, builder, watcher).await;
    };
    let handshake = tls.acceptor().accept(socket);
    match tokio::time::timeout(layer.config.limits.handshake_timeout, handshake).await {
        Ok(Ok(session)) => talk((session, remote, true), layer, builder, watcher).await,
        Ok(Err(error)) => tracing::debug!(%remote, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%remote, "a TLS handshake took too long"),
    }
}

/// HTTP on a connection, to its end.
async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    (socket, remote, secure): (S, SocketAddr, bool),
    layer: Arc<Layer>,
    builder: &auto::Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let limits = &layer.config.limits;
    let patience =
        Patience { head: limits.head_timeout, idle: limits.idle_timeout, stall: limits.write_stall_timeout };
    let activity = Arc::new(Activity::default());
    let socket = TokioIo::new(PatientSocket::new(socket, Arc::clone(&activity), patience));
    let service =
        service_fn(move |request| Arc::clone(&layer).serve(request, (remote, secure), Arc::clone(&activity)));
    let connection = builder.serve_connection(socket, service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // Clients drop connections early, and time limits end them; neither is news.
        tracing::debug!(%remote, error = &*error as &dyn std::error::Error, "an S3 connection ended");
    }
}

fn connection_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The socket counts it, from the first byte on; see `socket`.
        .header_read_timeout(None)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .max_headers(limits.header_count_max.max(1));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .max_pending_accept_reset_streams(20)
        .max_header_list_size(u32::try_from(limits.header_bytes_max.saturating_mul(2)).unwrap_or(u32::MAX))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20);
    builder
}
