//! The bytes of the NBD protocol, without any I/O: what a client's message says, and how an answer
//! is written down.
//!
//! [`constants`] names every number of the specification with its section. [`option`] reads the
//! options of the handshake, [`option_reply`] writes their replies, [`request`] reads the headers of
//! the transmission phase in both layouts, [`reply`] writes simple, structured and extended replies.
//! Nothing here allocates by a length that a client named; whoever reads from the socket has
//! compared that length with a limit before.
//!
//! "Spec" is `doc/proto.md` of the reference implementation (master, 2026-05); "ext" is the same
//! file on its branch `extension-ext-header`. All integers are big-endian (spec, Conventions).

pub mod constants;
pub mod option;
pub mod option_reply;
pub mod reply;
pub mod request;

/// The bytes break the protocol in a way after which their stream cannot be followed: the sender
/// has to be cut off (spec, "Termination of the session", "Terminating the transmission phase").
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the magic number is {found:#x}, not {expected:#x}")]
pub struct BadMagic {
    /// What stands in the stream.
    pub found: u64,
    /// What has to stand there.
    pub expected: u64,
}

/// A reader of big-endian fields that never reads beyond its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
    /// A 32-bit length and that many bytes.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
