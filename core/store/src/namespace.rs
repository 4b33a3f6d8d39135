//! The tree of names: where a key is, and what a change of one name does to its directories.
//!
//! A key is cut at each `/`: all pieces but the last are directories (their names end with `/`), the
//! last is the leaf and may be empty (`d/` is the leaf with the empty name in `d/`). Directories
//! come into being with the first name under them and go, when implicit, with the last. Each counts
//! its entries, its visible children and its children with history; only a step between 0 and 1 of
//! the last two reaches its parent, so a change costs two rows a level at most and usually one.

use gw_db::Read;
use gw_types::{InodeId, Timestamp};

use crate::core::Work;
use crate::error::{StoreError, StoreResult};
use crate::rows::{self, DentryRow, DirCounts, Directory, InodeBody, InodeRow, Leaf, Place, Posix, key};

/// A leaf's place: its directory and its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) parent: InodeId,
    pub(crate) name: Vec<u8>,
}

/// A key looked up as far as its directories go.
#[derive(Clone, Debug)]
pub(crate) struct Located<'k> {
    /// The deepest directory on the way that is there.
    pub(crate) deepest: InodeId,
    /// Directories still to be made below it, in order.
    pub(crate) missing: Vec<&'k [u8]>,
    /// The leaf's name.
    pub(crate) name: &'k [u8],
}

impl Located<'_> {
    /// `None` while a directory is missing: then nothing can be at the key.
    pub(crate) fn spot(&self) -> Option<Spot> {
        self.missing.is_empty().then(|| Spot { parent: self.deepest, name: self.name.to_vec() })
    }
}

/// Whether a name counts in its directory, in each of the three ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) entry: bool,
    pub(crate) visible: bool,
    pub(crate) history: bool,
}

impl Presence {
    pub(crate) fn of(leaf: Option<&Leaf>, history: bool) -> Self {
        Self { entry: leaf.is_some(), visible: leaf.is_some_and(|leaf| leaf.published.is_some()), history }
    }
}

/// Finds a key's directory.
pub(crate) fn locate<'k>(read: &impl Read, root: InodeId, key: &'k str) -> StoreResult<Located<'k>> {
    let mut deepest = root;
    let mut missing = Vec::new();
    let mut pieces = key.as_bytes().split_inclusive(|byte| *byte == b'/').peekable();
    while let Some(piece) = pieces.next() {
        if !piece.ends_with(b"/") {
            return Ok(Located { deepest, missing, name: piece });
        }
        if missing.is_empty() {
            match dentry(read, deepest, piece)? {
                Some(DentryRow::Directory(directory)) => deepest = directory.inode,
                Some(DentryRow::Leaf(_)) => return Err(mixed_up()),
                None => missing.push(piece),
            }
        } else {
            missing.push(piece);
        }
        if pieces.peek().is_none() {
            break;
        }
    }
    Ok(Located { deepest, missing, name: b"" })
}

/// The leaf at a spot.
pub(crate) fn leaf(read: &impl Read, spot: &Spot) -> StoreResult<Option<Leaf>> {
    match dentry(read, spot.parent, &spot.name)? {
        Some(DentryRow::Leaf(leaf)) => Ok(Some(leaf)),
        Some(DentryRow::Directory(_)) => Err(mixed_up()),
        None => Ok(None),
    }
}

fn dentry(read: &impl Read, parent: InodeId, name: &[u8]) -> StoreResult<Option<DentryRow>> {
    rows::load(read, "dentry", &key::dentry(parent, name))
}

fn mixed_up() -> StoreError {
    StoreError::corrupt("a dentry is not of the kind its name says")
}

/// A directory nobody has made on purpose, or a bucket's root.
pub(crate) fn new_directory(
    work: &Work<'_, '_>,
    bucket: InodeId,
    place: Option<Place>,
    counts: DirCounts,
) -> InodeRow {
    let defaults = &work.core.config.posix;
    InodeRow {
        bucket,
        posix: posix(defaults.dir_mode, defaults.uid, defaults.gid, work.now, 2),
        places: place.into_iter().collect(),
        xattrs: Vec::new(),
        body: InodeBody::Directory(counts),
    }
}

