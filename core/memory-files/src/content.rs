//! The bytes of one file: pages that were written, and holes where there are none.
//!
//! Two rules hold after every call: no page lies wholly behind the end, and the bytes of the last page
//! behind the end are zero. So a file that grows shows zeros, and a page is data.

use std::collections::BTreeMap;

/// Bytes of a page: what `stat` counts, and what collapse and insert must be aligned to.
pub const PAGE_BYTES: u64 = 4096;
const PAGE: usize = PAGE_BYTES as usize;

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    len: u64,
}

/// One page's share of a range: its number, where in it, where in the range.
struct Share {
    page: u64,
    start: usize,
    end: usize,
    at: usize,
}

fn shares(offset: u64, len: u64) -> impl Iterator<Item = Share> {
    let end = offset + len;
    let pages = if len == 0 { 0..0 } else { offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES) };
    pages.map(move |page| {
        let base = page * PAGE_BYTES;
        let start = offset.max(base);
        Share {
            page,
            start: (start - base) as usize,
            end: (end.min(base + PAGE_BYTES) - base) as usize,
            at: (start - offset) as usize,
        }
    })
}

impl Content {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn page_count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Pages that a write of this range would add.
    pub fn missing(&self, offset: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let (first, last) = (offset / PAGE_BYTES, (offset + len - 1) / PAGE_BYTES);
        (last - first + 1) - self.pages.range(first..=last).count() as u64
    }

