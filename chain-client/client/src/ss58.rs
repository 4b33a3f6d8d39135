//! Account addresses as people write them: SS58, base58 over prefix, key and checksum.
//!
//! ```text
//! base58( prefix (1 or 2 bytes) | public key (32) | first 2 bytes of
//!         blake2b-512("SS58PRE" | prefix | public key) )
//! ```
//!
//! A prefix below 64 is one byte; up to 16383 it is two, with the bits shuffled so that the first
//! byte is 64..=127 (ss58-registry; `sp_core::crypto::Ss58Codec`). CESS is 11330, addresses begin
//! with `cX`. Decoding never panics and refuses a wrong checksum.

use gw_types::AccountId;

/// The prefix of CESS addresses (runtime constant `SS58Prefix`).
pub const CESS_SS58_PREFIX: u16 = 11330;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const CHECKSUM_BYTES: usize = 2;
const KEY_BYTES: usize = 32;
/// Longest text worth looking at: 36 bytes make at most 50 base58 digits.
const TEXT_MAX: usize = 64;

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ss58Error {
    /// A character outside the base58 alphabet, or far too long.
    #[error("not base58")]
    NotBase58,
    /// Not prefix, 32 bytes of key and 2 of checksum.
    #[error("wrong length for an account address")]
    WrongLength,
    /// The checksum does not fit: mistyped.
    #[error("wrong checksum, the address is mistyped")]
    WrongChecksum,
}

/// The address of an account under `prefix` (0..=16383; higher bits are ignored).
pub fn ss58_encode(account: AccountId, prefix: u16) -> String {
    let mut bytes = prefix_bytes(prefix & 0x3fff);
    bytes.extend_from_slice(&account.0);
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    base58_encode(&bytes)
}

/// Reads an address of any network, giving the prefix it carries.
///
/// # Errors
/// When the text is not an SS58 address of a 32-byte account.
pub fn ss58_decode(text: &str) -> Result<(AccountId, u16), Ss58Error> {
    if text.len() > TEXT_MAX {
        return Err(Ss58Error::NotBase58);
    }
    let bytes = base58_decode(text).ok_or(Ss58Error::NotBase58)?;
    let (prefix, prefix_length) = match bytes.as_slice() {
        [first @ 0..=63, ..] => (u16::from(*first), 1),
        [first @ 64..=127, second, ..] => {
            let low = (first << 2) | (second >> 6);
            let high = second & 0b0011_1111;
            (u16::from(low) | u16::from(high) << 8, 2)
        }
        _ => return Err(Ss58Error::WrongLength),
    };
    if bytes.len() != prefix_length + KEY_BYTES + CHECKSUM_BYTES {
        return Err(Ss58Error::WrongLength);
    }
    let (body, given) = bytes.split_at(prefix_length + KEY_BYTES);
    if checksum(body) != given {
        return Err(Ss58Error::WrongChecksum);
    }
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&body[prefix_length..]);
    Ok((AccountId(key), prefix))
}

fn prefix_bytes(prefix: u16) -> Vec<u8> {
    if prefix < 64 {
        return vec![prefix as u8];
    }
    let first = ((prefix & 0b1111_1100) as u8) >> 2 | 0b0100_0000;
    let second = (prefix >> 8) as u8 | ((prefix & 0b11) as u8) << 6;
    vec![first, second]
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut input = b"SS58PRE".to_vec();
    input.extend_from_slice(body);
    let hash = sp_crypto_hashing::blake2_512(&input);
    [hash[0], hash[1]]
}

fn base58_encode(bytes: &[u8]) -> String {
    // Base-58 digits, least significant first.
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 138 / 100 + 1);
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    std::iter::repeat_n(0, zeros)
        .chain(digits.into_iter().rev())
        .map(|digit| char::from(ALPHABET[usize::from(digit)]))
        .collect()
}

fn base58_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for character in text.bytes() {
        let mut carry = ALPHABET.iter().position(|&letter| letter == character)? as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    let zeros = text.bytes().take_while(|&character| character == ALPHABET[0]).count();
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{CESS_SS58_PREFIX, Ss58Error, ss58_decode, ss58_encode};
    use gw_types::AccountId;

    fn alice() -> AccountId {
        let hex = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
        AccountId(hex::decode(hex).unwrap().try_into().unwrap())
    }

    #[test]
    fn alice_has_her_published_addresses() {
        assert_eq!(
            ss58_encode(alice(), CESS_SS58_PREFIX),
            "cXjmuHdBk4J3Zyt2oGodwGegNFaTFPcfC48PZ9NMmcUFzF6cc"
        );
        assert_eq!(ss58_encode(alice(), 42), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn every_prefix_is_read_back() {
        for prefix in [0, 1, 42, 63, 64, 65, 127, 255, 256, 1000, CESS_SS58_PREFIX, 16383] {
            assert_eq!(ss58_decode(&ss58_encode(alice(), prefix)), Ok((alice(), prefix)));
        }
        let zero = AccountId([0; 32]);
        assert_eq!(ss58_decode(&ss58_encode(zero, 0)), Ok((zero, 0)));
    }

    #[test]
    fn a_mistyped_address_is_refused() {
        let right = ss58_encode(alice(), CESS_SS58_PREFIX);
        for place in 0..right.len() {
            let mut wrong: Vec<char> = right.chars().collect();
            wrong[place] = if wrong[place] == 'z' { 'y' } else { 'z' };
            assert!(ss58_decode(&wrong.into_iter().collect::<String>()).is_err());
        }
        assert_eq!(ss58_decode("0OIl"), Err(Ss58Error::NotBase58));
        assert_eq!(ss58_decode(""), Err(Ss58Error::WrongLength));
        assert_eq!(ss58_decode(&right[..20]), Err(Ss58Error::WrongLength));
        assert_eq!(ss58_decode(&"z".repeat(5000)), Err(Ss58Error::NotBase58));
        assert_eq!(ss58_decode("ß"), Err(Ss58Error::NotBase58));
    }
}
