//! Requests byte by byte, so that they can be wrong in any way.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{ACCESS_KEY, SECRET};

/// How a request is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Header,
    /// Presigned, for so many seconds.
    Query(u64),
    Nothing,
}

/// What x-amz-content-sha256 says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The body's digest.
    Whole,
    Unsigned,
    /// STREAMING-UNSIGNED-PAYLOAD-TRAILER: the body is framed by the test.
    UnsignedChunks,
    /// STREAMING-AWS4-HMAC-SHA256-PAYLOAD: chunks of so many bytes are signed here.
    SignedChunks(usize),
    /// The same with a trailer.
    SignedChunksTrailer(usize),
}

/// A request.
#[derive(Clone)]
pub(crate) struct Wire {
    addr: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    late: Vec<(String, String)>,
    body: Vec<u8>,
    pub(crate) auth: Auth,
    pub(crate) payload: Payload,
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) time: SystemTime,
    /// Signed trailers, for the two signed streaming forms.
    pub(crate) trailers: Vec<(&'static str, String)>,
    /// Changes the framed body before it is sent.
    pub(crate) spoil: fn(Vec<u8>) -> Vec<u8>,
    /// Content-Length to send instead of the true one.
    pub(crate) content_length: Option<usize>,
    pub(crate) host: String,
    /// Of a session.
    pub(crate) token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    /// The content of the first element of this name.
    pub(crate) fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.text().split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    }
    /// S3 error code.
    pub(crate) fn code(&self) -> &str {
        self.element("Code").unwrap_or_default()
    }
}

