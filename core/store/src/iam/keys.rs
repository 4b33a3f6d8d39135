//! Access keys: whose they are, their sealed secrets, and when they were last used.
//!
//! A secret is sealed under the root key before it becomes a row and opened for the first request
//! that needs it; then it stays in memory, in a cache with a named maximum, until it is pushed out
//! or something about keys changes. No verb returns it again once it was made. Temporary keys have
//! no row at all: see [`super::sessions`].

use std::collections::HashMap;
use std::sync::Arc;

use gw_db::Read;
use gw_types::{Actor, Authenticated, Level, StreamId, Timestamp};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use super::{BASE32, limit, no_such};
use crate::api::{AccessKeyInfo, Credential, IamBody, IamEntity, IamKind, KeyUse, NewCredential, Secret};
use crate::core::{Core, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, AccessKeyRow, UserRow, key};

/// AWS: "Access keys assigned to an IAM user".
const KEYS_MAX: usize = 2;
/// Keys of an account itself, which operators may make more of.
const ACCOUNT_KEYS_MAX: usize = 10;
const SECRET_LEN: usize = 40;
const SECRET_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
/// Between two notes of a key's use.
const USE_NOTED_EVERY_SECONDS: i64 = 900;

/// Opened secrets by access key, those of sessions by token too.
#[derive(Debug)]
pub(crate) struct CredentialCache {
    max: usize,
    state: RwLock<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    /// Counts changes, so that a secret read before one is not kept after it.
    changes: u64,
    open: HashMap<String, Kept>,
    /// When the use of a key was last noted.
    used: HashMap<String, i64>,
}

#[derive(Debug)]
struct Kept {
    credential: Arc<Credential>,
    /// The token of a session; empty for other keys.
    token: String,
}

impl CredentialCache {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, state: RwLock::default() }
    }
    /// What is kept for a key and its token, or the number of changes so far.
    pub(super) fn get(&self, access_key: &str, token: &str) -> Result<Arc<Credential>, u64> {
        let state = self.state.read();
        let kept = state.open.get(access_key).filter(|kept| kept.token == token);
        kept.map(|kept| Arc::clone(&kept.credential)).ok_or(state.changes)
    }
    pub(super) fn put(&self, (access_key, token): (&str, &str), credential: &Arc<Credential>, changes: u64) {
        let mut state = self.state.write();
        if state.changes != changes {
            return;
        }
        if state.open.len() >= self.max {
            // All are opened again when they are used: crude, bounded, and never hit in practice.
            state.open.clear();
        }
        let kept = Kept { credential: Arc::clone(credential), token: token.to_owned() };
        state.open.insert(access_key.to_owned(), kept);
    }
    pub(crate) fn clear(&self) {
        let mut state = self.state.write();
        state.changes += 1;
        state.open.clear();
    }
    /// Whether it is time to note that the key is used.
    fn is_note_due(&self, access_key: &str, now_seconds: i64) -> bool {
        let due =
            |noted: Option<&i64>| noted.is_none_or(|noted| now_seconds - noted >= USE_NOTED_EVERY_SECONDS);
        if !due(self.state.read().used.get(access_key)) {
            return false;
        }
        let mut state = self.state.write();
        if !due(state.used.get(access_key)) {
            return false;
        }
        if state.used.len() >= self.max {
            state.used.clear();
        }
        state.used.insert(access_key.to_owned(), now_seconds);
        true
    }
}

fn purpose(access_key: &str) -> String {
    format!("credential/{access_key}")
}

/// An access key that is being made: sealed before the commit that writes it.
pub(crate) struct FreshKey {
    pub(crate) made: NewCredential,
    sealed_secret: Vec<u8>,
}

impl Core {
    /// The credential behind a long-lived key; `None`: there is none, or it is switched off.
    pub(crate) async fn credential(&self, access_key: &str) -> StoreResult<Option<Arc<Credential>>> {
        let changes = match self.credentials.get(access_key, "") {
            Ok(credential) => return Ok(Some(credential)),
            Err(changes) => changes,
        };
        let snapshot = self.snapshot();
        let row: Option<AccessKeyRow> = rows::load(&snapshot, "access key", &key::access_key(access_key))?;
        let Some(row) = row.filter(|row| row.active) else { return Ok(None) };
        let user: UserRow = rows::must(&snapshot, "user", &key::user(&row.user))?;
        let plain = Zeroizing::new(self.keys.open_record(&purpose(access_key), &row.sealed_secret).await?);
        let secret = std::str::from_utf8(&plain)
            .map_err(|_| StoreError::corrupt("the secret of an access key is not text"))?;
        let credential = Arc::new(Credential {
            user: row.user.into(),
            actor: row.of.map_or(Actor::Account, |name| Actor::User(name.into())),
            secret: Secret::new(secret),
            session: None,
            limits: user.limits,
        });
        self.credentials.put((access_key, ""), &credential, changes);
        Ok(Some(credential))
    }

