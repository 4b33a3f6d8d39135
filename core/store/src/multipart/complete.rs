//! Completing: parts become an object in one commit, whatever their number.
//!
//! Reading and checking up to 10 000 part rows happens on a snapshot. The commit only makes sure,
//! by the upload's revision, that no part was put since; then it joins the maps, publishes the
//! object and leaves the part rows to the sweep. What it answered is kept for a day, so that a
//! client whose answer was lost gets the same one again.

use gw_db::Snapshot;
use gw_types::{Action, Authenticated, BucketName, Level, ObjectKey, StreamId, Timestamp};

use super::upload;
use crate::access::Act;
use crate::api::{
    Checksum, CombineChecksums, CompleteOptions, CompletePart, Etag, ObjectPart, PartInfo, PutOutcome,
    UploadId, VersionId, WriteConditions,
};
use crate::core::{Core, UsageChange, Work};
use crate::digest::md5;
use crate::error::{ErrorDetail, StoreError, StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin};
use crate::object::{LOOKS_MAX, NewObject};
use crate::rows::{self, BucketRow, CompletedRow, PartRow, SweepRow, UploadRow, key};
use crate::sweep;

/// How long the answer to a completed upload is kept.
const ANSWER_KEPT_NANOS: i64 = 24 * 3600 * 1_000_000_000;
/// Old answers forgotten with each new one.
const FORGET_BATCH: usize = 16;
const PARTS_MAX: usize = 10_000;

/// One request to complete.
#[derive(Debug)]
struct Request<'a> {
    who: &'a Authenticated,
    bucket: &'a BucketName,
    key: &'a ObjectKey,
    upload: UploadId,
    parts: &'a [CompletePart],
    /// MD5 of the part list.
    list: [u8; 16],
    conditions: &'a WriteConditions,
    size: Option<u64>,
}

/// The parts, checked on a snapshot.
#[derive(Debug)]
struct Checked {
    bucket: BucketRow,
    upload: UploadRow,
    parts: Vec<(PartInfo, PartRow)>,
}

enum Looked {
    Before(PutOutcome, StreamId, Level),
    Now(Box<Checked>),
}

impl Core {
    pub(crate) async fn upload_complete(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        (parts, options): (Vec<CompletePart>, CompleteOptions),
    ) -> StoreResult<PutOutcome> {
        check_list(&parts)?;
        let CompleteOptions { conditions, level, size, combine } = options;
        let list = list_digest(&parts);
        let request =
            Request { who, bucket, key, upload, parts: &parts, list, conditions: &conditions, size };
        let mut combined = Combined::Not(combine);
        for _ in 0..LOOKS_MAX {
            let checked = match self.look_at_parts(&request)? {
                Looked::Before(outcome, stream, default) => {
                    self.settle(outcome.lsn, stream, level.unwrap_or(default)).await?;
                    return Ok(outcome);
                }
                Looked::Now(checked) => checked,
            };
            let checksums = combined.get(&checked)?;
            let (stream, default) = (checked.bucket.stream, checked.bucket.settings.level);
            let done = self.commit(|work| work.complete(&request, *checked, checksums))?;
            if let Some(outcome) = done.value {
                self.sweep(upload.0)?;
                self.settle(done.lsn, stream, level.unwrap_or(default)).await?;
                return Ok(outcome);
            }
        }
        Err(StoreErrorKind::ConditionalRequestConflict.into())
    }

    fn look_at_parts(&self, request: &Request<'_>) -> StoreResult<Looked> {
        let snapshot = self.snapshot();
        let act = Act::on(Action::PutObject, request.key);
        let bucket = self.bucket(&snapshot, request.who, act, request.bucket)?;
        let name = request.key.as_str().as_bytes();
        let answer: Option<CompletedRow> =
            rows::load(&snapshot, "completed", &key::completed(bucket.root, name, request.upload.0))?;
        if let Some(answer) = answer {
            return if answer.list == request.list {
                Ok(Looked::Before(answer.outcome(), bucket.stream, bucket.settings.level))
            } else {
                Err(StoreErrorKind::NoSuchUpload.into())
            };
        }
        let upload = upload::load(&snapshot, bucket.root, request.key, request.upload)?;
        let parts = self.check_parts(&snapshot, request)?;
        Ok(Looked::Now(Box::new(Checked { bucket, upload, parts })))
    }

    fn check_parts(
        &self,
        snapshot: &Snapshot,
        request: &Request<'_>,
    ) -> StoreResult<Vec<(PartInfo, PartRow)>> {
        let found = rows::under(snapshot, &key::parts(request.upload.0), &[], PARTS_MAX)?;
        let mut found = found.iter();
        let mut parts = Vec::with_capacity(request.parts.len());
        let mut total = 0u64;
        for (index, wanted) in request.parts.iter().enumerate() {
            let number = wanted.number;
            let part_error = |kind| StoreError::from(kind).with_detail(ErrorDetail::Part(number.get()));
            // Both lists ascend, so one pass finds all.
            let row = found.find(|(row, _)| key::part_number(row).is_some_and(|found| found >= number));
            let (found_number, row) = match row {
                Some((row, value)) => upload::part(row, value)?,
                None => return Err(part_error(StoreErrorKind::InvalidPart)),
            };
            let checksums_fit = wanted.checksums.iter().all(|checksum| row.checksums.contains(checksum));
            if found_number != number || wanted.etag != Some(row.etag) || !checksums_fit {
                return Err(part_error(StoreErrorKind::InvalidPart));
            }
            let last = index + 1 == request.parts.len();
            if !last && row.data.len < self.config.part_bytes_min {
                return Err(part_error(StoreErrorKind::EntityTooSmall));
            }
            total += row.data.len;
            parts.push((row.info(number), row));
        }
        if total > self.config.object_bytes_max {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        if request.size.is_some_and(|size| size != total) {
            return Err(StoreError::invalid("the parts' sizes do not add up to the object size given"));
        }
        Ok(parts)
    }
}

fn check_list(parts: &[CompletePart]) -> StoreResult<()> {
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return Err(StoreError::invalid("an upload is completed with 1 to 10000 parts"));
    }
    if parts.windows(2).all(|pair| pair[0].number < pair[1].number) {
        Ok(())
    } else {
        Err(StoreErrorKind::InvalidPartOrder.into())
    }
}

