//! The root key: 32 random bytes from which everything else can be opened.
//!
//! It is made once, kept in a file that only its owner reads ([`file`]), and written down once more
//! as a recovery text that a person can type ([`recovery`]). Who loses both has lost the data, and
//! who finds either has it; nothing in software changes that.

mod file;
mod recovery;

use gw_codec::{hash, kdf};
use zeroize::Zeroizing;

pub use file::{PassphraseCost, Protection, RootKeyError};
pub use recovery::RecoveryTextError;

use crate::entropy::{Entropy, OsEntropy};

const FINGERPRINT_LABEL: &str = "cess-gw/fingerprint/v1";

/// The root key. Shows nothing when printed and is wiped when dropped.
#[derive(Clone)]
pub struct RootKey(Box<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey(..)")
    }
}

impl RootKey {
    /// A fresh key from the operating system's generator.
    pub fn generate() -> Result<Self, RootKeyError> {
        Self::generate_from(&OsEntropy)
    }

    /// A fresh key from another generator: for simulations only.
    pub fn generate_from(entropy: &dyn Entropy) -> Result<Self, RootKeyError> {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        entropy.fill(key.as_mut_slice()).map_err(RootKeyError::Random)?;
        Ok(Self(key))
    }

    /// Equal for equal roots, and public: SHA-256, in hex, over a value derived from the key.
    pub fn fingerprint(&self) -> String {
        hash::sha256(self.derive(FINGERPRINT_LABEL).as_slice()).to_hex()
    }

    /// A key of its own for `label`.
    pub(crate) fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        kdf::derive(self.expose(), &[], label, &[])
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_bytes(bytes: &Zeroizing<[u8; 32]>) -> Self {
        Self(Box::new(bytes.clone()))
    }
}
