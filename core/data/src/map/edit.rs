//! Changing a map, in the commit that stores it again: overwriting, punching, making it longer or
//! shorter.
//!
//! A short map stays what it is, a list of entries; one that grows beyond [`ENTRIES_INLINE_MAX`], or
//! shows rows that others show as well, gets a layer of its own ([`super::layer`]). Each call rewrites
//! the leaves that it touches and nothing else; where it would have to let go of more than
//! [`LEAVES_AT_ONCE`] leaves (the trim of a whole volume), it begins an empty layer in their place,
//! and the old leaves are let go in steps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use gw_db::{DbError, Txn};
use gw_types::{MapId, StreamId};

use super::layer::{LEAF_BYTES, is_layer, layer_row, leaf_entries, next_data, pieces_entries};
use super::refs::{Accounts, add_refs, drop_body, drop_refs, put_rows};
use super::slice::{push_hole, restrict_pieces, slice_entries, splice_entries, trim_holes};
use super::{DataMap, ENTRIES_INLINE_MAX, MapBody, MapEntry, Piece};
use crate::rows::{self, LayerRow};

/// Layers that may stand on each other. When it is reached writers are told to come again
/// ([`DbError::Busy`]); only frozen states that somebody keeps (snapshots, versions) make chains long.
pub const LAYERS_DEPTH_MAX: u32 = 128;
/// Pieces of a base; a layer's holes that are larger than a few leaves are cut out of it.
pub const BASE_PIECES_MAX: usize = 4096;
/// Entries of a leaf. Who writes smaller pieces than a block all over the place writes a whole leaf anew
/// before it is reached.
pub const LEAF_ENTRIES_MAX: usize = 4096;
/// Leaves that one change lets go of, or marks as holes, at once.
const LEAVES_AT_ONCE: usize = if cfg!(test) { 4 } else { 256 };

impl DataMap {
    /// Replaces the bytes from `at` on by those of `new`, whose references pass over; what lies between
    /// the end and `at` is a hole afterwards. After an error the commit must not be made.
    pub fn overwrite(
        &mut self,
        txn: &mut Txn<'_>,
        stream: StreamId,
        at: u64,
        new: Self,
    ) -> Result<(), DbError> {
        if at > self.len {
            self.resize(txn, stream, at)?;
        }
        let mut accounts = Accounts::default();
        let entries = new.entries(txn, 0..new.len)?;
        self.replace(txn, &mut accounts, stream, at, &entries)?;
        drop_body(txn, &mut accounts, &new.body)?;
        self.take_keys(new.keys);
        accounts.write(txn)
    }

    /// Makes the bytes of a range that lie in the map a hole.
    pub fn punch(&mut self, txn: &mut Txn<'_>, stream: StreamId, range: Range<u64>) -> Result<(), DbError> {
        let mut accounts = Accounts::default();
        self.clear(txn, &mut accounts, stream, range)?;
        accounts.write(txn)
    }

    /// Gives the map another length. New bytes are a hole.
    pub fn resize(&mut self, txn: &mut Txn<'_>, stream: StreamId, len: u64) -> Result<(), DbError> {
        let mut accounts = Accounts::default();
        if len == 0 {
            drop_body(txn, &mut accounts, &self.body)?;
            *self = Self { keys: std::mem::take(&mut self.keys), ..Self::empty() };
        } else if len < self.len {
            self.clear(txn, &mut accounts, stream, len..self.len)?;
            self.set_len(len);
        } else if len > self.len {
            self.lengthen(txn, &mut accounts, stream, len)?;
        }
        accounts.write(txn)
    }

    fn lengthen(
        &mut self,
        txn: &mut Txn<'_>,
        accounts: &mut Accounts,
        stream: StreamId,
        len: u64,
    ) -> Result<(), DbError> {
        if let MapBody::Entries(entries) = &mut self.body {
            let mut longer = entries.clone();
            push_hole(&mut longer, len - self.len);
            let longer = splice_entries(&longer, 0, &[]);
            if longer.len() <= ENTRIES_INLINE_MAX {
                *entries = longer;
                self.len = len;
                return Ok(());
            }
        }
        let from = self.len;
        self.own_layer(txn, stream)?;
        self.set_len(len);
        self.clear(txn, accounts, stream, from..len)
    }

