//! The store's one error. A frontend maps its kind to an S3 code or an errno and prints its message;
//! the cause stays in the source chain for the log.
//!
//! The set of kinds is closed: a kind exists because some caller acts differently on it.
//! [`StoreError::outcome`] says whether the act may have happened all the same.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use gw_data::DataError;
use gw_db::DbError;
use gw_types::{Outcome, PortError, PortErrorKind, Timestamp};

use crate::api::{ObjectInfo, VersionId};

/// Result of every verb of the store.
pub type StoreResult<T> = Result<T, StoreError>;

/// What a caller would do differently. The S3 code that each stands for is named where it is not
/// the same word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// No bucket of this name (404; ENOENT).
    NoSuchBucket,
    /// No current object at this key (404; ENOENT). [`ErrorDetail::DeleteMarker`] where a delete
    /// marker hides older versions.
    NoSuchKey,
    /// The version id is well formed and not there (404).
    NoSuchVersion,
    /// The version asked for by id is a delete marker (405 MethodNotAllowed). Detail says which.
    IsDeleteMarker,
    /// No such upload at this key: never begun, aborted or long completed (404).
    NoSuchUpload,
    /// No user, access key, or other entity of this name.
    NoSuchUser,
    /// A user, access key, or other entity of this name is there already.
    UserExists,
    /// An entity that something still hangs on (409).
    DeleteConflict,
    /// An account, user, group or role has as many as it may (409).
    LimitExceeded,
    /// A session token that nobody here gave out, or whose user, role or key is gone (400).
    InvalidToken,
    /// A session that is over (400).
    ExpiredToken,
    /// Somebody else owns a bucket of this name (409).
    BucketAlreadyExists,
    /// The caller owns a bucket of this name already (409).
    BucketAlreadyOwnedByYou,
    /// Objects, versions or delete markers are left in it (409).
    BucketNotEmpty,
    /// The bucket is not in a state that allows this (409 InvalidBucketState).
    InvalidBucketState,
    /// A bucket cannot take the access logs of another (400 InvalidTargetBucketForLogging).
    InvalidLogTarget,
    /// There is no inventory of this id (404 NoSuchConfiguration).
    NoSuchInventory,
    /// A bucket has as many inventories as it may (400 TooManyConfigurations).
    TooManyInventories,
    /// A bucket cannot take the inventories of another (400 InvalidS3DestinationBucket).
    InvalidInventoryTarget,
    /// An append does not begin at the end of the object (400 InvalidWriteOffset).
    WrongOffset,
    /// There is no named key of this name (400 KMS.NotFoundException).
    NoSuchKmsKey,
    /// A part of the list is not there or its ETag or checksum differs (400).
    InvalidPart,
    /// Part numbers of the list do not ascend (400).
    InvalidPartOrder,
    /// A part other than the last is smaller than 5 MiB (400).
    EntityTooSmall,
    /// Larger than an object or a part may be (400).
    EntityTooLarge,
    /// User metadata or headers are larger than allowed (400).
    MetadataTooLarge,
    /// If-Match, If-None-Match or If-Unmodified-Since did not hold (412).
    PreconditionFailed,
    /// The name exists but is not published yet, so `If-None-Match: *` cannot be decided (409).
    ConditionalRequestConflict,
    /// If-None-Match or If-Modified-Since on a read: not changed (304). Detail carries the object.
    NotModified,
    /// The principal may not do this (403; EACCES).
    AccessDenied,
    /// The bucket's ownership has turned access lists off (400 AccessControlListNotSupported).
    AclsNotSupported,
    /// Lists of the bucket stand against turning them off (400 InvalidBucketAclWithObjectOwnership).
    InvalidBucketAcl,
    /// A policy that cannot be understood (400 MalformedPolicy).
    MalformedPolicy,
    /// The bucket has no object lock (400 InvalidRequest).
    NoObjectLock,
    /// The object is a volume that somebody has attached (409 OperationAborted; EBUSY).
    Leased,
    /// A retention or legal hold that stands does not allow this (403 AccessDenied).
    Locked,
    /// A retention would outlast the territory, and nobody prolongs it (400 InvalidRetentionPeriod). The
    /// message says what can be done.
    BeyondTerritory,
    /// A tag set that cannot be (400 InvalidTag).
    InvalidTag,
    /// The object was put with a customer's key, and the request brings none, or one it does not
    /// need (400 InvalidRequest).
    CustomerKeyNeeded,
    /// The customer's key is not the one the object was put with (400 InvalidRequest).
    WrongCustomerKey,
    /// A quota of the bucket would be passed (403; EDQUOT).
    QuotaExceeded,
    /// Staging has no room now; asking again later helps (503 SlowDown; EAGAIN).
    StagingFull,
    /// Too much is waiting for the journal; asking again later helps (503 SlowDown; EAGAIN).
    Busy,
    /// The local disk is full, or the territory but for its reserve; the message says which (507;
    /// ENOSPC). Asking again soon does not help.
    DiskFull,
    /// Content-MD5 or a checksum differs from the bytes received (400).
    BadDigest,
    /// Fewer or more bytes came than were promised (400).
    IncompleteBody,
    /// The range lies behind the end (416). [`ErrorDetail::Len`] says how long the object is.
    InvalidRange,
    /// A version id nobody could have been given (400 InvalidArgument).
    InvalidVersionId,
    /// A malformed argument: token, marker, name of a document (400).
    InvalidArgument,
    /// Committed and staged, but the wanted level was not reached in the time allowed (503;
    /// outcome unknown: the object is there).
    NotDurable,
    /// There is no territory, or no room in it, for the wanted level (503).
    NoTerritory,
    /// A device sync has failed: read-only until restart (503; EROFS).
    Poisoned,
    /// Bytes are on miners of which too few answer (503; EIO).
    Unreachable,
    /// Bytes or rows are not what they must be; nothing wrong was handed out (500; EIO).
    Corrupt,
    /// A port failed in a way nobody can act on (500; EIO).
    Internal,
}

