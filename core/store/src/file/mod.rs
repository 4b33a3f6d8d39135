//! Bodies of files: read and changed at any place, and published as what S3 sees.
//!
//! A file is an inode of a bucket. Its *working* map is what mounts and volumes see and change; S3 sees
//! the *published* one, which is only ever replaced as a whole ([`Core::file_publish`]). The first
//! change of a published file shares its map and costs no byte. Names, attributes and who may are the
//! business of those who call: mounts (`crate::posix`) and volumes (`crate::volume`).
//!
//! | verb | what it does |
//! |---|---|
//! | [`Core::file_write`], [`Core::file_punch`], [`Core::file_resize`], [`Core::file_allocate`] | change the working map |
//! | [`Core::file_share`] | puts bytes of one file into another by reference |
//! | [`Core::file_read`], [`Core::file_seek`] | read it, or what S3 sees where nothing was changed |
//! | [`Core::file_publish`] | makes the working map what S3 sees |
//!
//! Every change is one commit and visible when the verb returns; it is durable when the LSN that it
//! returns is (`Core::settle`). Bytes are sealed and, where they are too many for the journal, synced
//! before their commit. A verb that is dropped before it returns has happened as a whole or not at all.
//!
//! **Usage.** A bucket counts what S3 sees of each name, and besides it what a working map is longer
//! than the published one. So growth is refused by the quota when it happens, not when it is published.
//!
//! **Leases.** While a volume is attached its row has a lease, and only changes that bring its
//! epoch are taken ([`Hand`]); everything that would replace or delete the inode is refused.

mod in_order;
mod publish;
mod read;
mod share;
mod write;

use gw_data::{BodyKey, DataMap};
use gw_db::Read;
use gw_types::{BucketName, InodeId, StreamId};

use crate::api::{Encryption, Etag};
use crate::core::{Core, UsageChange, Work, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, FileBody, InodeBody, InodeRow, VolumeRow, WorkingRow, key};

pub(crate) use in_order::InOrder;
pub(crate) use read::{FilePiece, ReadView};
pub(crate) use write::FILE_BYTES_MAX;

/// The extended attribute that gives a program capabilities.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileAt {
    pub(crate) bucket: BucketName,
    pub(crate) inode: InodeId,
}

/// On whose behalf a file is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// A mount: modification times move along.
    Mount,
    /// The holder of a lease.
    Lease(Leased),
}

/// What a holder of a lease shows with each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    /// Of his lease.
    pub(crate) epoch: u64,
    /// Where his changes go, so that they wait for no bucket, and no bucket for them.
    pub(crate) stream: StreamId,
}

impl Hand {
    /// The stream of changes to a file of this bucket.
    pub(crate) fn stream(self, bucket: &BucketRow) -> StreamId {
        match self {
            Self::Mount => bucket.stream,
            Self::Lease(leased) => leased.stream,
        }
    }
}

/// A file as a snapshot or a commit sees it.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) bucket: BucketRow,
    pub(crate) row: InodeRow,
}

impl File {
    pub(crate) fn load(read: &impl Read, at: &FileAt) -> StoreResult<Self> {
        let bucket = load_bucket(read, &at.bucket)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        let row: Option<InodeRow> = rows::load(read, "inode", &key::inode(at.inode))?;
        Self::new(bucket, row)
    }

    fn new(bucket: BucketRow, row: Option<InodeRow>) -> StoreResult<Self> {
        let row = row.filter(|row| row.bucket == bucket.root).ok_or(StoreErrorKind::NoSuchKey)?;
        let file = Self { bucket, row };
        if let Some(published) = &file.body()?.published
            && matches!(
                published.attributes.encryption()?,
                Some(Encryption::Customer { .. } | Encryption::Kms { .. })
            )
        {
            return Err(StoreErrorKind::CustomerKeyNeeded.into());
        }
        Ok(file)
    }

    pub(crate) fn body(&self) -> StoreResult<&FileBody> {
        match &self.row.body {
            InodeBody::File(file) => Ok(file),
            _ => Err(StoreError::invalid("not a file")),
        }
    }

    fn body_mut(&mut self) -> StoreResult<&mut FileBody> {
        match &mut self.row.body {
            InodeBody::File(file) => Ok(file),
            _ => Err(StoreError::invalid("not a file")),
        }
    }

    /// What a mount or a volume sees.
    pub(crate) fn map(&self) -> StoreResult<DataMap> {
        Ok(self.body()?.map().cloned().unwrap_or_else(DataMap::empty))
    }

    pub(crate) fn len(&self) -> StoreResult<u64> {
        Ok(self.body()?.map().map_or(0, |map| map.len))
    }

    /// The data key that more bytes of this file are sealed under. One that came with an object, or a
    /// copy, is left to the bytes it came with.
    fn key(&self) -> StoreResult<Option<BodyKey>> {
        let body = self.body()?;
        let ours = body.working.as_ref().or_else(|| {
            let published = body.published.as_ref()?;
            matches!(published.etag, Etag::Opaque(_)).then_some(&published.data)
        });
        let newest = ours.and_then(|map| map.keys.last());
        Ok(newest.map(|(id, wrapped)| BodyKey { id: *id, wrapped: wrapped.clone() }))
    }
}

