//! Identifiers. Each is its own type, so that a segment number can never be taken for an LSN.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counter! {
    /// Log sequence number: one for each commit, from 1, without gaps. 0 is "before everything".
    Lsn
}
counter! {
    /// A file, directory, volume or object body. Never reused.
    InodeId
}
counter! {
    /// A segment of ours, numbered when its file is opened. Never reused. (An LSM tree's segments,
    /// where a catalog engine has them, are not meant.)
    SegmentSeq
}
counter! {
    /// An extent map kept in rows of its own, shared by reference count.
    MapId
}
counter! {
    /// A data key: the name under which a wrapped key is known.
    KeyId
}
counter! {
    /// A multipart upload, in order of creation. The S3 UploadId is derived from it.
    UploadSeq
}
counter! {
    /// A version of an object. Larger is newer. The S3 version id is derived from it.
    VersionSeq
}

/// A stream: a prefix of the log that becomes dispersed on its own (one for each territory's
/// namespace, one for each volume). 0 is the first territory's namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u32);

/// An extent: an immutable run of bytes, written once. A 16-bit epoch (one for each start of the
/// gateway on a data directory, so that a counter lost in a crash can never repeat) over a 48-bit
/// counter. It is the larger part of a frame's nonce, so it is never reused under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExtentId(u64);

impl ExtentId {
    const COUNTER_BITS: u32 = 48;

    /// `None` when the counter has left its 48 bits.
    pub const fn new(epoch: u16, counter: u64) -> Option<Self> {
        if counter >> Self::COUNTER_BITS != 0 {
            return None;
        }
        Some(Self((epoch as u64) << Self::COUNTER_BITS | counter))
    }
    /// The number as it stands in nonces and rows.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// Reads back what [`ExtentId::get`] wrote.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash32(pub [u8; 32]);

impl Hash32 {
    /// The chain's form: 64 lower-case ASCII hex characters (CESS `crates/common`: `Hash([u8; 64])`).
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
    /// Takes 64 lower-case hex characters; upper case is refused, as the chain refuses it.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A file id on chain: the hash under which a deal, and later a file, is known. Two rules exist for
/// computing it (cess-go-sdk: Merkle; CD2N: concatenation); the chain accepts any 64 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fid(pub Hash32);

impl fmt::Display for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An account on chain (sr25519 public key): the gateway's own, or a miner's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId(pub [u8; 32]);

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Place of a fragment in its stripe, 0..12: 0..4 are data in order, 4..12 parity. The chain counts
/// the same places from 1 (`transfer_report(index)`, 1..=12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FragmentIndex(u8);

impl FragmentIndex {
    /// `None` from 12 on.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < crate::FRAGMENTS { Some(Self(index)) } else { None }
    }
    /// 0..12.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
    /// 1..=12, as the chain counts.
    pub const fn on_chain(self) -> u8 {
        self.0 + 1
    }
    /// From the chain's 1..=12.
    pub const fn from_chain(index: u8) -> Option<Self> {
        match index.checked_sub(1) {
            Some(index) => Self::new(index),
            None => None,
        }
    }
    /// Whether the fragment is a slice of the segment itself.
    pub const fn is_data(self) -> bool {
        (self.0 as usize) < crate::DATA_FRAGMENTS
    }
    /// All twelve, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..crate::FRAGMENTS as u8).map(Self)
    }
}

/// The name of a territory: 1..=63 bytes (pallet storage-handler: `BoundedVec<u8, 63>`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TerritoryName(String);

impl TerritoryName {
    /// `None` when empty or longer than 63 bytes.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        (1..=63).contains(&name.len()).then_some(Self(name))
    }
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TerritoryName {
    type Error = &'static str;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name).ok_or("a territory name has 1 to 63 bytes")
    }
}

impl From<TerritoryName> for String {
    fn from(name: TerritoryName) -> Self {
        name.0
    }
}

impl fmt::Display for TerritoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
