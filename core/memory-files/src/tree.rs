//! Inodes, names, lookups and handles, and what changes them: POSIX's rules without a kernel.
//!
//! An inode stays while it has a name, a lookup or a handle. Every change sets the times that POSIX
//! names, from one reading of the clock. A verb checks all before it changes anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use gw_store::files::{
    Allocate, Caller, DirEntry, Errno, FileAttr, FileId, FileKind, FileTime, FilesResult, Found, HandleId,
    OpenFlags, SeekFor, SetAttr, SetTime, WriteFlags,
};
use gw_store::posix_acl::{self, Fresh, PosixAcl};
use gw_types::ports::Clock;

use crate::MemoryLimits;
use crate::content::{Content, PAGE_BYTES};
use crate::xattr::CAPABILITY;

/// Linux's longest name.
const NAME_LEN_MAX: usize = 255;
/// The longest file: offsets are signed in POSIX.
const FILE_LEN_MAX: u64 = i64::MAX as u64;
/// A copy moves so much at a time, so that it needs no more memory.
const COPY_BYTES: u64 = 1 << 20;
/// What a read of an old file may leave its time behind by (Linux's `relatime`).
const ATIME_LAZY: i128 = 24 * 3600 * 1_000_000_000;
const SET_UID: u32 = 0o4000;
pub const SET_GID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;
/// Cookies of `.` and `..`; names begin behind them.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

#[derive(Debug)]
pub struct Inode {
    pub attr: FileAttr,
    pub body: Body,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    lookups: u64,
    handles: u64,
}

#[derive(Debug)]
pub enum Body {
    Content(Content),
    Names(Names),
    Target(Vec<u8>),
    Nothing,
}

/// A directory's names, by name and in order of their cookies.
#[derive(Debug)]
pub struct Names {
    by_name: HashMap<Vec<u8>, (u64, FileId)>,
    by_cookie: BTreeMap<u64, Vec<u8>>,
    next_cookie: u64,
    pub parent: FileId,
}

impl Names {
    fn new(parent: FileId) -> Self {
        Self { by_name: HashMap::new(), by_cookie: BTreeMap::new(), next_cookie: DOT_DOT + 1, parent }
    }
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
    pub fn get(&self, name: &[u8]) -> Option<FileId> {
        self.by_name.get(name).map(|(_, id)| *id)
    }
    pub fn add(&mut self, name: &[u8], id: FileId) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.by_cookie.insert(cookie, name.to_vec());
        self.by_name.insert(name.to_vec(), (cookie, id));
    }
    pub fn remove(&mut self, name: &[u8]) {
        if let Some((cookie, _)) = self.by_name.remove(name) {
            self.by_cookie.remove(&cookie);
        }
    }
    /// The name stays where it is in the order.
    pub fn point(&mut self, name: &[u8], id: FileId) {
        if let Some(entry) = self.by_name.get_mut(name) {
            entry.1 = id;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Handle {
    id: FileId,
    flags: OpenFlags,
}

/// What is made, and for whom.
#[derive(Debug)]
pub struct Maker<'a> {
    pub caller: Caller,
    pub kind: FileKind,
    pub mode: u32,
    pub rdev: u32,
    pub target: &'a [u8],
}

#[derive(Debug)]
pub struct Tree {
    clock: Arc<dyn Clock>,
    limits: MemoryLimits,
    inodes: HashMap<FileId, Inode>,
    handles: HashMap<HandleId, Handle>,
    next_id: u64,
    next_handle: u64,
    pages: u64,
}

pub fn check_name(name: &[u8]) -> FilesResult<()> {
    if name.len() > NAME_LEN_MAX {
        return Err(Errno::NameTooLong.into());
    }
    let odd = matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0);
    if odd { Err(Errno::Invalid.into()) } else { Ok(()) }
}

