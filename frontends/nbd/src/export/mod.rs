//! What stands behind a name: a device of fixed size, as the protocol sees it.
//!
//! [`Export`] is the seam between the protocol and whatever keeps the bytes. Behind it stand volumes of
//! the store ([`crate::VolumeExport`]), [`FileExport`], a sparse file of this machine, and
//! [`FaultyExport`], which wraps another one and holds up or fails what a test wants.
//!
//! The connection has checked everything before it calls: ranges lie inside the export and on its
//! blocks, are not empty and not longer than a payload where data is carried; what the properties
//! do not offer is not called.

mod dirty;
mod faulty;
mod file;
mod zeroes;

use std::io;

use async_trait::async_trait;
use bytes::Bytes;

pub use faulty::{FaultyExport, Verb};
pub use file::{FileExport, FileOptions};

use crate::wire::constants::{
    Errno, MINIMUM_BLOCK_MAX, PAYLOAD_BYTES_DEFAULT, PREFERRED_BLOCK_MIN, STRING_BYTES_MAX,
};

/// A device.
///
/// # Contract
/// - Calls run at the same time, in any order. Between a write and its answer a reader of the same
///   range may see old bytes, new ones, or a mix; after the answer, the new ones.
/// - A write, trim or zeroing that was answered survives a loss of power once a [`Export::flush`]
///   begun after the answer has succeeded, or at once with [`Persist::Now`]. This holds across all
///   connections to the same export (`NBD_FLAG_CAN_MULTI_CONN`).
/// - After a failed flush nothing unsaved is ever reported as saved.
/// - A call may be dropped before it answers, because its time is over or its client is gone. It may
///   then have happened or not, and it may happen yet, but never over a later call to the same
///   bytes: a client repeats a write and goes on to write something else there.
/// - No call blocks the thread that polls it for longer than a copy of its bytes.
#[async_trait]
pub trait Export: Send + Sync + 'static {
    /// Size and abilities. They do not change while somebody is attached.
    fn properties(&self) -> &Properties;

    /// The bytes of a range: pieces in order that fill it exactly.
    async fn read(&self, range: ByteRange) -> Result<Vec<Piece>, ExportError>;

    /// Replaces bytes from `start` on.
    async fn write(&self, start: u64, data: Bytes, persist: Persist) -> Result<(), ExportError>;

    /// Saves everything that has been answered.
    async fn flush(&self) -> Result<(), ExportError>;

    /// The bytes are not needed any more; what is read there afterwards is anything.
    async fn trim(&self, range: ByteRange, persist: Persist) -> Result<(), ExportError>;

    /// The bytes read as zeroes afterwards.
    async fn write_zeroes(&self, range: ByteRange, how: Zeroing) -> Result<(), ExportError>;

    /// The bytes will be read soon.
    async fn cache(&self, range: ByteRange) -> Result<(), ExportError>;

    /// The states of a range in one of the contexts of the properties: consecutive extents from its
    /// start, at least one and at most `extents_max`, none empty, all but the last ending inside
    /// the range and on a minimum block. They may end early.
    async fn block_status(
        &self,
        context: &Context,
        range: ByteRange,
        extents_max: usize,
    ) -> Result<Vec<Extent>, ExportError>;
}

/// What an export is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// Its blocks.
    pub blocks: BlockSizes,
    /// Which commands it offers.
    pub features: Features,
    /// A sentence for people.
    pub description: String,
    /// What can be asked about its ranges.
    pub contexts: Vec<Context>,
}

/// Commands that an export may offer beyond reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `NBD_CMD_FLUSH`
    pub flush: bool,
    /// `NBD_CMD_FLAG_FUA`
    pub fua: bool,
    /// `NBD_CMD_TRIM`
    pub trim: bool,
    /// `NBD_CMD_WRITE_ZEROES`
    pub write_zeroes: bool,
    /// `NBD_CMD_FLAG_FAST_ZERO`
    pub fast_zero: bool,
    /// `NBD_CMD_CACHE`
    pub cache: bool,
    /// `NBD_FLAG_CAN_MULTI_CONN`
    pub multi_conn: bool,
    /// `NBD_FLAG_ROTATIONAL`
    pub rotational: bool,
}

