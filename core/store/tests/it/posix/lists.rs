//! POSIX access lists: one with the mode, handed down, and kept where S3 puts over a name.

use std::sync::Arc;

use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_store::files::{Caller, Errno, SetAttr, SetXattr};
use gw_store::posix_acl::{ACCESS, DEFAULT};

use super::paths::{Paths, mount};
use crate::assemble::Machine;
use crate::support::Here;

const NONE: u32 = u32::MAX;
/// u::rwx, user 1000 rw-, g::r-x, m::rwx, o::--x
const LIST: [(u16, u16, u32); 5] =
    [(1, 7, NONE), (2, 6, 1000), (4, 5, NONE), (0x10, 7, NONE), (0x20, 1, NONE)];

fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

fn with(permissions: [u16; 3]) -> Vec<u8> {
    let [owner, mask, others] = permissions;
    value(&[(1, owner, NONE), (2, 6, 1000), (4, 5, NONE), (0x10, mask, NONE), (0x20, others, NONE)])
}

fn set(paths: &Paths, at: &str, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let looked = paths.look(at).unwrap();
    paths.files.setxattr(&paths.caller, looked.id, name, value, SetXattr::Either).map_err(|error| error.errno)
}

fn get(paths: &Paths, at: &str, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let looked = paths.look(at).unwrap();
    paths.files.getxattr(&paths.caller, looked.id, name).map_err(|error| error.errno)
}

fn mode(paths: &Paths, at: &str) -> u32 {
    paths.stat(at).unwrap().mode
}

/// The store and the namespace in memory: both keep what is promised.
async fn both() -> (Machine, Here, [Paths; 2]) {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let memory = MemoryFiles::new(Arc::new(machine.clock.clone()), 0, 0, MemoryLimits::default());
    let sides = [mount(&here).await, Paths::new(Arc::new(memory))];
    (machine, here, sides)
}

#[tokio::test]
async fn a_list_and_the_mode_say_the_same() {
    let (_machine, _here, sides) = both().await;
    for paths in &sides {
        paths.touch("f").await.unwrap();
        set(paths, "f", ACCESS, &value(&LIST)).unwrap();
        assert_eq!(mode(paths, "f"), 0o771);
        paths.set("f", SetAttr { mode: Some(0o640), ..SetAttr::default() }).unwrap();
        assert_eq!(get(paths, "f", ACCESS).unwrap(), with([6, 4, 0]));
        // One that says no more than a mode becomes it.
        let short = value(&[(1, 6, NONE), (4, 0, NONE), (0x20, 4, NONE)]);
        set(paths, "f", ACCESS, &short).unwrap();
        assert_eq!((mode(paths, "f"), get(paths, "f", ACCESS)), (0o604, Err(Errno::NoData)));
        assert_eq!(set(paths, "f", ACCESS, b"no list"), Err(Errno::Invalid));
        assert_eq!(set(paths, "f", DEFAULT, &value(&LIST)), Err(Errno::Access), "files hand nothing on");
        let looked = paths.look("f").unwrap();
        paths.files.removexattr(&paths.caller, looked.id, ACCESS).unwrap();
    }
}

#[tokio::test]
async fn a_default_list_is_handed_down_and_hides_the_umask() {
    let (_machine, _here, sides) = both().await;
    for mut paths in sides {
        paths.caller = Caller { umask: 0o077, ..paths.caller };
        drop(paths.mkdir("plain", 0o777).unwrap());
        assert_eq!(mode(&paths, "plain"), 0o700);
        drop(paths.mkdir("d", 0o777).unwrap());
        set(&paths, "d", DEFAULT, &value(&LIST)).unwrap();
        assert_eq!(mode(&paths, "d"), 0o700, "a default list is not the directory's own");
        let (_looked, handle) = paths.create("d/f", 0o664).unwrap();
        paths.files.release(handle).await.unwrap();
        assert_eq!((mode(&paths, "d/f"), get(&paths, "d/f", ACCESS)), (0o660, Ok(with([6, 6, 0]))));
        assert_eq!(get(&paths, "d/f", DEFAULT), Err(Errno::NoData));
        drop(paths.mkdir("d/e", 0o777).unwrap());
        assert_eq!(get(&paths, "d/e", DEFAULT), Ok(value(&LIST)));
        assert_eq!((mode(&paths, "d/e"), get(&paths, "d/e", ACCESS)), (0o771, Ok(value(&LIST))));
        paths.symlink("d/s", "f").unwrap();
        assert_eq!(mode(&paths, "d/s"), 0o777);
    }
}

#[tokio::test]
async fn who_is_not_of_the_group_loses_set_group_with_a_list() {
    let (_machine, _here, sides) = both().await;
    for mut paths in sides {
        paths.touch("f").await.unwrap();
        let own = SetAttr { uid: Some(5), gid: Some(50), mode: Some(0o2771), ..SetAttr::default() };
        paths.set("f", own).unwrap();
        paths.caller = Caller { uid: 5, gid: 50, ..paths.caller };
        set(&paths, "f", ACCESS, &value(&LIST)).unwrap();
        assert_eq!(mode(&paths, "f"), 0o2771);
        paths.caller = Caller { gid: 51, ..paths.caller };
        set(&paths, "f", ACCESS, &value(&LIST)).unwrap();
        assert_eq!(mode(&paths, "f"), 0o771);
    }
}

#[tokio::test]
async fn a_put_over_a_name_keeps_its_list_and_nothing_else() {
    let (_machine, here, [paths, _]) = both().await;
    paths.touch("f").await.unwrap();
    set(&paths, "f", ACCESS, &value(&LIST)).unwrap();
    set(&paths, "f", b"user.colour", b"blue").unwrap();
    here.put("f", b"new").await;
    assert_eq!((mode(&paths, "f"), get(&paths, "f", ACCESS)), (0o771, Ok(value(&LIST))));
    assert_eq!(get(&paths, "f", b"user.colour"), Err(Errno::NoData));
    paths.symlink("s", "f").unwrap();
    here.put("s", b"a file now").await;
    assert_eq!(mode(&paths, "s"), 0o644, "of a symlink nothing is kept");
}
