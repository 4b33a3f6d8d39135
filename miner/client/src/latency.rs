//! How fast each miner has been: the last 64 reads of it, and a bound on its connections.
//!
//! A sample is the time from the moment a connection was free until the last byte, of reads up to
//! [`SAMPLED_READ_BYTES_MAX`]: a whole fragment takes longer whoever sends it, and would hide what a
//! hedge needs to know. A read that ran into its time-out counts with that time. A read that the
//! caller gave up (because another miner was faster) counts with the time it had already taken, if
//! that is more than the median; otherwise a slow miner that always loses would look as if it were
//! never asked. At most [`Ledger`]'s `miners_max` are remembered; the one unused for longest goes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gw_types::AccountId;
use gw_types::ports::{Clock, MinerLatency};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Reads remembered of each miner.
const SAMPLES_MAX: usize = 64;
/// Longer reads count as done or failed, but not with their time.
pub(crate) const SAMPLED_READ_BYTES_MAX: u32 = 1 << 20;

/// All miners in use.
#[derive(Debug)]
pub(crate) struct Ledger {
    miners_max: usize,
    connections_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_account: HashMap<AccountId, (u64, Arc<MinerEntry>)>,
    uses: u64,
}

impl Ledger {
    pub(crate) fn new(miners_max: usize, connections_max: usize) -> Self {
        Self {
            miners_max: miners_max.max(1),
            connections_max: connections_max.max(1),
            entries: Mutex::default(),
        }
    }
    /// What is kept about a miner, made at first use.
    pub(crate) fn entry(&self, account: &AccountId) -> Arc<MinerEntry> {
        let mut entries = self.entries.lock();
        entries.uses += 1;
        let now = entries.uses;
        if let Some((used, entry)) = entries.by_account.get_mut(account) {
            *used = now;
            return Arc::clone(entry);
        }
        if entries.by_account.len() >= self.miners_max {
            let oldest =
                entries.by_account.iter().min_by_key(|(_, (used, _))| *used).map(|(account, _)| *account);
            oldest.and_then(|account| entries.by_account.remove(&account));
        }
        let entry = Arc::new(MinerEntry {
            connections: Semaphore::new(self.connections_max),
            reads: Mutex::default(),
        });
        entries.by_account.insert(*account, (now, Arc::clone(&entry)));
        entry
    }
    /// Statistics of a miner that was read from.
    pub(crate) fn latency(&self, account: &AccountId, worst: Duration) -> Option<MinerLatency> {
        let entry = self.entries.lock().by_account.get(account).map(|(_, entry)| Arc::clone(entry))?;
        let reads = entry.reads.lock();
        reads.latency(worst)
    }
}

/// One miner.
#[derive(Debug)]
pub(crate) struct MinerEntry {
    /// One permit a request under way.
    pub(crate) connections: Semaphore,
    reads: Mutex<Reads>,
}

#[derive(Debug, Default)]
struct Reads {
    took: VecDeque<Duration>,
    failed: VecDeque<bool>,
}

