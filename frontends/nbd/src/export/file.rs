//! A sparse file of this machine as a device.
//!
//! Holes of the file are holes of the device: trimming and zeroing punch them, reading and block
//! status show them. Small reads that the page cache can answer and small writes are done on the
//! thread that asks, where they are one copy of memory; everything that may wait for the disk goes
//! to the runtime's blocking threads. `fdatasync` is the flush; after one has failed, the file takes
//! no write and no flush any more, because what the kernel still has in memory is unknown.
//!
//! Of a call that was dropped while a blocking thread worked on it, the work still ends sometime.
//! Later changes wait for it, so that it never lands on top of them (the contract of [`Export`]).
//!
//! The file is locked while it is served: exclusively for writing, shared for reading.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{Advice, FallocateFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::sync::Notify;

use super::dirty::DirtyMap;
use super::zeroes::{is_zero, without_zeroes};
use super::{
    BlockSizes, ByteRange, Context, ContextName, Export, ExportError, ExportErrorKind, Extent, Features,
    Persist, Piece, Properties, Zeroing,
};
use crate::pool::Pool;
use crate::wire::constants::allocation;

/// Reads up to here are tried on the thread that asks, and looked through for zeroes.
const SMALL_READ_BYTES_MAX: u64 = 64 << 10;
/// Zeroes are written in pieces of this size where the file system cannot make them.
const ZEROES_BYTES: usize = 1 << 20;
/// More pieces than this are not made of one read; what is left is read as data.
const PIECES_MAX: usize = 256;
/// `TMPFS_MAGIC` of `linux/magic.h`: a file system in memory, whose reads never wait for a device.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// The leaf of the dirty context, see [`FileOptions::track_dirty`].
const SINCE_OPEN: &str = "dirty:since-open";

/// How a file is served.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Take no writes.
    pub read_only: bool,
    /// Its blocks.
    pub blocks: BlockSizes,
    /// A sentence for people.
    pub description: String,
    /// Offer `x-cess:dirty:since-open`: what has changed since the file was opened, in steps of 64 KiB.
    pub track_dirty: bool,
    /// Writes up to this size go into the page cache on the thread that asks. The kernel lets a
    /// writer wait there when too much is unsaved; 0 gives every write to a blocking thread.
    pub inline_write_bytes_max: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            blocks: BlockSizes::DEFAULT,
            description: "a file".to_owned(),
            track_dirty: false,
            inline_write_bytes_max: 64 << 10,
        }
    }
}

/// A served file.
pub struct FileExport {
    properties: Properties,
    inline_write_bytes_max: usize,
    device: Arc<Device>,
}

/// What blocking threads share.
struct Device {
    file: File,
    minimum: u64,
    in_memory: bool,
    dirty: Option<DirtyMap>,
    buffers: Arc<Pool>,
    poisoned: AtomicBool,
    /// Changes whose caller has gone while they were being made.
    abandoned: AtomicUsize,
    settled: Notify,
}

