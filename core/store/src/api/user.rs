//! Users and their keys as callers see them.

use std::fmt;
use std::sync::Arc;

use gw_types::{Actor, Authenticated, Frontend, Session, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Quota, Usage};

/// A secret access key. Shows nothing when printed and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// For the signature, and for the one print at creation.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a frontend needs to verify a signature, and whose it then is.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Name of the account.
    pub user: Arc<str>,
    /// Who within it.
    pub actor: Actor,
    /// The key's secret.
    pub secret: Secret,
    /// Where the key is a temporary one.
    pub session: Option<Arc<Session>>,
    /// How fast the key may be used, where the account has limits of its own.
    pub limits: KeyLimits,
}

impl Credential {
    /// The principal, once the signature is verified.
    pub fn principal(&self, frontend: Frontend) -> Authenticated {
        Authenticated::user(Arc::clone(&self.user), frontend)
            .acting_as(self.actor.clone())
            .in_session(self.session.clone())
    }
}

/// How fast each access key may be used. `None`: as is configured; 0: without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimits {
    /// Requests.
    pub requests_per_second: Option<u32>,
    /// Bytes of bodies, in and out together.
    pub bytes_per_second: Option<u64>,
}

/// What an operator sets of an account; `None`: as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountSettings {
    /// Upper limits over all its buckets.
    pub quota: Option<Quota>,
    /// How fast each of its keys may be used.
    pub limits: Option<KeyLimits>,
}

/// A user to add.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// 1..=64 of letters, digits and `+=,.@_-$`.
    pub name: String,
    /// May do everything.
    pub admin: bool,
    /// 3..=128 of letters, digits, `_` and `-`; `None`: random.
    pub access_key: Option<String>,
    /// 8..=128 bytes; `None`: random.
    pub secret: Option<Secret>,
}

/// A key as it is shown once, when it is made.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// Public half.
    pub access_key: String,
    /// Secret half.
    pub secret: Secret,
}

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyInfo {
    /// Public half.
    pub access_key: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is accepted.
    pub active: bool,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// Its name.
    pub name: String,
    /// May do everything.
    pub admin: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Its keys.
    pub access_keys: Vec<AccessKeyInfo>,
    /// Upper limits over all its buckets.
    pub quota: Quota,
    /// How fast each of its keys may be used.
    pub limits: KeyLimits,
    /// What all its buckets hold.
    pub usage: Usage,
}
