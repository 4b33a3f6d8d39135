//! Browser uploads: POST of multipart/form-data (AWS: "Authenticating Requests in Browser-Based
//! Uploads Using POST").
//!
//! ```text
//! fields ..file   fields::read
//! signature       here: Signature Version 4, or 2 where the operator allows it
//! policy          policy::Policy
//! PUT             the inner service, with the fields as its headers and the file as its body
//! answer          204, 200, 201 with a document, or a redirect
//! ```
//!
//! The file is never collected: it streams into the same operation as every PUT, and a policy's
//! limits of length are checked before the commit. A form without a policy comes from nobody.

mod fields;
mod policy;

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use gw_store::Store;
use gw_types::{Authenticated, Frontend};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::Body;
use s3s::service::S3Service;
use sha1::Sha1;
use sha2::Sha256;

use crate::budget::Budgets;
use crate::guard::Regions;
use crate::percent;
use crate::refusal::{Refusal, escape};
use crate::said::{Remote, RequestName, Said};
use crate::trail::Note;
use crate::verify::{AsSent, Domains, Trailers};
use crate::xml;
use fields::Form;
pub(crate) use policy::FileLength;
use policy::Policy;

/// What form uploads stand on.
pub(crate) struct Forms {
    pub(crate) store: Arc<Store>,
    pub(crate) inner: S3Service,
    pub(crate) domains: Domains,
    /// Whether policies may be signed with Signature Version 2.
    pub(crate) sigv2: bool,
    pub(crate) budgets: Arc<Budgets>,
}

/// Whether a request is a form upload.
pub(crate) fn is_form(parts: &Parts) -> bool {
    let form = |value: &HeaderValue| {
        value.as_bytes().get(..19).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/form-data"))
    };
    parts.method == Method::POST
        && parts.headers.get(header::CONTENT_TYPE).is_some_and(form)
        && !parts.uri.query().is_some_and(|query| query.contains("uploads") || query.contains("uploadId"))
}

impl Forms {
    /// Answers a form upload.
    pub(crate) async fn receive(&self, parts: &Parts, body: Body, regions: &Regions<'_>) -> Response<Body> {
        match self.put(parts, body, regions).await {
            Ok(answer) => answer,
            Err(refusal) => refusal.answer(),
        }
    }

    async fn put(&self, parts: &Parts, body: Body, regions: &Regions<'_>) -> Result<Response<Body>, Refusal> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = fields::boundary(text(header::CONTENT_TYPE)).ok_or_else(|| {
            Refusal::bad("MalformedPOSTRequest", "The Content-Type of a form needs a boundary.")
        })?;
        let path = parts.uri.path().trim_start_matches('/');
        let (bucket, key) = match self.domains.bucket_of(text(header::HOST)) {
            Some(bucket) => (bucket, path),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (percent::decode_query(bucket), key)
            }
        };
        if !key.trim_matches('/').is_empty() {
            let message = "The specified method is not allowed against this resource.";
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
        }
        let mut form = fields::read(body, &boundary).await?;
        let name = form.file_name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        for (field, value) in &mut form.fields {
            if field == "key" {
                *value = value.replace("${filename}", &name);
            }
        }
        let key = form.field("key").filter(|key| !key.is_empty()).map(str::to_owned).ok_or_else(|| {
            Refusal::bad("InvalidArgument", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
        })?;
        let (who, length) = self.verify(&form, &bucket, regions).await?;
        if let (Some(note), Some(label)) = (parts.extensions.get::<Arc<Note>>(), who.label()) {
            note.set_user(label);
        }
        let answer_as = AnswerAs::read(&form);
        let who = (who, self.store.now().unix_seconds());
        let request = inside(parts, form, (&bucket, &key), who, length)?;
        let answer = self.inner.call(request).await.map_err(|error| {
            tracing::error!(?error, "an S3 answer could not be written");
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "We encountered an internal error.",
            )
        })?;
        if answer.status() != StatusCode::OK {
            return Ok(answer);
        }
        let scheme = parts.extensions.get::<Remote>().map_or("http", |remote| remote.scheme());
        Ok(answer_as.answer(answer, (scheme, text(header::HOST)), (&bucket, &key)))
    }

    /// Who signed the form's policy, and how long the file may be by it.
    async fn verify(
        &self,
        form: &Form,
        bucket: &str,
        regions: &Regions<'_>,
    ) -> Result<(Authenticated, FileLength), Refusal> {
        let Some(encoded) = form.field("policy") else {
            let signed = form.field("x-amz-signature").or(form.field("signature"));
            return match signed {
                None => Ok((Authenticated::anonymous(Frontend::S3), FileLength::ANY)),
                Some(_) => {
                    Err(Refusal::bad("InvalidArgument", "Bucket POST must contain a field named 'policy'."))
                }
            };
        };
        let (access_key, signature) = Signature::read(form, regions, self.sigv2)?;
        let credential = match form.field("x-amz-security-token") {
            Some(token) => self.store.session(access_key, token).await.map_err(Refusal::of_store)?,
            None => {
                let found = self.store.credential(access_key).await.map_err(Refusal::of_store)?;
                found.ok_or_else(|| {
                    let message = "The AWS Access Key Id you provided does not exist in our records.";
                    Refusal::new(StatusCode::FORBIDDEN, "InvalidAccessKeyId", message)
                })?
            }
        };
        if !signature.fits(credential.secret.expose(), encoded) {
            let message = "The request signature we calculated does not match the signature you provided.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message));
        }
        let text = STANDARD
            .decode(encoded.replace(['\r', '\n'], ""))
            .map_err(|_| Refusal::bad("InvalidPolicyDocument", "Invalid Policy: it is not base64."))?;
        let policy = Policy::parse(&text)?;
        let mut fields = form.fields.clone();
        fields.retain(|(field, _)| field != "bucket");
        fields.push(("bucket".to_owned(), bucket.to_owned()));
        policy.check(&fields, self.store.now().unix_seconds())?;
        if let Some(budget) = self.budgets.of(access_key, &credential)
            && let Err(wait) = budget.take_request()
        {
            tracing::debug!(?wait, "a form upload of a key that is used too fast");
            return Err(Refusal::too_fast());
        }
        Ok((credential.principal(Frontend::S3), policy.length))
    }
}

