//! Users and the secrets of their keys.
//!
//! A secret is sealed under the root key before it becomes a row and opened for the first request
//! that needs it; then it stays in memory, in a cache with a named maximum, until it is pushed out
//! or the user is removed. No verb returns it again once it was made.

use std::collections::HashMap;
use std::sync::Arc;

use gw_types::{Action, Authenticated, StreamId};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::access;
use crate::api::{AccessKeyInfo, Credential, NewCredential, Secret, UserInfo, UserSpec};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, AccessKeyRow, UserRow, key};

/// Users of one listing. Everything that lists users is for people.
const USERS_MAX: usize = 10_000;
const ACCESS_KEY_LEN: usize = 20;
const SECRET_LEN: usize = 40;

/// Opened secrets by access key.
#[derive(Debug)]
pub(crate) struct CredentialCache {
    max: usize,
    state: RwLock<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    /// Counts removals, so that a secret read before one is not kept after it.
    removals: u64,
    open: HashMap<String, Arc<Credential>>,
}

impl CredentialCache {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, state: RwLock::default() }
    }
    fn get(&self, access_key: &str) -> Result<Arc<Credential>, u64> {
        let state = self.state.read();
        state.open.get(access_key).cloned().ok_or(state.removals)
    }
    fn put(&self, access_key: &str, credential: &Arc<Credential>, removals: u64) {
        let mut state = self.state.write();
        if state.removals != removals {
            return;
        }
        if state.open.len() >= self.max {
            // All are opened again when they are used: crude, bounded, and never hit in practice.
            state.open.clear();
        }
        state.open.insert(access_key.to_owned(), credential.clone());
    }
    fn clear(&self) {
        let mut state = self.state.write();
        state.removals += 1;
        state.open.clear();
    }
}

fn purpose(access_key: &str) -> String {
    format!("credential/{access_key}")
}

impl Core {
    pub(crate) async fn credential(&self, access_key: &str) -> StoreResult<Option<Arc<Credential>>> {
        let removals = match self.credentials.get(access_key) {
            Ok(credential) => return Ok(Some(credential)),
            Err(removals) => removals,
        };
        let row: Option<AccessKeyRow> =
            rows::load(&self.snapshot(), "access key", &key::access_key(access_key))?;
        let Some(row) = row else { return Ok(None) };
        let plain = Zeroizing::new(self.keys.open_record(&purpose(access_key), &row.sealed_secret).await?);
        let secret = std::str::from_utf8(&plain)
            .map_err(|_| StoreError::corrupt("the secret of an access key is not text"))?;
        let credential = Arc::new(Credential { user: row.user.into(), secret: Secret::new(secret) });
        self.credentials.put(access_key, &credential, removals);
        Ok(Some(credential))
    }

    pub(crate) async fn user_add(&self, who: &Authenticated, spec: UserSpec) -> StoreResult<NewCredential> {
        access::decide(&self.snapshot(), who, Action::Administer)?;
        check_spec(&spec)?;
        let access_key = match spec.access_key {
            Some(access_key) => access_key,
            None => self.random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ACCESS_KEY_LEN)?,
        };
        let secret = match spec.secret {
            Some(secret) => secret,
            None => Secret::new(self.random_text(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-",
                SECRET_LEN,
            )?),
        };
        let sealed_secret = self.keys.seal_record(&purpose(&access_key), secret.expose().as_bytes()).await?;
        let done = self.commit(|work| {
            access::decide(&*work.txn, who, Action::Administer)?;
            let (user_key, access_row) = (key::user(&spec.name), key::access_key(&access_key));
            if work.txn.get(&user_key)?.is_some() || work.txn.get(&access_row)?.is_some() {
                return Err(StoreErrorKind::UserExists.into());
            }
            let created = work.now;
            let user = UserRow { admin: spec.admin, created, access_keys: vec![access_key.clone()] };
            work.put_row(user_key, &user);
            work.put_row(access_row, &AccessKeyRow { user: spec.name.clone(), created, sealed_secret });
            Ok(())
        })?;
        self.settle(done.lsn, StreamId::default(), gw_types::Level::Staged).await?;
        Ok(NewCredential { access_key, secret })
    }

    fn random_text(&self, alphabet: &[u8], len: usize) -> StoreResult<String> {
        let mut bytes = Zeroizing::new(vec![0; len]);
        self.keys.random(&mut bytes)?;
        // Both alphabets have a power of two letters, so no letter is likelier than another.
        assert!(alphabet.len().is_power_of_two());
        Ok(bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect())
    }

    pub(crate) fn user_list(&self, who: &Authenticated) -> StoreResult<Vec<UserInfo>> {
        let snapshot = self.snapshot();
        access::decide(&snapshot, who, Action::Administer)?;
        let mut users = Vec::new();
        for (row_key, value) in rows::under(&snapshot, &key::users(), &[], USERS_MAX)? {
            let row: UserRow = rows::decode("user", &value)?;
            let name = std::str::from_utf8(&row_key[1..])
                .map_err(|_| StoreError::corrupt("a user's name is not text"))?;
            let mut access_keys = Vec::new();
            for access_key in row.access_keys {
                let found: AccessKeyRow = rows::must(&snapshot, "access key", &key::access_key(&access_key))?;
                access_keys.push(AccessKeyInfo { access_key, created: found.created });
            }
            users.push(UserInfo {
                name: name.to_owned(),
                admin: row.admin,
                created: row.created,
                access_keys,
            });
        }
        Ok(users)
    }

    pub(crate) async fn user_remove(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        let done = self.commit(|work| {
            access::decide(&*work.txn, who, Action::Administer)?;
            let user_key = key::user(name);
            let row: UserRow =
                rows::load(&*work.txn, "user", &user_key)?.ok_or(StoreErrorKind::NoSuchUser)?;
            for access_key in &row.access_keys {
                work.txn.delete(key::access_key(access_key));
            }
            work.txn.delete(user_key);
            Ok(())
        })?;
        self.credentials.clear();
        self.settle(done.lsn, StreamId::default(), gw_types::Level::Staged).await
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