impl FileBody {
    /// The newest bytes.
    pub(crate) fn map(&self) -> Option<&DataMap> {
        self.working.as_ref().or_else(|| self.published.as_ref().map(|published| &published.data))
    }

    /// Bytes that the bucket counts for this file besides what S3 sees of it.
    pub(crate) fn excess(&self) -> u64 {
        let published = self.published.as_ref().map_or(0, |published| published.data.len);
        self.working.as_ref().map_or(0, |working| working.len).saturating_sub(published)
    }
}

/// A file in a commit that changes it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) file: File,
    pub(crate) map: DataMap,
    /// Where the change goes.
    pub(crate) stream: StreamId,
    hand: Hand,
    before: InodeRow,
}

impl Work<'_, '_> {
    /// The body of a file that is made in this commit: empty, and published when it is closed, or at the
    /// next start.
    pub(crate) fn new_file_body(&mut self, at: &FileAt) -> FileBody {
        let row = WorkingRow { bucket: at.bucket.as_str().to_owned() };
        self.put_row(key::working(at.inode), &row);
        FileBody { working: Some(DataMap::empty()), published: None }
    }

    /// Takes a file's working map, to be changed and given back with [`Work::keep_file`].
    pub(crate) fn change_file(&mut self, at: &FileAt, hand: Hand) -> StoreResult<Change> {
        let mut file = File::load(&*self.txn, at)?;
        self.check_lease(at.inode, Some(hand))?;
        self.core.in_order.changed(at.inode);
        let before = file.row.clone();
        let stream = hand.stream(&file.bucket);
        self.txn.stream(stream);
        let body = file.body_mut()?;
        let map = match (body.working.take(), &body.published) {
            (Some(map), _) => map,
            (None, Some(published)) => published.data.share(self.txn, 0..published.data.len)?,
            (None, None) => DataMap::empty(),
        };
        Ok(Change { file, map, stream, hand, before })
    }

    /// Stores a changed file, with the bucket's usage and the times of the inode.
    pub(crate) fn keep_file(&mut self, at: &FileAt, change: Change) -> StoreResult<()> {
        let Change { mut file, map, hand, before, .. } = change;
        if hand == Hand::Mount {
            file.row.posix.mtime = self.now;
            file.row.posix.ctime = self.now;
            // Capabilities were given to the bytes that were there (capabilities(7)).
            file.row.xattrs.retain(|(name, _)| name != CAPABILITY);
        }
        let body = file.body_mut()?;
        body.working = Some(map);
        let after = body.excess();
        let InodeBody::File(old) = &before.body else { return Err(StoreError::invalid("not a file")) };
        if old.working.is_none() {
            let row = WorkingRow { bucket: at.bucket.as_str().to_owned() };
            self.put_row(key::working(at.inode), &row);
        }
        let more = after as i64 - old.excess() as i64;
        if file.row != before {
            // The inode is the bucket's; blocks that are written over in place are not.
            self.account(&file.bucket, UsageChange { bytes: more, ..UsageChange::default() })?;
            self.put_row(key::inode(at.inode), &file.row);
        }
        Ok(())
    }

    /// Takes what a deleted inode was longer than S3 saw off its bucket's usage.
    /// Call it while the working row is there: it says which bucket.
    pub(crate) fn drop_excess(&mut self, inode: InodeId, row: &InodeRow) -> StoreResult<()> {
        let InodeBody::File(file) = &row.body else { return Ok(()) };
        let excess = file.excess();
        if excess == 0 {
            return Ok(());
        }
        let WorkingRow { bucket } = rows::must(&*self.txn, "working", &key::working(inode))?;
        let bucket = BucketName::new(&bucket).map_err(|_| StoreError::corrupt("a bucket's name"))?;
        match load_bucket(&*self.txn, &bucket)? {
            Some(bucket) if bucket.root == row.bucket => {
                let less = UsageChange { bytes: -(excess as i64), ..UsageChange::default() };
                self.tally(&bucket, less, false)
            }
            // The bucket went first, with all that it counted.
            _ => Ok(()),
        }
    }

    /// Whether an inode may be changed by `hand`, or (`None`) replaced and deleted.
    pub(crate) fn check_lease(&self, inode: InodeId, hand: Option<Hand>) -> StoreResult<()> {
        let row: Option<VolumeRow> = rows::load(&*self.txn, "volume", &key::volume(inode))?;
        let lease = row.as_ref().and_then(|row| row.lease.as_ref());
        match (lease, hand) {
            (None, Some(Hand::Mount)) => Ok(()),
            (None, None) if row.as_ref().is_some_and(|row| row.snapshots > 0) => Err(StoreError::new(
                StoreErrorKind::Leased,
                "the object is a volume with snapshots; delete these first",
            )),
            (None, None) => Ok(()),
            (Some(lease), Some(Hand::Lease(leased))) if lease.epoch == leased.epoch => Ok(()),
            (_, Some(Hand::Lease(_))) => {
                Err(StoreError::new(StoreErrorKind::Leased, "the volume's lease has been taken away"))
            }
            (Some(_), _) => Err(StoreErrorKind::Leased.into()),
        }
    }
}

impl Core {
    pub(crate) fn file(&self, at: &FileAt) -> StoreResult<File> {
        File::load(&self.snapshot(), at)
    }
}
