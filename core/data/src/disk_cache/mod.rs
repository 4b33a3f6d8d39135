//! Frames that miners sent, kept on this disk: bounded, sealed, and safe to lose.
//!
//! ```text
//!   miners --frames--> probation chunks --evicted, was hit--> main chunks
//!                           |                                     ^ evicted, was hit: once more
//!                           '--evicted, not hit--> ghosts --asked for again--'
//! ```
//!
//! Frames are appended to chunk files (`cache/<number>`, [`chunk`]), and the index in memory says where
//! each is. What is evicted is always a whole chunk, oldest first, so there is no free space to manage
//! and the disk sees long sequential writes. Which chunk follows S3-FIFO (Yang et al., SOSP 2023): new
//! frames are on probation; those that were hit meanwhile move to the main queue, of the others only
//! the names are remembered for a while, and one that is asked for again goes to the main queue at once.
//! A pass over a huge object therefore runs through probation, a tenth of the cache, and leaves
//! alone what is read again and again. As long as there is room, probation may use all of it.
//!
//! Promises. Files hold sealed frames only. They never take more than `bytes_max`, and less when the
//! disk has little room left. Nothing is synced, and nothing read is believed before its tags opened:
//! whoever finds a frame that does not open says so ([`DiskCache::reject`]) and fetches it again. A full
//! disk or a failing device removes the cache and turns it off, with an alarm, until it is dropped by
//! the operator or the process starts again; reads go on. A disk that does not answer is waited for once,
//! and then not asked for a minute. After a restart the chunks that were closed
//! (all of them after a graceful stop) are used again. Memory: about 100 bytes a frame, of at most
//! `entries_max` frames.

mod chunk;
mod ghost;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gw_types::ports::Disk;
use gw_types::{PortError, PortErrorKind};
use parking_lot::Mutex;

use crate::config::DiskCacheStatus;
use crate::read::SealedRun;
use chunk::Entry;
use state::{Lane, Place, State, Victim};

pub use chunk::FOLDER as DISK_CACHE_FOLDER;

/// A cache below this is none: it would be a few chunks.
pub(crate) const BYTES_MIN: u64 = 16 << 20;
/// A cache has about so many chunks.
const CHUNKS: u64 = 256;
/// Sizes of a chunk: it must take any run, and its offsets fit 32 bits.
const CHUNK_BYTES_MIN: u64 = 1 << 20;
const CHUNK_BYTES_MAX: u64 = 1 << 30;
/// Frames are counted as if they had at least this many bytes on average, beside a first allowance.
const ENTRY_BYTES_MEAN: u64 = 64 << 10;
const ENTRIES_MIN: u64 = 128 << 10;
/// Bytes copied at a time when frames move to the main queue.
const COPY_BYTES_MAX: u32 = 1 << 20;

/// How long a read may take; miners would have answered by then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long the cache is left alone after a read that took longer.
const REST: Duration = Duration::from_secs(60);

/// Sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of all chunk files.
    pub(crate) bytes_max: u64,
    /// Room that the disk keeps for others.
    pub(crate) free_bytes_min: u64,
    pub(crate) chunk_bytes: u64,
    pub(crate) entries_max: usize,
}

impl Limits {
    pub(crate) fn new(bytes_max: u64, free_bytes_min: u64) -> Self {
        Self {
            bytes_max,
            free_bytes_min,
            chunk_bytes: (bytes_max / CHUNKS).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
            entries_max: usize::try_from(bytes_max / ENTRY_BYTES_MEAN + ENTRIES_MIN).unwrap_or(usize::MAX),
        }
    }
}

