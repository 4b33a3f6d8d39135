//! The root of a mount of all buckets: a directory whose names are buckets.
//!
//! `mkdir` and `rmdir` make and delete buckets; nothing else can be made there. Who lists it sees the
//! buckets that S3 would list, and finds any by name that may be listed.

use std::collections::HashMap;

use futures::FutureExt;
use gw_db::Read;
use gw_types::{Action, BucketName, InodeId, Timestamp};
use parking_lot::Mutex;

use super::attr::found_of;
use super::table::{Hold, Positions};
use super::{StoreFiles, load};
use crate::api::files::{
    DirEntry, Errno, FileAttr, FileId, FileKind, FileTime, FilesError, FilesResult, Found,
};
use crate::api::{BucketListRequest, BucketOptions};
use crate::bucket::bucket_name;
use crate::core::load_bucket;
use crate::error::StoreResult;
use crate::rows::{self, BucketRow, key};

const SCAN_PAGE: usize = 256;

/// Names of buckets by the number of their roots: as many as there are buckets.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<InodeId, BucketName>>);

impl Names {
    pub(super) fn remember(&self, root: InodeId, name: &BucketName) {
        self.0.lock().insert(root, name.clone());
    }
    pub(super) fn find(&self, root: InodeId) -> Option<BucketName> {
        self.0.lock().get(&root).cloned()
    }
    fn forget(&self, root: InodeId) {
        self.0.lock().remove(&root);
    }
    /// Looks through all buckets.
    pub(super) fn search(&self, read: &impl Read, root: InodeId) -> StoreResult<Option<BucketName>> {
        let mut from = Vec::new();
        loop {
            let page = rows::under(read, &key::buckets(""), &from, SCAN_PAGE)?;
            for (row_key, value) in &page {
                if BucketRow::decode(value)?.root == root {
                    let name = bucket_name(row_key)?;
                    self.remember(root, &name);
                    return Ok(Some(name));
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN_PAGE => from = key::after(last),
                _ => return Ok(None),
            }
        }
    }
}

fn name_of(name: &[u8]) -> Option<BucketName> {
    BucketName::new(std::str::from_utf8(name).ok()?).ok()
}

impl StoreFiles {
    pub(super) fn root_attr(&self) -> FileAttr {
        let posix = &self.core.config.posix;
        let at = time(self.mounted_at);
        FileAttr {
            id: FileId::ROOT,
            kind: FileKind::Directory,
            mode: posix.dir_mode,
            nlink: 2,
            uid: posix.uid,
            gid: posix.gid,
            rdev: 0,
            size: 0,
            blocks: 0,
            atime: at,
            mtime: at,
            ctime: at,
            btime: at,
        }
    }

    pub(super) fn bucket_lookup(&self, name: &[u8]) -> FilesResult<Found> {
        let name = name_of(name).ok_or(Errno::NoEntry)?;
        let snapshot = self.core.snapshot();
        let row = load_bucket(&snapshot, &name)?.ok_or(Errno::NoEntry)?;
        self.core.allow(&snapshot, &self.options.who, Action::ListBucket, (&name, &row))?;
        if self.table.hold(row.root, Hold::Lookup)?.is_none() {
            return Err(Errno::NoEntry.into());
        }
        self.names.remember(row.root, &name);
        let looked = load(&self.core.snapshot(), row.root).map(|inode| self.found(row.root, &inode));
        if looked.is_err() {
            self.let_go(row.root, Hold::Lookup, 1);
        }
        looked
    }

    pub(super) fn bucket_mkdir(&self, name: &[u8]) -> FilesResult<Found> {
        self.writable()?;
        let bucket = name_of(name).ok_or_else(|| {
            FilesError::new(Errno::Invalid, "a bucket's name has 3 to 63 of a-z, 0-9, - and .")
        })?;
        let spare = self.spare_key.lock().take();
        let bucket_key = match spare {
            Some(bucket_key) => bucket_key,
            None => match self.core.keys.new_bucket_key().now_or_never() {
                Some(made) => made.map_err(crate::StoreError::from)?,
                None => return Err(FilesError::new(Errno::Busy, "a key for the bucket is not ready")),
            },
        };
        self.core.bucket_make(&self.options.who, &bucket, BucketOptions::default(), bucket_key)?;
        if let Some(Ok(next)) = self.core.keys.new_bucket_key().now_or_never() {
            *self.spare_key.lock() = Some(next);
        }
        self.bucket_lookup(name)
    }

    pub(super) fn bucket_rmdir(&self, name: &[u8]) -> FilesResult<()> {
        self.writable()?;
        let name = name_of(name).ok_or(Errno::NoEntry)?;
        let done = self.core.bucket_remove(&self.options.who, &name)?;
        self.names.forget(done.value.root);
        Ok(())
    }

    pub(super) fn bucket_readdir(
        &self,
        cookie: u64,
        positions: &mut Positions,
        (count_max, plus): (usize, bool),
    ) -> FilesResult<Vec<DirEntry>> {
        let after = match cookie {
            0..=2 => None,
            _ => {
                let name = positions.find(cookie);
                let name = match name.as_deref().and_then(name_of) {
                    Some(name) => Some(name),
                    None => self.names.search(&self.core.snapshot(), InodeId(cookie))?,
                };
                Some(name.ok_or(Errno::Invalid)?)
            }
        };
        let request = BucketListRequest { prefix: String::new(), after, max: count_max };
        let page = self.core.bucket_list(&self.options.who, &request)?;
        let mut entries = Vec::with_capacity(page.buckets.len());
        for bucket in page.buckets {
            let name = bucket.name.as_str().as_bytes().to_vec();
            let found = if plus { self.bucket_lookup(&name).ok() } else { None };
            let Some(row) = load_bucket(&self.core.snapshot(), &bucket.name)? else { continue };
            positions.remember(row.root.0, name.clone());
            let id = self.table.file_id(row.root);
            entries.push(DirEntry { name, cookie: row.root.0, id, kind: FileKind::Directory, found });
        }
        Ok(entries)
    }

    pub(super) fn found(&self, inode: InodeId, row: &rows::InodeRow) -> Found {
        found_of(self.table.file_id(inode), inode, row, self.options.ttl)
    }
}

pub(super) fn time(at: Timestamp) -> FileTime {
    FileTime(i128::from(at.0))
}
