//! Inodes that are there only because a mount holds them, and their end.
//!
//! The commit that takes the last name of a held inode writes an orphan row, and so does the one that
//! leaves a held directory with nothing in it. The last forget or release resolves it; after a crash
//! nobody holds anything, and opening the store resolves all.

use gw_types::InodeId;

use crate::core::{Core, Work};
use crate::error::StoreResult;
use crate::rows::{self, InodeBody, InodeRow, key};

impl Core {
    /// Takes away what nobody holds any more. A failure leaves the row for the next start.
    pub(crate) fn collect(&self, inode: InodeId) {
        let orphan = key::orphan(inode);
        let collected = self.snapshot().get(&orphan).map_err(Into::into).and_then(|found| match found {
            Some(_) => self.commit(|work| work.collect(inode)).map(|_| ()),
            None => Ok(()),
        });
        if let Err(error) = collected {
            tracing::warn!(inode = inode.0, %error, "an inode without names waits for the next start");
        }
    }
}

impl Work<'_, '_> {
    /// Resolves one orphan row, unless somebody holds the inode again.
    pub(crate) fn collect(&mut self, inode: InodeId) -> StoreResult<()> {
        let orphan = key::orphan(inode);
        if self.txn.get(&orphan)?.is_none() || self.releases.keeps(inode) {
            return Ok(());
        }
        let row: Option<InodeRow> = rows::load(&*self.txn, "inode", &key::inode(inode))?;
        self.txn.delete(orphan);
        match row {
            None => Ok(()),
            Some(row) if row.places.is_empty() => self.bury(inode, row),
            Some(row) if matches!(row.body, InodeBody::Directory(counts) if counts.kept) => {
                self.let_directory_go(inode)
            }
            Some(_) => Ok(()),
        }
    }
}
