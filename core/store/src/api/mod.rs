//! What callers hand to the store and get back: plain values, no behaviour beyond checking and
//! printing themselves.

mod acl;
mod bucket;
mod condition;
mod customer;
mod events;
pub(crate) mod extras;
pub mod files;
mod iam;
mod inventory;
mod lifecycle;
mod list;
mod lock;
mod logging;
mod multipart;
mod object;
pub mod posix_acl;
mod rules;
mod status;
mod user;
mod volume;

pub use acl::{
    AclInfo, AclRequest, CannedAcl, GRANTS_MAX, Grant, Grantee, Ownership, Permission, PublicBlock,
};
pub use bucket::{
    BucketInfo, BucketListPage, BucketListRequest, BucketOptions, BucketSettings, Cleared, Quota, Usage,
    Versioning,
};
pub(crate) use condition::Verdict;
pub use condition::{EtagMatch, ReadConditions, WriteConditions};
pub use customer::CustomerKey;
pub use events::{
    Event, EventFate, EventKind, EventQueue, EventSeq, EventTarget, NOTIFY_RULES_MAX, Notifications,
    NotifyRule, WhenFull,
};
pub use extras::{
    BUCKET_TAGS_MAX, Encryption, KmsKeyInfo, KmsWish, OBJECT_TAGS_MAX, ObjectWants, Tag, check_tags,
};
pub use iam::{
    AssumeRole, IamBody, IamChange, IamEntity, IamKind, IamListRequest, IamPage, IamSpec, IamSummary,
    IamWhat, Identity, KeyUse, PolicyVersion, TemporaryCredential,
};
pub use inventory::{
    INVENTORIES_MAX, Inventory, InventoryBeside, InventoryEntry, InventoryEvery, InventoryField,
    InventoryInfo, InventoryObject, InventoryPage, InventoryRun, InventorySeal, InventoryState,
};
pub(crate) use lifecycle::after_days;
pub use lifecycle::{Lifecycle, LifecycleFilter, LifecycleRule, LifecycleWhen, NoncurrentExpiration};
pub use list::{
    ListEntry, ListPage, ListRequest, ListStart, UploadEntry, UploadListPage, UploadListRequest,
    VersionEntry, VersionListPage, VersionListRequest,
};
pub use lock::{DefaultRetention, Kept, LockMode, LockPeriod, ObjectLock, Retention};
pub use logging::{BucketLogging, LogPartition, LoggedBucket};
pub use multipart::{
    CombineChecksums, CompleteOptions, CompletePart, CopyPartOutcome, PartInfo, PartListPage, PartNumber,
    PartOutcome, UploadId, UploadInfo, UploadOptions,
};
pub use object::{
    ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, CopyOptions, CopyOutcome,
    CopySource, DeleteOutcome, DeleteTarget, Document, Etag, Expiry, FinishOptions, ObjectAttributes,
    ObjectInfo, ObjectPart, PutOptions, PutOutcome, PutWay, ReadOptions, RenameOptions, StorageClass,
    VersionId,
};
pub use rules::{BucketEncryption, BucketRules};
pub use status::{
    BucketStatus, PlacedFragment, PlacedRange, PlacedState, Placement, StoreStatus, Watermarks,
};
pub use user::{
    AccessKeyInfo, AccountSettings, Credential, KeyLimits, NewCredential, Secret, UserInfo, UserSpec,
};
pub use volume::{
    AttachedInfo, ExportSpec, SNAPSHOTS_MAX, SnapshotInfo, SnapshotName, VOLUME_STEP_BYTES, VolumeInfo,
};