    /// Keys of another map of the same bucket.
    fn take_keys(&mut self, keys: Vec<(gw_types::KeyId, gw_types::ports::WrappedDataKey)>) {
        for (id, wrapped) in keys {
            if let Err(at) = self.keys.binary_search_by_key(&id, |(id, _)| *id) {
                self.keys.insert(at, (id, wrapped));
            }
        }
    }

    /// Cuts or prolongs what shows the map. Prolonging is for a layer of its own only.
    fn set_len(&mut self, len: u64) {
        match &mut self.body {
            MapBody::Entries(entries) => *entries = slice_entries(entries, 0..len),
            MapBody::Pieces(pieces) => match pieces.as_mut_slice() {
                [piece] if is_layer(piece.map) => piece.len = len,
                _ => unreachable!("a map in pieces gets a layer before it changes"),
            },
        }
        self.len = len;
    }

    /// `entries` in place of what is there from `at` on.
    fn replace(
        &mut self,
        txn: &mut Txn<'_>,
        accounts: &mut Accounts,
        stream: StreamId,
        at: u64,
        entries: &[MapEntry],
    ) -> Result<(), DbError> {
        let len: u64 = entries.iter().map(|entry| u64::from(entry.len)).sum();
        if len == 0 {
            return Ok(());
        }
        if let MapBody::Entries(old) = &self.body {
            let new = splice_entries(old, at, entries);
            if new.len() <= ENTRIES_INLINE_MAX {
                accounts.drop(old);
                accounts.refer(&new);
                self.body = MapBody::Entries(new);
                self.len = self.len.max(at + len);
                return Ok(());
            }
        }
        let (id, mut row) = self.own_layer(txn, stream)?;
        write_leaves(txn, accounts, (id, &mut row), at, entries)?;
        rows::put_layer(txn, id, &row);
        self.set_len(self.len.max(at + len));
        Ok(())
    }

    fn clear(
        &mut self,
        txn: &mut Txn<'_>,
        accounts: &mut Accounts,
        stream: StreamId,
        range: Range<u64>,
    ) -> Result<(), DbError> {
        let range = range.start..range.end.min(self.len);
        if range.is_empty() {
            return Ok(());
        }
        if let MapBody::Entries(old) = &self.body {
            let mut hole = Vec::new();
            push_hole(&mut hole, range.end - range.start);
            let new = splice_entries(old, range.start, &hole);
            if new.len() <= ENTRIES_INLINE_MAX {
                accounts.drop(old);
                accounts.refer(&new);
                self.body = MapBody::Entries(new);
                return Ok(());
            }
        }
        let (id, mut row) = self.own_layer(txn, stream)?;
        // Behind the end is nothing that anybody may see.
        let end = if range.end == self.len { range.end.next_multiple_of(LEAF_BYTES) } else { range.end };
        let whole = range.start.next_multiple_of(LEAF_BYTES)..end / LEAF_BYTES * LEAF_BYTES;
        if whole.is_empty() {
            clear_part(txn, accounts, (id, &mut row), range)?;
            rows::put_layer(txn, id, &row);
            return Ok(());
        }
        clear_part(txn, accounts, (id, &mut row), range.start..whole.start)?;
        clear_part(txn, accounts, (id, &mut row), whole.end..end)?;
        let indices = (whole.start / LEAF_BYTES, whole.end / LEAF_BYTES);
        let own = rows::leaves(txn, row.store, indices, LEAVES_AT_ONCE + 1)?;
        if own.len() > LEAVES_AT_ONCE {
            rows::put_layer(txn, id, &row);
            return self.step_aside(txn, accounts, stream, (id, whole));
        }
        for (index, entries) in own {
            accounts.drop(&entries);
            rows::delete_leaf(txn, row.store, index);
            row.leaves -= 1;
        }
        cut_base(txn, accounts, (id, &mut row), whole)?;
        rows::put_layer(txn, id, &row);
        Ok(())
    }

    /// Puts an empty layer on the one there is, that shows all of it but `hole`.
    fn step_aside(
        &mut self,
        txn: &mut Txn<'_>,
        accounts: &mut Accounts,
        stream: StreamId,
        (id, hole): (MapId, Range<u64>),
    ) -> Result<(), DbError> {
        let all = [Piece { len: self.len.max(hole.end), map: id, skip: 0 }];
        let windows = [0..hole.start, hole.end.min(self.len)..self.len];
        let base = restrict_pieces(&all, &windows);
        let count = base.iter().filter(|piece| piece.map == id).count() as u64;
        let (new, _) = new_layer(txn, stream, base)?;
        self.body = MapBody::Pieces(vec![Piece { len: self.len, map: new, skip: 0 }]);
        match count {
            0 => drop_refs(txn, accounts, id, 1),
            more => {
                add_refs(txn, id, more - 1)?;
                // From now on only the new layer looks at it.
                rows::put_task(txn, id);
                Ok(())
            }
        }
    }

