//! A namespace that does not answer: nobody hangs on it for ever.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_fuse::{Ended, MountMetrics, MountOptions};
use gw_memory_files::MemoryFiles;
use gw_store::files::{
    Allocate, Caller, DirEntry, FileAttr, FileId, FileKind, Files, FilesChange, FilesResult, FilesStatus,
    Found, HandleId, OpenFlags, RenameMode, SeekFor, SetAttr, SetXattr, WriteFlags,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;

use crate::harness::{can_mount, memory, mount, outside};

/// Reads wait for a permit, lookups of `stuck` for the gate, lookups of `panic` panic; that everything
/// has changed is said for each permit.
pub struct Hanging {
    pub inner: Arc<MemoryFiles>,
    pub changes: Semaphore,
    reads: Semaphore,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Hanging {
    pub fn new(inner: Arc<MemoryFiles>) -> Arc<Self> {
        let (reads, gate, opened) = (Semaphore::new(0), Mutex::new(false), Condvar::new());
        Arc::new(Self { inner, changes: Semaphore::new(0), reads, gate, opened })
    }
    fn open_gate(&self) {
        *self.gate.lock() = true;
        self.opened.notify_all();
    }
}

#[async_trait]
#[rustfmt::skip]
impl Files for Hanging {
    fn lookup(&self, caller: &Caller, parent: FileId, name: &[u8]) -> FilesResult<Found> {
        assert!(name != b"panic", "a broken invariant");
        if name == b"stuck" {
            let mut open = self.gate.lock();
            while !*open {
                self.opened.wait(&mut open);
            }
        }
        self.inner.lookup(caller, parent, name)
    }
    async fn read(&self, handle: HandleId, offset: u64, len: u32) -> FilesResult<Bytes> {
        self.reads.acquire().await.expect("it is not closed").forget();
        self.inner.read(handle, offset, len).await
    }

    fn forget(&self, id: FileId, lookups: u64) { self.inner.forget(id, lookups); }
    fn getattr(&self, id: FileId) -> FilesResult<FileAttr> { self.inner.getattr(id) }
    fn setattr(&self, c: &Caller, id: FileId, h: Option<HandleId>, s: &SetAttr) -> FilesResult<FileAttr> { self.inner.setattr(c, id, h, s) }
    fn readlink(&self, id: FileId) -> FilesResult<Vec<u8>> { self.inner.readlink(id) }
    fn mknod(&self, c: &Caller, p: FileId, n: &[u8], k: FileKind, m: u32, r: u32) -> FilesResult<Found> { self.inner.mknod(c, p, n, k, m, r) }
    fn mkdir(&self, c: &Caller, p: FileId, n: &[u8], m: u32) -> FilesResult<Found> { self.inner.mkdir(c, p, n, m) }
    fn symlink(&self, c: &Caller, p: FileId, n: &[u8], t: &[u8]) -> FilesResult<Found> { self.inner.symlink(c, p, n, t) }
    fn link(&self, c: &Caller, id: FileId, p: FileId, n: &[u8]) -> FilesResult<Found> { self.inner.link(c, id, p, n) }
    fn unlink(&self, c: &Caller, p: FileId, n: &[u8]) -> FilesResult<()> { self.inner.unlink(c, p, n) }
    fn rmdir(&self, c: &Caller, p: FileId, n: &[u8]) -> FilesResult<()> { self.inner.rmdir(c, p, n) }
    fn rename(&self, c: &Caller, f: (FileId, &[u8]), t: (FileId, &[u8]), m: RenameMode) -> FilesResult<()> { self.inner.rename(c, f, t, m) }
    fn create(&self, c: &Caller, p: FileId, n: &[u8], m: u32, f: OpenFlags) -> FilesResult<(Found, HandleId)> { self.inner.create(c, p, n, m, f) }
    fn open(&self, c: &Caller, id: FileId, f: OpenFlags) -> FilesResult<HandleId> { self.inner.open(c, id, f) }
    async fn write(&self, c: &Caller, h: HandleId, o: u64, b: Bytes, f: WriteFlags) -> FilesResult<u32> { self.inner.write(c, h, o, b, f).await }
    async fn flush(&self, h: HandleId) -> FilesResult<()> { self.inner.flush(h).await }
    async fn release(&self, h: HandleId) -> FilesResult<()> { self.inner.release(h).await }
    async fn fsync(&self, h: HandleId, d: bool) -> FilesResult<()> { self.inner.fsync(h, d).await }
    async fn syncfs(&self) -> FilesResult<()> { self.inner.syncfs().await }
    async fn allocate(&self, h: HandleId, o: u64, l: u64, a: Allocate) -> FilesResult<()> { self.inner.allocate(h, o, l, a).await }
    async fn seek(&self, h: HandleId, o: u64, w: SeekFor) -> FilesResult<u64> { self.inner.seek(h, o, w).await }
    async fn copy_range(&self, c: &Caller, f: (HandleId, u64), t: (HandleId, u64), l: u64) -> FilesResult<u64> { self.inner.copy_range(c, f, t, l).await }
    fn opendir(&self, c: &Caller, id: FileId) -> FilesResult<HandleId> { self.inner.opendir(c, id) }
    fn readdir(&self, h: HandleId, k: u64, n: usize, p: bool) -> FilesResult<Vec<DirEntry>> { self.inner.readdir(h, k, n, p) }
    fn releasedir(&self, h: HandleId) { self.inner.releasedir(h); }
    async fn fsyncdir(&self, h: HandleId) -> FilesResult<()> { self.inner.fsyncdir(h).await }
    fn setxattr(&self, c: &Caller, id: FileId, n: &[u8], v: &[u8], h: SetXattr) -> FilesResult<()> { self.inner.setxattr(c, id, n, v, h) }
    fn getxattr(&self, c: &Caller, id: FileId, n: &[u8]) -> FilesResult<Vec<u8>> { self.inner.getxattr(c, id, n) }
    fn listxattr(&self, c: &Caller, id: FileId) -> FilesResult<Vec<Vec<u8>>> { self.inner.listxattr(c, id) }
    fn removexattr(&self, c: &Caller, id: FileId, n: &[u8]) -> FilesResult<()> { self.inner.removexattr(c, id, n) }
    fn statfs(&self) -> FilesResult<FilesStatus> { self.inner.statfs() }
    async fn next_change(&self) -> Option<FilesChange> {
        self.changes.acquire().await.expect("it is not closed").forget();
        Some(FilesChange::Everything)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_does_not_come_back_is_an_error_in_time_and_the_mount_lives() {
    if !can_mount() {
        return;
    }
    let files = Hanging::new(memory());
    let mut options = MountOptions::default();
    options.limits.request_timeout = Duration::from_millis(500);
    let place = mount(files.clone(), options).await;
    let path = place.at.join("file");
    let reading = path.clone();
    let error = outside(move || {
        fs::write(&path, b"bytes").unwrap();
        // The page cache has the bytes already; reading around it asks.
        let direct = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
        let file = fs::File::from(rustix::fs::open(&reading, direct, rustix::fs::Mode::empty()).unwrap());
        std::os::unix::fs::FileExt::read_at(&file, &mut [0; 5], 0).unwrap_err()
    })
    .await;
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let metrics = place.mounted.metrics();
    assert_eq!(MountMetrics::get(&metrics.timed_out), 1);
    // The kernel does not wait for the answer to a RELEASE; that of the written file may be under way.
    while MountMetrics::get(&metrics.in_flight_requests) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(MountMetrics::get(&metrics.in_flight_requests), 1, "it still runs, and counts");
    files.reads.add_permits(10);
    while MountMetrics::get(&metrics.in_flight_requests) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_that_does_not_come_back_ends_the_mount_and_frees_its_caller() {
    if !can_mount() {
        return;
    }
    let files = Hanging::new(memory());
    let mut options = MountOptions::default();
    options.limits.stuck_timeout = Duration::from_millis(100);
    let place = mount(files.clone(), options).await;
    let path = place.at.join("stuck");
    let error = outside(move || fs::metadata(path).unwrap_err()).await;
    assert!(error.raw_os_error().is_some(), "{error}");
    assert!(matches!(place.mounted.wait().await, Ended::Failed(reason) if reason.contains("lookup")));
    files.open_gate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_one_requests_error() {
    if !can_mount() {
        return;
    }
    let place = mount(Hanging::new(memory()), MountOptions::default()).await;
    let (panic, other) = (place.at.join("panic"), place.at.join("other"));
    let error = outside(move || fs::metadata(panic).unwrap_err()).await;
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    outside(move || fs::write(other, b"still there").unwrap()).await;
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}
