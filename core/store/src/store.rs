//! The store's face: every verb a frontend can say, in one place.
//!
//! Each verb names who asks; there is no way around [`Authenticated`]. The work behind a verb is in
//! the module of its subject; nothing is decided here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_data::Data;
use gw_db::Db;
use gw_types::ports::{Clock, Keys};
use gw_types::{Action, Authenticated, BucketName, Level, Lsn, ObjectKey};

use crate::access::{self, Act};
use crate::api::{
    AclInfo, AclRequest, BucketEncryption, BucketInfo, BucketListPage, BucketListRequest, BucketLogging,
    BucketOptions, ByteRange, CompleteOptions, CompletePart, CopyOptions, CopyOutcome, CopyPartOutcome,
    CopySource, CustomerKey, DeleteOutcome, DeleteTarget, Event, EventFate, EventQueue, EventSeq,
    EventTarget, KmsKeyInfo, Lifecycle, ListPage, ListRequest, LoggedBucket, Notifications, ObjectInfo,
    ObjectLock, Ownership, PartListPage, PartNumber, Placement, PublicBlock, PutOptions, PutOutcome, Quota,
    ReadOptions, RenameOptions, Retention, StoreStatus, Tag, UploadId, UploadInfo, UploadListPage,
    UploadListRequest, UploadOptions, Usage, VersionId, VersionListPage, VersionListRequest, Versioning,
};
use crate::core::Core;
use crate::durability::Durability;
use crate::error::StoreResult;
use crate::lifecycle::LifecycleDone;
use crate::multipart::{PartPlace, PartWriter};
use crate::object::{Extra, ObjectRead, ObjectWriter, Renaming, Spoken};
use crate::posix::{MountOptions, StoreFiles};

/// What the store stands on: opened by the binary, the store's own from then on.
#[derive(Debug)]
pub struct StorePorts {
    /// Rows.
    pub db: Arc<Db>,
    /// Bytes.
    pub data: Arc<Data>,
    /// The key tree.
    pub keys: Arc<dyn Keys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Everything behind `staged`; `None` where nothing is dispersed.
    pub durability: Option<Arc<dyn Durability>>,
}

/// What POSIX is told of inodes that S3 makes.
#[derive(Clone, Copy, Debug)]
pub struct PosixDefaults {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u32,
    /// Permission bits of directories.
    pub dir_mode: u32,
}

/// Limits. All in bytes unless the name says otherwise.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Largest body of one PUT.
    pub put_bytes_max: u64,
    /// Largest part.
    pub part_bytes_max: u64,
    /// Smallest part but the last.
    pub part_bytes_min: u64,
    /// Largest object.
    pub object_bytes_max: u64,
    /// Longest wait of a write for a level behind `staged`; then it is `NotDurable`.
    pub durability_wait_max: Duration,
    /// Opened secrets kept in memory, counted.
    pub credentials_max: usize,
    /// For inodes that S3 makes.
    pub posix: PosixDefaults,
    /// How long a day is for lifecycle rules: a day, but for tests.
    pub lifecycle_day: Duration,
    /// Where events may go.
    pub event_targets: Vec<EventTarget>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            put_bytes_max: 5 << 30,
            part_bytes_max: 5 << 30,
            part_bytes_min: 5 << 20,
            object_bytes_max: 5 << 40,
            durability_wait_max: Duration::from_secs(300),
            credentials_max: 4096,
            posix: PosixDefaults { uid: 0, gid: 0, file_mode: 0o644, dir_mode: 0o755 },
            lifecycle_day: Duration::from_secs(24 * 3600),
            event_targets: Vec::new(),
        }
    }
}

/// The object core, as frontends see it. A cheap handle: clone it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) core: Arc<Core>,
}

