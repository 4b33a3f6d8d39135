//! Uploads in parts.
//!
//! Parts are bodies like any other: streamed, verified, then committed. What the finished object's
//! checksum is depends on what was announced at the beginning (AWS: "Using full object and composite
//! checksums"): composite, a digest over the parts' digests, or, for CRCs, the CRC of the whole,
//! which follows from the parts' CRCs and lengths without reading a byte.

use gw_store::{
    Checksum, ChecksumAlgorithm, ChecksumKind, CombineChecksums, CompleteOptions, CompletePart, Etag,
    PartInfo, PartNumber, StoreError, StoreErrorKind, StoreResult, UploadId, UploadOptions,
};
use http::HeaderMap;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, key, parse_range};
use super::shown::{
    Encrypted, Shown, etag, expiration, kind_word, length, owner, part_count, show_checksums, show_encryption,
};
use super::write::{Writer, declared_length, find, new_version, pump, source_of};
use crate::dates::to_s3;
use crate::digest::{self, Promise};
use crate::errors::from_store;
use crate::said::Remote;

fn upload_id(text: &str) -> S3Result<UploadId> {
    UploadId::parse(text).map_err(from_store)
}

fn part_number(number: i32) -> S3Result<PartNumber> {
    u16::try_from(number)
        .ok()
        .and_then(PartNumber::new)
        .ok_or_else(|| argument("Part number must be an integer between 1 and 10000, inclusive"))
}

fn invalid(message: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, message.into())
}

/// What the client announces for the object: algorithm, and how it is taken over the parts.
fn announced(ask: &Ask<'_>) -> S3Result<Option<(ChecksumAlgorithm, ChecksumKind)>> {
    let named = ask.text("x-amz-checksum-algorithm")?.map(digest::algorithm).transpose()?;
    let kind = kind_header(ask)?;
    let Some(algorithm) = named else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(invalid(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let linear = !matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256);
    let kind = kind.unwrap_or(match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        _ => ChecksumKind::Composite,
    });
    let possible = match kind {
        ChecksumKind::FullObject => linear,
        ChecksumKind::Composite => algorithm != ChecksumAlgorithm::Crc64Nvme,
    };
    if possible {
        return Ok(Some((algorithm, kind)));
    }
    Err(invalid(format!(
        "The {} checksum type cannot be used with the {} checksum algorithm.",
        kind_word(kind),
        digest::word(algorithm).to_ascii_lowercase()
    )))
}

fn kind_header(ask: &Ask<'_>) -> S3Result<Option<ChecksumKind>> {
    match ask.text("x-amz-checksum-type")? {
        None => Ok(None),
        Some(dto::ChecksumType::FULL_OBJECT) => Ok(Some(ChecksumKind::FullObject)),
        Some(dto::ChecksumType::COMPOSITE) => Ok(Some(ChecksumKind::Composite)),
        Some(_) => Err(invalid("Value for x-amz-checksum-type header is invalid.")),
    }
}

