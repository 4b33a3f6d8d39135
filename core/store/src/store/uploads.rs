//! Verbs on uploads in parts.

use gw_types::{Action, Authenticated, BucketName, ObjectKey};

use super::Store;
use crate::api::{
    ByteRange, CompleteOptions, CompletePart, CopyPartOutcome, CopySource, CustomerKey, PartListPage,
    PartNumber, PutOutcome, UploadId, UploadInfo, UploadListPage, UploadListRequest, UploadOptions,
};
use crate::error::StoreResult;
use crate::multipart::{PartPlace, PartWriter};

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
