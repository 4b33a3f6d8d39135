//! Tables 0x10, 0x11 and 0x15 to 0x17: accounts by name, access keys, each leading to its account
//! and its user there; users, groups, roles and policies ([`crate::IamEntity`]); the commit that last
//! changed those of an account; and when keys were last used ([`crate::KeyUse`]).

use gw_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{KeyLimits, Quota};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRow {
    pub(crate) admin: bool,
    pub(crate) created: Timestamp,
    pub(crate) access_keys: Vec<String>,
    /// Over all its buckets.
    pub(crate) quota: Quota,
    /// Of each of its access keys, in place of the configured ones.
    pub(crate) limits: KeyLimits,
}

/// An access key. The secret is sealed under the root key for the purpose
/// `credential/<access key>`, so that a row under another key opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessKeyRow {
    /// The account.
    pub(crate) user: String,
    /// Whose in the account; `None`: its own.
    pub(crate) of: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) active: bool,
    pub(crate) sealed_secret: Vec<u8>,
}

/// The commit that last changed an account's entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IamRevisionRow(pub(crate) u64);

/// A named key of SSE-KMS: table 0x30, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KmsKeyRow {
    pub(crate) created: Timestamp,
    /// Under the root key.
    pub(crate) sealed: Vec<u8>,
}

/// How many versions stay until a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptRow(pub(crate) u64);
