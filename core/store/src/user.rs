//! Accounts: made, listed, set and removed by the operator.
//!
//! An account owns buckets and objects and has keys of its own, which may everything with them; users
//! and roles in it are [`crate::iam`]'s. It is what quotas are of: a tenant is an account.

use gw_types::{Authenticated, Level, StreamId};

use crate::access;
use crate::api::{AccountSettings, IamBody, IamEntity, NewCredential, Quota, UserInfo, UserSpec};
use crate::core::{Core, load_account_usage};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::iam;
use crate::rows::{self, UserRow, key};

/// Accounts of one listing. Everything that lists accounts is for people.
const USERS_MAX: usize = 10_000;
/// Rows of entities read at once.
const SCAN_PAGE: usize = 256;

impl Core {
    pub(crate) async fn user_add(&self, who: &Authenticated, spec: UserSpec) -> StoreResult<NewCredential> {
        access::decide_admin(&self.snapshot(), who)?;
        check_spec(&spec)?;
        let fresh = self.fresh_key(spec.access_key, spec.secret).await?;
        let done = self.commit(|work| {
            access::decide_admin(&*work.txn, who)?;
            let user_key = key::user(&spec.name);
            if work.txn.get(&user_key)?.is_some() {
                return Err(StoreErrorKind::UserExists.into());
            }
            work.put_key(&spec.name, None, &fresh)?;
            let user = UserRow {
                admin: spec.admin,
                created: work.now,
                access_keys: vec![fresh.made.access_key.clone()],
                quota: Quota::default(),
                limits: crate::api::KeyLimits::default(),
            };
            work.put_row(user_key, &user);
            Ok(())
        })?;
        self.settle(done.lsn, StreamId::default(), Level::Staged).await?;
        Ok(fresh.made)
    }

    pub(crate) fn user_list(&self, who: &Authenticated) -> StoreResult<Vec<UserInfo>> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let mut users = Vec::new();
        for (row_key, value) in rows::under(&snapshot, &key::users(), &[], USERS_MAX)? {
            let row: UserRow = rows::decode("user", &value)?;
            let name = std::str::from_utf8(&row_key[1..])
                .map_err(|_| StoreError::corrupt("a user's name is not text"))?;
            users.push(UserInfo {
                name: name.to_owned(),
                admin: row.admin,
                created: row.created,
                access_keys: iam::infos(&snapshot, &row.access_keys)?,
                quota: row.quota,
                limits: row.limits,
                usage: load_account_usage(&snapshot, name)?.unwrap_or_default(),
            });
        }
        Ok(users)
    }

    /// Sets what the operator sets of an account.
    pub(crate) async fn user_set(
        &self,
        who: &Authenticated,
        name: &str,
        settings: AccountSettings,
    ) -> StoreResult<()> {
        let done = self.commit(|work| {
            access::decide_admin(&*work.txn, who)?;
            let user_key = key::user(name);
            let mut row: UserRow =
                rows::load(&*work.txn, "user", &user_key)?.ok_or(StoreErrorKind::NoSuchUser)?;
            row.quota = settings.quota.unwrap_or(row.quota);
            row.limits = settings.limits.unwrap_or(row.limits);
            work.put_row(user_key, &row);
            Ok(())
        })?;
        self.credentials.clear();
        self.settle(done.lsn, StreamId::default(), Level::Staged).await
    }

    pub(crate) async fn user_remove(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        // What is in the account goes first, a page at a time: a commit is to be short.
        loop {
            let done = self.commit(|work| {
                access::decide_admin(&*work.txn, who)?;
                let entities = rows::under(&*work.txn, &key::all_entities(name), &[], SCAN_PAGE)?;
                for (row_key, value) in &entities {
                    let entity: IamEntity = rows::decode("entity", value)?;
                    if let IamBody::User { access_keys, .. } = entity.body {
                        for access_key in &access_keys {
                            work.drop_key(access_key)?;
                        }
                    }
                    work.txn.delete(row_key.to_vec());
                }
                if !entities.is_empty() {
                    return Ok(false);
                }
                let user_key = key::user(name);
                let row: UserRow =
                    rows::load(&*work.txn, "user", &user_key)?.ok_or(StoreErrorKind::NoSuchUser)?;
                for access_key in &row.access_keys {
                    work.drop_key(access_key)?;
                }
                let revision = key::revision(name);
                if work.txn.get(&revision)?.is_some() {
                    work.txn.delete(revision);
                }
                work.txn.delete(user_key);
                Ok(true)
            })?;
            self.credentials.clear();
            if done.value {
                return self.settle(done.lsn, StreamId::default(), Level::Staged).await;
            }
        }
    }
}

fn check_spec(spec: &UserSpec) -> StoreResult<()> {
    let within = |text: &str, len: std::ops::RangeInclusive<usize>, more: &str| {
        len.contains(&text.len())
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
    };
    if !within(&spec.name, 1..=64, "+=,.@_-$") {
        return Err(StoreError::invalid("a user's name has 1 to 64 letters, digits or any of +=,.@_-$"));
    }
    if spec.access_key.as_ref().is_some_and(|access_key| !within(access_key, 3..=128, "_-")) {
        return Err(StoreError::invalid("an access key has 3 to 128 letters, digits, '_' or '-'"));
    }
    if spec.secret.as_ref().is_some_and(|secret| !(8..=128).contains(&secret.expose().len())) {
        return Err(StoreError::invalid("a secret has 8 to 128 bytes"));
    }
    Ok(())
}
