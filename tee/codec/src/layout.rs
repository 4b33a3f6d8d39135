//! The CESS data layout as arithmetic: file -> segments of 32 MiB -> four data fragments of 8 MiB.
//!
//! Data fragment i is bytes `i * 8 MiB .. (i + 1) * 8 MiB` of its segment. The last segment of a
//! file is filled up with zeros; nothing in it says where the file ends, only the chain's
//! `file_size` does (cess-go-sdk `core/process/process.go`).

use std::ops::Range;

use gw_types::{DATA_FRAGMENTS, FRAGMENT_BYTES, FragmentIndex, SEGMENT_BYTES};

const FRAGMENT: usize = FRAGMENT_BYTES as usize;
const SEGMENT: usize = SEGMENT_BYTES as usize;

/// The bytes of one segment: exactly [`SEGMENT_BYTES`] of them.
#[derive(Clone, Copy)]
pub struct Segment<'a>(&'a [u8; SEGMENT]);

impl std::fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Segment(..)")
    }
}

impl<'a> Segment<'a> {
    /// `None` unless there are exactly [`SEGMENT_BYTES`] bytes.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// All bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The four data fragments, in order.
    pub fn data(self) -> [&'a [u8]; DATA_FRAGMENTS] {
        std::array::from_fn(|index| &self.0[index * FRAGMENT..(index + 1) * FRAGMENT])
    }
}

/// A piece of a file that lies in one data fragment. Made by [`pieces`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Segment of the file, from 0.
    pub segment: u64,
    /// Data fragment of the segment.
    pub fragment: FragmentIndex,
    /// Bytes within the fragment.
    pub range: Range<u64>,
}

/// Segments that `file_len` bytes fill, the last one perhaps in part. An empty file has none.
pub const fn segment_count(file_len: u64) -> u64 {
    file_len.div_ceil(SEGMENT_BYTES)
}

/// Copies up to one segment's bytes and fills it up with zeros. `None` when there are more bytes
/// than a segment holds.
pub fn pad_segment(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() > SEGMENT {
        return None;
    }
    // Zeroed memory comes from the system untouched, so a nearly empty segment costs little.
    let mut segment = vec![0; SEGMENT];
    segment[..bytes.len()].copy_from_slice(bytes);
    Some(segment)
}

/// Bytes of a segment that a data fragment holds. `None` for parity, which holds a mix of all.
pub const fn segment_range(fragment: FragmentIndex) -> Option<Range<usize>> {
    if !fragment.is_data() {
        return None;
    }
    let start = fragment.get() * FRAGMENT;
    Some(start..start + FRAGMENT)
}

/// Where a range of a file lies, fragment by fragment, in order. Empty for an empty range.
pub fn pieces(file: Range<u64>) -> impl Iterator<Item = Piece> {
    let mut at = file.start;
    std::iter::from_fn(move || {
        if at >= file.end {
            return None;
        }
        let start = at % FRAGMENT_BYTES;
        let len = (FRAGMENT_BYTES - start).min(file.end - at);
        let index = (at / FRAGMENT_BYTES) % DATA_FRAGMENTS as u64;
        let piece = Piece {
            segment: at / SEGMENT_BYTES,
            fragment: FragmentIndex::new(index as u8).expect("a remainder of 4 is below 12"),
            range: start..start + len,
        };
        at += len;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use gw_types::{FRAGMENT_BYTES, FragmentIndex, SEGMENT_BYTES};
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::{Segment, pad_segment, pieces, segment_count, segment_range};

    #[test]
    fn segments_are_counted_up_and_padded_with_zeros() {
        assert_eq!([0, 1, SEGMENT_BYTES, SEGMENT_BYTES + 1].map(segment_count), [0, 1, 1, 2]);
        let padded = pad_segment(b"abc").unwrap();
        assert_eq!(&padded[..4], b"abc\0");
        assert!(Segment::new(&padded).is_some());
        assert!(Segment::new(&padded[1..]).is_none());
        assert!(pad_segment(&vec![1; SEGMENT_BYTES as usize + 1]).is_none());
    }

    #[test]
    fn only_data_fragments_are_ranges_of_the_segment() {
        let ranges: Vec<_> = FragmentIndex::all().filter_map(segment_range).collect();
        assert_eq!(ranges.len(), 4);
        assert_eq!(ranges[0].start, 0);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(ranges[3].end, SEGMENT_BYTES as usize);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn pieces_cover_the_range_without_gap_or_overlap(start in 0..1u64 << 40, len in 0..200u64 << 20) {
            let mut at = start;
            for piece in pieces(start..start + len) {
                let fragment = piece.fragment.get() as u64;
                prop_assert_eq!(piece.segment * SEGMENT_BYTES + fragment * FRAGMENT_BYTES + piece.range.start, at);
                assert!(piece.range.end <= FRAGMENT_BYTES && !piece.range.is_empty());
                at += piece.range.end - piece.range.start;
            }
            prop_assert_eq!(at, start + len);
        }
    }
}
