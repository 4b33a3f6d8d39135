//! The server: listeners, a bounded number of connections, and an orderly end.
//!
//! A connection is one task: handshake with a deadline, TLS in its midst when the client asks for it,
//! then the transmission phase. TCP sockets get TCP_NODELAY (spec, "Protocol phases") and keepalive,
//! so that a client whose machine has vanished is noticed. At the limit of connections the next
//! client waits in the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::access::{Credentials, Peer};
use crate::config::{Listen, NbdConfig};
use crate::exports::Exports;
use crate::metrics::NbdMetrics;
use crate::negotiate::{Broken, Chosen, End, Host, Negotiation, TlsMode};
use crate::tls;
use crate::transmission::{self, Cut, Shared};
use crate::wire::constants::PAYLOAD_BYTES_DEFAULT;

/// Between two attempts when no connection can be accepted: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// The kernel's queue of a unix socket.
const BACKLOG: i32 = 128;

/// The NBD frontend, before it listens.
#[derive(Debug)]
pub struct NbdServer;

/// A listening NBD frontend. Dropping it cuts all connections; [`RunningNbd::shutdown`] lets requests end.
#[derive(Debug)]
pub struct RunningNbd {
    tcp_addrs: Vec<SocketAddr>,
    metrics: Arc<NbdMetrics>,
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

/// What all connections of a server share.
struct Server {
    config: NbdConfig,
    exports: Arc<dyn Exports>,
    shared: Shared,
    slots: Arc<Semaphore>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl NbdServer {
    /// Listens and serves until [`RunningNbd::shutdown`].
    ///
    /// # Errors
    /// When there is nowhere to listen, a place cannot be listened at, or others could reach it
    /// without TLS.
    pub async fn bind(mut config: NbdConfig, exports: Arc<dyn Exports>) -> io::Result<RunningNbd> {
        let listen = std::mem::take(&mut config.listen);
        if listen.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an NBD server needs a place to listen at",
            ));
        }
        let open = config.tls.is_none() && !config.principals.is_insecure();
        let mut listeners = Vec::new();
        for place in listen {
            listeners.push(bind(place, open).await?);
        }
        let tcp = |listener: &Listener| match listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        };
        let tcp_addrs = listeners.iter().filter_map(tcp).collect();
        let (stop, stopped) = watch::channel(false);
        let limits = config.limits.clone();
        // One request of the largest kind has to fit, or it would wait for ever.
        let one_request = 2 * PAYLOAD_BYTES_DEFAULT as usize;
        let process_bytes = limits.process_bytes_max.clamp(one_request, Semaphore::MAX_PERMITS);
        let metrics = Arc::new(NbdMetrics::default());
        let server = Arc::new(Server {
            slots: Arc::new(Semaphore::new(limits.connections_max)),
            shared: Shared {
                limits,
                budget: Arc::new(Semaphore::new(process_bytes)),
                buffers: Arc::default(),
                metrics: Arc::clone(&metrics),
                stop: stopped,
            },
            config,
            exports,
        });
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(Arc::clone(&server).accept(listener));
        }
        Ok(RunningNbd { tcp_addrs, metrics, stop, accepting })
    }
}

impl RunningNbd {
    /// Where it listens over TCP, in the order of the configuration.
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp_addrs
    }
    /// Its counters.
    pub fn metrics(&self) -> Arc<NbdMetrics> {
        Arc::clone(&self.metrics)
    }
    /// Stops listening, lets running requests end for at most `drain_timeout`, then cuts.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.accepting.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "an NBD listener had failed");
            }
        }
    }
}

async fn bind(place: Listen, open: bool) -> io::Result<Listener> {
    let listener = match place {
        Listen::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await?),
        Listen::Unix { path, mode } => Listener::Unix(bind_unix(&path, mode)?),
        Listen::Inherited(socket) => adopt(socket)?,
    };
    if let Listener::Tcp(listener) = &listener {
        let address = listener.local_addr()?;
        if open && Peer::Tcp(address).is_remote() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{address} can be reached by other machines: that needs TLS, or `insecure`"),
            ));
        }
        tracing::info!(%address, "NBD listens");
    }
    Ok(listener)
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = match std::os::unix::net::UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            std::fs::remove_file(path)?;
            std::os::unix::net::UnixListener::bind(path)?
        }
        result => result?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    tracing::info!(path = %path.display(), "NBD listens");
    UnixListener::from_std(listener)
}

/// A socket file whose server is gone.
fn is_left_over(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

/// A listening socket that somebody else has made.
fn adopt(socket: OwnedFd) -> io::Result<Listener> {
    let reference = SockRef::from(&socket);
    reference.set_nonblocking(true)?;
    let is_unix = reference.local_addr()?.is_unix();
    tracing::info!(is_unix, "NBD listens on a socket it was given");
    Ok(match is_unix {
        true => Listener::Unix(UnixListener::from_std(socket.into())?),
        false => Listener::Tcp(TcpListener::from_std(socket.into())?),
    })
}

impl Listener {
    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                socket.set_nodelay(true)?;
                SockRef::from(&socket).set_keepalive(true)?;
                Ok((Socket::Tcp(socket), Peer::Tcp(address)))
            }
            Self::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                let peer = socket.peer_cred()?;
                Ok((Socket::Unix(socket), Peer::Unix { uid: peer.uid(), gid: peer.gid() }))
            }
        }
    }
}

