//! The verbs of [`Store`] on volumes.

use gw_types::{Authenticated, BucketName, ObjectKey};

use super::{ExportOpened, Opened, Volume, VolumeAt};
use crate::api::{ExportSpec, SnapshotInfo, SnapshotName, VolumeInfo};
use crate::error::StoreResult;
use crate::store::Store;

/// A volume's place.
type At<'a> = (&'a BucketName, &'a ObjectKey);

fn at<'a>((bucket, key): At<'a>) -> VolumeAt<'a> {
    VolumeAt { bucket, key }
}

/// Volumes.
impl Store {
    /// Makes an empty volume of a multiple of 512 bytes, 16 TiB at most. It takes room as it is written.
    pub async fn volume_create(
        &self,
        who: &Authenticated,
        place: At<'_>,
        size_bytes: u64,
    ) -> StoreResult<VolumeInfo> {
        self.core.volume_create(who, at(place), size_bytes).await
    }
    /// What a volume is. Any object is one.
    pub async fn volume_info(&self, who: &Authenticated, place: At<'_>) -> StoreResult<VolumeInfo> {
        self.core.volume_info(who, at(place))
    }
    /// Volumes that were made as such or attached once, as far as `who` may read them.
    pub async fn volume_list(&self, who: &Authenticated) -> StoreResult<Vec<VolumeInfo>> {
        self.core.volume_list(who)
    }
    /// Gives a volume another size. While it is attached it only grows, and its clients see that when
    /// they attach again.
    pub async fn volume_resize(
        &self,
        who: &Authenticated,
        place: At<'_>,
        size_bytes: u64,
    ) -> StoreResult<VolumeInfo> {
        self.core.volume_resize(who, at(place), size_bytes).await
    }
    /// Deletes a volume as a DELETE of its object does. `Leased` while it is attached or has snapshots.
    pub async fn volume_delete(&self, who: &Authenticated, place: At<'_>) -> StoreResult<()> {
        self.core.volume_delete(who, at(place)).await
    }
    /// Keeps a volume as it is now, under a name. Takes no time, attached or not: it is a state between
    /// two writes.
    pub async fn volume_snapshot(
        &self,
        who: &Authenticated,
        place: At<'_>,
        name: &SnapshotName,
    ) -> StoreResult<SnapshotInfo> {
        self.core.volume_snapshot(who, at(place), name).await
    }
    /// A volume's snapshots, oldest first.
    pub async fn volume_snapshots(
        &self,
        who: &Authenticated,
        place: At<'_>,
    ) -> StoreResult<Vec<SnapshotInfo>> {
        self.core.volume_snapshots(who, at(place))
    }
    /// Forgets a snapshot.
    pub async fn volume_snapshot_delete(
        &self,
        who: &Authenticated,
        place: At<'_>,
        name: &SnapshotName,
    ) -> StoreResult<()> {
        self.core.volume_snapshot_delete(who, at(place), name).await
    }
    /// Makes a volume with the bytes of a snapshot, or of now, of another one. Copies none.
    pub async fn volume_clone(
        &self,
        who: &Authenticated,
        (place, snapshot): (At<'_>, Option<&SnapshotName>),
        to: At<'_>,
    ) -> StoreResult<VolumeInfo> {
        self.core.volume_clone(who, (at(place), snapshot), at(to)).await
    }
    /// Takes a volume back to a snapshot. `Leased` while it is attached.
    pub async fn volume_restore(
        &self,
        who: &Authenticated,
        place: At<'_>,
        name: &SnapshotName,
    ) -> StoreResult<VolumeInfo> {
        self.core.volume_restore(who, at(place), name).await
    }
    /// Attaches a volume for writing: one at a time. `holder` is told to others who want it.
    pub async fn volume_attach(
        &self,
        who: &Authenticated,
        place: At<'_>,
        holder: &str,
    ) -> StoreResult<Volume> {
        self.core.volume_attach(who, at(place), holder)
    }
    /// Opens a volume, or one of its snapshots, for reading.
    pub async fn volume_open(
        &self,
        who: &Authenticated,
        place: At<'_>,
        snapshot: Option<&SnapshotName>,
    ) -> StoreResult<Volume> {
        self.core.volume_open(who, at(place), snapshot)
    }
    /// Takes a volume's lease away: whoever had it can write no more.
    pub async fn volume_fence(&self, who: &Authenticated, place: At<'_>) -> StoreResult<()> {
        self.core.volume_fence(who, at(place))
    }
}

/// Names of volumes for block protocols.
impl Store {
    /// Makes or changes an export. Whoever may change the bucket's policy may.
    pub async fn export_set(&self, who: &Authenticated, spec: &ExportSpec) -> StoreResult<()> {
        self.core.export_set(who, spec).await
    }
    /// Removes an export. Whoever is attached stays so.
    pub async fn export_remove(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        self.core.export_remove(who, name).await
    }
    /// Exports that `who` may have, by name.
    pub async fn export_list(&self, who: &Authenticated) -> StoreResult<Vec<ExportSpec>> {
        self.core.export_list(who)
    }
    /// What a name stands for: an export, `bucket/key` or `bucket/key@snapshot`.
    pub async fn export_look(&self, who: &Authenticated, name: &str) -> StoreResult<Opened> {
        self.core.export_look(who, name).map(|(opened, _)| opened)
    }
    /// The same device for reading only, without a lease.
    pub async fn export_view(&self, who: &Authenticated, name: &str) -> StoreResult<ExportOpened> {
        self.core.export_view(who, name)
    }
    /// The device behind a name, with the volume's lease where it takes writes.
    pub async fn export_open(&self, who: &Authenticated, name: &str) -> StoreResult<ExportOpened> {
        self.core.export_open(who, name)
    }
}
