//! Copying by reference: the new object shares the old one's extents, whatever their size.
//!
//! Data keys are wrapped by bucket keys, so a copy into another bucket wraps them anew, which asks
//! the key port and cannot happen inside a commit. So the source is looked at first, and the commit
//! only goes through while the source is still that very object; otherwise it is looked at again.

use std::ops::Range;
use std::sync::Arc;

use gw_data::DataMap;
use gw_types::{Action, Authenticated, BucketName, ObjectKey};

use super::current::{NewObject, shown_id};
use super::read::{Found, ObjectRead, check_customer_key, check_read};
use super::write::check_attributes;
use crate::access::{self, Act};
use crate::api::{
    Checksum, ChecksumKind, CopyOptions, CopyOutcome, CopySource, Encryption, FinishOptions,
    ObjectAttributes, PutOptions, PutOutcome, PutWay, ReadOptions, VersionId, extras,
};
use crate::core::{Core, UsageChange, Work, load_bucket};
use crate::error::{StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin};
use crate::rows::{self, BucketRow, InodeRow, key};

/// Looks at a source that changes under us before the copy is refused.
pub(crate) const LOOKS_MAX: usize = 16;

/// A source, ready to be shared with one target bucket.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) found: Found,
    /// The map, with keys that the target bucket can unwrap; as it is where a second key is around them.
    data: DataMap,
}

impl Source {
    pub(crate) fn len(&self) -> u64 {
        self.data.len
    }
    /// Whether its data key is under a second key, so that its bytes cannot be shared.
    pub(crate) fn is_under_named_key(&self) -> StoreResult<bool> {
        is_under_named_key(&self.found)
    }
    pub(crate) fn version_id(&self) -> Option<VersionId> {
        shown_id(&self.found.bucket, self.found.published.null, self.found.published.version)
    }
}

fn is_under_named_key(found: &Found) -> StoreResult<bool> {
    Ok(matches!(found.published.attributes.encryption()?, Some(Encryption::Kms { .. })))
}

impl Core {
    /// Finds what to copy from and judges its conditions.
    pub(crate) async fn source(
        &self,
        who: &Authenticated,
        source: &CopySource,
        target: &BucketRow,
    ) -> StoreResult<Source> {
        let found = {
            let snapshot = self.snapshot();
            let row = load_bucket(&snapshot, &source.bucket)?.ok_or(StoreErrorKind::NoSuchBucket)?;
            let action = match source.version {
                None => Action::GetObject,
                Some(_) => Action::GetObjectVersion,
            };
            let options = ReadOptions { version: source.version, parts: true, ..ReadOptions::default() };
            let act = Act::on(action, &source.key);
            let found = self.look_for(&snapshot, who, act, (&source.bucket, row), &options)?;
            check_customer_key(&found.published.attributes, None)?;
            // A copy has no 304: what a GET would not send again is 412 here.
            check_read(&source.conditions, &found).map_err(|error| match error.kind() {
                StoreErrorKind::NotModified => StoreErrorKind::PreconditionFailed.into(),
                _ => error,
            })?;
            found
        };
        let data = if found.bucket.root == target.root || is_under_named_key(&found)? {
            found.published.data.clone()
        } else {
            self.data.rewrap(&found.published.data, &found.bucket.key, &target.key).await?
        };
        Ok(Source { found, data })
    }

    pub(crate) async fn copy(
        self: &Arc<Self>,
        who: &Authenticated,
        source: &CopySource,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &CopyOptions,
    ) -> StoreResult<CopyOutcome> {
        if source.customer_key.is_some() || options.wants.customer_key.is_some() {
            return self.copy_bytes(who, source, bucket, key, options).await;
        }
        for _ in 0..LOOKS_MAX {
            let target = self.bucket(&self.snapshot(), who, Act::on(Action::PutObject, key), bucket)?;
            let named = self.second_key(&target, &mut options.wants.clone()).await?.is_some();
            let asked = source;
            let source = self.source(who, source, &target).await?;
            if named || source.is_under_named_key()? {
                return self.copy_bytes(who, asked, bucket, key, options).await;
            }
            let mut attributes = attributes(&source.found.published.attributes, options)?;
            check_attributes(&attributes)?;
            let done = self.commit(|work| {
                let row = work.same_bucket(who, Act::on(Action::PutObject, key), bucket, target.root)?;
                access::dress(&*work.txn, &row, who, &options.wants, &mut attributes)?;
                let origin = Origin::new(who, bucket, Cause::Copy);
                work.copy(&row, &source, (origin, key), options, attributes)
            })?;
            if let Some(put) = done.value {
                let level = options.level.unwrap_or(target.settings.level);
                self.settle(done.lsn, target.stream, level).await?;
                return Ok(CopyOutcome { put, source_version_id: source.version_id() });
            }
        }
        Err(StoreErrorKind::ConditionalRequestConflict.into())
    }
}

