//! What is where, and what goes next: everything behind the cache's lock. It decides and counts; the
//! bytes are moved by [`super::DiskCache`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gw_types::ports::{Disk, DiskFile};
use gw_types::{PortResult, SegmentSeq};

use super::Limits;
use super::chunk::{self, Closed, ENTRY_BYTES, Entry, TRAILER_BYTES};
use super::ghost::Ghosts;
use crate::read::SealedRun;

/// Part of the cache that probation keeps when the main queue wants the rest: a tenth, as in S3-FIFO.
const PROBATION_PART: u64 = 10;
/// Hits that are remembered; each is good for one more turn in the main queue.
const HITS_MAX: u8 = 3;
/// Chunks' worth of room that is kept free: one for each lane to go on while the other evicts.
const HEADROOM_CHUNKS: u64 = 2;

/// Which queue a chunk is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Probation = 0,
    Main = 1,
}

impl Lane {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Probation, Self::Main].into_iter().find(|lane| *lane as u32 == number)
    }
}

/// A frame's name: its home.
type FrameKey = (SegmentSeq, u32);

#[derive(Clone, Copy, Debug)]
struct Slot {
    chunk: u64,
    at: u32,
    len: u32,
    hits: u8,
}

#[derive(Debug)]
struct Chunk {
    file: Arc<dyn DiskFile>,
    lane: Lane,
    /// Bytes on disk: frames, and the table of a closed one.
    len: u64,
    entries: Vec<Entry>,
}

impl Chunk {
    fn end_bytes(&self, more: usize) -> u64 {
        (self.entries.len() + more) as u64 * ENTRY_BYTES + TRAILER_BYTES
    }
}

/// Bytes to be read.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// Room for some frames, to be written and published.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) file: Arc<dyn DiskFile>,
    chunk: u64,
    pub(crate) at: u32,
    pub(crate) len: u32,
    pub(crate) entries: Vec<Entry>,
}

/// A frame that was hit, and what is left of its hits.
#[derive(Debug)]
pub(crate) struct Hot {
    pub(crate) entry: Entry,
    pub(crate) hits: u8,
}

/// The chunk that goes next.
#[derive(Debug)]
pub(crate) struct Victim {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// What should move on, in order.
    pub(crate) hot: Vec<Hot>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    slots: HashMap<FrameKey, Slot>,
    chunks: BTreeMap<u64, Chunk>,
    /// The chunk that each lane appends to.
    open: [Option<u64>; 2],
    next: u64,
    bytes: u64,
    lane_bytes: [u64; 2],
    /// `bytes_max` without what others take, or less while the disk has little room.
    limit: u64,
    /// Bytes of `bytes_max` that others take.
    left: u64,

    ghosts: Ghosts,
    off: Option<String>,
}

impl State {
    /// Finds the chunks of an earlier life, newest first, and removes what is not whole or too much.
    pub(crate) async fn recover(disk: &dyn Disk, limits: Limits) -> Self {
        let mut state = Self { limit: limits.bytes_max, ..Self::default() };
        let numbers = match chunk::list(disk) {
            Ok(numbers) => numbers,
            Err(error) => {
                state.off = Some(error.to_string());
                return state;
            }
        };
        state.next = numbers.last().map_or(0, |last| last + 1);
        for number in numbers.into_iter().rev() {
            // A smaller limit than before makes smaller chunks; old ones may be longer.
            match chunk::open(disk, number, super::CHUNK_BYTES_MAX).await {
                Ok(Some(closed)) if state.takes(&closed, &limits) => state.take_up(number, closed),
                Ok(_) => chunk::remove(disk, number),
                Err(error) => {
                    tracing::info!(%error, number, "a file of the disk cache cannot be read and is removed");
                    chunk::remove(disk, number);
                }
            }
        }
        state
    }

    fn takes(&self, closed: &Closed, limits: &Limits) -> bool {
        self.bytes + closed.len + HEADROOM_CHUNKS * limits.chunk_bytes <= limits.bytes_max
            && self.slots.len() + closed.entries.len() <= limits.entries_max
    }

