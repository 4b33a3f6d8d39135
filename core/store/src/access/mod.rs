//! Who may do what: one function decides, for every frontend and every verb.
//!
//! ```text
//! admin frontend                        everything
//! explicit Deny, by whichever policy    nothing, whoever asks; but the owner may always mend its own
//! account                               what the next five lines give it
//!   owner of the bucket                 everything in it but reading what others own
//!   owner of the object                 reading it, and its access list
//!   Allow of the bucket's policy        what it says, unless RestrictPublicBuckets stands against it
//!   access lists                        what they say, unless ownership has turned them off
//!   admin account                       everything
//! user or role of an account            what its own policies allow of what its account may; and what
//!                                       the policy of a bucket of its own account gives to it by name
//! session with policies of its own      of all that, what these allow
//! ```
//!
//! That is AWS's order ("Policy evaluation logic", "Cross-account policy evaluation logic"). Every verb
//! asks on the very state it reads or changes, so a right withdrawn is gone with the next commit. A
//! bucket without policy and lists costs its owner one comparison.

mod acl;
mod identity;
mod policy;

use std::collections::HashMap;
use std::sync::Arc;

use gw_db::Read;
use gw_types::{Action, Actor, Authenticated, BucketName, Frontend, InodeId, ObjectKey};
use parking_lot::RwLock;

use crate::api::{Grant, ObjectAttributes, Permission};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, UserRow, key};

