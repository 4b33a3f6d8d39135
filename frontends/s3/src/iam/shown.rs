//! Entities as the API shows them.

use gw_store::{AccessKeyInfo, IamBody, IamEntity, PolicyVersion, TemporaryCredential};
use gw_types::Timestamp;

use super::tree::Node;
use crate::dates::to_s3;

/// A time as ISO 8601, in whole seconds.
pub(super) fn time(at: Timestamp) -> Node {
    let mut text = Vec::new();
    let whole = Timestamp(at.0 - at.0.rem_euclid(1_000_000_000));
    let printed = to_s3(whole).format(s3s::dto::TimestampFormat::DateTime, &mut text).is_ok();
    let text = String::from_utf8(text).ok().filter(|_| printed).unwrap_or_default();
    Node::Text(text.replace(".000Z", "Z"))
}

pub(super) fn tags(tags: &[(String, String)]) -> Node {
    let one = |(key, value): &(String, String)| {
        Node::Map(vec![("Key", Node::text(key.as_str())), ("Value", Node::text(value.as_str()))])
    };
    Node::List(tags.iter().map(one).collect())
}

/// As in lists.
pub(super) fn entity(account: &str, entity: &IamEntity) -> Node {
    let (name, id) = match entity.body {
        IamBody::User { .. } => ("UserName", "UserId"),
        IamBody::Group => ("GroupName", "GroupId"),
        IamBody::Role { .. } => ("RoleName", "RoleId"),
        IamBody::Policy { .. } => ("PolicyName", "PolicyId"),
    };
    let mut fields = vec![
        ("Path", Node::text(entity.path.as_str())),
        (name, Node::text(entity.name.as_str())),
        (id, Node::text(entity.id.as_str())),
        ("Arn", Node::Text(entity.arn(account))),
        ("CreateDate", time(entity.created)),
    ];
    match &entity.body {
        IamBody::Role { trust, session_seconds_max, .. } => {
            fields.push(("AssumeRolePolicyDocument", Node::Document(trust.clone())));
            fields.push(("MaxSessionDuration", Node::Number(u64::from(*session_seconds_max))));
        }
        IamBody::Policy { default, updated, .. } => {
            fields.push(("DefaultVersionId", Node::Text(format!("v{default}"))));
            fields.push(("IsAttachable", Node::Flag(true)));
            fields.push(("UpdateDate", time(*updated)));
        }
        IamBody::User { .. } | IamBody::Group => {}
    }
    if !entity.description.is_empty() {
        fields.push(("Description", Node::text(entity.description.as_str())));
    }
    if !entity.tags.is_empty() {
        fields.push(("Tags", tags(&entity.tags)));
    }
    Node::Map(fields)
}

pub(super) fn version(version: &PolicyVersion, default: u32, with_text: bool) -> Node {
    let mut fields = Vec::new();
    if with_text {
        fields.push(("Document", Node::Document(version.document.clone())));
    }
    fields.push(("VersionId", Node::Text(format!("v{}", version.number))));
    fields.push(("IsDefaultVersion", Node::Flag(version.number == default)));
    fields.push(("CreateDate", time(version.created)));
    Node::Map(fields)
}

pub(super) fn access_key(user: &str, info: &AccessKeyInfo) -> Vec<(&'static str, Node)> {
    vec![
        ("UserName", Node::text(user)),
        ("AccessKeyId", Node::text(info.access_key.as_str())),
        ("Status", Node::text(if info.active { "Active" } else { "Inactive" })),
        ("CreateDate", time(info.created)),
    ]
}

pub(super) fn credentials(made: &TemporaryCredential) -> Node {
    Node::Map(vec![
        ("AccessKeyId", Node::text(made.access_key.as_str())),
        ("SecretAccessKey", Node::text(made.secret.expose())),
        ("SessionToken", Node::text(made.token.as_str())),
        ("Expiration", time(made.expires)),
    ])
}

#[cfg(test)]
mod tests {
    use gw_types::Timestamp;

    use super::time;
    use crate::iam::tree::Node;

    #[test]
    fn times_are_whole_seconds_of_iso_8601() {
        assert_eq!(time(Timestamp(1_440_938_160_999_999_999)), Node::text("2015-08-30T12:36:00Z"));
    }
}
