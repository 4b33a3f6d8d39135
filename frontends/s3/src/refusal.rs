//! Errors that are answered before S3 dispatch, and the error document of every answer.
//!
//! The guard refuses requests whose form is wrong, before any signature is checked. s3s writes the
//! documents of all later errors; [`dress`] adds to those what AWS has in them and s3s has not
//! (`Resource`, `RequestId`, `HostId`). Clients read them: minio-go and boto3 take the right region
//! out of `<Region>`, and people quote request ids.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use gw_store::StoreError;
use http::{HeaderValue, Response, StatusCode, header};

use crate::errors;

/// Why a request was turned away by the guard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    /// The region to use instead, where the region was what was wrong.
    pub(crate) region: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), region: None }
    }
    /// 400
    pub(crate) fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
    /// What an error of the store is, where S3 dispatch has not begun.
    pub(crate) fn of_store(error: StoreError) -> Self {
        let (code, status) = errors::code_of(error.kind());
        if status.is_server_error() {
            tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
            return Self::new(status, code, "We encountered an error. Please try again.");
        }
        Self::new(status, code, error.message().to_owned())
    }
    /// 503
    pub(crate) fn too_fast() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate.")
    }
    /// The answer, as s3s would give it: not yet dressed.
    pub(crate) fn answer(&self) -> Response<s3s::Body> {
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>",
            self.code,
            escape(&self.message)
        );
        if let Some(region) = &self.region {
            // Writing to a String cannot fail.
            let _ = write!(text, "<Region>{}</Region>", escape(region));
        }
        text.push_str("</Error>");
        let mut response = Response::new(s3s::Body::from(text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// What every error document names.
pub(crate) struct Names<'a> {
    /// Path of the request, as sent.
    pub(crate) resource: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) host_id: &'a str,
}

impl Names<'_> {
    fn elements(&self) -> String {
        format!(
            "<Resource>{}</Resource><RequestId>{}</RequestId><HostId>{}</HostId>",
            escape(self.resource),
            self.request_id,
            self.host_id
        )
    }
}

/// An error document of s3s with the names put in, and the code that it carries. `None` where the
/// bytes are no error document.
pub(crate) fn dress(document: &Bytes, names: &Names<'_>) -> Option<(Bytes, String)> {
    let text = std::str::from_utf8(document).ok()?;
    let body = text.strip_suffix("</Error>")?;
    let code = body.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned();
    if !body.contains("<Message>") {
        let message = format!("</Code><Message>{}</Message>", sentence(&code));
        let body = body.replacen("</Code>", &message, 1);
        return Some((Bytes::from(format!("{body}{}</Error>", names.elements())), code));
    }
    Some((Bytes::from(format!("{body}{}</Error>", names.elements())), code))
}

/// AWS's sentence for the errors that s3s makes without one.
fn sentence(code: &str) -> &'static str {
    match code {
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema"
        }
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingRequestBodyError" => "Request Body is empty",
        "NotImplemented" => "A header or query you provided implies functionality that is not implemented.",
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method."
        }
        _ => "The request could not be answered; the code says why.",
    }
}

/// Text in XML: the five entities, and nothing that XML 1.0 forbids.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let odd =
        |c: char| matches!(c, '<' | '>' | '&' | '"' | '\'') || (c < ' ' && !matches!(c, '\t' | '\n' | '\r'));
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if odd(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Names, Refusal, dress, escape};

    const NAMES: Names<'static> = Names { resource: "/b/<k>", request_id: "R1", host_id: "H1" };

    #[test]
    fn documents_name_resource_and_request_and_escape_them() {
        let document = Bytes::from_static(b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>");
        let (dressed, code) = dress(&document, &NAMES).unwrap();
        assert_eq!(code, "NoSuchKey");
        let text = String::from_utf8(dressed.to_vec()).unwrap();
        assert!(text.ends_with(
            "<Resource>/b/&lt;k&gt;</Resource><RequestId>R1</RequestId><HostId>H1</HostId></Error>"
        ));
        assert_eq!(text.matches("<Message>").count(), 1);
        assert!(dress(&Bytes::from_static(b"<ListBucketResult/>"), &NAMES).is_none());
        let (dressed, _) =
            dress(&Bytes::from_static(b"<Error><Code>InvalidURI</Code></Error>"), &NAMES).unwrap();
        assert!(String::from_utf8(dressed.to_vec()).unwrap().contains("</Code><Message>Couldn't parse"));
    }

    #[test]
    fn a_refusal_names_the_region_to_use() {
        let mut refusal = Refusal::bad("AuthorizationHeaderMalformed", "wrong");
        refusal.region = Some("cess-1".to_owned());
        let body = refusal.answer().into_body().bytes().unwrap();
        assert!(String::from_utf8(body.to_vec()).unwrap().contains("<Region>cess-1</Region>"));
    }

    #[test]
    fn escaping_leaves_no_forbidden_character() {
        assert_eq!(escape("a<b>&\"'\u{1}"), "a&lt;b&gt;&amp;&quot;&apos;\u{fffd}");
    }
}
