//! Volumes: files of fixed size, attached by one writer at a time.
//!
//! A volume is an object like all others, at a key of a bucket: `aws s3 cp disk.raw s3://b/vm.img` makes
//! one, and so does [`crate::Store::volume_create`], which costs nothing for any size. While it is
//! attached it has a lease: a row that every change of the file is checked against, so a writer whose
//! lease was taken away changes nothing any more, and neither a PUT nor a DELETE, a lifecycle rule nor a
//! mount touches it (409).
//!
//! Writes are answered when they are in the journal's order and visible; [`Volume::flush`] waits until
//! all that was answered before has reached the wanted level. After a crash the volume is what the log's
//! prefix left: some state between two writes, no later write without an earlier one, and nothing that
//! was flushed is missing.
//!
//! S3 sees what was published last: at the end of an attachment, at a restart, and, in a bucket without
//! versions, whenever somebody looks while the volume is attached. So a GET always shows at least the
//! last flush.
//!
//! Snapshots are references to the frozen map ([`gw_data::DataMap::share`]): they take no time, no bytes
//! and no pause. A volume counts with its whole size in its bucket's usage, written or not; snapshots
//! count nothing.

mod attach;
mod export;
mod snapshot;
mod verbs;

use std::sync::Arc;

use gw_data::{DataMap, LOCAL_STREAM};
use gw_db::Read;
use gw_types::{Action, Authenticated, BucketName, Frontend, Lsn, ObjectKey, StreamId};

pub use attach::{Volume, VolumePiece};
pub use export::{ExportOpened, Opened};

use crate::access::Act;
use crate::api::{
    AttachedInfo, DeleteTarget, Etag, ObjectAttributes, VOLUME_STEP_BYTES, VolumeInfo, WriteConditions,
};
use crate::core::{Core, UsageChange, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin};
use crate::file::{FILE_BYTES_MAX, File, FileAt, Hand, Leased};
use crate::namespace;
use crate::object::NewObject;
use crate::rows::{self, BucketRow, VolumeRow, key};

/// A volume as its users name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VolumeAt<'a> {
    pub(crate) bucket: &'a BucketName,
    pub(crate) key: &'a ObjectKey,
}

pub(crate) fn check_size(size_bytes: u64) -> StoreResult<()> {
    if size_bytes == 0 || !size_bytes.is_multiple_of(VOLUME_STEP_BYTES) {
        return Err(StoreError::invalid("a volume's size is a multiple of 512 bytes, and not 0"));
    }
    if size_bytes > FILE_BYTES_MAX {
        return Err(StoreError::invalid("a volume has 16 TiB at most"));
    }
    Ok(())
}

pub(crate) fn volume_row(read: &impl Read, at: &FileAt) -> StoreResult<Option<VolumeRow>> {
    rows::load(read, "volume", &key::volume(at.inode))
}