impl Server {
    async fn accept(self: Arc<Self>, listener: Listener) {
        let mut stop = self.shared.stop.clone();
        let mut connections = JoinSet::new();
        loop {
            let next = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.map(|(socket, peer)| (socket, peer, slot))
            };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = next => accepted,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    log_panic(ended);
                    continue;
                }
            };
            match accepted {
                Ok((socket, peer, slot)) => {
                    let server = Arc::clone(&self);
                    connections.spawn(async move {
                        let _slot = slot;
                        server.connection(socket, peer).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an NBD connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.map(log_panic).is_some() {} };
        if tokio::time::timeout(self.shared.limits.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "NBD connections are cut after the drain time");
        }
        connections.shutdown().await;
    }

    async fn connection(&self, socket: Socket, peer: Peer) {
        let metrics = &self.shared.metrics;
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        let shown = format!("{peer:?}");
        let result = match socket {
            Socket::Tcp(socket) => self.talk(socket, peer, TcpStream::into_split).await,
            Socket::Unix(socket) => self.talk(socket, peer, UnixStream::into_split).await,
        };
        if let Err(error) = result {
            if !matches!(error, Ended::Transmission(_)) {
                NbdMetrics::add(&metrics.handshakes_failed, 1);
            }
            tracing::info!(peer = shown, error = %error, "an NBD connection was cut off");
        }
        metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// The whole life of a connection.
    async fn talk<S, R, W>(&self, mut socket: S, peer: Peer, split: fn(S) -> (R, W)) -> Result<(), Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let deadline = Instant::now() + self.shared.limits.handshake_timeout;
        let mode = self.tls_mode(&peer);
        let credentials = Credentials { peer, certificate: None };
        let mut negotiation = Negotiation::new(credentials, mode, &self.shared.limits);
        let plain = async {
            negotiation.greet(&mut socket).await?;
            let end = self.haggle(&mut negotiation, &mut socket).await?;
            if matches!(end, End::Left) {
                socket.shutdown().await?;
            }
            Ok::<_, Broken>(end)
        };
        match timeout_at(deadline, plain).await.map_err(|_| Ended::TooSlow)?? {
            End::Left => Ok(()),
            End::Transmission(chosen) => self.transmit(*chosen, split(socket)).await,
            End::StartTls => self.talk_under_tls(negotiation, socket, deadline).await,
        }
    }

    async fn talk_under_tls<S>(
        &self,
        mut negotiation: Negotiation,
        socket: S,
        deadline: Instant,
    ) -> Result<(), Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let tls = self.config.tls.as_ref().expect("TLS is acknowledged only where there are certificates");
        let secured = async {
            let mut stream = tls.acceptor().accept(socket).await?;
            negotiation.secured(tls::shown(stream.get_ref().1));
            let end = self.haggle(&mut negotiation, &mut stream).await?;
            if matches!(end, End::Left) {
                stream.shutdown().await?;
            }
            Ok::<_, Broken>((end, stream))
        };
        match timeout_at(deadline, secured).await.map_err(|_| Ended::TooSlow)?? {
            (End::Transmission(chosen), stream) => self.transmit(*chosen, tokio::io::split(stream)).await,
            // A second NBD_OPT_STARTTLS is refused by the negotiation.
            (End::Left | End::StartTls, _) => Ok(()),
        }
    }

    async fn haggle<S>(&self, negotiation: &mut Negotiation, stream: &mut S) -> Result<End, Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = Host {
            exports: &*self.exports,
            principals: &self.config.principals,
            limits: &self.shared.limits,
        };
        negotiation.haggle(stream, host, &mut self.shared.stop.clone()).await
    }

    async fn transmit<R, W>(&self, chosen: Chosen, (reader, writer): (R, W)) -> Result<(), Ended>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        tracing::debug!(export = chosen.name, form = ?chosen.form, "a client is attached");
        Ok(transmission::serve(chosen, reader, writer, self.shared.clone()).await?)
    }

    /// TLS is for those who come from elsewhere; from this machine it is a choice.
    fn tls_mode(&self, peer: &Peer) -> TlsMode {
        match &self.config.tls {
            None => TlsMode::Absent,
            Some(_) if peer.is_remote() || self.config.tls_everywhere => TlsMode::Forced,
            Some(_) => TlsMode::Offered,
        }
    }
}

/// How a connection ended when it did not end in peace.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the handshake took too long")]
    TooSlow,
    #[error(transparent)]
    Handshake(#[from] Broken),
    #[error(transparent)]
    Transmission(#[from] Cut),
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an NBD connection panicked");
    }
}
