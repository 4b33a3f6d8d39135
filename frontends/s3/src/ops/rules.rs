//! Rules of a bucket: access list, ownership, public access block, policy, object lock, encryption,
//! payer, tags, cross-origin requests.
//!
//! Documents are checked here as far as their form goes and are decided by the store; one that AWS
//! would refuse is refused with AWS's code, and none is kept that nothing here acts on.

use bytes::Bytes;
use gw_store::{
    AclRequest, BUCKET_TAGS_MAX, BucketEncryption, BucketInfo, DefaultRetention, LockMode, LockPeriod,
    ObjectLock, Ownership, PublicBlock, check_tags,
};
use gw_types::{Action, BucketName};
use http::StatusCode;
use s3s::dto;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, not_implemented};
use super::wants::{document_acl, document_tags, key_name, malformed, shown_acl, shown_tags};
use crate::errors::{coded, from_store};
use crate::xml;

/// Most rules for cross-origin requests (AWS).
const CORS_RULES_MAX: usize = 100;

type Answer<T> = S3Result<S3Response<T>>;

fn absent(code: &'static str, message: &'static str) -> S3Error {
    coded(code, StatusCode::NOT_FOUND, message)
}

/// The one list of a request: canned, grants, or a document.
pub(super) fn one_acl(ask: &Ask<'_>, document: Option<dto::AccessControlPolicy>) -> S3Result<AclRequest> {
    match (ask.acl()?, document) {
        (Some(acl), None) => Ok(acl),
        (None, Some(document)) => document_acl(document),
        (Some(_), Some(_)) => {
            Err(coded("UnexpectedContent", StatusCode::BAD_REQUEST, "This request does not support content"))
        }
        (None, None) => Err(coded(
            "MissingSecurityHeader",
            StatusCode::BAD_REQUEST,
            "Your request was missing a required header",
        )),
    }
}

/// Reads bucket, caller and expected owner of a request, all of which every rule needs.
macro_rules! begin {
    ($self:ident, $request:ident => $input:ident, $ask:ident, $name:ident) => {
        let S3Request { input: $input, extensions, .. } = $request;
        let $ask = Ask::of(&extensions)?;
        let $name = bucket(&$input.bucket)?;
        $self.expect_owner(&$ask, &$name, $input.expected_bucket_owner.as_deref()).await?;
    };
}

impl Operations {
    async fn rules_of(&self, ask: &Ask<'_>, name: &BucketName, action: Action) -> S3Result<BucketInfo> {
        self.store.bucket_look(ask.who, name, action).await.map_err(from_store)
    }

    pub(super) async fn show_bucket_acl(
        &self,
        request: S3Request<dto::GetBucketAclInput>,
    ) -> Answer<dto::GetBucketAclOutput> {
        begin!(self, request => input, ask, name);
        let acl = self.store.bucket_acl(ask.who, &name).await.map_err(from_store)?;
        let (owner, grants) = shown_acl(acl);
        Ok(S3Response::new(dto::GetBucketAclOutput { owner, grants }))
    }

