//! One request from hyper to its answer: guard, verify, dispatch, and the headers all answers have.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, ORIGIN, SERVER, TRANSFER_ENCODING, USER_AGENT,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use s3s::Body;
use s3s::service::S3Service;

use crate::access_log::{AccessLog, Head, Logged};
use crate::config::S3Config;
use crate::cors::Cors;
use crate::form::{self, Forms};
use crate::guard::{self, BodyWatch, Claim, Framer, Intake, Linger, Pace, Regions};
use crate::iam::{self, Iam};
use crate::metrics::S3Metrics;
use crate::refusal::{Names, Refusal, dress};
use crate::said::{Remote, RequestName};
use crate::socket::{Activity, Busy};
use crate::trail::{Note, Outgoing, Trail};
use crate::verify::{Opened, SESSION};
use crate::website::Websites;

/// What goes back to hyper.
pub(crate) type Answer = Response<Outgoing<Body, Busy>>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const CHARGED: HeaderName = HeaderName::from_static("x-amz-request-charged");
const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// What all connections share.
pub(crate) struct Layer {
    pub(crate) config: S3Config,
    pub(crate) verify: S3Service,
    pub(crate) metrics: Arc<S3Metrics>,
    pub(crate) ids: RequestIds,
    pub(crate) cors: Cors,
    pub(crate) forms: Forms,
    pub(crate) access_log: AccessLog,
    pub(crate) iam: Iam,
    pub(crate) websites: Websites,
}

/// Names for requests: a random start, then a counter. Unique among starts with the odds of 2^-64.
pub(crate) struct RequestIds {
    seed: u64,
    next: AtomicU64,
    host: String,
}

