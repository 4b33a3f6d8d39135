//! Replies of the transmission phase: simple, structured and extended (spec, "Simple reply message",
//! "Structured reply chunk message"; ext, "Extended reply chunk message").
//!
//! ```text
//!   simple, 16 bytes        structured, 20 bytes       extended, 32 bytes
//!   32  magic               32  magic                  32  magic
//!   32  error               16  flags                  16  flags
//!   64  cookie              16  chunk type             16  chunk type
//!    *  data of a read      64  cookie                 64  cookie
//!                           32  length                 64  offset of the request
//!                            *  payload                64  length
//!                                                       *  payload
//! ```
//!
//! [`Scatter`] is a queue of bytes to send: headers are written into a buffer of its own, the data of
//! a read is queued as it is, without being copied. [`Scatter::answer`] turns one [`Answer`] into the
//! form that the handshake chose. All of an answer is at hand when its first byte is queued, so a
//! content chunk may carry the flag DONE: no error can follow.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::constants::{
    EXTENDED_REPLY_MAGIC, Errno, REPLY_FLAG_DONE, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, chunk,
};
use super::option_reply::text;
use crate::export::{Extent, Piece};

/// Up to here data is copied behind its header: cheaper than one more slice for the kernel.
const COPY_BYTES_MAX: usize = 256;
/// Zeroes of a hole are sent from here when the client cannot take a hole.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// The form of replies, fixed by the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyForm {
    /// Neither option was negotiated.
    Simple,
    /// `NBD_OPT_STRUCTURED_REPLY`.
    Structured,
    /// `NBD_OPT_EXTENDED_HEADERS`.
    Extended,
}

/// What a request came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Done, and there is nothing to say about it.
    Done,
    /// The bytes of a read, in order, without a gap. `whole` is the flag DF: at most one chunk.
    Data {
        /// What stands in the range.
        pieces: Vec<Piece>,
        /// Whether the client wants one chunk.
        whole: bool,
    },
    /// The extents of each context asked for, with its id.
    Status(Vec<(u32, Vec<Extent>)>),
    /// It failed, with a sentence for people.
    Failed(Errno, String),
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request's cookie.
    pub cookie: u64,
    /// The request's offset, which extended replies repeat.
    pub offset: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Bytes on their way to the client.
#[derive(Debug, Default)]
pub struct Scatter {
    heads: BytesMut,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
}

