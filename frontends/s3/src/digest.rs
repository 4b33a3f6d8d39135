//! What a client promises about a body's bytes, and whether it is true.
//!
//! AWS's rules ("Checking object integrity"): at most one `x-amz-checksum-ALGORITHM`, in a header or
//! announced by `x-amz-trailer` and sent behind the body; `Content-MD5` besides; and
//! `x-amz-content-sha256`, which s3s verifies. s3s 0.14.1 parses the checksums and compares none, so
//! it is done here, while the bytes pass. A client that gives no checksum gets CRC-64/NVME, as AWS
//! does since 2024, so that every object has one.
//!
//! The order of acts makes a false body impossible to commit: a [`Verified`] comes out of
//! [`Running::finish`] only, which needs the drained body's trailers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gw_store::{Checksum, ChecksumAlgorithm, ChecksumKind};
use http::HeaderMap;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::errors;

/// The algorithms, with their header names and AWS's words.
pub(crate) const ALGORITHMS: [(ChecksumAlgorithm, &str, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "x-amz-checksum-crc32", "CRC32"),
    (ChecksumAlgorithm::Crc32c, "x-amz-checksum-crc32c", "CRC32C"),
    (ChecksumAlgorithm::Crc64Nvme, "x-amz-checksum-crc64nvme", "CRC64NVME"),
    (ChecksumAlgorithm::Sha1, "x-amz-checksum-sha1", "SHA1"),
    (ChecksumAlgorithm::Sha256, "x-amz-checksum-sha256", "SHA256"),
];

/// AWS's word for an algorithm.
pub(crate) fn word(algorithm: ChecksumAlgorithm) -> &'static str {
    ALGORITHMS.iter().find(|(known, ..)| *known == algorithm).map_or("", |(.., word)| word)
}

/// The algorithm of a word. `InvalidRequest` for one we do not have.
pub(crate) fn algorithm(name: &str) -> S3Result<ChecksumAlgorithm> {
    let found = ALGORITHMS.iter().find(|(.., known)| known.eq_ignore_ascii_case(name));
    found.map(|(algorithm, ..)| *algorithm).ok_or_else(|| {
        invalid("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
    })
}

/// Bytes of a checksum.
pub(crate) const fn len(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    }
}

/// A checksum's base64, decoded. `None` unless it has the right length.
pub(crate) fn decode(algorithm: ChecksumAlgorithm, text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok().filter(|value| value.len() == len(algorithm))
}

fn invalid(message: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, message.into())
}

/// Where the checksum comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Given in a header.
    Header(Vec<u8>),
    /// Comes behind the body.
    Trailer,
    /// Nowhere: we make one.
    Ours,
}

/// What a client promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    md5: Option<[u8; 16]>,
    algorithm: ChecksumAlgorithm,
    source: Source,
}

/// Bytes that are what the client said they are.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) checksum: Checksum,
}

impl Promise {
    /// Reads the headers of a request with a body of bytes. `default` is what is computed where the
    /// client names nothing.
    pub(crate) fn of_body(headers: &HeaderMap, default: ChecksumAlgorithm) -> S3Result<Self> {
        let md5 = content_md5(headers)?;
        let given = checksum_header(headers)?;
        let announced = announced_trailer(headers)?;
        let named = match one(headers, "x-amz-sdk-checksum-algorithm")? {
            Some(name) => Some(algorithm(name)?),
            None => None,
        };
        let (algorithm, source) = match (given, announced) {
            (Some(_), Some(_)) => {
                return Err(invalid("Expecting a single x-amz-checksum- header"));
            }
            (Some((algorithm, value)), None) => (algorithm, Source::Header(value)),
            (None, Some(algorithm)) => (algorithm, Source::Trailer),
            (None, None) if named.is_some() => {
                return Err(invalid(
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                     headers were found.",
                ));
            }
            (None, None) => (default, Source::Ours),
        };
        if named.is_some_and(|named| named != algorithm) {
            return Err(invalid("Value for x-amz-sdk-checksum-algorithm header is invalid."));
        }
        Ok(Self { md5, algorithm, source })
    }

    /// Reads the headers of a request with an XML body. `None`: nothing is promised. On
    /// CompleteMultipartUpload the checksum headers speak of the object, not of the body.
    pub(crate) fn of_document(headers: &HeaderMap) -> S3Result<Option<Self>> {
        let md5 = content_md5(headers)?;
        // Only DeleteObjects and its like send this header; it says that the checksum is the body's.
        let of_body = headers.contains_key("x-amz-sdk-checksum-algorithm");
        let given = if of_body { checksum_header(headers)? } else { None };
        Ok(match (md5, given) {
            (None, None) => None,
            (md5, Some((algorithm, value))) => Some(Self { md5, algorithm, source: Source::Header(value) }),
            (md5, None) => Some(Self { md5, algorithm: ChecksumAlgorithm::Crc64Nvme, source: Source::Ours }),
        })
    }

