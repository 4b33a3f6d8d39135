//! Reading the journal back after a start.
//!
//! All files but the newest were synced in full before their successor had a name, so every byte of
//! them must be right and LSNs must run through without a hole. The newest may end in a torn tail:
//! what was written and not synced when the power went. The tail is cut, once, and only when nothing
//! behind it proves that the broken record had been synced (see `record`). Anything else is an error
//! that names file and byte; no record that is needed is skipped.
//!
//! Files that the log stream still wants, but recovery does not (all in a checkpoint and in segments),
//! may be many gibibytes when dispersal has stood still. Of those only the end is looked at ([`skim`]);
//! their records are checked when they are read.

use std::sync::Arc;

use bytes::Bytes;
use gw_types::Lsn;
use gw_types::ports::{Disk, DiskFile};

use super::IndexedFile;
use super::format::{self, HEADER_BYTES, Header, UNFINISHED};
use crate::DbError;
use crate::record::{self, FRAME_ALIGN, Frame, NoFrame};

/// A journal file whose header has been read.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: Header,
}

/// A journal file whose records have been read.
pub(crate) struct Parsed {
    pub(crate) frames: Vec<Frame>,
    pub(crate) indexed: IndexedFile,
    /// Bytes behind the records that are not zeros: a torn tail.
    pub(crate) torn: bool,
}

/// Finds the journal files, oldest first, and removes unfinished ones.
pub(crate) async fn find(disk: &dyn Disk) -> Result<Vec<Found>, DbError> {
    let mut found: Vec<Found> = Vec::new();
    for entry in disk.list(format::FOLDER)? {
        if entry.name.ends_with(UNFINISHED) {
            disk.remove(&entry.name)?;
            continue;
        }
        let Some(first) = format::parse_name(&entry.name) else {
            tracing::warn!(name = entry.name, "a foreign file in the journal folder is left alone");
            continue;
        };
        let file = disk.open(&entry.name)?;
        let len = file.len()?.min(HEADER_BYTES as u64) as usize;
        let bytes = file.read_at(0, len).await?;
        let (header, _) = Header::decode(&bytes).map_err(|what| DbError::corrupt(&entry.name, 0, what))?;
        if header.first != first || first == Lsn(0) {
            return Err(DbError::corrupt(&entry.name, 24, "the header belongs to a file of another name"));
        }
        if let Some(before) = found.last() {
            if before.header.journal != header.journal {
                return Err(DbError::corrupt(&entry.name, 16, "the file belongs to another journal"));
            }
            if before.header.epoch > header.epoch {
                return Err(DbError::corrupt(&entry.name, 8, "the epoch goes back"));
            }
        }
        found.push(Found { name: entry.name, file, header });
    }
    Ok(found)
}

/// Reads all records of a file.
pub(crate) async fn parse(found: &Found, newest: bool) -> Result<Parsed, DbError> {
    let len = found.file.len()?;
    let bytes = found.file.read_at(0, len as usize).await?;
    let mut indexed = IndexedFile::new(found.name.clone(), found.file.clone(), found.header);
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    let stop = loop {
        match record::decode(&bytes.slice(at..), indexed.seed) {
            Ok(frame) if frame.lsn == indexed.last.next() => {
                indexed.mark(frame.lsn, at as u64);
                indexed.last = frame.lsn;
                at += frame.len as usize;
                frames.push(frame);
            }
            Ok(_) => break "a record out of order",
            Err(NoFrame::End) => break "bytes behind the last record",
            Err(NoFrame::Short(_)) => break "a record longer than the file",
            Err(NoFrame::Bad(what)) => break what,
        }
    };
    indexed.end = at as u64;
    let torn = bytes[at..].iter().any(|byte| *byte != 0);
    if torn {
        let lost = indexed.last.next();
        if !newest {
            return Err(DbError::corrupt(
                &found.name,
                at as u64,
                format!("{stop}, where record {lost} or the end should be"),
            ));
        }
        if let Some(proof) = proof_of_sync(&bytes, at, indexed.seed, lost) {
            return Err(DbError::corrupt(
                &found.name,
                at as u64,
                format!(
                    "{stop}, where record {lost} should be; record {proof} behind it shows that it had been synced"
                ),
            ));
        }
    }
    Ok(Parsed { frames, indexed, torn })
}

/// Bytes at the end of a file in which its last record is looked for.
const SKIM_BYTES: u64 = 256 << 10;

/// Takes a file into the index without reading it all, if its last record ends it and is the one before
/// `next`, the next file's first; `None` when that cannot be seen, then it must be read.
pub(crate) async fn skim(found: &Found, next: Lsn) -> Result<Option<IndexedFile>, DbError> {
    let (len, header) = (found.file.len()?, HEADER_BYTES as u64);
    let mut indexed = IndexedFile::new(found.name.clone(), found.file.clone(), found.header);
    if len < header || !len.is_multiple_of(FRAME_ALIGN as u64) {
        return Ok(None);
    }
    let start = len.saturating_sub(SKIM_BYTES).max(header);
    let tail = found.file.read_at(start, (len - start) as usize).await?;
    let is_last = |at: usize| {
        let bytes = tail.slice(at..);
        record::claimed_lsn(&bytes).is_some_and(|lsn| lsn.next() == next)
            && record::decode(&bytes, indexed.seed).is_ok_and(|frame| frame.len == bytes.len() as u64)
    };
    let is_empty = len == header && indexed.last.next() == next;
    if !is_empty && !(0..tail.len()).step_by(FRAME_ALIGN).any(is_last) {
        return Ok(None);
    }
    indexed.last = Lsn(next.0 - 1);
    indexed.end = len;
    Ok(Some(indexed))
}

/// A whole frame behind `at` that was written when `lost` was already staged.
fn proof_of_sync(bytes: &Bytes, at: usize, seed: u32, lost: Lsn) -> Option<Lsn> {
    let most = lost.0.saturating_add((bytes.len() / FRAME_ALIGN) as u64);
    let mut at = at + FRAME_ALIGN;
    while at < bytes.len() {
        let claimed = record::claimed_lsn(&bytes[at..]);
        let frame = claimed
            .filter(|lsn| *lsn > lost && lsn.0 <= most)
            .and_then(|_| record::decode(&bytes.slice(at..), seed).ok());
        match frame {
            Some(frame) if frame.staged >= lost => return Some(frame.lsn),
            Some(frame) => at += frame.len as usize,
            None => at += FRAME_ALIGN,
        }
    }
    None
}

/// Makes what was read of the newest file durable and cuts what is behind it. After a crash of the
/// process alone the records may still be in the operating system's cache only.
pub(crate) async fn cut(parsed: &Parsed) -> Result<(), DbError> {
    let indexed = &parsed.indexed;
    if parsed.torn {
        tracing::warn!(file = indexed.name, offset = indexed.end, "the torn tail of the journal is cut");
    }
    if indexed.file.len()? != indexed.end {
        indexed.file.set_len(indexed.end)?;
    }
    Ok(indexed.file.sync().await?)
}
