//! Putting parts: from a body, or by reference from an object.

use std::sync::Arc;

use bytes::Bytes;
use gw_data::DataMap;
use gw_types::{Action, Authenticated, BucketName, ObjectKey};

use super::upload;
use crate::access::Act;
use crate::api::{
    ByteRange, Checksum, CopyPartOutcome, CopySource, CustomerKey, Etag, FinishOptions, PartNumber,
    PartOutcome, UploadId,
};
use crate::core::{Core, UsageChange, Work};
use crate::digest::md5;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::object::{BodyTarget, BodyWrite, LOOKS_MAX, Locked, Source, check_customer_key};
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
    locked: Option<Locked>,
}

impl PartWriter {
    /// Takes the next bytes; waits when staging cannot keep up. After an error drop the writer.
    pub async fn write(&mut self, bytes: Bytes) -> StoreResult<()> {
        self.body.write(bytes).await
    }

    /// Commits and answers at the bucket's level.
    pub async fn finish(self, options: FinishOptions) -> StoreResult<PartOutcome> {
        let Self { core, target, upload, number, body, locked } = self;
        let (staged, md5) = body.finish(options.content_md5).await?;
        let etag = Etag::Md5(md5);
        let done = core.commit(|work| {
            let bucket = work.target(&target)?;
            let place = PartPlace { key: &target.key, upload, number };
            let data = staged.attach(work.txn)?;
            let data = match locked {
                Some(locked) => locked.lock(data),
                None => data,
            };
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
        (len_hint, customer_key): (Option<u64>, Option<&CustomerKey>),
    ) -> StoreResult<PartWriter> {
        let (row, upload) = {
            let snapshot = self.snapshot();
            let row = self.bucket(&snapshot, who, Act::on(Action::PutObject, place.key), bucket)?;
            let upload = upload::load(&snapshot, row.root, place.key, place.upload)?;
            (row, upload)
        };
        check_customer_key(&upload.attributes, customer_key)?;
        let named = self.key_of(&upload.attributes)?;
        let (body_key, locked) = match customer_key.or(named.as_deref()) {
            None => (upload.body_key, None),
            Some(second) => {
                let plain = upload.body_key.unlocked(&second.key).ok_or(StoreErrorKind::WrongCustomerKey)?;
                (plain, Some(Locked(upload.body_key)))
            }
        };
        let lens = (len_hint, self.config.part_bytes_max);
        let body = BodyWrite::begin(self, &row, lens, Some(body_key))?;
        let target =
            BodyTarget { who: who.clone(), bucket: bucket.clone(), root: row.root, key: place.key.clone() };
        let (upload, number) = (place.upload, place.number);
        Ok(PartWriter { core: self.clone(), target, upload, number, body, locked })
    }

    pub(crate) async fn upload_copy_part(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        place: PartPlace<'_>,
        source: (&CopySource, Option<ByteRange>),
        customer_key: Option<&CustomerKey>,
    ) -> StoreResult<CopyPartOutcome> {
        if customer_key.is_some() || source.0.customer_key.is_some() {
            return self.copy_part_bytes(who, bucket, place, source, customer_key).await;
        }
        let (source, range) = source;
        for _ in 0..LOOKS_MAX {
            let (target, named) = {
                let snapshot = self.snapshot();
                let act = Act::on(Action::PutObject, place.key);
                let target = self.bucket(&snapshot, who, act, bucket)?;
                let upload = upload::load(&snapshot, target.root, place.key, place.upload)?;
                check_customer_key(&upload.attributes, None)?;
                (target, self.key_of(&upload.attributes)?.is_some())
            };
            let asked = source;
            let source = self.source(who, source, &target).await?;
            if named || source.is_under_named_key()? {
                return self.copy_part_bytes(who, bucket, place, (asked, range), None).await;
            }
            let range = whole_range(range, source.len())?;
            if range.end - range.start > self.config.part_bytes_max {
                return Err(StoreErrorKind::EntityTooLarge.into());
            }
            let etag = copied_etag(&source, &range);
            let done = self.commit(|work| {
                let act = Act::on(Action::PutObject, place.key);
                let row = work.same_bucket(who, act, bucket, target.root)?;
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

impl Core {
    /// Where a customer's key is in play the bytes are sealed anew.
    async fn copy_part_bytes(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        place: PartPlace<'_>,
        (source, range): (&CopySource, Option<ByteRange>),
        customer_key: Option<&CustomerKey>,
    ) -> StoreResult<CopyPartOutcome> {
        let read = self.open_source(who, source)?;
        let range = whole_range(range, read.info().size)?;
        let len = Some(range.end - range.start);
        let mut writer = self.upload_put_part(who, bucket, place, (len, customer_key)).await?;
        let mut body = read.body_of(range)?;
        while let Some(piece) = body.next().await {
            writer.write(piece?).await?;
        }
        let put = writer.finish(FinishOptions::default()).await?;
        Ok(CopyPartOutcome {
            etag: put.etag,
            lsn: put.lsn,
            last_modified: self.clock.now(),
            source_version_id: read.info().version_id,
        })
    }
}

/// The range of a copy, which AWS does not cut at the end of the source.
fn whole_range(range: Option<ByteRange>, len: u64) -> StoreResult<std::ops::Range<u64>> {
    match range.unwrap_or_default() {
        ByteRange::Between(_, last) if last >= len => {
            let message = format!("Range specified is not valid for source object of size: {len}");
            Err(StoreError::new(StoreErrorKind::InvalidRange, message))
        }
        range => range.resolve(len),
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
