//! Mounts begin, end, and leave nothing behind.

use std::fs;
use std::io::Write;
use std::time::Duration;

use gw_fuse::{Ended, Mount, MountError, MountMetrics, MountOptions, Op};
use gw_store::files::{Caller, FileId, Files};

use crate::harness::{can_mount, memory, mount, outside};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_read_and_an_unmount_leaves_no_handle() {
    if !can_mount() {
        return;
    }
    let files = memory();
    let place = mount(files.clone(), MountOptions::default()).await;
    let path = place.at.join("file");
    outside(move || {
        fs::write(&path, b"bytes").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
    })
    .await;
    let metrics = place.mounted.metrics();
    assert!(MountMetrics::get(&metrics.op(Op::Create).requests) == 1);
    assert_eq!(MountMetrics::get(&metrics.bytes_written), 5);
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
    assert_eq!(files.handle_count(), 0);
    assert!(!place.at.join("file").exists());
    assert_eq!(MountMetrics::get(&metrics.in_flight_requests), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_keeps_a_file_open_is_cut_off_and_the_file_is_closed() {
    if !can_mount() {
        return;
    }
    let files = memory();
    let mut options = MountOptions::default();
    options.limits.unmount_timeout = Duration::from_millis(100);
    let place = mount(files.clone(), options).await;
    let path = place.at.join("file");
    let mut open = outside(move || fs::File::create(path).unwrap()).await;
    assert_eq!(place.mounted.unmount().await, Ended::CutOff);
    assert_eq!(files.handle_count(), 0, "the file was closed for its writer");
    assert!(outside(move || open.write_all(b"late")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmount_from_outside_is_noticed() {
    if !can_mount() {
        return;
    }
    let place = mount(memory(), MountOptions::default()).await;
    let at = place.at.clone();
    let status = outside(move || {
        let program = if nix::unistd::geteuid().is_root() { "umount" } else { "fusermount3" };
        let mut command = std::process::Command::new(program);
        if program == "fusermount3" {
            command.arg("-u");
        }
        command.arg(at).status().unwrap()
    })
    .await;
    assert!(status.success());
    assert_eq!(place.mounted.wait().await, Ended::FromOutside);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_takes_one_mount_and_directories_only() {
    if !can_mount() {
        return;
    }
    let place = mount(memory(), MountOptions::default()).await;
    let again = Mount::start(memory(), &place.at, MountOptions::default()).await;
    assert!(matches!(again, Err(MountError::Mounted(_))), "{again:?}");
    let at = place.at.join("file");
    let file = at.clone();
    outside(move || fs::write(file, b"").unwrap()).await;
    let on_a_file = Mount::start(memory(), &at, MountOptions::default()).await;
    assert!(matches!(on_a_file, Err(MountError::NotADirectory(_))), "{on_a_file:?}");
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_mount_is_gone() {
    if !can_mount() {
        return;
    }
    let files = memory();
    let place = mount(files.clone(), MountOptions::default()).await;
    let caller = Caller { uid: 0, gid: 0, pid: 1, umask: 0 };
    files.mkdir(&caller, FileId::ROOT, b"inside", 0o755).unwrap();
    let inside = place.at.join("inside");
    let seen = inside.clone();
    assert!(outside(move || seen.is_dir()).await);
    drop(place.mounted);
    assert!(!outside(move || inside.exists()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_mount_takes_no_changes() {
    if !can_mount() {
        return;
    }
    let place = mount(memory(), MountOptions { read_only: true, ..MountOptions::default() }).await;
    let path = place.at.join("file");
    let refused = outside(move || fs::write(path, b"").unwrap_err()).await;
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}
