//! A whole namespace in memory: the second implementation of `Files`.
//!
//! It is a stand-in, and says so: nothing is stored, sealed or dispersed, and all of it is gone with
//! the process. It is there for two things. Measurements of a mount need a floor, the cost of the
//! kernel protocol alone. Tests need a model that is obviously right, to compare another
//! implementation with. So it holds one tree under one lock, pages of 4 KiB in ordered maps, and no
//! cleverness; every verb of the trait is there and follows POSIX and Linux's manual pages.
//!
//! ```text
//! lib       MemoryFiles: the trait, verb by verb
//! tree      inodes, names, lookups, handles; what changes a tree
//! xattr     extended attributes and access lists
//! rename    the three kinds of rename
//! content   the bytes of a file: pages and holes
//! changes   what one view tells the others
//! ```
//!
//! Views ([`MemoryFiles::view`]) share the tree; what one changes, the others hear of by `next_change`,
//! as a mount hears of what S3 has done.

mod changes;
mod content;
mod rename;
mod tree;
mod xattr;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_store::files::{
    Allocate, Caller, DirEntry, Errno, FileAttr, FileId, FileKind, Files, FilesChange, FilesResult,
    FilesStatus, Found, HandleId, OpenFlags, RenameMode, SeekFor, SetAttr, SetXattr, WriteFlags,
};
use gw_types::ports::Clock;
use parking_lot::{Mutex, MutexGuard};

use crate::changes::{Changes, Views};
use crate::content::PAGE_BYTES;
use crate::tree::{Maker, Tree};

/// How much such a namespace holds, and how long its answers may be believed.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Pages of files, in bytes of memory.
    pub bytes_max: u64,
    /// Inodes.
    pub files_max: u64,
    /// Changes that a view has not asked for; more of them become [`FilesChange::Everything`].
    pub changes_max: usize,
    /// [`Found::ttl`].
    pub ttl: Duration,
}

impl Default for MemoryLimits {
    /// 1 GiB, a million inodes, 1024 changes, one second.
    fn default() -> Self {
        Self { bytes_max: 1 << 30, files_max: 1 << 20, changes_max: 1024, ttl: Duration::from_secs(1) }
    }
}

/// A namespace in memory, or one view of it. See the crate's page.
#[derive(Debug)]
pub struct MemoryFiles {
    tree: Arc<Mutex<Tree>>,
    views: Arc<Views>,
    changes: Arc<Changes>,
}

impl MemoryFiles {
    /// An empty namespace whose root belongs to this user and group, with mode 0755.
    pub fn new(clock: Arc<dyn Clock>, uid: u32, gid: u32, limits: MemoryLimits) -> Self {
        let views = Arc::new(Views::new(limits.changes_max));
        let changes = views.add();
        Self { tree: Arc::new(Mutex::new(Tree::new(clock, uid, gid, limits))), views, changes }
    }

    /// A further view of the same tree. Each hears of the other's changes, not of its own.
    #[must_use]
    pub fn view(&self) -> Self {
        Self { tree: Arc::clone(&self.tree), views: Arc::clone(&self.views), changes: self.views.add() }
    }

    /// Lets `next_change` of this view end.
    pub fn close_changes(&self) {
        self.changes.close();
    }

    /// Inodes held, with and without names: a leak shows here.
    pub fn inode_count(&self) -> usize {
        self.tree.lock().inode_count()
    }

    /// Handles not yet released.
    pub fn handle_count(&self) -> usize {
        self.tree.lock().handle_count()
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock()
    }

    fn tell_entry(&self, parent: FileId, name: &[u8]) {
        self.views.tell(&self.changes, || FilesChange::Entry { parent, name: name.to_vec() });
    }

    fn tell_inode(&self, id: FileId) {
        self.views.tell(&self.changes, || FilesChange::Inode { id });
    }

    fn make(&self, parent: FileId, name: &[u8], maker: &Maker<'_>) -> FilesResult<Found> {
        let mut tree = self.lock();
        let id = tree.make(parent, name, maker)?;
        let found = tree.found(id)?;
        drop(tree);
        self.tell_entry(parent, name);
        Ok(found)
    }
}

