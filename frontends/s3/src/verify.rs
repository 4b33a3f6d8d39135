//! From a request to a principal: who asks is found out once, here.
//!
//! Two s3s services stand behind each other. The outer one only verifies: it parses the address,
//! computes the signature with the secret that [`StoreAuth`] finds, takes the aws-chunked frames
//! off the body, and then its one route, the [`Gate`], takes every request. The gate makes the
//! typed [`Authenticated`], the only one of this frontend, and hands the request to the inner
//! service, which parses it as an S3 operation and calls it.
//!
//! Between the two the signature is done with, so headers may be changed: those that s3s reads more
//! strictly than AWS does (a malformed `Range` is ignored by AWS, `If-Match` may hold a list,
//! `Expires` need be no date) are taken out and kept in [`AsSent`], where the operations read them.
//! The inner service sees no credentials at all. Its access check lets nothing pass that does not
//! carry the gate's principal, and notes the operation's name.

use std::sync::Arc;

use async_trait::async_trait;
use gw_store::{Credential, Store};
use gw_types::{Authenticated, Circumstances, Frontend};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders};

use crate::budget::{Budget, Budgets, Paced};
use crate::document;
use crate::errors;
use crate::guard::Claim;
use crate::percent;
use crate::said::{Remote, RequestName, Said};
use crate::trail::Note;

/// A session whose token was opened, and its temporary access key.
pub(crate) type Opened = (String, Arc<Credential>);

tokio::task_local! {
    /// The session of the request that is being verified. s3s asks for a secret by the name of its key
    /// alone, and a temporary key's stands in the token; the layer opens it first and leaves it here.
    pub(crate) static SESSION: Option<Opened>;
}

fn session_of(access_key: &str) -> Option<Arc<Credential>> {
    let of = |opened: &Option<Opened>| {
        opened.as_ref().filter(|(of, _)| of == access_key).map(|(_, credential)| Arc::clone(credential))
    };
    SESSION.try_with(of).ok().flatten()
}

/// Finds secrets in the store.
pub(crate) struct StoreAuth(pub(crate) Arc<Store>);

#[async_trait]
impl S3Auth for StoreAuth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if let Some(credential) = session_of(access_key) {
            return Ok(SecretKey::from(credential.secret.expose()));
        }
        match self.0.credential(access_key).await.map_err(errors::from_store)? {
            Some(credential) => Ok(SecretKey::from(credential.secret.expose())),
            None => Err(unknown_key()),
        }
    }
}

fn unknown_key() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::InvalidAccessKeyId,
        "The AWS Access Key Id you provided does not exist in our records.",
    )
}

/// The headers of the request as they were signed.
#[derive(Clone)]
pub(crate) struct AsSent(pub(crate) Arc<Said>);

/// The trailers of an aws-chunked body, once it is drained.
#[derive(Clone)]
pub(crate) struct Trailers(pub(crate) Option<TrailingHeaders>);

/// Headers that the inner service must not see: it would refuse what AWS accepts, or it would look
/// for credentials in them.
const KEPT_BACK: [header::HeaderName; 7] = [
    header::AUTHORIZATION,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::EXPIRES,
];
const KEPT_BACK_TOO: [&str; 7] = [
    "x-amz-security-token",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-content-sha256",
    "x-amz-if-match-last-modified-time",
];

/// The route that every verified request takes.
pub(crate) struct Gate {
    pub(crate) store: Arc<Store>,
    pub(crate) inner: S3Service,
    pub(crate) domains: Domains,
    pub(crate) xml_bytes_max: usize,
    pub(crate) budgets: Arc<Budgets>,
}

