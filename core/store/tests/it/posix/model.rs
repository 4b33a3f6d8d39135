//! Random operations, side by side on a mount of the store and on a plain tree in memory. After each
//! the answers are the same; every now and then the whole trees are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_sim::Rng;
use gw_store::files::{
    Caller, Errno, FileAttr, FileKind, FileTime, FilesResult, RenameMode, SetAttr, SetTime,
};

use super::paths::{Looked, Paths, mount};
use crate::assemble::Machine;
use crate::support::Here;

const NAMES: [&str; 4] = ["a", "b", "c", "ab"];

/// What both must agree on.
type Line = (FileKind, u32, u32, u32, u32, u32, u64, FileTime, FileTime);

fn line(attr: &FileAttr) -> Line {
    let FileAttr { kind, mode, nlink, uid, gid, rdev, size, mtime, ctime, .. } = *attr;
    (kind, mode, nlink, uid, gid, rdev, size, mtime, ctime)
}

fn tree(paths: &Paths, at: &str, into: &mut BTreeMap<String, Line>) {
    into.insert(at.to_owned(), line(&paths.stat(at).unwrap()));
    for entry in paths.list(at, 3).unwrap() {
        let name = String::from_utf8(entry.name).unwrap();
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        match entry.kind {
            FileKind::Directory => tree(paths, &path, into),
            _ => {
                let attr = paths.stat(&path).unwrap();
                assert_eq!((attr.kind, attr.id), (entry.kind, entry.id), "{path}");
                into.insert(path, line(&attr));
            }
        }
    }
}

fn whole(paths: &Paths) -> BTreeMap<String, Line> {
    let mut lines = BTreeMap::new();
    tree(paths, "", &mut lines);
    lines
}

#[derive(Clone, Debug)]
enum Op {
    Mkdir(String, u32),
    Touch(String),
    Hold(String),
    Fifo(String),
    Symlink(String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, RenameMode),
    Set(String, SetAttr),
    Forget,
}

/// A path that is there, as far as is known, or one beside it.
fn pick(rng: &mut Rng, known: &[String], fresh: bool) -> String {
    let mut path = known[rng.below(known.len() as u64) as usize].clone();
    if fresh || path.is_empty() || rng.one_in(8) {
        if rng.one_in(2) {
            path = path.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned());
        }
        let slash = if path.is_empty() { "" } else { "/" };
        path = format!("{path}{slash}{}", NAMES[rng.below(NAMES.len() as u64) as usize]);
    }
    path
}

fn set(rng: &mut Rng) -> SetAttr {
    match rng.below(4) {
        0 => SetAttr { mode: Some(rng.below(0o10000) as u32), ..SetAttr::default() },
        1 => SetAttr {
            uid: Some(rng.below(3) as u32),
            gid: Some(rng.below(3) as u32),
            kill_suid_gid: true,
            ..SetAttr::default()
        },
        2 => SetAttr {
            mtime: Some(SetTime::To(FileTime(-i128::from(rng.below(1 << 50))))),
            atime: Some(SetTime::Now),
            ..SetAttr::default()
        },
        _ => SetAttr { kill_suid_gid: true, ..SetAttr::default() },
    }
}

fn op(rng: &mut Rng, known: &[String]) -> Op {
    let (old, new) = (pick(rng, known, false), pick(rng, known, true));
    match rng.below(24) {
        0..=4 => Op::Mkdir(new, rng.below(0o10000) as u32),
        5..=7 => Op::Touch(new),
        8 => Op::Hold(old),
        9 => Op::Fifo(new),
        10 => Op::Symlink(new),
        11 | 12 => Op::Link(old, new),
        13 => Op::Unlink(old),
        14 => Op::Rmdir(old),
        15..=20 => {
            let mode = match rng.below(5) {
                0 => RenameMode::NoReplace,
                1 => RenameMode::Exchange,
                _ => RenameMode::Replace,
            };
            let to = if rng.one_in(2) { new } else { pick(rng, known, false) };
            Op::Rename(old, to, mode)
        }
        21 | 22 => Op::Set(old, set(rng)),
        _ => Op::Forget,
    }
}

/// One of the two, with what it holds.
struct Side {
    paths: Paths,
    held: Vec<Looked>,
}

