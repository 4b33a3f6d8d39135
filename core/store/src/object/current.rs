//! What a new object does to its name, whoever made it: put, copy or completed upload.
//!
//! One function decides for all of them, inside the commit: the conditions against the current
//! object, then by the bucket's versioning what becomes of the old one (released, or kept as a
//! noncurrent version), then the rows.

use gw_data::DataMap;
use gw_types::{InodeId, Timestamp, VersionSeq};

use crate::api::posix_acl::{self, Xattrs};
use crate::api::{
    Checksum, Etag, ObjectAttributes, ObjectPart, PutOutcome, VersionId, Versioning, WriteConditions,
};
use crate::core::{UsageChange, Work};
use crate::error::{StoreErrorKind, StoreResult};
use crate::events::{Origin, Told};
use crate::history;
use crate::namespace::{self, Presence, Spot};
use crate::rows::{
    self, BucketRow, DentryRow, FileBody, InodeBody, InodeRow, Leaf, LeafKind, OrphanRow, PartsRow, Place,
    Posix, Published, Summary, key,
};

/// Set-uid, set-gid: dropped when the bytes change.
const SUID_SGID: u32 = 0o6000;

/// An object about to be published.
#[derive(Debug)]
pub(crate) struct NewObject<'a> {
    pub(crate) origin: Origin<'a>,
    pub(crate) key: &'a str,
    pub(crate) conditions: &'a WriteConditions,
    pub(crate) etag: Etag,
    pub(crate) attributes: ObjectAttributes,
    pub(crate) checksums: Vec<Checksum>,
    pub(crate) parts: Vec<ObjectPart>,
    pub(crate) data: DataMap,
}

/// Decides a write's conditions against the object it meets. `If-None-Match: *` cannot be decided
/// where a name exists that is not published yet.
pub(crate) fn check_write(conditions: &WriteConditions, current: Option<&Leaf>) -> StoreResult<()> {
    let published = current.and_then(|leaf| leaf.published.as_ref());
    if conditions.if_none_match.is_some() && current.is_some() && published.is_none() {
        return Err(StoreErrorKind::ConditionalRequestConflict.into());
    }
    check_summary(conditions, published)
}

pub(crate) fn check_summary(conditions: &WriteConditions, current: Option<&Summary>) -> StoreResult<()> {
    let needs_one = conditions.if_match.is_some()
        || conditions.if_match_last_modified.is_some()
        || conditions.if_match_size.is_some();
    let Some(current) = current else {
        return if needs_one { Err(StoreErrorKind::NoSuchKey.into()) } else { Ok(()) };
    };
    let seconds = |at: Timestamp| at.unix_seconds();
    let held = conditions.if_match.as_ref().is_none_or(|tags| tags.fits(&current.etag))
        && conditions.if_none_match.as_ref().is_none_or(|tags| !tags.fits(&current.etag))
        && conditions.if_match_size.is_none_or(|size| size == current.size)
        && conditions.if_match_last_modified.is_none_or(|at| seconds(at) == seconds(current.committed_at));
    if held { Ok(()) } else { Err(StoreErrorKind::PreconditionFailed.into()) }
}

impl Work<'_, '_> {
    /// Checks the conditions and makes the object the current one at its key. Call it before
    /// anything that must not happen when a condition fails; the outcome's `lsn` is this commit's.
    pub(crate) fn publish(
        &mut self,
        bucket: &BucketRow,
        object: NewObject<'_>,
        mut change: UsageChange,
    ) -> StoreResult<PutOutcome> {
        let located = namespace::locate(&*self.txn, bucket.root, object.key)?;
        let found = located.spot();
        let old = match &found {
            Some(spot) => namespace::leaf(&*self.txn, spot)?,
            None => None,
        };
        check_write(object.conditions, old.as_ref())?;
        if let Some(old) = &old {
            self.check_lease(old.inode, None)?;
        }
        let mut object = object;
        bucket.lock_new(self.now, &mut object.attributes)?;
        self.core.check_horizon(object.attributes.retention()?.as_ref())?;
        self.keep(None, Some(&object.attributes))?;
        let encryption = object.attributes.encryption()?;
        let named = (object.key, &object.attributes);
        let expiry = self.core.expiry(&*self.txn, bucket, named, (self.now, object.data.len))?;

        let versioning = bucket.settings.versioning;
        let version = self.new_version();
        let inode = self.new_inode();
        let null = versioning != Versioning::Enabled;
        let inherited = self.inherit(old.as_ref())?;
        let had_history = match &found {
            Some(spot) if versioning != Versioning::Off => history::newest(&*self.txn, spot)?.is_some(),
            _ => false,
        };
        let was = Presence::of(old.as_ref(), had_history);
        if let (Some(spot), Some(old)) = (&found, &old) {
            self.displace(spot, old, versioning, &mut change)?;
        }
        if let (Some(spot), Versioning::Suspended) = (&found, versioning) {
            self.remove_null(spot, &mut change)?;
        }
        let has_history = match &found {
            Some(spot) if versioning != Versioning::Off => history::newest(&*self.txn, spot)?.is_some(),
            _ => false,
        };
        let is = Presence::object(has_history);
        let spot = self.make_way(bucket.root, &located, is)?;
        if found.is_some() {
            self.adjust(spot.parent, was, is)?;
        }

        let published = Published {
            version,
            null,
            etag: object.etag,
            committed_at: self.now,
            attributes: object.attributes,
            checksums: object.checksums,
            has_parts: !object.parts.is_empty(),
            data: object.data,
        };
        if published.has_parts {
            self.put_row(key::parts_of(inode), &PartsRow(object.parts));
        }
        let mut outcome = self.write_object(bucket, &spot, inode, inherited, published);
        outcome.encryption = encryption;
        outcome.expiry = expiry;
        change.objects += 1;
        change.bytes += outcome.size as i64;
        self.account(bucket, change)?;
        let told = Told {
            key: object.key,
            version: outcome.version_id,
            size: Some(outcome.size),
            etag: Some(outcome.etag),
        };
        self.tell(bucket, &object.origin, object.origin.created(), told)?;
        Ok(outcome)
    }

