use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{AccountId, Fid, Hash32, PortResult};

/// Where a miner is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MinerAddr {
    /// Its account on chain.
    pub account: AccountId,
    /// `http://host:port`, as the chain has it (NUL padding and a missing scheme already mended).
    pub endpoint: String,
}

/// Answer of [`Miners::probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinerStatus {
    /// Bytes the miner says it can still take.
    pub free_bytes: u64,
    /// Round trip of the probe.
    pub round_trip: Duration,
}

/// What past reads of a miner took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinerLatency {
    /// Median.
    pub p50: Duration,
    /// A hedge starts after this long.
    pub p95: Duration,
    /// Share of recent requests that failed, 0.0..=1.0.
    pub error_rate: f64,
}

/// The miners' HTTP API (cess-miner `node/web/fragment.go`). Every call has a bounded time.
#[async_trait]
pub trait Miners: Send + Sync + std::fmt::Debug {
    /// Stores one 8 MiB fragment of a declared deal. Putting the same fragment again is harmless.
    /// Returns when the miner has said that it holds it.
    async fn put(&self, miner: &MinerAddr, fid: Fid, fragment: Hash32, body: Bytes) -> PortResult<()>;
    /// Bytes `range` of a fragment, exactly that many. They are not verified here: frames carry tags.
    async fn get(
        &self,
        miner: &MinerAddr,
        fid: Fid,
        fragment: Hash32,
        range: Range<u32>,
    ) -> PortResult<Bytes>;
    /// Is it there, and has it room?
    async fn probe(&self, miner: &MinerAddr) -> PortResult<MinerStatus>;
    /// Statistics of past reads, where there are any.
    fn latency(&self, miner: &AccountId) -> Option<MinerLatency>;
}
