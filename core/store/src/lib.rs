//! The store: names, objects, versions, uploads, users and quotas over the object core.
//!
//! [`Store`] is the one face that every frontend sees. It turns what S3, a mount or a volume asks
//! for into single commits of `gw-db` over bytes that `gw-data` has staged, and answers when the
//! wanted durability level is reached. It promises that every decision (conditions, quotas, who
//! wins a race) is taken inside the commit, on the newest state; that a reader sees one snapshot;
//! and that a listing is in bytewise order of key, complete and without empty prefixes.

mod access;
mod admin;
mod api;
mod bucket;
mod core;
mod digest;
mod durability;
mod error;
mod history;
mod list;
mod maps;
mod multipart;
mod namespace;
mod object;
mod pins;
mod rows;
mod store;
mod sweep;
mod user;

pub use api::{
    AccessKeyInfo, BucketInfo, BucketListPage, BucketListRequest, BucketOptions, BucketSettings,
    BucketStatus, ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, CombineChecksums, CompleteOptions,
    CompletePart, ContentHeaders, CopyOptions, CopyOutcome, CopyPartOutcome, CopySource, Credential,
    DeleteOutcome, DeleteTarget, Document, Etag, EtagMatch, FinishOptions, ListEntry, ListPage, ListRequest,
    ListStart, NewCredential, ObjectAttributes, ObjectInfo, ObjectPart, PartInfo, PartListPage, PartNumber,
    PartOutcome, PlacedFragment, PlacedRange, PlacedState, Placement, PutOptions, PutOutcome, Quota,
    ReadConditions, ReadOptions, Secret, StorageClass, StoreStatus, UploadEntry, UploadId, UploadInfo,
    UploadListPage, UploadListRequest, UploadOptions, Usage, UserInfo, UserSpec, VersionEntry, VersionId,
    VersionListPage, VersionListRequest, Versioning, Watermarks, WriteConditions,
};
pub use durability::Durability;
pub use error::{ErrorDetail, StoreError, StoreErrorKind, StoreResult};
pub use gw_data::DataStatus;
pub use maps::StoredMaps;
pub use multipart::PartWriter;
pub use object::{ObjectBody, ObjectRead, ObjectWriter};
pub use store::{PosixDefaults, Store, StoreConfig, StorePorts};