#[async_trait]
impl S3Route for Gate {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, _: &mut http::Extensions) -> bool {
        true
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let Some(credentials) = &request.credentials else {
            request.extensions.insert(Authenticated::anonymous(Frontend::S3));
            return Ok(());
        };
        version_2_in_time(&request.uri, self.store.now().unix_seconds())?;
        let access_key = credentials.access_key.as_str();
        let credential = match session_of(access_key) {
            Some(credential) => credential,
            None => {
                let found = self.store.credential(access_key).await.map_err(errors::from_store)?;
                let region = request.extensions.get::<Claim>().map_or("", |claim| claim.region.as_str());
                self.store.access_key_used(access_key, "s3", region).map_err(errors::from_store)?;
                found.ok_or_else(unknown_key)?
            }
        };
        let who = credential.principal(Frontend::S3);
        if let (Some(note), Some(label)) = (request.extensions.get::<Arc<Note>>(), who.label()) {
            note.set_user(label);
        }
        if let Some(budget) = self.budgets.of(access_key, &credential) {
            budget.take_request().map_err(errors::too_fast)?;
            request.extensions.insert(budget);
        }
        request.extensions.insert(who);
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let note = request.extensions.get::<Arc<Note>>().cloned();
        let budget = request.extensions.get::<Arc<Budget>>().filter(|budget| budget.paces()).cloned();
        let request = self.inside(request).await?;
        let response = self.inner.call(request).await.map_err(|error| {
            tracing::error!(?error, "an S3 answer could not be written");
            S3Error::new(S3ErrorCode::InternalError)
        })?;
        let (parts, body) = response.into_parts();
        let plain_tag = note.is_some_and(|note| note.operation_is("GetObjectAttributes"));
        let body = if plain_tag { without_quotes(body) } else { body };
        let body = match budget {
            Some(budget) => Body::http_body(Paced::new(body, budget)),
            None => body,
        };
        // s3s 0.14.1 answers 206 by itself for GET only, and takes no status from an operation.
        let ranged = parts.status == StatusCode::OK && parts.headers.contains_key(header::CONTENT_RANGE);
        let status = if ranged { StatusCode::PARTIAL_CONTENT } else { parts.status };
        let mut answer = S3Response::with_status(body, status);
        answer.headers = parts.headers;
        answer.extensions = parts.extensions;
        Ok(answer)
    }
}

impl Gate {
    /// The request as the inner service sees it.
    async fn inside(&self, request: S3Request<Body>) -> S3Result<http::Request<Body>> {
        let S3Request { input, method, uri, mut headers, mut extensions, trailing_headers, .. } = request;
        let input = match extensions.get::<Arc<Budget>>() {
            Some(budget) if budget.paces() => Body::http_body(Paced::new(input, Arc::clone(budget))),
            _ => input,
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let body = if document::is_document(&method, &uri, self.domains.bucket_of(host).is_some()) {
            document::read(input, &headers, &extensions, self.xml_bytes_max).await?
        } else {
            input
        };
        let said = Arc::new(Said {
            headers: headers.clone(),
            uri: uri.clone(),
            remote: extensions.get::<Remote>().copied(),
            now_seconds: self.store.now().unix_seconds(),
            request_id: RequestName::of(&extensions),
            note: extensions.get::<Arc<Note>>().cloned(),
        });
        if let Some(who) = extensions.remove::<Authenticated>() {
            extensions.insert(who.under(Arc::clone(&said) as Arc<dyn Circumstances>));
        }
        for name in &KEPT_BACK {
            headers.remove(name);
        }
        for name in KEPT_BACK_TOO {
            headers.remove(name);
        }
        extensions.insert(AsSent(said));
        extensions.insert(Trailers(trailing_headers));
        let mut inside = http::Request::new(body);
        *inside.method_mut() = method;
        *inside.uri_mut() = without_credentials(uri)?;
        *inside.headers_mut() = headers;
        *inside.extensions_mut() = extensions;
        Ok(inside)
    }
}

/// The longest that a presigned URL may still be valid, in seconds (AWS: seven days).
const EXPIRES_SECONDS_MAX: i64 = 7 * 24 * 3600;

/// Signature Version 2 names the end of its time and not its length, so the end must be near.
fn version_2_in_time(uri: &Uri, now_seconds: i64) -> S3Result<()> {
    let value = |wanted: &str| {
        uri.query().unwrap_or_default().split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent::decode_query(name) == wanted).then(|| percent::decode_query(value))
        })
    };
    // Names come decoded here as they do where the signature is computed.
    if !uri.query().is_some_and(|query| query.contains("AWSAccessKey") || query.contains('%'))
        || value("AWSAccessKeyId").is_none()
    {
        return Ok(());
    }
    let ends = value("Expires").and_then(|ends| ends.parse::<i64>().ok());
    if ends.is_some_and(|ends| ends <= now_seconds.saturating_add(EXPIRES_SECONDS_MAX)) {
        return Ok(());
    }
    Err(S3Error::with_message(
        S3ErrorCode::AccessDenied,
        "Expires must be given once, and be at most seven days from now.",
    ))
}

/// The address without the query parameters of a presigned URL.
fn without_credentials(uri: Uri) -> S3Result<Uri> {
    let Some(query) = uri
        .query()
        .filter(|query| query.contains("X-Amz-") || query.contains('%') || query.contains("AWSAccessKeyId"))
    else {
        return Ok(uri);
    };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = percent::decode_query(pair.split('=').next().unwrap_or_default());
            !matches!(
                name.as_str(),
                "X-Amz-Algorithm"
                    | "X-Amz-Credential"
                    | "X-Amz-Date"
                    | "X-Amz-Expires"
                    | "X-Amz-SignedHeaders"
                    | "X-Amz-Signature"
                    | "X-Amz-Security-Token"
                    | "AWSAccessKeyId"
                    | "Signature"
                    | "Expires"
            )
        })
        .collect();
    let path = uri.path();
    let text = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    text.parse().map_err(|error| S3Error::with_source(S3ErrorCode::InvalidURI, Box::new(error)))
}

