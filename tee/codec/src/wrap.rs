//! Key wrapping: one 32-byte key sealed under another, with a commitment to it.
//!
//! The wrapped form, 94 bytes, all of which stand under the tag or in the nonce:
//!
//! ```text
//!  0         1      2            14             46        62                94
//!  +---------+------+------------+--------------+---------+-----------------+
//!  | version | kind | nonce (12) | sealed (32)  | tag(16) | commitment (32) |
//!  +---------+------+------------+--------------+---------+-----------------+
//!   version     1
//!   kind        what the wrapped key is for, see `KeyKind`
//!   sealed,tag  AES-256-GCM-SIV(wrapping key, nonce, AAD, key)
//!   AAD         version || kind || commitment || the caller's context
//!   commitment  HKDF-SHA256(ikm = key, no salt, info = "cess-gw/commit/v1" || 0x00)
//! ```
//!
//! The commitment is there because GCM-SIV does not commit to its key: without it a dishonest
//! wrapper could make one wrap that opens to two different keys under two wrapping keys, and so one
//! ciphertext with two meanings. It reveals nothing of a random key, but it is equal for equal
//! keys: who sees two wraps can tell that they hold the same key.
//!
//! Nonces come from the caller and should be random. A repeated one costs little with GCM-SIV: it
//! shows only whether the two wrapped keys are equal, which the commitment shows anyway.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::aead::{Aead, NONCE_BYTES, TAG_BYTES};
use crate::kdf;

/// Bytes of a wrapped key.
pub const WRAPPED_KEY_BYTES: usize = 94;
/// Bytes of the nonce that [`wrap`] asks for.
pub const WRAP_NONCE_BYTES: usize = NONCE_BYTES;

const VERSION: u8 = 1;
const COMMITMENT_LABEL: &str = "cess-gw/commit/v1";
const NONCE_AT: usize = 2;
const SEALED_AT: usize = NONCE_AT + NONCE_BYTES;
const TAG_AT: usize = SEALED_AT + 32;
const COMMITMENT_AT: usize = TAG_AT + TAG_BYTES;

const _: () = assert!(COMMITMENT_AT + 32 == WRAPPED_KEY_BYTES);

/// What the wrapped key is for. A wrap of one kind never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// The root key, under a key made from a passphrase.
    Root = 0,
    /// A bucket's or volume family's key, under the root's wrapping key.
    Bucket = 1,
    /// A data key, under a bucket key.
    Data = 2,
}

/// Why a wrapped key did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Not 94 bytes.
    #[error("a wrapped key has 94 bytes, this one has {0}")]
    Length(usize),
    /// Written by a version this one does not know.
    #[error("wrapped key of unknown version {0}")]
    Version(u8),
    /// Another kind of key.
    #[error("wrapped key of the wrong kind ({0})")]
    Kind(u8),
    /// Wrong wrapping key, wrong context, or altered bytes.
    #[error("the wrapped key does not open under this key")]
    Tag,
    /// The tag fits, but the key is not the one committed to.
    #[error("the wrapped key does not fit its commitment")]
    Commitment,
}

/// The public commitment to a key.
pub fn commitment(key: &[u8; 32]) -> [u8; 32] {
    *kdf::derive(key, &[], COMMITMENT_LABEL, &[])
}

/// Wraps `key` under `wrapping`. `context` must be given again to [`unwrap`].
pub fn wrap(
    wrapping: &[u8; 32],
    kind: KeyKind,
    context: &[u8],
    nonce: [u8; WRAP_NONCE_BYTES],
    key: &[u8; 32],
) -> [u8; WRAPPED_KEY_BYTES] {
    let commitment = commitment(key);
    let mut sealed = Zeroizing::new(*key);
    let tag =
        Aead::new(wrapping).seal(&nonce, &associated(kind, &commitment, context), sealed.as_mut_slice());

    let mut out = [0; WRAPPED_KEY_BYTES];
    out[0] = VERSION;
    out[1] = kind as u8;
    out[NONCE_AT..SEALED_AT].copy_from_slice(&nonce);
    out[SEALED_AT..TAG_AT].copy_from_slice(sealed.as_slice());
    out[TAG_AT..COMMITMENT_AT].copy_from_slice(&tag);
    out[COMMITMENT_AT..].copy_from_slice(&commitment);
    out
}