impl Features {
    /// Everything but a rotating disk.
    pub const ALL: Self = Self {
        flush: true,
        fua: true,
        trim: true,
        write_zeroes: true,
        fast_zero: true,
        cache: true,
        multi_conn: true,
        rotational: false,
    };
}

/// The size constraints of an export (spec, "Size constraints").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    minimum: u32,
    preferred: u32,
    payload_max: u32,
}

/// Block sizes that the specification does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "block sizes must be powers of two, minimum <= 64 KiB, 512 <= preferred >= minimum, and the payload between the \
     preferred block and 32 MiB"
)]
pub struct BadBlockSizes;

impl BlockSizes {
    /// Any byte may be addressed, 4 KiB are best, 32 MiB at once.
    pub const DEFAULT: Self = Self { minimum: 1, preferred: 4096, payload_max: PAYLOAD_BYTES_DEFAULT };

    /// Sizes in bytes.
    ///
    /// # Errors
    /// When the specification does not allow them.
    pub const fn new(minimum: u32, preferred: u32, payload_max: u32) -> Result<Self, BadBlockSizes> {
        let fits = minimum.is_power_of_two()
            && minimum <= MINIMUM_BLOCK_MAX
            && preferred.is_power_of_two()
            && preferred >= PREFERRED_BLOCK_MIN
            && preferred >= minimum
            && payload_max >= preferred
            && payload_max <= PAYLOAD_BYTES_DEFAULT
            && payload_max.is_multiple_of(minimum);
        if fits { Ok(Self { minimum, preferred, payload_max }) } else { Err(BadBlockSizes) }
    }
    /// The smallest block that can be addressed, in bytes.
    pub const fn minimum(self) -> u32 {
        self.minimum
    }
    /// The block that costs no read before a write, in bytes.
    pub const fn preferred(self) -> u32 {
        self.preferred
    }
    /// The longest payload, in bytes.
    pub const fn payload_max(self) -> u32 {
        self.payload_max
    }
}

/// Something that can be asked about ranges (spec, "Metadata querying").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// `base:allocation`: which ranges are holes, which read as zeroes.
    Allocation,
    /// `x-cess:NAME`: ranges with flag bit 0 set have changed since the moment that the name stands
    /// for; the others have not.
    Dirty(ContextName),
}

/// The leaf of a context's name in the namespace `x-cess:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContextName(String);

/// Bit 0 of a dirty context's flags: the range has changed.
pub const DIRTY: u64 = 1 << 0;
/// The namespace of this project's contexts.
pub const NAMESPACE: &str = "x-cess:";
/// The one context of the namespace `base:`.
pub const BASE_ALLOCATION: &str = "base:allocation";

impl ContextName {
    /// A leaf of visible characters; `None` for an empty or overlong one, or one with others in it.
    pub fn new(leaf: &str) -> Option<Self> {
        let fits = !leaf.is_empty()
            && leaf.len() <= STRING_BYTES_MAX - NAMESPACE.len()
            && !leaf.chars().any(|c| c.is_control() || c.is_whitespace());
        fits.then(|| Self(leaf.to_owned()))
    }
    /// The leaf, without its namespace.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Context {
    /// The whole name, as it stands on the wire.
    pub fn name(&self) -> String {
        match self {
            Self::Allocation => BASE_ALLOCATION.to_owned(),
            Self::Dirty(leaf) => format!("{NAMESPACE}{}", leaf.as_str()),
        }
    }
}

/// A run of bytes with one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Length in bytes, not 0.
    pub length: u64,
    /// The state, in the words of its context; 32 bits are used.
    pub flags: u64,
}

/// A part of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Bytes),
    /// That many zeroes.
    Zeroes(u64),
}

impl Piece {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zeroes(len) => *len,
        }
    }
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A range of bytes whose end can be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    len: u64,
}

impl ByteRange {
    /// `None` when the end is beyond 64 bits.
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(_) => Some(Self { start, len }),
            None => None,
        }
    }
    /// The first byte.
    pub const fn start(self) -> u64 {
        self.start
    }
    /// How many bytes.
    pub const fn len(self) -> u64 {
        self.len
    }
    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
    /// The first byte behind.
    pub const fn end(self) -> u64 {
        self.start + self.len
    }
}

