//! The store's face: every verb a frontend can say, in one place.
//!
//! Each verb names who asks; there is no way around [`Authenticated`]. The work behind a verb is in
//! the module of its subject; nothing is decided here.

mod beside;
mod buckets;
mod objects;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use gw_data::Data;
use gw_db::Db;
use gw_types::ports::{Clock, Keys};
use gw_types::{Action, Authenticated, BucketName, ObjectKey};

use crate::access::Act;
use crate::api::{EventTarget, KmsKeyInfo};
use crate::core::Core;
use crate::durability::Durability;
use crate::error::StoreResult;

/// What the store stands on: opened by the binary, the store's own from then on.
#[derive(Debug)]
pub struct StorePorts {
    /// Rows.
    pub db: Arc<Db>,
    /// Bytes.
    pub data: Arc<Data>,
    /// The key tree.
    pub keys: Arc<dyn Keys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Everything behind `staged`; `None` where nothing is dispersed.
    pub durability: Option<Arc<dyn Durability>>,
}

/// What POSIX is told of inodes that S3 makes.
#[derive(Clone, Copy, Debug)]
pub struct PosixDefaults {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u32,
    /// Permission bits of directories.
    pub dir_mode: u32,
}

/// Limits. All in bytes unless the name says otherwise.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Largest body of one PUT.
    pub put_bytes_max: u64,
    /// Largest part.
    pub part_bytes_max: u64,
    /// Smallest part but the last.
    pub part_bytes_min: u64,
    /// Largest object.
    pub object_bytes_max: u64,
    /// Longest wait of a write for a level behind `staged`; then it is `NotDurable`.
    pub durability_wait_max: Duration,
    /// Opened secrets kept in memory, counted.
    pub credentials_max: usize,
    /// For inodes that S3 makes.
    pub posix: PosixDefaults,
    /// How long a day is for lifecycle rules: a day, but for tests.
    pub lifecycle_day: Duration,
    /// Where events may go.
    pub event_targets: Vec<EventTarget>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            put_bytes_max: 5 << 30,
            part_bytes_max: 5 << 30,
            part_bytes_min: 5 << 20,
            object_bytes_max: 5 << 40,
            durability_wait_max: Duration::from_secs(300),
            credentials_max: 4096,
            posix: PosixDefaults { uid: 0, gid: 0, file_mode: 0o644, dir_mode: 0o755 },
            lifecycle_day: Duration::from_secs(24 * 3600),
            event_targets: Vec::new(),
        }
    }
}

/// The object core, as frontends see it. A cheap handle: clone it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) core: Arc<Core>,
}

/// Opening and closing; who is who stands in `iam::verbs`.
impl Store {
    /// Opens the store on what the ports hold, and finishes what a former run left to be deleted.
    pub async fn open(ports: StorePorts, config: StoreConfig) -> StoreResult<Self> {
        let core = Arc::new(Core::new(ports, config));
        core.sweep_all()?;
        core.publish_left()?;
        core.load_logged()?;
        core.load_kms().await?;
        Ok(Self { core })
    }
    /// Syncs and closes the database below. Nothing acknowledged is lost without it.
    pub async fn close(&self) -> StoreResult<()> {
        Ok(self.core.db.close().await?)
    }
    /// Whether `who` may do this; every verb asks it by itself, on the state it acts on.
    /// `NoSuchBucket` where an act on a bucket names none that exists.
    pub fn authorize(
        &self,
        who: &Authenticated,
        action: Action,
        bucket: Option<&BucketName>,
        key: Option<&ObjectKey>,
    ) -> StoreResult<()> {
        let snapshot = self.core.snapshot();
        match (bucket, action) {
            (None, _) | (_, Action::CreateBucket) => self.core.decide(&snapshot, who, action, bucket),
            (Some(name), _) => {
                let act = Act { key, ..Act::from(action) };
                self.core.bucket(&snapshot, who, act, name).map(|_| ())
            }
        }
    }
    /// The time by which everything here goes.
    pub fn now(&self) -> gw_types::Timestamp {
        self.core.clock.now()
    }
    /// Makes a named key for SSE-KMS. Admins only.
    pub async fn kms_key_add(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        self.core.kms_key_add(who, name).await
    }
    /// All named keys, by name. Admins only.
    pub fn kms_key_list(&self, who: &Authenticated) -> StoreResult<Vec<KmsKeyInfo>> {
        self.core.kms_key_list(who)
    }
}
