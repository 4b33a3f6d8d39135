//! Taking names off: unlink and rmdir, by the rules of the bucket's versioning.
//!
//! In a bucket with versions what S3 sees becomes a version under a delete marker, as with an S3
//! DELETE; what S3 does not see just goes. Under object lock a file that must stay keeps its name
//! (`EPERM`): a mount shows no versions, so hiding it would be losing it.

use gw_types::{Action, InodeId};

use super::names::directory_of;
use super::view::{self, What, is_mark};
use super::{StoreFiles, load, load_directory};
use crate::api::Versioning;
use crate::api::files::{Errno, FileId, FilesResult};
use crate::core::{UsageChange, Work};
use crate::error::StoreResult;
use crate::history;
use crate::namespace::{self, Presence, Spot};
use crate::rows::{BucketRow, DentryRow, InodeBody, Leaf, VersionRow};

impl StoreFiles {
    pub(super) fn take_name(&self, parent: FileId, name: &[u8]) -> FilesResult<()> {
        let Some(parent) = self.table.inode(parent) else { return Err(Errno::IsDirectory.into()) };
        self.change(|work| {
            let directory = load_directory(&*work.txn, parent)?;
            let seen = view::find(&*work.txn, parent, name)?.ok_or(Errno::NoEntry)?;
            let What::Leaf(leaf) = seen.what else { return Err(Errno::IsDirectory.into()) };
            let here = self.here(&*work.txn, directory.bucket)?;
            self.may(&*work.txn, &here, Action::DeleteObject, Some((parent, &seen.spot.name)))?;
            work.check_leaf_unlocked(&here.row, &leaf)?;
            self.make_explicit(work, &here, parent, &directory, false)?;
            let mut change = UsageChange::default();
            work.remove_leaf(&here.row, &seen.spot, &leaf, &mut change)?;
            Ok(work.tally(&here.row, change, false)?)
        })?;
        Ok(())
    }

    pub(super) fn remove_directory(&self, parent: FileId, name: &[u8]) -> FilesResult<()> {
        let Some(parent) = self.table.inode(parent) else { return self.bucket_rmdir(name) };
        self.change(|work| {
            let directory = load_directory(&*work.txn, parent)?;
            let seen = view::find(&*work.txn, parent, name)?.ok_or(Errno::NoEntry)?;
            let inode = directory_of(&seen.what).ok_or(Errno::NotDirectory)?.inode;
            let here = self.here(&*work.txn, directory.bucket)?;
            self.may(&*work.txn, &here, Action::DeleteObject, Some((parent, &seen.spot.name)))?;
            self.make_explicit(work, &here, parent, &directory, false)?;
            let mut change = UsageChange::default();
            work.end_empty_directory(&here.row, inode, &mut change)?;
            Ok(work.tally(&here.row, change, false)?)
        })?;
        Ok(())
    }
}

impl Work<'_, '_> {
    pub(super) fn check_leaf_unlocked(&self, bucket: &BucketRow, leaf: &Leaf) -> StoreResult<()> {
        match leaf.published {
            Some(_) => self.check_unlocked(bucket, leaf.inode, false),
            None => Ok(()),
        }
    }

    /// Removes a directory in which a mount finds nothing; `ENOTEMPTY` else.
    pub(super) fn end_empty_directory(
        &mut self,
        bucket: &BucketRow,
        inode: InodeId,
        change: &mut UsageChange,
    ) -> FilesResult<()> {
        let row = load(&*self.txn, inode)?;
        let InodeBody::Directory(counts) = row.body else { return Err(Errno::NotDirectory.into()) };
        let mark = match namespace::dentry(&*self.txn, inode, b"")? {
            Some(DentryRow::Leaf(leaf)) if is_mark(b"", &leaf) => Some(leaf),
            _ => None,
        };
        if counts.live > u64::from(mark.is_some()) {
            return Err(Errno::NotEmpty.into());
        }
        self.removing = Some(inode);
        if let Some(mark) = mark {
            let spot = Spot { parent: inode, name: Vec::new() };
            self.remove_leaf(bucket, &spot, &mark, change)?;
        } else {
            self.let_directory_go(inode)?;
        }
        self.removing = None;
        Ok(())
    }

    /// Takes a leaf's name off, with all that its directories count.
    pub(super) fn remove_leaf(
        &mut self,
        bucket: &BucketRow,
        spot: &Spot,
        leaf: &Leaf,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        let was = Presence::of(Some(leaf), false);
        let versioning = bucket.settings.versioning;
        let Some(summary) = leaf.published.filter(|_| versioning != Versioning::Off) else {
            self.drop_current(spot, leaf, change)?;
            self.set_leaf(spot, None);
            return self.adjust(spot.parent, was, Presence::default());
        };
        let had_history = history::newest(&*self.txn, spot)?.is_some();
        if versioning == Versioning::Suspended && summary.null {
            self.drop_current(spot, leaf, change)?;
        } else {
            self.retire(spot, leaf, change)?;
        }
        self.set_leaf(spot, None);
        self.cover(bucket, spot, change)?;
        let was = Presence { history: had_history, ..was };
        self.adjust(spot.parent, was, Presence { history: true, ..Presence::default() })
    }

    /// Puts a delete marker on top of a name's history.
    pub(super) fn cover(
        &mut self,
        bucket: &BucketRow,
        spot: &Spot,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        let null = bucket.settings.versioning == Versioning::Suspended;
        if null {
            self.remove_null(spot, change)?;
        }
        let seq = self.new_version();
        let marker = VersionRow::Marker { null, committed_at: self.now };
        self.add_version(spot, seq, &marker, change);
        Ok(())
    }
}
