//! The signature that every fragment request carries: sr25519 with Substrate's context, over the
//! message as it is or wrapped in `<Bytes>…</Bytes>` as polkadot.js does it, in hex with or without
//! `0x`. It shows that whoever asks has some key; CESS asks for no more, so a fragment may be read by
//! anybody and privacy comes from sealing alone.

use std::fmt;

use gw_types::AccountId;
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey, PublicKey, Signature};

/// Signing context of Substrate (`sp_core::sr25519`).
const CONTEXT: &[u8] = b"substrate";
/// Longest message looked at.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Whether `account` signed `message`, raw or wrapped. Anything malformed is simply not a signature.
pub fn verify_signature(account: &AccountId, message: &[u8], signature_hex: &str) -> bool {
    let digits = signature_hex.strip_prefix("0x").unwrap_or(signature_hex);
    let mut bytes = [0; 64];
    if message.len() > MESSAGE_BYTES_MAX || hex::decode_to_slice(digits, &mut bytes).is_err() {
        return false;
    }
    let (Ok(key), Ok(signature)) = (PublicKey::from_bytes(&account.0), Signature::from_bytes(&bytes)) else {
        return false;
    };
    if key.verify_simple(CONTEXT, message, &signature).is_ok() {
        return true;
    }
    let wrapped = [b"<Bytes>", message, b"</Bytes>"].concat();
    key.verify_simple(CONTEXT, &wrapped, &signature).is_ok()
}

/// A throw-away key for reading and putting fragments. It owns nothing: use a fresh one, never the
/// account that pays.
#[derive(Clone)]
pub struct ReadKey(Keypair);

impl ReadKey {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Self {
        Self(MiniSecretKey::generate().expand_to_keypair(ExpansionMode::Ed25519))
    }
    /// The key that Substrate derives from this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = MiniSecretKey::from_bytes(seed).expect("any 32 bytes are a seed");
        Self(secret.expand_to_keypair(ExpansionMode::Ed25519))
    }
    /// Its public half.
    pub fn account(&self) -> AccountId {
        AccountId(self.0.public.to_bytes())
    }
    /// 128 hex characters over `message` as it is.
    pub fn sign(&self, message: &[u8]) -> String {
        hex::encode(self.0.sign_simple(CONTEXT, message).to_bytes())
    }
}

impl fmt::Debug for ReadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadKey").field(&self.account()).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use gw_types::AccountId;

    use super::{ReadKey, verify_signature};

    /// `//Alice`.
    pub(crate) const ALICE: AccountId = AccountId([
        0xd4, 0x35, 0x93, 0xc7, 0x15, 0xfd, 0xd3, 0x1c, 0x61, 0x14, 0x1a, 0xbd, 0x04, 0xa9, 0x9f, 0xd6, 0x82,
        0x2c, 0x85, 0x58, 0x85, 0x4c, 0xcd, 0xe3, 0x9a, 0x56, 0x84, 0xe7, 0xa5, 0x6d, 0xa2, 0x7d,
    ]);
    const RAW: &str = "aea13e7729a4d77cee464c02730171d6be33f0fa08e04fb52d6d47cb4e49966022f2857d5f449fb4b03e9c55e66fc06689bd5a01e7780f58dbe372433173b486";
    const WRAPPED: &str = "c06c2b9d2457a52092dfd48be9979b2fa2b08a520957b6443c4498abc689f94c82fe5a5e09c4c3ee2a44148899bc656ec34c0731c1674fdcdf56d6cf620fd38e";

    /// Signatures made by other programs (protocol note, 6c).
    #[test]
    fn foreign_signatures_verify_raw_and_wrapped_with_and_without_0x() {
        for signature in [RAW, WRAPPED] {
            assert!(verify_signature(&ALICE, b"cess-vector-1", signature));
            assert!(verify_signature(&ALICE, b"cess-vector-1", &format!("0x{signature}")));
            assert!(!verify_signature(&ALICE, b"cess-vector-2", signature));
            assert!(!verify_signature(&AccountId([7; 32]), b"cess-vector-1", signature));
        }
    }

    #[test]
    fn own_signatures_verify_and_damaged_ones_do_not() {
        let key = ReadKey::from_seed(&[9; 32]);
        let signature = key.sign(b"1800000000");
        assert!(verify_signature(&key.account(), b"1800000000", &signature));
        for bad in
            ["", "0x", "zz", &signature[2..], &signature.replace(&signature[..2], "ff"), &"0".repeat(128)]
        {
            if bad != signature {
                assert!(!verify_signature(&key.account(), b"1800000000", bad), "{bad}");
            }
        }
        assert_ne!(ReadKey::generate().account(), ReadKey::generate().account());
        assert!(!format!("{key:?}").contains(&hex::encode([9; 32])));
    }
}
