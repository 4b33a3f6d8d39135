//! Policies: AWS's JSON language, read once and then judged.
//!
//! ```text
//! text --parse--> Policy { Statement { effect, who, actions, resources, conditions } }
//! Policy + Question --judge--> Deny | Allow | Neutral
//! ```
//!
//! Grammar and meaning are those of the IAM User Guide ("Grammar of the IAM JSON policy language",
//! "Policy evaluation logic"): an explicit Deny wins over every Allow, and what no statement speaks
//! of is Neutral. Parsing is strict: a policy that says something this module does not understand is
//! refused when it is put, never ignored when it is judged.
//!
//! Policies of buckets name principals and one bucket; those of identities (users, groups, roles,
//! sessions) name neither; those of trust, which say who may assume a role, name no resource.

mod condition;
mod parse;
mod pattern;

use gw_types::{Actor, Authenticated};

use condition::Condition;
use pattern::Pattern;

/// Largest policy in bytes (AWS).
pub(crate) const POLICY_BYTES_MAX: usize = 20 << 10;

/// Largest policy of an identity or of trust in bytes (AWS: a managed policy 6,144, the inline ones
/// of a role 10,240).
pub(crate) const IDENTITY_POLICY_BYTES_MAX: usize = 10_240;

/// What a policy says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deny,
    Allow,
    /// Allows the account that the actor is of: the account's own policies say whether the actor may.
    Delegate,
    Neutral,
}

/// What a policy belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of<'a> {
    Bucket(&'a str),
    Identity,
    Trust,
}

/// What is asked: who wants to do what to which resource, and what else is known.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) who: &'a Authenticated,
    /// As `s3:GetObject`.
    pub(crate) action: &'a str,
    /// `bucket` or `bucket/key` for a bucket's policy, an ARN for one of an identity.
    pub(crate) resource: &'a str,
    /// All values of a condition key in lower case.
    pub(crate) values: &'a dyn Fn(&str) -> Vec<String>,
}

/// A policy that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    allow: bool,
    /// Whether `who` lists those that are not meant.
    not_who: bool,
    who: Vec<Who>,
    not_actions: bool,
    actions: Vec<Pattern>,
    not_resources: bool,
    resources: Vec<Pattern>,
    conditions: Vec<Condition>,
}

/// Whom a statement means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    /// An account, and through it everybody in it.
    Account(String),
    User {
        account: String,
        name: String,
    },
    Role {
        account: String,
        name: String,
    },
    RoleSession {
        account: String,
        role: String,
        session: String,
    },
    /// A service or an identity provider: nobody here is one.
    Foreign,
}

/// How a principal is meant, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Not,
    /// Through its account.
    Account,
    Itself,
}

impl Who {
    fn reach(&self, who: &Authenticated) -> Reach {
        let of = |account: &str| who.name() == Some(account);
        let meant = match self {
            Self::Everybody => true,
            Self::Foreign => false,
            Self::Account(account) if of(account) && *who.actor() != Actor::Account => return Reach::Account,
            Self::Account(account) => of(account),
            Self::User { account, name } => match who.actor() {
                Actor::User(user) => of(account) && **user == **name,
                // Accounts may be named as AWS's users are: by a number and a name, or by their tenant.
                Actor::Account => {
                    let number = account.bytes().all(|byte| byte.is_ascii_digit());
                    number && of(name) || of(&format!("{account}${name}"))
                }
                Actor::Role { .. } => false,
            },
            Self::Role { account, name } => {
                matches!(who.actor(), Actor::Role { role, .. } if of(account) && **role == **name)
            }
            Self::RoleSession { account, role: wanted, session: called } => matches!(
                who.actor(),
                Actor::Role { role, session } if of(account) && **role == **wanted && **session == **called
            ),
        };
        if meant { Reach::Itself } else { Reach::Not }
    }
}

impl Policy {
    /// What the policy says.
    pub(crate) fn judge(&self, question: &Question<'_>) -> Verdict {
        let mut verdict = Verdict::Neutral;
        for statement in &self.statements {
            match (statement.fits(question), statement.allow) {
                (Reach::Not, _) => {}
                (_, false) => return Verdict::Deny,
                (Reach::Itself, true) => verdict = Verdict::Allow,
                (Reach::Account, true) if verdict == Verdict::Neutral => verdict = Verdict::Delegate,
                (Reach::Account, true) => {}
            }
        }
        verdict
    }

    /// Whether it lets strangers in (AWS: "The meaning of public"): an Allow to everybody that no
    /// condition ties to fixed values of a key that names who asks.
    pub(crate) fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            let everybody = statement.not_who || statement.who.contains(&Who::Everybody);
            statement.allow && everybody && !statement.conditions.iter().any(Condition::names_who_asks)
        })
    }
}

impl Statement {
    /// How the principal is meant, where all the rest fits too.
    fn fits(&self, question: &Question<'_>) -> Reach {
        let listed = self.who.iter().map(|who| who.reach(question.who)).max().unwrap_or(Reach::Not);
        let reach = match (self.not_who, listed) {
            (false, listed) => listed,
            (true, Reach::Not) => Reach::Itself,
            (true, _) => Reach::Not,
        };
        let action = self.actions.iter().any(|action| action.fits_caseless(question.action));
        let resource =
            self.resources.iter().any(|resource| resource.expanded(question.values).fits(question.resource));
        let rest = action != self.not_actions
            && resource != self.not_resources
            && self.conditions.iter().all(|condition| condition.holds(question.values));
        if rest { reach } else { Reach::Not }
    }
}

#[cfg(test)]
mod tests;
