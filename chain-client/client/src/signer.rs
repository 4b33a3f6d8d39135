//! The key of an account: sr25519, as Substrate derives it from a mnemonic, a secret URI or a seed.
//!
//! A [`Signer`] signs extrinsics and, for the miners' HTTP API, short messages. It never prints its
//! secret: `Debug` shows the address alone, errors name the kind of mistake and not the text. The
//! secret half lives in schnorrkel's `Keypair`, which wipes itself when dropped; a generated
//! mnemonic is handed out in a [`Zeroizing`] string. (Copies inside the derivation of bip39 and
//! schnorrkel are theirs; they are not all wiped.)
//!
//! Signatures are randomised: two signatures of one message differ and both verify.

use std::fmt;
use std::str::FromStr;

use gw_types::AccountId;
use subxt_signer::bip39::Mnemonic;
use subxt_signer::sr25519::{Keypair, PublicKey, Signature, verify as sr25519_verify};
use subxt_signer::{SecretString, SecretUri};
use zeroize::{Zeroize, Zeroizing};

use crate::ss58::{CESS_SS58_PREFIX, ss58_encode};

/// 128 bits: a mnemonic of twelve words, as Substrate's own tools make them.
const ENTROPY_BYTES: usize = 16;
const WRAP_BEFORE: &[u8] = b"<Bytes>";
const WRAP_AFTER: &[u8] = b"</Bytes>";

/// Why a text or seed gives no key. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// Not a BIP-39 phrase: unknown word, wrong number of words or wrong checksum.
    #[error("not a valid mnemonic: a word is unknown, missing, or the checksum does not fit")]
    BadMnemonic,
    /// Not a secret URI (`phrase//hard/soft///password` or `0x` and 64 hex digits).
    #[error("not a valid secret URI")]
    BadUri,
    /// The system gave no randomness.
    #[error("the system's random source failed")]
    NoRandomness,
}

/// The key of one account.
#[derive(Clone)]
pub struct Signer {
    pair: Keypair,
}

impl Signer {
    /// From a BIP-39 phrase (English), with no password and no derivation path.
    ///
    /// # Errors
    /// [`SignerError::BadMnemonic`]. An empty phrase is one: it never falls back to the well-known
    /// development phrase.
    pub fn from_mnemonic(phrase: &str) -> Result<Self, SignerError> {
        let mnemonic = Mnemonic::parse_normalized(phrase.trim()).map_err(|_| SignerError::BadMnemonic)?;
        Self::from_parsed(&mnemonic)
    }

    /// From a secret URI as Substrate's tools take it. Mind that a URI without a phrase, such as
    /// `//Alice`, names a key that everybody knows.
    ///
    /// # Errors
    /// [`SignerError::BadUri`].
    pub fn from_uri(uri: &str) -> Result<Self, SignerError> {
        let uri = SecretUri::from_str(uri.trim()).map_err(|_| SignerError::BadUri)?;
        let pair = Keypair::from_uri(&uri).map_err(|_| SignerError::BadUri)?;
        Ok(Self { pair })
    }

    /// From the 32-byte seed (mini secret key). The caller's copy is the caller's to wipe.
    ///
    /// # Errors
    /// None today; schnorrkel takes any 32 bytes.
    pub fn from_seed(mut seed: [u8; 32]) -> Result<Self, SignerError> {
        let pair = Keypair::from_secret_key(seed).map_err(|_| SignerError::BadUri);
        seed.zeroize();
        Ok(Self { pair: pair? })
    }

    /// A new key and the twelve words that bring it back.
    ///
    /// # Errors
    /// [`SignerError::NoRandomness`].
    pub fn generate() -> Result<(Self, Zeroizing<String>), SignerError> {
        let mut entropy = Zeroizing::new([0; ENTROPY_BYTES]);
        getrandom::fill(entropy.as_mut_slice()).map_err(|_| SignerError::NoRandomness)?;
        let mnemonic = Mnemonic::from_entropy(entropy.as_slice()).map_err(|_| SignerError::BadMnemonic)?;
        let mut phrase = Zeroizing::new(String::with_capacity(128));
        for word in mnemonic.words() {
            if !phrase.is_empty() {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        Ok((Self::from_parsed(&mnemonic)?, phrase))
    }

    /// A key derived from this one by a hard junction: a child that cannot be linked to its parent
    /// without the secret. `name` is one path element, as in `phrase//name`.
    pub fn derive_hard(&self, name: &str) -> Self {
        Self { pair: self.pair.derive([subxt_signer::DeriveJunction::hard(name)]) }
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        AccountId(self.pair.public_key().0)
    }

    /// Its address, with the prefix of CESS.
    pub fn ss58(&self) -> String {
        ss58_encode(self.account(), CESS_SS58_PREFIX)
    }

    /// Signs the bytes as they are.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).0
    }

    /// Signs `<Bytes>message</Bytes>`, as browser wallets do (polkadot.js `signRaw`).
    pub fn sign_wrapped(&self, message: &[u8]) -> [u8; 64] {
        self.sign(&wrap(message))
    }

    pub(crate) fn pair(&self) -> &Keypair {
        &self.pair
    }

    fn from_parsed(mnemonic: &Mnemonic) -> Result<Self, SignerError> {
        let pair = Keypair::from_phrase(mnemonic, None).map_err(|_| SignerError::BadMnemonic)?;
        Ok(Self { pair })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.ss58())
    }
}

