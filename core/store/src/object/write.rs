//! Putting bodies: stage, digest, commit.
//!
//! Bytes go to `gw-data` as they come (which holds the caller back when staging is slow) and to the
//! MD5 beside it. Nothing is visible before [`ObjectWriter::finish`] commits, and a writer that is
//! dropped before takes its staged bytes with it.

use std::sync::Arc;

use bytes::Bytes;
use gw_data::{BodyKey, BodyWriter, DataMap, LaneClass, StagedBody};
use gw_types::{Action, Authenticated, BucketName, InodeId, ObjectKey};

use super::append::{AppendTo, Appended, Appending};
use super::current::{NewObject, check_write};
use super::find;
use crate::access::{self, Act};
use crate::api::{
    CustomerKey, Document, Etag, EtagMatch, FinishOptions, ObjectAttributes, PutOptions, PutOutcome, PutWay,
};
use crate::core::{Core, UsageChange, Work, load_usage};
use crate::digest::BodyDigest;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin};
use crate::namespace;
use crate::rows::BucketRow;

/// AWS's limit for user metadata: names and values together.
const USER_METADATA_BYTES_MAX: usize = 2 << 10;
const HEADER_BYTES_MAX: usize = 8 << 10;
const DOCUMENT_BYTES_MAX: usize = 64 << 10;
const DOCUMENT_NAME_BYTES_MAX: usize = 64;

/// Where a body goes, remembered over its upload.
#[derive(Debug)]
pub(crate) struct BodyTarget {
    pub(crate) who: Authenticated,
    pub(crate) bucket: BucketName,
    pub(crate) root: InodeId,
    pub(crate) key: ObjectKey,
}

/// A body on its way in: shared by puts of objects and of parts.
#[derive(Debug)]
pub(crate) struct BodyWrite {
    writer: BodyWriter,
    digest: BodyDigest,
    len: u64,
    len_max: u64,
    len_promised: Option<u64>,
}