#[async_trait]
impl Files for MemoryFiles {
    fn lookup(&self, _caller: &Caller, parent: FileId, name: &[u8]) -> FilesResult<Found> {
        let mut tree = self.lock();
        let id = tree.child(parent, name)?;
        tree.found(id)
    }

    fn forget(&self, id: FileId, lookups: u64) {
        self.lock().forget(id, lookups);
    }

    fn getattr(&self, id: FileId) -> FilesResult<FileAttr> {
        self.lock().attr(id)
    }

    fn setattr(
        &self,
        _caller: &Caller,
        id: FileId,
        handle: Option<HandleId>,
        set: &SetAttr,
    ) -> FilesResult<FileAttr> {
        let mut tree = self.lock();
        tree.setattr(id, handle, set)?;
        let attr = tree.attr(id);
        drop(tree);
        self.tell_inode(id);
        attr
    }

    fn readlink(&self, id: FileId) -> FilesResult<Vec<u8>> {
        self.lock().readlink(id)
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
        if matches!(kind, FileKind::Directory | FileKind::Symlink) {
            return Err(Errno::Invalid.into());
        }
        self.make(parent, name, &Maker { caller: *caller, kind, mode, rdev, target: b"" })
    }

    fn mkdir(&self, caller: &Caller, parent: FileId, name: &[u8], mode: u32) -> FilesResult<Found> {
        let maker = Maker { caller: *caller, kind: FileKind::Directory, mode, rdev: 0, target: b"" };
        self.make(parent, name, &maker)
    }

    fn symlink(&self, caller: &Caller, parent: FileId, name: &[u8], target: &[u8]) -> FilesResult<Found> {
        let maker = Maker { caller: *caller, kind: FileKind::Symlink, mode: 0o777, rdev: 0, target };
        self.make(parent, name, &maker)
    }

    fn link(&self, _caller: &Caller, id: FileId, parent: FileId, name: &[u8]) -> FilesResult<Found> {
        let mut tree = self.lock();
        tree.link(id, parent, name)?;
        let found = tree.found(id)?;
        drop(tree);
        self.tell_entry(parent, name);
        self.tell_inode(id);
        Ok(found)
    }

    fn unlink(&self, _caller: &Caller, parent: FileId, name: &[u8]) -> FilesResult<()> {
        let id = self.lock().unlink(parent, name)?;
        self.tell_entry(parent, name);
        self.tell_inode(id);
        Ok(())
    }

    fn rmdir(&self, _caller: &Caller, parent: FileId, name: &[u8]) -> FilesResult<()> {
        self.lock().rmdir(parent, name)?;
        self.tell_entry(parent, name);
        Ok(())
    }

    fn rename(
        &self,
        _caller: &Caller,
        from: (FileId, &[u8]),
        to: (FileId, &[u8]),
        mode: RenameMode,
    ) -> FilesResult<()> {
        let touched = rename::rename(&mut self.lock(), from, to, mode)?;
        self.tell_entry(from.0, from.1);
        self.tell_entry(to.0, to.1);
        for id in touched {
            self.tell_inode(id);
        }
        Ok(())
    }

    fn create(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        mode: u32,
        flags: OpenFlags,
    ) -> FilesResult<(Found, HandleId)> {
        let mut tree = self.lock();
        let (id, made) = match tree.child(parent, name) {
            Ok(_) if flags.exclusive => return Err(Errno::Exists.into()),
            Ok(id) => (id, false),
            Err(error) if error.errno == Errno::NoEntry => {
                let kind = FileKind::Regular;
                let maker = Maker { caller: *caller, kind, mode, rdev: 0, target: b"" };
                (tree.make(parent, name, &maker)?, true)
            }
            Err(error) => return Err(error),
        };
        let handle = tree.open(id, flags)?;
        let found = tree.found(id)?;
        drop(tree);
        if made {
            self.tell_entry(parent, name);
        } else if flags.truncate {
            self.tell_inode(id);
        }
        Ok((found, handle))
    }

