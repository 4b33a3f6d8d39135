//! What a request asks for besides its operation: read from the headers as they were signed.
//!
//! The typed inputs of s3s hold most of it; this is the rest, which s3s reads more strictly than AWS
//! or does not read at all (see `verify`). Nothing is ignored in silence that a client may rely on:
//! what this gateway does not have is refused.

use gw_store::{
    ByteRange, ContentHeaders, EtagMatch, ObjectAttributes, ReadConditions, StorageClass, VersionId,
    WriteConditions,
};
use gw_types::{Authenticated, BucketName, Level, ObjectKey, Timestamp};
use http::{Extensions, HeaderMap, HeaderName, Uri, header};
use s3s::dto::Metadata;
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::dates::parse_http_date;
use crate::errors::from_store;
use crate::percent;
use crate::verify::AsSent;

/// Our own header: at which level a write is answered (`staged`, `dispersed`, `finalized`).
pub(crate) const DURABILITY: &str = "x-cess-durability";

/// Where a put appends (S3 Express One Zone).
const OFFSET: &str = "x-amz-write-offset-bytes";

/// The principal and the signed headers of a request.
pub(crate) struct Ask<'a> {
    pub(crate) who: &'a Authenticated,
    headers: &'a HeaderMap,
    uri: &'a Uri,
}

impl<'a> Ask<'a> {
    /// Both are there on every request that came through the gate.
    pub(crate) fn of(extensions: &'a Extensions) -> S3Result<Self> {
        match (extensions.get::<Authenticated>(), extensions.get::<AsSent>()) {
            (Some(who), Some(AsSent(said))) => Ok(Self { who, headers: &said.headers, uri: &said.uri }),
            _ => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")),
        }
    }

