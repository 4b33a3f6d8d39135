//! Making and dropping references, in the commit that stores or removes them.

use std::collections::BTreeMap;
use std::ops::Range;

use gw_db::{DbError, Read, Txn};
use gw_types::ports::WrappedDataKey;
use gw_types::{KeyId, MapId, SegmentSeq};

use super::slice::{slice_body, slice_entries};
use super::{DataMap, ENTRIES_INLINE_MAX, MAP_ENTRIES_MAX, MapBody, MapEntry, Piece};
use crate::rows::{self, MapRow, inconsistent};

/// Changes of live bytes, gathered so that each segment's row is written once.
#[derive(Default)]
struct Accounts {
    more: BTreeMap<SegmentSeq, u64>,
    less: BTreeMap<SegmentSeq, u64>,
}

impl Accounts {
    fn refer(&mut self, entries: &[MapEntry]) {
        for entry in entries {
            if let Some(at) = &entry.at {
                *self.more.entry(at.segment).or_default() += entry.live_bytes();
            }
        }
    }
    fn drop(&mut self, entries: &[MapEntry]) {
        for entry in entries {
            if let Some(at) = &entry.at {
                *self.less.entry(at.segment).or_default() += entry.live_bytes();
            }
        }
    }
    fn write(self, txn: &mut Txn<'_>) -> Result<(), DbError> {
        let segments: std::collections::BTreeSet<_> =
            self.more.keys().chain(self.less.keys()).copied().collect();
        for seq in segments {
            let mut row = rows::segment(txn, seq)?
                .ok_or_else(|| inconsistent(format!("a map names segment {seq}, which has no row")))?;
            let more = self.more.get(&seq).copied().unwrap_or_default();
            let less = self.less.get(&seq).copied().unwrap_or_default();
            row.live_bytes = (row.live_bytes + more)
                .checked_sub(less)
                .ok_or_else(|| inconsistent(format!("segment {seq} would have fewer than no live bytes")))?;
            rows::put_segment(txn, seq, &row)?;
        }
        Ok(())
    }
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
fn put_rows(txn: &mut Txn<'_>, entries: &[MapEntry], pieces: &mut Vec<Piece>) -> Result<(), DbError> {
    for entries in entries.chunks(MAP_ENTRIES_MAX) {
        let map = rows::next_map_id(txn)?;
        let len = entries.iter().map(|entry| u64::from(entry.len)).sum();
        rows::put_map(txn, map, &MapRow { refs: 1, entries: entries.to_vec() });
        pieces.push(Piece { len, map, skip: 0 });
    }
    Ok(())
}

fn map_row(read: &(impl Read + ?Sized), id: MapId) -> Result<MapRow, DbError> {
    rows::map(read, id)?.ok_or_else(|| inconsistent(format!("map {id} is referred to and has no row")))
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
                    let mut row = map_row(txn, piece.map)?;
                    row.refs += 1;
                    rows::put_map(txn, piece.map, &row);
                }
            }
        }
        Ok(Self { len: range.end - range.start, keys, body })
    }

    /// Drops the references of a map that its row no longer holds. Bytes that nobody else refers to
    /// are dead from this commit on.
    pub fn release(&self, txn: &mut Txn<'_>) -> Result<(), DbError> {
        let mut accounts = Accounts::default();
        match &self.body {
            MapBody::Entries(entries) => accounts.drop(entries),
            MapBody::Pieces(pieces) => {
                for piece in pieces {
                    let mut row = map_row(txn, piece.map)?;
                    row.refs = row
                        .refs
                        .checked_sub(1)
                        .ok_or_else(|| inconsistent(format!("map {} has no reference", piece.map)))?;
                    if row.refs == 0 {
                        accounts.drop(&row.entries);
                        rows::delete_map(txn, piece.map);
                    } else {
                        rows::put_map(txn, piece.map, &row);
                    }
                }
            }
        }
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

impl Piece {
    /// The entries that the piece shows.
    pub(crate) fn entries(&self, read: &(impl Read + ?Sized)) -> Result<Vec<MapEntry>, DbError> {
        let row = map_row(read, self.map)?;
        Ok(slice_entries(&row.entries, self.skip..self.skip + self.len))
    }
}
