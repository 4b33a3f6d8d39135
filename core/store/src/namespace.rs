//! The tree of names: where a key is, and what a change of one name does to its directories.
//!
//! A key is cut at each `/`: all pieces but the last are directories (their names end with `/`), the
//! last is the leaf and may be empty (`d/` is the leaf with the empty name in `d/`, and what makes a
//! directory explicit). Directories come into being with the first name under them and go with the
//! last. Each counts its entries, its visible children, its children with history and what a mount
//! finds in it; only a step between 0 and 1 of the last three reaches its parent, so a change costs
//! two rows a level at most and usually one. A directory with history alone does not live: a mount
//! does not find it. One that a mount holds goes on living when its last name is taken from elsewhere.

use gw_db::Read;
use gw_types::{InodeId, Timestamp};

use crate::core::Work;
use crate::error::{StoreError, StoreResult};
use crate::rows::{
    self, DentryRow, DirCounts, Directory, InodeBody, InodeRow, Leaf, OrphanRow, Place, Posix, key,
};

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

/// Whether a name counts in its directory, in each of the five ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) entry: bool,
    pub(crate) visible: bool,
    pub(crate) history: bool,
    pub(crate) live: bool,
    pub(crate) directory: bool,
}

impl Presence {
    pub(crate) fn of(leaf: Option<&Leaf>, history: bool) -> Self {
        let visible = leaf.is_some_and(|leaf| leaf.published.is_some());
        Self { entry: leaf.is_some(), visible, history, live: leaf.is_some(), directory: false }
    }
    /// What a published leaf counts as.
    pub(crate) fn object(history: bool) -> Self {
        Self { entry: true, visible: true, history, live: true, directory: false }
    }
    /// How a directory with these counts shows in its own parent.
    pub(crate) fn directory(counts: &DirCounts, entry: bool) -> Self {
        let live = entry && counts.lives();
        Self { entry, visible: counts.visible > 0, history: counts.history > 0, live, directory: live }
    }
}

