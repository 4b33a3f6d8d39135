//! What a write asks for besides bytes and headers: list, tags, locks, keys.
//!
//! Read from the headers as they were signed, in AWS's forms, and handed to the store as values;
//! whether the bucket allows them is the store's to decide.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_store::{
    AclRequest, CannedAcl, CustomerKey, Grant, Grantee, KmsWish, LockMode, ObjectWants, Permission, Retention,
};
use gw_types::Timestamp;
use http::StatusCode;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::ask::{Ask, argument, not_implemented};
use crate::dates::from_s3;
use crate::errors::coded;
use crate::said::tags_of;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// What `x-amz-server-side-encryption` asks for.
enum Asked {
    Managed,
    Kms(KmsWish),
}

/// The name in a key id: ids are names here, and may come as `alias/NAME` or as an ARN that ends in
/// `key/NAME` or `alias/NAME`.
pub(super) fn key_name(id: &str) -> String {
    let resource = match id.strip_prefix("arn:") {
        Some(arn) => arn.splitn(5, ':').nth(4).unwrap_or(id),
        None => id,
    };
    let name = resource.strip_prefix("key/").or(resource.strip_prefix("alias/")).unwrap_or(resource);
    name.to_owned()
}

pub(super) fn malformed() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

impl Ask<'_> {
    /// Everything a new object may ask for.
    pub(crate) fn wants(&self) -> S3Result<ObjectWants> {
        let mut tags = self.text("x-amz-tagging")?.map(tags_of);
        if let Some(tags) = &mut tags {
            tags.sort();
        }
        let (managed, kms) = match self.encryption()? {
            None => (false, None),
            Some(Asked::Managed) => (true, None),
            Some(Asked::Kms(wish)) => (false, Some(wish)),
        };
        Ok(ObjectWants {
            acl: self.acl()?,
            tags,
            retention: self.retention()?,
            legal_hold: match self.text("x-amz-object-lock-legal-hold")? {
                None => None,
                Some("ON") => Some(true),
                Some("OFF") => Some(false),
                Some(_) => return Err(argument("Legal Hold must be either of 'ON' or 'OFF'")),
            },
            managed,
            kms,
            customer_key: self.customer_key("")?,
        })
    }

    /// `x-amz-acl` or `x-amz-grant-*`.
    pub(crate) fn acl(&self) -> S3Result<Option<AclRequest>> {
        let canned = self.text("x-amz-acl")?.filter(|word| !word.is_empty());
        let mut grants = Vec::new();
        for (name, permission) in [
            ("x-amz-grant-read", Permission::Read),
            ("x-amz-grant-write", Permission::Write),
            ("x-amz-grant-read-acp", Permission::ReadAcp),
            ("x-amz-grant-write-acp", Permission::WriteAcp),
            ("x-amz-grant-full-control", Permission::FullControl),
        ] {
            let Some(text) = self.text(name)? else { continue };
            for word in text.split(',') {
                grants.push(Grant { grantee: header_grantee(word)?, permission });
            }
        }
        match (canned, grants.is_empty()) {
            (None, true) => Ok(None),
            (None, false) => Ok(Some(AclRequest::Grants(grants))),
            (Some(_), false) => Err(S3Error::with_message(
                S3ErrorCode::InvalidRequest,
                "Specifying both Canned ACLs and Header Grants is not allowed",
            )),
            (Some(word), true) => CannedAcl::parse(word)
                .map(|canned| Some(AclRequest::Canned(canned)))
                .ok_or_else(|| argument("")),
        }
    }

    fn retention(&self) -> S3Result<Option<Retention>> {
        let mode = self.text("x-amz-object-lock-mode")?;
        let until = self.text("x-amz-object-lock-retain-until-date")?;
        match (mode, until) {
            (None, None) => Ok(None),
            (Some(mode), Some(until)) => {
                let mode = LockMode::parse(mode).ok_or_else(|| argument("Unknown wormMode directive."))?;
                let until = date(until)
                    .ok_or_else(|| argument("The retain until date must be provided in ISO 8601 format"))?;
                Ok(Some(Retention { mode, until }))
            }
            _ => Err(argument(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            )),
        }
    }

    /// SSE-S3 or SSE-KMS, where one is asked for by name; a mixture is nothing.
    fn encryption(&self) -> S3Result<Option<Asked>> {
        let customer = self.headers().contains_key("x-amz-server-side-encryption-customer-algorithm");
        if self.headers().contains_key("x-amz-server-side-encryption-aws-kms-key-id") && !customer {
            let asked = self.text("x-amz-server-side-encryption")?;
            if asked.is_none_or(|word| word == "AES256") {
                return Err(argument(
                    "Server Side Encryption with KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
                ));
            }
        }
        match self.text("x-amz-server-side-encryption")? {
            None => Ok(None),
            Some(_) if customer => Err(argument(
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            )),
            Some("AES256") => Ok(Some(Asked::Managed)),
            Some("aws:kms") => Ok(Some(Asked::Kms(self.kms()?))),
            Some("aws:kms:dsse") => {
                Err(not_implemented("Dual-layer encryption is not supported; aws:kms and AES256 are."))
            }
            Some(_) => Err(S3Error::with_message(
                S3ErrorCode::InvalidEncryptionAlgorithmError,
                "The encryption request that you specified is not valid. The valid value is AES256.",
            )),
        }
    }

    fn kms(&self) -> S3Result<KmsWish> {
        let bucket_key = match self.text("x-amz-server-side-encryption-bucket-key-enabled")? {
            None => None,
            Some(word) if word.eq_ignore_ascii_case("true") => Some(true),
            Some(word) if word.eq_ignore_ascii_case("false") => Some(false),
            Some(_) => return Err(argument("The bucket key flag is true or false.")),
        };
        let context = self.text("x-amz-server-side-encryption-context")?;
        if context.is_some_and(|context| STANDARD.decode(context).is_err()) {
            return Err(argument("The encryption context is no base64."));
        }
        let key = self.text("x-amz-server-side-encryption-aws-kms-key-id")?.filter(|key| !key.is_empty());
        Ok(KmsWish { key: key.map(key_name), bucket_key, context: context.map(str::to_owned) })
    }

    /// SSE-C; `prefix` is empty, or `copy-source-` for the source of a copy.
    pub(crate) fn customer_key(&self, prefix: &str) -> S3Result<Option<CustomerKey>> {
        let name = |what: &str| format!("x-amz-{prefix}server-side-encryption-customer-{what}");
        let algorithm = self.text(name("algorithm"))?;
        let (key, md5) = (self.text(name("key"))?, self.text(name("key-md5"))?);
        let Some(algorithm) = algorithm else {
            return match (key, md5) {
                (None, None) => Ok(None),
                _ => Err(argument(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide a valid \
                     encryption algorithm.",
                )),
            };
        };
        if algorithm != "AES256" {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidEncryptionAlgorithmError,
                "The encryption request that you specified is not valid. The valid value is AES256.",
            ));
        }
        let Some(key) = key else {
            return Err(argument(
                "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate \
                 secret key.",
            ));
        };
        let Some(md5) = md5 else {
            return Err(argument(
                "Requests specifying Server Side Encryption with Customer provided keys must provide the client \
                 calculated MD5 of the secret key.",
            ));
        };
        let key: [u8; 32] = STANDARD
            .decode(key)
            .ok()
            .and_then(|key| key.try_into().ok())
            .ok_or_else(|| argument("The secret key was invalid for the specified algorithm."))?;
        let wrong =
            || argument("The calculated MD5 hash of the key did not match the hash that was provided.");
        let md5: [u8; 16] =
            STANDARD.decode(md5).ok().and_then(|md5| md5.try_into().ok()).ok_or_else(wrong)?;
        CustomerKey::new(key, md5).map(Some).ok_or_else(wrong)
    }
}