impl Scatter {
    /// Bytes that still have to be sent.
    pub fn len(&self) -> usize {
        self.queued_bytes + self.heads.len()
    }
    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills the slices with what is to be sent next and says how many it filled.
    pub fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        self.seal();
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        count
    }
    /// Takes note that this many bytes were sent.
    pub fn advance(&mut self, mut sent: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(sent);
        while let Some(front) = self.queue.front_mut() {
            if sent < front.len() {
                front.advance(sent);
                return;
            }
            sent -= front.len();
            self.queue.pop_front();
        }
    }

    /// Queues an answer in the given form.
    pub fn answer(&mut self, form: ReplyForm, answer: Answer) {
        match form {
            ReplyForm::Simple => self.simple(answer),
            ReplyForm::Structured | ReplyForm::Extended => self.chunks(form, answer),
        }
    }

    fn simple(&mut self, answer: Answer) {
        let error = match &answer.outcome {
            Outcome::Failed(errno, _) => errno.value(),
            // Block status needs chunks and is refused before it gets here.
            Outcome::Status(_) => Errno::Invalid.value(),
            Outcome::Done | Outcome::Data { .. } => 0,
        };
        self.heads.put_u32(SIMPLE_REPLY_MAGIC);
        self.heads.put_u32(error);
        self.heads.put_u64(answer.cookie);
        if let Outcome::Data { pieces, .. } = answer.outcome {
            pieces.into_iter().for_each(|piece| self.piece(piece));
        }
    }

    fn chunks(&mut self, form: ReplyForm, answer: Answer) {
        let head = Head { form, cookie: answer.cookie, offset: answer.offset };
        match answer.outcome {
            Outcome::Done => self.head(&head, REPLY_FLAG_DONE, chunk::NONE, 0),
            Outcome::Failed(errno, message) => {
                let message = text(&message);
                self.head(&head, REPLY_FLAG_DONE, chunk::ERROR, 6 + message.len() as u64);
                self.heads.put_u32(errno.value());
                self.heads.put_u16(u16::try_from(message.len()).expect("a string has at most 4096 bytes"));
                self.heads.put_slice(message.as_bytes());
            }
            Outcome::Data { pieces, .. } if pieces.is_empty() => {
                self.head(&head, REPLY_FLAG_DONE, chunk::NONE, 0);
            }
            Outcome::Data { pieces, whole } if whole && pieces.len() > 1 => self.one_chunk(&head, pieces),
            Outcome::Data { pieces, .. } => self.content(&head, pieces),
            Outcome::Status(contexts) => self.status(&head, &contexts),
        }
    }

    /// One content chunk for each piece; the last one ends the reply.
    fn content(&mut self, head: &Head, pieces: Vec<Piece>) {
        let mut at = head.offset;
        let last = pieces.len() - 1;
        for (index, piece) in pieces.into_iter().enumerate() {
            let flags = if index == last { REPLY_FLAG_DONE } else { 0 };
            let len = piece.len();
            match &piece {
                Piece::Data(_) => {
                    self.head(head, flags, chunk::OFFSET_DATA, 8 + len);
                    self.heads.put_u64(at);
                    self.piece(piece);
                }
                Piece::Zeroes(_) => {
                    self.head(head, flags, chunk::OFFSET_HOLE, 12);
                    self.heads.put_u64(at);
                    self.heads.put_u32(u32::try_from(len).expect("a read is at most one payload long"));
                }
            }
            at += len;
        }
    }

    fn one_chunk(&mut self, head: &Head, pieces: Vec<Piece>) {
        let len: u64 = pieces.iter().map(Piece::len).sum();
        self.head(head, REPLY_FLAG_DONE, chunk::OFFSET_DATA, 8 + len);
        self.heads.put_u64(head.offset);
        pieces.into_iter().for_each(|piece| self.piece(piece));
    }

    fn status(&mut self, head: &Head, contexts: &[(u32, Vec<Extent>)]) {
        for (index, (id, extents)) in contexts.iter().enumerate() {
            let flags = if index + 1 == contexts.len() { REPLY_FLAG_DONE } else { 0 };
            let count = extents.len() as u64;
            if head.form == ReplyForm::Extended {
                self.head(head, flags, chunk::BLOCK_STATUS_EXT, 8 + 16 * count);
                self.heads.put_u32(*id);
                self.heads.put_u32(u32::try_from(count).expect("a bounded number of extents"));
                for extent in extents {
                    self.heads.put_u64(extent.length);
                    self.heads.put_u64(extent.flags);
                }
            } else {
                self.head(head, flags, chunk::BLOCK_STATUS, 4 + 8 * count);
                self.heads.put_u32(*id);
                for extent in extents {
                    self.heads.put_u32(u32::try_from(extent.length).expect("cut to the request's length"));
                    self.heads.put_u32(u32::try_from(extent.flags).unwrap_or(0));
                }
            }
        }
    }

    fn head(&mut self, head: &Head, flags: u16, kind: u16, payload_len: u64) {
        let extended = head.form == ReplyForm::Extended;
        self.heads.put_u32(if extended { EXTENDED_REPLY_MAGIC } else { STRUCTURED_REPLY_MAGIC });
        self.heads.put_u16(flags);
        self.heads.put_u16(kind);
        self.heads.put_u64(head.cookie);
        if extended {
            self.heads.put_u64(head.offset);
            self.heads.put_u64(payload_len);
        } else {
            self.heads.put_u32(u32::try_from(payload_len).expect("a chunk is at most one payload long"));
        }
    }

    fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Data(bytes) if bytes.len() <= COPY_BYTES_MAX => self.heads.put_slice(&bytes),
            Piece::Data(bytes) => self.data(bytes),
            Piece::Zeroes(mut left) => {
                while left > 0 {
                    let len = left.min(ZEROES.len() as u64);
                    self.data(Bytes::from_static(&ZEROES[..usize::try_from(len).unwrap_or(ZEROES.len())]));
                    left -= len;
                }
            }
        }
    }

    fn data(&mut self, bytes: Bytes) {
        self.seal();
        self.queued_bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    fn seal(&mut self) {
        if !self.heads.is_empty() {
            self.queued_bytes += self.heads.len();
            self.queue.push_back(self.heads.split().freeze());
        }
    }
}