impl RequestIds {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let mut seed = [0; 8];
        seed.copy_from_slice(&random[..8]);
        Ok(Self { seed: u64::from_le_bytes(seed), next: AtomicU64::new(1), host: STANDARD.encode(random) })
    }
    fn next(&self) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        // An odd multiplier is a bijection: distinct counts stay distinct.
        format!("{:016X}", self.seed ^ count.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Layer {
    /// Answers a request. Never fails: every error is an answer.
    ///
    /// A client that waits for `100 Continue` and gets its answer instead must not use the connection
    /// again (RFC 9110 10.1.1 lets us close it). botocore 1.43 would take the next answer on it for
    /// the rest of this one, and wait for a minute; it does this after each empty object.
    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        (remote, secure): (SocketAddr, bool),
        activity: Arc<Activity>,
    ) -> Result<Answer, Infallible> {
        let busy = Busy::begin(&activity);
        let (mut parts, body) = request.into_parts();
        drop_empty_authorization(&mut parts);
        let note = Arc::new(Note::default());
        let watch = Arc::new(BodyWatch::default());
        let trail = self.trail(&parts, (remote, secure), &note, &watch);
        let path = trail.path.clone();
        let request_id = trail.request_id.clone();
        let names = Names { resource: &path, request_id: &request_id, host_id: &self.ids.host };
        let head_only = parts.method == Method::HEAD;
        let waits = waits_to_be_asked(&parts);
        let is_http1 = parts.version < Version::HTTP_2;
        let regions = Regions::new(&self.config.regions, self.config.sigv2_presigned);
        if parts.method == Method::OPTIONS {
            drop(self.intake(body, None, watch, waits));
            let response = self.cors.preflight(&parts).await;
            return Ok(self.finish(response, &names, trail, busy, head_only));
        }
        parts.extensions.insert(Remote { addr: remote.ip(), secure });
        parts.extensions.insert(RequestName(request_id.clone()));
        parts.extensions.insert(Arc::clone(&note));
        parts.extensions.insert(Arc::clone(&watch));
        // Only a page of another origin sends this, so others pay nothing.
        let from_page = parts.headers.contains_key(ORIGIN).then(|| parts.clone());
        let website = self.websites.bucket_of(&parts);
        let examined = guard::examine(&parts, &regions, &self.config.limits)
            .inspect(|examined| note.set_access_key(examined.claim.access_key.as_deref()));
        let mut response = match examined {
            Ok(_) if website.is_some() => {
                note.set_operation("Website");
                drop(self.intake(body, None, Arc::clone(&watch), waits));
                self.websites.serve(&parts, website.as_deref().unwrap_or_default()).await
            }
            _ if iam::is_query(&parts) => {
                let head = guard::examine_head(&parts, &self.config.limits);
                let body = self.intake(body, None, Arc::clone(&watch), waits);
                self.iam.receive((&parts, head), body, &regions, &names).await
            }
            Ok(_) if form::is_form(&parts) => {
                if let Some(note) = parts.extensions.get::<Arc<Note>>() {
                    note.set_operation("PostObject");
                }
                let body = self.intake(body, None, Arc::clone(&watch), waits);
                self.forms.receive(&parts, body, &regions).await
            }
            Err(refusal) => {
                drop(self.intake(body, None, Arc::clone(&watch), waits));
                refusal.answer()
            }
            Ok(examined) => {
                date_as_amz_date(&mut parts);
                let body = self.intake(body, examined.framing, Arc::clone(&watch), waits);
                match self.opened(&examined.claim).await {
                    Err(refusal) => refusal.answer(),
                    Ok(session) => {
                        parts.extensions.insert(examined.claim);
                        let request = Request::from_parts(parts, body);
                        SESSION.scope(session, self.dispatch(request, &names)).await
                    }
                }
            }
        };
        if let Some(parts) = from_page {
            self.cors.dress(&parts, response.headers_mut()).await;
        }
        if waits && is_http1 && watch.bytes() == 0 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(self.finish(response, &names, trail, busy, head_only))
    }

    /// Where this request is written down, if its bucket wants that.
    fn logged(&self, parts: &Parts, secure: bool) -> Option<Logged> {
        if !self.access_log.is_wanted() {
            return None;
        }
        let (bucket, key) = self.cors.address(parts);
        let place = self.access_log.place(&bucket)?;
        Some(self.access_log.logged(place, Head::of(parts, (key, self.access_log.now()), secure)))
    }

    fn trail(
        &self,
        parts: &Parts,
        (remote, secure): (SocketAddr, bool),
        note: &Arc<Note>,
        watch: &Arc<BodyWatch>,
    ) -> Trail {
        self.metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("-");
        Trail {
            metrics: Arc::clone(&self.metrics),
            note: Arc::clone(note),
            watch: Arc::clone(watch),
            began: Instant::now(),
            request_id: self.ids.next(),
            remote,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            agent: agent.to_owned(),
            version: parts.version,
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: None,
            bytes_out: 0,
            aborted: false,
            object_bytes: None,
            lines: self.config.access_lines.clone().map(|lines| (lines, self.forms.store.now())),
            logged: self.logged(parts, secure),
        }
    }

    fn intake(
        &self,
        body: Incoming,
        framing: Option<(guard::Mode, u64)>,
        watch: Arc<BodyWatch>,
        waits_to_be_asked: bool,
    ) -> Body {
        if body.is_end_stream() && framing.is_none() {
            return Body::empty();
        }
        let limits = &self.config.limits;
        let pace = Pace { grace: limits.body_grace, bytes_per_second_min: limits.body_bytes_per_second_min };
        let framer = framing.map(|(mode, declared)| Framer::new(mode, declared));
        let intake = Intake::new(body, framer, pace, watch);
        let linger = Linger { bytes_max: limits.linger_bytes_max, timeout: limits.linger_timeout };
        Body::http_body(if waits_to_be_asked { intake } else { intake.lingering(linger) })
    }

    /// The session that a request's token speaks of.
    async fn opened(&self, claim: &Claim) -> Result<Option<Opened>, Refusal> {
        let (Some(access_key), Some(token)) = (&claim.access_key, &claim.token) else { return Ok(None) };
        let credential = self.forms.store.session(access_key, token).await.map_err(Refusal::of_store)?;
        Ok(Some((access_key.clone(), credential)))
    }

    async fn dispatch(&self, request: Request<Body>, names: &Names<'_>) -> Response<Body> {
        self.verify.call(request).await.unwrap_or_else(|error| {
            tracing::error!(request_id = names.request_id, ?error, "an answer could not be written");
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "We encountered an internal error. Please try again.",
            )
            .answer()
        })
    }

    /// What every answer gets.
    fn finish(
        &self,
        mut response: Response<Body>,
        names: &Names<'_>,
        mut trail: Trail,
        busy: Busy,
        head_only: bool,
    ) -> Answer {
        let status = response.status();
        trail.status = status;
        if trail.logged.is_some() {
            trail.object_bytes = object_bytes(response.headers());
        }
        if status.is_client_error() || status.is_server_error() || status == StatusCode::NOT_MODIFIED {
            if let Some((document, code)) = response.body().bytes().and_then(|bytes| dress(&bytes, names)) {
                trail.code = Some(code);
                *response.body_mut() = Body::from(document);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            }
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        if status == StatusCode::NOT_MODIFIED {
            // RFC 9110 15.4.5: no body, and nothing that describes one.
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(CONTENT_TYPE);
        }
        let headers = response.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        headers.insert(SERVER, HeaderValue::from_static("cess-gateway"));
        headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
        if (status.is_success() || status == StatusCode::NOT_MODIFIED) && trail.note.says_charged() {
            headers.insert(CHARGED, HeaderValue::from_static("requester"));
        }
        for (name, value) in [(REQUEST_ID, names.request_id), (HOST_ID, names.host_id)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        response.map(|body| Outgoing::new(body, trail, busy, head_only))
    }
}

/// Bytes of the object that an answer is about: all of it, also where a range goes out.
fn object_bytes(headers: &http::HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(http::header::CONTENT_RANGE) {
        Some(range) => range.rsplit('/').next()?.parse().ok(),
        None if headers.contains_key(http::header::ETAG) => text(CONTENT_LENGTH)?.parse().ok(),
        None => None,
    }
}

/// A header that names nobody is none: whoever sends it is anonymous, not malformed.
fn drop_empty_authorization(parts: &mut Parts) {
    let mut lines = parts.headers.get_all(http::header::AUTHORIZATION).iter();
    if lines.all(|line| line.as_bytes().trim_ascii().is_empty()) {
        parts.headers.remove(http::header::AUTHORIZATION);
    }
}

/// SigV4 takes the time of a request from `x-amz-date` or else from `Date` (AWS: "Elements of an AWS
/// API request signature"); s3s knows the first only. An unsigned header does not change what was
/// signed, and the time itself is part of what was.
fn date_as_amz_date(parts: &mut Parts) {
    let name = HeaderName::from_static("x-amz-date");
    let signed = parts.headers.contains_key(http::header::AUTHORIZATION);
    if !signed || parts.headers.contains_key(&name) {
        return;
    }
    let Some(date) = parts.headers.get(http::header::DATE).and_then(|date| date.to_str().ok()) else {
        return;
    };
    if let Some(value) = basic_date(date).and_then(|text| HeaderValue::from_str(&text).ok()) {
        parts.headers.insert(name, value);
    }
}

/// An HTTP date as `YYYYMMDDThhmmssZ`; one that is so written already stays.
pub(crate) fn basic_date(text: &str) -> Option<String> {
    let date = text;
    if date.len() == 16 && date.ends_with('Z') && date.as_bytes()[8] == b'T' {
        return Some(date.to_owned());
    }
    // Python's formatdate writes the zone as a number.
    let date = date.strip_suffix("-0000").or(date.strip_suffix("+0000")).map(|date| format!("{date}GMT"));
    let date = date.as_deref().unwrap_or(text);
    let time = crate::dates::to_s3(crate::dates::parse_http_date(date)?);
    let mut text = Vec::new();
    time.format(s3s::dto::TimestampFormat::DateTime, &mut text).ok()?;
    let text = String::from_utf8(text).ok()?;
    let seconds = text.split('.').next()?;
    Some(format!("{}Z", seconds.replace(['-', ':'], "")))
}

/// Whether the client sends its body only after `100 Continue`.
fn waits_to_be_asked(parts: &Parts) -> bool {
    parts.headers.contains_key(EXPECT)
}