impl Operations {
    pub(super) async fn begin_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        let key = key(input.key)?;
        let checksum = announced(&ask)?;
        let options =
            UploadOptions { attributes: ask.attributes(input.metadata)?, checksum, wants: self.wants(&ask)? };
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let upload = self.store.upload_create(ask.who, &bucket, &key, options).await.map_err(from_store)?;
        let mut output = dto::CreateMultipartUploadOutput {
            bucket: Some(bucket.to_string()),
            key: Some(key.to_string()),
            upload_id: Some(upload.upload_id.to_string()),
            checksum_algorithm: checksum.map(|(algorithm, _)| algorithm_dto(algorithm)),
            checksum_type: checksum.map(|(_, kind)| dto::ChecksumType::from_static(kind_word(kind))),
            ..Default::default()
        };
        show_encryption!(output, encrypted_of(&upload.attributes)?);
        Ok(S3Response::new(output))
    }

    pub(super) async fn write_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        let key = key(input.key)?;
        let upload = upload_id(&input.upload_id)?;
        let number = part_number(input.part_number)?;
        let declared = declared_length(ask.headers(), &extensions)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        // What was announced for the object is computed for a part that brings nothing of its own.
        let begun = self.store.upload_info(ask.who, &bucket, &key, upload).await.map_err(from_store)?;
        let announced = begun.checksum.map(|(algorithm, _)| algorithm);
        let customer_key = ask.customer_key("")?;
        let promise = Promise::of_body(ask.headers(), announced.unwrap_or(ChecksumAlgorithm::Crc64Nvme))?;
        if let Some(expected) = announced.filter(|expected| *expected != promise.algorithm()) {
            return Err(invalid(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                digest::word(expected).to_ascii_lowercase(),
                digest::word(promise.algorithm()).to_ascii_lowercase()
            )));
        }
        let writer = self
            .store
            .upload_put_part(ask.who, &bucket, &key, upload, number, declared, customer_key.as_ref())
            .await;
        let mut writer = Writer::Part(Box::new(writer.map_err(from_store)?));
        let verified = pump(input.body, promise, declared, &extensions, &mut writer).await?;
        let Writer::Part(writer) = writer else { return Err(S3ErrorCode::InternalError.into()) };
        let finish =
            gw_store::FinishOptions { content_md5: verified.md5, checksums: vec![verified.checksum] };
        let outcome = writer.finish(finish).await.map_err(from_store)?;
        let mut output = dto::UploadPartOutput { e_tag: Some(etag(&outcome.etag)), ..Default::default() };
        show_checksums!(output, Shown::of(&outcome.checksums, None));
        show_encryption!(output, encrypted_of(&begun.attributes)?);
        Ok(S3Response::new(output))
    }

    pub(super) async fn duplicate_part(
        &self,
        request: S3Request<dto::UploadPartCopyInput>,
    ) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        let key = key(input.key)?;
        let source = source_of(&ask, &input.copy_source)?;
        let upload = upload_id(&input.upload_id)?;
        let number = part_number(input.part_number)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        self.expect_owner(&ask, &source.bucket, input.expected_source_bucket_owner.as_deref()).await?;
        let range = match input.copy_source_range.as_deref() {
            None => None,
            Some(text) => match parse_range(text) {
                Some(range @ gw_store::ByteRange::Between(..)) => Some(range),
                _ => {
                    return Err(argument(
                        "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last \
                         are the zero-based offsets of the first and last bytes to copy",
                    ));
                }
            },
        };
        let customer_key = ask.customer_key("")?;
        let outcome = self
            .store
            .upload_copy_part(ask.who, &bucket, &key, upload, number, (source, range), customer_key.as_ref())
            .await
            .map_err(from_store)?;
        let begun = self.store.upload_info(ask.who, &bucket, &key, upload).await.map_err(from_store)?;
        let mut output = dto::UploadPartCopyOutput {
            copy_part_result: Some(dto::CopyPartResult {
                e_tag: Some(etag(&outcome.etag)),
                last_modified: Some(to_s3(outcome.last_modified)),
                ..Default::default()
            }),
            copy_source_version_id: outcome.source_version_id.map(|version| version.to_string()),
            ..Default::default()
        };
        show_encryption!(output, encrypted_of(&begun.attributes)?);
        Ok(S3Response::new(output))
    }

    pub(super) async fn finish_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let S3Request { input, extensions, uri, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        let key = key(input.key)?;
        let upload = upload_id(&input.upload_id)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if parts.is_empty() {
            return Err(S3Error::with_message(
                S3ErrorCode::MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema",
            ));
        }
        let parts = parts.into_iter().map(complete_part).collect::<S3Result<Vec<_>>>()?;
        let size = input
            .mpu_object_size
            .map(|size| u64::try_from(size).map_err(|_| argument("Size may not be negative.")));
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        // A retry of a completed upload finds no upload any more; the store then answers from memory.
        let mut encrypted = Encrypted::default();
        let announced = match self.store.upload_info(ask.who, &bucket, &key, upload).await {
            Ok(begun) => {
                encrypted = encrypted_of(&begun.attributes)?;
                check_key_again(&ask, &begun)?;
                begun.checksum
            }
            Err(error) if error.kind() == StoreErrorKind::NoSuchUpload => None,
            Err(error) => return Err(from_store(error)),
        };
        let expected = expected_checksum(ask.headers())?;
        let kind = kind_header(&ask)?;
        if let (Some((_, announced)), Some(kind)) = (announced, kind)
            && announced != kind
        {
            return Err(invalid(format!(
                "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
                kind_word(announced)
            )));
        }
        let options = CompleteOptions {
            conditions: ask.write_conditions()?,
            level: ask.level()?,
            size: size.transpose()?,
            combine: Some(combine(announced, kind, expected)),
        };
        let outcome = self
            .store
            .upload_complete(ask.who, &bucket, &key, upload, parts, options)
            .await
            .map_err(from_store)?;
        let host = ask.text("host")?.unwrap_or_default();
        let scheme = extensions.get::<Remote>().map_or("http", |remote| remote.scheme());
        let mut output = dto::CompleteMultipartUploadOutput {
            location: Some(format!("{scheme}://{host}{}", uri.path())),
            bucket: Some(bucket.to_string()),
            key: Some(key.to_string()),
            e_tag: Some(etag(&outcome.etag)),
            version_id: new_version(outcome.version_id),
            expiration: expiration(outcome.expiry.as_ref()),
            server_side_encryption: encrypted.managed,
            ssekms_key_id: encrypted.kms_key,
            bucket_key_enabled: encrypted.bucket_key,
            ..Default::default()
        };
        output.checksum_type =
            show_checksums!(output, Shown::of(&outcome.checksums, part_count(&outcome.etag)));
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-amz-server-side-encryption-customer-algorithm", encrypted.customer_algorithm),
            ("x-amz-server-side-encryption-customer-key-md5", encrypted.customer_md5),
        ] {
            if let Some(Ok(value)) = value.map(|value| http::HeaderValue::from_str(&value)) {
                headers.insert(name, value);
            }
        }
        Ok(S3Response::with_headers(output, headers))
    }

    pub(super) async fn abort_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let (key, upload) = (key(input.key)?, upload_id(&input.upload_id)?);
        self.store.upload_abort(ask.who, &bucket, &key, upload).await.map_err(from_store)?;
        Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn show_parts(
        &self,
        request: S3Request<dto::ListPartsInput>,
    ) -> S3Result<S3Response<dto::ListPartsOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        let key = key(input.key)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let max = super::list::page_size(input.max_parts)?;
        let marker = input.part_number_marker.unwrap_or(0);
        let after = u16::try_from(marker).map_err(|_| argument("part-number-marker must be 0 to 10000"))?;
        let page = self
            .store
            .upload_parts(ask.who, &bucket, &key, upload_id(&input.upload_id)?, PartNumber::new(after), max)
            .await
            .map_err(from_store)?;
        let foreign = page.upload.attributes.foreign_owner().map_err(from_store)?;
        let object_owner = match foreign {
            Some(owner) => owner,
            None => self.store.bucket_owner(ask.who, &bucket).await.map_err(from_store)?,
        };
        let initiator = page.upload.initiator;
        Ok(S3Response::new(dto::ListPartsOutput {
            bucket: Some(bucket.to_string()),
            key: Some(key.to_string()),
            upload_id: Some(page.upload.upload_id.to_string()),
            checksum_algorithm: page.upload.checksum.map(|(algorithm, _)| algorithm_dto(algorithm)),
            checksum_type: page
                .upload
                .checksum
                .map(|(_, kind)| dto::ChecksumType::from_static(kind_word(kind))),
            initiator: Some(dto::Initiator { display_name: Some(initiator.clone()), id: Some(initiator) }),
            owner: Some(owner(&object_owner)),
            storage_class: Some(dto::StorageClass::from_static(
                page.upload.attributes.storage_class.as_str(),
            )),
            is_truncated: Some(page.next.is_some()),
            max_parts: i32::try_from(max).ok(),
            part_number_marker: Some(marker),
            next_part_number_marker: page
                .next
                .or(page.parts.last().map(|part| part.number))
                .map(|n| i32::from(n.get())),
            parts: Some(page.parts.iter().map(shown_part).collect()),
            ..Default::default()
        }))
    }
}

