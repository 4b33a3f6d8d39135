//! Volumes of the store as exports.
//!
//! A name is an export that was made for it, `bucket/key`, or `bucket/key@snapshot`; who may have it the
//! store decides. All connections of one principal to one name share one attached volume, so what one of
//! them was answered the others see, and a flush on any of them covers all. The lease goes with the last
//! connection.
//!
//! A write is answered when it stands in the journal's order; a flush waits until everything that was
//! answered before has reached the level of the volume's bucket. Zeroing and trimming change the map and
//! write nothing, whatever their length; only zeroes that have to keep their room are written.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_store::{MapRun, SnapshotName, Store, StoreError, StoreErrorKind, Volume, VolumePiece};
use gw_types::Authenticated;
use parking_lot::Mutex;

use crate::export::{
    BlockSizes, ByteRange, Context, ContextName, DIRTY, Export, ExportError, ExportErrorKind, Extent,
    Features, Persist, Piece, Properties, Zeroing,
};
use crate::exports::{Attached, Described, Exports, Listed, Refusal};
use crate::wire::constants::allocation;

/// Snapshots that a client can ask about; the newest ones.
const DIRTY_CONTEXTS_MAX: usize = 16;
/// Zeroes that keep their room are written in pieces of this size.
const ZEROES_BYTES: u64 = 4 << 20;
/// A range that is to be cached is read in pieces of this size.
const CACHE_BYTES: u64 = 4 << 20;
/// How often, and how long apart, a lease is asked for that may be ending just now.
const LEASE_TRIES: u32 = 20;
const LEASE_PAUSE: Duration = Duration::from_millis(25);

/// An attached volume.
#[derive(Debug)]
pub struct VolumeExport {
    volume: Volume,
    properties: Properties,
}

impl VolumeExport {
    /// `name` is what people call it.
    ///
    /// # Errors
    /// When the store cannot say which snapshots it has.
    pub fn new(volume: Volume, name: &str) -> Result<Self, StoreError> {
        let properties = properties(&volume, name)?;
        Ok(Self { volume, properties })
    }

    async fn persist(&self, persist: Persist) -> Result<(), ExportError> {
        match persist {
            Persist::AtFlush => Ok(()),
            Persist::Now => self.flush().await,
        }
    }
}

fn properties(volume: &Volume, name: &str) -> Result<Properties, StoreError> {
    let mut contexts = vec![Context::Allocation];
    let newest = volume.snapshots()?.into_iter().rev().take(DIRTY_CONTEXTS_MAX);
    contexts
        .extend(newest.filter_map(|name| ContextName::new(&dirty_leaf(name.as_str())).map(Context::Dirty)));
    let level = format!("{:?}", volume.level()).to_lowercase();
    Ok(Properties {
        size_bytes: volume.size_bytes(),
        read_only: !volume.is_writable(),
        blocks: BlockSizes::DEFAULT,
        features: Features::ALL,
        description: format!("{name}, a CESS volume; a flush waits for `{level}`"),
        contexts,
    })
}

/// `dirty:NAME`: what has changed since that snapshot.
fn dirty_leaf(snapshot: &str) -> String {
    format!("dirty:{snapshot}")
}

fn failed(error: StoreError) -> ExportError {
    let kind = match error.kind() {
        StoreErrorKind::QuotaExceeded
        | StoreErrorKind::StagingFull
        | StoreErrorKind::DiskFull
        | StoreErrorKind::NoTerritory => ExportErrorKind::NoSpace,
        StoreErrorKind::AccessDenied | StoreErrorKind::Leased => ExportErrorKind::NotPermitted,
        StoreErrorKind::InvalidArgument | StoreErrorKind::InvalidRange => ExportErrorKind::Invalid,
        _ => ExportErrorKind::Io,
    };
    tracing::warn!(%error, "a request to a volume failed");
    // What is in the source chain is for the log, not for clients.
    ExportError::new(kind, error.message().to_owned())
}

fn range_of(range: ByteRange) -> std::ops::Range<u64> {
    range.start()..range.end()
}

#[async_trait]
impl Export for VolumeExport {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    async fn read(&self, range: ByteRange) -> Result<Vec<Piece>, ExportError> {
        let pieces = self.volume.read(range_of(range)).await.map_err(failed)?;
        let piece = |piece| match piece {
            VolumePiece::Data(bytes) => Piece::Data(bytes),
            VolumePiece::Zeros(len) => Piece::Zeroes(len),
        };
        Ok(pieces.into_iter().map(piece).collect())
    }

    async fn write(&self, start: u64, data: Bytes, persist: Persist) -> Result<(), ExportError> {
        self.volume.write(start, data).await.map_err(failed)?;
        self.persist(persist).await
    }

    async fn flush(&self) -> Result<(), ExportError> {
        self.volume.flush().await.map_err(failed)
    }

    async fn trim(&self, range: ByteRange, persist: Persist) -> Result<(), ExportError> {
        self.volume.punch(range_of(range)).await.map_err(failed)?;
        self.persist(persist).await
    }

    async fn write_zeroes(&self, range: ByteRange, how: Zeroing) -> Result<(), ExportError> {
        if !how.allocate {
            self.volume.punch(range_of(range)).await.map_err(failed)?;
            return self.persist(how.persist).await;
        }
        if how.fast {
            let message = "zeroes that keep their room are written as bytes";
            return Err(ExportError::new(ExportErrorKind::NotSupported, message));
        }
        let mut at = range.start();
        while at < range.end() {
            let len = ZEROES_BYTES.min(range.end() - at);
            self.volume.write(at, vec![0; len as usize].into()).await.map_err(failed)?;
            at += len;
        }
        self.persist(how.persist).await
    }

