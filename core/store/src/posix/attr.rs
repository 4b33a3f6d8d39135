//! What `stat` tells and `chmod`, `chown`, `utimensat` change.
//!
//! Set-user and set-group bits are dropped here and not by the kernel: a change of owner takes the
//! first, and the second where the group may execute (else it means mandatory locking); so does
//! whoever asks for it (`kill_suid_gid`). Directories keep both. `ctime` is the moment of the commit.

use std::time::Duration;

use gw_types::{Action, InodeId, Timestamp};

use super::buckets::time;
use super::{StoreFiles, load};
use crate::api::files::{Errno, FileAttr, FileId, FileKind, FileTime, FilesResult, Found, SetAttr, SetTime};
use crate::api::posix_acl::{self, PosixAcl};
use crate::file::CAPABILITY;
use crate::rows::{FileBody, InodeBody, InodeRow, LeafKind, Posix, key};

pub(super) const SET_UID: u32 = 0o4000;
pub(super) const SET_GID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o0010;
/// The bits of a mode that are kept.
pub(super) const MODE_BITS: u32 = 0o7777;
/// Length that a directory shows.
const DIRECTORY_LEN: u64 = 4096;
const BLOCK: u64 = 512;

/// What kind of special file an inode is stands in its names' rows alone; the number's high bits
/// keep it beside the device.
pub(super) fn special(kind: LeafKind, rdev: u32) -> InodeBody {
    let code = match kind {
        LeafKind::Fifo => 1,
        LeafKind::Socket => 2,
        LeafKind::CharDevice => 3,
        LeafKind::BlockDevice => 4,
        LeafKind::File | LeafKind::Symlink => 0,
    };
    InodeBody::Special(u64::from(rdev) | code << 32)
}

pub(super) fn kind_of(row: &InodeRow) -> FileKind {
    match &row.body {
        InodeBody::Directory(_) => FileKind::Directory,
        InodeBody::File(_) => FileKind::Regular,
        InodeBody::Symlink(_) => FileKind::Symlink,
        InodeBody::Special(number) => match number >> 32 {
            2 => FileKind::Socket,
            3 => FileKind::CharDevice,
            4 => FileKind::BlockDevice,
            _ => FileKind::Fifo,
        },
    }
}

pub(super) fn kind_of_leaf(kind: LeafKind) -> FileKind {
    match kind {
        LeafKind::File => FileKind::Regular,
        LeafKind::Symlink => FileKind::Symlink,
        LeafKind::Fifo => FileKind::Fifo,
        LeafKind::Socket => FileKind::Socket,
        LeafKind::CharDevice => FileKind::CharDevice,
        LeafKind::BlockDevice => FileKind::BlockDevice,
    }
}

/// Bytes of a file as its writers see it.
pub(super) fn file_len(file: &FileBody) -> u64 {
    file.map().map_or(0, |map| map.len)
}

pub(super) fn attr_of(id: FileId, inode: InodeId, row: &InodeRow) -> FileAttr {
    let posix = &row.posix;
    let (size, blocks, nlink, rdev) = match &row.body {
        InodeBody::Directory(counts) => {
            let there = row.bucket == inode || !row.places.is_empty() && counts.lives();
            let nlink = if there { 2 + counts.directories } else { 0 };
            (DIRECTORY_LEN, DIRECTORY_LEN / BLOCK, u32::try_from(nlink).unwrap_or(u32::MAX), 0)
        }
        InodeBody::File(file) => {
            let len = file_len(file);
            (len, len.div_ceil(BLOCK), posix.nlink, 0)
        }
        InodeBody::Symlink(target) => (target.len() as u64, 0, posix.nlink, 0),
        InodeBody::Special(number) => (0, 0, posix.nlink, (number & u64::from(u32::MAX)) as u32),
    };
    FileAttr {
        id,
        kind: kind_of(row),
        mode: posix.mode & MODE_BITS,
        nlink,
        uid: posix.uid,
        gid: posix.gid,
        rdev,
        size,
        blocks,
        atime: time(posix.atime),
        mtime: time(posix.mtime),
        ctime: time(posix.ctime),
        btime: time(posix.btime),
    }
}

