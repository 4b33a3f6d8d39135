//! The store's errors in POSIX's words.
//!
//! ```text
//!   quota                                EDQUOT       staging or territory full    ENOSPC
//!   not allowed by policy or list        EACCES       object lock                  EPERM
//!   poisoned (read-only until restart)   EROFS        the same at a sync           EIO
//!   miners do not answer, damaged        EIO          level not reached in time    ETIMEDOUT
//!   attached as a volume, journal behind EBUSY
//! ```

use gw_data::DataError;
use gw_db::DbError;

use crate::api::files::{Errno, FilesError};
use crate::error::{StoreError, StoreErrorKind};

pub(super) fn errno(kind: StoreErrorKind) -> Errno {
    match kind {
        StoreErrorKind::NoSuchBucket | StoreErrorKind::NoSuchKey | StoreErrorKind::NoSuchVersion => {
            Errno::NoEntry
        }
        StoreErrorKind::BucketAlreadyExists | StoreErrorKind::BucketAlreadyOwnedByYou => Errno::Exists,
        StoreErrorKind::BucketNotEmpty => Errno::NotEmpty,
        StoreErrorKind::AccessDenied
        | StoreErrorKind::CustomerKeyNeeded
        | StoreErrorKind::WrongCustomerKey => Errno::Access,
        StoreErrorKind::Locked => Errno::NotPermitted,
        StoreErrorKind::QuotaExceeded => Errno::Quota,
        StoreErrorKind::StagingFull
        | StoreErrorKind::DiskFull
        | StoreErrorKind::NoTerritory
        | StoreErrorKind::MetadataTooLarge => Errno::NoSpace,
        StoreErrorKind::EntityTooLarge => Errno::FileTooBig,
        // Tried again inside; see [`super::busy`].
        StoreErrorKind::Busy => Errno::Interrupted,
        StoreErrorKind::Leased => Errno::Busy,
        StoreErrorKind::NotDurable => Errno::TimedOut,
        StoreErrorKind::Poisoned => Errno::ReadOnly,
        StoreErrorKind::Unreachable | StoreErrorKind::Corrupt | StoreErrorKind::Internal => Errno::Io,
        _ => Errno::Invalid,
    }
}

impl From<StoreError> for FilesError {
    fn from(error: StoreError) -> Self {
        Self::new(errno(error.kind()), error.to_string())
    }
}

impl From<DbError> for FilesError {
    fn from(error: DbError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<DataError> for FilesError {
    fn from(error: DataError) -> Self {
        StoreError::from(error).into()
    }
}

/// A sync that failed: what was written may be lost, and a second try must not succeed.
pub(super) fn of_sync(error: StoreError) -> FilesError {
    let failed = error.kind() == StoreErrorKind::Poisoned;
    let mut told = FilesError::from(error);
    if failed {
        told.errno = Errno::Io;
    }
    told
}
