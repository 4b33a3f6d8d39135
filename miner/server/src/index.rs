//! The index on disk: one append-only file that says which deal holds which fragment and which
//! column of a deal is reported.
//!
//! ```text
//! 8 bytes   magic "CESSMIX1"
//! records of 69 bytes:
//!   1   kind: 1 held, 2 reported, 3 dropped
//!   32  fid
//!   32  held: the fragment; reported: the column 0..12, then zeros; dropped: zeros
//!   4   CRC-32C of the 65 bytes before, little endian
//! ```
//!
//! A record is synced before anybody is told. At start the file is read, records that fail their CRC
//! (a tail torn by a power loss, or a bad sector) are left out, and what still counts is written to a
//! new file that replaces it; the same happens when more than half of it has become history. A write
//! that fails is cut off again. A sync that fails cannot be believed later (the system may drop the
//! pages and say "done" the next time), so the index then refuses all writes until a restart.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gw_types::{Fid, FragmentIndex, Hash32};

const MAGIC: &[u8; 8] = b"CESSMIX1";
const RECORD_BYTES: usize = 69;
/// A log shorter than this is never rewritten while running.
const HISTORY_RECORDS_MIN: u64 = 4096;

/// One fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The fragment is stored for this deal.
    Held(Fid, Hash32),
    /// The chain knows that we hold this column of the deal.
    Reported(Fid, FragmentIndex),
    /// Nothing is stored for this deal any more.
    Dropped(Fid),
}

impl Record {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (kind, fid) = match self {
            Self::Held(fid, fragment) => {
                bytes[33..65].copy_from_slice(&fragment.0);
                (1, fid)
            }
            Self::Reported(fid, column) => {
                bytes[33] = column.on_chain() - 1;
                (2, fid)
            }
            Self::Dropped(fid) => (3, fid),
        };
        bytes[0] = kind;
        bytes[1..33].copy_from_slice(&fid.0.0);
        let sum = crc32c::crc32c(&bytes[..65]);
        bytes[65..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        if crc32c::crc32c(&bytes[..65]).to_le_bytes() != bytes[65..] {
            return None;
        }
        let fid = Fid(Hash32(bytes[1..33].try_into().ok()?));
        match bytes[0] {
            1 => Some(Self::Held(fid, Hash32(bytes[33..65].try_into().ok()?))),
            2 => Some(Self::Reported(fid, FragmentIndex::new(bytes[33])?)),
            3 => Some(Self::Dropped(fid)),
            _ => None,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct IndexLog {
    dir: PathBuf,
    file: File,
    records: u64,
    poisoned: bool,
}

impl IndexLog {
    /// All good records of the file in `dir`, and how many were bad.
    pub(crate) fn read(dir: &Path) -> io::Result<(Vec<Record>, usize)> {
        let bytes = match std::fs::read(dir.join("index.log")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(error) => return Err(error),
        };
        let Some(body) = bytes.strip_prefix(MAGIC) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "index.log is not an index of this version",
            ));
        };
        let (whole, rest) = body.as_chunks::<RECORD_BYTES>();
        let records: Vec<_> = whole.iter().filter_map(Record::decode).collect();
        let bad = whole.len() - records.len() + usize::from(!rest.is_empty());
        Ok((records, bad))
    }
    /// Replaces the file by one that holds exactly `records`, synced.
    pub(crate) fn create(dir: &Path, records: &[Record]) -> io::Result<Self> {
        let path = dir.join("index.new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + records.len() * RECORD_BYTES);
        bytes.extend_from_slice(MAGIC);
        records.iter().for_each(|record| bytes.extend_from_slice(&record.encode()));
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        std::fs::rename(&path, dir.join("index.log"))?;
        File::open(dir)?.sync_all()?;
        Ok(Self { dir: dir.to_owned(), file, records: records.len() as u64, poisoned: false })
    }
    /// Adds facts and syncs. After `Err` they are not there, unless [`IndexLog::is_poisoned`].
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.poisoned {
            return Err(io::Error::other("the index has failed; the miner must be restarted"));
        }
        let end = MAGIC.len() as u64 + self.records * RECORD_BYTES as u64;
        let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        if let Err(error) = self.file.write_all_at(&bytes, end) {
            self.poisoned = self.file.set_len(end).is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            self.poisoned = true;
            return Err(error);
        }
        self.records += records.len() as u64;
        Ok(())
    }
    /// Whether a file of `live` records would be much shorter.
    pub(crate) fn is_mostly_history(&self, live: usize) -> bool {
        self.records > HISTORY_RECORDS_MIN && self.records > 2 * live as u64
    }
    /// Writes only what counts. On failure the old file stays in use.
    pub(crate) fn rewrite(&mut self, live: &[Record]) -> io::Result<()> {
        if !self.poisoned {
            *self = Self::create(&self.dir, live)?;
        }
        Ok(())
    }
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

#[cfg(test)]
mod tests {
    use gw_types::{Fid, FragmentIndex, Hash32};

