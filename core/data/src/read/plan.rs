//! From entries to runs of frames. Pure.
//!
//! Neighbouring entries become one run where their frames stand back to back in one fragment of one
//! segment: the extents of one body that were leased one after the other, and small bodies that were
//! written together and later joined in one map.

use std::collections::VecDeque;
use std::ops::Range;

use gw_codec::frame::frames_for;
use gw_types::{ExtentId, FRAGMENT_BYTES, FRAME_BYTES, KeyId, SEALED_FRAME_BYTES, SEGMENT_BYTES, SegmentSeq};

use crate::DataError;
use crate::map::{MapEntry, slice_entries};

/// Frames of one extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The extent.
    pub extent: ExtentId,
    /// The key that opens it.
    pub key: KeyId,
    /// Which of its frames.
    pub frames: Range<u32>,
    /// Their sealed bytes.
    pub sealed_len: u32,
    /// Plain bytes of the first frame that are not wanted.
    pub skip: u32,
    /// Plain bytes wanted.
    pub len: u32,
}

/// Sealed bytes that are read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRun {
    /// Home segment.
    pub segment: SegmentSeq,
    /// Bytes of it; all in one fragment.
    pub range: Range<u32>,
    /// What stands in them, back to back.
    pub spans: Vec<Span>,
}

impl SealedRun {
    /// Plain bytes that the run gives.
    pub fn plain_len(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.len)).sum()
    }
    /// Sealed bytes that it takes.
    pub fn sealed_len(&self) -> u64 {
        u64::from(self.range.end - self.range.start)
    }
    /// Where each of its frames begins in the segment, and how long it is.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (u32, u32)> {
        let mut at = self.range.start;
        self.spans.iter().flat_map(move |span| {
            let start = at;
            at += span.sealed_len;
            let full = SEALED_FRAME_BYTES as u32;
            (0..span.frames.len() as u32).map(move |frame| {
                let begin = frame * full;
                (start + begin, full.min(span.sealed_len - begin))
            })
        })
    }
}

/// The next bytes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A hole.
    Zeros(u64),
    /// Frames.
    Sealed(SealedRun),
}

impl Run {
    /// Plain bytes that the run gives.
    pub fn plain_len(&self) -> u64 {
        match self {
            Self::Zeros(len) => *len,
            Self::Sealed(run) => run.plain_len(),
        }
    }
}

/// The runs of a range of entries, each of at most `run_bytes_max` sealed bytes (but at least one frame).
pub fn plan(entries: &[MapEntry], range: Range<u64>, run_bytes_max: u64) -> Result<Vec<Run>, DataError> {
    let mut planner = Planner::default();
    planner.extend(slice_entries(entries, range));
    std::iter::from_fn(|| planner.next(run_bytes_max).transpose()).collect()
}

/// Entries that are still to be read.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    entries: VecDeque<MapEntry>,
}

impl Planner {
    pub(crate) fn extend(&mut self, entries: Vec<MapEntry>) {
        self.entries.extend(entries);
    }

    /// Takes the next run off.
    pub(crate) fn next(&mut self, run_bytes_max: u64) -> Result<Option<Run>, DataError> {
        let Some(entry) = self.entries.front() else { return Ok(None) };
        if entry.at.is_none() {
            return Ok(Some(Run::Zeros(self.take_hole(run_bytes_max))));
        }
        let (segment, start, span) = self.take_span(run_bytes_max)?;
        let mut run = SealedRun { segment, range: start..start + span.sealed_len, spans: vec![span] };
        while let Some(room) = self.room_behind(&run, run_bytes_max) {
            let (_, _, span) = self.take_span(room)?;
            run.range.end += span.sealed_len;
            run.spans.push(span);
        }
        Ok(Some(Run::Sealed(run)))
    }

    fn take_hole(&mut self, max: u64) -> u64 {
        let entry = self.entries.front_mut().expect("the caller looked");
        let taken = u64::from(entry.len).min(max.max(FRAME_BYTES));
        entry.len -= taken as u32;
        if entry.len == 0 {
            self.entries.pop_front();
        }
        taken
    }

    /// Bytes that the next entry may add to the run; `None` when it does not stand right behind it.
    fn room_behind(&self, run: &SealedRun, max: u64) -> Option<u64> {
        let (segment, range) = self.entries.front()?.sealed_range()?;
        let room = max.checked_sub(run.sealed_len())?;
        let first = range.end.saturating_sub(range.start).min(SEALED_FRAME_BYTES as u32);
        let fits = segment == run.segment
            && range.start == run.range.end
            && u64::from(range.start) / FRAGMENT_BYTES == u64::from(run.range.start) / FRAGMENT_BYTES
            && u64::from(first) <= room;
        fits.then_some(room)
    }

    /// Takes up to `max` sealed bytes of whole frames, at least one frame, off the first entry.
    fn take_span(&mut self, max: u64) -> Result<(SegmentSeq, u32, Span), DataError> {
        let entry = self.entries.front_mut().expect("the caller looked");
        let at = entry.at.as_mut().expect("the caller looked");
        let bad = || DataError::Corrupt("a map entry does not fit its extent or its segment".into());
        let start = u64::from(at.skip);
        let all =
            frames_for(start..start + u64::from(entry.len), u64::from(at.extent_len)).ok_or_else(bad)?;
        let frames_max = (max / SEALED_FRAME_BYTES).max(1);
        let end = if all.frames.len() as u64 <= frames_max {
            start + u64::from(entry.len)
        } else {
            (u64::from(all.frames.start) + frames_max) * FRAME_BYTES
        };
        let span = frames_for(start..end, u64::from(at.extent_len)).ok_or_else(bad)?;
        let begin = u64::from(at.offset) + span.sealed.start;
        let behind = u64::from(at.offset) + span.sealed.end;
        if behind > SEGMENT_BYTES || span.len == 0 || begin / FRAGMENT_BYTES != (behind - 1) / FRAGMENT_BYTES
        {
            return Err(bad());
        }
        let taken = Span {
            extent: at.extent,
            key: at.key,
            frames: span.frames,
            sealed_len: (behind - begin) as u32,
            skip: span.skip as u32,
            len: span.len as u32,
        };
        let segment = at.segment;
        at.skip += taken.len;
        entry.len -= taken.len;
        if entry.len == 0 {
            self.entries.pop_front();
        }
        Ok((segment, begin as u32, taken))
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
