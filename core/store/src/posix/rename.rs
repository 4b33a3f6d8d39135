//! Moving names: one commit on two dentries, whatever hangs below them.
//!
//! A directory moves with its number, so all keys below it change at once, and their versions move
//! along. A file is lifted from one name and lands at the other. In a bucket with versions the old key
//! keeps the version under a delete marker and the new key gets a version of its own, of the same bytes.
//! `EXDEV`, so that `mv` copies, stands where that would not be true: between buckets, for directories
//! of a bucket with object lock, and over a directory that has history.

use gw_types::{Action, InodeId};

use super::names::directory_of;
use super::view::{self, Seen, What, check_new, directory_name};
use super::{Here, StoreFiles, load, load_directory};
use crate::api::Versioning;
use crate::api::files::{Errno, FileId, FilesError, FilesResult, RenameMode};
use crate::core::{UsageChange, Work};
use crate::error::{StoreError, StoreResult};
use crate::history;
use crate::namespace::{self, Presence, Spot};
use crate::rows::{
    self, BucketRow, DentryRow, Directory, InodeBody, InodeRow, Leaf, Place, Published, VersionRow, key,
};

/// One side of a rename.
#[derive(Clone, Copy, Debug)]
struct Side<'a> {
    parent: InodeId,
    name: &'a [u8],
}

impl StoreFiles {
    pub(super) fn move_name(
        &self,
        from: (FileId, &[u8]),
        to: (FileId, &[u8]),
        mode: RenameMode,
    ) -> FilesResult<()> {
        let (from_id, to_id) = (self.table.inode(from.0), self.table.inode(to.0));
        let (Some(from_inode), Some(to_inode)) = (from_id, to_id) else {
            // Buckets are not renamed, and nothing moves out of or into their list.
            return Err(if from_id == to_id { Errno::NotPermitted } else { Errno::CrossDevice }.into());
        };
        let from = Side { parent: from_inode, name: from.1 };
        let to = Side { parent: to_inode, name: to.1 };
        self.change(|work| self.rename_in(work, from, to, mode))?;
        Ok(())
    }

    fn rename_in(
        &self,
        work: &mut Work<'_, '_>,
        from: Side<'_>,
        to: Side<'_>,
        mode: RenameMode,
    ) -> FilesResult<()> {
        let from_row = load_directory(&*work.txn, from.parent)?;
        let source = view::find(&*work.txn, from.parent, from.name)?.ok_or(Errno::NoEntry)?;
        let to_row = load_directory(&*work.txn, to.parent)?;
        if from_row.bucket != to_row.bucket {
            return Err(Errno::CrossDevice.into());
        }
        let here = self.here(&*work.txn, from_row.bucket)?;
        let target = view::find(&*work.txn, to.parent, to.name)?;
        if let What::Directory(directory) = &source.what {
            work.check_outside(directory.inode, to.parent)?;
        }
        match (mode, &target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::Exists.into()),
            (RenameMode::Exchange, None) => return Err(Errno::NoEntry.into()),
            (_, None) => check_new(to.name)?,
            _ => {}
        }
        let names = (&source, target.as_ref());
        self.may_move(work, &here, names, to)?;
        if target.as_ref().is_some_and(|target| target.inode() == source.inode()) {
            // Two names of one file: POSIX leaves both.
            return Ok(());
        }
        self.make_explicit(work, &here, from.parent, &from_row, false)?;
        self.make_explicit(work, &here, to.parent, &to_row, true)?;
        let mut change = UsageChange::default();
        match (mode, target) {
            (RenameMode::Exchange, Some(target)) => work.exchange(&here.row, source, target, &mut change)?,
            (_, target) => {
                let name = match &target {
                    // It may stand under an escape.
                    Some(target) if is_directory(target) == is_directory(&source) => target.spot.name.clone(),
                    _ if is_directory(&source) => directory_name(to.name),
                    _ => to.name.to_vec(),
                };
                let spot = Spot { parent: to.parent, name };
                work.replace(&here.row, source, (spot, target), &mut change)?;
            }
        }
        for directory in [from.parent, to.parent] {
            work.touch(directory)?;
        }
        Ok(work.tally(&here.row, change, true)?)
    }

    /// Rights and locks of both sides.
    fn may_move(
        &self,
        work: &Work<'_, '_>,
        here: &Here,
        (source, target): (&Seen, Option<&Seen>),
        to: Side<'_>,
    ) -> FilesResult<()> {
        let read = &*work.txn;
        let old = Some((source.spot.parent, source.spot.name.as_slice()));
        self.may(read, here, Action::DeleteObject, old)?;
        self.may(read, here, Action::PutObject, Some((to.parent, to.name)))?;
        for side in [Some(source), target].into_iter().flatten() {
            if let What::Leaf(leaf) = &side.what {
                work.check_leaf_unlocked(&here.row, leaf)?;
            }
        }
        let directories = [Some(source), target].into_iter().flatten().any(is_directory);
        if directories && here.row.rules.lock.is_some() {
            return Err(FilesError::new(
                Errno::CrossDevice,
                "names under object lock do not move with directories",
            ));
        }
        Ok(())
    }
}