impl Core {
    /// The file at a key that `who` may act on so, and its bucket.
    pub(crate) fn volume_file(
        &self,
        read: &impl Read,
        who: &Authenticated,
        (at, action): (VolumeAt<'_>, Action),
    ) -> StoreResult<(FileAt, BucketRow)> {
        let bucket = self.bucket(read, who, Act::on(action, at.key), at.bucket)?;
        let spot = namespace::locate(read, bucket.root, at.key.as_str())?.spot();
        let leaf = spot.map(|spot| namespace::leaf(read, &spot)).transpose()?.flatten();
        let leaf = leaf.ok_or(StoreErrorKind::NoSuchKey)?;
        Ok((FileAt { bucket: at.bucket.clone(), inode: leaf.inode }, bucket))
    }

    pub(crate) async fn volume_create(
        &self,
        who: &Authenticated,
        at: VolumeAt<'_>,
        size_bytes: u64,
    ) -> StoreResult<VolumeInfo> {
        check_size(size_bytes)?;
        let etag = self.opaque_etag()?;
        let done = self.commit(|work| {
            let bucket = self.bucket(&*work.txn, who, Act::on(Action::PutObject, at.key), at.bucket)?;
            let mut data = DataMap::empty();
            data.resize(work.txn, bucket.stream, size_bytes)?;
            work.new_volume(&bucket, at, (etag, data))?;
            Ok(bucket.stream)
        })?;
        self.settle(done.lsn, done.value, gw_types::Level::Staged).await?;
        self.volume_info(who, at)
    }

    pub(crate) fn opaque_etag(&self) -> StoreResult<Etag> {
        let mut digest = [0; 16];
        self.keys.random(&mut digest)?;
        Ok(Etag::Opaque(digest))
    }

    pub(crate) fn volume_info(&self, who: &Authenticated, at: VolumeAt<'_>) -> StoreResult<VolumeInfo> {
        let snapshot = self.snapshot();
        let (file_at, _) = self.volume_file(&snapshot, who, (at, Action::GetObject))?;
        let file = File::load(&snapshot, &file_at)?;
        let row = volume_row(&snapshot, &file_at)?.unwrap_or_else(|| VolumeRow::of(at, file.row.posix.btime));
        info(at.bucket, at.key, row, file.len()?)
    }

    /// Volumes that were made as such or attached once, of the buckets where `who` may list.
    pub(crate) fn volume_list(&self, who: &Authenticated) -> StoreResult<Vec<VolumeInfo>> {
        let snapshot = self.snapshot();
        let mut out = Vec::new();
        for (row_key, value) in self.all_under(&key::volumes())? {
            let row: VolumeRow = rows::decode("volume", &value)?;
            let (bucket, object) = row.name()?;
            let at = VolumeAt { bucket: &bucket, key: &object };
            let found = self.volume_file(&snapshot, who, (at, Action::GetObject));
            // What is not the current object any more (an older version) is no volume to be attached.
            let Ok((file_at, _)) = found else { continue };
            if key::id_of(&row_key) != Some(file_at.inode.0) {
                continue;
            }
            let size_bytes = File::load(&snapshot, &file_at)?.len()?;
            out.push(info(&bucket, &object, row, size_bytes)?);
        }
        out.sort_by(|a, b| (&a.bucket, &a.key).cmp(&(&b.bucket, &b.key)));
        Ok(out)
    }

    /// Another size. Attached ones only grow, and show it at the next attachment.
    pub(crate) async fn volume_resize(
        &self,
        who: &Authenticated,
        at: VolumeAt<'_>,
        size_bytes: u64,
    ) -> StoreResult<VolumeInfo> {
        check_size(size_bytes)?;
        let etag = self.opaque_etag()?;
        let done = self.commit(|work| {
            let (file_at, bucket) = self.volume_file(&*work.txn, who, (at, Action::PutObject))?;
            let lease = volume_row(&*work.txn, &file_at)?.and_then(|row| row.lease);
            let hand = lease.as_ref().map_or(Hand::Mount, |lease| Hand::Lease(leased(&file_at, lease.epoch)));
            let mut change = work.change_file(&file_at, hand)?;
            if lease.is_some() && size_bytes < change.map.len {
                return Err(StoreError::new(
                    StoreErrorKind::Leased,
                    "a volume is not made smaller while it is attached",
                ));
            }
            change.map.resize(work.txn, change.stream, size_bytes)?;
            work.keep_file(&file_at, change)?;
            if lease.is_none() {
                work.publish_file(&file_at, etag)?;
            }
            Ok(bucket.stream)
        })?;
        self.settle(done.lsn, done.value, gw_types::Level::Staged).await?;
        self.volume_info(who, at)
    }

    pub(crate) async fn volume_delete(&self, who: &Authenticated, at: VolumeAt<'_>) -> StoreResult<()> {
        self.volume_file(&self.snapshot(), who, (at, Action::DeleteObject))?;
        let target = DeleteTarget {
            key: at.key.clone(),
            version: None,
            conditions: WriteConditions::default(),
            bypass_governance: false,
        };
        self.delete(who, at.bucket, target, None).await.map(|_| ())
    }

    /// If S3 would see less of an attached volume than was flushed: publishes it. Versions are not made
    /// of looks.
    pub(crate) async fn publish_attached(
        self: &Arc<Self>,
        bucket: &BucketName,
        inode: gw_types::InodeId,
    ) -> StoreResult<bool> {
        let at = FileAt { bucket: bucket.clone(), inode };
        let snapshot = self.snapshot();
        let is_attached = volume_row(&snapshot, &at)?.is_some_and(|row| row.lease.is_some());
        let file = File::load(&snapshot, &at)?;
        drop(snapshot);
        if !is_attached || file.bucket.settings.versioning != crate::api::Versioning::Off {
            return Ok(false);
        }
        let (_, lsn): (_, Lsn) = self.file_publish(&at)?;
        // An ETag that somebody has seen must not come again with other bytes.
        self.settle(lsn, file.bucket.stream, gw_types::Level::Staged).await?;
        Ok(true)
    }
}

fn info(bucket: &BucketName, key: &ObjectKey, row: VolumeRow, size_bytes: u64) -> StoreResult<VolumeInfo> {
    Ok(VolumeInfo {
        bucket: bucket.clone(),
        key: key.clone(),
        size_bytes,
        created: row.created,
        snapshots: row.snapshots,
        attached: row.lease.map(|lease| AttachedInfo { holder: lease.holder, since: lease.since }),
    })
}

/// What the holder of a lease shows. The stream is made of the inode's number, which is made of a commit's;
/// should two volumes ever have the same, they only wait for each other.
pub(crate) fn leased(at: &FileAt, epoch: u64) -> Leased {
    let stream = (at.inode.0 >> 12) % u64::from(LOCAL_STREAM.0 - 1) + 1;
    Leased { epoch, stream: StreamId(u32::try_from(stream).expect("below a number of 32 bits")) }
}

impl VolumeRow {
    pub(crate) fn of(at: VolumeAt<'_>, created: gw_types::Timestamp) -> Self {
        let (bucket, key) = (at.bucket.as_str().to_owned(), at.key.as_str().to_owned());
        Self { bucket, key, created, snapshots: 0, lease: None }
    }
    pub(crate) fn name(&self) -> StoreResult<(BucketName, ObjectKey)> {
        let bad = |_| StoreError::corrupt("a volume row names no object");
        let key =
            ObjectKey::new(&self.key).map_err(|_| StoreError::corrupt("a volume row names no object"))?;
        Ok((BucketName::new(&self.bucket).map_err(bad)?, key))
    }
}

impl Work<'_, '_> {
    /// Puts a volume where nothing is.
    pub(crate) fn new_volume(
        &mut self,
        bucket: &BucketRow,
        at: VolumeAt<'_>,
        (etag, data): (Etag, DataMap),
    ) -> StoreResult<()> {
        let spot = namespace::locate(&*self.txn, bucket.root, at.key.as_str())?.spot();
        if let Some(spot) = &spot
            && namespace::leaf(&*self.txn, spot)?.is_some()
        {
            return Err(StoreError::new(
                StoreErrorKind::PreconditionFailed,
                "there is an object at this key",
            ));
        }
        let who = Authenticated::user("volumes", Frontend::Admin);
        let object = NewObject {
            origin: Origin::new(&who, at.bucket, Cause::Put),
            key: at.key.as_str(),
            conditions: &WriteConditions::default(),
            etag,
            attributes: ObjectAttributes::default(),
            checksums: Vec::new(),
            parts: Vec::new(),
            data,
        };
        self.publish(bucket, object, UsageChange::default())?;
        let spot = namespace::locate(&*self.txn, bucket.root, at.key.as_str())?.spot();
        let leaf = spot.map(|spot| namespace::leaf(&*self.txn, &spot)).transpose()?.flatten();
        let leaf = leaf.ok_or_else(|| StoreError::corrupt("an object is not where it was put"))?;
        let row = VolumeRow::of(at, self.now);
        self.put_row(key::volume(leaf.inode), &row);
        Ok(())
    }
}
