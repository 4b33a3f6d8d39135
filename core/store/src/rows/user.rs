//! Tables 0x10 and 0x11: users by name, and access keys, each leading to its user.

use gw_types::Timestamp;
use serde::{Deserialize, Serialize};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRow {
    pub(crate) admin: bool,
    pub(crate) created: Timestamp,
    pub(crate) access_keys: Vec<String>,
}

/// An access key. The secret is sealed under the root key for the purpose
/// `credential/<access key>`, so that a row under another key opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessKeyRow {
    pub(crate) user: String,
    pub(crate) created: Timestamp,
    pub(crate) sealed_secret: Vec<u8>,
}
