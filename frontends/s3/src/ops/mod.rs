//! The S3 operations: s3s's trait, each method handed to the module that knows it.
//!
//! Whatever is not here answers 501 NotImplemented, s3s's default.

mod ask;
mod buckets;
mod list;
mod multipart;
mod read;
mod shown;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use gw_store::{ReadOptions, Store};
use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::config::S3Config;
use crate::errors::from_store;
use ask::Ask;

/// What the operations stand on.
pub(crate) struct Operations {
    store: Arc<Store>,
    regions: Vec<String>,
}

impl Operations {
    pub(crate) fn new(store: Arc<Store>, config: &S3Config) -> Self {
        Self { store, regions: config.regions.clone() }
    }

    /// The default region.
    fn region(&self) -> &str {
        self.regions.first().map_or("", String::as_str)
    }

    /// ACL and tags of an object need only that it is there.
    async fn require_object(
        &self,
        ask: &Ask<'_>,
        bucket: &str,
        key: String,
        version: Option<&str>,
    ) -> S3Result<gw_store::ObjectInfo> {
        let options = ReadOptions { version: ask::version(version)?, ..ReadOptions::default() };
        self.store.head(ask.who, &ask::bucket(bucket)?, &ask::key(key)?, options).await.map_err(from_store)
    }
}

type Answer<T> = S3Result<S3Response<T>>;

/// s3s's trait in three tables: methods that another module does, settings that no bucket has, and
/// settings that are the same for all buckets. (`async_trait` must see the whole impl, so one macro
/// makes it.)
macro_rules! operations {
    (
        handed on { $($name:ident($input:ident) -> $output:ident by $method:ident;)* }
        never set { $($unset:ident($unset_input:ident) -> $unset_output:ident: $code:literal, $message:literal;)* }
        the same for all { $($same:ident($same_input:ident) -> $same_output:ident: $value:expr;)* }
    ) => {
        #[async_trait]
        impl S3 for Operations {
            $(async fn $name(&self, request: S3Request<dto::$input>) -> Answer<dto::$output> {
                self.$method(request).await
            })*
            $(async fn $unset(&self, request: S3Request<dto::$unset_input>) -> Answer<dto::$unset_output> {
                self.absent(&request, &request.input.bucket, $code, $message).await
            })*
            $(async fn $same(&self, request: S3Request<dto::$same_input>) -> Answer<dto::$same_output> {
                self.settled(&request, &request.input.bucket, $value).await
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
        get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput by show_object_tags;
    }

    never set {
        get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput:
            "NoSuchTagSet", "The TagSet does not exist";
        get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput:
            "NoSuchBucketPolicy", "The bucket policy does not exist";
        get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput:
            "NoSuchBucketPolicy", "The bucket policy does not exist";
        get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput:
            "NoSuchCORSConfiguration", "The CORS configuration does not exist";
        get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput:
            "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist";
        get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput:
            "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found";
        get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput:
            "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration";
        get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput:
            "ReplicationConfigurationNotFoundError", "The replication configuration was not found";
        get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput:
            "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket";
        get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput:
            "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found";
    }

    the same for all {
        get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput:
            dto::GetBucketOwnershipControlsOutput {
                ownership_controls: Some(dto::OwnershipControls {
                    rules: vec![dto::OwnershipControlsRule {
                        object_ownership: dto::ObjectOwnership::from_static("BucketOwnerEnforced"),
                    }],
                }),
            };
        get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput:
            dto::GetBucketRequestPaymentOutput { payer: Some(dto::Payer::from_static(dto::Payer::BUCKET_OWNER)) };
        get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput:
            dto::GetBucketLoggingOutput::default();
        get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
            -> GetBucketNotificationConfigurationOutput: dto::GetBucketNotificationConfigurationOutput::default();
        get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
            -> GetBucketAccelerateConfigurationOutput: dto::GetBucketAccelerateConfigurationOutput::default();
    }
}

impl Operations {
    async fn show_object_acl(
        &self,
        request: S3Request<dto::GetObjectAclInput>,
    ) -> Answer<dto::GetObjectAclOutput> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        self.require_object(&ask, &input.bucket, input.key, input.version_id.as_deref()).await?;
        let bucket = ask::bucket(&input.bucket)?;
        let info = self.store.bucket_head(ask.who, &bucket).await.map_err(from_store)?;
        let (owner, grants) = buckets::owned_by(&info.owner);
        Ok(S3Response::new(dto::GetObjectAclOutput { owner, grants, ..Default::default() }))
    }

    /// No object here has tags; tools that copy objects ask all the same.
    async fn show_object_tags(
        &self,
        request: S3Request<dto::GetObjectTaggingInput>,
    ) -> Answer<dto::GetObjectTaggingOutput> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let info = self.require_object(&ask, &input.bucket, input.key, input.version_id.as_deref()).await?;
        let version_id = info.version_id.map(|version| version.to_string());
        Ok(S3Response::new(dto::GetObjectTaggingOutput { tag_set: Vec::new(), version_id }))
    }
}
