//! The frames of an aws-chunked body, watched on their way in.
//!
//! ```text
//! SIZE-IN-HEX [;chunk-signature=64 HEX] CRLF  SIZE bytes  CRLF      once a chunk
//! 0 [;chunk-signature=64 HEX] CRLF                                  the last
//! name:value CRLF ...                                               trailers, where announced
//! ```
//!
//! s3s decodes this (AWS: "Transferring Payload in Multiple Chunks"), but 0.14.1 collects a whole
//! chunk in memory first, takes a body that just stops for a finished one, and does not compare the
//! decoded length with `x-amz-decoded-content-length`. SDKs send a body of gigabytes as one unsigned
//! chunk. So the bytes pass through here first. Unsigned chunks are cut into the pieces in which
//! they arrive, each framed anew, and are never held. Signed chunks cannot be cut without breaking
//! their signature; they pass unchanged and have a maximum. In both modes the declared length, the
//! last chunk and the size of the trailers are enforced.

use std::collections::VecDeque;

use bytes::Bytes;

use super::BodyFault;

/// Longest chunk header.
const LINE_BYTES_MAX: usize = 1024;
/// All trailers together.
const TRAILER_BYTES_MAX: usize = 16 << 10;

/// What is done with the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Cut and framed anew, piece by piece.
    Unsigned,
    /// Passed on as they are; none is larger than `chunk_bytes_max`.
    Signed {
        /// Bytes of the largest chunk.
        chunk_bytes_max: u64,
    },
}

enum State {
    /// In a chunk header.
    Size,
    /// In a chunk, with so many bytes to come.
    Data(u64),
    /// Behind a chunk, where CRLF must stand; how much of it was seen.
    End(usize),
    /// Behind the last chunk.
    Trailers,
}

/// Follows one body.
pub(crate) struct Framer {
    mode: Mode,
    /// x-amz-decoded-content-length
    declared: u64,
    seen: u64,
    line: Vec<u8>,
    trailer_bytes: usize,
    state: State,
}

impl Framer {
    pub(crate) fn new(mode: Mode, declared: u64) -> Self {
        Self { mode, declared, seen: 0, line: Vec::new(), trailer_bytes: 0, state: State::Size }
    }

    /// Takes bytes as they arrived and puts what s3s shall see behind `out`.
    pub(crate) fn feed(&mut self, arrived: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), BodyFault> {
        let mut rest = arrived.clone();
        while !rest.is_empty() {
            match self.state {
                State::Size => self.read_size(&mut rest, out)?,
                State::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let piece = rest.split_to(take);
                    let left = left - take as u64;
                    self.state = if left == 0 { State::End(0) } else { State::Data(left) };
                    if self.mode == Mode::Unsigned {
                        out.push_back(Bytes::from(format!("{take:x}\r\n")));
                        out.push_back(piece);
                        out.push_back(Bytes::from_static(b"\r\n"));
                    }
                }
                State::End(at) => {
                    if rest.split_to(1)[0] != b"\r\n"[at] {
                        return Err(BodyFault::Malformed);
                    }
                    self.state = if at == 0 { State::End(1) } else { State::Size };
                }
                State::Trailers => {
                    self.trailer_bytes += rest.len();
                    if self.trailer_bytes > TRAILER_BYTES_MAX {
                        return Err(BodyFault::Malformed);
                    }
                    let trailers = std::mem::take(&mut rest);
                    if self.mode == Mode::Unsigned {
                        out.push_back(trailers);
                    }
                }
            }
        }
        if self.mode != Mode::Unsigned {
            out.push_back(arrived);
        }
        Ok(())
    }

    /// The body has ended: was it whole?
    pub(crate) fn finish(&self) -> Result<(), BodyFault> {
        if matches!(self.state, State::Trailers) && self.seen == self.declared {
            Ok(())
        } else {
            Err(BodyFault::Incomplete)
        }
    }

    fn read_size(&mut self, rest: &mut Bytes, out: &mut VecDeque<Bytes>) -> Result<(), BodyFault> {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.line.extend_from_slice(&rest.split_to(end));
        if self.line.len() > LINE_BYTES_MAX {
            return Err(BodyFault::Malformed);
        }
        if self.line.last() != Some(&b'\n') {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        let size = size_of(&line, self.mode).ok_or(BodyFault::Malformed)?;
        if let Mode::Signed { chunk_bytes_max } = self.mode
            && size > chunk_bytes_max
        {
            return Err(BodyFault::ChunkTooLarge);
        }
        self.seen = self.seen.checked_add(size).ok_or(BodyFault::Malformed)?;
        if self.seen > self.declared {
            return Err(BodyFault::TooLong);
        }
        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
        if size == 0 && self.mode == Mode::Unsigned {
            out.push_back(Bytes::from_static(b"0\r\n"));
        }
        Ok(())
    }
}

