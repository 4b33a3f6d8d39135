//! Bodies that can be checked without being remembered.
//!
//! A body is a function of its key, its generation and its size:
//!
//! ```text
//! byte 0        8                                      size
//!      | stamp  | words mixed from (key, generation, size, position) …|
//!        generation, u64 little endian
//! ```
//!
//! Two bodies differ everywhere but in the stamp, and one body has no period: a frame of another
//! object, of another generation or from another place in the same body is seen as wrong. Bodies
//! shorter than 8 bytes carry a cut stamp and belong to generation 0 by agreement.

use super::units::mix;

/// Bytes of the stamp.
pub const STAMP_BYTES: usize = 8;
/// Compared at once; small enough for the stack and the first-level cache.
const STRIDE: usize = 4096;

/// The bytes of one generation of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    base: u64,
    generation: u64,
    size: u64,
}

impl Content {
    /// The body that `key` has in `generation`.
    pub fn new(key: &str, generation: u64, size: u64) -> Self {
        let generation = if size < STAMP_BYTES as u64 { 0 } else { generation };
        let named = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { base: mix(mix(named ^ mix(generation)) ^ size), generation, size }
    }
    /// Bytes in the body.
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Writes the bytes from `offset` on into `piece`. The caller stays within the size.
    pub fn fill(&self, offset: u64, piece: &mut [u8]) {
        let lead = (offset % 8) as usize;
        let mut index = offset / 8;
        let mut rest = piece;
        if lead != 0 {
            let count = rest.len().min(8 - lead);
            let (front, back) = rest.split_at_mut(count);
            front.copy_from_slice(&self.word(index).to_le_bytes()[lead..lead + count]);
            rest = back;
            index += 1;
        }
        let mut words = rest.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.word(index).to_le_bytes());
            index += 1;
        }
        let tail = words.into_remainder();
        let count = tail.len();
        tail.copy_from_slice(&self.word(index).to_le_bytes()[..count]);
    }
    /// The place of the first byte of `piece`, read at `offset`, that is not as written.
    pub fn first_difference(&self, offset: u64, piece: &[u8]) -> Option<u64> {
        let mut wanted = [0; STRIDE];
        let mut at = offset;
        for part in piece.chunks(STRIDE) {
            let wanted = &mut wanted[..part.len()];
            self.fill(at, wanted);
            if part != wanted {
                let same = part.iter().zip(wanted.iter()).take_while(|(got, want)| got == want).count();
                return Some(at + same as u64);
            }
            at += part.len() as u64;
        }
        None
    }
    fn word(&self, index: u64) -> u64 {
        if index == 0 {
            return self.generation;
        }
        let mixed = self.base.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 29)
    }
}

/// Compares a body, or a range of one, as its pieces arrive.
#[derive(Clone, Debug)]
pub struct Checker {
    content: Content,
    at: u64,
    end: u64,
    wrong: Option<u64>,
}

impl Checker {
    /// Expects bytes `first..end` of `content`.
    pub fn range(content: Content, first: u64, end: u64) -> Self {
        Self { content, at: first, end, wrong: None }
    }
    /// Expects all of it.
    pub fn whole(content: Content) -> Self {
        Self::range(content, 0, content.size)
    }
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.wrong.is_none() {
            self.wrong = self.content.first_difference(self.at, piece);
        }
        self.at += piece.len() as u64;
    }
    /// What is wrong with what came, in words.
    pub fn verdict(&self) -> Result<(), String> {
        match self.wrong {
            Some(at) => Err(format!("byte {at} is not what was written")),
            None if self.at != self.end => {
                Err(format!("it ends at byte {} and not at {}", self.at, self.end))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Checker, Content};

    fn whole(content: Content) -> Vec<u8> {
        let mut bytes = vec![0; content.size() as usize];
        content.fill(0, &mut bytes);
        bytes
    }

    #[test]
    fn any_piece_is_a_piece_of_the_whole() {
        let content = Content::new("a/b", 7, 1000);
        let bytes = whole(content);
        assert_eq!(bytes[..8], 7u64.to_le_bytes());
        for first in 0..40 {
            for len in [0, 1, 7, 8, 9, 31, 500] {
                let mut piece = vec![0; len];
                content.fill(first, &mut piece);
                assert_eq!(piece, bytes[first as usize..][..len], "{len} bytes from {first}");
            }
        }
    }

    #[test]
    fn another_key_generation_size_or_place_is_seen() {
        let content = Content::new("key", 1, 256);
        let bytes = whole(content);
        for other in [Content::new("kez", 1, 256), Content::new("key", 1, 255), Content::new("key", 2, 256)] {
            assert!(other.first_difference(8, &bytes[8..]).is_some());
        }
        assert!(content.first_difference(64, &bytes[128..192]).is_some());
        assert_eq!(content.first_difference(0, &bytes), None);
    }

    #[test]
    fn the_first_wrong_byte_is_named() {
        let content = Content::new("key", 1, 10_000);
        let mut bytes = whole(content);
        bytes[5001] ^= 1;
        let mut checker = Checker::whole(content);
        bytes.chunks(77).for_each(|piece| checker.feed(piece));
        assert_eq!(checker.verdict(), Err("byte 5001 is not what was written".to_owned()));
    }

    #[test]
    fn a_short_body_is_wrong() {
        let content = Content::new("key", 1, 100);
        let mut checker = Checker::whole(content);
        checker.feed(&whole(content)[..99]);
        assert!(checker.verdict().is_err());
    }
}
