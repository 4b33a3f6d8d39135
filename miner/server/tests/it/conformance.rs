//! The contract of the port, kept by client and miner together.

use std::sync::Arc;

use async_trait::async_trait;
use gw_miner_client::conformance::{Bench, check_all};
use gw_types::ports::{DeclaredSegment, MinerAddr, Miners};
use gw_types::{AccountId, Fid};

use crate::world::World;

#[async_trait]
impl Bench for World {
    fn miners(&self) -> Arc<dyn Miners> {
        Arc::clone(&self.client) as _
    }
    fn miner(&self) -> MinerAddr {
        self.addr()
    }
    fn absent_miner(&self) -> MinerAddr {
        // Port 1 (tcpmux) is listened on by nobody.
        MinerAddr { account: AccountId([9; 32]), endpoint: "http://127.0.0.1:1".to_owned() }
    }
    async fn declare(&self, fid: Fid, segments: Vec<DeclaredSegment>) {
        self.chain.declare(fid, segments);
    }
}

#[tokio::test]
async fn client_and_miner_keep_the_contract_of_the_port() {
    let world = World::start().await;
    check_all(&world).await;
    let counters = world.miner.counters();
    assert_eq!((counters.failed, counters.reserved_bytes), (0, 0));
    assert_eq!(world.files_in("tmp"), 0);
    world.miner.shutdown().await;
}
