//! Changes of entities: checked before the commit as far as they can be, applied in it.

use gw_db::Read;
use gw_types::{Authenticated, Level, StreamId, Timestamp};

use super::{
    DESCRIPTION_MAX, check_entity_name, check_name, check_path, check_policy, check_session_seconds,
    check_tags, conflict, limit, managed, members, no_such,
};
use crate::access::Of;
use crate::api::{IamBody, IamChange, IamEntity, IamKind, PolicyVersion};
use crate::core::{Core, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, AccessKeyRow, key};

/// AWS: "IAM and STS quotas".
const ATTACHED_MAX: usize = 10;
const GROUPS_OF_USER_MAX: usize = 10;
const VERSIONS_MAX: usize = 5;

/// The action that a change is; `None`: that kind has no such change.
fn action_of(kind: IamKind, change: &IamChange) -> Option<String> {
    use IamKind::{Group, Policy, Role, User};
    let title = kind.title();
    let named = |word: &str| Some(format!("iam:{word}"));
    match (change, kind) {
        (IamChange::Rename { .. }, User | Group) => named(&format!("Update{title}")),
        (IamChange::PutPolicy { .. }, User | Group | Role) => named(&format!("Put{title}Policy")),
        (IamChange::DeletePolicy { .. }, User | Group | Role) => named(&format!("Delete{title}Policy")),
        (IamChange::Attach { .. }, User | Group | Role) => named(&format!("Attach{title}Policy")),
        (IamChange::Detach { .. }, User | Group | Role) => named(&format!("Detach{title}Policy")),
        (IamChange::Join { .. }, User) => named("AddUserToGroup"),
        (IamChange::Leave { .. }, User) => named("RemoveUserFromGroup"),
        (IamChange::Trust { .. }, Role) => named("UpdateAssumeRolePolicy"),
        (IamChange::Describe { .. }, Role) => named("UpdateRole"),
        (IamChange::Tag(_), User | Role | Policy) => named(&format!("Tag{title}")),
        (IamChange::Untag(_), User | Role | Policy) => named(&format!("Untag{title}")),
        (IamChange::NewVersion { .. }, Policy) => named("CreatePolicyVersion"),
        (IamChange::DefaultVersion(_), Policy) => named("SetDefaultPolicyVersion"),
        (IamChange::DeleteVersion(_), Policy) => named("DeletePolicyVersion"),
        (IamChange::RevokeSessions, User | Role) => Some("cess:RevokeSessions".to_owned()),
        _ => None,
    }
}

/// What can be said without looking.
fn check(kind: IamKind, change: &IamChange) -> StoreResult<()> {
    match change {
        IamChange::Rename { name, path } => {
            name.as_deref().map_or(Ok(()), |name| check_entity_name(kind, name))?;
            path.as_deref().map_or(Ok(()), check_path)
        }
        IamChange::PutPolicy { name, document } => {
            check_name("the name of a policy", name, 128)?;
            check_policy(document, Of::Identity, inline_max(kind))
        }
        IamChange::Trust { document } => check_policy(document, Of::Trust, 2048),
        IamChange::NewVersion { document, .. } => check_policy(document, Of::Identity, 6144),
        IamChange::Tag(tags) => check_tags(tags),
        IamChange::Describe { description, session_seconds_max } => {
            if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX) {
                return Err(StoreError::invalid("a description has at most 1000 characters"));
            }
            session_seconds_max.map_or(Ok(()), check_session_seconds)
        }
        _ => Ok(()),
    }
}

/// Characters of all inline policies together, blanks not counted (AWS).
fn inline_max(kind: IamKind) -> usize {
    match kind {
        IamKind::User => 2048,
        IamKind::Group => 5120,
        IamKind::Role | IamKind::Policy => 10_240,
    }
}

