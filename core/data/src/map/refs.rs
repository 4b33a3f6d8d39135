//! Making and dropping references, in the commit that stores or removes them.

use std::collections::BTreeMap;
use std::ops::Range;

use gw_db::{DbError, Read, Txn};
use gw_types::ports::WrappedDataKey;
use gw_types::{KeyId, MapId, SegmentSeq};

use super::layer::{HOLE, is_layer, layer_row, map_row};
use super::slice::slice_body;
use super::{DataMap, ENTRIES_INLINE_MAX, MAP_ENTRIES_MAX, MapBody, MapEntry, Piece};
use crate::rows::{self, MapRow, inconsistent};

/// Changes of live bytes, gathered so that each segment's row is written once, and not at all where what
/// is dropped is referred to again.
#[derive(Default)]
pub(super) struct Accounts {
    change: BTreeMap<SegmentSeq, i128>,
}

impl Accounts {
    pub(super) fn refer(&mut self, entries: &[MapEntry]) {
        self.count(entries, 1);
    }
    pub(super) fn drop(&mut self, entries: &[MapEntry]) {
        self.count(entries, -1);
    }
    fn count(&mut self, entries: &[MapEntry], sign: i128) {
        for entry in entries {
            if let Some(at) = &entry.at {
                *self.change.entry(at.segment).or_default() += sign * i128::from(entry.live_bytes());
            }
        }
    }
    pub(super) fn write(self, txn: &mut Txn<'_>) -> Result<(), DbError> {
        for (seq, change) in self.change {
            let mut row = rows::segment(txn, seq)?
                .ok_or_else(|| inconsistent(format!("a map names segment {seq}, which has no row")))?;
            if change == 0 {
                continue;
            }
            row.live_bytes = u64::try_from(i128::from(row.live_bytes) + change)
                .map_err(|_| inconsistent(format!("segment {seq} would have fewer than no live bytes")))?;
            txn.stream(row.stream);
            rows::put_segment(txn, seq, &row)?;
        }
        Ok(())
    }
}

/// Adds references to a map or a layer.
pub(super) fn add_refs(txn: &mut Txn<'_>, id: MapId, count: u64) -> Result<(), DbError> {
    if id == HOLE || count == 0 {
        return Ok(());
    }
    if is_layer(id) {
        let mut row = layer_row(txn, id)?;
        txn.stream(row.stream);
        row.refs += count;
        rows::put_layer(txn, id, &row);
    } else {
        let mut row = map_row(txn, id)?;
        row.refs += count;
        rows::put_map(txn, id, &row);
    }
    Ok(())
}

/// Drops references. Rows of entries go with their last; layers are left for [`super::tend`], as are
/// those that only one other layer may need now.
pub(super) fn drop_refs(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    id: MapId,
    count: u64,
) -> Result<(), DbError> {
    if id == HOLE || count == 0 {
        return Ok(());
    }
    let fewer =
        |refs: u64| refs.checked_sub(count).ok_or_else(|| inconsistent(format!("map {id} has no reference")));
    if is_layer(id) {
        let mut row = layer_row(txn, id)?;
        txn.stream(row.stream);
        row.refs = fewer(row.refs)?;
        rows::put_layer(txn, id, &row);
        if row.refs == 0 || rows::children(txn, id, 2)?.len() == 1 {
            rows::put_task(txn, id);
        }
        return Ok(());
    }
    let mut row = map_row(txn, id)?;
    row.refs = fewer(row.refs)?;
    if row.refs == 0 {
        accounts.drop(&row.entries);
        rows::delete_map(txn, id);
    } else {
        rows::put_map(txn, id, &row);
    }
    Ok(())
}

/// Drops what a body refers to.
pub(super) fn drop_body(txn: &mut Txn<'_>, accounts: &mut Accounts, body: &MapBody) -> Result<(), DbError> {
    match body {
        MapBody::Entries(entries) => accounts.drop(entries),
        MapBody::Pieces(pieces) => {
            for piece in pieces {
                drop_refs(txn, accounts, piece.map, 1)?;
            }
        }
    }
    Ok(())
}

