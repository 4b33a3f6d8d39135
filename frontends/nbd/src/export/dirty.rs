//! Which parts of a device have changed since a moment: a bitmap, one bit for [`GRAIN_BYTES`].
//!
//! Marking is lock-free and happens before the change itself, so a change that fails half-way is
//! still shown. 16 TiB need 32 MiB of bits.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{ByteRange, DIRTY, Extent};

/// What one bit stands for.
pub const GRAIN_BYTES: u64 = 64 << 10;

/// The bitmap.
#[derive(Debug)]
pub struct DirtyMap {
    words: Vec<AtomicU64>,
}

impl DirtyMap {
    /// Nothing has changed yet.
    pub fn new(size_bytes: u64) -> Self {
        let bits = size_bytes.div_ceil(GRAIN_BYTES);
        let words = usize::try_from(bits.div_ceil(64)).expect("a device's bitmap fits into memory");
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The range is about to change.
    pub fn mark(&self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let (first, last) = (range.start() / GRAIN_BYTES, (range.end() - 1) / GRAIN_BYTES);
        for index in first / 64..=last / 64 {
            let from = if index == first / 64 { first % 64 } else { 0 };
            let to = if index == last / 64 { last % 64 } else { 63 };
            let mask = (u64::MAX >> (63 - to)) & (u64::MAX << from);
            let word = usize::try_from(index).ok().and_then(|index| self.words.get(index));
            word.map(|word| word.fetch_or(mask, Ordering::AcqRel));
        }
    }

    fn is_marked(&self, grain: u64) -> bool {
        let word = usize::try_from(grain / 64).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word.load(Ordering::Acquire) >> (grain % 64) & 1 == 1)
    }

    /// The states of a range, at most `extents_max` of them.
    pub fn extents(&self, range: ByteRange, extents_max: usize) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut at = range.start();
        while at < range.end() {
            let grain = at / GRAIN_BYTES;
            let length = ((grain + 1) * GRAIN_BYTES).min(range.end()) - at;
            let flags = if self.is_marked(grain) { DIRTY } else { 0 };
            let full = extents.len() == extents_max;
            match extents.last_mut() {
                Some(last) if last.flags == flags => last.length += length,
                _ if full => break,
                _ => extents.push(Extent { length, flags }),
            }
            at += length;
        }
        extents
    }
}

#[cfg(test)]
mod tests {
    use super::{DirtyMap, GRAIN_BYTES};
    use crate::export::ByteRange;

    fn range(start: u64, len: u64) -> ByteRange {
        ByteRange::new(start, len).unwrap()
    }

    #[test]
    fn what_was_marked_is_shown_whole_and_nothing_else() {
        let size = 300 * GRAIN_BYTES;
        for (start, len) in
            [(0, 1), (GRAIN_BYTES * 63, GRAIN_BYTES * 2), (5, GRAIN_BYTES * 200), (size - 1, 1)]
        {
            let map = DirtyMap::new(size);
            map.mark(range(start, len));
            let mut at = 0;
            for extent in map.extents(range(0, size), 100) {
                let (first, last) =
                    (start / GRAIN_BYTES * GRAIN_BYTES, (start + len).next_multiple_of(GRAIN_BYTES));
                let inside = at >= first && at + extent.length <= last;
                assert_eq!(extent.flags == 1, inside, "{start}+{len}: {at}+{}", extent.length);
                at += extent.length;
            }
            assert_eq!(at, size);
        }
    }

    #[test]
    fn a_list_of_extents_is_bounded() {
        let map = DirtyMap::new(100 * GRAIN_BYTES);
        (0..100).step_by(2).for_each(|grain| map.mark(range(grain * GRAIN_BYTES, 1)));
        assert_eq!(map.extents(range(0, 100 * GRAIN_BYTES), 7).len(), 7);
    }
}
