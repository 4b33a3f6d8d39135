//! Limits of the chain client. Each has a name and a default that suits a public CESS node.

use std::time::Duration;

/// Limits and time-outs. Every wait in this crate is bounded by one of them.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// From handing a call to the node until its block is final. Afterwards the outcome is Unknown.
    /// GRANDPA needs two or three blocks of 6 s when all is well.
    pub finality_timeout: Duration,
    /// One request and its answer.
    pub request_timeout: Duration,
    /// One attempt to open a connection.
    pub connect_timeout: Duration,
    /// Attempts to connect that one call makes before it gives up.
    pub connect_attempts: u32,
    /// Wait after the first failed attempt; doubles with each, up to [`ChainConfig::backoff_max`].
    pub backoff_first: Duration,
    /// Longest wait between two attempts.
    pub backoff_max: Duration,
    /// Blocks for which a signed call stays valid. A power of two, 4..=65536.
    pub mortality_blocks: u64,
    /// Calls sent and not yet final; a further one waits its turn. At most 16, which is how far an
    /// account's numbers may run ahead.
    pub calls_in_flight_max: usize,
    /// Miner entries read at the same time.
    pub miner_reads_at_once: usize,
    /// Largest answer taken from a node, in bytes. The file list of an account is one value.
    pub answer_bytes_max: u32,
    /// Largest request sent to a node, in bytes. A declaration of 1000 segments is 833 kB, in hex.
    pub request_bytes_max: u32,
    /// Whether `ws://` may be used beyond loopback: everybody on the way could then read and change
    /// what the chain says.
    pub allow_insecure: bool,
    /// Seconds between blocks that deadlines are counted in (`OneDay` is 14,400 blocks).
    pub block_seconds: u32,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            finality_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            connect_attempts: 4,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            mortality_blocks: 256,
            calls_in_flight_max: 16,
            miner_reads_at_once: 16,
            answer_bytes_max: 256 << 20,
            request_bytes_max: 16 << 20,
            allow_insecure: false,
            block_seconds: 6,
        }
    }
}
