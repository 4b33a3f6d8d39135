//! Segment files: `segments/<number, 16 hex digits>`, 32 MiB each, sparse.
//!
//! A file gets its full length and a durable name before anything refers to it, so a file that is
//! missing later was removed on purpose: replaying an old journal record into it is ignored. Bytes
//! are written in place into the operating system's cache; [`SegmentFiles::sync`] makes those of one
//! file durable and serves all writers that wait for it with one device sync. Handles are kept open up
//! to a bound; one with unsynced bytes is never closed, because its sync error would be lost with it.
//!
//! After a failed sync nothing of this disk is believed: every later write and sync fails until a
//! restart (the same rule as the journal's).

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use gw_db::InlineSink;
use gw_types::ports::{Disk, DiskFile};
use gw_types::{PortError, PortErrorKind, PortResult, SEGMENT_BYTES, SegmentSeq};
use parking_lot::Mutex;

use crate::rows::Filled;

const FOLDER: &str = "segments";
/// Files kept open. More are open while they have unsynced bytes.
const HANDLES_MAX: usize = 256;
/// Zeros written at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

fn name(seq: SegmentSeq) -> String {
    format!("{FOLDER}/{:016x}", seq.0)
}

fn seq_of(name: &str) -> Option<SegmentSeq> {
    let digits = name.strip_prefix(FOLDER)?.strip_prefix('/')?;
    let plain = digits.len() == 16 && !digits.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'+');
    plain.then(|| u64::from_str_radix(digits, 16).ok().map(SegmentSeq)).flatten()
}

/// The files of all segments that are on this machine. It is also the sink that `gw-db` gives inline
/// bytes to, so it is made first, then the database, then [`crate::Data`].
#[derive(Debug)]
pub struct SegmentFiles {
    disk: Arc<dyn Disk>,
    handles: Mutex<Handles>,
    /// Segments with inline bytes since the last [`InlineSink::sync_placed`].
    placed: Mutex<BTreeSet<SegmentSeq>>,
    poison: OnceLock<String>,
    /// The disk had no room for the last write that asked for some.
    is_full: AtomicBool,
}

#[derive(Debug, Default)]
struct Handles {
    open: HashMap<SegmentSeq, Handle>,
    uses: u64,
}

#[derive(Debug)]
struct Handle {
    file: Arc<SegmentFile>,
    used_at: u64,
}

#[derive(Debug)]
struct SegmentFile {
    file: Arc<dyn DiskFile>,
    /// Writes that have returned.
    writes: AtomicU64,
    /// Of them, those that a sync has covered.
    synced: AtomicU64,
    gate: tokio::sync::Mutex<()>,
}

impl SegmentFile {
    fn is_clean(&self) -> bool {
        self.writes.load(Ordering::Acquire) == self.synced.load(Ordering::Acquire)
    }
}

impl Handles {
    fn keep(&mut self, seq: SegmentSeq, file: Arc<dyn DiskFile>) -> Arc<SegmentFile> {
        while self.open.len() >= HANDLES_MAX {
            let idle = self
                .open
                .iter()
                .filter(|(_, handle)| Arc::strong_count(&handle.file) == 1 && handle.file.is_clean());
            let Some(oldest) = idle.min_by_key(|(_, handle)| handle.used_at).map(|(seq, _)| *seq) else {
                break;
            };
            self.open.remove(&oldest);
        }
        let file = SegmentFile {
            file,
            writes: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            gate: tokio::sync::Mutex::new(()),
        };
        self.uses += 1;
        // Two readers may open the same file at once; all must share one state.
        let used_at = self.uses;
        self.open.entry(seq).or_insert_with(|| Handle { file: Arc::new(file), used_at }).file.clone()
    }
}

