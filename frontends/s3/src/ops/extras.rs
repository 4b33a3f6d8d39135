//! Tags, access list, retention and legal hold of an object.

use gw_store::{LockMode, ObjectInfo, ReadOptions, Retention};
use gw_types::{Action, BucketName, ObjectKey};
use http::StatusCode;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{self, Ask};
use super::wants::{document_tags, malformed, shown_acl, shown_tags};
use crate::dates::{from_s3, to_s3};
use crate::errors::{coded, from_store};

/// Which version of which object a request speaks of.
struct Named {
    bucket: BucketName,
    key: ObjectKey,
    version: Option<gw_store::VersionId>,
}

impl Named {
    fn read(bucket: &str, key: String, version: Option<&str>) -> S3Result<Self> {
        Ok(Self { bucket: ask::bucket(bucket)?, key: ask::key(key)?, version: ask::version(version)? })
    }
    fn place(&self) -> (&BucketName, &ObjectKey) {
        (&self.bucket, &self.key)
    }
}

fn shown(version: Option<gw_store::VersionId>) -> Option<String> {
    version.map(|version| version.to_string())
}

impl Operations {
    async fn spoken_of(
        &self,
        ask: &Ask<'_>,
        named: &Named,
        (action, of_version): (Action, Action),
    ) -> S3Result<ObjectInfo> {
        let purpose = if named.version.is_some() { of_version } else { action };
        let options =
            ReadOptions { version: named.version, purpose: Some(purpose), ..ReadOptions::default() };
        self.store.head(ask.who, &named.bucket, &named.key, options).await.map_err(from_store)
    }

