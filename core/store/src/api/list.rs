//! Listings, all in bytewise order of key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gw_types::{BucketName, ObjectKey, Timestamp};

use super::{ChecksumAlgorithm, ChecksumKind, Etag, StorageClass, UploadId, UploadInfo, VersionId};
use crate::error::{StoreError, StoreResult};

/// Where a listing begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListStart {
    /// At the first key.
    #[default]
    Beginning,
    /// V2 `start-after`: keys after this text. A common prefix shows as soon as one key under it
    /// comes after the text, even when the text lies inside that prefix (as AWS does).
    After(String),
    /// V1 `marker`, and every continuation: keys after this text, without a common prefix that the
    /// text begins with, since a page ended there.
    Marker(String),
}

const TOKEN_FORM: u8 = 1;

impl ListStart {
    /// A V2 continuation token: opaque, and it carries the whole position.
    pub fn to_token(&self) -> String {
        let text = match self {
            Self::Beginning => "",
            Self::After(text) | Self::Marker(text) => text,
        };
        let mut bytes = Vec::with_capacity(1 + text.len());
        bytes.push(TOKEN_FORM);
        bytes.extend_from_slice(text.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
    /// Reads a token back; [`crate::StoreErrorKind::InvalidArgument`] for anything else.
    pub fn from_token(token: &str) -> StoreResult<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let text = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&[TOKEN_FORM]));
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        text.map(|text| Self::Marker(text.to_owned()))
            .ok_or_else(|| StoreError::invalid("the continuation token is not one of ours"))
    }
}

/// Which objects to list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Its bucket.
    pub bucket: BucketName,
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have it behind the prefix are shown as one common prefix. Empty counts as none.
    pub delimiter: Option<String>,
    /// Where to begin.
    pub start: ListStart,
    /// Entries and common prefixes together, at most; 0 gives an empty page. Cut to 1000.
    pub max: usize,
}

impl ListRequest {
    /// Everything in a bucket, first page.
    pub fn new(bucket: BucketName) -> Self {
        Self { bucket, prefix: String::new(), delimiter: None, start: ListStart::Beginning, max: 1000 }
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: Etag,
    /// Time of the commit that published it.
    pub last_modified: Timestamp,
    /// Echoed.
    pub storage_class: StorageClass,
    /// Of its checksum, if it has one.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// In order of key.
    pub entries: Vec<ListEntry>,
    /// In order.
    pub common_prefixes: Vec<String>,
    /// Where to go on, when there is more: the last entry or common prefix of this page.
    pub next: Option<ListStart>,
}

/// Which versions to list.
#[derive(Clone, Debug)]
pub struct VersionListRequest {
    /// Its bucket.
    pub bucket: BucketName,
    /// Only keys that begin so.
    pub prefix: String,
    /// As in [`ListRequest::delimiter`].
    pub delimiter: Option<String>,
    /// Keys after this text; or, with a version marker, this key's older versions first.
    pub key_marker: Option<String>,
    /// Only with a key marker: versions of that key older than this one.
    pub version_marker: Option<VersionId>,
    /// As in [`ListRequest::max`].
    pub max: usize,
}

impl VersionListRequest {
    /// Everything in a bucket, first page.
    pub fn new(bucket: BucketName) -> Self {
        Self {
            bucket,
            prefix: String::new(),
            delimiter: None,
            key_marker: None,
            version_marker: None,
            max: 1000,
        }
    }
}

/// A version or delete marker in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionEntry {
    /// Its key.
    pub key: String,
    /// `null` for a version from before versioning.
    pub version_id: VersionId,
    /// Whether it is what a plain GET finds (or does not find).
    pub is_latest: bool,
    /// Time of its commit.
    pub last_modified: Timestamp,
    /// Size, tag and class; `None` for a delete marker.
    pub object: Option<(u64, Etag, StorageClass)>,
    /// As in [`ListEntry::checksum`].
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A page of versions: by key, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionListPage {
    /// Versions and delete markers.
    pub entries: Vec<VersionEntry>,
    /// In order.
    pub common_prefixes: Vec<String>,
    /// Key marker and version marker to go on with. The version marker of a null version is its
    /// sequence number, so that going on works when that version is gone.
    pub next: Option<(String, Option<VersionId>)>,
}

/// Which unfinished uploads to list.
#[derive(Clone, Debug)]
pub struct UploadListRequest {
    /// Its bucket.
    pub bucket: BucketName,
    /// Only keys that begin so.
    pub prefix: String,
    /// As in [`ListRequest::delimiter`].
    pub delimiter: Option<String>,
    /// Keys after this text; or, with an upload marker, this key's later uploads first.
    pub key_marker: Option<String>,
    /// Only with a key marker.
    pub upload_marker: Option<UploadId>,
    /// As in [`ListRequest::max`].
    pub max: usize,
}

impl UploadListRequest {
    /// Everything in a bucket, first page.
    pub fn new(bucket: BucketName) -> Self {
        Self {
            bucket,
            prefix: String::new(),
            delimiter: None,
            key_marker: None,
            upload_marker: None,
            max: 1000,
        }
    }
}

/// An unfinished upload in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadEntry {
    /// Where it will be.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadInfo,
}

/// A page of uploads: by key, then in order of creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadListPage {
    /// Uploads.
    pub entries: Vec<UploadEntry>,
    /// In order.
    pub common_prefixes: Vec<String>,
    /// Key marker and upload marker to go on with.
    pub next: Option<(String, Option<UploadId>)>,
}

#[cfg(test)]
mod tests {
    use super::ListStart;

    #[test]
    fn tokens_carry_any_key_and_nothing_else_passes() {
        for key in ["a", "a//b/", "ключ/日本", "x\u{0}y"] {
            let start = ListStart::Marker(key.to_owned());
            assert_eq!(ListStart::from_token(&start.to_token()).unwrap(), start);
        }
        for bad in ["", "?", "AAAA", "AP8"] {
            assert!(ListStart::from_token(bad).is_err(), "{bad}");
        }
    }
}
