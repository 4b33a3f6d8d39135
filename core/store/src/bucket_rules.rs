//! Rules of a bucket: its list, ownership, public access block, policy, lock and marks.
//!
//! Each is one commit on the bucket's row, decided on the newest state; the long texts stand in
//! documents beside it, and the row says only that they are there and since which commit.

use bytes::Bytes;
use gw_types::{Action, Authenticated, BucketName};

use crate::access::{self, Of, POLICY, Policy};
use crate::api::{
    AclInfo, AclRequest, BucketEncryption, Grantee, ObjectLock, Ownership, PublicBlock, Versioning,
};
use crate::bucket::CORS;
use crate::core::{Core, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::key;

/// Name of the document that frontends keep for websites.
const WEBSITE: &str = "website";

impl Core {
    pub(crate) fn bucket_acl(&self, who: &Authenticated, name: &BucketName) -> StoreResult<AclInfo> {
        let row = self.bucket(&self.snapshot(), who, Action::GetBucketAcl, name)?;
        let stored = if row.rules.acls_count() { row.rules.acl } else { None };
        Ok(access::lists(&row.owner, stored))
    }

    pub(crate) async fn bucket_acl_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        acl: AclRequest,
    ) -> StoreResult<()> {
        self.change_rules(who, Action::PutBucketAcl, name, |work, row| {
            if !row.rules.acls_count() {
                let is_so = access::says_nothing(&acl, &row.owner);
                return if is_so { Ok(()) } else { Err(StoreErrorKind::AclsNotSupported.into()) };
            }
            row.rules.acl = access::accept(&*work.txn, &row.rules, (&row.owner, &row.owner), &acl)?;
            Ok(())
        })
        .await
    }

    pub(crate) async fn bucket_ownership_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        ownership: Option<Ownership>,
    ) -> StoreResult<()> {
        self.change_rules(who, Action::PutBucketOwnershipControls, name, |_, row| {
            let others = row.rules.acl.as_ref().is_some_and(|grants| {
                grants.iter().any(|grant| grant.grantee != Grantee::User(row.owner.clone()))
            });
            if ownership == Some(Ownership::BucketOwnerEnforced) && others {
                return Err(StoreErrorKind::InvalidBucketAcl.into());
            }
            row.rules.ownership = ownership;
            Ok(())
        })
        .await
    }

    pub(crate) async fn bucket_public_block_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        block: Option<PublicBlock>,
    ) -> StoreResult<()> {
        self.change_rules(who, Action::PutBucketPublicAccessBlock, name, |_, row| {
            row.rules.public_block = block;
            Ok(())
        })
        .await
    }

    pub(crate) async fn bucket_policy_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        policy: Option<Bytes>,
    ) -> StoreResult<()> {
        let action = match policy {
            Some(_) => Action::PutBucketPolicy,
            None => Action::DeleteBucketPolicy,
        };
        // Refused before it is parsed: what others put is none of this bucket's cost.
        self.bucket(&self.snapshot(), who, action, name)?;
        let parsed =
            policy.as_ref().map(|text| Policy::parse(text, Of::Bucket(name.as_str()))).transpose()?;
        self.change_rules(who, action, name, |work, row| {
            if row.rules.blocked().block_policy && parsed.as_ref().is_some_and(Policy::is_public) {
                return Err(StoreErrorKind::AccessDenied.into());
            }
            row.rules.policy = parsed.as_ref().map(|_| work.txn.lsn().0);
            work.set_document(row.root, POLICY, policy.as_deref())
        })
        .await
    }

    pub(crate) fn bucket_policy_is_public(
        &self,
        who: &Authenticated,
        name: &BucketName,
    ) -> StoreResult<bool> {
        let snapshot = self.snapshot();
        let row = self.bucket(&snapshot, who, Action::GetBucketPolicyStatus, name)?;
        let blocked = row.rules.blocked();
        let listed = row.rules.acl.as_ref().is_some_and(|grants| {
            row.rules.acls_count() && grants.iter().any(|grant| grant.grantee.is_public())
        });
        if listed && !blocked.ignore_acls {
            return Ok(true);
        }
        match snapshot.get(&key::document(row.root, POLICY))? {
            Some(text) => Ok(Policy::parse(&text, Of::Bucket(name.as_str()))?.is_public()),
            None => Ok(false),
        }
    }

    pub(crate) async fn bucket_lock_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        lock: ObjectLock,
    ) -> StoreResult<()> {
        if lock.default.is_some_and(|default| !default.is_sound()) {
            return Err(StoreError::invalid("Default retention period must be a positive integer value."));
        }
        self.change_rules(who, Action::PutBucketObjectLockConfiguration, name, |_, row| {
            if row.settings.versioning != Versioning::Enabled {
                return Err(StoreError::new(
                    StoreErrorKind::InvalidBucketState,
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
                ));
            }
            row.rules.lock = Some(lock);
            Ok(())
        })
        .await
    }

    pub(crate) async fn bucket_encrypt_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        encrypt: Option<BucketEncryption>,
    ) -> StoreResult<()> {
        self.change_rules(who, Action::PutEncryptionConfiguration, name, |_, row| {
            row.rules.encrypt = encrypt;
            Ok(())
        })
        .await
    }

    pub(crate) async fn bucket_requester_pays_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        on: bool,
    ) -> StoreResult<()> {
        self.change_rules(who, Action::PutBucketRequestPayment, name, |_, row| {
            row.rules.requester_pays = on;
            Ok(())
        })
        .await
    }

    pub(crate) fn bucket_has_lock(&self, name: &BucketName) -> StoreResult<bool> {
        let row = load_bucket(&self.snapshot(), name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        Ok(row.rules.lock.is_some())
    }

    pub(crate) fn bucket_website(&self, name: &BucketName) -> StoreResult<Option<Bytes>> {
        let snapshot = self.snapshot();
        let row = load_bucket(&snapshot, name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        Ok(snapshot.get(&key::document(row.root, WEBSITE))?)
    }

    pub(crate) fn bucket_cors(&self, name: &BucketName) -> StoreResult<Option<Bytes>> {
        let snapshot = self.snapshot();
        let row = load_bucket(&snapshot, name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        if !row.rules.cors {
            return Ok(None);
        }
        Ok(snapshot.get(&key::document(row.root, CORS))?)
    }
}
