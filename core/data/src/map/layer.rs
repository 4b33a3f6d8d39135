//! Layers: maps that change in place, and what they show.
//!
//! The map of a file that is being written is one piece of a *layer*: an unbounded, sparse map whose
//! rows are *leaves* of [`LEAF_BYTES`] each. Only leaves that hold something are there, and where a layer
//! has none, its *base* shows: pieces of other layers, or of rows of entries (an object that was put).
//! The first write to a leaf copies its entries, never its bytes.
//!
//! ```text
//!   inode --> layer 9   . . L . L .          one piece: { len, map 9, skip 0 }
//!               | base
//!   snapshot -> layer 5   L . L . . L        frozen: two refer to it
//!                 | base
//!   object ---> map 4     e e e e e          rows of entries never change
//! ```
//!
//! A layer changes in place only while one map alone refers to it (`refs == 1`). Sharing it
//! ([`DataMap::share`]) is one more reference, and freezes it: whoever writes next begins an empty layer
//! on it. So snapshots, clones and publishing cost the same for any size. When all references of a layer
//! are those of one other layer's base, nobody looks at it any more but through that one, and the two
//! become one in steps of bounded size ([`super::tend`]); so chains stay as long as there are frozen
//! states to keep. Deleting is a reference less; the leaves are let go in steps, too.
//!
//! What stands in a layer behind the length of the map that shows it is nobody's business: whoever
//! makes the map longer clears it first ([`DataMap::resize`]).
//!
//! Resources: an overwrite of 4 KiB rewrites one leaf (some 800 bytes where every block was written for
//! itself, 20 where a mebibyte was written at once); a full tebibyte of random blocks has 3.4 GB of
//! leaves, one of long extents 200 MB.

use std::ops::Range;

use gw_db::{DbError, Read};
use gw_types::MapId;

use super::slice::{cut_entry, push_hole, slice_entries, slice_pieces};
use super::{DataMap, MapBody, MapEntry, Piece};
use crate::rows::{self, LayerRow, MapRow, inconsistent};

/// Bytes that a leaf covers. A part of the format; small in tests of this crate, so that the model that
/// holds every byte can have many leaves.
pub const LEAF_BYTES: u64 = if cfg!(test) { 64 } else { 256 << 10 };

/// A piece of this map is a hole.
pub(crate) const HOLE: MapId = MapId(0);

/// Leaves read at a time.
const PAGE_LEAVES: usize = 256;

/// Bytes resolved at a time where a range may be long.
pub(crate) const STRIDE_BYTES: u64 = 64 * LEAF_BYTES;

pub(crate) fn is_layer(id: MapId) -> bool {
    id.0 & 1 == 1
}

pub(super) fn layer_row(read: &(impl Read + ?Sized), id: MapId) -> Result<LayerRow, DbError> {
    rows::layer(read, id)?.ok_or_else(|| inconsistent(format!("layer {id} is referred to and has no row")))
}

pub(super) fn map_row(read: &(impl Read + ?Sized), id: MapId) -> Result<MapRow, DbError> {
    rows::map(read, id)?.ok_or_else(|| inconsistent(format!("map {id} is referred to and has no row")))
}

impl Piece {
    /// The entries that the piece shows.
    pub(crate) fn entries(&self, read: &(impl Read + ?Sized)) -> Result<Vec<MapEntry>, DbError> {
        let mut out = Vec::new();
        self.entries_into(read, &mut out)?;
        Ok(out)
    }

    /// Splits off what can be resolved at once: all of it, but for layers.
    pub(crate) fn split_stride(self) -> (Self, Option<Self>) {
        if !is_layer(self.map) {
            return (self, None);
        }
        let len = (STRIDE_BYTES - self.skip % STRIDE_BYTES).min(self.len);
        let rest = Self { len: self.len - len, skip: self.skip + len, ..self };
        (Self { len, ..self }, (rest.len > 0).then_some(rest))
    }

    pub(super) fn entries_into(
        &self,
        read: &(impl Read + ?Sized),
        out: &mut Vec<MapEntry>,
    ) -> Result<(), DbError> {
        let range = self.skip..self.skip + self.len;
        if self.map == HOLE {
            push_hole(out, self.len);
        } else if is_layer(self.map) {
            layer_entries(read, self.map, range, out)?;
        } else {
            out.extend(slice_entries(&map_row(read, self.map)?.entries, range));
        }
        Ok(())
    }
}

