//! What the admin API answers about accounts, and about what is in them.

use gw_s3::IamActs;
use gw_store::{AccountSettings, KeyLimits, Quota, UserInfo, UserSpec};
use http::StatusCode;

use super::routes::{Gateway, Refused, Verb, admin, bad, read};
use super::wire::{IamAct, UserAdd, UserAdded, UserLine, UserSet};

impl Gateway {
    pub(super) async fn users(&self) -> Verb<Vec<UserLine>> {
        let users = self.core.store.user_list(&admin()).await?;
        Ok(users.into_iter().map(user_line).collect())
    }

    pub(super) async fn user_add(&self, body: &[u8]) -> Verb<UserAdded> {
        let add: UserAdd = read(body)?;
        let spec = UserSpec { name: add.name, admin: add.admin, access_key: None, secret: None };
        let made = self.core.store.user_add(&admin(), spec).await?;
        Ok(UserAdded { access_key: made.access_key, secret_key: made.secret.expose().to_owned() })
    }

    pub(super) async fn user_set(&self, name: &str, body: &[u8]) -> Verb<UserLine> {
        let set: UserSet = read(body)?;
        let find = async || -> Verb<UserInfo> {
            let users = self.core.store.user_list(&admin()).await?;
            let found = users.into_iter().find(|user| user.name == name);
            found.ok_or_else(|| Refused(StatusCode::NOT_FOUND, "the user does not exist".to_owned()))
        };
        let before = find().await?;
        let requests = |rate: u64| u32::try_from(rate).map_err(|_| bad("that many requests are no limit"));
        let requests = set.requests_per_second.map(|rate| rate.map(requests).transpose()).transpose()?;
        let settings = AccountSettings {
            quota: Some(Quota {
                bytes_max: set.bytes_max.unwrap_or(before.quota.bytes_max),
                objects_max: set.objects_max.unwrap_or(before.quota.objects_max),
            }),
            limits: Some(KeyLimits {
                requests_per_second: requests.unwrap_or(before.limits.requests_per_second),
                bytes_per_second: set.bytes_per_second.unwrap_or(before.limits.bytes_per_second),
            }),
        };
        if (settings.quota, settings.limits) != (Some(before.quota), Some(before.limits)) {
            self.core.store.user_set(&admin(), name, settings).await?;
        }
        Ok(user_line(find().await?))
    }

    pub(super) async fn iam(&self, body: &[u8]) -> Verb<serde_json::Value> {
        let IamAct { account, action, params } = read(body)?;
        let acts = IamActs::new(self.core.store.clone());
        acts.act(&account, &action, params).await.map_err(|refusal| {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Refused(status, format!("{}: {}", refusal.code, refusal.message))
        })
    }

    pub(super) async fn user_remove(&self, name: &str) -> Verb<()> {
        Ok(self.core.store.user_remove(&admin(), name).await?)
    }

    /// How full the accounts with a quota are.
    pub(super) async fn quota_metrics(&self) -> String {
        let users = self.core.store.user_list(&admin()).await.unwrap_or_default();
        quota_gauges(&users)
    }
}

/// Accounts in the metrics.
const QUOTA_GAUGES_MAX: usize = 1000;

/// Names of accounts hold no letter that the format would have to escape.
fn quota_gauges(users: &[UserInfo]) -> String {
    type Pick = fn(&UserInfo) -> Option<u64>;
    let gauges: [(&str, &str, Pick); 4] = [
        ("cess_gateway_account_bytes", "Bytes in an account's buckets, where it has a quota.", |user| {
            Some(user.usage.bytes + user.usage.upload_bytes)
        }),
        ("cess_gateway_account_bytes_max", "Their limit.", |user| user.quota.bytes_max),
        ("cess_gateway_account_objects", "Objects and noncurrent versions in them.", |user| {
            Some(user.usage.objects + user.usage.noncurrent)
        }),
        ("cess_gateway_account_objects_max", "Their limit.", |user| user.quota.objects_max),
    ];
    let limited: Vec<_> =
        users.iter().filter(|user| user.quota != Quota::default()).take(QUOTA_GAUGES_MAX).collect();
    let mut text = String::new();
    for (name, help, pick) in gauges.iter().filter(|_| !limited.is_empty()) {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for user in &limited {
            if let Some(value) = pick(user) {
                text.push_str(&format!("{name}{{account=\"{}\"}} {value}\n", user.name));
            }
        }
    }
    text
}

fn user_line(user: UserInfo) -> UserLine {
    UserLine {
        name: user.name,
        admin: user.admin,
        created: user.created.unix_seconds(),
        access_keys: user.access_keys.into_iter().map(|key| key.access_key).collect(),
        objects: user.usage.objects + user.usage.noncurrent,
        bytes: user.usage.bytes + user.usage.upload_bytes,
        bytes_max: user.quota.bytes_max,
        objects_max: user.quota.objects_max,
        requests_per_second: user.limits.requests_per_second.map(u64::from),
        bytes_per_second: user.limits.bytes_per_second,
    }
}

#[cfg(test)]
mod tests {
    use gw_store::{KeyLimits, Quota, Usage, UserInfo};
    use gw_types::Timestamp;

    use super::quota_gauges;

    #[test]
    fn only_accounts_with_a_quota_are_in_the_metrics() {
        let user = |name: &str, bytes_max| UserInfo {
            name: name.to_owned(),
            admin: false,
            created: Timestamp(0),
            access_keys: Vec::new(),
            quota: Quota { bytes_max, objects_max: None },
            limits: KeyLimits::default(),
            usage: Usage { bytes: 7, ..Usage::default() },
        };
        let text = quota_gauges(&[user("ann", Some(10)), user("bob", None)]);
        assert!(text.contains("cess_gateway_account_bytes{account=\"ann\"} 7\n"));
        assert!(text.contains("cess_gateway_account_bytes_max{account=\"ann\"} 10\n"));
        assert!(!text.contains("bob") && !text.contains("objects_max{"));
        assert_eq!(quota_gauges(&[user("bob", None)]), "");
    }
}