    /// No object has a torrent; AWS makes none any more either ("GetObjectTorrent").
    pub(super) async fn show_torrent(
        &self,
        request: S3Request<dto::GetObjectTorrentInput>,
    ) -> S3Result<S3Response<dto::GetObjectTorrentOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, None)?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        self.spoken_of(&ask, &named, (Action::GetObject, Action::GetObject)).await?;
        Err(coded("NoSuchKey", StatusCode::NOT_FOUND, "There is no torrent of this object."))
    }

    pub(super) async fn show_object_tags(
        &self,
        request: S3Request<dto::GetObjectTaggingInput>,
    ) -> S3Result<S3Response<dto::GetObjectTaggingOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let actions = (Action::GetObjectTagging, Action::GetObjectVersionTagging);
        let info = self.spoken_of(&ask, &named, actions).await?;
        let tags = info.attributes.tags().map_err(from_store)?;
        Ok(S3Response::new(dto::GetObjectTaggingOutput {
            tag_set: shown_tags(tags),
            version_id: shown(info.version_id),
        }))
    }

    pub(super) async fn set_object_tags(
        &self,
        request: S3Request<dto::PutObjectTaggingInput>,
    ) -> S3Result<S3Response<dto::PutObjectTaggingOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let tags = document_tags(input.tagging.tag_set)?;
        let set = self.store.object_tags_set(ask.who, named.place(), named.version, Some(tags));
        let version_id = shown(set.await.map_err(from_store)?);
        Ok(S3Response::new(dto::PutObjectTaggingOutput { version_id }))
    }

    pub(super) async fn remove_object_tags(
        &self,
        request: S3Request<dto::DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectTaggingOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let set = self.store.object_tags_set(ask.who, named.place(), named.version, None);
        let version_id = shown(set.await.map_err(from_store)?);
        Ok(S3Response::new(dto::DeleteObjectTaggingOutput { version_id }))
    }

    pub(super) async fn show_object_acl(
        &self,
        request: S3Request<dto::GetObjectAclInput>,
    ) -> S3Result<S3Response<dto::GetObjectAclOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let actions = (Action::GetObjectAcl, Action::GetObjectVersionAcl);
        let info = self.spoken_of(&ask, &named, actions).await?;
        let (owner, grants) = shown_acl(info.acl().map_err(from_store)?);
        Ok(S3Response::new(dto::GetObjectAclOutput { owner, grants, ..Default::default() }))
    }

    pub(super) async fn set_object_acl(
        &self,
        request: S3Request<dto::PutObjectAclInput>,
    ) -> S3Result<S3Response<dto::PutObjectAclOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let acl = super::rules::one_acl(&ask, input.access_control_policy)?;
        let set = self.store.object_acl_set(ask.who, named.place(), named.version, acl);
        set.await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutObjectAclOutput::default()))
    }

    /// Refuses where the bucket has no object lock, which tells this from an object without one.
    async fn need_lock(&self, ask: &Ask<'_>, named: &Named) -> S3Result<()> {
        if self.store.bucket_has_lock(ask.who, &named.bucket).await.map_err(from_store)? {
            return Ok(());
        }
        Err(coded("InvalidRequest", StatusCode::BAD_REQUEST, "Bucket is missing Object Lock Configuration"))
    }

    pub(super) async fn show_retention(
        &self,
        request: S3Request<dto::GetObjectRetentionInput>,
    ) -> S3Result<S3Response<dto::GetObjectRetentionOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let info =
            self.spoken_of(&ask, &named, (Action::GetObjectRetention, Action::GetObjectRetention)).await?;
        self.need_lock(&ask, &named).await?;
        let retention = info.attributes.retention().map_err(from_store)?.ok_or_else(no_lock_on_object)?;
        Ok(S3Response::new(dto::GetObjectRetentionOutput {
            retention: Some(dto::ObjectLockRetention {
                mode: Some(dto::ObjectLockRetentionMode::from_static(retention.mode.as_str())),
                retain_until_date: Some(to_s3(retention.until)),
            }),
        }))
    }

    pub(super) async fn set_retention(
        &self,
        request: S3Request<dto::PutObjectRetentionInput>,
    ) -> S3Result<S3Response<dto::PutObjectRetentionOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let retention = match input.retention {
            None => return Err(malformed()),
            Some(asked) => match (asked.mode, asked.retain_until_date) {
                (None, None) => None,
                (Some(mode), Some(until)) => Some(Retention {
                    mode: LockMode::parse(mode.as_str()).ok_or_else(malformed)?,
                    until: from_s3(&until),
                }),
                _ => return Err(malformed()),
            },
        };
        let bypass = input.bypass_governance_retention == Some(true);
        let set = self.store.object_retention_set(ask.who, named.place(), named.version, (retention, bypass));
        set.await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutObjectRetentionOutput::default()))
    }

    pub(super) async fn show_legal_hold(
        &self,
        request: S3Request<dto::GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<dto::GetObjectLegalHoldOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let info =
            self.spoken_of(&ask, &named, (Action::GetObjectLegalHold, Action::GetObjectLegalHold)).await?;
        self.need_lock(&ask, &named).await?;
        let on = info.attributes.legal_hold().map_err(from_store)?.ok_or_else(no_lock_on_object)?;
        Ok(S3Response::new(dto::GetObjectLegalHoldOutput {
            legal_hold: Some(dto::ObjectLockLegalHold {
                status: Some(dto::ObjectLockLegalHoldStatus::from_static(if on { "ON" } else { "OFF" })),
            }),
        }))
    }

    pub(super) async fn set_legal_hold(
        &self,
        request: S3Request<dto::PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<dto::PutObjectLegalHoldOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let named = Named::read(&input.bucket, input.key, input.version_id.as_deref())?;
        self.expect_owner(&ask, &named.bucket, input.expected_bucket_owner.as_deref()).await?;
        let on = match input.legal_hold.and_then(|hold| hold.status).as_ref().map(|status| status.as_str()) {
            Some("ON") => true,
            Some("OFF") => false,
            _ => return Err(malformed()),
        };
        let set = self.store.object_legal_hold_set(ask.who, named.place(), named.version, on);
        set.await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutObjectLegalHoldOutput::default()))
    }
}

fn no_lock_on_object() -> s3s::S3Error {
    coded(
        "NoSuchObjectLockConfiguration",
        StatusCode::NOT_FOUND,
        "The specified object does not have a ObjectLock configuration",
    )
}
