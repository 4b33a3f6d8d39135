//! Extended attributes: the mount's own, and S3's metadata under `user.s3.`.
//!
//! ```text
//!   user.s3.meta.NAME          x-amz-meta-NAME
//!   user.s3.content-type ...   the header of that name: content-type, -encoding, -disposition, -language,
//!                              cache-control, expires
//!   user.s3.key, user.s3.etag  read only, and not listed but for a key that has no name of its own
//!   system.posix_acl_*         access lists ([`crate::posix_acl`]), one with the mode
//!   anything else              kept beside the inode: user., trusted., security.
//! ```
//!
//! S3's metadata belongs to what is published. While a file is not, it is kept with the inode and goes
//! over when it is published. In a bucket with versions a published version does not change (`EPERM`).

use gw_db::Read;

use super::attr::SET_GID;
use super::view::{What, is_escaped};
use super::{StoreFiles, load, path_of};
use crate::api::files::{Caller, Errno, FileId, FilesError, FilesResult, SetXattr};
use crate::api::posix_acl::{self, PosixAcl};
use crate::api::{ContentHeaders, ObjectAttributes, Versioning};
use crate::namespace;
use crate::object::check_attributes;
use crate::rows::{DentryRow, InodeBody, InodeRow, key};

/// Longest name, in bytes.
const NAME_LEN_MAX: usize = 255;
/// Longest value, in bytes.
const VALUE_LEN_MAX: usize = 64 << 10;
/// All names and values of an inode, in bytes.
const TOTAL_LEN_MAX: usize = 256 << 10;
/// S3's own.
const S3: &str = "user.s3.";
const META: &str = "user.s3.meta.";
const KEY: &str = "user.s3.key";
const ETAG: &str = "user.s3.etag";
const SPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
const ACLS: [&[u8]; 2] = [posix_acl::ACCESS, posix_acl::DEFAULT];

/// The header that `user.s3.NAME` stands for.
fn header<'a>(headers: &'a mut ContentHeaders, name: &str) -> Option<&'a mut Option<String>> {
    Some(match name {
        "content-type" => &mut headers.content_type,
        "content-encoding" => &mut headers.content_encoding,
        "content-disposition" => &mut headers.content_disposition,
        "content-language" => &mut headers.content_language,
        "cache-control" => &mut headers.cache_control,
        "expires" => &mut headers.expires,
        _ => return None,
    })
}

const HEADERS: [&str; 6] = [
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
];

/// S3's name of an attribute, where it has one.
fn s3_name(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok().filter(|name| name.starts_with(S3))
}

/// Sets or takes off one attribute of S3's.
fn set_in(attributes: &mut ObjectAttributes, name: &str, value: Option<&[u8]>) -> FilesResult<()> {
    let text = |value: &[u8]| {
        let text = std::str::from_utf8(value).map_err(|_| Errno::Invalid)?;
        if text.chars().any(char::is_control) { Err(Errno::Invalid) } else { Ok(text.to_owned()) }
    };
    let value = value.map(text).transpose()?;
    if let Some(meta) = name.strip_prefix(META) {
        let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if meta.is_empty() || !meta.bytes().all(token) {
            return Err(FilesError::new(Errno::Invalid, "a name of metadata has a-z, 0-9, -, _ and ."));
        }
        attributes.user_metadata.retain(|(name, _)| name != meta);
        attributes.user_metadata.extend(value.map(|value| (meta.to_owned(), value)));
    } else {
        let name = name.strip_prefix(S3).unwrap_or(name);
        *header(&mut attributes.headers, name).ok_or(Errno::NotPermitted)? = value;
    }
    Ok(check_attributes(attributes)?)
}

fn get_in(attributes: &ObjectAttributes, name: &str) -> Option<Vec<u8>> {
    if let Some(meta) = name.strip_prefix(META) {
        let found = attributes.user_metadata.iter().find(|(name, _)| name == meta);
        return found.map(|(_, value)| value.clone().into_bytes());
    }
    let mut headers = attributes.headers.clone();
    header(&mut headers, name.strip_prefix(S3)?)?.take().map(String::into_bytes)
}

