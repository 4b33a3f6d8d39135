//! Making names: files, directories, symlinks, special files, links.
//!
//! Each is one commit. The new inode belongs to the caller, or to the group of a set-group directory;
//! the directory it is made in becomes explicit with it.

use std::cell::Cell;

use gw_data::DataMap;
use gw_types::{Action, InodeId, VersionSeq};

use super::attr::{MODE_BITS, SET_GID, special};
use super::table::Hold;
use super::view::{self, What, check_new, directory_name};
use super::{Here, StoreFiles, load, load_directory};
use crate::api::files::{Caller, Errno, FileId, FileKind, FilesError, FilesResult, Found};
use crate::api::posix_acl::{self, Fresh, Xattrs};
use crate::api::{ContentHeaders, Etag, ObjectAttributes, Versioning};
use crate::core::{UsageChange, Work, load_usage};
use crate::error::StoreResult;
use crate::file::FileAt;
use crate::history;
use crate::namespace::{self, Presence, Spot};
use crate::rows::{
    BucketRow, DentryRow, DirCounts, Directory, FileBody, InodeBody, InodeRow, Leaf, LeafKind, Place, Posix,
    Published, key,
};

/// Most names of one inode.
const LINKS_MAX: usize = 4096;
/// Longest target of a symlink.
const SYMLINK_LEN_MAX: usize = 4095;
/// MD5 of nothing.
const EMPTY_MD5: [u8; 16] =
    [0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e];
/// What S3 clients call a directory's mark.
const MARK_TYPE: &str = "application/x-directory";

/// What is to be made.
#[derive(Clone, Debug)]
pub(super) struct New<'a> {
    pub(super) kind: LeafKind,
    pub(super) mode: u32,
    pub(super) rdev: u32,
    pub(super) target: &'a [u8],
}

impl New<'_> {
    fn body(&self, work: &mut Work<'_, '_>, at: &FileAt) -> InodeBody {
        match self.kind {
            LeafKind::File => InodeBody::File(Box::new(work.new_file_body(at))),
            LeafKind::Symlink => InodeBody::Symlink(self.target.to_vec()),
            kind => special(kind, self.rdev),
        }
    }
}

pub(super) fn leaf_kind(kind: FileKind) -> FilesResult<LeafKind> {
    Ok(match kind {
        FileKind::Regular => LeafKind::File,
        FileKind::Fifo => LeafKind::Fifo,
        FileKind::Socket => LeafKind::Socket,
        FileKind::CharDevice => LeafKind::CharDevice,
        FileKind::BlockDevice => LeafKind::BlockDevice,
        FileKind::Directory | FileKind::Symlink => return Err(Errno::Invalid.into()),
    })
}

/// Owner, mode and access lists of what `caller` makes in a directory.
fn owned(
    work: &Work<'_, '_>,
    caller: &Caller,
    parent: &InodeRow,
    (mode, nlink): (u32, u32),
) -> (Posix, Xattrs) {
    let set_gid = parent.posix.mode & SET_GID != 0;
    let gid = if set_gid { parent.posix.gid } else { caller.gid };
    let default = parent.xattrs.iter().find(|(name, _)| name == posix_acl::DEFAULT);
    let default = default.map(|(_, value)| value.as_slice());
    // Of all kinds only directories begin with two names.
    let Fresh { mode, lists } = Fresh::new(default, mode & MODE_BITS, caller.umask, nlink == 2);
    (namespace::posix(mode, caller.uid, gid, work.now, nlink), lists)
}

impl StoreFiles {
    /// Makes a leaf; answers it with its first lookup taken.
    pub(super) fn make(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        new: &New<'_>,
    ) -> FilesResult<Found> {
        let Some(parent) = self.table.inode(parent) else { return Err(Errno::NotPermitted.into()) };
        if new.target.len() > SYMLINK_LEN_MAX {
            return Err(Errno::NameTooLong.into());
        }
        self.make_and_hold(|work| {
            let directory = load_directory(&*work.txn, parent)?;
            check_free(work, parent, name)?;
            let here = self.here(&*work.txn, directory.bucket)?;
            self.may(&*work.txn, &here, Action::PutObject, Some((parent, name)))?;
            refuse_full(work, &here.row)?;
            self.make_explicit(work, &here, parent, &directory, true)?;
            let inode = work.new_inode();
            let body = new.body(work, &FileAt { bucket: here.name.clone(), inode });
            let (posix, xattrs) = match new.kind {
                // Nobody asks for the mode of a symlink.
                LeafKind::Symlink => {
                    let bare = InodeRow { xattrs: Vec::new(), ..directory.clone() };
                    owned(work, &Caller { umask: 0, ..*caller }, &bare, (new.mode, 1))
                }
                _ => owned(work, caller, &directory, (new.mode, 1)),
            };
            let places = vec![Place { parent, name: name.to_vec() }];
            let row = InodeRow { bucket: here.row.root, posix, places, xattrs, body };
            work.put_row(key::inode(inode), &row);
            let leaf = Leaf { inode, kind: new.kind, published: None, cookie: None };
            work.set_leaf(&Spot { parent, name: name.to_vec() }, Some(leaf));
            work.adjust(parent, Presence::default(), Presence::of(Some(&leaf), false))?;
            work.txn.stream(here.row.stream);
            Ok((inode, row))
        })
    }

