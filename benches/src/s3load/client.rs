//! One S3 client on one keep-alive connection.
//!
//! A [`Client`] makes one request at a time: signs it, writes it, reads the answer. It connects when it
//! must and drops the connection after any doubt about where in the stream it is. It never repeats a
//! request: what a failed request did is for the caller to find out.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::content::{Checker, Content};
use super::http::{Head, Reader};
use super::sign::{AmzDate, EMPTY_SHA256, Signer, ToSign, UNSIGNED, encode};
use super::target::Target;

/// Bodies up to this length leave in one write with their head.
const ONE_WRITE_BYTES: u64 = 64 << 10;
/// Longer bodies are made and written in pieces of this length.
const PIECE_BYTES: usize = 256 << 10;
/// So much of an error's body is kept, to find its code in.
const ERROR_BYTES_MAX: usize = 4 << 10;
/// Longest answer that is kept whole: a page of a list.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Why a request brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server did not take the connection: the request was not sent.
    #[error("connecting: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke: the request may have been carried out.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// No answer in time: the request may have been carried out.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The server refused, or failed: status and S3 error code.
    #[error("{status} {code}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The error's `Code`, empty where the answer had none.
        code: String,
    },
    /// An object is not what was written.
    #[error("{0}")]
    Wrong(String),
}

impl CallError {
    /// A short name to count by.
    pub fn label(&self) -> String {
        match self {
            Self::Connect(_) => "connect".to_owned(),
            Self::Broken(_) => "broken".to_owned(),
            Self::TimedOut(_) => "timeout".to_owned(),
            Self::Refused { status, code } => format!("{status} {code}").trim_end().to_owned(),
            Self::Wrong(_) => "wrong bytes".to_owned(),
        }
    }
    /// Whether the server is away, rather than unwilling.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Broken(_))
    }
    /// Whether the answer was a plain "there is no such object".
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

type Called<T> = std::result::Result<T, CallError>;

/// What a good answer was like.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `Content-Length` as the server gave it.
    pub content_length: Option<u64>,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// `ETag` as the server gave it, with its quotes.
    pub etag: Option<String>,
    /// From the start of the request to the first byte of the body, or of the head where no body came.
    pub first_byte: Duration,
}

/// One object of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

struct Outgoing<'a> {
    method: &'static str,
    path: String,
    query: String,
    range: Option<(u64, u64)>,
    body: Body<'a>,
}

/// What a request carries.
#[derive(Clone, Copy)]
enum Body<'a> {
    Nothing,
    /// The bytes from the first number to the second of a made body.
    Made(&'a Content, u64, u64),
    /// A few bytes of XML.
    Text(&'a str),
}

impl Body<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Made(_, first, end) => end - first,
            Self::Text(text) => text.len() as u64,
        }
    }
    fn sha256(&self) -> [u8; 32] {
        match self {
            Self::Nothing => Sha256::digest([]).into(),
            Self::Made(content, first, end) => sha256_range(content, *first, *end),
            Self::Text(text) => Sha256::digest(text).into(),
        }
    }
}

/// Talks to one server, one request at a time.
#[derive(Debug)]
pub struct Client {
    target: Target,
    signer: Signer,
    /// Sign bodies by their SHA-256, or leave them unsigned.
    sign_bodies: bool,
    connection: Option<Reader<TcpStream>>,
    date: (u64, AmzDate),
    out: Vec<u8>,
}

impl Client {
    /// A client of `target`. Nothing is connected yet.
    pub fn new(target: Target, sign_bodies: bool) -> Self {
        let signer = Signer::new(target.credentials.clone());
        let date = (0, AmzDate::from_unix(0));
        Self { target, signer, sign_bodies, connection: None, date, out: Vec::new() }
    }
    /// Connects, unless that is done.
    pub async fn connect(&mut self) -> Called<()> {
        if self.connection.is_none() {
            let connecting = async {
                let stream = TcpStream::connect(&self.target.authority).await?;
                // Requests are written whole: waiting for more only adds latency.
                stream.set_nodelay(true)?;
                Ok(stream)
            };
            let waited = timeout(self.target.timeout, connecting).await;
            let stream = waited.map_err(|_| CallError::TimedOut(self.target.timeout))?;
            self.connection = Some(Reader::new(stream.map_err(CallError::Connect)?));
        }
        Ok(())
    }

