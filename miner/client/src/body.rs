//! The body of a put: a multipart form around a fragment, handed to hyper in pieces that point into
//! the fragment, so that nothing is copied and a slow miner holds the sender back. It notes when its
//! last piece is taken: before that a miner cannot have the fragment, so a put that failed earlier
//! definitely did not happen.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use gw_miner_wire::{boundary_for, closing, opening};
use gw_types::Hash32;
use http_body::{Body, Frame, SizeHint};

/// Bytes given to the connection at a time; small enough that "the last piece was taken" means
/// nearly all is on its way.
const PIECE_BYTES: usize = 256 << 10;

/// Body of any request to a miner.
#[derive(Debug)]
pub(crate) struct PutBody {
    parts: [Bytes; 3],
    handed_over: Arc<AtomicBool>,
}

impl PutBody {
    /// No bytes: for gets, and for the zero fragment, which the miner makes itself.
    pub(crate) fn empty() -> Self {
        Self { parts: Default::default(), handed_over: Arc::new(AtomicBool::new(true)) }
    }
    /// The form that carries `body`.
    pub(crate) fn form(fragment: &Hash32, body: Bytes) -> Self {
        let boundary = boundary_for(fragment);
        let parts = [opening(&boundary), body, closing(&boundary)];
        Self { parts, handed_over: Arc::new(AtomicBool::new(false)) }
    }
    /// True once the connection has taken the last byte.
    pub(crate) fn handed_over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.handed_over)
    }

    fn left_bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

impl Body for PutBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(part) = self.parts.iter_mut().find(|part| !part.is_empty()) else {
            return Poll::Ready(None);
        };
        let piece = part.split_to(part.len().min(PIECE_BYTES));
        if self.left_bytes() == 0 {
            self.handed_over.store(true, Ordering::Release);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
    fn is_end_stream(&self) -> bool {
        self.left_bytes() == 0
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use bytes::Bytes;
    use futures::FutureExt;
    use gw_miner_wire::{FileField, boundary_for};
    use gw_types::Hash32;
    use http_body::Body;
    use http_body_util::BodyExt;

    use super::PutBody;

    #[test]
    fn form_announces_its_length_and_knows_its_last_piece() {
        let fragment = Hash32([3; 32]);
        let bytes = Bytes::from(vec![7; 600_000]);
        let mut body = PutBody::form(&fragment, bytes.clone());
        let handed_over = body.handed_over();
        let announced = body.size_hint().exact().unwrap();
        let (mut sent, mut field, mut file) = (0, FileField::new(&boundary_for(&fragment)), Vec::new());
        while let Some(frame) = body.frame().now_or_never().unwrap() {
            let piece = frame.unwrap().into_data().unwrap();
            sent += piece.len() as u64;
            field.feed(&piece);
            while let Some(bytes) = field.bytes().unwrap() {
                file.extend_from_slice(&bytes);
            }
            assert_eq!(handed_over.load(Ordering::Acquire), sent == announced);
        }
        assert_eq!((sent, file.as_slice(), field.is_whole()), (announced, &bytes[..], true));
        assert!(PutBody::empty().is_end_stream() && PutBody::empty().handed_over().load(Ordering::Acquire));
    }
}
