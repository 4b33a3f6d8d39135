//! Volumes as callers see them.

use gw_types::{BucketName, ObjectKey, Timestamp};

use crate::error::{StoreError, StoreResult};

/// Smallest step of a volume's size.
pub const VOLUME_STEP_BYTES: u64 = 512;
/// Snapshots of one volume.
pub const SNAPSHOTS_MAX: u32 = 100;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Where its object is.
    pub bucket: BucketName,
    /// The object.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was made, or first attached where an object was put there.
    pub created: Timestamp,
    /// How many snapshots it has.
    pub snapshots: u32,
    /// Who writes to it now.
    pub attached: Option<AttachedInfo>,
}

/// Who has a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedInfo {
    /// For people.
    pub holder: String,
    /// Since when.
    pub since: Timestamp,
}

/// A snapshot of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its name.
    pub name: SnapshotName,
    /// When it was taken.
    pub created: Timestamp,
    /// Size of the volume then, in bytes.
    pub size_bytes: u64,
}

/// 1 to 64 visible ASCII characters without `/`, `@` and `:`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName(String);

impl SnapshotName {
    /// `InvalidArgument` where it is not one.
    pub fn new(name: impl Into<String>) -> StoreResult<Self> {
        let name = name.into();
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/@:".contains(&byte));
        if fits {
            Ok(Self(name))
        } else {
            Err(StoreError::invalid("a snapshot's name has 1 to 64 visible characters, none of them / @ :"))
        }
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name under which block protocols show a volume, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSpec {
    /// The name: 1 to 256 visible characters, none of them `@`.
    pub name: String,
    /// The volume's bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// Shown as it was then, and read-only.
    pub snapshot: Option<SnapshotName>,
    /// Takes no writes.
    pub read_only: bool,
    /// Whoever the frontend has let in.
    pub anyone: bool,
    /// These users, besides those whom the bucket's rules let write.
    pub users: Vec<String>,
}
