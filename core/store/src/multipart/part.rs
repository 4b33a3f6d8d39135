//! Putting parts: from a body, or by reference from an object.

use std::sync::Arc;

use bytes::Bytes;
use gw_data::DataMap;
use gw_types::{Action, Authenticated, BucketName, ObjectKey};

use super::upload;
use crate::api::{
    ByteRange, Checksum, CopyPartOutcome, CopySource, Etag, FinishOptions, PartNumber, PartOutcome, UploadId,
};
use crate::core::{Core, UsageChange, Work};
use crate::digest::md5;
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{BodyTarget, BodyWrite, LOOKS_MAX, Source};
use crate::rows::{self, BucketRow, PartRow, key};

/// Where a part goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartPlace<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) upload: UploadId,
    pub(crate) number: PartNumber,
}

/// The put of a part. Dropping it before [`PartWriter::finish`] leaves nothing behind.
#[derive(Debug)]
pub struct PartWriter {
    core: Arc<Core>,
    target: BodyTarget,
    upload: UploadId,
    number: PartNumber,
    body: BodyWrite,
}

impl PartWriter {
    /// Takes the next bytes; waits when staging cannot keep up. After an error drop the writer.
    pub async fn write(&mut self, bytes: Bytes) -> StoreResult<()> {
        self.body.write(bytes).await
    }

    /// Commits and answers at the bucket's level.
    pub async fn finish(self, options: FinishOptions) -> StoreResult<PartOutcome> {
        let Self { core, target, upload, number, body } = self;
        let (staged, md5) = body.finish(options.content_md5).await?;
        let etag = Etag::Md5(md5);
        let done = core.commit(|work| {
            let bucket = work.same_bucket(&target.who, Action::PutObject, &target.bucket, target.root)?;
            let place = PartPlace { key: &target.key, upload, number };
            let data = staged.attach(work.txn)?;
            work.put_part(&bucket, place, etag, options.checksums.clone(), data)?;
            Ok((bucket.stream, bucket.settings.level))
        })?;
        let (stream, level) = done.value;
        core.settle(done.lsn, stream, level).await?;
        Ok(PartOutcome { etag, lsn: done.lsn, checksums: options.checksums })
    }
}

impl Core {
    pub(crate) async fn upload_put_part(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        place: PartPlace<'_>,
        len_hint: Option<u64>,
    ) -> StoreResult<PartWriter> {
        let (row, upload) = {
            let snapshot = self.snapshot();
            let row = self.bucket(&snapshot, who, Action::PutObject, bucket)?;
            let upload = upload::load(&snapshot, row.root, place.key, place.upload)?;
            (row, upload)
        };
        let lens = (len_hint, self.config.part_bytes_max);
        let body = BodyWrite::begin(self, &row, lens, Some(upload.body_key))?;
        let target =
            BodyTarget { who: who.clone(), bucket: bucket.clone(), root: row.root, key: place.key.clone() };
        Ok(PartWriter { core: self.clone(), target, upload: place.upload, number: place.number, body })
    }

    pub(crate) async fn upload_copy_part(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        place: PartPlace<'_>,
        source: &CopySource,
        range: Option<ByteRange>,
    ) -> StoreResult<CopyPartOutcome> {
        for _ in 0..LOOKS_MAX {
            let target = {
                let snapshot = self.snapshot();
                let target = self.bucket(&snapshot, who, Action::PutObject, bucket)?;
                upload::load(&snapshot, target.root, place.key, place.upload)?;
                target
            };
            let source = self.source(who, source, &target).await?;
            let range = range.unwrap_or_default().resolve(source.len())?;
            if range.end - range.start > self.config.part_bytes_max {
                return Err(StoreErrorKind::EntityTooLarge.into());
            }
            let etag = copied_etag(&source, &range);
            let done = self.commit(|work| {
                let row = work.same_bucket(who, Action::PutObject, bucket, target.root)?;
                let Some(data) = work.share(&source, range.clone())? else { return Ok(None) };
                work.put_part(&row, place, etag, Vec::new(), data)?;
                Ok(Some(work.now))
            })?;
            if let Some(last_modified) = done.value {
                self.settle(done.lsn, target.stream, target.settings.level).await?;
                let source_version_id = source.version_id();
                return Ok(CopyPartOutcome { etag, lsn: done.lsn, last_modified, source_version_id });
            }
        }
        Err(StoreErrorKind::ConditionalRequestConflict.into())
    }
}

/// The true MD5 where it is known, else a digest that names the same bytes.
fn copied_etag(source: &Source, range: &std::ops::Range<u64>) -> Etag {
    let etag = source.found.published.etag;
    match etag {
        Etag::Md5(_) if *range == (0..source.len()) => etag,
        _ => Etag::Md5(md5(&[
            b"part copied by reference",
            etag.to_string().as_bytes(),
            &range.start.to_be_bytes(),
            &range.end.to_be_bytes(),
        ])),
    }
}

impl Work<'_, '_> {
    fn put_part(
        &mut self,
        bucket: &BucketRow,
        place: PartPlace<'_>,
        etag: Etag,
        checksums: Vec<Checksum>,
        data: DataMap,
    ) -> StoreResult<()> {
        let mut upload = upload::load(&*self.txn, bucket.root, place.key, place.upload)?;
        let part_key = key::part(place.upload.0, place.number);
        let mut change = UsageChange { upload_bytes: data.len as i64, ..UsageChange::default() };
        match rows::load::<PartRow>(&*self.txn, "part", &part_key)? {
            Some(old) => {
                change.upload_bytes -= old.data.len as i64;
                old.data.release(self.txn)?;
            }
            None => upload.parts += 1,
        }
        upload.bytes = upload.bytes.saturating_add_signed(change.upload_bytes);
        upload.revision += 1;
        let part = PartRow { etag, checksums, committed_at: self.now, data };
        self.put_row(part_key, &part);
        self.put_row(key::upload(bucket.root, place.key.as_str().as_bytes(), place.upload.0), &upload);
        self.account(bucket, change)
    }
}
