//! What a mount asks of a namespace: inodes, names, handles and bytes, in POSIX's words.
//!
//! [`Files`] is the seam between a kernel protocol (`gw-fuse`) and a namespace. The store is one
//! implementation; the other is a plain tree in memory, the floor that mounts are measured against
//! and the model that random operations are compared with. Metadata verbs are synchronous: they are
//! one commit in memory order and wait for nothing. Verbs that move bytes or wait for durability are
//! asynchronous. A verb that fails has changed nothing.
//!
//! Mode bits are checked by the kernel (`default_permissions`) before a verb is called; an
//! implementation checks what the kernel cannot know: who may use the bucket, object locks, leases,
//! quotas. Names are bytes without `/` and NUL, at most 255. Times are nanoseconds since 1970 and may
//! be negative.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// What a verb gives, or the `errno` it fails with.
pub type FilesResult<T> = Result<T, FilesError>;

/// An inode's number within one mount. The root is [`FileId::ROOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

impl FileId {
    /// What is mounted: one bucket, or the list of all of them.
    pub const ROOT: Self = Self(1);
}

/// An open file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(pub u64);

/// Why a verb failed: an `errno` of POSIX, and a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesError {
    /// Which.
    pub errno: Errno,
    /// For people; empty where the number says it all.
    pub message: String,
}

impl From<Errno> for FilesError {
    fn from(errno: Errno) -> Self {
        Self { errno, message: String::new() }
    }
}

impl FilesError {
    /// An error with a reason.
    pub fn new(errno: Errno, message: impl Into<String>) -> Self {
        Self { errno, message: message.into() }
    }
}

impl std::fmt::Display for FilesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.message.is_empty() {
            write!(f, "{:?}", self.errno)
        } else {
            write!(f, "{:?}: {}", self.errno, self.message)
        }
    }
}

impl std::error::Error for FilesError {}

/// The error numbers that a namespace answers with, by their POSIX names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // POSIX says what each means
pub enum Errno {
    Access,
    BadHandle,
    Busy,
    CrossDevice,
    Exists,
    FileTooBig,
    Interrupted,
    Invalid,
    Io,
    IsDirectory,
    ManyLinks,
    NameTooLong,
    NoData,
    NoEntry,
    NoSpace,
    NotDirectory,
    NotEmpty,
    NotPermitted,
    NotSupported,
    NoDeviceOrAddress,
    OutOfRange,
    Quota,
    ReadOnly,
    Stale,
    TimedOut,
}

/// Who asks: the process behind the call, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// File system user id; owner of what is made.
    pub uid: u32,
    /// File system group id.
    pub gid: u32,
    /// Process, for messages.
    pub pid: u32,
    /// Bits that are taken off the mode of what it makes, where the directory has no default access list.
    pub umask: u32,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Bytes.
    Regular,
    /// Names.
    Directory,
    /// A path.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A local socket.
    Socket,
    /// A device that is read byte by byte.
    CharDevice,
    /// A device of blocks.
    BlockDevice,
}

/// A point in time: nanoseconds since 1970-01-01, negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime(pub i128);

/// What `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileAttr {
    /// Which.
    pub id: FileId,
    /// What.
    pub kind: FileKind,
    /// The lower twelve bits of `st_mode`.
    pub mode: u32,
    /// Names it has; for a directory 2 and one for each directory in it.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device, else 0.
    pub rdev: u32,
    /// Length, in bytes.
    pub size: u64,
    /// Space it takes, in units of 512 bytes: what is not a hole.
    pub blocks: u64,
    /// Last read, as mounts keep it.
    pub atime: FileTime,
    /// Last change of bytes.
    pub mtime: FileTime,
    /// Last change of bytes or attributes.
    pub ctime: FileTime,
    /// When it was made.
    pub btime: FileTime,
}

/// A name that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it names.
    pub attr: FileAttr,
    /// Tells inodes apart whose number was given twice; 0 where numbers are never given twice.
    pub generation: u64,
    /// How long the kernel may believe it without asking. Changes from elsewhere are announced
    /// ([`Files::next_change`]), so this bounds only a lost announcement.
    pub ttl: Duration,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The moment of the commit.
    Now,
    /// This one.
    To(FileTime),
}

/// What `chmod`, `chown`, `truncate` and `utimensat` change; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// The lower twelve bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length, in bytes; longer makes a hole.
    pub size: Option<u64>,
    /// Last read.
    pub atime: Option<SetTime>,
    /// Last change of bytes.
    pub mtime: Option<SetTime>,
    /// Take set-uid, and set-gid of a group-executable file, away (the caller has no CAP_FSETID).
    pub kill_suid_gid: bool,
}

