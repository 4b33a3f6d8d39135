//! A key that only the client has (SSE-C).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// AES-256 key of a client with its MD5. It is used for one request and wiped; the store keeps the
/// MD5 alone.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CustomerKey {
    pub(crate) key: [u8; 32],
    pub(crate) md5: [u8; 16],
}

impl CustomerKey {
    /// `None` where `md5` is not that of `key`.
    pub fn new(key: [u8; 32], md5: [u8; 16]) -> Option<Self> {
        (crate::digest::md5(&[&key]) == md5).then_some(Self { key, md5 })
    }
    /// A key that the gateway holds itself.
    pub(crate) fn held(key: [u8; 32]) -> Self {
        Self { key, md5: [0; 16] }
    }
    /// For the answer.
    pub fn md5(&self) -> [u8; 16] {
        self.md5
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(..)")
    }
}
