//! What the admin API says of volumes and exports.
//!
//! ```text
//!   GET  /v1/volumes      [VolumeLine]
//!   POST /v1/volumes      VolumeAct -> VolumeAnswer
//!   GET  /v1/exports      [ExportLine]
//! ```

use gw_store::{ExportSpec, SnapshotInfo, SnapshotName, StoreError, VolumeInfo};
use gw_types::{BucketName, ObjectKey};
use serde::{Deserialize, Serialize};

use super::routes::{Gateway, Verb, admin, bad, read};

/// A volume, or one of its snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeName {
    pub bucket: String,
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// POST /v1/volumes
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "act")]
pub enum VolumeAct {
    Create { volume: VolumeName, size_bytes: u64 },
    Info { volume: VolumeName },
    Resize { volume: VolumeName, size_bytes: u64 },
    Delete { volume: VolumeName },
    Snapshot { volume: VolumeName },
    SnapshotDelete { volume: VolumeName },
    Clone { volume: VolumeName, to: VolumeName },
    Restore { volume: VolumeName },
    Detach { volume: VolumeName },
    Export(ExportLine),
    Unexport { name: String },
}

/// A volume as it is listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VolumeLine {
    pub bucket: String,
    pub key: String,
    pub size_bytes: u64,
    /// Unix seconds.
    pub created: i64,
    pub snapshots: u32,
    /// Who writes to it, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<HolderLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HolderLine {
    pub holder: String,
    /// Unix seconds.
    pub since: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotLine {
    pub name: String,
    pub size_bytes: u64,
    /// Unix seconds.
    pub created: i64,
}

/// An export, and what makes one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportLine {
    pub name: String,
    pub volume: VolumeName,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub anyone: bool,
    #[serde(default)]
    pub users: Vec<String>,
}

/// What an act on a volume left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct VolumeAnswer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotLine>,
}

/// A name, taken apart and checked.
struct Named {
    bucket: BucketName,
    key: ObjectKey,
    snapshot: Option<SnapshotName>,
}

impl Named {
    fn parse(name: &VolumeName) -> Verb<Self> {
        Ok(Self {
            bucket: BucketName::new(&name.bucket).map_err(|error| bad(error.to_string()))?,
            key: ObjectKey::new(&name.key).map_err(|error| bad(error.to_string()))?,
            snapshot: name.snapshot.as_ref().map(SnapshotName::new).transpose()?,
        })
    }
    fn at(&self) -> (&BucketName, &ObjectKey) {
        (&self.bucket, &self.key)
    }
    fn snapshot(&self) -> Verb<&SnapshotName> {
        self.snapshot.as_ref().ok_or_else(|| bad("which snapshot? say s3://bucket/key@name"))
    }
}

fn volume_line(info: VolumeInfo) -> VolumeLine {
    VolumeLine {
        bucket: info.bucket.to_string(),
        key: info.key.as_str().to_owned(),
        size_bytes: info.size_bytes,
        created: info.created.unix_seconds(),
        snapshots: info.snapshots,
        attached: info
            .attached
            .map(|attached| HolderLine { holder: attached.holder, since: attached.since.unix_seconds() }),
    }
}

fn snapshot_line(info: SnapshotInfo) -> SnapshotLine {
    let name = info.name.as_str().to_owned();
    SnapshotLine { name, size_bytes: info.size_bytes, created: info.created.unix_seconds() }
}

fn export_line(spec: ExportSpec) -> ExportLine {
    let snapshot = spec.snapshot.map(|name| name.as_str().to_owned());
    let volume = VolumeName { bucket: spec.bucket.to_string(), key: spec.key.as_str().to_owned(), snapshot };
    let ExportSpec { name, read_only, anyone, users, .. } = spec;
    ExportLine { name, volume, read_only, anyone, users }
}

impl Gateway {
    pub(super) async fn volumes(&self) -> Verb<Vec<VolumeLine>> {
        let volumes = self.core.store.volume_list(&admin()).await?;
        Ok(volumes.into_iter().map(volume_line).collect())
    }

    pub(super) async fn exports(&self) -> Verb<Vec<ExportLine>> {
        let exports = self.core.store.export_list(&admin()).await?;
        Ok(exports.into_iter().map(export_line).collect())
    }

    pub(super) async fn volume_act(&self, body: &[u8]) -> Verb<VolumeAnswer> {
        let store = &self.core.store;
        let who = &admin();
        let changed = |info: Result<VolumeInfo, StoreError>| {
            Ok(VolumeAnswer { volume: Some(volume_line(info?)), ..VolumeAnswer::default() })
        };
        match read(body)? {
            VolumeAct::Create { volume, size_bytes } => {
                let named = Named::parse(&volume)?;
                changed(store.volume_create(who, named.at(), size_bytes).await)
            }
            VolumeAct::Info { volume } => {
                let named = Named::parse(&volume)?;
                let info = store.volume_info(who, named.at()).await?;
                let snapshots = store.volume_snapshots(who, named.at()).await?;
                Ok(VolumeAnswer {
                    volume: Some(volume_line(info)),
                    snapshots: snapshots.into_iter().map(snapshot_line).collect(),
                })
            }
            VolumeAct::Resize { volume, size_bytes } => {
                let named = Named::parse(&volume)?;
                changed(store.volume_resize(who, named.at(), size_bytes).await)
            }
            VolumeAct::Delete { volume } => {
                store.volume_delete(who, Named::parse(&volume)?.at()).await?;
                Ok(VolumeAnswer::default())
            }
            VolumeAct::Snapshot { volume } => {
                let named = Named::parse(&volume)?;
                let taken = store.volume_snapshot(who, named.at(), named.snapshot()?).await?;
                Ok(VolumeAnswer { volume: None, snapshots: vec![snapshot_line(taken)] })
            }
            VolumeAct::SnapshotDelete { volume } => {
                let named = Named::parse(&volume)?;
                store.volume_snapshot_delete(who, named.at(), named.snapshot()?).await?;
                Ok(VolumeAnswer::default())
            }
            VolumeAct::Clone { volume, to } => {
                let (from, to) = (Named::parse(&volume)?, Named::parse(&to)?);
                changed(store.volume_clone(who, (from.at(), from.snapshot.as_ref()), to.at()).await)
            }
            VolumeAct::Restore { volume } => {
                let named = Named::parse(&volume)?;
                changed(store.volume_restore(who, named.at(), named.snapshot()?).await)
            }
            VolumeAct::Detach { volume } => {
                let named = Named::parse(&volume)?;
                store.volume_fence(who, named.at()).await?;
                changed(store.volume_info(who, named.at()).await)
            }
            VolumeAct::Export(line) => {
                let Named { bucket, key, snapshot } = Named::parse(&line.volume)?;
                let ExportLine { name, read_only, anyone, users, .. } = line;
                let spec = ExportSpec { name, bucket, key, snapshot, read_only, anyone, users };
                store.export_set(who, &spec).await?;
                Ok(VolumeAnswer::default())
            }
            VolumeAct::Unexport { name } => {
                store.export_remove(who, &name).await?;
                Ok(VolumeAnswer::default())
            }
        }
    }
}