/// Headers and tags of the copy; lists, locks and keys do not come with the source.
pub(crate) fn attributes(old: &ObjectAttributes, options: &CopyOptions) -> StoreResult<ObjectAttributes> {
    let (headers, user_metadata) = match &options.metadata {
        Some((headers, user_metadata)) => (headers.clone(), user_metadata.clone()),
        None => (old.headers.clone(), old.user_metadata.clone()),
    };
    let storage_class = options.storage_class;
    let mut new = ObjectAttributes { headers, user_metadata, storage_class, documents: Vec::new() };
    let tags = old.tags()?;
    new.set_extra(extras::TAGS, (!tags.is_empty()).then_some(&tags));
    Ok(new)
}

/// Copies that change whose key is around the data key: the bytes are sealed anew under a fresh
/// one, because a shared data key would be open to whoever has either side's.
impl Core {
    async fn copy_bytes(
        self: &Arc<Self>,
        who: &Authenticated,
        source: &CopySource,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &CopyOptions,
    ) -> StoreResult<CopyOutcome> {
        let read = self.open_source(who, source)?;
        let info = read.info();
        let put = PutOptions {
            attributes: attributes(&info.attributes, options)?,
            wants: options.wants.clone(),
            conditions: options.conditions.clone(),
            level: options.level,
            len_hint: Some(info.size),
            way: PutWay::Copy,
            offset: None,
        };
        let mut writer = self.put(who, bucket, key, put).await?;
        let mut body = read.body_of(0..info.size)?;
        while let Some(piece) = body.next().await {
            writer.write(piece?).await?;
        }
        let whole = |checksum: &&Checksum| checksum.kind == ChecksumKind::FullObject;
        let checksums = info.checksums.iter().filter(whole).cloned().collect();
        let put = writer.finish(FinishOptions { content_md5: None, checksums }).await?;
        Ok(CopyOutcome { put, source_version_id: info.version_id })
    }

    /// The source of a copy, for its bytes.
    pub(crate) fn open_source(
        self: &Arc<Self>,
        who: &Authenticated,
        source: &CopySource,
    ) -> StoreResult<ObjectRead> {
        let options = ReadOptions {
            version: source.version,
            conditions: source.conditions.clone(),
            customer_key: source.customer_key.clone(),
            ..ReadOptions::default()
        };
        // A copy has no 304: what a GET would not send again is 412 here.
        self.get(who, &source.bucket, &source.key, &options).map_err(|error| match error.kind() {
            StoreErrorKind::NotModified => StoreErrorKind::PreconditionFailed.into(),
            _ => error,
        })
    }
}

impl Work<'_, '_> {
    /// Shares a range of the source; `None` when it is not what it was.
    pub(crate) fn share(&mut self, source: &Source, range: Range<u64>) -> StoreResult<Option<DataMap>> {
        let row: Option<InodeRow> = rows::load(&*self.txn, "inode", &key::inode(source.found.inode))?;
        let same =
            |row: &InodeRow| row.published().is_some_and(|now| now.version == source.found.published.version);
        if !row.as_ref().is_some_and(same) {
            return Ok(None);
        }
        Ok(Some(source.data.share(self.txn, range)?))
    }

    fn copy(
        &mut self,
        bucket: &BucketRow,
        source: &Source,
        (origin, key): (Origin<'_>, &ObjectKey),
        options: &CopyOptions,
        attributes: ObjectAttributes,
    ) -> StoreResult<Option<PutOutcome>> {
        let Some(data) = self.share(source, 0..source.len())? else { return Ok(None) };
        let object = NewObject {
            origin,
            key: key.as_str(),
            conditions: &options.conditions,
            etag: source.found.published.etag,
            attributes,
            checksums: source.found.published.checksums.clone(),
            parts: source.found.parts.clone(),
            data,
        };
        self.publish(bucket, object, UsageChange::default()).map(Some)
    }
}
