//! What an actor's own policies say: those of a user, of its groups, of a role, and of a session.
//!
//! An account is bound by none of the first three. Policies are kept parsed by the commit that last
//! changed the account's entities, so that a decision costs one row; those of sessions by their
//! text. A user or role that is gone may nothing, whatever its credentials still say.

use std::collections::HashMap;
use std::sync::Arc;

use gw_db::Read;
use gw_types::{Actor, Authenticated, Timestamp};
use parking_lot::RwLock;

use super::policy::{Of, Policy, Question, Verdict};
use crate::api::{IamBody, IamEntity, IamKind};
use crate::core::Core;
use crate::error::{StoreError, StoreResult};
use crate::iam::managed;
use crate::rows::{self, IamRevisionRow, key};

/// Actors, and policies of sessions, kept in memory, counted.
const KEPT_MAX: usize = 4096;

/// An actor and what it is bound by.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) arn: String,
    pub(crate) id: String,
    pub(crate) sessions_after: Timestamp,
    tags: Vec<(String, String)>,
    policies: Vec<Arc<Policy>>,
}

type Whose = (String, IamKind, String);

/// Held actors by the commit that last changed their account, and policies of sessions by text.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    actors: RwLock<HashMap<Whose, (u64, Arc<Held>)>>,
    sessions: RwLock<HashMap<Arc<str>, Arc<Policy>>>,
}

/// What stands for a principal and against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Says {
    identity: Verdict,
    session: Verdict,
}

impl Says {
    pub(crate) fn denies(self) -> bool {
        self.identity == Verdict::Deny || self.session == Verdict::Deny
    }
    /// Whether its own policies let it.
    pub(crate) fn allows(self) -> bool {
        self.identity == Verdict::Allow && self.session == Verdict::Allow
    }
    /// Whether its session does, which is asked even where others give the right.
    pub(crate) fn session_allows(self) -> bool {
        self.session == Verdict::Allow
    }
}

pub(crate) fn parse_stored(text: &str) -> StoreResult<Policy> {
    Policy::parse(text.as_bytes(), Of::Identity)
        .map_err(|error| StoreError::corrupt("a stored policy does not parse").with_source(error))
}

impl Core {
    /// The actor as it is now; `None` where it is gone, or where it is an account.
    pub(crate) fn held(
        &self,
        read: &impl Read,
        account: &str,
        actor: &Actor,
    ) -> StoreResult<Option<Arc<Held>>> {
        let (kind, name) = match actor {
            Actor::Account => return Ok(None),
            Actor::User(name) => (IamKind::User, name),
            Actor::Role { role, .. } => (IamKind::Role, role),
        };
        let revision: Option<IamRevisionRow> = rows::load(read, "revision", &key::revision(account))?;
        let revision = revision.map_or(0, |row| row.0);
        let whose = (account.to_owned(), kind, name.to_string());
        if let Some((at, held)) = self.identities.actors.read().get(&whose)
            && *at == revision
        {
            return Ok(Some(Arc::clone(held)));
        }
        let Some(entity) = rows::load::<IamEntity>(read, "entity", &key::entity(account, kind, name))? else {
            return Ok(None);
        };
        let held = Arc::new(gather(read, account, &entity)?);
        let mut kept = self.identities.actors.write();
        if kept.len() >= KEPT_MAX {
            // All are gathered again when they are asked for: crude, bounded, and rarely hit.
            kept.clear();
        }
        kept.insert(whose, (revision, Arc::clone(&held)));
        Ok(Some(held))
    }

    fn session_policy(&self, text: &Arc<str>) -> StoreResult<Arc<Policy>> {
        if let Some(policy) = self.identities.sessions.read().get(text) {
            return Ok(Arc::clone(policy));
        }
        let policy = Arc::new(parse_stored(text)?);
        let mut kept = self.identities.sessions.write();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(Arc::clone(text), Arc::clone(&policy));
        Ok(policy)
    }

