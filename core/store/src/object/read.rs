//! Reading: look up and judge on one snapshot, pin, stream.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use gw_data::{BodyReader, DataMap, Located};
use gw_db::Read;
use gw_types::ports::WrappedBucketKey;
use gw_types::{Action, Authenticated, BucketName, InodeId, ObjectKey};

use super::current::shown_id;
use crate::access::Act;
use crate::api::{
    ByteRange, CustomerKey, Encryption, Expiry, ObjectAttributes, ObjectInfo, ReadConditions, ReadOptions,
    Verdict, VersionId, Versioning, extras,
};
use crate::core::{Core, load_bucket};
use crate::error::{ErrorDetail, StoreError, StoreErrorKind, StoreResult};
use crate::history;
use crate::namespace;
use crate::pins::Pin;
use crate::rows::{self, BucketRow, InodeBody, InodeRow, PartsRow, Published, VersionRow, key};

/// Looks that end because the object went away while it was being pinned, before the read takes the
/// commit lock and cannot be disturbed any more.
const LOOKS_MAX: usize = 16;

/// An object found on a snapshot.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) bucket: BucketRow,
    pub(crate) inode: InodeId,
    pub(crate) published: Published,
    pub(crate) parts: Vec<crate::api::ObjectPart>,
    /// A mount or a volume has changed it since.
    pub(crate) is_behind: bool,
    /// By the lifecycle, where it was asked for.
    pub(crate) expiry: Option<Expiry>,
}

/// Finds the current object or a version, with the errors that S3 wants.
pub(crate) fn find(
    read: &impl Read,
    bucket: BucketRow,
    key: &ObjectKey,
    version: Option<VersionId>,
    with_parts: bool,
) -> StoreResult<Found> {
    let missing = if version.is_some() { StoreErrorKind::NoSuchVersion } else { StoreErrorKind::NoSuchKey };
    let Some(spot) = namespace::locate(read, bucket.root, key.as_str())?.spot() else {
        return Err(missing.into());
    };
    let current = namespace::leaf(read, &spot)?;
    let current = current.and_then(|leaf| leaf.published.map(|summary| (leaf.inode, summary)));
    let off = bucket.settings.versioning == Versioning::Off;
    let wanted = |id: VersionId| version.is_none_or(|wanted| wanted == id);
    if let Some((inode, summary)) = current
        && wanted(summary.version_id())
    {
        return open_inode(read, bucket, inode, with_parts);
    }
    if off {
        return Err(missing.into());
    }
    let old = match version {
        None => history::newest(read, &spot)?,
        Some(VersionId::Null) => match history::null_seq(read, &spot)? {
            Some(seq) => history::version(read, &spot, seq)?.map(|row| (seq, row)),
            None => None,
        },
        Some(VersionId::Seq(seq)) => {
            history::version(read, &spot, seq)?.filter(|row| !row.is_null()).map(|row| (seq, row))
        }
    };
    match old {
        None => Err(missing.into()),
        Some((_, VersionRow::Object { inode, .. })) if version.is_some() => {
            open_inode(read, bucket, inode, with_parts)
        }
        Some((_, VersionRow::Object { .. })) => {
            Err(StoreError::corrupt("a name's newest version is not the current one"))
        }
        Some((seq, VersionRow::Marker { null, committed_at })) => {
            let kind = if version.is_some() { StoreErrorKind::IsDeleteMarker } else { missing };
            let version_id = if null { VersionId::Null } else { VersionId::Seq(seq) };
            Err(StoreError::from(kind)
                .with_detail(ErrorDetail::DeleteMarker { version_id, last_modified: committed_at }))
        }
    }
}

fn open_inode(read: &impl Read, bucket: BucketRow, inode: InodeId, with_parts: bool) -> StoreResult<Found> {
    let row: InodeRow = rows::must(read, "inode", &key::inode(inode))?;
    let (published, is_behind) = match row.body {
        InodeBody::File(file) => (file.published, file.working.is_some()),
        _ => (None, false),
    };
    let published =
        published.ok_or_else(|| StoreError::corrupt("a published name leads to an inode that is not"))?;
    let parts = if with_parts && published.has_parts {
        rows::must::<PartsRow>(read, "parts", &key::parts_of(inode))?.0
    } else {
        Vec::new()
    };
    Ok(Found { bucket, inode, published, parts, is_behind, expiry: None })
}

/// Conditions of a read.
pub(crate) fn check_read(conditions: &ReadConditions, found: &Found) -> StoreResult<()> {
    let kind = match conditions.judge(&found.published.etag, found.published.committed_at) {
        Verdict::Go => return Ok(()),
        Verdict::NotModified => StoreErrorKind::NotModified,
        Verdict::Failed => StoreErrorKind::PreconditionFailed,
    };
    Err(StoreError::from(kind).with_detail(ErrorDetail::Object(Box::new(found.info()?))))
}