/// Opens what [`wrap`] made with the same wrapping key, kind and context.
pub fn unwrap(
    wrapping: &[u8; 32],
    kind: KeyKind,
    context: &[u8],
    wrapped: &[u8],
) -> Result<Zeroizing<[u8; 32]>, UnwrapError> {
    let wrapped: &[u8; WRAPPED_KEY_BYTES] =
        wrapped.try_into().map_err(|_| UnwrapError::Length(wrapped.len()))?;
    if wrapped[0] != VERSION {
        return Err(UnwrapError::Version(wrapped[0]));
    }
    if wrapped[1] != kind as u8 {
        return Err(UnwrapError::Kind(wrapped[1]));
    }
    let nonce = part(wrapped, NONCE_AT);
    let tag = part(wrapped, TAG_AT);
    let committed: [u8; 32] = part(wrapped, COMMITMENT_AT);
    let mut key = Zeroizing::new(part::<32>(wrapped, SEALED_AT));
    Aead::new(wrapping)
        .open(&nonce, &associated(kind, &committed, context), key.as_mut_slice(), &tag)
        .map_err(|_| UnwrapError::Tag)?;
    if !bool::from(commitment(&key).ct_eq(&committed)) {
        return Err(UnwrapError::Commitment);
    }
    Ok(key)
}

fn associated(kind: KeyKind, commitment: &[u8; 32], context: &[u8]) -> Vec<u8> {
    [&[VERSION, kind as u8], commitment.as_slice(), context].concat()
}

fn part<const N: usize>(wrapped: &[u8; WRAPPED_KEY_BYTES], at: usize) -> [u8; N] {
    wrapped[at..at + N].try_into().expect("the offsets are constants within the array")
}

#[cfg(test)]
mod tests {
    use super::{COMMITMENT_AT, KeyKind, UnwrapError, WRAPPED_KEY_BYTES, associated, unwrap, wrap};
    use crate::aead::Aead;

    const WRAPPING: [u8; 32] = [1; 32];
    const KEY: [u8; 32] = [2; 32];

    fn wrapped() -> [u8; WRAPPED_KEY_BYTES] {
        wrap(&WRAPPING, KeyKind::Data, b"context", [3; 12], &KEY)
    }

    #[test]
    fn wrapped_bytes_are_frozen() {
        assert_eq!(hex::encode(wrapped()), include_str!("../tests/data/wrapped-key.hex").trim());
    }

    #[test]
    fn a_wrap_opens_only_with_its_key_kind_and_context() {
        assert_eq!(*unwrap(&WRAPPING, KeyKind::Data, b"context", &wrapped()).unwrap(), KEY);
        let tag = Some(UnwrapError::Tag);
        assert_eq!(unwrap(&[9; 32], KeyKind::Data, b"context", &wrapped()).err(), tag);
        assert_eq!(unwrap(&WRAPPING, KeyKind::Data, b"other", &wrapped()).err(), tag);
        let kind = Some(UnwrapError::Kind(2));
        assert_eq!(unwrap(&WRAPPING, KeyKind::Bucket, b"context", &wrapped()).err(), kind);
    }

    #[test]
    fn every_flipped_bit_and_every_length_is_refused() {
        for bit in 0..WRAPPED_KEY_BYTES * 8 {
            let mut bent = wrapped();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(unwrap(&WRAPPING, KeyKind::Data, b"context", &bent).is_err(), "bit {bit}");
        }
        for len in (0..WRAPPED_KEY_BYTES).chain([WRAPPED_KEY_BYTES + 1]) {
            let error = unwrap(&WRAPPING, KeyKind::Data, b"context", &vec![1; len]).err();
            assert_eq!(error, Some(UnwrapError::Length(len)));
        }
    }

    /// A wrapper that lies: it seals one key and commits to another, with a tag that fits.
    #[test]
    fn a_key_that_is_not_the_committed_one_is_refused() {
        let mut lie = wrapped();
        lie[COMMITMENT_AT..].fill(5);
        let mut sealed = KEY;
        let tag = Aead::new(&WRAPPING).seal(
            &[3; 12],
            &associated(KeyKind::Data, &[5; 32], b"context"),
            &mut sealed,
        );
        lie[14..46].copy_from_slice(&sealed);
        lie[46..62].copy_from_slice(&tag);
        let error = unwrap(&WRAPPING, KeyKind::Data, b"context", &lie).err();
        assert_eq!(error, Some(UnwrapError::Commitment));
    }
}
