//! The store's face.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use gw_types::ports::{Clock, Keys};
use gw_types::{Action, Authenticated, BucketName, Level, Lsn, ObjectKey};

use crate::api::{
    BucketInfo, BucketListPage, BucketListRequest, BucketOptions, ByteRange, CompleteOptions, CompletePart,
    CopyOptions, CopyOutcome, CopyPartOutcome, CopySource, Credential, DeleteOutcome, DeleteTarget,
    FinishOptions, ListPage, ListRequest, NewCredential, ObjectInfo, PartListPage, PartNumber, PartOutcome,
    Placement, PutOptions, PutOutcome, Quota, ReadOptions, StoreStatus, UploadId, UploadInfo, UploadListPage,
    UploadListRequest, UploadOptions, Usage, UserInfo, UserSpec, VersionId, VersionListPage,
    VersionListRequest, Versioning,
};
use crate::durability::Durability;
use crate::error::{StoreErrorKind, StoreResult};

/// What the store stands on: opened by the binary, owned by the store from then on.
#[derive(Debug)]
pub struct StorePorts {
    /// The key tree.
    pub keys: Arc<dyn Keys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Everything behind `staged`; `None` where nothing is dispersed.
    pub durability: Option<Arc<dyn Durability>>,
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
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            put_bytes_max: 5 << 30,
            part_bytes_max: 5 << 30,
            part_bytes_min: 5 << 20,
            object_bytes_max: 5 << 40,
        }
    }
}

/// The object core, as frontends see it. A cheap handle: clone it.
#[derive(Clone, Debug)]
pub struct Store {
    ports: Arc<StorePorts>,
}

/// A put that is under way. Dropping it before [`ObjectWriter::finish`] leaves nothing behind.
#[derive(Debug)]
pub struct ObjectWriter {}

impl ObjectWriter {
    /// Takes the next bytes; waits when staging cannot keep up.
    pub async fn write(&mut self, bytes: Bytes) -> StoreResult<()> {
        drop(bytes);
        soon()
    }
    /// Commits, waits for the level, answers.
    pub async fn finish(self, options: FinishOptions) -> StoreResult<PutOutcome> {
        drop(options);
        soon()
    }
}

/// The put of a part. Dropping it before [`PartWriter::finish`] leaves nothing behind.
#[derive(Debug)]
pub struct PartWriter {}

impl PartWriter {
    /// Takes the next bytes; waits when staging cannot keep up.
    pub async fn write(&mut self, bytes: Bytes) -> StoreResult<()> {
        drop(bytes);
        soon()
    }
    /// Commits and answers when staged.
    pub async fn finish(self, options: FinishOptions) -> StoreResult<PartOutcome> {
        drop(options);
        soon()
    }
}

/// An object on one snapshot, pinned: its bytes stay until this and its body are dropped.
#[derive(Debug)]
pub struct ObjectRead {
    info: Arc<ObjectInfo>,
}

impl ObjectRead {
    /// What it is.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }
    /// Its bytes in a range; [`StoreErrorKind::InvalidRange`] where it has none there.
    pub fn body(&self, range: ByteRange) -> StoreResult<ObjectBody> {
        range.resolve(self.info.size)?;
        soon()
    }
    /// Its bytes in a range that [`ByteRange::resolve`] or [`ObjectInfo::part_range`] gave.
    pub fn body_of(&self, range: Range<u64>) -> StoreResult<ObjectBody> {
        drop(range);
        soon()
    }
}

/// Bytes in order, with a bounded window of read-ahead.
#[derive(Debug)]
pub struct ObjectBody {}

impl ObjectBody {
    /// The range it covers.
    pub fn range(&self) -> Range<u64> {
        0..0
    }
    /// The next bytes; `None` at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<StoreResult<Bytes>> {
        Some(soon())
    }
    /// The same as a stream.
    pub fn into_stream(self) -> BoxStream<'static, StoreResult<Bytes>> {
        Box::pin(futures::stream::unfold(self, |mut body| async {
            body.next().await.map(|item| (item, body))
        }))
    }
}

fn soon<T>() -> StoreResult<T> {
    Err(StoreErrorKind::Internal.into())
}

