//! Access lists: what they allow, and what a new object gets of owner, list, tags and locks.
//!
//! AWS: "Access control list (ACL) overview", "Controlling ownership of objects and disabling ACLs
//! for your bucket". An object without a list of its own is its owner's alone.

use gw_db::Read;
use gw_types::{Authenticated, Timestamp};

use super::{Act, denied, granted, needed};
use crate::api::{
    AclInfo, AclRequest, BucketRules, CannedAcl, Encryption, GRANTS_MAX, Grant, Grantee, KmsWish,
    OBJECT_TAGS_MAX, ObjectAttributes, ObjectWants, Ownership, Permission, Versioning, check_tags, extras,
};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{BucketRow, key};

/// What ownership and access lists allow, on a bucket and on the object the act names.
pub(super) fn allows(who: &Authenticated, act: &Act<'_>, row: &BucketRow) -> StoreResult<bool> {
    let rules = &row.rules;
    let bucket_owner = who.name() == Some(row.owner.as_str());
    let ignore = rules.blocked().ignore_acls;
    let Some((permission, on_object)) = needed(act.action) else { return Ok(bucket_owner) };
    if !on_object {
        let listed = rules.acls_count()
            && rules.acl.as_ref().is_some_and(|grants| granted(grants, who, permission, ignore));
        return Ok(bucket_owner || listed);
    }
    let Some(object) = act.object else { return Ok(bucket_owner) };
    if !rules.acls_count() || object.documents.is_empty() {
        return Ok(bucket_owner);
    }
    let owner = object.foreign_owner()?;
    let owner = owner.as_deref().unwrap_or(&row.owner);
    if who.name() == Some(owner) {
        return Ok(true);
    }
    Ok(object.acl()?.is_some_and(|grants| granted(&grants, who, permission, ignore)))
}

/// The list of something that `owner` owns.
pub(crate) fn lists(owner: &str, stored: Option<Vec<Grant>>) -> AclInfo {
    let grants = stored.unwrap_or_else(|| CannedAcl::Private.grants(owner, owner));
    AclInfo { owner: owner.to_owned(), grants }
}

/// A list to store: checked against users, ownership and the public access block. `None`: the
/// owner's alone, which needs no storing.
pub(crate) fn accept(
    read: &impl Read,
    rules: &BucketRules,
    (owner, bucket_owner): (&str, &str),
    request: &AclRequest,
) -> StoreResult<Option<Vec<Grant>>> {
    let grants = match request {
        AclRequest::Canned(canned) => canned.grants(owner, bucket_owner),
        AclRequest::Grants(grants) => grants.clone(),
    };
    if grants.len() > GRANTS_MAX {
        return Err(StoreError::invalid("an access control list has at most 100 grants"));
    }
    for grant in &grants {
        if let Grantee::User(name) = &grant.grantee
            && name != owner
            && name != bucket_owner
            && read.get(&key::user(name))?.is_none()
        {
            return Err(StoreError::invalid("Invalid id"));
        }
    }
    if rules.blocked().block_acls && grants.iter().any(|grant| grant.grantee.is_public()) {
        return Err(denied());
    }
    Ok((grants != CannedAcl::Private.grants(owner, owner)).then_some(grants))
}

/// Whether a list fits a bucket whose owner owns everything.
fn fits_enforced(request: &AclRequest, bucket_owner: &str) -> bool {
    match request {
        AclRequest::Canned(canned) => *canned == CannedAcl::BucketOwnerFullControl,
        AclRequest::Grants(grants) => grants.iter().all(|grant| {
            grant.permission == Permission::FullControl
                && grant.grantee == Grantee::User(bucket_owner.to_owned())
        }),
    }
}

/// Whether a list says what is so anyhow where lists are off: s3cmd sets the list of what it copies to
/// the one that it has read.
pub(crate) fn says_nothing(request: &AclRequest, bucket_owner: &str) -> bool {
    matches!(request, AclRequest::Grants(grants) if !grants.is_empty())
        && fits_enforced(request, bucket_owner)
}

/// Gives a new object its owner, list, tags, locks and mark of encryption.
pub(crate) fn dress(
    read: &impl Read,
    row: &BucketRow,
    who: &Authenticated,
    wants: &ObjectWants,
    attributes: &mut ObjectAttributes,
) -> StoreResult<()> {
    let rules = &row.rules;
    let writer = who.name().unwrap_or(ANONYMOUS);
    let full = AclRequest::Canned(CannedAcl::BucketOwnerFullControl);
    let owner = match rules.ownership {
        Some(Ownership::BucketOwnerEnforced) => {
            if wants.acl.as_ref().is_some_and(|acl| !fits_enforced(acl, &row.owner)) {
                return Err(StoreErrorKind::AclsNotSupported.into());
            }
            row.owner.as_str()
        }
        Some(Ownership::BucketOwnerPreferred) if wants.acl.as_ref() == Some(&full) => row.owner.as_str(),
        _ if who.frontend() == gw_types::Frontend::Admin => row.owner.as_str(),
        _ => writer,
    };
    let foreign = owner != row.owner;
    attributes.set_extra(extras::OWNER, foreign.then_some(&owner.to_owned()));
    let acl = match &wants.acl {
        Some(acl) if rules.acls_count() => accept(read, rules, (owner, &row.owner), acl)?,
        _ => None,
    };
    attributes.set_extra(extras::ACL, acl.as_ref());
    if let Some(tags) = &wants.tags {
        check_tags(tags, OBJECT_TAGS_MAX)?;
        attributes.set_extra(extras::TAGS, (!tags.is_empty()).then_some(tags));
    }
    // Which named key it is was decided before the first byte was sealed (`kms`).
    let encryption = match (&wants.customer_key, &wants.kms) {
        (Some(key), _) => Some(Encryption::Customer { key_md5: key.md5() }),
        (None, Some(KmsWish { key: Some(key), bucket_key, context })) => Some(Encryption::Kms {
            key: key.clone(),
            bucket_key: bucket_key.unwrap_or_default(),
            context: context.clone(),
        }),
        _ => (wants.managed || rules.encrypt.is_some()).then_some(Encryption::Managed),
    };
    attributes.set_extra(extras::SSE, encryption.as_ref());
    let locks = wants.retention.is_some() || wants.legal_hold.is_some();
    if locks && rules.lock.is_none() {
        return Err(StoreErrorKind::NoObjectLock.into());
    }
    attributes.set_extra(extras::RETENTION, wants.retention.as_ref());
    attributes.set_extra(extras::HOLD, wants.legal_hold.as_ref());
    Ok(())
}

/// Owner of what somebody without a name put into a bucket that lets them (AWS's anonymous id).
const ANONYMOUS: &str = "anonymous";

impl BucketRow {
    /// The default retention of a version made now, where it brings none of its own.
    pub(crate) fn lock_new(&self, now: Timestamp, attributes: &mut ObjectAttributes) -> StoreResult<()> {
        let Some(lock) = &self.rules.lock else { return Ok(()) };
        if self.settings.versioning != Versioning::Enabled {
            return Err(StoreError::corrupt("a bucket with object lock has no versions"));
        }
        match attributes.retention()? {
            Some(retention) if retention.until <= now => {
                Err(StoreError::invalid("The retain until date must be in the future!"))
            }
            Some(_) => Ok(()),
            None => {
                let retention = lock.default.map(|default| default.from(now));
                attributes.set_extra(extras::RETENTION, retention.as_ref());
                Ok(())
            }
        }
    }
}
