//! GetObject, HeadObject, GetObjectAttributes.
//!
//! A read is one snapshot: conditions, range and bytes are all of the object that `Store::get`
//! pinned. Bytes are streamed from the store's bounded window with the Content-Length known in
//! front; a failure on the way breaks the connection off, so that a client never takes half an
//! object for a whole one.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{BoxStream, Stream};
use gw_store::{ByteRange, ErrorDetail, ObjectInfo, ReadOptions, StoreError, StoreErrorKind, StoreResult};
use http::header::EXPIRES;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use s3s::dto;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, key, version};
use super::shown::{Encrypted, Shown, etag, expiration, length, part_count, show_checksums, show_encryption};
use crate::dates::to_s3;
use crate::errors::{coded, from_store};

/// Content type of an object that came without one (AWS).
const PLAIN: &str = "binary/octet-stream";
/// Parts on a page of GetObjectAttributes.
const PARTS_MAX: usize = 1000;

/// Which bytes of an object are meant, and how to say so.
struct Chosen {
    range: Range<u64>,
    /// `Content-Range`, where the answer is 206.
    content_range: Option<String>,
    /// Only when a part was asked for by number.
    parts_count: Option<i32>,
    checksums: Shown,
}

impl Chosen {
    fn new(ask: &Ask<'_>, info: &ObjectInfo, part_number: Option<i32>) -> S3Result<Self> {
        if let Some(number) = part_number {
            if ask.has_range() {
                return Err(S3Error::with_message(
                    S3ErrorCode::InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter",
                ));
            }
            return Self::part(info, number);
        }
        let asked = ask.range(&info.etag, info.last_modified);
        let range = asked.resolve(info.size).map_err(from_store)?;
        let whole = asked == ByteRange::All;
        let shown = if ask.wants_checksums() && whole { &info.checksums[..] } else { &[] };
        Ok(Self {
            content_range: (!whole).then(|| content_range(&range, info.size)),
            range,
            parts_count: None,
            checksums: Shown::of(shown, part_count(&info.etag)),
        })
    }

    fn part(info: &ObjectInfo, number: i32) -> S3Result<Self> {
        let index = usize::try_from(number).ok().filter(|number| (1..=10_000).contains(number));
        let index = index
            .ok_or_else(|| argument("Part number must be an integer between 1 and 10000, inclusive"))?
            - 1;
        let range = info.part_range(index).ok_or_else(|| {
            coded(
                "InvalidPartNumber",
                StatusCode::RANGE_NOT_SATISFIABLE,
                "The requested partnumber is not satisfiable",
            )
        })?;
        let own = info.parts.get(index).map_or(&info.checksums, |part| &part.checksums);
        let count = i32::try_from(info.parts.len()).ok().filter(|count| *count > 0);
        Ok(Self {
            // An empty object has no range to name; it is answered whole.
            content_range: (!range.is_empty()).then(|| content_range(&range, info.size)),
            range,
            parts_count: count,
            checksums: Shown { kind: Shown::of(&info.checksums, None).kind, ..Shown::of(own, None) },
        })
    }
}

fn content_range(range: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start, range.end.saturating_sub(1))
}

/// Headers of an object that s3s types more strictly than we keep them.
fn raw_headers(info: &ObjectInfo) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(Ok(expires)) = info.attributes.headers.expires.as_deref().map(HeaderValue::from_str) {
        headers.insert(EXPIRES, expires);
    }
    // s3s 0.14.1 knows it of GetObject only.
    let tags = info.attributes.tags().map_err(from_store)?.len();
    if tags > 0 {
        headers.insert("x-amz-tagging-count", HeaderValue::from(tags));
    }
    Ok(headers)
}

/// How to encrypt is said when an object is put; on a read AWS refuses it.
fn refuse_encryption(ask: &Ask<'_>) -> S3Result<()> {
    if ask.headers().contains_key("x-amz-server-side-encryption") {
        return Err(argument("x-amz-server-side-encryption header is not supported for this operation."));
    }
    Ok(())
}

/// What stands beside the object, as headers.
#[derive(Default)]
struct Beside {
    encrypted: Encrypted,
    lock_mode: Option<dto::ObjectLockMode>,
    lock_until: Option<dto::Timestamp>,
    legal_hold: Option<dto::ObjectLockLegalHoldStatus>,
}

