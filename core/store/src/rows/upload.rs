//! Tables 0x20 to 0x24: uploads in parts, from their beginning to the sweeping of their parts.

use gw_data::{BodyKey, DataMap};
use gw_types::{Lsn, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{
    Checksum, ChecksumAlgorithm, ChecksumKind, Etag, ObjectAttributes, PartInfo, PartNumber, VersionId,
};

/// An unfinished upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadRow {
    pub(crate) created: Timestamp,
    pub(crate) initiator: String,
    pub(crate) attributes: ObjectAttributes,
    pub(crate) checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Seals all its parts, so that the object's map carries one key and not ten thousand.
    pub(crate) body_key: BodyKey,
    /// Bytes of its parts.
    pub(crate) bytes: u64,
    /// How many parts there are.
    pub(crate) parts: u32,
    /// One more with each part put, so that completing can check the parts outside the commit.
    pub(crate) revision: u64,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) etag: Etag,
    pub(crate) checksums: Vec<Checksum>,
    pub(crate) committed_at: Timestamp,
    pub(crate) data: DataMap,
}

impl PartRow {
    pub(crate) fn info(&self, number: PartNumber) -> PartInfo {
        PartInfo {
            number,
            len: self.data.len,
            etag: self.etag,
            checksums: self.checksums.clone(),
            last_modified: self.committed_at,
        }
    }
}

/// What a completed upload answered, kept for its retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompletedRow {
    /// MD5 over the part list, so that only the same request gets the same answer.
    pub(crate) list: [u8; 16],
    pub(crate) etag: Etag,
    /// `Some(None)` is the null version.
    pub(crate) version: Option<Option<u64>>,
    pub(crate) lsn: Lsn,
    pub(crate) size: u64,
    pub(crate) completed_at: Timestamp,
    pub(crate) checksums: Vec<Checksum>,
}

impl CompletedRow {
    pub(crate) fn version_id(&self) -> Option<VersionId> {
        self.version.map(|seq| seq.map_or(VersionId::Null, |seq| VersionId::Seq(gw_types::VersionSeq(seq))))
    }
}

/// Part rows of a completed or aborted upload that are still to be deleted, some with their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SweepRow {
    /// One bit for each part number (from 0) whose bytes now belong to an object.
    kept: Vec<u8>,
}

impl SweepRow {
    pub(crate) fn keep(&mut self, number: PartNumber) {
        let (byte, bit) = Self::bit(number);
        if self.kept.len() <= byte {
            self.kept.resize(byte + 1, 0);
        }
        self.kept[byte] |= bit;
    }
    pub(crate) fn is_kept(&self, number: PartNumber) -> bool {
        let (byte, bit) = Self::bit(number);
        self.kept.get(byte).is_some_and(|bits| bits & bit != 0)
    }
    fn bit(number: PartNumber) -> (usize, u8) {
        (usize::from(number.get()) / 8, 1 << (number.get() % 8))
    }
}
