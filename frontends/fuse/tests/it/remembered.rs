//! What the kernel remembers, and how it is told that it is wrong.

use gw_clock::SystemClock;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_fuse::{CacheOptions, Ended, MountMetrics, MountOptions};
use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_store::files::{Caller, FileId, Files, OpenFlags, WriteFlags};

use crate::hanging::Hanging;
use crate::harness::{Place, can_mount, memory, mount, outside};

const THEM: Caller = Caller { uid: 0, gid: 0, pid: 1, umask: 0 };
const HOUR: Duration = Duration::from_secs(3600);

/// A mount whose kernel believes everything for an hour.
async fn believing(files: Arc<dyn Files>) -> Place {
    let cache = CacheOptions { ttl_max: HOUR, negative_ttl: HOUR, ..CacheOptions::default() };
    mount(files, MountOptions { cache, ..MountOptions::default() }).await
}

/// Until the kernel has been told so often.
async fn told(place: &Place, count: u64) {
    let metrics = place.mounted.metrics();
    while MountMetrics::get(&metrics.invalidations) < count {
        tokio::task::yield_now().await;
    }
}

async fn put(files: &MemoryFiles, name: &[u8], bytes: &'static [u8]) {
    let flags = OpenFlags { write: true, truncate: true, ..OpenFlags::default() };
    let (_, handle) = files.create(&THEM, FileId::ROOT, name, 0o644, flags).expect("it can be made");
    let written = files.write(&THEM, handle, 0, Bytes::from_static(bytes), WriteFlags::default());
    written.await.expect("there is room");
    files.release(handle).await.expect("it is open");
}

/// Major and minor version. The kernel forgets names at one word since 6.16.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux says what it is");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Asks until the answer is right: the announcement is counted before the kernel has taken it.
async fn becomes<T: PartialEq + Send + 'static>(expected: T, ask: impl Fn() -> T + Clone + Send + 'static) {
    loop {
        let ask = ask.clone();
        if outside(ask).await == expected {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_bytes_from_elsewhere_are_seen_at_once() {
    if !can_mount() {
        return;
    }
    let clock = Arc::new(SystemClock::default());
    let limits = MemoryLimits { ttl: HOUR, ..MemoryLimits::default() };
    let here = Arc::new(MemoryFiles::new(clock, 0, 0, limits));
    let there = here.view();
    let place = believing(here.clone()).await;
    let path = place.at.join("object");
    let read = {
        let path = path.clone();
        move || fs::read(&path).ok()
    };
    becomes(None, read.clone()).await;
    put(&there, b"object", b"one").await;
    told(&place, 1).await;
    becomes(Some(b"one".to_vec()), read.clone()).await;
    put(&there, b"object", b"other").await;
    becomes(Some(b"other".to_vec()), read.clone()).await;
    there.unlink(&THEM, FileId::ROOT, b"object").unwrap();
    becomes(None, read).await;
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_means_every_name() {
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let clock = Arc::new(SystemClock::default());
    let limits = MemoryLimits { ttl: HOUR, ..MemoryLimits::default() };
    // Nothing but "everything" is ever announced of what is changed here behind the mount's back.
    let files = Hanging::new(Arc::new(MemoryFiles::new(clock, 0, 0, limits)));
    let place = believing(files.clone()).await;
    let paths: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| place.at.join(name)).collect();
    let seen = {
        let paths = paths.clone();
        move || paths.iter().filter(|path| path.exists()).count()
    };
    becomes(0, seen.clone()).await;
    for name in [b"a", b"b", b"c"] {
        files.inner.mkdir(&THEM, FileId::ROOT, name, 0o755).unwrap();
    }
    assert_eq!(outside(seen.clone()).await, 0, "it is believed for an hour");
    files.changes.add_permits(1);
    if kernel() >= (6, 16) {
        becomes(3, seen).await;
    }
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_back_late_is_there_after_fsync_and_close() {
    if !can_mount() {
        return;
    }
    let files = memory();
    let cache = CacheOptions { writeback: true, ..CacheOptions::default() };
    let place = mount(files.clone(), MountOptions { cache, ..MountOptions::default() }).await;
    let path = place.at.join("log");
    outside(move || {
        use std::io::Write;
        let mut log = fs::File::options().append(true).create(true).open(&path).unwrap();
        for line in 0..1000 {
            writeln!(log, "{line}").unwrap();
        }
        log.sync_all().unwrap();
    })
    .await;
    let found = files.lookup(&THEM, FileId::ROOT, b"log").unwrap();
    let handle = files.open(&THEM, found.attr.id, OpenFlags { read: true, ..OpenFlags::default() }).unwrap();
    let bytes = files.read(handle, 0, 1 << 20).await.unwrap();
    let expected: String = (0..1000).map(|line| format!("{line}\n")).collect();
    assert_eq!(bytes, expected.as_bytes());
    files.release(handle).await.unwrap();
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}
