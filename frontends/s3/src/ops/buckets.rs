//! Buckets, and what clients ask about them before they do anything.
//!
//! Settings that this gateway does not have are answered as AWS answers for a bucket that never had
//! them (`NoSuch...`), after the bucket and the right to ask were checked; they are never answered
//! with something that is not so.

use gw_store::{
    AclRequest, BucketInfo, BucketListRequest, BucketOptions, BucketRules, BucketSettings, CannedAcl,
    ObjectLock, Ownership, StoreErrorKind, Versioning,
};
use gw_types::{Action, BucketName};
use http::{HeaderName, HeaderValue, StatusCode};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, not_implemented};
use super::shown::owner;
use crate::dates::to_s3;
use crate::errors::{coded, from_store};

/// Most buckets of a page (AWS).
const BUCKETS_MAX: usize = 10_000;
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// Beginnings and ends of names that AWS keeps for itself (S3 User Guide, "General purpose bucket
/// naming rules"): clients take buckets with such names for access points or directory buckets.
const RESERVED: ([&str; 2], [&str; 5]) =
    (["sthree-", "amzn-s3-demo-"], ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"]);

fn refuse_reserved(bucket: &BucketName) -> S3Result<()> {
    let (prefixes, suffixes) = RESERVED;
    let name = bucket.as_str();
    let reserved = prefixes.iter().any(|prefix| name.starts_with(prefix))
        || suffixes.iter().any(|suffix| name.ends_with(suffix));
    if reserved {
        return Err(S3Error::with_message(
            S3ErrorCode::InvalidBucketName,
            "The specified bucket is not valid.",
        ));
    }
    Ok(())
}

impl Operations {
    /// `x-amz-expected-bucket-owner`: a bucket of somebody else is refused.
    pub(super) async fn expect_owner(
        &self,
        ask: &Ask<'_>,
        bucket: &BucketName,
        expected: Option<&str>,
    ) -> S3Result<()> {
        let Some(expected) = expected else { return Ok(()) };
        if self.store.bucket_owner(ask.who, bucket).await.map_err(from_store)? == expected {
            return Ok(());
        }
        Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied"))
    }

    /// The bucket, if the caller may look at it.
    async fn look(
        &self,
        ask: &Ask<'_>,
        (name, action): (&str, Action),
        expected_owner: Option<&str>,
    ) -> S3Result<BucketInfo> {
        let bucket = bucket(name)?;
        self.expect_owner(ask, &bucket, expected_owner).await?;
        self.store.bucket_look(ask.who, &bucket, action).await.map_err(from_store)
    }

    /// A setting that no bucket here has.
    pub(super) async fn absent<T, O>(
        &self,
        request: &S3Request<T>,
        (name, action): (&str, Action),
        code: &'static str,
        message: &'static str,
    ) -> S3Result<S3Response<O>> {
        let ask = Ask::of(&request.extensions)?;
        self.look(&ask, (name, action), ask.text("x-amz-expected-bucket-owner")?).await?;
        Err(coded(code, StatusCode::NOT_FOUND, message))
    }

    /// A setting whose default every bucket here has.
    pub(super) async fn settled<T, O>(
        &self,
        request: &S3Request<T>,
        (name, action): (&str, Action),
        output: O,
    ) -> S3Result<S3Response<O>> {
        let ask = Ask::of(&request.extensions)?;
        self.look(&ask, (name, action), ask.text("x-amz-expected-bucket-owner")?).await?;
        Ok(S3Response::new(output))
    }

    pub(super) async fn show_buckets(
        &self,
        request: S3Request<dto::ListBucketsInput>,
    ) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let max = match input.max_buckets {
            None => BUCKETS_MAX,
            Some(max) => usize::try_from(max)
                .ok()
                .filter(|max| (1..=BUCKETS_MAX).contains(max))
                .ok_or_else(|| argument("Argument max-buckets must be an integer between 1 and 10000"))?,
        };
        let after = input.continuation_token.map(|token| {
            BucketName::new(token).map_err(|_| argument("The continuation token provided is incorrect"))
        });
        let asked = BucketListRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            after: after.transpose()?,
            max,
        };
        let page = self.store.bucket_list(ask.who, asked).await.map_err(from_store)?;
        let region = self.region();
        let buckets = page.buckets.into_iter().map(|info| dto::Bucket {
            bucket_region: Some(region_of(&info, region).to_owned()),
            creation_date: Some(to_s3(info.created)),
            name: Some(info.name.into()),
        });
        Ok(S3Response::new(dto::ListBucketsOutput {
            buckets: Some(buckets.collect()),
            continuation_token: page.next.map(String::from),
            owner: ask.who.name().map(owner),
            prefix: input.prefix,
        }))
    }

    pub(super) async fn make_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let acl = ask.acl()?;
        let lock = input.object_lock_enabled_for_bucket == Some(true);
        let ownership = match input.object_ownership.as_ref().map(|ownership| ownership.as_str()) {
            None => self.new_buckets.ownership(),
            Some(word) => Some(
                Ownership::parse(word).ok_or_else(|| argument("Invalid x-amz-object-ownership header"))?,
            ),
        };
        let bucket = bucket(&input.bucket)?;
        refuse_reserved(&bucket)?;
        let constraint = input.create_bucket_configuration.and_then(|it| it.location_constraint);
        let region = constraint.map(|constraint| constraint.as_str().to_owned()).unwrap_or_default();
        if !region.is_empty() && !self.regions.contains(&region) {
            return Err(coded(
                "InvalidLocationConstraint",
                StatusCode::BAD_REQUEST,
                format!(
                    "The specified location-constraint is not valid; this endpoint has: {}",
                    self.regions.join(", ")
                ),
            ));
        }
        let versioning = if lock { Versioning::Enabled } else { Versioning::Off };
        let options = BucketOptions {
            settings: BucketSettings { region, versioning, ..BucketSettings::default() },
            rules: BucketRules {
                ownership,
                public_block: self.new_buckets.public_block(),
                lock: lock.then(ObjectLock::default),
                ..BucketRules::default()
            },
            acl,
            owner: None,
        };
        let acl = options.acl.clone();
        match self.store.bucket_create(ask.who, &bucket, options).await {
            Err(error)
                if error.kind() == StoreErrorKind::BucketAlreadyOwnedByYou
                    && ask.region() == Some("us-east-1") =>
            {
                self.made_again(&ask, &bucket, acl).await?;
            }
            made => drop(made.map_err(from_store)?),
        }
        Ok(S3Response::new(dto::CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    /// In us-east-1 AWS lets an owner make a bucket again (S3 API, CreateBucket). What it would then
    /// do in silence, resetting the access list, is refused here.
    async fn made_again(&self, ask: &Ask<'_>, bucket: &BucketName, acl: Option<AclRequest>) -> S3Result<()> {
        let private = acl.is_none_or(|acl| acl == AclRequest::Canned(CannedAcl::Private));
        let info = self.store.bucket_look(ask.who, bucket, Action::GetBucketAcl).await.map_err(from_store)?;
        if private && info.rules.acl.is_none() {
            return Ok(());
        }
        Err(from_store(StoreErrorKind::BucketAlreadyExists.into()))
    }

    pub(super) async fn remove_bucket(
        &self,
        request: S3Request<dto::DeleteBucketInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        self.store.bucket_delete(ask.who, &bucket).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketOutput::default()))
    }

    pub(super) async fn find_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let info = self
            .look(&ask, (&input.bucket, Action::ListBucket), input.expected_bucket_owner.as_deref())
            .await?;
        let region = region_of(&info, self.region()).to_owned();
        let mut response = S3Response::new(dto::HeadBucketOutput::default());
        if let Ok(value) = HeaderValue::from_str(&region) {
            response.headers.insert(BUCKET_REGION, value);
        }
        Ok(response)
    }

    pub(super) async fn locate_bucket(
        &self,
        request: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let info = self
            .look(&ask, (&input.bucket, Action::GetBucketLocation), input.expected_bucket_owner.as_deref())
            .await?;
        let region = region_of(&info, self.region());
        // AWS answers an empty constraint for us-east-1, and clients expect it.
        let constraint =
            (region != "us-east-1").then(|| dto::BucketLocationConstraint::from(region.to_owned()));
        Ok(S3Response::new(dto::GetBucketLocationOutput { location_constraint: constraint }))
    }

    pub(super) async fn show_versioning(
        &self,
        request: S3Request<dto::GetBucketVersioningInput>,
    ) -> S3Result<S3Response<dto::GetBucketVersioningOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let info = self
            .look(&ask, (&input.bucket, Action::GetBucketVersioning), input.expected_bucket_owner.as_deref())
            .await?;
        let status = match info.settings.versioning {
            Versioning::Off => None,
            Versioning::Enabled => Some(dto::BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(dto::BucketVersioningStatus::SUSPENDED),
        };
        Ok(S3Response::new(dto::GetBucketVersioningOutput {
            status: status.map(dto::BucketVersioningStatus::from_static),
            ..Default::default()
        }))
    }

    pub(super) async fn set_versioning(
        &self,
        request: S3Request<dto::PutBucketVersioningInput>,
    ) -> S3Result<S3Response<dto::PutBucketVersioningOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let asked = input.versioning_configuration;
        if asked.mfa_delete.is_some_and(|mfa| mfa.as_str() == dto::MFADelete::ENABLED) {
            return Err(not_implemented("MFA delete is not supported."));
        }
        let versioning = match asked.status.as_ref().map(|status| status.as_str()) {
            Some(dto::BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(dto::BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => {
                return Err(coded(
                    "IllegalVersioningConfigurationException",
                    StatusCode::BAD_REQUEST,
                    "The versioning element must be specified",
                ));
            }
        };
        self.store.bucket_versioning_set(ask.who, &bucket, versioning).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketVersioningOutput::default()))
    }
}

fn region_of<'a>(info: &'a BucketInfo, default: &'a str) -> &'a str {
    if info.settings.region.is_empty() { default } else { &info.settings.region }
}