    /// Makes a key's text and seals its secret.
    pub(crate) async fn fresh_key(
        &self,
        access_key: Option<String>,
        secret: Option<Secret>,
    ) -> StoreResult<FreshKey> {
        let access_key = match access_key {
            Some(access_key) => access_key,
            None => format!("AKIA{}", self.random_text(BASE32, 16)?),
        };
        let secret = match secret {
            Some(secret) => secret,
            None => self.random_secret()?,
        };
        let sealed_secret = self.keys.seal_record(&purpose(&access_key), secret.expose().as_bytes()).await?;
        Ok(FreshKey { made: NewCredential { access_key, secret }, sealed_secret })
    }

    pub(crate) fn random_secret(&self) -> StoreResult<Secret> {
        Ok(Secret::new(self.random_text(SECRET_LETTERS, SECRET_LEN)?))
    }

    pub(crate) fn random_text(&self, alphabet: &[u8], len: usize) -> StoreResult<String> {
        let mut bytes = Zeroizing::new(vec![0; len]);
        self.keys.random(&mut bytes)?;
        // All alphabets have a power of two letters, so no letter is likelier than another.
        assert!(alphabet.len().is_power_of_two());
        Ok(bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect())
    }

    /// Notes that a key was used; at most each quarter of an hour, and not waited for.
    pub(crate) fn key_used(&self, access_key: &str, service: &str, region: &str) -> StoreResult<()> {
        let now = self.clock.now();
        if !self.credentials.is_note_due(access_key, now.unix_seconds()) {
            return Ok(());
        }
        self.commit(|work| {
            // A temporary key has no row, and a key that is gone meanwhile leaves none behind.
            if work.txn.get(&key::access_key(access_key))?.is_some() {
                let (service, region) = (service.to_owned(), region.to_owned());
                work.put_row(key::last_use(access_key), &KeyUse { at: work.now, service, region });
            }
            Ok(())
        })?;
        Ok(())
    }

    pub(crate) async fn access_key_create(
        &self,
        who: &Authenticated,
        of: Option<&str>,
    ) -> StoreResult<(NewCredential, AccessKeyInfo)> {
        Keyring::open(self, &self.snapshot(), who, of, "iam:CreateAccessKey")?;
        let fresh = self.fresh_key(None, None).await?;
        let done = self.commit(|work| {
            let mut ring = Keyring::open(self, &*work.txn, who, of, "iam:CreateAccessKey")?;
            let max = if ring.entity.is_some() { KEYS_MAX } else { ACCOUNT_KEYS_MAX };
            if ring.keys().len() >= max {
                return Err(limit(format!("Cannot exceed quota for AccessKeysPerUser: {max}")));
            }
            ring.keys_mut().push(fresh.made.access_key.clone());
            work.put_key(&ring.account, ring.name(), &fresh)?;
            ring.write(work);
            Ok(work.now)
        })?;
        self.settle(done.lsn, StreamId::default(), Level::Staged).await?;
        let info =
            AccessKeyInfo { access_key: fresh.made.access_key.clone(), created: done.value, active: true };
        Ok((fresh.made, info))
    }

    pub(crate) fn access_keys(
        &self,
        who: &Authenticated,
        of: Option<&str>,
    ) -> StoreResult<Vec<AccessKeyInfo>> {
        let snapshot = self.snapshot();
        let ring = Keyring::open(self, &snapshot, who, of, "iam:ListAccessKeys")?;
        infos(&snapshot, ring.keys())
    }

    pub(crate) async fn access_key_set(
        &self,
        who: &Authenticated,
        (of, access_key): (Option<&str>, &str),
        active: bool,
    ) -> StoreResult<()> {
        let done = self.commit(|work| {
            let ring = Keyring::open(self, &*work.txn, who, of, "iam:UpdateAccessKey")?;
            ring.find(access_key)?;
            let row_key = key::access_key(access_key);
            let mut row: AccessKeyRow = rows::must(&*work.txn, "access key", &row_key)?;
            row.active = active;
            work.put_row(row_key, &row);
            Ok(())
        })?;
        self.credentials.clear();
        self.settle(done.lsn, StreamId::default(), Level::Staged).await
    }

    pub(crate) async fn access_key_delete(
        &self,
        who: &Authenticated,
        (of, access_key): (Option<&str>, &str),
    ) -> StoreResult<()> {
        let done = self.commit(|work| {
            let mut ring = Keyring::open(self, &*work.txn, who, of, "iam:DeleteAccessKey")?;
            let at = ring.find(access_key)?;
            ring.keys_mut().remove(at);
            work.drop_key(access_key)?;
            ring.write(work);
            Ok(())
        })?;
        self.credentials.clear();
        self.settle(done.lsn, StreamId::default(), Level::Staged).await
    }

