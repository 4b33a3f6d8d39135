//! multipart/form-data (RFC 7578), as far as one field called `file` needs it.
//!
//! Written: [`opening`], the bytes, [`closing`]; the boundary is made of the fragment's own hash
//! ([`boundary_for`]), which no fragment can contain, so that the bytes never have to be searched.
//! Read: [`FileField`] is fed pieces of the body as they come and hands on the bytes of the first
//! field called `file`. It keeps at most one piece and one part header in memory and never panics,
//! whatever it is fed. Other fields are skipped, as Go's `FormFile("file")` does.
//!
//! ```text
//! --B\r\n
//! Content-Disposition: form-data; name="file"; filename="fragment"\r\n
//! Content-Type: application/octet-stream\r\n
//! \r\n
//! <8 MiB>\r\n--B--\r\n
//! ```

use std::io::BufRead;

use bytes::{Buf, Bytes, BytesMut};
use gw_types::Hash32;

/// Longest header block of one part.
const PART_HEADER_BYTES_MAX: usize = 8 << 10;
/// RFC 2046, 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// Why a body is not a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// Neither another part nor the end follows a boundary.
    #[error("the multipart boundary is followed by something else")]
    Boundary,
    /// A part's headers do not end.
    #[error("the headers of a multipart part are too long")]
    HeaderTooLong,
}

/// A boundary that cannot occur in the fragment: it contains the fragment's own SHA-256.
pub fn boundary_for(fragment: &Hash32) -> String {
    format!("gw{fragment}")
}

/// The header value that announces it.
pub fn content_type(boundary: &str) -> String {
    format!("multipart/form-data; boundary={boundary}")
}

/// What stands before the bytes.
pub fn opening(boundary: &str) -> Bytes {
    Bytes::from(format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"fragment\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    ))
}

/// What stands behind them.
pub fn closing(boundary: &str) -> Bytes {
    Bytes::from(format!("\r\n--{boundary}--\r\n"))
}

/// The boundary that a Content-Type names, if it is a form's.
pub fn boundary_of(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()).then_some(boundary)
}

/// Finds `name=value` or `name="value"` among parameters separated by semicolons. Quoted semicolons
/// are not understood; neither our name nor any boundary in use has one.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|one| {
        let (key, value) = one.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        key.trim().eq_ignore_ascii_case(name).then_some(value)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary, or in a part that nobody asked for.
    Skip,
    /// Right behind a boundary.
    Behind,
    /// In the headers of a part.
    Headers,
    /// Behind the headers, before the line break that ends them.
    Lead { is_file: bool },
    /// In the bytes of `file`.
    File,
    /// Behind the last boundary; the rest means nothing.
    End,
}

/// Takes a form apart while it arrives.
#[derive(Debug)]
pub struct FileField {
    held: BytesMut,
    delimiter: Vec<u8>,
    state: State,
    seen: bool,
    whole: bool,
}

impl FileField {
    /// Reads a form with this boundary.
    pub fn new(boundary: &str) -> Self {
        // The first boundary has no line break before it. With one put there, all look the same.
        let held = BytesMut::from(&b"\r\n"[..]);
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Self { held, delimiter, state: State::Skip, seen: false, whole: false }
    }
    /// Takes the next piece of the body. Call [`FileField::bytes`] until it gives `None` before the
    /// next one, or pieces add up.
    pub fn feed(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }
    /// Bytes of `file` that are known by now, in order.
    pub fn bytes(&mut self) -> Result<Option<Bytes>, MultipartError> {
        loop {
            let before = (self.state, self.held.len());
            let bytes = match self.state {
                State::Skip | State::File => self.content(),
                State::Behind => self.behind()?,
                State::Headers => self.headers()?,
                State::Lead { is_file } => {
                    self.lead(is_file);
                    None
                }
                State::End => {
                    self.held.clear();
                    return Ok(None);
                }
            };
            if let Some(bytes) = bytes {
                return Ok(Some(bytes));
            }
            if before == (self.state, self.held.len()) {
                return Ok(None);
            }
        }
    }
    /// Whether the field `file` was there and its end was seen.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    fn content(&mut self) -> Option<Bytes> {
        let in_file = self.state == State::File;
        let found = find(&self.held, &self.delimiter);
        // Without a delimiter, what could still be the beginning of one stays.
        let content_len = found.unwrap_or(self.held.len().saturating_sub(self.delimiter.len() - 1));
        let content = self.held.split_to(content_len).freeze();
        if found.is_some() {
            self.held.advance(self.delimiter.len());
            self.whole |= in_file;
            self.state = State::Behind;
        }
        (in_file && !content.is_empty()).then_some(content)
    }

    fn behind(&mut self) -> Result<Option<Bytes>, MultipartError> {
        // RFC 2046 allows spaces here ("transport padding").
        while matches!(self.held.first(), Some(b' ' | b'\t')) {
            self.held.advance(1);
        }
        let Some(two) = self.held.get(..2) else { return Ok(None) };
        self.state = match two {
            b"--" => State::End,
            // The line break stays: a part without headers then ends its headers at once.
            b"\r\n" => State::Headers,
            _ => return Err(MultipartError::Boundary),
        };
        Ok(None)
    }

    fn headers(&mut self) -> Result<Option<Bytes>, MultipartError> {
        let Some(at) = find(&self.held, b"\r\n\r\n") else {
            if self.held.len() > PART_HEADER_BYTES_MAX {
                return Err(MultipartError::HeaderTooLong);
            }
            return Ok(None);
        };
        let headers = self.held.split_to(at);
        // The second line break stays for `lead`: the boundary of an empty part begins with it.
        self.held.advance(2);
        let is_file = !self.seen && names_file(&headers);
        self.seen |= is_file;
        self.state = State::Lead { is_file };
        Ok(None)
    }

    fn lead(&mut self, is_file: bool) {
        if self.held.starts_with(&self.delimiter) {
            self.held.advance(self.delimiter.len());
            self.whole |= is_file;
            self.state = State::Behind;
        } else if !self.delimiter.starts_with(&self.held) {
            self.held.advance(2);
            self.state = if is_file { State::File } else { State::Skip };
        }
    }
}

