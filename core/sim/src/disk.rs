//! Disks in memory: one that just works ([`MemDisk`]), one that forgets what was not synced
//! ([`ForgettingDisk`]) and one that fails on demand ([`FaultDisk`], around any disk).
//!
//! The forgetting disk keeps, beside the bytes that readers see, those that are on stable storage, and
//! the writes, lengths and names in between. [`ForgettingDisk::power_cut`] makes from them the disk
//! that a crash would leave: each unsynced write is dropped, kept or torn at sector borders, each
//! unsynced name change happened or did not, all by a seed. As on the file disk, a folder is durable
//! when it is made; only the names in it wait for `sync_dir`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gw_types::ports::{Disk, DiskEntry, DiskFile};
use gw_types::{PortError, PortErrorKind, PortResult};
use parking_lot::Mutex;

use crate::Rng;

pub use crate::fault::{Fault, FaultDisk, FaultOp};

/// A change of a file that is not on stable storage.
#[derive(Clone, Debug)]
enum Unsynced {
    Write(u64, Bytes),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
struct FileState {
    live: Vec<u8>,
    /// Empty and unused on a disk that does not forget.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

type Cell = Arc<Mutex<FileState>>;

/// A change of names that is not on stable storage, in the order made.
#[derive(Clone, Debug)]
enum NameChange {
    Create(String, Cell),
    Remove(String),
    Rename(String, String, Cell),
}

impl NameChange {
    fn name(&self) -> &str {
        match self {
            Self::Create(name, _) | Self::Remove(name) | Self::Rename(_, name, _) => name,
        }
    }
    fn apply(&self, names: &mut BTreeMap<String, Cell>) {
        match self {
            Self::Create(name, cell) => {
                names.insert(name.clone(), cell.clone());
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, cell) => {
                if names.get(from).is_some_and(|found| Arc::ptr_eq(found, cell)) {
                    names.remove(from);
                }
                names.insert(to.clone(), cell.clone());
            }
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    forgets: bool,
    capacity: Option<u64>,
    names: BTreeMap<String, Cell>,
    durable_names: BTreeMap<String, Cell>,
    name_changes: Vec<NameChange>,
    /// Changes still allowed before the power goes; `None`: it stays on.
    changes_left: Option<u64>,
    changes: u64,
    syncs: u64,
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn no_file(name: &str) -> PortError {
    PortError::definite(PortErrorKind::NotFound, format!("no file {name:?}"))
}

impl Model {
    /// Counts a change; an error when the power is off.
    fn change(&mut self) -> PortResult<()> {
        self.power()?;
        self.changes += 1;
        if let Some(left) = &mut self.changes_left {
            *left -= 1;
        }
        Ok(())
    }
    fn power(&self) -> PortResult<()> {
        match self.changes_left {
            Some(0) => Err(PortError::unknown(PortErrorKind::Unavailable, "the power is off")),
            _ => Ok(()),
        }
    }
    fn used(&self) -> u64 {
        self.names.values().map(|cell| cell.lock().live.len() as u64).sum()
    }
    fn rename_note(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        if self.forgets {
            self.name_changes.push(change);
        }
    }
    /// Whether a file may grow by so much.
    fn room(&self, growth: u64) -> PortResult<()> {
        match self.capacity {
            Some(capacity) if growth > 0 && self.used() + growth > capacity => Err(PortError::from_io(
                "extend a file",
                std::io::Error::from(std::io::ErrorKind::StorageFull),
            )),
            _ => Ok(()),
        }
    }
}

fn check_name(name: &str) -> PortResult<()> {
    let bad = name.is_empty()
        || name.contains('\0')
        || name.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if bad {
        return Err(PortError::definite(
            PortErrorKind::Refused,
            format!("{name:?} is not the name of a file"),
        ));
    }
    Ok(())
}

/// Checks a folder's name; the empty one is the root.
fn check_folder(folder: &str) -> PortResult<&str> {
    let folder = folder.trim_end_matches('/');
    if !folder.is_empty() {
        check_name(folder)?;
    }
    Ok(folder)
}

/// A disk in memory. Clones share it; it lives as long as one of them.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    model: Arc<Mutex<Model>>,
}

impl MemDisk {
    /// An empty disk without limit.
    pub fn new() -> Self {
        Self::default()
    }
    /// An empty disk that is full at `capacity` bytes (the sum of file lengths).
    pub fn with_capacity(capacity: u64) -> Self {
        let disk = Self::default();
        disk.set_capacity(Some(capacity));
        disk
    }
    /// Changes when it is full.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.model.lock().capacity = capacity;
    }
    /// The bytes of a file, `None` when there is none.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.model.lock().names.get(name).map(|cell| cell.lock().live.clone())
    }
    /// Flips bits of a stored byte behind the back of everybody; `false` when there is none.
    pub fn damage(&self, name: &str, offset: u64, mask: u8) -> bool {
        let model = self.model.lock();
        let Some(cell) = model.names.get(name) else { return false };
        let mut file = cell.lock();
        let at = offset as usize;
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= mask;
        }
        file.live.get_mut(at).map(|byte| *byte ^= mask).is_some()
    }
    /// Syncs so far, of files and folders.
    pub fn syncs(&self) -> u64 {
        self.model.lock().syncs
    }
    /// Changes so far: writes, lengths, names and syncs.
    pub fn changes(&self) -> u64 {
        self.model.lock().changes
    }
    /// An independent copy of what readers see, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let model = self.model.lock();
        let forgets = model.forgets;
        let names = model.names.iter().map(|(name, cell)| {
            let live = cell.lock().live.clone();
            let durable = if forgets { live.clone() } else { Vec::new() };
            (name.clone(), Arc::new(Mutex::new(FileState { live, durable, unsynced: Vec::new() })))
        });
        let names: BTreeMap<String, Cell> = names.collect();
        let durable_names = if forgets { names.clone() } else { BTreeMap::new() };
        let copy = Model { forgets, capacity: model.capacity, names, durable_names, ..Model::default() };
        Self { model: Arc::new(Mutex::new(copy)) }
    }

