//! Random operations on bytes and names, through a mount and through S3, beside a plain tree in memory.
//! Trees and contents are the same all the time; what S3 sees is the same whenever nobody writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_sim::Rng;
use gw_store::files::{
    Allocate, Errno, FileKind, FilesResult, HandleId, OpenFlags, RenameMode, SetAttr, WriteFlags,
};
use gw_store::{DeleteTarget, ListRequest};

use super::paths::{Looked, Paths, WRITE, mount};
use crate::assemble::Machine;
use crate::listing::{Line, list_all};
use crate::support::{Here, key, target};

const NAMES: [&str; 4] = ["a", "b", "c.txt", "d"];
const OPEN_MAX: usize = 5;
const LEN_MAX: u64 = 300_000;

/// A file that is open on both sides.
struct Open {
    handles: [HandleId; 2],
    _looked: [Looked; 2],
}

struct Run {
    rng: Rng,
    here: Here,
    /// The store and the model.
    sides: [Paths; 2],
    open: Vec<Open>,
    known: Vec<String>,
    /// How often each act was one on something that is there.
    done: BTreeMap<&'static str, usize>,
}

fn same<T: PartialEq + std::fmt::Debug>(answers: [FilesResult<T>; 2], what: &str) -> Result<T, Errno> {
    let [ours, model] = answers.map(|answer| answer.map_err(|error| error.errno));
    assert_eq!(ours, model, "{what}");
    ours
}

impl Run {
    async fn new(seed: u64) -> (Self, Machine) {
        let machine = Machine::new();
        let here = Here::new(machine.open().await, "bucket").await;
        let memory = MemoryFiles::new(Arc::new(machine.clock.clone()), 0, 0, MemoryLimits::default());
        let sides = [mount(&here).await, Paths::new(Arc::new(memory))];
        let rng = Rng::new(seed);
        (
            Self { rng, here, sides, open: Vec::new(), known: vec![String::new()], done: BTreeMap::new() },
            machine,
        )
    }

    fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn pick(&mut self, fresh: bool) -> String {
        let mut path = self.known[self.rng.below(self.known.len() as u64) as usize].clone();
        if fresh || path.is_empty() {
            if self.rng.one_in(2) {
                path = path.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned());
            }
            let slash = if path.is_empty() { "" } else { "/" };
            path = format!("{path}{slash}{}", NAMES[self.rng.below(NAMES.len() as u64) as usize]);
        }
        path
    }

    fn range(&mut self) -> (u64, u64) {
        let unit = if self.rng.one_in(2) { 4096 } else { 1 };
        let offset = self.rng.below(LEN_MAX / 2 / unit) * unit;
        (offset, (1 + self.rng.below(40_000) / unit) * unit)
    }

    fn some_open(&mut self) -> Option<usize> {
        (!self.open.is_empty()).then(|| self.rng.below(self.open.len() as u64) as usize)
    }

    fn kind(&self, path: &str) -> Option<FileKind> {
        self.sides[1].stat(path).ok().map(|attr| attr.kind)
    }

    fn create(&mut self) {
        let path = self.pick(true);
        if self.open.len() == OPEN_MAX {
            return;
        }
        let [ours, model] = self.sides.each_ref().map(|side| side.create(&path, 0o644));
        match (ours, model) {
            (Ok((one, first)), Ok((other, second))) => {
                self.did("create");
                self.open.push(Open { handles: [first, second], _looked: [one, other] });
            }
            (Err(ours), Err(model)) => assert_eq!(ours.errno, model.errno, "create {path}"),
            (ours, model) => panic!("create {path}: {:?} {:?}", ours.is_ok(), model.is_ok()),
        }
    }

    fn open(&mut self) {
        let path = self.pick(false);
        if self.open.len() == OPEN_MAX || self.kind(&path) != Some(FileKind::Regular) {
            return;
        }
        let append = self.rng.one_in(4);
        let flags = OpenFlags { append, truncate: self.rng.one_in(6), ..WRITE };
        let looked = self.sides.each_ref().map(|side| side.look(&path).unwrap());
        let open = |at: usize| {
            let side = &self.sides[at];
            side.files.open(&side.caller, looked[at].id, flags).unwrap()
        };
        let handles = [open(0), open(1)];
        self.did("open");
        self.open.push(Open { handles, _looked: looked });
    }

    async fn write(&mut self, at: usize) {
        let ((offset, len), seed) = (self.range(), self.rng.next_u64());
        let bytes = Bytes::from(Rng::new(seed).bytes(len as usize));
        self.did("write");
        for (side, handle) in self.sides.iter().zip(self.open[at].handles) {
            let flags = WriteFlags::default();
            let wrote = side.files.write(&side.caller, handle, offset, bytes.clone(), flags).await.unwrap();
            assert_eq!(u64::from(wrote), len);
        }
    }

    async fn allocate(&mut self, at: usize) {
        let (offset, len) = self.range();
        let how = match self.rng.below(6) {
            0 | 1 => Allocate::PunchHole,
            2 => Allocate::Zero { keep_size: self.rng.one_in(2) },
            3 => Allocate::Reserve { keep_size: self.rng.one_in(2) },
            4 => Allocate::Collapse,
            _ => Allocate::Insert,
        };
        let [ours, model] = [0, 1].map(|side| {
            let (paths, handle) = (&self.sides[side], self.open[at].handles[side]);
            paths.files.allocate(handle, offset, len, how)
        });
        if same([ours.await, model.await], &format!("{how:?} {offset} {len}")).is_ok() {
            self.did("allocate");
        }
    }

    async fn copy(&mut self, from: usize, to: usize) {
        let ((start, len), (place, _)) = (self.range(), self.range());
        let [ours, model] = [0, 1].map(|side| {
            let paths = &self.sides[side];
            let (from, to) = (self.open[from].handles[side], self.open[to].handles[side]);
            paths.files.copy_range(&paths.caller, (from, start), (to, place), len)
        });
        if same([ours.await, model.await], &format!("copy {start} {len} {place}")).is_ok() {
            self.did("copy");
        }
    }

    async fn read(&mut self, at: usize) {
        let (offset, len) = self.range();
        let [ours, model] =
            [0, 1].map(|side| self.sides[side].files.read(self.open[at].handles[side], offset, len as u32));
        same([ours.await, model.await], &format!("read {offset} {len}")).unwrap();
    }

    async fn release(&mut self, at: usize) {
        let open = self.open.remove(at);
        for (side, handle) in self.sides.iter().zip(open.handles) {
            side.files.release(handle).await.unwrap();
        }
    }

    fn names(&mut self, what: u64) {
        let (old, new) = (self.pick(false), self.pick(true));
        let set = SetAttr { size: Some(self.rng.below(LEN_MAX)), ..SetAttr::default() };
        let answers = self.sides.each_ref().map(|side| match what {
            0 => side.unlink(&old),
            1 => side.rmdir(&old),
            2 => side.link(&old, &new),
            3 => side.set(&old, set).map(drop),
            4 => side.rename(&old, &new, RenameMode::Exchange),
            5 => side.mkdir(&new, 0o755).map(drop),
            _ => side.rename(&old, &new, RenameMode::Replace),
        });
        if same(answers, &format!("{what} {old} {new} {set:?}")).is_ok() {
            self.did(["unlink", "rmdir", "link", "set", "exchange", "mkdir", "rename"][what as usize]);
        }
    }

    /// A put, where POSIX could say it too: its directories are directories, itself is none.
    async fn s3_put(&mut self) {
        let path = self.pick(true);
        let parents: Vec<_> = path.match_indices('/').map(|(at, _)| &path[..at]).collect();
        let ways = parents.iter().all(|path| self.kind(path).is_none_or(|kind| kind == FileKind::Directory));
        if !ways || self.kind(&path) == Some(FileKind::Directory) {
            return;
        }
        let len = self.rng.below(100_000);
        let body = self.rng.bytes(len as usize);
        self.did("s3 put");
        self.here.put(&path, &body).await;
        let model = &self.sides[1];
        for parent in parents {
            model.mkdir(parent, 0o755).ok();
        }
        let (_looked, handle) = model.create("temporary", 0o644).unwrap();
        let flags = WriteFlags::default();
        model.files.write(&model.caller, handle, 0, body.into(), flags).await.unwrap();
        model.files.release(handle).await.unwrap();
        model.rename("temporary", &path, RenameMode::Replace).unwrap();
    }

    async fn s3_delete(&mut self) {
        let path = self.pick(false);
        if self.kind(&path) != Some(FileKind::Regular) {
            return;
        }
        // What is not published is not there for S3, and is left alone.
        let there = self.here.get(&path).await.is_ok();
        let what: DeleteTarget = target(&path, None);
        self.here.store.delete(&self.here.who, &self.here.bucket, what, None).await.unwrap();
        if there {
            self.did("s3 delete");
            self.sides[1].unlink(&path).unwrap();
        }
        let mut above = path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            if self.sides[0].look(parent).is_err() {
                self.sides[1].rmdir(parent).unwrap();
            }
            above = parent;
        }
    }

    async fn step(&mut self) {
        let open = self.some_open();
        match (self.rng.below(30), open) {
            (0..=2, _) => self.create(),
            (3..=5, _) => self.open(),
            (6..=12, Some(at)) => self.write(at).await,
            (13, Some(at)) => self.allocate(at).await,
            (14, Some(at)) => {
                let to = self.rng.below(self.open.len() as u64) as usize;
                self.copy(at, to).await;
            }
            (15 | 16, Some(at)) => self.read(at).await,
            (17..=19, Some(at)) => self.release(at).await,
            (20, Some(at)) => self.sides[0].files.fsync(self.open[at].handles[0], false).await.unwrap(),
            (21 | 22, _) => self.s3_put().await,
            (23, _) => self.s3_delete().await,
            (24, _) if self.rng.one_in(4) => self.sides[0].files.syncfs().await.unwrap(),
            (what @ 24..=29, _) => {
                let more = self.rng.below(2);
                self.names((what - 24) + more);
            }
            _ => {}
        }
    }

    async fn compare(&mut self, why: &str) {
        let (ours, model) = (self.sides[0].contents().await, self.sides[1].contents().await);
        let lens = |all: &BTreeMap<String, (FileKind, Vec<u8>)>| -> Vec<_> {
            all.iter().map(|(path, (kind, bytes))| (path.clone(), *kind, bytes.len())).collect()
        };
        assert_eq!(lens(&ours), lens(&model), "{why}");
        assert!(ours == model, "{why}: other bytes");
        self.known = std::iter::once(String::new()).chain(ours.keys().cloned()).collect();
        if self.open.is_empty() {
            self.compare_with_s3(&ours, why).await;
        }
    }

    /// Nobody writes: every file is an object, and every object a file or the mark of a directory.
    async fn compare_with_s3(&self, ours: &BTreeMap<String, (FileKind, Vec<u8>)>, why: &str) {
        let request = ListRequest::new(self.here.bucket.clone());
        let listed = list_all(&self.here.store, &self.here.who, request, false).await;
        let keys: BTreeSet<_> = listed
            .into_iter()
            .map(|line| match line {
                Line::Key(key) | Line::Prefix(key) => key,
            })
            .collect();
        let mut bytes = 0;
        for (path, (kind, body)) in ours.iter().filter(|(_, (kind, _))| *kind != FileKind::Directory) {
            assert_eq!(*kind, FileKind::Regular);
            assert!(keys.contains(path), "{why}: {path} is not listed in {keys:?}");
            assert!(self.here.get(path).await.unwrap() == *body, "{why}: {path} has other bytes");
            bytes += body.len() as u64;
        }
        for at in &keys {
            let path = at.strip_suffix('/').unwrap_or(at);
            let is_directory = ours.get(path).is_some_and(|(kind, _)| *kind == FileKind::Directory);
            assert_eq!(is_directory, at.ends_with('/'), "{why}: {at}");
            key(at);
        }
        let usage = self.here.usage().await;
        assert_eq!((usage.objects, usage.bytes), (keys.len() as u64, bytes), "{why}");
    }
}

