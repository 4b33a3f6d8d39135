//! Bytes of files, and what S3 sees of them when.

use bytes::Bytes;
use gw_store::files::{Allocate, Errno, HandleId, OpenFlags, SeekFor, SetAttr, WriteFlags};
use gw_store::{BucketOptions, Etag, Quota, ReadOptions, StoreErrorKind, UserSpec, WriteConditions};

use super::paths::{Paths, WRITE, errno, mount};
use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, user};

const PLAIN: WriteFlags = WriteFlags { kill_suid_gid: false, from_cache: false };

async fn put(paths: &Paths, handle: HandleId, offset: u64, bytes: &[u8]) -> u32 {
    let bytes = Bytes::copy_from_slice(bytes);
    paths.files.write(&paths.caller, handle, offset, bytes, PLAIN).await.unwrap()
}

async fn plain() -> (Machine, Here, Paths) {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    (machine, here, paths)
}

async fn head(here: &Here, at: &str) -> gw_store::ObjectInfo {
    here.store.head(&here.who, &here.bucket, &key(at), ReadOptions::default()).await.unwrap()
}

#[tokio::test]
async fn s3_sees_a_file_when_its_last_writer_closes_and_never_half() {
    let (_machine, here, paths) = plain().await;
    let (looked, first) = paths.create("d.parquet", 0o644).unwrap();
    let second = paths.files.open(&paths.caller, looked.id, WRITE).unwrap();
    put(&paths, first, 0, b"hello").await;
    assert_eq!(kind(here.get("d.parquet").await), StoreErrorKind::NoSuchKey);
    let absent = here.put_if("d.parquet", b"", WriteConditions::absent()).await;
    assert_eq!(kind(absent), StoreErrorKind::ConditionalRequestConflict);
    paths.files.release(first).await.unwrap();
    assert_eq!(kind(here.get("d.parquet").await), StoreErrorKind::NoSuchKey, "one writer is left");
    put(&paths, second, 5, b" world").await;
    paths.files.release(second).await.unwrap();
    assert_eq!(here.get("d.parquet").await.unwrap(), b"hello world");
    let info = head(&here, "d.parquet").await;
    assert_eq!(info.attributes.headers.content_type.as_deref(), Some("application/vnd.apache.parquet"));
    assert!(matches!(info.etag, Etag::Md5(_)), "it was written in order");

    let third = paths.files.open(&paths.caller, looked.id, WRITE).unwrap();
    put(&paths, third, 0, b"J").await;
    assert_eq!(here.get("d.parquet").await.unwrap(), b"hello world");
    assert_eq!(head(&here, "d.parquet").await.etag, info.etag);
    paths.files.fsync(third, false).await.unwrap();
    assert_eq!(here.get("d.parquet").await.unwrap(), b"Jello world");
    assert_ne!(head(&here, "d.parquet").await.etag, info.etag);
    paths.files.release(third).await.unwrap();
    assert_eq!(here.usage().await.bytes, 11);
    let bytes = {
        let handle = paths.files.open(&paths.caller, looked.id, WRITE).unwrap();
        let bytes = paths.files.read(handle, 6, 100).await.unwrap();
        paths.files.release(handle).await.unwrap();
        bytes
    };
    assert_eq!(bytes, &b"world"[..]);
}

#[tokio::test]
async fn a_put_over_an_open_file_leaves_its_handle_the_old_bytes() {
    let (machine, here, paths) = plain().await;
    here.put("f", b"first").await;
    let looked = paths.look("f").unwrap();
    let handle = paths.files.open(&paths.caller, looked.id, WRITE).unwrap();
    put(&paths, handle, 5, b" and more").await;
    here.put("f", b"second").await;
    assert_eq!(paths.files.read(handle, 0, 100).await.unwrap(), &b"first and more"[..]);
    put(&paths, handle, 0, b"FIRST").await;
    paths.files.fsync(handle, false).await.unwrap();
    assert_eq!(paths.files.read(handle, 0, 100).await.unwrap(), &b"FIRST and more"[..]);
    assert_eq!(here.get("f").await.unwrap(), b"second");
    paths.files.release(handle).await.unwrap();
    drop(looked);
    assert_eq!(here.get("f").await.unwrap(), b"second");
    assert_eq!(here.usage().await.bytes, 6);
    here.delete("f").await;
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn in_a_bucket_with_versions_each_close_is_one_version() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    let old = here.put("f", b"one").await;
    let looked = paths.look("f").unwrap();
    paths.link("f", "g").unwrap();
    let handle = paths.files.open(&paths.caller, looked.id, WRITE).unwrap();
    put(&paths, handle, 0, b"two").await;
    paths.files.fsync(handle, false).await.unwrap();
    assert_eq!(here.get("f").await.unwrap(), b"one", "only the close makes a version");
    put(&paths, handle, 3, b"!").await;
    paths.files.release(handle).await.unwrap();
    for at in ["f", "g"] {
        assert_eq!(here.get(at).await.unwrap(), b"two!");
        assert_eq!(here.get_version(at, old.version_id).await.unwrap(), b"one");
    }
    paths.unlink("f").unwrap();
    assert_eq!(here.get("g").await.unwrap(), b"two!");
    assert_eq!(here.get_version("f", old.version_id).await.unwrap(), b"one");
    let usage = here.usage().await;
    assert_eq!((usage.objects, usage.noncurrent, usage.markers, usage.bytes), (1, 3, 1, 14));
}