pub(super) fn found_of(id: FileId, inode: InodeId, row: &InodeRow, ttl: Duration) -> Found {
    let generation = row.counts().map_or(0, |counts| u64::from(counts.generation));
    Found { attr: attr_of(id, inode, row), generation, ttl }
}

/// Times are kept in 64 bits of nanoseconds: years 1677 to 2262; others become the nearest of these.
fn stamp(at: FileTime) -> Timestamp {
    Timestamp(at.0.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

fn set_time(set: Option<SetTime>, time: &mut Timestamp, now: Timestamp) {
    match set {
        None => {}
        Some(SetTime::Now) => *time = now,
        Some(SetTime::To(at)) => *time = stamp(at),
    }
}

/// Takes set-user off, and set-group where it means what it says.
pub(super) fn kill_suid_gid(posix: &mut Posix) {
    posix.mode &= !SET_UID;
    if posix.mode & GROUP_EXECUTE != 0 {
        posix.mode &= !SET_GID;
    }
}

/// Everything of a [`SetAttr`] but the length.
pub(super) fn apply(row: &mut InodeRow, set: &SetAttr, now: Timestamp) {
    let is_directory = matches!(row.body, InodeBody::Directory(_));
    let posix = &mut row.posix;
    if let Some(mode) = set.mode {
        posix.mode = mode & MODE_BITS;
        for (_, value) in row.xattrs.iter_mut().filter(|(name, _)| name == posix_acl::ACCESS) {
            if let Ok(acl) = PosixAcl::parse(value) {
                *value = acl.with_mode(mode).value();
            }
        }
    }
    if set.uid.is_some() || set.gid.is_some() {
        row.xattrs.retain(|(name, _)| name != CAPABILITY);
    }
    posix.uid = set.uid.unwrap_or(posix.uid);
    posix.gid = set.gid.unwrap_or(posix.gid);
    let owned = set.uid.is_some() || set.gid.is_some();
    if !is_directory && (owned && set.mode.is_none() || set.kill_suid_gid) {
        kill_suid_gid(posix);
    }
    set_time(set.atime, &mut posix.atime, now);
    set_time(set.mtime, &mut posix.mtime, now);
    posix.ctime = now;
}

impl StoreFiles {
    pub(super) fn attr(&self, id: FileId) -> FilesResult<FileAttr> {
        let Some(inode) = self.table.inode(id) else { return Ok(self.root_attr()) };
        let row = load(&self.core.snapshot(), inode)?;
        Ok(attr_of(id, inode, &row))
    }

    /// Everything but the length.
    pub(super) fn set_attr(&self, id: FileId, set: &SetAttr) -> FilesResult<FileAttr> {
        let inode = self.table.inode(id).ok_or(Errno::NotPermitted)?;
        let done = self.change(|work| {
            let mut row = load(&*work.txn, inode)?;
            let here = self.here(&*work.txn, row.bucket)?;
            self.may_change(work, &here, &row)?;
            self.make_explicit(work, &here, inode, &row, true)?;
            // Making it explicit counts in the directory's own row.
            if row.counts().is_some() {
                row = load(&*work.txn, inode)?;
            }
            apply(&mut row, set, work.now);
            work.changes.inode(inode);
            work.txn.stream(here.row.stream);
            work.put_row(key::inode(inode), &row);
            Ok(attr_of(id, inode, &row))
        })?;
        Ok(done.value)
    }

    /// Whether the principal may change an inode's attributes or bytes, by any of its names.
    pub(super) fn may_change(
        &self,
        work: &crate::core::Work<'_, '_>,
        here: &super::Here,
        row: &InodeRow,
    ) -> FilesResult<()> {
        let at = row.places.first().map(|place| (place.parent, place.name.as_slice()));
        self.may(&*work.txn, here, Action::PutObject, at)
    }
}
