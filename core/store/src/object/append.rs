//! Appending to an object (S3 Express One Zone: PutObject with a write offset).
//!
//! The new bytes are staged like any body; the commit shares what is there and joins both, so an
//! append costs its own bytes whatever the size before. It goes through only while the object is
//! still the one whose end was named. With versions each append makes one; headers, metadata and
//! everything beside the object stay as they are. The tag is no digest of the bytes any more, and
//! checksums of the whole go, because nobody has seen the whole.

use gw_data::{BodyKey, DataMap, MapBody};
use gw_types::{InodeId, VersionSeq};

use super::read::{Found, check_customer_key};
use super::write::Locked;
use super::{find, write::ObjectWriter};
use crate::api::{CustomerKey, Etag, ObjectAttributes};
use crate::core::{Core, Work};
use crate::digest::md5;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::BucketRow;

/// Pieces of a map at which no more is appended (AWS: 10,000 parts).
const PIECES_MAX: usize = 10_000;

/// The object that is appended to, as it was when the body began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendTo {
    inode: InodeId,
    version: VersionSeq,
}

/// What an append makes of the object.
pub(crate) struct Appended {
    pub(crate) data: DataMap,
    pub(crate) attributes: ObjectAttributes,
    pub(crate) etag: Etag,
}

/// What the writer of an append stands on: the object, and its data key open and as rows keep it.
pub(crate) type Appending = (AppendTo, Option<BodyKey>, Option<Locked>);

fn wrong_offset() -> StoreError {
    StoreError::new(
        StoreErrorKind::WrongOffset,
        "The write offset value that you specified does not match the current object size.",
    )
}

impl Core {
    /// Looks at what is to be appended to; `None` where nothing is there and the offset says so.
    pub(crate) fn begin_append(
        &self,
        found: StoreResult<Found>,
        offset: u64,
        customer_key: Option<&CustomerKey>,
    ) -> StoreResult<Option<Appending>> {
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind() == StoreErrorKind::NoSuchKey && offset == 0 => return Ok(None),
            Err(error) => return Err(error),
        };
        if found.is_behind {
            // Somebody writes to it through a mount or a volume, and its end is about to move.
            return Err(StoreErrorKind::ConditionalRequestConflict.into());
        }
        let published = &found.published;
        if published.data.len != offset {
            return Err(wrong_offset());
        }
        if matches!(&published.data.body, MapBody::Pieces(pieces) if pieces.len() >= PIECES_MAX) {
            return Err(StoreError::new(
                StoreErrorKind::EntityTooLarge,
                "the object was appended to as often as it may be",
            ));
        }
        check_customer_key(&published.attributes, customer_key)?;
        let to = AppendTo { inode: found.inode, version: published.version };
        let Some((id, wrapped)) = published.data.keys.first().cloned() else {
            // An empty object has no data key yet, and none that a second key could be around.
            if published.attributes.encryption()?.is_some_and(|encryption| encryption.is_second_key()) {
                return Err(StoreError::new(
                    StoreErrorKind::InvalidArgument,
                    "an empty object under a key of its own cannot be appended to",
                ));
            }
            return Ok(Some((to, None, None)));
        };
        let kept = BodyKey { id, wrapped };
        let named = self.key_of(&published.attributes)?;
        Ok(Some(match customer_key.or(named.as_deref()) {
            None => (to, Some(kept), None),
            Some(second) => {
                let open = kept.unlocked(&second.key).ok_or(StoreErrorKind::WrongCustomerKey)?;
                (to, Some(open), Some(Locked(kept)))
            }
        }))
    }
}

impl Work<'_, '_> {
    /// Joins the staged bytes to the object, if it is still the one that was looked at.
    pub(crate) fn append(
        &mut self,
        bucket: &BucketRow,
        (to, key): (AppendTo, &gw_types::ObjectKey),
        (more, digest): (DataMap, [u8; 16]),
    ) -> StoreResult<Appended> {
        let found = find(&*self.txn, bucket.clone(), key, None, false)?;
        if found.inode != to.inode || found.published.version != to.version || found.is_behind {
            return Err(StoreErrorKind::ConditionalRequestConflict.into());
        }
        let published = found.published;
        let size = published.data.len.saturating_add(more.len);
        if size > self.core.config.object_bytes_max {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        let old = published.data.share(self.txn, 0..published.data.len)?;
        let data = DataMap::concat(self.txn, vec![old, more])?;
        let etag = Etag::Opaque(md5(&[published.etag.to_string().as_bytes(), &digest]));
        let mut attributes = published.attributes;
        attributes.end_retention(self.now)?;
        Ok(Appended { data, attributes, etag })
    }
}

impl ObjectWriter {
    /// Whether the body goes behind what is there.
    pub fn is_append(&self) -> bool {
        self.append.is_some()
    }
}
