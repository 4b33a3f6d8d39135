//! What every disk must do, as a suite that all of them run. It panics with the promise that is broken.

use std::sync::Arc;

use gw_types::PortErrorKind;
use gw_types::ports::Disk;

/// Runs the suite on an empty disk.
pub async fn run(disk: Arc<dyn Disk>) {
    bytes_come_back(&*disk).await;
    lengths_follow(&*disk).await;
    names_are_kept(&*disk).await;
    open_handles_outlive_their_name(&*disk).await;
    names_outside_are_refused(&*disk).await;
    assert!(disk.free_bytes().expect("free_bytes") > 0);
}

async fn bytes_come_back(disk: &dyn Disk) {
    let file = disk.create("folder/deep/bytes").expect("folders on the way are made");
    assert!(file.is_empty().expect("len"), "a new file is empty");
    file.write_at(3, b"abc").expect("write behind the end");
    assert_eq!(file.read_at(0, 6).await.expect("read"), &b"\0\0\0abc"[..], "a gap reads as zeros");
    file.write_at(4, b"X").expect("overwrite");
    file.sync().await.expect("sync");
    let again = disk.open("folder/deep/bytes").expect("open");
    assert_eq!(again.read_at(3, 3).await.expect("read"), &b"aXc"[..], "handles share the file");
    assert!(again.read_at(0, 0).await.expect("an empty read").is_empty());
    for (offset, len) in [(0, 7), (6, 1), (1 << 40, 1)] {
        let error = again.read_at(offset, len).await.expect_err("a read behind the end fails");
        assert_eq!(error.kind(), PortErrorKind::Corrupt);
    }
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    file.write_at(100, &big).expect("a long write");
    assert_eq!(again.read_at(100, big.len()).await.expect("a long read"), big);
}

async fn lengths_follow(disk: &dyn Disk) {
    let file = disk.create("length").expect("create");
    file.write_at(0, b"0123456789").expect("write");
    file.set_len(4).expect("cut");
    assert_eq!(file.len().expect("len"), 4);
    file.set_len(100_000).expect("extend");
    assert_eq!(file.len().expect("len"), 100_000);
    let bytes = file.read_at(0, 100_000).await.expect("read");
    assert!(
        bytes.starts_with(b"0123\0\0") && bytes[4..].iter().all(|byte| *byte == 0),
        "extended with zeros"
    );
    file.set_len(100_000).expect("the same length");
    file.set_len(0).expect("empty it");
    file.sync().await.expect("sync");
    assert!(file.is_empty().expect("len"));
}

async fn names_are_kept(disk: &dyn Disk) {
    for name in ["names/b", "names/a", "names/below/c"] {
        disk.create(name).expect("create").write_at(0, name.as_bytes()).expect("write");
    }
    let list = |folder: &str| -> Vec<(String, u64)> {
        let entries = disk.list(folder).expect("list");
        entries.into_iter().map(|entry| (entry.name, entry.len)).collect()
    };
    assert_eq!(list("names"), [("names/a".into(), 7), ("names/b".into(), 7)], "in order, not below");
    assert_eq!(list("nowhere"), [], "a missing folder is empty");
    assert!(list("").iter().any(|(name, _)| name == "length"), "the root has no name");
    assert!(disk.create("names/a").is_err(), "an existing file is not made again");
    disk.rename("names/a", "names/b").expect("rename over");
    let file = disk.open("names/b").expect("open");
    assert_eq!(file.read_at(0, 7).await.expect("read"), &b"names/a"[..]);
    assert_eq!(disk.open("names/a").expect_err("renamed away").kind(), PortErrorKind::NotFound);
    disk.remove("names/b").expect("remove");
    assert_eq!(disk.remove("names/b").expect_err("it is gone").kind(), PortErrorKind::NotFound);
    assert_eq!(disk.rename("names/b", "names/x").expect_err("it is gone").kind(), PortErrorKind::NotFound);
    assert_eq!(list("names"), []);
    disk.sync_dir("names").await.expect("sync a folder");
    disk.sync_dir("").await.expect("sync the root");
}

async fn open_handles_outlive_their_name(disk: &dyn Disk) {
    let file = disk.create("short-lived").expect("create");
    file.write_at(0, b"still here").expect("write");
    disk.remove("short-lived").expect("remove");
    assert_eq!(file.read_at(0, 10).await.expect("read"), &b"still here"[..]);
    let other = disk.create("short-lived").expect("the name is free again");
    assert!(other.is_empty().expect("len"));
    disk.remove("short-lived").expect("remove");
}

async fn names_outside_are_refused(disk: &dyn Disk) {
    for name in ["../out", "a/../../out", "/etc/passwd", "", ".", "a/", "nul\0"] {
        let error = disk.create(name).expect_err("a name outside is refused");
        assert_eq!(error.kind(), PortErrorKind::Refused, "{name:?}");
        assert_eq!(disk.open(name).expect_err("refused").kind(), PortErrorKind::Refused, "{name:?}");
        assert_eq!(
            disk.rename("length", name).expect_err("refused").kind(),
            PortErrorKind::Refused,
            "{name:?}"
        );
    }
    assert_eq!(disk.list("..").expect_err("refused").kind(), PortErrorKind::Refused);
    assert!(disk.sync_dir("..").await.is_err());
}
