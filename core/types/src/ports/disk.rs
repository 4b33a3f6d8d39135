use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::PortResult;

/// One entry of [`Disk::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// Path below the disk's root, `/` between folders.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
}

/// A folder of files: the journal device and the home of segment files.
///
/// It behaves like a POSIX file system on a disk with a volatile cache. What was written but not
/// synced may be lost in whole or in part at a power cut, in any order; what was synced stays. A
/// created, renamed or removed name is durable only after [`Disk::sync_dir`] of its folder (a new
/// folder itself is durable at once). Nothing here retries. Names are relative, `/` separates folders,
/// and `..` is refused.
#[async_trait]
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Makes a new empty file; an existing one is an error. Folders on the way are made.
    fn create(&self, name: &str) -> PortResult<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> PortResult<Arc<dyn DiskFile>>;
    /// Removes a file. Open handles keep working.
    fn remove(&self, name: &str) -> PortResult<()>;
    /// Renames within the disk, replacing what is there, atomically.
    fn rename(&self, from: &str, to: &str) -> PortResult<()>;
    /// Files in one folder (not below it), in order of name. A missing folder is empty.
    fn list(&self, folder: &str) -> PortResult<Vec<DiskEntry>>;
    /// Makes creations, renames and removals in `folder` durable.
    async fn sync_dir(&self, folder: &str) -> PortResult<()>;
    /// Bytes that can still be written, as the operating system sees it.
    fn free_bytes(&self) -> PortResult<u64>;
}

/// An open file of a [`Disk`].
#[async_trait]
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Writes all of `bytes` at `offset`, into the operating system's cache (does not wait for the
    /// device, so it may be called on an async task). After an error any part may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> PortResult<()>;
    /// Reads exactly `len` bytes at `offset`; [`crate::PortErrorKind::Corrupt`] where the file ends before.
    async fn read_at(&self, offset: u64, len: usize) -> PortResult<Bytes>;
    /// Returns when all bytes written before the call, and the length, are on stable storage. An
    /// error means that they may never be: callers poison themselves, they do not call again.
    async fn sync(&self) -> PortResult<()>;
    /// Length in bytes.
    fn len(&self) -> PortResult<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> PortResult<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros). Extending reserves the room where the file system can, so that a
    /// later write within the length does not find the disk full; when there is no room the length
    /// stays as it was.
    fn set_len(&self, len: u64) -> PortResult<()>;
}
