//! Layers: maps that change in place. What each row is for is told in `crate::map::layer`.
//!
//! ```text
//!   45 layer   45 | LayerId u64 be                      -> LayerRow
//!   46 leaf    46 | store u64 be | index u64 be         -> version | entries (see `leaf_codec`)
//!   47 base    47 | LayerId u64 be                      -> Vec<Piece>
//!   48 link    48 | parent u64 be | child u64 be        -> ()
//!   49 task    49 | LayerId u64 be                      -> ()
//! ```
//!
//! The base stands in a row of its own because it may be long and seldom changes, while the layer's
//! row changes with each leaf that comes or goes.

use gw_db::{DbError, Read, Txn};
use gw_types::{MapId, StreamId};
use serde::{Deserialize, Serialize};

use super::leaf_codec::{decode_leaf, encode_leaf};
use super::{BASE_TABLE, LAYER_TABLE, LEAF_TABLE, LINK_TABLE, TASK_TABLE, corrupt, get, numbered, put};
use crate::map::{MapEntry, Piece};

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Pieces of maps and of other layers' bases that refer to it; 0: it waits to be deleted.
    pub refs: u64,
    /// Leaf rows under `store`.
    pub leaves: u64,
    /// The number that its leaves stand under: its own, or that of a layer it has taken over.
    pub store: MapId,
    /// The stream whose commits change it.
    pub stream: StreamId,
}

fn pair(table: u8, first: u64, second: u64) -> Vec<u8> {
    let mut key = numbered(table, first);
    key.extend_from_slice(&second.to_be_bytes());
    key
}

fn second_of(key: &[u8]) -> Result<u64, DbError> {
    let second = key.get(9..).and_then(|second| second.try_into().ok());
    second.map(u64::from_be_bytes).ok_or_else(|| corrupt(key, "under a short key"))
}

/// The row of a layer.
pub fn layer(read: &(impl Read + ?Sized), id: MapId) -> Result<Option<LayerRow>, DbError> {
    get(read, &numbered(LAYER_TABLE, id.0))
}

pub(crate) fn put_layer(txn: &mut Txn<'_>, id: MapId, row: &LayerRow) {
    put(txn, numbered(LAYER_TABLE, id.0), row);
}

pub(crate) fn delete_layer(txn: &mut Txn<'_>, id: MapId) {
    txn.delete(numbered(LAYER_TABLE, id.0));
    txn.delete(numbered(BASE_TABLE, id.0));
}

/// What shows where a layer has no leaf; behind its end are holes.
pub(crate) fn base(read: &(impl Read + ?Sized), id: MapId) -> Result<Vec<Piece>, DbError> {
    Ok(get(read, &numbered(BASE_TABLE, id.0))?.unwrap_or_default())
}

pub(crate) fn put_base(txn: &mut Txn<'_>, id: MapId, base: &Vec<Piece>) {
    if base.is_empty() {
        txn.delete(numbered(BASE_TABLE, id.0));
    } else {
        put(txn, numbered(BASE_TABLE, id.0), base);
    }
}

/// A leaf; what lies behind its entries is a hole.
pub(crate) fn leaf(
    read: &(impl Read + ?Sized),
    store: MapId,
    index: u64,
) -> Result<Option<Vec<MapEntry>>, DbError> {
    let key = pair(LEAF_TABLE, store.0, index);
    read.get(&key)?.map(|value| decode_leaf(&key, &value)).transpose()
}

pub(crate) fn put_leaf(txn: &mut Txn<'_>, store: MapId, index: u64, entries: &[MapEntry]) {
    txn.put(pair(LEAF_TABLE, store.0, index), encode_leaf(entries));
}

pub(crate) fn delete_leaf(txn: &mut Txn<'_>, store: MapId, index: u64) {
    txn.delete(pair(LEAF_TABLE, store.0, index));
}

/// Up to `limit` leaves with `from <= index < to`, in order.
pub(crate) fn leaves(
    read: &(impl Read + ?Sized),
    store: MapId,
    (from, to): (u64, u64),
    limit: usize,
) -> Result<Vec<(u64, Vec<MapEntry>)>, DbError> {
    if from >= to {
        return Ok(Vec::new());
    }
    let rows = read.scan(&pair(LEAF_TABLE, store.0, from), &pair(LEAF_TABLE, store.0, to), false, limit)?;
    rows.into_iter().map(|(key, value)| Ok((second_of(&key)?, decode_leaf(&key, &value)?))).collect()
}

pub(crate) fn put_link(txn: &mut Txn<'_>, parent: MapId, child: MapId) {
    put(txn, pair(LINK_TABLE, parent.0, child.0), &());
}

pub(crate) fn delete_link(txn: &mut Txn<'_>, parent: MapId, child: MapId) {
    txn.delete(pair(LINK_TABLE, parent.0, child.0));
}

/// Up to `limit` layers whose bases refer to this one.
pub(crate) fn children(
    read: &(impl Read + ?Sized),
    parent: MapId,
    limit: usize,
) -> Result<Vec<MapId>, DbError> {
    let (from, to) = (pair(LINK_TABLE, parent.0, 0), pair(LINK_TABLE, parent.0, u64::MAX));
    let rows = read.scan(&from, &to, false, limit)?;
    rows.iter().map(|(key, _)| second_of(key).map(MapId)).collect()
}

pub(crate) fn put_task(txn: &mut Txn<'_>, id: MapId) {
    put(txn, numbered(TASK_TABLE, id.0), &());
}

pub(crate) fn delete_task(txn: &mut Txn<'_>, id: MapId) {
    txn.delete(numbered(TASK_TABLE, id.0));
}

/// The first layer behind `after` that waits to be tended.
pub(crate) fn next_task(read: &(impl Read + ?Sized), after: MapId) -> Result<Option<MapId>, DbError> {
    let rows = read.scan(&numbered(TASK_TABLE, after.0 + 1), &[TASK_TABLE + 1], false, 1)?;
    Ok(rows.first().and_then(|(key, _)| super::number_of(key)).map(MapId))
}
