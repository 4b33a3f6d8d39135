//! Names: making, finding, moving, removing.

use gw_store::files::{Errno, FileKind, RenameMode, SetAttr};
use gw_store::{ListRequest, Versioning};

use super::paths::{Paths, errno, mount};
use crate::assemble::Machine;
use crate::listing::list_all;
use crate::support::Here;

async fn keys(here: &Here) -> Vec<String> {
    let lines = list_all(&here.store, &here.who, ListRequest::new(here.bucket.clone()), false).await;
    lines
        .into_iter()
        .map(|line| match line {
            crate::listing::Line::Key(key) | crate::listing::Line::Prefix(key) => key,
        })
        .collect()
}

async fn plain() -> (Machine, Here, Paths) {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    (machine, here, paths)
}

#[tokio::test]
async fn mkdir_is_an_object_and_rmdir_takes_it_away() {
    let (_machine, here, paths) = plain().await;
    drop(paths.mkdir("d", 0o750).unwrap());
    drop(paths.mkdir("d/e", 0o700).unwrap());
    assert_eq!(keys(&here).await, ["d/", "d/e/"]);
    assert_eq!(paths.stat("d").unwrap().mode, 0o750);
    assert_eq!(paths.stat("d").unwrap().nlink, 3);
    assert_eq!(errno(paths.rmdir("d")), Errno::NotEmpty);
    paths.rmdir("d/e").unwrap();
    assert_eq!(paths.stat("d").unwrap().nlink, 2);
    paths.rmdir("d").unwrap();
    assert_eq!(keys(&here).await, [""; 0]);
    assert_eq!(here.usage().await.objects, 0);
    assert_eq!(errno(paths.stat("d")), Errno::NoEntry);
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
}

#[tokio::test]
async fn what_s3_puts_is_there_at_once_and_the_reverse() {
    let (_machine, here, paths) = plain().await;
    here.put("a/b/c", b"123").await;
    let attr = paths.stat("a/b/c").unwrap();
    assert_eq!((attr.size, attr.kind, attr.nlink, attr.mode), (3, FileKind::Regular, 1, 0o644));
    assert_eq!(paths.names("a/b"), ["c"]);
    paths.rename("a", "z", RenameMode::Replace).unwrap();
    assert_eq!(keys(&here).await, ["z/b/c"]);
    assert_eq!(here.get("z/b/c").await.unwrap(), b"123");
    paths.rename("z/b/c", "z/d", RenameMode::Replace).unwrap();
    // `b` is left empty and stays: a mount has changed it, so it is explicit now.
    assert_eq!(keys(&here).await, ["z/", "z/b/", "z/d"]);
    assert_eq!(paths.names("z"), ["b", "d"]);
    paths.unlink("z/d").unwrap();
    assert_eq!(keys(&here).await, ["z/", "z/b/"]);
}

#[tokio::test]
async fn s3_prunes_implicit_directories_that_nobody_holds_and_no_others() {
    let (_machine, here, paths) = plain().await;
    here.put("x/y/1", b"1").await;
    here.delete("x/y/1").await;
    assert_eq!(errno(paths.stat("x")), Errno::NoEntry);

    here.put("x/y/1", b"1").await;
    let held = paths.look("x/y").unwrap();
    here.delete("x/y/1").await;
    assert_eq!(paths.names("x/y"), [""; 0]);
    assert_eq!(paths.stat("x").unwrap().nlink, 3);
    assert_eq!(keys(&here).await, [""; 0], "S3 sees nothing of it");
    here.put("x/y/2", b"2").await;
    assert_eq!(paths.stat("x/y").unwrap().id, held.id);
    here.delete("x/y/2").await;
    drop(held);
    assert_eq!(errno(paths.stat("x")), Errno::NoEntry, "the last forget lets it go, and what is above");
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
}

#[tokio::test]
async fn an_unlinked_file_stays_while_it_is_open_and_a_restart_collects_it() {
    let (machine, here, paths) = plain().await;
    let (looked, handle) = paths.create("f", 0o600).unwrap();
    let id = looked.id;
    paths.unlink("f").unwrap();
    assert_eq!(paths.files.getattr(id).unwrap().nlink, 0);
    drop(looked);
    assert_eq!(paths.files.getattr(id).unwrap().mode, 0o600, "the handle holds it");
    paths.files.release(handle).await.unwrap();
    assert_eq!(errno(paths.files.getattr(id)), Errno::Stale);

    here.put("g", &[7; 100_000]).await;
    let held = paths.look("g").unwrap();
    here.delete("g").await;
    assert_eq!(paths.files.getattr(held.id).unwrap().size, 100_000);
    assert!(machine.live_bytes() > 100_000);
    // It stays held: nobody says goodbye in a crash.
    let store = machine.open().await;
    assert_eq!(machine.live_bytes(), 0);
    drop(held);
    let here = Here { store, ..here };
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
}