/// What pieces show in a range; behind their end are holes.
pub(super) fn pieces_entries(
    read: &(impl Read + ?Sized),
    pieces: &[Piece],
    range: Range<u64>,
    out: &mut Vec<MapEntry>,
) -> Result<(), DbError> {
    let mut at = range.start;
    for piece in slice_pieces(pieces, range.clone()) {
        piece.entries_into(read, out)?;
        at += piece.len;
    }
    push_hole(out, range.end - at);
    Ok(())
}

fn layer_entries(
    read: &(impl Read + ?Sized),
    id: MapId,
    range: Range<u64>,
    out: &mut Vec<MapEntry>,
) -> Result<(), DbError> {
    let row = layer_row(read, id)?;
    let mut base: Option<Vec<Piece>> = None;
    let mut gap = |out: &mut Vec<MapEntry>, range: Range<u64>| -> Result<(), DbError> {
        if range.is_empty() {
            return Ok(());
        }
        let base = match &mut base {
            Some(base) => base,
            None => base.insert(rows::base(read, id)?),
        };
        pieces_entries(read, base, range, out)
    };
    let mut at = range.start;
    while at < range.end {
        let indices = (at / LEAF_BYTES, range.end.div_ceil(LEAF_BYTES));
        let page = rows::leaves(read, row.store, indices, PAGE_LEAVES)?;
        let is_last = page.len() < PAGE_LEAVES;
        for (index, entries) in page {
            let start = (index * LEAF_BYTES).max(at);
            let end = ((index + 1) * LEAF_BYTES).min(range.end);
            gap(out, at..start)?;
            leaf_entries(&entries, start - index * LEAF_BYTES..end - index * LEAF_BYTES, out);
            at = end;
        }
        if is_last {
            gap(out, at..range.end)?;
            at = range.end;
        }
    }
    Ok(())
}

/// A range of a leaf, with the hole behind its entries.
pub(super) fn leaf_entries(entries: &[MapEntry], range: Range<u64>, out: &mut Vec<MapEntry>) {
    let part = slice_entries(entries, range.clone());
    let len: u64 = part.iter().map(|entry| u64::from(entry.len)).sum();
    out.extend(part);
    push_hole(out, range.end - range.start - len);
}

/// The first byte of a range that is not in a hole.
pub(super) fn next_data(
    read: &(impl Read + ?Sized),
    pieces: &[Piece],
    range: Range<u64>,
) -> Result<Option<u64>, DbError> {
    let mut at = range.start;
    for piece in slice_pieces(pieces, range) {
        let found = if piece.map == HOLE {
            None
        } else if is_layer(piece.map) {
            next_in_layer(read, piece.map, piece.skip..piece.skip + piece.len)?
        } else {
            let entries = map_row(read, piece.map)?.entries;
            next_in_entries(&entries, piece.skip).filter(|found| *found < piece.skip + piece.len)
        };
        if let Some(found) = found {
            return Ok(Some(at + (found - piece.skip)));
        }
        at += piece.len;
    }
    Ok(None)
}

fn next_in_entries(entries: &[MapEntry], from: u64) -> Option<u64> {
    let mut at = 0;
    for entry in entries {
        let end = at + u64::from(entry.len);
        if entry.at.is_some() && end > from {
            return Some(at.max(from));
        }
        at = end;
    }
    None
}

fn next_in_layer(read: &(impl Read + ?Sized), id: MapId, range: Range<u64>) -> Result<Option<u64>, DbError> {
    let row = layer_row(read, id)?;
    let base = rows::base(read, id)?;
    let mut at = range.start;
    while at < range.end {
        let indices = (at / LEAF_BYTES, range.end.div_ceil(LEAF_BYTES));
        let page = rows::leaves(read, row.store, indices, PAGE_LEAVES)?;
        let is_last = page.len() < PAGE_LEAVES;
        for (index, entries) in page {
            let start = (index * LEAF_BYTES).max(at);
            if let Some(found) = next_data(read, &base, at..start)? {
                return Ok(Some(found));
            }
            if let Some(found) = next_in_entries(&entries, start - index * LEAF_BYTES) {
                let found = index * LEAF_BYTES + found;
                return Ok((found < range.end).then_some(found));
            }
            at = ((index + 1) * LEAF_BYTES).min(range.end);
        }
        if is_last {
            return next_data(read, &base, at..range.end);
        }
    }
    Ok(None)
}

