//! Publishing: what was worked on becomes what S3 sees, in one commit.
//!
//! The inode stays, because handles and exports hold it. Without versions its old bytes go (with their
//! last reader). Where the bucket keeps versions, the old object moves to an inode of its own and becomes
//! noncurrent there. Every name of the file shows the new state. Checksums and part lists of the old
//! bytes go, headers and metadata stay; the ETag is random and of the `-0` form, but for a file that was
//! written once in order ([`super::InOrder`]), which has the MD5 that a PUT would give it.
//!
//! A file whose names all lead elsewhere by now (somebody has put an object there) has nothing to
//! publish to: its working map goes.

use gw_data::DataMap;
use gw_types::{BucketName, InodeId, Lsn};

use super::{File, FileAt};
use crate::api::{Etag, ObjectAttributes, Versioning};
use crate::core::{Core, UsageChange, Work};
use crate::digest;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::history;
use crate::namespace::{self, Presence, Spot};
use crate::rows::{
    self, BucketRow, FileBody, InodeBody, InodeRow, Leaf, LeafKind, PartsRow, Published, VolumeRow,
    WorkingRow, key,
};

/// Whether there was anything to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publishing {
    /// S3 sees the newest bytes from this commit on.
    Done,
    /// It did before.
    Unchanged,
}

impl Core {
    /// Makes the working map of a file what S3 sees.
    pub(crate) fn file_publish(&self, at: &FileAt) -> StoreResult<(Publishing, Lsn)> {
        let mut digest = [0; 16];
        self.keys.random(&mut digest)?;
        let done = self.commit(|work| work.publish_file(at, Etag::Opaque(digest)))?;
        Ok((done.value, done.lsn))
    }

    /// Publishes what a former run was working on, and forgets its leases. Nobody writes yet.
    pub(crate) fn publish_left(&self) -> StoreResult<()> {
        for (row, value) in self.all_under(&key::volumes())? {
            let mut volume: VolumeRow = rows::decode("volume", &value)?;
            if volume.lease.take().is_some() {
                self.commit(|work| {
                    work.put_row(row.to_vec(), &volume);
                    Ok(())
                })?;
            }
        }
        for (row, value) in self.all_under(&key::all_working())? {
            let Some(inode) = key::id_of(&row) else { continue };
            let WorkingRow { bucket } = rows::decode("working", &value)?;
            let bucket = BucketName::new(&bucket).map_err(|_| StoreError::corrupt("a bucket's name"))?;
            let at = FileAt { bucket, inode: InodeId(inode) };
            match self.file_publish(&at) {
                Ok(_) => {}
                Err(error) if error.kind() == StoreErrorKind::NoSuchKey => {
                    self.commit(|work| {
                        work.txn.delete(row.to_vec());
                        Ok(())
                    })?;
                }
                Err(error) => {
                    tracing::error!(inode, %error, "what was written last to a file is not published");
                }
            }
        }
        Ok(())
    }

    /// All rows of a table. For small ones.
    pub(crate) fn all_under(&self, prefix: &[u8]) -> StoreResult<Vec<(bytes::Bytes, bytes::Bytes)>> {
        const PAGE: usize = 512;
        let snapshot = self.snapshot();
        let (mut out, mut from) = (Vec::new(), Vec::new());
        loop {
            let page = rows::under(&snapshot, prefix, &from, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(out) };
            from = key::after(last);
            out.extend(page);
        }
    }
}

