//! Who may do what: one function decides, for every frontend and every verb.
//!
//! ```text
//! admin frontend, admin user            everything (an explicit Deny of a policy stops the user)
//! explicit Deny of the bucket's policy  nothing, whoever asks; but its owner may always mend it
//! owner of the bucket                   everything in it but reading what others own
//! owner of the object                   reading it, and its access list
//! Allow of the policy                   what it says, unless RestrictPublicBuckets stands against it
//! access lists                          what they say, unless ownership has turned them off
//! ```
//!
//! Every verb asks on the very state it reads or changes, so a right withdrawn is gone with the next
//! commit. A bucket without policy and lists costs its owner one comparison.

mod acl;
mod policy;

use std::collections::HashMap;
use std::sync::Arc;

use gw_db::Read;
use gw_types::{Action, Authenticated, BucketName, Circumstances, Frontend, InodeId, ObjectKey};
use parking_lot::RwLock;

use crate::api::{Grant, ObjectAttributes, Permission};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, UserRow, key};

pub(crate) use acl::{accept, dress, lists, says_nothing};
pub(crate) use policy::{Policy, Question, Verdict};

/// Name of the document that holds a bucket's policy.
pub(crate) const POLICY: &str = "policy";
/// Parsed policies kept in memory, counted.
const POLICIES_MAX: usize = 1024;

/// What is asked of a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Act<'a> {
    pub(crate) action: Action,
    pub(crate) key: Option<&'a ObjectKey>,
    /// The object it is about, where there is one.
    pub(crate) object: Option<&'a ObjectAttributes>,
}

impl<'a> Act<'a> {
    pub(crate) fn on(action: Action, key: &'a ObjectKey) -> Self {
        Self { action, key: Some(key), object: None }
    }
    pub(crate) fn of(self, object: &'a ObjectAttributes) -> Self {
        Self { object: Some(object), ..self }
    }
}

impl From<Action> for Act<'_> {
    fn from(action: Action) -> Self {
        Self { action, key: None, object: None }
    }
}

/// Policies as they were parsed, by bucket and by the commit that set them.
#[derive(Debug, Default)]
pub(crate) struct Policies(RwLock<HashMap<InodeId, (u64, Arc<Policy>)>>);

impl Policies {
    fn get(&self, read: &impl Read, name: &BucketName, row: &BucketRow) -> StoreResult<Option<Arc<Policy>>> {
        let Some(revision) = row.rules.policy else { return Ok(None) };
        if let Some((at, policy)) = self.0.read().get(&row.root)
            && *at == revision
        {
            return Ok(Some(policy.clone()));
        }
        let text = read
            .get(&key::document(row.root, POLICY))?
            .ok_or_else(|| StoreError::corrupt("a bucket's policy is missing"))?;
        let policy =
            Arc::new(Policy::parse(&text, name.as_str()).map_err(|error| {
                StoreError::corrupt("a bucket's policy does not parse").with_source(error)
            })?);
        let mut kept = self.0.write();
        if kept.len() >= POLICIES_MAX {
            // All are parsed again when they are used: crude, bounded, and rarely hit.
            kept.clear();
        }
        kept.insert(row.root, (revision, policy.clone()));
        Ok(Some(policy))
    }
}

fn denied() -> StoreError {
    StoreErrorKind::AccessDenied.into()
}

/// Acts that name no bucket: one's own for every user, administration for admins.
pub(crate) fn decide(read: &impl Read, who: &Authenticated, action: Action) -> StoreResult<()> {
    let name = who.name().ok_or_else(denied)?;
    if who.frontend() == Frontend::Admin {
        return Ok(());
    }
    let user: UserRow = rows::load(read, "user", &key::user(name))?.ok_or_else(denied)?;
    let own = matches!(action, Action::ListBuckets | Action::CreateBucket);
    if user.admin || own { Ok(()) } else { Err(denied()) }
}

/// Whether a request says that whoever sends it pays for it (AWS: "Requester Pays").
fn pays(who: &Authenticated) -> bool {
    let said = |circumstances: &dyn Circumstances| circumstances.values("s3:x-amz-request-payer");
    who.name().is_some()
        && who.circumstances().is_some_and(|circumstances| said(circumstances) == ["requester"])
}

/// What the bucket's owner may always do, lest a policy locks everybody out (AWS).
fn mends(action: Action) -> bool {
    matches!(action, Action::GetBucketPolicy | Action::PutBucketPolicy | Action::DeleteBucketPolicy)
}