/// Completing an SSE-C upload takes its key again (S3 API, CompleteMultipartUpload: needed where the
/// object has a checksum, and all of ours have one).
fn check_key_again(ask: &Ask<'_>, begun: &gw_store::UploadInfo) -> S3Result<()> {
    let given = ask.customer_key("")?.map(|key| key.md5());
    let needed = match begun.attributes.encryption().map_err(from_store)? {
        Some(gw_store::Encryption::Customer { key_md5 }) => Some(key_md5),
        _ => None,
    };
    match (needed, given) {
        (Some(_), None) => Err(from_store(StoreErrorKind::CustomerKeyNeeded.into())),
        (needed, Some(given)) if needed != Some(given) => {
            Err(from_store(StoreErrorKind::WrongCustomerKey.into()))
        }
        _ => Ok(()),
    }
}

/// How the object to be will be encrypted.
fn encrypted_of(attributes: &gw_store::ObjectAttributes) -> S3Result<Encrypted> {
    Ok(Encrypted::of(attributes.encryption().map_err(from_store)?.as_ref()))
}

pub(super) fn algorithm_dto(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(digest::word(algorithm))
}

fn shown_part(part: &PartInfo) -> dto::Part {
    let mut shown = dto::Part {
        part_number: Some(i32::from(part.number.get())),
        size: Some(length(part.len)),
        e_tag: Some(etag(&part.etag)),
        last_modified: Some(to_s3(part.last_modified)),
        ..Default::default()
    };
    show_checksums!(shown, Shown::of(&part.checksums, None));
    shown
}