impl Found {
    /// Where lists are off, the bucket's owner owns all.
    fn owner(&self) -> StoreResult<String> {
        if !self.bucket.rules.acls_count() {
            return Ok(self.bucket.owner.clone());
        }
        Ok(self.published.attributes.foreign_owner()?.unwrap_or_else(|| self.bucket.owner.clone()))
    }
    fn info(&self) -> StoreResult<ObjectInfo> {
        let published = &self.published;
        Ok(ObjectInfo {
            owner: self.owner()?,
            size: published.data.len,
            etag: published.etag,
            last_modified: published.committed_at,
            version_id: shown_id(&self.bucket, published.null, published.version),
            attributes: published.attributes.clone(),
            checksums: published.checksums.clone(),
            parts: self.parts.clone(),
            expiry: self.expiry.clone(),
        })
    }
    /// The map with keys that the bucket's key opens. Asks for the customer's key where the object
    /// was put with one.
    pub(crate) fn open_map(&self, customer_key: Option<&CustomerKey>) -> StoreResult<DataMap> {
        check_customer_key(&self.published.attributes, customer_key)?;
        match customer_key {
            None => Ok(self.published.data.clone()),
            Some(key) => {
                self.published.data.unlocked(&key.key).ok_or_else(|| StoreErrorKind::WrongCustomerKey.into())
            }
        }
    }
    fn into_parts(self) -> StoreResult<(BucketRow, ObjectInfo, DataMap)> {
        let owner = self.owner()?;
        let Self { bucket, mut published, parts, expiry, .. } = self;
        if !bucket.rules.acls_count() && !published.attributes.documents.is_empty() {
            published.attributes.set_extra::<()>(extras::ACL, None);
        }
        let info = ObjectInfo {
            owner,
            size: published.data.len,
            etag: published.etag,
            last_modified: published.committed_at,
            version_id: shown_id(&bucket, published.null, published.version),
            attributes: published.attributes,
            checksums: published.checksums,
            parts,
            expiry,
        };
        Ok((bucket, info, published.data))
    }
}

/// An object on one snapshot, pinned: its bytes stay until this and its bodies are dropped.
#[derive(Debug)]
pub struct ObjectRead {
    core: Arc<Core>,
    pin: Arc<Pin>,
    info: ObjectInfo,
    data: Arc<DataMap>,
    bucket_key: WrappedBucketKey,
    /// Which inode, where a mount or a volume has changed it since.
    behind: Option<InodeId>,
}

impl ObjectRead {
    /// What it is.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }
    pub(crate) fn locate(&self, range: Range<u64>) -> StoreResult<Vec<Located>> {
        Ok(self.core.data.locate(&self.data, range)?)
    }
    /// Its bytes in a range; [`StoreErrorKind::InvalidRange`] where it has none there.
    pub fn body(&self, range: ByteRange) -> StoreResult<ObjectBody> {
        self.body_of(range.resolve(self.info.size)?)
    }
    /// Its bytes in a range that [`ByteRange::resolve`] or [`ObjectInfo::part_range`] gave.
    pub fn body_of(&self, range: Range<u64>) -> StoreResult<ObjectBody> {
        if range.start > range.end || range.end > self.info.size {
            return Err(
                StoreError::from(StoreErrorKind::InvalidRange).with_detail(ErrorDetail::Len(self.info.size))
            );
        }
        let reader = self.core.data.read(self.data.clone(), self.bucket_key.clone(), range.clone());
        Ok(ObjectBody { reader, range, _pin: self.pin.clone() })
    }
}

/// Bytes in order, with a bounded window of read-ahead.
#[derive(Debug)]
pub struct ObjectBody {
    reader: BodyReader,
    range: Range<u64>,
    _pin: Arc<Pin>,
}

impl ObjectBody {
    /// The bytes it covers.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
    /// The next bytes; `None` at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<StoreResult<Bytes>> {
        self.reader.next().await.map(|item| item.map_err(StoreError::from))
    }
    /// The same as a stream.
    pub fn into_stream(self) -> BoxStream<'static, StoreResult<Bytes>> {
        Box::pin(stream::unfold(self, |mut body| async { body.next().await.map(|item| (item, body)) }))
    }
}

impl Core {
    pub(crate) fn head(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &ReadOptions,
    ) -> StoreResult<ObjectInfo> {
        let found = self.look(&self.snapshot(), who, bucket, key, options)?;
        Ok(found.into_parts()?.1)
    }

    /// [`Core::head`], of no less of an attached volume than was flushed.
    pub(crate) async fn head_newest(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &ReadOptions,
    ) -> StoreResult<ObjectInfo> {
        let found = self.look(&self.snapshot(), who, bucket, key, options)?;
        if found.is_behind && self.publish_attached(bucket, found.inode).await? {
            return self.head(who, bucket, key, options);
        }
        Ok(found.into_parts()?.1)
    }