impl SegmentFiles {
    /// The segment files of a disk.
    pub fn new(disk: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Self {
            disk,
            handles: Mutex::default(),
            placed: Mutex::default(),
            poison: OnceLock::new(),
            is_full: AtomicBool::new(false),
        })
    }

    /// Why nothing is written any more, if so.
    pub fn poisoned(&self) -> Option<String> {
        self.poison.get().cloned()
    }

    /// The disk that the files are on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// When a file was used last, in uses of any; `None`: so long ago that it is not open any more.
    pub(crate) fn used_at(&self, seq: SegmentSeq) -> Option<u64> {
        self.handles.lock().open.get(&seq).map(|handle| handle.used_at)
    }

    /// Whether the disk has no room for segment files: it had none at the last write, and has not enough
    /// for two of them now.
    pub(crate) fn is_full(&self) -> bool {
        if !self.is_full.load(Ordering::Relaxed) {
            return false;
        }
        let has_room = self.disk.free_bytes().is_ok_and(|free| free >= 2 * SEGMENT_BYTES);
        if has_room {
            self.is_full.store(false, Ordering::Relaxed);
        }
        !has_room
    }

    /// Notes what a write says about room.
    fn noted(&self, written: PortResult<()>) -> PortResult<()> {
        match &written {
            Ok(()) => self.is_full.store(false, Ordering::Relaxed),
            Err(error) if error.kind() == PortErrorKind::Full => {
                if !self.is_full.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the disk has no room for segment files");
                }
            }
            Err(_) => {}
        }
        written
    }

    pub(crate) fn free_bytes(&self) -> PortResult<u64> {
        self.disk.free_bytes()
    }

    /// Numbers of the files that are there. Foreign names are left alone.
    pub(crate) fn list(&self) -> PortResult<BTreeSet<SegmentSeq>> {
        Ok(self.disk.list(FOLDER)?.iter().filter_map(|entry| seq_of(&entry.name)).collect())
    }

    /// Makes the file of a new segment: full length, all zeros, durable name.
    pub(crate) async fn create(&self, seq: SegmentSeq) -> PortResult<()> {
        self.believe()?;
        let file = match self.disk.create(&name(seq)) {
            Ok(file) => file,
            Err(error) => return self.noted(Err(error)),
        };
        let made = async {
            file.set_len(SEGMENT_BYTES)?;
            file.sync().await?;
            self.disk.sync_dir(FOLDER).await
        };
        if let Err(error) = self.noted(made.await) {
            // It holds nothing yet, so a failed sync of it poisons nobody; the next one says so itself.
            if let Err(error) = self.disk.remove(&name(seq)) {
                tracing::warn!(%error, %seq, "a segment file that could not be made stays behind until the next start");
            }
            return Err(error);
        }
        self.handles.lock().keep(seq, file);
        Ok(())
    }

    fn file(&self, seq: SegmentSeq) -> PortResult<Arc<SegmentFile>> {
        {
            let mut handles = self.handles.lock();
            handles.uses += 1;
            let uses = handles.uses;
            if let Some(handle) = handles.open.get_mut(&seq) {
                handle.used_at = uses;
                return Ok(handle.file.clone());
            }
        }
        let file = self.disk.open(&name(seq))?;
        Ok(self.handles.lock().keep(seq, file))
    }

    /// Writes into the operating system's cache.
    pub(crate) fn write(&self, seq: SegmentSeq, offset: u64, bytes: &[u8]) -> PortResult<()> {
        assert!(offset + bytes.len() as u64 <= SEGMENT_BYTES, "a write stays in its segment");
        self.believe()?;
        let file = self.file(seq)?;
        let written = file.file.write_at(offset, bytes);
        file.writes.fetch_add(1, Ordering::AcqRel);
        self.noted(written)
    }

    /// Exactly the bytes of the range.
    pub(crate) async fn read(&self, seq: SegmentSeq, range: Range<u64>) -> PortResult<Bytes> {
        let len = usize::try_from(range.end - range.start)
            .map_err(|_| PortError::definite(PortErrorKind::Refused, "a read longer than memory"))?;
        let file = self.file(seq)?;
        file.file.read_at(range.start, len).await
    }

    /// Returns when everything written to the file before the call is on stable storage.
    pub(crate) async fn sync(&self, seq: SegmentSeq) -> PortResult<()> {
        self.believe()?;
        let file = self.file(seq)?;
        let mine = file.writes.load(Ordering::Acquire);
        let _turn = file.gate.lock().await;
        if file.synced.load(Ordering::Acquire) >= mine {
            return Ok(());
        }
        self.believe()?;
        let covered = file.writes.load(Ordering::Acquire);
        if let Err(error) = file.file.sync().await {
            let first = self.poison.set(format!("segment {seq}: {error}")).is_ok();
            if first {
                tracing::error!(%error, %seq, "a segment file failed to sync; nothing is staged until a restart");
            }
            return Err(PortError::unknown(PortErrorKind::Poisoned, "a segment file failed to sync")
                .with_source(error));
        }
        file.synced.fetch_max(covered, Ordering::AcqRel);
        Ok(())
    }

    /// Makes all bytes of `holes` (in order, the last one up to the end) zeros. Not synced.
    pub(crate) fn zero(&self, seq: SegmentSeq, holes: &[Filled]) -> PortResult<()> {
        self.believe()?;
        let file = self.file(seq)?;
        for hole in holes {
            if u64::from(hole.end) == SEGMENT_BYTES {
                // Cheaper than writing, and the end stays sparse.
                file.file.set_len(u64::from(hole.start))?;
                file.file.set_len(SEGMENT_BYTES)?;
            } else {
                let mut at = hole.start;
                while at < hole.end {
                    let len = (hole.end - at).min(ZEROS.len() as u32);
                    file.file.write_at(u64::from(at), &ZEROS[..len as usize])?;
                    at += len;
                }
            }
        }
        file.writes.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Removes the file, if it is there. Readers that have it open keep it.
    pub(crate) fn remove(&self, seq: SegmentSeq) -> PortResult<()> {
        self.handles.lock().open.remove(&seq);
        self.placed.lock().remove(&seq);
        match self.disk.remove(&name(seq)) {
            Err(error) if error.kind() == PortErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn believe(&self) -> PortResult<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(why) => Err(PortError::definite(PortErrorKind::Poisoned, why.clone())),
        }
    }
}

