//! The one error of this crate. Its kinds are the answers a caller treats differently; the story is
//! in the message and the source.

use std::sync::Arc;

use gw_types::{PortError, PortErrorKind};

/// What went wrong in the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A device sync or write failed, or the database was closed. It is read-only until a restart;
    /// nothing that was not staged before may be acknowledged.
    #[error("the journal takes no more commits until a restart: {0}")]
    Poisoned(#[source] Arc<PortError>),
    /// A named limit is reached; the same commit may pass in a moment.
    #[error("busy: {0} is reached")]
    Busy(&'static str),
    /// The local disk is full. The commit did not happen.
    #[error("the local disk is full: {0}")]
    Full(#[source] PortError),
    /// A file of ours does not hold what was synced into it.
    #[error("{file} is corrupt at byte {offset}: {what}")]
    Corrupt {
        /// Path below the root of the disk.
        file: String,
        /// Where the bad bytes begin.
        offset: u64,
        /// What was expected there.
        what: String,
    },
    /// Any other error of a port.
    #[error(transparent)]
    Port(PortError),
}

impl DbError {
    pub(crate) fn corrupt(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), offset, what: what.into() }
    }
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Port(PortError::definite(PortErrorKind::Refused, why))
    }
    /// Whether the same call may succeed soon without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy(_) => true,
            Self::Port(error) => error.kind() == PortErrorKind::Unavailable,
            Self::Poisoned(_) | Self::Full(_) | Self::Corrupt { .. } => false,
        }
    }
}

impl From<PortError> for DbError {
    fn from(error: PortError) -> Self {
        match error.kind() {
            PortErrorKind::Full => Self::Full(error),
            _ => Self::Port(error),
        }
    }
}