macro_rules! face {
    ($($(#[$doc:meta])* fn $name:ident(who $(, $arg:ident: $ty:ty)*) -> $out:ty;)*) => {
        impl Store {
            $($(#[$doc])* pub async fn $name(&self, who: &Authenticated $(, $arg: $ty)*) -> StoreResult<$out> {
                let _ = (&self.ports, who $(, $arg)*);
                soon()
            })*
        }
    };
}

impl Store {
    /// Opens the store on what the ports hold.
    pub async fn open(ports: StorePorts, config: StoreConfig) -> StoreResult<Self> {
        drop(config);
        Ok(Self { ports: Arc::new(ports) })
    }
    /// Syncs and closes. Nothing acknowledged is lost without it.
    pub async fn close(&self) -> StoreResult<()> {
        soon()
    }
    /// The secret behind an access key, for verifying a signature. `None`: no such key.
    pub async fn credential(&self, access_key: &str) -> StoreResult<Option<Arc<Credential>>> {
        let _ = access_key;
        soon()
    }
    /// Whether `who` may do this; every verb asks it by itself, on the state it acts on.
    pub fn authorize(
        &self,
        who: &Authenticated,
        action: Action,
        bucket: Option<&BucketName>,
        key: Option<&ObjectKey>,
    ) -> StoreResult<()> {
        let _ = (who, action, bucket, key);
        soon()
    }
}

face! {
    /// Adds a user with one access key. Admins only.
    fn user_add(who, spec: UserSpec) -> NewCredential;
    /// All users, by name. Admins only.
    fn user_list(who) -> Vec<UserInfo>;
    /// Removes a user and its keys; its buckets stay, for admins. Admins only.
    fn user_remove(who, name: &str) -> ();
    /// Makes a bucket.
    fn bucket_create(who, bucket: &BucketName, options: BucketOptions) -> BucketInfo;
    /// Removes an empty bucket; its unfinished uploads are aborted.
    fn bucket_delete(who, bucket: &BucketName) -> ();
    /// What a bucket is.
    fn bucket_head(who, bucket: &BucketName) -> BucketInfo;
    /// What a bucket holds.
    fn bucket_usage(who, bucket: &BucketName) -> Usage;
    /// The caller's buckets.
    fn bucket_list(who, request: BucketListRequest) -> BucketListPage;
    /// Turns versions on or suspends them; [`Versioning::Off`] is InvalidBucketState once they were on.
    fn bucket_versioning_set(who, bucket: &BucketName, versioning: Versioning) -> ();
    /// Sets both limits. Admins only.
    fn bucket_quota_set(who, bucket: &BucketName, quota: Quota) -> ();
    /// Sets the level at which writes are answered by default.
    fn bucket_level_set(who, bucket: &BucketName, level: Level) -> ();
    /// A named document of the bucket (cors, lifecycle, policy, tags ...): opaque bytes.
    fn bucket_document(who, bucket: &BucketName, name: &str) -> Option<Bytes>;
    /// Sets (`Some`) or removes (`None`) a document of at most 64 KiB.
    fn bucket_document_set(who, bucket: &BucketName, name: &str, value: Option<Bytes>) -> ();
    /// Begins a put. Refusals that can be known before the body (no bucket, no right, too large,
    /// staging full) come here; conditions are decided in the commit.
    fn put(who, bucket: &BucketName, key: &ObjectKey, options: PutOptions) -> ObjectWriter;
    /// Opens an object for reading.
    fn get(who, bucket: &BucketName, key: &ObjectKey, options: ReadOptions) -> ObjectRead;
    /// What an object is.
    fn head(who, bucket: &BucketName, key: &ObjectKey, options: ReadOptions) -> ObjectInfo;
    /// Deletes an object or a version.
    fn delete(who, bucket: &BucketName, target: DeleteTarget, level: Option<Level>) -> DeleteOutcome;
    /// Deletes many, each for itself, answers in the same order.
    fn delete_many(who, bucket: &BucketName, targets: Vec<DeleteTarget>, level: Option<Level>) -> Vec<StoreResult<DeleteOutcome>>;
    /// Copies by reference: costs the same for any size.
    fn copy(who, source: CopySource, bucket: &BucketName, key: &ObjectKey, options: CopyOptions) -> CopyOutcome;
    /// Replaces (`Some`) or removes (`None`) one document of an object, without a new version.
    fn object_document_set(who, bucket: &BucketName, key: &ObjectKey, version: Option<VersionId>, name: &str, value: Option<Vec<u8>>) -> Option<VersionId>;
    /// Begins an upload in parts.
    fn upload_create(who, bucket: &BucketName, key: &ObjectKey, options: UploadOptions) -> UploadInfo;
    /// Begins the put of a part; a part of the same number is replaced.
    fn upload_put_part(who, bucket: &BucketName, key: &ObjectKey, upload: UploadId, number: PartNumber, len_hint: Option<u64>) -> PartWriter;
    /// Makes a part of an object's bytes (`None`: all), by reference.
    fn upload_copy_part(who, bucket: &BucketName, key: &ObjectKey, upload: UploadId, number: PartNumber, source: CopySource, range: Option<ByteRange>) -> CopyPartOutcome;
    /// Makes the object. A retry within 24 hours of a completed upload answers the same.
    fn upload_complete(who, bucket: &BucketName, key: &ObjectKey, upload: UploadId, parts: Vec<CompletePart>, options: CompleteOptions) -> PutOutcome;
    /// Gives the upload up; its parts are deleted.
    fn upload_abort(who, bucket: &BucketName, key: &ObjectKey, upload: UploadId) -> ();
    /// Parts of an upload with numbers behind `after`, at most `max` (cut to 1000).
    fn upload_parts(who, bucket: &BucketName, key: &ObjectKey, upload: UploadId, after: Option<PartNumber>, max: usize) -> PartListPage;
    /// Unfinished uploads of a bucket.
    fn upload_list(who, request: UploadListRequest) -> UploadListPage;
    /// Current objects.
    fn list(who, request: ListRequest) -> ListPage;
    /// All versions and delete markers.
    fn list_versions(who, request: VersionListRequest) -> VersionListPage;
    /// The store at a glance. Admins only.
    fn status(who) -> StoreStatus;
    /// Where an object's bytes are.
    fn placement(who, bucket: &BucketName, key: &ObjectKey, version: Option<VersionId>, range: ByteRange) -> Placement;
    /// Brings everything committed so far to `level`; answers the newest commit it covers. Admins only.
    fn flush(who, level: Level) -> Lsn;
}
