//! What programs expect of a file system, through the kernel.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use gw_fuse::{Ended, MountOptions};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, RenameFlags, SeekFrom, Timespec, Timestamps, XattrFlags, fallocate,
    getxattr, listxattr, renameat_with, seek, setxattr, utimensat,
};
use rustix::io::Errno;

use crate::harness::{can_mount, memory, mount, outside};

/// Runs this in a fresh mount.
async fn on_a_mount(work: impl FnOnce(&Path) + Send + 'static) {
    if !can_mount() {
        return;
    }
    let files = memory();
    let place = mount(files.clone(), MountOptions::default()).await;
    let at = place.at.clone();
    outside(move || work(&at)).await;
    assert_eq!(place.mounted.unmount().await, Ended::Unmounted);
    assert_eq!(files.handle_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_thousands_is_listed_whole_and_can_be_removed() {
    on_a_mount(|at| {
        let many = at.join("many");
        fs::create_dir(&many).unwrap();
        for number in 0..3000 {
            File::create(many.join(format!("a name of some length {number}"))).unwrap();
        }
        let mut seen: Vec<_> = fs::read_dir(&many).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3000);
        fs::remove_dir_all(&many).unwrap();
        assert!(!many.exists());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renames_replace_refuse_or_exchange() {
    on_a_mount(|at| {
        let (one, two) = (at.join("one"), at.join("two"));
        fs::write(&one, b"1").unwrap();
        fs::write(&two, b"2").unwrap();
        let with = |flags| renameat_with(CWD, &one, CWD, &two, flags);
        assert_eq!(with(RenameFlags::NOREPLACE), Err(Errno::EXIST));
        with(RenameFlags::EXCHANGE).unwrap();
        assert_eq!((fs::read(&one).unwrap(), fs::read(&two).unwrap()), (b"2".to_vec(), b"1".to_vec()));
        assert_eq!(with(RenameFlags::WHITEOUT), Err(Errno::INVAL));
        fs::rename(&one, &two).unwrap();
        assert_eq!(fs::read(&two).unwrap(), b"2");
        assert!(!one.exists());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_are_punched_zeroed_and_found() {
    on_a_mount(|at| {
        let file = File::options().read(true).write(true).create_new(true).open(at.join("f")).unwrap();
        file.write_all_at(&[1; 1 << 20], 0).unwrap();
        fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 4096, 8192).unwrap();
        assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), 4096);
        assert_eq!(seek(&file, SeekFrom::Data(4096)).unwrap(), 12288);
        fallocate(&file, FallocateFlags::ZERO_RANGE, (1 << 20) - 10, 20).unwrap();
        let mut end = [9; 20];
        assert_eq!(file.read_at(&mut end, (1 << 20) - 10).unwrap(), 20);
        assert_eq!((end, file.metadata().unwrap().len()), ([0; 20], (1 << 20) + 10));
        let blocks = file.metadata().unwrap().blocks();
        fallocate(&file, FallocateFlags::empty(), 0, 2 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 2 << 20);
        assert_eq!(file.metadata().unwrap().blocks(), blocks);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_have_names_and_limits() {
    on_a_mount(|at| {
        let file = at.join("f");
        File::create(&file).unwrap();
        setxattr(&file, "user.colour", b"blue", XattrFlags::CREATE).unwrap();
        assert_eq!(setxattr(&file, "user.colour", b"red", XattrFlags::CREATE), Err(Errno::EXIST));
        let mut value = [0; 16];
        assert_eq!(getxattr(&file, "user.colour", &mut value).unwrap(), 4);
        assert_eq!(&value[..4], b"blue");
        assert_eq!(getxattr(&file, "user.colour", &mut value[..2]), Err(Errno::RANGE));
        assert_eq!(getxattr(&file, "user.shape", &mut value), Err(Errno::NODATA));
        let mut names = [0; 64];
        let len = listxattr(&file, &mut names).unwrap();
        assert_eq!(&names[..len], b"user.colour\0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_exact_before_and_after_1970() {
    on_a_mount(|at| {
        let file = at.join("f");
        File::create(&file).unwrap();
        for (seconds, nanos) in [(5, 7), (0, 1), (-1, 999_999_999), (-2, 800_000_000), (4_294_967_296, 3)] {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, &file, &times, AtFlags::empty()).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!((found.mtime(), found.mtime_nsec()), (seconds, nanos));
            assert_eq!((found.atime(), found.atime_nsec()), (seconds, nanos));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_name_lives_while_it_is_open() {
    on_a_mount(|at| {
        let path = at.join("f");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"bytes");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_both_kinds_and_modes_are_kept() {
    on_a_mount(|at| {
        let (file, hard, soft) = (at.join("f"), at.join("hard"), at.join("soft"));
        fs::write(&file, b"x").unwrap();
        fs::hard_link(&file, &hard).unwrap();
        symlink("f", &soft).unwrap();
        assert_eq!(fs::metadata(&hard).unwrap().nlink(), 2);
        assert_eq!(fs::metadata(&hard).unwrap().ino(), fs::metadata(&file).unwrap().ino());
        assert_eq!(fs::read_link(&soft).unwrap().as_os_str(), OsStr::new("f"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4711)).unwrap();
        assert_eq!(fs::metadata(&soft).unwrap().mode() & 0o7777, 0o4711);
        let refused = fs::hard_link(at, at.join("dir")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_ranges_are_right() {
    on_a_mount(|at| {
        let bytes: Vec<u8> = (0..1_500_000_u32).map(|number| number as u8).collect();
        fs::write(at.join("from"), &bytes).unwrap();
        assert_eq!(fs::copy(at.join("from"), at.join("to")).unwrap(), 1_500_000);
        assert!(fs::read(at.join("to")).unwrap() == bytes);
    })
    .await;
}