    /// What the principal's own policies say of an act on a resource, by ARN.
    pub(crate) fn identity_says(
        &self,
        read: &impl Read,
        who: &Authenticated,
        (action, arn): (&str, &str),
        values: &dyn Fn(&str) -> Vec<String>,
    ) -> StoreResult<Says> {
        let question = Question { who, action, resource: arn, values };
        let identity = match (who.actor(), who.name()) {
            (Actor::Account, _) | (_, None) => Verdict::Allow,
            (actor, Some(account)) => match self.held(read, account, actor)? {
                None => Verdict::Deny,
                Some(held) => together(held.policies.iter(), &question),
            },
        };
        let session = match who.session() {
            None => Verdict::Allow,
            Some(session) if session.policies.is_empty() => Verdict::Allow,
            Some(session) => {
                let policies: StoreResult<Vec<_>> =
                    session.policies.iter().map(|text| self.session_policy(text)).collect();
                together(policies?.iter(), &question)
            }
        };
        Ok(Says { identity, session })
    }

    /// A condition key that is about the principal; `None`: it is about something else.
    pub(crate) fn principal_values(
        &self,
        read: &impl Read,
        who: &Authenticated,
        wanted: &str,
    ) -> StoreResult<Option<Vec<String>>> {
        let one = |text: &str| Some(vec![text.to_owned()]);
        let account = who.name();
        Ok(match (wanted, who.actor()) {
            ("aws:username", Actor::Role { .. }) => Some(Vec::new()),
            ("aws:username" | "aws:userid", Actor::User(name)) => one(name),
            ("aws:userid", Actor::Role { role, session }) => one(&format!("{role}:{session}")),
            ("aws:username" | "aws:userid" | "aws:principalaccount", _) => {
                Some(account.into_iter().map(str::to_owned).collect())
            }
            ("aws:principaltype", _) if account.is_none() => one("Anonymous"),
            ("aws:principaltype", Actor::Account) => one("Account"),
            ("aws:principaltype", Actor::User(_)) => one("User"),
            ("aws:principaltype", Actor::Role { .. }) => one("AssumedRole"),
            ("aws:tokenissuetime", _) => Some(
                who.session().map(|session| session.issued.unix_seconds().to_string()).into_iter().collect(),
            ),
            ("aws:principalarn", Actor::Account) => {
                Some(account.map(|account| format!("arn:aws:iam::{account}:root")).into_iter().collect())
            }
            ("aws:principalarn", actor) => {
                let held = self.held(read, account.unwrap_or_default(), actor)?;
                Some(held.map(|held| held.arn.clone()).into_iter().collect())
            }
            _ => match wanted.strip_prefix("aws:principaltag/") {
                None => None,
                Some(tag) => {
                    let held = self.held(read, account.unwrap_or_default(), who.actor())?;
                    let tags = held.iter().flat_map(|held| &held.tags);
                    Some(tags.filter(|(name, _)| name == tag).map(|(_, value)| value.clone()).collect())
                }
            },
        })
    }
}

/// An explicit Deny of any, else an Allow of any.
fn together<'a>(policies: impl Iterator<Item = &'a Arc<Policy>>, question: &Question<'_>) -> Verdict {
    let mut verdict = Verdict::Neutral;
    for policy in policies {
        match policy.judge(question) {
            Verdict::Deny => return Verdict::Deny,
            Verdict::Allow => verdict = Verdict::Allow,
            Verdict::Delegate | Verdict::Neutral => {}
        }
    }
    verdict
}

fn gather(read: &impl Read, account: &str, entity: &IamEntity) -> StoreResult<Held> {
    let mut policies = policies_of(read, account, entity)?;
    let sessions_after = match &entity.body {
        IamBody::User { groups, sessions_after, .. } => {
            for group in groups {
                let group: IamEntity =
                    rows::must(read, "group", &key::entity(account, IamKind::Group, group))?;
                policies.extend(policies_of(read, account, &group)?);
            }
            *sessions_after
        }
        IamBody::Role { sessions_after, .. } => *sessions_after,
        IamBody::Group | IamBody::Policy { .. } => Timestamp(0),
    };
    let (arn, id, tags) = (entity.arn(account), entity.id.clone(), entity.tags.clone());
    Ok(Held { arn, id, sessions_after, tags, policies })
}

fn policies_of(read: &impl Read, account: &str, entity: &IamEntity) -> StoreResult<Vec<Arc<Policy>>> {
    let mut policies = Vec::with_capacity(entity.inline.len() + entity.attached.len());
    for (_, document) in &entity.inline {
        policies.push(Arc::new(parse_stored(document)?));
    }
    for arn in &entity.attached {
        let document = managed::document(read, account, arn)?
            .ok_or_else(|| StoreError::corrupt("an attached policy is missing"))?;
        policies.push(Arc::new(parse_stored(&document)?));
    }
    Ok(policies)
}