impl Core {
    /// Whether `who` may do this in a bucket that exists.
    pub(crate) fn allow<'a>(
        &self,
        read: &impl Read,
        who: &Authenticated,
        act: impl Into<Act<'a>>,
        (name, row): (&BucketName, &BucketRow),
    ) -> StoreResult<()> {
        let act = act.into();
        if who.frontend() == Frontend::Admin && who.name().is_some() {
            return Ok(());
        }
        if act.action == Action::Administer {
            return decide(read, who, act.action);
        }
        let owner = who.name() == Some(row.owner.as_str());
        let said = match self.policies.get(read, name, row)? {
            None => Verdict::Neutral,
            Some(policy) => match judge(&policy, who, &act, name, row)? {
                // AWS: "RestrictPublicBuckets".
                Verdict::Allow if row.rules.blocked().restrict_buckets && policy.is_public() => {
                    Verdict::Neutral
                }
                said => said,
            },
        };
        if said == Verdict::Deny && !(owner && mends(act.action)) {
            return Err(denied());
        }
        if row.rules.requester_pays && !owner && !pays(who) {
            return Err(denied());
        }
        if said == Verdict::Allow || acl::allows(who, &act, row)? {
            return Ok(());
        }
        match who.name() {
            Some(name) => match rows::load::<UserRow>(read, "user", &key::user(name))? {
                Some(user) if user.admin => Ok(()),
                _ => Err(denied()),
            },
            None => Err(denied()),
        }
    }

    /// For an object that was not found: who may not list must not learn that it is not there.
    pub(crate) fn hide_absence(
        &self,
        read: &impl Read,
        who: &Authenticated,
        (act, error): (Act<'_>, StoreError),
        bucket: &BucketName,
    ) -> StoreError {
        let absent = matches!(
            error.kind(),
            StoreErrorKind::NoSuchKey | StoreErrorKind::NoSuchVersion | StoreErrorKind::IsDeleteMarker
        );
        if !absent {
            return error;
        }
        let listing = Act { action: Action::ListBucket, ..act };
        let may_list = self.bucket(read, who, listing, bucket);
        match may_list {
            Ok(_) => error,
            Err(refused) if refused.kind() == StoreErrorKind::AccessDenied => {
                tracing::debug!(
                    action = act.action.name(),
                    "an absent object is hidden from who may not list"
                );
                refused
            }
            Err(other) => other,
        }
    }
}

fn judge(
    policy: &Policy,
    who: &Authenticated,
    act: &Act<'_>,
    name: &BucketName,
    row: &BucketRow,
) -> StoreResult<Verdict> {
    let resource = match act.key {
        Some(key) if act.action != Action::ListBucket => format!("{name}/{key}"),
        _ => name.as_str().to_owned(),
    };
    let tags = match act.object {
        Some(object) => object.tags()?,
        None => Vec::new(),
    };
    let values = |wanted: &str| -> Vec<String> {
        if let Some(tag) = wanted.strip_prefix("s3:existingobjecttag/") {
            return tags.iter().filter(|(key, _)| key == tag).map(|(_, value)| value.clone()).collect();
        }
        // Asked for one key: whoever may list that key's name may know that it is absent.
        if let ("s3:prefix", Action::ListBucket, Some(key)) = (wanted, act.action, act.key) {
            return vec![key.as_str().to_owned()];
        }
        match wanted {
            "aws:username" | "aws:userid" => who.name().map(str::to_owned).into_iter().collect(),
            "aws:principaltype" => {
                vec![if who.name().is_some() { "User" } else { "Anonymous" }.to_owned()]
            }
            "aws:resourceaccount" | "s3:resourceaccount" => vec![row.owner.clone()],
            _ => who.circumstances().map(|circumstances| circumstances.values(wanted)).unwrap_or_default(),
        }
    };
    let question = Question { user: who.name(), action: act.action, resource: &resource, values: &values };
    Ok(policy.judge(&question))
}

/// Which permission of an access list an act needs, and whether it is the object's list.
fn needed(action: Action) -> Option<(Permission, bool)> {
    Some(match action {
        Action::ListBucket | Action::ListBucketVersions | Action::ListBucketMultipartUploads => {
            (Permission::Read, false)
        }
        Action::PutObject | Action::DeleteObject | Action::DeleteObjectVersion => (Permission::Write, false),
        Action::GetBucketAcl => (Permission::ReadAcp, false),
        Action::PutBucketAcl => (Permission::WriteAcp, false),
        Action::GetObject
        | Action::GetObjectVersion
        | Action::GetObjectAttributes
        | Action::GetObjectVersionAttributes => (Permission::Read, true),
        Action::GetObjectAcl | Action::GetObjectVersionAcl => (Permission::ReadAcp, true),
        Action::PutObjectAcl | Action::PutObjectVersionAcl => (Permission::WriteAcp, true),
        _ => return None,
    })
}

fn granted(grants: &[Grant], who: &Authenticated, wanted: Permission, ignore_public: bool) -> bool {
    use crate::api::Grantee;
    grants.iter().any(|grant| {
        let meant = match &grant.grantee {
            Grantee::User(name) => who.name() == Some(name.as_str()),
            Grantee::AllUsers => !ignore_public,
            Grantee::AuthenticatedUsers => who.name().is_some() && !ignore_public,
            Grantee::LogDelivery => false,
        };
        meant && grant.permission.covers(wanted)
    })
}
