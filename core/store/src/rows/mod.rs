//! The rows of the store: what stands under which key, byte for byte.
//!
//! Every value is one version byte and a postcard body. Keys are drawn in [`key`]. Rows are read
//! through typed helpers that work on a snapshot and inside a commit alike; a value that does not
//! decode is [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt), never a panic. The bytes
//! are held by golden tests: a change of format shows as a changed test.

mod bucket;
mod event;
mod inode;
pub(crate) mod key;
mod name;
mod upload;
mod user;
mod volume;

use bytes::Bytes;
use gw_db::Read;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use bucket::BucketRow;
pub(crate) use event::{EventRow, OutboxRow};
pub(crate) use inode::{
    DirCounts, DoomedRow, FileBody, InodeBody, InodeRow, OrphanRow, PartsRow, Place, Posix, Published,
    WorkingRow,
};
pub(crate) use name::{DentryRow, Directory, Leaf, LeafKind, Summary, VersionRow};
pub(crate) use upload::{CompletedRow, PartRow, SweepRow, UploadRow};
pub(crate) use user::{AccessKeyRow, IamRevisionRow, KeptRow, KmsKeyRow, UserRow};
pub(crate) use volume::{ExportRow, Lease, SnapshotRow, VolumeRow};

use crate::error::{StoreError, StoreResult};

/// Version byte of every row so far.
const FORM: u8 = 1;

/// A row's value.
pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    let out = vec![FORM];
    postcard::to_extend(row, out).expect("rows hold no type that postcard cannot write, and a Vec grows")
}

/// Reads back what [`encode`] wrote; `what` names the row in the error.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, value: &[u8]) -> StoreResult<T> {
    match value.split_first() {
        Some((&FORM, body)) => postcard::from_bytes(body)
            .map_err(|error| StoreError::corrupt(format!("a {what} row does not decode")).with_source(error)),
        _ => Err(StoreError::corrupt(format!("a {what} row has a form this version does not know"))),
    }
}

/// One row by key.
pub(crate) fn load<T: DeserializeOwned>(
    read: &impl Read,
    what: &'static str,
    key: &[u8],
) -> StoreResult<Option<T>> {
    match read.get(key)? {
        Some(value) => decode(what, &value).map(Some),
        None => Ok(None),
    }
}

/// A row that another row says is there.
pub(crate) fn must<T: DeserializeOwned>(read: &impl Read, what: &'static str, key: &[u8]) -> StoreResult<T> {
    load(read, what, key)?.ok_or_else(|| StoreError::corrupt(format!("a {what} row is missing")))
}

/// The rows under a prefix from `from` on, at most `limit`.
pub(crate) fn under(
    read: &impl Read,
    prefix: &[u8],
    from: &[u8],
    limit: usize,
) -> StoreResult<Vec<(Bytes, Bytes)>> {
    let end = key::after_prefix(prefix).unwrap_or_default();
    Ok(read.scan(from.max(prefix), &end, false, limit)?)
}

#[cfg(test)]
mod golden;