impl Beside {
    fn of(info: &ObjectInfo) -> S3Result<Self> {
        let attributes = &info.attributes;
        if attributes.documents.is_empty() {
            return Ok(Self::default());
        }
        let retention = attributes.retention().map_err(from_store)?;
        let hold = attributes.legal_hold().map_err(from_store)?;
        Ok(Self {
            encrypted: Encrypted::of(attributes.encryption().map_err(from_store)?.as_ref()),
            lock_mode: retention.map(|retention| dto::ObjectLockMode::from_static(retention.mode.as_str())),
            lock_until: retention.map(|retention| to_s3(retention.until)),
            legal_hold: hold
                .map(|on| dto::ObjectLockLegalHoldStatus::from_static(if on { "ON" } else { "OFF" })),
        })
    }
}

/// Fills what GetObject and HeadObject have in common.
macro_rules! describe {
    ($output:expr, $info:expr, $chosen:expr) => {{
        let info: &ObjectInfo = $info;
        let chosen: Chosen = $chosen;
        let content = &info.attributes.headers;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.cache_control = content.cache_control.clone();
        $output.content_disposition = content.content_disposition.clone();
        $output.content_encoding = content.content_encoding.clone();
        $output.content_language = content.content_language.clone();
        $output.content_type = Some(content.content_type.clone().unwrap_or_else(|| PLAIN.to_owned()));
        $output.content_length = Some(length(chosen.range.end - chosen.range.start));
        $output.content_range = chosen.content_range;
        $output.e_tag = Some(etag(&info.etag));
        $output.last_modified = Some(to_s3(info.last_modified));
        $output.metadata = Some(info.attributes.user_metadata.iter().cloned().collect());
        $output.parts_count = chosen.parts_count;
        // AWS leaves the default class out.
        $output.storage_class = (info.attributes.storage_class != gw_store::StorageClass::Standard)
            .then(|| dto::StorageClass::from_static(info.attributes.storage_class.as_str()));
        $output.version_id = info.version_id.map(|version| version.to_string());
        $output.expiration = expiration(info.expiry.as_ref());
        $output.website_redirect_location = content.website_redirect.clone();
        let beside = Beside::of(info)?;
        show_encryption!($output, beside.encrypted);
        $output.object_lock_mode = beside.lock_mode;
        $output.object_lock_retain_until_date = beside.lock_until;
        $output.object_lock_legal_hold_status = beside.legal_hold;
        $output.checksum_type = show_checksums!($output, chosen.checksums);
    }};
}

impl Operations {
    pub(super) async fn read_object(
        &self,
        request: S3Request<dto::GetObjectInput>,
    ) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        refuse_encryption(&ask)?;
        let options = ReadOptions {
            version: version(input.version_id.as_deref())?,
            conditions: ask.read_conditions(),
            parts: input.part_number.is_some(),
            customer_key: ask.customer_key("")?,
            purpose: None,
        };
        let read = self.store.get(ask.who, &bucket, &key(input.key)?, options).await.map_err(from_store)?;
        let info = read.info();
        let chosen = Chosen::new(&ask, info, input.part_number)?;
        let mut output = dto::GetObjectOutput::default();
        if !chosen.range.is_empty() {
            let left = chosen.range.end - chosen.range.start;
            let body = read.body_of(chosen.range.clone()).map_err(from_store)?;
            let body = Streaming { stream: Mutex::new(body.into_stream()), left };
            output.body = Some(dto::StreamingBlob::new(body));
        }
        describe!(output, info, chosen);
        Ok(S3Response::with_headers(output, raw_headers(info)?))
    }

    pub(super) async fn describe_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        refuse_encryption(&ask)?;
        let options = ReadOptions {
            version: version(input.version_id.as_deref())?,
            conditions: ask.read_conditions(),
            parts: input.part_number.is_some(),
            customer_key: ask.customer_key("")?,
            purpose: None,
        };
        let info = self.store.head(ask.who, &bucket, &key(input.key)?, options).await.map_err(from_store)?;
        let chosen = Chosen::new(&ask, &info, input.part_number)?;
        let mut output = dto::HeadObjectOutput::default();
        describe!(output, &info, chosen);
        Ok(S3Response::with_headers(output, raw_headers(&info)?))
    }

    pub(super) async fn object_attributes(
        &self,
        request: S3Request<dto::GetObjectAttributesInput>,
    ) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let wanted = Wanted::read(&ask)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let version = version(input.version_id.as_deref())?;
        let options = ReadOptions {
            version,
            parts: wanted.parts,
            customer_key: ask.customer_key("")?,
            ..ReadOptions::default()
        };
        let info = self.store.head(ask.who, &bucket, &key(input.key)?, options).await.map_err(from_store)?;
        let mut output = dto::GetObjectAttributesOutput {
            last_modified: Some(to_s3(info.last_modified)),
            version_id: info.version_id.map(|version| version.to_string()),
            ..Default::default()
        };
        if wanted.etag {
            output.e_tag = Some(etag(&info.etag));
        }
        if wanted.size {
            output.object_size = Some(length(info.size));
        }
        if wanted.class {
            output.storage_class =
                Some(dto::StorageClass::from_static(info.attributes.storage_class.as_str()));
        }
        if wanted.checksum && !info.checksums.is_empty() {
            let mut checksum = dto::Checksum::default();
            checksum.checksum_type =
                show_checksums!(checksum, Shown::of(&info.checksums, part_count(&info.etag)));
            output.checksum = Some(checksum);
        }
        if wanted.parts && !info.parts.is_empty() {
            output.object_parts = Some(page_of_parts(&info, input.part_number_marker, input.max_parts)?);
        }
        Ok(S3Response::new(output))
    }
}

