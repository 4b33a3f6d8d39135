//! Puts fragments on CESS miners and reads them back: the port `Miners` over plain HTTP/1.1.
//!
//! One [`HttpMiners`] serves a whole gateway. It keeps connections open (hyper's pool, TCP_NODELAY),
//! sends a fragment without copying its 8 MiB, reads sub-ranges in the odd form of cess-miner, bounds
//! every call in time and every miner in connections, and remembers how fast each miner answered. It
//! promises exact lengths, not right bytes: a miner that lies about its bytes is found out by the
//! caller, because frames carry tags and fragments have hashes.
//!
//! [`conformance`] is the suite that every implementation of the port runs.

mod body;
pub mod conformance;
mod http_miners;
mod latency;
mod response;

pub use gw_miner_wire::ReadKey;
pub use http_miners::{HttpMiners, HttpMinersConfig};
