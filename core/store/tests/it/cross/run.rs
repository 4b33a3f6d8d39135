//! One run: calls, and comparisons.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use gw_sim::Rng;
use gw_store::files::{
    Allocate, Errno, FileKind, FilesResult, HandleId, OpenFlags, RenameMode, SetAttr, SetXattr, WriteFlags,
};
use gw_store::{
    CompleteOptions, CompletePart, CopyOptions, CopySource, FinishOptions, ListRequest, ListStart,
    PartNumber, PutOptions, ReadConditions, ReadOptions, RenameOptions, StoreErrorKind, UploadOptions,
};

use super::model::{Answer, FileNo, Found, META, Model, Published};
use crate::assemble::Machine;
use crate::listing::{self, list_all};
use crate::posix::{Looked, Paths, WRITE, mount};
use crate::support::{Here, key, kind, target};

const NAMES: [&str; 5] = ["a", "b", "a-b", "c.txt", "é"];
const XATTRS: [&str; 3] = ["user.one", "trusted.two", "user.s3.meta.three"];
const OPEN_MAX: usize = 4;
/// Most files are short, and some too long to stand in a row.
const LENS: [u64; 4] = [100, 3000, 20_000, 140_000];
/// Calls between two comparisons of everything.
const COMPARE_EVERY: usize = 50;
/// Kinds of calls that can succeed.
pub const KINDS: usize = 30;

struct Open {
    handle: HandleId,
    file: FileNo,
    append: bool,
    _looked: Looked,
}

struct Run {
    rng: Rng,
    here: Here,
    paths: Paths,
    model: Model,
    open: Vec<Open>,
    /// Paths that were there at the last comparison.
    known: Vec<String>,
    done: BTreeMap<&'static str, usize>,
    why: String,
}

