//! The log on the network: commit records, in order, inside sealed segments of their own.
//!
//! A *part* is what stands in one log segment. All of it but its length is sealed under the root
//! key (purpose `log`), so that miners learn neither names nor counts:
//!
//! ```text
//!   0        8          16                    16 + len       32 MiB
//!   | magic  | len (LE) | sealed Part         | zeros        |
//!   Part = postcard{ number, prev, last_of_cut, ends_cut, epoch, segments[(seq, hash)],
//!                    records[{ lsn, stream, names, changes }] }
//! ```
//!
//! `number` counts parts from 0 and `prev` is the SHA-256 of the log segment before, so a restore
//! knows a gap, a repetition and a foreign part when it sees one.

use gw_types::{Hash32, Lsn, SEGMENT_BYTES, SegmentSeq, StreamId};
use serde::{Deserialize, Serialize};

/// Purpose under which log parts are sealed ([`gw_types::ports::Keys::seal_record`]).
pub const PURPOSE: &str = "log";

const MAGIC: [u8; 8] = *b"CGWLOG\0\x01";
const HEADER_BYTES: usize = 16;
/// Room for the sealing's own salt, nonce and tag, for the part's head, and for the hashes of some
/// 40,000 named segments (1.2 TiB in one cut).
const SEALING_BYTES_MAX: usize = 2 << 20;
/// Bytes of records after which a part is full. Records above it would never fit in a segment.
pub const PART_BYTES_MAX: usize = SEGMENT_BYTES as usize - HEADER_BYTES - SEALING_BYTES_MAX;

/// One commit, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its place in the log.
    pub lsn: Lsn,
    /// The stream whose watermark it moves.
    pub stream: StreamId,
    /// Segments that hold bytes it points at.
    pub names: Vec<SegmentSeq>,
    /// Rows it wrote: absolute, `None` deletes.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What one log segment says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Counts parts of this account's log from 0.
    pub number: u64,
    /// SHA-256 of the log segment before this one; zeros before the first.
    pub prev: Hash32,
    /// Last LSN of the cut this part belongs to: a restore takes whole cuts.
    pub last_of_cut: Lsn,
    /// Whether the cut ends with this part.
    pub ends_cut: bool,
    /// Epoch of the gateway that wrote it: the next gateway must begin above it.
    pub epoch: u16,
    /// Segments that this cut's records name, and the hashes by which chain and miners know them.
    /// Stands in the last part of a cut.
    pub segments: Vec<(SegmentSeq, Hash32)>,
    /// In order of LSN. LSNs of records that stay at home are missing.
    pub records: Vec<LogRecord>,
}

/// Why bytes are no log part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The magic or the length is wrong.
    #[error("the segment is not a log segment of this version")]
    NotALog,
    /// The sealed text opened, but is not a part.
    #[error("a log part does not decode")]
    Garbled,
}

impl Part {
    /// The text to seal.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a part has no type that postcard refuses")
    }
    /// Reads what [`Part::encode`] wrote.
    pub fn decode(plain: &[u8]) -> Result<Self, LogError> {
        postcard::from_bytes(plain).map_err(|_| LogError::Garbled)
    }
}

/// Puts a sealed part into the form that stands at the start of its segment.
pub fn frame(sealed: &[u8]) -> Vec<u8> {
    assert!(sealed.len() <= SEGMENT_BYTES as usize - HEADER_BYTES, "a part fits in a segment");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + sealed.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(sealed.len() as u64).to_le_bytes());
    bytes.extend_from_slice(sealed);
    bytes
}

/// How many bytes of a log segment are its framed part, from its first 16 bytes.
pub fn framed_len(head: &[u8]) -> Result<usize, LogError> {
    let len = head.strip_prefix(&MAGIC).and_then(|rest| rest.first_chunk::<8>()).ok_or(LogError::NotALog)?;
    let len = u64::from_le_bytes(*len).checked_add(HEADER_BYTES as u64).filter(|len| *len <= SEGMENT_BYTES);
    len.map(|len| len as usize).ok_or(LogError::NotALog)
}

/// The sealed part at the start of a log segment.
pub fn unframe(segment: &[u8]) -> Result<&[u8], LogError> {
    segment.get(HEADER_BYTES..framed_len(segment)?).ok_or(LogError::NotALog)
}

/// Cuts records into runs that fit in one part each, in order.
pub fn split(records: Vec<LogRecord>) -> Vec<Vec<LogRecord>> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    let mut bytes = 0;
    for record in records {
        let len = encoded_len_max(&record);
        if bytes + len > PART_BYTES_MAX && !run.is_empty() {
            runs.push(std::mem::take(&mut run));
            bytes = 0;
        }
        bytes += len;
        run.push(record);
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

/// An upper bound of a record's postcard length: varints take at most 10 bytes.
fn encoded_len_max(record: &LogRecord) -> usize {
    let changes = record.changes.iter().map(|(key, value)| 21 + key.len() + value.as_ref().map_or(0, Vec::len));
    40 + record.names.len() * 10 + changes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use gw_types::{Hash32, Lsn, SegmentSeq, StreamId};

    use super::{LogError, LogRecord, PART_BYTES_MAX, Part, encoded_len_max, frame, split, unframe};

    fn record(lsn: u64, len: usize) -> LogRecord {
        LogRecord {
            lsn: Lsn(lsn),
            stream: StreamId(0),
            names: vec![SegmentSeq(lsn)],
            changes: vec![(vec![0x11, 2], Some(vec![7; len])), (vec![0x12], None)],
        }
    }

    #[test]
    fn the_bytes_of_a_part_are_golden() {
        let part = Part {
            number: 3,
            prev: Hash32([0xaa; 32]),
            last_of_cut: Lsn(300),
            ends_cut: true,
            epoch: 2,
            segments: vec![(SegmentSeq(4), Hash32([0xbb; 32]))],
            records: vec![record(299, 2)],
        };
        let hexed = hex::encode(part.encode());
        let prev = "aa".repeat(32);
        let named = "bb".repeat(32);
        assert_eq!(hexed, format!("03{prev}ac0201020104{named}01ab020001ab020202110201020707011200"));
        assert_eq!(Part::decode(&part.encode()), Ok(part));
    }

    #[test]
    fn a_segment_that_is_no_log_is_refused() {
        let mut segment = frame(b"sealed");
        segment.resize(1 << 20, 0);
        assert_eq!(unframe(&segment), Ok(&b"sealed"[..]));
        assert_eq!(unframe(&segment[1..]), Err(LogError::NotALog));
        segment[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(unframe(&segment), Err(LogError::NotALog));
        assert_eq!(Part::decode(b"\xff\xff"), Err(LogError::Garbled));
    }

    #[test]
    fn parts_never_outgrow_a_segment_and_keep_the_order() {
        let records: Vec<_> = (1..=100).map(|lsn| record(lsn, 1 << 20)).collect();
        let runs = split(records.clone());
        assert!(runs.len() >= 4);
        for run in &runs {
            let part = Part {
                number: 0,
                prev: Hash32([0; 32]),
                last_of_cut: Lsn(100),
                ends_cut: false,
                epoch: 1,
                segments: Vec::new(),
                records: run.clone(),
            };
            assert!(part.encode().len() <= PART_BYTES_MAX + 100);
        }
        assert_eq!(runs.concat(), records);
        let one = record(5, 1000);
        assert!(postcard::to_stdvec(&one).unwrap().len() <= encoded_len_max(&one));
    }
}
