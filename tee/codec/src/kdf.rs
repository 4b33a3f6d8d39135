//! Key derivation: HKDF-SHA256 (RFC 5869) to 32 bytes, with the labels kept apart by length.
//!
//! Deriving the same label from the same key gives the same bytes for ever, so a label is part of
//! the stored format: never reuse one for another purpose, never change one.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// 32 bytes derived from `key` for `label` and `context`.
///
/// The HKDF info is `label || 0x00 || context`; labels therefore contain no zero byte (asserted), and
/// no two (label, context) pairs give the same info.
pub fn derive(key: &[u8; 32], salt: &[u8], label: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
    assert!(!label.bytes().any(|byte| byte == 0), "a label is text");
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), key)
        .expand_multi_info(&[label.as_bytes(), &[0], context], out.as_mut_slice())
        .expect("32 bytes are within HKDF-SHA256's 8160");
    out
}

#[cfg(test)]
mod tests {
    use super::derive;

    #[test]
    fn derivation_is_frozen() {
        let out = derive(&[7; 32], b"salt", "label", b"context");
        assert_eq!(hex::encode(*out), GOLDEN);
    }

    /// Computed with Python's hmac module from RFC 5869.
    const GOLDEN: &str = "a11f36b1966f4c08b6fee7efda6abb2990847c64d2017bd8f8760e892a4b1880";

    #[test]
    fn label_and_context_do_not_run_together() {
        assert_ne!(*derive(&[7; 32], b"", "ab", b"c"), *derive(&[7; 32], b"", "a", b"bc"));
        assert_ne!(*derive(&[7; 32], b"x", "a", b""), *derive(&[7; 32], b"", "a", b""));
    }
}
