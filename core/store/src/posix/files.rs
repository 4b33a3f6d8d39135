//! [`Files`] over the store: each verb handed to the module of its subject.

use async_trait::async_trait;
use bytes::Bytes;
use gw_types::Action;

use super::attr::{kind_of, kind_of_leaf};
use super::names::{New, leaf_kind};
use super::table::Hold;
use super::view::{self, NAME_LEN_MAX, What};
use super::{StoreFiles, load, load_directory};
use crate::api::files::{
    Allocate, Caller, DirEntry, Errno, FileAttr, FileId, FileKind, Files, FilesChange, FilesError,
    FilesResult, FilesStatus, Found, HandleId, OpenFlags, RenameMode, SeekFor, SetAttr, SetXattr, WriteFlags,
};
use crate::core::load_usage;
use crate::object::{check_customer_key, check_lock};
use crate::rows::{InodeBody, LeafKind};

/// Inodes that a file system without a limit claims to have.
const FILES_MAX: u64 = 1 << 40;

impl StoreFiles {
    /// Finds a name and holds what it leads to, so that it is there when this returns.
    fn find_and_hold(&self, parent: FileId, name: &[u8]) -> FilesResult<Found> {
        let Some(parent) = self.table.inode(parent) else { return self.bucket_lookup(name) };
        for _ in 0..super::LOOKS_MAX {
            let snapshot = self.core.snapshot();
            load_directory(&snapshot, parent)?;
            let seen = view::find(&snapshot, parent, name)?.ok_or(Errno::NoEntry)?;
            let inode = seen.inode();
            match self.table.hold(inode, Hold::Lookup)? {
                // Being taken away just now.
                None => continue,
                Some(held_before) => {
                    // A commit after the snapshot may have taken it away before it was held.
                    if held_before || self.core.db.appended() == snapshot.lsn() {
                        return match load(&snapshot, inode) {
                            Ok(row) => Ok(self.found(inode, &row)),
                            Err(error) => {
                                self.let_go(inode, Hold::Lookup, 1);
                                Err(error)
                            }
                        };
                    }
                    let now = self.core.snapshot();
                    let again = view::find(&now, parent, name);
                    if let Ok(Some(again)) = &again
                        && again.inode() == inode
                        && let Ok(row) = load(&now, inode)
                    {
                        return Ok(self.found(inode, &row));
                    }
                    self.let_go(inode, Hold::Lookup, 1);
                    again?;
                }
            }
        }
        Err(FilesError::new(Errno::Stale, "the name changes all the time"))
    }

    fn open_inode(&self, id: FileId, flags: OpenFlags) -> FilesResult<HandleId> {
        let inode = self.inode(id)?;
        if flags.write || flags.truncate {
            self.writable()?;
        }
        let snapshot = self.core.snapshot();
        let row = load(&snapshot, inode)?;
        let InodeBody::File(file) = &row.body else {
            return Err(match kind_of(&row) {
                FileKind::Directory => Errno::IsDirectory,
                _ => Errno::NoDeviceOrAddress,
            }
            .into());
        };
        let here = self.here(&snapshot, row.bucket)?;
        let at = row.places.first().map(|place| (place.parent, place.name.as_slice()));
        if flags.read {
            self.may(&snapshot, &here, Action::GetObject, at)?;
        }
        if flags.write || flags.truncate {
            self.may(&snapshot, &here, Action::PutObject, at)?;
        }
        if let Some(published) = &file.published {
            check_customer_key(&published.attributes, None)?;
            if flags.write || flags.truncate {
                check_lock(&here.row, &published.attributes, self.core.clock.now(), false)?;
            }
        }
        if self.table.hold(inode, Hold::Open)?.is_none() {
            return Err(Errno::Stale.into());
        }
        let opened = self.table.open(Some((inode, row.bucket)), flags);
        let handle = opened.inspect_err(|_| self.let_go(inode, Hold::Open, 1))?;
        if flags.write {
            self.core.pins.begin_writing(inode);
        }
        if flags.truncate
            && let Err(error) = self.set_len_and_attr(id, &SetAttr::default(), 0)
        {
            if let Err(other) = self.close_handle(handle) {
                tracing::warn!(%other, "a file that could not be cut off could not be closed either");
            }
            return Err(error);
        }
        Ok(handle)
    }