fn is_directory(seen: &Seen) -> bool {
    directory_of(&seen.what).is_some()
}

fn has_versions(bucket: &BucketRow) -> bool {
    bucket.settings.versioning != Versioning::Off
}

impl Work<'_, '_> {
    /// Moves `source` to a name, over what is there.
    fn replace(
        &mut self,
        bucket: &BucketRow,
        source: Seen,
        (spot, target): (Spot, Option<Seen>),
        change: &mut UsageChange,
    ) -> FilesResult<()> {
        match (&source.what, target.as_ref().map(|target| &target.what)) {
            (What::Directory(_), Some(What::Leaf(_))) => return Err(Errno::NotDirectory.into()),
            (What::Leaf(_), Some(What::Directory(_))) => return Err(Errno::IsDirectory.into()),
            _ => {}
        }
        match target.map(|target| target.what) {
            Some(What::Directory(old)) => self.end_empty_directory(bucket, old.inode, change)?,
            Some(What::Leaf(old)) => self.displace_leaf(bucket, &spot, &old, change)?,
            None => {}
        }
        self.lift(bucket, &source, true, change)?;
        self.put_down(bucket, spot, source.what, change)
    }

    fn exchange(
        &mut self,
        bucket: &BucketRow,
        one: Seen,
        other: Seen,
        change: &mut UsageChange,
    ) -> FilesResult<()> {
        if let What::Directory(directory) = &other.what {
            self.check_outside(directory.inode, one.spot.parent)?;
        }
        self.lift(bucket, &one, false, change)?;
        self.lift(bucket, &other, false, change)?;
        let to_other = renamed(&other.spot, is_directory(&one));
        let to_one = renamed(&one.spot, is_directory(&other));
        self.put_down(bucket, to_other, one.what, change)?;
        self.put_down(bucket, to_one, other.what, change)?;
        if has_versions(bucket) {
            for spot in [one.spot, other.spot] {
                self.cover_bare(bucket, &spot, change)?;
            }
        }
        Ok(())
    }

    /// A directory does not go into itself.
    fn check_outside(&self, directory: InodeId, parent: InodeId) -> FilesResult<()> {
        let mut at = parent;
        loop {
            if at == directory {
                return Err(Errno::Invalid.into());
            }
            match load(&*self.txn, at)?.places.into_iter().next() {
                Some(place) => at = place.parent,
                None => return Ok(()),
            }
        }
    }

    /// Takes what is at the name that something moves to away; the name's history stays.
    fn displace_leaf(
        &mut self,
        bucket: &BucketRow,
        spot: &Spot,
        old: &Leaf,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        let was = self.presence(bucket, spot)?;
        self.displace(spot, old, bucket.settings.versioning, change)?;
        self.set_leaf(spot, None);
        let is = self.presence(bucket, spot)?;
        self.adjust(spot.parent, was, is)
    }

    /// Takes a name off what moves on. `cover`: the name stays empty.
    fn lift(
        &mut self,
        bucket: &BucketRow,
        seen: &Seen,
        cover: bool,
        change: &mut UsageChange,
    ) -> FilesResult<()> {
        let spot = &seen.spot;
        let leaf = match &seen.what {
            What::Leaf(leaf) => leaf,
            What::Directory(directory) => {
                let row = load(&*self.txn, directory.inode)?;
                let counts = row.counts().ok_or_else(namespace::mixed_up)?;
                let was = Presence::directory(counts, true);
                self.delete_dentry(spot.parent, &spot.name);
                return Ok(self.adjust(spot.parent, was, Presence::default())?);
            }
        };
        let was = self.presence(bucket, spot)?;
        let mut row = load(&*self.txn, leaf.inode)?;
        if let Some(summary) = leaf.published {
            change.objects -= 1;
            change.bytes -= summary.size as i64;
            let keeps = has_versions(bucket)
                && !(bucket.settings.versioning == Versioning::Suspended && summary.null);
            if keeps {
                let inode = self.copy_published(leaf.inode, &row)?;
                self.add_version(spot, summary.version, &VersionRow::Object { inode, summary }, change);
            }
        }
        row.places.retain(|place| place.parent != spot.parent || place.name != spot.name);
        self.put_row(key::inode(leaf.inode), &row);
        self.set_leaf(spot, None);
        if cover && has_versions(bucket) && leaf.published.is_some() {
            self.cover(bucket, spot, change)?;
        }
        let is = self.presence(bucket, spot)?;
        Ok(self.adjust(spot.parent, was, is)?)
    }

