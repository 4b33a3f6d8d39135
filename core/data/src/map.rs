//! Extent maps: which runs of which extents make up a body.
//!
//! A map is a value: it stands in the inode's row while it is short, and in rows of its own
//! (table 0x42, counted references) when it is long or shared. Entries never change; a change makes
//! another list that names the same extents.

use gw_types::ports::WrappedDataKey;
use gw_types::{ExtentId, KeyId, MapId, SegmentSeq};
use serde::{Deserialize, Serialize};

/// The bytes of a body: what it is made of, and the wrapped keys that open it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataMap {
    /// Plain bytes.
    pub len: u64,
    /// Every key that some entry names, wrapped by the bucket's key. Sorted by id, no repetitions.
    pub keys: Vec<(KeyId, WrappedDataKey)>,
    /// In order of offset, without gaps.
    pub body: MapBody,
}

/// How a body is made up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapBody {
    /// Few entries, in place.
    Entries(Vec<MapEntry>),
    /// Runs of maps that stand in rows of their own, shared by reference.
    Pieces(Vec<Piece>),
}

impl Default for MapBody {
    fn default() -> Self {
        Self::Entries(Vec::new())
    }
}

/// All of a map that stands in a row of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Plain bytes of it.
    pub len: u64,
    /// Its row.
    pub map: MapId,
}

/// Bytes `skip .. skip + len` of one extent, and where that extent stands.
///
/// Sealed frame `i` of the extent begins at `offset + i * 65552` of its segment; all frames but the
/// last hold 65,536 plain bytes. The whole extent lies in one fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapEntry {
    /// Plain bytes taken.
    pub len: u32,
    /// Plain bytes of the extent before them.
    pub skip: u32,
    /// The extent.
    pub extent: ExtentId,
    /// Plain bytes of the whole extent: its frames are computed from it.
    pub extent_len: u32,
    /// Its home segment, for ever (compaction leaves a `moved` row behind).
    pub segment: SegmentSeq,
    /// First sealed byte in the segment.
    pub offset: u32,
    /// Which of the map's keys opens it.
    pub key: KeyId,
}
