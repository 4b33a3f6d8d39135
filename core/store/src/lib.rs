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
mod bucket_clear;
mod bucket_rules;
mod core;
mod digest;
mod durability;
mod error;
mod events;
mod file;
mod history;
mod iam;
mod inventory;
mod kept;
mod kms;
mod lifecycle;
mod list;
mod logging;
mod maps;
mod multipart;
mod namespace;
mod object;
mod pins;
mod posix;
mod rows;
mod store;
mod sweep;
mod user;
mod volume;

pub use api::{
    AccessKeyInfo, AccountSettings, AclInfo, AclRequest, AssumeRole, AttachedInfo, BUCKET_TAGS_MAX,
    BucketEncryption, BucketInfo, BucketListPage, BucketListRequest, BucketLogging, BucketOptions,
    BucketRules, BucketSettings, BucketStatus, ByteRange, CannedAcl, Checksum, ChecksumAlgorithm,
    ChecksumKind, Cleared, CombineChecksums, CompleteOptions, CompletePart, ContentHeaders, CopyOptions,
    CopyOutcome, CopyPartOutcome, CopySource, Credential, CustomerKey, DefaultRetention, DeleteOutcome,
    DeleteTarget, Document, Encryption, Etag, EtagMatch, Event, EventFate, EventKind, EventQueue, EventSeq,
    EventTarget, Expiry, ExportSpec, FinishOptions, GRANTS_MAX, Grant, Grantee, INVENTORIES_MAX, IamBody,
    IamChange, IamEntity, IamKind, IamListRequest, IamPage, IamSpec, IamSummary, IamWhat, Identity,
    Inventory, InventoryBeside, InventoryEntry, InventoryEvery, InventoryField, InventoryInfo,
    InventoryObject, InventoryPage, InventoryRun, InventorySeal, InventoryState, Kept, KeyLimits, KeyUse,
    KmsKeyInfo, KmsWish, Lifecycle, LifecycleFilter, LifecycleRule, LifecycleWhen, ListEntry, ListPage,
    ListRequest, ListStart, LockMode, LockPeriod, LogPartition, LoggedBucket, NOTIFY_RULES_MAX,
    NewCredential, NoncurrentExpiration, Notifications, NotifyRule, OBJECT_TAGS_MAX, ObjectAttributes,
    ObjectInfo, ObjectLock, ObjectPart, ObjectWants, Ownership, PartInfo, PartListPage, PartNumber,
    PartOutcome, Permission, PlacedFragment, PlacedRange, PlacedState, Placement, PolicyVersion, PublicBlock,
    PutOptions, PutOutcome, PutWay, Quota, ReadConditions, ReadOptions, RenameOptions, Retention,
    SNAPSHOTS_MAX, Secret, SnapshotInfo, SnapshotName, StorageClass, StoreStatus, Tag, TemporaryCredential,
    UploadEntry, UploadId, UploadInfo, UploadListPage, UploadListRequest, UploadOptions, Usage, UserInfo,
    UserSpec, VOLUME_STEP_BYTES, VersionEntry, VersionId, VersionListPage, VersionListRequest, Versioning,
    VolumeInfo, Watermarks, WhenFull, WriteConditions, check_tags,
};
pub use api::{files, posix_acl};
pub use durability::{Durability, Horizon};
pub use error::{ErrorDetail, StoreError, StoreErrorKind, StoreResult};
pub use gw_data::DataStatus;
pub use gw_data::MapRun;
pub use iam::IamRead;
pub use lifecycle::LifecycleDone;
pub use maps::StoredMaps;
pub use multipart::PartWriter;
pub use object::{ObjectBody, ObjectRead, ObjectWriter};
pub use posix::{MountBuckets, MountOptions, StoreFiles};
pub use store::{PosixDefaults, Store, StoreConfig, StorePorts};
pub use volume::{ExportOpened, Opened, Volume, VolumePiece};
