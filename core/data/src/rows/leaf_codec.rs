//! The bytes of a leaf: one random overwrite rewrites a whole leaf, so entries are written short.
//!
//! ```text
//!   leaf    version u8 (1) | entry ...
//!   entry   flags u8 | len | [key] [extent] [extent_len skip] [segment] [offset]
//!
//!   flags   1  data; a hole has its length and nothing else
//!           2  the key is that of the last data entry
//!           4  the entry is its whole extent: extent_len = len, skip = 0
//!           8  the extent and where it stands are those of the last data entry
//! ```
//!
//! All numbers are LEB128; extent and segment are differences (zigzag) to those of the last data entry
//! (at first 0). A block of 4 KiB that was written for itself takes about 12 bytes.

use gw_db::DbError;
use gw_types::{ExtentId, KeyId, SegmentSeq};

use super::corrupt;
use crate::map::{ExtentRef, MapEntry};

const VERSION: u8 = 1;
const DATA: u8 = 1;
const SAME_KEY: u8 = 2;
const WHOLE: u8 = 4;
const SAME_EXTENT: u8 = 8;

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_step(out: &mut Vec<u8>, from: u64, to: u64) {
    let step = to.wrapping_sub(from) as i64;
    put_number(out, (step << 1 ^ step >> 63) as u64);
}

/// A leaf's value.
pub(crate) fn encode_leaf(entries: &[MapEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + entries.len() * 14);
    out.push(VERSION);
    let mut last: Option<ExtentRef> = None;
    for entry in entries {
        let Some(at) = entry.at else {
            out.push(0);
            put_number(&mut out, entry.len.into());
            continue;
        };
        let before = last.unwrap_or(NOTHING);
        let whole = at.skip == 0 && at.extent_len == entry.len;
        let same_extent = last.is_some_and(|last| ExtentRef { skip: at.skip, ..last } == at);
        let mut flags = DATA;
        flags |= if at.key == before.key { SAME_KEY } else { 0 };
        flags |= if whole { WHOLE } else { 0 };
        flags |= if same_extent { SAME_EXTENT } else { 0 };
        out.push(flags);
        put_number(&mut out, entry.len.into());
        if at.key != before.key {
            put_number(&mut out, at.key.0);
        }
        if !same_extent {
            put_step(&mut out, before.extent.get(), at.extent.get());
        }
        if !whole {
            put_number(&mut out, at.extent_len.into());
            put_number(&mut out, at.skip.into());
        }
        if !same_extent {
            put_step(&mut out, before.segment.0, at.segment.0);
            put_number(&mut out, at.offset.into());
        }
        last = Some(at);
    }
    out
}

/// What differences begin with.
const NOTHING: ExtentRef = ExtentRef {
    extent: ExtentId::from_raw(0),
    extent_len: 0,
    skip: 0,
    segment: SegmentSeq(0),
    offset: 0,
    key: KeyId(0),
};

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
    fn short(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }
    fn step(&mut self, from: u64) -> Option<u64> {
        let step = self.number()?;
        Some(from.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg()))
    }
    fn flags(&mut self) -> Option<u8> {
        let (flags, rest) = self.0.split_first()?;
        self.0 = rest;
        (*flags < 16 && (*flags == 0 || flags & DATA != 0)).then_some(*flags)
    }
    fn entry(&mut self, last: &mut Option<ExtentRef>) -> Option<MapEntry> {
        let flags = self.flags()?;
        let len = self.short().filter(|len| *len > 0)?;
        if flags == 0 {
            return Some(MapEntry { len, at: None });
        }
        let mut at = last.unwrap_or(NOTHING);
        if flags & SAME_KEY == 0 {
            at.key = KeyId(self.number()?);
        }
        if flags & SAME_EXTENT == 0 {
            at.extent = ExtentId::from_raw(self.step(at.extent.get())?);
        }
        (at.extent_len, at.skip) = if flags & WHOLE != 0 { (len, 0) } else { (self.short()?, self.short()?) };
        if flags & SAME_EXTENT == 0 {
            at.segment = SegmentSeq(self.step(at.segment.0)?);
            at.offset = self.short()?;
        }
        *last = Some(at);
        Some(MapEntry { len, at: Some(at) })
    }
}

/// Reads back what [`encode_leaf`] wrote.
pub(crate) fn decode_leaf(key: &[u8], value: &[u8]) -> Result<Vec<MapEntry>, DbError> {
    let Some((&VERSION, rest)) = value.split_first() else {
        return Err(corrupt(key, "of a version that this program does not know"));
    };
    let (mut cursor, mut last, mut entries) = (Cursor(rest), None, Vec::new());
    while !cursor.0.is_empty() {
        entries.push(cursor.entry(&mut last).ok_or_else(|| corrupt(key, "not what it must be"))?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use gw_types::{ExtentId, KeyId, SegmentSeq};

    use super::{decode_leaf, encode_leaf};
    use crate::map::{ExtentRef, MapEntry};

    fn entry(len: u32, extent: u64, (extent_len, skip): (u32, u32), segment: u64, key: u64) -> MapEntry {
        let at = ExtentRef {
            extent: ExtentId::new(1, extent).unwrap(),
            extent_len,
            skip,
            segment: SegmentSeq(segment),
            offset: (extent as u32).wrapping_mul(4112),
            key: KeyId(key),
        };
        MapEntry { len, at: Some(at) }
    }

    #[test]
    fn a_leaf_has_these_bytes() {
        let entries = [
            entry(4096, 7, (4096, 0), 300, 9),
            MapEntry { len: 70_000, at: None },
            entry(4096, 6, (4096, 0), 299, 9),
            entry(100, 6, (4096, 8), 299, 9),
            entry(5, 1 << 40, (9, 1), u64::MAX, 10),
        ];
        let golden = "01058020098e80808080808001d804f0e001 00f0a204 0780200101e0c001 0b64802008 01050af4ffffffff3f0901d70400";
        let bytes = encode_leaf(&entries);
        assert_eq!(decode_leaf(b"k", &bytes).unwrap(), entries);
        assert_eq!(hex::encode(&bytes), golden.replace(' ', ""));
        for cut in 0..bytes.len() {
            assert!(
                decode_leaf(b"k", &bytes[..cut]).is_err()
                    || decode_leaf(b"k", &bytes[..cut]).unwrap().len() < 5
            );
        }
    }

    #[test]
    fn a_block_written_for_itself_takes_little() {
        let entries: Vec<_> = (0..64)
            .map(|at| entry(4096, 1_000_000 + at * 977 % 64_000, (4096, 0), 5000 + at % 9, 3))
            .collect();
        let bytes = encode_leaf(&entries);
        assert!(bytes.len() < 64 * 15, "{} bytes", bytes.len());
    }

    #[test]
    fn other_bytes_are_refused_and_never_panic() {
        for bytes in
            [&[][..], &[2], &[1, 2, 1], &[1, 16, 1], &[1, 0, 0], &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]]
        {
            assert!(decode_leaf(b"k", bytes).is_err(), "{bytes:?}");
        }
        let mut x = 88172645463325252_u64;
        for _ in 0..20_000 {
            let mut bytes = vec![1];
            for _ in 0..x % 40 {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                bytes.push(x as u8);
            }
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
            let _ = decode_leaf(b"k", &bytes);
        }
    }
}
