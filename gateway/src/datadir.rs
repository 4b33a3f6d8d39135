//! The data directory: who owns it, where things stand in it, and secrets in files.
//!
//! ```text
//!   DIR/lock            held by the process that uses DIR
//!   DIR/admin.sock      0600, the command line's way in
//!   DIR/admin.token     0600, for the admin TCP listener
//!   DIR/ready.json      0600, only while the gateway serves (or at --ready-file)
//!   DIR/root.key        0600, the root key (dev); a recovery copy belongs elsewhere
//!   DIR/dev.json        0600, accounts, ports and first credentials (dev)
//!   DIR/store/          journal, local checkpoints, catalog, segments
//!   DIR/chain/          the development chain (dev)
//!   DIR/miners/N/       each development miner (dev)
//! ```
//!
//! Secrets are written to a new 0600 file, synced and renamed over the old one, so a crash leaves
//! the old or the new file, never half of one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result, fail};

/// An owned data directory. The lock goes when this is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where needed and takes it for this process.
    pub fn own(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).context(|| format!("making the data directory {}", root.display()))?;
        let root = root.canonicalize().context(|| format!("finding {}", root.display()))?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .context(|| format!("opening {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(TryLockError::WouldBlock) => fail(format!(
                "the data directory {} is in use by another process; stop it, or choose another with --data-dir",
                root.display()
            )),
            Err(TryLockError::Error(error)) => Err(error).context(|| format!("locking {}", path.display())),
        }
    }

    /// A path below the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where the admin socket of a data directory is, owned or not.
    pub fn admin_socket(root: &Path) -> PathBuf {
        root.join("admin.sock")
    }
}

/// Writes a 0600 file atomically and durably.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    };
    write()
        .inspect_err(|_| {
            // The draft holds a secret too; nothing more can be done where this fails as well.
            fs::remove_file(&draft).ok();
        })
        .context(|| format!("writing {}", path.display()))
}

/// Reads a secret file; refuses one that others may read.
pub fn read_secret(path: &Path) -> Result<Option<Vec<u8>>> {
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(|| format!("reading {}", path.display())),
    };
    if mode & 0o077 != 0 {
        return fail(format!("{} may be read by others (mode {mode:o}); run: chmod 600 {0}", path.display()));
    }
    fs::read(path).map(Some).context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{DataDir, read_secret, write_secret};

    #[test]
    fn a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::own(folder.path()).unwrap();
        let error = DataDir::own(folder.path()).unwrap_err().to_string();
        assert!(error.contains("in use by another process"), "{error}");
        drop(first);
        DataDir::own(folder.path()).unwrap();
    }

    #[test]
    fn secrets_are_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert_eq!(read_secret(&path).unwrap(), None);
        write_secret(&path, b"one").unwrap();
        write_secret(&path, b"two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_secret(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_secret(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
