//! What stands beside an object and changes without a new version: tags, list, retention, hold.
//!
//! Each change is decided in its commit, on the version that is there then.

use gw_types::{Action, Authenticated, BucketName, ObjectKey, Timestamp};

use super::current::shown_id;
use super::find;
use super::write::check_documents;
use crate::access::{self, Act};
use crate::api::{
    AclRequest, EventKind, LockMode, OBJECT_TAGS_MAX, ObjectAttributes, Retention, Tag, VersionId,
    check_tags, extras,
};
use crate::core::{Core, Work, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin, Told};
use crate::rows::{self, BucketRow, InodeBody, InodeRow, key};

/// Which version of which object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoken<'a> {
    pub(crate) bucket: &'a BucketName,
    pub(crate) key: &'a ObjectKey,
    pub(crate) version: Option<VersionId>,
}

/// What to change.
#[derive(Debug)]
pub(crate) enum Extra {
    Tags(Option<Vec<Tag>>),
    Acl(AclRequest),
    /// `None` takes it off; the flag asks to bypass governance.
    Retention(Option<Retention>, bool),
    Hold(bool),
}

impl Extra {
    fn action(&self, version: bool) -> Action {
        match (self, version) {
            (Self::Tags(Some(_)), false) => Action::PutObjectTagging,
            (Self::Tags(Some(_)), true) => Action::PutObjectVersionTagging,
            (Self::Tags(None), false) => Action::DeleteObjectTagging,
            (Self::Tags(None), true) => Action::DeleteObjectVersionTagging,
            (Self::Acl(_), false) => Action::PutObjectAcl,
            (Self::Acl(_), true) => Action::PutObjectVersionAcl,
            (Self::Retention(..), _) => Action::PutObjectRetention,
            (Self::Hold(_), _) => Action::PutObjectLegalHold,
        }
    }
    fn event(&self) -> Option<EventKind> {
        match self {
            Self::Tags(Some(_)) => Some(EventKind::TaggingPut),
            Self::Tags(None) => Some(EventKind::TaggingDelete),
            Self::Acl(_) => Some(EventKind::AclPut),
            Self::Retention(..) | Self::Hold(_) => None,
        }
    }
}

impl Core {
    /// Changes one of them; answers the version it changed.
    pub(crate) async fn object_extra_set(
        &self,
        who: &Authenticated,
        spoken: Spoken<'_>,
        extra: Extra,
    ) -> StoreResult<Option<VersionId>> {
        let done = self.commit(|work| {
            let row = load_bucket(&*work.txn, spoken.bucket)?.ok_or(StoreErrorKind::NoSuchBucket)?;
            let shown = work.set_extra(who, &row, spoken, &extra)?;
            Ok((shown, row.stream, row.settings.level))
        })?;
        let (shown, stream, level) = done.value;
        self.settle(done.lsn, stream, level).await?;
        Ok(shown)
    }
}

impl Work<'_, '_> {
    fn set_extra(
        &mut self,
        who: &Authenticated,
        bucket: &BucketRow,
        spoken: Spoken<'_>,
        extra: &Extra,
    ) -> StoreResult<Option<VersionId>> {
        let act = Act::on(extra.action(spoken.version.is_some()), spoken.key);
        let found = match find(&*self.txn, bucket.clone(), spoken.key, spoken.version, false) {
            Ok(found) => found,
            Err(error) => {
                return Err(self.core.hide_absence(&*self.txn, who, (act, error), spoken.bucket));
            }
        };
        let mut attributes = found.published.attributes;
        let here = (spoken.bucket, bucket);
        self.core.allow(&*self.txn, who, act.of(&attributes), here)?;
        match extra {
            Extra::Tags(tags) => {
                check_tags(tags.as_deref().unwrap_or_default(), OBJECT_TAGS_MAX)?;
                attributes.set_extra(extras::TAGS, tags.as_ref().filter(|tags| !tags.is_empty()));
            }
            Extra::Acl(acl) => {
                if !bucket.rules.acls_count() {
                    if access::says_nothing(acl, &bucket.owner) {
                        return Ok(shown_id(bucket, found.published.null, found.published.version));
                    }
                    return Err(StoreErrorKind::AclsNotSupported.into());
                }
                let owner = attributes.foreign_owner()?.unwrap_or_else(|| bucket.owner.clone());
                let acl = access::accept(&*self.txn, &bucket.rules, (&owner, &bucket.owner), acl)?;
                attributes.set_extra(extras::ACL, acl.as_ref());
            }
            Extra::Retention(retention, bypass) => {
                let may_bypass = *bypass && {
                    let act = Act::on(Action::BypassGovernanceRetention, spoken.key);
                    self.core.allow(&*self.txn, who, act.of(&attributes), here)?;
                    true
                };
                retain(bucket, &mut attributes, *retention, may_bypass, self.now)?;
                self.core.check_horizon(retention.as_ref())?;
            }
            Extra::Hold(on) => {
                need_lock(bucket)?;
                attributes.set_extra(extras::HOLD, Some(on));
            }
        }
        check_documents(&attributes.documents)?;
        let inode_key = key::inode(found.inode);
        let mut row: InodeRow = rows::must(&*self.txn, "inode", &inode_key)?;
        let InodeBody::File(file) = &mut row.body else { return Err(StoreErrorKind::NoSuchKey.into()) };
        let Some(published) = &mut file.published else { return Err(StoreErrorKind::NoSuchKey.into()) };
        self.keep(Some(&published.attributes), Some(&attributes))?;
        published.attributes = attributes;
        let shown = shown_id(bucket, published.null, published.version);
        let (size, etag) = (published.data.len, published.etag);
        row.posix.ctime = self.now;
        self.put_row(inode_key, &row);
        self.txn.stream(bucket.stream);
        if let Some(event) = extra.event() {
            let told = Told { key: spoken.key.as_str(), version: shown, size: Some(size), etag: Some(etag) };
            self.tell(bucket, &Origin::new(who, spoken.bucket, Cause::Put), event, told)?;
        }
        Ok(shown)
    }
}

pub(crate) fn need_lock(bucket: &BucketRow) -> StoreResult<()> {
    if bucket.rules.lock.is_some() { Ok(()) } else { Err(StoreErrorKind::NoObjectLock.into()) }
}

/// A retention may be prolonged by everybody who may set one; shortened, made another or taken off
/// only under governance and by who may bypass it.
fn retain(
    bucket: &BucketRow,
    attributes: &mut ObjectAttributes,
    wanted: Option<Retention>,
    may_bypass: bool,
    now: Timestamp,
) -> StoreResult<()> {
    need_lock(bucket)?;
    if wanted.is_some_and(|retention| retention.until <= now) {
        return Err(StoreError::invalid("The retain until date must be in the future!"));
    }
    if let Some(stands) = attributes.retention()?.filter(|retention| retention.until > now) {
        let firmer = wanted.is_some_and(|wanted| wanted.until >= stands.until && wanted.mode == stands.mode);
        let lifted = may_bypass && stands.mode == LockMode::Governance;
        if !firmer && !lifted {
            return Err(StoreErrorKind::Locked.into());
        }
    }
    attributes.set_extra(extras::RETENTION, wanted.as_ref());
    Ok(())
}
