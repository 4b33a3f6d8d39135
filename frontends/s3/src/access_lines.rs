//! The gateway's own access log: one line of JSON for each request, to whoever takes lines.
//!
//! A line is made when the answer is out and handed over without waiting; one that finds the channel full
//! is lost and counted. It never holds a query string, a header that signs, or a body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gw_types::Timestamp;
use tokio::sync::mpsc;

/// The way in for lines. Clones are the same way.
#[derive(Clone, Debug)]
pub struct AccessLines {
    lines: mpsc::Sender<String>,
    lost: LostLines,
}

/// How many lines were lost.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Arc<AtomicU64>);

impl LostLines {
    /// Counts lines that could not be kept.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
    /// All so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request's line, but for when it began.
#[derive(Debug)]
pub(crate) struct AccessLine<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) remote: std::net::SocketAddr,
    pub(crate) access_key: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) operation: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) code: Option<&'a str>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) micros: u64,
    pub(crate) aborted: bool,
    pub(crate) agent: &'a str,
}

impl AccessLines {
    /// Lines go to the other end of `lines`, each with its newline.
    pub fn new(lines: mpsc::Sender<String>) -> Self {
        Self { lines, lost: LostLines::default() }
    }

    /// The counter of lost lines, for whoever takes lines and for whoever shows it. It is no way in.
    pub fn lost(&self) -> LostLines {
        self.lost.clone()
    }

    pub(crate) fn write(&self, at: Timestamp, line: &AccessLine<'_>) {
        if self.lines.try_send(shown(at, line)).is_err() {
            self.lost.add(1);
        }
    }
}

fn shown(at: Timestamp, line: &AccessLine<'_>) -> String {
    let object = serde_json::json!({
        "time": at.iso_millis(),
        "request_id": line.request_id,
        "remote": line.remote.ip().to_string(),
        "access_key": line.access_key,
        "user": line.user,
        "operation": line.operation,
        "method": line.method,
        "path": line.path,
        "status": line.status,
        "code": line.code,
        "bytes_in": line.bytes_in,
        "bytes_out": line.bytes_out,
        "micros": line.micros,
        "aborted": line.aborted,
        "agent": line.agent,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use gw_types::Timestamp;
    use tokio::sync::mpsc;

    use super::{AccessLine, AccessLines};

    #[test]
    fn a_line_is_one_line_whatever_a_client_says_and_what_finds_no_room_is_counted() {
        let (sender, mut receiver) = mpsc::channel(1);
        let lines = AccessLines::new(sender);
        let line = AccessLine {
            request_id: "ID",
            remote: "127.0.0.1:5".parse().unwrap(),
            access_key: None,
            user: Some("ann"),
            operation: "GetObject",
            method: "GET",
            path: "/b/k",
            status: 200,
            code: None,
            bytes_in: 0,
            bytes_out: 7,
            micros: 12,
            aborted: false,
            agent: "evil\n{\"status\":500}\"",
        };
        lines.write(Timestamp(1_000_000), &line);
        lines.write(Timestamp(2), &line);
        assert_eq!(lines.lost().count(), 1);
        let text = receiver.try_recv().unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["agent"], &read["status"]), (&line.agent.into(), &200.into()));
        assert_eq!(read["time"], "1970-01-01T00:00:00.001Z");
    }
}
