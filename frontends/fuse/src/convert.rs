//! The kernel's words as the namespace's, and back: pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr as KernelAttr, FileType, INodeNo, RenameFlags, TimeOrNow};
use gw_store::files::{
    Allocate, Errno, FileAttr, FileKind, FileTime, OpenFlags, RenameMode, SeekFor, SetTime, SetXattr,
};
use nix::libc;

use crate::ids::IdMap;

/// What `stat` proposes as the size of reads and writes. The page: newer kernels take a larger one for
/// the block of their own page cache.
const BLOCK_BYTES: u32 = 4096;
const NANOS: i128 = 1_000_000_000;

pub fn errno(errno: Errno) -> fuser::Errno {
    match errno {
        Errno::Access => fuser::Errno::EACCES,
        Errno::BadHandle => fuser::Errno::EBADF,
        Errno::Busy => fuser::Errno::EBUSY,
        Errno::CrossDevice => fuser::Errno::EXDEV,
        Errno::Exists => fuser::Errno::EEXIST,
        Errno::FileTooBig => fuser::Errno::EFBIG,
        Errno::Interrupted => fuser::Errno::EINTR,
        Errno::Invalid => fuser::Errno::EINVAL,
        Errno::Io => fuser::Errno::EIO,
        Errno::IsDirectory => fuser::Errno::EISDIR,
        Errno::ManyLinks => fuser::Errno::EMLINK,
        Errno::NameTooLong => fuser::Errno::ENAMETOOLONG,
        Errno::NoData => fuser::Errno::ENODATA,
        Errno::NoEntry => fuser::Errno::ENOENT,
        Errno::NoSpace => fuser::Errno::ENOSPC,
        Errno::NotDirectory => fuser::Errno::ENOTDIR,
        Errno::NotEmpty => fuser::Errno::ENOTEMPTY,
        Errno::NotPermitted => fuser::Errno::EPERM,
        Errno::NotSupported => fuser::Errno::EOPNOTSUPP,
        Errno::NoDeviceOrAddress => fuser::Errno::ENXIO,
        Errno::OutOfRange => fuser::Errno::ERANGE,
        Errno::Quota => fuser::Errno::EDQUOT,
        Errno::ReadOnly => fuser::Errno::EROFS,
        Errno::Stale => fuser::Errno::ESTALE,
        Errno::TimedOut => fuser::Errno::ETIMEDOUT,
    }
}

pub fn kind(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kind in the mode of `mknod`.
pub fn made_kind(mode: u32) -> Option<FileKind> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Some(FileKind::Regular),
        libc::S_IFIFO => Some(FileKind::Fifo),
        libc::S_IFSOCK => Some(FileKind::Socket),
        libc::S_IFCHR => Some(FileKind::CharDevice),
        libc::S_IFBLK => Some(FileKind::BlockDevice),
        _ => None,
    }
}

/// What `stat` shows here.
pub fn attr(attr: &FileAttr, uids: &IdMap, gids: &IdMap) -> KernelAttr {
    KernelAttr {
        ino: INodeNo(attr.id.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime),
        kind: kind(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: uids.here(attr.uid),
        gid: gids.here(attr.gid),
        rdev: attr.rdev,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// The same for nothing, where the protocol wants some.
pub fn no_attr() -> KernelAttr {
    KernelAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn system_time(time: FileTime) -> SystemTime {
    let whole = |nanos: i128| {
        let seconds = u64::try_from(nanos / NANOS).unwrap_or(u64::MAX).min(i64::MAX as u64 - 1);
        Duration::new(seconds, (nanos % NANOS) as u32)
    };
    let moved = if time.0 >= 0 {
        UNIX_EPOCH.checked_add(whole(time.0))
    } else {
        UNIX_EPOCH.checked_sub(whole(time.0.saturating_neg()))
    };
    moved.unwrap_or(UNIX_EPOCH)
}

/// A time that the kernel gave, as fuser 0.18.0 passes it on.
///
/// Before 1970 the kernel counts whole seconds down and nanoseconds up, as all of Linux does; fuser
/// 0.18.0 takes the nanoseconds off as well (`time.rs`, `system_time_from_time`). Its sum is undone
/// here, and the version is fixed in the workspace so that the two go together.
pub fn file_time(time: SystemTime) -> FileTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => FileTime(since.as_nanos() as i128),
        Err(before) => {
            let before = before.duration();
            FileTime(i128::from(before.subsec_nanos()) - i128::from(before.as_secs()) * NANOS)
        }
    }
}

pub fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::To(file_time(time)),
    }
}

