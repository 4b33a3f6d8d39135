//! Records: what one commit leaves in the journal, and their frame on disk.
//!
//! All integers are little-endian; a frame begins at a multiple of 8 in its file.
//!
//! ```text
//!      0  len      u32   of the whole frame, a multiple of 8
//!      4  crc      u32   CRC-32C over `len` and bytes 8..len, seeded with the CRC of the file's header
//!      8  lsn      u64   the file's first LSN, then one more each
//!     16  staged   u64   the staged watermark when the frame was written
//!     24  stream   u32   the first of its streams
//!     28  flags    u32   0
//!     32  names    u32   how many ...
//!     36  changes  u32
//!     40  inlines  u32
//!     44  streams  u32   how many more
//!     48  streams  { stream u32 }, ascending
//!      .  names    { segment u64 }
//!      .  changes  { key_len u32, value_len u32 (FFFFFFFF deletes), key, value }
//!      .  inlines  { segment u64, offset u64, len u32, bytes }
//!      .  zeros to a multiple of 8
//! ```
//!
//! The seed binds a frame to its file, and the header to database, epoch and first LSN, so bytes of
//! another file or an earlier life never replay. `staged` tells a torn tail from a rotten middle: a
//! whole frame further on that says `staged >= n` proves that record n had been synced.

use bytes::Bytes;
use gw_types::ports::RowChange;
use gw_types::{Lsn, SegmentSeq, StreamId};

use crate::overlay::Change;

/// A staged record as the log stream ships it. Inline bytes are left out: they are in the segments it
/// names; and so are rows of this crate's own tables (0x00..=0x0F).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub lsn: Lsn,
    /// The streams whose watermarks it belongs to, ascending: at least one. With several, none of them
    /// may have it without the others.
    pub streams: Vec<StreamId>,
    /// Segments whose bytes it points at.
    pub names: Vec<SegmentSeq>,
    /// Absolute rows; `None` deletes.
    pub changes: Vec<RowChange>,
}

/// Bytes that travel in the record and belong in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inline {
    pub(crate) segment: SegmentSeq,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// What a commit wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Ascending; stream 0 when there is none.
    pub(crate) streams: Vec<StreamId>,
    pub(crate) names: Vec<SegmentSeq>,
    pub(crate) changes: Vec<Change>,
    pub(crate) inlines: Vec<Inline>,
}

/// A record with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) lsn: Lsn,
    pub(crate) staged: Lsn,
    pub(crate) body: Body,
    /// Bytes on disk.
    pub(crate) len: u64,
}

impl Frame {
    pub(crate) fn into_record(self) -> Record {
        let own = |(key, value): Change| (key.to_vec(), value.map(|value| value.to_vec()));
        Record {
            lsn: self.lsn,
            streams: match self.body.streams {
                streams if streams.is_empty() => vec![StreamId::default()],
                streams => streams,
            },
            names: self.body.names,
            changes: self
                .body
                .changes
                .into_iter()
                .filter(|(key, _)| key.first().is_some_and(|table| *table > OWN_TABLES_LAST))
                .map(own)
                .collect(),
        }
    }
}

pub(crate) const FRAME_ALIGN: usize = 8;
const FIXED_BYTES: usize = 48;
const DELETED: u32 = u32::MAX;
/// Tables up to this one are the database's own.
const OWN_TABLES_LAST: u8 = 0x0f;

/// Why no frame could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// Nothing was written here: the bytes end or the length is zero.
    End,
    /// More bytes are needed than there are: this many.
    Short(usize),
    /// Something else stands here.
    Bad(&'static str),
}