    /// Makes the bucket, or finds it made.
    pub async fn make_bucket(&mut self) -> Called<()> {
        let path = format!("/{}", self.target.bucket);
        let made = self.bare("PUT", path).await;
        match made {
            Err(CallError::Refused { status: 409, code }) if code == "BucketAlreadyOwnedByYou" => Ok(()),
            made => made.map(|_| ()),
        }
    }
    /// Puts an object.
    pub async fn put(&mut self, key: &str, content: &Content) -> Called<Answer> {
        let path = self.object(key);
        let body = Body::Made(content, 0, content.size());
        let request = Outgoing { method: "PUT", path, query: String::new(), range: None, body };
        self.call(&request, |_| ()).await
    }
    /// Puts an object in parts of `part_bytes`; it is there when the last request is answered.
    pub async fn put_in_parts(&mut self, key: &str, content: &Content, part_bytes: u64) -> Called<Answer> {
        let begun = self.text("POST", key, "uploads=".to_owned(), Body::Nothing).await?;
        let upload = element(&begun.1, "UploadId").map(unescape);
        let upload = upload.ok_or_else(|| CallError::Wrong(format!("{key}: an upload without a name")))?;
        let upload = encode(&upload, true);
        let mut list = "<CompleteMultipartUpload>".to_owned();
        let firsts = (0..content.size()).step_by(part_bytes as usize);
        for (number, first) in (1..).zip(firsts) {
            let body = Body::Made(content, first, (first + part_bytes).min(content.size()));
            let query = format!("partNumber={number}&uploadId={upload}");
            let (answer, _) = self.text("PUT", key, query, body).await?;
            let etag = answer.etag.unwrap_or_default();
            list.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        }
        list.push_str("</CompleteMultipartUpload>");
        let (answer, said) = self.text("POST", key, format!("uploadId={upload}"), Body::Text(&list)).await?;
        // S3 may begin a 200 before it knows the outcome, and then say so in the body.
        match element(&said, "Code") {
            Some(code) => Err(CallError::Refused { status: 200, code: code.to_owned() }),
            None => Ok(answer),
        }
    }
    /// Asks for an object's head; the answer's `content_length` is its size.
    pub async fn head(&mut self, key: &str) -> Called<Answer> {
        let path = self.object(key);
        self.bare("HEAD", path).await
    }
    /// Deletes an object.
    pub async fn delete(&mut self, key: &str) -> Called<Answer> {
        let path = self.object(key);
        self.bare("DELETE", path).await
    }
    /// Gets an object, or the bytes `range.0..range.1` of it, and hands them on as they come.
    pub async fn get(
        &mut self,
        key: &str,
        range: Option<(u64, u64)>,
        take: impl FnMut(&[u8]),
    ) -> Called<Answer> {
        let path = self.object(key);
        let request = Outgoing { method: "GET", path, query: String::new(), range, body: Body::Nothing };
        self.call(&request, take).await
    }
    /// Gets an object, or a range of it, and compares it with what was written.
    pub async fn get_checked(
        &mut self,
        key: &str,
        content: Content,
        range: Option<(u64, u64)>,
    ) -> Called<Answer> {
        let mut checker = match range {
            Some((first, end)) => Checker::range(content, first, end),
            None => Checker::whole(content),
        };
        let answer = self.get(key, range, |piece| checker.feed(piece)).await?;
        checker.verdict().map_err(|what| CallError::Wrong(format!("{key}: {what}")))?;
        Ok(answer)
    }
    /// One page of ListObjectsV2, and the token of the next.
    pub async fn list(
        &mut self,
        prefix: &str,
        count_max: u32,
        token: Option<&str>,
    ) -> Called<(Answer, Vec<Listed>, Option<String>)> {
        let token = token.map(|token| format!("continuation-token={}&", encode(token, true)));
        let query = format!(
            "{}list-type=2&max-keys={count_max}&prefix={}",
            token.unwrap_or_default(),
            encode(prefix, true)
        );
        let path = format!("/{}", self.target.bucket);
        let mut page = Vec::new();
        let request = Outgoing { method: "GET", path, query, range: None, body: Body::Nothing };
        let answer = self.call(&request, |piece| keep(&mut page, piece, KEPT_BYTES_MAX)).await?;
        let page = String::from_utf8_lossy(&page);
        let next = element(&page, "NextContinuationToken").map(unescape);
        Ok((answer, listed(&page)?, next))
    }