fn complete_part(part: dto::CompletedPart) -> S3Result<CompletePart> {
    let number = part.part_number.ok_or_else(|| argument("A part without a number."))?;
    let given = [
        (ChecksumAlgorithm::Crc32, part.checksum_crc32),
        (ChecksumAlgorithm::Crc32c, part.checksum_crc32c),
        (ChecksumAlgorithm::Crc64Nvme, part.checksum_crc64nvme),
        (ChecksumAlgorithm::Sha1, part.checksum_sha1),
        (ChecksumAlgorithm::Sha256, part.checksum_sha256),
    ];
    let mut checksums = Vec::new();
    for (algorithm, text) in given {
        let Some(text) = text else { continue };
        let value = digest::decode(algorithm, &text).ok_or_else(|| {
            invalid(format!("Value for Checksum{} of a part is invalid.", digest::word(algorithm)))
        })?;
        checksums.push(Checksum { algorithm, kind: ChecksumKind::FullObject, value });
    }
    Ok(CompletePart {
        number: part_number(number)?,
        etag: part.e_tag.and_then(|etag| Etag::parse(etag.value())),
        checksums,
    })
}

/// The object's checksum that the client expects. A composite one may end in `-PARTS`.
fn expected_checksum(headers: &HeaderMap) -> S3Result<Option<(ChecksumAlgorithm, Vec<u8>)>> {
    let mut plain = HeaderMap::new();
    for (name, value) in headers {
        if name.as_str().starts_with("x-amz-checksum-") {
            let text = value.to_str().unwrap_or_default();
            let text = text.rsplit_once('-').map_or(text, |(digest, _)| digest);
            plain.append(
                name,
                http::HeaderValue::from_str(text).map_err(|_| invalid("Invalid checksum header."))?,
            );
        }
    }
    digest::checksum_header(&plain)
}

/// The object's checksum from its parts'.
fn combine(
    announced: Option<(ChecksumAlgorithm, ChecksumKind)>,
    kind: Option<ChecksumKind>,
    expected: Option<(ChecksumAlgorithm, Vec<u8>)>,
) -> CombineChecksums {
    Box::new(move |parts: &[PartInfo]| {
        let made = match announced.or_else(|| common(parts, kind)) {
            None => None,
            Some((algorithm, kind)) => over(parts, algorithm, kind)?,
        };
        if let Some((algorithm, value)) = expected
            && made.as_ref().is_some_and(|made| made.algorithm != algorithm || made.value != value)
        {
            return Err(StoreError::new(
                StoreErrorKind::BadDigest,
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    digest::word(algorithm)
                ),
            ));
        }
        Ok(made.into_iter().collect())
    })
}