    /// The layer that this map alone refers to; made, when there is none, on what the map shows now.
    fn own_layer(&mut self, txn: &mut Txn<'_>, stream: StreamId) -> Result<(MapId, LayerRow), DbError> {
        if let MapBody::Pieces(pieces) = &self.body
            && let [piece] = pieces.as_slice()
            && is_layer(piece.map)
            && piece.skip == 0
        {
            let row = layer_row(txn, piece.map)?;
            if row.refs == 1 {
                txn.stream(row.stream);
                return Ok((piece.map, row));
            }
        }
        let base = match std::mem::replace(&mut self.body, MapBody::Entries(Vec::new())) {
            MapBody::Pieces(pieces) => pieces,
            MapBody::Entries(entries) => {
                let mut pieces = Vec::new();
                put_rows(txn, &entries, &mut pieces)?;
                pieces
            }
        };
        let (id, row) = new_layer(txn, stream, base)?;
        self.body = MapBody::Pieces(vec![Piece { len: self.len, map: id, skip: 0 }]);
        Ok((id, row))
    }
}

/// A layer with one reference, that takes over those of its base.
fn new_layer(txn: &mut Txn<'_>, stream: StreamId, base: Vec<Piece>) -> Result<(MapId, LayerRow), DbError> {
    if base.len() > BASE_PIECES_MAX {
        return Err(DbError::Busy("base_pieces_max"));
    }
    if depth_of(txn, &base, &mut BTreeMap::new())? >= LAYERS_DEPTH_MAX {
        return Err(DbError::Busy("layers_depth_max"));
    }
    txn.stream(stream);
    let id = rows::next_layer_id(txn)?;
    let row = LayerRow { refs: 1, leaves: 0, store: id, stream };
    rows::put_layer(txn, id, &row);
    set_base(txn, id, &[], &base);
    Ok((id, row))
}

/// Layers on the longest way down from pieces.
fn depth_of(txn: &Txn<'_>, pieces: &[Piece], known: &mut BTreeMap<MapId, u32>) -> Result<u32, DbError> {
    let mut deepest = 0;
    for piece in pieces.iter().filter(|piece| is_layer(piece.map)) {
        let depth = match known.get(&piece.map) {
            Some(depth) => *depth,
            None => 1 + depth_of(txn, &rows::base(txn, piece.map)?, known)?,
        };
        known.insert(piece.map, depth);
        deepest = deepest.max(depth);
    }
    Ok(deepest)
}

/// Writes a base, and who stands on whom. References are the caller's business.
pub(super) fn set_base(txn: &mut Txn<'_>, id: MapId, old: &[Piece], new: &Vec<Piece>) {
    let layers = |pieces: &[Piece]| -> BTreeSet<MapId> {
        pieces.iter().map(|piece| piece.map).filter(|map| is_layer(*map)).collect()
    };
    let (old, now) = (layers(old), layers(new));
    old.difference(&now).for_each(|parent| rows::delete_link(txn, *parent, id));
    now.difference(&old).for_each(|parent| rows::put_link(txn, *parent, id));
    rows::put_base(txn, id, new);
}

/// Drops and adds references so that those of `new` are held instead of those of `old`.
pub(super) fn change_refs(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    old: &[Piece],
    new: &[Piece],
) -> Result<(), DbError> {
    let mut counts: BTreeMap<MapId, i64> = BTreeMap::new();
    new.iter().for_each(|piece| *counts.entry(piece.map).or_default() += 1);
    old.iter().for_each(|piece| *counts.entry(piece.map).or_default() -= 1);
    for (id, change) in counts {
        if change < 0 {
            drop_refs(txn, accounts, id, change.unsigned_abs())?;
        } else {
            add_refs(txn, id, change.unsigned_abs())?;
        }
    }
    Ok(())
}

