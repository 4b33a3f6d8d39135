//! The model: a tree of names that says what a mount and what S3 find, obviously right and slow.
//!
//! A directory keeps files and directories under separate names, because S3 can have `a` and `a/b`; a
//! mount finds the directory then. It is *explicit* when S3 has the object `dir/`; one that is not goes
//! with its last name when S3 takes that, and whatever a mount changes in it makes it explicit first.
//! A file has bytes that its handles see (`working`) and those that S3 sees (`published`).

use std::collections::{BTreeMap, BTreeSet};

use gw_store::Etag;
use gw_store::files::{Allocate, Errno, RenameMode};

pub type Answer<T> = Result<T, Errno>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileNo(usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirNo(usize);

const ROOT: DirNo = DirNo(0);

/// What a name of a mount leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Dir(DirNo),
    Leaf(FileNo),
}

#[derive(Clone, Debug, Default)]
pub struct Dir {
    explicit: bool,
    leaves: BTreeMap<String, FileNo>,
    dirs: BTreeMap<String, DirNo>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

/// What S3 sees of a file.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub body: Vec<u8>,
    pub meta: BTreeMap<String, String>,
    /// Once it has been seen: it stays as long as this stays published.
    pub etag: Option<Etag>,
    /// What was published before, and its ETag: other bytes have another one.
    pub before: Option<(Etag, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
pub struct File {
    /// Of a symlink.
    pub target: Option<String>,
    pub working: Option<Vec<u8>>,
    pub published: Option<Published>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub writers: usize,
    pub names: usize,
}

impl File {
    pub fn bytes(&self) -> &[u8] {
        let published = || self.published.as_ref().map_or(&[][..], |published| &published.body);
        self.working.as_deref().unwrap_or_else(published)
    }
    pub fn change(&mut self) -> &mut Vec<u8> {
        let now = self.bytes().to_vec();
        self.working.get_or_insert(now)
    }
    fn publish(&mut self) {
        if self.names == 0 {
            return;
        }
        let Some(body) = self.working.take() else { return };
        let (meta, before) = match self.published.take() {
            Some(old) => (old.meta, old.etag.map(|etag| (etag, old.body))),
            None => {
                let is_meta = |name: &str| name.strip_prefix(META).map(str::to_owned);
                let text = |value: &Vec<u8>| String::from_utf8(value.clone()).unwrap();
                let metas = self.xattrs.iter();
                let meta = metas.filter_map(|(name, value)| Some((is_meta(name)?, text(value)))).collect();
                self.xattrs.retain(|name, _| is_meta(name).is_none());
                (meta, None)
            }
        };
        self.published = Some(Published { body, meta, etag: None, before });
    }
}

pub const META: &str = "user.s3.meta.";

#[derive(Clone, Debug, Default)]
pub struct Model {
    dirs: BTreeMap<DirNo, Dir>,
    pub files: BTreeMap<FileNo, File>,
    next: usize,
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Model {
    pub fn new() -> Self {
        let mut model = Self { next: 1, ..Self::default() };
        model.dirs.insert(ROOT, Dir { explicit: true, ..Dir::default() });
        model
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }
    fn dir(&mut self, at: DirNo) -> &mut Dir {
        self.dirs.get_mut(&at).unwrap()
    }
    pub fn file(&mut self, at: FileNo) -> &mut File {
        self.files.get_mut(&at).unwrap()
    }

    fn find(&self, at: DirNo, name: &str) -> Option<Found> {
        let dir = &self.dirs[&at];
        let found = dir.dirs.get(name).map(|dir| Found::Dir(*dir));
        found.or_else(|| dir.leaves.get(name).map(|leaf| Found::Leaf(*leaf)))
    }

    /// As a mount finds it, name by name.
    pub fn look(&self, path: &str) -> Answer<Found> {
        let mut at = Found::Dir(ROOT);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Found::Dir(dir) = at else { return Err(Errno::NotDirectory) };
            at = self.find(dir, name).ok_or(Errno::NoEntry)?;
        }
        Ok(at)
    }

    fn parent(&self, path: &str) -> Answer<DirNo> {
        match self.look(split(path).0)? {
            Found::Dir(dir) => Ok(dir),
            Found::Leaf(_) => Err(Errno::NotDirectory),
        }
    }

    /// Where something new goes; the directory becomes explicit.
    fn free(&mut self, path: &str) -> Answer<DirNo> {
        let parent = self.parent(path)?;
        match self.find(parent, split(path).1) {
            Some(_) => Err(Errno::Exists),
            None => {
                self.dir(parent).explicit = true;
                Ok(parent)
            }
        }
    }

    fn add_file(&mut self, parent: DirNo, name: &str, file: File) -> FileNo {
        let number = FileNo(self.number());
        self.files.insert(number, File { names: 1, ..file });
        self.dir(parent).leaves.insert(name.to_owned(), number);
        number
    }

    fn drop_name(&mut self, file: FileNo) {
        self.file(file).names -= 1;
        self.forget(file);
    }

    /// A file without names and handles is gone. Only writers are counted: readers are writers here.
    fn forget(&mut self, at: FileNo) {
        let file = &self.files[&at];
        if file.names == 0 && file.writers == 0 {
            self.files.remove(&at);
        }
    }

    // Through the mount.

    pub fn mkdir(&mut self, path: &str) -> Answer<()> {
        let parent = self.free(path)?;
        let number = DirNo(self.number());
        self.dirs.insert(number, Dir { explicit: true, ..Dir::default() });
        self.dir(parent).dirs.insert(split(path).1.to_owned(), number);
        Ok(())
    }

    pub fn create(&mut self, path: &str) -> Answer<FileNo> {
        let parent = self.free(path)?;
        let file = File { working: Some(Vec::new()), writers: 1, ..File::default() };
        Ok(self.add_file(parent, split(path).1, file))
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> Answer<()> {
        let parent = self.free(path)?;
        self.add_file(parent, split(path).1, File { target: Some(target.to_owned()), ..File::default() });
        Ok(())
    }

    pub fn link(&mut self, old: &str, new: &str) -> Answer<()> {
        let found = self.look(old)?;
        // The new name's directory is looked up before anything is judged.
        self.look(split(new).0)?;
        let Found::Leaf(file) = found else { return Err(Errno::NotPermitted) };
        let parent = self.free(new)?;
        self.dir(parent).leaves.insert(split(new).1.to_owned(), file);
        self.file(file).names += 1;
        Ok(())
    }

    pub fn unlink(&mut self, path: &str) -> Answer<()> {
        let parent = self.parent(path)?;
        let name = split(path).1;
        let Found::Leaf(file) = self.find(parent, name).ok_or(Errno::NoEntry)? else {
            return Err(Errno::IsDirectory);
        };
        self.dir(parent).explicit = true;
        self.dir(parent).leaves.remove(name);
        self.drop_name(file);
        Ok(())
    }

    fn end_empty(&mut self, at: DirNo) -> Answer<()> {
        let dir = &self.dirs[&at];
        if !dir.leaves.is_empty() || !dir.dirs.is_empty() {
            return Err(Errno::NotEmpty);
        }
        self.dirs.remove(&at);
        Ok(())
    }

    pub fn rmdir(&mut self, path: &str) -> Answer<()> {
        let parent = self.parent(path)?;
        let name = split(path).1;
        let Found::Dir(dir) = self.find(parent, name).ok_or(Errno::NoEntry)? else {
            return Err(Errno::NotDirectory);
        };
        self.end_empty(dir)?;
        self.dir(parent).explicit = true;
        self.dir(parent).dirs.remove(name);
        Ok(())
    }

    fn is_within(&self, at: DirNo, above: DirNo) -> bool {
        at == above || self.dirs[&above].dirs.values().any(|below| self.is_within(at, *below))
    }

    pub fn rename(&mut self, old: &str, new: &str, mode: RenameMode) -> Answer<()> {
        let (from, to) = (self.look(split(old).0)?, self.look(split(new).0)?);
        let (old, new) = (split(old).1, split(new).1);
        let Found::Dir(from) = from else { return Err(Errno::NotDirectory) };
        let source = self.find(from, old).ok_or(Errno::NoEntry)?;
        let Found::Dir(to) = to else { return Err(Errno::NotDirectory) };
        let target = self.find(to, new);
        if matches!(source, Found::Dir(dir) if self.is_within(to, dir)) {
            return Err(Errno::Invalid);
        }
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::Exists),
            (RenameMode::Exchange, None) => return Err(Errno::NoEntry),
            _ => {}
        }
        if target == Some(source) {
            return Ok(());
        }
        if mode == RenameMode::Exchange {
            return self.exchange((from, old, source), (to, new, target.unwrap()));
        }
        match (source, target) {
            (Found::Dir(_), Some(Found::Leaf(_))) => return Err(Errno::NotDirectory),
            (Found::Leaf(_), Some(Found::Dir(_))) => return Err(Errno::IsDirectory),
            (_, Some(Found::Dir(dir))) => {
                self.end_empty(dir)?;
                self.dir(to).dirs.remove(new);
            }
            (_, Some(Found::Leaf(file))) => {
                self.dir(to).leaves.remove(new);
                self.drop_name(file);
            }
            (_, None) => {}
        }
        self.lift(from, old, source);
        self.put_down(to, new, source);
        Ok(())
    }

    fn exchange(&mut self, one: (DirNo, &str, Found), other: (DirNo, &str, Found)) -> Answer<()> {
        if matches!(other.2, Found::Dir(dir) if self.is_within(one.0, dir)) {
            return Err(Errno::Invalid);
        }
        let shadowed = |(at, name, found): (DirNo, &str, Found), other: Found| {
            let shadow = self.dirs[&at].leaves.contains_key(name) && matches!(found, Found::Dir(_));
            shadow && matches!(other, Found::Leaf(_))
        };
        if shadowed(one, other.2) || shadowed(other, one.2) {
            // What stands behind the directory's name would be where the file goes.
            return Err(Errno::Exists);
        }
        self.lift(one.0, one.1, one.2);
        self.lift(other.0, other.1, other.2);
        self.put_down(one.0, one.1, other.2);
        self.put_down(other.0, other.1, one.2);
        Ok(())
    }

    fn lift(&mut self, at: DirNo, name: &str, what: Found) {
        self.dir(at).explicit = true;
        match what {
            Found::Dir(_) => drop(self.dir(at).dirs.remove(name)),
            Found::Leaf(_) => drop(self.dir(at).leaves.remove(name)),
        }
    }

    fn put_down(&mut self, at: DirNo, name: &str, what: Found) {
        self.dir(at).explicit = true;
        match what {
            Found::Dir(dir) => drop(self.dir(at).dirs.insert(name.to_owned(), dir)),
            Found::Leaf(file) => drop(self.dir(at).leaves.insert(name.to_owned(), file)),
        }
    }

    pub fn open(&mut self, path: &str, truncate: bool) -> Answer<FileNo> {
        let at = match self.look(path)? {
            Found::Dir(_) => return Err(Errno::IsDirectory),
            Found::Leaf(at) => at,
        };
        if self.files[&at].target.is_some() {
            return Err(Errno::NoDeviceOrAddress);
        }
        let file = self.file(at);
        file.writers += 1;
        if truncate {
            file.change().clear();
        }
        Ok(at)
    }

    pub fn truncate(&mut self, path: &str, len: usize) -> Answer<()> {
        let at = match self.look(path)? {
            Found::Dir(_) => return Err(Errno::IsDirectory),
            Found::Leaf(at) => at,
        };
        let file = self.file(at);
        if file.target.is_some() {
            return Err(Errno::Invalid);
        }
        file.change().resize(len, 0);
        if file.writers == 0 {
            file.publish();
        }
        Ok(())
    }

    pub fn write(&mut self, at: FileNo, offset: Option<usize>, bytes: &[u8]) {
        let body = self.file(at).change();
        let offset = offset.unwrap_or(body.len());
        let end = offset + bytes.len();
        body.resize(body.len().max(end), 0);
        body[offset..end].copy_from_slice(bytes);
    }

    pub fn allocate(&mut self, at: FileNo, offset: usize, len: usize, how: Allocate) {
        let body = self.file(at).change();
        let end = offset + len;
        match how {
            Allocate::PunchHole | Allocate::Zero { .. } => {
                let end = end.min(body.len());
                body[offset.min(end)..end].fill(0);
            }
            _ => {}
        }
        if matches!(how, Allocate::Zero { keep_size: false }) {
            body.resize(body.len().max(end), 0);
        }
    }

    pub fn copy_range(&mut self, from: (FileNo, usize), to: (FileNo, usize), len: usize) -> usize {
        let source = self.files[&from.0].bytes();
        let start = from.1.min(source.len());
        let bytes = source[start..source.len().min(from.1 + len)].to_vec();
        if !bytes.is_empty() {
            self.write(to.0, Some(to.1), &bytes);
        }
        bytes.len()
    }

    pub fn sync(&mut self, at: FileNo) {
        self.file(at).publish();
    }
    pub fn sync_all(&mut self) {
        self.files.values_mut().for_each(File::publish);
    }
    pub fn flush(&mut self, at: FileNo) {
        if self.files[&at].writers == 1 {
            self.file(at).publish();
        }
    }
    pub fn release(&mut self, at: FileNo) {
        let file = self.file(at);
        file.writers -= 1;
        if file.writers == 0 {
            file.publish();
        }
        self.forget(at);
    }

    /// Attributes of what a path leads to.
    pub fn xattrs(&self, path: &str) -> Answer<BTreeMap<String, Vec<u8>>> {
        Ok(match self.look(path)? {
            Found::Dir(dir) => self.dirs[&dir].xattrs.clone(),
            Found::Leaf(file) => {
                let file = &self.files[&file];
                let meta = file.published.iter().flat_map(|published| &published.meta);
                let meta = meta.map(|(name, value)| (format!("{META}{name}"), value.clone().into_bytes()));
                file.xattrs.clone().into_iter().chain(meta).collect()
            }
        })
    }

    pub fn set_xattr(&mut self, path: &str, name: &str, value: Option<&str>) -> Answer<()> {
        let meta = name.strip_prefix(META);
        let there = self.xattrs(path)?.contains_key(name);
        match self.look(path)? {
            Found::Dir(_) if meta.is_some() => return Err(Errno::NotPermitted),
            Found::Leaf(file) if meta.is_some() && self.files[&file].target.is_some() => {
                return Err(Errno::NotPermitted);
            }
            _ if !there && value.is_none() => return Err(Errno::NoData),
            Found::Dir(dir) => {
                let dir = self.dir(dir);
                dir.explicit = true;
                put(&mut dir.xattrs, name, value.map(|value| value.as_bytes().to_vec()));
            }
            Found::Leaf(file) => {
                let file = self.file(file);
                match (meta, &mut file.published) {
                    (Some(meta), Some(published)) => {
                        put(&mut published.meta, meta, value.map(str::to_owned));
                    }
                    _ => put(&mut file.xattrs, name, value.map(|value| value.as_bytes().to_vec())),
                }
            }
        }
        Ok(())
    }

    // Through S3.

    fn located(&self, key: &str) -> Option<(DirNo, Vec<DirNo>)> {
        let (mut at, mut ways) = (ROOT, vec![ROOT]);
        for name in split(key).0.split('/').filter(|name| !name.is_empty()) {
            at = *self.dirs[&at].dirs.get(name)?;
            ways.push(at);
        }
        Some((at, ways))
    }

    pub fn object(&self, key: &str) -> Option<FileNo> {
        let file = *self.dirs[&self.located(key)?.0].leaves.get(split(key).1)?;
        self.files[&file].published.is_some().then_some(file)
    }

    pub fn put(&mut self, key: &str, published: Published) {
        let mut at = ROOT;
        for name in split(key).0.split('/').filter(|name| !name.is_empty()) {
            at = match self.dirs[&at].dirs.get(name) {
                Some(dir) => *dir,
                None => {
                    let number = DirNo(self.number());
                    self.dirs.insert(number, Dir::default());
                    self.dir(at).dirs.insert(name.to_owned(), number);
                    number
                }
            };
        }
        let name = split(key).1;
        if name.is_empty() {
            self.dir(at).explicit = true;
            return;
        }
        if let Some(old) = self.dirs[&at].leaves.get(name).copied() {
            self.drop_name(old);
        }
        self.add_file(at, name, File { published: Some(published), ..File::default() });
    }

    /// A key that ends with `/` is a directory's mark.
    pub fn delete(&mut self, key: &str) {
        let Some((at, ways)) = self.located(key) else { return };
        let name = split(key).1;
        if name.is_empty() {
            if at != ROOT {
                self.dir(at).explicit = false;
            }
        } else {
            let Some(file) = self.object(key) else { return };
            self.dir(at).leaves.remove(name);
            self.drop_name(file);
        }
        self.prune(&ways);
    }

    fn prune(&mut self, ways: &[DirNo]) {
        for pair in ways.windows(2).rev() {
            let [above, below] = [pair[0], pair[1]];
            let dir = &self.dirs[&below];
            if dir.explicit || !dir.leaves.is_empty() || !dir.dirs.is_empty() {
                return;
            }
            self.dirs.remove(&below);
            self.dir(above).dirs.retain(|_, dir| *dir != below);
        }
    }

    /// Every key that S3 lists.
    pub fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        self.walk(ROOT, "", &mut |path, what| match what {
            Found::Dir(dir) if self.dirs[&dir].explicit => drop(keys.insert(format!("{path}/"))),
            Found::Leaf(file) if self.files[&file].published.is_some() => drop(keys.insert(path.to_owned())),
            _ => {}
        });
        keys
    }

    /// Everything that a mount finds under a name that is a path.
    pub fn paths(&self) -> BTreeMap<String, Found> {
        let mut paths = BTreeMap::new();
        self.walk(ROOT, "", &mut |path, what| {
            if !matches!((paths.get(path), what), (Some(Found::Dir(_)), Found::Leaf(_))) {
                paths.insert(path.to_owned(), what);
            }
        });
        paths
    }

    fn walk(&self, at: DirNo, path: &str, tell: &mut impl FnMut(&str, Found)) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        for (name, dir) in &self.dirs[&at].dirs {
            tell(&below(name), Found::Dir(*dir));
            self.walk(*dir, &below(name), tell);
        }
        for (name, file) in &self.dirs[&at].leaves {
            tell(&below(name), Found::Leaf(*file));
        }
    }

    /// Files behind the name of a directory.
    pub fn shadowed(&self) -> usize {
        let hidden = |dir: &Dir| dir.leaves.keys().filter(|name| dir.dirs.contains_key(*name)).count();
        self.dirs.values().map(hidden).sum()
    }
}

fn put<V>(map: &mut BTreeMap<String, V>, name: &str, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.remove(name)),
    }
}