/// How a file is opened. With a writeback cache the kernel itself finds the end for appends, and reads
/// what it has to fill a page with through whatever handle there is.
pub fn open_flags(flags: i32, writeback: bool) -> OpenFlags {
    let access = flags & libc::O_ACCMODE;
    let write = access == libc::O_WRONLY || access == libc::O_RDWR;
    let has = |flag: i32| flags & flag != 0;
    OpenFlags {
        read: access != libc::O_WRONLY || writeback,
        write,
        append: has(libc::O_APPEND) && !writeback,
        truncate: has(libc::O_TRUNC),
        sync: has(libc::O_SYNC | libc::O_DSYNC),
        exclusive: has(libc::O_EXCL),
    }
}

pub fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    if flags.is_empty() {
        Some(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Some(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Some(RenameMode::Exchange)
    } else {
        None
    }
}

pub fn allocate(mode: i32) -> Option<Allocate> {
    let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    match mode & !libc::FALLOC_FL_KEEP_SIZE {
        0 => Some(Allocate::Reserve { keep_size }),
        libc::FALLOC_FL_PUNCH_HOLE if keep_size => Some(Allocate::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Some(Allocate::Zero { keep_size }),
        libc::FALLOC_FL_COLLAPSE_RANGE if !keep_size => Some(Allocate::Collapse),
        libc::FALLOC_FL_INSERT_RANGE if !keep_size => Some(Allocate::Insert),
        _ => None,
    }
}

pub fn seek_for(whence: i32) -> Option<SeekFor> {
    match whence {
        libc::SEEK_DATA => Some(SeekFor::Data),
        libc::SEEK_HOLE => Some(SeekFor::Hole),
        _ => None,
    }
}

pub fn set_xattr(flags: i32) -> Option<SetXattr> {
    match flags {
        0 => Some(SetXattr::Either),
        libc::XATTR_CREATE => Some(SetXattr::Create),
        libc::XATTR_REPLACE => Some(SetXattr::Replace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use gw_store::files::FileTime;
    use nix::libc;

    use super::{allocate, file_time, open_flags, system_time};

    #[test]
    fn times_of_any_age_are_told_without_a_panic() {
        for nanos in [0, 1, -1, 1_500_000_000, -1_500_000_000, i128::from(i64::MAX), i128::MAX, i128::MIN] {
            let told = system_time(FileTime(nanos));
            assert_eq!(nanos < 0, told < UNIX_EPOCH, "{nanos}");
        }
        let exact = system_time(FileTime(-1_200_000_000));
        assert_eq!(UNIX_EPOCH.duration_since(exact).unwrap(), Duration::from_millis(1200));
    }

    #[test]
    fn times_before_1970_are_what_the_kernel_meant() {
        // -1.2 s: the kernel says -2 s and 800,000,000 ns, fuser makes 2.8 s before 1970 of it.
        let passed_on = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(file_time(passed_on), FileTime(-1_200_000_000));
        assert_eq!(file_time(UNIX_EPOCH - Duration::from_secs(5)), FileTime(-5_000_000_000));
        assert_eq!(file_time(UNIX_EPOCH + Duration::new(5, 7)), FileTime(5_000_000_007));
    }

    #[test]
    fn a_writeback_cache_reads_through_writers_and_finds_the_end_itself() {
        let plain = open_flags(libc::O_WRONLY | libc::O_APPEND, false);
        assert!(plain.append && plain.write && !plain.read);
        let cached = open_flags(libc::O_WRONLY | libc::O_APPEND, true);
        assert!(!cached.append && cached.write && cached.read);
    }

    #[test]
    fn only_what_fallocate_knows_is_done() {
        assert!(allocate(libc::FALLOC_FL_PUNCH_HOLE).is_none());
        assert!(allocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE).is_some());
        assert!(allocate(libc::FALLOC_FL_UNSHARE_RANGE).is_none());
    }
}