    pub(crate) fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// A header's one value. `InvalidArgument` where it is given twice or is no UTF-8.
    pub(crate) fn text(&self, name: impl AsRef<str>) -> S3Result<Option<&'a str>> {
        let name = name.as_ref();
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => std::str::from_utf8(value.as_bytes())
                .map(Some)
                .map_err(|_| argument(format!("The header {name} is no UTF-8."))),
            (Some(_), Some(_)) => Err(argument(format!("The header {name} is given more than once."))),
        }
    }

    /// All lines of a header that is a list.
    fn tags(&self, name: &HeaderName) -> Option<EtagMatch> {
        let lines: Vec<&str> =
            self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!lines.is_empty()).then(|| EtagMatch::parse(&lines.join(",")))
    }

    fn date(&self, name: &HeaderName) -> Option<Timestamp> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).and_then(parse_http_date)
    }

    /// If-* of GET and HEAD.
    pub(crate) fn read_conditions(&self) -> ReadConditions {
        ReadConditions {
            if_match: self.tags(&header::IF_MATCH),
            if_none_match: self.tags(&header::IF_NONE_MATCH),
            if_modified_since: self.date(&header::IF_MODIFIED_SINCE),
            if_unmodified_since: self.date(&header::IF_UNMODIFIED_SINCE),
        }
    }

    /// x-amz-copy-source-if-*.
    pub(crate) fn source_conditions(&self) -> ReadConditions {
        ReadConditions {
            if_match: self.tags(&HeaderName::from_static("x-amz-copy-source-if-match")),
            if_none_match: self.tags(&HeaderName::from_static("x-amz-copy-source-if-none-match")),
            if_modified_since: self.date(&HeaderName::from_static("x-amz-copy-source-if-modified-since")),
            if_unmodified_since: self.date(&HeaderName::from_static("x-amz-copy-source-if-unmodified-since")),
        }
    }

    /// Whether a query parameter is there.
    pub(crate) fn has_query(&self, wanted: &str) -> bool {
        let query = self.uri.query().unwrap_or_default();
        query
            .split('&')
            .any(|pair| percent::decode_query(pair.split('=').next().unwrap_or_default()) == wanted)
    }

    /// x-amz-rename-source-if-*.
    pub(crate) fn rename_conditions(&self) -> ReadConditions {
        ReadConditions {
            if_match: self.tags(&HeaderName::from_static("x-amz-rename-source-if-match")),
            if_none_match: self.tags(&HeaderName::from_static("x-amz-rename-source-if-none-match")),
            if_modified_since: self.date(&HeaderName::from_static("x-amz-rename-source-if-modified-since")),
            if_unmodified_since: self
                .date(&HeaderName::from_static("x-amz-rename-source-if-unmodified-since")),
        }
    }

    /// If-* of PUT, COPY, CompleteMultipartUpload and DELETE.
    pub(crate) fn write_conditions(&self) -> S3Result<WriteConditions> {
        let size = self
            .text("x-amz-if-match-size")?
            .map(|text| text.parse().map_err(|_| argument("The header x-amz-if-match-size is no number.")));
        Ok(WriteConditions {
            if_match: self.tags(&header::IF_MATCH),
            if_none_match: self.tags(&header::IF_NONE_MATCH),
            if_match_last_modified: self.date(&HeaderName::from_static("x-amz-if-match-last-modified-time")),
            if_match_size: size.transpose()?,
        })
    }

    /// The range to read. A range that cannot be read is none (RFC 9110 14.2), and so are several:
    /// AWS answers the whole object. `If-Range` with another tag or date takes it away.
    pub(crate) fn range(&self, etag: &gw_store::Etag, modified: Timestamp) -> ByteRange {
        let Some(range) = self.headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
            return ByteRange::All;
        };
        let still = match self.headers.get(header::IF_RANGE).and_then(|value| value.to_str().ok()) {
            None => true,
            Some(date_or_tag) => match parse_http_date(date_or_tag) {
                Some(date) => date.unix_seconds() == modified.unix_seconds(),
                None => EtagMatch::parse(date_or_tag).fits(etag),
            },
        };
        if still { parse_range(range).unwrap_or_default() } else { ByteRange::All }
    }

    /// Whether a Range header is given at all.
    pub(crate) fn has_range(&self) -> bool {
        self.headers.contains_key(header::RANGE)
    }

    /// Whether the client wants to see checksums.
    pub(crate) fn wants_checksums(&self) -> bool {
        self.headers
            .get("x-amz-checksum-mode")
            .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"ENABLED"))
    }

    /// The region that the signature names; `None` for a presigned or anonymous request.
    pub(crate) fn region(&self) -> Option<&'a str> {
        let line = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        line.split_once("Credential=")?.1.split('/').nth(2)
    }

    /// The level at which to answer; `None`: as the bucket says.
    pub(crate) fn level(&self) -> S3Result<Option<Level>> {
        match self.text(DURABILITY)? {
            None => Ok(None),
            Some("staged") => Ok(Some(Level::Staged)),
            Some("dispersed") => Ok(Some(Level::Dispersed)),
            Some("finalized") => Ok(Some(Level::Finalized)),
            Some(_) => Err(argument(format!("{DURABILITY} is one of staged, dispersed, finalized."))),
        }
    }

    /// What is kept with a new object. Refuses what we could not keep.
    pub(crate) fn attributes(&self, metadata: Option<Metadata>) -> S3Result<ObjectAttributes> {
        if self.headers.contains_key(OFFSET) {
            return Err(not_implemented("Only PutObject appends."));
        }
        self.kept(metadata)
    }

    /// Where a put is to append, if it is.
    pub(crate) fn offset(&self) -> S3Result<Option<u64>> {
        let offset = self.text(OFFSET)?;
        offset.map(|text| text.parse().map_err(|_| argument("The write offset is no number."))).transpose()
    }

    /// What is kept with a new object.
    pub(crate) fn kept(&self, metadata: Option<Metadata>) -> S3Result<ObjectAttributes> {
        let own = |name: HeaderName| self.text(name).map(|value| value.map(str::to_owned));
        let headers = ContentHeaders {
            content_type: own(header::CONTENT_TYPE)?.filter(|value| !value.is_empty()),
            content_encoding: self.text(header::CONTENT_ENCODING)?.and_then(without_aws_chunked),
            content_disposition: own(header::CONTENT_DISPOSITION)?,
            content_language: own(header::CONTENT_LANGUAGE)?,
            cache_control: own(header::CACHE_CONTROL)?,
            expires: own(header::EXPIRES)?,
            website_redirect: own(HeaderName::from_static("x-amz-website-redirect-location"))?,
        };
        let mut user_metadata: Vec<(String, String)> = metadata.into_iter().flatten().collect();
        user_metadata.sort();
        Ok(ObjectAttributes {
            headers,
            user_metadata,
            storage_class: self.storage_class()?,
            documents: Vec::new(),
        })
    }

    /// The class asked for, or STANDARD.
    pub(crate) fn storage_class(&self) -> S3Result<StorageClass> {
        match self.text("x-amz-storage-class")? {
            None => Ok(StorageClass::default()),
            Some(word) => StorageClass::parse(word).ok_or_else(|| {
                S3Error::with_message(
                    S3ErrorCode::InvalidStorageClass,
                    "The storage class you specified is not valid",
                )
            }),
        }
    }
}

pub(crate) fn argument(message: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message.into())
}

pub(crate) fn not_implemented(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, message)
}

/// A bucket's name.
pub(crate) fn bucket(name: &str) -> S3Result<BucketName> {
    BucketName::new(name).map_err(|_| {
        S3Error::with_message(S3ErrorCode::InvalidBucketName, "The specified bucket is not valid.")
    })
}

/// An object's key.
pub(crate) fn key(key: String) -> S3Result<ObjectKey> {
    ObjectKey::new(key)
        .map_err(|_| S3Error::with_message(S3ErrorCode::KeyTooLongError, "Your key is too long"))
}

