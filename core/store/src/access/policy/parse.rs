//! From a policy's text to what it means, or to the sentence that says why it means nothing.

use serde_json::{Map, Value};

use super::condition::Condition;
use super::pattern::Pattern;
use super::{POLICY_BYTES_MAX, Policy, Statement, Who};
use crate::error::{StoreError, StoreErrorKind, StoreResult};

const ARN: &str = "arn:aws:s3:::";

fn malformed(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::MalformedPolicy, message.into())
}

impl Policy {
    /// Reads a policy of `bucket`. `MalformedPolicy` with a reason for anything that is not one.
    pub(crate) fn parse(text: &[u8], bucket: &str) -> StoreResult<Self> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(malformed("a policy has at most 20 KB"));
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
                statements.iter().map(|value| statement(value, bucket)).collect::<StoreResult<_>>()?
            }
            Some(value @ Value::Object(_)) => vec![statement(value, bucket)?],
            _ => return Err(malformed("Missing required field Statement")),
        };
        Ok(Self { statements })
    }
}

fn statement(value: &Value, bucket: &str) -> StoreResult<Statement> {
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
    let (not_who, who) = either(fields, "Principal", "NotPrincipal")?;
    if not_who && allow {
        return Err(malformed("Allow with NotPrincipal is not allowed"));
    }
    let (not_actions, actions) = either(fields, "Action", "NotAction")?;
    let (not_resources, resources) = either(fields, "Resource", "NotResource")?;
    Ok(Statement {
        allow,
        not_who,
        who: principals(who)?,
        not_actions,
        actions: list(actions, "Action")?.into_iter().map(action).collect::<StoreResult<_>>()?,
        not_resources,
        resources: list(resources, "Resource")?
            .into_iter()
            .map(|text| resource(&text, bucket))
            .collect::<StoreResult<_>>()?,
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
                "AWS" | "CanonicalUser" => Who::User(user(&text).ok_or_else(invalid)?),
                // Services and identity providers: nobody here is one.
                "Service" | "Federated" => Who::User(format!("{kind}:{text}")),
                _ => return Err(invalid()),
            });
        }
    }
    Ok(who)
}

/// A user of the gateway by an ARN or by name. Every user is its own account, so
/// `arn:aws:iam::ann:root`, `arn:aws:iam::ACCOUNT:user/ann` and `ann` are the same; an account in
/// front of a user whose name has a tenant is that tenant.
fn user(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix("arn:aws:iam::") else {
        return (!text.is_empty() && !text.contains([':', '/', '*'])).then(|| text.to_owned());
    };
    let (account, name) = rest.split_once(':')?;
    match name.split_once('/') {
        None if name == "root" && !account.is_empty() => Some(account.to_owned()),
        Some(("user", name)) => {
            let name = name.rsplit('/').next().filter(|name| !name.is_empty())?;
            let number = account.bytes().all(|byte| byte.is_ascii_digit());
            Some(if number || name.contains('$') { name.to_owned() } else { format!("{account}${name}") })
        }
        Some(("role" | "assumed-role", name)) => Some(format!("role/{name}")),
        _ => None,
    }
}

fn action(text: String) -> StoreResult<Pattern> {
    let name = text.to_ascii_lowercase();
    if name == "*" || name.strip_prefix("s3:").is_some_and(|name| !name.is_empty()) {
        return Ok(Pattern::new(text));
    }
    Err(malformed("Policy has invalid action"))
}

/// `bucket` or `bucket/keys`, without the ARN's head; only the policy's own bucket can be meant.
fn resource(text: &str, bucket: &str) -> StoreResult<Pattern> {
    let invalid = || malformed("Policy has invalid resource");
    if text == "*" {
        return Ok(Pattern::new(text));
    }
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
