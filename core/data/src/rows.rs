//! Rows of the data layer, tables 0x40 to 0x43: a version byte and postcard behind it.
//!
//! ```text
//!   0x40 | SegmentSeq (BE) -> SegmentRow
//!   0x41 | fid (32)        -> DealRow
//!   0x42 | MapId (BE)      -> MapRow
//!   0x43 | SegmentSeq (BE) -> MovedRow
//! ```

use gw_db::{DbError, Read, Txn};
use gw_types::ports::{MinerAddr, StripeHashes};
use gw_types::{FRAGMENTS, Fid, Hash32, Level, MapId, PortError, PortErrorKind, SegmentSeq, StreamId, TerritoryName, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::map::MapEntry;

/// Table of segments.
pub const SEGMENT: u8 = 0x40;
/// Table of deals.
pub const DEAL: u8 = 0x41;
/// Table of shared maps.
pub const MAP: u8 = 0x42;
/// Table of moves.
pub const MOVED: u8 = 0x43;

const VERSION: u8 = 1;

/// What a segment is for. Segments of different classes never share bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LaneClass {
    /// Bodies that are written straight to the segment file.
    Bulk,
    /// Small bodies that travel in journal records.
    Inline,
    /// The log itself.
    Log,
    /// Bytes moved by compaction.
    Gc,
    /// Volumes.
    Volume,
}

/// How far a segment is. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SegmentState {
    /// It still takes bytes.
    Open,
    /// It never changes again.
    Sealed,
    /// Held by its twelve miners.
    Dispersed,
    /// In an Active deal.
    Finalized,
}

impl SegmentState {
    /// The durability level that bytes in such a segment have by it; `None` while only staged.
    pub fn level(self) -> Option<Level> {
        match self {
            Self::Open | Self::Sealed => None,
            Self::Dispersed => Some(Level::Dispersed),
            Self::Finalized => Some(Level::Finalized),
        }
    }
}

/// A segment of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// What it is for.
    pub class: LaneClass,
    /// Whose watermark its bytes move.
    pub stream: StreamId,
    /// How far it is.
    pub state: SegmentState,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Sealed bytes placed in it.
    pub used_bytes: u64,
    /// Of them, bytes that some map names (bytes named twice count twice).
    pub live_bytes: u64,
    /// Hashes of its stripe, once sealed and striped: the segment's and its twelve fragments'.
    pub stripe: Option<(Hash32, [Hash32; FRAGMENTS])>,
    /// The deal that carries it, and its place in that deal.
    pub deal: Option<(Fid, u16)>,
    /// Whether its file is on this disk.
    pub local: bool,
}

impl SegmentRow {
    /// Keeps the hashes of its stripe.
    pub fn set_stripe(&mut self, hashes: &StripeHashes) {
        self.stripe = Some((hashes.segment, hashes.fragments));
    }
}

/// How far a deal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DealState {
    /// Meant; perhaps declared.
    Intent,
    /// Declared in a finalized block.
    Declared,
    /// A file on chain.
    Active,
}

/// A deal of ours and the placement of its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealRow {
    /// In order.
    pub segments: Vec<SegmentSeq>,
    /// Who holds (or shall hold) each column: twelve, in order of fragment index.
    pub miners: Vec<MinerAddr>,
    /// How far it is.
    pub state: DealState,
    /// Where its space comes from.
    pub territory: TerritoryName,
    /// Its name on chain.
    pub file_name: String,
    /// When it was meant.
    pub made_at: Timestamp,
}

/// A map in a row of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRow {
    /// Bodies and parts that name it.
    pub refs: u32,
    /// In order of offset, without gaps.
    pub entries: Vec<MapEntry>,
}

/// Where compaction has put what a segment held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRow {
    /// (old offset, length, new segment, new offset) in order of old offset.
    pub runs: Vec<(u32, u32, SegmentSeq, u32)>,
}

/// A segment's row.
pub fn segment(read: &impl Read, seq: SegmentSeq) -> Result<Option<SegmentRow>, DbError> {
    get(read, &seq_key(SEGMENT, seq.0))
}

