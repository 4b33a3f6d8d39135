//! The log on the network: commit records, in order, inside sealed segments of their own.
//!
//! A *part* is what stands in one log segment: the records of one cut. All of it but its length is
//! sealed under the root key (purpose `log`), so that miners learn neither names nor counts:
//!
//! ```text
//!   0        8          16                    16 + len       32 MiB
//!   | magic  | len (LE) | sealed Part         | zeros        |
//!   Part = postcard{ number, prev, last, epoch, left_out[{ stream, after, last }],
//!                    segments[(seq, hash)], records[{ lsn, streams, names, changes }] }
//! ```
//!
//! `number` counts parts from 0 and `prev` is the SHA-256 of the log segment before, so a restore
//! knows a gap, a repetition and a foreign part when it sees one. After a restore that had to leave
//! parts behind, two parts may follow the same one; the right one has the higher epoch. After one that
//! had to leave records of some streams out of parts that it took, the next part names them
//! ([`LeftOut`]): they do not count, even when their bytes turn up again.

use std::collections::BTreeSet;

use gw_types::{Hash32, Lsn, SEGMENT_BYTES, SegmentSeq, StreamId};
use serde::{Deserialize, Serialize};

/// Purpose under which log parts are sealed ([`gw_types::ports::Keys::seal_record`]).
pub const PURPOSE: &str = "log";
/// Bytes at the start of a log segment that say how long the rest is.
pub const HEADER_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"CGWLOG\0\x01";
/// Room for the sealing's own salt, nonce and tag, for the part's head, and for the segments that it
/// names (42 bytes each).
const SEALING_BYTES_MAX: usize = 2 << 20;
/// Segments that one part names at most.
const NAMES_MAX: usize = 40_000;
/// Bytes of records after which a part is full.
const RECORD_BYTES_MAX: usize = SEGMENT_BYTES as usize - HEADER_BYTES - SEALING_BYTES_MAX;

const _: () = assert!(NAMES_MAX * 42 + (64 << 10) <= SEALING_BYTES_MAX);

/// One commit, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its place in the log.
    pub lsn: Lsn,
    /// The streams that have it, ascending: all or none.
    pub streams: Vec<StreamId>,
    /// Segments that hold bytes it points at.
    pub names: Vec<SegmentSeq>,
    /// Rows it wrote: absolute, `None` deletes.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Records of a stream that a restore had to leave out, because bytes that they point at are lost. A
/// record of several streams is left out with any of them. Both ends are those of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Whose.
    pub stream: StreamId,
    /// The last that counts.
    pub after: Lsn,
    /// The last that does not.
    pub last: Lsn,
}

/// What one log segment says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Counts parts of this account's log from 0.
    pub number: u64,
    /// SHA-256 of the log segment before this one; zeros before the first.
    pub prev: Hash32,
    /// The last LSN that it covers; records that stay at home may be the last ones.
    pub last: Lsn,
    /// Epoch of the gateway that wrote it.
    pub epoch: u16,
    /// Records of earlier parts that do not count.
    pub left_out: Vec<LeftOut>,
    /// Segments that its records name, and the hashes by which chain and miners know them.
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

/// Records gathered for one part.
#[derive(Debug, Default)]
pub struct Run {
    /// In order.
    pub records: Vec<LogRecord>,
    /// All that they name.
    pub names: BTreeSet<SegmentSeq>,
    bytes: usize,
}

impl Run {
    /// Takes the record, unless the part would outgrow its segment; an empty run takes any.
    pub fn take(&mut self, record: LogRecord) -> Result<(), LogRecord> {
        let bytes = self.bytes + record_bytes_max(&record);
        let names = self.names.len() + record.names.len();
        if !self.records.is_empty() && (bytes > RECORD_BYTES_MAX || names > NAMES_MAX) {
            return Err(record);
        }
        self.bytes = bytes;
        self.names.extend(record.names.iter().copied());
        self.records.push(record);
        Ok(())
    }
}

/// An upper bound of a record's postcard length: varints take at most 10 bytes.
fn record_bytes_max(record: &LogRecord) -> usize {
    let changes =
        record.changes.iter().map(|(key, value)| 21 + key.len() + value.as_ref().map_or(0, Vec::len));
    40 + record.streams.len() * 5 + record.names.len() * 10 + changes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use gw_types::{Hash32, Lsn, SegmentSeq, StreamId};

    use super::{LogError, LogRecord, Part, RECORD_BYTES_MAX, Run, frame, record_bytes_max, unframe};

    fn record(lsn: u64, len: usize) -> LogRecord {
        LogRecord {
            lsn: Lsn(lsn),
            streams: vec![StreamId(0)],
            names: vec![SegmentSeq(lsn)],
            changes: vec![(vec![0x11, 2], Some(vec![7; len])), (vec![0x12], None)],
        }
    }

    fn part(records: Vec<LogRecord>) -> Part {
        Part {
            number: 3,
            prev: Hash32([0xaa; 32]),
            last: Lsn(300),
            epoch: 2,
            left_out: Vec::new(),
            segments: vec![(SegmentSeq(4), Hash32([0xbb; 32]))],
            records,
        }
    }

    #[test]
    fn the_bytes_of_a_part_are_golden() {
        let part = part(vec![record(299, 2)]);
        let hexed = hex::encode(part.encode());
        let prev = "aa".repeat(32);
        let named = "bb".repeat(32);
        assert_eq!(hexed, format!("03{prev}ac0202000104{named}01ab02010001ab020202110201020707011200"));
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
    fn a_part_never_outgrows_its_segment() {
        let mut run = Run::default();
        let mut lsn = 0;
        loop {
            lsn += 1;
            if run.take(record(lsn, 1 << 20)).is_err() {
                break;
            }
        }
        assert!((25..32).contains(&run.records.len()), "{}", run.records.len());
        assert!(part(run.records).encode().len() <= RECORD_BYTES_MAX + 100);
        let one = record(5, 1000);
        assert!(postcard::to_stdvec(&one).unwrap().len() <= record_bytes_max(&one));
    }
}