/// What some kinds carry so that a frontend can answer in full.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorDetail {
    /// With [`StoreErrorKind::NotModified`] and [`StoreErrorKind::PreconditionFailed`] on reads.
    Object(Box<ObjectInfo>),
    /// With [`StoreErrorKind::NoSuchKey`] and [`StoreErrorKind::IsDeleteMarker`].
    DeleteMarker {
        /// Its version id.
        version_id: VersionId,
        /// When it was set.
        last_modified: Timestamp,
    },
    /// With [`StoreErrorKind::InvalidRange`]: the object's length in bytes.
    Len(u64),
    /// With [`StoreErrorKind::EntityTooSmall`] and [`StoreErrorKind::InvalidPart`]: which part.
    Part(u16),
}

/// An error of the store.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    outcome: Outcome,
    message: Cow<'static, str>,
    detail: Option<ErrorDetail>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error after which it is certain that nothing happened.
    pub fn new(kind: StoreErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, outcome: Outcome::Definite, message: message.into(), detail: None, source: None }
    }
    /// Adds what the answer needs.
    #[must_use]
    pub fn with_detail(mut self, detail: ErrorDetail) -> Self {
        self.detail = Some(detail);
        self
    }
    /// Keeps the error this one was made from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
    /// Marks that the act may have happened.
    #[must_use]
    pub fn maybe_done(mut self) -> Self {
        self.outcome = Outcome::Unknown;
        self
    }
    /// What a caller can act on.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
    /// Whether the act may have happened.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
    /// The sentence for a person.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// What the answer needs beyond the kind.
    pub fn detail(&self) -> Option<&ErrorDetail> {
        self.detail.as_ref()
    }
    pub(crate) fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StoreErrorKind::Corrupt, message)
    }
    pub(crate) fn bad_tags(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StoreErrorKind::InvalidTag, message)
    }
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StoreErrorKind::InvalidArgument, message)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self::new(kind, sentence(kind))
    }
}

impl From<PortError> for StoreError {
    fn from(error: PortError) -> Self {
        let kind = match error.kind() {
            PortErrorKind::Full => StoreErrorKind::DiskFull,
            PortErrorKind::Unavailable => StoreErrorKind::Unreachable,
            PortErrorKind::Corrupt => StoreErrorKind::Corrupt,
            PortErrorKind::Poisoned => StoreErrorKind::Poisoned,
            PortErrorKind::NotFound | PortErrorKind::Refused => StoreErrorKind::Internal,
        };
        let outcome = error.outcome();
        let mut made = Self::from(kind).with_source(error);
        made.outcome = outcome;
        made
    }
}

impl From<DbError> for StoreError {
    fn from(error: DbError) -> Self {
        let kind = match &error {
            DbError::Poisoned(_) => StoreErrorKind::Poisoned,
            DbError::Busy(_) => StoreErrorKind::Busy,
            DbError::Full(_) => StoreErrorKind::DiskFull,
            DbError::Corrupt { .. } => StoreErrorKind::Corrupt,
            DbError::Port(_) => StoreErrorKind::Internal,
        };
        match error {
            DbError::Port(error) => error.into(),
            error => Self::from(kind).with_source(error),
        }
    }
}

impl From<DataError> for StoreError {
    fn from(error: DataError) -> Self {
        let kind = match error {
            DataError::Db(error) => return error.into(),
            DataError::Port(error) => return error.into(),
            DataError::StagingFull { .. } => StoreErrorKind::StagingFull,
            DataError::DiskFull(_) => StoreErrorKind::DiskFull,
            // The sentence of the kind would blame the disk.
            DataError::TerritoryFull { .. } => {
                let message = "the territory is full: delete objects, or expand it";
                return Self::new(StoreErrorKind::DiskFull, message).with_source(error);
            }
            DataError::Busy(_) => StoreErrorKind::Busy,
            DataError::Refused(_) => StoreErrorKind::Internal,
            DataError::Corrupt(_) => StoreErrorKind::Corrupt,
            DataError::Unreachable(_) => StoreErrorKind::Unreachable,
            DataError::Poisoned(_) => StoreErrorKind::Poisoned,
        };
        Self::from(kind).with_source(error)
    }
}

