//! The one table from the store's errors to S3's codes and statuses, and the one for bodies that
//! broke off.
//!
//! Kinds that somebody can act on say what the store said. Kinds that nobody outside can act on
//! (500) say AWS's sentence; the cause goes to the log, with its source chain, here and only here.

use std::sync::Arc;
use std::time::SystemTime;

use gw_store::{ErrorDetail, ObjectInfo, StoreError, StoreErrorKind};
use gw_types::Outcome;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, ETAG, EXPIRES, LAST_MODIFIED, RETRY_AFTER};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};

use crate::dates::system_time;
use crate::guard::{BodyFault, BodyWatch};

/// An error with a code that s3s need not know.
pub(crate) fn coded(code: &str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, message.into());
    error.set_status_code(status);
    error
}

/// The table.
pub(crate) fn code_of(kind: StoreErrorKind) -> (&'static str, StatusCode) {
    use StoreErrorKind as Kind;
    match kind {
        Kind::NoSuchBucket => ("NoSuchBucket", StatusCode::NOT_FOUND),
        Kind::NoSuchKey => ("NoSuchKey", StatusCode::NOT_FOUND),
        Kind::NoSuchVersion => ("NoSuchVersion", StatusCode::NOT_FOUND),
        Kind::IsDeleteMarker => ("MethodNotAllowed", StatusCode::METHOD_NOT_ALLOWED),
        Kind::NoSuchUpload => ("NoSuchUpload", StatusCode::NOT_FOUND),
        Kind::NoSuchUser => ("InvalidAccessKeyId", StatusCode::FORBIDDEN),
        Kind::UserExists => ("EntityAlreadyExists", StatusCode::CONFLICT),
        Kind::DeleteConflict => ("DeleteConflict", StatusCode::CONFLICT),
        Kind::LimitExceeded => ("LimitExceeded", StatusCode::CONFLICT),
        Kind::InvalidToken => ("InvalidToken", StatusCode::BAD_REQUEST),
        Kind::ExpiredToken => ("ExpiredToken", StatusCode::BAD_REQUEST),
        Kind::BucketAlreadyExists => ("BucketAlreadyExists", StatusCode::CONFLICT),
        Kind::BucketAlreadyOwnedByYou => ("BucketAlreadyOwnedByYou", StatusCode::CONFLICT),
        Kind::BucketNotEmpty => ("BucketNotEmpty", StatusCode::CONFLICT),
        Kind::InvalidBucketState => ("InvalidBucketState", StatusCode::CONFLICT),
        Kind::WrongOffset => ("InvalidWriteOffset", StatusCode::BAD_REQUEST),
        Kind::NoSuchKmsKey => ("KMS.NotFoundException", StatusCode::BAD_REQUEST),
        Kind::NoSuchInventory => ("NoSuchConfiguration", StatusCode::NOT_FOUND),
        Kind::TooManyInventories => ("TooManyConfigurations", StatusCode::BAD_REQUEST),
        Kind::InvalidInventoryTarget => ("InvalidS3DestinationBucket", StatusCode::BAD_REQUEST),
        Kind::InvalidLogTarget => ("InvalidTargetBucketForLogging", StatusCode::BAD_REQUEST),
        Kind::InvalidPart => ("InvalidPart", StatusCode::BAD_REQUEST),
        Kind::InvalidPartOrder => ("InvalidPartOrder", StatusCode::BAD_REQUEST),
        Kind::EntityTooSmall => ("EntityTooSmall", StatusCode::BAD_REQUEST),
        Kind::EntityTooLarge => ("EntityTooLarge", StatusCode::BAD_REQUEST),
        Kind::MetadataTooLarge => ("MetadataTooLarge", StatusCode::BAD_REQUEST),
        Kind::PreconditionFailed => ("PreconditionFailed", StatusCode::PRECONDITION_FAILED),
        Kind::ConditionalRequestConflict => ("ConditionalRequestConflict", StatusCode::CONFLICT),
        Kind::NotModified => ("NotModified", StatusCode::NOT_MODIFIED),
        Kind::AccessDenied => ("AccessDenied", StatusCode::FORBIDDEN),
        Kind::AclsNotSupported => ("AccessControlListNotSupported", StatusCode::BAD_REQUEST),
        Kind::InvalidBucketAcl => ("InvalidBucketAclWithObjectOwnership", StatusCode::BAD_REQUEST),
        Kind::MalformedPolicy => ("MalformedPolicy", StatusCode::BAD_REQUEST),
        Kind::NoObjectLock | Kind::CustomerKeyNeeded | Kind::WrongCustomerKey => {
            ("InvalidRequest", StatusCode::BAD_REQUEST)
        }
        Kind::Leased => ("OperationAborted", StatusCode::CONFLICT),
        Kind::Locked => ("AccessDenied", StatusCode::FORBIDDEN),
        Kind::BeyondTerritory => ("InvalidRetentionPeriod", StatusCode::BAD_REQUEST),
        Kind::InvalidTag => ("InvalidTag", StatusCode::BAD_REQUEST),
        Kind::QuotaExceeded => ("QuotaExceeded", StatusCode::FORBIDDEN),
        Kind::StagingFull | Kind::Busy => ("SlowDown", StatusCode::SERVICE_UNAVAILABLE),
        // SDKs repeat a 503 at once and many times; a full disk does not empty so fast.
        Kind::DiskFull => ("StorageFull", StatusCode::INSUFFICIENT_STORAGE),
        Kind::BadDigest => ("BadDigest", StatusCode::BAD_REQUEST),
        Kind::IncompleteBody => ("IncompleteBody", StatusCode::BAD_REQUEST),
        Kind::InvalidRange => ("InvalidRange", StatusCode::RANGE_NOT_SATISFIABLE),
        Kind::InvalidVersionId | Kind::InvalidArgument => ("InvalidArgument", StatusCode::BAD_REQUEST),
        Kind::NotDurable | Kind::NoTerritory | Kind::Poisoned | Kind::Unreachable => {
            ("ServiceUnavailable", StatusCode::SERVICE_UNAVAILABLE)
        }
        Kind::Corrupt | Kind::Internal => ("InternalError", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The key is used faster than it may.
pub(crate) fn too_fast(wait: std::time::Duration) -> S3Error {
    let mut answer = coded("SlowDown", StatusCode::SERVICE_UNAVAILABLE, "Please reduce your request rate.");
    let mut headers = HeaderMap::new();
    put(&mut headers, RETRY_AFTER, &(wait.as_secs() + 1).to_string());
    answer.set_headers(headers);
    answer
}

/// What an error of the store is in S3.
pub(crate) fn from_store(error: StoreError) -> S3Error {
    let (code, status) = code_of(error.kind());
    let message = if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        "We encountered an internal error. Please try again.".to_owned()
    } else {
        sentence(&error)
    };
    let headers = headers_of(&error, status);
    let mut answer = coded(code, status, message);
    if !headers.is_empty() {
        answer.set_headers(headers);
    }
    answer
}

/// AWS's sentence where clients or people know it, else the store's.
fn sentence(error: &StoreError) -> String {
    match error.kind() {
        StoreErrorKind::NoSuchBucket => "The specified bucket does not exist",
        StoreErrorKind::NoSuchKey => "The specified key does not exist.",
        StoreErrorKind::NoSuchVersion => "The specified version does not exist.",
        StoreErrorKind::NoSuchUpload => {
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
             completed."
        }
        StoreErrorKind::IsDeleteMarker => "The specified method is not allowed against this resource.",
        StoreErrorKind::PreconditionFailed => "At least one of the pre-conditions you specified did not hold",
        StoreErrorKind::InvalidRange => "The requested range is not satisfiable",
        StoreErrorKind::InvalidVersionId => "Invalid version id specified",
        StoreErrorKind::AccessDenied => "Access Denied",
        StoreErrorKind::EntityTooSmall => "Your proposed upload is smaller than the minimum allowed size",
        _ if error.outcome() == Outcome::Unknown => return format!("{} (it may have happened)", error.message()),
        _ => return error.message().to_owned(),
    }
    .to_owned()
}

/// The body has another length than was declared.
pub(crate) fn incomplete() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}

/// Why a body broke off. Our own fault stands in the watch; the types of s3s 0.14.1's are private,
/// so they are told apart by what they print.
pub(crate) fn from_body(error: &s3s::StdError, extensions: &Extensions) -> S3Error {
    let watched = extensions.get::<Arc<BodyWatch>>().and_then(|watch| watch.fault());
    let printed = error.to_string();
    let bad = |code: &str, message: &str| coded(code, StatusCode::BAD_REQUEST, message);
    match watched {
        Some(BodyFault::Incomplete | BodyFault::TooLong | BodyFault::Broken) => incomplete(),
        Some(BodyFault::TooSlow) => bad(
            "RequestTimeout",
            "Your socket connection to the server was not read from or written to within the timeout period.",
        ),
        Some(BodyFault::ChunkTooLarge) => bad(
            "InvalidRequest",
            "A signed chunk is larger than this gateway accepts; use chunks of at most 16 MiB.",
        ),
        Some(BodyFault::Malformed) => {
            bad("InvalidRequest", "The frames of the aws-chunked body cannot be read.")
        }
        None if printed.contains("Sha256Mismatch") => bad(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ),
        None if printed.contains("SignatureMismatch") => S3Error::with_message(
            S3ErrorCode::SignatureDoesNotMatch,
            "The signature of a chunk or trailer does not match the signature we calculated.",
        ),
        None if printed.contains("FormatError") || printed.contains("Too") => {
            bad("InvalidRequest", "The frames of the aws-chunked body cannot be read.")
        }
        None => incomplete(),
    }
}

/// Headers that go with an error.
fn headers_of(error: &StoreError, status: StatusCode) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match error.detail() {
        Some(ErrorDetail::Object(info)) if status == StatusCode::NOT_MODIFIED => headers = validators(info),
        Some(ErrorDetail::DeleteMarker { version_id, last_modified }) => {
            headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
            put(&mut headers, HeaderName::from_static("x-amz-version-id"), &version_id.to_string());
            if status == StatusCode::METHOD_NOT_ALLOWED {
                headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
                put(&mut headers, LAST_MODIFIED, &http_date(system_time(*last_modified)));
            }
        }
        Some(ErrorDetail::Len(len)) => put(&mut headers, CONTENT_RANGE, &format!("bytes */{len}")),
        _ => {}
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    headers
}

/// RFC 9110 15.4.5: what a 304 repeats.
fn validators(info: &ObjectInfo) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(&mut headers, ETAG, &format!("\"{}\"", info.etag));
    put(&mut headers, LAST_MODIFIED, &http_date(system_time(info.last_modified)));
    let content = &info.attributes.headers;
    if let Some(value) = &content.cache_control {
        put(&mut headers, CACHE_CONTROL, value);
    }
    if let Some(value) = &content.expires {
        put(&mut headers, EXPIRES, value);
    }
    if let Some(version) = info.version_id {
        put(&mut headers, HeaderName::from_static("x-amz-version-id"), &version.to_string());
    }
    headers
}