pub(crate) use acl::{accept, dress, lists, says_nothing};
pub(crate) use identity::Identities;
#[cfg(test)]
pub(crate) use identity::parse_stored;
pub(crate) use policy::{Of, Policy, Question, Verdict};

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
            Arc::new(Policy::parse(&text, Of::Bucket(name.as_str())).map_err(|error| {
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

/// Acts on the gateway itself: for the operator, and for admin accounts (not for users in them).
pub(crate) fn decide_admin(read: &impl Read, who: &Authenticated) -> StoreResult<()> {
    let name = who.name().ok_or_else(denied)?;
    if who.frontend() == Frontend::Admin {
        return Ok(());
    }
    let plain = *who.actor() == Actor::Account && who.session().is_none();
    let user: UserRow = rows::load(read, "user", &key::user(name))?.ok_or_else(denied)?;
    if plain && user.admin { Ok(()) } else { Err(denied()) }
}

/// Whether a request says that whoever sends it pays for it (AWS: "Requester Pays"); if so, its answer
/// will say that he did.
fn pays(who: &Authenticated) -> bool {
    let Some(circumstances) = who.circumstances().filter(|_| who.name().is_some()) else { return false };
    let pays = circumstances.values("s3:x-amz-request-payer") == ["requester"];
    if pays {
        circumstances.charged();
    }
    pays
}

/// What the bucket's owner may always do, lest a policy locks everybody out (AWS).
fn mends(action: Action) -> bool {
    matches!(action, Action::GetBucketPolicy | Action::PutBucketPolicy | Action::DeleteBucketPolicy)
}

impl Core {
    /// Acts that name no bucket that exists: listing one's own, and making one.
    pub(crate) fn decide(
        &self,
        read: &impl Read,
        who: &Authenticated,
        action: Action,
        bucket: Option<&BucketName>,
    ) -> StoreResult<()> {
        let own = matches!(action, Action::ListBuckets | Action::CreateBucket);
        let name = who.name().ok_or_else(denied)?;
        if who.frontend() == Frontend::Admin || !own {
            return decide_admin(read, who);
        }
        if read.get(&key::user(name))?.is_none() {
            return Err(denied());
        }
        let arn = format!("arn:aws:s3:::{}", bucket.map_or("*", BucketName::as_str));
        let values = |wanted: &str| self.facts(read, who, wanted);
        let says = self.identity_says(read, who, (action.name(), &arn), &values)?;
        if says.allows() && !says.denies() { Ok(()) } else { Err(denied()) }
    }

    /// Condition keys that are not about a bucket.
    pub(crate) fn facts(&self, read: &impl Read, who: &Authenticated, wanted: &str) -> Vec<String> {
        match self.principal_values(read, who, wanted) {
            Ok(Some(values)) => values,
            Ok(None) => {
                who.circumstances().map(|circumstances| circumstances.values(wanted)).unwrap_or_default()
            }
            Err(error) => {
                // A key without a value fits nothing; that the rows cannot be read is found again below.
                tracing::error!(error = &error as &dyn std::error::Error, wanted, "a condition key");
                Vec::new()
            }
        }
    }

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
            return decide_admin(read, who);
        }
        let owner = who.name() == Some(row.owner.as_str());
        let bound = *who.actor() != Actor::Account || who.session().is_some();
        let policy = self.policies.get(read, name, row)?;
        let (mut given, mut may) = (false, true);
        if policy.is_some() || bound {
            let about = About::new(&act, name, row)?;
            let values = |wanted: &str| match about.values(wanted) {
                Some(values) => values,
                None => self.facts(read, who, wanted),
            };
            let said = policy.map_or(Verdict::Neutral, |policy| {
                let (action, resource) = (act.action.name(), about.resource.as_str());
                let said = policy.judge(&Question { who, action, resource, values: &values });
                // AWS: "RestrictPublicBuckets".
                let shut = !owner && row.rules.blocked().restrict_buckets && policy.is_public();
                if shut && said != Verdict::Deny { Verdict::Neutral } else { said }
            });
            let mends = owner && *who.actor() == Actor::Account && mends(act.action);
            if said == Verdict::Deny && !mends {
                return Err(denied());
            }
            if bound {
                let arn = format!("arn:aws:s3:::{}", about.resource);
                let says = self.identity_says(read, who, (act.action.name(), &arn), &values)?;
                if says.denies() {
                    return Err(denied());
                }
                if owner && said == Verdict::Allow && says.session_allows() {
                    return Ok(());
                }
                may = says.allows();
            }
            given = matches!(said, Verdict::Allow | Verdict::Delegate);
        }
        if !may || row.rules.requester_pays && !owner && !pays(who) {
            return Err(denied());
        }
        if given || acl::allows(who, &act, row)? || self.is_admin(read, who)? {
            return Ok(());
        }
        Err(denied())
    }

    fn is_admin(&self, read: &impl Read, who: &Authenticated) -> StoreResult<bool> {
        let Some(name) = who.name() else { return Ok(false) };
        let user: Option<UserRow> = rows::load(read, "user", &key::user(name))?;
        Ok(*who.actor() == Actor::Account && user.is_some_and(|user| user.admin))
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

/// What conditions may ask of a bucket and of the object an act names.
struct About<'a> {
    act: &'a Act<'a>,
    owner: &'a str,
    /// `bucket` or `bucket/key`.
    resource: String,
    tags: Vec<(String, String)>,
}

impl<'a> About<'a> {
    fn new(act: &'a Act<'a>, name: &BucketName, row: &'a BucketRow) -> StoreResult<Self> {
        let resource = match act.key {
            Some(key) if act.action != Action::ListBucket => format!("{name}/{key}"),
            _ => name.as_str().to_owned(),
        };
        let tags = match act.object {
            Some(object) => object.tags()?,
            None => Vec::new(),
        };
        Ok(Self { act, owner: &row.owner, resource, tags })
    }

    /// `None`: the key is about something else.
    fn values(&self, wanted: &str) -> Option<Vec<String>> {
        if let Some(tag) = wanted.strip_prefix("s3:existingobjecttag/") {
            let fitting = self.tags.iter().filter(|(key, _)| key == tag);
            return Some(fitting.map(|(_, value)| value.clone()).collect());
        }
        match (wanted, self.act.action, self.act.key) {
            // Asked for one key: whoever may list that key's name may know that it is absent.
            ("s3:prefix", Action::ListBucket, Some(key)) => Some(vec![key.as_str().to_owned()]),
            ("aws:resourceaccount" | "s3:resourceaccount", ..) => Some(vec![self.owner.to_owned()]),
            _ => None,
        }
    }
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
