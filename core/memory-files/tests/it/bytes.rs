//! Bytes of open files.

use std::sync::Arc;

use bytes::Bytes;
use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_sim::SimClock;
use gw_store::files::{Allocate, Errno, FileId, Files, OpenFlags, SeekFor, SetAttr, WriteFlags};

use crate::{BOTH, ME, empty, file};

#[tokio::test]
async fn appends_go_to_the_end_unless_they_come_from_the_cache() {
    let files = empty();
    let (found, _) = file(&files, b"a");
    let append = files.open(&ME, found.attr.id, OpenFlags { append: true, ..BOTH }).unwrap();
    let write = |offset, bytes: &'static [u8], flags| {
        files.write(&ME, append, offset, Bytes::from_static(bytes), flags)
    };
    write(99, b"one", WriteFlags::default()).await.unwrap();
    write(0, b"two", WriteFlags::default()).await.unwrap();
    write(1, b"X", WriteFlags { from_cache: true, ..WriteFlags::default() }).await.unwrap();
    assert_eq!(files.read(append, 0, 100).await.unwrap(), &b"oXetwo"[..]);
}

#[tokio::test]
async fn holes_are_found_and_take_no_space() {
    let files = empty();
    let (found, handle) = file(&files, b"a");
    let put =
        |offset| files.write(&ME, handle, offset, Bytes::from_static(&[1; 4096]), WriteFlags::default());
    put(0).await.unwrap();
    put(1 << 20).await.unwrap();
    let blocks = || files.getattr(found.attr.id).unwrap().blocks;
    assert_eq!(blocks(), 16);
    assert_eq!(files.seek(handle, 0, SeekFor::Hole).await.unwrap(), 4096);
    assert_eq!(files.seek(handle, 4096, SeekFor::Data).await.unwrap(), 1 << 20);
    let end = (1 << 20) + 4096;
    assert_eq!(files.seek(handle, 1 << 20, SeekFor::Hole).await.unwrap(), end);
    assert_eq!(files.seek(handle, end, SeekFor::Data).await.unwrap_err().errno, Errno::NoDeviceOrAddress);
    files.allocate(handle, 0, 4096, Allocate::PunchHole).await.unwrap();
    assert_eq!(blocks(), 8);
    files.allocate(handle, 0, 1 << 20, Allocate::Collapse).await.unwrap();
    assert_eq!(files.getattr(found.attr.id).unwrap().size, 4096);
    assert_eq!(files.read(handle, 0, 9).await.unwrap(), &[1; 9][..]);
}

#[tokio::test]
async fn a_copy_moves_what_there_is_and_never_onto_itself() {
    let files = empty();
    let (_, from) = file(&files, b"from");
    let (_, to) = file(&files, b"to");
    let bytes = Bytes::from((0..3_000_000_u32).map(|n| n as u8).collect::<Vec<_>>());
    files.write(&ME, from, 0, bytes.clone(), WriteFlags::default()).await.unwrap();
    assert_eq!(files.copy_range(&ME, (from, 5), (to, 7), u64::MAX).await.unwrap(), 2_999_995);
    assert_eq!(files.read(to, 7, 3_000_000).await.unwrap(), bytes.slice(5..));
    let onto_itself = files.copy_range(&ME, (from, 0), (from, 10), 100).await;
    assert_eq!(onto_itself.unwrap_err().errno, Errno::Invalid);
}

#[tokio::test]
async fn room_is_bounded_and_comes_back() {
    let limits = MemoryLimits { bytes_max: 8192, ..MemoryLimits::default() };
    let files = MemoryFiles::new(Arc::new(SimClock::default()), 0, 0, limits);
    let (found, handle) = file(&files, b"a");
    let put = |offset, len| files.write(&ME, handle, offset, vec![1; len].into(), WriteFlags::default());
    put(0, 8192).await.unwrap();
    assert_eq!(put(8192, 1).await.unwrap_err().errno, Errno::NoSpace);
    assert_eq!(files.statfs().unwrap().free_bytes, 0);
    files.unlink(&ME, FileId::ROOT, b"a").unwrap();
    files.forget(found.attr.id, 1);
    files.release(handle).await.unwrap();
    assert_eq!(files.statfs().unwrap().free_bytes, 8192);
}

#[tokio::test]
async fn set_uid_goes_when_asked_and_never_from_directories() {
    let files = empty();
    let (found, handle) = file(&files, b"a");
    let id = found.attr.id;
    let mode = |mode| SetAttr { mode: Some(mode), ..SetAttr::default() };
    let kill = SetAttr { kill_suid_gid: true, ..SetAttr::default() };
    files.setattr(&ME, id, None, &mode(0o6755)).unwrap();
    assert_eq!(files.setattr(&ME, id, None, &kill).unwrap().mode, 0o755);
    files.setattr(&ME, id, None, &mode(0o6745)).unwrap();
    let flags = WriteFlags { kill_suid_gid: true, ..WriteFlags::default() };
    files.write(&ME, handle, 0, Bytes::from_static(b"x"), flags).await.unwrap();
    assert_eq!(files.getattr(id).unwrap().mode, 0o2745, "not executable by its group");
    files.setattr(&ME, FileId::ROOT, None, &mode(0o6755)).unwrap();
    assert_eq!(files.setattr(&ME, FileId::ROOT, None, &kill).unwrap().mode, 0o6755);
}
