//! How a directory of S3 names looks as a directory of files.
//!
//! ```text
//!   dentry of the store                              name in the mount
//!   name/   that lives                               name
//!   name/   with history alone                       nothing
//!   name    where no directory name/ lives           name
//!   ''      an empty object: the directory's mark    nothing
//!   any other: shadowed by a directory, '', '.',     .cess%<cookie>, with xattr user.s3.key
//!   '..', over 255 bytes, with NUL, `.cess%...`
//! ```
//!
//! A cookie is the inode's number, or a number of its own for further names of one inode: never given
//! twice, so an escaped name leads back to the one dentry it was made from. Order is that of names,
//! bytewise, so a name that comes or goes meanwhile is seen at most once; a cookie means "behind this
//! name", which an open directory remembers for its last 8192 names and finds from the inode else.

use gw_db::Read;
use gw_types::InodeId;

use super::table::Positions;
use crate::api::files::{Errno, FilesError, FilesResult};
use crate::error::StoreResult;
use crate::namespace::{self, Spot};
use crate::rows::{self, DentryRow, DirCounts, Directory, InodeRow, Leaf, key};

/// Longest name, in bytes.
pub(super) const NAME_LEN_MAX: usize = 255;
/// What names begin with that stand for others.
pub(super) const ESCAPE: &[u8] = b".cess%";
const SCAN_PAGE: usize = 512;

/// A name as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Ends with `/` for a directory.
    pub(super) spot: Spot,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Leaf(Leaf),
    Directory(Directory),
}

impl Seen {
    pub(super) fn inode(&self) -> InodeId {
        match &self.what {
            What::Leaf(leaf) => leaf.inode,
            What::Directory(directory) => directory.inode,
        }
    }
    pub(super) fn cookie(&self) -> u64 {
        match &self.what {
            What::Leaf(leaf) => leaf.cookie(),
            What::Directory(directory) => directory.inode.0,
        }
    }
    /// The name without a directory's `/`.
    fn plain(&self) -> &[u8] {
        self.spot.name.strip_suffix(b"/").unwrap_or(&self.spot.name)
    }
}

/// The dentry name of a directory.
pub(super) fn directory_name(name: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(name.len() + 1);
    full.extend_from_slice(name);
    full.push(b'/');
    full
}

/// Whether the name says what it is in a mount.
fn is_plain(name: &[u8]) -> bool {
    !name.is_empty()
        && name != b"."
        && name != b".."
        && name.len() <= NAME_LEN_MAX
        && !name.contains(&0)
        && !name.starts_with(ESCAPE)
}

/// A name that may be given to something new.
pub(super) fn check_new(name: &[u8]) -> FilesResult<()> {
    if name.len() > NAME_LEN_MAX {
        return Err(Errno::NameTooLong.into());
    }
    if name.starts_with(ESCAPE) {
        return Err(FilesError::new(Errno::Invalid, "names that begin with .cess% stand for others"));
    }
    if name.contains(&b'/') || !is_plain(name) {
        return Err(Errno::Invalid.into());
    }
    Ok(())
}

/// An empty object at `d/`: it makes the directory explicit and is no file.
pub(super) fn is_mark(name: &[u8], leaf: &Leaf) -> bool {
    name.is_empty() && leaf.published.is_some_and(|summary| summary.size == 0)
}

fn living(read: &impl Read, parent: InodeId, name: &[u8]) -> StoreResult<Option<Directory>> {
    match namespace::dentry(read, parent, &directory_name(name))? {
        Some(DentryRow::Directory(directory)) if directory.live => Ok(Some(directory)),
        _ => Ok(None),
    }
}

/// Finds what a name of the mount stands for.
pub(super) fn find(read: &impl Read, parent: InodeId, name: &[u8]) -> FilesResult<Option<Seen>> {
    if name.len() > NAME_LEN_MAX {
        return Err(Errno::NameTooLong.into());
    }
    if name.starts_with(ESCAPE) {
        return Ok(find_escaped(read, parent, &name[ESCAPE.len()..])?);
    }
    if !is_plain(name) || name.contains(&b'/') {
        return Ok(None);
    }
    if let Some(directory) = living(read, parent, name)? {
        let spot = Spot { parent, name: directory_name(name) };
        return Ok(Some(Seen { spot, what: What::Directory(directory) }));
    }
    let spot = Spot { parent, name: name.to_vec() };
    Ok(namespace::leaf(read, &spot)?.map(|leaf| Seen { spot, what: What::Leaf(leaf) }))
}