impl FileExport {
    /// Opens and locks a regular file; its length is the size of the device.
    ///
    /// # Errors
    /// When it cannot be opened, is no regular file, or is locked by somebody else.
    pub fn open(path: &Path, options: FileOptions) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(!options.read_only).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "only regular files are served"));
        }
        if options.read_only { file.try_lock_shared() } else { file.try_lock() }
            .map_err(|error| io::Error::new(io::ErrorKind::ResourceBusy, error))?;
        // A last part of a block could not be addressed.
        let minimum = u64::from(options.blocks.minimum());
        let size_bytes = metadata.len() / minimum * minimum;
        let mut contexts = vec![Context::Allocation];
        if options.track_dirty {
            contexts.push(Context::Dirty(ContextName::new(SINCE_OPEN).expect("a visible name")));
        }
        let properties = Properties {
            size_bytes,
            read_only: options.read_only,
            blocks: options.blocks,
            features: Features::ALL,
            description: options.description,
            contexts,
        };
        let in_memory =
            rustix::fs::fstatfs(&file).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(TMPFS_MAGIC));
        let device = Device {
            file,
            in_memory,
            minimum,
            dirty: options.track_dirty.then(|| DirtyMap::new(size_bytes)),
            buffers: Arc::default(),
            poisoned: AtomicBool::new(false),
            abandoned: AtomicUsize::new(0),
            settled: Notify::new(),
        };
        let inline_write_bytes_max = options.inline_write_bytes_max;
        Ok(Self { properties, inline_write_bytes_max, device: Arc::new(device) })
    }

    /// Waits for changes whose callers have gone, marks the range, and refuses after a failed sync.
    async fn begin_change(&self, range: ByteRange) -> Result<(), ExportError> {
        self.device.settle().await;
        self.device.check_trusted()?;
        if let Some(dirty) = &self.device.dirty {
            dirty.mark(range);
        }
        Ok(())
    }

    async fn change(
        &self,
        persist: Persist,
        act: impl FnOnce(&Device) -> io::Result<()> + Send + 'static,
    ) -> Result<(), ExportError> {
        let mut change = Change { device: Arc::clone(&self.device), state: Arc::default() };
        let (device, state) = (Arc::clone(&change.device), Arc::clone(&change.state));
        let result = blocking(move || {
            let result = act(&device).and_then(|()| device.persist(persist));
            let mut state = state.lock();
            state.done = true;
            if state.abandoned {
                device.abandoned.fetch_sub(1, Ordering::AcqRel);
                device.settled.notify_waiters();
            }
            result
        })
        .await;
        change.disarm();
        result
    }
}

/// Work of a blocking thread, as seen by the call that waits for it.
struct Change {
    device: Arc<Device>,
    state: Arc<Mutex<ChangeState>>,
}

#[derive(Debug, Default)]
struct ChangeState {
    done: bool,
    abandoned: bool,
}

impl Change {
    fn disarm(&mut self) {
        self.state.lock().done = true;
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if !state.done {
            state.abandoned = true;
            self.device.abandoned.fetch_add(1, Ordering::AcqRel);
        }
    }
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ExportError::new(ExportErrorKind::ShuttingDown, "the server is ending")),
    }
}

impl Device {
    async fn settle(&self) {
        while self.abandoned.load(Ordering::Acquire) > 0 {
            let settled = self.settled.notified();
            if self.abandoned.load(Ordering::Acquire) == 0 {
                return;
            }
            settled.await;
        }
    }