/// The cache. See the module's page.
pub(crate) struct DiskCache {
    disk: Arc<dyn Disk>,
    limits: Limits,
    state: Mutex<State>,
    evicting: AtomicBool,
    /// Not used before this time of the clock, in milliseconds.
    rests_until_ms: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl DiskCache {
    /// Takes up what an earlier life left; `None` (and nothing left) where it is too small to be one.
    pub(crate) async fn open(disk: Arc<dyn Disk>, limits: Limits) -> Option<Arc<Self>> {
        if limits.bytes_max < BYTES_MIN {
            chunk::remove_all(&*disk);
            return None;
        }
        let state = Mutex::new(State::recover(&*disk, limits).await);
        Some(Arc::new(Self {
            disk,
            limits,
            state,
            evicting: AtomicBool::default(),
            rests_until_ms: AtomicU64::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
        }))
    }

    /// All frames of the run, sealed and not verified, or nothing.
    pub(crate) async fn run(&self, run: &SealedRun) -> Option<Bytes> {
        let places = self.state.lock().find(run)?;
        if let [place] = &places[..] {
            return self.read(place).await;
        }
        let mut sealed = BytesMut::with_capacity(run.sealed_len() as usize);
        for place in &places {
            sealed.extend_from_slice(&self.read(place).await?);
        }
        Some(sealed.freeze())
    }

    async fn read(&self, place: &Place) -> Option<Bytes> {
        match place.file.read_at(u64::from(place.at), place.len as usize).await {
            Ok(bytes) => Some(bytes),
            // The file is shorter than its index says: an unclean end. The tags would have told as much.
            Err(error) if error.kind() == PortErrorKind::Corrupt => None,
            Err(error) => {
                self.turn_off(&error);
                None
            }
        }
    }

    /// Keeps the frames of a run that miners sent and whose tags opened.
    pub(crate) fn put(self: &Arc<Self>, run: &SealedRun, sealed: &[u8]) {
        if sealed.len() as u64 != run.sealed_len() {
            return;
        }
        let frames = run.frames().map(|(offset, len)| Entry::new(run.segment, offset, len));
        let (lane, entries) = self.state.lock().admit(frames);
        self.append(lane, &entries, sealed, run.range.start, 0);
        if self.state.lock().is_over(&self.limits) {
            self.make_room_soon();
        }
    }

    /// Writes frames behind each other, as many at a time as a chunk takes; those that find no room are
    /// left out. `sealed` begins with what has the offset `base`. The write itself is outside the lock:
    /// a disk that is behind holds up only the writer.
    fn append(&self, lane: Lane, entries: &[Entry], sealed: &[u8], base: u32, hits: u8) {
        let mut rest = entries;
        while !rest.is_empty() {
            let reserved = self.state.lock().reserve(&*self.disk, &self.limits, lane, rest);
            let reserved = match reserved {
                Ok(Some(reserved)) => reserved,
                Ok(None) => return,
                Err(error) => return self.turn_off(&error),
            };
            let (taken, behind) = rest.split_at(reserved.entries.len());
            rest = behind;
            if taken.is_empty() {
                return;
            }
            let from = (taken[0].offset - base) as usize;
            let bytes = &sealed[from..from + reserved.len as usize];
            if let Err(error) = reserved.file.write_at(u64::from(reserved.at), bytes) {
                return self.turn_off(&error);
            }
            self.state.lock().publish(&reserved, hits);
        }
    }

    /// What a lookup came to.
    pub(crate) fn count(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The disk does not answer: the cache is not asked, nor given anything, for a while.
    pub(crate) fn rest(&self, now: Duration) {
        let until = now + REST;
        self.rests_until_ms.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn is_resting(&self, now: Duration) -> bool {
        now.as_millis() < u128::from(self.rests_until_ms.load(Ordering::Relaxed))
    }

    /// Forgets frames that did not open.
    pub(crate) fn reject(&self, run: &SealedRun) {
        self.state.lock().forget_run(run);
    }

    /// Removes every frame, and begins anew, also where the cache had turned itself off. Returns the
    /// bytes that the files had.
    pub(crate) fn clear(&self) -> u64 {
        let (bytes, numbers) = self.state.lock().clear(None);
        numbers.into_iter().for_each(|number| chunk::remove(&*self.disk, number));
        bytes
    }

    /// Others take `bytes` of what would be the cache's.
    pub(crate) fn leave(self: &Arc<Self>, bytes: u64) {
        let is_over = {
            let mut state = self.state.lock();
            state.leave(bytes, &self.limits);
            state.is_over(&self.limits)
        };
        if is_over {
            self.make_room_soon();
        }
    }

    /// Writes down what the open chunks hold, so that the next life finds it. Puts go on, in new chunks.
    pub(crate) fn keep(&self) {
        let kept = self.state.lock().close_open(&self.limits);
        if let Err(error) = kept {
            self.turn_off(&error);
        }
    }

    pub(crate) fn status(&self) -> DiskCacheStatus {
        let state = self.state.lock();
        DiskCacheStatus {
            bytes: state.bytes(),
            bytes_max: self.limits.bytes_max,
            frames: state.frames() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            off: state.off().map(str::to_owned),
        }
    }

    /// The cache is worth less than the room it takes or the trouble it makes.
    fn turn_off(&self, error: &PortError) {
        let numbers = {
            let mut state = self.state.lock();
            if state.off().is_some() {
                return;
            }
            state.clear(Some(error.to_string())).1
        };
        tracing::error!(%error, "the disk cache is off until it is dropped or the gateway starts again");
        numbers.into_iter().for_each(|number| chunk::remove(&*self.disk, number));
    }

    /// Evicts in a task of its own, one at a time: a reader does not wait for it.
    fn make_room_soon(self: &Arc<Self>) {
        if self.evicting.swap(true, Ordering::AcqRel) {
            return;
        }
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            cache.make_room().await;
            cache.evicting.store(false, Ordering::Release);
        });
    }

    async fn make_room(&self) {
        loop {
            let Some(victim) = self.state.lock().victim(&self.limits) else { return };
            self.rescue(&victim).await;
            self.state.lock().remove(victim.number);
            chunk::remove(&*self.disk, victim.number);
        }
    }

    /// Copies what was hit to the main queue. The victim is in the index until it is removed.
    async fn rescue(&self, victim: &Victim) {
        let mut rest = &victim.hot[..];
        while let Some(first) = rest.first() {
            let (start, at) = (first.entry.offset, first.entry.at);
            let (mut count, mut len) = (0, 0);
            for hot in rest {
                let follows = hot.entry.segment == first.entry.segment
                    && (hot.entry.offset, hot.entry.at) == (start + len, at + len);
                if !follows || hot.hits != first.hits || len + hot.entry.len > COPY_BYTES_MAX {
                    break;
                }
                len += hot.entry.len;
                count += 1;
            }
            let (group, behind) = rest.split_at(count);
            rest = behind;
            let place = Place { file: victim.file.clone(), at, len };
            let Some(bytes) = self.read(&place).await else { continue };
            let entries: Vec<Entry> = group.iter().map(|hot| hot.entry).collect();
            self.append(Lane::Main, &entries, &bytes, start, first.hits);
        }
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.keep();
    }
}

impl std::fmt::Debug for DiskCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskCache({:?})", self.status())
    }
}
