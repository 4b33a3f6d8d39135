//! Extent maps with rows of their own, shared by reference count.

use gw_db::{DbError, Read, Txn};
use gw_types::MapId;
use serde::{Deserialize, Serialize};

use super::{MAP_TABLE, get, numbered, put};
use crate::map::MapEntry;

/// Part of a body's map. Never changes but for its count; deleted when that reaches zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRow {
    /// Pieces that refer to it.
    pub refs: u64,
    /// In order, without gaps; at most [`crate::MAP_ENTRIES_MAX`].
    pub entries: Vec<MapEntry>,
}

/// The row of a map.
pub fn map(read: &(impl Read + ?Sized), id: MapId) -> Result<Option<MapRow>, DbError> {
    get(read, &numbered(MAP_TABLE, id.0))
}

/// Writes the row.
pub fn put_map(txn: &mut Txn<'_>, id: MapId, row: &MapRow) {
    put(txn, numbered(MAP_TABLE, id.0), row);
}

/// Deletes the row.
pub fn delete_map(txn: &mut Txn<'_>, id: MapId) {
    txn.delete(numbered(MAP_TABLE, id.0));
}
