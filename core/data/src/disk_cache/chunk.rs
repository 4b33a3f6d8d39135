//! A chunk on disk: frames back to back, then the table that says which.
//!
//! ```text
//!      0  frames   sealed, in the order in which they came
//!      .  table    { segment u64, offset u32, at u32, len u32 } for each
//!      .  trailer  32 bytes
//!                  0  magic    8 bytes "CGWCACH\x01"
//!                  8  lane     u32  0 probation, 1 main
//!                 12  entries  u32
//!                 16  table    u64  where it begins
//!                 24  crc      u32  CRC-32C over the table, then bytes 0..24 of the trailer
//!                 28  -        u32  0
//! ```
//!
//! Integers are little-endian. Frames have no CRC of their own: their tags are one. A file without a
//! right trailer (it was open at an unclean end) is removed at the next start.

use std::sync::Arc;

use gw_types::ports::{Disk, DiskFile};
use gw_types::{PortErrorKind, PortResult, SEALED_FRAME_BYTES, SegmentSeq};

use super::state::Lane;

/// Where the disk cache has its files.
pub const FOLDER: &str = "cache";
const MAGIC: [u8; 8] = *b"CGWCACH\x01";
pub(crate) const ENTRY_BYTES: u64 = 20;
pub(crate) const TRAILER_BYTES: u64 = 32;

/// One frame in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The frame's home ...
    pub(crate) segment: SegmentSeq,
    /// ... and where it begins there.
    pub(crate) offset: u32,
    /// Where it begins in the chunk.
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Entry {
    /// A frame that has no place in a chunk yet.
    pub(crate) fn new(segment: SegmentSeq, offset: u32, len: u32) -> Self {
        Self { segment, offset, at: 0, len }
    }
}

pub(crate) fn name(number: u64) -> String {
    format!("{FOLDER}/{number:016x}")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(FOLDER)?.strip_prefix('/')?;
    let plain = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Numbers of the chunks that are there, ascending. Foreign names are left alone.
pub(crate) fn list(disk: &dyn Disk) -> PortResult<Vec<u64>> {
    let mut numbers: Vec<u64> =
        disk.list(FOLDER)?.iter().filter_map(|entry| number_of(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a chunk's file. One that stays is read or removed at the next start.
pub(crate) fn remove(disk: &dyn Disk, number: u64) {
    match disk.remove(&name(number)) {
        Err(error) if error.kind() != PortErrorKind::NotFound => {
            tracing::warn!(%error, number, "a file of the disk cache cannot be removed");
        }
        _ => {}
    }
}

/// Removes them all.
pub(crate) fn remove_all(disk: &dyn Disk) {
    match list(disk) {
        Ok(numbers) => numbers.into_iter().for_each(|number| remove(disk, number)),
        Err(error) => tracing::warn!(%error, "the folder of the disk cache cannot be read"),
    }
}

/// The bytes behind the frames.
pub(crate) fn encode_end(lane: Lane, entries: &[Entry], table: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY_BYTES as usize + TRAILER_BYTES as usize);
    for entry in entries {
        out.extend_from_slice(&entry.segment.0.to_le_bytes());
        for number in [entry.offset, entry.at, entry.len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(lane as u32).to_le_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    out.extend_from_slice(&table.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out
}

/// A chunk of an earlier life.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) lane: Lane,
    pub(crate) len: u64,
    pub(crate) entries: Vec<Entry>,
}

/// Reads a chunk's table; `None` when there is none that is right.
pub(crate) async fn open(disk: &dyn Disk, number: u64, chunk_bytes_max: u64) -> PortResult<Option<Closed>> {
    let file = disk.open(&name(number))?;
    let len = file.len()?;
    if !(TRAILER_BYTES..=chunk_bytes_max).contains(&len) {
        return Ok(None);
    }
    let trailer = file.read_at(len - TRAILER_BYTES, TRAILER_BYTES as usize).await?;
    let word = |at: usize| trailer[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let table = u64::from(word(16)) | u64::from(word(20)) << 32;
    let table_bytes = u64::from(word(12)) * ENTRY_BYTES;
    if trailer[..8] != MAGIC || table.checked_add(table_bytes + TRAILER_BYTES) != Some(len) {
        return Ok(None);
    }
    let found = file.read_at(table, table_bytes as usize).await?;
    if crc32c::crc32c_append(crc32c::crc32c(&found), &trailer[..24]) != word(24) {
        return Ok(None);
    }
    let Some(lane) = Lane::from_number(word(8)) else { return Ok(None) };
    let entries: Vec<Entry> = found.chunks_exact(ENTRY_BYTES as usize).filter_map(decode).collect();
    let fit = |entry: &Entry| {
        entry.len > 0
            && u64::from(entry.len) <= SEALED_FRAME_BYTES
            && u64::from(entry.at) + u64::from(entry.len) <= table
    };
    if entries.len() as u64 * ENTRY_BYTES != table_bytes || !entries.iter().all(fit) {
        return Ok(None);
    }
    Ok(Some(Closed { file, lane, len, entries }))
}

fn decode(bytes: &[u8]) -> Option<Entry> {
    let number = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let segment = SegmentSeq(u64::from_le_bytes(*bytes.first_chunk()?));
    Some(Entry { segment, offset: number(8)?, at: number(12)?, len: number(16)? })
}

#[cfg(test)]
mod tests {
    use super::{Entry, Lane, SegmentSeq, encode_end, name, number_of};

    #[test]
    fn the_end_of_a_chunk_has_these_bytes() {
        let entry = Entry { segment: SegmentSeq(3), offset: 0x1_0010, at: 16, len: 4112 };
        let end = encode_end(Lane::Main, &[entry], 4128);
        let hex: String = end.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "0300000000000000100001001000000010100000434757434143480101000000010000002010000000000000e213c50400000000";

    #[test]
    fn only_our_own_names_are_chunks() {
        assert_eq!(number_of(&name(0xab)), Some(0xab));
        for other in ["cache/ab", "cache/00000000000000AB", "cache/+0000000000000ab", "x/00000000000000ab"] {
            assert_eq!(number_of(other), None);
        }
    }
}
