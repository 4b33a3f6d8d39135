//! Users, groups, roles and managed policies of accounts: made, found, listed, changed, removed.
//!
//! Each verb is one commit on the rows it names, decided on the newest state, as AWS's IAM API says.
//! Who may is decided like everything else ([`crate::access`]): an account may everything with its own
//! entities, its users and roles what their policies allow of `iam:` actions. Every change leaves its
//! number in the account's revision row, by which decisions notice that what they keep is old.

mod change;
mod keys;
pub(crate) mod managed;
mod sessions;
mod verbs;

use gw_db::Read;
use gw_types::{Actor, Authenticated, Frontend, Level, StreamId, Timestamp};

pub(crate) use keys::{CredentialCache, infos};

use crate::access::{Of, Policy};
use crate::api::{
    IamBody, IamEntity, IamKind, IamListRequest, IamPage, IamSpec, IamSummary, IamWhat, Identity,
    PolicyVersion,
};
use crate::core::{Core, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, IamRevisionRow, UserRow, key};

/// Entities of one page (AWS).
const PAGE_MAX: usize = 1000;
const SCAN_PAGE: usize = 256;
/// AWS: "IAM and STS quotas".
const PATH_BYTES_MAX: usize = 512;
const DESCRIPTION_MAX: usize = 1000;
const TAGS_MAX: usize = 50;
const ID_RANDOM_LEN: usize = 16;
pub(crate) const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn max_of(kind: IamKind) -> u64 {
    match kind {
        IamKind::User => 5000,
        IamKind::Group => 300,
        IamKind::Role => 1000,
        IamKind::Policy => 1500,
    }
}

fn no_such(kind: IamKind, name: &str) -> StoreError {
    let message = format!("The {} with name {name} cannot be found.", kind.word());
    StoreError::new(StoreErrorKind::NoSuchUser, message)
}

fn limit(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::LimitExceeded, message.into())
}

fn conflict(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::DeleteConflict, message.into())
}

/// Letters, digits and `+=,.@_-`.
pub(crate) fn check_name(what: &str, name: &str, max: usize) -> StoreResult<()> {
    let sound = |letter: char| letter.is_ascii_alphanumeric() || "+=,.@_-".contains(letter);
    if (1..=max).contains(&name.len()) && name.chars().all(sound) {
        return Ok(());
    }
    Err(StoreError::invalid(format!("{what} has 1 to {max} letters, digits or any of +=,.@_-")))
}

fn check_entity_name(kind: IamKind, name: &str) -> StoreResult<()> {
    let max = if matches!(kind, IamKind::User | IamKind::Role) { 64 } else { 128 };
    check_name(&format!("the name of a {}", kind.word()), name, max)
}

fn check_path(path: &str) -> StoreResult<()> {
    let sound =
        path.starts_with('/') && path.ends_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if sound && path.len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    Err(StoreError::invalid("a path begins and ends with a slash and has at most 512 printable characters"))
}

fn check_tags(tags: &[(String, String)]) -> StoreResult<()> {
    let sound = |(name, value): &(String, String)| (1..=128).contains(&name.len()) && value.len() <= 256;
    if tags.len() > TAGS_MAX || !tags.iter().all(sound) {
        return Err(StoreError::invalid("there are at most 50 tags, of 128 and 256 bytes"));
    }
    Ok(())
}

fn check_session_seconds(seconds: u32) -> StoreResult<()> {
    if (3600..=43_200).contains(&seconds) {
        return Ok(());
    }
    Err(StoreError::invalid("MaxSessionDuration is between 3600 and 43200 seconds"))
}

/// A policy that can be understood and is not too long; blanks do not count (AWS).
fn check_policy(document: &str, of: Of<'_>, max: usize) -> StoreResult<()> {
    if document.chars().filter(|letter| !letter.is_whitespace()).count() > max {
        return Err(limit(format!("a policy of this kind has at most {max} characters")));
    }
    Policy::parse(document.as_bytes(), of).map(|_| ())
}

fn check_spec(spec: &IamSpec, kind: IamKind) -> StoreResult<()> {
    check_entity_name(kind, &spec.name)?;
    spec.path.as_deref().map_or(Ok(()), check_path)?;
    check_tags(&spec.tags)?;
    if spec.description.chars().count() > DESCRIPTION_MAX {
        return Err(StoreError::invalid("a description has at most 1000 characters"));
    }
    match &spec.what {
        IamWhat::User | IamWhat::Group => Ok(()),
        IamWhat::Role { trust, session_seconds_max } => {
            check_session_seconds(*session_seconds_max)?;
            check_policy(trust, Of::Trust, 2048)
        }
        IamWhat::Policy { document } => check_policy(document, Of::Identity, 6144),
    }
}