/// How a file is opened; creation and existence are the kernel's business but for [`Files::create`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// Reads may come.
    pub read: bool,
    /// Writes may come.
    pub write: bool,
    /// Writes go to the end, wherever that is then.
    pub append: bool,
    /// Begin with length 0.
    pub truncate: bool,
    /// Each write is acknowledged only when it is as durable as the mount asks (O_SYNC, O_DSYNC).
    pub sync: bool,
    /// Fail where the name exists ([`Files::create`] only).
    pub exclusive: bool,
}

/// What goes with a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteFlags {
    /// Take set-uid and set-gid away, as for [`SetAttr::kill_suid_gid`].
    pub kill_suid_gid: bool,
    /// It comes from the kernel's page cache: append and caller are not the writer's.
    pub from_cache: bool,
}

/// What `rename` does where the new name exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenameMode {
    /// It is replaced, as POSIX says.
    #[default]
    Replace,
    /// `EEXIST`.
    NoReplace,
    /// The two change places.
    Exchange,
}

/// What `fallocate` does with a range. None but `Allocate` without `keep_size` changes the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Room is set aside (against quota and territory), bytes unchanged.
    Reserve {
        /// Leave the length where the range goes beyond it.
        keep_size: bool,
    },
    /// The range becomes a hole.
    PunchHole,
    /// The range reads as zeros.
    Zero {
        /// Leave the length where the range goes beyond it.
        keep_size: bool,
    },
    /// The range is cut out and what follows moves up.
    Collapse,
    /// A hole is inserted and what follows moves down.
    Insert,
}

/// What `lseek` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFor {
    /// The next byte that is not in a hole.
    Data,
    /// The next hole; the end is one.
    Hole,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, or `.` or `..`.
    pub name: Vec<u8>,
    /// Where a further [`Files::readdir`] goes on behind it; stable as long as the directory lives,
    /// whatever is added or removed. Never 0.
    pub cookie: u64,
    /// Number of what it names.
    pub id: FileId,
    /// What it names.
    pub kind: FileKind,
    /// All of it, where [`Files::readdir`] was asked for that.
    pub found: Option<Found>,
}

/// How an extended attribute is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetXattr {
    /// Made or replaced.
    #[default]
    Either,
    /// `EEXIST` where it is there.
    Create,
    /// `ENODATA` where it is not.
    Replace,
}

/// What `statfs` tells. Space in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesStatus {
    /// Room in all, used or not: the tightest of territory and quotas.
    pub total_bytes: u64,
    /// Room left.
    pub free_bytes: u64,
    /// Inodes that can be, used or not.
    pub files_max: u64,
    /// Inodes left.
    pub files_free: u64,
    /// Longest name, in bytes.
    pub name_len_max: u32,
}

/// Something that changed without the kernel, so that what it remembers is out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesChange {
    /// A name came, went or names something else now.
    Entry {
        /// Its directory.
        parent: FileId,
        /// The name.
        name: Vec<u8>,
    },
    /// Bytes or attributes of an inode.
    Inode {
        /// Which.
        id: FileId,
    },
    /// More than was kept: forget everything.
    Everything,
}

