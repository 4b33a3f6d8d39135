//! Listings: objects (both versions of the call), versions, uploads.
//!
//! The store lists in bytewise order, whole and without empty prefixes; this module reads markers
//! and tokens and encodes what `encoding-type=url` asks for: keys, prefixes, the delimiter and the
//! markers, never a token.

use gw_store::{ListRequest, ListStart, UploadId, UploadListRequest, VersionId, VersionListRequest};
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket};
use super::multipart::algorithm_dto;
use super::shown::{etag, kind_word, length, listed_checksum, owner};
use crate::dates::to_s3;
use crate::errors::from_store;
use crate::percent;

/// Most entries of a page (AWS).
const PAGE_MAX: usize = 1000;

/// How many entries a page has: 1000 unless fewer are asked for.
pub(super) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(PAGE_MAX),
        Some(count) => usize::try_from(count)
            .map(|count| count.min(PAGE_MAX))
            .map_err(|_| argument("Argument max-keys must be an integer between 0 and 2147483647")),
    }
}

/// How names are printed.
#[derive(Clone, Copy)]
struct Names {
    encoded: bool,
}

impl Names {
    fn read(asked: Option<&dto::EncodingType>) -> S3Result<Self> {
        match asked.map(dto::EncodingType::as_str) {
            None => Ok(Self { encoded: false }),
            Some("url") => Ok(Self { encoded: true }),
            Some(_) => Err(argument("Invalid Encoding Method specified in Request")),
        }
    }
    fn show(self, name: String) -> String {
        if self.encoded { percent::encode(&name) } else { name }
    }
    fn echo(self) -> Option<dto::EncodingType> {
        self.encoded.then(|| dto::EncodingType::from_static("url"))
    }
    fn prefixes(self, prefixes: Vec<String>) -> Vec<dto::CommonPrefix> {
        prefixes.into_iter().map(|prefix| dto::CommonPrefix { prefix: Some(self.show(prefix)) }).collect()
    }
    fn object(self, entry: gw_store::ListEntry, bucket_owner: Option<&str>) -> dto::Object {
        let (checksum_algorithm, checksum_type) = listed_checksum(entry.checksum);
        dto::Object {
            key: Some(self.show(entry.key)),
            size: Some(length(entry.size)),
            e_tag: Some(etag(&entry.etag)),
            last_modified: Some(to_s3(entry.last_modified)),
            storage_class: Some(dto::ObjectStorageClass::from_static(entry.storage_class.as_str())),
            owner: bucket_owner.map(owner),
            checksum_algorithm,
            checksum_type,
            ..Default::default()
        }
    }
}

fn count(entries: usize) -> i32 {
    i32::try_from(entries).unwrap_or(i32::MAX)
}

fn given(delimiter: Option<String>) -> Option<String> {
    delimiter.filter(|delimiter| !delimiter.is_empty())
}

impl Operations {
    pub(super) async fn list_version_1(
        &self,
        request: S3Request<dto::ListObjectsInput>,
    ) -> S3Result<S3Response<dto::ListObjectsOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let names = Names::read(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let delimiter = given(input.delimiter);
        let marker = input.marker.unwrap_or_default();
        let prefix = input.prefix.unwrap_or_default();
        let asked = ListRequest {
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            start: if marker.is_empty() { ListStart::Beginning } else { ListStart::Marker(marker.clone()) },
            max,
        };
        let page = self.store.list(ask.who, asked).await.map_err(from_store)?;
        let bucket_owner = self.store.bucket_owner(ask.who, &bucket).await.map_err(from_store)?;
        // AWS names the next marker only with a delimiter; without one, clients take the last key.
        let next = page.next.as_ref().filter(|_| delimiter.is_some()).map(|next| match next {
            ListStart::Beginning => String::new(),
            ListStart::After(text) | ListStart::Marker(text) => text.clone(),
        });
        Ok(S3Response::new(dto::ListObjectsOutput {
            name: Some(bucket.to_string()),
            // SDKs decode all names of this answer but this one, so AWS cannot encode it.
            prefix: Some(if prefix.contains(|c: char| c < ' ' && !"\t\n\r".contains(c)) {
                names.show(prefix)
            } else {
                prefix
            }),
            marker: Some(names.show(marker)),
            max_keys: Some(count(max)),
            is_truncated: Some(page.next.is_some()),
            next_marker: next.map(|next| names.show(next)),
            delimiter: delimiter.map(|delimiter| names.show(delimiter)),
            encoding_type: names.echo(),
            contents: Some(
                page.entries.into_iter().map(|entry| names.object(entry, Some(&bucket_owner))).collect(),
            ),
            common_prefixes: Some(names.prefixes(page.common_prefixes)),
            ..Default::default()
        }))
    }

