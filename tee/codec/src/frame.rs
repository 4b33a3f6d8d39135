//! Frames: how the bytes of an extent are sealed.
//!
//! An extent's plain bytes are cut into frames of 64 KiB (the last one may be shorter). Each frame is
//! sealed on its own, and the sealed frames stand back to back, so that any plain range is found by
//! arithmetic and opened without the rest:
//!
//! ```text
//!   plain    |    65,536    |    65,536    |  rest  |
//!   sealed   |  65,536 + 16 |  65,536 + 16 | rest + 16 |      ciphertext, then its tag
//!
//!   cipher   AES-256-GCM-SIV (RFC 8452), key = the data key
//!
//!   nonce    0                        8              12
//!            +------------------------+--------------+
//!            | extent id (u64)        | frame (u32)  |         big endian
//!            +------------------------+--------------+
//!
//!   AAD      0            4               12               20           24                28
//!            +------------+---------------+----------------+------------+-----------------+
//!            | suite (u32)| key id (u64)  | extent id (u64)| frame (u32)| plain len (u32) |
//!            +------------+---------------+----------------+------------+-----------------+
//!            all big endian; suite 1 = the above; plain len = this frame's plain bytes
//! ```
//!
//! An extent id is never reused, so no nonce repeats under a key; should one repeat all the same,
//! SIV gives away only whether the two frames are equal. Nothing about the object, bucket, log
//! position or place is authenticated here: copies, clones and compaction move sealed bytes as they
//! are. That the right extent is read, and all of it, is the extent map's promise.
//!
//! Frames cannot be swapped, cut, or moved to another extent or key id: each of these changes nonce
//! or AAD and fails with [`OpenError::Tag`].

use std::ops::Range;

use gw_types::ports::DataKey;
use gw_types::{ExtentId, FRAME_BYTES, FRAME_TAG_BYTES, KeyId, SEALED_FRAME_BYTES};

use crate::aead::{Aead, NONCE_BYTES, TAG_BYTES};

/// The longest extent that 32-bit frame indices can name: 256 TiB.
pub const EXTENT_PLAIN_BYTES_MAX: u64 = FRAME_BYTES << 32;

const SUITE_AES_256_GCM_SIV: u32 = 1;
const AAD_BYTES: usize = 28;
const FRAME: usize = FRAME_BYTES as usize;

const _: () = assert!(TAG_BYTES as u64 == FRAME_TAG_BYTES);

/// Why sealed bytes did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A frame has 16 to 65,552 sealed bytes; a run of frames has what [`sealed_len`] says.
    #[error("{0} bytes are not the length of what is to be opened")]
    Length(usize),
    /// Wrong key, key id, extent id or frame index, or altered bytes.
    #[error("the frame does not open: wrong key, wrong place or altered bytes")]
    Tag,
}

/// Seals and opens frames under one data key. The expanded key is kept, so hold on to it.
#[derive(Clone)]
pub struct FrameCipher {
    aead: Aead,
    key: KeyId,
}

impl std::fmt::Debug for FrameCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameCipher").field("key", &self.key).finish_non_exhaustive()
    }
}

impl FrameCipher {
    /// Expands `key`, which is known as `id`.
    pub fn new(key: &DataKey, id: KeyId) -> Self {
        Self { aead: Aead::new(key.expose()), key: id }
    }

    /// The id that stands in the AAD of all frames.
    pub fn key_id(&self) -> KeyId {
        self.key
    }

    /// Encrypts one frame where it stands and returns the tag that belongs behind it.
    ///
    /// # Panics
    /// When `buffer` is longer than [`FRAME_BYTES`].
    pub fn seal_in_place(&self, extent: ExtentId, frame: u32, buffer: &mut [u8]) -> [u8; TAG_BYTES] {
        let aad = self.associated(extent, frame, buffer.len());
        self.aead.seal(&nonce(extent, frame), &aad, buffer)
    }

    /// Seals one frame from `plain` to `out`, which is 16 bytes longer. Nothing is copied twice.
    ///
    /// # Panics
    /// When `plain` is longer than [`FRAME_BYTES`], or `out` not 16 bytes longer than it.
    pub fn seal_to(&self, extent: ExtentId, frame: u32, plain: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), plain.len() + TAG_BYTES, "a sealed frame is 16 bytes longer");
        let aad = self.associated(extent, frame, plain.len());
        let (body, tag) = out.split_at_mut(plain.len());
        tag.copy_from_slice(&self.aead.seal_to(&nonce(extent, frame), &aad, plain, body));
    }

    /// Seals one frame and appends it to `out`.
    ///
    /// # Panics
    /// When `plain` is longer than [`FRAME_BYTES`].
    pub fn seal_into(&self, extent: ExtentId, frame: u32, plain: &[u8], out: &mut Vec<u8>) {
        out.reserve(plain.len() + TAG_BYTES);
        let at = out.len();
        out.extend_from_slice(plain);
        let tag = self.seal_in_place(extent, frame, &mut out[at..]);
        out.extend_from_slice(&tag);
    }

    /// Opens one sealed frame where it stands and returns its plain bytes, which are the front of
    /// `sealed`. After an error `sealed` is as it was.
    pub fn open_in_place<'a>(
        &self,
        extent: ExtentId,
        frame: u32,
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let len = sealed.len();
        if len > FRAME + TAG_BYTES {
            return Err(OpenError::Length(len));
        }
        let (body, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError::Length(len))?;
        let aad = self.associated(extent, frame, body.len());
        self.aead.open(&nonce(extent, frame), &aad, body, tag).map_err(|_| OpenError::Tag)?;
        Ok(body)
    }

    /// Opens one sealed frame and appends its plain bytes to `out`. After an error `out` is as it was.
    pub fn open_into(
        &self,
        extent: ExtentId,
        frame: u32,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let at = out.len();
        out.extend_from_slice(sealed);
        let opened = self.open_in_place(extent, frame, &mut out[at..]).map(|plain| plain.len());
        out.truncate(at + *opened.as_ref().unwrap_or(&0));
        opened.map(|_| ())
    }

    /// Opens one sealed frame.
    pub fn open(&self, extent: ExtentId, frame: u32, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plain = Vec::with_capacity(sealed.len());
        self.open_into(extent, frame, sealed, &mut plain)?;
        Ok(plain)
    }

    fn associated(&self, extent: ExtentId, frame: u32, plain_len: usize) -> [u8; AAD_BYTES] {
        assert!(plain_len <= FRAME, "a frame holds at most 65,536 bytes");
        let mut aad = [0; AAD_BYTES];
        aad[0..4].copy_from_slice(&SUITE_AES_256_GCM_SIV.to_be_bytes());
        aad[4..12].copy_from_slice(&self.key.0.to_be_bytes());
        aad[12..20].copy_from_slice(&extent.get().to_be_bytes());
        aad[20..24].copy_from_slice(&frame.to_be_bytes());
        aad[24..28].copy_from_slice(&(plain_len as u32).to_be_bytes());
        aad
    }
}

