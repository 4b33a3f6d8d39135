//! Deals: segments that went to the chain as one file, and who holds their fragments.

use gw_db::{DbError, Read, Txn};
use gw_types::ports::MinerAddr;
use gw_types::{FRAGMENTS, Fid, Hash32, SegmentSeq, TerritoryName, Timestamp};
use serde::{Deserialize, Serialize};

use super::{DEAL_TABLE, corrupt, decode, get, put};

/// How far a deal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DealState {
    /// Written down here; the chain may or may not know it yet.
    Intent,
    /// Declared in a finalized block.
    Declared,
    /// A file on chain.
    Active,
}

/// One deal. Fragment i of every segment is held by `miners[i]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealRow {
    /// In order of their index in the deal.
    pub segments: Vec<SegmentSeq>,
    /// The placement.
    pub miners: [MinerAddr; FRAGMENTS],
    /// How far it has come.
    pub state: DealState,
    /// Where its space comes from.
    pub territory: TerritoryName,
    /// Its name on chain.
    pub file_name: String,
    /// When it was declared, by our clock.
    pub declared_at: Timestamp,
}

fn key(fid: Fid) -> Vec<u8> {
    let mut key = Vec::with_capacity(33);
    key.push(DEAL_TABLE);
    key.extend_from_slice(&fid.0.0);
    key
}

/// The row of a deal.
pub fn deal(read: &(impl Read + ?Sized), fid: Fid) -> Result<Option<DealRow>, DbError> {
    get(read, &key(fid))
}

/// Up to `limit` deals behind `after`, in order of fid.
pub fn deals(
    read: &(impl Read + ?Sized),
    after: Option<Fid>,
    limit: usize,
) -> Result<Vec<(Fid, DealRow)>, DbError> {
    let from = after.map_or_else(
        || vec![DEAL_TABLE],
        |fid| {
            let mut key = key(fid);
            key.push(0);
            key
        },
    );
    let rows = read.scan(&from, &[DEAL_TABLE + 1], false, limit)?;
    let typed = rows.into_iter().map(|(key, value)| {
        let fid = key.get(1..).and_then(|fid| <[u8; 32]>::try_from(fid).ok());
        let fid = fid.ok_or_else(|| corrupt(&key, "under a key that is no fid"))?;
        Ok((Fid(Hash32(fid)), decode(&key, &value)?))
    });
    typed.collect()
}

/// Writes the row.
pub fn put_deal(txn: &mut Txn<'_>, fid: Fid, row: &DealRow) {
    put(txn, key(fid), row);
}

/// Deletes the row.
pub fn delete_deal(txn: &mut Txn<'_>, fid: Fid) {
    txn.delete(key(fid));
}