    pub(super) async fn set_bucket_acl(
        &self,
        request: S3Request<dto::PutBucketAclInput>,
    ) -> Answer<dto::PutBucketAclOutput> {
        begin!(self, request => input, ask, name);
        let acl = one_acl(&ask, input.access_control_policy)?;
        self.store.bucket_acl_set(ask.who, &name, acl).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketAclOutput::default()))
    }

    pub(super) async fn show_ownership(
        &self,
        request: S3Request<dto::GetBucketOwnershipControlsInput>,
    ) -> Answer<dto::GetBucketOwnershipControlsOutput> {
        begin!(self, request => input, ask, name);
        let info = self.rules_of(&ask, &name, Action::GetBucketOwnershipControls).await?;
        let ownership = info.rules.ownership.ok_or_else(|| {
            absent("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
        })?;
        let object_ownership = dto::ObjectOwnership::from_static(ownership.as_str());
        let rules = vec![dto::OwnershipControlsRule { object_ownership }];
        Ok(S3Response::new(dto::GetBucketOwnershipControlsOutput {
            ownership_controls: Some(dto::OwnershipControls { rules }),
        }))
    }

    pub(super) async fn set_ownership(
        &self,
        request: S3Request<dto::PutBucketOwnershipControlsInput>,
    ) -> Answer<dto::PutBucketOwnershipControlsOutput> {
        begin!(self, request => input, ask, name);
        let ownership = match input.ownership_controls.rules.as_slice() {
            [rule] => Ownership::parse(rule.object_ownership.as_str()).ok_or_else(malformed)?,
            _ => return Err(malformed()),
        };
        self.store.bucket_ownership_set(ask.who, &name, Some(ownership)).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketOwnershipControlsOutput::default()))
    }

    pub(super) async fn remove_ownership(
        &self,
        request: S3Request<dto::DeleteBucketOwnershipControlsInput>,
    ) -> Answer<dto::DeleteBucketOwnershipControlsOutput> {
        begin!(self, request => input, ask, name);
        self.store.bucket_ownership_set(ask.who, &name, None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketOwnershipControlsOutput::default()))
    }

    pub(super) async fn show_public_block(
        &self,
        request: S3Request<dto::GetPublicAccessBlockInput>,
    ) -> Answer<dto::GetPublicAccessBlockOutput> {
        begin!(self, request => input, ask, name);
        let info = self.rules_of(&ask, &name, Action::GetBucketPublicAccessBlock).await?;
        let block = info.rules.public_block.ok_or_else(|| {
            absent(
                "NoSuchPublicAccessBlockConfiguration",
                "The public access block configuration was not found",
            )
        })?;
        Ok(S3Response::new(dto::GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(dto::PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_acls),
                block_public_policy: Some(block.block_policy),
                ignore_public_acls: Some(block.ignore_acls),
                restrict_public_buckets: Some(block.restrict_buckets),
            }),
        }))
    }

    pub(super) async fn set_public_block(
        &self,
        request: S3Request<dto::PutPublicAccessBlockInput>,
    ) -> Answer<dto::PutPublicAccessBlockOutput> {
        begin!(self, request => input, ask, name);
        let asked = input.public_access_block_configuration;
        let block = PublicBlock {
            block_acls: asked.block_public_acls == Some(true),
            ignore_acls: asked.ignore_public_acls == Some(true),
            block_policy: asked.block_public_policy == Some(true),
            restrict_buckets: asked.restrict_public_buckets == Some(true),
        };
        self.store.bucket_public_block_set(ask.who, &name, Some(block)).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutPublicAccessBlockOutput::default()))
    }

    pub(super) async fn remove_public_block(
        &self,
        request: S3Request<dto::DeletePublicAccessBlockInput>,
    ) -> Answer<dto::DeletePublicAccessBlockOutput> {
        begin!(self, request => input, ask, name);
        self.store.bucket_public_block_set(ask.who, &name, None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeletePublicAccessBlockOutput::default()))
    }

    pub(super) async fn show_policy(
        &self,
        request: S3Request<dto::GetBucketPolicyInput>,
    ) -> Answer<dto::GetBucketPolicyOutput> {
        begin!(self, request => input, ask, name);
        let text = self.store.bucket_policy(ask.who, &name).await.map_err(from_store)?;
        let text = text.ok_or_else(|| absent("NoSuchBucketPolicy", "The bucket policy does not exist"))?;
        let policy = String::from_utf8_lossy(&text).into_owned();
        Ok(S3Response::new(dto::GetBucketPolicyOutput { policy: Some(policy) }))
    }

    pub(super) async fn set_policy(
        &self,
        request: S3Request<dto::PutBucketPolicyInput>,
    ) -> Answer<dto::PutBucketPolicyOutput> {
        begin!(self, request => input, ask, name);
        let text = Some(Bytes::from(input.policy));
        self.store.bucket_policy_set(ask.who, &name, text).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketPolicyOutput::default()))
    }

    pub(super) async fn remove_policy(
        &self,
        request: S3Request<dto::DeleteBucketPolicyInput>,
    ) -> Answer<dto::DeleteBucketPolicyOutput> {
        begin!(self, request => input, ask, name);
        self.store.bucket_policy_set(ask.who, &name, None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketPolicyOutput::default()))
    }

    pub(super) async fn show_policy_status(
        &self,
        request: S3Request<dto::GetBucketPolicyStatusInput>,
    ) -> Answer<dto::GetBucketPolicyStatusOutput> {
        begin!(self, request => input, ask, name);
        let public = self.store.bucket_policy_is_public(ask.who, &name).await.map_err(from_store)?;
        Ok(S3Response::new(dto::GetBucketPolicyStatusOutput {
            policy_status: Some(dto::PolicyStatus { is_public: Some(public) }),
        }))
    }

    pub(super) async fn show_lock(
        &self,
        request: S3Request<dto::GetObjectLockConfigurationInput>,
    ) -> Answer<dto::GetObjectLockConfigurationOutput> {
        begin!(self, request => input, ask, name);
        let info = self.rules_of(&ask, &name, Action::GetBucketObjectLockConfiguration).await?;
        let lock = info.rules.lock.ok_or_else(|| {
            absent(
                "ObjectLockConfigurationNotFoundError",
                "Object Lock configuration does not exist for this bucket",
            )
        })?;
        let default = lock.default.map(|default| {
            let count = |count: u32| i32::try_from(count).ok();
            let (days, years) = match default.period {
                LockPeriod::Days(days) => (count(days), None),
                LockPeriod::Years(years) => (None, count(years)),
            };
            let mode = Some(dto::ObjectLockRetentionMode::from_static(default.mode.as_str()));
            dto::ObjectLockRule { default_retention: Some(dto::DefaultRetention { days, mode, years }) }
        });
        Ok(S3Response::new(dto::GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(dto::ObjectLockConfiguration {
                object_lock_enabled: Some(dto::ObjectLockEnabled::from_static(
                    dto::ObjectLockEnabled::ENABLED,
                )),
                rule: default,
            }),
        }))
    }

    pub(super) async fn set_lock(
        &self,
        request: S3Request<dto::PutObjectLockConfigurationInput>,
    ) -> Answer<dto::PutObjectLockConfigurationOutput> {
        begin!(self, request => input, ask, name);
        let asked = input.object_lock_configuration.ok_or_else(malformed)?;
        if asked.object_lock_enabled.as_ref().map(|on| on.as_str()) != Some(dto::ObjectLockEnabled::ENABLED) {
            return Err(malformed());
        }
        let default = asked.rule.map(|rule| rule.default_retention.ok_or_else(malformed)).transpose()?;
        let lock = ObjectLock { default: default.map(default_retention).transpose()? };
        self.store.bucket_lock_set(ask.who, &name, lock).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutObjectLockConfigurationOutput::default()))
    }

    pub(super) async fn show_encryption(
        &self,
        request: S3Request<dto::GetBucketEncryptionInput>,
    ) -> Answer<dto::GetBucketEncryptionOutput> {
        begin!(self, request => input, ask, name);
        let info = self.rules_of(&ask, &name, Action::GetEncryptionConfiguration).await?;
        let (word, key, bucket_key) = match info.rules.encrypt {
            Some(BucketEncryption::Managed) => (dto::ServerSideEncryption::AES256, None, false),
            Some(BucketEncryption::Kms { key, bucket_key }) => {
                (dto::ServerSideEncryption::AWS_KMS, key, bucket_key)
            }
            None => {
                return Err(absent(
                    "ServerSideEncryptionConfigurationNotFoundError",
                    "The server side encryption configuration was not found",
                ));
            }
        };
        let rule = dto::ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(dto::ServerSideEncryptionByDefault {
                kms_master_key_id: key,
                sse_algorithm: dto::ServerSideEncryption::from_static(word),
            }),
            bucket_key_enabled: Some(bucket_key),
        };
        Ok(S3Response::new(dto::GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(dto::ServerSideEncryptionConfiguration {
                rules: vec![rule],
            }),
        }))
    }

    pub(super) async fn set_encryption(
        &self,
        request: S3Request<dto::PutBucketEncryptionInput>,
    ) -> Answer<dto::PutBucketEncryptionOutput> {
        begin!(self, request => input, ask, name);
        let rules = input.server_side_encryption_configuration.rules;
        let [rule] = rules.as_slice() else { return Err(malformed()) };
        let by_default = rule.apply_server_side_encryption_by_default.as_ref().ok_or_else(malformed)?;
        let key = by_default.kms_master_key_id.as_deref().filter(|key| !key.is_empty()).map(key_name);
        let encryption = match by_default.sse_algorithm.as_str() {
            dto::ServerSideEncryption::AES256 if key.is_some() => {
                return Err(argument(
                    "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms",
                ));
            }
            dto::ServerSideEncryption::AES256 => BucketEncryption::Managed,
            dto::ServerSideEncryption::AWS_KMS => {
                BucketEncryption::Kms { key, bucket_key: rule.bucket_key_enabled == Some(true) }
            }
            "aws:kms:dsse" => {
                return Err(not_implemented(
                    "Dual-layer encryption is not supported; aws:kms and AES256 are.",
                ));
            }
            _ => return Err(malformed()),
        };
        self.store.bucket_encrypt_set(ask.who, &name, Some(encryption)).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketEncryptionOutput::default()))
    }

    pub(super) async fn remove_encryption(
        &self,
        request: S3Request<dto::DeleteBucketEncryptionInput>,
    ) -> Answer<dto::DeleteBucketEncryptionOutput> {
        begin!(self, request => input, ask, name);
        self.store.bucket_encrypt_set(ask.who, &name, None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketEncryptionOutput::default()))
    }

    pub(super) async fn show_payer(
        &self,
        request: S3Request<dto::GetBucketRequestPaymentInput>,
    ) -> Answer<dto::GetBucketRequestPaymentOutput> {
        begin!(self, request => input, ask, name);
        let info = self.rules_of(&ask, &name, Action::GetBucketRequestPayment).await?;
        let payer = if info.rules.requester_pays { dto::Payer::REQUESTER } else { dto::Payer::BUCKET_OWNER };
        Ok(S3Response::new(dto::GetBucketRequestPaymentOutput {
            payer: Some(dto::Payer::from_static(payer)),
        }))
    }

    pub(super) async fn set_payer(
        &self,
        request: S3Request<dto::PutBucketRequestPaymentInput>,
    ) -> Answer<dto::PutBucketRequestPaymentOutput> {
        begin!(self, request => input, ask, name);
        let on = match input.request_payment_configuration.payer.as_str() {
            dto::Payer::REQUESTER => true,
            dto::Payer::BUCKET_OWNER => false,
            _ => return Err(malformed()),
        };
        self.store.bucket_requester_pays_set(ask.who, &name, on).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketRequestPaymentOutput::default()))
    }

    pub(super) async fn show_bucket_tags(
        &self,
        request: S3Request<dto::GetBucketTaggingInput>,
    ) -> Answer<dto::GetBucketTaggingOutput> {
        begin!(self, request => input, ask, name);
        let text = self.store.bucket_document(ask.who, &name, "tags", Action::GetBucketTagging).await;
        let text =
            text.map_err(from_store)?.ok_or_else(|| absent("NoSuchTagSet", "The TagSet does not exist"))?;
        let tagging: dto::Tagging = xml::read("Tagging", &text)?;
        Ok(S3Response::new(dto::GetBucketTaggingOutput { tag_set: tagging.tag_set }))
    }

    pub(super) async fn set_bucket_tags(
        &self,
        request: S3Request<dto::PutBucketTaggingInput>,
    ) -> Answer<dto::PutBucketTaggingOutput> {
        begin!(self, request => input, ask, name);
        let tags = document_tags(input.tagging.tag_set)?;
        check_tags(&tags, BUCKET_TAGS_MAX).map_err(from_store)?;
        let text = xml::write("Tagging", &dto::Tagging { tag_set: shown_tags(tags) })?;
        let action = Action::PutBucketTagging;
        let set = self.store.bucket_document_set(ask.who, &name, ("tags", action), Some(text.into()));
        set.await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketTaggingOutput::default()))
    }

    pub(super) async fn remove_bucket_tags(
        &self,
        request: S3Request<dto::DeleteBucketTaggingInput>,
    ) -> Answer<dto::DeleteBucketTaggingOutput> {
        begin!(self, request => input, ask, name);
        let action = Action::PutBucketTagging;
        self.store.bucket_document_set(ask.who, &name, ("tags", action), None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketTaggingOutput::default()))
    }

    pub(super) async fn show_cors(
        &self,
        request: S3Request<dto::GetBucketCorsInput>,
    ) -> Answer<dto::GetBucketCorsOutput> {
        begin!(self, request => input, ask, name);
        let text = self.store.bucket_document(ask.who, &name, "cors", Action::GetBucketCors).await;
        let text = text.map_err(from_store)?;
        let text =
            text.ok_or_else(|| absent("NoSuchCORSConfiguration", "The CORS configuration does not exist"))?;
        let configuration: dto::CORSConfiguration = xml::read("CORSConfiguration", &text)?;
        Ok(S3Response::new(dto::GetBucketCorsOutput { cors_rules: Some(configuration.cors_rules) }))
    }

    pub(super) async fn set_cors(
        &self,
        request: S3Request<dto::PutBucketCorsInput>,
    ) -> Answer<dto::PutBucketCorsOutput> {
        begin!(self, request => input, ask, name);
        check_cors(&input.cors_configuration.cors_rules)?;
        let text = xml::write("CORSConfiguration", &input.cors_configuration)?;
        let action = Action::PutBucketCors;
        let set = self.store.bucket_document_set(ask.who, &name, ("cors", action), Some(text.into()));
        set.await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketCorsOutput::default()))
    }

    pub(super) async fn remove_cors(
        &self,
        request: S3Request<dto::DeleteBucketCorsInput>,
    ) -> Answer<dto::DeleteBucketCorsOutput> {
        begin!(self, request => input, ask, name);
        let action = Action::PutBucketCors;
        self.store.bucket_document_set(ask.who, &name, ("cors", action), None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketCorsOutput::default()))
    }
}

