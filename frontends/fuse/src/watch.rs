//! Who is at work on a request without being able to give up: the threads that take requests.
//!
//! Requests for names and attributes are answered on those threads. One that never comes back would
//! leave its caller, and in time everybody, hanging; the mount's keeper looks here for such a one.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::metrics::Op;

/// One place for each thread.
#[derive(Debug)]
pub struct Watch {
    epoch: Instant,
    places: Vec<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// Microseconds from the epoch, and one; 0 while it is free.
    since: AtomicU64,
    op: AtomicUsize,
}

/// At work until dropped.
#[derive(Debug)]
pub struct Busy<'a>(Option<&'a Place>);

impl Watch {
    pub fn new(threads: usize) -> Self {
        Self { epoch: Instant::now(), places: (0..threads).map(|_| Place::default()).collect() }
    }

    pub fn enter(&self, op: Op) -> Busy<'_> {
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1;
        let taken = self
            .places
            .iter()
            .find(|place| place.since.compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        if let Some(place) = taken {
            place.op.store(op as usize, Ordering::Relaxed);
        }
        Busy(taken)
    }

    /// Whoever has been at work for longer than this.
    pub fn stuck(&self, limit: Duration) -> Option<(Op, Duration)> {
        let now = self.epoch.elapsed();
        self.places.iter().find_map(|place| {
            let since = place.since.load(Ordering::Acquire).checked_sub(1)?;
            let taken = now.saturating_sub(Duration::from_micros(since));
            let op = Op::ALL.get(place.op.load(Ordering::Relaxed))?;
            (taken > limit).then_some((*op, taken))
        })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.since.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Watch;
    use crate::metrics::Op;

    #[test]
    fn whoever_does_not_come_back_is_seen() {
        let watch = Watch::new(2);
        let quick = watch.enter(Op::Lookup);
        let slow = watch.enter(Op::Rename);
        drop(quick);
        while watch.stuck(Duration::from_micros(1)).is_none() {
            std::thread::yield_now();
        }
        assert_eq!(watch.stuck(Duration::ZERO).unwrap().0, Op::Rename);
        drop(slow);
        assert!(watch.stuck(Duration::ZERO).is_none());
    }
}
