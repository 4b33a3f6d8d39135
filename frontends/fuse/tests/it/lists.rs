//! Access lists through the kernel, which enforces what the namespace keeps.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use gw_fuse::{Ended, MountOptions};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

use crate::harness::{can_mount, memory, mount, outside};

const NONE: u32 = u32::MAX;
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
/// Somebody without a name, in no group of the files here.
const STRANGER: u32 = 54_321;

fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

/// The owner everything, one user `permissions`, nobody else anything.
fn for_stranger(permissions: u16, id: u32) -> Vec<u8> {
    value(&[(1, 7, NONE), (2, permissions, id), (4, 0, NONE), (0x10, permissions, NONE), (0x20, 0, NONE)])
}

fn list(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 1024];
    let len = getxattr(path, name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

/// Whether somebody else can read a file.
fn stranger_reads(path: &Path) -> bool {
    let mut cat = Command::new("cat");
    cat.arg(path).uid(STRANGER).gid(STRANGER).stdout(std::process::Stdio::null());
    cat.stderr(std::process::Stdio::null()).status().expect("cat").success()
}

/// In a process of its own: the umask is all threads'.
fn with_umask(at: &Path, script: &str) {
    let script = format!("umask 077; {script}");
    assert!(Command::new("sh").args(["-c", &script]).current_dir(at).status().expect("a shell").success());
}

fn everybody_may_come(at: &Path) {
    for folder in [Some(at), at.parent()].into_iter().flatten() {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_enforces_access_lists() {
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let files = memory();
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let place = mount(files.clone(), options).await;
    let at = place.at.clone();
    outside(move || {
        everybody_may_come(&at);
        let file = at.join("f");
        fs::write(&file, b"for few").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!stranger_reads(&file));
        setxattr(&file, ACCESS, &for_stranger(4, STRANGER), XattrFlags::empty()).unwrap();
        assert!(stranger_reads(&file));
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o740);
        // chmod takes the mask's bits, and with them what the user was given.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger_reads(&file));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o740)).unwrap();
        assert!(stranger_reads(&file));
    })
    .await;
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_list_is_handed_down_whatever_the_umask() {
    if !can_mount() {
        return;
    }
    let place = mount(memory(), MountOptions::default()).await;
    let at = place.at.clone();
    outside(move || {
        with_umask(&at, "touch before");
        assert_eq!(at.join("before").metadata().unwrap().mode() & 0o777, 0o600);
        let folder = at.join("d");
        fs::create_dir(&folder).unwrap();
        let default = for_stranger(6, STRANGER);
        setxattr(&folder, DEFAULT, &default, XattrFlags::empty()).unwrap();
        let (file, below) = (folder.join("f"), folder.join("e"));
        with_umask(&folder, "touch f && mkdir e");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o660);
        assert_eq!(list(&below, DEFAULT).unwrap(), default);
        assert_eq!(list(&below, ACCESS).unwrap(), default);
        assert_eq!(list(&file, DEFAULT), Err(Errno::NODATA));
        assert_eq!(setxattr(&file, DEFAULT, &default, XattrFlags::empty()), Err(Errno::ACCESS));
    })
    .await;
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_in_lists_are_mapped_as_all_others() {
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let files = memory();
    let plain = mount(files.clone(), MountOptions::default()).await;
    let uids = "0:0:1000,5000:54321:1".parse().unwrap();
    let other = std::sync::Arc::new(files.view());
    let mapped = mount(other, MountOptions { uids, ..MountOptions::default() }).await;
    let (one, two) = (plain.at.clone(), mapped.at.clone());
    outside(move || {
        fs::write(two.join("f"), b"x").unwrap();
        setxattr(two.join("f"), ACCESS, &for_stranger(4, STRANGER), XattrFlags::empty()).unwrap();
        assert_eq!(list(&two.join("f"), ACCESS).unwrap(), for_stranger(4, STRANGER));
        assert_eq!(list(&one.join("f"), ACCESS).unwrap(), for_stranger(4, 5000), "as it is kept");
        let unknown = setxattr(two.join("f"), ACCESS, &for_stranger(4, 77_777), XattrFlags::empty());
        assert_eq!(unknown, Err(Errno::OVERFLOW));
    })
    .await;
    assert_eq!(plain.mounted.unmount().await, Ended::Unmounted);
    assert_eq!(mapped.mounted.unmount().await, Ended::Unmounted);
}