impl Core {
    pub(crate) async fn iam_change(
        &self,
        who: &Authenticated,
        (kind, name): (IamKind, &str),
        change: &IamChange,
    ) -> StoreResult<IamEntity> {
        let action = action_of(kind, change)
            .ok_or_else(|| StoreError::invalid(format!("a {} cannot be changed so", kind.word())))?;
        check(kind, change)?;
        let done = self.commit(|work| {
            // Who may change a group may put users into it; the users' own ARNs are not asked for.
            let asked = match change {
                IamChange::Join { group } | IamChange::Leave { group } => (IamKind::Group, group.as_str()),
                _ => (kind, name),
            };
            let (account, mut entity) = self.iam_entity(&*work.txn, who, asked, &action)?;
            if asked.0 != kind {
                entity = rows::load(&*work.txn, "entity", &key::entity(account, kind, name))?
                    .ok_or_else(|| no_such(kind, name))?;
            }
            let before = entity.clone();
            apply(work, account, &mut entity, change)?;
            if before.name != entity.name {
                work.renamed(account, &before, &entity)?;
            }
            work.put_entity(account, &entity);
            Ok(entity)
        })?;
        if matches!(change, IamChange::Rename { .. } | IamChange::RevokeSessions) {
            self.credentials.clear();
        }
        self.settle(done.lsn, StreamId::default(), Level::Staged).await?;
        Ok(done.value)
    }
}

impl Work<'_, '_> {
    /// Moves what stands under an entity's former name.
    fn renamed(&mut self, account: &str, before: &IamEntity, entity: &IamEntity) -> StoreResult<()> {
        let (from, to) = (
            key::entity(account, before.kind(), &before.name),
            key::entity(account, entity.kind(), &entity.name),
        );
        if from != to {
            if self.txn.get(&to)?.is_some() {
                let message = format!("{} with name {} already exists.", entity.kind().title(), entity.name);
                return Err(StoreError::new(StoreErrorKind::UserExists, message));
            }
            self.txn.delete(from);
        }
        match &entity.body {
            IamBody::User { access_keys, .. } => {
                for access_key in access_keys {
                    let row_key = key::access_key(access_key);
                    let mut row: AccessKeyRow = rows::must(&*self.txn, "access key", &row_key)?;
                    row.of = Some(entity.name.clone());
                    self.put_row(row_key, &row);
                }
            }
            IamBody::Group => {
                let (old, new) = (before.name.to_ascii_lowercase(), entity.name.to_ascii_lowercase());
                for mut user in members(&*self.txn, account, &old)? {
                    if let IamBody::User { groups, .. } = &mut user.body {
                        groups
                            .iter_mut()
                            .filter(|group| **group == old)
                            .for_each(|group| group.clone_from(&new));
                    }
                    self.put_entity(account, &user);
                }
            }
            IamBody::Role { .. } | IamBody::Policy { .. } => {}
        }
        Ok(())
    }
}

fn apply(work: &Work<'_, '_>, account: &str, entity: &mut IamEntity, change: &IamChange) -> StoreResult<()> {
    match change {
        IamChange::Rename { name, path } => {
            entity.name = name.clone().unwrap_or_else(|| entity.name.clone());
            entity.path = path.clone().unwrap_or_else(|| entity.path.clone());
            Ok(())
        }
        IamChange::PutPolicy { .. }
        | IamChange::DeletePolicy { .. }
        | IamChange::Attach { .. }
        | IamChange::Detach { .. } => apply_policies(&*work.txn, account, entity, change),
        IamChange::Tag(tags) => {
            for (name, value) in tags {
                entity.tags.retain(|(given, _)| given != name);
                entity.tags.push((name.clone(), value.clone()));
            }
            check_tags(&entity.tags)
        }
        IamChange::Untag(names) => {
            entity.tags.retain(|(given, _)| !names.contains(given));
            Ok(())
        }
        _ => apply_body(work, account, entity, change),
    }
}