#[async_trait]
impl InlineSink for SegmentFiles {
    fn place(&self, segment: SegmentSeq, offset: u64, bytes: &[u8]) -> PortResult<()> {
        if offset.saturating_add(bytes.len() as u64) > SEGMENT_BYTES {
            let what = format!("inline bytes at {offset} reach beyond segment {segment}");
            return Err(PortError::definite(PortErrorKind::Corrupt, what));
        }
        match self.write(segment, offset, bytes) {
            Ok(()) => {
                self.placed.lock().insert(segment);
                Ok(())
            }
            Err(error) if error.kind() == PortErrorKind::NotFound => {
                tracing::debug!(%segment, "inline bytes of a segment whose file is gone are not placed again");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn sync_placed(&self) -> PortResult<()> {
        self.believe()?;
        let placed = std::mem::take(&mut *self.placed.lock());
        for seq in &placed {
            match self.sync(*seq).await {
                // Removed meanwhile: nobody needs its bytes here any more.
                Err(error) if error.kind() == PortErrorKind::NotFound => {}
                Err(error) => {
                    self.placed.lock().extend(&placed);
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SegmentSeq, name, seq_of};

    #[test]
    fn only_our_own_names_are_segments() {
        assert_eq!(seq_of(&name(SegmentSeq(0xab))), Some(SegmentSeq(0xab)));
        assert_eq!(name(SegmentSeq(0xab)), "segments/00000000000000ab");
        for other in
            ["segments/ab", "segments/00000000000000AB", "segments/+0000000000000ab", "x/00000000000000ab"]
        {
            assert_eq!(seq_of(other), None);
        }
    }
}
