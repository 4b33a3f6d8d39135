//! Tables 0x18, 0x1c to 0x1e, 0x25 and 0x28: inodes, what stands beside them, and what is left of deleted ones.
//!
//! An inode is a file, directory, symlink or special file of the one namespace. A file has two
//! states: what S3 sees is `published` and only ever replaced as a whole; what a mount or a volume
//! has changed since is `working`. Each version of an object is an inode of its own.

use gw_data::DataMap;
use gw_types::{InodeId, Timestamp, VersionSeq};
use serde::{Deserialize, Serialize};

use super::Summary;
use crate::api::{Checksum, Etag, ObjectAttributes, ObjectPart};

/// What POSIX knows of every inode, whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Posix {
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    /// When it was made.
    pub(crate) btime: Timestamp,
}

/// One name of an inode; a file may have several in its bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) parent: InodeId,
    /// Ends with `/` for a directory.
    pub(crate) name: Vec<u8>,
}

/// Children of a directory, counted. `visible`, `history` and whether it lives are propagated upwards
/// on 0 <-> 1 only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirCounts {
    /// Dentries of any kind.
    pub(crate) entries: u64,
    /// Published leaves, and directories that have such below.
    pub(crate) visible: u64,
    /// Names with noncurrent versions or delete markers, and directories that have such below.
    pub(crate) history: u64,
    /// What a mount finds: leaves of any kind, and directories that live.
    pub(crate) live: u64,
    /// How many of these are directories.
    pub(crate) directories: u64,
    /// Nothing is left in it, but a mount holds it; an orphan row says so too.
    pub(crate) kept: bool,
    /// How often it came back to life under its number.
    pub(crate) generation: u32,
}

impl DirCounts {
    /// Whether a mount finds it. A directory that does not live is there for its history alone.
    pub(crate) fn lives(&self) -> bool {
        self.live > 0 || self.kept
    }
    /// Whether nothing asks for it any more.
    pub(crate) fn is_vacant(&self) -> bool {
        self.entries == 0 && self.visible == 0 && self.history == 0 && !self.lives()
    }
}

/// What S3 sees of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) version: VersionSeq,
    /// It is its name's null version.
    pub(crate) null: bool,
    pub(crate) etag: Etag,
    pub(crate) committed_at: Timestamp,
    pub(crate) attributes: ObjectAttributes,
    pub(crate) checksums: Vec<Checksum>,
    /// Whether a [`PartsRow`] stands beside the inode.
    pub(crate) has_parts: bool,
    /// The bytes; its `len` is the object's size.
    pub(crate) data: DataMap,
}

impl Published {
    /// What listings need.
    pub(crate) fn summary(&self) -> Summary {
        Summary {
            version: self.version,
            null: self.null,
            size: self.data.len,
            etag: self.etag,
            committed_at: self.committed_at,
            class: self.attributes.storage_class,
            checksum: self.checksums.first().map(|checksum| (checksum.algorithm, checksum.kind)),
        }
    }
}

/// The bytes of a file, in both of its states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileBody {
    /// What a mount or a volume sees and S3 does not yet; `None`: the same as published.
    pub(crate) working: Option<DataMap>,
    /// `None`: never published, so absent for S3.
    pub(crate) published: Option<Published>,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InodeBody {
    Directory(DirCounts),
    File(Box<FileBody>),
    Symlink(Vec<u8>),
    /// Fifo, socket or device; the number is 0 for the first two.
    Special(u64),
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InodeRow {
    /// Root of its bucket; its own number for the root itself.
    pub(crate) bucket: InodeId,
    pub(crate) posix: Posix,
    /// Its names; none for a bucket's root.
    pub(crate) places: Vec<Place>,
    /// Extended attributes that are not S3 user metadata.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: InodeBody,
}

impl InodeRow {
    /// A directory's counts; `None` for anything else.
    pub(crate) fn counts(&self) -> Option<&DirCounts> {
        match &self.body {
            InodeBody::Directory(counts) => Some(counts),
            _ => None,
        }
    }
    pub(crate) fn published(&self) -> Option<&Published> {
        match &self.body {
            InodeBody::File(file) => file.published.as_ref(),
            _ => None,
        }
    }
}

/// Parts of an object that was put in parts, beside its inode because most reads do not need them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartsRow(pub(crate) Vec<ObjectPart>);

/// A file with bytes that S3 does not see yet: so that a start finds what the last run left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkingRow {
    /// The bucket's name.
    pub(crate) bucket: String,
}

/// An inode that is there only because a mount holds it: one without names, or a directory that
/// nothing is left in. Resolved at the last forget, or when the store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrphanRow;

/// Bytes of a deleted inode that a reader still had in hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoomedRow(pub(crate) Vec<DataMap>);
