//! Buffers for large reads and payloads, used again.
//!
//! A megabyte that is fresh from the system costs more in page faults than in copying. Buffers come
//! back by themselves when nobody needs their bytes any more; the pool keeps no more than
//! [`POOL_BYTES_MAX`] of them, and the rest goes back to the system. Small ones are not its business.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// What is kept for later.
const POOL_BYTES_MAX: usize = 16 << 20;
/// Up to here the allocator is as fast.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// The buffers at rest.
#[derive(Debug, Default)]
pub struct Pool {
    resting: Mutex<Resting>,
}

#[derive(Debug, Default)]
struct Resting {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer on loan, of which the first `len` bytes are meant.
struct Loan {
    buffer: Vec<u8>,
    len: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A buffer of at least so many bytes, whatever stands in them.
    pub fn take(&self, len: usize) -> Vec<u8> {
        if len <= SMALL_BYTES_MAX {
            return vec![0; len];
        }
        let mut resting = self.resting.lock();
        let Some(at) = resting.buffers.iter().rposition(|buffer| buffer.len() >= len) else {
            return vec![0; len];
        };
        let buffer = resting.buffers.swap_remove(at);
        resting.bytes -= buffer.len();
        buffer
    }
    /// The first bytes of a buffer; it comes back when nobody needs them any more.
    pub fn lend(self: &Arc<Self>, buffer: Vec<u8>, len: usize) -> Bytes {
        if buffer.len() <= SMALL_BYTES_MAX {
            return Bytes::from(buffer).slice(..len);
        }
        let len = len.min(buffer.len());
        Bytes::from_owner(Loan { buffer, len, pool: Arc::clone(self) })
    }
    fn put(&self, buffer: Vec<u8>) {
        let mut resting = self.resting.lock();
        if resting.bytes + buffer.len() <= POOL_BYTES_MAX {
            resting.bytes += buffer.len();
            resting.buffers.push(buffer);
        }
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{POOL_BYTES_MAX, Pool, SMALL_BYTES_MAX};

    #[test]
    fn a_buffer_comes_back_with_its_last_slice_and_is_bounded_at_rest() {
        let pool = Arc::new(Pool::default());
        let mut buffer = pool.take(1 << 20);
        buffer[..100].fill(7);
        let place = buffer.as_ptr();
        let bytes = pool.lend(buffer, 100);
        assert_eq!(bytes, [7; 100][..]);
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert!(pool.resting.lock().buffers.is_empty(), "a slice still needs it");
        assert_eq!(slice, [7; 10][..]);
        drop(slice);
        let again = pool.take(SMALL_BYTES_MAX + 1);
        assert_eq!(again.as_ptr(), place);
        let loans: Vec<_> = (0..40).map(|_| pool.lend(pool.take(1 << 20), 1 << 20)).collect();
        drop(loans);
        assert!(pool.resting.lock().bytes <= POOL_BYTES_MAX);
    }
}