    /// The checksum that will be computed.
    pub(crate) fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Begins to compute.
    pub(crate) fn begin(self) -> Running {
        Running { hasher: Hasher::new(self.algorithm), promise: self }
    }

    /// Compares a body that is in memory, Content-MD5 included.
    pub(crate) fn check_whole(self, body: &Bytes) -> S3Result<()> {
        if self.md5.is_some_and(|expected| Md5::checksum(body) != expected) {
            return Err(S3Error::with_message(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        let mut running = self.begin();
        running.update(body);
        running.finish(None).map(|_| ())
    }
}

/// A body under way.
pub(crate) struct Running {
    promise: Promise,
    hasher: Hasher,
}

impl Running {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Compares. `trailers` are those of the drained body. Content-MD5 is compared by the store,
    /// which computes the MD5 for the ETag in any case.
    pub(crate) fn finish(self, trailers: Option<HeaderMap>) -> S3Result<Verified> {
        let Self { promise: Promise { md5, algorithm, source }, hasher } = self;
        let value = hasher.finish();
        let expected = match source {
            Source::Ours => None,
            Source::Header(expected) => Some(expected),
            Source::Trailer => Some(from_trailers(trailers, algorithm)?),
        };
        if expected.is_some_and(|expected| expected != value) {
            return Err(S3Error::with_message(
                S3ErrorCode::BadDigest,
                format!("The {} you specified did not match the calculated checksum.", word(algorithm)),
            ));
        }
        Ok(Verified { md5, checksum: Checksum { algorithm, kind: ChecksumKind::FullObject, value } })
    }
}

/// The announced trailer must have come, and be readable.
fn from_trailers(trailers: Option<HeaderMap>, algorithm: ChecksumAlgorithm) -> S3Result<Vec<u8>> {
    let trailers = trailers.unwrap_or_default();
    let name = ALGORITHMS.iter().find(|(known, ..)| *known == algorithm).map_or("", |(_, name, _)| name);
    let mut values = trailers.get_all(name).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => {
            return Err(errors::coded(
                "MalformedTrailerError",
                http::StatusCode::BAD_REQUEST,
                "The request contained trailing data that was not well-formed or did not conform to our published schema.",
            ));
        }
    };
    value
        .and_then(|text| decode(algorithm, text))
        .ok_or_else(|| invalid(format!("Value for {name} trailing header is invalid.")))
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> S3Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| invalid(format!("Value for {name} header is invalid.")))
        }
        (Some(_), Some(_)) => Err(invalid(format!("The header {name} is given more than once."))),
    }
}

fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(text) = one(headers, "content-md5")? else { return Ok(None) };
    let value = STANDARD.decode(text.trim()).ok().and_then(|value| <[u8; 16]>::try_from(value).ok());
    value.map(Some).ok_or_else(|| {
        S3Error::with_message(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified is not valid.")
    })
}

/// The one `x-amz-checksum-*` header, if any.
pub(crate) fn checksum_header(headers: &HeaderMap) -> S3Result<Option<(ChecksumAlgorithm, Vec<u8>)>> {
    let mut found = None;
    for name in headers.keys().map(http::HeaderName::as_str) {
        let Some(what) = name.strip_prefix("x-amz-checksum-") else { continue };
        if matches!(what, "algorithm" | "type" | "mode") {
            continue;
        }
        let algorithm = algorithm(what)?;
        let text = one(headers, name)?.unwrap_or_default();
        let value =
            decode(algorithm, text).ok_or_else(|| invalid(format!("Value for {name} header is invalid.")))?;
        if found.replace((algorithm, value)).is_some() {
            return Err(invalid(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
    }
    Ok(found)
}

fn announced_trailer(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(name) = one(headers, "x-amz-trailer")? else { return Ok(None) };
    let name = name.trim();
    match name.strip_prefix("x-amz-checksum-") {
        Some(what) => algorithm(what).map(Some),
        None => Err(invalid("The value specified in the x-amz-trailer header is not supported")),
    }
}

enum Hasher {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Box<Sha1>),
    Sha256(Box<Sha256>),
}

impl Hasher {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc32(Crc32::new()),
            ChecksumAlgorithm::Crc32c => Self::Crc32c(Crc32c::new()),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc64Nvme(Crc64Nvme::new()),
            ChecksumAlgorithm::Sha1 => Self::Sha1(Box::new(Sha1::new())),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Box::new(Sha256::new())),
        }
    }
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(hasher) => hasher.update(bytes),
            Self::Crc32c(hasher) => hasher.update(bytes),
            Self::Crc64Nvme(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }
    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc32(hasher) => hasher.finalize().to_vec(),
            Self::Crc32c(hasher) => hasher.finalize().to_vec(),
            Self::Crc64Nvme(hasher) => hasher.finalize().to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// Checksum of bytes in memory.