    /// A delete marker where a name with history was left without a leaf.
    fn cover_bare(&mut self, bucket: &BucketRow, spot: &Spot, change: &mut UsageChange) -> FilesResult<()> {
        let bare = !spot.name.ends_with(b"/") && namespace::leaf(&*self.txn, spot)?.is_none();
        let top = if bare { history::newest(&*self.txn, spot)? } else { None };
        if matches!(top, Some((_, VersionRow::Object { .. }))) {
            let was = self.presence(bucket, spot)?;
            self.cover(bucket, spot, change)?;
            let is = self.presence(bucket, spot)?;
            self.adjust(spot.parent, was, is)?;
        }
        Ok(())
    }

    /// Puts what was lifted under its new name.
    fn put_down(
        &mut self,
        bucket: &BucketRow,
        spot: Spot,
        what: What,
        change: &mut UsageChange,
    ) -> FilesResult<()> {
        match what {
            What::Directory(directory) => self.put_directory_down(spot, &directory),
            What::Leaf(leaf) => self.put_leaf_down(bucket, &spot, leaf, change),
        }
    }

    fn put_directory_down(&mut self, spot: Spot, directory: &Directory) -> FilesResult<()> {
        if namespace::dentry(&*self.txn, spot.parent, &spot.name)?.is_some() {
            return Err(FilesError::new(
                Errno::CrossDevice,
                "versions of former names stand at the new name",
            ));
        }
        let mut row = load(&*self.txn, directory.inode)?;
        row.places = vec![Place { parent: spot.parent, name: spot.name.clone() }];
        row.posix.ctime = self.now;
        let counts = *row.counts().ok_or_else(namespace::mixed_up)?;
        self.changes.inode(directory.inode);
        self.put_row(key::inode(directory.inode), &row);
        let is = Presence::directory(&counts, true);
        let Presence { visible, history, live, .. } = is;
        let dentry = Directory { inode: directory.inode, visible, history, live };
        self.put_dentry(spot.parent, &spot.name, &DentryRow::Directory(dentry));
        Ok(self.adjust(spot.parent, Presence::default(), is)?)
    }

    fn put_leaf_down(
        &mut self,
        bucket: &BucketRow,
        spot: &Spot,
        mut leaf: Leaf,
        change: &mut UsageChange,
    ) -> FilesResult<()> {
        if namespace::leaf(&*self.txn, spot)?.is_some() {
            // Two names that are exchanged, one of them of a directory that hides a file.
            return Err(FilesError::new(Errno::Exists, "a file stands behind the directory's name"));
        }
        let mut row = load(&*self.txn, leaf.inode)?;
        row.places.push(Place { parent: spot.parent, name: spot.name.clone() });
        row.posix.nlink = row.places.len() as u32;
        row.posix.ctime = self.now;
        if has_versions(bucket)
            && let InodeBody::File(file) = &mut row.body
            && let Some(published) = &mut file.published
        {
            self.renew(bucket, published)?;
        }
        leaf.published = row.published().map(Published::summary);
        if let Some(summary) = &leaf.published {
            change.objects += 1;
            change.bytes += summary.size as i64;
        }
        self.changes.inode(leaf.inode);
        self.put_row(key::inode(leaf.inode), &row);
        self.land(bucket, spot, leaf, change)?;
        if has_versions(bucket) && row.places.len() > 1 {
            self.show_in_all_names(&row)?;
        }
        Ok(())
    }

    /// Brings what an inode has published to the dentries of all its names.
    fn show_in_all_names(&mut self, row: &InodeRow) -> StoreResult<()> {
        let published = row.published().map(Published::summary);
        for place in &row.places {
            let spot = Spot { parent: place.parent, name: place.name.clone() };
            if let Some(leaf) = namespace::leaf(&*self.txn, &spot)?
                && leaf.published != published
            {
                self.set_leaf(&spot, Some(Leaf { published, ..leaf }));
            }
        }
        Ok(())
    }

    /// How a leaf's name counts now.
    fn presence(&self, bucket: &BucketRow, spot: &Spot) -> StoreResult<Presence> {
        let leaf = namespace::leaf(&*self.txn, spot)?;
        let history = has_versions(bucket) && history::newest(&*self.txn, spot)?.is_some();
        Ok(Presence::of(leaf.as_ref(), history))
    }

    /// The times of a directory in which something changed.
    fn touch(&mut self, directory: InodeId) -> StoreResult<()> {
        let row: Option<InodeRow> = rows::load(&*self.txn, "inode", &key::inode(directory))?;
        let mut row = row.ok_or_else(|| StoreError::corrupt("a directory went while it was changed"))?;
        row.posix.mtime = self.now;
        row.posix.ctime = self.now;
        self.changes.inode(directory);
        self.put_row(key::inode(directory), &row);
        Ok(())
    }
}

/// Another thing's name, spelt for a directory or for a leaf.
fn renamed(spot: &Spot, directory: bool) -> Spot {
    let plain = spot.name.strip_suffix(b"/").unwrap_or(&spot.name);
    let name = if directory { directory_name(plain) } else { plain.to_vec() };
    Spot { parent: spot.parent, name }
}