/// The size in a chunk header. An unsigned chunk has no extension, a signed one exactly one.
fn size_of(line: &[u8], mode: Mode) -> Option<u64> {
    let text = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let (digits, signature) = match text.split_once(';') {
        Some((digits, extension)) => (digits, Some(extension.strip_prefix("chunk-signature=")?)),
        None => (text, None),
    };
    let plain = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let signed = match mode {
        Mode::Unsigned => signature.is_none(),
        Mode::Signed { .. } => signature.is_some(),
    };
    if plain && signed { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;

    use super::{BodyFault, Framer, Mode};

    const SIGNED: Mode = Mode::Signed { chunk_bytes_max: 8 };

    /// Feeds `body` in pieces of `step` bytes.
    fn run(mode: Mode, declared: u64, body: &[u8], step: usize) -> Result<Vec<u8>, BodyFault> {
        let mut framer = Framer::new(mode, declared);
        let mut out = VecDeque::new();
        for piece in body.chunks(step) {
            framer.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        framer.finish()?;
        Ok(out.into_iter().flatten().collect())
    }

    #[test]
    fn unsigned_chunks_are_cut_into_pieces_that_say_the_same() {
        let body = b"b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        assert_eq!(run(Mode::Unsigned, 11, body, 1000).unwrap(), body);
        for step in 1..body.len() {
            let again = run(Mode::Unsigned, 11, body, step).unwrap();
            // Framed anew it is longer, decodes to the same, and nothing is held back.
            assert_eq!(run(Mode::Unsigned, 11, &again, 7).map(|_| ()), Ok(()));
            let text = String::from_utf8(again).unwrap();
            assert!(text.ends_with("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), "{step}: {text}");
        }
    }

    #[test]
    fn signed_chunks_pass_unchanged() {
        let body = b"5;chunk-signature=ab\r\nhello\r\n0;chunk-signature=cd\r\n\r\n";
        for step in 1..body.len() {
            assert_eq!(run(SIGNED, 5, body, step).unwrap(), body);
        }
    }

    #[test]
    fn a_signed_chunk_that_is_too_large_to_hold_is_refused_by_its_header() {
        assert_eq!(run(SIGNED, 9, b"9;chunk-signature=ab\r\n", 100), Err(BodyFault::ChunkTooLarge));
    }

    #[test]
    fn bodies_that_stop_early_or_lie_about_their_length_are_faults() {
        for body in [&b"5\r\nhello\r\n"[..], b"5\r\nhel", b"5\r\nhello", b"", b"5"] {
            assert_eq!(run(Mode::Unsigned, 5, body, 3), Err(BodyFault::Incomplete));
        }
        assert_eq!(run(Mode::Unsigned, 6, b"5\r\nhello\r\n0\r\n\r\n", 3), Err(BodyFault::Incomplete));
        assert_eq!(run(Mode::Unsigned, 4, b"5\r\nhello\r\n0\r\n\r\n", 3), Err(BodyFault::TooLong));
        assert_eq!(run(Mode::Unsigned, 4, b"ffffffffffffffff\r\n", 30), Err(BodyFault::TooLong));
    }

    #[test]
    fn malformed_frames_are_faults() {
        for body in [
            &b"x\r\n"[..],
            b"5\nhello",
            b"5\r\nhelloXX",
            b"5;chunk-signature=ab\r\nhello\r\n",
            b"00000000000000005\r\nhello\r\n",
            b"-1\r\n",
        ] {
            assert_eq!(run(Mode::Unsigned, 5, body, 100), Err(BodyFault::Malformed), "{body:?}");
        }
        assert_eq!(run(SIGNED, 5, b"5\r\nhello\r\n", 100), Err(BodyFault::Malformed));
        assert_eq!(run(Mode::Unsigned, 5, &[b'1'; 2000], 100), Err(BodyFault::Malformed));
        let mut long = b"0\r\n".to_vec();
        long.resize(20_000, b'x');
        assert_eq!(run(Mode::Unsigned, 0, &long, 100), Err(BodyFault::Malformed));
    }
}
