//! What may be under way: a number of requests, and a number of bytes.
//!
//! The thread that takes requests from the kernel waits here when either is used up, so that requests
//! stay in the kernel's queue. It waits for a bounded time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::metrics::MountMetrics;

#[derive(Debug)]
pub struct Budget {
    left: Mutex<Left>,
    given_back: Condvar,
    metrics: Arc<MountMetrics>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Left {
    bytes: usize,
    requests: usize,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub fn new(bytes_max: usize, requests_max: usize, metrics: Arc<MountMetrics>) -> Self {
        let left = Mutex::new(Left { bytes: bytes_max, requests: requests_max.max(1) });
        Self { left, given_back: Condvar::new(), metrics, bytes_max }
    }

    /// A request of so many bytes; one that is larger than everything takes everything. `None` when
    /// nothing was given back for so long.
    pub fn take(self: &Arc<Self>, bytes: usize, wait: Duration) -> Option<Share> {
        let bytes = bytes.min(self.bytes_max);
        let until = Instant::now() + wait;
        let mut left = self.left.lock();
        while left.requests == 0 || left.bytes < bytes {
            if self.given_back.wait_until(&mut left, until).timed_out() {
                return None;
            }
        }
        left.requests -= 1;
        left.bytes -= bytes;
        MountMetrics::add(&self.metrics.in_flight_requests, 1);
        MountMetrics::add(&self.metrics.in_flight_bytes, bytes as u64);
        Some(Share { budget: Arc::clone(self), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut left = self.budget.left.lock();
        left.requests += 1;
        left.bytes += self.bytes;
        let metrics = &self.budget.metrics;
        metrics.in_flight_requests.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        metrics.in_flight_bytes.fetch_sub(self.bytes as u64, std::sync::atomic::Ordering::Relaxed);
        drop(left);
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Budget;

    #[test]
    fn what_is_used_up_is_waited_for_and_comes_back() {
        let budget = Arc::new(Budget::new(100, 2, Arc::default()));
        let all = budget.take(1000, Duration::ZERO).expect("one request is always let in");
        assert!(budget.take(1, Duration::from_millis(1)).is_none());
        let free = budget.take(0, Duration::ZERO).expect("a second request without bytes");
        assert!(budget.take(0, Duration::from_millis(1)).is_none());
        let waiting = {
            let budget = Arc::clone(&budget);
            std::thread::spawn(move || budget.take(100, Duration::from_secs(60)).is_some())
        };
        drop(all);
        assert!(waiting.join().expect("the thread lives"));
        drop(free);
        assert!(budget.take(100, Duration::ZERO).is_some());
    }
}
