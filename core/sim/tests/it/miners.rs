use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_miner_client::conformance::{self, Bench};
use gw_sim::{ModelChain, ModelMiners, SimClock};
use gw_types::ports::{Chain, DealSpec, DeclaredSegment, MinerAddr, Miners};
use gw_types::{AccountId, FRAGMENT_BYTES, FRAGMENTS, Fid, PortErrorKind, TerritoryName};

const OWNER: AccountId = AccountId([1; 32]);

struct Model {
    chain: ModelChain,
    owner: Arc<dyn Chain>,
    miners: ModelMiners,
}

impl Model {
    async fn new(clock: &SimClock, count: u8, fragments: u64) -> Self {
        let chain = ModelChain::new(Arc::new(clock.clone()));
        let miners = ModelMiners::new(&chain, Arc::new(clock.clone()), count, fragments * FRAGMENT_BYTES);
        chain.register(AccountId([9; 32]), "127.0.0.1:1", 100 << 30);
        chain.fund(OWNER, 1 << 100);
        let owner = chain.owner(OWNER);
        owner.mint_territory(&territory(), 10, 30).await.unwrap();
        Self { chain, owner, miners }
    }
}

fn territory() -> TerritoryName {
    TerritoryName::new("default").unwrap()
}

#[async_trait]
impl Bench for Model {
    fn miners(&self) -> Arc<dyn Miners> {
        Arc::new(self.miners.clone())
    }
    fn miner(&self) -> MinerAddr {
        self.miners.addr(0)
    }
    fn absent_miner(&self) -> MinerAddr {
        MinerAddr { account: AccountId([9; 32]), endpoint: "http://127.0.0.1:1".into() }
    }
    async fn declare(&self, fid: Fid, segments: Vec<DeclaredSegment>) {
        if self.owner.deal(fid).await.unwrap().is_none() {
            let file_size = segments.len() as u128 * (32 << 20);
            let spec =
                DealSpec { fid, segments, file_name: "a deal".into(), territory: territory(), file_size };
            self.owner.declare(&spec).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_model_keeps_every_promise_of_the_port() {
    let bench = Model::new(&SimClock::default(), 1, 8).await;
    conformance::check_all(&bench).await;
}

#[tokio::test]
async fn miners_report_what_they_hold_and_misbehave_as_told() {
    let clock = SimClock::default();
    let model = Model::new(&clock, 12, 8).await;
    // Fragments of zeros: every column is complete with one put, whoever gets it.
    let zero = conformance::fragment(1).0;
    let fragments: Vec<_> = (0..FRAGMENTS as u64).map(conformance::fragment).collect();
    let mut segment = conformance::segment_with(zero);
    for (slot, (hash, _)) in segment.fragments.iter_mut().zip(&fragments) {
        *slot = *hash;
    }
    let fid = conformance::fid(1);
    model.declare(fid, vec![segment]).await;
    model.miners.fault(3, |fault| fault.is_silent = true);
    for (number, (hash, bytes)) in fragments.iter().enumerate() {
        model.miners.put(&model.miners.addr(number), fid, *hash, bytes.clone()).await.unwrap();
    }
    clock.run_for(Duration::from_secs(60)).await;
    assert_eq!(model.chain.deal(fid).unwrap().complete.len(), 11);
    model.miners.fault(3, |fault| fault.is_silent = false);
    clock.run_for(Duration::from_secs(5)).await;
    assert_eq!(model.chain.deal(fid), None);
    assert!(model.chain.file(fid, OWNER).is_some());

    let get = async |number: usize| -> Result<Bytes, PortErrorKind> {
        let (hash, _) = &fragments[number];
        let got = model.miners.get(&model.miners.addr(number), fid, *hash, 7..9).await;
        got.map_err(|error| error.kind())
    };
    assert_eq!(get(0).await.unwrap(), fragments[0].1[7..9]);
    model.miners.fault(0, |fault| fault.lies = true);
    assert_ne!(get(0).await.unwrap(), fragments[0].1[7..9]);
    model.miners.fault(1, |fault| fault.lost_all = true);
    assert_eq!(get(1).await, Err(PortErrorKind::NotFound));
    model.miners.fault(2, |fault| fault.is_down = true);
    assert_eq!(get(2).await, Err(PortErrorKind::Unavailable));
    let old = model.miners.addr(4);
    model.miners.move_to(4, "http://elsewhere:81").await.unwrap();
    assert!(model.miners.get(&old, fid, fragments[4].0, 0..1).await.is_err());
    assert!(get(4).await.is_ok());
    let listed = model.owner.miners().await.unwrap();
    assert!(listed.iter().any(|miner| miner.addr == model.miners.addr(4)));
}