/// Why an entity is read, which is what must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IamRead {
    /// `GetUser` and the like.
    Entity,
    /// `ListUserPolicies` and the like.
    PolicyNames,
    /// `GetUserPolicy` and the like.
    Policy,
    /// `ListAttachedUserPolicies` and the like.
    Attached,
    /// `ListGroupsForUser`.
    Groups,
    /// `ListUserTags` and the like.
    Tags,
    /// `ListPolicyVersions`.
    Versions,
    /// `GetPolicyVersion`.
    Version,
}

impl IamRead {
    fn action(self, kind: IamKind) -> String {
        let title = kind.title();
        match self {
            Self::Entity => format!("iam:Get{title}"),
            Self::PolicyNames => format!("iam:List{title}Policies"),
            Self::Policy => format!("iam:Get{title}Policy"),
            Self::Attached => format!("iam:ListAttached{title}Policies"),
            Self::Groups => "iam:ListGroupsForUser".to_owned(),
            Self::Tags => format!("iam:List{title}Tags"),
            Self::Versions => "iam:ListPolicyVersions".to_owned(),
            Self::Version => "iam:GetPolicyVersion".to_owned(),
        }
    }
}

impl Core {
    /// The principal's account, where the principal may do this in it.
    pub(crate) fn iam_allow<'w>(
        &self,
        read: &impl Read,
        who: &'w Authenticated,
        action: &str,
        arn: impl FnOnce(&str) -> String,
    ) -> StoreResult<&'w str> {
        let account = who.name().ok_or(StoreErrorKind::AccessDenied)?;
        if read.get(&key::user(account))?.is_none() {
            return Err(match who.frontend() {
                Frontend::Admin => StoreErrorKind::NoSuchUser.into(),
                _ => StoreErrorKind::AccessDenied.into(),
            });
        }
        if who.frontend() == Frontend::Admin {
            return Ok(account);
        }
        let arn = arn(account);
        // AWS, GetSessionToken: "You cannot call any IAM API operations" with what it gives out.
        let borrowed = who.session().is_some() && !matches!(who.actor(), Actor::Role { .. });
        let values = |wanted: &str| self.facts(read, who, wanted);
        let says = self.identity_says(read, who, (action, &arn), &values)?;
        if says.allows() && !(borrowed && action.starts_with("iam:")) {
            return Ok(account);
        }
        let who = who.label().unwrap_or_default();
        let message = format!("User: {who} is not authorized to perform: {action} on resource: {arn}");
        Err(StoreError::new(StoreErrorKind::AccessDenied, message))
    }

    /// An entity, once it is known that the principal may do this with it.
    pub(crate) fn iam_entity<'w>(
        &self,
        read: &impl Read,
        who: &'w Authenticated,
        (kind, name): (IamKind, &str),
        action: &str,
    ) -> StoreResult<(&'w str, IamEntity)> {
        let account = who.name().ok_or(StoreErrorKind::AccessDenied)?;
        let found: Option<IamEntity> = rows::load(read, "entity", &key::entity(account, kind, name))?;
        let account = self.iam_allow(read, who, action, |account| match &found {
            Some(entity) => entity.arn(account),
            None => format!("arn:aws:iam::{account}:{}/{name}", kind.word()),
        })?;
        Ok((account, found.ok_or_else(|| no_such(kind, name))?))
    }

    pub(crate) fn iam_get(
        &self,
        who: &Authenticated,
        (kind, name): (IamKind, &str),
        read: IamRead,
    ) -> StoreResult<IamEntity> {
        Ok(self.iam_entity(&self.snapshot(), who, (kind, name), &read.action(kind))?.1)
    }

    pub(crate) fn iam_list(
        &self,
        who: &Authenticated,
        kind: IamKind,
        request: &IamListRequest,
    ) -> StoreResult<IamPage> {
        let snapshot = self.snapshot();
        let title =
            if kind == IamKind::Policy { "Policies".to_owned() } else { format!("{}s", kind.title()) };
        let prefix = if request.path_prefix.is_empty() { "/" } else { &request.path_prefix };
        let account = self.iam_allow(&snapshot, who, &format!("iam:List{title}"), |account| {
            format!("arn:aws:iam::{account}:{}{prefix}", kind.word())
        })?;
        let max = request.max.clamp(1, PAGE_MAX);
        let mut page = IamPage { entities: Vec::new(), next: None };
        each(&snapshot, account, kind, request.after.as_deref(), |entity| {
            if !entity.path.starts_with(prefix) {
                return true;
            }
            if page.entities.len() == max {
                page.next = page.entities.last().map(|last| last.name.clone());
                return false;
            }
            page.entities.push(entity);
            true
        })?;
        Ok(page)
    }

    /// Users of a group.
    pub(crate) fn iam_members(&self, who: &Authenticated, group: &str) -> StoreResult<Vec<IamEntity>> {
        let snapshot = self.snapshot();
        let (account, group) = self.iam_entity(&snapshot, who, (IamKind::Group, group), "iam:GetGroup")?;
        members(&snapshot, account, &group.name)
    }

    /// Who a managed policy is attached to.
    pub(crate) fn iam_attached_to(&self, who: &Authenticated, arn: &str) -> StoreResult<Vec<IamEntity>> {
        let snapshot = self.snapshot();
        let account = self.iam_allow(&snapshot, who, "iam:ListEntitiesForPolicy", |_| arn.to_owned())?;
        attached_to(&snapshot, account, arn)
    }

    /// A managed policy's text, by ARN.
    pub(crate) fn iam_policy_document(&self, who: &Authenticated, arn: &str) -> StoreResult<Option<String>> {
        let snapshot = self.snapshot();
        let account = self.iam_allow(&snapshot, who, "iam:GetPolicy", |_| arn.to_owned())?;
        managed::document(&snapshot, account, arn)
    }

    pub(crate) fn iam_summary(&self, who: &Authenticated) -> StoreResult<IamSummary> {
        let snapshot = self.snapshot();
        let account = self.iam_allow(&snapshot, who, "iam:GetAccountSummary", |_| "*".to_owned())?;
        let user: UserRow = rows::must(&snapshot, "user", &key::user(account))?;
        Ok(IamSummary {
            users: count(&snapshot, account, IamKind::User)?,
            groups: count(&snapshot, account, IamKind::Group)?,
            roles: count(&snapshot, account, IamKind::Role)?,
            policies: count(&snapshot, account, IamKind::Policy)?,
            access_keys: user.access_keys.len() as u64,
        })
    }

    pub(crate) async fn iam_create(&self, who: &Authenticated, spec: IamSpec) -> StoreResult<IamEntity> {
        let (kind, tag) = match &spec.what {
            IamWhat::User => (IamKind::User, "AIDA"),
            IamWhat::Group => (IamKind::Group, "AGPA"),
            IamWhat::Role { .. } => (IamKind::Role, "AROA"),
            IamWhat::Policy { .. } => (IamKind::Policy, "ANPA"),
        };
        let path = spec.path.clone().unwrap_or_else(|| "/".to_owned());
        let action = format!("iam:Create{}", kind.title());
        let arn = |account: &str| format!("arn:aws:iam::{account}:{}{path}{}", kind.word(), spec.name);
        self.iam_allow(&self.snapshot(), who, &action, arn)?;
        check_spec(&spec, kind)?;
        let id = format!("{tag}{}", self.random_text(BASE32, ID_RANDOM_LEN)?);
        let done = self.commit(|work| {
            let account = self.iam_allow(&*work.txn, who, &action, arn)?;
            if work.txn.get(&key::entity(account, kind, &spec.name))?.is_some() {
                let message = format!("{} with name {} already exists.", kind.title(), spec.name);
                return Err(StoreError::new(StoreErrorKind::UserExists, message));
            }
            if count(&*work.txn, account, kind)? >= max_of(kind) {
                return Err(limit(format!("an account has at most {} of these", max_of(kind))));
            }
            let entity = IamEntity {
                name: spec.name.clone(),
                path: path.clone(),
                id,
                created: work.now,
                description: spec.description.clone(),
                inline: Vec::new(),
                attached: Vec::new(),
                tags: spec.tags.clone(),
                body: first_body(&spec.what, work.now),
            };
            work.put_entity(account, &entity);
            Ok(entity)
        })?;
        self.settle(done.lsn, StreamId::default(), Level::Staged).await?;
        Ok(done.value)
    }

    pub(crate) async fn iam_delete(
        &self,
        who: &Authenticated,
        (kind, name): (IamKind, &str),
    ) -> StoreResult<()> {
        let action = format!("iam:Delete{}", kind.title());
        let done = self.commit(|work| {
            let (account, entity) = self.iam_entity(&*work.txn, who, (kind, name), &action)?;
            check_unused(&*work.txn, account, &entity)?;
            work.txn.delete(key::entity(account, kind, name));
            work.put_row(key::revision(account), &IamRevisionRow(work.txn.lsn().0));
            Ok(())
        })?;
        self.credentials.clear();
        self.settle(done.lsn, StreamId::default(), Level::Staged).await
    }

    /// Who a principal is.
    pub(crate) fn identity(&self, who: &Authenticated) -> StoreResult<Identity> {
        let account = who.name().ok_or(StoreErrorKind::AccessDenied)?.to_owned();
        let (arn, user_id) = match (who.actor(), self.held(&self.snapshot(), &account, who.actor())?) {
            (Actor::Account, _) => (format!("arn:aws:iam::{account}:root"), account.clone()),
            (_, None) => return Err(StoreErrorKind::AccessDenied.into()),
            (Actor::User(_), Some(held)) => (held.arn.clone(), held.id.clone()),
            (Actor::Role { role, session }, Some(held)) => (
                format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
                format!("{}:{session}", held.id),
            ),
        };
        Ok(Identity { account, arn, user_id })
    }
}