    pub(super) fn make_directory(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        mode: u32,
    ) -> FilesResult<Found> {
        let Some(parent) = self.table.inode(parent) else { return self.bucket_mkdir(name) };
        self.make_and_hold(|work| {
            let directory = load_directory(&*work.txn, parent)?;
            check_free(work, parent, name)?;
            let here = self.here(&*work.txn, directory.bucket)?;
            let full = directory_name(name);
            self.may(&*work.txn, &here, Action::PutObject, Some((parent, &full)))?;
            self.make_explicit(work, &here, parent, &directory, true)?;
            let (mut posix, lists) = owned(work, caller, &directory, (mode, 2));
            posix.mode |= directory.posix.mode & SET_GID;
            let inode = match namespace::dentry(&*work.txn, parent, &full)? {
                // It has history, and comes back to life under its number.
                Some(DentryRow::Directory(old)) => old.inode,
                _ => work.empty_directory(&here.row, parent, &full)?,
            };
            work.put_mark(&here.row, inode, true)?;
            let mut row = load(&*work.txn, inode)?;
            row.posix = posix;
            row.xattrs = lists;
            work.put_row(key::inode(inode), &row);
            Ok((inode, row))
        })
    }

    pub(super) fn make_link(&self, id: FileId, parent: FileId, name: &[u8]) -> FilesResult<Found> {
        let inode = self.table.inode(id).ok_or(Errno::NotPermitted)?;
        let Some(parent) = self.table.inode(parent) else { return Err(Errno::CrossDevice.into()) };
        self.make_and_hold(|work| {
            let mut row = load(&*work.txn, inode)?;
            let kind = leaf_kind_of(&row).ok_or(Errno::NotPermitted)?;
            let directory = load_directory(&*work.txn, parent)?;
            if directory.bucket != row.bucket {
                return Err(Errno::CrossDevice.into());
            }
            let mut held = row.places.iter();
            let Some(first) = held.next() else { return Err(Errno::NoEntry.into()) };
            check_free(work, parent, name)?;
            if row.places.len() >= LINKS_MAX {
                return Err(Errno::ManyLinks.into());
            }
            let here = self.here(&*work.txn, row.bucket)?;
            self.may(&*work.txn, &here, Action::PutObject, Some((parent, name)))?;
            self.may(&*work.txn, &here, Action::GetObject, Some((first.parent, &first.name)))?;
            self.make_explicit(work, &here, parent, &directory, true)?;
            let published = row.published().map(Published::summary);
            let leaf = Leaf { inode, kind, published, cookie: Some(work.number()) };
            let spot = Spot { parent, name: name.to_vec() };
            let mut change = UsageChange::default();
            if let Some(summary) = &published {
                change.objects += 1;
                change.bytes += summary.size as i64;
            }
            work.land(&here.row, &spot, leaf, &mut change)?;
            row.places.push(Place { parent, name: name.to_vec() });
            row.posix.nlink = row.places.len() as u32;
            row.posix.ctime = work.now;
            work.changes.inode(inode);
            work.put_row(key::inode(inode), &row);
            work.account(&here.row, change)?;
            Ok((inode, row))
        })
    }

    /// Commits what makes or finds an inode, and holds it before anybody can take it away.
    fn make_and_hold(
        &self,
        mut act: impl FnMut(&mut Work<'_, '_>) -> FilesResult<(InodeId, InodeRow)>,
    ) -> FilesResult<Found> {
        let held = Cell::new(None);
        let let_go = || {
            if let Some(inode) = held.take() {
                self.let_go(inode, Hold::Lookup, 1);
            }
        };
        let done = self.change(|work| {
            // What an earlier run of this closure held did not come into being.
            let_go();
            let (inode, row) = act(work)?;
            // Only a directory that comes back to life can still be marked as going, by the commit
            // before: then this one is tried again.
            if self.table.hold(inode, Hold::Lookup)?.is_none() {
                return Err(Errno::Interrupted.into());
            }
            held.set(Some(inode));
            Ok((inode, row))
        });
        let done = done.inspect_err(|_| let_go())?;
        let (inode, row) = done.value;
        Ok(self.found(inode, &row))
    }

    /// Puts the mark of a directory that has none, before it is changed through a mount. Where
    /// something is taken away (`growing` is false) a full quota does not stand against it.
    pub(super) fn make_explicit(
        &self,
        work: &mut Work<'_, '_>,
        here: &Here,
        inode: InodeId,
        row: &InodeRow,
        growing: bool,
    ) -> FilesResult<()> {
        let is_directory = row.counts().is_some() && row.bucket != inode && super::is_named(row);
        if is_directory && namespace::dentry(&*work.txn, inode, b"")?.is_none() {
            work.put_mark(&here.row, inode, growing)?;
        }
        Ok(())
    }
}