/// Opening and closing; who is who stands in `iam::verbs`.
impl Store {
    /// Opens the store on what the ports hold, and finishes what a former run left to be deleted.
    pub async fn open(ports: StorePorts, config: StoreConfig) -> StoreResult<Self> {
        let core = Arc::new(Core::new(ports, config));
        core.sweep_all()?;
        core.publish_left()?;
        core.load_logged()?;
        core.load_kms().await?;
        Ok(Self { core })
    }
    /// Syncs and closes the database below. Nothing acknowledged is lost without it.
    pub async fn close(&self) -> StoreResult<()> {
        Ok(self.core.db.close().await?)
    }
    /// Whether `who` may do this; every verb asks it by itself, on the state it acts on.
    /// `NoSuchBucket` where an act on a bucket names none that exists.
    pub fn authorize(
        &self,
        who: &Authenticated,
        action: Action,
        bucket: Option<&BucketName>,
        key: Option<&ObjectKey>,
    ) -> StoreResult<()> {
        let snapshot = self.core.snapshot();
        match (bucket, action) {
            (None, _) | (_, Action::CreateBucket) => self.core.decide(&snapshot, who, action, bucket),
            (Some(name), _) => {
                let act = Act { key, ..Act::from(action) };
                self.core.bucket(&snapshot, who, act, name).map(|_| ())
            }
        }
    }
    /// The time by which everything here goes.
    pub fn now(&self) -> gw_types::Timestamp {
        self.core.clock.now()
    }
    /// Makes a named key for SSE-KMS. Admins only.
    pub async fn kms_key_add(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        self.core.kms_key_add(who, name).await
    }
    /// All named keys, by name. Admins only.
    pub fn kms_key_list(&self, who: &Authenticated) -> StoreResult<Vec<KmsKeyInfo>> {
        self.core.kms_key_list(who)
    }
}

/// Buckets.
impl Store {
    /// Makes a bucket. One's own is `BucketAlreadyOwnedByYou`, another's `BucketAlreadyExists`.
    pub async fn bucket_create(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        options: BucketOptions,
    ) -> StoreResult<BucketInfo> {
        self.core.bucket_create(who, bucket, options).await
    }
    /// Removes an empty bucket; its unfinished uploads are aborted.
    pub async fn bucket_delete(&self, who: &Authenticated, bucket: &BucketName) -> StoreResult<()> {
        self.core.bucket_delete(who, bucket).await
    }
    /// What a bucket is, for who may list it.
    pub async fn bucket_head(&self, who: &Authenticated, bucket: &BucketName) -> StoreResult<BucketInfo> {
        self.core.bucket_head(who, bucket, Action::ListBucket)
    }
    /// What a bucket is, for who may do `action` in it.
    pub async fn bucket_look(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        action: Action,
    ) -> StoreResult<BucketInfo> {
        self.core.bucket_head(who, bucket, action)
    }
    /// Who owns a bucket: no secret, whoever asks.
    pub async fn bucket_owner(&self, _who: &Authenticated, bucket: &BucketName) -> StoreResult<String> {
        self.core.bucket_owner(bucket)
    }
    /// What a bucket holds.
    pub async fn bucket_usage(&self, who: &Authenticated, bucket: &BucketName) -> StoreResult<Usage> {
        self.core.bucket_usage(who, bucket)
    }
    /// The caller's buckets; the admin socket sees all.
    pub async fn bucket_list(
        &self,
        who: &Authenticated,
        request: BucketListRequest,
    ) -> StoreResult<BucketListPage> {
        self.core.bucket_list(who, &request)
    }
    /// Turns versions on or suspends them; [`Versioning::Off`] is `InvalidBucketState` once they
    /// were on.
    pub async fn bucket_versioning_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        versioning: Versioning,
    ) -> StoreResult<()> {
        self.core.bucket_versioning_set(who, bucket, versioning).await
    }
    /// Sets both limits. What is over a new limit stays; only growth is refused. Admins only.
    pub async fn bucket_quota_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        quota: Quota,
    ) -> StoreResult<()> {
        self.core.bucket_quota_set(who, bucket, quota).await
    }
    /// Sets the level at which writes are answered by default.
    pub async fn bucket_level_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        level: Level,
    ) -> StoreResult<()> {
        self.core.bucket_level_set(who, bucket, level).await
    }
    /// A named document of the bucket (cors, tags ...), for who may do `action`: opaque bytes.
    pub async fn bucket_document(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        name: &str,
        action: Action,
    ) -> StoreResult<Option<Bytes>> {
        self.core.bucket_document(who, bucket, (name, action))
    }
    /// Sets (`Some`) or removes (`None`) a document of at most 64 KiB.
    pub async fn bucket_document_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        (name, action): (&str, Action),
        value: Option<Bytes>,
    ) -> StoreResult<()> {
        self.core.bucket_document_set(who, bucket, (name, action), value).await
    }
}

