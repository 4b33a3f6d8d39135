//! Inventories of a bucket: lists of what is in it, made on a schedule (AWS: "Cataloging and analyzing
//! your data with S3 Inventory").

use gw_types::{Timestamp, VersionSeq};
use serde::{Deserialize, Serialize};

use super::{ChecksumAlgorithm, Encryption, Etag, Retention, StorageClass, VersionId};
use crate::error::{StoreError, StoreResult};

/// Most inventories of a bucket.
pub const INVENTORIES_MAX: usize = 100;
const ID_CHARS_MAX: usize = 64;
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;
/// 1 January 1970 was a Thursday: days from a Sunday to it.
const THURSDAY: i64 = 4;

/// A column that an inventory has when it is asked for. In AWS's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum InventoryField {
    /// Bytes.
    Size,
    /// When it was published.
    LastModified,
    /// Its ETag.
    Etag,
    /// Echoed.
    StorageClass,
    /// Whether it was put in parts.
    Multipart,
    /// Always empty: nothing is replicated.
    Replication,
    /// Under what kind of key it is.
    Encryption,
    /// End of its retention.
    LockUntil,
    /// Mode of its retention.
    LockMode,
    /// Whether it is held.
    LegalHold,
    /// Always empty: there are no tiers.
    Tiering,
    /// Whether it was put with a bucket key.
    BucketKey,
    /// Of its checksum.
    Checksum,
    /// Whose it is.
    Owner,
}

impl InventoryField {
    /// Whether listings do not know it, so that each object must be looked at.
    fn is_deep(self) -> bool {
        matches!(
            self,
            Self::Encryption
                | Self::LockUntil
                | Self::LockMode
                | Self::LegalHold
                | Self::BucketKey
                | Self::Owner
        )
    }
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryEvery {
    /// Each day, UTC.
    Day,
    /// Each Sunday.
    Week,
}

impl InventoryEvery {
    /// The beginning of the day or week in which a time is.
    pub fn slot(self, now: Timestamp) -> Timestamp {
        let days = now.unix_days();
        let first = match self {
            Self::Day => days,
            Self::Week => days - (days + THURSDAY).rem_euclid(7),
        };
        Timestamp(first.saturating_mul(DAY_NANOS))
    }
}

/// How the lists themselves are sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventorySeal {
    /// As the target bucket has it.
    #[default]
    Unsaid,
    /// SSE-S3, by name.
    Managed,
    /// SSE-KMS, under this named key.
    Kms(String),
}

/// What to list, how often, and where to put it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Its name in the bucket: 1 to 64 of letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Whether lists are made at all.
    pub enabled: bool,
    /// Noncurrent versions and delete markers too.
    pub all_versions: bool,
    /// How often.
    pub every: InventoryEvery,
    /// Only keys that begin so.
    pub prefix: String,
    /// Columns besides bucket and key (and version), in order, each once.
    pub fields: Vec<InventoryField>,
    /// Name of a bucket of the same owner.
    pub target: String,
    /// Beginning of the lists' keys; empty for none.
    pub target_prefix: String,
    /// How the lists are sealed.
    pub seal: InventorySeal,
}

impl Inventory {
    pub(crate) fn check(&self) -> StoreResult<()> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.id.is_empty() || self.id.len() > ID_CHARS_MAX || !self.id.chars().all(good) {
            return Err(StoreError::invalid(
                "the id of an inventory has 1 to 64 letters, digits, '-', '_' and '.'",
            ));
        }
        if self.prefix.len() + self.target_prefix.len() > 1024 {
            return Err(StoreError::invalid("prefixes of an inventory have at most 1024 bytes together"));
        }
        Ok(())
    }
    pub(crate) fn is_deep(&self) -> bool {
        self.fields.iter().any(|field| field.is_deep())
    }
}

/// A list that is being made, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRun {
    /// The day or week it is for; `None`: somebody asked for it.
    pub slot: Option<Timestamp>,
    /// When it was begun: names it, so a run that is taken up again writes the same objects.
    pub started: Timestamp,
}

/// How far an inventory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryState {
    /// The newest day or week that has its list.
    pub done: Option<Timestamp>,
    /// A list that was begun and is not done.
    pub running: Option<InventoryRun>,
    /// The newest list that is done.
    pub last: Option<InventoryRun>,
}

/// An inventory with where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryInfo {
    /// What it is.
    pub inventory: Inventory,
    /// How far it is.
    pub state: InventoryState,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: VersionId,
    /// Nothing newer is at its key.
    pub is_latest: bool,
    /// When it was made.
    pub last_modified: Timestamp,
    /// `None`: a delete marker.
    pub object: Option<InventoryObject>,
}

/// What a line says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryObject {
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: Etag,
    /// Echoed.
    pub class: StorageClass,
    /// Of its checksum.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Only where a field asks for it.
    pub beside: Option<InventoryBeside>,
}

/// What stands beside an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryBeside {
    /// `None`: under the bucket's key, unasked.
    pub encryption: Option<Encryption>,
    /// Its retention.
    pub retention: Option<Retention>,
    /// Its legal hold; `None`: never set.
    pub hold: Option<bool>,
    /// Whose it is.
    pub owner: String,
}

/// A page of lines, all of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InventoryPage {
    /// In order of key, then newest first.
    pub entries: Vec<InventoryEntry>,
    /// Where to go on, when there is more.
    pub next: Option<(String, VersionSeq)>,
}

#[cfg(test)]
mod tests {
    use gw_types::Timestamp;

    use super::InventoryEvery;

    #[test]
    fn days_begin_at_midnight_and_weeks_on_sunday() {
        let shown = |every: InventoryEvery, seconds: i64| {
            every.slot(Timestamp(seconds * 1_000_000_000)).iso_seconds()
        };
        // Saturday 21 November 2026, 16:00.
        assert_eq!(shown(InventoryEvery::Day, 1_795_276_800), "2026-11-21T00:00:00Z");
        assert_eq!(shown(InventoryEvery::Week, 1_795_276_800), "2026-11-15T00:00:00Z");
        assert_eq!(shown(InventoryEvery::Week, 1_795_276_800 + 86_400), "2026-11-22T00:00:00Z");
        assert_eq!(shown(InventoryEvery::Week, 0), "1969-12-28T00:00:00Z");
    }
}