impl Run {
    fn did<T>(&mut self, what: &'static str, ours: FilesResult<T>, model: Answer<()>) -> Option<T> {
        let (ours, value) = match ours {
            Ok(value) => (Ok(()), Some(value)),
            Err(error) => (Err(error.errno), None),
        };
        assert_eq!(ours, model, "{}: {what}", self.why);
        if value.is_some() {
            self.count(what);
        }
        value
    }
    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.below(all.len() as u64) as usize]
    }

    /// A path: mostly one that is there, or beside or below one.
    fn pick(&mut self, fresh: bool) -> String {
        let mut path = match self.known.len() {
            0 => String::new(),
            len => self.known[self.rng.below(len as u64) as usize].clone(),
        };
        if fresh || path.is_empty() {
            if self.rng.one_in(2) || path.matches('/').count() > 4 {
                path = path.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned());
            }
            let slash = if path.is_empty() { "" } else { "/" };
            path = format!("{path}{slash}{}", self.one_of(&NAMES));
        }
        path
    }

    fn body(&mut self) -> Vec<u8> {
        let max = self.one_of(&LENS);
        let len = self.rng.below(max);
        let byte = self.rng.below(256) as u8;
        // Not random all over: that takes longer than all the rest.
        (0..len).map(|at| byte.wrapping_add((at * 31 % 253) as u8)).collect()
    }

    fn some_open(&mut self) -> Option<usize> {
        (!self.open.is_empty()).then(|| self.rng.below(self.open.len() as u64) as usize)
    }

    // The mount.

    fn create(&mut self) {
        let path = self.pick(true);
        let model = self.model.create(&path);
        let ours = self.paths.create(&path, 0o644);
        if let Some((looked, handle)) = self.did("create", ours, model.map(drop)) {
            self.open.push(Open { handle, file: model.unwrap(), append: false, _looked: looked });
        }
    }

    fn open(&mut self) {
        let path = self.pick(false);
        let flags = OpenFlags { append: self.rng.one_in(4), truncate: self.rng.one_in(4), ..WRITE };
        let model = self.model.open(&path, flags.truncate);
        let ours = self.paths.look(&path).and_then(|looked| {
            let handle = self.paths.files.open(&self.paths.caller, looked.id, flags)?;
            Ok((looked, handle))
        });
        if let Some((looked, handle)) = self.did("open", ours, model.map(drop)) {
            self.open.push(Open { handle, file: model.unwrap(), append: flags.append, _looked: looked });
        }
    }

    async fn write(&mut self, at: usize) {
        let Open { handle, file, append, .. } = self.open[at];
        let len = self.model.files[&file].bytes().len() as u64;
        // At the end, somewhere in it, or behind a hole.
        let offset = match self.rng.below(3) {
            0 => len,
            1 => self.rng.below(len + 1),
            _ => self.rng.below(len + 5000),
        };
        let mut body = self.body();
        if body.is_empty() {
            // Writing nothing changes nothing, and the kernel does not even ask for it.
            body.push(0);
        }
        self.model.write(file, (!append).then_some(offset as usize), &body);
        let (flags, bytes) = (WriteFlags::default(), Bytes::from(body));
        self.paths.files.write(&self.paths.caller, handle, offset, bytes, flags).await.unwrap();
        self.count("write");
    }

    async fn allocate(&mut self, at: usize) {
        let Open { handle, file, .. } = self.open[at];
        let (offset, len) = (self.rng.below(150_000), 1 + self.rng.below(50_000));
        let how = self.one_of(&[
            Allocate::PunchHole,
            Allocate::Zero { keep_size: true },
            Allocate::Zero { keep_size: false },
        ]);
        self.model.allocate(file, offset as usize, len as usize, how);
        self.paths.files.allocate(handle, offset, len, how).await.unwrap();
        self.count("allocate");
    }

    async fn copy_range(&mut self, from: usize, to: usize) {
        let (source, target) = (self.open[from].file, self.open[to].file);
        if source == target || self.open[to].append {
            return;
        }
        let (start, place, len) = (self.rng.below(5000), self.rng.below(5000), self.rng.below(100_000));
        let places = ((source, start as usize), (target, place as usize));
        let model = self.model.copy_range(places.0, places.1, len as usize);
        let handles = ((self.open[from].handle, start), (self.open[to].handle, place));
        let ours = self.paths.files.copy_range(&self.paths.caller, handles.0, handles.1, len).await.unwrap();
        assert_eq!(ours, model as u64, "{}", self.why);
        self.count("copy range");
    }

    async fn read(&mut self, at: usize) {
        let Open { handle, file, .. } = self.open[at];
        let (offset, len) = (self.rng.below(20_000), self.rng.below(60_000));
        let ours = self.paths.files.read(handle, offset, len as u32).await.unwrap();
        let body = self.model.files[&file].bytes();
        let start = body.len().min(offset as usize);
        assert!(ours == body[start..body.len().min((offset + len) as usize)], "{}: read", self.why);
        self.count("read");
    }

    async fn finish(&mut self, at: usize, what: u64) {
        let Open { handle, file, .. } = self.open[at];
        match what {
            0 => {
                self.paths.files.fsync(handle, false).await.unwrap();
                self.model.sync(file);
                self.count("fsync");
            }
            1 => {
                self.paths.files.flush(handle).await.unwrap();
                self.model.flush(file);
                self.count("flush");
            }
            2 => {
                self.paths.files.syncfs().await.unwrap();
                self.model.sync_all();
                self.count("syncfs");
            }
            _ => {
                let open = self.open.remove(at);
                self.paths.files.release(handle).await.unwrap();
                self.model.release(file);
                drop(open);
                self.count("release");
            }
        }
    }

    fn names(&mut self) {
        let (old, new, some) = (self.pick(false), self.pick(true), self.pick(false));
        match self.rng.below(9) {
            0 => {
                let model = self.model.mkdir(&new);
                let ours = self.paths.mkdir(&new, 0o755).map(drop);
                self.did("mkdir", ours, model);
            }
            1 => {
                let model = self.model.rmdir(&old);
                let ours = self.paths.rmdir(&old);
                self.did("rmdir", ours, model);
            }
            2 => {
                let model = self.model.unlink(&old);
                let ours = self.paths.unlink(&old);
                self.did("unlink", ours, model);
            }
            3 => {
                let model = self.model.link(&old, &new);
                let ours = self.paths.link(&old, &new);
                self.did("link", ours, model);
            }
            4 => {
                let model = self.model.symlink(&new, "to/where");
                let ours = self.paths.symlink(&new, "to/where");
                self.did("symlink", ours, model);
            }
            5 => {
                let len = self.rng.below(4000);
                let model = self.model.truncate(&old, len as usize);
                let set = SetAttr { size: Some(len), ..SetAttr::default() };
                let ours = self.paths.set(&old, set).map(drop);
                self.did("truncate", ours, model);
            }
            6 => {
                let model = self.model.rename(&old, &some, RenameMode::Exchange);
                let ours = self.paths.rename(&old, &some, RenameMode::Exchange);
                self.did("exchange", ours, model);
            }
            what => {
                let mode = if what == 7 { RenameMode::NoReplace } else { RenameMode::Replace };
                let to = if self.rng.one_in(2) { new } else { some };
                let model = self.model.rename(&old, &to, mode);
                let ours = self.paths.rename(&old, &to, mode);
                self.did(if what == 7 { "rename, free" } else { "rename" }, ours, model);
            }
        }
    }

    fn xattr(&mut self) {
        let (path, name) = (self.pick(false), self.one_of(&XATTRS));
        let value = (!self.rng.one_in(3)).then(|| format!("value {}", self.rng.below(3)));
        let model = self.model.set_xattr(&path, name, value.as_deref());
        let ours = self.paths.look(&path).and_then(|looked| {
            let (files, caller) = (&self.paths.files, &self.paths.caller);
            match &value {
                Some(value) => {
                    files.setxattr(caller, looked.id, name.as_bytes(), value.as_bytes(), SetXattr::Either)
                }
                None => files.removexattr(caller, looked.id, name.as_bytes()),
            }
        });
        self.did(if value.is_some() { "setxattr" } else { "removexattr" }, ours, model);
    }

    // S3.

    async fn put(&mut self) {
        let mut at = self.pick(true);
        let mut body = self.body();
        if self.rng.one_in(8) {
            // The mark of a directory.
            at.push('/');
            body.clear();
        }
        let meta: BTreeMap<String, String> = if self.rng.one_in(2) {
            BTreeMap::new()
        } else {
            [("three".to_owned(), "put".to_owned())].into()
        };
        let mut options = PutOptions::default();
        options.attributes.user_metadata = meta.clone().into_iter().collect();
        let put = self.here.put_with(&at, &body, options).await.unwrap();
        self.model.put(&at, Published { body, meta, etag: Some(put.etag), before: None });
        self.count(if at.ends_with('/') { "put mark" } else { "put" });
    }

    async fn multipart(&mut self) {
        let at = key(&self.pick(true));
        let (store, who, bucket) = (&self.here.store, &self.here.who, &self.here.bucket);
        let options = UploadOptions::default();
        let upload = store.upload_create(who, bucket, &at, options).await.unwrap().upload_id;
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for part in 0..1 + self.rng.below(3) as u16 {
            let number = PartNumber::new(part + 1).unwrap();
            let bytes = vec![part as u8; 16 + self.rng.below(70_000) as usize];
            let mut writer =
                store.upload_put_part(who, bucket, &at, upload, number, None, None).await.unwrap();
            writer.write(Bytes::copy_from_slice(&bytes)).await.unwrap();
            let etag = writer.finish(FinishOptions::default()).await.unwrap().etag;
            parts.push(CompletePart { number, etag: Some(etag), checksums: Vec::new() });
            whole.extend(bytes);
        }
        if self.rng.one_in(5) {
            store.upload_abort(who, bucket, &at, upload).await.unwrap();
            self.count("abort");
            return;
        }
        let options = CompleteOptions::default();
        let put = store.upload_complete(who, bucket, &at, upload, parts, options).await.unwrap();
        let published = Published { body: whole, etag: Some(put.etag), ..Published::default() };
        self.model.put(at.as_str(), published);
        self.count("complete");
    }

    async fn delete(&mut self) {
        let mut at = self.pick(false);
        if self.rng.one_in(3) {
            at.push('/');
        }
        self.model.delete(&at);
        let what = target(&at, None);
        self.here.store.delete(&self.here.who, &self.here.bucket, what, None).await.unwrap();
        self.count("delete");
    }

    async fn copy(&mut self) {
        let (from, to) = (self.pick(false), self.pick(true));
        if from == to {
            return;
        }
        let (bucket, conditions) = (self.here.bucket.clone(), ReadConditions::default());
        let source = CopySource {
            bucket: bucket.clone(),
            key: key(&from),
            version: None,
            conditions,
            customer_key: None,
        };
        let options = CopyOptions::default();
        let done = self.here.store.copy(&self.here.who, source, &bucket, &key(&to), options).await;
        match self.model.object(&from) {
            None => assert_eq!(kind(done), StoreErrorKind::NoSuchKey, "{}: copy {from}", self.why),
            Some(file) => {
                let etag = Some(done.unwrap().put.etag);
                let Published { body, meta, .. } = self.model.files[&file].published.clone().unwrap();
                self.model.put(&to, Published { body, meta, etag, before: None });
                self.count("copy");
            }
        }
    }

    async fn rename(&mut self) {
        let (from, to) = (self.pick(false), self.pick(true));
        if from == to {
            return;
        }
        let (from_key, to_key) = (key(&from), key(&to));
        let keys = (&from_key, &to_key);
        let options = RenameOptions::default();
        let done = self.here.store.rename(&self.here.who, &self.here.bucket, keys, options).await;
        match self.model.object(&from) {
            None => assert_eq!(kind(done), StoreErrorKind::NoSuchKey, "{}: rename {from}", self.why),
            Some(file) if self.model.files[&file].working.is_some() => {
                // A mount has bytes that S3 does not see yet.
                assert_eq!(kind(done), StoreErrorKind::ConditionalRequestConflict, "{}", self.why);
            }
            Some(file) => {
                let published = self.model.files[&file].published.clone().unwrap();
                let etag = Some(done.unwrap().etag);
                self.model.delete(&from);
                self.model.put(&to, Published { etag, before: None, ..published });
                self.count("rename by S3");
            }
        }
    }

    async fn get(&mut self) {
        let at = self.pick(false);
        let got = self.here.get(&at).await;
        match self.model.object(&at) {
            None => assert_eq!(kind(got), StoreErrorKind::NoSuchKey, "{}: get {at}", self.why),
            Some(file) => {
                let published = self.model.files[&file].published.as_ref().unwrap();
                assert!(got.unwrap() == published.body, "{}: get {at}", self.why);
                self.count("get");
            }
        }
    }

    async fn list(&mut self) {
        let keys = self.model.keys();
        let mut request = ListRequest::new(self.here.bucket.clone());
        request.prefix = listing::random_text(&mut self.rng, &keys);
        request.delimiter = (!self.rng.one_in(3)).then(|| "/".to_owned());
        request.start = match self.rng.below(2) {
            0 => ListStart::Beginning,
            _ => ListStart::After(listing::random_text(&mut self.rng, &keys)),
        };
        request.max = 1 + self.rng.below(6) as usize;
        let delimiter = request.delimiter.as_deref();
        let model = listing::model(&keys, &request.prefix, delimiter, &request.start);
        let ours = list_all(&self.here.store, &self.here.who, request.clone(), self.rng.one_in(2)).await;
        assert_eq!(ours, model, "{}: {request:?}", self.why);
        self.count("list");
    }

    /// One call; `false` where this one needs something that is not there.
    async fn step(&mut self) -> bool {
        let (what, open) = (self.rng.below(60), self.some_open());
        let room = self.open.len() < OPEN_MAX;
        match (what, open) {
            (0..=3, _) if room => self.create(),
            (4..=7, _) if room => self.open(),
            (0..=15, Some(at)) => self.write(at).await,
            (16 | 17, Some(at)) => self.allocate(at).await,
            (18, Some(at)) => {
                let to = self.rng.below(self.open.len() as u64) as usize;
                self.copy_range(at, to).await;
            }
            (19 | 20, Some(at)) => self.read(at).await,
            (21..=27, Some(at)) => {
                let what = self.rng.below(6);
                self.finish(at, what).await;
            }
            (28..=39, _) => self.names(),
            (40..=42, _) => self.xattr(),
            (43..=46, _) => self.put().await,
            (47 | 48, _) => self.multipart().await,
            (49..=51, _) => self.delete().await,
            (52 | 53, _) => self.copy().await,
            (54 | 55, _) => self.rename().await,
            (56 | 57, _) => self.get().await,
            (58 | 59, _) => self.list().await,
            _ => return false,
        }
        true
    }

    async fn compare(&mut self) {
        self.compare_mount().await;
        self.compare_s3().await;
        self.known = self.model.paths().into_keys().collect();
        if self.open.is_empty() {
            let keys = self.model.keys();
            let files = keys.iter().filter_map(|key| self.model.object(key));
            let bytes = files.map(|file| self.model.files[&file].published.as_ref().unwrap().body.len());
            let bytes: usize = bytes.sum();
            let usage = self.here.usage().await;
            let uploads = (usage.uploads, usage.upload_bytes);
            assert_eq!((usage.objects, usage.bytes), (keys.len() as u64, bytes as u64), "{}", self.why);
            assert_eq!(uploads, (0, 0), "{}", self.why);
        }
    }

    async fn compare_mount(&self) {
        let why = &self.why;
        let all = self.paths.everything().await.unwrap();
        let model = self.model.paths();
        let escaped = all.keys().filter(|path| path.contains(".cess%")).count();
        assert_eq!(escaped, self.model.shadowed(), "{why}");
        let ours: Vec<_> = all.keys().filter(|path| !path.contains(".cess%")).collect();
        assert_eq!(ours, model.keys().collect::<Vec<_>>(), "{why}");
        for (path, found) in &model {
            let (kind, bytes) = &all[path];
            let xattrs = self.paths.xattrs(path).unwrap();
            let mut expected = self.model.xattrs(path).unwrap();
            match found {
                Found::Dir(_) => assert_eq!(*kind, FileKind::Directory, "{why}: {path}"),
                Found::Leaf(file) => {
                    let file = &self.model.files[file];
                    let is_link = file.target.is_some();
                    let expected_kind = if is_link { FileKind::Symlink } else { FileKind::Regular };
                    assert_eq!(*kind, expected_kind, "{why}: {path}");
                    assert!(bytes == file.bytes(), "{why}: {path} has other bytes");
                    let nlink = self.paths.stat(path).unwrap().nlink;
                    assert_eq!(nlink as usize, file.names, "{why}: {path}");
                }
            }
            expected.retain(|name, _| !name.starts_with("user.s3.content-type"));
            assert_eq!(xattrs, expected, "{why}: {path}");
        }
    }

    async fn compare_s3(&mut self) {
        let keys = self.model.keys();
        let request = ListRequest::new(self.here.bucket.clone());
        let lines = list_all(&self.here.store, &self.here.who, request, false).await;
        let expected: Vec<_> = keys.iter().cloned().map(listing::Line::Key).collect();
        assert_eq!(lines, expected, "{}", self.why);
        for at in keys.iter().filter(|key| !key.ends_with('/')) {
            let why = format!("{}: {at}", self.why);
            let file = self.model.object(at).unwrap();
            let (store, who, bucket) = (&self.here.store, &self.here.who, &self.here.bucket);
            let head = store.head(who, bucket, &key(at), ReadOptions::default()).await.unwrap();
            let body = self.here.get(at).await.unwrap();
            let published = self.model.file(file).published.as_mut().unwrap();
            assert!(body == published.body, "{why}: other bytes for S3");
            let meta: BTreeMap<_, _> = head.attributes.user_metadata.iter().cloned().collect();
            assert_eq!(meta, published.meta, "{why}");
            assert_eq!(*published.etag.get_or_insert(head.etag), head.etag, "{why}: the etag changed");
            if let Some((etag, before)) = &published.before {
                assert!(*etag != head.etag || *before == body, "{why}: new bytes under the old etag");
            }
        }
    }
}