    /// [`Core::get`], of no less of an attached volume than was flushed.
    pub(crate) async fn get_newest(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &ReadOptions,
    ) -> StoreResult<ObjectRead> {
        let read = self.get(who, bucket, key, options)?;
        match read.behind {
            Some(inode) if self.publish_attached(bucket, inode).await? => self.get(who, bucket, key, options),
            _ => Ok(read),
        }
    }

    pub(crate) fn get(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &ReadOptions,
    ) -> StoreResult<ObjectRead> {
        for _ in 0..LOOKS_MAX {
            let found = self.look(&self.snapshot(), who, bucket, key, options)?;
            if let Some(pin) = self.pins.pin(self, found.inode)
                && self.still_shows(&found)?
            {
                return self.opened(found, pin, options);
            }
        }
        // Somebody overwrites the object all the time. Under the commit lock nobody can.
        let done = self.commit(|work| {
            let found = self.look(&*work.txn, who, bucket, key, options)?;
            let pin = self.pins.pin(self, found.inode);
            Ok((found, pin))
        })?;
        let (found, pin) = done.value;
        let pin = pin.ok_or_else(|| StoreError::corrupt("an inode is going while no commit runs"))?;
        self.opened(found, pin, options)
    }

    /// Whether the inode has the bytes that were found: it may be gone, or published anew.
    fn still_shows(&self, found: &Found) -> StoreResult<bool> {
        let row: Option<InodeRow> = rows::load(&self.snapshot(), "inode", &key::inode(found.inode))?;
        let now = row.as_ref().and_then(InodeRow::published);
        Ok(now.is_some_and(|now| now.version == found.published.version))
    }

    fn opened(
        self: &Arc<Self>,
        mut found: Found,
        pin: Pin,
        options: &ReadOptions,
    ) -> StoreResult<ObjectRead> {
        if options.customer_key.is_some() {
            found.published.data = found.open_map(options.customer_key.as_ref())?;
        } else if let Some(named) = self.key_of(&found.published.attributes)? {
            let data = found.published.data.unlocked(&named.key);
            found.published.data =
                data.ok_or_else(|| StoreError::corrupt("an object's named key does not open it"))?;
        }
        let behind = found.is_behind.then_some(found.inode);
        let (bucket, info, data) = found.into_parts()?;
        Ok(ObjectRead {
            behind,
            core: self.clone(),
            pin: Arc::new(pin),
            info,
            data: Arc::new(data),
            bucket_key: bucket.key,
        })
    }

    fn look(
        &self,
        read: &impl Read,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &ReadOptions,
    ) -> StoreResult<Found> {
        let row = load_bucket(read, bucket)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        let action = options.purpose.unwrap_or(match options.version {
            None => Action::GetObject,
            Some(_) => Action::GetObjectVersion,
        });
        let mut found = self.look_for(read, who, Act::on(action, key), (bucket, row), options)?;
        if options.version.is_none() {
            let (published, bucket) = (&found.published, &found.bucket);
            let size = published.data.len;
            let put = (published.committed_at, size);
            found.expiry = self.expiry(read, bucket, (key.as_str(), &published.attributes), put)?;
        }
        check_read(&options.conditions, &found)?;
        if options.purpose.is_none() {
            check_customer_key(&found.published.attributes, options.customer_key.as_ref())?;
        }
        Ok(found)
    }

    /// Finds an object that `who` may act on so. Who may neither act on it nor list is not told
    /// that it is absent.
    pub(crate) fn look_for(
        &self,
        read: &impl Read,
        who: &Authenticated,
        act: Act<'_>,
        (name, row): (&BucketName, BucketRow),
        options: &ReadOptions,
    ) -> StoreResult<Found> {
        let key = act.key.ok_or(StoreErrorKind::NoSuchKey)?;
        match find(read, row, key, options.version, options.parts) {
            Ok(found) => {
                self.allow(read, who, act.of(&found.published.attributes), (name, &found.bucket))?;
                Ok(found)
            }
            Err(error) => Err(self.hide_absence(read, who, (act, error), name)),
        }
    }
}

/// Whether the key that a request brings, or does not bring, is the one the object needs.
pub(crate) fn check_customer_key(
    attributes: &ObjectAttributes,
    customer_key: Option<&CustomerKey>,
) -> StoreResult<()> {
    match (attributes.encryption()?, customer_key) {
        (Some(Encryption::Customer { key_md5 }), Some(key)) if key.md5 == key_md5 => Ok(()),
        (Some(Encryption::Customer { .. }), Some(_)) => Err(StoreErrorKind::WrongCustomerKey.into()),
        (Some(Encryption::Customer { .. }), None) => Err(StoreErrorKind::CustomerKeyNeeded.into()),
        (_, Some(_)) => Err(StoreError::new(
            StoreErrorKind::CustomerKeyNeeded,
            "The encryption parameters are not applicable to this object.",
        )),
        (_, None) => Ok(()),
    }
}