/// What GetObjectAttributes was asked for.
#[derive(Default)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    class: bool,
    size: bool,
}

impl Wanted {
    fn read(ask: &Ask<'_>) -> S3Result<Self> {
        let mut wanted = Self::default();
        for line in ask.headers().get_all("x-amz-object-attributes") {
            for word in line.to_str().unwrap_or_default().split(',') {
                *match word.trim() {
                    "ETag" => &mut wanted.etag,
                    "Checksum" => &mut wanted.checksum,
                    "ObjectParts" => &mut wanted.parts,
                    "StorageClass" => &mut wanted.class,
                    "ObjectSize" => &mut wanted.size,
                    _ => return Err(argument("Invalid attribute name specified.")),
                } = true;
            }
        }
        Ok(wanted)
    }
}

fn page_of_parts(
    info: &ObjectInfo,
    after: Option<i32>,
    max: Option<i32>,
) -> S3Result<dto::GetObjectAttributesParts> {
    let after = after.unwrap_or(0).max(0);
    let max = usize::try_from(max.unwrap_or(1000))
        .map_err(|_| argument("max-parts may not be negative"))?
        .min(PARTS_MAX);
    let number = |part: &gw_store::ObjectPart| i32::from(part.number.get());
    let mut rest = info.parts.iter().filter(|part| number(part) > after);
    let page: Vec<_> = rest.by_ref().take(max).collect();
    let truncated = rest.next().is_some();
    let mut parts = dto::GetObjectAttributesParts {
        is_truncated: Some(truncated),
        max_parts: i32::try_from(max).ok(),
        part_number_marker: Some(after),
        next_part_number_marker: page.last().map(|part| number(part)),
        total_parts_count: i32::try_from(info.parts.len()).ok(),
        ..Default::default()
    };
    // AWS lists parts only where they have checksums of their own.
    if info.parts.iter().any(|part| !part.checksums.is_empty()) {
        let shown = page.into_iter().map(|part| {
            let mut out = dto::ObjectPart {
                part_number: Some(number(part)),
                size: Some(length(part.len)),
                ..Default::default()
            };
            show_checksums!(out, Shown::of(&part.checksums, None));
            out
        });
        parts.parts = Some(shown.collect());
    }
    Ok(parts)
}

/// The store's stream for s3s, which wants it `Sync`: nobody else ever holds the lock.
struct Streaming {
    stream: Mutex<BoxStream<'static, StoreResult<Bytes>>>,
    left: u64,
}

impl Stream for Streaming {
    type Item = Result<Bytes, s3s::StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.stream.get_mut().as_mut().poll_next(cx);
        polled.map(|item| match item {
            Some(Ok(bytes)) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(Ok(bytes))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None if self.left > 0 => {
                let short = StoreError::new(StoreErrorKind::Corrupt, "the object ended before its length")
                    .with_detail(ErrorDetail::Len(self.left));
                self.left = 0;
                Some(Err(short.into()))
            }
            None => None,
        })
    }
}

impl ByteStream for Streaming {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.left).unwrap_or(usize::MAX))
    }
}