/// A run of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRun {
    /// Bytes of it.
    pub len: u64,
    /// Whether there is anything; otherwise it is a hole.
    pub is_data: bool,
}

impl DataMap {
    /// The first byte of a range that is not in a hole.
    pub fn next_data(&self, read: &(impl Read + ?Sized), range: Range<u64>) -> Result<Option<u64>, DbError> {
        let range = range.start..range.end.min(self.len);
        match &self.body {
            MapBody::Entries(entries) => {
                Ok(next_in_entries(entries, range.start).filter(|found| *found < range.end))
            }
            MapBody::Pieces(pieces) => next_data(read, pieces, range),
        }
    }

    /// Holes and data of a range, in order, at most `runs_max` of them (then they end before the range
    /// does); no two neighbours are alike. Costs what is there, not how long the holes are.
    pub fn runs(
        &self,
        read: &(impl Read + ?Sized),
        range: Range<u64>,
        runs_max: usize,
    ) -> Result<Vec<MapRun>, DbError> {
        let mut runs = Runs { max: runs_max, runs: Vec::new() };
        let end = range.end.min(self.len);
        let mut at = range.start;
        while at < end {
            let data = self.next_data(read, at..end)?.unwrap_or(end);
            if !runs.add(data - at, false) {
                break;
            }
            at = data;
            let stride = at..end.min(at.saturating_add(STRIDE_BYTES));
            for entry in self.entries(read, stride)? {
                if !runs.add(entry.len.into(), entry.at.is_some()) {
                    return Ok(runs.runs);
                }
                at += u64::from(entry.len);
            }
        }
        Ok(runs.runs)
    }

    /// Where two maps of one file differ, in the words of [`DataMap::runs`]: `is_data` says that what
    /// they refer to is not the same. Compares rows, no bytes.
    pub fn changes(
        &self,
        read: &(impl Read + ?Sized),
        old: &Self,
        range: Range<u64>,
        runs_max: usize,
    ) -> Result<Vec<MapRun>, DbError> {
        let mut runs = Runs { max: runs_max, runs: Vec::new() };
        let mut at = range.start;
        while at < range.end {
            let next = |map: &Self| map.next_data(read, at..range.end);
            let data = next(self)?.into_iter().chain(next(old)?).min().unwrap_or(range.end);
            if !runs.add(data - at, false) {
                break;
            }
            at = data;
            let stride = at..range.end.min(at.saturating_add(STRIDE_BYTES));
            let (new, old) = (self.padded(read, stride.clone())?, old.padded(read, stride)?);
            let (mut new, mut old) = (new.into_iter().peekable(), old.into_iter().peekable());
            while let (Some(a), Some(b)) = (new.peek_mut(), old.peek_mut()) {
                let len = a.len.min(b.len);
                let differs = cut_entry(a, 0, len.into()) != cut_entry(b, 0, len.into());
                if !runs.add(len.into(), differs) {
                    return Ok(runs.runs);
                }
                at += u64::from(len);
                advance(&mut new, len);
                advance(&mut old, len);
            }
        }
        Ok(runs.runs)
    }

    /// The entries of a range that may reach beyond the end.
    fn padded(&self, read: &(impl Read + ?Sized), range: Range<u64>) -> Result<Vec<MapEntry>, DbError> {
        let end = range.end.min(self.len).max(range.start);
        let mut entries = if range.start < end { self.entries(read, range.start..end)? } else { Vec::new() };
        push_hole(&mut entries, range.end - end);
        Ok(entries)
    }
}

/// Takes the first `len` bytes off entries.
fn advance(entries: &mut std::iter::Peekable<std::vec::IntoIter<MapEntry>>, len: u32) {
    let Some(first) = entries.peek_mut() else { return };
    if first.len == len {
        entries.next();
        return;
    }
    *first = cut_entry(first, len.into(), first.len.into());
}

struct Runs {
    max: usize,
    runs: Vec<MapRun>,
}

impl Runs {
    /// `false`: there is no room for it.
    fn add(&mut self, len: u64, is_data: bool) -> bool {
        let is_full = self.runs.len() == self.max;
        match self.runs.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.is_data == is_data => last.len += len,
            _ if is_full => return false,
            _ => self.runs.push(MapRun { len, is_data }),
        }
        true
    }
}
