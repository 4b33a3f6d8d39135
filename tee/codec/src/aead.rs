//! AES-256-GCM-SIV (RFC 8452), and the only file that names the crate behind it.
//!
//! The rest of the codec sees a key schedule that can seal a buffer in place and open it again. The
//! cipher takes its AES and POLYVAL instructions by run-time detection; version 0.12 is three times
//! faster than 0.11, which needed build flags for that.

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Tag};

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;

/// What was sealed is not what is being opened: wrong key, nonce, associated data or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagMismatch;

/// An expanded key.
#[derive(Clone)]
pub(crate) struct Aead(Aes256GcmSiv);

impl Aead {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256GcmSiv::new(key.into()))
    }

    /// Encrypts `buffer` where it stands and returns its tag.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.0.encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer));
        tag.expect("only lengths beyond 64 GiB are refused").into()
    }

    /// Encrypts from `plain` to `out` (of the same length) and returns the tag.
    pub(crate) fn seal_to(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let buffers = InOutBuf::new(plain, out).expect("the caller passes equal lengths");
        let tag = self.0.encrypt_inout_detached(nonce.into(), aad, buffers);
        tag.expect("only lengths beyond 64 GiB are refused").into()
    }

    /// Decrypts `buffer` where it stands. On a mismatch the buffer holds the ciphertext again.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), TagMismatch> {
        let tag: &Tag = tag.into();
        self.0.decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer), tag).map_err(|_| TagMismatch)
    }
}
