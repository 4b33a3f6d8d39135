//! What may be done on a connection: the decision about every request, without doing it.
//!
//! [`Session::payload`] says what happens to the bytes behind a header, [`Session::plan`] turns a
//! request into an [`Act`] or the error it deserves. Both are pure. The order of the checks: is the
//! command known and offered, may it write, are its flags those of the command, is its range aligned
//! and inside the export (spec, "Error values", "Size constraints", "Command flags").

use std::sync::Arc;

use crate::export::{ByteRange, Context, Export, Persist, Properties, Zeroing};
use crate::wire::constants::{
    Errno, PAYLOAD_BYTES_DEFAULT, command, command_flag, transmission_flag as flag,
};
use crate::wire::reply::ReplyForm;
use crate::wire::request::{Layout, Request, StatusAsk};

/// A longer payload of a compact request is not even thrown away: the client is cut off.
const DISCARD_BYTES_MAX: u64 = 64 << 20;

/// An error and its sentence.
pub type Refused = (Errno, &'static str);

/// A connection's fixed facts.
pub struct Session {
    /// The device.
    pub export: Arc<dyn Export>,
    /// Its properties.
    pub properties: Properties,
    /// What the client was told it may do.
    pub flags: u16,
    /// How replies are written.
    pub form: ReplyForm,
    /// The selected contexts.
    pub contexts: Vec<(u32, Context)>,
    /// Most extents in one reply.
    pub extents_max: usize,
}

/// Something to do, with everything checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A request of length 0: nothing is done, successfully.
    Nothing,
    /// Read.
    Read {
        /// Where.
        range: ByteRange,
        /// In one chunk (DF).
        whole: bool,
    },
    /// Write the payload.
    Write {
        /// From where on.
        start: u64,
        /// When it has to be safe.
        persist: Persist,
    },
    /// Save everything.
    Flush,
    /// Forget.
    Trim {
        /// Where.
        range: ByteRange,
        /// When it has to be safe.
        persist: Persist,
    },
    /// Zero.
    Zero {
        /// Where.
        range: ByteRange,
        /// How.
        how: Zeroing,
    },
    /// Prefetch.
    Cache {
        /// Where.
        range: ByteRange,
    },
    /// Tell states.
    Status {
        /// Where.
        range: ByteRange,
        /// One extent a context, inside the range (`NBD_CMD_FLAG_REQ_ONE`).
        one: bool,
        /// In which contexts.
        contexts: Vec<(u32, Context)>,
    },
}

/// What happens to the bytes behind a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// There are none.
    None,
    /// They are wanted.
    Take(usize),
    /// They are read and thrown away, then the error is sent.
    Discard(u64, Refused),
    /// There are so many that the client is cut off.
    Cut,
}

impl Session {
    /// The layout of request headers.
    pub fn layout(&self) -> Layout {
        if self.form == ReplyForm::Extended { Layout::Extended } else { Layout::Compact }
    }