fn default_retention(asked: dto::DefaultRetention) -> S3Result<DefaultRetention> {
    let mode = asked.mode.as_ref().and_then(|mode| LockMode::parse(mode.as_str())).ok_or_else(malformed)?;
    let count = |count: i32| {
        u32::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
            coded(
                "InvalidRetentionPeriod",
                StatusCode::BAD_REQUEST,
                "Default retention period must be a positive integer value.",
            )
        })
    };
    let period = match (asked.days, asked.years) {
        (Some(days), None) => LockPeriod::Days(count(days)?),
        (None, Some(years)) => LockPeriod::Years(count(years)?),
        _ => return Err(malformed()),
    };
    Ok(DefaultRetention { mode, period })
}

fn check_cors(rules: &[dto::CORSRule]) -> S3Result<()> {
    if rules.is_empty() {
        return Err(malformed());
    }
    if rules.len() > CORS_RULES_MAX {
        return Err(S3Error::with_message(
            s3s::S3ErrorCode::InvalidRequest,
            format!("The number of CORS rules should not exceed allowed limit of {CORS_RULES_MAX} rules."),
        ));
    }
    for rule in rules {
        let known = ["GET", "PUT", "POST", "DELETE", "HEAD"];
        if let Some(method) = rule.allowed_methods.iter().find(|method| !known.contains(&method.as_str())) {
            return Err(S3Error::with_message(
                s3s::S3ErrorCode::InvalidRequest,
                format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}"),
            ));
        }
        let stars = |text: &String| text.matches('*').count() > 1;
        if rule.allowed_origins.iter().chain(rule.allowed_headers.iter().flatten()).any(stars) {
            return Err(argument("AllowedOrigin and AllowedHeader can not have more than one wildcard."));
        }
        if rule.allowed_origins.is_empty() || rule.allowed_methods.is_empty() {
            return Err(malformed());
        }
    }
    Ok(())
}