    fn handle(&self, cell: Cell, name: &str) -> Arc<dyn DiskFile> {
        Arc::new(MemFile { model: self.model.clone(), cell, name: name.into() })
    }
}

#[async_trait]
impl Disk for MemDisk {
    fn create(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        check_name(name)?;
        let mut model = self.model.lock();
        model.power()?;
        if model.names.contains_key(name) {
            return Err(PortError::definite(PortErrorKind::Unavailable, format!("{name:?} exists")));
        }
        model.change()?;
        let cell = Cell::default();
        model.rename_note(NameChange::Create(name.into(), cell.clone()));
        drop(model);
        Ok(self.handle(cell, name))
    }
    fn open(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        check_name(name)?;
        let model = self.model.lock();
        model.power()?;
        let cell = model.names.get(name).cloned().ok_or_else(|| no_file(name))?;
        drop(model);
        Ok(self.handle(cell, name))
    }
    fn remove(&self, name: &str) -> PortResult<()> {
        check_name(name)?;
        let mut model = self.model.lock();
        model.power()?;
        if !model.names.contains_key(name) {
            return Err(no_file(name));
        }
        model.change()?;
        model.rename_note(NameChange::Remove(name.into()));
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> PortResult<()> {
        check_name(from)?;
        check_name(to)?;
        let mut model = self.model.lock();
        model.power()?;
        let cell = model.names.get(from).cloned().ok_or_else(|| no_file(from))?;
        model.change()?;
        model.rename_note(NameChange::Rename(from.into(), to.into(), cell));
        Ok(())
    }
    fn list(&self, folder: &str) -> PortResult<Vec<DiskEntry>> {
        let folder = check_folder(folder)?;
        let model = self.model.lock();
        model.power()?;
        let within = model.names.iter().filter(|(name, _)| folder_of(name) == folder);
        Ok(within
            .map(|(name, cell)| DiskEntry { name: name.clone(), len: cell.lock().live.len() as u64 })
            .collect())
    }
    async fn sync_dir(&self, folder: &str) -> PortResult<()> {
        let folder = check_folder(folder)?;
        let mut model = self.model.lock();
        model.change()?;
        model.syncs += 1;
        let (durable, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut model.name_changes)
            .into_iter()
            .partition(|change| folder_of(change.name()) == folder);
        for change in durable {
            change.apply(&mut model.durable_names);
        }
        model.name_changes = rest;
        Ok(())
    }
    fn free_bytes(&self) -> PortResult<u64> {
        let model = self.model.lock();
        model.power()?;
        Ok(model.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(model.used())))
    }
}

#[derive(Debug)]
struct MemFile {
    model: Arc<Mutex<Model>>,
    cell: Cell,
    name: String,
}

