//! From a policy's text to what it means, or to the sentence that says why it means nothing.

use serde_json::{Map, Value};

use super::condition::Condition;
use super::pattern::Pattern;
use super::{IDENTITY_POLICY_BYTES_MAX, Of, POLICY_BYTES_MAX, Policy, Statement, Who};
use crate::error::{StoreError, StoreErrorKind, StoreResult};

const ARN: &str = "arn:aws:s3:::";

fn malformed(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::MalformedPolicy, message.into())
}

impl Policy {
    /// Reads a policy. `MalformedPolicy` with a reason for anything that is not one.
    pub(crate) fn parse(text: &[u8], of: Of<'_>) -> StoreResult<Self> {
        let max = if matches!(of, Of::Bucket(_)) { POLICY_BYTES_MAX } else { IDENTITY_POLICY_BYTES_MAX };
        if text.len() > max {
            return Err(malformed(format!("this policy has at most {max} bytes")));
        }
        let value: Value = serde_json::from_slice(text)
            .map_err(|_| malformed("Policies must be valid JSON and the first byte must be '{'"))?;
        let policy = value.as_object().ok_or_else(|| malformed("Policies must be a JSON object"))?;
        for (name, value) in policy {
            let sound = match name.as_str() {
                "Version" => matches!(value.as_str(), Some("2012-10-17" | "2008-10-17")),
                "Id" => value.is_string(),
                "Statement" => true,
                _ => false,
            };
            if !sound {
                return Err(malformed(format!("Policy has an invalid element {name}")));
            }
        }
        let statements = match policy.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => {
                unlike_names(statements, of)?;
                statements.iter().map(|value| statement(value, of)).collect::<StoreResult<_>>()?
            }
            Some(value @ Value::Object(_)) => vec![statement(value, of)?],
            _ => return Err(malformed("Missing required field Statement")),
        };
        Ok(Self { statements })
    }
}

/// AWS: "the Sid value must be unique within a JSON policy"; S3 takes others all the same.
fn unlike_names(statements: &[Value], of: Of<'_>) -> StoreResult<()> {
    let mut names: Vec<&str> = statements.iter().filter_map(|value| value.get("Sid")?.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() == count || matches!(of, Of::Bucket(_)) {
        return Ok(());
    }
    Err(malformed("Statement IDs (SID) in a single policy must be unique."))
}

fn statement(value: &Value, of: Of<'_>) -> StoreResult<Statement> {
    let fields = value.as_object().ok_or_else(|| malformed("Statement is not valid"))?;
    let known = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(malformed(format!("Statement has an unknown element {name}")));
    }
    let allow = match fields.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => return Err(malformed("Invalid effect")),
    };
    let (not_who, who) = match of {
        Of::Identity if fields.contains_key("Principal") || fields.contains_key("NotPrincipal") => {
            return Err(malformed("Policy document should not specify a principal."));
        }
        Of::Identity => (false, vec![Who::Everybody]),
        Of::Bucket(_) | Of::Trust => {
            let (not_who, who) = either(fields, "Principal", "NotPrincipal")?;
            (not_who, principals(who)?)
        }
    };
    if not_who && allow {
        return Err(malformed("Allow with NotPrincipal is not allowed"));
    }
    let (not_actions, actions) = either(fields, "Action", "NotAction")?;
    let (not_resources, resources) = match of {
        Of::Trust if fields.contains_key("Resource") || fields.contains_key("NotResource") => {
            return Err(malformed("Has prohibited field Resource"));
        }
        Of::Trust => (false, vec![Pattern::new("*")]),
        Of::Bucket(_) | Of::Identity => {
            let (not, listed) = either(fields, "Resource", "NotResource")?;
            let patterns = list(listed, "Resource")?.into_iter().map(|text| resource(&text, of));
            (not, patterns.collect::<StoreResult<_>>()?)
        }
    };
    Ok(Statement {
        allow,
        not_who,
        who,
        not_actions,
        actions: list(actions, "Action")?
            .into_iter()
            .map(|text| action(text, of))
            .collect::<StoreResult<_>>()?,
        not_resources,
        resources,
        conditions: fields.get("Condition").map(conditions).transpose()?.unwrap_or_default(),
    })
}

/// Exactly one of the two, and whether it is the negated one.
fn either<'a>(fields: &'a Map<String, Value>, name: &str, not: &str) -> StoreResult<(bool, &'a Value)> {
    match (fields.get(name), fields.get(not)) {
        (Some(value), None) => Ok((false, value)),
        (None, Some(value)) => Ok((true, value)),
        (None, None) => Err(malformed(format!("Missing required field {name}"))),
        (Some(_), Some(_)) => Err(malformed(format!("{name} and {not} cannot stand together"))),
    }
}

