//! The header of a journal file and its name.
//!
//! ```text
//!      0  magic      8 bytes  "CGWJRNL\x01"
//!      8  epoch      u16      opens of this data directory, this one included
//!     10  -          6 bytes  0
//!     16  journal    u64      when the journal was first made (ns since 1970): the identity of the data directory
//!     24  first_lsn  u64      also the file's name, 16 hex digits
//!     32  -          28 bytes 0
//!     60  crc        u32      CRC-32C over bytes 0..60; also the seed of every frame's CRC
//!     64  frames (see `record`), then zeros to the reserved length while the file is the newest
//! ```
//!
//! A file gets its name by a rename after its header is synced, so a named file with a bad header is
//! corrupt, never half made.

use gw_types::Lsn;

pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"CGWJRNL\x01";
pub(crate) const FOLDER: &str = "journal";
/// Suffix of files that are being made.
pub(crate) const UNFINISHED: &str = ".new";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: u16,
    pub(crate) journal: u64,
    pub(crate) first: Lsn,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.epoch.to_le_bytes());
        out[16..24].copy_from_slice(&self.journal.to_le_bytes());
        out[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Header and seed; the error says what is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), &'static str> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or("the file is shorter than its header")?;
        if bytes[..7] != MAGIC[..7] {
            return Err("this is not a journal file");
        }
        if bytes[7] != MAGIC[7] {
            return Err("a journal format that this version does not know");
        }
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("a header has 64 bytes"));
        let crc = crc32c::crc32c(&bytes[..60]);
        if bytes[60..] != crc.to_le_bytes() {
            return Err("the header fails its CRC");
        }
        let header = Self { epoch: word(8) as u16, journal: word(16), first: Lsn(word(24)) };
        Ok((header, crc))
    }

    pub(crate) fn seed(self) -> u32 {
        let bytes = self.encode();
        u32::from_le_bytes(*bytes[60..].first_chunk().expect("a header has 64 bytes"))
    }
}

pub(crate) fn file_name(first: Lsn) -> String {
    format!("{FOLDER}/{:016x}", first.0)
}

/// The first LSN that a name says, `None` for a file that is not a finished journal file.
pub(crate) fn parse_name(name: &str) -> Option<Lsn> {
    let digits = name.strip_prefix(FOLDER)?.strip_prefix('/')?;
    if digits.len() != 16 || digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok().map(Lsn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_these_bytes() {
        let header = Header { epoch: 2, journal: 0x0102_0304_0506_0708, first: Lsn(0x1234) };
        let hex: String = header.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(Header::decode(&header.encode()), Ok((header, header.seed())));
    }

    const GOLDEN: &str = "4347574a524e4c0102000000000000000807060504030201341200000000000000000000000000000000000000000000000000000000000000000000e7d4c427";

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let header = Header { epoch: 2, journal: 5, first: Lsn(9) }.encode();
        for bit in 0..header.len() * 8 {
            let mut bad = header;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
        assert!(Header::decode(&header[..63]).is_err());
    }

    #[test]
    fn names_are_sixteen_lower_case_hex_digits() {
        assert_eq!(file_name(Lsn(255)), "journal/00000000000000ff");
        assert_eq!(parse_name("journal/00000000000000ff"), Some(Lsn(255)));
        for bad in ["journal/ff", "journal/00000000000000FF", "journal/spare-1.new", "other/00000000000000ff"]
        {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }
}
