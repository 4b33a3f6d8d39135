//! What is deleted later: bytes that a reader still had, part rows of finished uploads, and inodes
//! that only a mount held.
//!
//! All are named by rows written in the commit that made them garbage, so a crash loses nothing:
//! [`Core::sweep_all`] at open goes on where the last run stopped. Deleting is cut in commits of
//! [`BATCH`] rows, so that no commit grows with the size of an upload.

use gw_types::{InodeId, UploadSeq};

use crate::core::{Core, Work};
use crate::error::StoreResult;
use crate::rows::{self, DoomedRow, PartRow, SweepRow, key};

/// Part rows deleted by one commit.
pub(crate) const BATCH: usize = 256;

impl Core {
    /// Releases what the last reader of an inode left. A failure leaves the row for the next start.
    pub(crate) fn release_doomed(&self, inode: InodeId) {
        let released = self.commit(|work| work.release_doomed(inode));
        if let Err(error) = released {
            tracing::warn!(inode = inode.0, %error, "bytes of a deleted object wait for the next start");
        }
    }

    /// Deletes all part rows of a finished upload.
    pub(crate) fn sweep(&self, upload: UploadSeq) -> StoreResult<()> {
        while !self.commit(|work| work.sweep(upload))?.value {}
        Ok(())
    }

    /// Everything that a former run left. Nobody reads yet.
    pub(crate) fn sweep_all(&self) -> StoreResult<()> {
        loop {
            let snapshot = self.snapshot();
            let doomed = rows::under(&snapshot, &key::all_doomed(), &[], BATCH)?;
            let sweeps = rows::under(&snapshot, &key::sweeps(), &[], BATCH)?;
            let orphans = rows::under(&snapshot, &key::orphans(), &[], BATCH)?;
            drop(snapshot);
            if doomed.is_empty() && sweeps.is_empty() && orphans.is_empty() {
                return Ok(());
            }
            for (row, _) in orphans {
                if let Some(inode) = key::id_of(&row) {
                    self.commit(|work| work.collect(InodeId(inode)))?;
                }
            }
            for (row, _) in doomed {
                if let Some(inode) = key::id_of(&row) {
                    self.commit(|work| work.release_doomed(InodeId(inode)))?;
                }
            }
            for (row, _) in sweeps {
                if let Some(upload) = key::id_of(&row) {
                    self.sweep(UploadSeq(upload))?;
                }
            }
        }
    }
}

impl Work<'_, '_> {
    fn release_doomed(&mut self, inode: InodeId) -> StoreResult<()> {
        let row = key::doomed(inode);
        if let Some(DoomedRow(maps)) = rows::load(&*self.txn, "doomed", &row)? {
            for map in &maps {
                map.release(self.txn)?;
            }
            self.txn.delete(row);
        }
        Ok(())
    }

    /// One batch; answers whether it was the last.
    pub(crate) fn sweep(&mut self, upload: UploadSeq) -> StoreResult<bool> {
        let sweep_key = key::sweep(upload);
        let Some(sweep) = rows::load::<SweepRow>(&*self.txn, "sweep", &sweep_key)? else { return Ok(true) };
        let parts = rows::under(&*self.txn, &key::parts(upload), &[], BATCH)?;
        let last = parts.len() < BATCH;
        for (row, value) in parts {
            let kept = key::part_number(&row).is_some_and(|number| sweep.is_kept(number));
            if !kept {
                rows::decode::<PartRow>("part", &value)?.data.release(self.txn)?;
            }
            self.txn.delete(row.to_vec());
        }
        if last {
            self.txn.delete(sweep_key);
        }
        Ok(last)
    }
}
