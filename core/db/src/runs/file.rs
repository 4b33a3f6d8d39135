//! A run on disk: rows in order of key, written once.
//!
//! ```text
//!      0  magic   8 bytes "CGWRUNF\x01"
//!      8  blocks  { len u32, crc u32, rows ... } of about 64 KiB:
//!                 row  { key_len u32, value_len u32 (FFFFFFFF deletes), key, value }
//!                 crc  CRC-32C over the block's number (u32, from 0), then its rows
//!      .  footer  64 bytes
//!                 0  blocks     u32
//!                 4  -          u32  0
//!                 8  rows       u64  deletions included
//!                16  deletions  u64
//!                24  first_lsn  u64  the run holds what changed in first..=last
//!                32  last_lsn   u64
//!                40  seq        u64  also the file's name
//!                48  -          u32  0
//!                52  crc        u32  CRC-32C over bytes 0..52 of the footer
//!                56  magic      8 bytes again
//! ```
//!
//! There is no index: runs are read from front to back (merged, loaded into an engine, sent to the
//! network), never searched.

use std::sync::Arc;

use bytes::Bytes;
use gw_types::ports::{Disk, DiskFile};
use gw_types::{Lsn, PortResult};

use super::{FOLDER, RunInfo};
use crate::DbError;
use crate::overlay::Change;
use crate::record::Cursor;

const MAGIC: [u8; 8] = *b"CGWRUNF\x01";
const FOOTER_BYTES: usize = 64;
/// Blocks are closed when they are this long.
const BLOCK_BYTES: usize = 64 << 10;
/// No block is longer: one row may be as long as a record.
const BLOCK_BYTES_MAX: usize = 1 << 30;
/// Written with one call.
const WRITE_BYTES: usize = 1 << 20;
const DELETED: u32 = u32::MAX;

pub(crate) fn file_name(seq: u64) -> String {
    format!("{FOLDER}/{seq:016x}")
}

/// Writes a run. Dropped unfinished it leaves a file that no manifest lists; the next open removes it.
pub(crate) struct RunWriter {
    name: String,
    seq: u64,
    file: Arc<dyn DiskFile>,
    block: Vec<u8>,
    buffer: Vec<u8>,
    written: u64,
    blocks: u32,
    rows: u64,
    deletions: u64,
    last_key: Option<Bytes>,
}

impl RunWriter {
    pub(crate) fn create(disk: &dyn Disk, seq: u64) -> PortResult<Self> {
        let name = file_name(seq);
        let file = disk.create(&name)?;
        Ok(Self {
            name,
            seq,
            file,
            block: Vec::new(),
            buffer: MAGIC.to_vec(),
            written: 0,
            blocks: 0,
            rows: 0,
            deletions: 0,
            last_key: None,
        })
    }
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends a row; keys must ascend.
    pub(crate) fn push(&mut self, key: &Bytes, value: Option<&[u8]>) -> PortResult<()> {
        assert!(self.last_key.as_ref().is_none_or(|last| last < key), "the rows of a run ascend");
        self.last_key = Some(key.clone());
        self.block.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.block.extend_from_slice(&value.map_or(DELETED, |value| value.len() as u32).to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value.unwrap_or_default());
        self.rows += 1;
        self.deletions += u64::from(value.is_none());
        if self.block.len() >= BLOCK_BYTES {
            self.close_block()?;
        }
        Ok(())
    }