    fn take_up(&mut self, number: u64, closed: Closed) {
        let Closed { file, lane, len, entries } = closed;
        for entry in &entries {
            let slot = Slot { chunk: number, at: entry.at, len: entry.len, hits: 0 };
            // The newest chunk came first.
            self.slots.entry((entry.segment, entry.offset)).or_insert(slot);
        }
        self.count(lane, len);
        self.chunks.insert(number, Chunk { file, lane, len, entries });
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
    pub(crate) fn frames(&self) -> usize {
        self.slots.len()
    }
    pub(crate) fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn lane_bytes(&self, lane: Lane) -> u64 {
        self.lane_bytes[lane as usize]
    }

    pub(crate) fn leave(&mut self, bytes: u64, limits: &Limits) {
        self.left = bytes;
        // More is allowed when the next chunk begins, and the disk has room for it.
        self.limit = self.limit.min(limits.bytes_max.saturating_sub(bytes));
    }

    fn count(&mut self, lane: Lane, bytes: u64) {
        self.bytes += bytes;
        self.lane_bytes[lane as usize] += bytes;
    }

    /// Where all frames of a run are, neighbours together; each counts as hit. Nothing if one is missing.
    pub(crate) fn find(&mut self, run: &SealedRun) -> Option<Vec<Place>> {
        let mut places: Vec<(u64, Place)> = Vec::new();
        for (offset, len) in run.frames() {
            let slot = self.slots.get(&(run.segment, offset)).filter(|slot| slot.len == len)?;
            match places.last_mut() {
                Some((chunk, place)) if *chunk == slot.chunk && place.at + place.len == slot.at => {
                    place.len += len;
                }
                _ => {
                    let file = self.chunks.get(&slot.chunk)?.file.clone();
                    places.push((slot.chunk, Place { file, at: slot.at, len }));
                }
            }
        }
        for (offset, _) in run.frames() {
            if let Some(slot) = self.slots.get_mut(&(run.segment, offset)) {
                slot.hits = (slot.hits + 1).min(HITS_MAX);
            }
        }
        Some(places.into_iter().map(|(_, place)| place).collect())
    }

    /// Those of the frames that are not here, and where they belong: a run of which a frame was here
    /// lately is wanted again.
    pub(crate) fn admit(&self, frames: impl Iterator<Item = Entry>) -> (Lane, Vec<Entry>) {
        let is_new = |entry: &Entry| !self.slots.contains_key(&(entry.segment, entry.offset));
        let entries: Vec<Entry> = frames.filter(is_new).collect();
        let is_back = entries.iter().any(|entry| self.ghosts.knows(entry.segment, entry.offset));
        (if is_back { Lane::Main } else { Lane::Probation }, entries)
    }

    /// Room for the first of `entries`, as many as stand back to back and the lane's chunk takes. `None`
    /// when there is none, or the cache is off.
    pub(crate) fn reserve(
        &mut self,
        disk: &dyn Disk,
        limits: &Limits,
        lane: Lane,
        entries: &[Entry],
    ) -> PortResult<Option<Reserved>> {
        let Some(first) = entries.first().filter(|_| self.off.is_none()) else { return Ok(None) };
        if self.slots.len() >= limits.entries_max {
            return Ok(None);
        }
        let fits =
            |chunk: &Chunk| chunk.len + u64::from(first.len) + chunk.end_bytes(1) <= limits.chunk_bytes;
        let open = self.open[lane as usize].and_then(|number| self.chunks.get(&number)).is_some_and(fits);
        if !open && !self.begin(disk, limits, lane)? {
            return Ok(None);
        }
        let number = self.open[lane as usize].expect("one is open or was begun");
        let mut room = self.limit.saturating_sub(self.bytes + self.ends());
        let chunk = self.chunks.get_mut(&number).expect("an open chunk is among the chunks");
        let start = chunk.len as u32;
        let mut taken = Vec::new();
        let mut next = first.offset;
        for entry in entries {
            let len = u64::from(entry.len);
            let is_behind = std::mem::replace(&mut next, entry.offset + entry.len) == entry.offset;
            if !is_behind
                || len + ENTRY_BYTES > room
                || chunk.len + len + chunk.end_bytes(1) > limits.chunk_bytes
            {
                break;
            }
            room -= len + ENTRY_BYTES;
            let entry = Entry { at: chunk.len as u32, ..*entry };
            chunk.entries.push(entry);
            chunk.len += len;
            taken.push(entry);
        }
        let len = chunk.len as u32 - start;
        let file = chunk.file.clone();
        self.count(lane, u64::from(len));
        Ok(Some(Reserved { file, chunk: number, at: start, len, entries: taken }))
    }

    /// What the tables of the open chunks will add.
    fn ends(&self) -> u64 {
        let open = self.open.iter().flatten().filter_map(|number| self.chunks.get(number));
        open.map(|chunk| chunk.end_bytes(0)).sum()
    }

    /// Closes the lane's chunk and begins another, if there is room for one.
    fn begin(&mut self, disk: &dyn Disk, limits: &Limits, lane: Lane) -> PortResult<bool> {
        self.close(lane, limits)?;
        // Others need the disk more.
        let is_tight = disk.free_bytes()? < limits.free_bytes_min.saturating_add(limits.chunk_bytes);
        let most = limits.bytes_max.saturating_sub(self.left);
        self.limit = if is_tight { self.bytes.min(most) } else { most };
        if self.bytes + limits.chunk_bytes > self.limit {
            return Ok(false);
        }
        let number = self.next;
        let file = disk.create(&chunk::name(number))?;
        self.next += 1;
        self.open[lane as usize] = Some(number);
        self.chunks.insert(number, Chunk { file, lane, len: 0, entries: Vec::new() });
        Ok(true)
    }

    fn close(&mut self, lane: Lane, limits: &Limits) -> PortResult<()> {
        let Some(number) = self.open[lane as usize].take() else { return Ok(()) };
        let Some(chunk) = self.chunks.get_mut(&number) else { return Ok(()) };
        let end = chunk::encode_end(lane, &chunk.entries, chunk.len);
        debug_assert!(chunk.len + end.len() as u64 <= limits.chunk_bytes);
        let at = chunk.len;
        chunk.len += end.len() as u64;
        let (file, added) = (chunk.file.clone(), end.len() as u64);
        self.count(lane, added);
        file.write_at(at, &end)
    }

    pub(crate) fn close_open(&mut self, limits: &Limits) -> PortResult<()> {
        self.close(Lane::Probation, limits)?;
        self.close(Lane::Main, limits)
    }

    /// The bytes are written: readers may find them.
    pub(crate) fn publish(&mut self, reserved: &Reserved, hits: u8) {
        if !self.chunks.contains_key(&reserved.chunk) {
            return;
        }
        for entry in &reserved.entries {
            let slot = Slot { chunk: reserved.chunk, at: entry.at, len: entry.len, hits };
            self.slots.insert((entry.segment, entry.offset), slot);
        }
    }

    pub(crate) fn forget_run(&mut self, run: &SealedRun) {
        for (offset, _) in run.frames() {
            self.slots.remove(&(run.segment, offset));
        }
    }

    /// Forgets everything; `off` says why, when it is for good. Returns the bytes and the files' numbers.
    pub(crate) fn clear(&mut self, off: Option<String>) -> (u64, Vec<u64>) {
        let (bytes, numbers) = (self.bytes, self.chunks.keys().copied().collect());
        *self = Self { next: self.next, limit: self.limit, left: self.left, off, ..Self::default() };
        (bytes, numbers)
    }

    /// Whether something should be evicted.
    pub(crate) fn is_over(&self, limits: &Limits) -> bool {
        self.bytes + HEADROOM_CHUNKS * limits.chunk_bytes > self.limit
            || self.slots.len() + limits.entries_max / 64 > limits.entries_max
    }

    /// The chunk to go now, if one must.
    pub(crate) fn victim(&mut self, limits: &Limits) -> Option<Victim> {
        if !self.is_over(limits) {
            return None;
        }
        let is_wide = self.lane_bytes[Lane::Probation as usize] > self.limit / PROBATION_PART;
        let order = if is_wide { [Lane::Probation, Lane::Main] } else { [Lane::Main, Lane::Probation] };
        let number = order.into_iter().find_map(|lane| self.oldest(lane))?;
        for open in &mut self.open {
            open.take_if(|open| *open == number);
        }
        let chunk = self.chunks.get(&number)?;
        let (lane, file) = (chunk.lane, chunk.file.clone());
        let (mut hot, mut cold) = (Vec::new(), Vec::new());
        // From the main queue at most three quarters stay, so that every turn frees something.
        let mut room = if lane == Lane::Main { chunk.len / 4 * 3 } else { chunk.len };
        for entry in &chunk.entries {
            let key = (entry.segment, entry.offset);
            let Some(slot) = self.slots.get(&key).filter(|slot| slot.chunk == number && slot.at == entry.at)
            else {
                continue;
            };
            if slot.hits > 0 && u64::from(entry.len) <= room {
                room -= u64::from(entry.len);
                let hits = if lane == Lane::Main { slot.hits - 1 } else { 0 };
                hot.push(Hot { entry: *entry, hits });
            } else {
                cold.push(key);
            }
        }
        for (segment, offset) in cold {
            self.slots.remove(&(segment, offset));
            if lane == Lane::Probation {
                self.ghosts.push(segment, offset, limits.entries_max / 2);
            }
        }
        Some(Victim { number, file, hot })
    }

    /// The oldest chunk of a lane, a closed one unless there is none.
    fn oldest(&self, lane: Lane) -> Option<u64> {
        let mut ours = self.chunks.iter().filter(|(_, chunk)| chunk.lane == lane).map(|(number, _)| *number);
        let open = self.open[lane as usize];
        ours.find(|number| Some(*number) != open).or(open)
    }

    /// The chunk is gone, with what of it has not moved.
    pub(crate) fn remove(&mut self, number: u64) {
        let Some(chunk) = self.chunks.remove(&number) else { return };
        for entry in &chunk.entries {
            let key = (entry.segment, entry.offset);
            if self.slots.get(&key).is_some_and(|slot| slot.chunk == number) {
                self.slots.remove(&key);
            }
        }
        self.bytes -= chunk.len;
        self.lane_bytes[chunk.lane as usize] -= chunk.len;
    }
}