/// Whether `account` signed exactly these bytes.
pub fn verify(account: AccountId, message: &[u8], signature: &[u8; 64]) -> bool {
    sr25519_verify(&Signature(*signature), message, &PublicKey(account.0))
}

/// Whether `account` signed these bytes, plain or wrapped in `<Bytes>`: what a miner asks of a
/// request (cess-miner `node/web/fragment.go`).
pub fn verify_plain_or_wrapped(account: AccountId, message: &[u8], signature: &[u8; 64]) -> bool {
    verify(account, message, signature) || verify(account, &wrap(message), signature)
}

fn wrap(message: &[u8]) -> Vec<u8> {
    [WRAP_BEFORE, message, WRAP_AFTER].concat()
}

/// A secret URI kept for later, for instance between reading a file and opening the chain.
impl TryFrom<&SecretString> for Signer {
    type Error = SignerError;
    fn try_from(uri: &SecretString) -> Result<Self, SignerError> {
        use subxt_signer::ExposeSecret;
        Self::from_uri(uri.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::{Signer, SignerError, verify, verify_plain_or_wrapped};

    const RAW: &str = "aea13e7729a4d77cee464c02730171d6be33f0fa08e04fb52d6d47cb4e49966022f2857d5f449fb4b03e9c55e66fc06689bd5a01e7780f58dbe372433173b486";
    const WRAPPED: &str = "c06c2b9d2457a52092dfd48be9979b2fa2b08a520957b6443c4498abc689f94c82fe5a5e09c4c3ee2a44148899bc656ec34c0731c1674fdcdf56d6cf620fd38e";
    const GENTOKEN: &str = "989926b566e22895b32c79fbb7ee6c22994c62581dd220792a533aa18ca60d06d291ba197f95a1b44dc210c004a0e2627bd1839721d269c6607e42aa81b89580";

    fn signature(hex: &str) -> [u8; 64] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    /// The signatures that cess-protocol.md 6c records, made elsewhere with //Alice.
    #[test]
    fn signatures_of_other_implementations_verify() {
        let alice = Signer::from_uri("//Alice").unwrap().account();
        assert!(verify(alice, b"cess-vector-1", &signature(RAW)));
        assert!(!verify(alice, b"cess-vector-1", &signature(WRAPPED)));
        assert!(verify(alice, b"<Bytes>cess-vector-1</Bytes>", &signature(WRAPPED)));
        for hex in [RAW, WRAPPED] {
            assert!(verify_plain_or_wrapped(alice, b"cess-vector-1", &signature(hex)));
            assert!(!verify_plain_or_wrapped(alice, b"cess-vector-2", &signature(hex)));
        }
        let digest = sp_crypto_hashing::sha2_256(b"1800000000");
        assert!(!verify(alice, &digest, &signature(GENTOKEN)));
        assert!(verify_plain_or_wrapped(alice, &digest, &signature(GENTOKEN)));
    }

    #[test]
    fn our_signatures_verify_for_our_account_alone() {
        let (ours, _) = Signer::generate().unwrap();
        let (other, _) = Signer::generate().unwrap();
        assert!(verify(ours.account(), b"m", &ours.sign(b"m")));
        assert!(!verify(other.account(), b"m", &ours.sign(b"m")));
        assert!(verify(ours.account(), b"<Bytes>m</Bytes>", &ours.sign_wrapped(b"m")));
        assert!(!verify(ours.account(), b"m", &[0xff; 64]));
    }

    #[test]
    fn a_generated_mnemonic_brings_the_key_back() {
        let (signer, phrase) = Signer::generate().unwrap();
        assert_eq!(phrase.split(' ').count(), 12);
        assert_eq!(Signer::from_mnemonic(&phrase).unwrap().account(), signer.account());
        assert_eq!(Signer::from_uri(&phrase).unwrap().account(), signer.account());
        assert_ne!(signer.derive_hard("miner").account(), signer.account());
        let by_path = Signer::from_uri(&format!("{}//miner", phrase.as_str())).unwrap();
        assert_eq!(signer.derive_hard("miner").account(), by_path.account());
    }

    #[test]
    fn seeds_and_hex_uris_are_the_same_key() {
        let seed = [7; 32];
        let uri = format!("0x{}", hex::encode(seed));
        assert_eq!(Signer::from_seed(seed).unwrap().account(), Signer::from_uri(&uri).unwrap().account());
    }

    #[test]
    fn bad_secrets_are_refused_without_repeating_them() {
        assert_eq!(Signer::from_mnemonic("").unwrap_err(), SignerError::BadMnemonic);
        assert_eq!(Signer::from_mnemonic("//Alice").unwrap_err(), SignerError::BadMnemonic);
        let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit fit";
        let error = Signer::from_mnemonic(phrase).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("bottom"));
        assert_eq!(Signer::from_uri("0x12").unwrap_err(), SignerError::BadUri);
        let (signer, words) = Signer::generate().unwrap();
        let shown = format!("{signer:?}");
        assert!(shown.starts_with("Signer(cX"), "{shown}");
        assert!(words.split(' ').all(|word| !shown.contains(word) || word.len() < 4));
    }
}