fn find_escaped(read: &impl Read, parent: InodeId, digits: &[u8]) -> StoreResult<Option<Seen>> {
    let cookie = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
    let Some(cookie) = cookie else { return Ok(None) };
    let Some(name) = name_at(read, parent, cookie)? else { return Ok(None) };
    let Some(row) = namespace::dentry(read, parent, &name)? else { return Ok(None) };
    let seen = seen(parent, name, row);
    // Only what has no name of its own goes by an escape.
    let shown = shown_name(read, &seen, true)?;
    Ok(shown.filter(|shown| shown.starts_with(ESCAPE)).map(|_| seen))
}

fn seen(parent: InodeId, name: Vec<u8>, row: DentryRow) -> Seen {
    let what = match row {
        DentryRow::Leaf(leaf) => What::Leaf(leaf),
        DentryRow::Directory(directory) => What::Directory(directory),
    };
    Seen { spot: Spot { parent, name }, what }
}

/// The dentry that a cookie of this directory belongs to.
fn name_at(read: &impl Read, parent: InodeId, cookie: u64) -> StoreResult<Option<Vec<u8>>> {
    let row: Option<InodeRow> = rows::load(read, "inode", &key::inode(InodeId(cookie)))?;
    let places = row.map(|row| row.places).unwrap_or_default();
    for place in places.into_iter().filter(|place| place.parent == parent) {
        let found = namespace::dentry(read, parent, &place.name)?;
        if found.is_some_and(|row| seen(parent, Vec::new(), row).cookie() == cookie) {
            return Ok(Some(place.name));
        }
    }
    // A further name of some inode: no row leads from its number to it.
    let mut from = Vec::new();
    loop {
        let page = rows::under(read, &key::dentries(parent), &from, SCAN_PAGE)?;
        for (row_key, value) in &page {
            let row: DentryRow = rows::decode("dentry", value)?;
            if matches!(row, DentryRow::Leaf(leaf) if leaf.cookie == Some(cookie)) {
                return Ok(Some(row_key[key::ID_PREFIX_LEN..].to_vec()));
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == SCAN_PAGE => from = key::after(last),
            _ => return Ok(None),
        }
    }
}

/// The name in the mount; `None`: not shown. `directories`: whether the directory has any, so that a
/// leaf may be shadowed.
fn shown_name(read: &impl Read, seen: &Seen, directories: bool) -> StoreResult<Option<Vec<u8>>> {
    let plain = seen.plain();
    let shadowed = match &seen.what {
        What::Directory(directory) if !directory.live => return Ok(None),
        What::Directory(_) => false,
        What::Leaf(leaf) if is_mark(plain, leaf) => return Ok(None),
        What::Leaf(_) => directories && living(read, seen.spot.parent, plain)?.is_some(),
    };
    if is_plain(plain) && !shadowed {
        return Ok(Some(plain.to_vec()));
    }
    let mut name = ESCAPE.to_vec();
    name.extend_from_slice(seen.cookie().to_string().as_bytes());
    Ok(Some(name))
}

/// Whether a name has to go by an escape.
pub(super) fn is_escaped(read: &impl Read, seen: &Seen) -> StoreResult<bool> {
    Ok(shown_name(read, seen, true)?.is_some_and(|name| name.starts_with(ESCAPE)))
}

/// Names of a directory behind a cookie (2: all), in order.
pub(super) fn names_behind(
    read: &impl Read,
    (parent, counts): (InodeId, &DirCounts),
    cookie: u64,
    positions: &mut Positions,
    count_max: usize,
) -> FilesResult<Vec<(Vec<u8>, Seen)>> {
    let mut from = match cookie {
        0..=2 => Vec::new(),
        _ => {
            let name = match positions.find(cookie) {
                Some(name) => name,
                None => name_at(read, parent, cookie)?
                    .ok_or_else(|| FilesError::new(Errno::Invalid, "nothing is at this position any more"))?,
            };
            key::after(&key::dentry(parent, &name))
        }
    };
    let mut found = Vec::new();
    while found.len() < count_max {
        let page_max = (count_max - found.len()).clamp(16, SCAN_PAGE);
        let page = rows::under(read, &key::dentries(parent), &from, page_max)?;
        for (row_key, value) in &page {
            let seen = seen(parent, row_key[key::ID_PREFIX_LEN..].to_vec(), rows::decode("dentry", value)?);
            if let Some(name) = shown_name(read, &seen, counts.directories > 0)? {
                positions.remember(seen.cookie(), seen.spot.name.clone());
                found.push((name, seen));
                if found.len() == count_max {
                    return Ok(found);
                }
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == page_max => from = key::after(last),
            _ => break,
        }
    }
    Ok(found)
}
