//! The fragment store: 8 MiB files named by their SHA-256, and who holds which.
//!
//! A put writes to dir/tmp while hashing, syncs the file, renames it to its place, syncs the
//! directory, appends to the index and syncs that; only then is it answered. A crash in between
//! leaves a file in tmp or a fragment that no deal holds; both are removed at the next start. One
//! fragment held by several deals is stored once. The zero fragment is a line of the index and takes
//! no room. Everything here blocks: callers are on blocking threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use gw_miner_wire::ZERO_FRAGMENT;
use gw_types::{FRAGMENT_BYTES, Fid, FragmentIndex, Hash32};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};

use crate::index::{IndexLog, Record};
use crate::space::{Reservation, Space};

/// Why a fragment was not stored. Nothing is left behind.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// It has not 8 MiB.
    Size,
    /// Its SHA-256 is another.
    Hash,
    /// The disk is full, or the miner's capacity is used up.
    Full,
    /// The disk failed.
    Io(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

/// What a deal holds here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldDeal {
    pub(crate) fragments: BTreeSet<Hash32>,
    pub(crate) reported: Option<FragmentIndex>,
    /// Grows with each put, so that a removal can see that one came in between.
    pub(crate) puts: u64,
}

#[derive(Debug, Default)]
struct Held {
    deals: BTreeMap<Fid, HeldDeal>,
    /// How many deals hold a fragment.
    holders: HashMap<Hash32, u32>,
}

impl Held {
    fn add(&mut self, fid: Fid, fragment: Hash32) {
        let deal = self.deals.entry(fid).or_default();
        deal.puts += 1;
        deal.reported = None;
        if deal.fragments.insert(fragment) {
            *self.holders.entry(fragment).or_default() += 1;
        }
    }
    /// Takes a deal out and names the fragments that nobody holds any more.
    fn remove(&mut self, fid: &Fid) -> Vec<Hash32> {
        let deal = self.deals.remove(fid).unwrap_or_default();
        let mut unheld = Vec::new();
        for fragment in deal.fragments {
            let Some(holders) = self.holders.get_mut(&fragment) else { continue };
            *holders -= 1;
            if *holders == 0 {
                self.holders.remove(&fragment);
                unheld.push(fragment);
            }
        }
        unheld
    }
    fn records(&self) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.holders.len());
        for (fid, deal) in &self.deals {
            records.extend(deal.fragments.iter().map(|fragment| Record::Held(*fid, *fragment)));
            records.extend(deal.reported.map(|column| Record::Reported(*fid, column)));
        }
        records
    }
}

/// The store of one miner.
#[derive(Debug)]
pub(crate) struct FragmentStore {
    dir: PathBuf,
    pub(crate) space: Arc<Space>,
    held: RwLock<Held>,
    /// Taken for the whole of every change on disk, before `held`.
    index: Mutex<IndexLog>,
    next_tmp: AtomicU64,
    failed: AtomicBool,
    _lock: File,
}

