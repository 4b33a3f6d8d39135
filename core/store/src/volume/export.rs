//! Exports: names under which block protocols show volumes, and who may have them.
//!
//! An export binds an inode, not a key: when the object at the key is another one, the export is gone.
//! Without an export a volume is found as `bucket/key`, and a snapshot as `bucket/key@name`, by whoever
//! the bucket's rules let.

use std::sync::Arc;

use gw_types::{Action, Authenticated, BucketName, Frontend, ObjectKey};

use super::attach::Volume;
use super::{VolumeAt, volume_row};
use crate::api::{ExportSpec, SnapshotName};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, ExportRow, VolumeRow, key};

const NAME_BYTES_MAX: usize = 256;

/// An export as somebody who may have it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The volume's bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// Which state of it, where not that of now.
    pub snapshot: Option<SnapshotName>,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What stands behind a name.
#[derive(Debug)]
pub struct ExportOpened {
    /// What it is.
    pub what: Opened,
    /// The device.
    pub volume: Volume,
}

impl Core {
    pub(crate) async fn export_set(&self, who: &Authenticated, spec: &ExportSpec) -> StoreResult<()> {
        let visible = spec.name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if !(1..=NAME_BYTES_MAX).contains(&spec.name.len()) || !visible || spec.name.starts_with("token:") {
            return Err(StoreError::invalid(
                "an export's name has 1 to 256 visible characters, none of them @",
            ));
        }
        let done = self.commit(|work| {
            let at = VolumeAt { bucket: &spec.bucket, key: &spec.key };
            let (file_at, bucket) = self.volume_file(&*work.txn, who, (at, Action::PutObject))?;
            // Who opens it to others must be allowed to do that with the bucket.
            self.bucket(&*work.txn, who, Action::PutBucketPolicy, &spec.bucket)?;
            if volume_row(&*work.txn, &file_at)?.is_none() {
                let row = VolumeRow::of(at, work.now);
                work.put_row(key::volume(file_at.inode), &row);
            }
            let row = ExportRow {
                inode: file_at.inode,
                bucket: spec.bucket.as_str().to_owned(),
                key: spec.key.as_str().to_owned(),
                snapshot: spec.snapshot.as_ref().map(|name| name.as_str().to_owned()),
                read_only: spec.read_only || spec.snapshot.is_some(),
                anyone: spec.anyone,
                users: spec.users.clone(),
            };
            work.put_row(key::export(&spec.name), &row);
            work.txn.stream(bucket.stream);
            Ok(bucket.stream)
        })?;
        self.settle(done.lsn, done.value, gw_types::Level::Staged).await
    }

    pub(crate) async fn export_remove(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        let missing = || StoreError::new(StoreErrorKind::NoSuchKey, "there is no export of this name");
        let done = self.commit(|work| {
            let row_key = key::export(name);
            let row: ExportRow = rows::load(&*work.txn, "export", &row_key)?.ok_or_else(missing)?;
            let spec = row.spec(name)?;
            match self.bucket(&*work.txn, who, Action::PutBucketPolicy, &spec.bucket) {
                Err(error) if error.kind() != StoreErrorKind::NoSuchBucket => return Err(error),
                _ => {}
            }
            work.txn.delete(row_key);
            Ok(())
        })?;
        self.settle(done.lsn, gw_types::StreamId::default(), gw_types::Level::Staged).await
    }

    /// Exports that `who` may have, by name.
    pub(crate) fn export_list(&self, who: &Authenticated) -> StoreResult<Vec<ExportSpec>> {
        let mut out = Vec::new();
        for (row_key, value) in self.all_under(&key::exports())? {
            let row: ExportRow = rows::decode("export", &value)?;
            let name = row_key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(|| StoreError::corrupt("the key of an export row does not parse"))?;
            let spec = row.spec(name)?;
            if self.export_found(who, &spec, &row).is_ok() {
                out.push(spec);
            }
        }
        Ok(out)
    }