/// Makes the map of freshly committed entries, whose live bytes their segments already count.
pub(crate) fn install(
    txn: &mut Txn<'_>,
    keys: Vec<(KeyId, WrappedDataKey)>,
    entries: Vec<MapEntry>,
) -> Result<DataMap, DbError> {
    let len = entries.iter().map(|entry| u64::from(entry.len)).sum();
    let body = if entries.len() <= ENTRIES_INLINE_MAX {
        MapBody::Entries(entries)
    } else {
        let mut pieces = Vec::new();
        put_rows(txn, &entries, &mut pieces)?;
        MapBody::Pieces(pieces)
    };
    Ok(DataMap { len, keys, body })
}

/// Puts entries into rows of their own, each with one reference, and appends the pieces.
pub(super) fn put_rows(
    txn: &mut Txn<'_>,
    entries: &[MapEntry],
    pieces: &mut Vec<Piece>,
) -> Result<(), DbError> {
    for entries in entries.chunks(MAP_ENTRIES_MAX) {
        let map = rows::next_map_id(txn)?;
        let len = entries.iter().map(|entry| u64::from(entry.len)).sum();
        rows::put_map(txn, map, &MapRow { refs: 1, entries: entries.to_vec() });
        pieces.push(Piece { len, map, skip: 0 });
    }
    Ok(())
}

impl DataMap {
    /// A second map of a part of the same bytes (a copy, a copied part). Both must be released.
    ///
    /// # Panics
    /// When the range leaves the body.
    pub fn share(&self, txn: &mut Txn<'_>, range: Range<u64>) -> Result<Self, DbError> {
        assert!(range.start <= range.end && range.end <= self.len, "a shared range lies in its body");
        let body = slice_body(&self.body, range.clone());
        let mut keys = self.keys.clone();
        match &body {
            MapBody::Entries(entries) => {
                let mut accounts = Accounts::default();
                accounts.refer(entries);
                accounts.write(txn)?;
                let used = |id: &KeyId| entries.iter().any(|entry| entry.at.is_some_and(|at| at.key == *id));
                keys.retain(|(id, _)| used(id));
            }
            MapBody::Pieces(pieces) => {
                for piece in pieces {
                    add_refs(txn, piece.map, 1)?;
                }
            }
        }
        Ok(Self { len: range.end - range.start, keys, body })
    }

    /// Drops the references of a map that its row no longer holds. Bytes that nobody else refers to
    /// are dead from this commit on.
    pub fn release(&self, txn: &mut Txn<'_>) -> Result<(), DbError> {
        let mut accounts = Accounts::default();
        drop_body(txn, &mut accounts, &self.body)?;
        accounts.write(txn)
    }

    /// One map of several bodies, one behind the other (completing a multipart upload). References
    /// pass over; no count changes. Entries of neighbours are packed into common rows, so ten
    /// thousand parts make some dozen rows.
    pub fn concat(txn: &mut Txn<'_>, maps: Vec<Self>) -> Result<Self, DbError> {
        let mut len = 0;
        let mut keys = BTreeMap::new();
        let mut pieces = Vec::new();
        let mut entries = Vec::new();
        for map in maps {
            len += map.len;
            keys.extend(map.keys);
            match map.body {
                MapBody::Entries(more) => entries.extend(more),
                MapBody::Pieces(more) => {
                    put_rows(txn, &std::mem::take(&mut entries), &mut pieces)?;
                    pieces.extend(more);
                }
            }
        }
        let body = if pieces.is_empty() && entries.len() <= ENTRIES_INLINE_MAX {
            MapBody::Entries(entries)
        } else {
            put_rows(txn, &entries, &mut pieces)?;
            MapBody::Pieces(pieces)
        };
        Ok(Self { len, keys: keys.into_iter().collect(), body })
    }

    /// All entries of a range, in order, those of rows included. For tools, placement and compaction;
    /// readers walk piece by piece.
    pub fn entries(&self, read: &(impl Read + ?Sized), range: Range<u64>) -> Result<Vec<MapEntry>, DbError> {
        match slice_body(&self.body, range) {
            MapBody::Entries(entries) => Ok(entries),
            MapBody::Pieces(pieces) => {
                let mut out = Vec::new();
                for piece in pieces {
                    out.extend(piece.entries(read)?);
                }
                Ok(out)
            }
        }
    }

    /// The body of a range, unresolved.
    pub(crate) fn slice(&self, range: Range<u64>) -> MapBody {
        slice_body(&self.body, range)
    }
}
