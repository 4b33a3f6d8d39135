//! File ids: the hash under which a deal, and then a file, is known on chain.
//!
//! Two rules are in use and the chain checks neither, it takes any 64 characters. Readers need only
//! the fid; a file that exists is found again (and not stored twice) only within one rule.

use gw_types::{Fid, Hash32};
use sha2::{Digest, Sha256};

/// How a fid is computed from the hashes of a file's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FidRule {
    /// cess-go-sdk and DeOSS: a binary Merkle tree over the raw 32-byte segment hashes. The last of
    /// an odd level is paired with itself, and so is a lone segment: SHA-256(h || h).
    #[default]
    Merkle,
    /// CD2N: SHA-256 over all raw segment hashes in order.
    Concat,
}

impl FidRule {
    /// The fid of a file with these segments, in order. `None` without segments: there is no empty
    /// file on CESS.
    pub fn fid(self, segments: &[Hash32]) -> Option<Fid> {
        if segments.is_empty() {
            return None;
        }
        Some(Fid(match self {
            Self::Merkle => merkle_root(segments),
            Self::Concat => hash_all(segments),
        }))
    }
}

fn merkle_root(segments: &[Hash32]) -> Hash32 {
    let mut level = pair_up(segments);
    while level.len() > 1 {
        level = pair_up(&level);
    }
    level[0]
}

fn pair_up(level: &[Hash32]) -> Vec<Hash32> {
    level.chunks(2).map(|pair| hash_all(&[pair[0], *pair.last().expect("chunks are not empty")])).collect()
}

fn hash_all(hashes: &[Hash32]) -> Hash32 {
    let mut state = Sha256::new();
    for hash in hashes {
        state.update(hash.0);
    }
    Hash32(state.finalize().into())
}

#[cfg(test)]
mod tests {
    use gw_types::Hash32;

    use super::FidRule;

    #[test]
    fn no_segments_no_fid() {
        assert_eq!(FidRule::Merkle.fid(&[]), None);
        assert_eq!(FidRule::Concat.fid(&[]), None);
    }

    #[test]
    fn an_odd_level_pairs_its_last_with_itself() {
        let [a, b, c] = [1, 2, 3].map(|byte| Hash32([byte; 32]));
        assert_eq!(FidRule::Merkle.fid(&[a, b, c]), FidRule::Merkle.fid(&[a, b, c, c]));
        assert_ne!(FidRule::Concat.fid(&[a, b, c]), FidRule::Concat.fid(&[a, b, c, c]));
    }
}