fn leaf_kind_of(row: &InodeRow) -> Option<LeafKind> {
    Some(match super::attr::kind_of(row) {
        FileKind::Regular => LeafKind::File,
        FileKind::Symlink => LeafKind::Symlink,
        kind => return leaf_kind(kind).ok(),
    })
}

/// Whether a name can be given to something new.
fn check_free(work: &Work<'_, '_>, parent: InodeId, name: &[u8]) -> FilesResult<()> {
    if name == b"." || name == b".." {
        return Err(Errno::Exists.into());
    }
    check_new(name)?;
    match view::find(&*work.txn, parent, name)? {
        Some(_) => Err(Errno::Exists.into()),
        None => Ok(()),
    }
}

/// A file counts as an object when it is published; a bucket that is full of them takes no new file.
fn refuse_full(work: &Work<'_, '_>, bucket: &BucketRow) -> FilesResult<()> {
    let Some(max) = bucket.settings.quota.objects_max else { return Ok(()) };
    let usage = load_usage(&*work.txn, bucket.root)?;
    if usage.objects + usage.noncurrent >= max {
        return Err(FilesError::new(Errno::Quota, "the bucket's object quota would be passed"));
    }
    Ok(())
}

impl Work<'_, '_> {
    /// A directory with nothing in it, which does not live yet.
    fn empty_directory(&mut self, bucket: &BucketRow, parent: InodeId, full: &[u8]) -> StoreResult<InodeId> {
        let inode = self.new_inode();
        let place = Place { parent, name: full.to_vec() };
        let row = namespace::new_directory(self, bucket.root, Some(place), DirCounts::default());
        self.put_row(key::inode(inode), &row);
        let dentry = Directory { inode, visible: false, history: false, live: false };
        self.put_dentry(parent, full, &DentryRow::Directory(dentry));
        self.adjust(parent, Presence::default(), Presence { entry: true, ..Presence::default() })?;
        Ok(inode)
    }

    /// Makes a directory explicit: the empty object with its own key. `refuse`: only within the quota.
    pub(super) fn put_mark(
        &mut self,
        bucket: &BucketRow,
        directory: InodeId,
        refuse: bool,
    ) -> StoreResult<()> {
        let spot = Spot { parent: directory, name: Vec::new() };
        let inode = self.new_inode();
        let headers =
            ContentHeaders { content_type: Some(MARK_TYPE.to_owned()), ..ContentHeaders::default() };
        let mut attributes = ObjectAttributes { headers, ..ObjectAttributes::default() };
        bucket.lock_new(self.now, &mut attributes)?;
        self.keep(None, Some(&attributes))?;
        let published = Published {
            version: self.new_version(),
            null: bucket.settings.versioning != Versioning::Enabled,
            etag: Etag::Md5(EMPTY_MD5),
            committed_at: self.now,
            attributes,
            checksums: Vec::new(),
            has_parts: false,
            data: DataMap::empty(),
        };
        let summary = published.summary();
        let defaults = &self.core.config.posix;
        let row = InodeRow {
            bucket: bucket.root,
            posix: namespace::posix(defaults.file_mode, defaults.uid, defaults.gid, self.now, 1),
            places: vec![Place { parent: directory, name: Vec::new() }],
            xattrs: Vec::new(),
            body: InodeBody::File(Box::new(FileBody { working: None, published: Some(published) })),
        };
        self.put_row(key::inode(inode), &row);
        let mut change = UsageChange { objects: 1, ..UsageChange::default() };
        let leaf = Leaf { inode, kind: LeafKind::File, published: Some(summary), cookie: None };
        self.land(bucket, &spot, leaf, &mut change)?;
        self.tally(bucket, change, refuse)
    }

    /// Puts a leaf where none is, with all that its directories count.
    pub(super) fn land(
        &mut self,
        bucket: &BucketRow,
        spot: &Spot,
        leaf: Leaf,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        let versions = bucket.settings.versioning != Versioning::Off;
        let had_history = versions && history::newest(&*self.txn, spot)?.is_some();
        if bucket.settings.versioning == Versioning::Suspended && leaf.published.is_some() {
            self.remove_null(spot, change)?;
        }
        let has_history = versions && history::newest(&*self.txn, spot)?.is_some();
        self.set_leaf(spot, Some(leaf));
        self.adjust(spot.parent, Presence::of(None, had_history), Presence::of(Some(&leaf), has_history))
    }

    /// A fresh version for an object that gets a new name or new bytes.
    pub(super) fn renew(&mut self, bucket: &BucketRow, published: &mut Published) -> StoreResult<VersionSeq> {
        published.version = self.new_version();
        published.null = bucket.settings.versioning != Versioning::Enabled;
        published.committed_at = self.now;
        let was = published.attributes.clone();
        published.attributes.end_retention(self.now)?;
        bucket.lock_new(self.now, &mut published.attributes)?;
        self.keep(Some(&was), Some(&published.attributes))?;
        Ok(published.version)
    }
}

/// Whether what stands at a name is a directory that a mount finds.
pub(super) fn directory_of(what: &What) -> Option<&Directory> {
    match what {
        What::Directory(directory) => Some(directory),
        What::Leaf(_) => None,
    }
}
