//! What a load run saw, as text and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::histogram::Histogram;
use super::load::Op;
use super::process::Spent;

/// So many error messages are kept in full; all are counted.
const MESSAGES_MAX: usize = 5;

/// What one kind of request came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// From the start of a request to the last byte of its answer.
    pub latency: Histogram,
    /// To the first byte of its answer's body.
    pub first_byte: Histogram,
    /// Bytes of bodies sent and received.
    pub bytes: u64,
}

/// What a worker, or all of them, saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Good answers by kind.
    pub tallies: BTreeMap<Op, Tally>,
    /// Failures by label.
    pub errors: BTreeMap<String, u64>,
    /// The first failures, in words.
    pub messages: Vec<String>,
}

impl Seen {
    /// Counts a failure.
    pub fn failed(&mut self, label: String, message: String) {
        *self.errors.entry(label).or_default() += 1;
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push(message);
        }
    }
    /// Adds what another worker saw.
    pub fn merge(&mut self, other: Self) {
        for (op, theirs) in other.tallies {
            let mine = self.tallies.entry(op).or_default();
            mine.latency.merge(&theirs.latency);
            mine.first_byte.merge(&theirs.first_byte);
            mine.bytes += theirs.bytes;
        }
        for (label, count) in other.errors {
            *self.errors.entry(label).or_default() += count;
        }
        self.messages.extend(other.messages);
        self.messages.truncate(MESSAGES_MAX);
    }
}

/// A process at the start and end of a run.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// Before the first request.
    pub before: Spent,
    /// After the last.
    pub after: Spent,
    /// The most memory seen between them, by looking ten times a second.
    pub rss_bytes_max: u64,
}

/// Everything a run is reported by. Times in milliseconds, sizes in MiB, unless the name says more.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run.
    pub title: String,
    /// How long it took.
    pub seconds: f64,
    /// Kinds of requests.
    pub ops: Vec<OpReport>,
    /// Failures by label.
    pub errors: BTreeMap<String, u64>,
    /// The first failures, in words.
    pub messages: Vec<String>,
    /// The server's process, where known.
    pub server: Option<ProcessReport>,
    /// This process.
    pub client: Option<ProcessReport>,
}

/// One kind of request.
#[derive(Clone, Debug, Serialize)]
pub struct OpReport {
    /// `put` and so on.
    pub op: Op,
    /// Good answers.
    pub count: u64,
    /// Good answers a second.
    pub per_second: f64,
    /// MiB of bodies a second.
    pub mib_per_second: f64,
    /// Until the answer was complete.
    pub latency_ms: Quantiles,
    /// Until the first byte of its body.
    pub first_byte_ms: Quantiles,
}

/// A distribution of times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// What a process spent.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessReport {
    /// Processor time for each good answer, in microseconds.
    pub cpu_us_per_op: f64,
    /// Processors kept busy, on average.
    pub cores: f64,
    /// Memory at the end.
    pub rss_mib: f64,
    /// The most memory during the run.
    pub rss_mib_max: f64,
    /// The most memory since the process began.
    pub rss_mib_ever: f64,
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn mib(bytes: u64) -> f64 {
    (bytes as f64 / (1 << 20) as f64 * 10.0).round() / 10.0
}

impl Quantiles {
    fn of(histogram: &Histogram) -> Self {
        let at = |part| milliseconds(histogram.quantile(part));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: milliseconds(histogram.longest()) }
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.3}  p90 {:.3}  p99 {:.3}  max {:.3}", self.p50, self.p90, self.p99, self.max)
    }
}

impl ProcessReport {
    fn of(interval: &Interval, ops: u64, seconds: f64) -> Self {
        let cpu = interval.after.cpu.saturating_sub(interval.before.cpu).as_secs_f64();
        let rss_bytes_max = interval.rss_bytes_max.max(interval.after.rss_bytes);
        Self {
            cpu_us_per_op: (cpu * 1e6 / ops.max(1) as f64 * 10.0).round() / 10.0,
            cores: (cpu / seconds * 100.0).round() / 100.0,
            rss_mib: mib(interval.after.rss_bytes),
            rss_mib_max: mib(rss_bytes_max),
            rss_mib_ever: mib(interval.after.rss_peak_bytes),
        }
    }
}

impl Report {
    /// Computes rates from what was seen.
    pub fn new(
        title: String,
        time: Duration,
        seen: Seen,
        server: Option<Interval>,
        client: Option<Interval>,
    ) -> Self {
        let seconds = time.as_secs_f64().max(1e-6);
        let total = seen.tallies.values().map(|tally| tally.latency.count()).sum();
        let op = |(op, tally): (&Op, &Tally)| OpReport {
            op: *op,
            count: tally.latency.count(),
            per_second: (tally.latency.count() as f64 / seconds * 10.0).round() / 10.0,
            mib_per_second: mib((tally.bytes as f64 / seconds) as u64),
            latency_ms: Quantiles::of(&tally.latency),
            first_byte_ms: Quantiles::of(&tally.first_byte),
        };
        let process = |interval: Interval| ProcessReport::of(&interval, total, seconds);
        Self {
            title,
            seconds: (seconds * 1e3).round() / 1e3,
            ops: seen.tallies.iter().map(op).collect(),
            errors: seen.errors,
            messages: seen.messages,
            server: server.map(process),
            client: client.map(process),
        }
    }
    /// No request failed, and there was at least one.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty() && !self.ops.is_empty()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:.1} s)", self.title, self.seconds)?;
        for op in &self.ops {
            let OpReport { op, count, per_second, mib_per_second, latency_ms, first_byte_ms } = op;
            write!(f, "\n  {op:7} {count} answers, {per_second:.0}/s, {mib_per_second:.1} MiB/s")?;
            write!(f, "\n          ms          {latency_ms}\n          first byte  {first_byte_ms}")?;
        }
        for (name, process) in [("server", &self.server), ("client", &self.client)] {
            let Some(process) = process else { continue };
            let ProcessReport { cpu_us_per_op, cores, rss_mib, rss_mib_max, rss_mib_ever } = process;
            write!(f, "\n  {name}  {cpu_us_per_op:.0} us CPU an answer, {cores:.2} cores; ")?;
            write!(f, "RSS {rss_mib:.0} MiB, {rss_mib_max:.0} at most, {rss_mib_ever:.0} ever")?;
        }
        if self.errors.is_empty() {
            return write!(f, "\n  errors  none");
        }
        for (label, count) in &self.errors {
            write!(f, "\n  error   {count} x {label}")?;
        }
        self.messages.iter().try_for_each(|message| write!(f, "\n          {message}"))
    }
}