#[tokio::test]
async fn a_start_publishes_what_a_crash_left_open() {
    let (machine, here, paths) = plain().await;
    let (looked, handle) = paths.create("log.txt", 0o600).unwrap();
    put(&paths, handle, 0, b"line").await;
    paths.files.setxattr(&paths.caller, looked.id, b"user.s3.meta.who", b"me", Default::default()).unwrap();
    here.put("later", b"is staged, and so is what came before").await;
    // What is open stays so: nobody says goodbye in a crash.
    let here = Here { store: machine.open().await, ..here };
    assert_eq!(here.get("log.txt").await.unwrap(), b"line");
    let attributes = head(&here, "log.txt").await.attributes;
    assert_eq!(attributes.user_metadata, [("who".to_owned(), "me".to_owned())]);
    assert_eq!(attributes.headers.content_type.as_deref(), Some("text/plain"));
    drop((looked, paths));
}

#[tokio::test]
async fn holes_cuts_and_moves() {
    let (_machine, here, paths) = plain().await;
    let (looked, handle) = paths.create("f", 0o644).unwrap();
    let files = &paths.files;
    put(&paths, handle, 8192, &[1; 4096]).await;
    assert_eq!(files.seek(handle, 0, SeekFor::Data).await.unwrap(), 8192);
    assert_eq!(files.seek(handle, 8192, SeekFor::Hole).await.unwrap(), 12288);
    assert_eq!(errno(files.seek(handle, 12288, SeekFor::Data).await), Errno::NoDeviceOrAddress);
    files.allocate(handle, 0, 4096, Allocate::Collapse).await.unwrap();
    assert_eq!(files.getattr(looked.id).unwrap().size, 8192);
    assert_eq!(files.seek(handle, 0, SeekFor::Data).await.unwrap(), 4096);
    files.allocate(handle, 4096, 4096, Allocate::Insert).await.unwrap();
    assert_eq!(files.read(handle, 4096, 8192).await.unwrap(), [vec![0; 4096], vec![1; 4096]].concat());
    files.allocate(handle, 8192, 100, Allocate::PunchHole).await.unwrap();
    files.allocate(handle, 12288, 10, Allocate::Zero { keep_size: false }).await.unwrap();
    files.allocate(handle, 0, 20_000, Allocate::Reserve { keep_size: true }).await.unwrap();
    assert_eq!(files.getattr(looked.id).unwrap().size, 12298);
    assert_eq!(errno(files.allocate(handle, 1, 4096, Allocate::Collapse).await), Errno::Invalid);
    let (copy, to) = paths.create("g", 0o644).unwrap();
    let copied = files.copy_range(&paths.caller, (handle, 8000), (to, 10), 9000).await.unwrap();
    assert_eq!(copied, 4298);
    assert_eq!(files.read(handle, 8000, 9000).await.unwrap(), files.read(to, 10, 9000).await.unwrap());
    files.release(handle).await.unwrap();
    files.release(to).await.unwrap();
    assert_eq!(here.get("f").await.unwrap().len(), 12298);
    assert_eq!(files.getattr(copy.id).unwrap().size, 4308);
    // By path, with nobody who would close it.
    paths.set("f", SetAttr { size: Some(8300), ..SetAttr::default() }).unwrap();
    let bytes = here.get("f").await.unwrap();
    assert_eq!((bytes.len(), bytes[8291], bytes[8292]), (8300, 0, 1));
}