    fn write_object(
        &mut self,
        bucket: &BucketRow,
        spot: &Spot,
        inode: InodeId,
        (posix, xattrs): (Posix, Xattrs),
        published: Published,
    ) -> PutOutcome {
        let summary = published.summary();
        let outcome = PutOutcome {
            etag: published.etag,
            version_id: shown(bucket, &summary),
            lsn: self.txn.lsn(),
            size: summary.size,
            last_modified: self.now,
            checksums: published.checksums.clone(),
            encryption: None,
            expiry: None,
        };
        let row = InodeRow {
            bucket: bucket.root,
            posix,
            places: vec![Place { parent: spot.parent, name: spot.name.clone() }],
            xattrs,
            body: InodeBody::File(Box::new(FileBody { working: None, published: Some(published) })),
        };
        self.put_row(key::inode(inode), &row);
        let leaf = Leaf { inode, kind: LeafKind::File, published: Some(summary), cookie: None };
        self.put_dentry(spot.parent, &spot.name, &DentryRow::Leaf(leaf));
        outcome
    }

    /// What becomes of the object that was current. Its dentry is written over by the caller.
    pub(crate) fn displace(
        &mut self,
        spot: &Spot,
        old: &Leaf,
        versioning: Versioning,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        let Some(summary) = old.published else { return self.unname(spot, old.inode) };
        let keep = match versioning {
            Versioning::Off => false,
            Versioning::Enabled => true,
            Versioning::Suspended => !summary.null,
        };
        if keep { self.retire(spot, old, change) } else { self.drop_current(spot, old, change) }
    }

    /// Deletes the object that was current.
    pub(crate) fn drop_current(
        &mut self,
        spot: &Spot,
        old: &Leaf,
        change: &mut UsageChange,
    ) -> StoreResult<()> {
        if let Some(summary) = old.published {
            change.objects -= 1;
            change.bytes -= summary.size as i64;
        }
        self.unname(spot, old.inode)
    }

    /// Takes one name from an inode; with its last name it goes, unless a mount holds it.
    pub(crate) fn unname(&mut self, spot: &Spot, inode: InodeId) -> StoreResult<()> {
        let mut row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(inode))?;
        row.places.retain(|place| place.parent != spot.parent || place.name != spot.name);
        row.posix.ctime = self.now;
        row.posix.nlink = row.places.len() as u32;
        if row.places.is_empty() {
            return self.bury(inode, row);
        }
        self.changes.inode(inode);
        self.put_row(key::inode(inode), &row);
        Ok(())
    }

    /// An inode that no name leads to: it goes, and its bytes with its last reader. While a mount
    /// holds it, it stays as an orphan.
    pub(crate) fn bury(&mut self, inode: InodeId, mut row: InodeRow) -> StoreResult<()> {
        self.check_lease(inode, None)?;
        if self.releases.keeps(inode) {
            row.places.clear();
            row.posix.nlink = 0;
            self.changes.inode(inode);
            self.put_row(key::inode(inode), &row);
            self.put_row(key::orphan(inode), &OrphanRow);
            return Ok(());
        }
        self.drop_excess(inode, &row)?;
        self.txn.delete(key::inode(inode));
        for beside in [key::working(inode), key::volume(inode)] {
            if self.txn.get(&beside)?.is_some() {
                self.txn.delete(beside);
            }
        }
        let InodeBody::File(file) = row.body else { return Ok(()) };
        let mut maps: Vec<DataMap> = file.working.into_iter().collect();
        if let Some(published) = file.published {
            self.keep(Some(&published.attributes), None)?;
            if published.has_parts {
                self.txn.delete(key::parts_of(inode));
            }
            maps.push(published.data);
        }
        self.give_up(inode, maps)
    }

    /// Owner and mode of a file pass to the new object of its name, and so does its access list, which
    /// says what the mode's group bits mean.
    fn inherit(&self, old: Option<&Leaf>) -> StoreResult<(Posix, Xattrs)> {
        let defaults = &self.core.config.posix;
        let fresh = namespace::posix(defaults.file_mode, defaults.uid, defaults.gid, self.now, 1);
        let Some(old) = old.filter(|old| old.kind == LeafKind::File) else { return Ok((fresh, Vec::new())) };
        let mut row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(old.inode))?;
        row.xattrs.retain(|(name, _)| name == posix_acl::ACCESS);
        let mode = row.posix.mode & !SUID_SGID;
        Ok((Posix { mode, uid: row.posix.uid, gid: row.posix.gid, ..fresh }, row.xattrs))
    }
}

/// The version id as answers carry it: none where the bucket never had versions.
pub(crate) fn shown(bucket: &BucketRow, summary: &Summary) -> Option<VersionId> {
    shown_id(bucket, summary.null, summary.version)
}

pub(crate) fn shown_id(bucket: &BucketRow, null: bool, seq: VersionSeq) -> Option<VersionId> {
    match bucket.settings.versioning {
        Versioning::Off => None,
        _ if null => Some(VersionId::Null),
        _ => Some(VersionId::Seq(seq)),
    }
}