impl Wire {
    pub(crate) fn new(addr: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            addr,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            late: Vec::new(),
            body: Vec::new(),
            auth: Auth::Header,
            payload: Payload::Whole,
            access_key: ACCESS_KEY.to_owned(),
            secret: SECRET.to_owned(),
            region: "cess-1".to_owned(),
            service: "s3".to_owned(),
            time: SystemTime::now(),
            trailers: Vec::new(),
            spoil: |body| body,
            content_length: None,
            host: addr.to_string(),
            token: None,
        }
    }
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// A header that is added after signing.
    pub(crate) fn late(mut self, name: &str, value: &str) -> Self {
        self.late.push((name.to_owned(), value.to_owned()));
        self
    }
    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        body.clone_into(&mut self.body);
        self
    }
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
    pub(crate) fn skewed(mut self, back_secs: i64) -> Self {
        let by = Duration::from_secs(back_secs.unsigned_abs());
        self.time = if back_secs >= 0 { self.time - by } else { self.time + by };
        self
    }

    /// The whole request, signed.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let identity: Identity = Credentials::new(
            self.access_key.as_str(),
            self.secret.as_str(),
            self.token.clone(),
            None,
            "test",
        )
        .into();
        let mut headers = self.headers.clone();
        let declared = self.body.len();
        let streaming = match self.payload {
            Payload::SignedChunks(_) => Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            Payload::SignedChunksTrailer(_) => Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            _ => None,
        };
        if streaming.is_some() {
            headers.push(("x-amz-decoded-content-length".to_owned(), declared.to_string()));
            if !self.trailers.is_empty() {
                let names: Vec<&str> = self.trailers.iter().map(|(name, _)| *name).collect();
                headers.push(("x-amz-trailer".to_owned(), names.join(",")));
            }
        }
        let mut target = self.target.clone();
        let mut signature = String::new();
        if self.auth != Auth::Nothing {
            let body = match self.payload {
                Payload::Whole if self.auth == Auth::Header => SignableBody::Bytes(&self.body),
                Payload::Whole | Payload::Unsigned => SignableBody::UnsignedPayload,
                Payload::UnsignedChunks => SignableBody::StreamingUnsignedPayloadTrailer,
                Payload::SignedChunks(_) | Payload::SignedChunksTrailer(_) => {
                    SignableBody::Precomputed(streaming.unwrap().to_owned())
                }
            };
            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            if let Auth::Query(seconds) = self.auth {
                settings.signature_location = SignatureLocation::QueryParams;
                settings.expires_in = Some(Duration::from_secs(seconds));
                settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
            }
            let params = v4::SigningParams::builder()
                .identity(&identity)
                .region(&self.region)
                .name(&self.service)
                .time(self.time)
                .settings(settings)
                .build()
                .unwrap()
                .into();
            let uri = format!("http://{}{}", self.host, self.target);
            let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let request = SignableRequest::new(&self.method, uri, lines, body).unwrap();
            let (instructions, signed) = sign(request, &params).unwrap().into_parts();
            signature = signed;
            for (name, value) in instructions.headers() {
                headers.push((name.to_owned(), value.to_owned()));
            }
            for (name, value) in instructions.params() {
                let mark = if target.contains('?') { '&' } else { '?' };
                target = format!("{target}{mark}{name}={}", escape(value));
            }
        }
        let body = (self.spoil)(self.framed(&identity, &signature));
        let mut out =
            format!("{} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.method, self.host);
        let length = self.content_length.unwrap_or(body.len());
        if length > 0 || matches!(self.method.as_str(), "PUT" | "POST") {
            out.push_str(&format!("content-length: {length}\r\n"));
        }
        for (name, value) in headers.iter().chain(&self.late) {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        out.extend_from_slice(&body);
        out
    }

    /// The body with signed chunks around it, where that is asked for.
    fn framed(&self, identity: &Identity, seed: &str) -> Vec<u8> {
        let (Payload::SignedChunks(size) | Payload::SignedChunksTrailer(size)) = self.payload else {
            return self.body.clone();
        };
        let params: v4::SigningParams<'_, ()> = v4::SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.time)
            .settings(())
            .build()
            .unwrap();
        let mut running = seed.to_owned();
        let mut out = Vec::new();
        for chunk in self.body.chunks(size).chain([&[][..]]) {
            let bytes = chunk.to_vec().into();
            running = v4::sign_chunk(&bytes, &running, &params).unwrap().into_parts().1;
            out.extend_from_slice(format!("{:x};chunk-signature={running}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            if !chunk.is_empty() {
                out.extend_from_slice(b"\r\n");
            }
        }
        if matches!(self.payload, Payload::SignedChunksTrailer(_)) {
            let mut headers = aws_smithy_runtime_api::http::Headers::new();
            for (name, value) in &self.trailers {
                headers.insert(*name, value.clone());
                out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
            let signature = v4::sign_trailer(&headers, &running, &params).unwrap().into_parts().1;
            out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    pub(crate) async fn send(self) -> Reply {
        exchange(self.addr, &self.bytes()).await
    }

    /// Sends only the first bytes, then half-closes.
    pub(crate) async fn send_truncated(self, drop_last: usize) -> Reply {
        let bytes = self.bytes();
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        socket.write_all(&bytes[..bytes.len() - drop_last]).await.unwrap();
        socket.shutdown().await.unwrap();
        read(socket).await
    }
}

/// Sends bytes, reads the answer.
pub(crate) async fn exchange(addr: SocketAddr, bytes: &[u8]) -> Reply {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = socket.write_all(bytes).await;
    read(socket).await
}

async fn read(mut socket: TcpStream) -> Reply {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    parse(&answer)
}

pub(crate) fn parse(answer: &[u8]) -> Reply {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&answer[..at]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    if status == 100 {
        return parse(&answer[at + 4..]);
    }
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let body = answer[at + 4..].to_vec();
    let reply = Reply { status, headers, body };
    assert_ne!(reply.header("transfer-encoding"), Some("chunked"), "every answer here has a length");
    reply
}

/// Percent-encodes a query value.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// An unsigned aws-chunked body of chunks of `size`, with one trailer.
pub(crate) fn unsigned_chunks(body: &[u8], size: usize, trailer: Option<(&str, &str)>) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    if let Some((name, value)) = trailer {
        out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}