fn first_body(what: &IamWhat, now: Timestamp) -> IamBody {
    match what {
        IamWhat::User => {
            IamBody::User { access_keys: Vec::new(), groups: Vec::new(), sessions_after: Timestamp(0) }
        }
        IamWhat::Group => IamBody::Group,
        IamWhat::Role { trust, session_seconds_max } => IamBody::Role {
            trust: trust.clone(),
            session_seconds_max: *session_seconds_max,
            sessions_after: Timestamp(0),
        },
        IamWhat::Policy { document } => IamBody::Policy {
            versions: vec![PolicyVersion { number: 1, document: document.clone(), created: now }],
            default: 1,
            updated: now,
        },
    }
}

/// AWS wants an entity bare before it goes.
fn check_unused(read: &impl Read, account: &str, entity: &IamEntity) -> StoreResult<()> {
    let refuse = |what: &str| Err(conflict(format!("Cannot delete entity, must {what} first.")));
    if !entity.inline.is_empty() {
        return refuse("delete policies");
    }
    if !entity.attached.is_empty() {
        return refuse("detach all policies");
    }
    match &entity.body {
        IamBody::User { access_keys, .. } if !access_keys.is_empty() => refuse("delete access keys"),
        IamBody::User { groups, .. } if !groups.is_empty() => refuse("remove users from group"),
        IamBody::Group if !members(read, account, &entity.name)?.is_empty() => {
            refuse("remove users from group")
        }
        IamBody::Policy { .. } if !attached_to(read, account, &entity.arn(account))?.is_empty() => {
            refuse("detach the policy from all entities")
        }
        IamBody::Policy { versions, .. } if versions.len() > 1 => {
            refuse("delete the versions that do not count")
        }
        _ => Ok(()),
    }
}