/// Rules of buckets: who may, how long, under which key.
impl Store {
    /// A bucket's access list.
    pub async fn bucket_acl(&self, who: &Authenticated, bucket: &BucketName) -> StoreResult<AclInfo> {
        self.core.bucket_acl(who, bucket)
    }
    /// Replaces a bucket's access list.
    pub async fn bucket_acl_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        acl: AclRequest,
    ) -> StoreResult<()> {
        self.core.bucket_acl_set(who, bucket, acl).await
    }
    /// Sets or takes off ownership controls. `InvalidBucketAcl` where lists are to be off and the
    /// bucket's own grants something to others.
    pub async fn bucket_ownership_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        ownership: Option<Ownership>,
    ) -> StoreResult<()> {
        self.core.bucket_ownership_set(who, bucket, ownership).await
    }
    /// Sets or takes off the public access block.
    pub async fn bucket_public_block_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        block: Option<PublicBlock>,
    ) -> StoreResult<()> {
        self.core.bucket_public_block_set(who, bucket, block).await
    }
    /// A bucket's policy, as it was put.
    pub async fn bucket_policy(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
    ) -> StoreResult<Option<Bytes>> {
        self.core.bucket_document(who, bucket, (access::POLICY, Action::GetBucketPolicy))
    }
    /// Sets or removes the policy. `MalformedPolicy` with the reason; `AccessDenied` for a public
    /// one where these are blocked.
    pub async fn bucket_policy_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        policy: Option<Bytes>,
    ) -> StoreResult<()> {
        self.core.bucket_policy_set(who, bucket, policy).await
    }
    /// Whether policy or list let strangers in.
    pub async fn bucket_policy_is_public(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
    ) -> StoreResult<bool> {
        self.core.bucket_policy_is_public(who, bucket)
    }
    /// Turns object lock on, or changes its default. Versions must be on; nobody turns it off again.
    pub async fn bucket_lock_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        lock: ObjectLock,
    ) -> StoreResult<()> {
        self.core.bucket_lock_set(who, bucket, lock).await
    }
    /// How new objects are encrypted that do not say it themselves.
    pub async fn bucket_encrypt_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        encrypt: Option<BucketEncryption>,
    ) -> StoreResult<()> {
        self.core.bucket_encrypt_set(who, bucket, encrypt).await
    }
    /// Whether others than the owner must say that they pay.
    pub async fn bucket_requester_pays_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        on: bool,
    ) -> StoreResult<()> {
        self.core.bucket_requester_pays_set(who, bucket, on).await
    }
    /// Whether a bucket has object lock: whoever may see an object of it may know.
    pub async fn bucket_has_lock(&self, _who: &Authenticated, bucket: &BucketName) -> StoreResult<bool> {
        self.core.bucket_has_lock(bucket)
    }
    /// A bucket's lifecycle.
    pub async fn bucket_lifecycle(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
    ) -> StoreResult<Option<Lifecycle>> {
        self.core.bucket_lifecycle(who, bucket)
    }
    /// Sets or removes a bucket's lifecycle.
    pub async fn bucket_lifecycle_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        lifecycle: Option<Lifecycle>,
    ) -> StoreResult<()> {
        self.core.bucket_lifecycle_set(who, bucket, lifecycle).await
    }
    /// Where a bucket's requests are written down.
    pub async fn bucket_logging(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
    ) -> StoreResult<Option<BucketLogging>> {
        self.core.bucket_logging(who, bucket)
    }
    /// Sets or takes off where a bucket's requests are written down. `InvalidLogTarget` where the target
    /// is not there or is another owner's.
    pub async fn bucket_logging_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        logging: Option<BucketLogging>,
    ) -> StoreResult<()> {
        self.core.bucket_logging_set(who, bucket, logging).await
    }
    /// Whether any bucket has its requests written down.
    pub fn logs_any(&self) -> bool {
        self.core.logs_any()
    }
    /// Whether requests for a bucket of this name are written down, and where: no secret, and asked for
    /// every request, before it is known who asks.
    pub fn logged(&self, bucket: &str) -> Option<Arc<LoggedBucket>> {
        self.core.logged(bucket)
    }
    /// A bucket's notifications.
    pub async fn bucket_notifications(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
    ) -> StoreResult<Option<Notifications>> {
        self.core.bucket_notifications(who, bucket)
    }
    /// Sets or removes a bucket's notifications. Each target they name gets a test event;
    /// `InvalidArgument` for one that is not configured.
    pub async fn bucket_notifications_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        notifications: Option<Notifications>,
    ) -> StoreResult<()> {
        self.core.bucket_notifications_set(who, bucket, notifications).await
    }
    /// The website of a bucket, opaque, for whoever visits it.
    pub async fn bucket_website(
        &self,
        _who: &Authenticated,
        bucket: &BucketName,
    ) -> StoreResult<Option<Bytes>> {
        self.core.bucket_website(bucket)
    }
    /// The rules for cross-origin requests, opaque, for whoever asks from another origin.
    pub async fn bucket_cors(&self, _who: &Authenticated, bucket: &BucketName) -> StoreResult<Option<Bytes>> {
        self.core.bucket_cors(bucket)
    }
}

