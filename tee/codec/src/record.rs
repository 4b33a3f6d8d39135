//! Sealed records: secrets, checkpoints, log segments, each under a key of its own.
//!
//! ```text
//!  0        4           36            36 + n     52 + n
//!  +--------+-----------+-------------+----------+
//!  | "CGR1" | salt (32) | sealed (n)  | tag (16) |
//!  +--------+-----------+-------------+----------+
//!   key     HKDF-SHA256(ikm = root key, salt, info = "cess-gw/record/v1" || 0x00 || purpose)
//!   nonce   twelve zero bytes
//!   AAD     "CGR1" || salt || purpose
//! ```
//!
//! The salt is random, so each record has its own key and uses it once. That is why the nonce may
//! be constant, and why there is no limit on how many records one root key may seal.

use crate::aead::{Aead, NONCE_BYTES, TAG_BYTES};
use crate::kdf;

/// Bytes of the salt that [`seal`] asks for.
pub const RECORD_SALT_BYTES: usize = 32;
/// What sealing adds to a record.
pub const RECORD_OVERHEAD_BYTES: usize = MAGIC.len() + RECORD_SALT_BYTES + TAG_BYTES;

const MAGIC: &[u8; 4] = b"CGR1";
const LABEL: &str = "cess-gw/record/v1";
const BODY_AT: usize = MAGIC.len() + RECORD_SALT_BYTES;

/// Why a record did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too short, or it does not begin as a record does.
    #[error("these bytes are not a sealed record")]
    Format,
    /// Another root key, another purpose, or altered bytes.
    #[error("the record does not open: wrong key, wrong purpose or altered bytes")]
    Tag,
}

/// Seals `plain` for `purpose`. The salt must be random and fresh for each call.
pub fn seal(root: &[u8; 32], purpose: &str, salt: [u8; RECORD_SALT_BYTES], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + RECORD_OVERHEAD_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&salt);
    out.extend_from_slice(plain);
    let aad = associated(&salt, purpose);
    let tag = cipher(root, purpose, &salt).seal(&[0; NONCE_BYTES], &aad, &mut out[BODY_AT..]);
    out.extend_from_slice(&tag);
    out
}

/// Opens what [`seal`] made with the same root key for the same purpose.
pub fn open(root: &[u8; 32], purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, RecordError> {
    let rest = sealed.strip_prefix(MAGIC).ok_or(RecordError::Format)?;
    let (salt, rest) = rest.split_first_chunk::<RECORD_SALT_BYTES>().ok_or(RecordError::Format)?;
    let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(RecordError::Format)?;
    let mut plain = body.to_vec();
    cipher(root, purpose, salt)
        .open(&[0; NONCE_BYTES], &associated(salt, purpose), &mut plain, tag)
        .map_err(|_| RecordError::Tag)?;
    Ok(plain)
}

fn cipher(root: &[u8; 32], purpose: &str, salt: &[u8; RECORD_SALT_BYTES]) -> Aead {
    Aead::new(&kdf::derive(root, salt, LABEL, purpose.as_bytes()))
}

fn associated(salt: &[u8; RECORD_SALT_BYTES], purpose: &str) -> Vec<u8> {
    [MAGIC.as_slice(), salt, purpose.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::{RECORD_OVERHEAD_BYTES, RecordError, open, seal};

    const ROOT: [u8; 32] = [1; 32];

    #[test]
    fn record_bytes_are_frozen() {
        let sealed = seal(&ROOT, "golden", [2; 32], b"a small secret");
        assert_eq!(hex::encode(sealed), include_str!("../tests/data/record.hex").trim());
    }

    #[test]
    fn a_record_opens_only_under_its_root_and_purpose() {
        for len in [0, 1, 100, 100_000] {
            let plain = vec![7; len];
            let sealed = seal(&ROOT, "p", [2; 32], &plain);
            assert_eq!(sealed.len(), len + RECORD_OVERHEAD_BYTES);
            assert_eq!(open(&ROOT, "p", &sealed), Ok(plain));
            assert_eq!(open(&ROOT, "q", &sealed), Err(RecordError::Tag));
            assert_eq!(open(&[9; 32], "p", &sealed), Err(RecordError::Tag));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let sealed = seal(&ROOT, "p", [2; 32], b"abc");
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&ROOT, "p", &bent).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(open(&ROOT, "p", &sealed[..len]).is_err(), "cut to {len}");
        }
    }
}