/// s3s 0.14.1 prints the ETag of GetObjectAttributes in quotes, AWS does not.
fn without_quotes(body: Body) -> Body {
    match body.bytes() {
        Some(bytes) if bytes.starts_with(b"<?xml") => {
            let text = String::from_utf8_lossy(&bytes).replace("&quot;", "");
            match text.split_once("<ETag>").and_then(|(head, rest)| Some((head, rest.split_once("</ETag>")?)))
            {
                Some((head, (tag, tail))) => {
                    Body::from(format!("{head}<ETag>{}</ETag>{tail}", tag.replace('"', "")))
                }
                None => Body::from(text),
            }
        }
        _ => body,
    }
}

/// The inner access check.
pub(crate) struct OnlyVerified;

#[async_trait]
impl S3Access for OnlyVerified {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name().to_owned();
        let extensions = cx.extensions_mut();
        if let Some(note) = extensions.get::<Arc<Note>>() {
            note.set_operation(&operation);
        }
        match extensions.get::<Authenticated>() {
            Some(_) => Ok(()),
            None => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")),
        }
    }
}

/// Which hosts carry a bucket's name: `BUCKET.DOMAIN` for the configured domains only. s3s's own
/// parsers take any unknown host for a bucket and compare domains without a label boundary.
pub(crate) struct Domains(Vec<String>);

impl Domains {
    pub(crate) fn new(domains: &[String]) -> Self {
        Self(domains.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect())
    }

    /// The bucket that a `Host` names.
    pub(crate) fn bucket_of(&self, host: &str) -> Option<String> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        self.0.iter().filter(|domain| !domain.is_empty()).find_map(|domain| {
            let bucket = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
            (!bucket.is_empty()).then(|| bucket.to_owned())
        })
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let plain = VirtualHost::new(host);
        Ok(match self.bucket_of(host) {
            Some(bucket) => plain.with_bucket(bucket),
            None => plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use s3s::Body;
    use s3s::host::S3Host as _;

    use super::{Domains, version_2_in_time, without_credentials, without_quotes};

    #[test]
    fn only_configured_domains_carry_a_bucket() {
        let domains = Domains::new(&["s3.example.com".to_owned(), "example.org".to_owned()]);
        let bucket = |host: &str| domains.parse_host_header(host).unwrap().bucket().map(str::to_owned);
        assert_eq!(bucket("b.s3.example.com"), Some("b".to_owned()));
        assert_eq!(bucket("a.b.S3.Example.com:9000"), Some("a.b".to_owned()));
        for plain in
            ["s3.example.com", "bs3.example.com", "other.net", "127.0.0.1:9000", "localhost", ".example.org"]
        {
            assert_eq!(bucket(plain), None, "{plain}");
        }
    }

    #[test]
    fn version_2_urls_end_within_a_week() {
        let check = |query: &str| version_2_in_time(&format!("/b/k?{query}").parse().unwrap(), 1_000).is_ok();
        assert!(check("AWSAccessKeyId=a&Signature=s&Expires=605800") && check("Expires=x"));
        assert!(!check("AWSAccessKeyId=a&Signature=s&Expires=605801"));
        assert!(!check("%41WSAccessKeyId=a&Signature=s&%45xpires=605801"));
        assert!(!check("AWSAccessKeyId=a&Signature=s&Expires=soon") && !check("AWSAccessKeyId=a"));
    }

    #[test]
    fn presigned_parameters_do_not_go_inside() {
        let uri = "/b/k?versionId=v&X-Amz-Algorithm=a&X-Amz-Cre%64ential=c&X-Amz-Signature=s&partNumber=2&X-Amz-Date=d";
        assert_eq!(without_credentials(uri.parse().unwrap()).unwrap(), "/b/k?versionId=v&partNumber=2");
        let uri = "/b/k?X-Amz-Expires=5&X-Amz-SignedHeaders=host";
        assert_eq!(without_credentials(uri.parse().unwrap()).unwrap(), "/b/k");
    }

    #[test]
    fn the_tag_of_attributes_stands_without_quotes() {
        for tag in ["&quot;ab&quot;", "\"ab\""] {
            let body = Body::from(format!("<?xml version=\"1.0\"?><R><ETag>{tag}</ETag></R>"));
            let text = without_quotes(body).bytes().unwrap();
            assert_eq!(&text[..], b"<?xml version=\"1.0\"?><R><ETag>ab</ETag></R>");
        }
    }
}