    /// What a name stands for, if `who` may have it. `NoSuchKey` where there is nothing, or nothing that
    /// he may know of.
    pub(crate) fn export_look(
        self: &Arc<Self>,
        who: &Authenticated,
        name: &str,
    ) -> StoreResult<(Opened, Authenticated)> {
        let missing = || StoreError::new(StoreErrorKind::NoSuchKey, "there is no export of this name");
        let found: Option<ExportRow> = rows::load(&self.snapshot(), "export", &key::export(name))?;
        let (spec, acting) = match found {
            Some(row) => {
                let spec = row.spec(name)?;
                let acting = self.export_found(who, &spec, &row).map_err(|_| missing())?;
                (spec, acting)
            }
            None => {
                let spec = by_path(name).ok_or_else(missing)?;
                (spec, who.clone())
            }
        };
        let at = VolumeAt { bucket: &spec.bucket, key: &spec.key };
        let volume =
            self.volume_open(&acting, at, spec.snapshot.as_ref()).map_err(|error| match error.kind() {
                StoreErrorKind::NoSuchBucket | StoreErrorKind::AccessDenied => missing(),
                _ => error,
            })?;
        let may_write = self.volume_file(&self.snapshot(), &acting, (at, Action::PutObject)).is_ok();
        let opened = Opened {
            size_bytes: volume.size_bytes(),
            read_only: spec.read_only || spec.snapshot.is_some() || !may_write,
            bucket: spec.bucket,
            key: spec.key,
            snapshot: spec.snapshot,
        };
        Ok((opened, acting))
    }

    /// The device behind a name, for reading only.
    pub(crate) fn export_view(
        self: &Arc<Self>,
        who: &Authenticated,
        name: &str,
    ) -> StoreResult<ExportOpened> {
        let (what, acting) = self.export_look(who, name)?;
        let at = VolumeAt { bucket: &what.bucket, key: &what.key };
        let volume = self.volume_open(&acting, at, what.snapshot.as_ref())?;
        Ok(ExportOpened { what, volume })
    }

    /// The device behind a name, with its lease where it takes writes.
    pub(crate) fn export_open(
        self: &Arc<Self>,
        who: &Authenticated,
        name: &str,
    ) -> StoreResult<ExportOpened> {
        let (what, acting) = self.export_look(who, name)?;
        let at = VolumeAt { bucket: &what.bucket, key: &what.key };
        let volume = if what.read_only {
            self.volume_open(&acting, at, what.snapshot.as_ref())?
        } else {
            let holder = format!("{} over {:?}", who.name().unwrap_or("somebody"), who.frontend());
            self.volume_attach(&acting, at, &holder)?
        };
        Ok(ExportOpened { what, volume })
    }

    /// On whose behalf `who` acts on an export: his own where the bucket's rules let him, the
    /// administrator's who has opened it to him otherwise.
    fn export_found(
        &self,
        who: &Authenticated,
        spec: &ExportSpec,
        row: &ExportRow,
    ) -> StoreResult<Authenticated> {
        let snapshot = self.snapshot();
        let at = VolumeAt { bucket: &spec.bucket, key: &spec.key };
        let invited = row.anyone || who.name().is_some_and(|name| row.users.iter().any(|user| user == name));
        let acting = if invited { Authenticated::user(EXPORT_USER, Frontend::Admin) } else { who.clone() };
        let (file_at, _) = self.volume_file(&snapshot, &acting, (at, Action::GetObject))?;
        if file_at.inode != row.inode {
            return Err(StoreErrorKind::NoSuchKey.into());
        }
        Ok(acting)
    }
}

/// The name under which invited clients act. It is no user: it stands for the decision of whoever made
/// the export.
const EXPORT_USER: &str = "export";

/// `bucket/key`, `bucket/key@snapshot`.
fn by_path(name: &str) -> Option<ExportSpec> {
    let (bucket, rest) = name.split_once('/')?;
    let (key, snapshot) = match rest.rsplit_once('@') {
        Some((key, snapshot)) => (key, Some(SnapshotName::new(snapshot).ok()?)),
        None => (rest, None),
    };
    Some(ExportSpec {
        name: name.to_owned(),
        bucket: BucketName::new(bucket).ok()?,
        key: ObjectKey::new(key).ok()?,
        read_only: snapshot.is_some(),
        snapshot,
        anyone: false,
        users: Vec::new(),
    })
}

impl ExportRow {
    fn spec(&self, name: &str) -> StoreResult<ExportSpec> {
        let bad = || StoreError::corrupt("an export row names no object");
        Ok(ExportSpec {
            name: name.to_owned(),
            bucket: BucketName::new(&self.bucket).map_err(|_| bad())?,
            key: ObjectKey::new(&self.key).map_err(|_| bad())?,
            snapshot: self.snapshot.as_ref().map(SnapshotName::new).transpose()?,
            read_only: self.read_only,
            anyone: self.anyone,
            users: self.users.clone(),
        })
    }
}
