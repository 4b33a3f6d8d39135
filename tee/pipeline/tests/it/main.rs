//! Promises of keys and striper, checked from outside. One binary for all of them.

#![allow(
    clippy::unwrap_used,
    reason = "in a test a panic is the answer; the lint spares only the test functions themselves"
)]

mod keys;
mod root_file;
mod striper;

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use gw_types::Timestamp;
use gw_types::ports::Clock;

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub(crate) struct HandClock(Mutex<Duration>);

impl HandClock {
    pub(crate) fn set(&self, elapsed: Duration) {
        *self.0.lock().unwrap() = elapsed;
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    async fn sleep(&self, _: Duration) {
        panic!("keys do not wait");
    }
}