    fn object(&self, key: &str) -> String {
        format!("/{}/{}", self.target.bucket, encode(key, false))
    }
    async fn bare(&mut self, method: &'static str, path: String) -> Called<Answer> {
        let request = Outgoing { method, path, query: String::new(), range: None, body: Body::Nothing };
        self.call(&request, |_| ()).await
    }
    /// A request on an object, and the text of its answer.
    async fn text(
        &mut self,
        method: &'static str,
        key: &str,
        query: String,
        body: Body<'_>,
    ) -> Called<(Answer, String)> {
        let mut said = Vec::new();
        let request = Outgoing { method, path: self.object(key), query, range: None, body };
        let answer = self.call(&request, |piece| keep(&mut said, piece, ERROR_BYTES_MAX)).await?;
        Ok((answer, String::from_utf8_lossy(&said).into_owned()))
    }

    /// One request and its answer, within the time-out.
    async fn call(&mut self, request: &Outgoing<'_>, take: impl FnMut(&[u8])) -> Called<Answer> {
        let started = Instant::now();
        self.connect().await?;
        // The connection is put back only after an answer that left it at the start of the next.
        let mut connection = self.connection.take().expect("it was connected above");
        self.write_head(request);
        let exchange = exchange(&mut connection, &mut self.out, request, started, take);
        let waited = timeout(self.target.timeout, exchange).await;
        let exchanged = waited.map_err(|_| CallError::TimedOut(self.target.timeout))?;
        let (head, outcome) = exchanged.map_err(CallError::Broken)?;
        if head.keep_alive && connection.is_drained() {
            self.connection = Some(connection);
        }
        outcome
    }

    /// The head of `request`, signed, into the outgoing buffer.
    fn write_head(&mut self, request: &Outgoing<'_>) {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.date.0 != seconds {
            self.date = (seconds, AmzDate::from_unix(seconds));
        }
        let payload = match request.body {
            Body::Nothing => EMPTY_SHA256.to_owned(),
            Body::Made(..) if !self.sign_bodies => UNSIGNED.to_owned(),
            body => hex::encode(body.sha256()),
        };
        let Outgoing { method, path, query, .. } = request;
        let host = &self.target.authority;
        let to_sign = ToSign { method, path, query, host, payload: &payload, headers: &[] };
        let authorization = self.signer.authorization(&to_sign, &self.date.1);
        let mark = if query.is_empty() { "" } else { "?" };
        let date = self.date.1.as_str();
        let mut head = format!(
            "{method} {path}{mark}{query} HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {date}\r\n\
             x-amz-content-sha256: {payload}\r\nauthorization: {authorization}\r\n"
        );
        if let Some((first, end)) = request.range {
            head.push_str(&format!("range: bytes={first}-{}\r\n", end.saturating_sub(1)));
        }
        if *method == "PUT" || *method == "POST" {
            head.push_str(&format!("content-length: {}\r\n", request.body.len()));
        }
        head.push_str("\r\n");
        self.out.clear();
        self.out.extend_from_slice(head.as_bytes());
    }
}