fn list_in(attributes: &ObjectAttributes) -> Vec<Vec<u8>> {
    let mut headers = attributes.headers.clone();
    let set = HEADERS.iter().filter(|name| header(&mut headers, name).is_some_and(|value| value.is_some()));
    let mut names: Vec<_> = set.map(|name| format!("{S3}{name}").into_bytes()).collect();
    names.extend(attributes.user_metadata.iter().map(|(name, _)| format!("{META}{name}").into_bytes()));
    names
}

/// What a file that is published for the first time takes over from its inode and its name.
pub(crate) fn first_attributes(
    xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>,
    name: &[u8],
    attributes: &mut ObjectAttributes,
) {
    attributes.headers.content_type = super::content_type::of_name(name).map(str::to_owned);
    xattrs.retain(|(name, value)| match s3_name(name) {
        // It was judged when it was set; what no longer fits stays where it is.
        Some(name) => set_in(attributes, name, Some(value)).is_err(),
        None => true,
    });
}

fn set_own(
    xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>,
    name: &[u8],
    value: Option<&[u8]>,
    how: SetXattr,
) -> FilesResult<()> {
    let at = xattrs.iter().position(|(other, _)| other == name);
    judge(at.is_some(), value.is_some(), how)?;
    match (at, value) {
        (Some(at), Some(value)) => xattrs[at].1 = value.to_vec(),
        (Some(at), None) => {
            xattrs.remove(at);
        }
        (None, Some(value)) => xattrs.push((name.to_vec(), value.to_vec())),
        (None, None) => {}
    }
    let total: usize = xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if total > TOTAL_LEN_MAX { Err(Errno::NoSpace.into()) } else { Ok(()) }
}

/// `setxattr`'s flags, and `ENODATA` for removing what is not there.
fn judge(there: bool, set: bool, how: SetXattr) -> FilesResult<()> {
    match (there, set, how) {
        (true, true, SetXattr::Create) => Err(Errno::Exists.into()),
        (false, true, SetXattr::Replace) | (false, false, _) => Err(Errno::NoData.into()),
        _ => Ok(()),
    }
}

fn check_name(name: &[u8]) -> FilesResult<()> {
    if name.len() > NAME_LEN_MAX {
        return Err(Errno::OutOfRange.into());
    }
    let known = SPACES.iter().any(|space| name.starts_with(space) && name.len() > space.len());
    if known || ACLS.contains(&name) { Ok(()) } else { Err(Errno::NotSupported.into()) }
}

impl StoreFiles {
    /// Sets (`Some`) or takes off one attribute.
    pub(super) fn xattr_set(
        &self,
        caller: &Caller,
        id: FileId,
        name: &[u8],
        value: Option<&[u8]>,
        how: SetXattr,
    ) -> FilesResult<()> {
        check_name(name)?;
        if value.is_some_and(|value| value.len() > VALUE_LEN_MAX) {
            return Err(Errno::OutOfRange.into());
        }
        let inode = self.table.inode(id).ok_or(Errno::NotSupported)?;
        self.change(|work| {
            let mut row = load(&*work.txn, inode)?;
            let here = self.here(&*work.txn, row.bucket)?;
            self.may_change(work, &here, &row)?;
            self.make_explicit(work, &here, inode, &row, true)?;
            if row.counts().is_some() {
                row = load(&*work.txn, inode)?;
            }
            match s3_name(name) {
                _ if ACLS.contains(&name) => set_list(&mut row, caller, name, value, how)?,
                Some(name) => set_s3(&mut row, here.row.settings.versioning, name, value, how)?,
                None => set_own(&mut row.xattrs, name, value, how)?,
            }
            row.posix.ctime = work.now;
            work.changes.inode(inode);
            work.txn.stream(here.row.stream);
            work.put_row(key::inode(inode), &row);
            Ok(())
        })?;
        Ok(())
    }

