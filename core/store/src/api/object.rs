//! Objects as callers see them.

use std::fmt;
use std::ops::Range;

use gw_types::{Action, BucketName, Level, Lsn, ObjectKey, Timestamp, VersionSeq};
use serde::{Deserialize, Serialize};

use super::{AclInfo, CustomerKey, Encryption, ObjectWants, PartNumber, ReadConditions, WriteConditions};
use crate::error::{ErrorDetail, StoreError, StoreErrorKind, StoreResult};

/// An entity tag: it changes exactly when the bytes change. Printed without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Etag {
    /// MD5 of the bytes: a body that came in one pass. `hex`
    Md5([u8; 16]),
    /// MD5 of the parts' MD5s, and how many they were. `hex-N`
    Parts([u8; 16], u32),
    /// Not a digest: the bytes were changed through a mount or a volume. `hex-0`
    Opaque([u8; 16]),
}

impl Etag {
    /// The sixteen bytes, whatever they mean.
    pub fn digest(&self) -> &[u8; 16] {
        match self {
            Self::Md5(digest) | Self::Parts(digest, _) | Self::Opaque(digest) => digest,
        }
    }
    /// Reads what `Display` wrote, with or without quotes and `W/`. `None` for anything that no
    /// object of ours can have.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let text = text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(text);
        let (digits, parts) = match text.split_once('-') {
            Some((digits, parts)) => (digits, Some(parts.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let mut digest = [0; 16];
        hex::decode_to_slice(digits, &mut digest).ok()?;
        Some(match parts {
            None => Self::Md5(digest),
            Some(0) => Self::Opaque(digest),
            Some(parts) => Self::Parts(digest, parts),
        })
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.digest(), &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)?;
        match self {
            Self::Md5(_) => Ok(()),
            Self::Parts(_, parts) => write!(f, "-{parts}"),
            Self::Opaque(_) => f.write_str("-0"),
        }
    }
}

/// A version's name towards callers: `null`, or sixteen hex digits that grow with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VersionId {
    /// The version made while versioning was off or suspended.
    Null,
    /// Any other.
    Seq(VersionSeq),
}

impl VersionId {
    /// [`StoreErrorKind::InvalidVersionId`] for a text that [`VersionId`] never prints.
    pub fn parse(text: &str) -> StoreResult<Self> {
        if text == "null" {
            return Ok(Self::Null);
        }
        parse_seq(text)
            .map(|seq| Self::Seq(VersionSeq(seq)))
            .ok_or_else(|| StoreErrorKind::InvalidVersionId.into())
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Seq(seq) => write!(f, "{:016x}", seq.0),
        }
    }
}

/// Sixteen lower-case hex digits, as version and upload ids are printed.
pub(super) fn parse_seq(text: &str) -> Option<u64> {
    let plain = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain { u64::from_str_radix(text, 16).ok() } else { None }
}

/// Headers kept with an object and given back as they came. `None`: not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentHeaders {
    /// Content-Type.
    pub content_type: Option<String>,
    /// Content-Encoding, `aws-chunked` already taken off.
    pub content_encoding: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Content-Language.
    pub content_language: Option<String>,
    /// Cache-Control.
    pub cache_control: Option<String>,
    /// Expires, as text: clients send things that are no dates.
    pub expires: Option<String>,
    /// x-amz-website-redirect-location.
    pub website_redirect: Option<String>,
}

/// AWS's storage classes, kept and echoed; all are stored alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StorageClass {
    /// STANDARD
    #[default]
    Standard,
    /// REDUCED_REDUNDANCY
    ReducedRedundancy,
    /// STANDARD_IA
    StandardIa,
    /// ONEZONE_IA
    OnezoneIa,
    /// INTELLIGENT_TIERING
    IntelligentTiering,
    /// GLACIER
    Glacier,
    /// DEEP_ARCHIVE
    DeepArchive,
    /// OUTPOSTS
    Outposts,
    /// GLACIER_IR
    GlacierIr,
    /// SNOW
    Snow,
    /// EXPRESS_ONEZONE
    ExpressOnezone,
}

