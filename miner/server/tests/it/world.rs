//! A chain that is told what to say, a clock that is moved by hand, and requests written by hand.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cess_miner::{Miner, MinerConfig, RunningMiner};
use futures::future::{Either, select};
use gw_miner_client::conformance::segment_with;
use gw_miner_client::{HttpMiners, HttpMinersConfig, ReadKey};
use gw_miner_wire::{Reply, boundary_for, closing, content_type, encode_account, opening};
use gw_types::ports::{
    Clock, DealState, DeclaredSegment, FileState, MinerAddr, MinerChain, MinerInfo, Miners, Receipt,
};
use gw_types::{
    AccountId, FRAGMENT_BYTES, Fid, FragmentIndex, Hash32, PortError, PortErrorKind, PortResult, Timestamp,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub(crate) const ME: AccountId = AccountId([0x21; 32]);

/// Time stands still until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(watch::Sender<Duration>);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Duration::from_secs(1))))
    }
    pub(crate) fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
    /// Moves time in steps until `work` is done.
    pub(crate) async fn advance_until<T>(&self, step: Duration, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            match select(work.as_mut(), pin!(yields(50))).await {
                Either::Left((done, _)) => return done,
                Either::Right(_) => self.advance(step),
            }
        }
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000_000_000 + self.elapsed().as_nanos() as i64)
    }
    fn elapsed(&self) -> Duration {
        *self.0.borrow()
    }
    async fn sleep(&self, duration: Duration) {
        let until = self.elapsed() + duration;
        let _ = self.0.subscribe().wait_for(|now| *now >= until).await;
    }
}

async fn yields(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// Waits, without sleeping, until something is so; 30 real seconds at most.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{what}");
}

/// What the chain does with reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Nothing can be asked.
    Away,
    /// Reports are refused.
    Refusing,
    /// Reports arrive, their replies do not.
    LosingReplies,
}

#[derive(Debug, Default)]
pub(crate) struct ChainState {
    pub(crate) deals: HashMap<Fid, DealState>,
    pub(crate) files: HashMap<Fid, FileState>,
    pub(crate) reports: Vec<(Fid, u8)>,
    pub(crate) attempts: u32,
    pub(crate) questions: u32,
    pub(crate) mood: Mood,
}

#[derive(Debug, Default)]
pub(crate) struct FakeChain(pub(crate) Mutex<ChainState>);

impl FakeChain {
    pub(crate) fn declare(&self, fid: Fid, segments: Vec<DeclaredSegment>) {
        self.0.lock().deals.insert(fid, DealState { complete: Vec::new(), segments });
    }
    pub(crate) fn set_mood(&self, mood: Mood) {
        self.0.lock().mood = mood;
    }
    fn ask<T>(&self, answer: impl FnOnce(&ChainState) -> T) -> PortResult<T> {
        let mut state = self.0.lock();
        state.questions += 1;
        if state.mood == Mood::Away {
            return Err(PortError::definite(PortErrorKind::Unavailable, "no chain"));
        }
        Ok(answer(&state))
    }
}

#[async_trait]
impl MinerChain for FakeChain {
    fn account(&self) -> AccountId {
        ME
    }
    async fn deal(&self, fid: Fid) -> PortResult<Option<DealState>> {
        self.ask(|state| state.deals.get(&fid).cloned())
    }
    async fn file(&self, fid: Fid) -> PortResult<Option<FileState>> {
        self.ask(|state| state.files.get(&fid).cloned())
    }
    async fn registered(&self) -> PortResult<Option<MinerInfo>> {
        let addr = MinerAddr { account: ME, endpoint: String::new() };
        self.ask(|_| Some(MinerInfo { addr, state: "positive".to_owned(), idle: 0 }))
    }
    async fn report(&self, fid: Fid, index: FragmentIndex) -> PortResult<Receipt> {
        let mut state = self.0.lock();
        state.attempts += 1;
        match state.mood {
            Mood::Away => return Err(PortError::definite(PortErrorKind::Unavailable, "no chain")),
            Mood::Refusing => return Err(PortError::definite(PortErrorKind::Refused, "Existed")),
            Mood::Well | Mood::LosingReplies => {}
        }
        state.reports.push((fid, index.on_chain()));
        let Some(deal) = state.deals.get_mut(&fid) else {
            return Err(PortError::definite(PortErrorKind::Refused, "no such deal"));
        };
        deal.complete.push((index, ME));
        if state.mood == Mood::LosingReplies {
            return Err(PortError::unknown(PortErrorKind::Unavailable, "the connection broke"));
        }
        Ok(Receipt { block: 7, block_hash: Hash32([7; 32]), fee: 0 })
    }
    async fn update_endpoint(&self, _: &str) -> PortResult<Receipt> {
        Err(PortError::definite(PortErrorKind::Refused, "not asked for in these tests"))
    }
}