/// ISO 8601, as `x-amz-object-lock-retain-until-date` has it.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    let text = if text.ends_with('Z') || text.contains('+') { text.to_owned() } else { format!("{text}Z") };
    let parsed = dto::Timestamp::parse(dto::TimestampFormat::DateTime, &text).ok()?;
    Some(from_s3(&parsed))
}

/// `id="..."`, `uri="..."` or `emailAddress="..."`.
fn header_grantee(word: &str) -> S3Result<Grantee> {
    let (kind, value) =
        word.trim().split_once('=').ok_or_else(|| argument("Argument format not recognized"))?;
    let value = value.trim().trim_matches('"');
    match kind.trim().to_ascii_lowercase().as_str() {
        "id" => Ok(Grantee::User(value.to_owned())),
        "uri" => group(value),
        "emailaddress" => Err(by_email()),
        _ => Err(argument("Argument format not recognized")),
    }
}

fn group(uri: &str) -> S3Result<Grantee> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
        LOG_DELIVERY => Ok(Grantee::LogDelivery),
        _ => Err(argument("Invalid group uri")),
    }
}

/// Users have no mail addresses here, and AWS has given grants by address up (October 2025).
fn by_email() -> S3Error {
    coded(
        "UnresolvableGrantByEmailAddress",
        StatusCode::BAD_REQUEST,
        "The e-mail address you provided does not match any account on record.",
    )
}

