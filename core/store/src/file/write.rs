//! Changing bytes of files.
//!
//! Neighbouring pieces of one call become one extent, so a queue of small sequential writes costs little
//! more than one large one. A leaf that very small writes have cut into many entries is written anew
//! together with the write that finds it so.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use gw_data::{BodyKey, BodyWriter, DataMap, LEAF_BYTES, LaneClass, MapEntry, StagedBody};
use gw_types::Lsn;

use super::{Change, File, FileAt, FilePiece, Hand};
use crate::core::{Core, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};

/// Longest file, and largest volume.
pub(crate) const FILE_BYTES_MAX: u64 = 16 << 40;
/// Bytes of one call of [`Core::file_write`].
pub(crate) const WRITE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of several pieces that become one commit; what small ones send through the journal has to fit a
/// record.
const COMMIT_BYTES_MAX: u64 = 8 << 20;
/// Neighbours are joined up to this: a lease's bytes.
const RUN_BYTES_MAX: usize = 4 << 20;
/// A leaf with more entries is written anew.
const TIDY_ENTRIES: usize = 512;

/// Bytes for one place of a file.
#[derive(Debug)]
struct Run {
    at: u64,
    parts: Vec<Bytes>,
    len: usize,
}

/// What is written in one commit. Later pieces hide earlier ones.
fn join(pieces: &[(u64, Bytes)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, bytes) in pieces.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        match runs.last_mut() {
            Some(run) if run.at + run.len as u64 == *at && run.len + bytes.len() <= RUN_BYTES_MAX => {
                run.len += bytes.len();
                run.parts.push(bytes.clone());
            }
            _ => runs.push(Run { at: *at, parts: vec![bytes.clone()], len: bytes.len() }),
        }
    }
    runs
}

/// Pieces cut into commits.
fn commits(mut pieces: &[(u64, Bytes)]) -> Vec<&[(u64, Bytes)]> {
    let mut out = Vec::new();
    while !pieces.is_empty() {
        let mut bytes = 0;
        let fits = |(_, piece): &&(u64, Bytes)| {
            bytes += piece.len() as u64;
            bytes <= COMMIT_BYTES_MAX
        };
        let count = pieces.iter().take_while(fits).count().max(1);
        let (now, later) = pieces.split_at(count);
        out.push(now);
        pieces = later;
    }
    out
}

/// A leaf of many entries, as one.
#[derive(Debug)]
struct Tidied {
    range: Range<u64>,
    seen: Vec<MapEntry>,
    staged: StagedBody,
}

