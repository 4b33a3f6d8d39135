//! Snapshots: taking, listing, deleting, cloning, going back.

use gw_data::DataMap;
use gw_db::Read;
use gw_types::{Action, Authenticated, Level};

use super::{VolumeAt, volume_row};
use crate::access::Act;
use crate::api::{SNAPSHOTS_MAX, SnapshotInfo, SnapshotName, VolumeInfo};
use crate::core::{Core, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::file::{File, FileAt, Hand};
use crate::object::LOOKS_MAX;
use crate::rows::{self, SnapshotRow, VolumeRow, key};

pub(crate) fn snapshot_row(read: &impl Read, at: &FileAt, name: &SnapshotName) -> StoreResult<SnapshotRow> {
    rows::load(read, "snapshot", &key::snapshot(at.inode, name.as_str()))?
        .ok_or_else(|| StoreError::new(StoreErrorKind::NoSuchKey, "the volume has no snapshot of this name"))
}

impl Core {
    pub(crate) async fn volume_snapshot(
        &self,
        who: &Authenticated,
        at: VolumeAt<'_>,
        name: &SnapshotName,
    ) -> StoreResult<SnapshotInfo> {
        let done = self.commit(|work| {
            let (file_at, bucket) = self.volume_file(&*work.txn, who, (at, Action::PutObject))?;
            let row_key = key::snapshot(file_at.inode, name.as_str());
            if work.txn.get(&row_key)?.is_some() {
                return Err(StoreError::new(
                    StoreErrorKind::PreconditionFailed,
                    "the volume has a snapshot of this name",
                ));
            }
            let map = File::load(&*work.txn, &file_at)?.map()?;
            let data = map.share(work.txn, 0..map.len)?;
            let now = work.now;
            work.count_snapshots(at, &file_at, |count| {
                (count < SNAPSHOTS_MAX).then_some(count + 1).ok_or_else(|| {
                    StoreError::invalid("the volume has as many snapshots as one can have; delete some")
                })
            })?;
            let info = SnapshotInfo { name: name.clone(), created: now, size_bytes: data.len };
            work.put_row(row_key, &SnapshotRow { created: now, data });
            work.txn.stream(bucket.stream);
            Ok((info, bucket.stream))
        })?;
        let (info, stream) = done.value;
        self.settle(done.lsn, stream, Level::Staged).await?;
        Ok(info)
    }

    pub(crate) fn volume_snapshots(
        &self,
        who: &Authenticated,
        at: VolumeAt<'_>,
    ) -> StoreResult<Vec<SnapshotInfo>> {
        let (file_at, _) = self.volume_file(&self.snapshot(), who, (at, Action::GetObject))?;
        self.snapshots_of(&file_at)
    }

    /// In order of age.
    pub(crate) fn snapshots_of(&self, at: &FileAt) -> StoreResult<Vec<SnapshotInfo>> {
        let mut out = Vec::new();
        for (row_key, value) in self.all_under(&key::snapshots(at.inode))? {
            let row: SnapshotRow = rows::decode("snapshot", &value)?;
            let name = row_key.get(key::ID_PREFIX_LEN..).and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(|| StoreError::corrupt("the key of a snapshot row does not parse"))?;
            out.push(SnapshotInfo {
                name: SnapshotName::new(name)?,
                created: row.created,
                size_bytes: row.data.len,
            });
        }
        out.sort_by_key(|info| info.created);
        Ok(out)
    }

    pub(crate) async fn volume_snapshot_delete(
        &self,
        who: &Authenticated,
        at: VolumeAt<'_>,
        name: &SnapshotName,
    ) -> StoreResult<()> {
        let done = self.commit(|work| {
            let (file_at, bucket) = self.volume_file(&*work.txn, who, (at, Action::DeleteObject))?;
            let row = snapshot_row(&*work.txn, &file_at, name)?;
            work.txn.delete(key::snapshot(file_at.inode, name.as_str()));
            row.data.release(work.txn)?;
            work.count_snapshots(at, &file_at, |count| Ok(count.saturating_sub(1)))?;
            work.txn.stream(bucket.stream);
            Ok(bucket.stream)
        })?;
        self.settle(done.lsn, done.value, Level::Staged).await
    }

    /// A new volume with the bytes of a snapshot, or (`None`) with those of now.
    pub(crate) async fn volume_clone(
        &self,
        who: &Authenticated,
        (at, name): (VolumeAt<'_>, Option<&SnapshotName>),
        to: VolumeAt<'_>,
    ) -> StoreResult<VolumeInfo> {
        let etag = self.opaque_etag()?;
        let source =
            |read: &dyn Looks| -> StoreResult<(FileAt, DataMap)> { read.source(self, who, at, name) };
        for _ in 0..LOOKS_MAX {
            let (from, data, target) = {
                let snapshot = self.snapshot();
                let (file_at, data) = source(&snapshot)?;
                let from = File::load(&snapshot, &file_at)?.bucket;
                let target = self.bucket(&snapshot, who, Act::on(Action::PutObject, to.key), to.bucket)?;
                (from, data, target)
            };
            let wrapped = if from.root == target.root {
                data.clone()
            } else {
                // Keys cannot be wrapped inside a commit; the commit sees whether they are still those.
                self.data.rewrap(&data, &from.key, &target.key).await?
            };
            let done = self.commit(|work| {
                let (_, now) = source(&*work.txn)?;
                if now != data {
                    return Ok(None);
                }
                let act = Act::on(Action::PutObject, to.key);
                let bucket = work.same_bucket(who, act, to.bucket, target.root)?;
                let shared = wrapped.share(work.txn, 0..wrapped.len)?;
                work.new_volume(&bucket, to, (etag, shared))?;
                Ok(Some(bucket.stream))
            })?;
            if let Some(stream) = done.value {
                self.settle(done.lsn, stream, Level::Staged).await?;
                return self.volume_info(who, to);
            }
        }
        Err(StoreErrorKind::ConditionalRequestConflict.into())
    }

    /// The volume's bytes are those of the snapshot again. Not while it is attached.
    pub(crate) async fn volume_restore(
        &self,
        who: &Authenticated,
        at: VolumeAt<'_>,
        name: &SnapshotName,
    ) -> StoreResult<VolumeInfo> {
        let etag = self.opaque_etag()?;
        let done = self.commit(|work| {
            let (file_at, bucket) = self.volume_file(&*work.txn, who, (at, Action::PutObject))?;
            let snapshot = snapshot_row(&*work.txn, &file_at, name)?;
            let mut change = work.change_file(&file_at, Hand::Mount)?;
            change.map.resize(work.txn, change.stream, 0)?;
            change.map = snapshot.data.share(work.txn, 0..snapshot.data.len)?;
            work.keep_file(&file_at, change)?;
            work.publish_file(&file_at, etag)?;
            Ok(bucket.stream)
        })?;
        self.settle(done.lsn, done.value, Level::Staged).await?;
        self.volume_info(who, at)
    }
}

/// A snapshot of the database, or a commit.
trait Looks {
    fn source(
        &self,
        core: &Core,
        who: &Authenticated,
        at: VolumeAt<'_>,
        name: Option<&SnapshotName>,
    ) -> StoreResult<(FileAt, DataMap)>;
}

impl<R: Read> Looks for R {
    fn source(
        &self,
        core: &Core,
        who: &Authenticated,
        at: VolumeAt<'_>,
        name: Option<&SnapshotName>,
    ) -> StoreResult<(FileAt, DataMap)> {
        let (file_at, _) = core.volume_file(self, who, (at, Action::GetObject))?;
        let data = match name {
            Some(name) => snapshot_row(self, &file_at, name)?.data,
            None => File::load(self, &file_at)?.map()?,
        };
        Ok((file_at, data))
    }
}

impl Work<'_, '_> {
    /// Changes the number of snapshots on a volume's row, and makes the row.
    fn count_snapshots(
        &mut self,
        at: VolumeAt<'_>,
        file: &FileAt,
        count: impl FnOnce(u32) -> StoreResult<u32>,
    ) -> StoreResult<()> {
        let mut row = volume_row(&*self.txn, file)?.unwrap_or_else(|| VolumeRow::of(at, self.now));
        row.snapshots = count(row.snapshots)?;
        self.put_row(key::volume(file.inode), &row);
        Ok(())
    }
}
