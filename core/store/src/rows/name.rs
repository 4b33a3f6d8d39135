//! Tables 0x19 to 0x1b: names in directories, and the versions that are no longer (or hide) names.
//!
//! A name's row carries all that a listing shows of it, so that listing a directory reads nothing
//! else.

use gw_types::{InodeId, Timestamp, VersionSeq};
use serde::{Deserialize, Serialize};

use crate::api::{ChecksumAlgorithm, ChecksumKind, Etag, StorageClass, VersionId};

/// What listings show of an object, so that no inode is fetched for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) version: VersionSeq,
    pub(crate) null: bool,
    pub(crate) size: u64,
    pub(crate) etag: Etag,
    pub(crate) committed_at: Timestamp,
    pub(crate) class: StorageClass,
    pub(crate) checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

impl Summary {
    pub(crate) fn version_id(&self) -> VersionId {
        if self.null { VersionId::Null } else { VersionId::Seq(self.version) }
    }
}

/// What a leaf is, for `readdir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LeafKind {
    File,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

/// A name that is not a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leaf {
    pub(crate) inode: InodeId,
    pub(crate) kind: LeafKind,
    /// `None`: absent for S3.
    pub(crate) published: Option<Summary>,
    /// Where `readdir` stands behind it; `None`: at the inode's number. Only a further name of an
    /// inode has one of its own, so no two names of a directory share one.
    pub(crate) cookie: Option<u64>,
}

impl Leaf {
    pub(crate) fn cookie(&self) -> u64 {
        self.cookie.unwrap_or(self.inode.0)
    }
}

/// A directory. The flags say whether its counts are above zero, so that listings need not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    pub(crate) inode: InodeId,
    pub(crate) visible: bool,
    pub(crate) history: bool,
    pub(crate) live: bool,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DentryRow {
    Leaf(Leaf),
    Directory(Directory),
}

/// A version that is not current, or a delete marker. The newest one of a name without a leaf is
/// always a marker: it is what hides the older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VersionRow {
    Object { inode: InodeId, summary: Summary },
    Marker { null: bool, committed_at: Timestamp },
}

impl VersionRow {
    pub(crate) fn is_null(&self) -> bool {
        match self {
            Self::Object { summary, .. } => summary.null,
            Self::Marker { null, .. } => *null,
        }
    }
    pub(crate) fn version_id(&self, seq: VersionSeq) -> VersionId {
        if self.is_null() { VersionId::Null } else { VersionId::Seq(seq) }
    }
}