impl StorageClass {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Standard, "STANDARD"),
        (Self::ReducedRedundancy, "REDUCED_REDUNDANCY"),
        (Self::StandardIa, "STANDARD_IA"),
        (Self::OnezoneIa, "ONEZONE_IA"),
        (Self::IntelligentTiering, "INTELLIGENT_TIERING"),
        (Self::Glacier, "GLACIER"),
        (Self::DeepArchive, "DEEP_ARCHIVE"),
        (Self::Outposts, "OUTPOSTS"),
        (Self::GlacierIr, "GLACIER_IR"),
        (Self::Snow, "SNOW"),
        (Self::ExpressOnezone, "EXPRESS_ONEZONE"),
    ];
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
    /// `None` for a word AWS does not have.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, word)| *word == text).map(|(class, _)| class)
    }
}

/// Algorithms of the `x-amz-checksum-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO HDLC), 4 bytes.
    Crc32,
    /// CRC-32C, 4 bytes.
    Crc32c,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

/// Over what a checksum was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// All bytes.
    FullObject,
    /// The parts' checksums.
    Composite,
}

/// A checksum, computed and verified by the frontend, kept and given back by the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: ChecksumAlgorithm,
    /// Over what.
    pub kind: ChecksumKind,
    /// The raw bytes, most significant first (not base64).
    pub value: Vec<u8>,
}

/// A named value that a frontend keeps with an object (tags, retention, ACL, SSE headers): opaque
/// here, replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// 1..=64 bytes.
    pub name: String,
    /// At most 64 KiB for all documents of an object.
    pub value: Vec<u8>,
}

/// What a caller says about an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectAttributes {
    /// Headers to echo.
    pub headers: ContentHeaders,
    /// `x-amz-meta-*`, names without the prefix and in lower case; at most 2 KiB in all.
    pub user_metadata: Vec<(String, String)>,
    /// Echoed.
    pub storage_class: StorageClass,
    /// Opaque values.
    pub documents: Vec<Document>,
}

/// How to put.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Kept with the object.
    pub attributes: ObjectAttributes,
    /// Owner's list, tags, locks, keys: decided in the commit.
    pub wants: ObjectWants,
    /// Decided in the commit.
    pub conditions: WriteConditions,
    /// When to answer; `None`: as the bucket says.
    pub level: Option<Level>,
    /// Content-Length, where it is known: staging is reserved by it, and another length is
    /// [`StoreErrorKind::IncompleteBody`].
    pub len_hint: Option<u64>,
    /// How the body comes, for events.
    pub way: PutWay,
    /// Append at this offset, which must be the object's size; attributes and wants but the customer's
    /// key are the object's own then, unless nothing is there.
    pub offset: Option<u64>,
}

/// How a body comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutWay {
    /// As the body of a request.
    #[default]
    Put,
    /// In a form.
    Form,
    /// From another object, sealed anew.
    Copy,
}

/// What is known at the end of a body.
#[derive(Clone, Debug, Default)]
pub struct FinishOptions {
    /// Content-MD5: the put fails with [`StoreErrorKind::BadDigest`] where it differs.
    pub content_md5: Option<[u8; 16]>,
    /// Checksums that the frontend has verified over these bytes, to be kept.
    pub checksums: Vec<Checksum>,
}

/// What a put did. Its bytes are as durable as was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct PutOutcome {
    /// The new ETag.
    pub etag: Etag,
    /// `None` where the bucket never had versioning.
    pub version_id: Option<VersionId>,
    /// The commit.
    pub lsn: Lsn,
    /// Bytes of the object.
    pub size: u64,
    /// Time of the commit.
    pub last_modified: Timestamp,
    /// The object's checksums.
    pub checksums: Vec<Checksum>,
    /// How the object's data key is kept, where that is said; `None` too when an upload is completed
    /// again.
    pub encryption: Option<Encryption>,
    /// When the bucket's lifecycle lets it go; `None` too when an upload is completed again.
    pub expiry: Option<Expiry>,
}

/// One part of an object that was put in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPart {
    /// Its number at upload.
    pub number: PartNumber,
    /// Bytes.
    pub len: u64,
    /// As they came.
    pub checksums: Vec<Checksum>,
}

/// Everything about an object but its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectInfo {
    /// Bytes.
    pub size: u64,
    /// Who owns it.
    pub owner: String,
    /// Changes exactly when the bytes change.
    pub etag: Etag,
    /// Time of the commit that published it; never the POSIX mtime.
    pub last_modified: Timestamp,
    /// `None` where the bucket never had versioning.
    pub version_id: Option<VersionId>,
    /// Headers, metadata, class, documents.
    pub attributes: ObjectAttributes,
    /// As given at put.
    pub checksums: Vec<Checksum>,
    /// In order; empty for a body that came in one pass, and where [`ReadOptions::parts`] was false.
    pub parts: Vec<ObjectPart>,
    /// When the bucket's lifecycle lets it go; of current objects.
    pub expiry: Option<Expiry>,
}

