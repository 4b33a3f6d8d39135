//! Requests of the transmission phase (spec and ext, "Request message").
//!
//! ```text
//!   compact, 28 bytes                extended, 32 bytes
//!   32  REQUEST_MAGIC                32  EXTENDED_REQUEST_MAGIC
//!   16  command flags                16  command flags
//!   16  type                         16  type
//!   64  cookie                       64  cookie
//!   64  offset                       64  offset
//!   32  length                       64  payload or effect length
//! ```
//!
//! The one question whose wrong answer would lose the place in the stream is how many bytes follow
//! a header: [`Request::payload_len`]. It depends on the layout, the type and one flag, never on
//! whether the request makes sense.

use super::constants::{EXTENDED_REQUEST_MAGIC, REQUEST_MAGIC, command, command_flag};
use super::{BadMagic, Fields};

/// The layout of request headers, fixed by the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 28 bytes, 32-bit lengths.
    Compact,
    /// 32 bytes, 64-bit lengths (ext).
    Extended,
}

impl Layout {
    /// Length of a request header in bytes.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Compact => 28,
            Self::Extended => 32,
        }
    }
}

/// A request header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bits of [`command_flag`].
    pub flags: u16,
    /// A value of [`command`], or one nobody knows.
    pub command: u16,
    /// The client's mark, repeated in every reply.
    pub cookie: u64,
    /// First byte of the export that is meant.
    pub offset: u64,
    /// Length of the payload, or of the range that is meant.
    pub length: u64,
}

impl Request {
    /// Reads a header of exactly [`Layout::header_len`] bytes.
    ///
    /// # Errors
    /// When it does not begin with the layout's magic number.
    pub fn parse(layout: Layout, bytes: &[u8]) -> Result<Self, BadMagic> {
        let mut fields = Fields::new(bytes);
        let found = fields.u32().unwrap_or_default();
        let expected = match layout {
            Layout::Compact => REQUEST_MAGIC,
            Layout::Extended => EXTENDED_REQUEST_MAGIC,
        };
        if found != expected {
            return Err(BadMagic { found: found.into(), expected: expected.into() });
        }
        let flags = fields.u16().unwrap_or_default();
        let command = fields.u16().unwrap_or_default();
        let cookie = fields.u64().unwrap_or_default();
        let offset = fields.u64().unwrap_or_default();
        let length = match layout {
            Layout::Compact => fields.u32().unwrap_or_default().into(),
            Layout::Extended => fields.u64().unwrap_or_default(),
        };
        Ok(Self { flags, command, cookie, offset, length })
    }

    /// How many bytes of payload follow the header, whatever the request is worth.
    pub const fn payload_len(&self, layout: Layout) -> u64 {
        let carries = match layout {
            Layout::Compact => self.command == command::WRITE,
            Layout::Extended => self.flags & command_flag::PAYLOAD_LEN != 0,
        };
        if carries { self.length } else { 0 }
    }

    /// Whether a flag of [`command_flag`] is set.
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The payload of an extended `NBD_CMD_BLOCK_STATUS`: which contexts are wanted (ext, "Request types").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusAsk {
    /// The range's length in bytes.
    pub effect_len: u64,
    /// Context ids, without repetition.
    pub ids: Vec<u32>,
}

impl StatusAsk {
    /// Reads the payload; `None` when it has not the form, names no id, or one twice.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(payload);
        let effect_len = fields.u64()?;
        if fields.is_empty() || !fields.len().is_multiple_of(4) {
            return None;
        }
        let mut ids = Vec::with_capacity(fields.len() / 4);
        while let Some(id) = fields.u32() {
            if ids.contains(&id) {
                return None;
            }
            ids.push(id);
        }
        Some(Self { effect_len, ids })
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Request, StatusAsk};

    fn header(layout: Layout, flags: u16, command: u16, length: u64) -> Vec<u8> {
        let mut bytes = match layout {
            Layout::Compact => 0x2560_9513_u32,
            Layout::Extended => 0x21e4_1c71,
        }
        .to_be_bytes()
        .to_vec();
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&command.to_be_bytes());
        bytes.extend_from_slice(&7_u64.to_be_bytes());
        bytes.extend_from_slice(&9_u64.to_be_bytes());
        let length = length.to_be_bytes();
        bytes.extend_from_slice(if layout == Layout::Compact { &length[4..] } else { &length });
        assert_eq!(bytes.len(), layout.header_len());
        bytes
    }

    #[test]
    fn both_layouts_are_read() {
        for layout in [Layout::Compact, Layout::Extended] {
            let read = Request::parse(layout, &header(layout, 1, 0, 512)).unwrap();
            assert_eq!((read.flags, read.command, read.cookie, read.offset, read.length), (1, 0, 7, 9, 512));
        }
        let compact = header(Layout::Compact, 0, 0, 512);
        assert!(Request::parse(Layout::Extended, &[&compact[..], &[0; 4]].concat()).is_err());
    }

    #[test]
    fn what_follows_a_header_depends_on_layout_type_and_one_flag() {
        let payload = |layout, flags, command| {
            Request::parse(layout, &header(layout, flags, command, 512)).unwrap().payload_len(layout)
        };
        assert_eq!(payload(Layout::Compact, 0, 1), 512);
        assert_eq!(payload(Layout::Compact, 1 << 5, 0), 0);
        assert_eq!(payload(Layout::Extended, 0, 1), 0);
        assert_eq!(payload(Layout::Extended, 1 << 5, 1), 512);
        assert_eq!(payload(Layout::Extended, 1 << 5, 0xfeed), 512);
    }

    #[test]
    fn a_status_payload_names_each_context_once() {
        let payload = |ids: &[u32]| {
            let mut bytes = 4096_u64.to_be_bytes().to_vec();
            ids.iter().for_each(|id| bytes.extend_from_slice(&id.to_be_bytes()));
            bytes
        };
        assert_eq!(StatusAsk::parse(&payload(&[3, 1])).unwrap().ids, [3, 1]);
        assert_eq!(StatusAsk::parse(&payload(&[3, 3])), None);
        assert_eq!(StatusAsk::parse(&payload(&[])), None);
        assert_eq!(StatusAsk::parse(&payload(&[1])[..11]), None);
        assert_eq!(StatusAsk::parse(&[]), None);
    }
}