    /// Whose a key is, and when it was last used.
    pub(crate) fn access_key_last_used(
        &self,
        who: &Authenticated,
        access_key: &str,
    ) -> StoreResult<(String, Option<KeyUse>)> {
        let snapshot = self.snapshot();
        let row: Option<AccessKeyRow> = rows::load(&snapshot, "access key", &key::access_key(access_key))?;
        let row = row.filter(|row| Some(row.user.as_str()) == who.name());
        let of = row.as_ref().and_then(|row| row.of.as_deref());
        let ring = Keyring::open(self, &snapshot, who, of, "iam:GetAccessKeyLastUsed")?;
        ring.find(access_key)?;
        let name = ring.name().unwrap_or(&ring.account).to_owned();
        Ok((name, rows::load(&snapshot, "last use", &key::last_use(access_key))?))
    }
}

pub(crate) fn infos(read: &impl Read, keys: &[String]) -> StoreResult<Vec<AccessKeyInfo>> {
    let info = |access_key: &String| {
        let row: AccessKeyRow = rows::must(read, "access key", &key::access_key(access_key))?;
        Ok(AccessKeyInfo { access_key: access_key.clone(), created: row.created, active: row.active })
    };
    keys.iter().map(info).collect()
}

/// Where the names of somebody's keys stand: with a user, or with the account itself.
struct Keyring {
    account: String,
    row: UserRow,
    entity: Option<IamEntity>,
}

impl Keyring {
    /// Of the user named, else of whoever asks.
    fn open(
        core: &Core,
        read: &impl Read,
        who: &Authenticated,
        of: Option<&str>,
        action: &str,
    ) -> StoreResult<Self> {
        let own = match who.actor() {
            Actor::User(name) => Some(&**name),
            Actor::Account => None,
            Actor::Role { .. } if of.is_none() => {
                return Err(StoreError::invalid(
                    "Must specify userName when calling with non-User credentials",
                ));
            }
            Actor::Role { .. } => None,
        };
        let (account, entity) = match of.or(own) {
            Some(name) => {
                let (account, entity) = core.iam_entity(read, who, (IamKind::User, name), action)?;
                (account, Some(entity))
            }
            None => {
                (core.iam_allow(read, who, action, |account| format!("arn:aws:iam::{account}:root"))?, None)
            }
        };
        let row = rows::must(read, "user", &key::user(account))?;
        Ok(Self { account: account.to_owned(), row, entity })
    }
    fn name(&self) -> Option<&str> {
        self.entity.as_ref().map(|entity| entity.name.as_str())
    }
    fn keys(&self) -> &[String] {
        match self.entity.as_ref().map(|entity| &entity.body) {
            Some(IamBody::User { access_keys, .. }) => access_keys,
            _ => &self.row.access_keys,
        }
    }
    fn keys_mut(&mut self) -> &mut Vec<String> {
        match self.entity.as_mut().map(|entity| &mut entity.body) {
            Some(IamBody::User { access_keys, .. }) => access_keys,
            _ => &mut self.row.access_keys,
        }
    }
    fn find(&self, access_key: &str) -> StoreResult<usize> {
        self.keys().iter().position(|given| given == access_key).ok_or_else(|| {
            let message = format!("The Access Key with id {access_key} cannot be found.");
            StoreError::new(StoreErrorKind::NoSuchUser, message)
        })
    }
    fn write(&self, work: &mut Work<'_, '_>) {
        match &self.entity {
            Some(entity) => work.put_entity(&self.account, entity),
            None => work.put_row(key::user(&self.account), &self.row),
        }
    }
}

impl Work<'_, '_> {
    /// Writes a new key; `UserExists` where there is one of its name.
    pub(crate) fn put_key(&mut self, account: &str, of: Option<&str>, fresh: &FreshKey) -> StoreResult<()> {
        let row_key = key::access_key(&fresh.made.access_key);
        if self.txn.get(&row_key)?.is_some() {
            return Err(StoreErrorKind::UserExists.into());
        }
        let row = AccessKeyRow {
            user: account.to_owned(),
            of: of.map(str::to_owned),
            created: self.now,
            active: true,
            sealed_secret: fresh.sealed_secret.clone(),
        };
        self.put_row(row_key, &row);
        Ok(())
    }

    pub(crate) fn drop_key(&mut self, access_key: &str) -> StoreResult<()> {
        self.txn.delete(key::access_key(access_key));
        let used = key::last_use(access_key);
        if self.txn.get(&used)?.is_some() {
            self.txn.delete(used);
        }
        Ok(())
    }
}

/// A user by its name in an account, for sessions.
pub(super) fn user_of(read: &impl Read, account: &str, name: &str) -> StoreResult<IamEntity> {
    rows::load(read, "entity", &key::entity(account, IamKind::User, name))?
        .ok_or_else(|| no_such(IamKind::User, name))
}

/// Seconds on top of a time.
pub(super) fn later(from: Timestamp, seconds: u32) -> Timestamp {
    Timestamp(from.0.saturating_add(i64::from(seconds).saturating_mul(1_000_000_000)))
}