/// How a policy is signed.
enum Signature<'a> {
    V4 { date: &'a str, region: &'a str, hex: &'a str },
    V2 { base64: &'a str },
}

impl<'a> Signature<'a> {
    /// The access key, and what it must have signed.
    fn read(form: &'a Form, regions: &Regions<'_>, sigv2: bool) -> Result<(&'a str, Self), Refusal> {
        let field = |name: &str| {
            let message = format!(
                "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
            );
            form.field(name).ok_or_else(|| Refusal::bad("InvalidArgument", message))
        };
        if form.field("awsaccesskeyid").is_some() || form.field("signature").is_some() {
            if !sigv2 {
                return Err(regions.version_2());
            }
            return Ok((field("awsaccesskeyid")?, Self::V2 { base64: field("signature")? }));
        }
        if field("x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
            return Err(Refusal::bad(
                "InvalidArgument",
                "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"",
            ));
        }
        field("x-amz-date")?;
        let (access_key, date, region) = regions.read_scope(field("x-amz-credential")?)?;
        Ok((access_key, Self::V4 { date, region, hex: field("x-amz-signature")? }))
    }

    /// Compares in constant time, as `Mac::verify_slice` does.
    fn fits(&self, secret: &str, policy: &str) -> bool {
        match self {
            Self::V2 { base64 } => {
                let given = STANDARD.decode(base64).unwrap_or_default();
                Hmac::<Sha1>::new_from_slice(secret.as_bytes())
                    .is_ok_and(|mac| mac.chain_update(policy).verify_slice(&given).is_ok())
            }
            Self::V4 { date, region, hex } => {
                let mut given = [0; 32];
                if hex::decode_to_slice(hex, &mut given).is_err() {
                    return false;
                }
                let mut key = format!("AWS4{secret}").into_bytes();
                for word in [date, region, "s3", "aws4_request"] {
                    let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key) else { return false };
                    key = mac.chain_update(word).finalize().into_bytes().to_vec();
                }
                Hmac::<Sha256>::new_from_slice(&key)
                    .is_ok_and(|mac| mac.chain_update(policy).verify_slice(&given).is_ok())
            }
        }
    }
}

/// The fields that become headers of the PUT.
fn header_of(field: &str) -> Option<String> {
    let plain = [
        "cache-control",
        "content-type",
        "content-disposition",
        "content-encoding",
        "content-language",
        "expires",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
        "x-amz-request-payer",
    ];
    let families = [
        "x-amz-meta-",
        "x-amz-server-side-encryption",
        "x-amz-object-lock-",
        "x-amz-checksum-",
        "x-amz-grant-",
    ];
    if field == "acl" {
        return Some("x-amz-acl".to_owned());
    }
    (plain.contains(&field) || families.iter().any(|family| field.starts_with(family)))
        .then(|| field.to_owned())
}