impl Paths {
    /// Kind and bytes of everything, escaped names too.
    async fn everything(&self) -> FilesResult<BTreeMap<String, (FileKind, Vec<u8>)>> {
        self.try_contents().await
    }

    fn xattrs(&self, path: &str) -> Result<BTreeMap<String, Vec<u8>>, Errno> {
        let read = || -> FilesResult<BTreeMap<String, Vec<u8>>> {
            let looked = self.look(path)?;
            let mut all = BTreeMap::new();
            for name in self.files.listxattr(&self.caller, looked.id)? {
                let value = self.files.getxattr(&self.caller, looked.id, &name)?;
                all.insert(String::from_utf8_lossy(&name).into_owned(), value);
            }
            // Headers follow the name's extension and are not the model's business.
            all.retain(|name, _| !name.starts_with("user.s3.") || name.starts_with(META));
            Ok(all)
        };
        read().map_err(|error| error.errno)
    }
}

/// So many calls on a new store; how often each kind succeeded.
pub async fn run(seed: u64, ops: usize) -> BTreeMap<&'static str, usize> {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    let (rng, model) = (Rng::new(seed), Model::new());
    let (open, known, done) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut run = Run { rng, here, paths, model, open, known, done, why: String::new() };
    for step in 0..ops {
        run.why = format!("seed {seed} step {step}");
        machine.clock.advance(Duration::from_millis(10));
        while !run.step().await {}
        if step % COMPARE_EVERY == COMPARE_EVERY - 1 {
            while run.rng.one_in(2) && !run.open.is_empty() {
                run.finish(0, 3).await;
            }
            run.compare().await;
        }
    }
    while !run.open.is_empty() {
        run.finish(0, 3).await;
    }
    run.why = format!("seed {seed} at the end");
    run.compare().await;
    run.done
}