/// All segments from `from` on, at most `limit`, in order.
pub fn segments(read: &impl Read, from: SegmentSeq, limit: usize) -> Result<Vec<(SegmentSeq, SegmentRow)>, DbError> {
    let rows = read.scan(&seq_key(SEGMENT, from.0), &[SEGMENT + 1], false, limit)?;
    rows.iter().map(|(key, value)| Ok((SegmentSeq(key_seq(key)?), decode(value)?))).collect()
}

/// Writes a segment's row.
pub fn put_segment(txn: &mut Txn<'_>, seq: SegmentSeq, row: &SegmentRow) {
    txn.put(seq_key(SEGMENT, seq.0), encode(row));
}

/// Forgets a segment.
pub fn delete_segment(txn: &mut Txn<'_>, seq: SegmentSeq) {
    txn.delete(seq_key(SEGMENT, seq.0));
}

/// A deal's row.
pub fn deal(read: &impl Read, fid: Fid) -> Result<Option<DealRow>, DbError> {
    get(read, &deal_key(fid))
}

/// All deals.
pub fn deals(read: &impl Read) -> Result<Vec<(Fid, DealRow)>, DbError> {
    let rows = read.scan(&[DEAL], &[DEAL + 1], false, usize::MAX)?;
    rows.iter()
        .map(|(key, value)| {
            let fid = key.get(1..).and_then(|rest| <[u8; 32]>::try_from(rest).ok()).ok_or_else(garbled)?;
            Ok((Fid(Hash32(fid)), decode(value)?))
        })
        .collect()
}

/// Writes a deal's row.
pub fn put_deal(txn: &mut Txn<'_>, fid: Fid, row: &DealRow) {
    txn.put(deal_key(fid), encode(row));
}

/// Forgets a deal.
pub fn delete_deal(txn: &mut Txn<'_>, fid: Fid) {
    txn.delete(deal_key(fid));
}

/// A shared map's row.
pub fn map(read: &impl Read, id: MapId) -> Result<Option<MapRow>, DbError> {
    get(read, &seq_key(MAP, id.0))
}

/// Writes a shared map's row.
pub fn put_map(txn: &mut Txn<'_>, id: MapId, row: &MapRow) {
    txn.put(seq_key(MAP, id.0), encode(row));
}

/// Forgets a shared map.
pub fn delete_map(txn: &mut Txn<'_>, id: MapId) {
    txn.delete(seq_key(MAP, id.0));
}

/// Where a compacted segment's bytes went.
pub fn moved(read: &impl Read, seq: SegmentSeq) -> Result<Option<MovedRow>, DbError> {
    get(read, &seq_key(MOVED, seq.0))
}

/// Writes where a compacted segment's bytes went.
pub fn put_moved(txn: &mut Txn<'_>, seq: SegmentSeq, row: &MovedRow) {
    txn.put(seq_key(MOVED, seq.0), encode(row));
}

fn get<T: DeserializeOwned>(read: &impl Read, key: &[u8]) -> Result<Option<T>, DbError> {
    read.get(key)?.map(|value| decode(&value)).transpose()
}

fn seq_key(table: u8, seq: u64) -> Vec<u8> {
    let mut key = vec![table];
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

fn key_seq(key: &[u8]) -> Result<u64, DbError> {
    let bytes = key.get(1..).and_then(|rest| <[u8; 8]>::try_from(rest).ok());
    bytes.map(u64::from_be_bytes).ok_or_else(garbled)
}

fn deal_key(fid: Fid) -> Vec<u8> {
    let mut key = vec![DEAL];
    key.extend_from_slice(&fid.0.0);
    key
}

pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend(postcard::to_stdvec(row).expect("a row has no type that postcard refuses"));
    value
}

pub(crate) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, DbError> {
    match value.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| garbled()),
        _ => Err(garbled()),
    }
}

fn garbled() -> DbError {
    DbError::Port(PortError::definite(PortErrorKind::Corrupt, "a row of the data tables does not decode"))
}