/// The PUT that a form stands for.
fn inside(
    parts: &Parts,
    form: Form,
    (bucket, key): (&str, &str),
    (who, now_seconds): (Authenticated, i64),
    length: FileLength,
) -> Result<Request<Body>, Refusal> {
    let mut headers = HeaderMap::new();
    for (field, value) in &form.fields {
        let Some(name) = header_of(field) else { continue };
        let bad = |_| Refusal::bad("InvalidArgument", format!("The field {field} cannot stand in a header."));
        let name: HeaderName =
            name.parse().map_err(|_| Refusal::bad("InvalidArgument", "A field's name is no name."))?;
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(bad)?);
    }
    if let (false, Some(Ok(value))) =
        (headers.contains_key(header::CONTENT_TYPE), form.file_type.as_deref().map(HeaderValue::from_str))
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
    if let Some(tagging) = form.field("tagging") {
        let value = HeaderValue::from_str(&tags(tagging)?).map_err(|_| malformed_xml())?;
        headers.insert("x-amz-tagging", value);
    }
    for name in [header::HOST, header::REFERER, header::USER_AGENT] {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let path = format!("/{bucket}/{}", percent::encode(key));
    let uri: Uri =
        path.parse().map_err(|_| Refusal::bad("InvalidURI", "Couldn't parse the specified URI."))?;
    let said = Arc::new(Said {
        headers: headers.clone(),
        uri: uri.clone(),
        remote: parts.extensions.get::<Remote>().copied(),
        now_seconds,
        request_id: RequestName::of(&parts.extensions),
        note: parts.extensions.get::<Arc<crate::trail::Note>>().cloned(),
    });
    headers.remove(header::EXPIRES);
    // The inner service would look for a bucket in the host.
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    let file = form.file.map(|piece| piece.map(Frame::data));
    let mut request = Request::new(Body::http_body(StreamBody::new(file)));
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    *request.extensions_mut() = parts.extensions.clone();
    let extensions = request.extensions_mut();
    extensions.insert(who.under(Arc::clone(&said) as Arc<dyn gw_types::Circumstances>));
    extensions.insert(AsSent(said));
    extensions.insert(Trailers(None));
    extensions.insert(length);
    Ok(request)
}

fn malformed_xml() -> Refusal {
    Refusal::bad(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// The `tagging` field as the header that a PUT has.
fn tags(document: &str) -> Result<String, Refusal> {
    let tagging: s3s::dto::Tagging =
        xml::read("Tagging", document.as_bytes()).map_err(|_| malformed_xml())?;
    let pairs = tagging.tag_set.into_iter().map(|tag| {
        let encode = |text: Option<String>| percent::encode(&text.unwrap_or_default());
        format!("{}={}", encode(tag.key), encode(tag.value))
    });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// What the form wants to be answered.
struct AnswerAs {
    status: StatusCode,
    redirect: Option<String>,
}

impl AnswerAs {
    fn read(form: &Form) -> Self {
        let status = match form.field("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        };
        let redirect = form.field("success_action_redirect").or(form.field("redirect"));
        Self { status, redirect: redirect.filter(|url| url.parse::<Uri>().is_ok()).map(str::to_owned) }
    }

    fn answer(
        self,
        put: Response<Body>,
        (scheme, host): (&str, &str),
        (bucket, key): (&str, &str),
    ) -> Response<Body> {
        let tag =
            put.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        let location = format!("{scheme}://{host}/{bucket}/{}", percent::encode(key));
        let mut answer = Response::new(Body::empty());
        *answer.headers_mut() = put.headers().clone();
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        let mut to = location.clone();
        *answer.status_mut() = self.status;
        if let Some(url) = self.redirect {
            let join = if url.contains('?') { '&' } else { '?' };
            to = url;
            let encode = |text: &str| percent::encode(text).replace('/', "%2F");
            // Writing to a String cannot fail.
            let _ = write!(to, "{join}bucket={}&key={}&etag={}", encode(bucket), encode(key), encode(&tag));
            *answer.status_mut() = StatusCode::SEE_OTHER;
        } else if self.status == StatusCode::CREATED {
            let document = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket>\
                 <Key>{}</Key><ETag>{}</ETag></PostResponse>",
                escape(&location),
                escape(bucket),
                escape(key),
                escape(&tag)
            );
            *answer.body_mut() = Body::from(document);
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if let Ok(value) = HeaderValue::from_str(&to) {
            answer.headers_mut().insert(header::LOCATION, value);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::{Signature, header_of, tags};

    #[test]
    fn signatures_are_those_of_aws_documentation() {
        // AWS: "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)".
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        let hex = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        assert!(Signature::V4 { date: "20151229", region: "us-east-1", hex }.fits(secret, policy));
        assert!(!Signature::V4 { date: "20151230", region: "us-east-1", hex }.fits(secret, policy));
        assert!(!Signature::V2 { base64: "AAAA" }.fits(secret, policy));
    }

    #[test]
    fn fields_become_the_headers_of_a_put() {
        assert_eq!(header_of("acl").as_deref(), Some("x-amz-acl"));
        assert_eq!(header_of("x-amz-meta-a").as_deref(), Some("x-amz-meta-a"));
        assert_eq!(header_of("x-amz-signature"), None);
        let document = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>";
        assert_eq!(tags(document).map_err(|refusal| refusal.code).unwrap(), "a%20b=1%262");
        assert!(tags("<Tagging>").is_err());
    }
}