/// Writes entries into the leaves of a layer, whose row the caller writes.
fn write_leaves(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    (id, row): (MapId, &mut LayerRow),
    at: u64,
    entries: &[MapEntry],
) -> Result<(), DbError> {
    let len: u64 = entries.iter().map(|entry| u64::from(entry.len)).sum();
    let end = at + len;
    let mut base: Option<Vec<Piece>> = None;
    for index in at / LEAF_BYTES..end.div_ceil(LEAF_BYTES) {
        let leaf = index * LEAF_BYTES..(index + 1) * LEAF_BYTES;
        let part = leaf.start.max(at)..leaf.end.min(end);
        let own = rows::leaf(txn, row.store, index)?;
        if base.is_none() && own.is_none() {
            base = Some(rows::base(txn, id)?);
        }
        let old = match (&own, &base) {
            (Some(own), _) => own.clone(),
            (None, Some(base)) if part != leaf => {
                let mut shown = Vec::new();
                pieces_entries(txn, base, leaf.clone(), &mut shown)?;
                shown
            }
            _ => Vec::new(),
        };
        let piece = slice_entries(entries, part.start - at..part.end - at);
        let mut new = splice_entries(&old, part.start - leaf.start, &piece);
        trim_holes(&mut new);
        if new.len() > LEAF_ENTRIES_MAX {
            return Err(DbError::Busy("leaf_entries_max"));
        }
        accounts.drop(own.as_deref().unwrap_or_default());
        accounts.refer(&new);
        if new.is_empty() && next_data(txn, &rows::base(txn, id)?, leaf)?.is_none() {
            if own.is_some() {
                row.leaves -= 1;
                rows::delete_leaf(txn, row.store, index);
            }
            continue;
        }
        if own.is_none() {
            row.leaves += 1;
        }
        rows::put_leaf(txn, row.store, index, &new);
    }
    Ok(())
}

/// Makes a range inside one leaf a hole, if there is anything in it.
fn clear_part(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    (id, row): (MapId, &mut LayerRow),
    range: Range<u64>,
) -> Result<(), DbError> {
    if range.is_empty() {
        return Ok(());
    }
    let all = [Piece { len: range.end, map: id, skip: 0 }];
    if next_data(txn, &all, range.clone())?.is_none() {
        return Ok(());
    }
    let mut hole = Vec::new();
    push_hole(&mut hole, range.end - range.start);
    write_leaves(txn, accounts, (id, row), range.start, &hole)
}

/// Hides what the base shows in a range of whole leaves, of which the layer has none any more.
fn cut_base(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    (id, row): (MapId, &mut LayerRow),
    range: Range<u64>,
) -> Result<(), DbError> {
    let base = rows::base(txn, id)?;
    if next_data(txn, &base, range.clone())?.is_none() {
        return Ok(());
    }
    let indices = range.start / LEAF_BYTES..range.end / LEAF_BYTES;
    let count = indices.end - indices.start;
    let cut = restrict_pieces(&base, &[0..range.start, range.end..u64::MAX]);
    let is_small = count <= LEAVES_AT_ONCE as u64 / 4;
    if is_small || (cut.len() > BASE_PIECES_MAX && count <= BASE_PIECES_MAX as u64) {
        for index in indices {
            let leaf = index * LEAF_BYTES..(index + 1) * LEAF_BYTES;
            if next_data(txn, &base, leaf)?.is_some() {
                rows::put_leaf(txn, row.store, index, &[]);
                row.leaves += 1;
            }
        }
        return Ok(());
    }
    if cut.len() > BASE_PIECES_MAX {
        return Err(DbError::Busy("base_pieces_max"));
    }
    set_base(txn, id, &base, &cut);
    change_refs(txn, accounts, &base, &cut)
}

/// The parts of a leaf that lie in `windows`; the rest is a hole.
pub(super) fn window_leaf(index: u64, entries: &[MapEntry], windows: &[Range<u64>]) -> Vec<MapEntry> {
    let leaf = index * LEAF_BYTES..(index + 1) * LEAF_BYTES;
    let mut out = Vec::new();
    let mut at = leaf.start;
    for window in windows {
        let part = window.start.max(leaf.start)..window.end.min(leaf.end);
        if part.is_empty() {
            continue;
        }
        push_hole(&mut out, part.start - at);
        leaf_entries(entries, part.start - leaf.start..part.end - leaf.start, &mut out);
        at = part.end;
    }
    let mut out = splice_entries(&out, 0, &[]);
    trim_holes(&mut out);
    out
}
