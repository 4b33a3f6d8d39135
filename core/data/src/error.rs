//! The one error of this crate. Its kinds are the answers a caller treats differently; the story is
//! in the message and the source.

use gw_db::DbError;
use gw_types::{PortError, PortErrorKind};

/// What went wrong with bytes.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No room in staging until something is dispersed: 503 SlowDown.
    #[error(
        "staging is full: {used_bytes} of {max_bytes} bytes are taken and {wanted_bytes} more were asked for"
    )]
    StagingFull {
        /// Bytes staged or reserved.
        used_bytes: u64,
        /// `staging_bytes_max`.
        max_bytes: u64,
        /// What was asked for.
        wanted_bytes: u64,
    },
    /// The rest of the territory is kept for the log and for compaction: 507. Nothing was kept.
    #[error(
        "the territory is full: {wanted_bytes} bytes were to be stored, {left_bytes} may be, and the rest is kept for \
         deleting and compacting; delete objects, or expand the territory"
    )]
    TerritoryFull {
        /// What bodies may still take.
        left_bytes: u64,
        /// What was asked for.
        wanted_bytes: u64,
    },
    /// The local disk has no room (ENOSPC). Nothing was kept.
    #[error("the local disk is full: {0}")]
    DiskFull(#[source] PortError),
    /// Not possible at this moment; the same call may succeed later.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// Refused for good: a range outside the body, a segment in the wrong state.
    #[error("refused: {0}")]
    Refused(String),
    /// Bytes or rows are not what they must be, and nowhere are right ones.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// Too few miners gave right bytes within the time that a read may take.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// A device sync of a segment file failed: nothing more is staged until a restart.
    #[error("a segment file failed to sync; nothing is staged until a restart: {0}")]
    Poisoned(String),
    /// The database refused or failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Any other error of a port.
    #[error(transparent)]
    Port(PortError),
}

impl From<PortError> for DataError {
    fn from(error: PortError) -> Self {
        match error.kind() {
            PortErrorKind::Full => Self::DiskFull(error),
            PortErrorKind::Corrupt => Self::Corrupt(error.to_string()),
            PortErrorKind::Poisoned => Self::Poisoned(error.to_string()),
            _ => Self::Port(error),
        }
    }
}

impl DataError {
    /// Whether the same call may succeed soon without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::StagingFull { .. } | Self::Busy(_) | Self::Unreachable(_) => true,
            Self::Db(error) => error.is_transient(),
            Self::Port(error) => error.kind() == PortErrorKind::Unavailable,
            _ => false,
        }
    }
}