/// When an object goes by a lifecycle rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// From then on.
    pub at: Timestamp,
    /// The rule's name.
    pub rule: String,
}

impl ObjectInfo {
    /// Its access list.
    pub fn acl(&self) -> StoreResult<AclInfo> {
        Ok(crate::access::lists(&self.owner, self.attributes.acl()?))
    }
    /// The bytes of the part that came as the `index`-th (from 0). `None` where there is none.
    pub fn part_range(&self, index: usize) -> Option<Range<u64>> {
        if self.parts.is_empty() {
            return (index == 0).then_some(0..self.size);
        }
        let start = self.parts.get(..index)?.iter().map(|part| part.len).sum();
        Some(start..start + self.parts.get(index)?.len)
    }
}

/// How to read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// `None`: the current one.
    pub version: Option<VersionId>,
    /// Decided on the snapshot that is read.
    pub conditions: ReadConditions,
    /// Whether [`ObjectInfo::parts`] is wanted: one more row for objects that came in parts.
    pub parts: bool,
    /// What it is read for; `None`: its bytes and headers (`s3:GetObject`, or of a version).
    pub purpose: Option<Action>,
    /// SSE-C: must be the one it was put with.
    pub customer_key: Option<CustomerKey>,
}

/// A `Range` header's one range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteRange {
    /// No range: everything.
    #[default]
    All,
    /// `bytes=first-`
    From(u64),
    /// `bytes=first-last`, both included; a last behind the end is cut.
    Between(u64, u64),
    /// `bytes=-count`: the last bytes; more than there are means everything.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes meant in an object of `len` bytes (RFC 9110 14.1.2).
    pub fn resolve(self, len: u64) -> StoreResult<Range<u64>> {
        let range = match self {
            Self::All => return Ok(0..len),
            Self::From(first) => first..len,
            Self::Between(first, last) if last >= first => first..len.min(last.saturating_add(1)),
            Self::Between(..) => len..len,
            Self::Suffix(count) => len.saturating_sub(count)..len,
        };
        if range.start < range.end {
            return Ok(range);
        }
        Err(StoreError::from(StoreErrorKind::InvalidRange).with_detail(ErrorDetail::Len(len)))
    }
}

/// One object to delete.
#[derive(Clone, Debug)]
pub struct DeleteTarget {
    /// Its key.
    pub key: ObjectKey,
    /// `None`: the current one, by the rules of the bucket's versioning.
    pub version: Option<VersionId>,
    /// Decided in the commit.
    pub conditions: WriteConditions,
    /// A governance retention shall not stand in the way of who may bypass it.
    pub bypass_governance: bool,
}

/// What a delete did. Deleting what is not there is no error.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteOutcome {
    /// A delete marker was made, or the version deleted was one.
    pub delete_marker: bool,
    /// The marker made, or the version deleted.
    pub version_id: Option<VersionId>,
    /// The commit, or the newest one where nothing changed.
    pub lsn: Lsn,
}

/// How to rename.
#[derive(Clone, Debug, Default)]
pub struct RenameOptions {
    /// On the source, decided in the commit.
    pub source: ReadConditions,
    /// On the target, decided in the commit.
    pub target: WriteConditions,
    /// When to answer; `None`: as the bucket says.
    pub level: Option<Level>,
}

/// What to copy from.
#[derive(Clone, Debug)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// `None`: the current one.
    pub version: Option<VersionId>,
    /// `x-amz-copy-source-if-*`; all failures are [`StoreErrorKind::PreconditionFailed`].
    pub conditions: ReadConditions,
    /// SSE-C: must be the one it was put with.
    pub customer_key: Option<CustomerKey>,
}

/// How to copy.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// `None` copies headers and user metadata (directive COPY), `Some` replaces them.
    pub metadata: Option<(ContentHeaders, Vec<(String, String)>)>,
    /// Class of the new object.
    pub storage_class: StorageClass,
    /// List, locks and keys of the new object, none of which come from the source; tags do where
    /// none are given.
    pub wants: ObjectWants,
    /// On the target, decided in the commit.
    pub conditions: WriteConditions,
    /// When to answer; `None`: as the target bucket says.
    pub level: Option<Level>,
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyOutcome {
    /// The new object.
    pub put: PutOutcome,
    /// Version of the source, where its bucket has versions.
    pub source_version_id: Option<VersionId>,
}