/// Objects.
impl Store {
    /// Begins a put. Refusals that can be known before the body (no bucket, no right, too large,
    /// staging full, a condition that fails now) come here; conditions are decided in the commit.
    pub async fn put(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: PutOptions,
    ) -> StoreResult<ObjectWriter> {
        self.core.put(who, bucket, key, options).await
    }
    /// Opens an object for reading: found, judged and read on one snapshot.
    pub async fn get(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: ReadOptions,
    ) -> StoreResult<ObjectRead> {
        self.core.get_newest(who, bucket, key, &options).await
    }
    /// What an object is.
    pub async fn head(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: ReadOptions,
    ) -> StoreResult<ObjectInfo> {
        self.core.head_newest(who, bucket, key, &options).await
    }
    /// Deletes an object or a version. What is not there is deleted already.
    pub async fn delete(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        target: DeleteTarget,
        level: Option<Level>,
    ) -> StoreResult<DeleteOutcome> {
        self.core.delete(who, bucket, target, level).await
    }
    /// Deletes many, each for itself, answers in the same order.
    pub async fn delete_many(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        targets: Vec<DeleteTarget>,
        level: Option<Level>,
    ) -> StoreResult<Vec<StoreResult<DeleteOutcome>>> {
        self.core.delete_many(who, bucket, targets, level).await
    }
    /// Copies by reference: costs the same for any size.
    pub async fn copy(
        &self,
        who: &Authenticated,
        source: CopySource,
        bucket: &BucketName,
        key: &ObjectKey,
        options: CopyOptions,
    ) -> StoreResult<CopyOutcome> {
        self.core.copy(who, &source, bucket, key, &options).await
    }
    /// Gives an object another key in its bucket, in one commit that moves no byte. What stands beside it
    /// comes along; what is at the new key is replaced by the rules of the bucket's versioning.
    pub async fn rename(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        (from, to): (&ObjectKey, &ObjectKey),
        options: RenameOptions,
    ) -> StoreResult<PutOutcome> {
        let renaming = Renaming { from, to, source: &options.source, target: &options.target };
        self.core.rename(who, bucket, renaming, options.level).await
    }
    /// Replaces (`Some`) or removes (`None`) an object's tags, without a new version. This and the
    /// three below answer the version they changed.
    pub async fn object_tags_set(
        &self,
        who: &Authenticated,
        (bucket, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
        tags: Option<Vec<Tag>>,
    ) -> StoreResult<Option<VersionId>> {
        self.core.object_extra_set(who, Spoken { bucket, key, version }, Extra::Tags(tags)).await
    }
    /// Replaces an object's access list.
    pub async fn object_acl_set(
        &self,
        who: &Authenticated,
        (bucket, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
        acl: AclRequest,
    ) -> StoreResult<Option<VersionId>> {
        self.core.object_extra_set(who, Spoken { bucket, key, version }, Extra::Acl(acl)).await
    }
    /// Sets or takes off an object's retention. `Locked` where it would get weaker and may not.
    pub async fn object_retention_set(
        &self,
        who: &Authenticated,
        (bucket, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
        (retention, bypass_governance): (Option<Retention>, bool),
    ) -> StoreResult<Option<VersionId>> {
        let extra = Extra::Retention(retention, bypass_governance);
        self.core.object_extra_set(who, Spoken { bucket, key, version }, extra).await
    }
    /// Sets or takes off an object's legal hold.
    pub async fn object_legal_hold_set(
        &self,
        who: &Authenticated,
        (bucket, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
        on: bool,
    ) -> StoreResult<Option<VersionId>> {
        self.core.object_extra_set(who, Spoken { bucket, key, version }, Extra::Hold(on)).await
    }
}

/// Uploads in parts.
impl Store {
    /// Begins an upload in parts.
    pub async fn upload_create(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: UploadOptions,
    ) -> StoreResult<UploadInfo> {
        self.core.upload_create(who, bucket, key, options).await
    }
    /// Begins the put of a part; a part of the same number is replaced.
    #[expect(clippy::too_many_arguments, reason = "AWS's UploadPart names these eight")]
    pub async fn upload_put_part(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        number: PartNumber,
        len_hint: Option<u64>,
        customer_key: Option<&CustomerKey>,
    ) -> StoreResult<PartWriter> {
        let place = PartPlace { key, upload, number };
        self.core.upload_put_part(who, bucket, place, (len_hint, customer_key)).await
    }
    /// Makes a part of an object's bytes (`None`: all), by reference.
    #[expect(clippy::too_many_arguments, reason = "AWS's UploadPartCopy names these eight")]
    pub async fn upload_copy_part(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        number: PartNumber,
        (source, range): (CopySource, Option<ByteRange>),
        customer_key: Option<&CustomerKey>,
    ) -> StoreResult<CopyPartOutcome> {
        let place = PartPlace { key, upload, number };
        self.core.upload_copy_part(who, bucket, place, (&source, range), customer_key).await
    }
    /// Makes the object. A retry within 24 hours of a completed upload answers the same.
    pub async fn upload_complete(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        parts: Vec<CompletePart>,
        options: CompleteOptions,
    ) -> StoreResult<PutOutcome> {
        self.core.upload_complete(who, bucket, key, upload, (parts, options)).await
    }
    /// Gives the upload up; its parts are deleted.
    pub async fn upload_abort(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> StoreResult<()> {
        self.core.upload_abort(who, bucket, key, upload).await
    }
    /// Parts of an upload with numbers behind `after`, at most `max` (cut to 1000).
    pub async fn upload_parts(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        after: Option<PartNumber>,
        max: usize,
    ) -> StoreResult<PartListPage> {
        self.core.upload_parts(who, bucket, key, upload, (after, max, Action::ListMultipartUploadParts))
    }
    /// What an upload is, for who may put its parts.
    pub async fn upload_info(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> StoreResult<UploadInfo> {
        let page = self.core.upload_parts(who, bucket, key, upload, (None, 0, Action::PutObject))?;
        Ok(page.upload)
    }
    /// Unfinished uploads of a bucket.
    pub async fn upload_list(
        &self,
        who: &Authenticated,
        request: UploadListRequest,
    ) -> StoreResult<UploadListPage> {
        self.core.upload_list(who, &request)
    }
}

/// Mounts.
impl Store {
    /// The namespace as files: one bucket, or all. `NoSuchBucket` or `AccessDenied` where the one
    /// bucket cannot be listed.
    pub async fn mount(&self, options: MountOptions) -> StoreResult<StoreFiles> {
        self.core.mount(options).await
    }
}

/// Listings.
impl Store {
    /// Current objects.
    pub async fn list(&self, who: &Authenticated, request: ListRequest) -> StoreResult<ListPage> {
        self.core.list(who, &request)
    }
    /// All versions and delete markers.
    pub async fn list_versions(
        &self,
        who: &Authenticated,
        request: VersionListRequest,
    ) -> StoreResult<VersionListPage> {
        self.core.list_versions(who, &request)
    }
}

/// For the admin.
impl Store {
    /// The store at a glance. Admins only.
    pub async fn status(&self, who: &Authenticated) -> StoreResult<StoreStatus> {
        self.core.status(who)
    }
    /// Where an object's bytes are.
    pub async fn placement(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        range: ByteRange,
    ) -> StoreResult<Placement> {
        self.core.placement(who, bucket, (key, version), range)
    }
    /// Carries out all buckets' lifecycle rules once. Admins only.
    pub async fn lifecycle_pass(&self, who: &Authenticated) -> StoreResult<LifecycleDone> {
        self.core.lifecycle_pass(who).await
    }
    /// Carries them out again and again, `every` so often, until it is dropped. Admins only.
    pub async fn lifecycle_keep(&self, who: &Authenticated, every: Duration) {
        self.core.lifecycle_keep(who, every).await;
    }
    /// Brings everything committed so far to `level`; answers the newest commit it covers. Admins
    /// only.
    pub async fn flush(&self, who: &Authenticated, level: Level) -> StoreResult<Lsn> {
        self.core.flush(who, level).await
    }
}

/// Events, for who delivers them.
impl Store {
    /// Changes whenever an event was queued.
    pub fn events_added(&self) -> tokio::sync::watch::Receiver<u64> {
        self.core.events.subscribe()
    }
    /// The oldest events with numbers from `from` on that wait for a target, at most `max` (cut to
    /// 1024). What it gives is staged: it survives a crash. Admins only.
    pub async fn events_next(
        &self,
        who: &Authenticated,
        target: &str,
        from: EventSeq,
        max: usize,
    ) -> StoreResult<Vec<Event>> {
        self.core.events_next(who, target, (from, max)).await
    }
    /// Takes events out of their queue, delivered or given up. Admins only.
    pub async fn events_done(
        &self,
        who: &Authenticated,
        target: &str,
        fates: &[(EventSeq, EventFate)],
    ) -> StoreResult<()> {
        self.core.events_done(who, target, fates).await
    }
    /// All queues of events. Admins only.
    pub fn event_queues(&self, who: &Authenticated) -> StoreResult<Vec<EventQueue>> {
        self.core.event_queues(who)
    }
}