/// A text or a list of texts.
fn list(value: &Value, what: &str) -> StoreResult<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let texts = match value {
        Value::Array(values) => values.iter().map(text).collect::<Option<Vec<_>>>(),
        value => text(value).map(|text| vec![text]),
    };
    texts.filter(|texts| !texts.is_empty()).ok_or_else(|| malformed(format!("Policy has invalid {what}")))
}

fn principals(value: &Value) -> StoreResult<Vec<Who>> {
    let invalid = || malformed("Invalid principal in policy");
    let fields = match value {
        Value::String(text) if text == "*" => return Ok(vec![Who::Everybody]),
        Value::Object(fields) if !fields.is_empty() => fields,
        _ => return Err(invalid()),
    };
    let mut who = Vec::new();
    for (kind, value) in fields {
        for text in list(value, "principal")? {
            who.push(match kind.as_str() {
                "AWS" | "CanonicalUser" if text == "*" => Who::Everybody,
                "AWS" | "CanonicalUser" => principal(&text).ok_or_else(invalid)?,
                "Service" | "Federated" => Who::Foreign,
                _ => return Err(invalid()),
            });
        }
    }
    Ok(who)
}

/// A principal by an ARN or by the name of its account: `arn:aws:iam::ann:root` and `ann` are the
/// account ann, `arn:aws:iam::ann:user/team/bob` is a user of hers, `arn:aws:iam::ann:role/backup` a
/// role, and `arn:aws:sts::ann:assumed-role/backup/nightly` one session of it.
fn principal(text: &str) -> Option<Who> {
    let Some((service, rest)) = text
        .strip_prefix("arn:aws:iam::")
        .map(|rest| ("iam", rest))
        .or(text.strip_prefix("arn:aws:sts::").map(|rest| ("sts", rest)))
    else {
        let plain = !text.is_empty() && !text.contains([':', '/', '*']);
        return plain.then(|| Who::Account(text.to_owned()));
    };
    let (account, name) = rest.split_once(':')?;
    let account = account.to_owned();
    let last = |path: &str| path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
    match (service, name.split_once('/')) {
        ("iam", None) if name == "root" && !account.is_empty() => Some(Who::Account(account)),
        // A name with a tenant in it says its account by itself.
        ("iam", Some(("user", path))) if last(path)?.contains('$') => last(path).map(Who::Account),
        ("iam", Some(("user", path))) => Some(Who::User { account, name: last(path)? }),
        ("iam", Some(("role", path))) => Some(Who::Role { account, name: last(path)? }),
        ("sts", Some(("assumed-role", path))) => {
            let (role, session) = path.split_once('/')?;
            Some(Who::RoleSession { account, role: role.to_owned(), session: session.to_owned() })
        }
        _ => None,
    }
}

fn action(text: String, of: Of<'_>) -> StoreResult<Pattern> {
    let sound = match (of, text.split_once(':')) {
        _ if text == "*" => true,
        (_, None | Some((_, ""))) => false,
        (Of::Bucket(_), Some((service, _))) => service.eq_ignore_ascii_case("s3"),
        (Of::Trust, Some((service, _))) => service.eq_ignore_ascii_case("sts"),
        // Policies that were written for AWS speak of services that are not here.
        (Of::Identity, Some((service, _))) => {
            service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }
    };
    if sound { Ok(Pattern::new(text)) } else { Err(malformed("Policy has invalid action")) }
}

/// For a bucket's policy `bucket` or `bucket/keys`, without the ARN's head; only the bucket itself can
/// be meant. For an identity's the whole ARN.
fn resource(text: &str, of: Of<'_>) -> StoreResult<Pattern> {
    let invalid = || malformed("Policy has invalid resource");
    if text == "*" {
        return Ok(Pattern::new(text));
    }
    let Of::Bucket(bucket) = of else {
        let sound = text.starts_with("arn:") && text.splitn(6, ':').count() == 6;
        return if sound { Ok(Pattern::new(text)) } else { Err(invalid()) };
    };
    let path = match text.strip_prefix(ARN) {
        Some(path) => path,
        // A region or an account (or a tenant) may stand in the ARN.
        None => text
            .strip_prefix("arn:aws:s3:")
            .and_then(|rest| rest.splitn(3, ':').nth(2))
            .ok_or_else(invalid)?,
    };
    let name = path.split('/').next().unwrap_or_default();
    if Pattern::new(name).fits(bucket) || name.contains("${") {
        return Ok(Pattern::new(path));
    }
    Err(invalid())
}

fn conditions(value: &Value) -> StoreResult<Vec<Condition>> {
    let operators = value.as_object().ok_or_else(|| malformed("Policy has invalid condition"))?;
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let keys = keys.as_object().ok_or_else(|| malformed("Policy has invalid condition"))?;
        for (key, wanted) in keys {
            let condition = Condition::new(operator, key, list(wanted, "condition value")?);
            conditions.push(
                condition.ok_or_else(|| {
                    malformed(format!("Policy has an invalid condition {operator} of {key}"))
                })?,
            );
        }
    }
    Ok(conditions)
}
