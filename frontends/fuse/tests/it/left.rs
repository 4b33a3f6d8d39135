//! What killed gateways leave, and mounts of users other than root.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use gw_fuse::{Ended, Mount, MountError, MountOptions};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount_call, umount2};

use crate::harness::{can_mount, memory, outside};

/// Users without a name cannot use fusermount3; every system has this one.
const NOBODY: u32 = 65_534;

/// A mount whose server is gone: what a killed process leaves.
fn dead_mount(at: &Path, kind: &str) {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    mount_call(Some("dead"), at, Some(kind), MsFlags::MS_NOSUID, Some(data.as_str())).expect("root may");
}

fn is_dead(at: &Path) -> bool {
    fs::metadata(at).is_err_and(|error| error.raw_os_error() == Some(Errno::ENOTCONN as i32))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_mount_is_taken_away_and_mounted_anew() {
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = folder();
    let at = folder.path().canonicalize().unwrap().join("mnt");
    let place = at.clone();
    outside(move || {
        fs::create_dir(&place).unwrap();
        // Two of them, one on the other: killed twice.
        for _ in 0..2 {
            dead_mount(&place, "fuse.cess-gateway");
            assert!(is_dead(&place), "whoever comes there gets an error and does not hang");
        }
    })
    .await;
    let mounted = Mount::start(memory(), &at, MountOptions::default()).await.unwrap();
    let place = at.clone();
    outside(move || {
        fs::write(place.join("f"), b"alive").unwrap();
        assert_eq!(fs::read(place.join("f")).unwrap(), b"alive");
    })
    .await;
    assert_eq!(mounted.unmount().await, Ended::Unmounted);
    outside(move || assert!(fs::read_dir(&at).unwrap().next().is_none(), "nothing is left below")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_mount_of_somebody_else_is_left_alone() {
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = folder();
    let at = folder.path().canonicalize().unwrap().join("mnt");
    let place = at.clone();
    outside(move || {
        fs::create_dir(&place).unwrap();
        dead_mount(&place, "fuse.other");
    })
    .await;
    let refused = Mount::start(memory(), &at, MountOptions::default()).await;
    assert!(matches!(refused, Err(MountError::Io { .. })), "{refused:?}");
    outside(move || {
        assert!(is_dead(&at));
        umount2(&at, nix::mount::MntFlags::empty()).unwrap();
    })
    .await;
}

/// Root runs the tests of this program once more as a user who can mount by fusermount3 alone. In a
/// mount namespace of their own, where everybody may open /dev/fuse, as udev lets them.
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_mounts_and_unmounts_by_fusermount3() {
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let there = |program: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        found.is_ok_and(|output| output.status.success())
    };
    if !["fusermount3", "unshare", "setpriv"].into_iter().all(there) {
        eprintln!("SKIPPED: there is no fusermount3 on this machine (Debian: fuse3)");
        return;
    }
    outside(move || {
        let folder = folder();
        let open = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(folder.path(), 0o755);
        let (program, home) = (folder.path().join("it"), folder.path().join("home"));
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        open(&program, 0o755);
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        let script = format!(
            "set -e; mknod {0}/fuse c 10 229; chmod 666 {0}/fuse; mount --bind {0}/fuse /dev/fuse; \
             cd {0}/home; TMPDIR={0}/home exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \
             {0}/it --exact life::what_is_written_is_read_and_an_unmount_leaves_no_handle \
             life::an_unmount_from_outside_is_noticed life::a_dropped_mount_is_gone \
             life::a_read_only_mount_takes_no_changes \
             posix::a_file_without_a_name_lives_while_it_is_open",
            folder.path().display()
        );
        let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let cried = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{cried}");
        assert!(said.contains("5 passed"), "{said}");
    })
    .await;
}