impl Tree {
    pub fn new(clock: Arc<dyn Clock>, uid: u32, gid: u32, limits: MemoryLimits) -> Self {
        let now = FileTime(i128::from(clock.now().0));
        let root = Inode {
            attr: FileAttr {
                id: FileId::ROOT,
                kind: FileKind::Directory,
                mode: 0o755,
                nlink: 2,
                uid,
                gid,
                rdev: 0,
                size: 0,
                blocks: 0,
                atime: now,
                mtime: now,
                ctime: now,
                btime: now,
            },
            body: Body::Names(Names::new(FileId::ROOT)),
            xattrs: BTreeMap::new(),
            lookups: 1,
            handles: 0,
        };
        Self {
            clock,
            limits,
            inodes: HashMap::from([(FileId::ROOT, root)]),
            handles: HashMap::new(),
            next_id: FileId::ROOT.0 + 1,
            next_handle: 1,
            pages: 0,
        }
    }

    pub fn limits(&self) -> MemoryLimits {
        self.limits
    }
    pub fn inode_count(&self) -> usize {
        self.inodes.len()
    }
    pub fn handle_count(&self) -> usize {
        self.handles.len()
    }
    pub fn page_count(&self) -> u64 {
        self.pages
    }
    pub fn now(&self) -> FileTime {
        FileTime(i128::from(self.clock.now().0))
    }

