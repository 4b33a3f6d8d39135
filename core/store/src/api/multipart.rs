//! Multipart uploads as callers see them.

use std::fmt;

use gw_types::{Level, Lsn, ObjectKey, Timestamp, UploadSeq};
use serde::{Deserialize, Serialize};

use super::object::parse_seq;
use super::{
    Checksum, ChecksumAlgorithm, ChecksumKind, Etag, ObjectAttributes, ObjectWants, VersionId,
    WriteConditions,
};
use crate::error::{StoreErrorKind, StoreResult};

/// 1..=10 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PartNumber(u16);

impl PartNumber {
    /// `None` outside 1..=10 000.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= 1 && number <= 10_000 { Some(Self(number)) } else { None }
    }
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for PartNumber {
    type Error = &'static str;
    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("a part number is 1 to 10000")
    }
}

impl From<PartNumber> for u16 {
    fn from(number: PartNumber) -> Self {
        number.0
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An upload's name towards callers: sixteen hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub UploadSeq);

impl UploadId {
    /// [`StoreErrorKind::NoSuchUpload`] for a text that [`UploadId`] never prints.
    pub fn parse(text: &str) -> StoreResult<Self> {
        parse_seq(text).map(|seq| Self(UploadSeq(seq))).ok_or_else(|| StoreErrorKind::NoSuchUpload.into())
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0.0)
    }
}

/// How to begin an upload.
#[derive(Clone, Debug, Default)]
pub struct UploadOptions {
    /// Of the object to be.
    pub attributes: ObjectAttributes,
    /// Checksum that the client announced for the object.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Owner's list, tags, locks, keys.
    pub wants: ObjectWants,
}

/// An unfinished upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its id.
    pub upload_id: UploadId,
    /// When it began.
    pub created: Timestamp,
    /// Who began it.
    pub initiator: String,
    /// Of the object to be.
    pub attributes: ObjectAttributes,
    /// As announced.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A part that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number.
    pub number: PartNumber,
    /// Bytes.
    pub len: u64,
    /// Its own ETag.
    pub etag: Etag,
    /// As given at put.
    pub checksums: Vec<Checksum>,
    /// When it was committed.
    pub last_modified: Timestamp,
}

/// What putting a part did.
#[derive(Clone, Debug, PartialEq)]
pub struct PartOutcome {
    /// MD5 of the part.
    pub etag: Etag,
    /// The commit.
    pub lsn: Lsn,
    /// As given.
    pub checksums: Vec<Checksum>,
}

/// What copying a part did.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyPartOutcome {
    /// Of the part. The bytes are taken by reference and not read, so unless the range is a whole
    /// one-pass object this is a digest of (source ETag, range), in the form of an MD5.
    pub etag: Etag,
    /// The commit.
    pub lsn: Lsn,
    /// Time of the commit.
    pub last_modified: Timestamp,
    /// Version of the source, where its bucket has versions.
    pub source_version_id: Option<VersionId>,
}

/// One line of CompleteMultipartUpload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletePart {
    /// Its number.
    pub number: PartNumber,
    /// As the put of the part answered; `None` where the client's text is no ETag of ours, which is
    /// [`StoreErrorKind::InvalidPart`].
    pub etag: Option<Etag>,
    /// Where given, each must be what the part has.
    pub checksums: Vec<Checksum>,
}

/// Makes the object's checksums from its parts (composite, or combined CRCs), and compares them
/// with what the client expects. Called once, with the parts in order.
pub type CombineChecksums = Box<dyn FnOnce(&[PartInfo]) -> StoreResult<Vec<Checksum>> + Send>;

/// How to complete.
#[derive(Default)]
pub struct CompleteOptions {
    /// Decided in the commit.
    pub conditions: WriteConditions,
    /// When to answer; `None`: as the bucket says.
    pub level: Option<Level>,
    /// x-amz-mp-object-size: another total is [`StoreErrorKind::InvalidArgument`].
    pub size: Option<u64>,
    /// `None`: the object gets no checksum.
    pub combine: Option<CombineChecksums>,
}

impl fmt::Debug for CompleteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteOptions")
            .field("conditions", &self.conditions)
            .field("level", &self.level)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A page of parts, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartListPage {
    /// The key it will be at.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadInfo,
    /// Up to `max`.
    pub parts: Vec<PartInfo>,
    /// Number to go on after, when there are more.
    pub next: Option<PartNumber>,
}
