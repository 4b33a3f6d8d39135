//! The NBD frontend: block devices over the network block device protocol.
//!
//! ```text
//! server         listeners: TCP, unix, sockets of a service manager; one task a connection
//! negotiate      the handshake: options, TLS, who is it, which export
//! transmission   requests in, run at the same time, replies out in any order
//! wire           the bytes of both phases, without I/O
//! access         proof of a client -> one typed principal
//! exports        which exports there are, for whom     (trait Exports)
//! export         a device: sparse file, faulty wrapper (trait Export)
//! ```
//!
//! Promises: what the client sends is checked before an export sees it; no length that a client
//! names is allocated before it was compared with a limit; bytes under way are bounded for each
//! connection and for the process; each request is answered within
//! [`Limits::request_timeout`], by an error if need be; a client that does not read, sends rubbish or
//! dies half-way harms nobody but itself.
//!
//! The whole protocol is there but for what nobody uses: oldstyle handshakes, `RESIZE`, TLS with
//! pre-shared keys. It serves volumes of the store ([`StoreExports`]) and, for tests and
//! comparisons, files (`examples/nbd_file.rs`).

mod access;
mod config;
mod export;
mod exports;
mod metrics;
mod negotiate;
mod pool;
mod server;
mod tls;
mod transmission;
mod volumes;
pub mod wire;

pub use access::{
    AskedName, ClientCertificate, Credentials, NotAuthenticated, Peer, Principals, Proof, Token,
};
pub use config::{Limits, Listen, NbdConfig};
pub use export::{
    BASE_ALLOCATION, BadBlockSizes, BlockSizes, ByteRange, Context, ContextName, DIRTY, Export, ExportError,
    ExportErrorKind, Extent, FaultyExport, Features, FileExport, FileOptions, NAMESPACE, Persist, Piece,
    Properties, Verb, Zeroing,
};
pub use exports::{Attached, Described, ExportTable, Exports, Listed, Refusal, Who};
pub use metrics::NbdMetrics;
pub use server::{NbdServer, RunningNbd};
pub use tls::{ClientCertificates, ServerTls};
pub use volumes::{StoreExports, VolumeExport};