/// One miner with its surroundings.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) chain: Arc<FakeChain>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) miner: RunningMiner,
    pub(crate) client: Arc<HttpMiners>,
}

pub(crate) fn config(dir: &Path) -> MinerConfig {
    MinerConfig::new(dir, SocketAddr::from(([127, 0, 0, 1], 0)), 1 << 30)
}

pub(crate) fn client(clock: &Arc<HandClock>) -> Arc<HttpMiners> {
    Arc::new(HttpMiners::new(
        HttpMinersConfig::default(),
        ReadKey::from_seed(&[3; 32]),
        Arc::clone(clock) as _,
    ))
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }
    pub(crate) async fn start_with(change: impl FnOnce(&mut MinerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (chain, clock) = (Arc::new(FakeChain::default()), HandClock::new());
        let mut config = config(dir.path());
        change(&mut config);
        let miner = Miner::start(config, Arc::clone(&chain) as _, Arc::clone(&clock) as _).await.unwrap();
        let client = client(&clock);
        Self { dir, chain, clock, miner, client }
    }
    /// Stops the miner and starts another in its directory.
    pub(crate) async fn restart(self) -> Self {
        let Self { dir, chain, clock, miner, client } = self;
        miner.shutdown().await;
        let miner =
            Miner::start(config(dir.path()), Arc::clone(&chain) as _, Arc::clone(&clock) as _).await.unwrap();
        Self { dir, chain, clock, miner, client }
    }
    pub(crate) fn addr(&self) -> MinerAddr {
        MinerAddr { account: ME, endpoint: self.miner.endpoint() }
    }
    pub(crate) async fn put(&self, fid: Fid, fragment: Hash32, body: &Bytes) -> PortResult<()> {
        self.client.put(&self.addr(), fid, fragment, body.clone()).await
    }
    pub(crate) async fn get(&self, fid: Fid, fragment: Hash32) -> PortResult<Bytes> {
        self.client.get(&self.addr(), fid, fragment, 0..FRAGMENT_BYTES as u32).await
    }
    /// Declares a deal of one segment for each fragment, with the fragment in column 0.
    pub(crate) fn declare(&self, fid: Fid, fragments: &[Hash32]) {
        self.chain.declare(fid, fragments.iter().map(|fragment| segment_with(*fragment)).collect());
    }
    pub(crate) fn files_in(&self, folder: &str) -> usize {
        count_files(&self.dir.path().join(folder))
    }
}

pub(crate) fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

/// A request written by hand.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Raw {
    /// A signed request without a body.
    pub(crate) fn new(method: &'static str, fid: Fid, fragment: Hash32) -> Self {
        let key = ReadKey::from_seed(&[4; 32]);
        let headers = vec![
            ("Fid", fid.to_string()),
            ("Fragment", fragment.to_string()),
            ("Account", encode_account(&key.account())),
            ("Message", "hello".to_owned()),
            ("Signature", key.sign(b"hello")),
        ];
        Self { method, path: "/fragment", headers }
    }
    /// A put of a form with this content.
    pub(crate) fn put(fid: Fid, fragment: Hash32, content_len: usize) -> Self {
        let boundary = boundary_for(&fragment);
        let len = opening(&boundary).len() + content_len + closing(&boundary).len();
        Self::new("PUT", fid, fragment)
            .with("Content-Type", content_type(&boundary))
            .with("Content-Length", len.to_string())
    }
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name, value.into()));
        self
    }
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }
    pub(crate) async fn begin(&self, to: SocketAddr) -> RawExchange {
        let mut socket = TcpStream::connect(to).await.unwrap();
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: miner\r\nConnection: close\r\n", self.method, self.path);
        self.headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        socket.write_all((text + "\r\n").as_bytes()).await.unwrap();
        RawExchange(socket)
    }
    /// Sends head and body and reads the answer.
    pub(crate) async fn send(&self, to: SocketAddr, body: &[u8]) -> RawAnswer {
        let mut exchange = self.begin(to).await;
        exchange.write(body).await;
        exchange.answer().await
    }
}

/// A form around the content.
pub(crate) fn form(fragment: Hash32, content: &[u8]) -> Vec<u8> {
    let boundary = boundary_for(&fragment);
    [&opening(&boundary)[..], content, &closing(&boundary)].concat()
}

pub(crate) struct RawExchange(TcpStream);

impl RawExchange {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // A miner may close before it has read everything; its answer counts.
        let _ = self.0.write_all(bytes).await;
    }
    pub(crate) async fn answer(mut self) -> RawAnswer {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes).await;
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has headers");
        let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        RawAnswer { status, head, body: bytes.split_off(at + 4) }
    }
}

#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl RawAnswer {
    /// The JSON code, which must be the HTTP status too, and the message.
    #[track_caller]
    pub(crate) fn reply(&self) -> (u16, String) {
        let reply: Reply<()> = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(reply.code, i64::from(self.status), "both numbers agree");
        (self.status, reply.msg)
    }
}
