//! Extent maps: which sealed bytes are a body, in order.
//!
//! A [`DataMap`] stands inside a row of the store (an object's inode, a part of an upload). A short
//! body has its entries right there; a longer one has pieces, each a slice of a [`crate::rows::MapRow`]
//! of its own, so that copying it changes counts and not bytes:
//!
//! ```text
//!   DataMap { len, keys, Entries[ e e e ] }                       up to 32 entries
//!   DataMap { len, keys, Pieces[ (map 7, skip 0, len), ... ] }    map 7: MapRow { refs, e e e ... }
//!   entry   bytes [skip, skip + len) of the plain bytes of one extent
//! ```
//!
//! A third kind of map changes in place: a piece of a *layer* (see [`layer`]), for files and volumes.
//!
//! Entries name places (segment, offset) for ever and are never changed. References are counted in the
//! commit that makes or drops them: [`DataMap::share`], [`DataMap::concat`] and [`DataMap::release`]
//! take the transaction. A map whose row is deleted without `release` leaks its bytes; one that is
//! stored twice without `share`, or released twice, loses them (the count is checked and such a
//! commit fails). Whoever reads a map sees to it that it is not released meanwhile.
//!
//! `live_bytes` of a segment are the sum, over all entries that rows hold, of [`MapEntry::live_bytes`]:
//! exact for bytes with one reference, more than the truth for shared ones, and zero exactly when
//! nobody refers to the segment. A piece that shows a part of its map keeps all of it.

mod edit;
mod layer;
mod refs;
mod slice;
mod tend;

use gw_codec::frame::frames_for;
use gw_types::ports::WrappedDataKey;
use gw_types::{ExtentId, KeyId, MapId, SegmentSeq};
use serde::{Deserialize, Serialize};

pub use edit::{BASE_PIECES_MAX, LAYERS_DEPTH_MAX, LEAF_ENTRIES_MAX};
pub use layer::{LEAF_BYTES, MapRun};
pub(crate) use refs::install;
pub(crate) use slice::slice_entries;
pub(crate) use tend::tend;

/// Entries that stand in a [`DataMap`] itself; with more they get rows of their own.
pub const ENTRIES_INLINE_MAX: usize = 32;
/// Entries of one map row: about 4 GiB in full leases.
pub const MAP_ENTRIES_MAX: usize = 1024;

/// Where the plain bytes of an entry are: in frames of one extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentRef {
    /// The extent.
    pub extent: ExtentId,
    /// All its plain bytes.
    pub extent_len: u32,
    /// Plain bytes of it that stand before the entry's.
    pub skip: u32,
    /// Home segment.
    pub segment: SegmentSeq,
    /// Where the extent's first frame begins in the segment.
    pub offset: u32,
    /// The data key that seals it.
    pub key: KeyId,
}

/// Some bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapEntry {
    /// How many; never 0.
    pub len: u32,
    /// Where they are; `None` is a hole, which reads as zeros.
    pub at: Option<ExtentRef>,
}

impl MapEntry {
    /// Sealed bytes of the frames that the entry needs: what it keeps alive.
    pub fn live_bytes(&self) -> u64 {
        let Some(at) = &self.at else { return 0 };
        let start = u64::from(at.skip);
        frames_for(start..start + u64::from(self.len), u64::from(at.extent_len))
            .map_or(0, |span| span.sealed.end - span.sealed.start)
    }

    /// The sealed bytes that the entry needs, in its home segment. `None` for a hole, and for an
    /// entry that does not fit its extent.
    pub fn sealed_range(&self) -> Option<(SegmentSeq, std::ops::Range<u32>)> {
        let at = self.at.as_ref()?;
        let start = u64::from(at.skip);
        let span = frames_for(start..start + u64::from(self.len), u64::from(at.extent_len))?;
        let place = |sealed: u64| u32::try_from(u64::from(at.offset) + sealed).ok();
        Some((at.segment, place(span.sealed.start)?..place(span.sealed.end)?))
    }
}

/// A slice of a map row, or of a layer (odd ids), or a hole (0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Bytes of it.
    pub len: u64,
    /// The map.
    pub map: MapId,
    /// Bytes of the map that stand before them.
    pub skip: u64,
}

/// The entries of a body, here or in rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapBody {
    /// In order of offset, without gaps.
    Entries(Vec<MapEntry>),
    /// The same, in rows.
    Pieces(Vec<Piece>),
}

/// What a body is made of, and the keys that open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataMap {
    /// Bytes of the body.
    pub len: u64,
    /// Data keys of its extents, wrapped by the key of its bucket, in order of id.
    pub keys: Vec<(KeyId, WrappedDataKey)>,
    /// Where its bytes are.
    pub body: MapBody,
}

impl DataMap {
    /// The map of a body without bytes.
    pub fn empty() -> Self {
        Self { len: 0, keys: Vec::new(), body: MapBody::Entries(Vec::new()) }
    }

    /// The wrapped form of a data key.
    pub fn key(&self, id: KeyId) -> Option<&WrappedDataKey> {
        let at = self.keys.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.keys[at].1)
    }

    /// The entries that stand in the map itself; those of its pieces stand in rows.
    pub(crate) fn own_entries(&self) -> &[MapEntry] {
        match &self.body {
            MapBody::Entries(entries) => entries,
            MapBody::Pieces(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests;