/// When a change has to be safe from a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// At the next flush.
    AtFlush,
    /// Before the answer (`NBD_CMD_FLAG_FUA`).
    Now,
}

/// How zeroes are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeroing {
    /// Keep the room for later writes (`NBD_CMD_FLAG_NO_HOLE`).
    pub allocate: bool,
    /// Fail with [`ExportErrorKind::NotSupported`], changing nothing, rather than write bytes
    /// (`NBD_CMD_FLAG_FAST_ZERO`).
    pub fast: bool,
    /// When it has to be safe.
    pub persist: Persist,
}

/// What a client can make of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportErrorKind {
    /// `NBD_EPERM`: not allowed.
    NotPermitted,
    /// `NBD_ENOSPC`: the staging area, a territory or a quota is full. Machines can be paused on it.
    NoSpace,
    /// `NBD_ENOTSUP`, as an answer to a fast zeroing only.
    NotSupported,
    /// `NBD_EINVAL`: it makes no sense here.
    Invalid,
    /// `NBD_ESHUTDOWN`: the export is going away.
    ShuttingDown,
    /// `NBD_EIO`: everything else.
    Io,
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExportError {
    kind: ExportErrorKind,
    message: String,
    #[source]
    source: Option<io::Error>,
}

impl ExportError {
    /// A failure with a sentence that the client's user may read.
    pub fn new(kind: ExportErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }
    /// What a client can make of it.
    pub fn kind(&self) -> ExportErrorKind {
        self.kind
    }
    /// The error on the wire.
    pub fn errno(&self) -> Errno {
        match self.kind {
            ExportErrorKind::NotPermitted => Errno::NotPermitted,
            ExportErrorKind::NoSpace => Errno::NoSpace,
            ExportErrorKind::NotSupported => Errno::NotSupported,
            ExportErrorKind::Invalid => Errno::Invalid,
            ExportErrorKind::ShuttingDown => Errno::ShuttingDown,
            ExportErrorKind::Io => Errno::Io,
        }
    }
}

impl From<io::Error> for ExportError {
    /// `EDQUOT` and `EFBIG` are `NBD_ENOSPC` too (spec, "Error values").
    fn from(source: io::Error) -> Self {
        let (kind, message) = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                (ExportErrorKind::NoSpace, "no space is left")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (ExportErrorKind::NotPermitted, "not permitted")
            }
            io::ErrorKind::Unsupported => (ExportErrorKind::NotSupported, "not supported"),
            _ => (ExportErrorKind::Io, "the device failed"),
        };
        Self { kind, message: message.to_owned(), source: Some(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadBlockSizes, BlockSizes, ByteRange, Context, ContextName};

    #[test]
    fn block_sizes_are_those_of_the_specification() {
        assert!(BlockSizes::new(1, 512, 512).is_ok());
        assert!(BlockSizes::new(65536, 65536, 1 << 25).is_ok());
        for (minimum, preferred, payload) in [
            (0, 4096, 1 << 25),
            (3, 4096, 1 << 25),
            (131_072, 131_072, 1 << 25),
            (1, 256, 1 << 25),
            (4096, 512, 1 << 25),
            (1, 3000, 1 << 25),
            (1, 4096, 2048),
            (1, 4096, (1 << 25) + 1),
            (4096, 4096, 5000),
        ] {
            assert_eq!(BlockSizes::new(minimum, preferred, payload), Err(BadBlockSizes));
        }
    }

    #[test]
    fn a_range_has_an_end() {
        assert_eq!(ByteRange::new(u64::MAX, 1), None);
        assert_eq!(ByteRange::new(u64::MAX - 1, 1).unwrap().end(), u64::MAX);
    }

    #[test]
    fn context_names_are_visible_text() {
        assert_eq!(ContextName::new(""), None);
        assert_eq!(ContextName::new("a b"), None);
        assert_eq!(Context::Dirty(ContextName::new("dirty:monday").unwrap()).name(), "x-cess:dirty:monday");
    }
}
