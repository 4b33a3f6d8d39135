//! Users and their keys as callers see them.

use std::fmt;
use std::sync::Arc;

use gw_types::Timestamp;
use zeroize::{Zeroize, ZeroizeOnDrop};

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

/// What a frontend needs to verify a signature.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Name of the user, for [`gw_types::Authenticated::user`].
    pub user: Arc<str>,
    /// Its key's secret.
    pub secret: Secret,
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
}

/// A user.
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
}
