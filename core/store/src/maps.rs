//! Which of the store's rows hold maps, for compaction: it must find every reference to the bytes that
//! it moves.
//!
//! Inodes hold what S3 sees and what is being worked on, parts what an upload has so far, doomed rows
//! what a reader still had in hand. A part whose bytes have gone over to an object may stand here
//! together with it until it is swept: found twice, it does no harm. **Who adds a row with a map adds
//! it here**; a reference that is not found keeps its segment from ever being compacted.

use gw_data::{DataError, DataMap, MapRows};

use crate::error::StoreError;
use crate::rows::{self, DoomedRow, InodeBody, InodeRow, PartRow, SnapshotRow, key};

/// The maps in the store's rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredMaps;

impl MapRows for StoredMaps {
    fn tables(&self) -> &[u8] {
        &key::WITH_MAPS
    }

    fn maps(&self, row: &[u8], value: &[u8]) -> Result<Vec<DataMap>, DataError> {
        let unread = |error: StoreError| DataError::Corrupt(error.to_string());
        match row.first() {
            Some(&key::INODE) => {
                let inode: InodeRow = rows::decode("inode", value).map_err(unread)?;
                let InodeBody::File(file) = inode.body else { return Ok(Vec::new()) };
                let published = file.published.map(|published| published.data);
                Ok(file.working.into_iter().chain(published).collect())
            }
            Some(&key::PART) => {
                rows::decode::<PartRow>("part", value).map(|part| vec![part.data]).map_err(unread)
            }
            Some(&key::DOOMED) => {
                rows::decode::<DoomedRow>("doomed", value).map(|doomed| doomed.0).map_err(unread)
            }
            Some(&key::SNAPSHOT) => {
                rows::decode::<SnapshotRow>("snapshot", value).map(|row| vec![row.data]).map_err(unread)
            }
            _ => Ok(Vec::new()),
        }
    }
}