    /// Whether the client was told of a feature.
    fn offers(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// What happens to the bytes behind this header.
    pub fn payload(&self, request: &Request) -> Payload {
        let layout = self.layout();
        let len = request.payload_len(layout);
        if len == 0 {
            return Payload::None;
        }
        // ext, "Request message": too long is a hard disconnect. Of the compact layout the
        // specification asks that 32 MiB are not yet taken for an attack.
        let bearable = match layout {
            Layout::Extended => u64::from(PAYLOAD_BYTES_DEFAULT),
            Layout::Compact => DISCARD_BYTES_MAX,
        };
        if len > bearable {
            return Payload::Cut;
        }
        let wanted = match request.command {
            command::WRITE => self.plan(request).map(|_| ()),
            command::BLOCK_STATUS if self.offers(flag::BLOCK_STATUS_PAYLOAD) => {
                let len_max = 8 + 4 * self.contexts.len() as u64;
                if len <= len_max { Ok(()) } else { Err((Errno::Invalid, "too many contexts")) }
            }
            _ => Err((Errno::Invalid, "this command carries no payload")),
        };
        match wanted {
            Ok(()) => Payload::Take(usize::try_from(len).expect("at most 32 MiB")),
            Err(refused) => Payload::Discard(len, refused),
        }
    }

    /// What a request asks for, if it may; of a block status with a payload see [`Session::plan_status`].
    ///
    /// # Errors
    /// The error that the client is sent.
    pub fn plan(&self, request: &Request) -> Result<Act, Refused> {
        self.check_command(request.command)?;
        self.check_flags(request)?;
        let persist = if request.has(command_flag::FUA) { Persist::Now } else { Persist::AtFlush };
        if request.command == command::FLUSH {
            let reserved = request.offset == 0 && request.length == 0;
            return if reserved { Ok(Act::Flush) } else { Err((Errno::Invalid, "a flush has no range")) };
        }
        let range = self.range(request.command, request.offset, request.length)?;
        if range.is_empty() {
            return match request.command {
                command::BLOCK_STATUS => Err((Errno::Invalid, "an empty range has no status")),
                command::READ => Ok(Act::Read { range, whole: false }),
                _ => Ok(Act::Nothing),
            };
        }
        Ok(match request.command {
            command::READ => Act::Read { range, whole: request.has(command_flag::DF) },
            command::WRITE => Act::Write { start: range.start(), persist },
            command::TRIM => Act::Trim { range, persist },
            command::CACHE => Act::Cache { range },
            command::WRITE_ZEROES => {
                let allocate = request.has(command_flag::NO_HOLE);
                Act::Zero {
                    range,
                    how: Zeroing { allocate, fast: request.has(command_flag::FAST_ZERO), persist },
                }
            }
            _ => Act::Status {
                range,
                one: request.has(command_flag::REQ_ONE),
                contexts: self.contexts.clone(),
            },
        })
    }

    /// A block status whose payload names its contexts (ext, `NBD_CMD_BLOCK_STATUS`).
    ///
    /// # Errors
    /// The error that the client is sent.
    pub fn plan_status(&self, request: &Request, payload: &[u8]) -> Result<Act, Refused> {
        let ask = StatusAsk::parse(payload).ok_or((Errno::Invalid, "the payload has not the form"))?;
        let known = |id: &u32| self.contexts.iter().find(|(known, _)| known == id).cloned();
        let contexts: Option<Vec<_>> = ask.ids.iter().map(known).collect();
        let contexts = contexts.ok_or((Errno::Invalid, "a context was not selected"))?;
        match self.plan(&Request { length: ask.effect_len, ..*request })? {
            Act::Status { range, one, .. } => Ok(Act::Status { range, one, contexts }),
            other => Ok(other),
        }
    }

    fn check_command(&self, command: u16) -> Result<(), Refused> {
        let writes = matches!(command, command::WRITE | command::TRIM | command::WRITE_ZEROES);
        if writes && self.properties.read_only {
            return Err((Errno::NotPermitted, "the export is read-only"));
        }
        let offered = match command {
            command::READ | command::WRITE => true,
            command::FLUSH => self.offers(flag::SEND_FLUSH),
            command::TRIM => self.offers(flag::SEND_TRIM),
            command::CACHE => self.offers(flag::SEND_CACHE),
            command::WRITE_ZEROES => self.offers(flag::SEND_WRITE_ZEROES),
            command::BLOCK_STATUS => !self.contexts.is_empty(),
            _ => return Err((Errno::Invalid, "there is no such command")),
        };
        if offered { Ok(()) } else { Err((Errno::Invalid, "this command was not offered or not negotiated")) }
    }

    fn check_flags(&self, request: &Request) -> Result<(), Refused> {
        let extended = self.layout() == Layout::Extended;
        let of_command = match request.command {
            command::READ if self.offers(flag::SEND_DF) => command_flag::DF,
            command::WRITE if extended => command_flag::PAYLOAD_LEN,
            command::WRITE_ZEROES if self.offers(flag::SEND_FAST_ZERO) => {
                command_flag::NO_HOLE | command_flag::FAST_ZERO
            }
            command::WRITE_ZEROES => command_flag::NO_HOLE,
            command::BLOCK_STATUS if self.offers(flag::BLOCK_STATUS_PAYLOAD) => {
                command_flag::REQ_ONE | command_flag::PAYLOAD_LEN
            }
            command::BLOCK_STATUS => command_flag::REQ_ONE,
            _ => 0,
        };
        // FUA has to be taken on every command once it was offered.
        let of_all = if self.offers(flag::SEND_FUA) { command_flag::FUA } else { 0 };
        if request.flags & !(of_command | of_all) != 0 {
            return Err((Errno::Invalid, "a flag is not one of this command's"));
        }
        if request.command == command::WRITE && extended && !request.has(command_flag::PAYLOAD_LEN) {
            return Err((Errno::Invalid, "a write carries its payload with the flag PAYLOAD_LEN"));
        }
        Ok(())
    }

    fn range(&self, command: u16, offset: u64, length: u64) -> Result<ByteRange, Refused> {
        let minimum = u64::from(self.properties.blocks.minimum());
        if !offset.is_multiple_of(minimum) || !length.is_multiple_of(minimum) {
            return Err((Errno::Invalid, "the range is not on minimum blocks"));
        }
        let inside = ByteRange::new(offset, length).filter(|range| range.end() <= self.properties.size_bytes);
        let range = inside.ok_or(match command {
            command::WRITE | command::WRITE_ZEROES => (Errno::NoSpace, "the range ends beyond the export"),
            _ => (Errno::Invalid, "the range ends beyond the export"),
        })?;
        let payload_max = u64::from(self.properties.blocks.payload_max());
        match command {
            command::WRITE if length > payload_max => {
                Err((Errno::Invalid, "the payload is longer than the maximum"))
            }
            // spec, `NBD_CMD_READ`: EOVERFLOW is for those who can get errors in chunks.
            command::READ if length > payload_max && self.form == ReplyForm::Simple => {
                Err((Errno::Invalid, "the read is longer than the maximum payload"))
            }
            command::READ if length > payload_max => {
                Err((Errno::Overflow, "the read is longer than the maximum payload"))
            }
            _ => Ok(range),
        }
    }
}
