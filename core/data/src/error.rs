//! The one error of the data layers.

use gw_db::DbError;
use gw_types::PortError;

/// What went wrong with bytes. A frontend maps each kind to its own words.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// `staging_bytes_max` is reached; the same write may pass once segments are finalized.
    #[error("staging is full: {used_bytes} of {max_bytes} bytes wait to be dispersed")]
    StagingFull {
        /// Bytes of staging in use or promised.
        used_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The local disk is full. Nothing of the write is kept.
    #[error("the local disk is full: {0}")]
    DiskFull(#[source] PortError),
    /// The bytes exist, but fewer than four of their fragments could be read in time.
    #[error("the bytes cannot be reached: {0}")]
    Unreachable(String),
    /// The bytes are not what was written: no copy of them opened with its tag.
    #[error("the bytes are damaged: {0}")]
    Corrupt(String),
    /// The journal or catalog refused.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Any other error of a port.
    #[error(transparent)]
    Port(PortError),
}

impl From<PortError> for DataError {
    fn from(error: PortError) -> Self {
        match error.kind() {
            gw_types::PortErrorKind::Full => Self::DiskFull(error),
            gw_types::PortErrorKind::Corrupt => Self::Corrupt(error.to_string()),
            _ => Self::Port(error),
        }
    }
}