    async fn cache(&self, range: ByteRange) -> Result<(), ExportError> {
        let mut at = range.start();
        while at < range.end() {
            let end = range.end().min(at + CACHE_BYTES);
            self.volume.read(at..end).await.map_err(failed)?;
            at = end;
        }
        Ok(())
    }

    async fn block_status(
        &self,
        context: &Context,
        range: ByteRange,
        extents_max: usize,
    ) -> Result<Vec<Extent>, ExportError> {
        let (runs, flags): (Vec<MapRun>, fn(bool) -> u64) = match context {
            Context::Allocation => {
                let hole = |is_data| if is_data { 0 } else { allocation::HOLE | allocation::ZERO };
                (self.volume.runs(range_of(range), extents_max).map_err(failed)?, hole)
            }
            Context::Dirty(leaf) => {
                let unknown = || ExportError::new(ExportErrorKind::Invalid, "there is no such snapshot");
                let name = leaf.as_str().strip_prefix("dirty:").ok_or_else(unknown)?;
                let name = SnapshotName::new(name).map_err(|_| unknown())?;
                let changed = |is_data| if is_data { DIRTY } else { 0 };
                (self.volume.changes(&name, range_of(range), extents_max).map_err(failed)?, changed)
            }
        };
        Ok(runs.into_iter().map(|run| Extent { length: run.len, flags: flags(run.is_data) }).collect())
    }
}

/// What is attached, by principal and name.
type Devices = BTreeMap<(Option<String>, String), Weak<VolumeExport>>;

/// The volumes of a store.
#[derive(Debug)]
pub struct StoreExports {
    store: Store,
    devices: Mutex<Devices>,
}

impl StoreExports {
    /// Of this store.
    pub fn new(store: Store) -> Self {
        Self { store, devices: Mutex::default() }
    }

    /// The empty name stands for the only export that this principal may have.
    async fn name(&self, who: &Authenticated, asked: &str) -> Result<String, Refusal> {
        if !asked.is_empty() {
            return Ok(asked.to_owned());
        }
        match self.store.export_list(who).await.map_err(|error| refused(&error))?.as_slice() {
            [only] => Ok(only.name.clone()),
            _ => Err(Refusal::Unknown),
        }
    }

    fn device(&self, key: &(Option<String>, String)) -> Option<Arc<VolumeExport>> {
        let mut devices = self.devices.lock();
        devices.retain(|_, device| device.strong_count() > 0);
        devices.get(key).and_then(Weak::upgrade)
    }

    /// The device, made when it is not there. Two connections may come at once: the one that gets no
    /// lease finds what the other has made.
    async fn open(&self, who: &Authenticated, name: &str) -> Result<Arc<VolumeExport>, Refusal> {
        let key = (who.name().map(str::to_owned), name.to_owned());
        for _ in 0..LEASE_TRIES {
            if let Some(device) = self.device(&key) {
                return Ok(device);
            }
            match self.store.export_open(who, name).await {
                Ok(opened) => {
                    let device = VolumeExport::new(opened.volume, name).map_err(|error| refused(&error))?;
                    let device = Arc::new(device);
                    self.devices.lock().insert(key, Arc::downgrade(&device));
                    return Ok(device);
                }
                // The last connection may be ending its lease at this moment.
                Err(error) if error.kind() == StoreErrorKind::Leased => {
                    tokio::time::sleep(LEASE_PAUSE).await;
                }
                Err(error) => return Err(refused(&error)),
            }
        }
        Err(Refusal::Busy)
    }
}

fn refused(error: &StoreError) -> Refusal {
    match error.kind() {
        StoreErrorKind::NoSuchKey | StoreErrorKind::NoSuchBucket => Refusal::Unknown,
        StoreErrorKind::AccessDenied | StoreErrorKind::CustomerKeyNeeded => Refusal::NotAllowed,
        StoreErrorKind::Leased => Refusal::Busy,
        _ => {
            tracing::warn!(%error, "an export cannot be had");
            Refusal::Unavailable
        }
    }
}

#[async_trait]
impl Exports for StoreExports {
    async fn list(&self, who: &Authenticated) -> Vec<Listed> {
        let found = self.store.export_list(who).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "exports cannot be listed");
            Vec::new()
        });
        let listed = |spec: gw_store::ExportSpec| Listed {
            description: format!("s3://{}/{}", spec.bucket, spec.key.as_str()),
            name: spec.name,
        };
        found.into_iter().map(listed).collect()
    }

    async fn describe(&self, who: &Authenticated, name: &str) -> Result<Described, Refusal> {
        let name = self.name(who, name).await?;
        let key = (who.name().map(str::to_owned), name.clone());
        if let Some(device) = self.device(&key) {
            return Ok(Described { name, properties: device.properties.clone() });
        }
        let opened = self.store.export_look(who, &name).await.map_err(|error| refused(&error))?;
        // A look takes no lease; what it would be with one follows from the name.
        let looked = self.store.export_view(who, &name).await.map_err(|error| refused(&error))?;
        let mut properties = properties(&looked.volume, &name).map_err(|error| refused(&error))?;
        properties.read_only = opened.read_only;
        Ok(Described { name, properties })
    }

    async fn attach(&self, who: &Authenticated, name: &str) -> Result<Attached, Refusal> {
        let name = self.name(who, name).await?;
        // Asked each time: a right that was withdrawn is gone for the next connection.
        self.store.export_look(who, &name).await.map_err(|error| refused(&error))?;
        let export: Arc<dyn Export> = self.open(who, &name).await?;
        Ok(Attached { name, export })
    }
}
