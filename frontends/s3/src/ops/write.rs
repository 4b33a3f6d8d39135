//! PutObject, CopyObject, DeleteObject, DeleteObjects, and how a body gets into the store.
//!
//! A body is pumped piece by piece from the socket into a writer of the store, which waits when
//! staging cannot keep up: the next piece is not asked for before. Digests run along. Only when the
//! body is drained, has its declared length and is what the client said it is, is the commit made;
//! until then dropping the writer leaves nothing.

use bytes::Bytes;
use futures::StreamExt as _;
use std::sync::Arc;

use gw_store::{
    Checksum, ChecksumAlgorithm, CopyOptions, CopySource, DeleteTarget, Etag, EtagMatch, FinishOptions,
    ObjectWriter, PartWriter, PutOptions, PutWay, RenameOptions, StoreResult, VersionId, WriteConditions,
};
use gw_types::{Action, BucketName, ObjectKey};
use http::{Extensions, HeaderMap, header};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, key, not_implemented, version};
use super::shown::{Encrypted, Shown, etag, expiration, length, part_count, show_checksums, show_encryption};
use crate::dates::{from_s3, to_s3};
use crate::digest::{Promise, Verified};
use crate::errors::{from_body, from_store, incomplete};
use crate::form::FileLength;
use crate::guard::DECODED_LENGTH;
use crate::percent;
use crate::trail::Note;
use crate::verify::Trailers;

/// Most keys of one DeleteObjects (AWS).
const DELETE_KEYS_MAX: usize = 1000;

/// Either of the store's writers.
pub(super) enum Writer {
    Object(Box<ObjectWriter>),
    Part(Box<PartWriter>),
}

impl Writer {
    async fn write(&mut self, bytes: Bytes) -> StoreResult<()> {
        match self {
            Self::Object(writer) => writer.write(bytes).await,
            Self::Part(writer) => writer.write(bytes).await,
        }
    }
}

/// The length that a client declares for a body once its frames are off. AWS takes no body without.
/// A form's file has none: it is as long as it is, within what its policy allows.
pub(super) fn declared_length(headers: &HeaderMap, extensions: &Extensions) -> S3Result<Option<u64>> {
    if extensions.get::<FileLength>().is_some() {
        return Ok(None);
    }
    let value = headers.get(DECODED_LENGTH).or_else(|| headers.get(header::CONTENT_LENGTH));
    let value = value.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    value.map(Some).ok_or_else(|| {
        S3Error::with_message(
            S3ErrorCode::MissingContentLength,
            "You must provide the Content-Length HTTP header.",
        )
    })
}

/// Pumps a body into a writer and verifies it.
pub(super) async fn pump(
    body: Option<dto::StreamingBlob>,
    promise: Promise,
    declared: Option<u64>,
    extensions: &Extensions,
    writer: &mut Writer,
) -> S3Result<Verified> {
    let mut running = promise.begin();
    let mut received = 0_u64;
    let allowed = extensions.get::<FileLength>().copied().unwrap_or(FileLength::ANY);
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| from_body(&error, extensions))?;
            received += piece.len() as u64;
            if declared.is_some_and(|declared| received > declared) {
                return Err(incomplete());
            }
            if received > allowed.max {
                return Err(S3Error::with_message(
                    S3ErrorCode::EntityTooLarge,
                    "Your proposed upload exceeds the maximum allowed size",
                ));
            }
            running.update(&piece);
            writer.write(piece).await.map_err(from_store)?;
        }
    }
    if declared.is_some_and(|declared| received != declared) {
        return Err(incomplete());
    }
    if received < allowed.min {
        return Err(S3Error::with_message(
            S3ErrorCode::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size",
        ));
    }
    let trailers = extensions.get::<Trailers>().and_then(|Trailers(handle)| handle.as_ref()?.take());
    running.finish(trailers)
}