    pub(super) async fn list_version_2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let names = Names::read(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let delimiter = given(input.delimiter);
        let prefix = input.prefix.unwrap_or_default();
        let start = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) if !token.is_empty() => ListStart::from_token(token)
                .map_err(|_| argument("The continuation token provided is incorrect"))?,
            (_, Some(after)) if !after.is_empty() => ListStart::After(after.clone()),
            (_, _) => ListStart::Beginning,
        };
        let asked = ListRequest {
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            start,
            max,
        };
        let page = self.store.list(ask.who, asked).await.map_err(from_store)?;
        let bucket_owner = match input.fetch_owner {
            Some(true) => Some(self.store.bucket_owner(ask.who, &bucket).await.map_err(from_store)?),
            _ => None,
        };
        let key_count = count(page.entries.len() + page.common_prefixes.len());
        let objects = page.entries.into_iter().map(|entry| names.object(entry, bucket_owner.as_deref()));
        Ok(S3Response::new(dto::ListObjectsV2Output {
            name: Some(bucket.to_string()),
            prefix: Some(names.show(prefix)),
            max_keys: Some(count(max)),
            key_count: Some(key_count),
            is_truncated: Some(page.next.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next.as_ref().map(ListStart::to_token),
            start_after: input.start_after.map(|after| names.show(after)),
            delimiter: delimiter.map(|delimiter| names.show(delimiter)),
            encoding_type: names.echo(),
            contents: Some(objects.collect()),
            common_prefixes: Some(names.prefixes(page.common_prefixes)),
            ..Default::default()
        }))
    }

    pub(super) async fn list_all_versions(
        &self,
        request: S3Request<dto::ListObjectVersionsInput>,
    ) -> S3Result<S3Response<dto::ListObjectVersionsOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let names = Names::read(input.encoding_type.as_ref())?;
        let max = page_size(input.max_keys)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let delimiter = given(input.delimiter);
        let prefix = input.prefix.unwrap_or_default();
        let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
        let version_marker = input.version_id_marker.filter(|marker| !marker.is_empty());
        if version_marker.is_some() && key_marker.is_none() {
            return Err(argument("A version-id marker cannot be specified without a key marker."));
        }
        let asked = VersionListRequest {
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            key_marker: key_marker.clone(),
            version_marker: version_marker
                .as_deref()
                .map(|text| VersionId::parse(text).map_err(|_| argument("Invalid version id specified")))
                .transpose()?,
            max,
        };
        let page = self.store.list_versions(ask.who, asked).await.map_err(from_store)?;
        let bucket_owner = self.store.bucket_owner(ask.who, &bucket).await.map_err(from_store)?;
        let (next_key, next_version) = page.next.clone().unzip();
        let (mut versions, mut markers) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match shown_version(entry, names, &bucket_owner) {
                Ok(version) => versions.push(version),
                Err(marker) => markers.push(marker),
            }
        }
        Ok(S3Response::new(dto::ListObjectVersionsOutput {
            name: Some(bucket.to_string()),
            prefix: Some(names.show(prefix)),
            key_marker: Some(names.show(key_marker.unwrap_or_default())),
            version_id_marker: Some(version_marker.unwrap_or_default()),
            max_keys: Some(count(max)),
            is_truncated: Some(page.next.is_some()),
            next_key_marker: next_key.map(|next| names.show(next)),
            next_version_id_marker: next_version.flatten().map(|next| next.to_string()),
            delimiter: delimiter.map(|delimiter| names.show(delimiter)),
            encoding_type: names.echo(),
            versions: Some(versions),
            delete_markers: Some(markers),
            common_prefixes: Some(names.prefixes(page.common_prefixes)),
            ..Default::default()
        }))
    }

    pub(super) async fn list_uploads(
        &self,
        request: S3Request<dto::ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let names = Names::read(input.encoding_type.as_ref())?;
        let max = page_size(input.max_uploads)?;
        let bucket = bucket(&input.bucket)?;
        self.expect_owner(&ask, &bucket, input.expected_bucket_owner.as_deref()).await?;
        let delimiter = given(input.delimiter);
        let prefix = input.prefix.unwrap_or_default();
        let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
        // Without a key marker AWS ignores the upload marker.
        let upload_marker =
            input.upload_id_marker.filter(|marker| !marker.is_empty() && key_marker.is_some());
        let asked = UploadListRequest {
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            key_marker: key_marker.clone(),
            upload_marker: upload_marker
                .as_deref()
                .map(|text| UploadId::parse(text).map_err(|_| argument("Invalid uploadId marker")))
                .transpose()?,
            max,
        };
        let page = self.store.upload_list(ask.who, asked).await.map_err(from_store)?;
        let bucket_owner = self.store.bucket_owner(ask.who, &bucket).await.map_err(from_store)?;
        let (next_key, next_upload) = page.next.clone().unzip();
        let mut uploads = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            let foreign = entry.upload.attributes.foreign_owner().map_err(from_store)?;
            let initiator = entry.upload.initiator;
            uploads.push(dto::MultipartUpload {
                key: Some(names.show(entry.key.into())),
                upload_id: Some(entry.upload.upload_id.to_string()),
                initiated: Some(to_s3(entry.upload.created)),
                initiator: Some(dto::Initiator {
                    display_name: Some(initiator.clone()),
                    id: Some(initiator),
                }),
                owner: Some(owner(foreign.as_deref().unwrap_or(&bucket_owner))),
                storage_class: Some(dto::StorageClass::from_static(
                    entry.upload.attributes.storage_class.as_str(),
                )),
                checksum_algorithm: entry.upload.checksum.map(|(algorithm, _)| algorithm_dto(algorithm)),
                checksum_type: entry
                    .upload
                    .checksum
                    .map(|(_, kind)| dto::ChecksumType::from_static(kind_word(kind))),
            });
        }
        Ok(S3Response::new(dto::ListMultipartUploadsOutput {
            bucket: Some(bucket.to_string()),
            uploads: Some(uploads),
            prefix: Some(names.show(prefix)),
            key_marker: Some(names.show(key_marker.unwrap_or_default())),
            upload_id_marker: Some(upload_marker.unwrap_or_default()),
            max_uploads: Some(count(max)),
            is_truncated: Some(page.next.is_some()),
            next_key_marker: next_key.map(|next| names.show(next)),
            next_upload_id_marker: next_upload.flatten().map(|next| next.to_string()),
            delimiter: delimiter.map(|delimiter| names.show(delimiter)),
            encoding_type: names.echo(),
            common_prefixes: Some(names.prefixes(page.common_prefixes)),
            ..Default::default()
        }))
    }
}

/// A version, or (as `Err`) a delete marker.
fn shown_version(
    entry: gw_store::VersionEntry,
    names: Names,
    bucket_owner: &str,
) -> Result<dto::ObjectVersion, dto::DeleteMarkerEntry> {
    let key = Some(names.show(entry.key));
    let version_id = Some(entry.version_id.to_string());
    let last_modified = Some(to_s3(entry.last_modified));
    let Some((size, tag, class)) = entry.object else {
        return Err(dto::DeleteMarkerEntry {
            key,
            version_id,
            last_modified,
            is_latest: Some(entry.is_latest),
            owner: Some(owner(bucket_owner)),
        });
    };
    let (checksum_algorithm, checksum_type) = listed_checksum(entry.checksum);
    Ok(dto::ObjectVersion {
        key,
        version_id,
        last_modified,
        is_latest: Some(entry.is_latest),
        owner: Some(owner(bucket_owner)),
        size: Some(length(size)),
        e_tag: Some(etag(&tag)),
        storage_class: Some(dto::ObjectVersionStorageClass::from_static(class.as_str())),
        checksum_algorithm,
        checksum_type,
        ..Default::default()
    })
}
