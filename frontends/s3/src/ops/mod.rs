//! The S3 operations: s3s's trait, each method handed to the module that knows it.
//!
//! Whatever is not here answers 501 NotImplemented, s3s's default.

mod ask;
mod buckets;
mod extras;
pub(crate) mod inventory;
mod lifecycle;
mod list;
mod logging;
mod multipart;
mod notify;
mod read;
mod rules;
mod shown;
mod wants;
mod website;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use gw_store::{AclRequest, CannedAcl, ObjectWants, Store};
use gw_types::Action;
use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::config::{EventArn, NewBuckets, S3Config};

/// What the operations stand on.
pub(crate) struct Operations {
    store: Arc<Store>,
    regions: Vec<String>,
    new_buckets: NewBuckets,
    event_arns: Vec<EventArn>,
}

impl Operations {
    pub(crate) fn new(store: Arc<Store>, config: &S3Config) -> Self {
        Self {
            store,
            regions: config.regions.clone(),
            new_buckets: config.new_buckets,
            event_arns: config.event_arns.clone(),
        }
    }

    /// What a new object asks for. `x-amz-acl: private` is what an object is that asks for nothing, and
    /// clients send it unasked (rclone); only where lists are off by default would it be an error.
    fn wants(&self, ask: &ask::Ask<'_>) -> S3Result<ObjectWants> {
        let mut wants = ask.wants()?;
        let private = Some(AclRequest::Canned(CannedAcl::Private));
        if self.new_buckets == NewBuckets::Closed && wants.acl == private {
            wants.acl = None;
        }
        Ok(wants)
    }

    /// The default region.
    fn region(&self) -> &str {
        self.regions.first().map_or("", String::as_str)
    }
}

type Answer<T> = S3Result<S3Response<T>>;

/// s3s's trait in three tables: methods that another module does, settings that no bucket has, and
/// settings that are the same for all buckets. (`async_trait` must see the whole impl, so one macro
/// makes it.)
macro_rules! operations {
    (
        handed on { $($name:ident($input:ident) -> $output:ident by $method:ident;)* }
        never set { $($unset:ident($unset_input:ident) -> $unset_output:ident by $unset_action:ident: $code:literal, $message:literal;)* }
        the same for all { $($same:ident($same_input:ident) -> $same_output:ident by $same_action:ident: $value:expr;)* }
    ) => {
        #[async_trait]
        impl S3 for Operations {
            $(async fn $name(&self, request: S3Request<dto::$input>) -> Answer<dto::$output> {
                self.$method(request).await
            })*
            $(async fn $unset(&self, request: S3Request<dto::$unset_input>) -> Answer<dto::$unset_output> {
                self.absent(&request, (&request.input.bucket, Action::$unset_action), $code, $message).await
            })*
            $(async fn $same(&self, request: S3Request<dto::$same_input>) -> Answer<dto::$same_output> {
                self.settled(&request, (&request.input.bucket, Action::$same_action), $value).await
            })*
        }
    };
}

operations! {
    handed on {
        list_buckets(ListBucketsInput) -> ListBucketsOutput by show_buckets;
        create_bucket(CreateBucketInput) -> CreateBucketOutput by make_bucket;
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput by remove_bucket;
        head_bucket(HeadBucketInput) -> HeadBucketOutput by find_bucket;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput by locate_bucket;
        get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput by show_versioning;
        put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput by set_versioning;
        get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput by show_bucket_acl;
        get_object(GetObjectInput) -> GetObjectOutput by read_object;
        head_object(HeadObjectInput) -> HeadObjectOutput by describe_object;
        get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput by object_attributes;
        put_object(PutObjectInput) -> PutObjectOutput by write_object;
        copy_object(CopyObjectInput) -> CopyObjectOutput by duplicate_object;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput by remove_object;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput by remove_objects;
        list_objects(ListObjectsInput) -> ListObjectsOutput by list_version_1;
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output by list_version_2;
        list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput by list_all_versions;
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput by begin_upload;
        upload_part(UploadPartInput) -> UploadPartOutput by write_part;
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput by duplicate_part;
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput by finish_upload;
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput by abort_upload;
        list_parts(ListPartsInput) -> ListPartsOutput by show_parts;
        list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput by list_uploads;
        get_object_acl(GetObjectAclInput) -> GetObjectAclOutput by show_object_acl;
        get_object_torrent(GetObjectTorrentInput) -> GetObjectTorrentOutput by show_torrent;
        get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput by show_object_tags;
        put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput by set_object_tags;
        delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput by remove_object_tags;
        put_object_acl(PutObjectAclInput) -> PutObjectAclOutput by set_object_acl;
        get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput by show_retention;
        put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput by set_retention;
        get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput by show_legal_hold;
        put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput by set_legal_hold;
        put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput by set_bucket_acl;
        get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput by show_ownership;
        put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput by set_ownership;
        delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput by remove_ownership;
        get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput by show_public_block;
        put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput by set_public_block;
        delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput by remove_public_block;
        get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput by show_policy;
        put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput by set_policy;
        delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput by remove_policy;
        get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput by show_policy_status;
        get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput by show_lock;
        put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput by set_lock;
        get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput by show_encryption;
        put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput by set_encryption;
        delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput by remove_encryption;
        get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput by show_payer;
        put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput by set_payer;
        get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput by show_bucket_tags;
        put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput by set_bucket_tags;
        delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput by remove_bucket_tags;
        get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput by show_cors;
        put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput by set_cors;
        get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput
            by show_lifecycle;
        put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput
            by set_lifecycle;
        delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput by remove_lifecycle;
        get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
            -> GetBucketNotificationConfigurationOutput by show_notifications;
        put_bucket_notification_configuration(PutBucketNotificationConfigurationInput)
            -> PutBucketNotificationConfigurationOutput by set_notifications;
        get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput by show_logging;
        put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput by set_logging;
        get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput)
            -> GetBucketInventoryConfigurationOutput by show_inventory;
        list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput)
            -> ListBucketInventoryConfigurationsOutput by list_inventories;
        put_bucket_inventory_configuration(PutBucketInventoryConfigurationInput)
            -> PutBucketInventoryConfigurationOutput by set_inventory;
        delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput)
            -> DeleteBucketInventoryConfigurationOutput by remove_inventory;
        get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput by show_website;
        put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput by set_website;
        delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput by remove_website;
        delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput by remove_cors;
    }

    never set {
        get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput by GetReplicationConfiguration:
            "ReplicationConfigurationNotFoundError", "The replication configuration was not found";
    }

    the same for all {
        get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
            -> GetBucketAccelerateConfigurationOutput by GetAccelerateConfiguration:
            dto::GetBucketAccelerateConfigurationOutput::default();
    }
}
