//! s3load: drives an S3 server hard and says what it saw.
//!
//! SDK clients need more processor time than the gateway they would measure, so this tool speaks
//! HTTP/1.1 over bare keep-alive connections with its own signing. It works in two ways:
//!
//! - **Load** ([`load`]): put, get, range, head, list, delete or a mix of them, from many connections,
//!   for a time or a count. Every body read is compared with what was written. The report gives rates,
//!   latencies, time to the first byte, errors by code, and what the server spent (from `/proc`).
//! - **Record and verify** ([`record`], [`verify`]): PUTs, overwrites and DELETEs, each noted in a
//!   record file before it is sent and again once it was acknowledged. Whatever happened to the server
//!   in between, `verify` decides from the record alone whether each object is as it must be.
//!
//! Bodies are a function of key, generation and size ([`content`]), so nothing has to be remembered to
//! check them. The tool stops by itself: by duration or count, and each request has a time-out.

pub mod cli;
pub mod client;
pub mod content;
pub mod histogram;
pub mod http;
pub mod load;
pub mod process;
pub mod record;
pub mod report;
pub mod sign;
pub mod target;
pub mod units;
pub mod verify;
pub mod writer;

/// What ends the tool itself, as opposed to a request that failed and was counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or socket of our own.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The server could not be used at all.
    #[error("{doing}: {source}")]
    Call {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: client::CallError,
    },
    /// An argument or a file that makes no sense.
    #[error("{0}")]
    Usage(String),
}

/// A result of the tool itself.
pub type Result<T> = std::result::Result<T, Error>;

/// Names what was being done when a file or socket failed.
pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { doing: what.into(), source }
}