fn names_file(headers: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(headers) else { return false };
    text.split("\r\n").any(|line| {
        let Some((name, value)) = line.split_once(':') else { return false };
        name.trim().eq_ignore_ascii_case("content-disposition") && parameter(value, "name") == Some("file")
    })
}

/// Where `needle`, which begins with a carriage return, stands first. The standard library's
/// `skip_until` is the C library's memchr, which is fast in development builds too; a fragment of
/// random bytes has a carriage return every 256 bytes.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let mut rest = hay;
    loop {
        let passed = rest.skip_until(b'\r').expect("a slice in memory is always readable");
        let at = hay.len() - rest.len();
        if passed == 0 || hay[at - 1] != b'\r' {
            return None;
        }
        if hay[at - 1..].starts_with(needle) {
            return Some(at - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FileField, MultipartError, boundary_for, boundary_of, closing, content_type, opening};
    use crate::ZERO_FRAGMENT;

    fn read(body: &[u8], boundary: &str, piece_len: usize) -> Result<(Vec<u8>, bool), MultipartError> {
        let mut field = FileField::new(boundary);
        let mut file = Vec::new();
        for piece in body.chunks(piece_len) {
            field.feed(piece);
            while let Some(bytes) = field.bytes()? {
                file.extend_from_slice(&bytes);
            }
        }
        Ok((file, field.is_whole()))
    }

    /// Every way of cutting the body into equal pieces gives the same answer.
    fn check(body: &[u8], boundary: &str, want: &Result<(Vec<u8>, bool), MultipartError>) {
        for piece_len in 1..=body.len() {
            assert_eq!(&read(body, boundary, piece_len), want, "pieces of {piece_len}");
        }
    }

    #[test]
    fn own_form_reads_back_however_it_is_cut() {
        let boundary = boundary_for(&ZERO_FRAGMENT);
        let near = format!("\r\n--{}", &boundary[..boundary.len() - 1]);
        for file in [&b"x"[..], b"\r\n", b"\r\r\n--", b"--", b"--gw", near.as_bytes(), b"a\r\n\r\nb"] {
            let body = [&opening(&boundary)[..], file, &closing(&boundary)].concat();
            check(&body, &boundary, &Ok((file.to_vec(), true)));
        }
    }

    #[test]
    fn other_fields_are_skipped_and_only_the_first_file_counts() {
        let body = b"ignored\r\n--B  \r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n12\r\n--B\r\n\r\nbare\r\n--B\r\n\
            content-type: x/y\r\ncontent-disposition: form-data; filename=z; name=file\r\n\r\nyes\r\n--B\r\n\
            Content-Disposition: form-data; name=\"file\"\r\n\r\nno\r\n--B--\r\nepilogue\r\n--B\r\n";
        check(body, "B", &Ok((b"yes".to_vec(), true)));
        let body = b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--B\r\n\
            Content-Disposition: form-data; name=\"file\"\r\n\r\nyes\r\n--B--";
        check(body, "B", &Ok((b"yes".to_vec(), true)));
    }

    #[test]
    fn truncated_and_malformed_forms_are_told_apart() {
        let whole = [&opening("B")[..], b"abc", &closing("B")].concat();
        let cut = &whole[..whole.len() - closing("B").len() + 3];
        assert!(!read(cut, "B", 7).unwrap().1, "no closing boundary, not whole");
        check(b"--B\r\nX: y\r\n\r\nabc\r\n--B--\r\n", "B", &Ok((Vec::new(), false)));
        check(b"", "B", &Ok((Vec::new(), false)));
        check(b"--Bx\r\n", "B", &Err(MultipartError::Boundary));
        let long = [&b"--B\r\nX: "[..], &[b'y'; 9000]].concat();
        assert_eq!(read(&long, "B", 100), Err(MultipartError::HeaderTooLong));
    }

    #[test]
    fn boundary_is_read_from_the_content_type() {
        assert_eq!(boundary_of(&content_type("B")), Some("B"));
        assert_eq!(boundary_of("Multipart/Form-Data; charset=utf-8; Boundary=\"b c\""), Some("b c"));
        for bad in [
            "multipart/form-data",
            "multipart/mixed; boundary=B",
            "multipart/form-data; boundary=",
            "text/plain",
        ] {
            assert_eq!(boundary_of(bad), None, "{bad}");
        }
        assert_eq!(boundary_of(&content_type(&"x".repeat(71))), None);
    }
}
