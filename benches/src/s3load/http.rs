//! HTTP/1.1 answers, read from a socket without a library between.
//!
//! A [`Reader`] keeps one buffer of fixed size. Heads are parsed in place; bodies are handed on piece
//! by piece out of the buffer, so a body of any length costs no memory and no copy. It understands
//! what a client must (RFC 9112): interim answers, `Content-Length`, chunked coding with extensions and
//! trailers, bodies that end with the connection, and answers that have no body.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head that is accepted, and longest line within chunked coding.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Room of the buffer: one read of a fast loopback socket.
const BUFFER_BYTES: usize = 128 << 10;

/// How the length of a body is known (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 also where there can be no body.
    Length(u64),
    /// Chunks, until one of length 0.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// The head of an answer: what this tool needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `200` and so on; never 1xx.
    pub status: u16,
    /// How the body ends.
    pub framing: Framing,
    /// `Content-Length` as given, also on answers to HEAD.
    pub content_length: Option<u64>,
    /// `ETag` as given.
    pub etag: Option<String>,
    /// Whether the connection can take another request.
    pub keep_alive: bool,
}

/// Reads answers from one connection.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `stream`.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), start: 0, end: 0 }
    }
    /// The socket, to write to.
    pub fn stream(&mut self) -> &mut R {
        &mut self.stream
    }
    /// Whether bytes came that no answer has claimed.
    pub fn is_drained(&self) -> bool {
        self.start == self.end
    }

    /// The next head that is not interim. `to_head`: the request was a HEAD, so no body follows.
    pub async fn head(&mut self, to_head: bool) -> io::Result<Head> {
        loop {
            let len = self.until(b"\r\n\r\n").await?;
            let head = parse_head(&self.buffer[self.start..self.start + len], to_head)?;
            self.start += len;
            if head.status >= 200 {
                return Ok(head);
            }
        }
    }

    /// Hands the body on, piece by piece.
    pub async fn body(&mut self, framing: Framing, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        match framing {
            Framing::Length(len) => self.exactly(len, &mut take).await,
            Framing::Chunked => self.chunks(&mut take).await,
            Framing::UntilClose => self.rest(&mut take).await,
        }
    }

    async fn exactly(&mut self, len: u64, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            if self.is_drained() {
                self.fill().await?;
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.end - self.start);
            take(&self.buffer[self.start..self.start + count]);
            self.start += count;
            left -= count as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let len = chunk_len(&self.buffer[line])?;
            if len == 0 {
                break;
            }
            self.exactly(len, take).await?;
            if !self.line().await?.is_empty() {
                return Err(bad("a chunk is longer than it said"));
            }
        }
        // Trailers, up to an empty line.
        while !self.line().await?.is_empty() {}
        Ok(())
    }

    async fn rest(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            take(&self.buffer[self.start..self.end]);
            self.start = self.end;
            match self.fill().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                filled => filled?,
            }
        }
    }

    /// Where the next line stands in the buffer, without its end. It is taken.
    async fn line(&mut self) -> io::Result<std::ops::Range<usize>> {
        let len = self.until(b"\r\n").await?;
        let line = self.start..self.start + len - 2;
        self.start += len;
        Ok(line)
    }

    /// Bytes up to and with `mark`, reading as much as it takes.
    async fn until(&mut self, mark: &[u8]) -> io::Result<usize> {
        let mut looked = 0;
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(at) = held[looked..].windows(mark.len()).position(|window| window == mark) {
                return Ok(looked + at + mark.len());
            }
            if held.len() > HEAD_BYTES_MAX {
                return Err(bad("the head of the answer is too long"));
            }
            looked = held.len().saturating_sub(mark.len() - 1);
            self.fill().await?;
        }
    }

    /// Reads once, after making room. The end of the stream is an error.
    async fn fill(&mut self) -> io::Result<()> {
        if self.is_drained() {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let count = self.stream.read(&mut self.buffer[self.end..]).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        self.end += count;
        Ok(())
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn parse_head(bytes: &[u8], to_head: bool) -> io::Result<Head> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad("the head of the answer is not ASCII"))?;
    let mut lines = text.split("\r\n");
    let (version, status) = status_line(lines.next().unwrap_or_default())?;
    let (mut length, mut chunked, mut keep_alive) = (None, false, version == "HTTP/1.1");
    let mut etag = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().map_err(|_| bad("Content-Length is not a number"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.to_ascii_lowercase().ends_with("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("etag") {
            etag = Some(value.to_owned());
        }
    }
    let framing = match length {
        _ if to_head || status < 200 || status == 204 || status == 304 => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    let keep_alive = keep_alive && framing != Framing::UntilClose;
    Ok(Head { status, framing, content_length: length, etag, keep_alive })
}

fn status_line(line: &str) -> io::Result<(&str, u16)> {
    let (version, rest) = line.split_once(' ').ok_or_else(|| bad("no status line"))?;
    let status = rest.get(..3).and_then(|digits| digits.parse().ok());
    match status {
        Some(status) if version.starts_with("HTTP/1.") => Ok((version, status)),
        _ => Err(bad("this is not an HTTP/1 answer")),
    }
}

fn chunk_len(line: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(line).map_err(|_| bad("a chunk length is not ASCII"))?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(|_| bad("a chunk length is not a number"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, ReadBuf};

    use super::{Framing, Reader};

    /// Gives a few bytes at a time, as a slow network may.
    struct Dripping<'a> {
        bytes: &'a [u8],
        at_once: usize,
    }

    impl AsyncRead for Dripping<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.at_once.min(self.bytes.len()).min(buffer.remaining());
            let (now, later) = self.bytes.split_at(count);
            buffer.put_slice(now);
            self.bytes = later;
            Poll::Ready(Ok(()))
        }
    }

    /// Status, body and whether the connection may stay, of each answer in `bytes`.
    async fn read(bytes: &[u8], at_once: usize, to_head: bool) -> io::Result<Vec<(u16, String, bool)>> {
        let mut reader = Reader::new(Dripping { bytes, at_once });
        let mut answers = Vec::new();
        loop {
            let head = reader.head(to_head).await?;
            let mut body = Vec::new();
            reader.body(head.framing, |piece| body.extend_from_slice(piece)).await?;
            answers.push((head.status, String::from_utf8(body).unwrap(), head.keep_alive));
            if reader.is_drained() && reader.stream().bytes.is_empty() {
                return Ok(answers);
            }
        }
    }

    async fn check(bytes: &str, wanted: &[(u16, &str, bool)]) {
        for at_once in [1, 2, 3, 7, 1000] {
            let answers = read(bytes.as_bytes(), at_once, false).await.unwrap();
            let answers: Vec<_> =
                answers.iter().map(|(code, body, keep)| (*code, body.as_str(), *keep)).collect();
            assert_eq!(answers, wanted, "{at_once} bytes at once");
        }
    }

    #[tokio::test]
    async fn answers_with_a_length_follow_each_other() {
        let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello\
                     HTTP/1.1 204 No Content\r\n\r\n\
                     HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone";
        check(bytes, &[(200, "hello", true), (204, "", true), (404, "gone", false)]).await;
    }

    #[tokio::test]
    async fn chunks_extensions_and_trailers_are_read() {
        let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5;name=value\r\nhello\r\nA\r\n, dear all\r\n0\r\nx-trailer: 1\r\n\r\n\
                     HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        check(bytes, &[(200, "hello, dear all", true), (200, "", true)]).await;
    }

    #[tokio::test]
    async fn interim_answers_are_passed_over() {
        let bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        check(bytes, &[(200, "", true)]).await;
    }

    #[tokio::test]
    async fn a_body_may_end_with_the_connection() {
        check("HTTP/1.0 200 OK\r\n\r\nall of it", &[(200, "all of it", false)]).await;
    }

    #[tokio::test]
    async fn an_answer_to_head_has_a_length_and_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        let mut reader = Reader::new(Dripping { bytes, at_once: 9 });
        let head = reader.head(true).await.unwrap();
        assert_eq!((head.framing, head.content_length), (Framing::Length(0), Some(1000)));
    }

    #[tokio::test]
    async fn what_is_cut_or_no_http_is_an_error() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/1.1 2\r\n\r\n",
        ] {
            assert!(read(bytes.as_bytes(), 4, false).await.is_err(), "{bytes}");
        }
        let endless = vec![b'a'; 200 << 10];
        assert!(read(&endless, 1000, false).await.is_err());
    }
}