fn apply_policies(
    read: &impl Read,
    account: &str,
    entity: &mut IamEntity,
    change: &IamChange,
) -> StoreResult<()> {
    let kind = entity.kind();
    let missing = |name: &str| {
        StoreError::new(StoreErrorKind::NoSuchUser, format!("The policy {name} cannot be found."))
    };
    match change {
        IamChange::PutPolicy { name, document } => {
            entity.inline.retain(|(given, _)| given != name);
            entity.inline.push((name.clone(), document.clone()));
            entity.inline.sort();
            let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).count();
            if entity.inline.iter().map(|(_, text)| letters(text)).sum::<usize>() > inline_max(kind) {
                return Err(limit(format!("Maximum policy size of {} bytes exceeded", inline_max(kind))));
            }
        }
        IamChange::DeletePolicy { name } => {
            let at =
                entity.inline.iter().position(|(given, _)| given == name).ok_or_else(|| missing(name))?;
            entity.inline.remove(at);
        }
        IamChange::Attach { policy } => {
            if managed::document(read, account, policy)?.is_none() {
                return Err(missing(policy));
            }
            if !entity.attached.contains(policy) {
                entity.attached.push(policy.clone());
            }
            if entity.attached.len() > ATTACHED_MAX {
                return Err(limit("Cannot exceed quota for PoliciesPerEntity: 10"));
            }
        }
        IamChange::Detach { policy } => {
            let at =
                entity.attached.iter().position(|given| given == policy).ok_or_else(|| missing(policy))?;
            entity.attached.remove(at);
        }
        _ => {}
    }
    Ok(())
}

fn apply_body(
    work: &Work<'_, '_>,
    account: &str,
    entity: &mut IamEntity,
    change: &IamChange,
) -> StoreResult<()> {
    let now = work.now;
    match (change, &mut entity.body) {
        (IamChange::Join { group }, IamBody::User { groups, .. }) => {
            let group = group.to_ascii_lowercase();
            if work.txn.get(&key::entity(account, IamKind::Group, &group))?.is_none() {
                return Err(no_such(IamKind::Group, &group));
            }
            if !groups.contains(&group) {
                groups.push(group);
            }
            if groups.len() > GROUPS_OF_USER_MAX {
                return Err(limit("Cannot exceed quota for GroupsPerUser: 10"));
            }
            Ok(())
        }
        (IamChange::Leave { group }, IamBody::User { groups, .. }) => {
            let group = group.to_ascii_lowercase();
            let at = groups.iter().position(|given| *given == group);
            groups.remove(at.ok_or_else(|| no_such(IamKind::User, &entity.name))?);
            Ok(())
        }
        (IamChange::Trust { document }, IamBody::Role { trust, .. }) => {
            trust.clone_from(document);
            Ok(())
        }
        (
            IamChange::Describe { description, session_seconds_max: wanted },
            IamBody::Role { session_seconds_max, .. },
        ) => {
            *session_seconds_max = wanted.unwrap_or(*session_seconds_max);
            entity.description = description.clone().unwrap_or_else(|| entity.description.clone());
            Ok(())
        }
        (
            IamChange::RevokeSessions,
            IamBody::User { sessions_after, .. } | IamBody::Role { sessions_after, .. },
        ) => {
            *sessions_after = now;
            Ok(())
        }
        (change, IamBody::Policy { versions, default, updated }) => {
            *updated = now;
            apply_version(versions, default, now, change)
        }
        _ => Err(StoreError::invalid("an entity of this kind cannot be changed so")),
    }
}

fn apply_version(
    versions: &mut Vec<PolicyVersion>,
    default: &mut u32,
    now: Timestamp,
    change: &IamChange,
) -> StoreResult<()> {
    let there = |versions: &[PolicyVersion], wanted: u32| {
        versions.iter().position(|version| version.number == wanted).ok_or_else(|| {
            StoreError::new(StoreErrorKind::NoSuchUser, format!("Policy version v{wanted} cannot be found."))
        })
    };
    match change {
        IamChange::NewVersion { document, default: counts } => {
            if versions.len() >= VERSIONS_MAX {
                return Err(limit("A managed policy can have up to 5 versions."));
            }
            let number = versions.iter().map(|version| version.number).max().unwrap_or_default() + 1;
            versions.push(PolicyVersion { number, document: document.clone(), created: now });
            if *counts {
                *default = number;
            }
            Ok(())
        }
        IamChange::DefaultVersion(wanted) => {
            there(versions, *wanted)?;
            *default = *wanted;
            Ok(())
        }
        IamChange::DeleteVersion(wanted) => {
            let at = there(versions, *wanted)?;
            if wanted == default {
                return Err(conflict("Cannot delete the default version of a policy."));
            }
            versions.remove(at);
            Ok(())
        }
        _ => Err(StoreError::invalid("a policy cannot be changed so")),
    }
}