    pub(super) fn xattr_get(&self, id: FileId, name: &[u8]) -> FilesResult<Vec<u8>> {
        check_name(name)?;
        let inode = self.table.inode(id).ok_or(Errno::NoData)?;
        let snapshot = self.core.snapshot();
        let row = load(&snapshot, inode)?;
        let s3 = s3_name(name);
        let found = match (s3, row.published()) {
            (Some(KEY), _) => key_of(&snapshot, &row)?,
            (Some(ETAG), Some(published)) => Some(published.etag.to_string().into_bytes()),
            (Some(name), Some(published)) => get_in(&published.attributes, name),
            _ => row.xattrs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone()),
        };
        found.ok_or_else(|| Errno::NoData.into())
    }

    pub(super) fn xattr_list(&self, id: FileId) -> FilesResult<Vec<Vec<u8>>> {
        let Some(inode) = self.table.inode(id) else { return Ok(Vec::new()) };
        let snapshot = self.core.snapshot();
        let row = load(&snapshot, inode)?;
        let mut names: Vec<_> = row.xattrs.iter().map(|(name, _)| name.clone()).collect();
        if let Some(published) = row.published() {
            names.extend(list_in(&published.attributes));
        }
        if goes_by_escape(&snapshot, &row)? {
            names.push(KEY.as_bytes().to_vec());
        }
        Ok(names)
    }
}

/// Sets or takes off an access list. One that is no more than a mode is not kept.
fn set_list(
    row: &mut InodeRow,
    caller: &Caller,
    name: &[u8],
    value: Option<&[u8]>,
    how: SetXattr,
) -> FilesResult<()> {
    let is_access = name == posix_acl::ACCESS;
    let there = row.xattrs.iter().any(|(other, _)| other == name);
    let Some(value) = value else {
        // To take off what is not there is no error (Linux, `set_posix_acl`).
        row.xattrs.retain(|(other, _)| other != name);
        return Ok(());
    };
    judge(there, true, how)?;
    let acl = PosixAcl::parse(value).map_err(|_| Errno::Invalid)?;
    match &row.body {
        InodeBody::Symlink(_) => return Err(Errno::NotSupported.into()),
        InodeBody::Directory(_) => {}
        _ if is_access => {}
        _ => return Err(Errno::Access.into()),
    }
    if is_access {
        row.posix.mode = row.posix.mode & !0o777 | acl.mode();
        // Who is neither root nor of the group may not keep set-group. Further groups of the caller are
        // not known here, and do not count.
        if caller.uid != 0 && caller.gid != row.posix.gid {
            row.posix.mode &= !SET_GID;
        }
        if acl.is_mode() {
            row.xattrs.retain(|(other, _)| other != name);
            return Ok(());
        }
    }
    set_own(&mut row.xattrs, name, Some(value), SetXattr::Either)
}

fn set_s3(
    row: &mut InodeRow,
    versioning: Versioning,
    name: &str,
    value: Option<&[u8]>,
    how: SetXattr,
) -> FilesResult<()> {
    if name == KEY || name == ETAG {
        return Err(Errno::NotPermitted.into());
    }
    let InodeBody::File(file) = &mut row.body else {
        return Err(FilesError::new(Errno::NotPermitted, "only files are objects"));
    };
    match &mut file.published {
        Some(_) if versioning != Versioning::Off => {
            Err(FilesError::new(Errno::NotPermitted, "a published version does not change"))
        }
        Some(published) => {
            judge(get_in(&published.attributes, name).is_some(), value.is_some(), how)?;
            set_in(&mut published.attributes, name, value)
        }
        None => {
            set_in(&mut ObjectAttributes::default(), name, value)?;
            set_own(&mut row.xattrs, name.as_bytes(), value, how)
        }
    }
}

/// The full key of an inode's first name; none for an orphan or a root.
fn key_of(read: &impl Read, row: &InodeRow) -> FilesResult<Option<Vec<u8>>> {
    match row.places.first() {
        Some(place) => path_of(read, place.parent, &place.name).map(Some),
        None => Ok(None),
    }
}

fn goes_by_escape(read: &impl Read, row: &InodeRow) -> FilesResult<bool> {
    let Some(place) = row.places.first() else { return Ok(false) };
    let spot = namespace::Spot { parent: place.parent, name: place.name.clone() };
    let what = match namespace::dentry(read, place.parent, &place.name)? {
        Some(DentryRow::Leaf(leaf)) => What::Leaf(leaf),
        Some(DentryRow::Directory(directory)) => What::Directory(directory),
        None => return Ok(false),
    };
    Ok(is_escaped(read, &super::view::Seen { spot, what })?)
}
