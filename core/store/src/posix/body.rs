//! Bytes of files, and when S3 sees them.
//!
//! Handles change the working map ([`crate::file`]); S3 goes on seeing what was published. It is
//! published when the last writer closes a descriptor, at `fsync` and `syncfs`, and by the next start; in a
//! bucket with versions only when the last writer is gone and by the start, each time as a new version. A file without names
//! is never published. Writes are answered when they are committed, with `O_SYNC` when they are durable.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gw_data::DataMap;
use gw_types::{InodeId, Level, Lsn};

use super::attr::{apply, attr_of, kill_suid_gid};
use super::errno::of_sync;
use super::table::{Handle, Hold};
use super::{Here, StoreFiles, is_named, load};
use crate::api::files::{
    Allocate, Errno, FileAttr, FileId, FilesResult, HandleId, SeekFor, SetAttr, WriteFlags,
};
use crate::api::{Etag, Versioning};
use crate::core::Work;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::file::{FILE_BYTES_MAX, FileAt, FilePiece, Hand};
use crate::object::check_lock;
use crate::rows::{self, InodeBody, WorkingRow, key};

/// What `fallocate` moves bytes by has to be a multiple of it.
const BLOCK_BYTES: u64 = 4096;
/// Bytes behind the place that `fallocate` may move in one commit.
const MOVED_BYTES_MAX: u64 = 1 << 30;
/// Rows of files that are worked on, read at a time.
const SCAN_PAGE: usize = 512;

impl StoreFiles {
    /// The file behind a handle.
    fn file_at(&self, handle: &Handle) -> FilesResult<FileAt> {
        let inode = handle.inode.ok_or(Errno::BadHandle)?;
        let root = handle.root.ok_or(Errno::BadHandle)?;
        let bucket = match self.names.find(root) {
            Some(name) => name,
            None => self.here(&self.core.snapshot(), root)?.name,
        };
        Ok(FileAt { bucket, inode })
    }

    fn reading(&self, handle: HandleId) -> FilesResult<(Arc<Handle>, FileAt)> {
        let handle = self.table.handle(handle)?;
        let at = self.file_at(&handle)?;
        if handle.flags.read { Ok((handle, at)) } else { Err(Errno::BadHandle.into()) }
    }

    fn writing(&self, handle: HandleId) -> FilesResult<(Arc<Handle>, FileAt)> {
        self.writable()?;
        let handle = self.table.handle(handle)?;
        let at = self.file_at(&handle)?;
        if handle.flags.write { Ok((handle, at)) } else { Err(Errno::BadHandle.into()) }
    }

    pub(super) async fn read_bytes(&self, handle: HandleId, offset: u64, len: u32) -> FilesResult<Bytes> {
        let (handle, at) = self.reading(handle)?;
        let end = offset.saturating_add(u64::from(len));
        let mut pieces = self.core.file_read_again(&at, &handle.view, offset..end).await?;
        if let [FilePiece::Data(bytes)] = pieces.as_mut_slice() {
            return Ok(std::mem::take(bytes));
        }
        let mut all = BytesMut::with_capacity(len as usize);
        for piece in pieces {
            match piece {
                FilePiece::Data(bytes) => all.extend_from_slice(&bytes),
                // No longer than `len`, which is 32 bits.
                FilePiece::Zeros(count) => all.resize(all.len() + count as usize, 0),
            }
        }
        Ok(all.freeze())
    }

