//! Tables 0x28 to 0x2a: volumes, their snapshots, and the names they are shown under.

use gw_data::DataMap;
use gw_types::{InodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// What is known of a file as a volume; any file may have such a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRow {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) created: Timestamp,
    /// Snapshot rows.
    pub(crate) snapshots: u32,
    /// Forgotten at a start: whoever held it is gone.
    pub(crate) lease: Option<Lease>,
}

/// Who alone may change a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// Another one for each lease; changes under any other are refused.
    pub(crate) epoch: u64,
    /// For people.
    pub(crate) holder: String,
    /// Since when.
    pub(crate) since: Timestamp,
}

/// A volume as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRow {
    pub(crate) created: Timestamp,
    pub(crate) data: DataMap,
}

/// A name for a volume or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExportRow {
    /// The volume. The names are where it was found.
    pub(crate) inode: InodeId,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) snapshot: Option<String>,
    pub(crate) read_only: bool,
    /// Whoever the frontend has let in may have it.
    pub(crate) anyone: bool,
    /// Who besides those whom the bucket's rules let.
    pub(crate) users: Vec<String>,
}