impl BodyWrite {
    /// `key`: one that the body shares with others of its bucket.
    pub(crate) fn begin(
        core: &Core,
        bucket: &BucketRow,
        (len_promised, len_max): (Option<u64>, u64),
        key: Option<BodyKey>,
    ) -> StoreResult<Self> {
        if len_promised.is_some_and(|len| len > len_max) {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        if let Some(len) = len_promised {
            refuse_hopeless(core, bucket, len)?;
        }
        let writer = core.data.begin_in(LaneClass::Bulk, bucket.stream, &bucket.key, len_promised, key)?;
        Ok(Self { writer, digest: BodyDigest::default(), len: 0, len_max, len_promised })
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> StoreResult<()> {
        self.len += bytes.len() as u64;
        if self.len > self.len_max {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        if self.len_promised.is_some_and(|promised| self.len > promised) {
            return Err(StoreErrorKind::IncompleteBody.into());
        }
        self.digest.update(bytes.clone()).await?;
        Ok(self.writer.write(bytes).await?)
    }

    /// Checks length and Content-MD5 before the last bytes are synced.
    pub(crate) async fn finish(self, content_md5: Option<[u8; 16]>) -> StoreResult<(StagedBody, [u8; 16])> {
        if self.len_promised.is_some_and(|promised| promised != self.len) {
            return Err(StoreErrorKind::IncompleteBody.into());
        }
        let md5 = self.digest.finish().await?;
        if content_md5.is_some_and(|expected| expected != md5) {
            return Err(StoreErrorKind::BadDigest.into());
        }
        Ok((self.writer.finish().await?, md5))
    }
}

/// A body that passes the quota by itself need not be received.
fn refuse_hopeless(core: &Core, bucket: &BucketRow, len: u64) -> StoreResult<()> {
    let Some(max) = bucket.settings.quota.bytes_max else { return Ok(()) };
    let usage = load_usage(&core.snapshot(), bucket.root)?;
    // What it replaces is not known yet, so only the body itself and other uploads count.
    if len > max || usage.upload_bytes.saturating_add(len) > max {
        return Err(StoreErrorKind::QuotaExceeded.into());
    }
    Ok(())
}

pub(crate) fn check_attributes(attributes: &ObjectAttributes) -> StoreResult<()> {
    let user: usize = attributes.user_metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    let headers = &attributes.headers;
    let headers: usize = [
        &headers.content_type,
        &headers.content_encoding,
        &headers.content_disposition,
        &headers.content_language,
        &headers.cache_control,
        &headers.expires,
        &headers.website_redirect,
    ]
    .into_iter()
    .flatten()
    .map(String::len)
    .sum();
    if user > USER_METADATA_BYTES_MAX || headers > HEADER_BYTES_MAX {
        return Err(StoreErrorKind::MetadataTooLarge.into());
    }
    check_documents(&attributes.documents)
}

pub(crate) fn check_documents(documents: &[Document]) -> StoreResult<()> {
    let bytes: usize = documents.iter().map(|document| document.value.len()).sum();
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(StoreErrorKind::MetadataTooLarge.into());
    }
    let named = |document: &Document| (1..=DOCUMENT_NAME_BYTES_MAX).contains(&document.name.len());
    if documents.iter().all(named) {
        Ok(())
    } else {
        Err(StoreError::invalid("the name of a document has 1 to 64 bytes"))
    }
}

/// A put that is under way. Dropping it before [`ObjectWriter::finish`] leaves nothing behind.
#[derive(Debug)]
pub struct ObjectWriter {
    core: Arc<Core>,
    target: BodyTarget,
    options: PutOptions,
    body: BodyWrite,
    locked: Option<Locked>,
    pub(super) append: Option<AppendTo>,
}

/// A body's data key as rows keep it when a customer's key stands around it.
#[derive(Debug)]
pub(crate) struct Locked(pub(crate) BodyKey);

impl Locked {
    /// Puts the locked key into the map that was just made.
    pub(crate) fn lock(self, mut data: DataMap) -> DataMap {
        for (id, wrapped) in &mut data.keys {
            if *id == self.0.id {
                wrapped.clone_from(&self.0.wrapped);
            }
        }
        data
    }
}

impl ObjectWriter {
    /// Takes the next bytes; waits when staging cannot keep up. After an error drop the writer.
    pub async fn write(&mut self, bytes: Bytes) -> StoreResult<()> {
        self.body.write(bytes).await
    }

    /// Commits, waits for the level, answers. An error of the wait has
    /// [`gw_types::Outcome::Unknown`]: the object is there and visible.
    pub async fn finish(self, options: FinishOptions) -> StoreResult<PutOutcome> {
        let Self { core, target, options: put, body, locked, append } = self;
        let (staged, md5) = body.finish(options.content_md5).await?;
        let done = core.commit(|work| {
            let bucket = work.target(&target)?;
            let data = staged.attach(work.txn)?;
            let data = match locked {
                Some(locked) => locked.lock(data),
                None => data,
            };
            let (data, attributes, etag) = match append {
                None => {
                    let mut attributes = put.attributes;
                    access::dress(&*work.txn, &bucket, &target.who, &put.wants, &mut attributes)?;
                    (data, attributes, Etag::Md5(md5))
                }
                Some(to) => {
                    let Appended { data, attributes, etag } =
                        work.append(&bucket, (to, &target.key), (data, md5))?;
                    (data, attributes, etag)
                }
            };
            let cause = match put.way {
                PutWay::Put => Cause::Put,
                PutWay::Form => Cause::Post,
                PutWay::Copy => Cause::Copy,
            };
            let object = NewObject {
                origin: Origin::new(&target.who, &target.bucket, cause),
                key: target.key.as_str(),
                conditions: &put.conditions,
                etag,
                attributes,
                checksums: if append.is_some() { Vec::new() } else { options.checksums },
                parts: Vec::new(),
                data,
            };
            let outcome = work.publish(&bucket, object, UsageChange::default())?;
            Ok((outcome, bucket.stream, bucket.settings.level))
        })?;
        let (outcome, stream, level) = done.value;
        core.settle(done.lsn, stream, put.level.unwrap_or(level)).await?;
        Ok(outcome)
    }
}

impl Core {
    pub(crate) async fn put(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        mut options: PutOptions,
    ) -> StoreResult<ObjectWriter> {
        check_attributes(&options.attributes)?;
        let row = {
            let snapshot = self.snapshot();
            let row = self.bucket(&snapshot, who, Act::on(Action::PutObject, key), bucket)?;
            self.check_horizon(options.wants.retention.as_ref())?;
            if !options.wants.is_empty() {
                access::dress(&snapshot, &row, who, &options.wants, &mut options.attributes.clone())?;
            }
            if options.conditions != Default::default() {
                // Decided again in the commit; what fails now need not send its body.
                let spot = namespace::locate(&snapshot, row.root, key.as_str())?.spot();
                let leaf = spot.map(|spot| namespace::leaf(&snapshot, &spot)).transpose()?.flatten();
                check_write(&options.conditions, leaf.as_ref())?;
            }
            row
        };
        let (append, body_key, locked) = match self.appending(&row, key, &options)? {
            Some((to, body_key, locked)) => (Some(to), body_key, locked),
            None => {
                if options.offset.is_some() {
                    // Who found nothing there means to make it, not to replace what comes meanwhile.
                    options.conditions.if_none_match.get_or_insert(EtagMatch::Any);
                }
                match self.second_key(&row, &mut options.wants).await? {
                    Some(second) => {
                        let (plain, locked) = self.locked_key(&row, &second).await?;
                        (None, Some(plain), Some(locked))
                    }
                    None => (None, None, None),
                }
            }
        };
        let body = BodyWrite::begin(self, &row, (options.len_hint, self.config.put_bytes_max), body_key)?;
        let target =
            BodyTarget { who: who.clone(), bucket: bucket.clone(), root: row.root, key: key.clone() };
        Ok(ObjectWriter { core: self.clone(), target, options, body, locked, append })
    }

    /// What an append goes to; `None` for a put of a whole object.
    fn appending(
        &self,
        row: &BucketRow,
        key: &ObjectKey,
        options: &PutOptions,
    ) -> StoreResult<Option<Appending>> {
        let Some(offset) = options.offset else { return Ok(None) };
        let found = find(&self.snapshot(), row.clone(), key, None, false);
        self.begin_append(found, offset, options.wants.customer_key.as_ref())
    }

    /// A fresh data key: as the bucket's key opens it, and as rows keep it, under the customer's
    /// key besides.
    pub(crate) async fn locked_key(
        &self,
        bucket: &BucketRow,
        customer: &CustomerKey,
    ) -> StoreResult<(BodyKey, Locked)> {
        let plain = self.data.new_key(&bucket.key).await?;
        let mut salt = [0; 32];
        self.keys.random(&mut salt)?;
        let locked = plain.locked(&customer.key, salt);
        Ok((plain, Locked(locked)))
    }
}

impl Work<'_, '_> {
    /// Whether a body of this bucket may still be attached: the same bucket, and still allowed.
    pub(crate) fn target(&self, target: &BodyTarget) -> StoreResult<BucketRow> {
        let act = Act::on(Action::PutObject, &target.key);
        self.same_bucket(&target.who, act, &target.bucket, target.root)
    }
}