fn permission(permission: &dto::Permission) -> S3Result<Permission> {
    Ok(match permission.as_str() {
        dto::Permission::FULL_CONTROL => Permission::FullControl,
        dto::Permission::READ => Permission::Read,
        dto::Permission::WRITE => Permission::Write,
        dto::Permission::READ_ACP => Permission::ReadAcp,
        dto::Permission::WRITE_ACP => Permission::WriteAcp,
        _ => return Err(malformed()),
    })
}

/// The list that a document asks for.
pub(super) fn document_acl(policy: dto::AccessControlPolicy) -> S3Result<AclRequest> {
    let owner = policy.owner.and_then(|owner| owner.id);
    if owner.is_none() {
        return Err(coded(
            "MalformedACLError",
            StatusCode::BAD_REQUEST,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    let mut grants = Vec::new();
    for grant in policy.grants.unwrap_or_default() {
        let (Some(grantee), Some(what)) = (grant.grantee, grant.permission) else { return Err(malformed()) };
        let grantee = match (grantee.id, grantee.uri, grantee.email_address) {
            (Some(id), _, _) => Grantee::User(id),
            (None, Some(uri), _) => group(&uri)?,
            (None, None, Some(_)) => return Err(by_email()),
            (None, None, None) => return Err(malformed()),
        };
        grants.push(Grant { grantee, permission: permission(&what)? });
    }
    Ok(AclRequest::Grants(grants))
}

/// A list in s3s's words.
/// Groups come first, as AWS's canned lists show them.
pub(super) fn shown_acl(mut acl: gw_store::AclInfo) -> (Option<dto::Owner>, Option<Vec<dto::Grant>>) {
    acl.grants.sort_by_key(|grant| matches!(grant.grantee, Grantee::User(_)));
    let grants = acl.grants.into_iter().map(|grant| {
        let mut grantee = dto::Grantee {
            display_name: None,
            id: None,
            email_address: None,
            type_: dto::Type::from_static(dto::Type::GROUP),
            uri: None,
        };
        match grant.grantee {
            Grantee::User(name) => {
                grantee.type_ = dto::Type::from_static(dto::Type::CANONICAL_USER);
                grantee.display_name = Some(name.clone());
                grantee.id = Some(name);
            }
            Grantee::AllUsers => grantee.uri = Some(ALL_USERS.to_owned()),
            Grantee::AuthenticatedUsers => grantee.uri = Some(AUTHENTICATED_USERS.to_owned()),
            Grantee::LogDelivery => grantee.uri = Some(LOG_DELIVERY.to_owned()),
        }
        let permission = match grant.permission {
            Permission::FullControl => dto::Permission::FULL_CONTROL,
            Permission::Read => dto::Permission::READ,
            Permission::Write => dto::Permission::WRITE,
            Permission::ReadAcp => dto::Permission::READ_ACP,
            Permission::WriteAcp => dto::Permission::WRITE_ACP,
        };
        dto::Grant { grantee: Some(grantee), permission: Some(dto::Permission::from_static(permission)) }
    });
    (Some(super::shown::owner(&acl.owner)), Some(grants.collect()))
}

/// Tags of a document; a tag without key or value is no tag.
pub(super) fn document_tags(tags: dto::TagSet) -> S3Result<Vec<gw_store::Tag>> {
    tags.into_iter()
        .map(|tag| match (tag.key, tag.value) {
            (Some(key), value) => Ok((key, value.unwrap_or_default())),
            _ => Err(malformed()),
        })
        .collect()
}

/// Tags in s3s's words.
pub(super) fn shown_tags(tags: Vec<gw_store::Tag>) -> dto::TagSet {
    tags.into_iter().map(|(key, value)| dto::Tag { key: Some(key), value: Some(value) }).collect()
}