/// A version id, where one is given.
pub(crate) fn version(text: Option<&str>) -> S3Result<Option<VersionId>> {
    text.map(|text| VersionId::parse(text).map_err(from_store)).transpose()
}

/// `bytes=` and one range.
pub(crate) fn parse_range(text: &str) -> Option<ByteRange> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit mean further than any object reaches.
        plain.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", count) => number(count).map(ByteRange::Suffix),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::Between(first, last))
        }
    }
}

/// `aws-chunked` describes the way here, not the object.
fn without_aws_chunked(value: &str) -> Option<String> {
    let kept: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

#[cfg(test)]
mod tests {
    use gw_store::ByteRange;
    use gw_types::{Authenticated, Frontend, Level, Timestamp};
    use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

    use std::sync::Arc;

    use super::{Ask, parse_range, without_aws_chunked};
    use crate::said::Said;
    use crate::verify::AsSent;

    fn with(pairs: &[(&str, &str)]) -> Extensions {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        let mut extensions = Extensions::new();
        extensions.insert(Authenticated::user("u", Frontend::S3));
        let said = Said {
            headers,
            uri: "/".parse().unwrap(),
            remote: None,
            now_seconds: 0,
            request_id: String::new(),
            note: None,
        };
        extensions.insert(AsSent(Arc::new(said)));
        extensions
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        let extensions = with(pairs);
        let ask = Ask::of(&extensions).unwrap();
        let error = ask.attributes(None).map(drop).and_then(|()| ask.wants().map(drop)).unwrap_err();
        error.code().as_str().to_owned()
    }

    #[test]
    fn ranges_in_all_forms() {
        for (text, range) in [
            ("bytes=0-4", Some(ByteRange::Between(0, 4))),
            ("bytes=5-", Some(ByteRange::From(5))),
            ("bytes=-262144", Some(ByteRange::Suffix(262_144))),
            ("bytes=0-99999999999999999999999", Some(ByteRange::Between(0, u64::MAX))),
            ("bytes=4-0", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("items=0-4", None),
        ] {
            assert_eq!(parse_range(text), range, "{text}");
        }
    }

    #[test]
    fn an_if_range_that_does_not_hold_takes_the_range_away() {
        let etag = gw_store::Etag::Md5([7; 16]);
        let modified = Timestamp(784_111_777_000_000_000);
        let range = |if_range: &str| {
            let extensions = with(&[("range", "bytes=0-1"), ("if-range", if_range)]);
            Ask::of(&extensions).unwrap().range(&etag, modified)
        };
        assert_eq!(range(&format!("\"{etag}\"")), ByteRange::Between(0, 1));
        assert_eq!(range("\"other\""), ByteRange::All);
        assert_eq!(range("Sun, 06 Nov 1994 08:49:37 GMT"), ByteRange::Between(0, 1));
        assert_eq!(range("Sun, 06 Nov 1994 08:49:38 GMT"), ByteRange::All);
    }

    #[test]
    fn nothing_is_promised_that_is_not_kept() {
        for (name, value, code) in [
            ("x-amz-server-side-encryption", "aws:kms:dsse", "NotImplemented"),
            ("x-amz-server-side-encryption", "rot13", "InvalidEncryptionAlgorithmError"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256", "InvalidArgument"),
            ("x-amz-object-lock-mode", "COMPLIANCE", "InvalidArgument"),
            ("x-amz-acl", "public", "InvalidArgument"),
            ("x-amz-grant-read", "name=x", "InvalidArgument"),
            ("x-amz-grant-read", "emailAddress=a@b.example", "UnresolvableGrantByEmailAddress"),
            ("x-amz-write-offset-bytes", "5", "NotImplemented"),
            ("x-amz-storage-class", "FLOPPY", "InvalidStorageClass"),
        ] {
            assert_eq!(refused(&[(name, value)]), code, "{name}");
        }
        let fine = with(&[("x-amz-acl", "private"), ("x-amz-server-side-encryption", "AES256")]);
        assert!(Ask::of(&fine).unwrap().wants().unwrap().managed);
    }

    #[test]
    fn headers_are_kept_as_text_and_aws_chunked_is_not() {
        let extensions =
            with(&[("expires", "0"), ("content-encoding", "aws-chunked, gzip"), ("content-type", "a/b")]);
        let headers = Ask::of(&extensions).unwrap().attributes(None).unwrap().headers;
        assert_eq!(headers.expires.as_deref(), Some("0"));
        assert_eq!(headers.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(without_aws_chunked("AWS-chunked"), None);
    }

    #[test]
    fn the_level_is_one_of_three_words() {
        let level = |word: &str| Ask::of(&with(&[("x-cess-durability", word)])).unwrap().level().ok();
        assert_eq!(level("finalized"), Some(Some(Level::Finalized)));
        assert_eq!(level("safe"), None);
    }

    #[test]
    fn without_the_gate_there_is_no_principal() {
        assert!(Ask::of(&Extensions::new()).is_err());
    }
}