/// The algorithm that all parts have, where nothing was announced.
fn common(parts: &[PartInfo], kind: Option<ChecksumKind>) -> Option<(ChecksumAlgorithm, ChecksumKind)> {
    let all = |algorithm| parts.iter().all(|part| find(&part.checksums, algorithm).is_some());
    let (algorithm, ..) = digest::ALGORITHMS.into_iter().find(|(algorithm, ..)| all(*algorithm))?;
    let own = match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => kind.unwrap_or(ChecksumKind::Composite),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => ChecksumKind::Composite,
    };
    Some((algorithm, own))
}

/// `None` where a part has no such checksum (one copied from another object has none).
fn over(
    parts: &[PartInfo],
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
) -> StoreResult<Option<Checksum>> {
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        match find(&part.checksums, algorithm) {
            Some(checksum) => values.push((&checksum.value[..], part.len)),
            None => return Ok(None),
        }
    }
    let value = match kind {
        ChecksumKind::Composite => {
            let joined: Vec<u8> = values.iter().flat_map(|(value, _)| value.iter().copied()).collect();
            digest::of(algorithm, &joined)
        }
        ChecksumKind::FullObject => digest::join(algorithm, &values).ok_or_else(|| {
            StoreError::new(
                StoreErrorKind::InvalidArgument,
                "this checksum algorithm has no full-object form",
            )
        })?,
    };
    Ok(Some(Checksum { algorithm, kind, value }))
}

#[cfg(test)]
mod tests {
    use gw_store::{Checksum, ChecksumAlgorithm, ChecksumKind, Etag, PartInfo, PartNumber};
    use gw_types::Timestamp;

    use super::{ChecksumKind as Kind, combine, over};
    use crate::digest;

    fn part(number: u16, bytes: &[u8], algorithm: ChecksumAlgorithm) -> PartInfo {
        PartInfo {
            number: PartNumber::new(number).unwrap(),
            len: bytes.len() as u64,
            etag: Etag::Md5([0; 16]),
            checksums: vec![Checksum {
                algorithm,
                kind: ChecksumKind::FullObject,
                value: digest::of(algorithm, bytes),
            }],
            last_modified: Timestamp(0),
        }
    }

    #[test]
    fn crcs_of_the_whole_follow_from_those_of_the_parts() {
        use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme};
        for algorithm in [Crc32, Crc32c, Crc64Nvme] {
            let parts = [b"hello ".as_slice(), b"", b"world"].map(|bytes| part(1, bytes, algorithm));
            let whole = over(&parts, algorithm, Kind::FullObject).unwrap().unwrap();
            assert_eq!(whole.value, digest::of(algorithm, b"hello world"), "{algorithm:?}");
        }
        let sha = [part(1, b"a", ChecksumAlgorithm::Sha256)];
        assert!(over(&sha, ChecksumAlgorithm::Sha256, Kind::FullObject).is_err());
    }

    #[test]
    fn composite_is_the_digest_of_the_digests() {
        let algorithm = ChecksumAlgorithm::Sha256;
        let parts = [part(1, b"a", algorithm), part(2, b"b", algorithm)];
        let joined = [digest::of(algorithm, b"a"), digest::of(algorithm, b"b")].concat();
        let whole = over(&parts, algorithm, Kind::Composite).unwrap().unwrap();
        assert_eq!(whole.value, digest::of(algorithm, &joined));
    }

    #[test]
    fn what_the_client_expects_of_the_object_is_compared() {
        let algorithm = ChecksumAlgorithm::Crc64Nvme;
        let parts = [part(1, b"a", algorithm), part(2, b"b", algorithm)];
        let right = digest::of(algorithm, b"ab");
        assert_eq!(combine(None, None, Some((algorithm, right.clone())))(&parts).unwrap()[0].value, right);
        assert!(combine(None, None, Some((algorithm, vec![0; 8])))(&parts).is_err());
        // Parts of different algorithms give the object none.
        let mixed = [part(1, b"a", algorithm), part(2, b"b", ChecksumAlgorithm::Sha1)];
        assert!(combine(None, None, None)(&mixed).unwrap().is_empty());
    }
}
