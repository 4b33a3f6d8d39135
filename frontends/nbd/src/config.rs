//! What a server is told: where it listens, whom it knows, and the limit of everything.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::access::Principals;
use crate::tls::ServerTls;

/// A place to listen at.
#[derive(Debug)]
pub enum Listen {
    /// A TCP address. One that others can reach is refused unless there is TLS, or the server is insecure.
    Tcp(SocketAddr),
    /// A unix socket, made with this mode. A socket file that nobody listens on is replaced.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Permissions, as for `chmod`.
        mode: u32,
    },
    /// A listening socket that the service manager has made (systemd: `LISTEN_FDS`), TCP or unix.
    Inherited(OwnedFd),
}

/// The configuration of a server.
#[derive(Debug)]
pub struct NbdConfig {
    /// Where it listens; at least one place.
    pub listen: Vec<Listen>,
    /// Whom it knows.
    pub principals: Principals,
    /// Certificates, when TLS is offered. From another machine it is then required.
    pub tls: Option<ServerTls>,
    /// Requires TLS from this machine too.
    pub tls_everywhere: bool,
    /// The limits.
    pub limits: Limits,
}

impl NbdConfig {
    /// One place, nobody known, no TLS.
    pub fn new(listen: Listen, principals: Principals) -> Self {
        Self { listen: vec![listen], principals, tls: None, tls_everywhere: false, limits: Limits::default() }
    }
}

/// How much, and how long. Where a limit is reached somebody waits or is refused.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; the next one waits in the kernel's queue.
    pub connections_max: usize,
    /// From the first byte to the transmission phase, TLS included.
    pub handshake_timeout: Duration,
    /// Options of one handshake.
    pub options_max: usize,
    /// Data of one option in bytes.
    pub option_bytes_max: u32,
    /// Bytes of requests and replies of one connection that are under way. It reads no further
    /// request while they are used up. At least one request is always let in.
    pub in_flight_bytes_max: usize,
    /// Requests of one connection that are under way.
    pub in_flight_requests_max: usize,
    /// Bytes under way in all connections together.
    pub process_bytes_max: usize,
    /// A request that is not answered by then is answered with an error. Below the 30 s after which
    /// the Linux kernel gives a device up.
    pub request_timeout: Duration,
    /// A client that has taken no byte of its replies for so long is cut off.
    pub write_stall_timeout: Duration,
    /// How long running requests may take when the server ends.
    pub drain_timeout: Duration,
    /// Extents in one reply to a block status.
    pub extents_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            options_max: 1024,
            option_bytes_max: 32 << 10,
            in_flight_bytes_max: 64 << 20,
            in_flight_requests_max: 1024,
            process_bytes_max: 512 << 20,
            request_timeout: Duration::from_secs(25),
            write_stall_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(20),
            extents_max: 64 << 10,
        }
    }
}
