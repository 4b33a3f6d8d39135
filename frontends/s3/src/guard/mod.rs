//! What stands in front of s3s: each request is looked at before any of it is parsed as S3.
//!
//! [`examine`] is pure. It reads the head of a request and says how its body must be watched, or
//! why it is refused; no store is asked and nothing of the body is read. It closes what s3s 0.14.1
//! leaves open (see `claim` and `framing`), A request that passes is not yet authentic: s3s checks the signature next.

mod claim;
mod framing;
mod intake;

use std::fmt;

use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

pub(crate) use claim::{Claim, Regions, Scope, Signed, TOKEN, covered, fields};
pub(crate) use framing::{Framer, Mode};
pub(crate) use intake::{BodyWatch, Intake, Linger, Pace};

use crate::config::Limits;
use crate::refusal::Refusal;

/// The digest header that says how the body is signed.
const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// Length of an aws-chunked body once its frames are taken off.
pub(crate) const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

/// What went wrong with a body on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// It ended before it was whole.
    Incomplete,
    /// It has more bytes than were declared.
    TooLong,
    /// A signed chunk above the limit.
    ChunkTooLarge,
    /// Its frames cannot be read.
    Malformed,
    /// The client was too slow.
    TooSlow,
    /// The connection broke.
    Broken,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "the body ended before it was whole",
            Self::TooLong => "the body has more bytes than were declared",
            Self::ChunkTooLarge => "a signed chunk is larger than this gateway holds in memory",
            Self::Malformed => "the frames of the aws-chunked body cannot be read",
            Self::TooSlow => "the body came too slowly",
            Self::Broken => "the connection broke",
        })
    }
}

impl std::error::Error for BodyFault {}

/// What is known of a request that may go on to s3s.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Examined {
    /// Who it claims to be from.
    pub(crate) claim: Claim,
    /// How its body is framed, with the length it declares; `None`: not at all.
    pub(crate) framing: Option<(Mode, u64)>,
}

/// Looks at the head of a request.
pub(crate) fn examine(parts: &Parts, regions: &Regions<'_>, limits: &Limits) -> Result<Examined, Refusal> {
    examine_head(parts, limits)?;
    let claim = claim::examine(&parts.headers, parts.uri.query(), regions)?;
    let framing = framing_of(&parts.headers, claim.signed, limits)?;
    let len = match framing {
        Some((_, declared)) => Some(declared),
        None => number(&parts.headers, CONTENT_LENGTH.as_str())?,
    };
    if len.is_some_and(|len| len > limits.put_bytes_max) {
        return Err(Refusal::bad(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed object size.",
        ));
    }
    Ok(Examined { claim, framing })
}

/// What is looked at in every request, whatever it asks for.
pub(crate) fn examine_head(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    check_size(&parts.headers, limits)?;
    check_host(parts)
}

fn check_size(headers: &HeaderMap, limits: &Limits) -> Result<(), Refusal> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes <= limits.header_bytes_max && headers.len() <= limits.header_count_max {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "RequestHeaderSectionTooLarge",
        format!(
            "Your request header section exceeds the maximum allowed size of {} bytes.",
            limits.header_bytes_max
        ),
    ))
}

/// One host only: s3s routes by the first `Host` and signs all of them.
fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (first, others) = (hosts.next(), hosts.count());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let agree = match (first, authority) {
        (Some(host), Some(authority)) => host.as_bytes() == authority.as_bytes(),
        (None, None) => false,
        _ => true,
    };
    if others == 0 && agree {
        return Ok(());
    }
    Err(Refusal::bad("InvalidRequest", "A request has exactly one Host."))
}

fn framing_of(headers: &HeaderMap, signed: Signed, limits: &Limits) -> Result<Option<(Mode, u64)>, Refusal> {
    let Some(value) = headers.get(CONTENT_SHA256) else { return Ok(None) };
    let mode = match value.as_bytes() {
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Mode::Unsigned,
        b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" | b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
            Mode::Signed { chunk_bytes_max: limits.signed_chunk_bytes_max }
        }
        _ => return Ok(None),
    };
    // The seed of the chunk signatures is the header's signature; without one there is none.
    if signed != Signed::Header {
        return Err(Refusal::bad(
            "InvalidRequest",
            "A streaming payload (x-amz-content-sha256: STREAMING-...) needs a signed Authorization header.",
        ));
    }
    match number(headers, DECODED_LENGTH)? {
        Some(declared) => Ok(Some((mode, declared))),
        None => Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "MissingContentLength",
            "You must provide the x-amz-decoded-content-length HTTP header.",
        )),
    }
}

/// A header that holds one decimal number.
fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let digits = first.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(number), None) => Ok(Some(number)),
        _ => Err(Refusal::bad("InvalidArgument", format!("The header {name} is not one number."))),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Examined, Mode, Regions, Signed, examine};
    use crate::config::Limits;

    const AUTH: &str = "AWS4-HMAC-SHA256 Credential=A/20260101/cess-1/s3/aws4_request, \
                        SignedHeaders=host;x-amz-content-sha256;x-amz-decoded-content-length, Signature=0";

    fn check(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Examined, &'static str> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let regions = ["cess-1".to_owned()];
        examine(&parts, &Regions::new(&regions, false), &Limits::default()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_request_has_exactly_one_host() {
        assert!(check("GET", "/", &[("host", "a")]).is_ok());
        assert_eq!(check("GET", "/", &[]), Err("InvalidRequest"));
        assert_eq!(check("GET", "/", &[("host", "a"), ("host", "a")]), Err("InvalidRequest"));
        assert_eq!(check("GET", "http://b/", &[("host", "a")]), Err("InvalidRequest"));
        assert!(check("GET", "http://a/", &[("host", "a")]).is_ok());
    }

    #[test]
    fn streaming_bodies_need_a_declared_length_and_a_signed_header() {
        let stream = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let len = ("x-amz-decoded-content-length", "5");
        let whole = [("host", "a"), ("authorization", AUTH), stream, len];
        let good = check("PUT", "/b/k", &whole).unwrap();
        assert_eq!((good.claim.signed, good.framing), (Signed::Header, Some((Mode::Unsigned, 5))));
        assert_eq!(check("PUT", "/b/k", &[("host", "a"), stream, len]), Err("InvalidRequest"));
        let without = AUTH.replace(";x-amz-decoded-content-length", "");
        assert_eq!(
            check("PUT", "/b/k", &[("host", "a"), ("authorization", &without), stream]),
            Err("MissingContentLength")
        );
        let odd = [("host", "a"), ("authorization", AUTH), stream, ("x-amz-decoded-content-length", "-5")];
        assert_eq!(check("PUT", "/b/k", &odd), Err("InvalidArgument"));
    }

    #[test]
    fn bodies_and_heads_have_a_maximum() {
        assert_eq!(
            check("PUT", "/b/k", &[("host", "a"), ("content-length", "5368709121")]),
            Err("EntityTooLarge")
        );
        let long = "x".repeat(17_000);
        assert_eq!(
            check("GET", "/", &[("host", "a"), ("x-long", &long)]),
            Err("RequestHeaderSectionTooLarge")
        );
    }
}