/// An HTTP date; times before 1970 are shown as 1970, which HTTP's format cannot undercut.
pub(crate) fn http_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time.max(SystemTime::UNIX_EPOCH))
}

/// A value that cannot stand in a header is left out rather than failing the answer.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use gw_store::{ErrorDetail, StoreError, StoreErrorKind, VersionId};
    use gw_types::Timestamp;
    use http::StatusCode;

    use super::from_store;

    #[test]
    fn every_answer_carries_its_status_and_what_the_client_needs() {
        let error = StoreError::from(StoreErrorKind::InvalidRange).with_detail(ErrorDetail::Len(7));
        let answer = from_store(error);
        assert_eq!(answer.status_code(), Some(StatusCode::RANGE_NOT_SATISFIABLE));
        assert_eq!(answer.headers().unwrap()["content-range"], "bytes */7");

        let marker = ErrorDetail::DeleteMarker { version_id: VersionId::Null, last_modified: Timestamp(0) };
        let answer = from_store(StoreError::from(StoreErrorKind::NoSuchKey).with_detail(marker.clone()));
        assert_eq!(answer.status_code(), Some(StatusCode::NOT_FOUND));
        assert_eq!(answer.headers().unwrap()["x-amz-delete-marker"], "true");
        let answer = from_store(StoreError::from(StoreErrorKind::IsDeleteMarker).with_detail(marker));
        assert_eq!(answer.code().as_str(), "MethodNotAllowed");
        assert_eq!(answer.headers().unwrap()["last-modified"], "Thu, 01 Jan 1970 00:00:00 GMT");

        let answer = from_store(StoreErrorKind::StagingFull.into());
        assert_eq!(
            (answer.code().as_str(), answer.status_code()),
            ("SlowDown", Some(StatusCode::SERVICE_UNAVAILABLE))
        );
        assert_eq!(answer.headers().unwrap()["retry-after"], "1");
    }

    #[test]
    fn causes_of_internal_errors_stay_inside() {
        let error = StoreError::new(StoreErrorKind::Internal, "row 7 of table 9").with_source("secret cause");
        let answer = from_store(error);
        assert_eq!(answer.code().as_str(), "InternalError");
        assert!(!answer.message().unwrap().contains("row 7"));
    }
}
