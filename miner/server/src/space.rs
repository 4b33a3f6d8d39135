//! How much a miner may still take: bytes held, bytes set aside for puts under way, and the limit.
//! A [`Reservation`] gives its room back when dropped, so a put that ends in any way leaves nothing
//! behind.

use std::sync::Arc;

use gw_types::FRAGMENT_BYTES;
use parking_lot::Mutex;

/// The account of one miner's room.
#[derive(Debug)]
pub(crate) struct Space {
    capacity_bytes: u64,
    taken: Mutex<Taken>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    used_bytes: u64,
    reserved_bytes: u64,
}

/// What stands in the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceNow {
    pub(crate) capacity_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) reserved_bytes: u64,
}

impl SpaceNow {
    pub(crate) fn free_bytes(self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes).saturating_sub(self.reserved_bytes)
    }
}

impl Space {
    pub(crate) fn new(capacity_bytes: u64, used_bytes: u64) -> Arc<Self> {
        Arc::new(Self { capacity_bytes, taken: Mutex::new(Taken { used_bytes, reserved_bytes: 0 }) })
    }
    pub(crate) fn now(&self) -> SpaceNow {
        let Taken { used_bytes, reserved_bytes } = *self.taken.lock();
        SpaceNow { capacity_bytes: self.capacity_bytes, used_bytes, reserved_bytes }
    }
    /// Room for one fragment, if there is any.
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Reservation> {
        let mut taken = self.taken.lock();
        if taken.used_bytes + taken.reserved_bytes + FRAGMENT_BYTES > self.capacity_bytes {
            return None;
        }
        taken.reserved_bytes += FRAGMENT_BYTES;
        Some(Reservation { space: Arc::clone(self) })
    }
    /// A fragment has been removed.
    pub(crate) fn release(&self) {
        let mut taken = self.taken.lock();
        taken.used_bytes = taken.used_bytes.saturating_sub(FRAGMENT_BYTES);
    }
}

/// Room set aside for one fragment.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
}

impl Reservation {
    /// The fragment is stored: its room is now in use.
    pub(crate) fn fill(self) {
        self.space.taken.lock().used_bytes += FRAGMENT_BYTES;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.space.taken.lock();
        taken.reserved_bytes = taken.reserved_bytes.saturating_sub(FRAGMENT_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use gw_types::FRAGMENT_BYTES;

    use super::Space;

    #[test]
    fn puts_under_way_count_and_give_back() {
        let space = Space::new(2 * FRAGMENT_BYTES + 1, 0);
        let first = space.reserve().unwrap();
        let second = space.reserve().unwrap();
        assert!(space.reserve().is_none());
        drop(first);
        second.fill();
        assert_eq!((space.now().used_bytes, space.now().reserved_bytes), (FRAGMENT_BYTES, 0));
        assert_eq!(space.now().free_bytes(), FRAGMENT_BYTES + 1);
        space.release();
        assert_eq!(space.now().free_bytes(), 2 * FRAGMENT_BYTES + 1);
    }
}