/// Writes the request and reads the answer. Outer errors leave the connection in doubt.
async fn exchange(
    connection: &mut Reader<TcpStream>,
    out: &mut Vec<u8>,
    request: &Outgoing<'_>,
    started: Instant,
    mut take: impl FnMut(&[u8]),
) -> io::Result<(Head, Called<Answer>)> {
    let written = write(connection.stream(), out, request.body).await;
    // A server may refuse before it has read the body, and close: its answer says more than our error.
    let head = match (connection.head(request.method == "HEAD").await, written) {
        (Ok(head), Ok(())) => head,
        (Ok(head), Err(_)) => Head { keep_alive: false, ..head },
        (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
    };
    let mut first_byte = None;
    let mut body_bytes = 0;
    let mut refusal = Vec::new();
    let good = (200..300).contains(&head.status);
    let body = connection.body(head.framing, |piece| {
        first_byte.get_or_insert_with(|| started.elapsed());
        body_bytes += piece.len() as u64;
        if good { take(piece) } else { keep(&mut refusal, piece, ERROR_BYTES_MAX) }
    });
    body.await?;
    if !good {
        let code = element(&String::from_utf8_lossy(&refusal), "Code").unwrap_or_default().to_owned();
        let status = head.status;
        return Ok((head, Err(CallError::Refused { status, code })));
    }
    let first_byte = first_byte.unwrap_or_else(|| started.elapsed());
    let (content_length, etag) = (head.content_length, head.etag.clone());
    Ok((head, Ok(Answer { content_length, body_bytes, etag, first_byte })))
}

async fn write(stream: &mut TcpStream, out: &mut Vec<u8>, body: Body<'_>) -> io::Result<()> {
    let (content, mut first, end) = match body {
        Body::Made(content, first, end) => (content, first, end),
        Body::Text(text) => {
            out.extend_from_slice(text.as_bytes());
            return stream.write_all(out).await;
        }
        Body::Nothing => return stream.write_all(out).await,
    };
    if end - first <= ONE_WRITE_BYTES {
        let head_bytes = out.len();
        out.resize(head_bytes + (end - first) as usize, 0);
        content.fill(first, &mut out[head_bytes..]);
        first = end;
    }
    stream.write_all(out).await?;
    while first < end {
        let count = (PIECE_BYTES as u64).min(end - first) as usize;
        out.resize(count, 0);
        content.fill(first, out);
        stream.write_all(out).await?;
        first += count as u64;
    }
    Ok(())
}

/// The SHA-256 of a body, made in small pieces.
pub fn sha256(content: &Content) -> [u8; 32] {
    sha256_range(content, 0, content.size())
}

fn sha256_range(content: &Content, first: u64, end: u64) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut piece = [0; 8192];
    let mut at = first;
    while at < end {
        let count = (piece.len() as u64).min(end - at) as usize;
        content.fill(at, &mut piece[..count]);
        hasher.update(&piece[..count]);
        at += count as u64;
    }
    hasher.finalize().into()
}

fn keep(kept: &mut Vec<u8>, piece: &[u8], bytes_max: usize) {
    let room = bytes_max.saturating_sub(kept.len());
    kept.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// The text of the first element of this name: enough XML for S3's flat answers.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn unescape(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    named.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

fn listed(page: &str) -> Called<Vec<Listed>> {
    let wrong = || CallError::Wrong("a list is not as S3 describes it".to_owned());
    if !page.contains("ListBucketResult") {
        return Err(wrong());
    }
    let one = |entry: &str| {
        let key = unescape(element(entry, "Key")?);
        let size = element(entry, "Size")?.parse().ok()?;
        Some(Listed { key, size })
    };
    page.split("<Contents>").skip(1).map(|entry| one(entry).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Listed, element, listed, sha256, unescape};
    use crate::s3load::content::Content;

    #[test]
    fn a_list_is_read() {
        let page = "<ListBucketResult><Contents><Key>a&amp;b</Key><Size>7</Size></Contents>\
                    <Contents><Key>c</Key><Size>0</Size></Contents>\
                    <NextContinuationToken>x=</NextContinuationToken></ListBucketResult>";
        let wanted = [("a&b", 7), ("c", 0)].map(|(key, size)| Listed { key: key.to_owned(), size });
        assert_eq!(listed(page).unwrap(), wanted);
        assert_eq!(element(page, "NextContinuationToken"), Some("x="));
        assert!(listed("<html>").is_err());
        assert!(listed("<ListBucketResult><Contents><Key>a</Key></Contents>").is_err());
    }

    #[test]
    fn an_escaped_escape_stays_text() {
        assert_eq!(unescape("&amp;lt;"), "&lt;");
    }

    #[test]
    fn a_digest_does_not_depend_on_pieces() {
        use sha2::{Digest, Sha256};
        let content = Content::new("k", 3, 20_001);
        let mut bytes = vec![0; 20_001];
        content.fill(0, &mut bytes);
        assert_eq!(sha256(&content), <[u8; 32]>::from(Sha256::digest(&bytes)));
    }
}