/// What all chunks of one reply have in common.
struct Head {
    form: ReplyForm,
    cookie: u64,
    offset: u64,
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use bytes::Bytes;

    use super::{Answer, Outcome, ReplyForm, Scatter};
    use crate::export::{Extent, Piece};
    use crate::wire::constants::Errno;

    fn sent(form: ReplyForm, outcome: Outcome) -> Vec<u8> {
        let mut scatter = Scatter::default();
        scatter.answer(form, Answer { cookie: 0x0102_0304_0506_0708, offset: 0x1000, outcome });
        let mut bytes = Vec::new();
        while !scatter.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = scatter.slices(&mut slices);
            // A socket takes what it likes: here five bytes at a time, across borders of slices.
            let taken: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).take(5).collect();
            scatter.advance(taken.len());
            bytes.extend(taken);
        }
        bytes
    }

    fn sparse() -> Outcome {
        let pieces = vec![
            Piece::Data(Bytes::from_static(b"ab")),
            Piece::Zeroes(3),
            Piece::Data(Bytes::from_static(b"c")),
        ];
        Outcome::Data { pieces, whole: false }
    }

    const COOKIE: &[u8] = b"\x01\x02\x03\x04\x05\x06\x07\x08";

    #[test]
    fn simple_replies_carry_holes_as_zeroes() {
        let expected = [&b"\x67\x44\x66\x98\0\0\0\0"[..], COOKIE, b"ab\0\0\0c"].concat();
        assert_eq!(sent(ReplyForm::Simple, sparse()), expected);
        let failed = sent(ReplyForm::Simple, Outcome::Failed(Errno::NoSpace, "full".to_owned()));
        assert_eq!(failed, [&b"\x67\x44\x66\x98\0\0\0\x1c"[..], COOKIE].concat());
    }

    #[test]
    fn structured_reads_are_chunks_and_only_the_last_is_done() {
        let expected = [
            &b"\x66\x8e\x33\xef\0\0\0\x01"[..],
            COOKIE,
            b"\0\0\0\x0a\0\0\0\0\0\0\x10\0ab",
            b"\x66\x8e\x33\xef\0\0\0\x02",
            COOKIE,
            b"\0\0\0\x0c\0\0\0\0\0\0\x10\x02\0\0\0\x03",
            b"\x66\x8e\x33\xef\0\x01\0\x01",
            COOKIE,
            b"\0\0\0\x09\0\0\0\0\0\0\x10\x05c",
        ]
        .concat();
        assert_eq!(sent(ReplyForm::Structured, sparse()), expected);
    }

    #[test]
    fn do_not_fragment_gives_one_chunk_with_the_zeroes_in_it() {
        let Outcome::Data { pieces, .. } = sparse() else { unreachable!() };
        let bytes = sent(ReplyForm::Structured, Outcome::Data { pieces, whole: true });
        let expected =
            [&b"\x66\x8e\x33\xef\0\x01\0\x01"[..], COOKIE, b"\0\0\0\x0e\0\0\0\0\0\0\x10\0ab\0\0\0c"].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn extended_replies_repeat_the_offset() {
        let bytes = sent(ReplyForm::Extended, Outcome::Done);
        let expected =
            [&b"\x6e\x8a\x27\x8c\0\x01\0\0"[..], COOKIE, b"\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0"].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn status_has_one_chunk_a_context() {
        let extents = vec![Extent { length: 512, flags: 3 }, Extent { length: 1, flags: 0 }];
        let status = Outcome::Status(vec![(7, extents.clone()), (8, extents)]);
        let compact = sent(ReplyForm::Structured, status.clone());
        assert_eq!(compact.len(), 2 * (20 + 4 + 16));
        assert_eq!(compact[20..32], *b"\0\0\0\x07\0\0\x02\0\0\0\0\x03");
        let extended = sent(ReplyForm::Extended, status);
        assert_eq!(extended.len(), 2 * (32 + 8 + 32));
        assert_eq!(extended[32..48], *b"\0\0\0\x07\0\0\0\x02\0\0\0\0\0\0\x02\0");
    }

    #[test]
    fn errors_say_why() {
        let bytes = sent(ReplyForm::Structured, Outcome::Failed(Errno::Io, "no".to_owned()));
        assert_eq!(bytes[4..8], [0, 1, 0x80, 1]);
        assert_eq!(bytes[16..], *b"\0\0\0\x08\0\0\0\x05\0\x02no");
    }
}
