//! The recovery copy: the root key as a text to print, or to type.
//!
//! ```text
//!   cgwr1-0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV-WXYZ-0123-4567-89AB-CDEF-GHJK-MNPQ
//!   |     '------------------------ 14 groups of 4 ---------------------------'
//!   '-- kind and version of this text
//!
//!   56 characters of Crockford's base 32 = 280 bits, most significant first
//!      = root key (256 bits) || CRC-24 of it (24 bits; RFC 9580 section 6.1)
//! ```
//!
//! The alphabet has no I, L, O or U. Reading takes either case, takes O for 0 and I or L for 1, and
//! does not mind spaces, line breaks or missing hyphens. The CRC finds every error within 24
//! neighbouring bits, so any one or several wrong characters in a group, and all but one in 16 million of
//! the rest.

use zeroize::Zeroizing;

use super::RootKey;

const PREFIX: &str = "cgwr1";
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS: usize = 14;
const GROUP_CHARS: usize = 4;
const CHARS: usize = GROUPS * GROUP_CHARS;
const BYTES: usize = 35;

const _: () = assert!(CHARS * 5 == BYTES * 8);

/// Why a text is not a recovery copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryTextError {
    /// Not the beginning of this kind of text.
    #[error("a recovery copy begins with `cgwr1-`")]
    Prefix,
    /// Characters are missing or too many.
    #[error("a recovery copy has 14 groups of 4 characters after `cgwr1-`, this one has {0} characters")]
    Length(usize),
    /// A character that is not in use.
    #[error("`{character}` in group {group} is not used in recovery copies")]
    Character {
        /// What was found.
        character: char,
        /// In which group, from 1.
        group: usize,
    },
    /// All characters are valid, but they are not the ones that were printed.
    #[error("the recovery copy has a typing error (its check characters do not fit)")]
    Checksum,
}

impl RootKey {
    /// The recovery copy. It is the key itself: show it once, to its owner.
    pub fn recovery_text(&self) -> Zeroizing<String> {
        let mut payload = Zeroizing::new([0; BYTES]);
        payload[..32].copy_from_slice(self.expose());
        payload[32..].copy_from_slice(&crc24(self.expose()));
        // Reserved whole, so that growing leaves no half of it behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + CHARS + GROUPS));
        text.push_str(PREFIX);
        for at in 0..CHARS {
            if at % GROUP_CHARS == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[five_bits(&payload, at)]));
        }
        text
    }

    /// Reads a recovery copy back.
    pub fn from_recovery_text(text: &str) -> Result<Self, RecoveryTextError> {
        let text = text.trim();
        let front = text.get(..PREFIX.len()).ok_or(RecoveryTextError::Prefix)?;
        if !front.eq_ignore_ascii_case(PREFIX) {
            return Err(RecoveryTextError::Prefix);
        }
        let is_symbol = |c: &char| !c.is_whitespace() && *c != '-';
        let mut payload = Zeroizing::new([0; BYTES]);
        let mut count = 0;
        for character in text[PREFIX.len()..].chars().filter(is_symbol) {
            let group = count / GROUP_CHARS + 1;
            let value = symbol(character).ok_or(RecoveryTextError::Character { character, group })?;
            if count < CHARS {
                put_five_bits(&mut payload, count, value);
            }
            count += 1;
        }
        if count != CHARS {
            return Err(RecoveryTextError::Length(count));
        }
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&payload[..32]);
        if crc24(&key) != payload[32..] {
            return Err(RecoveryTextError::Checksum);
        }
        Ok(Self::from_bytes(&key))
    }
}

/// The value of a character, forgiving the confusions that the alphabet leaves room for.
fn symbol(character: char) -> Option<u8> {
    let upper = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        upper => upper,
    };
    ALPHABET.iter().position(|&known| char::from(known) == upper).map(|at| at as u8)
}

fn five_bits(payload: &[u8; BYTES], at: usize) -> usize {
    (at * 5..at * 5 + 5).fold(0, |bits, bit| bits << 1 | usize::from(payload[bit / 8] >> (7 - bit % 8) & 1))
}

fn put_five_bits(payload: &mut [u8; BYTES], at: usize, value: u8) {
    for (bit, shift) in (at * 5..at * 5 + 5).zip((0..5).rev()) {
        payload[bit / 8] |= (value >> shift & 1) << (7 - bit % 8);
    }
}

/// RFC 9580, section 6.1.1.
fn crc24(bytes: &[u8; 32]) -> [u8; 3] {
    let mut crc: u32 = 0xb7_04ce;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x100_0000 != 0 {
                crc ^= 0x186_4cfb;
            }
        }
    }
    let [_, high, middle, low] = crc.to_be_bytes();
    [high, middle, low]
}