    /// Fewer than `len` bytes only at the end.
    pub fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let len = len.min(self.len.saturating_sub(offset));
        if len == 0 {
            return Vec::new();
        }
        let mut bytes = vec![0; len as usize];
        let (first, last) = (offset / PAGE_BYTES, (offset + len - 1) / PAGE_BYTES);
        for (page, data) in self.pages.range(first..=last) {
            let base = page * PAGE_BYTES;
            let (start, end) = (offset.max(base), (offset + len).min(base + PAGE_BYTES));
            let from = (start - base) as usize..(end - base) as usize;
            bytes[(start - offset) as usize..(end - offset) as usize].copy_from_slice(&data[from]);
        }
        bytes
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for share in shares(offset, bytes.len() as u64) {
            let page = self.pages.entry(share.page).or_insert_with(|| Box::new([0; PAGE]));
            let len = share.end - share.start;
            page[share.start..share.end].copy_from_slice(&bytes[share.at..share.at + len]);
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            let kept = len.div_ceil(PAGE_BYTES);
            self.pages.split_off(&kept);
            let within = (len % PAGE_BYTES) as usize;
            if within > 0
                && let Some(page) = self.pages.get_mut(&(len / PAGE_BYTES))
            {
                page[within..].fill(0);
            }
        }
        self.len = len;
    }

    /// The range becomes a hole, as far as it is whole pages; the rest of it becomes zeros.
    pub fn punch(&mut self, offset: u64, len: u64) {
        let len = len.min(self.len.saturating_sub(offset));
        if len == 0 {
            return;
        }
        let end = offset + len;
        let (first, last) = (offset / PAGE_BYTES, (end - 1) / PAGE_BYTES);
        let touched: Vec<u64> = self.pages.range(first..=last).map(|(page, _)| *page).collect();
        for number in touched {
            let base = number * PAGE_BYTES;
            let start = offset.max(base) - base;
            let stop = end.min(base + PAGE_BYTES) - base;
            // To the end of the file is to the end of its last page: behind it are zeros anyhow.
            if start == 0 && (stop == PAGE_BYTES || end == self.len) {
                self.pages.remove(&number);
            } else if let Some(page) = self.pages.get_mut(&number) {
                page[start as usize..stop as usize].fill(0);
            }
        }
    }

    /// Cuts out pages; the caller has checked that the range is of whole pages and ends before the end.
    pub fn collapse(&mut self, offset: u64, len: u64) {
        let (first, count) = (offset / PAGE_BYTES, len / PAGE_BYTES);
        let behind = self.pages.split_off(&first);
        let moved = behind.into_iter().filter(|(page, _)| *page >= first + count);
        self.pages.extend(moved.map(|(page, data)| (page - count, data)));
        self.len -= len;
    }

    /// Puts a hole in; the caller has checked that it is of whole pages and begins before the end.
    pub fn insert(&mut self, offset: u64, len: u64) {
        let (first, count) = (offset / PAGE_BYTES, len / PAGE_BYTES);
        let behind = self.pages.split_off(&first);
        self.pages.extend(behind.into_iter().map(|(page, data)| (page + count, data)));
        self.len += len;
    }

    /// The first byte of data at or behind `offset`.
    pub fn data_from(&self, offset: u64) -> Option<u64> {
        let (page, _) = self.pages.range(offset / PAGE_BYTES..).next()?;
        let found = offset.max(page * PAGE_BYTES);
        (found < self.len).then_some(found)
    }

    /// The first byte of a hole at or behind `offset`; the end at the latest.
    pub fn hole_from(&self, offset: u64) -> u64 {
        let first = offset / PAGE_BYTES;
        let mut expected = first;
        for (page, _) in self.pages.range(first..) {
            if *page != expected {
                break;
            }
            expected += 1;
        }
        offset.max(expected * PAGE_BYTES).min(self.len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::prop_oneof;
    use proptest::strategy::Strategy;

    use super::{Content, PAGE_BYTES};

    #[derive(Clone, Debug)]
    enum Act {
        Write(u64, u64, u8),
        SetLen(u64),
        Punch(u64, u64),
        Collapse(u64, u64),
        Insert(u64, u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        let at = 0..5 * PAGE_BYTES;
        prop_oneof![
            (at.clone(), 0..9000u64, any::<u8>()).prop_map(|(at, len, fill)| Act::Write(at, len, fill)),
            at.clone().prop_map(Act::SetLen),
            (at.clone(), 0..9000u64).prop_map(|(at, len)| Act::Punch(at, len)),
            (0..4u64, 1..3u64).prop_map(|(at, len)| Act::Collapse(at, len)),
            (0..4u64, 1..3u64).prop_map(|(at, len)| Act::Insert(at, len)),
        ]
    }

    /// The same on one plain vector.
    fn apply(content: &mut Content, plain: &mut Vec<u8>, act: &Act) {
        match *act {
            Act::Write(at, len, fill) => {
                content.write(at, &vec![fill; len as usize]);
                if len > 0 {
                    let end = (at + len) as usize;
                    plain.resize(plain.len().max(end), 0);
                    plain[at as usize..end].fill(fill);
                }
            }
            Act::SetLen(len) => {
                content.set_len(len);
                plain.resize(len as usize, 0);
            }
            Act::Punch(at, len) => {
                content.punch(at, len);
                let (start, end) = ((at as usize).min(plain.len()), ((at + len) as usize).min(plain.len()));
                plain[start..end].fill(0);
            }
            Act::Collapse(at, len) => {
                let (at, len) = (at * PAGE_BYTES, len * PAGE_BYTES);
                if at + len < content.len() {
                    content.collapse(at, len);
                    plain.drain(at as usize..(at + len) as usize);
                }
            }
            Act::Insert(at, len) => {
                let (at, len) = (at * PAGE_BYTES, len * PAGE_BYTES);
                if at < content.len() {
                    content.insert(at, len);
                    let tail = plain.split_off(at as usize);
                    plain.resize((at + len) as usize, 0);
                    plain.extend(tail);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn pages_and_holes_read_as_one_vector_would(acts in proptest::collection::vec(act(), 1..40)) {
            let (mut content, mut plain) = (Content::default(), Vec::new());
            for act in &acts {
                apply(&mut content, &mut plain, act);
                assert_eq!(content.len(), plain.len() as u64, "{act:?}");
                assert_eq!(content.read(0, u64::MAX), plain, "{act:?}");
                assert!(content.page_count() <= content.len().div_ceil(PAGE_BYTES), "{act:?}");
                for at in (0..content.len()).step_by(1000) {
                    let hole = content.hole_from(at);
                    let data = content.data_from(at);
                    assert!(data == Some(at) || hole == at);
                    let zeros_until = data.unwrap_or(content.len());
                    assert!(plain[at as usize..zeros_until as usize].iter().all(|byte| *byte == 0));
                }
            }
        }
    }
}