    pub fn inode(&self, id: FileId) -> FilesResult<&Inode> {
        self.inodes.get(&id).ok_or_else(|| Errno::Stale.into())
    }
    pub fn inode_mut(&mut self, id: FileId) -> FilesResult<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| Errno::Stale.into())
    }
    pub fn names(&self, id: FileId) -> FilesResult<&Names> {
        match &self.inode(id)?.body {
            Body::Names(names) => Ok(names),
            _ => Err(Errno::NotDirectory.into()),
        }
    }
    pub fn names_mut(&mut self, id: FileId) -> FilesResult<&mut Names> {
        match &mut self.inode_mut(id)?.body {
            Body::Names(names) => Ok(names),
            _ => Err(Errno::NotDirectory.into()),
        }
    }
    pub fn is_directory(&self, id: FileId) -> bool {
        self.names(id).is_ok()
    }

    pub fn attr(&self, id: FileId) -> FilesResult<FileAttr> {
        let inode = self.inode(id)?;
        let mut attr = inode.attr;
        match &inode.body {
            Body::Content(content) => {
                attr.size = content.len();
                attr.blocks = content.page_count() * (PAGE_BYTES / 512);
            }
            Body::Names(_) => attr.size = PAGE_BYTES,
            Body::Target(target) => attr.size = target.len() as u64,
            Body::Nothing => {}
        }
        Ok(attr)
    }

    /// An answer to a lookup, which counts.
    pub fn found(&mut self, id: FileId) -> FilesResult<Found> {
        self.inode_mut(id)?.lookups += 1;
        Ok(Found { attr: self.attr(id)?, generation: 0, ttl: self.limits.ttl })
    }

    pub fn forget(&mut self, id: FileId, lookups: u64) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.lookups = inode.lookups.saturating_sub(lookups);
            self.let_go(id);
        }
    }

    /// Drops an inode that nothing holds.
    pub fn let_go(&mut self, id: FileId) {
        let held = |inode: &Inode| inode.attr.nlink > 0 || inode.lookups > 0 || inode.handles > 0;
        if id == FileId::ROOT || self.inodes.get(&id).is_none_or(held) {
            return;
        }
        if let Some(inode) = self.inodes.remove(&id)
            && let Body::Content(content) = inode.body
        {
            self.pages -= content.page_count();
        }
    }

    pub fn child(&self, parent: FileId, name: &[u8]) -> FilesResult<FileId> {
        check_name(name)?;
        self.names(parent)?.get(name).ok_or_else(|| Errno::NoEntry.into())
    }

    /// The directory may take this new name.
    pub fn check_free(&self, parent: FileId, name: &[u8]) -> FilesResult<()> {
        match self.child(parent, name) {
            Ok(_) => Err(Errno::Exists.into()),
            Err(error) if error.errno == Errno::NoEntry => self.check_alive(parent),
            Err(error) => Err(error),
        }
    }

    /// A removed directory takes no names.
    pub fn check_alive(&self, directory: FileId) -> FilesResult<()> {
        if self.inode(directory)?.attr.nlink == 0 { Err(Errno::NoEntry.into()) } else { Ok(()) }
    }

    /// Bytes or names changed.
    pub fn touch(&mut self, id: FileId, now: FileTime) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            (inode.attr.mtime, inode.attr.ctime) = (now, now);
        }
    }

    pub fn make(&mut self, parent: FileId, name: &[u8], maker: &Maker<'_>) -> FilesResult<FileId> {
        self.check_free(parent, name)?;
        if self.inodes.len() as u64 >= self.limits.files_max {
            return Err(Errno::NoSpace.into());
        }
        let now = self.now();
        let id = FileId(self.next_id);
        self.next_id += 1;
        let above = self.inode(parent)?.attr;
        let directory = maker.kind == FileKind::Directory;
        let (mut mode, mut gid) = (maker.mode & 0o7777, maker.caller.gid);
        if above.mode & SET_GID != 0 {
            // In such a directory everything belongs to its group (mkdir(2), "BSD semantics").
            gid = above.gid;
            mode |= if directory { SET_GID } else { 0 };
        }
        let body = match maker.kind {
            FileKind::Regular => Body::Content(Content::default()),
            FileKind::Directory => Body::Names(Names::new(parent)),
            FileKind::Symlink => Body::Target(maker.target.to_vec()),
            _ => Body::Nothing,
        };
        let default = self.inode(parent)?.xattrs.get(posix_acl::DEFAULT);
        let Fresh { mode, lists } = match maker.kind {
            FileKind::Symlink => Fresh { mode, lists: Vec::new() },
            _ => Fresh::new(default.map(Vec::as_slice), mode, maker.caller.umask, directory),
        };
        let attr = FileAttr {
            id,
            kind: maker.kind,
            mode,
            nlink: if directory { 2 } else { 1 },
            uid: maker.caller.uid,
            gid,
            rdev: maker.rdev,
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
        };
        self.inodes
            .insert(id, Inode { attr, body, xattrs: lists.into_iter().collect(), lookups: 0, handles: 0 });
        self.names_mut(parent)?.add(name, id);
        if directory {
            self.inode_mut(parent)?.attr.nlink += 1;
        }
        self.touch(parent, now);
        Ok(id)
    }

    pub fn link(&mut self, id: FileId, parent: FileId, name: &[u8]) -> FilesResult<()> {
        let inode = self.inode(id)?;
        if matches!(inode.body, Body::Names(_)) {
            return Err(Errno::NotPermitted.into());
        }
        if inode.attr.nlink == 0 {
            return Err(Errno::NoEntry.into());
        }
        if inode.attr.nlink == u32::MAX {
            return Err(Errno::ManyLinks.into());
        }
        self.check_free(parent, name)?;
        let now = self.now();
        self.names_mut(parent)?.add(name, id);
        let attr = &mut self.inode_mut(id)?.attr;
        attr.nlink += 1;
        attr.ctime = now;
        self.touch(parent, now);
        Ok(())
    }

    pub fn unlink(&mut self, parent: FileId, name: &[u8]) -> FilesResult<FileId> {
        let id = self.child(parent, name)?;
        if self.is_directory(id) {
            return Err(Errno::IsDirectory.into());
        }
        let now = self.now();
        self.names_mut(parent)?.remove(name);
        self.touch(parent, now);
        self.drop_name(id, now);
        Ok(id)
    }

    pub fn rmdir(&mut self, parent: FileId, name: &[u8]) -> FilesResult<()> {
        let id = self.child(parent, name)?;
        if !self.names(id)?.is_empty() {
            return Err(Errno::NotEmpty.into());
        }
        let now = self.now();
        self.names_mut(parent)?.remove(name);
        self.inode_mut(parent)?.attr.nlink -= 1;
        self.touch(parent, now);
        self.drop_name(id, now);
        Ok(())
    }

    /// One name less; a directory has only one.
    pub fn drop_name(&mut self, id: FileId, now: FileTime) {
        let directory = self.is_directory(id);
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.attr.nlink = if directory { 0 } else { inode.attr.nlink.saturating_sub(1) };
            inode.attr.ctime = now;
        }
        self.let_go(id);
    }

    pub fn readlink(&self, id: FileId) -> FilesResult<Vec<u8>> {
        match &self.inode(id)?.body {
            Body::Target(target) => Ok(target.clone()),
            _ => Err(Errno::Invalid.into()),
        }
    }

    pub fn setattr(&mut self, id: FileId, handle: Option<HandleId>, set: &SetAttr) -> FilesResult<()> {
        let now = self.now();
        if let Some(handle) = handle {
            let handle = self.handle(handle)?;
            if handle.id != id || (set.size.is_some() && !handle.flags.write) {
                return Err(Errno::Invalid.into());
            }
        }
        if let Some(size) = set.size {
            match &self.inode(id)?.body {
                Body::Content(_) if size > FILE_LEN_MAX => return Err(Errno::FileTooBig.into()),
                Body::Content(_) => self.edit(id, |content| content.set_len(size))?,
                Body::Names(_) => return Err(Errno::IsDirectory.into()),
                _ => return Err(Errno::Invalid.into()),
            }
        }
        let inode = self.inode_mut(id)?;
        if let (Some(mode), Some(list)) = (set.mode, inode.xattrs.get_mut(posix_acl::ACCESS))
            && let Ok(acl) = PosixAcl::parse(list)
        {
            *list = acl.with_mode(mode).value();
        }
        if set.size.is_some() || set.uid.is_some() || set.gid.is_some() {
            inode.xattrs.remove(CAPABILITY);
        }
        let attr = &mut inode.attr;
        let time = |set: SetTime| match set {
            SetTime::Now => now,
            SetTime::To(time) => time,
        };
        attr.mtime = if set.size.is_some() { now } else { attr.mtime };
        attr.mode = set.mode.map_or(attr.mode, |mode| mode & 0o7777);
        attr.uid = set.uid.unwrap_or(attr.uid);
        attr.gid = set.gid.unwrap_or(attr.gid);
        attr.atime = set.atime.map_or(attr.atime, time);
        attr.mtime = set.mtime.map_or(attr.mtime, time);
        attr.ctime = now;
        if set.kill_suid_gid {
            kill_suid_gid(attr);
        }
        Ok(())
    }

    /// Changes a file's bytes and keeps count of its pages.
    fn edit(&mut self, id: FileId, change: impl FnOnce(&mut Content)) -> FilesResult<()> {
        let Body::Content(content) = &mut self.inode_mut(id)?.body else {
            return Err(Errno::Invalid.into());
        };
        let before = content.page_count();
        change(content);
        let after = content.page_count();
        self.inode_mut(id)?.xattrs.remove(CAPABILITY);
        self.pages = self.pages + after - before;
        Ok(())
    }

    fn content(&self, id: FileId) -> FilesResult<&Content> {
        match &self.inode(id)?.body {
            Body::Content(content) => Ok(content),
            _ => Err(Errno::Invalid.into()),
        }
    }

    fn check_room(&self, id: FileId, offset: u64, len: u64) -> FilesResult<()> {
        if offset.checked_add(len).is_none_or(|end| end > FILE_LEN_MAX) {
            return Err(Errno::FileTooBig.into());
        }
        let room = self.limits.bytes_max / PAGE_BYTES - self.pages.min(self.limits.bytes_max / PAGE_BYTES);
        if self.content(id)?.missing(offset, len) > room { Err(Errno::NoSpace.into()) } else { Ok(()) }
    }

    fn handle(&self, handle: HandleId) -> FilesResult<Handle> {
        self.handles.get(&handle).copied().ok_or_else(|| Errno::BadHandle.into())
    }

    pub fn known(&self, handle: HandleId) -> FilesResult<()> {
        self.handle(handle).map(|_| ())
    }

    fn add_handle(&mut self, id: FileId, flags: OpenFlags) -> FilesResult<HandleId> {
        let handle = HandleId(self.next_handle);
        self.inode_mut(id)?.handles += 1;
        self.next_handle += 1;
        self.handles.insert(handle, Handle { id, flags });
        Ok(handle)
    }

    pub fn open(&mut self, id: FileId, flags: OpenFlags) -> FilesResult<HandleId> {
        match &self.inode(id)?.body {
            Body::Content(_) => {}
            Body::Names(_) => return Err(Errno::IsDirectory.into()),
            _ => return Err(Errno::NoDeviceOrAddress.into()),
        }
        if flags.truncate {
            self.setattr(id, None, &SetAttr { size: Some(0), ..SetAttr::default() })?;
        }
        self.add_handle(id, flags)
    }

    pub fn opendir(&mut self, id: FileId) -> FilesResult<HandleId> {
        self.names(id)?;
        self.add_handle(id, OpenFlags { read: true, ..OpenFlags::default() })
    }

    pub fn release(&mut self, handle: HandleId) -> FilesResult<()> {
        let Handle { id, .. } = self.handle(handle)?;
        self.handles.remove(&handle);
        self.inode_mut(id)?.handles -= 1;
        self.let_go(id);
        Ok(())
    }

    /// Reading sets the time, as lazily as Linux does by default.
    fn saw(&mut self, id: FileId) {
        let now = self.now();
        if let Some(Inode { attr, .. }) = self.inodes.get_mut(&id)
            && (attr.atime <= attr.mtime || attr.atime <= attr.ctime || now.0 - attr.atime.0 >= ATIME_LAZY)
        {
            attr.atime = now;
        }
    }

    pub fn read(&mut self, handle: HandleId, offset: u64, len: u32) -> FilesResult<Bytes> {
        let Handle { id, flags } = self.handle(handle)?;
        if !flags.read {
            return Err(Errno::BadHandle.into());
        }
        let bytes = self.content(id)?.read(offset, u64::from(len));
        if !bytes.is_empty() {
            self.saw(id);
        }
        Ok(bytes.into())
    }

    pub fn write(
        &mut self,
        handle: HandleId,
        offset: u64,
        bytes: &[u8],
        with: WriteFlags,
    ) -> FilesResult<FileId> {
        let Handle { id, flags } = self.handle(handle)?;
        if !flags.write {
            return Err(Errno::BadHandle.into());
        }
        let append = flags.append && !with.from_cache;
        let offset = if append { self.content(id)?.len() } else { offset };
        self.check_room(id, offset, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(id);
        }
        self.edit(id, |content| content.write(offset, bytes))?;
        self.touch(id, self.now());
        if with.kill_suid_gid {
            kill_suid_gid(&mut self.inode_mut(id)?.attr);
        }
        Ok(id)
    }

    pub fn allocate(
        &mut self,
        handle: HandleId,
        offset: u64,
        len: u64,
        how: Allocate,
    ) -> FilesResult<FileId> {
        let Handle { id, flags } = self.handle(handle)?;
        if !flags.write {
            return Err(Errno::BadHandle.into());
        }
        if len == 0 {
            return Err(Errno::Invalid.into());
        }
        let end = offset.checked_add(len).filter(|end| *end <= FILE_LEN_MAX).ok_or(Errno::FileTooBig)?;
        let before = self.content(id)?.len();
        let whole_pages = offset.is_multiple_of(PAGE_BYTES) && len.is_multiple_of(PAGE_BYTES);
        match how {
            Allocate::Reserve { keep_size } => {
                // Room is looked for and not set aside: memory of others may take it.
                self.check_room(id, offset, len)?;
                if !keep_size && end > before {
                    self.edit(id, |content| content.set_len(end))?;
                }
            }
            Allocate::PunchHole => self.edit(id, |content| content.punch(offset, len))?,
            Allocate::Zero { keep_size } => self.edit(id, |content| {
                content.punch(offset, len);
                if !keep_size && end > before {
                    content.set_len(end);
                }
            })?,
            Allocate::Collapse if !whole_pages || end >= before => return Err(Errno::Invalid.into()),
            Allocate::Collapse => self.edit(id, |content| content.collapse(offset, len))?,
            Allocate::Insert if !whole_pages || offset >= before => return Err(Errno::Invalid.into()),
            Allocate::Insert if before + len > FILE_LEN_MAX => return Err(Errno::FileTooBig.into()),
            Allocate::Insert => self.edit(id, |content| content.insert(offset, len))?,
        }
        self.touch(id, self.now());
        Ok(id)
    }

    pub fn seek(&self, handle: HandleId, offset: u64, what: SeekFor) -> FilesResult<u64> {
        let content = self.content(self.handle(handle)?.id)?;
        if offset >= content.len() {
            return Err(Errno::NoDeviceOrAddress.into());
        }
        match what {
            SeekFor::Data => content.data_from(offset).ok_or_else(|| Errno::NoDeviceOrAddress.into()),
            SeekFor::Hole => Ok(content.hole_from(offset)),
        }
    }

    pub fn copy_range(
        &mut self,
        from: (HandleId, u64),
        to: (HandleId, u64),
        len: u64,
    ) -> FilesResult<(FileId, u64)> {
        let (source, target) = (self.handle(from.0)?, self.handle(to.0)?);
        if !source.flags.read || !target.flags.write || target.flags.append {
            return Err(Errno::BadHandle.into());
        }
        let len = len.min(self.content(source.id)?.len().saturating_sub(from.1));
        let overlap = from.1 < to.1.saturating_add(len) && to.1 < from.1 + len;
        if source.id == target.id && overlap {
            return Err(Errno::Invalid.into());
        }
        self.content(target.id)?;
        self.check_room(target.id, to.1, len)?;
        let mut done = 0;
        while done < len {
            let bytes = self.content(source.id)?.read(from.1 + done, (len - done).min(COPY_BYTES));
            self.edit(target.id, |content| content.write(to.1 + done, &bytes))?;
            done += bytes.len() as u64;
        }
        if len > 0 {
            self.saw(source.id);
            self.touch(target.id, self.now());
        }
        Ok((target.id, len))
    }

    pub fn readdir(
        &mut self,
        handle: HandleId,
        cookie: u64,
        count_max: usize,
        plus: bool,
    ) -> FilesResult<Vec<DirEntry>> {
        let Handle { id, .. } = self.handle(handle)?;
        let names = self.names(id)?;
        let mut listed = Vec::new();
        if self.inode(id)?.attr.nlink == 0 {
            return Ok(listed);
        }
        let kind = FileKind::Directory;
        for (dot, name, of) in [(DOT, &b"."[..], id), (DOT_DOT, b"..", names.parent)] {
            if cookie < dot && listed.len() < count_max {
                listed.push(DirEntry { name: name.to_vec(), cookie: dot, id: of, kind, found: None });
            }
        }
        let left = count_max - listed.len();
        for (cookie, name) in names.by_cookie.range(cookie.max(DOT_DOT) + 1..).take(left) {
            let of = names.get(name).ok_or(Errno::Io)?;
            let kind = self.inode(of)?.attr.kind;
            listed.push(DirEntry { name: name.clone(), cookie: *cookie, id: of, kind, found: None });
        }
        if plus {
            for entry in listed.iter_mut().filter(|entry| entry.cookie > DOT_DOT) {
                entry.found = Some(self.found(entry.id)?);
            }
        }
        self.saw(id);
        Ok(listed)
    }
}

fn kill_suid_gid(attr: &mut FileAttr) {
    if attr.kind == FileKind::Directory {
        return;
    }
    attr.mode &= !SET_UID;
    if attr.mode & GROUP_EXECUTE != 0 {
        attr.mode &= !SET_GID;
    }
}
