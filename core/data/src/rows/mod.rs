//! Rows of the data layer in the database, tables 0x40..=0x49, with typed access on snapshots and in
//! commits.
//!
//! ```text
//!   0x40 segment  40 | SegmentSeq u64 be                    -> SegmentRow
//!   0x41 deal     41 | fid, 32 bytes                        -> DealRow
//!   0x42 map      42 | MapId u64 be                         -> MapRow
//!   0x43 moved    43 | SegmentSeq u64 be                    -> MovedRow
//!   0x44 counter  44 | 'e' epoch, 'm' map, 's' segment      -> u64
//!   0x45..=0x49   layers: `layer.rs`, `leaf_codec.rs`
//!
//!   value         version u8 (1) | postcard of the row
//! ```
//!
//! Keys are big-endian, so a scan is in order of number. Rows are absolute: whoever changes one reads
//! it in the same commit. No per-extent rows exist: which bytes of a segment are alive is known by
//! the maps that name them (see [`MovedRow`]).

mod deal;
mod layer;
mod leaf_codec;
mod map;
mod moved;
pub mod restored;
mod segment;

use gw_db::{DbError, Read, Txn};
use gw_types::{MapId, SegmentSeq};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use deal::{DealRow, DealState, deal, deals, delete_deal, put_deal};
pub use layer::{LayerRow, layer};
pub(crate) use layer::{
    base, children, delete_layer, delete_leaf, delete_link, delete_task, leaf, leaves, next_task, put_base,
    put_layer, put_leaf, put_link, put_task,
};
pub(crate) use leaf_codec::decode_leaf;
pub use map::{MapRow, delete_map, map, put_map};
pub use moved::{MovedRange, MovedRow, delete_moved, moved, put_moved};
pub use segment::{
    Filled, LaneClass, SegmentRow, SegmentState, StripeRow, delete_segment, put_segment, segment, segments,
};

/// Table of segments.
pub const SEGMENT_TABLE: u8 = 0x40;
/// Table of deals.
pub const DEAL_TABLE: u8 = 0x41;
/// Table of extent maps.
pub const MAP_TABLE: u8 = 0x42;
/// Table of moved segments.
pub const MOVED_TABLE: u8 = 0x43;
/// Table of counters.
pub const COUNTER_TABLE: u8 = 0x44;
/// Table of layers.
pub const LAYER_TABLE: u8 = 0x45;
/// Table of leaves of layers.
pub const LEAF_TABLE: u8 = 0x46;
/// Table of what layers stand on.
pub const BASE_TABLE: u8 = 0x47;
/// Table of which layers stand on which.
pub const LINK_TABLE: u8 = 0x48;
/// Table of layers that wait to be tended.
pub const TASK_TABLE: u8 = 0x49;

const VERSION: u8 = 1;

/// A counter of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// The epoch of extent and key ids: at least one more at each open, also after a restore.
    Epoch,
    /// Half of the last map id.
    Map,
    /// The highest segment that any commit has named.
    Segment,
}

impl Counter {
    fn key(self) -> Vec<u8> {
        let name = match self {
            Self::Epoch => b'e',
            Self::Map => b'm',
            Self::Segment => b's',
        };
        vec![COUNTER_TABLE, name]
    }
}

/// The value of a counter; 0 when it was never set.
pub(crate) fn counter(read: &(impl Read + ?Sized), counter: Counter) -> Result<u64, DbError> {
    get(read, &counter.key()).map(Option::unwrap_or_default)
}

pub(crate) fn put_counter(txn: &mut Txn<'_>, counter: Counter, value: u64) {
    put(txn, counter.key(), &value);
}

/// Takes the next map id. Rows of entries have even ids, layers odd ones, and 0 is a hole: so a piece
/// needs no word for what it refers to.
pub(crate) fn next_map_id(txn: &mut Txn<'_>) -> Result<MapId, DbError> {
    let next = counter(txn, Counter::Map)? + 1;
    put_counter(txn, Counter::Map, next);
    Ok(MapId(next << 1))
}

/// Takes the next id of a layer.
pub(crate) fn next_layer_id(txn: &mut Txn<'_>) -> Result<MapId, DbError> {
    next_map_id(txn).map(|id| MapId(id.0 | 1))
}

fn numbered(table: u8, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(table);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn number_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.get(1..)?.first_chunk()?))
}

pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_extend(row, vec![VERSION]).expect("our rows are plain data, which postcard always takes")
}

pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, DbError> {
    let (version, row) = value.split_first().ok_or_else(|| corrupt(key, "empty"))?;
    if *version != VERSION {
        return Err(corrupt(key, "of a version that this program does not know"));
    }
    postcard::from_bytes(row).map_err(|_| corrupt(key, "not what it must be"))
}

fn corrupt(key: &[u8], what: &str) -> DbError {
    let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    DbError::Corrupt { file: format!("row {name}"), offset: 0, what: format!("the value is {what}") }
}

fn get<T: DeserializeOwned>(read: &(impl Read + ?Sized), key: &[u8]) -> Result<Option<T>, DbError> {
    read.get(key)?.map(|value| decode(key, &value)).transpose()
}

fn put<T: Serialize>(txn: &mut Txn<'_>, key: Vec<u8>, row: &T) {
    txn.put(key, encode(row));
}

/// A broken invariant found in rows.
pub(crate) fn inconsistent(what: impl Into<String>) -> DbError {
    DbError::Corrupt { file: "data rows".into(), offset: 0, what: what.into() }
}

/// The rows of a table from a number on, in order.
fn scan_numbered<T: DeserializeOwned>(
    read: &(impl Read + ?Sized),
    table: u8,
    from: u64,
    limit: usize,
) -> Result<Vec<(u64, T)>, DbError> {
    let rows = read.scan(&numbered(table, from), &[table + 1], false, limit)?;
    let typed = rows.into_iter().map(|(key, value)| {
        let number = number_of(&key).ok_or_else(|| corrupt(&key, "under a short key"))?;
        Ok((number, decode(&key, &value)?))
    });
    typed.collect()
}

/// Every segment row from `from` on, page by page.
pub(crate) fn for_each_segment<E: From<DbError>>(
    read: &(impl Read + ?Sized),
    mut act: impl FnMut(SegmentSeq, SegmentRow) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = SegmentSeq(0);
    loop {
        let page = segments(read, from, 512)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = last.next();
        for (seq, row) in page {
            act(seq, row)?;
        }
    }
}

#[cfg(test)]
mod tests;
