//! Names a user chooses: buckets and keys, checked once at the border.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A bucket's name under AWS's rules for general-purpose buckets: 3..=63 of `a-z 0-9 . -`, begins
/// and ends with a letter or digit, no `..`, not an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

/// Why a bucket name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a bucket name has 3 to 63 of a-z, 0-9, '.' and '-', begins and ends with a letter or digit, and is not an IP address"
)]
pub struct BucketNameError;

impl BucketName {
    /// Checks and keeps the name.
    pub fn new(name: impl Into<String>) -> Result<Self, BucketNameError> {
        let name = name.into();
        let bytes = name.as_bytes();
        let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = (3..=63).contains(&bytes.len())
            && bytes.first().is_some_and(edge)
            && bytes.last().is_some_and(edge)
            && bytes.iter().all(|byte| edge(byte) || matches!(byte, b'.' | b'-'))
            && !name.contains("..")
            && name.parse::<std::net::Ipv4Addr>().is_err();
        if good { Ok(Self(name)) } else { Err(BucketNameError) }
    }
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BucketName {
    type Error = BucketNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's key: 1..=1024 bytes of UTF-8, opaque: nothing in it is folded, joined to a path or
/// interpreted but `/` as the border between directories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectKeyError {
    /// Keys have at least one byte.
    #[error("an object key may not be empty")]
    Empty,
    /// AWS's limit: 1024 bytes of UTF-8.
    #[error("an object key has at most 1024 bytes of UTF-8")]
    TooLong,
}

impl ObjectKey {
    /// Checks and keeps the key.
    pub fn new(key: impl Into<String>) -> Result<Self, ObjectKeyError> {
        let key = key.into();
        match key.len() {
            0 => Err(ObjectKeyError::Empty),
            1..=1024 => Ok(Self(key)),
            _ => Err(ObjectKeyError::TooLong),
        }
    }
    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = ObjectKeyError;
    fn try_from(key: String) -> Result<Self, Self::Error> {
        Self::new(key)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
