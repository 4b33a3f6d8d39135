//! XML request bodies: read whole, in front of the parser.
//!
//! s3s 0.14.1 reads them too, but it answers 500 for one that is too long, too slow, cut short or
//! not what its digest says, and it compares neither Content-MD5 nor checksums. So they are read
//! here, with a maximum, and handed on as bytes that are known to be right.

use bytes::BytesMut;
use futures::StreamExt as _;
use http::{Extensions, HeaderMap, Method, Uri};
use s3s::{Body, S3Error, S3ErrorCode, S3Result};

use crate::digest::Promise;
use crate::errors::from_body;
use crate::percent;

/// Whether the body of a request is a document, and not an object's bytes. `bucket_in_host`: the
/// path holds the key alone.
pub(crate) fn is_document(method: &Method, uri: &Uri, bucket_in_host: bool) -> bool {
    if method == Method::POST {
        return true;
    }
    if method != Method::PUT {
        return false;
    }
    let path = uri.path().trim_start_matches('/');
    let key = if bucket_in_host { path } else { path.split_once('/').map_or("", |(_, key)| key) };
    // Settings of an object, by s3s's routes for PUT on a key.
    let mut names = uri.query().unwrap_or_default().split('&');
    let setting = names.any(|pair| {
        let name = percent::decode_query(pair.split('=').next().unwrap_or_default());
        matches!(name.as_str(), "acl" | "legal-hold" | "retention" | "tagging")
    });
    key.is_empty() || setting
}

/// Reads and checks a document of at most `bytes_max`.
pub(crate) async fn read(
    mut body: Body,
    headers: &HeaderMap,
    extensions: &Extensions,
    bytes_max: usize,
) -> S3Result<Body> {
    let promise = Promise::of_document(headers)?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| from_body(&error, extensions))?;
        if bytes.len() + piece.len() > bytes_max {
            return Err(S3Error::with_message(
                S3ErrorCode::MaxMessageLengthExceeded,
                "Your request was too big.",
            ));
        }
        bytes.extend_from_slice(&piece);
    }
    let bytes = bytes.freeze();
    if let Some(promise) = promise {
        promise.check_whole(&bytes)?;
    }
    Ok(Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::is_document;

    #[test]
    fn documents_are_told_from_objects() {
        let put = |uri: &str, in_host| is_document(&Method::PUT, &uri.parse().unwrap(), in_host);
        assert!(put("/bucket", false) && put("/bucket/", false) && put("/bucket?versioning", false));
        assert!(put("/", true) && put("/?cors", true) && put("/b/k?tagging", false) && put("/k?ac%6C", true));
        assert!(
            !put("/bucket/key", false) && !put("/key", true) && !put("/b/k?partNumber=1&uploadId=x", false)
        );
        assert!(is_document(&Method::POST, &"/b/k?uploads".parse().unwrap(), false));
        assert!(!is_document(&Method::GET, &"/b".parse().unwrap(), false));
    }
}
