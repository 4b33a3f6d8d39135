use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;

/// Time. The store asks nobody else: same seed, same run.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall-clock time, for what people see (Last-Modified, deadlines). May jump.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start that never goes back, for time-outs and ages.
    fn elapsed(&self) -> Duration;
    /// Returns after `duration`, never before. Dropping the future ends the wait.
    async fn sleep(&self, duration: Duration);
}
