//! Versions of one name that are not current, and delete markers.
//!
//! They stand in rows of their own, newest first, outside the dentries, so plain listings never meet
//! them. Two rules hold between commits: a name without a leaf has a delete marker as its newest row
//! or no row at all; and at most one version of a name, current or not, is the null version, which a
//! row of its own finds when it is noncurrent.

use gw_db::Read;
use gw_types::{InodeId, VersionSeq};

use crate::core::{UsageChange, Work};
use crate::error::{StoreError, StoreResult};
use crate::namespace::Spot;
use crate::rows::{
    self, FileBody, InodeBody, InodeRow, Leaf, LeafKind, PartsRow, Place, Published, VersionRow, key,
};

/// The newest noncurrent version or marker.
pub(crate) fn newest(read: &impl Read, spot: &Spot) -> StoreResult<Option<(VersionSeq, VersionRow)>> {
    let prefix = key::versions_of(spot.parent, &spot.name);
    let Some((row_key, value)) = rows::under(read, &prefix, &[], 1)?.into_iter().next() else {
        return Ok(None);
    };
    let (_, seq) = key::version_parts(&row_key)
        .ok_or_else(|| StoreError::corrupt("the key of a version row does not parse"))?;
    Ok(Some((seq, rows::decode("version", &value)?)))
}

/// A noncurrent version or marker by its number.
pub(crate) fn version(read: &impl Read, spot: &Spot, seq: VersionSeq) -> StoreResult<Option<VersionRow>> {
    rows::load(read, "version", &key::version(spot.parent, &spot.name, seq))
}

/// Where the noncurrent null version is.
pub(crate) fn null_seq(read: &impl Read, spot: &Spot) -> StoreResult<Option<VersionSeq>> {
    rows::load(read, "null version", &key::null_version(spot.parent, &spot.name))
}

impl Work<'_, '_> {
    /// Adds a row to the name's history.
    pub(crate) fn add_version(
        &mut self,
        spot: &Spot,
        seq: VersionSeq,
        row: &VersionRow,
        change: &mut UsageChange,
    ) {
        match row {
            VersionRow::Object { summary, .. } => {
                change.noncurrent += 1;
                change.bytes += summary.size as i64;
            }
            VersionRow::Marker { .. } => change.markers += 1,
        }
        if row.is_null() {
            self.put_row(key::null_version(spot.parent, &spot.name), &seq);
        }
        self.put_row(key::version(spot.parent, &spot.name, seq), row);
    }

    /// Takes a row out of the name's history; its object stays.
    pub(crate) fn take_version(
        &mut self,
        spot: &Spot,
        seq: VersionSeq,
        row: &VersionRow,
        change: &mut UsageChange,
    ) {
        match row {
            VersionRow::Object { summary, .. } => {
                change.noncurrent -= 1;
                change.bytes -= summary.size as i64;
            }
            VersionRow::Marker { .. } => change.markers -= 1,
        }
        if row.is_null() {
            self.txn.delete(key::null_version(spot.parent, &spot.name));
        }
        self.txn.delete(key::version(spot.parent, &spot.name, seq));
    }

    /// Takes the noncurrent null version out, with its object.
    pub(crate) fn remove_null(&mut self, spot: &Spot, change: &mut UsageChange) -> StoreResult<()> {
        let Some(seq) = null_seq(&*self.txn, spot)? else { return Ok(()) };
        let row = version(&*self.txn, spot, seq)?
            .ok_or_else(|| StoreError::corrupt("the null version of a name is not where its row says"))?;
        self.remove_version(spot, seq, &row, change)
    }

    /// Takes a version out, with its object.
    pub(crate) fn remove_version(
        &mut self,
        spot: &Spot,
        seq: VersionSeq,
        row: &VersionRow,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        self.take_version(spot, seq, row, change);
        if let VersionRow::Object { inode, .. } = row {
            let row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(*inode))?;
            self.bury(*inode, row)?;
        }
        Ok(())
    }

    /// The current object becomes noncurrent.
    pub(crate) fn retire(&mut self, spot: &Spot, leaf: &Leaf, change: &mut UsageChange) -> StoreResult<()> {
        if let Some(summary) = leaf.published {
            change.objects -= 1;
            change.bytes -= summary.size as i64;
            let inode = self.detach(spot, leaf.inode)?;
            self.add_version(spot, summary.version, &VersionRow::Object { inode, summary }, change);
        }
        Ok(())
    }

    /// Takes a name off a published inode and answers the one that history has from now on: the same
    /// one where nobody else can change it, else a copy that shares its bytes.
    pub(crate) fn detach(&mut self, spot: &Spot, inode: InodeId) -> StoreResult<InodeId> {
        let row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(inode))?;
        if row.places.len() <= 1 && !self.releases.keeps(inode) {
            return Ok(inode);
        }
        let past = self.copy_published(inode, &row)?;
        self.unname(spot, inode)?;
        Ok(past)
    }

    /// An inode without names that holds what another one has published.
    pub(crate) fn copy_published(&mut self, inode: InodeId, row: &InodeRow) -> StoreResult<InodeId> {
        let published =
            row.published().ok_or_else(|| StoreError::corrupt("a version was never published"))?;
        let data = published.data.share(self.txn, 0..published.data.len)?;
        let published = Published { data, ..published.clone() };
        self.keep(None, Some(&published.attributes))?;
        let past = self.new_inode();
        if published.has_parts {
            let parts: PartsRow = rows::must(&*self.txn, "parts", &key::parts_of(inode))?;
            self.put_row(key::parts_of(past), &parts);
        }
        let body = InodeBody::File(Box::new(FileBody { working: None, published: Some(published) }));
        let row = InodeRow { places: Vec::new(), body, ..row.clone() };
        self.put_row(key::inode(past), &row);
        Ok(past)
    }

    /// After something was taken from a name without a leaf: if its newest row is an object now,
    /// that is the current one again.
    pub(crate) fn promote(&mut self, spot: &Spot, change: &mut UsageChange) -> StoreResult<Option<Leaf>> {
        let Some((seq, row)) = newest(&*self.txn, spot)? else { return Ok(None) };
        let VersionRow::Object { inode, summary } = row else { return Ok(None) };
        self.take_version(spot, seq, &row, change);
        change.objects += 1;
        change.bytes += summary.size as i64;
        let mut row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(inode))?;
        row.places = vec![Place { parent: spot.parent, name: spot.name.clone() }];
        row.posix.nlink = 1;
        self.put_row(key::inode(inode), &row);
        Ok(Some(Leaf { inode, kind: LeafKind::File, published: Some(summary), cookie: None }))
    }
}