    fn check_trusted(&self) -> Result<(), ExportError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(ExportError::new(
                ExportErrorKind::Io,
                "an earlier sync of this file failed; it has to be opened again",
            ));
        }
        Ok(())
    }

    fn persist(&self, persist: Persist) -> io::Result<()> {
        match persist {
            Persist::AtFlush => Ok(()),
            Persist::Now => self.sync(),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|error| {
            tracing::error!(%error, "a sync failed; the file takes no more writes");
            self.poisoned.store(true, Ordering::Release);
        })
    }

    /// What the page cache has of the range, all of it or nothing.
    fn read_cached(&self, range: ByteRange) -> Option<Vec<u8>> {
        if self.in_memory {
            return self.read_small(range).ok();
        }
        let mut buffer = vec![0; usize::try_from(range.len()).ok()?];
        let slices = &mut [IoSliceMut::new(&mut buffer)];
        let read = rustix::io::preadv2(&self.file, slices, range.start(), ReadWriteFlags::NOWAIT);
        (read == Ok(buffer.len())).then_some(buffer)
    }

    fn read_exact(&self, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, start)
    }

    fn read_small(&self, range: ByteRange) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; usize::try_from(range.len()).map_err(io::Error::other)?];
        self.read_exact(range.start(), &mut buffer).map(|()| buffer)
    }

    fn read_large(&self, range: ByteRange) -> io::Result<Bytes> {
        let len = usize::try_from(range.len()).map_err(io::Error::other)?;
        let mut buffer = self.buffers.take(len);
        self.read_exact(range.start(), &mut buffer[..len])?;
        Ok(self.buffers.lend(buffer, len))
    }

    fn read_sparse(&self, range: ByteRange) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for (hole, run) in self.runs(range, PIECES_MAX)? {
            pieces.push(match hole {
                true => Piece::Zeroes(run.len()),
                false => Piece::Data(self.read_large(run)?),
            });
        }
        let covered = pieces.iter().map(Piece::len).sum::<u64>();
        if let Some(rest) = ByteRange::new(range.start() + covered, range.len() - covered)
            && !rest.is_empty()
        {
            pieces.push(Piece::Data(self.read_large(rest)?));
        }
        Ok(pieces)
    }

    /// Runs of holes (`true`) and data, at most so many, with borders on minimum blocks: a block with
    /// a byte of data in it is data.
    fn runs(&self, range: ByteRange, runs_max: usize) -> io::Result<Vec<(bool, ByteRange)>> {
        let mut runs: Vec<(bool, ByteRange)> = Vec::new();
        let mut at = range.start();
        while at < range.end() && runs.len() < runs_max {
            let data = self.next_data(at)?.unwrap_or(range.end());
            let block = data / self.minimum * self.minimum;
            let (hole, end) = if block > at {
                (true, block.min(range.end()))
            } else {
                let end = rustix::fs::seek(&self.file, SeekFrom::Hole(data.max(at)))?;
                (false, end.next_multiple_of(self.minimum).clamp(at + 1, range.end()))
            };
            let run = ByteRange::new(at, end - at).ok_or(io::ErrorKind::InvalidInput)?;
            match runs.last_mut() {
                Some((before, last)) if *before == hole => {
                    *last = ByteRange::new(last.start(), last.len() + run.len()).unwrap_or(*last);
                }
                _ => runs.push((hole, run)),
            }
            at = end;
        }
        Ok(runs)
    }

    /// The first byte of data at or behind a place; `None` when there is none.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) => Ok(Some(data)),
            Err(Errno::NXIO) => Ok(None),
            // A file system that knows no holes.
            Err(Errno::INVAL) => Ok(Some(at)),
            Err(error) => Err(error.into()),
        }
    }

    fn write_all(&self, start: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, data, start)
    }

    fn write_zeroes(&self, range: ByteRange, allocate: bool, fast: bool) -> io::Result<()> {
        let mode = if allocate { FallocateFlags::ZERO_RANGE } else { FallocateFlags::PUNCH_HOLE };
        match self.allocate(mode, range) {
            Err(Errno::OPNOTSUPP) if fast => Err(io::ErrorKind::Unsupported.into()),
            Err(Errno::OPNOTSUPP) => self.write_zero_bytes(range),
            result => Ok(result?),
        }
    }

    fn write_zero_bytes(&self, range: ByteRange) -> io::Result<()> {
        let zeroes = vec![0; ZEROES_BYTES];
        let mut at = range.start();
        while at < range.end() {
            let len = usize::try_from(range.end() - at).unwrap_or(ZEROES_BYTES).min(ZEROES_BYTES);
            self.write_all(at, &zeroes[..len])?;
            at += len as u64;
        }
        Ok(())
    }

    fn trim(&self, range: ByteRange) -> io::Result<()> {
        match self.allocate(FallocateFlags::PUNCH_HOLE, range) {
            // It is a hint.
            Err(Errno::OPNOTSUPP) => Ok(()),
            result => Ok(result?),
        }
    }

    fn allocate(&self, mode: FallocateFlags, range: ByteRange) -> Result<(), Errno> {
        loop {
            let mode = mode | FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(&self.file, mode, range.start(), range.len()) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

#[async_trait]
impl Export for FileExport {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    async fn read(&self, range: ByteRange) -> Result<Vec<Piece>, ExportError> {
        if range.len() > SMALL_READ_BYTES_MAX {
            let device = Arc::clone(&self.device);
            // Asked for the next hole, tmpfs looks at every page up to there, for each read anew.
            return match device.in_memory {
                true => blocking(move || Ok(without_zeroes(&device.read_large(range)?, range.start()))).await,
                false => blocking(move || device.read_sparse(range)).await,
            };
        }
        let bytes = match self.device.read_cached(range) {
            Some(bytes) => bytes,
            None => {
                let device = Arc::clone(&self.device);
                blocking(move || device.read_small(range)).await?
            }
        };
        Ok(vec![if is_zero(&bytes) { Piece::Zeroes(range.len()) } else { Piece::Data(bytes.into()) }])
    }

    async fn write(&self, start: u64, data: Bytes, persist: Persist) -> Result<(), ExportError> {
        let range = ByteRange::new(start, data.len() as u64)
            .ok_or_else(|| ExportError::new(ExportErrorKind::NoSpace, "beyond the end"))?;
        self.begin_change(range).await?;
        if persist == Persist::AtFlush && data.len() <= self.inline_write_bytes_max {
            return Ok(self.device.write_all(start, &data)?);
        }
        self.change(persist, move |device| device.write_all(start, &data)).await
    }

    async fn flush(&self) -> Result<(), ExportError> {
        self.device.check_trusted()?;
        let device = Arc::clone(&self.device);
        blocking(move || device.sync()).await
    }

    async fn trim(&self, range: ByteRange, persist: Persist) -> Result<(), ExportError> {
        self.begin_change(range).await?;
        self.change(persist, move |device| device.trim(range)).await
    }

    async fn write_zeroes(&self, range: ByteRange, how: Zeroing) -> Result<(), ExportError> {
        self.begin_change(range).await?;
        self.change(how.persist, move |device| device.write_zeroes(range, how.allocate, how.fast)).await
    }

    async fn cache(&self, range: ByteRange) -> Result<(), ExportError> {
        let device = Arc::clone(&self.device);
        let len = std::num::NonZeroU64::new(range.len());
        blocking(move || Ok(rustix::fs::fadvise(&device.file, range.start(), len, Advice::WillNeed)?)).await
    }

    async fn block_status(
        &self,
        context: &Context,
        range: ByteRange,
        extents_max: usize,
    ) -> Result<Vec<Extent>, ExportError> {
        match (context, &self.device.dirty) {
            (Context::Allocation, _) => {
                let device = Arc::clone(&self.device);
                let runs = blocking(move || device.runs(range, extents_max)).await?;
                let flags = |hole| if hole { allocation::HOLE | allocation::ZERO } else { 0 };
                Ok(runs.iter().map(|(hole, run)| Extent { length: run.len(), flags: flags(*hole) }).collect())
            }
            (Context::Dirty(_), Some(dirty)) => Ok(dirty.extents(range, extents_max)),
            (Context::Dirty(_), None) => {
                Err(ExportError::new(ExportErrorKind::Invalid, "there is no such context"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Change, FileExport, FileOptions};
    use crate::export::{BlockSizes, ByteRange, Context, Export, Extent, Persist, Piece, Zeroing};

    const SIZE: u64 = 4 << 20;

    fn file(options: FileOptions) -> (tempfile::NamedTempFile, FileExport) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE).unwrap();
        let export = FileExport::open(file.path(), options).unwrap();
        (file, export)
    }

    fn range(start: u64, len: u64) -> ByteRange {
        ByteRange::new(start, len).unwrap()
    }

    async fn bytes(export: &FileExport, range: ByteRange) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in export.read(range).await.unwrap() {
            match piece {
                Piece::Data(data) => bytes.extend_from_slice(&data),
                Piece::Zeroes(len) => bytes.resize(bytes.len() + len as usize, 0),
            }
        }
        bytes
    }

    #[tokio::test]
    async fn what_is_written_is_read_at_every_size_and_place() {
        let (_file, export) = file(FileOptions::default());
        for (start, len) in [(0_u64, 1_usize), (511, 513), (4096, 64 << 10), ((64 << 10) + 1, (1 << 20) + 3)]
        {
            let data: Vec<u8> = (0..len).map(|i| (i % 251) as u8 + 1).collect();
            for persist in [Persist::AtFlush, Persist::Now] {
                export.write(start, Bytes::from(data.clone()), persist).await.unwrap();
                assert_eq!(bytes(&export, range(start, len as u64)).await, data);
            }
        }
        export.flush().await.unwrap();
    }

    #[tokio::test]
    async fn holes_are_shown_and_data_is_kept_between_them() {
        let (_file, export) = file(FileOptions::default());
        export.write(1 << 20, Bytes::from(vec![7; 1 << 20]), Persist::AtFlush).await.unwrap();
        let status = |from, len| export.block_status(&Context::Allocation, range(from, len), 100);
        let hole = |length| Extent { length, flags: 3 };
        let data = |length| Extent { length, flags: 0 };
        assert_eq!(status(0, SIZE).await.unwrap(), [hole(1 << 20), data(1 << 20), hole(2 << 20)]);
        let pieces = export.read(range(0, SIZE)).await.unwrap();
        assert!(matches!(pieces[..], [Piece::Zeroes(0x10_0000), Piece::Data(_), Piece::Zeroes(0x20_0000)]));
        let how = Zeroing { allocate: false, fast: true, persist: Persist::Now };
        export.write_zeroes(range((1 << 20) + 5, 8192), how).await.unwrap();
        export.trim(range(3 << 19, 4096), Persist::AtFlush).await.unwrap();
        let read = bytes(&export, range(1 << 20, 16384)).await;
        assert_eq!((&read[..5], &read[5..8197], read[8197]), (&[7; 5][..], &[0; 8192][..], 7));
        let allocated = Zeroing { allocate: true, ..how };
        export.write_zeroes(range(0, 8192), allocated).await.unwrap();
        assert_eq!(bytes(&export, range(0, 8192)).await, [0; 8192]);
        export.cache(range(0, SIZE)).await.unwrap();
    }

    #[tokio::test]
    async fn borders_of_holes_stand_on_minimum_blocks() {
        let blocks = BlockSizes::new(65536, 65536, 1 << 25).unwrap();
        let (_file, export) = file(FileOptions { blocks, ..FileOptions::default() });
        export.device.write_all(70_000, &[1]).unwrap();
        let extents = export.block_status(&Context::Allocation, range(0, SIZE), 100).await.unwrap();
        let lengths: Vec<u64> = extents.iter().map(|extent| extent.length).collect();
        assert_eq!(lengths, [65536, 65536, SIZE - 131_072]);
    }

    #[tokio::test]
    async fn changes_are_marked_dirty() {
        let (_file, export) = file(FileOptions { track_dirty: true, ..FileOptions::default() });
        let context = export.properties().contexts[1].clone();
        assert_eq!(context.name(), "x-cess:dirty:since-open");
        export.write(100, Bytes::from_static(b"x"), Persist::AtFlush).await.unwrap();
        let extents = export.block_status(&context, range(0, SIZE), 9).await.unwrap();
        assert_eq!(extents, [Extent { length: 65536, flags: 1 }, Extent { length: SIZE - 65536, flags: 0 }]);
    }

    #[test]
    fn a_file_has_one_writer_or_many_readers() {
        let (file, writer) = file(FileOptions::default());
        let read_only = FileOptions { read_only: true, ..FileOptions::default() };
        assert!(FileExport::open(file.path(), FileOptions::default()).is_err());
        assert!(FileExport::open(file.path(), read_only.clone()).is_err());
        drop(writer);
        let _one = FileExport::open(file.path(), read_only.clone()).unwrap();
        let _two = FileExport::open(file.path(), read_only).unwrap();
    }

    /// A write that is answered with an error because its time is over may still be in the hands of a
    /// thread. A client that then writes something else to the same place must not lose it to the
    /// old one.
    #[tokio::test]
    async fn a_change_waits_for_abandoned_ones() {
        let (_file, export) = file(FileOptions::default());
        let change = Change { device: Arc::clone(&export.device), state: Arc::default() };
        let state = Arc::clone(&change.state);
        drop(change);
        let mut write = Box::pin(export.write(0, Bytes::from_static(b"later"), Persist::AtFlush));
        assert!(futures::poll!(&mut write).is_pending());
        state.lock().done = true;
        export.device.abandoned.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
        export.device.settled.notify_waiters();
        write.await.unwrap();
        assert_eq!(bytes(&export, range(0, 5)).await, b"later");
    }

    #[tokio::test]
    async fn after_a_failed_sync_nothing_is_called_saved() {
        let (_file, export) = file(FileOptions::default());
        export.device.poisoned.store(true, std::sync::atomic::Ordering::Release);
        assert!(export.flush().await.is_err());
        assert!(export.write(0, Bytes::from_static(b"x"), Persist::AtFlush).await.is_err());
        assert_eq!(bytes(&export, range(0, 1)).await, [0]);
    }
}