    fn read_directory(
        &self,
        handle: HandleId,
        cookie: u64,
        count_max: usize,
        plus: bool,
    ) -> FilesResult<Vec<DirEntry>> {
        let handle = self.table.handle(handle)?;
        let snapshot = self.core.snapshot();
        let (own, above) = match handle.inode {
            None => (FileId::ROOT, FileId::ROOT),
            Some(inode) => {
                let Ok(row) = load_directory(&snapshot, inode) else {
                    // It was removed while it was open: POSIX shows nothing any more.
                    return Ok(Vec::new());
                };
                let parent = match row.places.first() {
                    Some(place) => self.table.file_id(place.parent),
                    None => FileId::ROOT,
                };
                (self.table.file_id(inode), parent)
            }
        };
        let dots = [(b".".as_slice(), 1, own), (b"..".as_slice(), 2, above)];
        let mut entries: Vec<DirEntry> = dots
            .into_iter()
            .filter(|(_, at, _)| *at > cookie)
            .map(|(name, cookie, id)| DirEntry {
                name: name.to_vec(),
                cookie,
                id,
                kind: FileKind::Directory,
                found: None,
            })
            .collect();
        entries.truncate(count_max);
        let left = count_max - entries.len();
        if left == 0 {
            return Ok(entries);
        }
        let mut positions = handle.positions.lock();
        let Some(inode) = handle.inode else {
            entries.extend(self.bucket_readdir(cookie, &mut positions, (left, plus))?);
            return Ok(entries);
        };
        let row = load_directory(&snapshot, inode)?;
        let Some(counts) = row.counts() else { return Err(Errno::NotDirectory.into()) };
        for (name, seen) in view::names_behind(&snapshot, (inode, counts), cookie, &mut positions, left)? {
            let kind = match &seen.what {
                What::Directory(_) => FileKind::Directory,
                What::Leaf(leaf) => kind_of_leaf(leaf.kind),
            };
            // What went meanwhile is told without attributes, and the kernel asks itself.
            let found = if plus { self.find_and_hold(own, &name).ok() } else { None };
            let id = self.table.file_id(seen.inode());
            let found = match found {
                Some(found) if found.attr.id != id => {
                    self.forget(found.attr.id, 1);
                    None
                }
                found => found,
            };
            entries.push(DirEntry { name, cookie: seen.cookie(), id, kind, found });
        }
        Ok(entries)
    }

    fn status(&self) -> FilesResult<FilesStatus> {
        let room = self.core.data.room_left().unwrap_or(u64::MAX >> 1);
        let mut status = FilesStatus {
            total_bytes: room,
            free_bytes: room,
            files_max: FILES_MAX,
            files_free: FILES_MAX,
            name_len_max: NAME_LEN_MAX as u32,
        };
        let Some(root) = self.table.root() else { return Ok(status) };
        let snapshot = self.core.snapshot();
        let here = self.here(&snapshot, root)?;
        let usage = load_usage(&snapshot, root)?;
        let used = usage.bytes + usage.upload_bytes;
        status.total_bytes = room.saturating_add(used);
        let quota = here.row.settings.quota;
        if let Some(max) = quota.bytes_max {
            status.total_bytes = status.total_bytes.min(max);
            status.free_bytes = room.min(max.saturating_sub(used));
        }
        if let Some(max) = quota.objects_max {
            status.files_max = max;
            status.files_free = max.saturating_sub(usage.objects + usage.noncurrent);
        }
        Ok(status)
    }
}

#[async_trait]
impl Files for StoreFiles {
    fn lookup(&self, _: &Caller, parent: FileId, name: &[u8]) -> FilesResult<Found> {
        self.find_and_hold(parent, name)
    }
    fn forget(&self, id: FileId, lookups: u64) {
        if let Some(inode) = self.table.inode(id) {
            self.let_go(inode, Hold::Lookup, lookups);
        }
    }
    fn getattr(&self, id: FileId) -> FilesResult<FileAttr> {
        self.attr(id)
    }
    fn setattr(&self, _: &Caller, id: FileId, _: Option<HandleId>, set: &SetAttr) -> FilesResult<FileAttr> {
        match set.size {
            Some(len) => self.set_len_and_attr(id, set, len),
            None => self.set_attr(id, set),
        }
    }
    fn readlink(&self, id: FileId) -> FilesResult<Vec<u8>> {
        match load(&self.core.snapshot(), self.inode(id)?)?.body {
            InodeBody::Symlink(target) => Ok(target),
            _ => Err(Errno::Invalid.into()),
        }
    }
    fn mknod(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        kind: FileKind,
        mode: u32,
        rdev: u32,
    ) -> FilesResult<Found> {
        let new = New { kind: leaf_kind(kind)?, mode, rdev, target: &[] };
        let found = self.make(caller, parent, name, &new)?;
        if let (FileKind::Regular, Some(inode)) = (kind, self.table.inode(found.attr.id)) {
            // Nobody will close it.
            let root = load(&self.core.snapshot(), inode)?.bucket;
            self.publish(inode, root, true)?;
        }
        Ok(found)
    }
    fn mkdir(&self, caller: &Caller, parent: FileId, name: &[u8], mode: u32) -> FilesResult<Found> {
        self.make_directory(caller, parent, name, mode)
    }
    fn symlink(&self, caller: &Caller, parent: FileId, name: &[u8], target: &[u8]) -> FilesResult<Found> {
        self.make(caller, parent, name, &New { kind: LeafKind::Symlink, mode: 0o777, rdev: 0, target })
    }
    fn link(&self, _: &Caller, id: FileId, parent: FileId, name: &[u8]) -> FilesResult<Found> {
        self.make_link(id, parent, name)
    }
    fn unlink(&self, _: &Caller, parent: FileId, name: &[u8]) -> FilesResult<()> {
        self.take_name(parent, name)
    }
    fn rmdir(&self, _: &Caller, parent: FileId, name: &[u8]) -> FilesResult<()> {
        self.remove_directory(parent, name)
    }
    fn rename(
        &self,
        _: &Caller,
        from: (FileId, &[u8]),
        to: (FileId, &[u8]),
        mode: RenameMode,
    ) -> FilesResult<()> {
        self.move_name(from, to, mode)
    }

