//! A network without miners, for stores of which nothing is dispersed.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use gw_types::ports::{MinerAddr, MinerLatency, MinerStatus, Miners};
use gw_types::{AccountId, Fid, Hash32, PortError, PortErrorKind, PortResult};

/// Every call is answered with [`PortErrorKind::Unavailable`]; nothing was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMiners;

fn nobody<T>() -> PortResult<T> {
    Err(PortError::definite(PortErrorKind::Unavailable, "there are no miners here"))
}

#[async_trait]
impl Miners for NoMiners {
    async fn put(&self, _: &MinerAddr, _: Fid, _: Hash32, _: Bytes) -> PortResult<()> {
        nobody()
    }
    async fn get(&self, _: &MinerAddr, _: Fid, _: Hash32, _: Range<u32>) -> PortResult<Bytes> {
        nobody()
    }
    async fn probe(&self, _: &MinerAddr) -> PortResult<MinerStatus> {
        nobody()
    }
    fn latency(&self, _: &AccountId) -> Option<MinerLatency> {
        None
    }
}
