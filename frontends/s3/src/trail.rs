//! What a request leaves behind: one line in the access log, one sample in the metrics.
//!
//! A [`Trail`] goes with the response body and is written when that body is dropped, so that it
//! knows how many bytes went out and whether the client read to the end. The access line goes to
//! tracing under the target `access`, at level INFO. It names principal, operation, path and
//! status; it never holds a query string, an `Authorization` header or a signature.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use gw_types::Timestamp;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

use crate::access_lines::{AccessLine, AccessLines};
use crate::access_log::{Logged, Outcome};
use crate::guard::BodyWatch;
use crate::metrics::{S3Metrics, Sample};

/// Operations whose answers have `x-amz-request-charged` (AWS: the API reference, each by itself).
const CHARGED: [&str; 24] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PostObject",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "RenameObject",
    "UploadPart",
    "UploadPartCopy",
];

/// What is found out about a request on its way.
#[derive(Debug, Default)]
pub(crate) struct Note {
    user: OnceLock<Arc<str>>,
    operation: OnceLock<String>,
    access_key: OnceLock<String>,
    charged: AtomicBool,
}

impl Note {
    pub(crate) fn set_user(&self, user: Arc<str>) {
        // The first principal stands; there is only one.
        let _ = self.user.set(user);
    }
    pub(crate) fn set_operation(&self, name: &str) {
        let _ = self.operation.set(name.to_owned());
    }
    /// The access key that the request names, proven or not.
    pub(crate) fn set_access_key(&self, access_key: Option<&str>) {
        if let Some(access_key) = access_key {
            let _ = self.access_key.set(access_key.to_owned());
        }
    }
    /// The requester pays.
    pub(crate) fn charge(&self) {
        self.charged.store(true, Ordering::Relaxed);
    }
    /// Whether the answer says that the requester was charged: where AWS's answers do, which is on
    /// everything but the settings of buckets.
    pub(crate) fn says_charged(&self) -> bool {
        self.charged.load(Ordering::Relaxed)
            && self.operation.get().is_some_and(|operation| CHARGED.contains(&operation.as_str()))
    }
    pub(crate) fn operation_is(&self, name: &str) -> bool {
        self.operation.get().is_some_and(|operation| operation == name)
    }
}

/// One request's record.
pub(crate) struct Trail {
    pub(crate) metrics: Arc<S3Metrics>,
    pub(crate) note: Arc<Note>,
    pub(crate) watch: Arc<BodyWatch>,
    pub(crate) began: Instant,
    pub(crate) request_id: String,
    pub(crate) remote: std::net::SocketAddr,
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) agent: String,
    pub(crate) version: http::Version,
    pub(crate) status: StatusCode,
    /// S3 error code, where there was one.
    pub(crate) code: Option<String>,
    pub(crate) bytes_out: u64,
    pub(crate) aborted: bool,
    pub(crate) object_bytes: Option<u64>,
    /// The gateway's access log, where it has one, and when the request began.
    pub(crate) lines: Option<(AccessLines, Timestamp)>,
    /// The bucket's own access log, where it has one.
    pub(crate) logged: Option<Logged>,
}

impl Trail {
    fn write_line(&self, operation: &str, sample: &Sample, micros: u64) {
        let Some((lines, at)) = &self.lines else { return };
        let line = AccessLine {
            request_id: &self.request_id,
            remote: self.remote,
            access_key: self.note.access_key.get().map(String::as_str),
            user: self.note.user.get().map(AsRef::as_ref),
            operation,
            method: self.method.as_str(),
            path: &self.path,
            status: self.status.as_u16(),
            code: self.code.as_deref(),
            bytes_in: sample.bytes_in,
            bytes_out: sample.bytes_out,
            micros,
            aborted: self.aborted,
            agent: &self.agent,
        };
        lines.write(*at, &line);
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let operation = self.note.operation.get().map_or("-", String::as_str);
        let took = self.began.elapsed();
        let sample = Sample {
            status: self.status,
            took,
            bytes_in: self.watch.bytes(),
            bytes_out: self.bytes_out,
            aborted: self.aborted,
        };
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.metrics.record(operation, sample);
        if let Some(logged) = &self.logged {
            let received = matches!(operation, "PutObject" | "UploadPart" | "PostObject");
            logged.write(&Outcome {
                bucket: "",
                owner: "",
                remote: self.remote.ip(),
                user: self.note.user.get().map_or("", AsRef::as_ref),
                request_id: &self.request_id,
                operation,
                method: self.method.as_str(),
                status: self.status.as_u16(),
                code: self.code.as_deref().unwrap_or(""),
                bytes_out: self.bytes_out,
                object_bytes: if received { Some(sample.bytes_in) } else { self.object_bytes },
                took,
                agent: &self.agent,
            });
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.write_line(operation, &sample, micros);
        tracing::info!(
            target: "access",
            request_id = %self.request_id,
            remote = %self.remote,
            user = self.note.user.get().map_or("-", AsRef::as_ref),
            method = %self.method,
            path = %self.path,
            version = ?self.version,
            operation,
            status = self.status.as_u16(),
            code = self.code.as_deref().unwrap_or("-"),
            bytes_in = sample.bytes_in,
            bytes_out = sample.bytes_out,
            micros,
            aborted = self.aborted,
            agent = %self.agent,
            "request"
        );
    }
}

/// A response body that counts itself.
pub(crate) struct Outgoing<B, G> {
    inner: B,
    trail: Trail,
    /// Bytes that must leave, where that is known.
    expected: Option<u64>,
    /// Held until the answer is out; says to the connection that a request is under way.
    _busy: G,
}

impl<B: Body<Data = Bytes>, G> Outgoing<B, G> {
    /// `head_only`: no byte of the body will be asked for.
    pub(crate) fn new(inner: B, mut trail: Trail, busy: G, head_only: bool) -> Self {
        let expected = if head_only { Some(0) } else { inner.size_hint().exact() };
        trail.aborted = expected != Some(0);
        Self { inner, trail, expected, _busy: busy }
    }
}

impl<B, G> Body for Outgoing<B, G>
where
    B: Body<Data = Bytes, Error = s3s::StdError> + Unpin,
    G: Unpin,
{
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                this.trail.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64;
                if Some(this.trail.bytes_out) == this.expected {
                    this.trail.aborted = false;
                }
            }
            Some(Err(error)) => {
                tracing::error!(request_id = %this.trail.request_id, error = %error, "an answer broke off");
            }
            None => this.trail.aborted = false,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
