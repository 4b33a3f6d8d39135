//! The policy of a form: until when, and what its fields may say.
//!
//! AWS: "POST policy". Every field but a few must be spoken of by a condition, so that whoever was
//! given a signed policy cannot add to it.

use serde_json::Value;

use crate::dates::from_s3;
use crate::refusal::Refusal;

/// How many bytes the file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileLength {
    /// At least.
    pub(crate) min: u64,
    /// At most.
    pub(crate) max: u64,
}

impl FileLength {
    pub(crate) const ANY: Self = Self { min: 0, max: u64::MAX };
}

#[derive(Debug)]
enum Condition {
    Is { field: String, value: String },
    Begins { field: String, value: String },
}

/// A policy that was understood.
#[derive(Debug)]
pub(super) struct Policy {
    expires_seconds: i64,
    conditions: Vec<Condition>,
    pub(super) length: FileLength,
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::bad("InvalidPolicyDocument", format!("Invalid Policy: {}", message.into()))
}

fn against(message: impl Into<String>) -> Refusal {
    let message = format!("Invalid according to Policy: {}", message.into());
    Refusal::new(http::StatusCode::FORBIDDEN, "AccessDenied", message)
}

impl Policy {
    /// Reads the document; names are as AWS writes them, case and all.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let value: Value = serde_json::from_slice(text).map_err(|_| invalid("Invalid JSON."))?;
        let expiration = value
            .get("expiration")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("Policy missing expiration."))?;
        // ISO 8601 as AWS writes it: a `T` between, a `Z` behind.
        let expires = Some(expiration)
            .filter(|text| text.as_bytes().get(10) == Some(&b'T') && text.ends_with('Z'))
            .and_then(|text| s3s::dto::Timestamp::parse(s3s::dto::TimestampFormat::DateTime, text).ok())
            .ok_or_else(|| invalid(format!("Invalid 'expiration' value: '{expiration}'")))?;
        let listed = match value.get("conditions") {
            Some(Value::Array(listed)) if !listed.is_empty() => listed,
            Some(Value::Array(_)) => return Err(invalid("Policy has no conditions.")),
            _ => return Err(invalid("Policy missing conditions.")),
        };
        let mut policy = Self {
            expires_seconds: from_s3(&expires).unix_seconds(),
            conditions: Vec::new(),
            length: FileLength::ANY,
        };
        for condition in listed {
            policy.add(condition)?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> Result<(), Refusal> {
        let sound = || invalid("Invalid Simple-Condition: value must be a string.");
        match condition {
            Value::Object(fields) if fields.is_empty() => Err(invalid("Invalid condition: it is empty.")),
            Value::Object(fields) => {
                for (field, value) in fields {
                    let value = value.as_str().ok_or_else(sound)?.to_owned();
                    self.conditions.push(Condition::Is { field: field.to_ascii_lowercase(), value });
                }
                Ok(())
            }
            Value::Array(words) => {
                let kind = words.first().and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
                let [_, first, second] = words.as_slice() else {
                    return Err(invalid("Invalid condition: three values are needed."));
                };
                if kind == "content-length-range" {
                    let number = |value: &Value| match value {
                        Value::Number(number) => number.as_u64(),
                        Value::String(text) => text.parse().ok(),
                        _ => None,
                    };
                    let (Some(min), Some(max)) = (number(first), number(second)) else {
                        return Err(invalid("Invalid content-length-range."));
                    };
                    self.length = FileLength { min, max };
                    return Ok(());
                }
                let field = first.as_str().and_then(|field| field.strip_prefix('$')).ok_or_else(sound)?;
                let (field, value) =
                    (field.to_ascii_lowercase(), second.as_str().ok_or_else(sound)?.to_owned());
                self.conditions.push(match kind.as_str() {
                    "eq" => Condition::Is { field, value },
                    "starts-with" => Condition::Begins { field, value },
                    _ => return Err(invalid("Invalid condition operator.")),
                });
                Ok(())
            }
            _ => Err(invalid("Invalid condition.")),
        }
    }

    /// Judges the fields of a form (`bucket` among them).
    pub(super) fn check(&self, fields: &[(String, String)], now_seconds: i64) -> Result<(), Refusal> {
        if now_seconds > self.expires_seconds {
            return Err(against("Policy expired."));
        }
        let value =
            |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        for condition in &self.conditions {
            let (held, shown) = match condition {
                Condition::Is { field, value: wanted } => {
                    (value(field) == Some(wanted.as_str()), format!("[\"eq\", \"${field}\", \"{wanted}\"]"))
                }
                Condition::Begins { field, value: wanted } => {
                    let begins = match value(field) {
                        // AWS takes a list of content types when each begins so.
                        Some(list) if field == "content-type" => {
                            list.split(',').all(|word| word.trim().starts_with(wanted.as_str()))
                        }
                        Some(text) => text.starts_with(wanted.as_str()),
                        None => wanted.is_empty(),
                    };
                    (begins, format!("[\"starts-with\", \"${field}\", \"{wanted}\"]"))
                }
            };
            if !held {
                return Err(against(format!("Policy Condition failed: {shown}")));
            }
        }
        for (field, _) in fields {
            if !self.speaks_of(field) {
                return Err(against(format!("Extra input fields: {field}")));
            }
        }
        Ok(())
    }

    fn speaks_of(&self, name: &str) -> bool {
        let free =
            matches!(name, "policy" | "signature" | "awsaccesskeyid" | "x-amz-signature" | "file" | "submit");
        // A checksum binds the sender alone.
        free || name.starts_with("x-ignore-")
            || name.starts_with("x-amz-checksum-")
            || self.conditions.iter().any(|condition| match condition {
                Condition::Is { field, .. } | Condition::Begins { field, .. } => field == name,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{FileLength, Policy};

    fn policy(conditions: &str) -> Policy {
        let text = format!(r#"{{"expiration":"2030-01-01T00:00:00Z","conditions":[{conditions}]}}"#);
        Policy::parse(text.as_bytes()).map_err(|refusal| refusal.message).unwrap()
    }

    fn judged(policy: &Policy, fields: &[(&str, &str)]) -> bool {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        policy.check(&fields, 0).is_ok()
    }

    #[test]
    fn every_field_must_be_spoken_of_and_fit() {
        let policy = policy(r#"{"bUcKeT":"b"},["starts-with","$key","up/"],["content-length-range",1,"9"]"#);
        assert_eq!(policy.length, FileLength { min: 1, max: 9 });
        assert!(judged(&policy, &[("bucket", "b"), ("key", "up/x"), ("x-ignore-y", "1"), ("policy", "p")]));
        assert!(!judged(&policy, &[("bucket", "c"), ("key", "up/x")]));
        assert!(!judged(&policy, &[("bucket", "b"), ("key", "down/x")]));
        assert!(!judged(&policy, &[("bucket", "b"), ("key", "up/x"), ("acl", "public-read")]));
        assert!(!judged(&policy, &[("key", "up/x")]));
        assert!(policy.check(&[], 4_000_000_000).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"expiration":"tomorrow","conditions":[{"bucket":"b"}]}"#,
            r#"{"EXPIRATION":"2030-01-01T00:00:00Z","conditions":[{"bucket":"b"}]}"#,
            r#"{"expiration":"2030-01-01T00:00:00Z"}"#,
            r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[]}"#,
            r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["content-length-range",1]]}"#,
            r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["content-length-range",-1,5]]}"#,
            r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["like","$key","x"]]}"#,
            r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq","key","x"]]}"#,
        ] {
            assert!(Policy::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
