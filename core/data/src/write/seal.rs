//! Sealing a batch of frames. Runs on whatever thread it is called on.

use bytes::Bytes;
use gw_codec::frame::FrameCipher;
use gw_types::{ExtentId, FRAME_BYTES, FRAME_TAG_BYTES};

/// Plain bytes as they came, in order.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    parts: std::collections::VecDeque<Bytes>,
    len: usize,
}

impl Plain {
    pub(crate) fn len(&self) -> usize {
        self.len
    }
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.parts.push_back(bytes);
    }
    /// Takes the first `len` bytes off.
    pub(crate) fn take(&mut self, mut len: usize) -> Self {
        let mut taken = Self::default();
        while len > 0 {
            let mut part = self.parts.pop_front().expect("no more is taken than is there");
            if part.len() > len {
                self.parts.push_front(part.split_off(len));
            }
            len -= part.len();
            self.len -= part.len();
            taken.push(part);
        }
        taken
    }
    /// Appends the first `len` bytes to `out`, and takes them off.
    fn copy_to(&mut self, mut len: usize, out: &mut Vec<u8>) {
        while len > 0 {
            let part = self.parts.front_mut().expect("no more is copied than is there");
            let some = part.len().min(len);
            out.extend_from_slice(&part[..some]);
            bytes::Buf::advance(part, some);
            if part.is_empty() {
                self.parts.pop_front();
            }
            self.len -= some;
            len -= some;
        }
    }
}

/// Seals `plain` as the frames of `extent` from `first` on, into `out`, whose contents it replaces.
/// Bytes are copied once, into place, and encrypted there.
pub(crate) fn seal_frames(
    cipher: &FrameCipher,
    extent: ExtentId,
    first: u32,
    mut plain: Plain,
    out: &mut Vec<u8>,
) {
    out.clear();
    let frames = plain.len().div_ceil(FRAME_BYTES as usize);
    out.reserve(plain.len() + frames * FRAME_TAG_BYTES as usize);
    let mut frame = first;
    while plain.len() > 0 {
        let at = out.len();
        plain.copy_to(plain.len().min(FRAME_BYTES as usize), out);
        let tag = cipher.seal_in_place(extent, frame, &mut out[at..]);
        out.extend_from_slice(&tag);
        frame += 1;
    }
}
