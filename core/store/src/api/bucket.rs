//! Buckets as callers see them.

use gw_types::{BucketName, Level, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AclRequest, BucketRules};

/// Whether overwritten and deleted objects are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// Never turned on. Nobody can return here.
    #[default]
    Off,
    /// Each put makes a version, each delete a marker.
    Enabled,
    /// Puts and deletes act on the null version; older versions stay.
    Suspended,
}

/// Upper limits; `None`: as much as there is. Counted over all versions and unfinished uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of all bodies.
    pub bytes_max: Option<u64>,
    /// Objects and noncurrent versions.
    pub objects_max: Option<u64>,
}

/// What a bucket holds, kept in the same commit as the objects themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Current objects.
    pub objects: u64,
    /// Noncurrent versions.
    pub noncurrent: u64,
    /// Delete markers.
    pub markers: u64,
    /// Bytes of current objects and noncurrent versions.
    pub bytes: u64,
    /// Unfinished uploads.
    pub uploads: u64,
    /// Bytes of their parts.
    pub upload_bytes: u64,
}

impl Usage {
    /// Adds another bucket's.
    pub(crate) fn add(&mut self, more: &Self) {
        self.objects += more.objects;
        self.noncurrent += more.noncurrent;
        self.markers += more.markers;
        self.bytes += more.bytes;
        self.uploads += more.uploads;
        self.upload_bytes += more.upload_bytes;
    }
}

/// How a bucket behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    /// Whether versions are kept.
    pub versioning: Versioning,
    /// Upper limits.
    pub quota: Quota,
    /// LocationConstraint as it was given at creation; empty where none was.
    pub region: String,
    /// When writes are answered, unless a request says otherwise.
    pub level: Level,
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            versioning: Versioning::Off,
            quota: Quota::default(),
            region: String::new(),
            level: Level::Staged,
        }
    }
}

/// How to create a bucket.
#[derive(Clone, Debug, Default)]
pub struct BucketOptions {
    /// Its first settings.
    pub settings: BucketSettings,
    /// Its first rules; its access list is made of `acl`.
    pub rules: BucketRules,
    /// Access list asked for.
    pub acl: Option<AclRequest>,
    /// Who owns it; `None`: the caller. Only an admin may name somebody else.
    pub owner: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: BucketName,
    /// Name of the user that owns it.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
    /// How it behaves.
    pub settings: BucketSettings,
    /// What it says beyond that.
    pub rules: BucketRules,
}

/// Which buckets to list: the caller's own; an admin socket sees all.
#[derive(Clone, Debug)]
pub struct BucketListRequest {
    /// Only names that begin so.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<BucketName>,
    /// 1..=10 000.
    pub max: usize,
}

impl Default for BucketListRequest {
    fn default() -> Self {
        Self { prefix: String::new(), after: None, max: 10_000 }
    }
}

/// A page of buckets, in order of name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketListPage {
    /// Up to `max`.
    pub buckets: Vec<BucketInfo>,
    /// Where to go on, when there are more.
    pub next: Option<BucketName>,
}

/// What one step of clearing a bucket took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Current objects.
    pub objects: u64,
    /// Noncurrent versions.
    pub versions: u64,
    /// Delete markers.
    pub markers: u64,
    /// Files, links, pipes and the like that S3 does not list.
    pub unlisted: u64,
    /// Directories with nothing in them.
    pub directories: u64,
    /// Nothing was left to be taken away.
    pub done: bool,
}

impl Cleared {
    /// All of it.
    pub fn count(&self) -> u64 {
        self.objects + self.versions + self.markers + self.unlisted + self.directories
    }
}
