//! Verbs on objects: put, get, copy, rename, delete, and what stands beside an object.

use gw_types::{Authenticated, BucketName, Level, ObjectKey};

use super::Store;
use crate::api::{
    AclRequest, CopyOptions, CopyOutcome, CopySource, DeleteOutcome, DeleteTarget, ObjectInfo, PutOptions,
    PutOutcome, ReadOptions, RenameOptions, Retention, Tag, VersionId,
};
use crate::error::StoreResult;
use crate::object::{Extra, ObjectRead, ObjectWriter, Renaming, Spoken};

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
