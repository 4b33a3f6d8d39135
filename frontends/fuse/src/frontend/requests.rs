//! The requests, one by one, in the order of fuser's trait.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use gw_store::files::{self, Errno, FileId, HandleId, SetAttr};

use super::{Frontend, Opened, empty, kill_suid_gid, xattr};
use crate::convert;
use crate::ids::IdMap;
use crate::metrics::{MountMetrics, Op};

/// The kernel cuts requests to 256 pages (`fs.fuse.max_pages_limit`).
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// What one copy answers fits in 32 bits, and is whole pages.
const COPY_BYTES_MAX: u64 = 0x7fff_f000;
/// Names that are asked for at first and then: about a page of answers, and more when there is room.
const PLUS_COUNTS: (usize, usize) = (24, 64);
const PLAIN_COUNTS: (usize, usize) = (128, 128);
const STATFS_BLOCK_BYTES: u32 = 4096;

impl Filesystem for Frontend {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Not asked for, on purpose: locks (the kernel's own are right for one mount, and can be
        // interrupted), SETXATTR_EXT (fuser 0.18 cannot read what then comes), passthrough (a sealed
        // file cannot be passed through).
        // Nor ATOMIC_O_TRUNC: with it, an open for reading that truncates comes here before the kernel has
        // looked whether the file is being executed, and takes the text from under a running program.
        let mut wanted = InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP
            // The kernel enforces access lists; where one is handed down the umask does not count, so the
            // kernel must not take it off.
            | InitFlags::FUSE_POSIX_ACL
            | InitFlags::FUSE_DONT_MASK;
        if self.options.cache.writeback {
            wanted |= InitFlags::FUSE_WRITEBACK_CACHE;
        }
        for flag in wanted.iter() {
            if config.add_capabilities(flag).is_err() {
                tracing::debug!(?flag, "this kernel does not offer it");
            }
        }
        // Both values are in range, which is all that these can complain of.
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        let _ = config.set_max_background(self.options.limits.background_max.max(1));
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let caller = self.caller(req);
        let answer =
            self.engine.meta(Op::Lookup, |files| files.lookup(&caller, FileId(parent.0), name.as_bytes()));
        let negative = self.options.cache.negative_ttl;
        match answer {
            Err(errno) if errno == fuser::Errno::ENOENT && !negative.is_zero() => {
                reply.entry(&negative, &convert::no_attr(), Generation(0));
            }
            answer => self.entry(answer, reply),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        // There is no answer to a forget.
        let _ = self.engine.meta(Op::Forget, |files| {
            files.forget(FileId(ino.0), nlookup);
            Ok(())
        });
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.engine.meta(Op::Getattr, |files| files.getattr(FileId(ino.0))) {
            Ok(attr) => reply.attr(&self.options.cache.ttl_max, &self.attr(&attr)),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let caller = self.caller(req);
        let stored = |map: &IdMap, id: Option<u32>| match id {
            Some(id) => map.stored(id).map(Some).ok_or(fuser::Errno::EOVERFLOW),
            None => Ok(None),
        };
        let owners = stored(&self.options.uids, uid)
            .and_then(|uid| stored(&self.options.gids, gid).map(|gid| (uid, gid)));
        let (uid, gid) = match owners {
            Ok(owners) => owners,
            Err(errno) => return reply.error(errno),
        };
        let owned = uid.is_some() || gid.is_some();
        // A change of nothing is chown(2) with two times -1, which takes the bits as any chown does.
        let nothing = !owned && mode.is_none() && size.is_none() && atime.is_none() && mtime.is_none();
        let set = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(convert::set_time),
            mtime: mtime.map(convert::set_time),
            kill_suid_gid: owned || nothing || (size.is_some() && req.uid() != 0),
        };
        let handle = fh.map(|handle| HandleId(handle.0));
        let answer =
            self.engine.meta(Op::Setattr, |files| files.setattr(&caller, FileId(ino.0), handle, &set));
        match answer {
            Ok(attr) => reply.attr(&self.options.cache.ttl_max, &self.attr(&attr)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.engine.meta(Op::Readlink, |files| files.readlink(FileId(ino.0))) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let answer = self.maker(req, umask).and_then(|caller| {
            self.engine.meta(Op::Mknod, |files| {
                let kind = convert::made_kind(mode).ok_or(Errno::Invalid)?;
                files.mknod(&caller, FileId(parent.0), name.as_bytes(), kind, mode & 0o7777, rdev)
            })
        });
        self.entry(answer, reply);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let answer = self.maker(req, umask).and_then(|caller| {
            self.engine.meta(Op::Mkdir, |files| {
                files.mkdir(&caller, FileId(parent.0), name.as_bytes(), mode & 0o7777)
            })
        });
        self.entry(answer, reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let answer = self.maker(req, 0).and_then(|caller| {
            self.engine.meta(Op::Symlink, |files| {
                let target = target.as_os_str().as_bytes();
                files.symlink(&caller, FileId(parent.0), name.as_bytes(), target)
            })
        });
        self.entry(answer, reply);
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let caller = self.caller(req);
        let answer = self.engine.meta(Op::Link, |files| {
            files.link(&caller, FileId(ino.0), FileId(newparent.0), newname.as_bytes())
        });
        self.entry(answer, reply);
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let caller = self.caller(req);
        empty(reply)(
            self.engine.meta(Op::Unlink, |files| files.unlink(&caller, FileId(parent.0), name.as_bytes())),
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let caller = self.caller(req);
        empty(reply)(
            self.engine.meta(Op::Rmdir, |files| files.rmdir(&caller, FileId(parent.0), name.as_bytes())),
        );
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let caller = self.caller(req);
        empty(reply)(self.engine.meta(Op::Rename, |files| {
            // Whiteouts are overlayfs's; a file system that has none says EINVAL (rename(2)).
            let mode = convert::rename_mode(flags).ok_or(Errno::Invalid)?;
            let from = (FileId(parent.0), name.as_bytes());
            files.rename(&caller, from, (FileId(newparent.0), newname.as_bytes()), mode)
        }));
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let flags = self.open_flags(flags);
        let answer = self.maker(req, umask).and_then(|caller| {
            self.engine.meta(Op::Create, |files| {
                files.create(&caller, FileId(parent.0), name.as_bytes(), mode & 0o7777, flags)
            })
        });
        match answer {
            Ok((found, handle)) => reply.created(
                &self.ttl(&found),
                &self.attr(&found.attr),
                Generation(found.generation),
                self.opened(handle, Opened::File),
                self.handle_flags(flags),
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let caller = self.caller(req);
        let flags = self.open_flags(flags.0);
        let answer = self.engine.meta(Op::Open, |files| files.open(&caller, FileId(ino.0), flags));
        match answer {
            Ok(handle) => reply.opened(self.opened(handle, Opened::File), self.handle_flags(flags)),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let files = self.engine.files();
        let metrics = Arc::clone(self.engine.metrics());
        let work = async move { files.read(HandleId(fh.0), offset, size).await };
        self.engine.run(Op::Read, self.engine.moves(size as usize), work, move |answer| match answer {
            Ok(bytes) => {
                MountMetrics::add(&metrics.bytes_read, bytes.len() as u64);
                // More than was asked for would be a fault of the namespace, and is cut.
                reply.data(&bytes[..bytes.len().min(size as usize)]);
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let files = self.engine.files();
        let caller = self.caller(req);
        let with = files::WriteFlags {
            kill_suid_gid: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
            from_cache: write_flags.contains(WriteFlags::FUSE_WRITE_CACHE),
        };
        MountMetrics::add(&self.engine.metrics().bytes_written, data.len() as u64);
        let cost = self.engine.moves(data.len());
        let bytes = Bytes::copy_from_slice(data);
        let work = async move { files.write(&caller, HandleId(fh.0), offset, bytes, with).await };
        self.engine.run(Op::Write, cost, work, move |answer| match answer {
            Ok(written) => reply.written(written),
            Err(errno) => reply.error(errno),
        });
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        let files = self.engine.files();
        let work = async move { files.flush(HandleId(fh.0)).await };
        self.engine.run(Op::Flush, self.engine.syncs(), work, empty(reply));
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let (files, handle) = (self.engine.files(), self.closed(fh));
        let work = async move { files.release(handle).await };
        self.engine.run(Op::Release, self.engine.syncs(), work, empty(reply));
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let files = self.engine.files();
        let work = async move { files.fsync(HandleId(fh.0), datasync).await };
        self.engine.run(Op::Fsync, self.engine.syncs(), work, empty(reply));
    }

    fn opendir(&self, req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let caller = self.caller(req);
        match self.engine.meta(Op::Opendir, |files| files.opendir(&caller, FileId(ino.0))) {
            Ok(handle) => reply.opened(self.opened(handle, Opened::Directory), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.list(fh, offset, PLAIN_COUNTS, false, |entry| {
            let kind = convert::kind(entry.kind);
            reply.add(INodeNo(entry.id.0), entry.cookie, kind, OsStr::from_bytes(&entry.name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(fh, offset, PLUS_COUNTS, true, |entry| {
            let name = OsStr::from_bytes(&entry.name);
            let (attr, ttl, generation) = match &entry.found {
                Some(found) => (self.attr(&found.attr), self.ttl(found), Generation(found.generation)),
                // `.` and `..`: the kernel takes number and kind of them, and counts no lookup.
                None => {
                    let (ino, kind) = (INodeNo(entry.id.0), convert::kind(entry.kind));
                    (fuser::FileAttr { ino, kind, ..convert::no_attr() }, Duration::ZERO, Generation(0))
                }
            };
            reply.add(INodeNo(entry.id.0), entry.cookie, name, &ttl, &attr, generation)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        let handle = self.closed(fh);
        empty(reply)(self.engine.meta(Op::Releasedir, |files| {
            files.releasedir(handle);
            Ok(())
        }));
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let files = self.engine.files();
        let work = async move { files.fsyncdir(HandleId(fh.0)).await };
        self.engine.run(Op::Fsyncdir, self.engine.syncs(), work, empty(reply));
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        match self.engine.meta(Op::Statfs, |files| files.statfs()) {
            Ok(status) => {
                let blocks = |bytes: u64| bytes / u64::from(STATFS_BLOCK_BYTES);
                let free = blocks(status.free_bytes);
                reply.statfs(
                    blocks(status.total_bytes),
                    free,
                    free,
                    status.files_max,
                    status.files_free,
                    STATFS_BLOCK_BYTES,
                    status.name_len_max,
                    STATFS_BLOCK_BYTES,
                );
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let caller = self.caller(req);
        let value = match self.list_ids(name, value, true) {
            Ok(value) => value,
            Err(errno) => return reply.error(errno),
        };
        empty(reply)(self.engine.meta(Op::Setxattr, |files| {
            let how = convert::set_xattr(flags).ok_or(Errno::Invalid)?;
            files.setxattr(&caller, FileId(ino.0), name.as_bytes(), &value, how)
        }));
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let caller = self.caller(req);
        let answer =
            self.engine.meta(Op::Getxattr, |files| files.getxattr(&caller, FileId(ino.0), name.as_bytes()));
        xattr(answer.and_then(|value| self.list_ids(name, &value, false)), size, reply);
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let caller = self.caller(req);
        let root = req.uid() == 0;
        let answer = self.engine.meta(Op::Listxattr, |files| {
            let mut list = Vec::new();
            for name in files.listxattr(&caller, FileId(ino.0))? {
                // xattr(7): only processes with CAP_SYS_ADMIN see these.
                if root || !name.starts_with(b"trusted.") {
                    list.extend_from_slice(&name);
                    list.push(0);
                }
            }
            Ok(list)
        });
        xattr(answer, size, reply);
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let caller = self.caller(req);
        empty(reply)(
            self.engine
                .meta(Op::Removexattr, |files| files.removexattr(&caller, FileId(ino.0), name.as_bytes())),
        );
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let Some(how) = convert::allocate(mode) else {
            return reply.error(fuser::Errno::EOPNOTSUPP);
        };
        let (files, caller, root) = (self.engine.files(), self.caller(req), req.uid() == 0);
        let work = async move {
            files.allocate(HandleId(fh.0), offset, length, how).await?;
            if root { Ok(()) } else { kill_suid_gid(files.as_ref(), &caller, FileId(ino.0)) }
        };
        self.engine.run(Op::Allocate, self.engine.moves(0), work, empty(reply));
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let Some(what) = convert::seek_for(whence) else { return reply.error(fuser::Errno::EINVAL) };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(fuser::Errno::ENXIO) };
        let files = self.engine.files();
        let work = async move { files.seek(HandleId(fh.0), offset, what).await };
        self.engine.run(Op::Seek, self.engine.moves(0), work, move |answer| {
            match answer.and_then(|found| i64::try_from(found).map_err(|_| fuser::Errno::EOVERFLOW)) {
                Ok(found) => reply.offset(found),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn copy_file_range(
        &self,
        req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (files, caller, root) = (self.engine.files(), self.caller(req), req.uid() == 0);
        let (from, to) = ((HandleId(fh_in.0), offset_in), (HandleId(fh_out.0), offset_out));
        let work = async move {
            let copied = files.copy_range(&caller, from, to, len.min(COPY_BYTES_MAX)).await?;
            if !root {
                kill_suid_gid(files.as_ref(), &caller, FileId(ino_out.0))?;
            }
            Ok(copied)
        };
        self.engine.run(Op::CopyRange, self.engine.moves(0), work, move |answer| match answer {
            Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        });
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _ph: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // The kernel then answers for regular files itself: always ready.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn bmap(&self, _req: &Request, _ino: INodeNo, _blocksize: u32, _idx: u64, reply: ReplyBmap) {
        reply.error(fuser::Errno::ENOSYS);
    }
}