impl Work<'_, '_> {
    /// See [`Core::file_publish`].
    pub(crate) fn publish_file(&mut self, at: &FileAt, etag: Etag) -> StoreResult<Publishing> {
        let File { bucket, mut row } = File::load(&*self.txn, at)?;
        let InodeBody::File(body) = &mut row.body else { return Err(StoreError::invalid("not a file")) };
        let excess = body.excess() as i64;
        let working = match (body.working.take(), &body.published) {
            (Some(working), _) => working,
            (None, None) => DataMap::empty(),
            (None, Some(_)) => return Ok(Publishing::Unchanged),
        };
        self.txn.delete(key::working(at.inode));
        let mut change = UsageChange { bytes: -excess, ..UsageChange::default() };
        let names = self.names_of(at.inode, &row)?;
        if names.is_empty() {
            self.put_row(key::inode(at.inode), &row);
            self.account(&bucket, change)?;
            working.release(self.txn)?;
            return Ok(Publishing::Unchanged);
        }
        let InodeBody::File(body) = &mut row.body else { return Err(StoreError::invalid("not a file")) };
        let etag = match self.core.in_order.md5(at.inode, working.len) {
            _ if working.len == 0 => Etag::Md5(digest::md5(&[])),
            Some(md5) => Etag::Md5(md5),
            None => etag,
        };
        let old = body.published.take();
        let mut attributes =
            old.as_ref().map_or_else(ObjectAttributes::default, |old| old.attributes.clone());
        if old.is_none()
            && let Some((first, _)) = names.first()
        {
            crate::posix::first_attributes(&mut row.xattrs, &first.name, &mut attributes);
        }
        attributes.end_retention(self.now)?;
        bucket.lock_new(self.now, &mut attributes)?;
        self.keep(None, Some(&attributes))?;
        let published = Published {
            version: self.new_version(),
            null: bucket.settings.versioning != Versioning::Enabled,
            etag,
            committed_at: self.now,
            attributes,
            checksums: Vec::new(),
            has_parts: false,
            data: working,
        };
        let summary = published.summary();
        body.published = Some(published);
        self.put_row(key::inode(at.inode), &row);
        let retired = self.set_aside(&bucket, at.inode, &row, (old, names.len()))?;
        for (spot, leaf) in names {
            let leaf = Leaf { inode: retired.unwrap_or(leaf.inode), ..leaf };
            let kept = retired.is_some();
            self.show(&bucket, (&spot, at.inode), (leaf, kept), summary, &mut change)?;
        }
        self.account(&bucket, change)?;
        Ok(Publishing::Done)
    }

    /// The names that lead to an inode now.
    fn names_of(&self, inode: InodeId, row: &InodeRow) -> StoreResult<Vec<(Spot, Leaf)>> {
        let mut names = Vec::new();
        for place in &row.places {
            let spot = Spot { parent: place.parent, name: place.name.clone() };
            if let Some(leaf) = namespace::leaf(&*self.txn, &spot)?
                && leaf.inode == inode
            {
                names.push((spot, leaf));
            }
        }
        Ok(names)
    }

    /// What becomes of the object that S3 saw: kept as a version, under an inode that is answered, or
    /// let go.
    fn set_aside(
        &mut self,
        bucket: &BucketRow,
        inode: InodeId,
        row: &InodeRow,
        (old, names): (Option<Published>, usize),
    ) -> StoreResult<Option<InodeId>> {
        let Some(old) = old else { return Ok(None) };
        let keep = match bucket.settings.versioning {
            Versioning::Off => false,
            Versioning::Enabled => true,
            Versioning::Suspended => !old.null,
        };
        let parts_key = key::parts_of(inode);
        if !keep {
            self.keep(Some(&old.attributes), None)?;
            if old.has_parts {
                self.txn.delete(parts_key);
            }
            self.give_up(inode, vec![old.data])?;
            return Ok(None);
        }
        let aside = self.new_inode();
        if old.has_parts {
            let parts: PartsRow = rows::must(&*self.txn, "parts", &parts_key)?;
            self.txn.delete(parts_key);
            self.put_row(key::parts_of(aside), &parts);
        }
        // Readers hold the inode it was; their bytes stay, whatever becomes of the version.
        let held = old.data.share(self.txn, 0..old.data.len)?;
        self.give_up(inode, vec![held])?;
        let mut posix = row.posix;
        posix.nlink = u32::try_from(names).unwrap_or(u32::MAX);
        let body = InodeBody::File(Box::new(FileBody { working: None, published: Some(old) }));
        let kept = InodeRow { posix, xattrs: row.xattrs.clone(), places: row.places.clone(), body, ..*row };
        self.put_row(key::inode(aside), &kept);
        Ok(Some(aside))
    }

    /// Lets a name show the new object. `old` is what it showed, under the inode that has it now.
    fn show(
        &mut self,
        bucket: &BucketRow,
        (spot, inode): (&Spot, InodeId),
        (old, kept): (Leaf, bool),
        summary: rows::Summary,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        let versioning = bucket.settings.versioning;
        let has_history = |work: &Self| -> StoreResult<bool> {
            Ok(versioning != Versioning::Off && history::newest(&*work.txn, spot)?.is_some())
        };
        let was = Presence::of(Some(&old), has_history(self)?);
        if kept {
            self.retire(spot, &old, change)?;
        } else if let Some(gone) = old.published {
            change.objects -= 1;
            change.bytes -= gone.size as i64;
        }
        if versioning == Versioning::Suspended {
            self.remove_null(spot, change)?;
        }
        let leaf = Leaf { inode, kind: LeafKind::File, published: Some(summary), cookie: old.cookie };
        self.set_leaf(spot, Some(leaf));
        change.objects += 1;
        change.bytes += summary.size as i64;
        let is = Presence::of(Some(&leaf), has_history(self)?);
        self.adjust(spot.parent, was, is)
    }
}
