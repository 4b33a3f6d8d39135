//! Catalog engines: ordered maps that index the journal.
//!
//! Each is one file that alone knows its crate. All keep a CRC beside each value, and all pass
//! [`conformance`]. An engine is never the truth: one that cannot be opened is moved aside and a fresh
//! one takes its place, which [`crate::Db::open`] then fills from runs and journal.

pub mod conformance;
mod fjall;
mod memory;
mod sled;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gw_types::ports::Catalog;
use gw_types::{PortError, PortErrorKind, PortResult};

pub use fjall::FjallCatalog;
pub use memory::MemoryCatalog;
pub use sled::SledCatalog;
pub(crate) use value::check_key;

/// Which engine a data directory uses. Changing it is allowed: the new one is filled from runs and journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// sled 0.34, a Bw-tree.
    Sled,
    /// fjall 3, a log-structured merge tree.
    Fjall,
}

impl Engine {
    /// Its name in configuration and on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }
    /// The engine of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sled, Self::Fjall].into_iter().find(|engine| engine.name() == name)
    }
}

/// Opens the engine in `folder/<name>`, making it if it is missing. Waits for the disk (sled reads its
/// whole log after an unclean stop): call it where waiting is allowed.
///
/// One that cannot be opened is moved to `folder/<name>.broken` (replacing an earlier one) and a fresh
/// one is made. A lock held by another process is an error and moves nothing.
pub fn open_engine(engine: Engine, folder: &Path) -> PortResult<Arc<dyn Catalog>> {
    let path = folder.join(engine.name());
    match open_at(engine, &path) {
        Ok(catalog) => Ok(catalog),
        Err(error) if error.kind() == PortErrorKind::Corrupt => {
            let aside = path.with_extension("broken");
            tracing::warn!(%error, aside = %aside.display(), "the catalog cannot be opened; it is moved aside and rebuilt");
            move_aside(&path, &aside)
                .map_err(|error| PortError::from_io(format!("move {} aside", path.display()), error))?;
            open_at(engine, &path)
        }
        Err(error) => Err(error),
    }
}

fn open_at(engine: Engine, path: &Path) -> PortResult<Arc<dyn Catalog>> {
    Ok(match engine {
        Engine::Sled => Arc::new(SledCatalog::open(path)?),
        Engine::Fjall => Arc::new(FjallCatalog::open(path)?),
    })
}

fn move_aside(path: &Path, aside: &PathBuf) -> std::io::Result<()> {
    match std::fs::remove_dir_all(aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::rename(path, aside)
}

/// Runs an act of an engine that may panic on damaged files, and that as an error.
fn guarded<T>(what: &str, act: impl FnOnce() -> PortResult<T>) -> PortResult<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(PortError::unknown(PortErrorKind::Corrupt, format!("{what}: the engine panicked: {message}")))
    })
}

/// Runs an act where it may wait for the device.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    act: impl FnOnce() -> PortResult<T> + Send + 'static,
) -> PortResult<T> {
    match tokio::task::spawn_blocking(move || guarded(what, act)).await {
        Ok(result) => result,
        Err(gone) => Err(PortError::unknown(PortErrorKind::Unavailable, what).with_source(gone)),
    }
}

/// Bytes that the files in a folder and below take on disk.
fn folder_bytes(path: &Path) -> PortResult<u64> {
    use std::os::unix::fs::MetadataExt;
    let failed = |error| PortError::from_io(format!("measure {}", path.display()), error);
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes += folder_bytes(&entry.path())?,
            Ok(meta) => bytes += meta.blocks() * 512,
            // Engines remove files in the background.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(bytes)
}
