//! How much of the local disk staging may take.
//!
//! Counted are the bytes that commits have put into segments which are not finalized, and what
//! writers have reserved. A finalized segment's file may stay as a cache; it does not count, since it
//! can go at any time. A reservation gives back what it has not passed on when it is dropped, so an
//! aborted write leaves nothing behind. It holds room of the territory ([`super::Room`]) as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::room::Room;
use crate::DataError;

/// The account.
#[derive(Debug)]
pub(crate) struct Staging {
    used: AtomicU64,
    max: u64,
    pub(crate) room: Room,
}

impl Staging {
    pub(crate) fn new(used: u64, max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(used), max, room: Room::default() })
    }
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }
    pub(crate) fn max(&self) -> u64 {
        self.max
    }
    /// Takes room, or says how full it is.
    fn take(&self, bytes: u64) -> Result<(), DataError> {
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.max)
        });
        taken.map(|_| ()).map_err(|used| DataError::StagingFull {
            used_bytes: used,
            max_bytes: self.max,
            wanted_bytes: bytes,
        })
    }
    fn force(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }
    /// Gives room back.
    pub(crate) fn free(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "staging gives back what was taken");
    }
}

/// Room that one writer has taken.
#[derive(Debug)]
pub(crate) struct Reservation {
    staging: Arc<Staging>,
    bytes: u64,
    /// Our own writes (log, compaction) are never refused: only they make room.
    forced: bool,
}

impl Reservation {
    pub(crate) fn new(staging: &Arc<Staging>, forced: bool) -> Self {
        Self { staging: staging.clone(), bytes: 0, forced }
    }
    /// Grows to at least this many bytes.
    pub(crate) fn reach(&mut self, bytes: u64) -> Result<(), DataError> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        if self.forced {
            self.staging.force(more);
        } else {
            self.staging.room.take(more)?;
            if let Err(full) = self.staging.take(more) {
                self.staging.room.give(more);
                return Err(full);
            }
        }
        self.bytes += more;
        Ok(())
    }
    /// Hands the account of exactly `bytes` over to whoever keeps them from now on; the rest is free.
    pub(crate) fn pass_on(mut self, bytes: u64) {
        if bytes > self.bytes {
            self.staging.force(bytes - self.bytes);
        } else {
            self.staging.free(self.bytes - bytes);
        }
        if !self.forced {
            self.staging.room.end(self.bytes, bytes);
        }
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.staging.free(self.bytes);
        if !self.forced {
            self.staging.room.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reservation, Staging};
    use crate::DataError;

    #[test]
    fn what_is_not_passed_on_comes_back() {
        let staging = Staging::new(10, 100);
        let mut held = Reservation::new(&staging, false);
        held.reach(60).unwrap();
        held.reach(50).unwrap();
        assert_eq!(staging.used(), 70);
        let mut other = Reservation::new(&staging, false);
        let full = other.reach(31).unwrap_err();
        assert!(matches!(full, DataError::StagingFull { used_bytes: 70, max_bytes: 100, wanted_bytes: 31 }));
        drop(other);
        held.pass_on(20);
        assert_eq!(staging.used(), 30);
        let mut ours = Reservation::new(&staging, true);
        ours.reach(500).unwrap();
        drop(ours);
        assert_eq!(staging.used(), 30);
    }
}
