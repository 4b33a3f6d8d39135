//! Beginning, finding, listing and giving up uploads.

use gw_db::Read;
use gw_types::{Action, Authenticated, BucketName, InodeId, ObjectKey, UploadSeq};

use crate::access::{self, Act};
use crate::api::{PartListPage, PartNumber, UploadId, UploadInfo, UploadOptions};
use crate::core::{Core, UsageChange, Work, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::object::{Locked, check_attributes};
use crate::rows::{self, BucketRow, PartRow, SweepRow, UploadRow, key};
use crate::sweep;

/// Most parts of one page.
const PARTS_PAGE_MAX: usize = 1000;
/// Uploads given up by one commit when their bucket goes.
const ABORT_BATCH: usize = 64;

/// An upload's row, or `NoSuchUpload`.
pub(crate) fn load(
    read: &impl Read,
    root: InodeId,
    key: &ObjectKey,
    upload: UploadId,
) -> StoreResult<UploadRow> {
    rows::load(read, "upload", &key::upload(root, key.as_str().as_bytes(), upload.0))?
        .ok_or_else(|| StoreErrorKind::NoSuchUpload.into())
}

impl UploadRow {
    pub(crate) fn info(&self, upload_id: UploadId) -> UploadInfo {
        UploadInfo {
            upload_id,
            created: self.created,
            initiator: self.initiator.clone(),
            attributes: self.attributes.clone(),
            checksum: self.checksum,
        }
    }
}

impl Core {
    pub(crate) async fn upload_create(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        mut options: UploadOptions,
    ) -> StoreResult<UploadInfo> {
        check_attributes(&options.attributes)?;
        let act = Act::on(Action::PutObject, key);
        let before = self.bucket(&self.snapshot(), who, act, bucket)?;
        self.check_horizon(options.wants.retention.as_ref())?;
        let body_key = match self.second_key(&before, &mut options.wants).await? {
            None => self.data.new_key(&before.key).await?,
            Some(second) => {
                let (_, Locked(locked)) = self.locked_key(&before, &second).await?;
                locked
            }
        };
        let done = self.commit(|work| {
            let row = work.same_bucket(who, act, bucket, before.root)?;
            let mut attributes = options.attributes;
            access::dress(&*work.txn, &row, who, &options.wants, &mut attributes)?;
            let upload = UploadId(work.new_upload());
            let upload_row = UploadRow {
                created: work.now,
                initiator: initiator(who),
                attributes,
                checksum: options.checksum,
                body_key,
                bytes: 0,
                parts: 0,
                revision: 0,
            };
            work.put_row(key::upload(row.root, key.as_str().as_bytes(), upload.0), &upload_row);
            work.account(&row, UsageChange { uploads: 1, ..UsageChange::default() })?;
            Ok((upload_row.info(upload), row.stream, row.settings.level))
        })?;
        let (info, stream, level) = done.value;
        self.settle(done.lsn, stream, level).await?;
        Ok(info)
    }

    pub(crate) async fn upload_abort(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> StoreResult<()> {
        let done = self.commit(|work| {
            let act = Act::on(Action::AbortMultipartUpload, key);
            let row = self.bucket_of_upload(&*work.txn, who, act, bucket, upload)?;
            work.abort(&row, key.as_str().as_bytes(), upload.0)?;
            Ok((row.stream, row.settings.level))
        })?;
        self.sweep(upload.0)?;
        let (stream, level) = done.value;
        self.settle(done.lsn, stream, level).await
    }

    /// The bucket of an upload, for who may do this or has begun the upload (AWS).
    fn bucket_of_upload(
        &self,
        read: &impl Read,
        who: &Authenticated,
        act: Act<'_>,
        name: &BucketName,
        upload: UploadId,
    ) -> StoreResult<BucketRow> {
        let refused = match self.bucket(read, who, act, name) {
            Err(error) if error.kind() == StoreErrorKind::AccessDenied => error,
            other => return other,
        };
        let row = load_bucket(read, name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        let begun = act.key.map(|key| load(read, row.root, key, upload)).transpose();
        match begun {
            Ok(Some(begun)) if who.name().is_some() && initiator(who) == begun.initiator => Ok(row),
            _ => Err(refused),
        }
    }

    /// Gives up some of a bucket's uploads, if nothing else is in it; answers whether none is left.
    pub(crate) fn abort_some(
        &self,
        bucket: &BucketRow,
        check: impl Fn(&Work<'_, '_>) -> StoreResult<()>,
    ) -> StoreResult<bool> {
        let done = self.commit(|work| {
            check(work)?;
            let uploads = rows::under(&*work.txn, &key::uploads(bucket.root), &[], ABORT_BATCH)?;
            let mut seqs = Vec::with_capacity(uploads.len());
            for (row, _) in &uploads {
                let (name, seq) = key::upload_parts(row)
                    .ok_or_else(|| StoreError::corrupt("the key of an upload row does not parse"))?;
                work.abort(bucket, &name, seq)?;
                seqs.push(seq);
            }
            Ok(seqs)
        })?;
        for seq in &done.value {
            self.sweep(*seq)?;
        }
        Ok(done.value.len() < ABORT_BATCH)
    }

    pub(crate) fn upload_parts(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        (after, max, action): (Option<PartNumber>, usize, Action),
    ) -> StoreResult<PartListPage> {
        let snapshot = self.snapshot();
        let row = self.bucket_of_upload(&snapshot, who, Act::on(action, key), bucket, upload)?;
        let info = load(&snapshot, row.root, key, upload)?.info(upload);
        let max = max.min(PARTS_PAGE_MAX);
        let from = after.map_or_else(Vec::new, |number| key::after(&key::part(upload.0, number)));
        let mut found = rows::under(&snapshot, &key::parts(upload.0), &from, max + 1)?;
        let more = found.len() > max;
        found.truncate(max);
        let parts = found
            .iter()
            .map(|(row, value)| part(row, value).map(|(number, part)| part.info(number)))
            .collect::<StoreResult<Vec<_>>>()?;
        let next = if more { parts.last().map(|part| part.number) } else { None };
        Ok(PartListPage { key: key.clone(), upload: info, parts, next })
    }
}

/// Decodes a part's key and row.
pub(crate) fn part(key: &[u8], value: &[u8]) -> StoreResult<(PartNumber, PartRow)> {
    let number =
        key::part_number(key).ok_or_else(|| StoreError::corrupt("the key of a part row does not parse"))?;
    Ok((number, rows::decode("part", value)?))
}

impl Work<'_, '_> {
    /// Makes an upload garbage; its parts are swept afterwards.
    pub(crate) fn abort(&mut self, bucket: &BucketRow, name: &[u8], upload: UploadSeq) -> StoreResult<()> {
        let upload_key = key::upload(bucket.root, name, upload);
        let row: UploadRow =
            rows::load(&*self.txn, "upload", &upload_key)?.ok_or(StoreErrorKind::NoSuchUpload)?;
        self.txn.delete(upload_key);
        self.put_row(key::sweep(upload), &SweepRow::default());
        if (row.parts as usize) < sweep::BATCH {
            self.sweep(upload)?;
        }
        let change = UsageChange { uploads: -1, upload_bytes: -(row.bytes as i64), ..Default::default() };
        self.account(bucket, change)
    }
}

/// Who begins an upload: an account, or a user or role in it, which may not do what others of the
/// account began.
fn initiator(who: &Authenticated) -> String {
    who.label().map(|label| label.to_string()).unwrap_or_default()
}