async fn run(seed: u64, steps: usize) -> BTreeMap<&'static str, usize> {
    let (mut run, machine) = Run::new(seed).await;
    for step in 0..steps {
        machine.clock.advance(Duration::from_millis(10));
        run.step().await;
        if step % 40 == 39 {
            while run.rng.one_in(2) && !run.open.is_empty() {
                run.release(0).await;
            }
            run.compare(&format!("seed {seed} step {step}")).await;
        }
    }
    while !run.open.is_empty() {
        run.release(0).await;
    }
    run.compare(&format!("seed {seed} at the end")).await;
    let paths: Vec<_> = run.known.drain(..).filter(|path| !path.is_empty()).rev().collect();
    for path in paths {
        let kind = run.kind(&path).unwrap();
        let gone = if kind == FileKind::Directory { Paths::rmdir } else { Paths::unlink };
        gone(&run.sides[0], &path).unwrap();
    }
    assert_eq!(run.here.usage().await, gw_store::Usage::default());
    run.here.store.bucket_delete(&run.here.who, &run.here.bucket).await.unwrap();
    let done = std::mem::take(&mut run.done);
    drop(run);
    machine.tend().await;
    assert_eq!(machine.live_bytes(), 0, "seed {seed}");
    done
}

#[tokio::test]
async fn a_mount_and_s3_are_one_namespace() {
    let mut done = BTreeMap::new();
    for seed in 0..6 {
        for (what, count) in run(seed, 600).await {
            *done.entry(what).or_default() += count;
        }
    }
    // The test tests something: each act has succeeded, most of them often.
    assert_eq!(done.len(), 14, "{done:?}");
    assert!(done.values().all(|count: &usize| *count >= 3), "{done:?}");
}
