//! A mount in a folder of its own.

use gw_clock::SystemClock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gw_fuse::{Mount, MountOptions, Mounted};
use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_store::files::Files;
use tempfile::TempDir;

/// Something mounted, and the folder that it is mounted in.
pub struct Place {
    pub mounted: Mounted,
    pub at: PathBuf,
    _folder: TempDir,
}

#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
/// Whether this machine can mount. One that runs checks for everybody has to.
pub fn can_mount() -> bool {
    let can = Path::new("/dev/fuse").exists();
    assert!(can || std::env::var_os("CI").is_none(), "there is no /dev/fuse, and this is CI");
    if !can {
        eprintln!("SKIPPED: there is no /dev/fuse on this machine");
    }
    can
}

pub fn memory() -> Arc<MemoryFiles> {
    let clock = Arc::new(SystemClock::default());
    // Whoever runs the tests owns the root, as a mount of theirs would have it.
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    Arc::new(MemoryFiles::new(clock, uid, gid, MemoryLimits::default()))
}

pub async fn mount(files: Arc<dyn Files>, options: MountOptions) -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().canonicalize().expect("it is there").join("mnt");
    std::fs::create_dir(&at).expect("a name that is free");
    let mounted = Mount::start(files, &at, options).await.expect("it can be mounted");
    Place { mounted, at, _folder: folder }
}

/// Runs what blocks: the runtime serves the mount meanwhile.
pub async fn outside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("what is asserted in it holds")
}
