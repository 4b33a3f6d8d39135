//! Listings, in bytewise order of key.
//!
//! One walk over the tree serves all: it goes depth first, looks into a directory only when a
//! listing needs what is in it, and can seek. A delimiter of `/` therefore costs one directory scan
//! and never descends; any other delimiter seeks past each common prefix; what a line shows stands
//! in the dentry itself.

mod inventory;
mod objects;
mod uploads;
mod versions;
mod walk;

pub(crate) use inventory::inventory_page;

/// Most lines of one page.
const PAGE_MAX: usize = 1000;

/// How keys are rolled up into common prefixes.
#[derive(Clone, Copy, Debug)]
struct Rollup<'a> {
    prefix: &'a [u8],
    /// Not empty.
    delimiter: Option<&'a [u8]>,
}

impl<'a> Rollup<'a> {
    fn new(prefix: &'a str, delimiter: Option<&'a str>) -> Self {
        let delimiter = delimiter.map(str::as_bytes).filter(|delimiter| !delimiter.is_empty());
        Self { prefix: prefix.as_bytes(), delimiter }
    }
    /// Rows to fetch first.
    fn first_page(&self) -> usize {
        match self.delimiter {
            None | Some(b"/") => walk::FIRST_PAGE,
            Some(_) => walk::FIRST_PAGE_SEEKING,
        }
    }
    /// The common prefix that a key, or everything in a directory, belongs to.
    fn common<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}
