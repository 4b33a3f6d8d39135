//! The flush task: group commit.
//!
//! It takes what has gathered, encodes it, writes it with one call, syncs, moves the staged
//! watermark, and begins again with what has gathered meanwhile; the slower the device, the larger
//! the groups. Nothing is tried again: after a failed write or sync the kernel may have dropped the
//! pages, so a second sync that succeeds says nothing, and the database is poisoned for good.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gw_types::ports::DiskFile;
use gw_types::{Lsn, PortResult};

use super::format::{HEADER_BYTES, Header};
use super::{Entry, IndexedFile, Spare};
use crate::shared::Shared;

pub(crate) struct Flusher {
    shared: Arc<Shared>,
    file: Arc<dyn DiskFile>,
    header: Header,
    /// Where the next group begins.
    end: u64,
    buffer: Vec<u8>,
    /// Where the records in the buffer begin in it.
    starts: Vec<(Lsn, u64)>,
    spares: u64,
    /// The last try to make a spare failed, and was told.
    spare_failed: bool,
}

impl Flusher {
    pub(crate) fn new(shared: Arc<Shared>, file: Arc<dyn DiskFile>, header: Header) -> Self {
        // The first spare of this life was the file itself.
        Self {
            shared,
            file,
            header,
            end: HEADER_BYTES as u64,
            buffer: Vec::new(),
            starts: Vec::new(),
            spares: 1,
            spare_failed: false,
        }
    }

    /// Runs until the database stops and nothing is pending, or a device error.
    pub(crate) async fn run(mut self) {
        loop {
            let group = self.shared.take_group();
            if group.is_empty() {
                if self.shared.is_stopping() {
                    return;
                }
                self.shared.work.notified().await;
                continue;
            }
            if let Err(error) = self.flush(group).await {
                self.shared.poison(error);
                return;
            }
            self.make_spare();
        }
    }

    async fn flush(&mut self, group: Vec<Entry>) -> PortResult<()> {
        for entry in group {
            match entry {
                Entry::Record(lsn, body) => {
                    self.starts.push((lsn, self.end + self.buffer.len() as u64));
                    body.encode(&mut self.buffer, self.header.seed(), lsn, self.shared.staged());
                }
                Entry::Rotate(spare, first) => {
                    self.write_out().await?;
                    self.rotate(spare, first).await?;
                }
            }
        }
        self.write_out().await
    }

    async fn write_out(&mut self) -> PortResult<()> {
        let Some((last, _)) = self.starts.last().copied() else { return Ok(()) };
        self.file.write_at(self.end, &self.buffer)?;
        self.file.sync().await?;
        self.end += self.buffer.len() as u64;
        {
            let mut index = self.shared.index.lock();
            let newest = index.newest();
            for (lsn, offset) in &self.starts {
                newest.mark(*lsn, *offset);
            }
            newest.last = last;
            newest.end = self.end;
        }
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.records.fetch_add(self.starts.len() as u64, Ordering::Relaxed);
        self.shared.move_staged(last, self.buffer.len() as u64);
        self.starts.clear();
        self.buffer.clear();
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// Closes the file at its last record and goes on in the spare. The old file is synced in full
    /// before the new one has a name, so only the newest file can have a torn tail.
    async fn rotate(&mut self, spare: Spare, first: Lsn) -> PortResult<()> {
        self.file.set_len(self.end)?;
        self.file.sync().await?;
        let header = Header { first, ..self.header };
        let name = spare.promote(&*self.shared.ports.disk, header).await?;
        self.shared.index.lock().files.push_back(IndexedFile::new(name, spare.file.clone(), header));
        self.file = spare.file;
        self.header = header;
        self.end = HEADER_BYTES as u64;
        // After an import the log goes on behind a number that it never reached by commits.
        if self.shared.staged().next() < first {
            self.shared.move_staged(Lsn(first.0 - 1), 0);
        }
        Ok(())
    }

    /// Makes the next file ahead. Without one the present file just grows beyond its length, so a
    /// failure is only told.
    fn make_spare(&mut self) {
        {
            let commit = self.shared.commit.lock();
            if commit.tail.spare.is_some()
                || commit.tail.head.offset < self.shared.config.journal_file_bytes_max / 2
            {
                return;
            }
        }
        self.spares += 1;
        match Spare::create(&*self.shared.ports.disk, self.spares, &self.shared.config) {
            Ok(spare) => {
                self.spare_failed = false;
                self.shared.commit.lock().tail.spare = Some(spare);
            }
            Err(error) if !self.spare_failed => {
                self.spare_failed = true;
                tracing::warn!(%error, "the next journal file cannot be made ahead");
            }
            Err(_) => {}
        }
    }
}