/// Where a plain range of an extent lies once sealed. Made by [`frames_for`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    /// Indices of the frames that the range touches.
    pub frames: Range<u32>,
    /// Their bytes within the sealed extent: what has to be fetched.
    pub sealed: Range<u64>,
    /// Plain bytes of the first frame that stand before the range.
    pub skip: u64,
    /// Plain bytes of the range itself.
    pub len: u64,
}

/// Sealed bytes of an extent of `plain_len` plain bytes. Saturates beyond 2^63.
pub const fn sealed_len(plain_len: u64) -> u64 {
    plain_len.saturating_add(plain_len.div_ceil(FRAME_BYTES).saturating_mul(FRAME_TAG_BYTES))
}

/// The most plain bytes whose extent fits into `sealed_room`.
pub const fn plain_capacity(sealed_room: u64) -> u64 {
    let whole = sealed_room / SEALED_FRAME_BYTES;
    let rest = sealed_room % SEALED_FRAME_BYTES;
    whole * FRAME_BYTES + rest.saturating_sub(FRAME_TAG_BYTES)
}

/// The frames of `range` in an extent of `extent_plain_len` bytes. `None` when the range is turned
/// round or leaves the extent, or the extent is beyond [`EXTENT_PLAIN_BYTES_MAX`]. An empty range
/// touches no frame.
pub fn frames_for(range: Range<u64>, extent_plain_len: u64) -> Option<FrameSpan> {
    if range.start > range.end || range.end > extent_plain_len || extent_plain_len >= EXTENT_PLAIN_BYTES_MAX {
        return None;
    }
    if range.is_empty() {
        return Some(FrameSpan { frames: 0..0, sealed: 0..0, skip: 0, len: 0 });
    }
    let first = range.start / FRAME_BYTES;
    let end = range.end.div_ceil(FRAME_BYTES);
    let sealed_end = (end * SEALED_FRAME_BYTES).min(sealed_len(extent_plain_len));
    let sealed_start = first * SEALED_FRAME_BYTES;
    assert!(sealed_start < sealed_end, "a frame that is touched has bytes");
    Some(FrameSpan {
        frames: u32::try_from(first).ok()?..u32::try_from(end).ok()?,
        sealed: sealed_start..sealed_end,
        skip: range.start % FRAME_BYTES,
        len: range.end - range.start,
    })
}

/// Seals a whole extent and appends its [`sealed_len`] bytes to `out`.
///
/// # Panics
/// When `plain` is beyond [`EXTENT_PLAIN_BYTES_MAX`].
pub fn seal_extent(cipher: &FrameCipher, extent: ExtentId, plain: &[u8], out: &mut Vec<u8>) {
    assert!((plain.len() as u64) < EXTENT_PLAIN_BYTES_MAX, "32-bit frame indices end here");
    out.reserve(sealed_len(plain.len() as u64) as usize);
    for (frame, plain) in (0..).zip(plain.chunks(FRAME)) {
        cipher.seal_into(extent, frame, plain, out);
    }
}

/// Opens the sealed bytes that a [`FrameSpan`] asked for and returns exactly its plain range.
pub fn open_span(
    cipher: &FrameCipher,
    extent: ExtentId,
    span: &FrameSpan,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let frames = sealed.chunks(FRAME + TAG_BYTES);
    if sealed.len() as u64 != span.sealed.end - span.sealed.start || frames.len() != span.frames.len() {
        return Err(OpenError::Length(sealed.len()));
    }
    let mut plain = Vec::with_capacity(sealed.len());
    for (frame, sealed) in span.frames.clone().zip(frames) {
        cipher.open_into(extent, frame, sealed, &mut plain)?;
    }
    if (plain.len() as u64) < span.skip + span.len {
        return Err(OpenError::Length(sealed.len()));
    }
    plain.drain(..span.skip as usize);
    plain.truncate(span.len as usize);
    Ok(plain)
}

/// Opens a whole sealed extent of `plain_len` plain bytes.
pub fn open_extent(
    cipher: &FrameCipher,
    extent: ExtentId,
    plain_len: u64,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let span = frames_for(0..plain_len, plain_len).ok_or(OpenError::Length(sealed.len()))?;
    open_span(cipher, extent, &span, sealed)
}

fn nonce(extent: ExtentId, frame: u32) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&extent.get().to_be_bytes());
    nonce[8..].copy_from_slice(&frame.to_be_bytes());
    nonce
}
