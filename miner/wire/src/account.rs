//! SS58, the printed form of an account: base58 of network prefix, public key and a checksum.
//!
//! ```text
//! 2 bytes  prefix 11330, in the two-byte form of the SS58 registry
//! 32       sr25519 public key
//! 2        first two bytes of BLAKE2b-512("SS58PRE" || the 34 bytes above)
//! ```

use blake2::{Blake2b512, Digest};
use gw_types::AccountId;

/// Prefix of CESS addresses ("cX…").
const CESS_PREFIX: u16 = 11_330;
/// Longest text looked at: 36 bytes make at most 50 base58 characters.
const TEXT_BYTES_MAX: usize = 64;

/// An account as CESS prints it.
pub fn encode_account(account: &AccountId) -> String {
    let mut bytes = Vec::with_capacity(36);
    bytes.extend_from_slice(&prefix_bytes(CESS_PREFIX));
    bytes.extend_from_slice(&account.0);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bs58::encode(bytes).into_string()
}

/// Reads an account with any network's prefix: a signature is checked against the key alone, and
/// cess-miner does not look at the prefix either. `None` when it is not SS58 of a 32-byte key.
pub fn decode_account(text: &str) -> Option<AccountId> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let bytes = bs58::decode(text).into_vec().ok()?;
    let prefix_len = match bytes.first()? {
        0..64 => 1,
        64..128 => 2,
        _ => return None,
    };
    if bytes.len() != prefix_len + 34 {
        return None;
    }
    let (body, sum) = bytes.split_at(prefix_len + 32);
    if checksum(body) != sum {
        return None;
    }
    Some(AccountId(body[prefix_len..].try_into().ok()?))
}

/// SS58 registry, two-byte form for prefixes 64..16384: the low six bits of the first byte are bits
/// 2..8 of the prefix; the second byte holds bits 8..14 and, on top, bits 0..2.
fn prefix_bytes(prefix: u16) -> [u8; 2] {
    assert!((64..16_384).contains(&prefix));
    [((prefix & 0x00FC) >> 2) as u8 | 0x40, (prefix >> 8) as u8 | ((prefix & 0x0003) << 6) as u8]
}

fn checksum(body: &[u8]) -> [u8; 2] {
    let sum = Blake2b512::new().chain_update(b"SS58PRE").chain_update(body).finalize();
    [sum[0], sum[1]]
}

#[cfg(test)]
mod tests {
    use super::{decode_account, encode_account};
    use crate::signing::tests::ALICE;

    const ALICE_CESS: &str = "cXjmuHdBk4J3Zyt2oGodwGegNFaTFPcfC48PZ9NMmcUFzF6cc";
    const ALICE_GENERIC: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn alice_is_printed_as_the_protocol_note_says() {
        assert_eq!(encode_account(&ALICE), ALICE_CESS);
        assert_eq!(decode_account(ALICE_CESS), Some(ALICE));
        assert_eq!(decode_account(ALICE_GENERIC), Some(ALICE), "prefix 42 names the same key");
    }

    #[test]
    fn damaged_addresses_are_refused() {
        for at in 0..ALICE_CESS.len() {
            let mut text = ALICE_CESS.to_owned().into_bytes();
            text[at] = if text[at] == b'z' { b'y' } else { b'z' };
            assert_eq!(decode_account(std::str::from_utf8(&text).unwrap()), None, "changed at {at}");
        }
        for text in ["", "c", "0OIl", &"z".repeat(65), &ALICE_CESS[1..]] {
            assert_eq!(decode_account(text), None, "{text:?}");
        }
    }
}
