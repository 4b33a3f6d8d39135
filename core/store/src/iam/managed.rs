//! Managed policies by ARN: an account's own, and those that AWS has for everybody and people know by
//! heart. Of the latter the ones that make sense here are there, under AWS's names.

use gw_db::Read;

use crate::api::{IamBody, IamEntity, IamKind};
use crate::error::StoreResult;
use crate::rows::{self, key};

const OF_AWS: &str = "arn:aws:iam::aws:policy/";

/// Name and document.
const EVERYBODYS: [(&str, &str); 6] = [
    (
        "AdministratorAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
    ),
    (
        "PowerUserAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}]}"#,
    ),
    (
        "AmazonS3FullAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#,
    ),
    (
        "AmazonS3ReadOnlyAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"}]}"#,
    ),
    (
        "IAMFullAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}"#,
    ),
    (
        "IAMReadOnlyAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*"],"Resource":"*"}]}"#,
    ),
];

/// The document of a policy that everybody has.
pub(crate) fn everybodys(arn: &str) -> Option<&'static str> {
    let name = arn.strip_prefix(OF_AWS)?;
    EVERYBODYS.iter().find(|(known, _)| *known == name).map(|(_, document)| *document)
}

/// ARNs of all policies that everybody has.
pub(crate) fn all_everybodys() -> Vec<String> {
    EVERYBODYS.iter().map(|(name, _)| format!("{OF_AWS}{name}")).collect()
}

/// An account's own policy by its ARN.
pub(crate) fn own(read: &impl Read, account: &str, arn: &str) -> StoreResult<Option<IamEntity>> {
    let Some(path) = arn
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.strip_prefix(account)?.strip_prefix(":policy/"))
    else {
        return Ok(None);
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let found: Option<IamEntity> = rows::load(read, "policy", &key::entity(account, IamKind::Policy, name))?;
    Ok(found.filter(|policy| policy.arn(account) == arn))
}

/// The text that counts.
pub(crate) fn document(read: &impl Read, account: &str, arn: &str) -> StoreResult<Option<String>> {
    if let Some(document) = everybodys(arn) {
        return Ok(Some(document.to_owned()));
    }
    let Some(IamBody::Policy { versions, default, .. }) = own(read, account, arn)?.map(|policy| policy.body)
    else {
        return Ok(None);
    };
    Ok(versions.into_iter().find(|version| version.number == default).map(|version| version.document))
}

#[cfg(test)]
mod tests {
    use super::{all_everybodys, everybodys};
    use crate::access::parse_stored;

    #[test]
    fn what_everybody_has_can_be_read() {
        for arn in all_everybodys() {
            parse_stored(everybodys(&arn).unwrap()).unwrap();
        }
        assert!(everybodys("arn:aws:iam::aws:policy/Other").is_none());
    }
}
