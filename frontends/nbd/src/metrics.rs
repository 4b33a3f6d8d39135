//! Counters of a server, for whoever shows them.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters. All but `connections` only grow.
#[derive(Debug, Default)]
pub struct NbdMetrics {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Handshakes that did not lead to an export.
    pub handshakes_failed: AtomicU64,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Requests answered with an error.
    pub requests_failed: AtomicU64,
    /// Requests that ran out of time, also counted as failed.
    pub requests_timed_out: AtomicU64,
    /// Bytes of payload taken from clients.
    pub bytes_received: AtomicU64,
    /// Bytes sent to clients in the transmission phase.
    pub bytes_sent: AtomicU64,
}

impl NbdMetrics {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
    /// The value of one of the counters.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