impl Operations {
    pub(super) async fn write_object(
        &self,
        request: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        let key = key(input.key)?;
        if ask.has_query("renameObject") {
            self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
            return self.rename(&ask, &bucket, &key).await;
        }
        let promise = Promise::of_body(ask.headers(), ChecksumAlgorithm::Crc64Nvme)?;
        let declared = declared_length(ask.headers(), &extensions)?;
        let wants = match self.wants(&ask) {
            Ok(wants) => wants,
            Err(error) => {
                // Whoever may not put at all is told that first.
                let may = self.store.authorize(ask.who, Action::PutObject, Some(&bucket), Some(&key));
                may.map_err(from_store)?;
                return Err(error);
            }
        };
        let options = PutOptions {
            attributes: ask.kept(input.metadata)?,
            wants,
            conditions: ask.write_conditions()?,
            level: ask.level()?,
            len_hint: declared,
            offset: ask.offset()?,
            way: match extensions.get::<Arc<Note>>() {
                Some(note) if note.operation_is("PostObject") => PutWay::Form,
                _ => PutWay::Put,
            },
        };
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let writer = self.store.put(ask.who, &bucket, &key, options).await.map_err(from_store)?;
        let appends = writer.is_append();
        let mut writer = Writer::Object(Box::new(writer));
        let verified = pump(input.body, promise, declared, &extensions, &mut writer).await?;
        let Writer::Object(writer) = writer else { return Err(S3ErrorCode::InternalError.into()) };
        let finish = FinishOptions { content_md5: verified.md5, checksums: vec![verified.checksum] };
        let outcome = writer.finish(finish).await.map_err(from_store)?;
        let mut output = dto::PutObjectOutput {
            e_tag: Some(etag(&outcome.etag)),
            version_id: new_version(outcome.version_id),
            expiration: expiration(outcome.expiry.as_ref()),
            size: appends.then(|| length(outcome.size)),
            ..Default::default()
        };
        output.checksum_type = show_checksums!(output, Shown::of(&outcome.checksums, None));
        show_encryption!(output, Encrypted::of(outcome.encryption.as_ref()));
        Ok(S3Response::new(output))
    }

    /// RenameObject (S3 Express One Zone), which s3s 0.14.1 takes for a put. The source is a key of the
    /// same bucket, percent-encoded, with or without `/BUCKET/` in front.
    async fn rename(
        &self,
        ask: &Ask<'_>,
        bucket: &BucketName,
        to: &ObjectKey,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let missing = || argument("x-amz-rename-source names the key to rename.");
        let source = percent::decode_path(ask.text("x-amz-rename-source")?.ok_or_else(missing)?);
        let own = format!("/{bucket}/");
        let from = ObjectKey::new(source.strip_prefix(&own).unwrap_or(&source)).map_err(|_| missing())?;
        let options = RenameOptions {
            source: ask.rename_conditions(),
            target: ask.write_conditions()?,
            level: ask.level()?,
        };
        self.store.rename(ask.who, bucket, (&from, to), options).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutObjectOutput::default()))
    }

    pub(super) async fn duplicate_object(
        &self,
        request: S3Request<dto::CopyObjectInput>,
    ) -> S3Result<S3Response<dto::CopyObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        let key = key(input.key)?;
        let source = source_of(&ask, &input.copy_source)?;
        let attributes = ask.attributes(input.metadata)?;
        let replaces = match input.metadata_directive.as_ref().map(|directive| directive.as_str()) {
            None | Some("COPY") => false,
            Some("REPLACE") => true,
            Some(_) => return Err(argument("Unknown metadata directive.")),
        };
        let mut wants = self.wants(&ask)?;
        match ask.text("x-amz-tagging-directive")? {
            None | Some("COPY") => wants.tags = None,
            Some("REPLACE") => wants.tags = Some(wants.tags.unwrap_or_default()),
            Some(_) => return Err(argument("Unknown tagging directive.")),
        }
        let onto_itself = source.bucket == bucket && source.key == key && source.version.is_none();
        let changes = replaces
            || ask.headers().contains_key("x-amz-storage-class")
            || ask.headers().contains_key("x-amz-server-side-encryption")
            || wants.customer_key.is_some()
            || attributes.headers.website_redirect.is_some();
        if onto_itself && !changes {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        self.expect_owner(&ask, &source.bucket, input.expected_source_bucket_owner.as_deref()).await?;
        let options = CopyOptions {
            metadata: replaces.then_some((attributes.headers, attributes.user_metadata)),
            storage_class: attributes.storage_class,
            wants,
            conditions: ask.write_conditions()?,
            level: ask.level()?,
        };
        let outcome = self.store.copy(ask.who, source, &bucket, &key, options).await.map_err(from_store)?;
        let mut result = dto::CopyObjectResult {
            e_tag: Some(etag(&outcome.put.etag)),
            last_modified: Some(to_s3(outcome.put.last_modified)),
            ..Default::default()
        };
        let shown = Shown::of(&outcome.put.checksums, part_count(&outcome.put.etag));
        result.checksum_type = show_checksums!(result, shown);
        let mut output = dto::CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: outcome.source_version_id.map(|version| version.to_string()),
            version_id: new_version(outcome.put.version_id),
            expiration: expiration(outcome.put.expiry.as_ref()),
            ..Default::default()
        };
        show_encryption!(output, Encrypted::of(outcome.put.encryption.as_ref()));
        Ok(S3Response::new(output))
    }

    pub(super) async fn remove_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let target = DeleteTarget {
            key: key(input.key)?,
            version: version(input.version_id.as_deref())?,
            conditions: ask.write_conditions()?,
            bypass_governance: bypasses(&ask)?,
        };
        let outcome = self.store.delete(ask.who, &bucket, target, ask.level()?).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteObjectOutput {
            delete_marker: outcome.delete_marker.then_some(true),
            version_id: outcome.version_id.map(|version| version.to_string()),
            ..Default::default()
        }))
    }

    pub(super) async fn remove_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let asked = input.delete.objects;
        if asked.is_empty() || asked.len() > DELETE_KEYS_MAX {
            return Err(S3Error::with_message(
                S3ErrorCode::MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema",
            ));
        }
        // A name that cannot be is an error of its own line, not of the whole request.
        let bypass = bypasses(&ask)?;
        let targets: Vec<S3Result<DeleteTarget>> =
            asked.iter().map(|asked| target_of(asked, bypass)).collect();
        let good: Vec<DeleteTarget> =
            targets.iter().filter_map(|target| target.as_ref().ok().cloned()).collect();
        let outcomes =
            self.store.delete_many(ask.who, &bucket, good, ask.level()?).await.map_err(from_store)?;
        let mut outcomes = outcomes.into_iter();
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for (asked, target) in asked.into_iter().zip(targets) {
            let outcome = match target {
                Ok(_) => match outcomes.next() {
                    Some(outcome) => outcome.map_err(from_store),
                    None => Err(S3ErrorCode::InternalError.into()),
                },
                Err(error) => Err(error),
            };
            match outcome {
                Ok(outcome) => deleted.push(shown_delete(asked, &outcome)),
                Err(error) => errors.push(dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(asked.key),
                    message: error.message().map(str::to_owned),
                    version_id: asked.version_id,
                }),
            }
        }
        if input.delete.quiet == Some(true) {
            deleted.clear();
        }
        Ok(S3Response::new(dto::DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..Default::default()
        }))
    }
}