    fn close_block(&mut self) -> PortResult<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.buffer.extend_from_slice(&(self.block.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&block_crc(self.blocks, &self.block).to_le_bytes());
        self.buffer.append(&mut self.block);
        self.blocks += 1;
        if self.buffer.len() >= WRITE_BYTES { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> PortResult<()> {
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the file durable. Its name is by the manifest's sync of the folder, which comes after.
    pub(crate) async fn finish(mut self, first: Lsn, last: Lsn) -> PortResult<RunInfo> {
        self.close_block()?;
        let mut info =
            RunInfo { seq: self.seq, first, last, len: 0, rows: self.rows, deletions: self.deletions };
        self.buffer.extend_from_slice(&footer(&info, self.blocks));
        self.write_out()?;
        info.len = self.written;
        self.file.sync().await?;
        Ok(info)
    }
}

fn block_crc(number: u32, rows: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), rows)
}

fn footer(info: &RunInfo, blocks: u32) -> [u8; FOOTER_BYTES] {
    let mut out = [0; FOOTER_BYTES];
    out[..4].copy_from_slice(&blocks.to_le_bytes());
    for (index, word) in
        [info.rows, info.deletions, info.first.0, info.last.0, info.seq].into_iter().enumerate()
    {
        out[8 + index * 8..16 + index * 8].copy_from_slice(&word.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out[..52]);
    out[52..56].copy_from_slice(&crc.to_le_bytes());
    out[56..].copy_from_slice(&MAGIC);
    out
}

/// Reads a run from front to back. It keeps working when the file is removed meanwhile.
pub(crate) struct RunReader {
    name: String,
    file: Arc<dyn DiskFile>,
    /// Where the next block begins, and where blocks end.
    at: u64,
    end: u64,
    next_block: u32,
    blocks: u32,
    block: Bytes,
    block_at: usize,
}

impl RunReader {
    /// Opens a run and checks that it is the one the manifest means.
    pub(crate) async fn open(file: Arc<dyn DiskFile>, info: &RunInfo) -> Result<Self, DbError> {
        let name = file_name(info.seq);
        let blocks = check_footer(&*file, &name, info).await?;
        Ok(Self {
            name,
            file,
            at: MAGIC.len() as u64,
            end: info.len - FOOTER_BYTES as u64,
            next_block: 0,
            blocks,
            block: Bytes::new(),
            block_at: 0,
        })
    }

    /// The next row; its byte strings share the memory of their block.
    pub(crate) async fn next(&mut self) -> Result<Option<Change>, DbError> {
        if self.block_at == self.block.len() && !self.read_block().await? {
            return Ok(None);
        }
        let mut cursor = Cursor { bytes: &self.block, at: self.block_at };
        let row = decode_row(&mut cursor);
        self.block_at = cursor.at;
        row.map(Some).ok_or_else(|| DbError::corrupt(&self.name, self.at, "a row does not fit its block"))
    }

    async fn read_block(&mut self) -> Result<bool, DbError> {
        if self.at == self.end {
            if self.next_block != self.blocks {
                return Err(DbError::corrupt(&self.name, self.at, "blocks are missing"));
            }
            return Ok(false);
        }
        let corrupt = |what| DbError::corrupt(&self.name, self.at, what);
        if self.end - self.at < 8 {
            return Err(corrupt("half a block"));
        }
        let head = self.file.read_at(self.at, 8).await?;
        let mut cursor = Cursor { bytes: &head, at: 0 };
        let (Some(len), Some(crc)) = (cursor.u32(), cursor.u32()) else {
            return Err(corrupt("half a block"));
        };
        let len = len as usize;
        if len == 0 || len > BLOCK_BYTES_MAX || self.end - self.at - 8 < len as u64 {
            return Err(corrupt("a block length that cannot be"));
        }
        let block = self.file.read_at(self.at + 8, len).await?;
        if block_crc(self.next_block, &block) != crc {
            return Err(corrupt("a block that fails its CRC"));
        }
        self.block = block;
        self.block_at = 0;
        self.next_block += 1;
        self.at += 8 + len as u64;
        Ok(true)
    }
}

async fn check_footer(file: &dyn DiskFile, name: &str, info: &RunInfo) -> Result<u32, DbError> {
    let len = file.len()?;
    let least = (MAGIC.len() + FOOTER_BYTES) as u64;
    if len != info.len || len < least {
        return Err(DbError::corrupt(name, len, format!("the manifest says that it has {} bytes", info.len)));
    }
    let head = file.read_at(0, MAGIC.len()).await?;
    if head != MAGIC[..] {
        return Err(DbError::corrupt(name, 0, "this is not a run"));
    }
    let at = len - FOOTER_BYTES as u64;
    let found = file.read_at(at, FOOTER_BYTES).await?;
    let blocks = Cursor { bytes: &found, at: 0 }.u32().unwrap_or_default();
    if found != footer(info, blocks)[..] {
        return Err(DbError::corrupt(name, at, "the footer is not the one that the manifest means"));
    }
    Ok(blocks)
}

fn decode_row(cursor: &mut Cursor<'_>) -> Option<Change> {
    let (key_len, value_len) = (cursor.u32()?, cursor.u32()?);
    let key = cursor.take(key_len as usize)?;
    let value = if value_len == DELETED { None } else { Some(cursor.take(value_len as usize)?) };
    Some((key, value))
}