    fn open(&self, _caller: &Caller, id: FileId, flags: OpenFlags) -> FilesResult<HandleId> {
        let handle = self.lock().open(id, flags)?;
        if flags.truncate {
            self.tell_inode(id);
        }
        Ok(handle)
    }

    async fn read(&self, handle: HandleId, offset: u64, len: u32) -> FilesResult<Bytes> {
        self.lock().read(handle, offset, len)
    }

    async fn write(
        &self,
        _caller: &Caller,
        handle: HandleId,
        offset: u64,
        bytes: Bytes,
        flags: WriteFlags,
    ) -> FilesResult<u32> {
        let id = self.lock().write(handle, offset, &bytes, flags)?;
        self.tell_inode(id);
        u32::try_from(bytes.len()).map_err(|_| Errno::Invalid.into())
    }

    async fn flush(&self, handle: HandleId) -> FilesResult<()> {
        self.lock().known(handle)
    }

    async fn release(&self, handle: HandleId) -> FilesResult<()> {
        self.lock().release(handle)
    }

    async fn fsync(&self, handle: HandleId, _data_only: bool) -> FilesResult<()> {
        self.lock().known(handle)
    }

    async fn syncfs(&self) -> FilesResult<()> {
        Ok(())
    }

    async fn allocate(&self, handle: HandleId, offset: u64, len: u64, how: Allocate) -> FilesResult<()> {
        let id = self.lock().allocate(handle, offset, len, how)?;
        self.tell_inode(id);
        Ok(())
    }

    async fn seek(&self, handle: HandleId, offset: u64, what: SeekFor) -> FilesResult<u64> {
        self.lock().seek(handle, offset, what)
    }

    async fn copy_range(
        &self,
        _caller: &Caller,
        from: (HandleId, u64),
        to: (HandleId, u64),
        len: u64,
    ) -> FilesResult<u64> {
        let (id, copied) = self.lock().copy_range(from, to, len)?;
        self.tell_inode(id);
        Ok(copied)
    }

    fn opendir(&self, _caller: &Caller, id: FileId) -> FilesResult<HandleId> {
        self.lock().opendir(id)
    }

    fn readdir(
        &self,
        handle: HandleId,
        cookie: u64,
        count_max: usize,
        plus: bool,
    ) -> FilesResult<Vec<DirEntry>> {
        self.lock().readdir(handle, cookie, count_max, plus)
    }

    fn releasedir(&self, handle: HandleId) {
        // There is nobody to tell about a handle that is not there.
        let _ = self.lock().release(handle);
    }

    async fn fsyncdir(&self, handle: HandleId) -> FilesResult<()> {
        self.lock().known(handle)
    }

    fn setxattr(
        &self,
        caller: &Caller,
        id: FileId,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> FilesResult<()> {
        self.lock().setxattr(caller, id, name, value, how)?;
        self.tell_inode(id);
        Ok(())
    }

    fn getxattr(&self, _caller: &Caller, id: FileId, name: &[u8]) -> FilesResult<Vec<u8>> {
        self.lock().getxattr(id, name)
    }

    fn listxattr(&self, _caller: &Caller, id: FileId) -> FilesResult<Vec<Vec<u8>>> {
        self.lock().listxattr(id)
    }

    fn removexattr(&self, _caller: &Caller, id: FileId, name: &[u8]) -> FilesResult<()> {
        self.lock().removexattr(id, name)?;
        self.tell_inode(id);
        Ok(())
    }

    fn statfs(&self) -> FilesResult<FilesStatus> {
        let tree = self.lock();
        let (limits, pages, inodes) = (tree.limits(), tree.page_count(), tree.inode_count() as u64);
        Ok(FilesStatus {
            total_bytes: limits.bytes_max,
            free_bytes: limits.bytes_max.saturating_sub(pages * PAGE_BYTES),
            files_max: limits.files_max,
            files_free: limits.files_max.saturating_sub(inodes),
            name_len_max: 255,
        })
    }

    async fn next_change(&self) -> Option<FilesChange> {
        self.changes.next().await
    }
}