    fn create(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        mode: u32,
        flags: OpenFlags,
    ) -> FilesResult<(Found, HandleId)> {
        let new = New { kind: LeafKind::File, mode, rdev: 0, target: &[] };
        let found = match self.make(caller, parent, name, &new) {
            Err(error) if error.errno == Errno::Exists && !flags.exclusive => {
                self.find_and_hold(parent, name)?
            }
            made => made?,
        };
        match self.open_inode(found.attr.id, flags) {
            Ok(handle) => Ok((found, handle)),
            Err(error) => {
                self.forget(found.attr.id, 1);
                Err(error)
            }
        }
    }
    fn open(&self, _: &Caller, id: FileId, flags: OpenFlags) -> FilesResult<HandleId> {
        self.open_inode(id, flags)
    }
    async fn read(&self, handle: HandleId, offset: u64, len: u32) -> FilesResult<Bytes> {
        self.read_bytes(handle, offset, len).await
    }
    async fn write(
        &self,
        _: &Caller,
        handle: HandleId,
        offset: u64,
        bytes: Bytes,
        flags: WriteFlags,
    ) -> FilesResult<u32> {
        self.write_bytes(handle, offset, bytes, flags).await
    }
    async fn flush(&self, handle: HandleId) -> FilesResult<()> {
        self.flush_handle(handle).await
    }
    async fn release(&self, handle: HandleId) -> FilesResult<()> {
        self.release_handle(handle).await
    }
    async fn fsync(&self, handle: HandleId, _: bool) -> FilesResult<()> {
        self.sync_handle(handle).await
    }
    async fn syncfs(&self) -> FilesResult<()> {
        self.sync_all().await
    }
    async fn allocate(&self, handle: HandleId, offset: u64, len: u64, how: Allocate) -> FilesResult<()> {
        self.allocate_range(handle, offset, len, how).await
    }
    async fn seek(&self, handle: HandleId, offset: u64, what: SeekFor) -> FilesResult<u64> {
        self.seek_in(handle, offset, what)
    }
    async fn copy_range(
        &self,
        _: &Caller,
        from: (HandleId, u64),
        to: (HandleId, u64),
        len: u64,
    ) -> FilesResult<u64> {
        self.copy_bytes(from, to, len).await
    }

    fn opendir(&self, _: &Caller, id: FileId) -> FilesResult<HandleId> {
        let Some(inode) = self.table.inode(id) else {
            return self.table.open(None, OpenFlags::default());
        };
        let snapshot = self.core.snapshot();
        let row = load_directory(&snapshot, inode)?;
        let here = self.here(&snapshot, row.bucket)?;
        let place = row.places.first();
        let at = place.map(|place| (place.parent, place.name.as_slice()));
        self.may(&snapshot, &here, Action::ListBucket, at)?;
        if self.table.hold(inode, Hold::Open)?.is_none() {
            return Err(Errno::Stale.into());
        }
        let opened = self.table.open(Some((inode, row.bucket)), OpenFlags::default());
        opened.inspect_err(|_| self.let_go(inode, Hold::Open, 1))
    }
    fn readdir(
        &self,
        handle: HandleId,
        cookie: u64,
        count_max: usize,
        plus: bool,
    ) -> FilesResult<Vec<DirEntry>> {
        self.read_directory(handle, cookie, count_max, plus)
    }
    fn releasedir(&self, handle: HandleId) {
        if self.close_handle(handle).is_err() {
            tracing::debug!(handle = handle.0, "a directory was closed that was not open");
        }
    }
    async fn fsyncdir(&self, handle: HandleId) -> FilesResult<()> {
        self.sync_handle(handle).await
    }

    fn setxattr(
        &self,
        caller: &Caller,
        id: FileId,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> FilesResult<()> {
        self.xattr_set(caller, id, name, Some(value), how)
    }
    fn getxattr(&self, _: &Caller, id: FileId, name: &[u8]) -> FilesResult<Vec<u8>> {
        self.xattr_get(id, name)
    }
    fn listxattr(&self, _: &Caller, id: FileId) -> FilesResult<Vec<Vec<u8>>> {
        self.xattr_list(id)
    }
    fn removexattr(&self, caller: &Caller, id: FileId, name: &[u8]) -> FilesResult<()> {
        self.xattr_set(caller, id, name, None, SetXattr::Either)
    }

    fn statfs(&self) -> FilesResult<FilesStatus> {
        self.status()
    }
    async fn next_change(&self) -> Option<FilesChange> {
        self.watch.next(&self.core.watchers).await
    }
}