impl FragmentStore {
    /// Opens or makes the store in `dir`, and clears away what a crash has left.
    pub(crate) fn open(dir: &Path, capacity_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(dir.join("fragments"))?;
        let lock = lock(dir)?;
        match fs::remove_dir_all(dir.join("tmp")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(dir.join("tmp"))?,
        }
        let (records, bad_count) = IndexLog::read(dir)?;
        if bad_count > 0 {
            tracing::warn!(bad_count, dir = %dir.display(), "records of the index could not be read and are left out");
        }
        let mut held = replay(records);
        let stored = scan(dir, &held)?;
        forget_lost(&mut held, &stored);
        let index = IndexLog::create(dir, &held.records())?;
        let space = Space::new(capacity_bytes, stored.len() as u64 * FRAGMENT_BYTES);
        Ok(Self {
            dir: dir.to_owned(),
            space,
            held: RwLock::new(held),
            index: Mutex::new(index),
            next_tmp: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            _lock: lock,
        })
    }
    /// Whether this deal holds the fragment here.
    pub(crate) fn holds(&self, fid: &Fid, fragment: &Hash32) -> bool {
        self.held.read().deals.get(fid).is_some_and(|deal| deal.fragments.contains(fragment))
    }
    /// Whether the bytes are here, for whichever deal.
    pub(crate) fn has_bytes(&self, fragment: &Hash32) -> bool {
        *fragment == ZERO_FRAGMENT || self.held.read().holders.contains_key(fragment)
    }
    pub(crate) fn deal(&self, fid: &Fid) -> Option<HeldDeal> {
        self.held.read().deals.get(fid).cloned()
    }
    pub(crate) fn fids(&self) -> Vec<Fid> {
        self.held.read().deals.keys().copied().collect()
    }
    /// Deals whose column the chain does not know to be here.
    pub(crate) fn unreported(&self) -> Vec<Fid> {
        self.held
            .read()
            .deals
            .iter()
            .filter(|(_, deal)| deal.reported.is_none())
            .map(|(fid, _)| *fid)
            .collect()
    }
    /// False when the disk may not be believed until a restart.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }
    pub(crate) fn open_fragment(&self, fragment: &Hash32) -> io::Result<File> {
        File::open(self.path(fragment))
    }
    /// Begins a put.
    pub(crate) fn begin(&self, room: Reservation) -> Result<Incoming, StoreError> {
        let path = self.dir.join("tmp").join(self.next_tmp.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::create_new(&path)?;
        Ok(Incoming { path: Tmp(path), file, hasher: Sha256::new(), len: 0, room })
    }
    /// Ends a put: checks, makes it durable, and lets the deal hold it.
    pub(crate) fn finish(&self, incoming: Incoming, fid: Fid, fragment: Hash32) -> Result<(), StoreError> {
        let Incoming { path, file, hasher, len, room } = incoming;
        if len != FRAGMENT_BYTES {
            return Err(StoreError::Size);
        }
        if Hash32(hasher.finalize().into()) != fragment {
            return Err(StoreError::Hash);
        }
        file.sync_all()?;
        drop(file);
        let mut index = self.index.lock();
        if self.has_bytes(&fragment) {
            return self.hold(&mut index, fid, fragment);
        }
        let place = self.path(&fragment);
        self.install(&path.0, &place)?;
        if let Err(error) = self.hold(&mut index, fid, fragment) {
            // Not held by anybody, so not to be found by anybody; the next start would remove it too.
            let _ = fs::remove_file(&place);
            return Err(error);
        }
        room.fill();
        Ok(())
    }
    /// Lets a deal hold a fragment whose bytes are here (or are zeros).
    pub(crate) fn hold_present(&self, fid: Fid, fragment: Hash32) -> Result<bool, StoreError> {
        let mut index = self.index.lock();
        if !self.has_bytes(&fragment) {
            return Ok(false);
        }
        self.hold(&mut index, fid, fragment)?;
        Ok(true)
    }
    /// Remembers that the chain knows of this column.
    pub(crate) fn set_reported(&self, fid: Fid, column: FragmentIndex) -> Result<(), StoreError> {
        let mut index = self.index.lock();
        if !self.held.read().deals.contains_key(&fid) {
            return Ok(());
        }
        self.append(&mut index, Record::Reported(fid, column))?;
        if let Some(deal) = self.held.write().deals.get_mut(&fid) {
            deal.reported = Some(column);
        }
        Ok(())
    }
    /// Removes a deal and the bytes that no other deal holds, unless a put came since `puts` was
    /// read. Says whether it did.
    pub(crate) fn drop_deal(&self, fid: Fid, puts: u64) -> Result<bool, StoreError> {
        let mut index = self.index.lock();
        if self.held.read().deals.get(&fid).is_none_or(|deal| deal.puts != puts) {
            return Ok(false);
        }
        self.append(&mut index, Record::Dropped(fid))?;
        let unheld = self.held.write().remove(&fid);
        for fragment in unheld.into_iter().filter(|fragment| *fragment != ZERO_FRAGMENT) {
            match fs::remove_file(self.path(&fragment)) {
                Ok(()) => self.space.release(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.space.release(),
                Err(error) => {
                    tracing::warn!(%fragment, %error, "a fragment that nobody holds stays until the next start")
                }
            }
        }
        let live = self.held.read().records();
        if index.is_mostly_history(live.len()) {
            index.rewrite(&live)?;
        }
        Ok(true)
    }

    /// A put for a deal that was reported begins a new life of it (deleted, then declared again with
    /// the same bytes): a second `Held` behind `Reported` makes it unreported, here and at replay.
    fn hold(&self, index: &mut IndexLog, fid: Fid, fragment: Hash32) -> Result<(), StoreError> {
        let is_known = self
            .held
            .read()
            .deals
            .get(&fid)
            .is_some_and(|deal| deal.reported.is_none() && deal.fragments.contains(&fragment));
        if !is_known {
            self.append(index, Record::Held(fid, fragment))?;
        }
        self.held.write().add(fid, fragment);
        Ok(())
    }
    fn append(&self, index: &mut IndexLog, record: Record) -> Result<(), StoreError> {
        let appended = index.append(&[record]);
        self.failed.store(index.is_poisoned(), Ordering::Relaxed);
        Ok(appended?)
    }
    fn install(&self, from: &Path, place: &Path) -> io::Result<()> {
        let folder = place.parent().expect("a fragment's path has a folder");
        if let Err(error) = fs::create_dir(folder) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
        } else {
            File::open(self.dir.join("fragments"))?.sync_all()?;
        }
        fs::rename(from, place)?;
        File::open(folder)?.sync_all().inspect_err(|_| {
            // The name may or may not be durable; without an index record it will not count.
            let _ = fs::remove_file(place);
        })
    }
    fn path(&self, fragment: &Hash32) -> PathBuf {
        let name = fragment.to_hex();
        self.dir.join("fragments").join(&name[..2]).join(name)
    }
}

/// A put under way. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Incoming {
    path: Tmp,
    file: File,
    hasher: Sha256,
    len: u64,
    room: Reservation,
}

