//! Bucket policies: AWS's JSON language, read once and then judged.
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

mod condition;
mod parse;
mod pattern;

use gw_types::Action;

use condition::Condition;
use pattern::Pattern;

/// Largest policy in bytes (AWS).
pub(crate) const POLICY_BYTES_MAX: usize = 20 << 10;

/// What a policy says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deny,
    Allow,
    Neutral,
}

/// What is asked: who wants to do what to which resource, and what else is known.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    /// `None`: anonymous.
    pub(crate) user: Option<&'a str>,
    pub(crate) action: Action,
    /// `bucket` or `bucket/key`.
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
    User(String),
}

impl Who {
    fn means(&self, user: Option<&str>) -> bool {
        match self {
            Self::Everybody => true,
            Self::User(name) => user == Some(name.as_str()),
        }
    }
}

impl Policy {
    /// What the policy says.
    pub(crate) fn judge(&self, question: &Question<'_>) -> Verdict {
        let mut verdict = Verdict::Neutral;
        for statement in &self.statements {
            if !statement.fits(question) {
                continue;
            }
            if !statement.allow {
                return Verdict::Deny;
            }
            verdict = Verdict::Allow;
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
    fn fits(&self, question: &Question<'_>) -> bool {
        let who = self.who.iter().any(|who| who.means(question.user));
        let action = self.actions.iter().any(|action| action.fits_caseless(question.action.name()));
        let resource =
            self.resources.iter().any(|resource| resource.expanded(question.values).fits(question.resource));
        who != self.not_who
            && action != self.not_actions
            && resource != self.not_resources
            && self.conditions.iter().all(|condition| condition.holds(question.values))
    }
}

#[cfg(test)]
mod tests;
