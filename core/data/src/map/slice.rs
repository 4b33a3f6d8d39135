//! Cutting and putting together: a range of entries, a range of pieces. Pure.

use std::ops::Range;

use super::layer::HOLE;
use super::{MapBody, MapEntry, Piece};

/// The part of `entries` that is `range` of their bytes.
pub(crate) fn slice_entries(entries: &[MapEntry], range: Range<u64>) -> Vec<MapEntry> {
    let mut out = Vec::new();
    let mut at = 0;
    if range.is_empty() {
        return out;
    }
    for entry in entries {
        let end = at + u64::from(entry.len);
        if at >= range.end {
            break;
        }
        if end > range.start {
            out.push(cut_entry(entry, range.start.saturating_sub(at), range.end.min(end) - at));
        }
        at = end;
    }
    out
}

/// Bytes `from..to` of an entry; both fit 32 bits because they lie in it.
pub(super) fn cut_entry(entry: &MapEntry, from: u64, to: u64) -> MapEntry {
    assert!(from < to && to <= u64::from(entry.len), "a cut lies in its entry");
    let mut cut = *entry;
    cut.len = (to - from) as u32;
    if let Some(at) = &mut cut.at {
        at.skip += from as u32;
    }
    cut
}

/// Appends a hole.
pub(super) fn push_hole(entries: &mut Vec<MapEntry>, mut len: u64) {
    while len > 0 {
        let some = u32::try_from(len).unwrap_or(u32::MAX);
        entries.push(MapEntry { len: some, at: None });
        len -= u64::from(some);
    }
}

/// `old` with the bytes from `at` on replaced by `new`; a hole where `old` does not reach `at`.
/// Neighbours that are one run are joined.
pub(super) fn splice_entries(old: &[MapEntry], at: u64, new: &[MapEntry]) -> Vec<MapEntry> {
    let sum = |entries: &[MapEntry]| entries.iter().map(|entry| u64::from(entry.len)).sum::<u64>();
    let (old_len, end) = (sum(old), at + sum(new));
    let mut out = slice_entries(old, 0..at.min(old_len));
    push_hole(&mut out, at.saturating_sub(old_len));
    out.extend_from_slice(new);
    out.extend(slice_entries(old, end..old_len));
    join(out)
}

fn join(entries: Vec<MapEntry>) -> Vec<MapEntry> {
    let mut out: Vec<MapEntry> = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(last) = out.last_mut()
            && continues(last, &entry)
            && let Some(len) = last.len.checked_add(entry.len)
        {
            last.len = len;
        } else {
            out.push(entry);
        }
    }
    out
}

/// Whether the second is what follows the first in its extent, or both are holes.
fn continues(first: &MapEntry, second: &MapEntry) -> bool {
    match (&first.at, &second.at) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let mut next = *a;
            next.skip = next.skip.saturating_add(first.len);
            next == *b
        }
        _ => false,
    }
}

/// Takes holes off the end.
pub(super) fn trim_holes(entries: &mut Vec<MapEntry>) {
    while entries.last().is_some_and(|entry| entry.at.is_none()) {
        entries.pop();
    }
}

/// The part of `pieces` that is `range` of their bytes.
pub(super) fn slice_pieces(pieces: &[Piece], range: Range<u64>) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut at = 0;
    if range.is_empty() {
        return out;
    }
    for piece in pieces {
        let end = at + piece.len;
        if at >= range.end {
            break;
        }
        if end > range.start {
            let from = range.start.saturating_sub(at);
            let to = range.end.min(end) - at;
            out.push(Piece { len: to - from, map: piece.map, skip: piece.skip + from });
        }
        at = end;
    }
    out
}

/// The pieces of a base as far as they lie in `windows`; everything else is a hole.
pub(super) fn restrict_pieces(pieces: &[Piece], windows: &[Range<u64>]) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut at = 0;
    for window in windows {
        push_piece(&mut out, Piece { len: window.start - at, map: HOLE, skip: 0 });
        at = window.start;
        for piece in slice_pieces(pieces, window.clone()) {
            at += piece.len;
            push_piece(&mut out, piece);
        }
        push_piece(&mut out, Piece { len: window.end - at, map: HOLE, skip: 0 });
        at = window.end;
    }
    while out.last().is_some_and(|piece| piece.map == HOLE) {
        out.pop();
    }
    out
}

fn push_piece(pieces: &mut Vec<Piece>, piece: Piece) {
    if piece.len == 0 {
        return;
    }
    match pieces.last_mut() {
        Some(last) if last.map == HOLE && piece.map == HOLE => last.len += piece.len,
        Some(last) if last.map == piece.map && last.skip + last.len == piece.skip && piece.map != HOLE => {
            last.len += piece.len;
        }
        _ => pieces.push(piece),
    }
}

/// The part of a body that is `range` of its bytes.
pub(super) fn slice_body(body: &MapBody, range: Range<u64>) -> MapBody {
    if range.is_empty() {
        return MapBody::Entries(Vec::new());
    }
    match body {
        MapBody::Entries(entries) => MapBody::Entries(slice_entries(entries, range)),
        MapBody::Pieces(pieces) => MapBody::Pieces(slice_pieces(pieces, range)),
    }
}
