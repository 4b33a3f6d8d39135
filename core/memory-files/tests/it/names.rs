//! Names, inodes and what holds them.

use gw_store::files::{Errno, FileId, Files, FilesResult, RenameMode, SetXattr};

use crate::{ME, empty, file};

fn errno<T: std::fmt::Debug>(result: FilesResult<T>) -> Errno {
    result.expect_err("it is refused").errno
}

#[tokio::test]
async fn an_inode_lives_until_names_lookups_and_handles_are_gone() {
    let files = empty();
    let (found, handle) = file(&files, b"a");
    let id = found.attr.id;
    files.unlink(&ME, FileId::ROOT, b"a").unwrap();
    assert_eq!(files.getattr(id).unwrap().nlink, 0);
    files.forget(id, 1);
    assert!(files.getattr(id).is_ok(), "it is open");
    files.release(handle).await.unwrap();
    assert_eq!(errno(files.getattr(id)), Errno::Stale);
    assert_eq!((files.inode_count(), files.handle_count()), (1, 0));
}

#[test]
fn links_of_directories_count_their_directories_whatever_is_moved() {
    let files = empty();
    let nlink = |id| files.getattr(id).unwrap().nlink;
    let root = FileId::ROOT;
    let a = files.mkdir(&ME, root, b"a", 0o755).unwrap().attr.id;
    let b = files.mkdir(&ME, root, b"b", 0o755).unwrap().attr.id;
    let inner = files.mkdir(&ME, a, b"inner", 0o755).unwrap().attr.id;
    assert_eq!((nlink(root), nlink(a), nlink(b)), (4, 3, 2));
    files.rename(&ME, (a, b"inner"), (b, b"moved"), RenameMode::Replace).unwrap();
    assert_eq!((nlink(root), nlink(a), nlink(b)), (4, 2, 3));
    files.mkdir(&ME, a, b"empty", 0o755).unwrap();
    files.rename(&ME, (b, b"moved"), (a, b"empty"), RenameMode::Replace).unwrap();
    assert_eq!((nlink(root), nlink(a), nlink(b)), (4, 3, 2));
    file(&files, b"plain");
    files.rename(&ME, (a, b"empty"), (root, b"plain"), RenameMode::Exchange).unwrap();
    assert_eq!((nlink(root), nlink(a), nlink(b)), (5, 2, 2));
    assert_eq!(files.lookup(&ME, root, b"plain").unwrap().attr.id, inner);
}

#[test]
fn renames_are_refused_as_posix_says() {
    let files = empty();
    let root = FileId::ROOT;
    let a = files.mkdir(&ME, root, b"a", 0o755).unwrap().attr.id;
    let b = files.mkdir(&ME, a, b"b", 0o755).unwrap().attr.id;
    file(&files, b"f");
    let replace =
        |from: (FileId, &[u8]), to: (FileId, &[u8])| errno(files.rename(&ME, from, to, RenameMode::Replace));
    assert_eq!(replace((root, b"a"), (b, b"x")), Errno::Invalid);
    assert_eq!(replace((root, b"a"), (root, b"f")), Errno::NotDirectory);
    assert_eq!(replace((root, b"f"), (root, b"a")), Errno::IsDirectory);
    assert_eq!(replace((root, b"none"), (root, b"x")), Errno::NoEntry);
    files.mkdir(&ME, root, b"c", 0o755).unwrap();
    assert_eq!(replace((root, b"c"), (root, b"a")), Errno::NotEmpty);
    let mode = RenameMode::NoReplace;
    assert_eq!(errno(files.rename(&ME, (root, b"f"), (root, b"a"), mode)), Errno::Exists);
    let mode = RenameMode::Exchange;
    assert_eq!(errno(files.rename(&ME, (a, b"b"), (root, b"a"), mode)), Errno::Invalid);
    assert_eq!(errno(files.rename(&ME, (root, b"f"), (root, b"g"), mode)), Errno::NoEntry);
}

#[test]
fn a_listing_goes_on_behind_its_cookie_whatever_comes_and_goes() {
    let files = empty();
    for number in 0..50 {
        files.mkdir(&ME, FileId::ROOT, format!("d{number}").as_bytes(), 0o755).unwrap();
    }
    let handle = files.opendir(&ME, FileId::ROOT).unwrap();
    let first = files.readdir(handle, 0, 20, false).unwrap();
    assert_eq!(first[0].name, b".");
    assert_eq!(first[1].name, b"..");
    for entry in &first[2..] {
        files.rmdir(&ME, FileId::ROOT, &entry.name).unwrap();
    }
    files.mkdir(&ME, FileId::ROOT, b"late", 0o755).unwrap();
    let rest = files.readdir(handle, first.last().unwrap().cookie, 100, true).unwrap();
    let names: Vec<_> = rest.iter().map(|entry| entry.name.clone()).collect();
    let mut expected: Vec<_> = (18..50).map(|number| format!("d{number}").into_bytes()).collect();
    expected.push(b"late".to_vec());
    assert_eq!(names, expected);
    assert!(rest.iter().all(|entry| entry.found.is_some()));
}

#[test]
fn names_and_attributes_have_their_limits() {
    let files = empty();
    let root = FileId::ROOT;
    assert_eq!(errno(files.lookup(&ME, root, &[b'x'; 256])), Errno::NameTooLong);
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
        assert_eq!(errno(files.mkdir(&ME, root, bad, 0o755)), Errno::Invalid);
    }
    let set = |name: &[u8], value: &[u8], how| files.setxattr(&ME, root, name, value, how);
    assert_eq!(errno(set(b"odd.name", b"", SetXattr::Either)), Errno::NotSupported);
    assert_eq!(errno(set(b"user.a", b"", SetXattr::Replace)), Errno::NoData);
    set(b"user.a", b"1", SetXattr::Create).unwrap();
    assert_eq!(errno(set(b"user.a", b"2", SetXattr::Create)), Errno::Exists);
    assert_eq!(files.getxattr(&ME, root, b"user.a").unwrap(), b"1");
    assert_eq!(errno(set(b"user.b", &[0; 65537], SetXattr::Either)), Errno::OutOfRange);
}