/// AWS names the version that a write made only where versioning is on.
pub(super) fn new_version(version: Option<VersionId>) -> Option<String> {
    version.filter(|version| *version != VersionId::Null).map(|version| version.to_string())
}

/// `x-amz-bypass-governance-retention`.
fn bypasses(ask: &Ask<'_>) -> S3Result<bool> {
    Ok(ask.text("x-amz-bypass-governance-retention")?.is_some_and(|word| word.eq_ignore_ascii_case("true")))
}

fn target_of(asked: &dto::ObjectIdentifier, bypass_governance: bool) -> S3Result<DeleteTarget> {
    let size = asked.size.map(|size| u64::try_from(size).map_err(|_| argument("Size may not be negative.")));
    let tags = asked.e_tag.as_ref().map(|tag| match tag.value() {
        "*" => EtagMatch::Any,
        value => EtagMatch::OneOf(Etag::parse(value).into_iter().collect()),
    });
    Ok(DeleteTarget {
        key: ObjectKey::new(asked.key.as_str()).map_err(|error| argument(error.to_string()))?,
        version: version(asked.version_id.as_deref())?,
        conditions: WriteConditions {
            if_match: tags,
            if_match_last_modified: asked.last_modified_time.as_ref().map(from_s3),
            if_match_size: size.transpose()?,
            ..WriteConditions::default()
        },
        bypass_governance,
    })
}

/// AWS shows a marker that was made apart from a version that was deleted.
fn shown_delete(asked: dto::ObjectIdentifier, outcome: &gw_store::DeleteOutcome) -> dto::DeletedObject {
    let version = outcome.version_id.map(|version| version.to_string());
    dto::DeletedObject {
        delete_marker: outcome.delete_marker.then_some(true),
        delete_marker_version_id: if outcome.delete_marker { version } else { None },
        key: Some(asked.key),
        version_id: asked.version_id,
    }
}

/// What to copy from, with its conditions.
pub(super) fn source_of(ask: &Ask<'_>, source: &dto::CopySource) -> S3Result<CopySource> {
    let dto::CopySource::Bucket { bucket: name, key: path, version_id } = source else {
        return Err(not_implemented(
            "Copy sources are BUCKET/KEY; access points and outposts are not supported.",
        ));
    };
    let invalid = || argument("Invalid copy source object key");
    Ok(CopySource {
        bucket: BucketName::new(&**name).map_err(|_| argument("Invalid copy source bucket name"))?,
        key: ObjectKey::new(&**path).map_err(|_| invalid())?,
        version: version(version_id.as_deref())?,
        conditions: ask.source_conditions(),
        customer_key: ask.customer_key("copy-source-")?,
    })
}

/// Whether two lists of checksums have this algorithm.
pub(super) fn find(checksums: &[Checksum], algorithm: ChecksumAlgorithm) -> Option<&Checksum> {
    checksums.iter().find(|checksum| checksum.algorithm == algorithm)
}