/// A namespace that can be mounted. See the module's page.
///
/// An inode found by [`Files::lookup`] (or made) stays valid until as many [`Files::forget`]s, even
/// when its last name goes. All handles stay valid until they are released. `nlookup` is counted by
/// the caller of the trait: each `Found` is one.
#[async_trait]
pub trait Files: Send + Sync + 'static {
    /// A name in a directory.
    fn lookup(&self, caller: &Caller, parent: FileId, name: &[u8]) -> FilesResult<Found>;
    /// Takes back lookups; at none an inode without names and handles goes.
    fn forget(&self, id: FileId, lookups: u64);
    /// What an inode is now, as its writers see it.
    fn getattr(&self, id: FileId) -> FilesResult<FileAttr>;
    /// Changes attributes. Writers' permission to truncate was checked by `handle`, where one is given.
    fn setattr(
        &self,
        caller: &Caller,
        id: FileId,
        handle: Option<HandleId>,
        set: &SetAttr,
    ) -> FilesResult<FileAttr>;
    /// Where a symlink points.
    fn readlink(&self, id: FileId) -> FilesResult<Vec<u8>>;
    /// Makes a file, fifo, socket or device. `mode` is what was asked for: the umask is the caller's, and
    /// counts unless the directory hands an access list on (so for `mkdir` and `create`, too).
    fn mknod(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        kind: FileKind,
        mode: u32,
        rdev: u32,
    ) -> FilesResult<Found>;
    /// Makes a directory.
    fn mkdir(&self, caller: &Caller, parent: FileId, name: &[u8], mode: u32) -> FilesResult<Found>;
    /// Makes a symlink.
    fn symlink(&self, caller: &Caller, parent: FileId, name: &[u8], target: &[u8]) -> FilesResult<Found>;
    /// Gives a file a further name.
    fn link(&self, caller: &Caller, id: FileId, parent: FileId, name: &[u8]) -> FilesResult<Found>;
    /// Takes a name off; what is open stays.
    fn unlink(&self, caller: &Caller, parent: FileId, name: &[u8]) -> FilesResult<()>;
    /// Removes an empty directory.
    fn rmdir(&self, caller: &Caller, parent: FileId, name: &[u8]) -> FilesResult<()>;
    /// Moves a name, all or nothing.
    fn rename(
        &self,
        caller: &Caller,
        from: (FileId, &[u8]),
        to: (FileId, &[u8]),
        mode: RenameMode,
    ) -> FilesResult<()>;

    /// Makes and opens a file, or opens the one that is there.
    fn create(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        mode: u32,
        flags: OpenFlags,
    ) -> FilesResult<(Found, HandleId)>;
    /// Opens a file.
    fn open(&self, caller: &Caller, id: FileId, flags: OpenFlags) -> FilesResult<HandleId>;
    /// Bytes from `offset`, fewer only at the end; holes are zeros.
    async fn read(&self, handle: HandleId, offset: u64, len: u32) -> FilesResult<Bytes>;
    /// Puts bytes at `offset` (the end with `append`); all of them or none.
    async fn write(
        &self,
        caller: &Caller,
        handle: HandleId,
        offset: u64,
        bytes: Bytes,
        flags: WriteFlags,
    ) -> FilesResult<u32>;
    /// A descriptor of the handle was closed.
    async fn flush(&self, handle: HandleId) -> FilesResult<()>;
    /// The last descriptor was closed. The last writer's release publishes the file.
    async fn release(&self, handle: HandleId) -> FilesResult<()>;
    /// Bytes (and attributes, unless `data_only`) are as durable as the mount asks.
    async fn fsync(&self, handle: HandleId, data_only: bool) -> FilesResult<()>;
    /// Everything is.
    async fn syncfs(&self) -> FilesResult<()>;
    /// `fallocate`.
    async fn allocate(&self, handle: HandleId, offset: u64, len: u64, how: Allocate) -> FilesResult<()>;
    /// `lseek` for data or holes; `ENXIO` behind the end.
    async fn seek(&self, handle: HandleId, offset: u64, what: SeekFor) -> FilesResult<u64>;
    /// Copies a range, by reference where it can; answers how much was copied.
    async fn copy_range(
        &self,
        caller: &Caller,
        from: (HandleId, u64),
        to: (HandleId, u64),
        len: u64,
    ) -> FilesResult<u64>;

    /// Opens a directory.
    fn opendir(&self, caller: &Caller, id: FileId) -> FilesResult<HandleId>;
    /// Names behind `cookie` (0: from the beginning, with `.` and `..`), at most `count_max`;
    /// with attributes when `plus`, which counts as a lookup of each name but the first two.
    fn readdir(
        &self,
        handle: HandleId,
        cookie: u64,
        count_max: usize,
        plus: bool,
    ) -> FilesResult<Vec<DirEntry>>;
    /// Closes a directory.
    fn releasedir(&self, handle: HandleId);
    /// Names and changes of a directory are as durable as the mount asks.
    async fn fsyncdir(&self, handle: HandleId) -> FilesResult<()>;

    /// Sets an extended attribute.
    fn setxattr(
        &self,
        caller: &Caller,
        id: FileId,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> FilesResult<()>;
    /// Reads one.
    fn getxattr(&self, caller: &Caller, id: FileId, name: &[u8]) -> FilesResult<Vec<u8>>;
    /// Names of all.
    fn listxattr(&self, caller: &Caller, id: FileId) -> FilesResult<Vec<Vec<u8>>>;
    /// Takes one away.
    fn removexattr(&self, caller: &Caller, id: FileId, name: &[u8]) -> FilesResult<()>;

    /// Room.
    fn statfs(&self) -> FilesResult<FilesStatus>;
    /// Waits for the next change that did not come from this mount; `None` when there will be none.
    async fn next_change(&self) -> Option<FilesChange>;
}
