//! Extended attributes, and among them access lists, which are one with the mode.

use gw_store::files::{Caller, Errno, FileId, FileKind, FilesResult, SetXattr};
use gw_store::posix_acl::{self, PosixAcl};

use crate::tree::{Inode, SET_GID, Tree};

/// Linux's longest name and value.
const NAME_LEN_MAX: usize = 255;
const XATTR_BYTES_MAX: usize = 64 << 10;
/// What a program may do beyond its user; lost with every change of its bytes.
pub const CAPABILITY: &[u8] = b"security.capability";

impl Tree {
    pub fn setxattr(
        &mut self,
        caller: &Caller,
        id: FileId,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
    ) -> FilesResult<()> {
        check_xattr(name)?;
        if value.len() > XATTR_BYTES_MAX {
            return Err(Errno::OutOfRange.into());
        }
        let now = self.now();
        let inode = self.inode_mut(id)?;
        match (how, inode.xattrs.contains_key(name)) {
            (SetXattr::Create, true) => return Err(Errno::Exists.into()),
            (SetXattr::Replace, false) => return Err(Errno::NoData.into()),
            _ => {}
        }
        let is_list = name == posix_acl::ACCESS || name == posix_acl::DEFAULT;
        if is_list && set_mode(inode, caller, name, value)? {
            inode.xattrs.remove(name);
            inode.attr.ctime = now;
            return Ok(());
        }
        inode.xattrs.insert(name.to_vec(), value.to_vec());
        inode.attr.ctime = now;
        Ok(())
    }

    pub fn getxattr(&self, id: FileId, name: &[u8]) -> FilesResult<Vec<u8>> {
        check_xattr(name)?;
        self.inode(id)?.xattrs.get(name).cloned().ok_or_else(|| Errno::NoData.into())
    }

    pub fn listxattr(&self, id: FileId) -> FilesResult<Vec<Vec<u8>>> {
        Ok(self.inode(id)?.xattrs.keys().cloned().collect())
    }

    pub fn removexattr(&mut self, id: FileId, name: &[u8]) -> FilesResult<()> {
        check_xattr(name)?;
        let now = self.now();
        let inode = self.inode_mut(id)?;
        let removed = inode.xattrs.remove(name);
        if removed.is_none() && name != posix_acl::ACCESS && name != posix_acl::DEFAULT {
            return Err(Errno::NoData.into());
        }
        inode.attr.ctime = now;
        Ok(())
    }
}

/// Lets the mode follow an access list that is set; `true`: the mode says it all.
fn set_mode(inode: &mut Inode, caller: &Caller, name: &[u8], value: &[u8]) -> FilesResult<bool> {
    let acl = PosixAcl::parse(value).map_err(|_| Errno::Invalid)?;
    match inode.attr.kind {
        FileKind::Symlink => return Err(Errno::NotSupported.into()),
        FileKind::Directory => {}
        _ if name == posix_acl::ACCESS => {}
        _ => return Err(Errno::Access.into()),
    }
    if name != posix_acl::ACCESS {
        return Ok(false);
    }
    inode.attr.mode = inode.attr.mode & !0o777 | acl.mode();
    if caller.uid != 0 && caller.gid != inode.attr.gid {
        inode.attr.mode &= !SET_GID;
    }
    Ok(acl.is_mode())
}

/// The families that xattr(7) names; access lists are kept for who interprets them.
fn check_xattr(name: &[u8]) -> FilesResult<()> {
    const FAMILIES: [&[u8]; 5] =
        [b"user.", b"trusted.", b"security.", b"system.posix_acl_access", b"system.posix_acl_default"];
    if name.len() > NAME_LEN_MAX {
        return Err(Errno::OutOfRange.into());
    }
    let known = FAMILIES.iter().any(|family| name.starts_with(family));
    if known { Ok(()) } else { Err(Errno::NotSupported.into()) }
}