impl Incoming {
    /// Writes and hashes.
    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> Result<(), StoreError> {
        for piece in pieces {
            self.len += piece.len() as u64;
            if self.len > FRAGMENT_BYTES {
                return Err(StoreError::Size);
            }
            self.hasher.update(piece);
            self.file.write_all(piece)?;
        }
        Ok(())
    }
}

/// A file in tmp; removed when dropped, which finds nothing once it was renamed.
#[derive(Debug)]
struct Tmp(PathBuf);

impl Drop for Tmp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn lock(dir: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another miner runs in this directory"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn replay(records: Vec<Record>) -> Held {
    let mut held = Held::default();
    for record in records {
        match record {
            Record::Held(fid, fragment) => held.add(fid, fragment),
            Record::Reported(fid, column) => {
                if let Some(deal) = held.deals.get_mut(&fid) {
                    deal.reported = Some(column);
                }
            }
            Record::Dropped(fid) => drop(held.remove(&fid)),
        }
    }
    held
}

/// Fragments on disk that somebody holds; all other files go.
fn scan(dir: &Path, held: &Held) -> io::Result<BTreeSet<Hash32>> {
    let mut stored = BTreeSet::new();
    for folder in fs::read_dir(dir.join("fragments"))? {
        for entry in fs::read_dir(folder?.path())? {
            let entry = entry?;
            let fragment = entry.file_name().to_str().and_then(Hash32::from_hex);
            let whole = entry.metadata()?.len() == FRAGMENT_BYTES;
            match fragment.filter(|fragment| whole && held.holders.contains_key(fragment)) {
                Some(fragment) => drop(stored.insert(fragment)),
                None => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(stored)
}

/// Takes out of the index what is not on the disk, loudly: the chain believes that we have it.
fn forget_lost(held: &mut Held, stored: &BTreeSet<Hash32>) {
    let is_lost = |fragment: &Hash32| *fragment != ZERO_FRAGMENT && !stored.contains(fragment);
    held.holders.retain(|fragment, _| !is_lost(fragment));
    for (fid, deal) in &mut held.deals {
        deal.fragments.retain(|fragment| {
            if is_lost(fragment) {
                tracing::error!(%fid, %fragment, "a fragment that was stored is not on the disk");
            }
            !is_lost(fragment)
        });
    }
    held.deals.retain(|_, deal| !deal.fragments.is_empty());
}