impl MemFile {
    fn change(&self, change: Unsynced) -> PortResult<()> {
        let mut model = self.model.lock();
        model.power()?;
        let now = self.cell.lock().live.len() as u64;
        let needed = match &change {
            Unsynced::Write(offset, bytes) => offset + bytes.len() as u64,
            Unsynced::SetLen(len) => *len,
        };
        model.room(needed.saturating_sub(now))?;
        model.change()?;
        let mut file = self.cell.lock();
        apply(&mut file.live, &change);
        if model.forgets {
            file.unsynced.push(change);
        }
        Ok(())
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Unsynced) {
    match change {
        Unsynced::Write(offset, written) => put(bytes, *offset as usize, written),
        Unsynced::SetLen(len) => set_len(bytes, *len as usize),
    }
}

/// As `Vec::resize` with zeros. A fresh vector of zeros costs nothing until it is touched, and segment
/// files are 32 MiB of nearly nothing.
fn set_len(bytes: &mut Vec<u8>, len: usize) {
    if len <= bytes.len() {
        bytes.truncate(len);
        return;
    }
    let mut longer = vec![0; len];
    longer[..bytes.len()].copy_from_slice(bytes);
    *bytes = longer;
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

#[async_trait]
impl DiskFile for MemFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> PortResult<()> {
        self.change(Unsynced::Write(offset, Bytes::copy_from_slice(bytes)))
    }
    async fn read_at(&self, offset: u64, len: usize) -> PortResult<Bytes> {
        self.model.lock().power()?;
        let file = self.cell.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(len);
        file.live.get(range).map(Bytes::copy_from_slice).ok_or_else(|| {
            PortError::definite(
                PortErrorKind::Corrupt,
                format!("{} ends before byte {offset} + {len}", self.name),
            )
        })
    }
    async fn sync(&self) -> PortResult<()> {
        let mut model = self.model.lock();
        model.change()?;
        model.syncs += 1;
        let mut file = self.cell.lock();
        for change in std::mem::take(&mut file.unsynced) {
            apply(&mut file.durable, &change);
        }
        Ok(())
    }
    fn len(&self) -> PortResult<u64> {
        self.model.lock().power()?;
        Ok(self.cell.lock().live.len() as u64)
    }
    fn set_len(&self, len: u64) -> PortResult<()> {
        self.change(Unsynced::SetLen(len))
    }
}

/// A disk in memory that remembers only what was synced. Clones share it.
#[derive(Clone, Debug)]
pub struct ForgettingDisk {
    disk: MemDisk,
}

impl Default for ForgettingDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl ForgettingDisk {
    /// An empty disk.
    pub fn new() -> Self {
        let disk = MemDisk::default();
        disk.model.lock().forgets = true;
        Self { disk }
    }
    /// The same disk with [`MemDisk`]'s means to look at it and damage it.
    pub fn mem(&self) -> &MemDisk {
        &self.disk
    }
    /// Lets `changes` more changes (writes, lengths, names, syncs) pass; then the power is off, and
    /// every call is an error that changes nothing.
    pub fn cut_after(&self, changes: u64) {
        self.disk.model.lock().changes_left = Some(changes);
    }
    /// An independent copy, with what is not synced still not synced. The power is on.
    #[must_use]
    pub fn copy(&self) -> Self {
        let model = self.disk.model.lock();
        let mut copies: Vec<(Cell, Cell)> = Vec::new();
        // A file may stand under several names; it must stay one file.
        let mut copy_of = |cell: &Cell| -> Cell {
            if let Some((_, copy)) = copies.iter().find(|(old, _)| Arc::ptr_eq(old, cell)) {
                return copy.clone();
            }
            let copy = Arc::new(Mutex::new(cell.lock().clone()));
            copies.push((cell.clone(), copy.clone()));
            copy
        };
        let names = model.names.iter().map(|(name, cell)| (name.clone(), copy_of(cell))).collect();
        let durable_names =
            model.durable_names.iter().map(|(name, cell)| (name.clone(), copy_of(cell))).collect();
        let name_changes = model.name_changes.iter().map(|change| match change {
            NameChange::Create(name, cell) => NameChange::Create(name.clone(), copy_of(cell)),
            NameChange::Remove(name) => NameChange::Remove(name.clone()),
            NameChange::Rename(from, to, cell) => NameChange::Rename(from.clone(), to.clone(), copy_of(cell)),
        });
        let name_changes = name_changes.collect();
        let capacity = model.capacity;
        let copy = Model { forgets: true, capacity, names, durable_names, name_changes, ..Model::default() };
        Self { disk: MemDisk { model: Arc::new(Mutex::new(copy)) } }
    }
    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.disk.model.lock().changes_left == Some(0)
    }
    /// The process was killed and started again: nothing is lost, but what was not synced still is not.
    pub fn restart(&self) {
        self.disk.model.lock().changes_left = None;
    }