impl Body {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.changes.is_empty() && self.inlines.is_empty()
    }

    /// Bytes of the frame.
    pub(crate) fn frame_len(&self) -> u64 {
        let changes: usize = self
            .changes
            .iter()
            .map(|(key, value)| 8 + key.len() + value.as_ref().map_or(0, Bytes::len))
            .sum();
        let inlines: usize = self.inlines.iter().map(|inline| 20 + inline.bytes.len()).sum();
        let streams = self.streams.len().saturating_sub(1) * 4;
        (FIXED_BYTES + streams + self.names.len() * 8 + changes + inlines).next_multiple_of(FRAME_ALIGN)
            as u64
    }

    /// Appends the frame to `out`. Its length has been checked to fit 32 bits (`record_bytes_max`).
    pub(crate) fn encode(&self, out: &mut Vec<u8>, seed: u32, lsn: Lsn, staged: Lsn) {
        let start = out.len();
        let len = self.frame_len() as usize;
        out.reserve(len);
        out.extend_from_slice(&(len as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&lsn.0.to_le_bytes());
        out.extend_from_slice(&staged.0.to_le_bytes());
        let first = self.streams.first().copied().unwrap_or_default();
        let more = self.streams.get(1..).unwrap_or_default();
        out.extend_from_slice(&first.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for count in [self.names.len(), self.changes.len(), self.inlines.len(), more.len()] {
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
        for stream in more {
            out.extend_from_slice(&stream.0.to_le_bytes());
        }
        for segment in &self.names {
            out.extend_from_slice(&segment.0.to_le_bytes());
        }
        for (key, value) in &self.changes {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(&value.as_ref().map_or(DELETED, |value| value.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        for inline in &self.inlines {
            out.extend_from_slice(&inline.segment.0.to_le_bytes());
            out.extend_from_slice(&inline.offset.to_le_bytes());
            out.extend_from_slice(&(inline.bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(&inline.bytes);
        }
        out.resize(start + len, 0);
        let crc = frame_crc(seed, &out[start..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

fn frame_crc(seed: u32, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &frame[..4]), &frame[8..])
}

/// Reads the frame at the beginning of `bytes`. Its byte strings share the memory of `bytes`.
pub(crate) fn decode(bytes: &Bytes, seed: u32) -> Result<Frame, NoFrame> {
    let mut cursor = Cursor { bytes, at: 0 };
    let Some(len) = cursor.u32() else { return Err(NoFrame::End) };
    let len = len as usize;
    if len == 0 {
        return Err(NoFrame::End);
    }
    if len < FIXED_BYTES || !len.is_multiple_of(FRAME_ALIGN) {
        return Err(NoFrame::Bad("a record length that cannot be"));
    }
    if len > bytes.len() {
        return Err(NoFrame::Short(len));
    }
    let frame = bytes.slice(..len);
    let mut cursor = Cursor { bytes: &frame, at: 4 };
    if cursor.u32() != Some(frame_crc(seed, &frame)) {
        return Err(NoFrame::Bad("a record that fails its CRC"));
    }
    decode_body(&mut cursor, len).ok_or(NoFrame::Bad("a record whose counts do not fit its length"))
}

fn decode_body(cursor: &mut Cursor<'_>, len: usize) -> Option<Frame> {
    let (lsn, staged) = (Lsn(cursor.u64()?), Lsn(cursor.u64()?));
    let mut streams = vec![StreamId(cursor.u32()?)];
    let _flags = cursor.u32()?;
    let [names, changes, inlines, more] = [cursor.u32()?, cursor.u32()?, cursor.u32()?, cursor.u32()?];
    for _ in 0..more {
        streams.push(StreamId(cursor.u32()?));
    }
    let mut body = Body { streams, ..Body::default() };
    for _ in 0..names {
        body.names.push(SegmentSeq(cursor.u64()?));
    }
    for _ in 0..changes {
        let (key_len, value_len) = (cursor.u32()?, cursor.u32()?);
        let key = cursor.take(key_len as usize)?;
        let value = if value_len == DELETED { None } else { Some(cursor.take(value_len as usize)?) };
        body.changes.push((key, value));
    }
    for _ in 0..inlines {
        let (segment, offset, len) = (SegmentSeq(cursor.u64()?), cursor.u64()?, cursor.u32()?);
        body.inlines.push(Inline { segment, offset, bytes: cursor.take(len as usize)? });
    }
    Some(Frame { lsn, staged, body, len: len as u64 })
}

/// The LSN that a frame at the beginning of `bytes` claims, unchecked: a cheap test before the CRC.
pub(crate) fn claimed_lsn(bytes: &[u8]) -> Option<Lsn> {
    let len = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    if len < FIXED_BYTES || !len.is_multiple_of(FRAME_ALIGN) || len > bytes.len() {
        return None;
    }
    Some(Lsn(u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?)))
}

/// Takes little-endian integers and byte strings off a buffer; `None` where it ends.
pub(crate) struct Cursor<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) at: usize,
}

impl Cursor<'_> {
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body {
        Body {
            streams: vec![StreamId(7)],
            names: vec![SegmentSeq(3)],
            changes: vec![("key".into(), Some("value".into())), ("gone".into(), None)],
            inlines: vec![Inline { segment: SegmentSeq(3), offset: 4096, bytes: "sealed".into() }],
        }
    }

    #[test]
    fn the_frame_of_a_record_has_these_bytes() {
        let mut out = Vec::new();
        body().encode(&mut out, 0x1234_5678, Lsn(10), Lsn(9));
        assert_eq!(out.len() as u64, body().frame_len());
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "70000000cb90aa080a000000000000000900000000000000070000000000000001000000020000000100000000000000030000000000000003000000050000006b657976616c756504000000ffffffff676f6e6503000000000000000010000000000000060000007365616c65640000";

    #[test]
    fn a_frame_reads_back_and_any_flipped_bit_is_noticed() {
        let mut out = Vec::new();
        body().encode(&mut out, 77, Lsn(10), Lsn(9));
        let frame = decode(&Bytes::from(out.clone()), 77).unwrap();
        assert_eq!((frame.lsn, frame.staged, &frame.body), (Lsn(10), Lsn(9), &body()));
        assert!(decode(&Bytes::from(out.clone()), 78).is_err(), "another file's seed");
        for bit in 0..out.len() * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&Bytes::from(bad), 77).is_err(), "bit {bit}");
        }
        for len in 0..out.len() {
            assert!(decode(&Bytes::from(out[..len].to_vec()), 77).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_record_of_several_streams_reads_back() {
        let several = Body { streams: vec![StreamId(0), StreamId(7), StreamId(9)], ..body() };
        let mut out = Vec::new();
        several.encode(&mut out, 5, Lsn(3), Lsn(2));
        assert_eq!(out.len() as u64, several.frame_len());
        assert_eq!(decode(&Bytes::from(out), 5).unwrap().body, several);
        let mut record = decode_one(&Body { streams: Vec::new(), ..body() });
        assert_eq!(record.streams, [StreamId(0)]);
        record = decode_one(&several);
        assert_eq!(record.streams, several.streams);
    }

    fn decode_one(body: &Body) -> Record {
        let mut out = Vec::new();
        body.encode(&mut out, 5, Lsn(3), Lsn(2));
        decode(&Bytes::from(out), 5).unwrap().into_record()
    }

    #[test]
    fn zeros_are_the_end() {
        assert_eq!(decode(&Bytes::from(vec![0; 64]), 1), Err(NoFrame::End));
        assert_eq!(decode(&Bytes::new(), 1), Err(NoFrame::End));
    }
}