pub(crate) fn posix(mode: u32, uid: u32, gid: u32, now: Timestamp, nlink: u32) -> Posix {
    Posix { mode, uid, gid, nlink, atime: now, mtime: now, ctime: now, btime: now }
}

impl Work<'_, '_> {
    /// Makes the directories that a key still needs, and says where its leaf goes. They are made
    /// with the counts they will have once the leaf is written as `new`, so call it together with
    /// that write; nothing is left to propagate then.
    pub(crate) fn make_way(
        &mut self,
        bucket: InodeId,
        located: &Located<'_>,
        new: Presence,
    ) -> StoreResult<Spot> {
        let mut parent = located.deepest;
        let last = located.missing.len().saturating_sub(1);
        let fresh = !located.missing.is_empty();
        for (index, name) in located.missing.iter().enumerate() {
            let inode = self.new_inode();
            let child_entry = index < last || new.entry;
            let counts = DirCounts {
                entries: child_entry.into(),
                visible: new.visible.into(),
                history: new.history.into(),
            };
            let place = Place { parent, name: name.to_vec() };
            let row = new_directory(self, bucket, Some(place), counts);
            self.put_row(key::inode(inode), &row);
            self.put_dentry(
                parent,
                name,
                &DentryRow::Directory(Directory { inode, visible: new.visible, history: new.history }),
            );
            parent = inode;
        }
        if fresh {
            let child = Presence { entry: true, ..new };
            self.adjust(located.deepest, Presence::default(), child)?;
        }
        Ok(Spot { parent, name: located.name.to_vec() })
    }

    pub(crate) fn put_dentry(&mut self, parent: InodeId, name: &[u8], row: &DentryRow) {
        self.put_row(key::dentry(parent, name), row);
    }

    /// Writes or removes the leaf's dentry.
    pub(crate) fn set_leaf(&mut self, spot: &Spot, leaf: Option<Leaf>) {
        match leaf {
            Some(leaf) => self.put_dentry(spot.parent, &spot.name, &DentryRow::Leaf(leaf)),
            None => self.txn.delete(key::dentry(spot.parent, &spot.name)),
        }
    }

    /// Counts the change of one name in its directory, and upwards as far as it reaches. A
    /// directory that nothing is left in goes, unless it is a root.
    pub(crate) fn adjust(&mut self, directory: InodeId, old: Presence, new: Presence) -> StoreResult<()> {
        let (mut directory, mut old, mut new) = (directory, old, new);
        while old != new {
            let inode_key = key::inode(directory);
            let mut row: InodeRow = rows::must(&*self.txn, "inode", &inode_key)?;
            let InodeBody::Directory(counts) = &mut row.body else { return Err(mixed_up()) };
            let before = *counts;
            step(&mut counts.entries, old.entry, new.entry)?;
            step(&mut counts.visible, old.visible, new.visible)?;
            step(&mut counts.history, old.history, new.history)?;
            let after = *counts;
            let place = row.places.first().cloned();
            if after == DirCounts::default() && place.is_some() {
                self.txn.delete(inode_key);
            } else {
                if old.entry != new.entry {
                    row.posix.mtime = self.now;
                    row.posix.ctime = self.now;
                }
                self.put_row(inode_key, &row);
            }
            let Some(place) = place else { return Ok(()) };
            old = in_parent(&before, true);
            new = in_parent(&after, after != DirCounts::default());
            if !new.entry {
                self.txn.delete(key::dentry(place.parent, &place.name));
            } else if old != new {
                let dentry = Directory { inode: directory, visible: new.visible, history: new.history };
                self.put_dentry(place.parent, &place.name, &DentryRow::Directory(dentry));
            }
            directory = place.parent;
        }
        Ok(())
    }
}

/// How a directory with these counts shows in its own parent.
fn in_parent(counts: &DirCounts, entry: bool) -> Presence {
    Presence { entry, visible: counts.visible > 0, history: counts.history > 0 }
}

fn step(count: &mut u64, old: bool, new: bool) -> StoreResult<()> {
    let change = i64::from(new) - i64::from(old);
    *count = count
        .checked_add_signed(change)
        .ok_or_else(|| StoreError::corrupt("a directory would count less than nothing"))?;
    Ok(())
}
