//! Verbs on buckets and on the rules they have. The work is in `bucket`, `bucket_rules` and their like.

use std::sync::Arc;

use bytes::Bytes;
use gw_types::{Action, Authenticated, BucketName, Level};

use super::Store;
use crate::access;
use crate::api::{
    AclInfo, AclRequest, BucketEncryption, BucketInfo, BucketListPage, BucketListRequest, BucketLogging,
    BucketOptions, Cleared, Inventory, InventoryInfo, Lifecycle, LoggedBucket, Notifications, ObjectLock,
    Ownership, PublicBlock, Quota, Usage, VersionListRequest, Versioning,
};
use crate::error::StoreResult;

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
    /// Counts the versions of one page of a bucket that are under lock, and says where the next page
    /// begins. Admins only.
    pub fn bucket_locked(
        &self,
        who: &Authenticated,
        request: &VersionListRequest,
    ) -> StoreResult<(u64, Option<VersionListRequest>)> {
        self.core.bucket_locked(who, request)
    }
    /// Takes something of what is in a bucket away, for ever and whatever it is; call it until it is
    /// done. `Locked` where something is under lock, `Leased` for a volume in use. Admins only.
    pub async fn bucket_clear(&self, who: &Authenticated, bucket: &BucketName) -> StoreResult<Cleared> {
        self.core.bucket_clear(who, bucket).await
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
    /// All inventories of a bucket, by id, with how far each is.
    pub async fn bucket_inventories(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
    ) -> StoreResult<Vec<InventoryInfo>> {
        self.core.bucket_inventories(who, bucket)
    }
    /// Sets or removes an inventory. `NoSuchInventory`, `TooManyInventories`; `InvalidInventoryTarget`
    /// where the target is not there or is another owner's.
    pub async fn bucket_inventory_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        id: &str,
        inventory: Option<Inventory>,
    ) -> StoreResult<()> {
        self.core.bucket_inventory_set(who, bucket, id, inventory).await
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
