//! Bytes of one file in another, by reference: `copy_file_range`, reflinks.

use std::ops::Range;

use gw_types::Lsn;

use super::{FILE_BYTES_MAX, File, FileAt, Hand};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};

/// Bytes shared by one commit, unless it is a whole file.
const COMMIT_BYTES_MAX: u64 = 64 << 20;
/// Data keys of one file. Each source brings its own.
const KEYS_MAX: usize = 1024;

impl Core {
    /// Puts a range of one file into another of the same bucket, at `offset`. Answers how many bytes: less
    /// than asked for where the source ends. A whole file into one that it covers is one commit of a
    /// few rows, whatever its size; the rest goes in pieces, and after an error some may be there.
    /// `InvalidArgument` for files of different buckets, which have no key in common.
    pub(crate) fn file_share(
        &self,
        from: &FileAt,
        range: Range<u64>,
        (to, hand, offset): (&FileAt, Hand, u64),
    ) -> StoreResult<(u64, Lsn)> {
        if from.bucket != to.bucket {
            return Err(StoreError::invalid("files of two buckets share no bytes"));
        }
        let overlap = range.start < offset.saturating_add(range.end - range.start) && offset < range.end;
        if from.inode == to.inode && overlap {
            return Err(StoreError::invalid("a range cannot be put over itself"));
        }
        let (mut at, mut lsn) = (range.start, self.db.appended());
        while at < range.end {
            let place = offset + (at - range.start);
            let done = self.commit(|work| {
                let source = File::load(&*work.txn, from)?.map()?;
                let end = range.end.min(source.len);
                if at >= end {
                    return Ok(None);
                }
                if place.checked_add(end - at).is_none_or(|end| end > FILE_BYTES_MAX) {
                    return Err(StoreErrorKind::EntityTooLarge.into());
                }
                let mut change = work.change_file(to, hand)?;
                let stream = change.stream;
                let is_whole = at == 0 && place == 0 && end == source.len && change.map.len <= end;
                if is_whole {
                    let shared = source.share(work.txn, 0..end)?;
                    change.map.resize(work.txn, stream, 0)?;
                    change.map = shared;
                    work.keep_file(to, change)?;
                    return Ok(Some(end));
                }
                let end = end.min(at + COMMIT_BYTES_MAX);
                let shared = source.share(work.txn, at..end)?;
                change.map.overwrite(work.txn, stream, place, shared)?;
                if change.map.keys.len() > KEYS_MAX {
                    return Err(StoreError::invalid("the file has bytes of too many others"));
                }
                work.keep_file(to, change)?;
                Ok(Some(end))
            })?;
            lsn = done.lsn;
            match done.value {
                Some(end) => at = end,
                None => break,
            }
        }
        Ok((at - range.start, lsn))
    }
}
