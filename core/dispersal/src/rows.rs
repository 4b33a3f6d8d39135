//! Dispersal's own rows, tables 0x60 to 0x62. They are written in records of [`LOCAL`], so they
//! never travel: a restore makes them anew from the chain.
//!
//! ```text
//!   0x60 | last LSN (BE)     -> CutRow      a cut of the log that is not finalized yet
//!   0x61                     -> MarksRow    watermarks, and where the next part goes on
//!   0x62 | fid               -> AttemptRow  a declaration that was sent and has not been seen yet
//!
//!   value  version u8 (1) | postcard of the row
//! ```

use gw_db::{DbError, Read, Txn};
use gw_types::ports::Row;
use gw_types::{Fid, Hash32, Lsn, PortError, PortErrorKind, StreamId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::log::LeftOut;
use crate::watermark::Needs;

/// The stream of records that stay at home: they change no name and no byte of a user.
pub const LOCAL: StreamId = gw_data::LOCAL_STREAM;

const CUT: u8 = 0x60;
const MARKS: u8 = 0x61;
const ATTEMPT: u8 = 0x62;
const VERSION: u8 = 1;

/// A cut of the log whose segments are not all finalized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutRow {
    /// Log segments and every segment its records name.
    pub needs: Needs,
}

/// How far every stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksRow {
    /// Everything up to here is held by its miners.
    pub dispersed: Lsn,
    /// Everything up to here is in Active deals.
    pub finalized: Lsn,
    /// Everything up to here stands in log segments.
    pub cut_to: Lsn,
    /// Number of the next log part.
    pub next_part: u64,
    /// SHA-256 of the last log segment; zeros before the first.
    pub prev: Hash32,
    /// What the next part must say of records that a restore had to leave out.
    pub left_out: Vec<LeftOut>,
}

impl Default for MarksRow {
    fn default() -> Self {
        Self {
            dispersed: Lsn(0),
            finalized: Lsn(0),
            cut_to: Lsn(0),
            next_part: 0,
            prev: Hash32([0; 32]),
            left_out: Vec::new(),
        }
    }
}

/// A declaration that was handed to the chain and has not been seen there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// The newest finalized block right before it was sent.
    pub block: u32,
}

/// Reads the marks; the default where nothing was ever cut.
pub fn marks(read: &impl Read) -> Result<MarksRow, DbError> {
    Ok(read.get(&[MARKS])?.map(|value| decode(&value)).transpose()?.unwrap_or_default())
}

/// Writes the marks.
pub fn put_marks(txn: &mut Txn<'_>, row: &MarksRow) {
    txn.put(vec![MARKS], encode(row));
}

/// The marks as a restore writes them.
pub fn restored_marks(row: &MarksRow) -> Row {
    (vec![MARKS], encode(row))
}

/// All cuts that are not finalized, in order.
pub fn cuts(read: &impl Read) -> Result<Vec<(Lsn, CutRow)>, DbError> {
    let rows = read.scan(&[CUT], &[CUT + 1], false, usize::MAX)?;
    rows.into_iter().map(|(key, value)| Ok((cut_lsn(&key)?, decode(&value)?))).collect()
}

/// Writes a cut.
pub fn put_cut(txn: &mut Txn<'_>, last: Lsn, row: &CutRow) {
    txn.put(cut_key(last), encode(row));
}

/// Forgets a cut: it is finalized, or part of a larger one.
pub fn delete_cut(txn: &mut Txn<'_>, last: Lsn) {
    txn.delete(cut_key(last));
}

/// The attempt at a deal, if one is open.
pub fn attempt(read: &impl Read, fid: Fid) -> Result<Option<AttemptRow>, DbError> {
    read.get(&attempt_key(fid))?.map(|value| decode(&value)).transpose()
}

/// Writes an attempt.
pub fn put_attempt(txn: &mut Txn<'_>, fid: Fid, row: AttemptRow) {
    txn.put(attempt_key(fid), encode(&row));
}

/// Forgets an attempt: the chain has the deal, or will never have it.
pub fn delete_attempt(txn: &mut Txn<'_>, fid: Fid) -> Result<(), DbError> {
    if txn.get(&attempt_key(fid))?.is_some() {
        txn.delete(attempt_key(fid));
    }
    Ok(())
}

fn attempt_key(fid: Fid) -> Vec<u8> {
    let mut key = vec![ATTEMPT];
    key.extend_from_slice(&fid.0.0);
    key
}

fn cut_key(last: Lsn) -> Vec<u8> {
    let mut key = vec![CUT];
    key.extend_from_slice(&last.0.to_be_bytes());
    key
}

fn cut_lsn(key: &[u8]) -> Result<Lsn, DbError> {
    let bytes = key.get(1..).and_then(|rest| <[u8; 8]>::try_from(rest).ok());
    bytes.map(|bytes| Lsn(u64::from_be_bytes(bytes))).ok_or_else(|| garbled("a cut's key"))
}

fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend(postcard::to_stdvec(row).expect("a row has no type that postcard refuses"));
    value
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, DbError> {
    match value.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| garbled("a dispersal row")),
        _ => Err(garbled("a dispersal row")),
    }
}

fn garbled(what: &str) -> DbError {
    DbError::Port(PortError::definite(PortErrorKind::Corrupt, format!("{what} does not decode")))
}