impl Core {
    /// Writes pieces, in their order; the file grows as needed. Up to 8 MiB (or one piece) are one
    /// commit, the rest of a longer call follows in others. At most [`WRITE_BYTES_MAX`] bytes.
    pub(crate) async fn file_write(
        self: &Arc<Self>,
        at: &FileAt,
        hand: Hand,
        pieces: &[(u64, Bytes)],
    ) -> StoreResult<Lsn> {
        let sum: u64 = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if sum > WRITE_BYTES_MAX {
            return Err(StoreError::invalid("too many bytes for one write"));
        }
        let fits = |(at, bytes): &(u64, Bytes)| {
            at.checked_add(bytes.len() as u64).is_some_and(|end| end <= FILE_BYTES_MAX)
        };
        if !pieces.iter().all(fits) {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        let mut lsn = self.db.appended();
        for pieces in commits(pieces) {
            lsn = self.write_runs(at, hand, join(pieces)).await?;
        }
        Ok(lsn)
    }

    async fn write_runs(self: &Arc<Self>, at: &FileAt, hand: Hand, runs: Vec<Run>) -> StoreResult<Lsn> {
        let file = self.file(at)?;
        let key = match file.key()? {
            Some(key) => key,
            None => self.data.new_key(&file.bucket.key).await?,
        };
        let mut tidied = Vec::new();
        for range in crowded(self, &file.map()?, &runs)? {
            tidied.extend(self.tidy_leaf(at, &file, (hand, &key), range).await?);
        }
        let mut writers = Vec::with_capacity(runs.len());
        let mut places = Vec::with_capacity(runs.len());
        for run in runs {
            let mut writer = self.file_writer(&file, hand, run.len as u64, &key)?;
            for part in run.parts {
                writer.write(part).await?;
            }
            places.push(run.at);
            writers.push(writer);
        }
        let staged = BodyWriter::finish_all(writers).await?;
        drop(file);
        let done = self.commit(|work| {
            let mut change = work.change_file(at, hand)?;
            for tidied in tidied {
                work.put_tidied(&mut change, tidied)?;
            }
            for (place, staged) in places.into_iter().zip(staged) {
                work.put_body(&mut change, place, staged)?;
            }
            work.keep_file(at, change)
        })?;
        Ok(done.lsn)
    }

    fn file_writer(&self, file: &File, hand: Hand, len: u64, key: &BodyKey) -> StoreResult<BodyWriter> {
        let class = match hand {
            Hand::Mount => LaneClass::Bulk,
            Hand::Lease(_) => LaneClass::Volume,
        };
        Ok(self.data.begin_in(
            class,
            hand.stream(&file.bucket),
            &file.bucket.key,
            Some(len),
            Some(key.clone()),
        )?)
    }

    /// A leaf's bytes as one extent; nothing when it changes meanwhile.
    async fn tidy_leaf(
        self: &Arc<Self>,
        at: &FileAt,
        file: &File,
        (hand, key): (Hand, &BodyKey),
        range: Range<u64>,
    ) -> StoreResult<Option<Tidied>> {
        let seen = file.map()?.entries(&self.snapshot(), range.clone())?;
        let mut writer = self.file_writer(file, hand, range.end - range.start, key)?;
        for piece in self.file_read(at, range.clone()).await? {
            match piece {
                FilePiece::Data(bytes) => writer.write(bytes).await?,
                FilePiece::Zeros(len) => writer.write(vec![0; len as usize].into()).await?,
            }
        }
        if writer.len() != range.end - range.start {
            return Ok(None);
        }
        Ok(Some(Tidied { range, seen, staged: writer.finish().await? }))
    }

    /// Makes a range a hole, as far as the file goes.
    pub(crate) fn file_punch(&self, at: &FileAt, hand: Hand, range: Range<u64>) -> StoreResult<Lsn> {
        let done = self.commit(|work| {
            let mut change = work.change_file(at, hand)?;
            change.map.punch(work.txn, change.stream, range)?;
            work.keep_file(at, change)
        })?;
        Ok(done.lsn)
    }

    /// Gives the file another length. New bytes are zeros, and cost nothing.
    pub(crate) fn file_resize(&self, at: &FileAt, hand: Hand, len: u64) -> StoreResult<Lsn> {
        if len > FILE_BYTES_MAX {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        let done = self.commit(|work| {
            let mut change = work.change_file(at, hand)?;
            change.map.resize(work.txn, change.stream, len)?;
            work.keep_file(at, change)
        })?;
        Ok(done.lsn)
    }

    /// Asks for room for a range, and (unless `keep_len`) makes the file reach its end. Room cannot be
    /// kept for one file; it is refused where there is not so much now.
    pub(crate) fn file_allocate(
        &self,
        at: &FileAt,
        hand: Hand,
        range: Range<u64>,
        keep_len: bool,
    ) -> StoreResult<Lsn> {
        let len = range.end.saturating_sub(range.start);
        if self.data.room_left().is_some_and(|left| left < len) {
            return Err(StoreError::new(StoreErrorKind::DiskFull, "the territory has no room for so much"));
        }
        if keep_len || self.file(at)?.len()? >= range.end {
            return Ok(self.db.appended());
        }
        self.file_resize(at, hand, range.end)
    }
}

/// Leaves with too many entries among those that runs touch in part.
fn crowded(core: &Core, map: &DataMap, runs: &[Run]) -> StoreResult<Vec<Range<u64>>> {
    let snapshot = core.snapshot();
    let mut leaves = std::collections::BTreeSet::new();
    for run in runs {
        leaves.insert(run.at / LEAF_BYTES);
        leaves.insert((run.at + run.len as u64) / LEAF_BYTES);
    }
    let mut out = Vec::new();
    for leaf in leaves {
        let range = leaf * LEAF_BYTES..((leaf + 1) * LEAF_BYTES).min(map.len);
        if !range.is_empty() && map.entries(&snapshot, range.clone())?.len() > TIDY_ENTRIES {
            out.push(range);
        }
    }
    Ok(out)
}

impl Work<'_, '_> {
    fn put_body(&mut self, change: &mut Change, at: u64, staged: StagedBody) -> StoreResult<()> {
        let new = staged.attach(self.txn)?;
        Ok(change.map.overwrite(self.txn, change.stream, at, new)?)
    }

    fn put_tidied(&mut self, change: &mut Change, tidied: Tidied) -> StoreResult<()> {
        let now = (tidied.range.end <= change.map.len)
            .then(|| change.map.entries(&*self.txn, tidied.range.clone()))
            .transpose()?;
        if now.is_some_and(|now| now == tidied.seen) {
            self.put_body(change, tidied.range.start, tidied.staged)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{COMMIT_BYTES_MAX, commits, join};

    #[test]
    fn neighbours_are_one_run_and_order_stays() {
        let piece = |at, len| (at, Bytes::from(vec![0; len]));
        let runs = join(&[piece(0, 5), piece(5, 5), piece(0, 1), piece(1, 0), piece(10, 3), piece(13, 2)]);
        let got: Vec<_> = runs.iter().map(|run| (run.at, run.len)).collect();
        assert_eq!(got, [(0, 10), (0, 1), (10, 5)]);
        let large = COMMIT_BYTES_MAX as usize / 2 + 1;
        let pieces = [piece(0, large), piece(1, large), piece(2, 10 * large), piece(3, 1), piece(4, 1)];
        let counts: Vec<_> = commits(&pieces).into_iter().map(<[_]>::len).collect();
        assert_eq!(counts, [1, 1, 1, 2]);
    }
}
