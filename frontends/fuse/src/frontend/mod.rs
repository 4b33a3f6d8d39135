//! The kernel's requests as verbs of the namespace: what the single requests share.
//!
//! What the kernel has checked already (mode bits, sticky directories, loops of symlinks, lengths of
//! paths) is not checked again. What it leaves to the file system is done here where the namespace is
//! not asked for it: ids are mapped, `trusted.*` is shown to root only, set-uid bits go with every
//! change of bytes or owner. With `HANDLE_KILLPRIV_V2` the kernel says so for writes; fuser 0.18 does
//! not pass on what it says for truncations, so there whoever is not root is taken to lack CAP_FSETID.

mod requests;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use fuser::{FileHandle, FopenFlags, Generation, ReplyEmpty, ReplyEntry, ReplyXattr, Request};
use gw_store::files::{self, Caller, DirEntry, FileId, Files, FilesResult, Found, HandleId, SetAttr};
use gw_store::posix_acl::{self, PosixAcl};
use parking_lot::Mutex;

use crate::config::MountOptions;
use crate::convert;
use crate::engine::{Answer, Engine};
use crate::ids::{IdMap, OVERFLOW_ID};
use crate::metrics::Op;

const SET_UID_GID: u32 = 0o6000;

/// What the kernel has open. An unmount cuts off closes that are on their way, so whoever ends the
/// mount releases what is left.
pub type OpenHandles = Arc<Mutex<HashMap<HandleId, Opened>>>;

/// What a handle is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    File,
    Directory,
}

pub struct Frontend {
    engine: Engine,
    options: MountOptions,
    open: OpenHandles,
}

impl Frontend {
    pub fn new(engine: Engine, options: MountOptions, open: OpenHandles) -> Self {
        Self { engine, options, open }
    }

    fn opened(&self, handle: HandleId, what: Opened) -> FileHandle {
        self.open.lock().insert(handle, what);
        FileHandle(handle.0)
    }

    fn closed(&self, handle: FileHandle) -> HandleId {
        let handle = HandleId(handle.0);
        self.open.lock().remove(&handle);
        handle
    }

    fn caller(&self, req: &Request) -> Caller {
        let stored = |map: &IdMap, id| map.stored(id).unwrap_or(OVERFLOW_ID);
        let (uid, gid) = (stored(&self.options.uids, req.uid()), stored(&self.options.gids, req.gid()));
        Caller { uid, gid, pid: req.pid(), umask: 0 }
    }

    /// Whoever makes something must have an id that can be stored.
    fn maker(&self, req: &Request, umask: u32) -> Answer<Caller> {
        let known = self.options.uids.stored(req.uid()).zip(self.options.gids.stored(req.gid()));
        known.map(|(uid, gid)| Caller { uid, gid, pid: req.pid(), umask }).ok_or(fuser::Errno::EOVERFLOW)
    }

    /// The value of an access list with other numbers for its users and groups; all other values as
    /// they are.
    fn list_ids(&self, name: &OsStr, value: &[u8], stored: bool) -> Answer<Vec<u8>> {
        let (uids, gids) = (&self.options.uids, &self.options.gids);
        let is_list = name.as_bytes() == posix_acl::ACCESS || name.as_bytes() == posix_acl::DEFAULT;
        if !is_list || uids.is_empty() && gids.is_empty() {
            return Ok(value.to_vec());
        }
        let acl = PosixAcl::parse(value).map_err(|_| fuser::Errno::EINVAL)?;
        let mapped = match stored {
            true => acl.map_ids(|id| uids.stored(id), |id| gids.stored(id)),
            false => acl.map_ids(|id| Some(uids.here(id)), |id| Some(gids.here(id))),
        };
        mapped.map(|acl| acl.value()).ok_or(fuser::Errno::EOVERFLOW)
    }

    fn attr(&self, attr: &files::FileAttr) -> fuser::FileAttr {
        convert::attr(attr, &self.options.uids, &self.options.gids)
    }

    fn ttl(&self, found: &Found) -> Duration {
        found.ttl.min(self.options.cache.ttl_max)
    }

    fn entry(&self, answer: Answer<Found>, reply: ReplyEntry) {
        match answer {
            Ok(found) => {
                reply.entry(&self.ttl(&found), &self.attr(&found.attr), Generation(found.generation));
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn open_flags(&self, flags: i32) -> files::OpenFlags {
        convert::open_flags(flags, self.options.cache.writeback)
    }

    /// What the kernel may do with this handle.
    fn handle_flags(&self, flags: files::OpenFlags) -> FopenFlags {
        let mut given = FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        // What has changed elsewhere was announced, so the cache is as good as at the last close.
        given |=
            if self.options.cache.pages { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::FOPEN_DIRECT_IO };
        if !flags.write && !self.options.cache.writeback {
            given |= FopenFlags::FOPEN_NOFLUSH;
        }
        given
    }

    fn list(
        &self,
        handle: FileHandle,
        mut cookie: u64,
        counts: (usize, usize),
        plus: bool,
        mut add: impl FnMut(&DirEntry) -> bool,
    ) -> Answer<()> {
        let mut count = counts.0;
        let mut listed = false;
        loop {
            let names =
                self.engine.meta(Op::Readdir, |files| files.readdir(HandleId(handle.0), cookie, count, plus));
            let names = match names {
                // What is in the answer has been counted as looked up, so it goes out.
                Err(_) if listed => return Ok(()),
                names => names?,
            };
            let Some(last) = names.last() else { return Ok(()) };
            (cookie, count, listed) = (last.cookie, counts.1, true);
            if let Some(full) = names.iter().position(&mut add) {
                for left in names[full..].iter().filter(|name| name.found.is_some()) {
                    self.engine.files().forget(left.id, 1);
                }
                return Ok(());
            }
        }
    }
}

/// Takes set-uid and set-gid away where they are; after changes that do not carry the wish.
fn kill_suid_gid(files: &dyn Files, caller: &Caller, id: FileId) -> FilesResult<()> {
    if files.getattr(id)?.mode & SET_UID_GID != 0 {
        files.setattr(caller, id, None, &SetAttr { kill_suid_gid: true, ..SetAttr::default() })?;
    }
    Ok(())
}

fn empty(reply: ReplyEmpty) -> impl FnOnce(Answer<()>) + Send + 'static {
    move |answer| match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

/// The length first, then the value: how extended attributes are asked for.
fn xattr(answer: Answer<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match answer {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(fuser::Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(errno) => reply.error(errno),
    }
}
