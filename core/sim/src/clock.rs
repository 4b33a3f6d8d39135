//! A clock that stands still until it is told to move.
//!
//! Sleepers are woken in order of their deadlines (of equal ones, in order of their calls), and time
//! stands at each one's deadline when it is woken. [`SimClock::run_until`] and [`SimClock::run_for`]
//! let the other tasks of a single-threaded runtime run until none of them gets further, then jump to
//! the next deadline, so hours of timers pass in milliseconds. What "gets no further" means is found
//! by yielding often enough; work on other threads (blocking pools) is not waited for.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use gw_types::Timestamp;
use gw_types::ports::Clock;
use parking_lot::Mutex;

/// Turns given to the other tasks before time jumps: longer than any chain of wake-ups in the core.
const SETTLE_YIELDS: usize = 200;

/// A simulated clock. Clones share the time.
#[derive(Clone, Debug)]
pub struct SimClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    elapsed: Duration,
    /// Wall-clock time at `elapsed` zero, nanoseconds since 1970.
    wall_start: i64,
    sleepers: BTreeMap<(Duration, u64), Option<Waker>>,
    calls: u64,
}

impl Default for SimClock {
    /// Begins at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp(1_767_225_600_000_000_000))
    }
}

impl SimClock {
    /// Begins at this wall-clock time.
    pub fn at(wall: Timestamp) -> Self {
        let state =
            State { elapsed: Duration::ZERO, wall_start: wall.0, sleepers: BTreeMap::new(), calls: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Moves time forward and wakes whose deadline has passed, in order. Woken tasks run later, when
    /// the runtime polls them; where they must run in between, use [`SimClock::run_for`].
    pub fn advance(&self, by: Duration) {
        let target = self.state.lock().elapsed + by;
        while self.wake_next(target) {}
        self.state.lock().elapsed = target;
    }

    /// Sets the wall clock, forwards or backwards; sleepers are not affected.
    pub fn set_wall(&self, wall: Timestamp) {
        let mut state = self.state.lock();
        state.wall_start = wall.0 - state.elapsed.as_nanos() as i64;
    }

    /// How many are asleep.
    pub fn sleepers(&self) -> usize {
        self.state.lock().sleepers.len()
    }

    /// Lets tasks run and time pass, deadline by deadline.
    pub async fn run_for(&self, duration: Duration) {
        let target = self.state.lock().elapsed + duration;
        loop {
            settle().await;
            if !self.wake_next(target) {
                break;
            }
        }
        self.state.lock().elapsed = target;
        settle().await;
    }

    /// Polls `future`, jumping to the next deadline whenever nobody gets further, until it is ready.
    /// Never returns when it waits for something that no timer and no task brings about.
    pub async fn run_until<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut turns = 0;
        std::future::poll_fn(move |context| {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(value);
            }
            turns += 1;
            if turns >= SETTLE_YIELDS {
                turns = 0;
                self.wake_next(Duration::MAX);
            }
            Poll::Pending::<T>
        })
        .with_turns()
        .await
    }

    /// Jumps to the next deadline up to `target`; `false` when there is none.
    fn wake_next(&self, target: Duration) -> bool {
        let waker = {
            let mut state = self.state.lock();
            let Some((&(deadline, call), _)) = state.sleepers.first_key_value() else { return false };
            if deadline > target {
                return false;
            }
            state.elapsed = state.elapsed.max(deadline);
            state.sleepers.remove(&(deadline, call)).flatten()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// Gives every other ready task its turn, many times.
async fn settle() {
    for _ in 0..SETTLE_YIELDS {
        tokio::task::yield_now().await;
    }
}

/// Polls a future again and again, giving other tasks a turn in between.
trait WithTurns: Future + Sized {
    async fn with_turns(self) -> Self::Output {
        let mut future = pin!(self);
        loop {
            let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
            match polled {
                Poll::Ready(value) => return value,
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
    }
}

impl<F: Future> WithTurns for F {}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let state = self.state.lock();
        Timestamp(state.wall_start + state.elapsed.as_nanos() as i64)
    }
    fn elapsed(&self) -> Duration {
        self.state.lock().elapsed
    }
    async fn sleep(&self, duration: Duration) {
        let key = {
            let mut state = self.state.lock();
            state.calls += 1;
            let key = (state.elapsed.saturating_add(duration), state.calls);
            state.sleepers.insert(key, None);
            key
        };
        Sleep { state: self.state.clone(), key }.await;
    }
}

struct Sleep {
    state: Arc<Mutex<State>>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.state.lock().sleepers.get_mut(&self.key) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.state.lock().sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_order_of_their_deadlines_and_time_stands_there() {
        let clock = SimClock::default();
        let woken = Arc::new(Mutex::new(Vec::new()));
        for seconds in [30, 10, 20, 10] {
            let (clock, woken) = (clock.clone(), woken.clone());
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                woken.lock().push((seconds, clock.elapsed().as_secs()));
            });
        }
        clock.run_for(Duration::from_secs(25)).await;
        assert_eq!(*woken.lock(), [(10, 10), (10, 10), (20, 20)]);
        assert_eq!(clock.elapsed(), Duration::from_secs(25));
        clock.run_for(Duration::from_secs(5)).await;
        assert_eq!(woken.lock().len(), 4);
    }

    #[tokio::test]
    async fn time_jumps_when_nobody_gets_further() {
        let clock = SimClock::default();
        let start = clock.now();
        let sleeper = clock.clone();
        let task = tokio::spawn(async move {
            for _ in 0..24 {
                sleeper.sleep(Duration::from_secs(3600)).await;
            }
        });
        clock.run_until(task).await.unwrap();
        assert_eq!(clock.now().0 - start.0, 86_400_000_000_000);
    }

    #[tokio::test]
    async fn a_dropped_sleep_is_forgotten_and_the_wall_clock_may_jump() {
        let clock = SimClock::default();
        {
            let mut sleep = pin!(clock.sleep(Duration::from_secs(1)));
            std::future::poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_pending())).await;
            assert_eq!(clock.sleepers(), 1);
        }
        assert_eq!(clock.sleepers(), 0);
        clock.set_wall(Timestamp(5));
        clock.advance(Duration::from_nanos(2));
        assert_eq!(clock.now(), Timestamp(7));
    }
}
