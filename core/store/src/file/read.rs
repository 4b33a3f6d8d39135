//! Reading files as mounts and volumes see them.
//!
//! Nothing pins a working map: a writer may let go of bytes while they are being read. They never turn
//! into others (no place is written twice), they only may be gone, and then the read looks at the newest
//! map and begins again.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use gw_data::{BodyPiece, DataMap};
use gw_db::Read;
use gw_types::ports::WrappedBucketKey;
use parking_lot::Mutex;

use super::{File, FileAt};
use crate::core::Core;
use crate::error::{StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, key};

/// Looks at a file that changes all the time before its error is believed.
const LOOKS_MAX: usize = 4;

/// A part of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilePiece {
    /// Bytes.
    Data(Bytes),
    /// So many zeros.
    Zeros(u64),
}

/// A file as it was when it was read last, with the rows it was made from. A row that has not changed is
/// not decoded again: one of many pieces is long.
#[derive(Debug, Default)]
pub(crate) struct ReadView(Mutex<Option<Seen>>);

#[derive(Clone, Debug)]
struct Seen {
    bucket: Bytes,
    inode: Bytes,
    map: Arc<DataMap>,
    key: WrappedBucketKey,
}

impl ReadView {
    fn look(&self, read: &impl Read, at: &FileAt) -> StoreResult<(Arc<DataMap>, WrappedBucketKey)> {
        let bucket = read.get(&key::bucket(&at.bucket))?.ok_or(StoreErrorKind::NoSuchBucket)?;
        let inode = read.get(&key::inode(at.inode))?.ok_or(StoreErrorKind::NoSuchKey)?;
        if let Some(seen) = &*self.0.lock()
            && seen.bucket == bucket
            && seen.inode == inode
        {
            return Ok((seen.map.clone(), seen.key.clone()));
        }
        let file = File::new(BucketRow::decode(&bucket)?, Some(rows::decode("inode", &inode)?))?;
        let (map, key) = (Arc::new(file.map()?), file.bucket.key);
        *self.0.lock() = Some(Seen { bucket, inode, map: map.clone(), key: key.clone() });
        Ok((map, key))
    }
}

impl Core {
    /// The bytes of a range, in order, as far as the file goes. All of it is in memory: ask for little.
    pub(crate) async fn file_read(&self, at: &FileAt, range: Range<u64>) -> StoreResult<Vec<FilePiece>> {
        self.file_read_again(at, &ReadView::default(), range).await
    }

    /// The same for somebody who reads the same file again and again.
    pub(crate) async fn file_read_again(
        &self,
        at: &FileAt,
        view: &ReadView,
        range: Range<u64>,
    ) -> StoreResult<Vec<FilePiece>> {
        let mut looks = 1;
        loop {
            let (map, key) = view.look(&self.snapshot(), at)?;
            let result = self.read_map(map, key, range.clone()).await;
            match result {
                Err(error) if error.kind() == StoreErrorKind::Corrupt && looks < LOOKS_MAX => {
                    tracing::debug!(inode = at.inode.0, %error, "bytes were perhaps replaced while they were read");
                    looks += 1;
                }
                other => return other,
            }
        }
    }

    /// A range of a map, as far as it goes.
    pub(crate) async fn read_map(
        &self,
        map: Arc<DataMap>,
        key: WrappedBucketKey,
        range: Range<u64>,
    ) -> StoreResult<Vec<FilePiece>> {
        let end = range.end.min(map.len);
        let mut pieces = Vec::new();
        if range.start >= end {
            return Ok(pieces);
        }
        let mut reader = self.data.read(map, key, range.start..end);
        while let Some(piece) = reader.next_piece().await {
            match (piece?, pieces.last_mut()) {
                (BodyPiece::Zeros(len), Some(FilePiece::Zeros(last))) => *last += len,
                (BodyPiece::Zeros(len), _) => pieces.push(FilePiece::Zeros(len)),
                (BodyPiece::Data(bytes), _) => pieces.push(FilePiece::Data(bytes)),
            }
        }
        Ok(pieces)
    }

    /// The next byte from `offset` on that is data, or that is in a hole (the end of a file is one).
    /// `None` behind the end, and where no data follows.
    pub(crate) fn file_seek(&self, at: &FileAt, offset: u64, data: bool) -> StoreResult<Option<u64>> {
        let map = self.file(at)?.map()?;
        if offset >= map.len {
            return Ok(None);
        }
        let snapshot = self.snapshot();
        if data {
            return Ok(map.next_data(&snapshot, offset..map.len)?);
        }
        let first = map.runs(&snapshot, offset..map.len, 1)?;
        Ok(Some(offset + first.first().filter(|run| run.is_data).map_or(0, |run| run.len)))
    }
}
