//! Counters of the frontend, by operation: how many, how many failed, how long they took.
//!
//! Operations are s3s's names (`GetObject`, ...), a closed set, and `-` for requests that never
//! became one. Everything is a relaxed atomic; rendering is Prometheus's text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::RwLock;

/// Upper bounds of the duration buckets, in microseconds, and as they are printed, in seconds.
const BUCKETS: [(u64, &str); 14] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
    (300_000_000, "300"),
];
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Counters of one operation.
#[derive(Debug, Default)]
struct Operation {
    classes: [AtomicU64; 4],
    aborted: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) status: StatusCode,
    /// From the end of the request's head to the end of the answer.
    pub(crate) took: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The answer was not read to its end.
    pub(crate) aborted: bool,
}

/// The counters of an S3 frontend.
#[derive(Debug, Default)]
pub struct S3Metrics {
    operations: RwLock<BTreeMap<String, Arc<Operation>>>,
    pub(crate) connections: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) log_lines_lost: AtomicU64,
}

impl S3Metrics {
    pub(crate) fn record(&self, operation: &str, sample: Sample) {
        let operation = self.operation(operation);
        let add = |counter: &AtomicU64, amount| counter.fetch_add(amount, Ordering::Relaxed);
        let class = usize::from(sample.status.as_u16() / 100).saturating_sub(2).min(CLASSES.len() - 1);
        add(&operation.classes[class], 1);
        add(&operation.aborted, u64::from(sample.aborted));
        let micros = u64::try_from(sample.took.as_micros()).unwrap_or(u64::MAX);
        add(&operation.micros, micros);
        if let Some(at) = BUCKETS.iter().position(|(bound, _)| micros <= *bound) {
            add(&operation.buckets[at], 1);
        }
        add(&operation.bytes_in, sample.bytes_in);
        add(&operation.bytes_out, sample.bytes_out);
    }

    fn operation(&self, name: &str) -> Arc<Operation> {
        if let Some(operation) = self.operations.read().get(name) {
            return Arc::clone(operation);
        }
        Arc::clone(self.operations.write().entry(name.to_owned()).or_default())
    }

    /// All counters in Prometheus's text format, each family with its HELP and TYPE.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(4096);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let operations = self.operations.read();
        family(
            &mut out,
            "cess_s3_requests_total",
            "counter",
            "Requests answered, by operation and status class.",
        );
        for (name, operation) in operations.iter() {
            for (class, counter) in CLASSES.iter().zip(&operation.classes) {
                let count = read(counter);
                if count > 0 {
                    line(&mut out, "cess_s3_requests_total", name, &format!(",class=\"{class}\""), count);
                }
            }
        }
        type Pick = fn(&Operation) -> &AtomicU64;
        let sums: [(&str, &str, Pick); 3] = [
            ("cess_s3_aborted_total", "Answers that the client did not read to the end.", |o| &o.aborted),
            ("cess_s3_received_bytes_total", "Bytes of request bodies, framing included.", |o| &o.bytes_in),
            ("cess_s3_sent_bytes_total", "Bytes of response bodies.", |o| &o.bytes_out),
        ];
        for (metric, help, pick) in sums {
            family(&mut out, metric, "counter", help);
            for (name, operation) in operations.iter() {
                line(&mut out, metric, name, "", read(pick(operation)));
            }
        }
        family(
            &mut out,
            "cess_s3_request_seconds",
            "histogram",
            "From the end of a request's head to the end of its answer.",
        );
        for (name, operation) in operations.iter() {
            render_histogram(&mut out, name, operation);
        }
        family(&mut out, "cess_s3_log_lines_lost_total", "counter", "Lines of access logs that were lost.");
        let _ = writeln!(out, "cess_s3_log_lines_lost_total {}", read(&self.log_lines_lost));
        for (metric, help, counter) in [
            ("cess_s3_connections", "Open connections.", &self.connections),
            ("cess_s3_in_flight", "Requests under way.", &self.in_flight),
        ] {
            family(&mut out, metric, "gauge", help);
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(out, "{metric} {}", read(counter));
        }
        out
    }
}

fn render_histogram(out: &mut String, name: &str, operation: &Operation) {
    let mut below = 0;
    for ((_, bound), counter) in BUCKETS.iter().zip(&operation.buckets) {
        below += counter.load(Ordering::Relaxed);
        line(out, "cess_s3_request_seconds_bucket", name, &format!(",le=\"{bound}\""), below);
    }
    let count: u64 = operation.classes.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
    line(out, "cess_s3_request_seconds_bucket", name, ",le=\"+Inf\"", count);
    let micros = operation.micros.load(Ordering::Relaxed);
    let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let _ = writeln!(out, "cess_s3_request_seconds_sum{{operation=\"{name}\"}} {seconds}");
    line(out, "cess_s3_request_seconds_count", name, "", count);
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn line(out: &mut String, metric: &str, operation: &str, more: &str, value: u64) {
    let _ = writeln!(out, "{metric}{{operation=\"{operation}\"{more}}} {value}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::{S3Metrics, Sample};

    #[test]
    fn requests_show_by_operation_class_and_duration() {
        let metrics = S3Metrics::default();
        let sample = |status, millis| Sample {
            status,
            took: Duration::from_millis(millis),
            bytes_in: 10,
            bytes_out: 3,
            aborted: false,
        };
        metrics.record("GetObject", sample(StatusCode::OK, 2));
        metrics.record("GetObject", sample(StatusCode::NOT_FOUND, 400_000));
        let text = metrics.render();
        for line in [
            "cess_s3_requests_total{operation=\"GetObject\",class=\"2xx\"} 1",
            "cess_s3_requests_total{operation=\"GetObject\",class=\"4xx\"} 1",
            "cess_s3_received_bytes_total{operation=\"GetObject\"} 20",
            "cess_s3_request_seconds_bucket{operation=\"GetObject\",le=\"0.001\"} 0",
            "cess_s3_request_seconds_bucket{operation=\"GetObject\",le=\"0.0025\"} 1",
            "cess_s3_request_seconds_bucket{operation=\"GetObject\",le=\"+Inf\"} 2",
            "cess_s3_request_seconds_sum{operation=\"GetObject\"} 400.002000",
            "cess_s3_request_seconds_count{operation=\"GetObject\"} 2",
            "# TYPE cess_s3_request_seconds histogram",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