impl Side {
    async fn run(&mut self, op: &Op) -> Result<(), Errno> {
        let paths = &self.paths;
        let done: FilesResult<()> = match op {
            Op::Mkdir(path, mode) => paths.mkdir(path, *mode).map(drop),
            Op::Touch(path) => paths.touch(path).await,
            Op::Hold(path) => match paths.look(path) {
                Ok(looked) => {
                    self.held.push(looked);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Op::Fifo(path) => paths.mknod(path, FileKind::Fifo, 0o640, 0),
            Op::Symlink(path) => paths.symlink(path, "to/where"),
            Op::Link(old, new) => paths.link(old, new),
            Op::Unlink(path) => paths.unlink(path),
            Op::Rmdir(path) => paths.rmdir(path),
            Op::Rename(old, new, mode) => paths.rename(old, new, *mode),
            Op::Set(path, set) => paths.set(path, *set).map(drop),
            Op::Forget => {
                self.held.clear();
                Ok(())
            }
        };
        done.map_err(|error| error.errno)
    }
    fn held(&self) -> Vec<Line> {
        self.held.iter().map(|looked| line(&self.paths.files.getattr(looked.id).unwrap())).collect()
    }
}

async fn compare(seed: u64, ops: usize, versioned: bool) {
    let machine = Machine::new();
    let store = machine.open().await;
    let here =
        if versioned { Here::versioned(store, "bucket").await } else { Here::new(store, "bucket").await };
    let clock = machine.clock.clone();
    let memory = MemoryFiles::new(Arc::new(clock.clone()), 0, 0, MemoryLimits::default());
    let mut rng = Rng::new(seed);
    let mut sides = [
        Side { paths: mount(&here).await, held: Vec::new() },
        Side { paths: Paths::new(Arc::new(memory)), held: Vec::new() },
    ];
    let mut done = 0;
    let mut known = vec![String::new()];
    for step in 0..ops {
        clock.advance(Duration::from_millis(1 + rng.below(1000)));
        let op = op(&mut rng, &known);
        let caller = Caller { uid: rng.below(3) as u32, gid: rng.below(3) as u32, pid: 1, umask: 0 };
        let mut answers = Vec::new();
        for side in &mut sides {
            side.paths.caller = caller;
            answers.push(side.run(&op).await);
            if versioned && answers == [Err(Errno::CrossDevice)] {
                // History stands at the new name: `mv` would copy.
                break;
            }
        }
        if answers.len() == 1 {
            continue;
        }
        assert_eq!(answers[0], answers[1], "seed {seed} step {step}: {op:?}");
        done += usize::from(answers[0].is_ok());
        assert_eq!(sides[0].held(), sides[1].held(), "seed {seed} step {step}: {op:?}");
        if step % 12 == 0 || step + 1 == ops {
            let trees = sides.each_ref().map(|side| whole(&side.paths));
            assert_eq!(trees[0], trees[1], "seed {seed} step {step}: {op:?}");
            known = trees[0].keys().cloned().collect();
        }
    }
    assert!(done > ops / 4, "most of it must not fail: {done} of {ops}");
    // Everything goes, and nothing is left over.
    for side in &mut sides {
        side.held.clear();
    }
    remove_all(&sides[0].paths, "");
    assert_eq!(here.usage().await.objects, 0);
    if !versioned {
        here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
    }
    drop(sides);
    if !versioned {
        let store = machine.open().await;
        assert_eq!(store.status(&here.who).await.unwrap().doomed, 0);
        assert_eq!(machine.live_bytes(), 0);
    }
}

fn remove_all(paths: &Paths, at: &str) {
    for entry in paths.list(at, 100).unwrap() {
        let name = String::from_utf8(entry.name).unwrap();
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        if entry.kind == FileKind::Directory {
            remove_all(paths, &path);
            paths.rmdir(&path).unwrap();
        } else {
            paths.unlink(&path).unwrap();
        }
    }
}

#[tokio::test]
async fn a_mount_is_a_tree_of_files() {
    for seed in 0..6 {
        compare(seed, 300, false).await;
    }
}

#[tokio::test]
async fn a_mount_of_a_bucket_with_versions_is_the_same_tree() {
    for seed in 100..103 {
        compare(seed, 200, true).await;
    }
}