impl Reads {
    fn push_time(&mut self, time: Duration) {
        self.took.truncate(SAMPLES_MAX - 1);
        self.took.push_front(time);
    }
    fn push_result(&mut self, failed: bool) {
        self.failed.truncate(SAMPLES_MAX - 1);
        self.failed.push_front(failed);
    }
    fn latency(&self, worst: Duration) -> Option<MinerLatency> {
        if self.took.is_empty() && self.failed.is_empty() {
            return None;
        }
        let failed_count = self.failed.iter().filter(|failed| **failed).count();
        let error_rate = failed_count as f64 / self.failed.len().max(1) as f64;
        Some(MinerLatency {
            p50: self.rank(50).unwrap_or(worst),
            p95: self.rank(95).unwrap_or(worst),
            error_rate,
        })
    }
    /// The smallest sample that `percent` of all do not exceed.
    fn rank(&self, percent: usize) -> Option<Duration> {
        let mut sorted: Vec<_> = self.took.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

/// A read under way. Dropped before [`ReadTimer::finish`], it counts as given up.
#[derive(Debug)]
pub(crate) struct ReadTimer<'a> {
    entry: &'a MinerEntry,
    clock: &'a dyn Clock,
    started: Duration,
    sampled: bool,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// With bytes, or with an honest "not here".
    Answered,
    /// With an error of the miner or of the way to it.
    Failed,
    /// Not within its time.
    TimedOut,
}

impl<'a> ReadTimer<'a> {
    pub(crate) fn start(entry: &'a MinerEntry, clock: &'a dyn Clock, len: u32) -> Self {
        Self { entry, clock, started: clock.elapsed(), sampled: len <= SAMPLED_READ_BYTES_MAX }
    }
    pub(crate) fn finish(mut self, end: ReadEnd) {
        let took = self.clock.elapsed().saturating_sub(self.started);
        let mut reads = self.entry.reads.lock();
        reads.push_result(end != ReadEnd::Answered);
        if self.sampled && end != ReadEnd::Failed {
            reads.push_time(took);
        }
        self.sampled = false;
    }
}

impl Drop for ReadTimer<'_> {
    fn drop(&mut self) {
        if !self.sampled {
            return;
        }
        let took = self.clock.elapsed().saturating_sub(self.started);
        let mut reads = self.entry.reads.lock();
        if reads.rank(50).is_none_or(|median| took > median) {
            reads.push_time(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use gw_types::ports::Clock;
    use gw_types::{AccountId, Timestamp};

    use super::{Ledger, ReadEnd, ReadTimer, SAMPLED_READ_BYTES_MAX};

    #[derive(Debug, Default)]
    struct HandClock(AtomicU64);

    #[async_trait]
    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
        async fn sleep(&self, _: Duration) {}
    }

    fn read(ledger: &Ledger, clock: &HandClock, miner: u8, millis: u64, end: Option<ReadEnd>) {
        let entry = ledger.entry(&AccountId([miner; 32]));
        let timer = ReadTimer::start(&entry, clock, 65_536);
        clock.0.fetch_add(millis, Ordering::Relaxed);
        if let Some(end) = end {
            timer.finish(end);
        }
    }

    #[test]
    fn percentiles_are_of_the_last_64_reads() {
        let (ledger, clock) = (Ledger::new(8, 2), HandClock::default());
        assert!(ledger.latency(&AccountId([1; 32]), Duration::ZERO).is_none());
        (0..50).for_each(|_| read(&ledger, &clock, 1, 9_000, Some(ReadEnd::Answered)));
        (1..=64).for_each(|millis| read(&ledger, &clock, 1, millis, Some(ReadEnd::Answered)));
        let latency = ledger.latency(&AccountId([1; 32]), Duration::ZERO).unwrap();
        assert_eq!((latency.p50.as_millis(), latency.p95.as_millis(), latency.error_rate), (32, 61, 0.0));
        (0..16).for_each(|_| read(&ledger, &clock, 1, 1, Some(ReadEnd::Failed)));
        assert_eq!(ledger.latency(&AccountId([1; 32]), Duration::ZERO).unwrap().error_rate, 0.25);
    }

    #[test]
    fn a_slow_miner_shows_although_its_reads_are_given_up() {
        let (ledger, clock) = (Ledger::new(8, 2), HandClock::default());
        read(&ledger, &clock, 1, 10, Some(ReadEnd::Answered));
        read(&ledger, &clock, 1, 5, None);
        (0..3).for_each(|_| read(&ledger, &clock, 1, 500, None));
        let latency = ledger.latency(&AccountId([1; 32]), Duration::ZERO).unwrap();
        assert_eq!((latency.p50.as_millis(), latency.error_rate), (500, 0.0));
    }

    #[test]
    fn long_reads_do_not_count_with_their_time_and_failures_alone_look_worst() {
        let (ledger, clock) = (Ledger::new(8, 2), HandClock::default());
        let entry = ledger.entry(&AccountId([1; 32]));
        ReadTimer::start(&entry, &clock, SAMPLED_READ_BYTES_MAX + 1).finish(ReadEnd::Failed);
        let latency = ledger.latency(&AccountId([1; 32]), Duration::from_secs(9)).unwrap();
        assert_eq!((latency.p95, latency.error_rate), (Duration::from_secs(9), 1.0));
    }

    #[test]
    fn only_so_many_miners_are_remembered() {
        let (ledger, clock) = (Ledger::new(2, 2), HandClock::default());
        for miner in [1, 2, 1, 3] {
            read(&ledger, &clock, miner, 1, Some(ReadEnd::Answered));
        }
        let known = |miner| ledger.latency(&AccountId([miner; 32]), Duration::ZERO).is_some();
        assert_eq!((known(1), known(2), known(3)), (true, false, true));
    }
}