    use super::{IndexLog, RECORD_BYTES, Record};

    fn records() -> Vec<Record> {
        let fid = Fid(Hash32([0xAB; 32]));
        vec![
            Record::Held(fid, Hash32([0xCD; 32])),
            Record::Reported(fid, FragmentIndex::new(11).unwrap()),
            Record::Dropped(fid),
        ]
    }

    /// The format on disk; a change of these bytes is a change of format.
    #[test]
    fn records_have_these_bytes() {
        let text: Vec<_> = records().iter().map(|record| hex::encode(record.encode())).collect();
        let (fid, zeros) = ("ab".repeat(32), "00".repeat(32));
        assert!(text[0].starts_with(&format!("01{fid}{}", "cd".repeat(32))));
        assert!(text[1].starts_with(&format!("02{fid}0b{}", &zeros[2..])));
        assert!(text[2].starts_with(&format!("03{fid}{zeros}")));
        for record in records() {
            let sum = u32::from_le_bytes(record.encode()[65..].try_into().unwrap());
            assert_eq!(sum, crc32c::crc32c(&record.encode()[..65]));
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        assert_eq!(&text[2][130..], "74a81c71");
    }

    #[test]
    fn torn_tail_is_cut_and_nothing_synced_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = IndexLog::create(dir.path(), &records()[..1]).unwrap();
        log.append(&records()[1..]).unwrap();
        let whole = std::fs::read(dir.path().join("index.log")).unwrap();
        for cut in 8..whole.len() {
            std::fs::write(dir.path().join("index.log"), &whole[..cut]).unwrap();
            let (read, bad) = IndexLog::read(dir.path()).unwrap();
            let left = (cut - 8) / RECORD_BYTES;
            assert_eq!(
                (read.as_slice(), bad),
                (&records()[..left], usize::from((cut - 8) % RECORD_BYTES != 0))
            );
        }
    }

    #[test]
    fn a_bad_record_costs_only_itself_and_a_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        IndexLog::create(dir.path(), &records()).unwrap();
        let path = dir.path().join("index.log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8 + RECORD_BYTES + 5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (read, bad) = IndexLog::read(dir.path()).unwrap();
        assert_eq!((read, bad), (vec![records()[0], records()[2]], 1));
        std::fs::write(&path, b"something else").unwrap();
        assert!(IndexLog::read(dir.path()).is_err());
    }

    #[test]
    fn rewriting_leaves_what_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = IndexLog::create(dir.path(), &[]).unwrap();
        (0..1500).for_each(|_| log.append(&records()).unwrap());
        assert!(log.is_mostly_history(3) && !log.is_mostly_history(4000));
        log.rewrite(&records()[..1]).unwrap();
        log.append(&records()[1..2]).unwrap();
        assert_eq!(IndexLog::read(dir.path()).unwrap(), (records()[..2].to_vec(), 0));
    }
}
