//! What a close does: S3 sees the file when it returns, and a file that was written in order has the ETag
//! of a PUT.

use bytes::Bytes;
use gw_store::files::{Allocate, HandleId, OpenFlags, SetAttr, SetXattr, WriteFlags};
use gw_store::{Etag, ReadOptions, StoreErrorKind};
use md5::{Digest, Md5};

use super::paths::{Paths, WRITE, errno, mount};
use crate::assemble::Machine;
use crate::support::{Here, key, kind};

async fn plain() -> (Machine, Here, Paths) {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    (machine, here, paths)
}

async fn write(paths: &Paths, handle: HandleId, offset: u64, bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let flags = WriteFlags::default();
    paths.files.write(&paths.caller, handle, offset, bytes, flags).await.unwrap();
}

async fn etag(here: &Here, at: &str) -> Etag {
    here.store.head(&here.who, &here.bucket, &key(at), ReadOptions::default()).await.unwrap().etag
}

fn md5(bytes: &[u8]) -> Etag {
    Etag::Md5(Md5::digest(bytes).into())
}

#[tokio::test]
async fn s3_sees_a_file_when_close_returns() {
    let (_machine, here, paths) = plain().await;
    let (looked, handle) = paths.create("f", 0o644).unwrap();
    write(&paths, handle, 0, b"one").await;
    paths.files.flush(handle).await.unwrap();
    assert_eq!(here.get("f").await.unwrap(), b"one", "its release may come later");
    // A second descriptor of the same handle may go on.
    write(&paths, handle, 3, b" two").await;
    assert_eq!(here.get("f").await.unwrap(), b"one");
    // Who only reads publishes nothing, and one of two writers neither.
    let reader = paths.files.open(&paths.caller, looked.id, OpenFlags { write: false, ..WRITE }).unwrap();
    paths.files.flush(reader).await.unwrap();
    let other = paths.files.open(&paths.caller, looked.id, WRITE).unwrap();
    paths.files.flush(other).await.unwrap();
    assert_eq!(here.get("f").await.unwrap(), b"one");
    paths.files.release(other).await.unwrap();
    paths.files.flush(handle).await.unwrap();
    assert_eq!(here.get("f").await.unwrap(), b"one two");
    for handle in [handle, reader] {
        paths.files.release(handle).await.unwrap();
    }
    assert_eq!(here.usage().await.bytes, 7);
}

#[tokio::test]
async fn in_a_bucket_with_versions_one_open_file_makes_one_version() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    let (_looked, handle) = paths.create("f", 0o644).unwrap();
    for part in 0..3 {
        write(&paths, handle, part, b"x").await;
        paths.files.flush(handle).await.unwrap();
    }
    assert_eq!(kind(here.get("f").await), StoreErrorKind::NoSuchKey);
    paths.files.release(handle).await.unwrap();
    assert_eq!(here.get("f").await.unwrap(), b"xxx");
    let usage = here.usage().await;
    assert_eq!((usage.objects, usage.noncurrent), (1, 0));
}

#[tokio::test]
async fn a_file_written_in_order_has_the_etag_of_a_put() {
    let (_machine, here, paths) = plain().await;
    let body: Vec<u8> = (0..2_500_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    let (_looked, handle) = paths.create("f", 0o644).unwrap();
    let mut at = 0;
    for part in body.chunks(700_001) {
        write(&paths, handle, at, part).await;
        at += part.len() as u64;
        paths.files.fsync(handle, false).await.unwrap();
        assert_eq!(etag(&here, "f").await, md5(&body[..at as usize]), "{at}");
    }
    paths.files.release(handle).await.unwrap();
    assert_eq!(etag(&here, "f").await, md5(&body));
    here.put("put", &body).await;
    assert_eq!(etag(&here, "f").await, etag(&here, "put").await);
    paths.touch("empty").await.unwrap();
    assert_eq!(etag(&here, "empty").await, md5(b""));
    // Written anew from its beginning on, as `cp` over a file does.
    let looked = paths.look("f").unwrap();
    let handle = paths.files.open(&paths.caller, looked.id, OpenFlags { truncate: true, ..WRITE }).unwrap();
    write(&paths, handle, 0, b"short").await;
    paths.files.release(handle).await.unwrap();
    assert_eq!(etag(&here, "f").await, md5(b"short"));
}

#[tokio::test]
async fn an_etag_is_no_digest_where_bytes_came_in_another_way() {
    let (_machine, here, paths) = plain().await;
    for way in 0..6 {
        let at = format!("f{way}");
        let (looked, handle) = paths.create(&at, 0o644).unwrap();
        write(&paths, handle, 0, b"hello").await;
        let len = SetAttr { size: Some(3), ..SetAttr::default() };
        match way {
            0 => write(&paths, handle, 1, b"a").await,
            1 => write(&paths, handle, 6, b"behind a hole").await,
            2 => drop(paths.files.setattr(&paths.caller, looked.id, Some(handle), &len).unwrap()),
            3 => paths.files.allocate(handle, 1, 2, Allocate::PunchHole).await.unwrap(),
            4 => {
                paths.files.copy_range(&paths.caller, (handle, 0), (handle, 5), 5).await.unwrap();
            }
            _ => {
                // Published in between, and carried on by another handle later.
                paths.files.flush(handle).await.unwrap();
                assert_eq!(etag(&here, &at).await, md5(b"hello"));
                paths.files.release(handle).await.unwrap();
                let append = OpenFlags { append: true, ..WRITE };
                let handle = paths.files.open(&paths.caller, looked.id, append).unwrap();
                write(&paths, handle, 0, b" again").await;
                paths.files.release(handle).await.unwrap();
            }
        }
        if way < 5 {
            paths.files.release(handle).await.unwrap();
        }
        let body = here.get(&at).await.unwrap();
        assert_ne!(body, b"hello");
        assert!(matches!(etag(&here, &at).await, Etag::Opaque(_)), "{way}: {body:?}");
    }
}

#[tokio::test]
async fn capabilities_go_with_every_change_of_bytes_or_owner() {
    let (_machine, _here, paths) = plain().await;
    let name = b"security.capability";
    let (looked, handle) = paths.create("f", 0o755).unwrap();
    let give = || {
        paths.files.setxattr(&paths.caller, looked.id, name, b"cap", SetXattr::Either).unwrap();
        paths.files.getxattr(&paths.caller, looked.id, name).unwrap()
    };
    let gone = |what: &str| {
        let left = paths.files.getxattr(&paths.caller, looked.id, name);
        assert_eq!(errno(left), gw_store::files::Errno::NoData, "{what}");
    };
    assert_eq!(give(), b"cap");
    write(&paths, handle, 0, b"hello").await;
    gone("write");
    give();
    paths.set("f", SetAttr { size: Some(2), ..SetAttr::default() }).unwrap();
    gone("truncate");
    give();
    paths.set("f", SetAttr { uid: Some(7), ..SetAttr::default() }).unwrap();
    gone("chown");
    give();
    paths.files.allocate(handle, 0, 1, Allocate::PunchHole).await.unwrap();
    gone("punch");
    give();
    paths.set("f", SetAttr { mode: Some(0o700), ..SetAttr::default() }).unwrap();
    assert_eq!(paths.files.getxattr(&paths.caller, looked.id, name).unwrap(), b"cap", "chmod leaves them");
    paths.files.release(handle).await.unwrap();
}