    pub(super) async fn write_bytes(
        &self,
        handle: HandleId,
        offset: u64,
        bytes: Bytes,
        with: WriteFlags,
    ) -> FilesResult<u32> {
        let (handle, at) = self.writing(handle)?;
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Invalid)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        if with.kill_suid_gid {
            self.drop_set_bits(at.inode)?;
        }
        // Where the end is must not change between looking and writing.
        let append = handle.flags.append && !with.from_cache;
        let _turn = if append { Some(self.append_turn(at.inode).lock().await) } else { None };
        let offset = if append { self.core.file(&at)?.len()? } else { offset };
        if offset == 0 && self.core.file(&at)?.len()? == 0 {
            self.core.in_order.begin(at.inode);
        }
        let digest = self.core.in_order.take(at.inode, offset);
        let pieces = [(offset, bytes)];
        let mut tries = 1;
        let lsn = loop {
            match self.core.file_write(&at, Hand::Mount, &pieces).await {
                Err(error) if error.kind() == StoreErrorKind::Busy && tries < super::BUSY_TRIES_MAX => {
                    tries += 1;
                    self.catch_up().await?;
                }
                done => break done.map_err(super::busy)?,
            }
        };
        self.announce(at.inode, lsn);
        if let Some(digest) = digest {
            let [(_, bytes)] = pieces;
            self.core.in_order.carry_on(at.inode, digest, bytes).await;
        }
        if handle.flags.sync {
            self.secure(handle.root, lsn).await?;
        }
        Ok(len)
    }

    /// The same act again after a sync, while the journal is too far behind.
    async fn again<T>(&self, mut act: impl FnMut() -> StoreResult<T>) -> FilesResult<T> {
        for _ in 1..super::BUSY_TRIES_MAX {
            match act() {
                Err(error) if error.kind() == StoreErrorKind::Busy => self.catch_up().await?,
                done => return done.map_err(super::busy),
            }
        }
        act().map_err(super::busy)
    }

    async fn catch_up(&self) -> FilesResult<()> {
        Ok(self.core.db.wait_staged(self.core.db.appended()).await?)
    }

    /// Other mounts hear of changed bytes.
    fn announce(&self, inode: InodeId, lsn: Lsn) {
        let mut changes = self.core.watchers.begin();
        changes.inode(inode);
        self.core.watchers.tell(lsn, Some(self.watch.id), changes);
    }

    /// Takes set-user and set-group off before the bytes change.
    fn drop_set_bits(&self, inode: InodeId) -> FilesResult<()> {
        let mut posix = load(&self.core.snapshot(), inode)?.posix;
        let before = posix.mode;
        kill_suid_gid(&mut posix);
        if posix.mode == before {
            return Ok(());
        }
        self.change(|work| {
            let mut row = load(&*work.txn, inode)?;
            kill_suid_gid(&mut row.posix);
            work.put_row(key::inode(inode), &row);
            Ok(())
        })?;
        Ok(())
    }

    /// Attributes and the length in one commit.
    pub(super) fn set_len_and_attr(&self, id: FileId, set: &SetAttr, len: u64) -> FilesResult<FileAttr> {
        let inode = self.inode(id)?;
        if len > FILE_BYTES_MAX {
            return Err(Errno::FileTooBig.into());
        }
        let done = self.change(|work| {
            let row = load(&*work.txn, inode)?;
            let here = self.here(&*work.txn, row.bucket)?;
            let file = match &row.body {
                InodeBody::File(file) => file,
                InodeBody::Directory(_) => return Err(Errno::IsDirectory.into()),
                _ => return Err(Errno::Invalid.into()),
            };
            if let Some(published) = &file.published {
                check_lock(&here.row, &published.attributes, work.now, false)?;
            }
            self.may_change(work, &here, &row)?;
            let at = FileAt { bucket: here.name, inode };
            work.edit(&at, |map, txn, stream| Ok(map.resize(txn, stream, len)?))?;
            let mut row = load(&*work.txn, inode)?;
            let mtime = row.posix.mtime;
            apply(&mut row, set, work.now);
            if set.mtime.is_none() {
                row.posix.mtime = mtime;
            }
            work.changes.inode(inode);
            work.put_row(key::inode(inode), &row);
            Ok((attr_of(id, inode, &row), row.bucket))
        })?;
        let (attr, root) = done.value;
        if !self.core.pins.is_written(inode) {
            // Nobody will close it.
            self.publish(inode, root, true)?;
        }
        Ok(attr)
    }

    pub(super) async fn allocate_range(
        &self,
        handle: HandleId,
        offset: u64,
        len: u64,
        how: Allocate,
    ) -> FilesResult<()> {
        let (handle, at) = self.writing(handle)?;
        if len == 0 {
            return Err(Errno::Invalid.into());
        }
        let end = offset.checked_add(len).filter(|end| *end <= FILE_BYTES_MAX).ok_or(Errno::FileTooBig)?;
        if let Allocate::Reserve { keep_size } = how {
            let range = offset..end;
            self.again(|| self.core.file_allocate(&at, Hand::Mount, range.clone(), keep_size)).await?;
        } else {
            self.change(|work| work.reshape(&at, offset..end, how))?;
        }
        let lsn = self.core.db.appended();
        self.announce(at.inode, lsn);
        if handle.flags.sync { self.secure(handle.root, lsn).await } else { Ok(()) }
    }

    pub(super) fn seek_in(&self, handle: HandleId, offset: u64, what: SeekFor) -> FilesResult<u64> {
        let handle = self.table.handle(handle)?;
        let at = self.file_at(&handle)?;
        let found = self.core.file_seek(&at, offset, what == SeekFor::Data)?;
        found.ok_or_else(|| Errno::NoDeviceOrAddress.into())
    }

    pub(super) async fn copy_bytes(
        &self,
        from: (HandleId, u64),
        to: (HandleId, u64),
        len: u64,
    ) -> FilesResult<u64> {
        let (_, source) = self.reading(from.0)?;
        let (handle, target) = self.writing(to.0)?;
        if handle.flags.append {
            return Err(Errno::BadHandle.into());
        }
        if source.bucket != target.bucket {
            // Their bytes are under different keys: the caller copies them.
            return Err(Errno::CrossDevice.into());
        }
        let source_len = self.core.file(&source)?.len()?;
        let len = len.min(source_len.saturating_sub(from.1));
        if len == 0 {
            return Ok(0);
        }
        let range = from.1..from.1 + len;
        let act = || self.core.file_share(&source, range.clone(), (&target, Hand::Mount, to.1));
        let (copied, lsn) = self.again(act).await?;
        self.announce(target.inode, lsn);
        if handle.flags.sync {
            self.secure(handle.root, lsn).await?;
        }
        Ok(copied)
    }

    /// Shows S3 what was written to a file. `closing`: no writer is left, so a bucket with versions gets
    /// its new version.
    pub(super) fn publish(&self, inode: InodeId, root: InodeId, closing: bool) -> FilesResult<()> {
        let snapshot = self.core.snapshot();
        if snapshot.get(&key::working(inode))?.is_none() {
            return Ok(());
        }
        let Here { name, row } = self.here(&snapshot, root)?;
        if !closing && row.settings.versioning != Versioning::Off {
            return Ok(());
        }
        let mut digest = [0; 16];
        self.core.keys.random(&mut digest).map_err(StoreError::from)?;
        let at = FileAt { bucket: name, inode };
        self.change(|work| {
            // A commit may have taken its last name meanwhile: then its bytes are its handles' alone.
            if is_named(&load(&*work.txn, inode)?) {
                work.publish_file(&at, Etag::Opaque(digest))?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Publishes every file of the mount that somebody works on.
    fn publish_all(&self) -> FilesResult<()> {
        let mut from = Vec::new();
        loop {
            let page = rows::under(&self.core.snapshot(), &key::all_working(), &from, SCAN_PAGE)?;
            for (row, value) in &page {
                let Some(inode) = key::id_of(row).map(InodeId) else { continue };
                let WorkingRow { bucket } = rows::decode("working", value)?;
                let Ok(found) = load(&self.core.snapshot(), inode) else { continue };
                let ours = self.table.root().is_none_or(|root| root == found.bucket);
                if ours && let Err(error) = self.publish(inode, found.bucket, false) {
                    tracing::warn!(inode = inode.0, %bucket, %error, "a file could not be published");
                    return Err(error);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN_PAGE => from = key::after(last),
                _ => return Ok(()),
            }
        }
    }

    /// Closes a handle; the last writer's publishes the file.
    pub(super) fn close_handle(&self, id: HandleId) -> FilesResult<()> {
        let closed = self.table.close(id).ok_or(Errno::BadHandle)?;
        let Some(inode) = closed.inode else { return Ok(()) };
        let last = closed.flags.write && self.core.pins.end_writing(inode);
        let published = match closed.root {
            Some(root) if last => self.publish(inode, root, true),
            _ => Ok(()),
        };
        if last {
            self.core.in_order.forget(inode);
        }
        self.let_go(inode, Hold::Open, 1);
        published
    }

    /// Returns when a commit is as durable as the mount asks.
    pub(super) async fn secure(&self, root: Option<InodeId>, lsn: Lsn) -> FilesResult<()> {
        let (stream, level) = match root {
            Some(root) => {
                let here = self.here(&self.core.snapshot(), root)?;
                (here.row.stream, self.options.level.unwrap_or(here.row.settings.level))
            }
            None => (gw_types::StreamId::default(), self.options.level.unwrap_or(Level::Staged)),
        };
        if lsn == Lsn(0) {
            return Ok(());
        }
        self.core.secure(lsn, stream, level).await.map_err(of_sync)
    }

    /// Somebody closes a descriptor of a handle. Whoever asks S3 after that finds the file, if nobody
    /// else writes it; in a bucket with versions only the handle's end makes one.
    pub(super) async fn flush_handle(&self, handle: HandleId) -> FilesResult<()> {
        let handle = self.table.handle(handle)?;
        let (Some(inode), Some(root), true) = (handle.inode, handle.root, handle.flags.write) else {
            return Ok(());
        };
        if self.core.pins.writers(inode) > 1 {
            return Ok(());
        }
        self.core.in_order.settle(inode).await;
        self.publish(inode, root, false)
    }

    pub(super) async fn release_handle(&self, id: HandleId) -> FilesResult<()> {
        let handle = self.table.handle(id)?;
        if let (Some(inode), true) = (handle.inode, handle.flags.write) {
            self.core.in_order.settle(inode).await;
        }
        self.close_handle(id)
    }

    pub(super) async fn sync_handle(&self, handle: HandleId) -> FilesResult<()> {
        let handle = self.table.handle(handle)?;
        if let (Some(inode), true) = (handle.inode, handle.flags.write) {
            self.core.in_order.settle(inode).await;
        }
        if let (Some(inode), Some(root), true) = (handle.inode, handle.root, handle.flags.write) {
            self.publish(inode, root, false)?;
        }
        self.secure(handle.root, self.core.db.appended()).await
    }

    pub(super) async fn sync_all(&self) -> FilesResult<()> {
        if !self.options.read_only {
            self.publish_all()?;
        }
        self.secure(self.table.root(), self.core.db.appended()).await
    }
}

impl Work<'_, '_> {
    /// Changes a file's map.
    fn edit(
        &mut self,
        at: &FileAt,
        act: impl FnOnce(&mut DataMap, &mut gw_db::Txn<'_>, gw_types::StreamId) -> FilesResult<()>,
    ) -> FilesResult<()> {
        let mut change = self.change_file(at, Hand::Mount)?;
        let stream = change.file.bucket.stream;
        act(&mut change.map, self.txn, stream)?;
        Ok(self.keep_file(at, change)?)
    }

    /// `fallocate`, but for reserving.
    fn reshape(&mut self, at: &FileAt, range: Range<u64>, how: Allocate) -> FilesResult<()> {
        let Range { start, end } = range.clone();
        let is_whole = start.is_multiple_of(BLOCK_BYTES) && end.is_multiple_of(BLOCK_BYTES);
        self.edit(at, |map, txn, stream| {
            let len = map.len;
            match how {
                Allocate::Reserve { .. } => {}
                Allocate::PunchHole => map.punch(txn, stream, range)?,
                Allocate::Zero { keep_size } => {
                    map.punch(txn, stream, range)?;
                    if !keep_size && end > len {
                        map.resize(txn, stream, end)?;
                    }
                }
                Allocate::Collapse if !is_whole || end >= len => return Err(Errno::Invalid.into()),
                Allocate::Insert if !is_whole || start >= len => return Err(Errno::Invalid.into()),
                Allocate::Collapse => {
                    check_moved(len - end)?;
                    let tail = map.share(txn, end..len)?;
                    map.overwrite(txn, stream, start, tail)?;
                    map.resize(txn, stream, len - (end - start))?;
                }
                Allocate::Insert => {
                    check_moved(len - start)?;
                    if len + (end - start) > FILE_BYTES_MAX {
                        return Err(Errno::FileTooBig.into());
                    }
                    let tail = map.share(txn, start..len)?;
                    map.resize(txn, stream, len + (end - start))?;
                    map.overwrite(txn, stream, end, tail)?;
                    map.punch(txn, stream, range)?;
                }
            }
            Ok(())
        })
    }
}

fn check_moved(bytes: u64) -> FilesResult<()> {
    if bytes <= MOVED_BYTES_MAX { Ok(()) } else { Err(Errno::NotSupported.into()) }
}