#[tokio::test]
async fn appends_of_many_handles_do_not_hide_each_other() {
    let (_machine, here, paths) = plain().await;
    paths.touch("log").await.unwrap();
    let looked = paths.look("log").unwrap();
    let flags = OpenFlags { append: true, ..WRITE };
    let writes = (0..8).map(|number| {
        let (paths, id) = (paths.clone(), looked.id);
        async move {
            let handle = paths.files.open(&paths.caller, id, flags).unwrap();
            for _ in 0..10 {
                put(&paths, handle, 0, &[number; 10]).await;
            }
            paths.files.release(handle).await.unwrap();
        }
    });
    futures::future::join_all(writes).await;
    let bytes = here.get("log").await.unwrap();
    assert_eq!(bytes.len(), 800);
    for number in 0..8 {
        assert_eq!(bytes.iter().filter(|byte| **byte == number).count(), 100);
    }
}

#[tokio::test]
async fn quotas_and_a_full_territory_have_their_own_numbers() {
    let (machine, here, paths) = plain().await;
    let quota = Quota { bytes_max: Some(1000), objects_max: Some(2) };
    here.store.bucket_quota_set(&here.who, &here.bucket, quota).await.unwrap();
    let (_looked, handle) = paths.create("f", 0o644).unwrap();
    put(&paths, handle, 0, &[1; 900]).await;
    let bytes = Bytes::from(vec![1; 200]);
    let more = paths.files.write(&paths.caller, handle, 900, bytes.clone(), PLAIN).await;
    assert_eq!(errno(more), Errno::Quota);
    let status = paths.files.statfs().unwrap();
    assert_eq!((status.total_bytes, status.free_bytes, status.files_max), (1000, 100, 2));
    paths.files.release(handle).await.unwrap();
    paths.touch("g").await.unwrap();
    assert_eq!(errno(paths.touch("h").await), Errno::Quota);
    assert_eq!(errno(paths.mkdir("d", 0o755)), Errno::Quota);
    paths.unlink("g").unwrap();
    here.store.bucket_quota_set(&here.who, &here.bucket, Quota::default()).await.unwrap();
    machine.set_room(Some(100));
    let (_looked, handle) = paths.create("i", 0o644).unwrap();
    assert_eq!(errno(paths.files.write(&paths.caller, handle, 0, bytes, PLAIN).await), Errno::NoSpace);
    paths.unlink("f").unwrap();
}

#[tokio::test]
async fn all_buckets_under_one_root() {
    let (_machine, here, _) = plain().await;
    let options = gw_store::MountOptions::new(here.who.clone(), gw_store::MountBuckets::All);
    let paths = Paths::new(std::sync::Arc::new(here.store.mount(options).await.unwrap()));
    assert_eq!(paths.names(""), ["bucket"]);
    drop(paths.mkdir("another", 0o755).unwrap());
    assert_eq!(errno(paths.mkdir("No", 0o755)), Errno::Invalid);
    assert_eq!(errno(paths.touch("file").await), Errno::NotPermitted);
    paths.touch("another/file").await.unwrap();
    assert_eq!(paths.names(""), ["another", "bucket"]);
    let moved = paths.rename("another/file", "bucket/file", Default::default());
    assert_eq!(errno(moved), Errno::CrossDevice);
    let there = Here { bucket: name("another"), ..here };
    assert_eq!(there.get("file").await.unwrap(), b"");
    assert_eq!(errno(paths.rmdir("another")), Errno::NotEmpty);
    paths.unlink("another/file").unwrap();
    paths.rmdir("another").unwrap();
    assert_eq!(paths.names(""), ["bucket"]);
}

#[tokio::test]
async fn what_was_never_published_is_counted_for_its_owner_and_comes_back() {
    let machine = Machine::new();
    let store = machine.open().await;
    let spec = UserSpec { name: "ann".to_owned(), admin: false, access_key: None, secret: None };
    store.user_add(&admin(), spec).await.unwrap();
    let bucket = name("bucket");
    store.bucket_create(&user("ann"), &bucket, BucketOptions::default()).await.unwrap();
    let here = Here { store, who: admin(), bucket };
    let paths = mount(&here).await;
    let (looked, handle) = paths.create("f", 0o644).unwrap();
    put(&paths, handle, 0, &[1; 5000]).await;
    let account = async || here.store.user_list(&here.who).await.unwrap()[0].usage;
    assert_eq!((account().await.bytes, here.usage().await.bytes), (5000, 5000));
    paths.unlink("f").unwrap();
    drop(looked);
    assert_eq!(here.usage().await.bytes, 5000, "the handle still has them");
    paths.files.release(handle).await.unwrap();
    assert_eq!((account().await.bytes, here.usage().await.bytes), (0, 0));
}
