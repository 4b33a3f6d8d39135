//! A folder of the local file system as a [`Disk`].
//!
//! Writes go to the page cache with `pwrite` on the calling thread. Reads are first tried without
//! waiting (`preadv2` with `RWF_NOWAIT`); what is not in the cache is read on a blocking thread, and
//! so is every sync. `sync` is `fdatasync`, which on Linux also makes the length durable. Extending a
//! file allocates its blocks (`fallocate`) where the file system can, so that a full disk shows there
//! and not at a later write. A new folder is made durable by syncing the folder it is in at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gw_types::ports::{Disk, DiskEntry, DiskFile};
use gw_types::{PortError, PortErrorKind, PortResult};
use rustix::fs::FallocateFlags;
use rustix::io::{Errno, ReadWriteFlags};

/// A folder on the local file system.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
}

impl FileDisk {
    /// Opens the folder, making it if it is missing.
    pub fn new(root: impl Into<PathBuf>) -> PortResult<Self> {
        let root = root.into();
        make_folder(&root).map_err(|error| PortError::from_io(format!("make {}", root.display()), error))?;
        Ok(Self { root })
    }
    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a name; only plain components are taken. An empty name is the root.
    fn path(&self, name: &str) -> PortResult<PathBuf> {
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.contains('\0') {
            return Err(PortError::definite(
                PortErrorKind::Refused,
                format!("{name:?} is not a name below the disk's root"),
            ));
        }
        Ok(self.root.join(name))
    }

    fn file_path(&self, name: &str) -> PortResult<PathBuf> {
        if name.is_empty() || name.ends_with('/') {
            return Err(PortError::definite(
                PortErrorKind::Refused,
                format!("{name:?} is not the name of a file"),
            ));
        }
        self.path(name)
    }

    fn handle(&self, name: &str, options: &OpenOptions) -> PortResult<Arc<dyn DiskFile>> {
        let path = self.file_path(name)?;
        let file = options.open(&path).map_err(|error| PortError::from_io(format!("open {name}"), error))?;
        Ok(Arc::new(RealFile { name: name.into(), file: Arc::new(file) }))
    }
}

/// Makes a folder and those above it, each durable in the one above.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    if above != Path::new(".") {
        make_folder(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(above)?.sync_all()
}

#[async_trait]
impl Disk for FileDisk {
    fn create(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        let path = self.file_path(name)?;
        if let Some(folder) = path.parent() {
            make_folder(folder)
                .map_err(|error| PortError::from_io(format!("make the folder of {name}"), error))?;
        }
        self.handle(name, OpenOptions::new().read(true).write(true).create_new(true))
    }

    fn open(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        self.handle(name, OpenOptions::new().read(true).write(true))
    }

    fn remove(&self, name: &str) -> PortResult<()> {
        fs::remove_file(self.file_path(name)?)
            .map_err(|error| PortError::from_io(format!("remove {name}"), error))
    }

    fn rename(&self, from: &str, to: &str) -> PortResult<()> {
        let (source, target) = (self.file_path(from)?, self.file_path(to)?);
        if let Some(folder) = target.parent() {
            make_folder(folder)
                .map_err(|error| PortError::from_io(format!("make the folder of {to}"), error))?;
        }
        fs::rename(source, target)
            .map_err(|error| PortError::from_io(format!("rename {from} to {to}"), error))
    }

    fn list(&self, folder: &str) -> PortResult<Vec<DiskEntry>> {
        let path = self.path(folder)?;
        let failed = |error| PortError::from_io(format!("list {folder:?}"), error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut out = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            // A name that is not UTF-8 is none of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if meta.is_file() {
                let name =
                    if folder.is_empty() { name } else { format!("{}/{name}", folder.trim_end_matches('/')) };
                out.push(DiskEntry { name, len: meta.len() });
            }
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    async fn sync_dir(&self, folder: &str) -> PortResult<()> {
        let path = self.path(folder)?;
        let what = format!("sync the folder {folder:?}");
        blocking(what, move || File::open(path)?.sync_all()).await
    }

    fn free_bytes(&self) -> PortResult<u64> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(|error| PortError::from_io("ask for the free space", error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Runs `act` where it may wait for the device.
async fn blocking<T: Send + 'static>(
    what: String,
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> PortResult<T> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result.map_err(|error| PortError::from_io(what, error)),
        Err(gone) => Err(PortError::unknown(PortErrorKind::Unavailable, what).with_source(gone)),
    }
}

#[derive(Debug)]
struct RealFile {
    name: String,
    file: Arc<File>,
}

#[async_trait]
impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> PortResult<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| PortError::from_io(format!("write {} at {offset}", self.name), error))
    }

    async fn read_at(&self, offset: u64, len: usize) -> PortResult<Bytes> {
        let mut buffer = vec![0; len];
        let done = read_cached(&self.file, offset, &mut buffer);
        if done == len {
            return Ok(buffer.into());
        }
        let file = self.file.clone();
        let what = format!("read {len} bytes of {} at {offset}", self.name);
        blocking(what, move || {
            file.read_exact_at(&mut buffer[done..], offset + done as u64)?;
            Ok(buffer.into())
        })
        .await
    }

    async fn sync(&self) -> PortResult<()> {
        let file = self.file.clone();
        blocking(format!("sync {}", self.name), move || file.sync_data()).await
    }

    fn len(&self) -> PortResult<u64> {
        let meta = self.file.metadata();
        Ok(meta
            .map_err(|error| PortError::from_io(format!("ask for the length of {}", self.name), error))?
            .len())
    }

    fn set_len(&self, len: u64) -> PortResult<()> {
        let failed = |error| PortError::from_io(format!("set the length of {} to {len}", self.name), error);
        let now = self.file.metadata().map_err(failed)?.len();
        if len > now {
            match rustix::fs::fallocate(&*self.file, FallocateFlags::empty(), now, len - now) {
                Ok(()) => return Ok(()),
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => {
                    // Some file systems keep what they allocated before they ran out.
                    let _ = self.file.set_len(now);
                    return Err(failed(error.into()));
                }
            }
        }
        self.file.set_len(len).map_err(failed)
    }
}

/// Reads what the page cache holds, without waiting; the rest is for a blocking thread.
fn read_cached(file: &File, offset: u64, buffer: &mut [u8]) -> usize {
    let mut done = 0;
    while done < buffer.len() {
        let slices = &mut [IoSliceMut::new(&mut buffer[done..])];
        match rustix::io::preadv2(file, slices, offset + done as u64, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => break,
            Ok(read) => done += read,
        }
    }
    done
}