/// Entities of one kind in order of name, behind `after`, until `take` has enough.
fn each(
    read: &impl Read,
    account: &str,
    kind: IamKind,
    after: Option<&str>,
    mut take: impl FnMut(IamEntity) -> bool,
) -> StoreResult<()> {
    let prefix = key::entities(account, kind);
    let mut from = after.map_or_else(Vec::new, |name| key::after(&key::entity(account, kind, name)));
    loop {
        let found = rows::under(read, &prefix, &from, SCAN_PAGE)?;
        for (_, value) in &found {
            if !take(rows::decode("entity", value)?) {
                return Ok(());
            }
        }
        match found.last() {
            Some((last, _)) if found.len() == SCAN_PAGE => from = key::after(last),
            _ => return Ok(()),
        }
    }
}

fn count(read: &impl Read, account: &str, kind: IamKind) -> StoreResult<u64> {
    let mut count = 0;
    each(read, account, kind, None, |_| {
        count += 1;
        true
    })?;
    Ok(count)
}

fn members(read: &impl Read, account: &str, group: &str) -> StoreResult<Vec<IamEntity>> {
    let mut found = Vec::new();
    each(read, account, IamKind::User, None, |user| {
        if matches!(&user.body, IamBody::User { groups, .. } if groups.contains(&group.to_ascii_lowercase()))
        {
            found.push(user);
        }
        true
    })?;
    Ok(found)
}

fn attached_to(read: &impl Read, account: &str, arn: &str) -> StoreResult<Vec<IamEntity>> {
    let mut found = Vec::new();
    for kind in [IamKind::User, IamKind::Group, IamKind::Role] {
        each(read, account, kind, None, |entity| {
            if entity.attached.iter().any(|attached| attached == arn) {
                found.push(entity);
            }
            true
        })?;
    }
    Ok(found)
}

impl Work<'_, '_> {
    /// Writes an entity and says that something of the account has changed.
    fn put_entity(&mut self, account: &str, entity: &IamEntity) {
        self.put_row(key::entity(account, entity.kind(), &entity.name), entity);
        self.put_row(key::revision(account), &IamRevisionRow(self.txn.lsn().0));
    }
}
