//! Cutting: a range of entries, a range of pieces. Pure.

use std::ops::Range;

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
fn cut_entry(entry: &MapEntry, from: u64, to: u64) -> MapEntry {
    assert!(from < to && to <= u64::from(entry.len), "a cut lies in its entry");
    let mut cut = *entry;
    cut.len = (to - from) as u32;
    if let Some(at) = &mut cut.at {
        at.skip += from as u32;
    }
    cut
}

/// The part of `pieces` that is `range` of their bytes.
fn slice_pieces(pieces: &[Piece], range: Range<u64>) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut at = 0;
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
