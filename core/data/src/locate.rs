//! Where the bytes of a body are, for `placement`.

use std::ops::Range;

use gw_types::ports::MinerAddr;
use gw_types::{FRAGMENT_BYTES, Fid, FragmentIndex, SegmentSeq};

use crate::map::MapEntry;
use crate::rows::{self, SegmentState};
use crate::{Data, DataError, DataMap};

/// Bytes of a body that stand in one fragment of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Bytes of the body.
    pub range: Range<u64>,
    /// The segment that holds them now, sealed.
    pub segment: SegmentSeq,
    /// How far it has come.
    pub state: SegmentState,
    /// Whether its file is on this machine.
    pub local: bool,
    /// Its deal, once it has one.
    pub deal: Option<Fid>,
    /// The data fragment that holds just these bytes.
    pub fragment: FragmentIndex,
    /// Sealed bytes of that fragment.
    pub fragment_range: Range<u32>,
    /// Who holds each of the twelve fragments, once placed; the one above is among them.
    pub fragments: Vec<(FragmentIndex, MinerAddr)>,
}

impl Data {
    /// Where a range of a body is, in order, fragment by fragment. Holes are left out.
    pub fn locate(&self, map: &DataMap, range: Range<u64>) -> Result<Vec<Located>, DataError> {
        if range.start > range.end || range.end > map.len {
            return Err(DataError::Refused(format!(
                "bytes {}..{} of a body of {}",
                range.start, range.end, map.len
            )));
        }
        let snapshot = self.shared.ports.db.snapshot();
        let mut out: Vec<Located> = Vec::new();
        let mut at = range.start;
        for entry in map.entries(&snapshot, range)? {
            let bytes = at..at + u64::from(entry.len);
            at = bytes.end;
            if entry.at.is_some() {
                add(&snapshot, &mut out, bytes, &entry)?;
            }
        }
        Ok(out)
    }
}

fn add(
    snapshot: &gw_db::Snapshot,
    out: &mut Vec<Located>,
    bytes: Range<u64>,
    entry: &MapEntry,
) -> Result<(), DataError> {
    let bad = || DataError::Corrupt("a map entry does not fit its extent or its segment".into());
    let (mut segment, mut sealed) = entry.sealed_range().ok_or_else(bad)?;
    let must = |seq| rows::segment(snapshot, seq)?.ok_or_else(bad);
    let mut row = must(segment)?;
    if row.state == SegmentState::Moved {
        let moved = rows::moved(snapshot, segment)?.unwrap_or_default();
        let (home, start) = moved.place(sealed.start, sealed.end).ok_or_else(bad)?;
        sealed = start..start + (sealed.end - sealed.start);
        segment = home;
        row = must(segment)?;
    }
    let fragment = sealed.start / FRAGMENT_BYTES as u32;
    let base = fragment * FRAGMENT_BYTES as u32;
    let fragment = u8::try_from(fragment).ok().and_then(FragmentIndex::new).ok_or_else(bad)?;
    let sealed = sealed.start - base..sealed.end - base;
    if let Some(last) = out.last_mut()
        && last.segment == segment
        && last.fragment == fragment
        && last.range.end == bytes.start
        && last.fragment_range.end == sealed.start
    {
        last.range.end = bytes.end;
        last.fragment_range.end = sealed.end;
        return Ok(());
    }
    let deal = row.deal.map(|(fid, _)| fid);
    let placed = deal.map(|fid| rows::deal(snapshot, fid)).transpose()?.flatten();
    let fragments = placed.map_or_else(Vec::new, |deal| FragmentIndex::all().zip(deal.miners).collect());
    out.push(Located {
        range: bytes,
        segment,
        state: row.state,
        local: row.local,
        deal,
        fragment,
        fragment_range: sealed,
        fragments,
    });
    Ok(())
}
