//! What callers hand to the store and get back: plain values, no behaviour beyond checking and
//! printing themselves.

mod bucket;
mod condition;
mod list;
mod multipart;
mod object;
mod status;
mod user;

pub use bucket::{
    BucketInfo, BucketListPage, BucketListRequest, BucketOptions, BucketSettings, Quota, Usage, Versioning,
};
pub(crate) use condition::Verdict;
pub use condition::{EtagMatch, ReadConditions, WriteConditions};
pub use list::{
    ListEntry, ListPage, ListRequest, ListStart, UploadEntry, UploadListPage, UploadListRequest,
    VersionEntry, VersionListPage, VersionListRequest,
};
pub use multipart::{
    CombineChecksums, CompleteOptions, CompletePart, CopyPartOutcome, PartInfo, PartListPage, PartNumber,
    PartOutcome, UploadId, UploadInfo, UploadOptions,
};
pub use object::{
    ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, CopyOptions, CopyOutcome,
    CopySource, DeleteOutcome, DeleteTarget, Document, Etag, FinishOptions, ObjectAttributes, ObjectInfo,
    ObjectPart, PutOptions, PutOutcome, ReadOptions, StorageClass, VersionId,
};
pub use status::{
    BucketStatus, PlacedFragment, PlacedRange, PlacedState, Placement, StoreStatus, Watermarks,
};
pub use user::{AccessKeyInfo, Credential, NewCredential, Secret, UserInfo, UserSpec};