/// What happens to a directory's counts.
enum Recount {
    /// One of its names changes.
    Child(Presence, Presence),
    /// The last mount that held it has let go.
    LetGo,
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

pub(crate) fn dentry(read: &impl Read, parent: InodeId, name: &[u8]) -> StoreResult<Option<DentryRow>> {
    rows::load(read, "dentry", &key::dentry(parent, name))
}

pub(crate) fn mixed_up() -> StoreError {
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
                live: new.live.into(),
                directories: (new.live && index < last).into(),
                ..DirCounts::default()
            };
            let place = Place { parent, name: name.to_vec() };
            let row = new_directory(self, bucket, Some(place), counts);
            self.put_row(key::inode(inode), &row);
            let Presence { visible, history, live, .. } = new;
            self.put_dentry(parent, name, &DentryRow::Directory(Directory { inode, visible, history, live }));
            parent = inode;
        }
        if fresh {
            let child = Presence { entry: true, directory: new.live, ..new };
            self.adjust(located.deepest, Presence::default(), child)?;
        }
        Ok(Spot { parent, name: located.name.to_vec() })
    }

    pub(crate) fn put_dentry(&mut self, parent: InodeId, name: &[u8], row: &DentryRow) {
        self.changes.name(parent, name);
        self.put_row(key::dentry(parent, name), row);
    }

    pub(crate) fn delete_dentry(&mut self, parent: InodeId, name: &[u8]) {
        self.changes.name(parent, name);
        self.txn.delete(key::dentry(parent, name));
    }

    /// Writes or removes the leaf's dentry.
    pub(crate) fn set_leaf(&mut self, spot: &Spot, leaf: Option<Leaf>) {
        match leaf {
            Some(leaf) => self.put_dentry(spot.parent, &spot.name, &DentryRow::Leaf(leaf)),
            None => self.delete_dentry(spot.parent, &spot.name),
        }
    }

    /// Counts the change of one name in its directory, and upwards as far as it reaches. A
    /// directory that nothing is left in goes, unless it is a root or a mount holds it.
    pub(crate) fn adjust(&mut self, directory: InodeId, old: Presence, new: Presence) -> StoreResult<()> {
        self.recount(directory, Recount::Child(old, new))
    }

    /// Ends what [`DirCounts::kept`] began, unless somebody holds the directory again.
    pub(crate) fn let_directory_go(&mut self, directory: InodeId) -> StoreResult<()> {
        self.recount(directory, Recount::LetGo)
    }

    fn recount(&mut self, mut directory: InodeId, mut what: Recount) -> StoreResult<()> {
        while !matches!(&what, Recount::Child(old, new) if old == new) {
            let inode_key = key::inode(directory);
            let mut row: InodeRow = rows::must(&*self.txn, "inode", &inode_key)?;
            let place = row.places.first().cloned();
            let InodeBody::Directory(counts) = &mut row.body else { return Err(mixed_up()) };
            let before = *counts;
            let stamped = apply(counts, &what)?;
            if place.is_some() {
                self.keep_or_end(directory, &before, counts);
            }
            let after = *counts;
            if after.generation != before.generation {
                let defaults = &self.core.config.posix;
                row.posix = posix(defaults.dir_mode, defaults.uid, defaults.gid, self.now, 2);
            } else if stamped {
                if self.removing != Some(directory) {
                    row.posix.mtime = self.now;
                }
                row.posix.ctime = self.now;
            }
            let gone = after.is_vacant() && place.is_some();
            if gone {
                self.end_directory(directory, row);
            } else {
                self.changes.inode(directory);
                self.put_row(inode_key, &row);
            }
            let Some(place) = place else { return Ok(()) };
            let old = Presence::directory(&before, true);
            let new = Presence::directory(&after, !gone);
            if !new.entry {
                self.delete_dentry(place.parent, &place.name);
            } else if old != new {
                let Presence { visible, history, live, .. } = new;
                let dentry = Directory { inode: directory, visible, history, live };
                self.put_dentry(place.parent, &place.name, &DentryRow::Directory(dentry));
            }
            directory = place.parent;
            what = Recount::Child(old, new);
        }
        Ok(())
    }

    /// What becomes of a directory that begins or ceases to live.
    fn keep_or_end(&mut self, directory: InodeId, before: &DirCounts, counts: &mut DirCounts) {
        if before.lives() && !counts.lives() {
            if self.removing != Some(directory) && self.releases.keeps(directory) {
                counts.kept = true;
                self.put_row(key::orphan(directory), &OrphanRow);
            } else if before.kept {
                self.txn.delete(key::orphan(directory));
            }
        } else if counts.live > 0 && counts.kept {
            counts.kept = false;
            self.txn.delete(key::orphan(directory));
        } else if !before.lives() && counts.lives() {
            counts.generation = counts.generation.wrapping_add(1);
        }
    }

    /// A directory without a name: gone, or an orphan while a mount holds it.
    fn end_directory(&mut self, directory: InodeId, mut row: InodeRow) {
        if self.releases.keeps(directory) {
            row.places.clear();
            self.put_row(key::inode(directory), &row);
            self.put_row(key::orphan(directory), &OrphanRow);
        } else {
            self.txn.delete(key::inode(directory));
        }
    }
}

/// Answers whether the directory's own times change.
fn apply(counts: &mut DirCounts, what: &Recount) -> StoreResult<bool> {
    match what {
        Recount::LetGo => {
            counts.kept = false;
            Ok(false)
        }
        Recount::Child(old, new) => {
            step(&mut counts.entries, old.entry, new.entry)?;
            step(&mut counts.visible, old.visible, new.visible)?;
            step(&mut counts.history, old.history, new.history)?;
            step(&mut counts.live, old.live, new.live)?;
            step(&mut counts.directories, old.directory, new.directory)?;
            Ok(old.live != new.live)
        }
    }
}

fn step(count: &mut u64, old: bool, new: bool) -> StoreResult<()> {
    let change = i64::from(new) - i64::from(old);
    *count = count
        .checked_add_signed(change)
        .ok_or_else(|| StoreError::corrupt("a directory would count less than nothing"))?;
    Ok(())
}
