//! Copying by reference: the new object shares the old one's extents, whatever their size.
//!
//! Data keys are wrapped by bucket keys, so a copy into another bucket wraps them anew, which asks
//! the key port and cannot happen inside a commit. So the source is looked at first, and the commit
//! only goes through while the source is still that very object; otherwise it is looked at again.

use std::ops::Range;

use gw_data::DataMap;
use gw_types::{Action, Authenticated, BucketName, ObjectKey};

use super::current::{NewObject, shown_id};
use super::read::{Found, check_read, find};
use super::write::{check_attributes, check_documents};
use crate::api::{CopyOptions, CopyOutcome, CopySource, ObjectAttributes, PutOutcome, VersionId};
use crate::core::{Core, UsageChange, Work};
use crate::error::{StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, InodeRow, key};

/// Looks at a source that changes under us before the copy is refused.
pub(crate) const LOOKS_MAX: usize = 16;

/// A source, ready to be shared with one target bucket.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) found: Found,
    /// The map, with keys that the target bucket can unwrap.
    data: DataMap,
}

impl Source {
    pub(crate) fn len(&self) -> u64 {
        self.data.len
    }
    pub(crate) fn version_id(&self) -> Option<VersionId> {
        shown_id(&self.found.bucket, self.found.published.null, self.found.published.version)
    }
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
            let row = self.bucket(&snapshot, who, Action::GetObject, &source.bucket)?;
            let found = find(&snapshot, row, &source.key, source.version, true)?;
            // A copy has no 304: what a GET would not send again is 412 here.
            check_read(&source.conditions, &found).map_err(|error| match error.kind() {
                StoreErrorKind::NotModified => StoreErrorKind::PreconditionFailed.into(),
                _ => error,
            })?;
            found
        };
        let data = if found.bucket.root == target.root {
            found.published.data.clone()
        } else {
            self.data.rewrap(&found.published.data, &found.bucket.key, &target.key).await?
        };
        Ok(Source { found, data })
    }

    pub(crate) async fn copy(
        &self,
        who: &Authenticated,
        source: &CopySource,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &CopyOptions,
    ) -> StoreResult<CopyOutcome> {
        if let Some(documents) = &options.documents {
            check_documents(documents)?;
        }
        for _ in 0..LOOKS_MAX {
            let target = self.bucket(&self.snapshot(), who, Action::PutObject, bucket)?;
            let source = self.source(who, source, &target).await?;
            let attributes = attributes(&source, options);
            check_attributes(&attributes)?;
            let done = self.commit(|work| {
                let row = work.same_bucket(who, Action::PutObject, bucket, target.root)?;
                work.copy(&row, &source, key, options, attributes)
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

fn attributes(source: &Source, options: &CopyOptions) -> ObjectAttributes {
    let old = &source.found.published.attributes;
    let (headers, user_metadata) = match &options.metadata {
        Some((headers, user_metadata)) => (headers.clone(), user_metadata.clone()),
        None => (old.headers.clone(), old.user_metadata.clone()),
    };
    let documents = options.documents.clone().unwrap_or_else(|| old.documents.clone());
    ObjectAttributes { headers, user_metadata, storage_class: options.storage_class, documents }
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
        key: &ObjectKey,
        options: &CopyOptions,
        attributes: ObjectAttributes,
    ) -> StoreResult<Option<PutOutcome>> {
        let Some(data) = self.share(source, 0..source.len())? else { return Ok(None) };
        let object = NewObject {
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