#[tokio::test]
async fn names_that_posix_cannot_say_are_shown_under_an_escape() {
    let (_machine, here, paths) = plain().await;
    let long = "l".repeat(300);
    for key in ["a", "a/b", "d//e", "d/../f", "d/.", ".cess%7", "d/", &long] {
        here.put(key, key.as_bytes()).await;
    }
    let names = paths.names("");
    assert_eq!(names.iter().filter(|name| name.starts_with(".cess%")).count(), 3, "{names:?}");
    assert_eq!(names.iter().filter(|name| !name.starts_with(".cess%")).collect::<Vec<_>>(), ["a", "d"]);
    let mut keys_shown = Vec::new();
    for name in names.iter().filter(|name| name.starts_with(".cess%")) {
        let looked = paths.look(name).unwrap();
        let key = paths.files.getxattr(&paths.caller, looked.id, b"user.s3.key").unwrap();
        let listed = paths.files.listxattr(&paths.caller, looked.id).unwrap();
        assert!(listed.contains(&b"user.s3.key".to_vec()));
        keys_shown.push(String::from_utf8(key).unwrap());
    }
    keys_shown.sort();
    assert_eq!(keys_shown, [".cess%7", "a", &long]);
    assert_eq!(paths.stat("a").unwrap().kind, FileKind::Directory);
    // A body at `d/` is a file, `d//e` and `d/../f` have directories without a name.
    let below = paths.names("d");
    assert_eq!(below.len(), 4, "{below:?}");
    assert!(below.iter().all(|name| name.starts_with(".cess%")));
    assert_eq!(errno(paths.rmdir("d")), Errno::NotEmpty);
    assert_eq!(errno(paths.touch(".cess%9").await), Errno::Invalid);
    // An escaped name can be moved to a real one, and removed.
    let shadowed =
        names.iter().find(|name| name.starts_with(".cess%") && paths.stat(name).unwrap().size == 1);
    paths.rename(shadowed.unwrap(), "was-a", RenameMode::Replace).unwrap();
    assert_eq!(here.get("was-a").await.unwrap(), b"a");
    for name in below {
        let kind = paths.stat(&format!("d/{name}")).unwrap().kind;
        if kind == FileKind::Regular {
            paths.unlink(&format!("d/{name}")).unwrap();
        }
    }
    assert_eq!(here.get("d/e").await.unwrap_err().kind(), gw_store::StoreErrorKind::NoSuchKey);
    assert_eq!(here.get("d//e").await.unwrap(), b"d//e");
}

#[tokio::test]
async fn renames_and_unlinks_in_a_bucket_with_versions_lose_nothing() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    let one = here.put("one", b"1").await;
    let two = here.put("two", b"22").await;
    let held = paths.look("one").unwrap();
    paths.rename("one", "two", RenameMode::Replace).unwrap();
    assert_eq!(here.get("two").await.unwrap(), b"1");
    assert_eq!(here.get_version("two", two.version_id).await.unwrap(), b"22");
    assert_eq!(here.get_version("one", one.version_id).await.unwrap(), b"1");
    assert_eq!(here.get("one").await.unwrap_err().kind(), gw_store::StoreErrorKind::NoSuchKey);
    assert_eq!(paths.stat("two").unwrap().id, held.id);
    paths.unlink("two").unwrap();
    assert_eq!(paths.files.getattr(held.id).unwrap().nlink, 0);
    let usage = here.usage().await;
    assert_eq!((usage.objects, usage.noncurrent, usage.markers), (0, 3, 2));

    drop(paths.mkdir("d", 0o755).unwrap());
    here.put("d/x", b"x").await;
    paths.unlink("d/x").unwrap();
    paths.rmdir("d").unwrap();
    assert_eq!(errno(paths.stat("d")), Errno::NoEntry, "history alone is no directory");
    let again = paths.mkdir("d", 0o711).unwrap();
    assert!(again.found.unwrap().generation > 1);
    assert_eq!(paths.stat("d").unwrap().mode, 0o711);
    drop(paths.mkdir("e", 0o755).unwrap());
    paths.rmdir("d").unwrap();
    assert_eq!(errno(paths.rename("e", "d", RenameMode::Replace)), Errno::CrossDevice);
    here.versioning(Versioning::Suspended).await;
    paths.rename("e", "f", RenameMode::Replace).unwrap();
    assert_eq!(paths.names(""), ["f"]);
}

#[tokio::test]
async fn the_owner_and_mode_of_a_name_pass_to_what_s3_puts_there() {
    let (_machine, here, paths) = plain().await;
    here.put("f", b"1").await;
    let set = SetAttr { mode: Some(0o6751), uid: Some(7), gid: Some(8), ..SetAttr::default() };
    paths.set("f", set).unwrap();
    here.put("f", b"2").await;
    let attr = paths.stat("f").unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid), (0o751, 7, 8));
}