fn list_digest(parts: &[CompletePart]) -> [u8; 16] {
    let mut text = Vec::with_capacity(parts.len() * 24);
    for part in parts {
        text.extend_from_slice(&part.number.get().to_be_bytes());
        text.extend_from_slice(part.etag.map(|etag| etag.to_string()).unwrap_or_default().as_bytes());
        text.push(b'\n');
    }
    md5(&[&text])
}

/// The object's checksums, made once however often the commit is tried: the ETags of the list pin
/// the parts' bytes.
enum Combined {
    Not(Option<CombineChecksums>),
    Done(Vec<Checksum>),
}

impl Combined {
    fn get(&mut self, checked: &Checked) -> StoreResult<Vec<Checksum>> {
        if let Self::Not(combine) = self {
            let infos: Vec<PartInfo> = checked.parts.iter().map(|(info, _)| info.clone()).collect();
            *self = Self::Done(match combine.take() {
                Some(combine) => combine(&infos)?,
                None => Vec::new(),
            });
        }
        match self {
            Self::Done(checksums) => Ok(checksums.clone()),
            Self::Not(_) => Ok(Vec::new()),
        }
    }
}

impl CompletedRow {
    fn outcome(&self) -> PutOutcome {
        PutOutcome {
            etag: self.etag,
            version_id: self.version_id(),
            lsn: self.lsn,
            size: self.size,
            last_modified: self.completed_at,
            checksums: self.checksums.clone(),
            encryption: None,
            expiry: None,
        }
    }
}

impl Work<'_, '_> {
    /// `None` when a part was put, or the upload has gone, since the parts were checked.
    fn complete(
        &mut self,
        request: &Request<'_>,
        checked: Checked,
        checksums: Vec<Checksum>,
    ) -> StoreResult<Option<PutOutcome>> {
        let act = Act::on(Action::PutObject, request.key);
        let bucket = self.same_bucket(request.who, act, request.bucket, checked.bucket.root)?;
        let name = request.key.as_str().as_bytes();
        let upload_key = key::upload(bucket.root, name, request.upload.0);
        let upload: Option<UploadRow> = rows::load(&*self.txn, "upload", &upload_key)?;
        if upload.is_none_or(|upload| upload.revision != checked.upload.revision) {
            return Ok(None);
        }

        let mut digests = Vec::with_capacity(checked.parts.len() * 16);
        let mut kept = SweepRow::default();
        let mut parts = Vec::with_capacity(checked.parts.len());
        let mut maps = Vec::with_capacity(checked.parts.len());
        for (info, row) in checked.parts {
            digests.extend_from_slice(info.etag.digest());
            kept.keep(info.number);
            parts.push(ObjectPart { number: info.number, len: info.len, checksums: info.checksums });
            maps.push(row.data);
        }
        let etag = Etag::Parts(md5(&[&digests]), parts.len() as u32);
        let data = gw_data::DataMap::concat(self.txn, maps)?;
        let object = NewObject {
            origin: Origin::new(request.who, request.bucket, Cause::Complete),
            key: request.key.as_str(),
            conditions: request.conditions,
            etag,
            attributes: checked.upload.attributes,
            checksums,
            parts,
            data,
        };
        let change = UsageChange {
            uploads: -1,
            upload_bytes: -(checked.upload.bytes as i64),
            ..UsageChange::default()
        };
        let outcome = self.publish(&bucket, object, change)?;
        self.txn.delete(upload_key);
        self.put_row(key::sweep(request.upload.0), &kept);
        if (checked.upload.parts as usize) < sweep::BATCH {
            self.sweep(request.upload.0)?;
        }
        self.remember(&bucket, name, request, &outcome)?;
        Ok(Some(outcome))
    }

    fn remember(
        &mut self,
        bucket: &BucketRow,
        name: &[u8],
        request: &Request<'_>,
        outcome: &PutOutcome,
    ) -> StoreResult<()> {
        self.forget_answers()?;
        let version = outcome.version_id.map(|version| match version {
            VersionId::Null => None,
            VersionId::Seq(seq) => Some(seq.0),
        });
        let row = CompletedRow {
            list: request.list,
            etag: outcome.etag,
            version,
            lsn: outcome.lsn,
            size: outcome.size,
            completed_at: self.now,
            checksums: outcome.checksums.clone(),
        };
        let completed_key = key::completed(bucket.root, name, request.upload.0);
        self.put_row(key::completed_at(self.now, &completed_key), &());
        self.put_row(completed_key, &row);
        Ok(())
    }

    fn forget_answers(&mut self) -> StoreResult<()> {
        let horizon = Timestamp(self.now.0.saturating_sub(ANSWER_KEPT_NANOS));
        for (row, _) in rows::under(&*self.txn, &key::all_completed_at(), &[], FORGET_BATCH)? {
            let Some((at, completed)) = key::completed_at_parts(&row) else { continue };
            if at >= horizon {
                break;
            }
            self.txn.delete(completed);
            self.txn.delete(row.to_vec());
        }
        Ok(())
    }
}
