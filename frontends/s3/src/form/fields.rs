//! The parts of a multipart/form-data body (RFC 7578): fields first, then the file as a stream.
//!
//! Only the fields are gathered, within a limit; the file is handed on piece by piece, with the
//! last bytes held back until they are known not to be the boundary.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use s3s::Body;

use crate::refusal::Refusal;

/// All fields together (AWS: 20 KB without the file).
const FIELDS_BYTES_MAX: usize = 64 << 10;
const FIELDS_MAX: usize = 200;

/// A form up to its file.
pub(super) struct Form {
    /// Names in lower case, in the order sent.
    pub(super) fields: Vec<(String, String)>,
    pub(super) file_name: String,
    pub(super) file_type: Option<String>,
    pub(super) file: File,
}

impl Form {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

fn malformed() -> Refusal {
    Refusal::bad(
        "MalformedPOSTRequest",
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}

/// The boundary of a Content-Type.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let value = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (1..=70).contains(&value.len()).then_some(value)
}

/// Reads all fields and finds the file.
pub(super) async fn read(mut body: Body, boundary: &str) -> Result<Form, Refusal> {
    let delimiter = format!("\r\n--{boundary}");
    // So that the first boundary looks like all others.
    let mut buffer = BytesMut::from("\r\n");
    let mut fields = Vec::new();
    let mut taken = 0;
    loop {
        let start = seek(&mut body, &mut buffer, delimiter.as_bytes(), &mut taken).await?;
        let value = buffer.split_to(start);
        if let Some((_, last)) = fields.last_mut() {
            *last = String::from_utf8(value.to_vec()).map_err(|_| malformed())?;
        }
        buffer.advance(delimiter.len());
        let end = seek(&mut body, &mut buffer, b"\r\n\r\n", &mut taken).await?;
        let head = buffer.split_to(end);
        buffer.advance(4);
        if head.starts_with(b"--") {
            break;
        }
        let head = std::str::from_utf8(&head).map_err(|_| malformed())?;
        let part = Part::read(head).ok_or_else(malformed)?;
        if part.name.eq_ignore_ascii_case("file") {
            let file = File(Arc::new(Mutex::new(Rest {
                body,
                buffer,
                delimiter: Bytes::from(delimiter),
                done: false,
            })));
            return Ok(Form { fields, file_name: part.file_name, file_type: part.content_type, file });
        }
        if fields.len() == FIELDS_MAX {
            return Err(too_large());
        }
        fields.push((part.name.to_ascii_lowercase(), String::new()));
    }
    Err(Refusal::bad("InvalidArgument", "POST requires exactly one file upload per request."))
}

fn too_large() -> Refusal {
    Refusal::bad(
        "MaxPostPreDataLengthExceededError",
        "Your POST request fields preceding the upload file were too large.",
    )
}

/// Where `needle` begins, reading on until it is there.
async fn seek(
    body: &mut Body,
    buffer: &mut BytesMut,
    needle: &[u8],
    taken: &mut usize,
) -> Result<usize, Refusal> {
    let mut from = 0;
    loop {
        if let Some(at) = find(&buffer[from..], needle) {
            return Ok(from + at);
        }
        // The last boundary of a form without a file ends in two dashes and nothing follows.
        if needle == b"\r\n\r\n" && buffer.starts_with(b"--") {
            buffer.extend_from_slice(b"\r\n\r\n");
            continue;
        }
        from = buffer.len().saturating_sub(needle.len() - 1);
        if *taken > FIELDS_BYTES_MAX {
            return Err(too_large());
        }
        match body.next().await {
            Some(Ok(piece)) => {
                // A piece may already hold the file; what counts is how often we had to go on.
                *taken += piece.len().min(FIELDS_BYTES_MAX / 4);
                buffer.extend_from_slice(&piece);
            }
            Some(Err(_)) | None => return Err(malformed()),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

struct Part {
    name: String,
    file_name: String,
    content_type: Option<String>,
}

impl Part {
    fn read(head: &str) -> Option<Self> {
        let (mut name, mut file_name, mut content_type) = (None, String::new(), None);
        for line in head.split("\r\n").filter(|line| !line.is_empty()) {
            let (header, value) = line.split_once(':')?;
            if header.trim().eq_ignore_ascii_case("content-type") {
                content_type = Some(value.trim().to_owned());
            }
            if !header.trim().eq_ignore_ascii_case("content-disposition") {
                continue;
            }
            for (parameter, value) in parameters(value) {
                match parameter.as_str() {
                    "name" => name = Some(value),
                    "filename" => file_name = value,
                    _ => {}
                }
            }
        }
        Some(Self { name: name?, file_name, content_type })
    }
}

/// `; name="value"`, with quotes and backslashes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(';') {
        let Some((name, value)) = after.split_once('=') else { break };
        let (value, tail) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        rest = tail;
    }
    found
}

fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut escaped = false;
    for (at, letter) in quoted.char_indices() {
        match letter {
            '"' if !escaped => return (value, &quoted[at + 1..]),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            letter => value.push(letter),
        }
        escaped = false;
    }
    (value, "")
}

/// The file's bytes. s3s wants bodies to be `Sync`; nobody else ever holds the lock.
pub(super) struct File(Arc<Mutex<Rest>>);

struct Rest {
    body: Body,
    buffer: BytesMut,
    delimiter: Bytes,
    done: bool,
}

impl Stream for File {
    type Item = Result<Bytes, s3s::StdError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Ok(mut rest) = self.0.lock() else { return Poll::Ready(None) };
        let rest = &mut *rest;
        loop {
            if rest.done {
                // What follows the file is read and not looked at (AWS ignores it).
                return match Pin::new(&mut rest.body).poll_next(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(Some(Err(_)) | None) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                };
            }
            if let Some(at) = find(&rest.buffer, &rest.delimiter) {
                rest.done = true;
                let last = rest.buffer.split_to(at).freeze();
                rest.buffer.clear();
                if !last.is_empty() {
                    return Poll::Ready(Some(Ok(last)));
                }
                continue;
            }
            let sure = rest.buffer.len().saturating_sub(rest.delimiter.len() - 1);
            if sure > 0 {
                return Poll::Ready(Some(Ok(rest.buffer.split_to(sure).freeze())));
            }
            match Pin::new(&mut rest.body).poll_next(cx) {
                Poll::Ready(Some(Ok(piece))) => rest.buffer.extend_from_slice(&piece),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    rest.done = true;
                    return Poll::Ready(Some(Err("the form ended before its file".into())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::StreamExt as _;
    use http_body_util::StreamBody;
    use s3s::Body;

    use super::{boundary, read};

    fn body(text: &str, piece: usize) -> Body {
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(piece)
            .map(|piece| {
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::copy_from_slice(piece)))
            })
            .collect();
        Body::http_body(StreamBody::new(futures::stream::iter(pieces)))
    }

    const FORM: &str = "--B\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\na\\b\r\n--B\r\n\
        content-disposition: form-data; name=\"file\"; filename=\"x \\\"y.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        line\r\n--\r\n--Bee\r\n--B--\r\n";

    #[tokio::test]
    async fn fields_and_file_come_out_whole_however_the_body_is_cut() {
        // `--Bee` begins like the boundary: RFC 2046 says a boundary must not occur, and clients
        // choose theirs so; the file ends at the first one.
        for piece in [1, 2, 3, 7, 1000] {
            let form = read(body(FORM, piece), "B").await.map_err(|refusal| refusal.code).unwrap();
            assert_eq!(form.field("key"), Some("a\\b"));
            assert_eq!(
                (form.file_name.as_str(), form.file_type.as_deref()),
                ("x \"y.txt", Some("text/plain"))
            );
            let bytes: Vec<u8> = form.file.map(|piece| piece.unwrap().to_vec()).concat().await;
            assert_eq!(bytes, b"line\r\n--", "{piece}");
        }
    }

    #[tokio::test]
    async fn a_form_without_an_end_or_a_file_is_refused() {
        let cut = read(body(&FORM[..40], 9), "B").await.map(drop).unwrap_err();
        assert_eq!(cut.code, "MalformedPOSTRequest");
        let no_file = "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--B--\r\n";
        assert_eq!(read(body(no_file, 5), "B").await.map(drop).unwrap_err().code, "InvalidArgument");
        let long =
            format!("--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n{}", "x".repeat(100_000));
        let refused = read(body(&long, 1000), "B").await.map(drop).unwrap_err();
        assert_eq!(refused.code, "MaxPostPreDataLengthExceededError");
        let mut file =
            read(body(&FORM[..FORM.len() - 20], 50), "B").await.map_err(|refusal| refusal.code).unwrap().file;
        let mut last = None;
        while let Some(piece) = file.next().await {
            last = Some(piece.is_err());
        }
        assert_eq!(last, Some(true));
    }

    #[test]
    fn boundaries_are_found_in_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(boundary("multipart/form-data; charset=x; Boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(boundary("multipart/form-data"), None);
    }
}