pub(crate) fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// The CRC of bytes that follow each other, from their CRCs and lengths. `None` for a digest that
/// has no such rule, or a value of the wrong length.
pub(crate) fn join(algorithm: ChecksumAlgorithm, pieces: &[(&[u8], u64)]) -> Option<Vec<u8>> {
    let crc = match algorithm {
        ChecksumAlgorithm::Crc32 => crc_fast::CrcAlgorithm::Crc32IsoHdlc,
        ChecksumAlgorithm::Crc32c => crc_fast::CrcAlgorithm::Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => crc_fast::CrcAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => return None,
    };
    let width = len(algorithm);
    let mut whole: Option<u64> = None;
    for (value, count) in pieces {
        if value.len() != width {
            return None;
        }
        let next = value.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        whole = Some(whole.map_or(next, |before| crc_fast::checksum_combine(crc, before, next, *count)));
    }
    Some(whole?.to_be_bytes()[8 - width..].to_vec())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use gw_store::ChecksumAlgorithm;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{ALGORITHMS, Promise, of};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Promise, String> {
        let promise = Promise::of_body(&headers(pairs), ChecksumAlgorithm::Crc64Nvme);
        promise.map_err(|error| error.code().as_str().to_owned())
    }

    /// Published check values for "123456789" (reveng catalogue; FIPS 180).
    #[test]
    fn each_algorithm_computes_its_published_check_value() {
        let hex = |algorithm| hex::encode(of(algorithm, b"123456789"));
        assert_eq!(hex(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(hex(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(hex(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert!(hex(ChecksumAlgorithm::Sha256).starts_with("15e2b0d3c33891eb"));
    }

    #[test]
    fn right_values_pass_and_wrong_ones_do_not_in_header_and_trailer() {
        for (algorithm, name, word) in ALGORITHMS {
            let right = STANDARD.encode(of(algorithm, b"body"));
            let wrong = STANDARD.encode(of(algorithm, b"other"));
            for (value, good) in [(&right, true), (&wrong, false)] {
                let given = [(name, value.as_str()), ("x-amz-sdk-checksum-algorithm", word)];
                let mut running = read(&given).unwrap().begin();
                running.update(b"bo");
                running.update(b"dy");
                assert_eq!(running.finish(None).is_ok(), good, "{word}");
                let mut running = read(&[("x-amz-trailer", name)]).unwrap().begin();
                running.update(b"body");
                assert_eq!(running.finish(Some(headers(&[(name, value)]))).is_ok(), good, "{word}");
            }
        }
    }

    #[test]
    fn an_announced_trailer_must_come() {
        for trailers in
            [None, Some(HeaderMap::new()), Some(headers(&[("x-amz-checksum-crc32c", "AAAAAA==")]))]
        {
            let running = read(&[("x-amz-trailer", "x-amz-checksum-crc32")]).unwrap().begin();
            assert_eq!(running.finish(trailers).unwrap_err().code().as_str(), "MalformedTrailerError");
        }
    }

    #[test]
    fn malformed_promises_are_refused_before_the_body() {
        let crc = ("x-amz-checksum-crc32", "AAAAAA==");
        for (pairs, code) in [
            (vec![("x-amz-checksum-crc32", "AAAA")], "InvalidRequest"),
            (vec![("x-amz-checksum-crc32", "?")], "InvalidRequest"),
            (vec![crc, ("x-amz-checksum-crc32c", "AAAAAA==")], "InvalidRequest"),
            (vec![crc, ("x-amz-trailer", "x-amz-checksum-crc32")], "InvalidRequest"),
            (vec![crc, ("x-amz-sdk-checksum-algorithm", "SHA256")], "InvalidRequest"),
            (vec![("x-amz-sdk-checksum-algorithm", "CRC32")], "InvalidRequest"),
            (vec![("x-amz-checksum-xxhash64", "AAAA")], "InvalidRequest"),
            (vec![("x-amz-trailer", "x-amz-meta-a")], "InvalidRequest"),
            (vec![("content-md5", "AAAA")], "InvalidDigest"),
            (vec![("content-md5", "")], "InvalidDigest"),
        ] {
            assert_eq!(read(&pairs).unwrap_err(), code, "{pairs:?}");
        }
    }

    #[test]
    fn documents_are_compared_with_their_md5_and_checksum() {
        let body = Bytes::from_static(b"<Delete/>");
        let md5 = STANDARD.encode(<s3s::crypto::Md5 as s3s::crypto::Checksum>::checksum(&body));
        let crc = STANDARD.encode(of(ChecksumAlgorithm::Crc32, &body));
        let check = |pairs: &[(&str, &str)]| {
            Promise::of_document(&headers(pairs)).unwrap().map(|promise| promise.check_whole(&body).is_ok())
        };
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[("content-md5", &md5)]), Some(true));
        assert_eq!(check(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]), Some(false));
        let sdk = ("x-amz-sdk-checksum-algorithm", "CRC32");
        assert_eq!(check(&[sdk, ("x-amz-checksum-crc32", &crc)]), Some(true));
        assert_eq!(check(&[sdk, ("x-amz-checksum-crc32", "AAAAAA==")]), Some(false));
        // On CompleteMultipartUpload the same header speaks of the object.
        assert_eq!(check(&[("x-amz-checksum-crc32", "AAAAAA==")]), None);
    }
}