    /// The disk as a power cut now would leave it, one of many possible ones, chosen by `seed`. This
    /// one is not changed.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let model = self.disk.model.lock();
        let mut names = model.durable_names.clone();
        for change in &model.name_changes {
            if rng.one_in(2) {
                change.apply(&mut names);
            }
        }
        let mut left = BTreeMap::new();
        for (name, cell) in names {
            let bytes = survive(&cell.lock(), &mut rng.fork());
            let file = FileState { live: bytes.clone(), durable: bytes, unsynced: Vec::new() };
            left.insert(name, Arc::new(Mutex::new(file)));
        }
        let model = Model {
            forgets: true,
            capacity: model.capacity,
            names: left.clone(),
            durable_names: left,
            ..Model::default()
        };
        Self { disk: MemDisk { model: Arc::new(Mutex::new(model)) } }
    }
}

/// What is left of a file. One draw decides how much luck the whole file has, so that runs with
/// everything lost, everything kept and any mixture all come up.
fn survive(file: &FileState, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = file.durable.clone();
    let luck = rng.below(5);
    for change in &file.unsynced {
        match (rng.below(4) + luck, change) {
            (0..=1, _) => {}
            (2..=4, Unsynced::Write(offset, written)) => tear(&mut bytes, *offset as usize, written, rng),
            (_, change) => apply(&mut bytes, change),
        }
    }
    bytes
}

/// Keeps some sectors of a write.
fn tear(bytes: &mut Vec<u8>, offset: usize, written: &[u8], rng: &mut Rng) {
    let sector = if rng.one_in(2) { 512 } else { 4096 };
    if rng.one_in(2) && bytes.len() < offset + written.len() {
        bytes.resize(offset + written.len(), 0);
    }
    let mut at = 0;
    while at < written.len() {
        let end = (at + sector - (offset + at) % sector).min(written.len());
        if rng.one_in(2) {
            put(bytes, offset + at, &written[at..end]);
        }
        at = end;
    }
}

#[async_trait]
impl Disk for ForgettingDisk {
    fn create(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        self.disk.create(name)
    }
    fn open(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }
    fn remove(&self, name: &str) -> PortResult<()> {
        self.disk.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> PortResult<()> {
        self.disk.rename(from, to)
    }
    fn list(&self, folder: &str) -> PortResult<Vec<DiskEntry>> {
        self.disk.list(folder)
    }
    async fn sync_dir(&self, folder: &str) -> PortResult<()> {
        self.disk.sync_dir(folder).await
    }
    fn free_bytes(&self) -> PortResult<u64> {
        self.disk.free_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn synced_bytes_and_names_survive_every_power_cut() {
        let disk = ForgettingDisk::new();
        let file = disk.create("a/one").unwrap();
        file.write_at(0, b"synced").unwrap();
        file.sync().await.unwrap();
        disk.sync_dir("a").await.unwrap();
        for seed in 0..100 {
            assert_eq!(disk.power_cut(seed).mem().contents("a/one").unwrap(), b"synced");
        }
    }

    #[tokio::test]
    async fn unsynced_writes_and_names_are_lost_kept_or_torn() {
        let disk = ForgettingDisk::new();
        let file = disk.create("one").unwrap();
        file.write_at(0, &[1; 8192]).unwrap();
        let cuts: Vec<_> = (0..200).map(|seed| disk.power_cut(seed).mem().contents("one")).collect();
        assert!(cuts.contains(&None), "the name may vanish");
        assert!(cuts.contains(&Some(Vec::new())), "all bytes may vanish");
        assert!(cuts.contains(&Some(vec![1; 8192])), "or nothing");
        let torn = |bytes: &Option<Vec<u8>>| bytes.as_ref().is_some_and(|bytes| bytes.contains(&0));
        assert!(cuts.iter().any(torn), "or some sectors");
        assert_eq!(cuts[7], disk.power_cut(7).mem().contents("one"), "same seed, same cut");
    }

    #[tokio::test]
    async fn after_the_cut_nothing_changes_and_everything_fails() {
        let disk = ForgettingDisk::new();
        let file = disk.create("one").unwrap();
        disk.cut_after(1);
        file.write_at(0, b"last").unwrap();
        assert!(disk.is_off());
        assert!(file.sync().await.is_err());
        assert!(file.write_at(0, b"more").is_err());
        assert!(disk.open("one").is_err());
        disk.restart();
        assert_eq!(disk.open("one").unwrap().read_at(0, 4).await.unwrap(), "last");
    }
}