/// What each kind says when nothing better is known.
fn sentence(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::NoSuchBucket => "the bucket does not exist",
        StoreErrorKind::NoSuchKey => "the key does not exist",
        StoreErrorKind::NoSuchVersion => "the version does not exist",
        StoreErrorKind::IsDeleteMarker => "the version is a delete marker",
        StoreErrorKind::NoSuchUpload => "the upload does not exist: it was aborted, completed or never begun",
        StoreErrorKind::NoSuchUser => "the user does not exist",
        StoreErrorKind::UserExists => "the user or access key exists already",
        StoreErrorKind::DeleteConflict => "something still hangs on it",
        StoreErrorKind::LimitExceeded => "there are as many as there may be",
        StoreErrorKind::InvalidToken => "The provided token is malformed or otherwise invalid.",
        StoreErrorKind::ExpiredToken => "The provided token has expired.",
        StoreErrorKind::BucketAlreadyExists => "the bucket name is taken",
        StoreErrorKind::BucketAlreadyOwnedByYou => "you own this bucket already",
        StoreErrorKind::BucketNotEmpty => "The bucket you tried to delete is not empty",
        StoreErrorKind::WrongOffset => "the object does not end there",
        StoreErrorKind::NoSuchKmsKey => "there is no key of this name",
        StoreErrorKind::NoSuchInventory => "The specified configuration does not exist.",
        StoreErrorKind::TooManyInventories => "the bucket has as many inventories as it may",
        StoreErrorKind::InvalidInventoryTarget => "that bucket cannot take inventories",
        StoreErrorKind::InvalidLogTarget => "that bucket cannot take access logs",
        StoreErrorKind::InvalidBucketState => "the bucket is not in a state that allows this",
        StoreErrorKind::InvalidPart => "a part is missing, or its ETag is another",
        StoreErrorKind::InvalidPartOrder => "part numbers must ascend",
        StoreErrorKind::EntityTooSmall => "every part but the last has at least 5 MiB",
        StoreErrorKind::EntityTooLarge => "the body is larger than allowed",
        StoreErrorKind::MetadataTooLarge => "the metadata headers are larger than allowed",
        StoreErrorKind::PreconditionFailed => "a precondition did not hold",
        StoreErrorKind::ConditionalRequestConflict => "the key is being written; try again",
        StoreErrorKind::NotModified => "not modified",
        StoreErrorKind::AccessDenied => "access denied",
        StoreErrorKind::AclsNotSupported => "The bucket does not allow ACLs",
        StoreErrorKind::InvalidBucketAcl => {
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
        }
        StoreErrorKind::MalformedPolicy => "the policy cannot be understood",
        StoreErrorKind::NoObjectLock => "Bucket is missing Object Lock Configuration",
        StoreErrorKind::Locked => "Access Denied because object protected by object lock.",
        StoreErrorKind::BeyondTerritory => "the retention would outlast the territory",
        StoreErrorKind::Leased => "the object is attached as a volume; detach it first",
        StoreErrorKind::InvalidTag => "the tag set is not valid",
        StoreErrorKind::CustomerKeyNeeded => {
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
             retrieve the object."
        }
        StoreErrorKind::WrongCustomerKey => {
            "The provided encryption parameters did not match the ones used originally to encrypt the object."
        }
        StoreErrorKind::QuotaExceeded => "the bucket's quota would be passed",
        StoreErrorKind::StagingFull => "staging is full; try again later",
        StoreErrorKind::Busy => "too much is waiting for the journal; try again later",
        StoreErrorKind::DiskFull => "the gateway's disk is full",
        StoreErrorKind::BadDigest => "the digest given is not that of the body received",
        StoreErrorKind::IncompleteBody => "the body has another length than promised",
        StoreErrorKind::InvalidRange => "the range lies behind the end of the object",
        StoreErrorKind::InvalidVersionId => "not a version id",
        StoreErrorKind::InvalidArgument => "invalid argument",
        StoreErrorKind::NotDurable => "stored here, but not yet as durable as asked for",
        StoreErrorKind::NoTerritory => "there is no territory with room",
        StoreErrorKind::Poisoned => "the disk failed a sync; the gateway is read-only until it is restarted",
        StoreErrorKind::Unreachable => "the bytes cannot be reached now",
        StoreErrorKind::Corrupt => "the stored bytes are damaged",
        StoreErrorKind::Internal => "internal error",
    }
}
