//! The manifest: which runs there are, and up to where they and the segment files hold the log.
//!
//! `runs/MANIFEST`, replaced as a whole by a rename:
//!
//! ```text
//!      0  magic     8 bytes "CGWRUNS\x01"
//!      8  journal   u64     identity of the data directory, as in journal headers
//!     16  upto      u64     the runs hold every row as of this LSN
//!     24  placed    u64     inline bytes of records up to here are synced in their segments
//!     32  next_seq  u64     no run has this number or a higher one
//!     40  epoch     u16     the epoch that wrote it
//!     42  state     u16     0 whole, 1 an import is going on
//!     44  count     u32
//!     48  runs      count x { seq u64, first_lsn u64, last_lsn u64, len u64, rows u64, deletions u64 }, newest first
//!      .  crc       u32     CRC-32C over all before
//! ```

use bytes::Bytes;
use gw_types::ports::Disk;
use gw_types::{Lsn, PortResult};

use super::{FOLDER, RunInfo};
use crate::DbError;
use crate::record::Cursor;

const MAGIC: [u8; 8] = *b"CGWRUNS\x01";
pub(crate) const NAME: &str = "runs/MANIFEST";
const UNFINISHED: &str = "runs/MANIFEST.new";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) journal: u64,
    pub(crate) upto: Lsn,
    pub(crate) placed: Lsn,
    pub(crate) next_seq: u64,
    pub(crate) epoch: u16,
    pub(crate) importing: bool,
    /// Newest first.
    pub(crate) runs: Vec<RunInfo>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for word in [self.journal, self.upto.0, self.placed.0, self.next_seq] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&u16::from(self.importing).to_le_bytes());
        out.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        for run in &self.runs {
            for word in [run.seq, run.first.0, run.last.0, run.len, run.rows, run.deletions] {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, &'static str> {
        let body = bytes.len().checked_sub(4).ok_or("the file is too short")?;
        if bytes[body..] != crc32c::crc32c(&bytes[..body]).to_le_bytes() {
            return Err("it fails its CRC");
        }
        let body = bytes.slice(..body);
        if !body.starts_with(&MAGIC) {
            return Err("this is not a manifest that this version knows");
        }
        Self::decode_fields(&mut Cursor { bytes: &body, at: MAGIC.len() })
            .ok_or("its counts do not fit its length")
    }

    fn decode_fields(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut manifest = Self {
            journal: cursor.u64()?,
            upto: Lsn(cursor.u64()?),
            placed: Lsn(cursor.u64()?),
            next_seq: cursor.u64()?,
            epoch: cursor.u16()?,
            importing: cursor.u16()? != 0,
            runs: Vec::new(),
        };
        for _ in 0..cursor.u32()? {
            manifest.runs.push(RunInfo {
                seq: cursor.u64()?,
                first: Lsn(cursor.u64()?),
                last: Lsn(cursor.u64()?),
                len: cursor.u64()?,
                rows: cursor.u64()?,
                deletions: cursor.u64()?,
            });
        }
        (cursor.at == cursor.bytes.len()).then_some(manifest)
    }

    /// `None` when there is none.
    pub(crate) async fn read(disk: &dyn Disk) -> Result<Option<Self>, DbError> {
        if !disk.list(FOLDER)?.iter().any(|entry| entry.name == NAME) {
            return Ok(None);
        }
        let file = disk.open(NAME)?;
        let bytes = file.read_at(0, file.len()? as usize).await?;
        Self::decode(&bytes).map(Some).map_err(|what| DbError::corrupt(NAME, 0, what))
    }

    /// Replaces the manifest on disk; with it every new run's name becomes durable.
    pub(crate) async fn write(&self, disk: &dyn Disk) -> PortResult<()> {
        if disk.list(FOLDER)?.iter().any(|entry| entry.name == UNFINISHED) {
            disk.remove(UNFINISHED)?;
        }
        let file = disk.create(UNFINISHED)?;
        file.write_at(0, &self.encode())?;
        file.sync().await?;
        // A run that the manifest lists must be there when the manifest is: names first.
        disk.sync_dir(FOLDER).await?;
        disk.rename(UNFINISHED, NAME)?;
        disk.sync_dir(FOLDER).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let run = RunInfo { seq: 3, first: Lsn(5), last: Lsn(9), len: 4096, rows: 7, deletions: 1 };
        Manifest {
            journal: 11,
            upto: Lsn(9),
            placed: Lsn(8),
            next_seq: 4,
            epoch: 2,
            importing: false,
            runs: vec![run],
        }
    }

    #[test]
    fn the_manifest_has_these_bytes() {
        let hex: String = manifest().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "43475752554e53010b00000000000000090000000000000008000000000000000400000000000000020000000100000003000000000000000500000000000000090000000000000000100000000000000700000000000000010000000000000074f0649b";

    #[test]
    fn a_manifest_reads_back_and_any_flipped_bit_is_noticed() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&Bytes::from(bytes.clone())), Ok(manifest()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&Bytes::from(bad)).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&Bytes::from(bytes[..len].to_vec())).is_err(), "cut at {len}");
        }
    }
}
