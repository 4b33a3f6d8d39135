//! What a miner is told at its start, and the faults that can be switched on while it runs. Every
//! limit has its name here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a miner runs.
#[derive(Clone, Debug)]
pub struct MinerConfig {
    /// Its own directory; made when missing, locked against a second process.
    pub dir: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bytes of fragments it will hold.
    pub capacity_bytes: u64,
    /// Connections served at once; more wait in the system's backlog.
    pub max_connections: usize,
    /// For a request's headers to come, and how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Longest pause inside a body, in either direction.
    pub stall_timeout: Duration,
    /// For a whole put.
    pub put_timeout: Duration,
    /// How long a stop waits for requests under way.
    pub drain_timeout: Duration,
    /// Reports under way at once.
    pub max_reports: usize,
    /// Deals that wait for their report in memory; the index on disk has no such limit, and
    /// `report_sweep` finds the others.
    pub max_report_queue: usize,
    /// First pause after a report that failed; doubles up to `report_sweep`.
    pub report_retry: Duration,
    /// How often every deal that is not reported is looked at again.
    pub report_sweep: Duration,
    /// Removal of fragments that the chain knows no more; `None` keeps everything.
    pub collect: Option<CollectConfig>,
}

impl MinerConfig {
    /// Usual limits; nothing is collected.
    pub fn new(dir: impl Into<PathBuf>, listen: SocketAddr, capacity_bytes: u64) -> Self {
        Self {
            dir: dir.into(),
            listen,
            capacity_bytes,
            max_connections: 128,
            header_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(30),
            put_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
            max_reports: 8,
            max_report_queue: 4096,
            report_retry: Duration::from_secs(1),
            report_sweep: Duration::from_secs(120),
            collect: None,
        }
    }
}

/// When fragments of forgotten deals are removed.
#[derive(Clone, Debug)]
pub struct CollectConfig {
    /// Between two passes over all deals.
    pub interval: Duration,
    /// A deal must have been absent from the chain for this long, in every pass. Longer than a
    /// repair takes (250 blocks), because a repaired fragment is put before the chain names us.
    pub grace: Duration,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(600), grace: Duration::from_secs(3600) }
    }
}

/// A fault, for trying what the network does about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Healthy.
    #[default]
    None,
    /// Every answer begins this much later.
    Slow(Duration),
    /// Gets carry changed bytes.
    Corrupt,
    /// Every put and get is answered with 503.
    Refuse,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Slow(_) => "slow",
            Self::Corrupt => "corrupt",
            Self::Refuse => "refuse",
        }
    }
}
