//! A whole small world: forgetting disk, real database, real keys, twelve miners in memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_codec::erasure::Code;
use gw_codec::hash::fragment_hash;
use gw_data::rows::{self, DealRow, DealState, SegmentState, StripeRow};
use gw_data::{BodyKey, Data, DataConfig, DataError, DataMap, DataPorts, LaneClass, MapRows, SegmentFiles};
use gw_db::{Db, DbConfig, DbPorts};
use gw_sim::{FaultKeys, FaultStriper, ForgettingCatalog, ForgettingDisk, SimClock};
use gw_tee::{RootKey, RootKeys};
use gw_types::ports::{
    Clock, Disk, Keys, MinerAddr, MinerLatency, MinerStatus, Miners, StripeHashes, Striper, WrappedBucketKey,
};
use gw_types::{
    AccountId, DATA_FRAGMENTS, FRAGMENT_BYTES, FRAGMENTS, Fid, FragmentIndex, Hash32, PARITY_FRAGMENTS,
    PortError, PortErrorKind, PortResult, SegmentSeq, StreamId, TerritoryName, Timestamp,
};
use parking_lot::Mutex;

/// Bytes that differ at every place and from body to body.
pub fn sample(seed: u64, len: usize) -> Bytes {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

/// The code on the calling thread, so that simulated time never jumps past its work.
#[derive(Debug)]
pub struct InlineStriper(Code);

#[async_trait]
impl Striper for InlineStriper {
    async fn hash(&self, _segment: Bytes) -> PortResult<StripeHashes> {
        Err(PortError::definite(PortErrorKind::Refused, "these tests need no hashes"))
    }
    async fn fragment(&self, _segment: Bytes, _index: FragmentIndex) -> PortResult<Bytes> {
        Err(PortError::definite(PortErrorKind::Refused, "the model miners encode for themselves"))
    }
    async fn rebuild(
        &self,
        columns: Vec<(FragmentIndex, Bytes)>,
        wanted: FragmentIndex,
    ) -> PortResult<Bytes> {
        let given: Vec<_> = columns.iter().map(|(index, bytes)| (*index, bytes.as_ref())).collect();
        let mut out = vec![0; given.first().map_or(0, |(_, bytes)| bytes.len())];
        self.0
            .rebuild(&given, wanted, &mut out)
            .map_err(|error| PortError::definite(PortErrorKind::Refused, error.to_string()))?;
        Ok(out.into())
    }
}

/// How a miner misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Down,
    Missing,
    Lying,
    Short,
    Slow(Duration),
    /// Never answers.
    Mute,
}

/// Miners that hold what they were given, with faults.
#[derive(Debug)]
pub struct TestMiners {
    clock: SimClock,
    state: Mutex<MinersState>,
}

#[derive(Debug, Default)]
struct MinersState {
    fragments: HashMap<Hash32, Bytes>,
    faults: HashMap<AccountId, Fault>,
    asked: HashMap<AccountId, u64>,
    latency: Option<MinerLatency>,
}

pub fn account(index: usize) -> AccountId {
    AccountId([index as u8 + 1; 32])
}

impl TestMiners {
    pub fn fault(&self, index: usize, fault: Option<Fault>) {
        let mut state = self.state.lock();
        match fault {
            Some(fault) => state.faults.insert(account(index), fault),
            None => state.faults.remove(&account(index)),
        };
    }
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }
    /// Requests since the last call.
    pub fn asked(&self) -> HashMap<AccountId, u64> {
        std::mem::take(&mut self.state.lock().asked)
    }
    pub fn p95(&self, p95: Duration) {
        self.state.lock().latency = Some(MinerLatency { p50: p95 / 2, p95, error_rate: 0.0 });
    }
}

#[async_trait]
impl Miners for TestMiners {
    async fn put(&self, _miner: &MinerAddr, _fid: Fid, fragment: Hash32, body: Bytes) -> PortResult<()> {
        self.state.lock().fragments.insert(fragment, body);
        Ok(())
    }
    async fn get(
        &self,
        miner: &MinerAddr,
        _fid: Fid,
        fragment: Hash32,
        range: Range<u32>,
    ) -> PortResult<Bytes> {
        let fault = {
            let mut state = self.state.lock();
            *state.asked.entry(miner.account).or_default() += 1;
            state.faults.get(&miner.account).copied()
        };
        match fault {
            Some(Fault::Slow(time)) => self.clock.sleep(time).await,
            Some(Fault::Mute) => std::future::pending().await,
            Some(Fault::Down) => {
                return Err(PortError::definite(PortErrorKind::Unavailable, "connection refused"));
            }
            Some(Fault::Missing) => {
                return Err(PortError::definite(PortErrorKind::NotFound, "no such fragment"));
            }
            _ => {}
        }
        let bytes = self.state.lock().fragments.get(&fragment).cloned();
        let bytes = bytes.ok_or_else(|| PortError::definite(PortErrorKind::NotFound, "no such fragment"))?;
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        Ok(match fault {
            Some(Fault::Lying) => {
                let mut lie = bytes.to_vec();
                let at = usize::from(miner.account.0[0]) * 7 % lie.len();
                lie[at] ^= 0x40;
                lie.into()
            }
            Some(Fault::Short) => bytes.slice(1..),
            _ => bytes,
        })
    }
    async fn probe(&self, _miner: &MinerAddr) -> PortResult<MinerStatus> {
        Ok(MinerStatus { free_bytes: u64::MAX, round_trip: Duration::from_millis(1) })
    }
    fn latency(&self, _miner: &AccountId) -> Option<MinerLatency> {
        self.state.lock().latency
    }
}

/// Knows the rows of [`World::put`].
#[derive(Debug)]
pub struct NamedMaps;

impl MapRows for NamedMaps {
    fn tables(&self) -> &[u8] {
        &[0x10]
    }
    fn maps(&self, _key: &[u8], value: &[u8]) -> Result<Vec<DataMap>, DataError> {
        Ok(vec![postcard_decode(value)])
    }
}

pub struct World {
    pub disk: ForgettingDisk,
    pub catalog: ForgettingCatalog,
    pub clock: SimClock,
    pub keys: Arc<dyn Keys>,
    /// The same, to be told how to misbehave.
    pub key_faults: FaultKeys,
    pub striper_faults: FaultStriper,
    pub miners: Arc<TestMiners>,
    pub config: DataConfig,
    pub db: Arc<Db>,
    pub data: Arc<Data>,
    pub bucket: WrappedBucketKey,
}

impl World {
    pub async fn new() -> Self {
        Self::with(DataConfig::default()).await
    }

    pub async fn with(config: DataConfig) -> Self {
        let disk = ForgettingDisk::new();
        Self::on(Arc::new(disk.clone()), disk, config).await
    }

    /// `ports_disk` is what the program sees: `disk`, or a wrapper of it.
    pub async fn on(ports_disk: Arc<dyn Disk>, disk: ForgettingDisk, config: DataConfig) -> Self {
        let clock = SimClock::default();
        let root = RootKeys::new(RootKey::generate().unwrap(), Arc::new(clock.clone()));
        let key_faults = FaultKeys::new(Arc::new(root));
        let striper_faults = FaultStriper::new(Arc::new(InlineStriper(Code::detect())));
        let keys: Arc<dyn Keys> = Arc::new(key_faults.clone());
        let bucket = keys.new_bucket_key().await.unwrap();
        let miners = Arc::new(TestMiners { clock: clock.clone(), state: Mutex::default() });
        let catalog = ForgettingCatalog::new();
        let (db, data) = open(ports_disk, &catalog, &clock, (&keys, &striper_faults), &miners, &config).await;
        Self { disk, catalog, clock, keys, key_faults, striper_faults, miners, config, db, data, bucket }
    }

    /// Opens again on what is on this disk now.
    pub async fn reopened(self) -> Self {
        let Self { disk, catalog, clock, keys, key_faults, striper_faults, miners, config, db, data, bucket } =
            self;
        drop(data);
        db.close().await.unwrap();
        drop(db);
        let (db, data) =
            open(Arc::new(disk.clone()), &catalog, &clock, (&keys, &striper_faults), &miners, &config).await;
        Self { disk, catalog, clock, keys, key_faults, striper_faults, miners, config, db, data, bucket }
    }

    /// Another world on what a power cut now might leave.
    pub async fn power_cut(&self, seed: u64) -> Self {
        let (disk, catalog) = (self.disk.power_cut(seed), self.catalog.power_cut(seed));
        let (clock, keys, miners) = (self.clock.clone(), self.keys.clone(), self.miners.clone());
        let (db, data) = open(
            Arc::new(disk.clone()),
            &catalog,
            &clock,
            (&keys, &self.striper_faults),
            &miners,
            &self.config,
        )
        .await;
        Self {
            disk,
            catalog,
            clock,
            keys,
            key_faults: self.key_faults.clone(),
            striper_faults: self.striper_faults.clone(),
            miners,
            config: self.config.clone(),
            db,
            data,
            bucket: self.bucket.clone(),
        }
    }

    /// Writes, commits under `name` and waits until it is staged.
    pub async fn put(&self, name: &str, body: Bytes) -> DataMap {
        self.put_keyed(name, body, None).await.unwrap()
    }

    pub async fn put_keyed(
        &self,
        name: &str,
        body: Bytes,
        key: Option<BodyKey>,
    ) -> Result<DataMap, DataError> {
        let hint = Some(body.len() as u64);
        let mut writer = self.data.begin_in(LaneClass::Bulk, StreamId(0), &self.bucket, hint, key)?;
        for part in body.chunks(300_000) {
            writer.write(body.slice_ref(part)).await?;
        }
        let staged = writer.finish().await?;
        let committed = self.db.transact(|txn| {
            let map = staged.attach(txn)?;
            txn.put(row(name), rows_encode(&map));
            Ok::<_, DataError>(map)
        })?;
        self.db.wait_staged(committed.lsn).await?;
        Ok(committed.value)
    }

    /// The map under a name.
    pub fn map(&self, name: &str) -> Option<DataMap> {
        let value = self.db.snapshot().get(&row(name)).unwrap()?;
        Some(postcard_decode(&value))
    }

    pub fn delete(&self, name: &str) {
        let map = self.map(name).unwrap();
        self.db
            .transact(|txn| {
                txn.delete(row(name));
                map.release(txn)
            })
            .unwrap();
    }

    pub async fn read(&self, map: &DataMap, range: Range<u64>) -> Result<Vec<u8>, DataError> {
        let mut reader = self.data.read(Arc::new(map.clone()), self.bucket.clone(), range);
        let mut out = Vec::new();
        while let Some(bytes) = reader.next().await {
            let bytes = bytes?;
            assert!(!bytes.is_empty());
            out.extend_from_slice(&bytes);
        }
        assert!(reader.next().await.is_none());
        Ok(out)
    }

    pub async fn check(&self, map: &DataMap, body: &Bytes, range: Range<u64>) {
        let got = self.read(map, range.clone()).await.unwrap();
        assert!(
            got == body[range.start as usize..range.end as usize],
            "bytes {range:?} are not what was written"
        );
    }

    pub fn row(&self, seq: SegmentSeq) -> rows::SegmentRow {
        rows::segment(&self.db.snapshot(), seq).unwrap().unwrap()
    }

    pub fn rows(&self) -> Vec<(SegmentSeq, rows::SegmentRow)> {
        rows::segments(&self.db.snapshot(), SegmentSeq(0), 1000).unwrap()
    }

    pub fn files(&self) -> Vec<String> {
        self.disk.list("segments").unwrap().into_iter().map(|entry| entry.name).collect()
    }

    /// Seals everything, gives it to the twelve miners in one deal for each segment, and marks it final.
    pub async fn disperse_all(&self) -> Vec<SegmentSeq> {
        let open = self.data.sealable(Duration::ZERO).unwrap();
        for seq in &open {
            assert!(self.data.seal(*seq).await.unwrap());
        }
        for seq in &open {
            self.disperse(*seq).await;
        }
        open
    }

    pub async fn disperse(&self, seq: SegmentSeq) {
        let segment = self.data.segment_bytes(seq).await.unwrap();
        let fragment = FRAGMENT_BYTES as usize;
        let data: [&[u8]; DATA_FRAGMENTS] =
            std::array::from_fn(|at| &segment[at * fragment..(at + 1) * fragment]);
        let mut parity = vec![vec![0; fragment]; PARITY_FRAGMENTS];
        let mut rows_of = parity.iter_mut();
        Code::detect().encode(data, std::array::from_fn(|_| rows_of.next().unwrap().as_mut_slice()));
        let fid = Fid(Hash32([seq.0 as u8; 32]));
        let mut hashes = [Hash32([0; 32]); FRAGMENTS];
        let miner =
            |index: usize| MinerAddr { account: account(index), endpoint: format!("http://m{index}") };
        for (index, hash) in hashes.iter_mut().enumerate() {
            let body = match index.checked_sub(DATA_FRAGMENTS) {
                None => segment.slice(index * fragment..(index + 1) * fragment),
                Some(row) => Bytes::from(std::mem::take(&mut parity[row])),
            };
            *hash = fragment_hash(&body);
            self.miners.put(&miner(index), fid, *hash, body).await.unwrap();
        }
        let deal = DealRow {
            segments: vec![seq],
            miners: std::array::from_fn(miner),
            state: DealState::Active,
            territory: TerritoryName::new("t").unwrap(),
            file_name: "deal".into(),
            declared_at: Timestamp(0),
        };
        self.db
            .transact(|txn| {
                let mut row = rows::segment(txn, seq)?.unwrap();
                assert_eq!(row.state, SegmentState::Sealed);
                row.state = SegmentState::Finalized;
                row.stripe = Some(StripeRow { segment: Hash32([98; 32]), fragments: hashes });
                row.deal = Some((fid, 0));
                rows::put_segment(txn, seq, &row)?;
                rows::put_deal(txn, fid, &deal);
                Ok::<_, DataError>(())
            })
            .unwrap();
    }

    /// Disperses everything and removes every local file.
    pub async fn disperse_and_evict(&self) {
        for seq in self.disperse_all().await {
            assert!(self.data.evict(seq).await.unwrap());
        }
        assert!(self.files().is_empty());
    }
}

async fn open(
    disk: Arc<dyn Disk>,
    catalog: &ForgettingCatalog,
    clock: &SimClock,
    (keys, striper): (&Arc<dyn Keys>, &FaultStriper),
    miners: &Arc<TestMiners>,
    config: &DataConfig,
) -> (Arc<Db>, Arc<Data>) {
    let files = SegmentFiles::new(disk.clone());
    let clock = Arc::new(clock.clone());
    let ports =
        DbPorts { disk, catalog: Arc::new(catalog.clone()), clock: clock.clone(), sink: files.clone() };
    let db = Db::open(ports, DbConfig::default()).await.unwrap();
    let ports = DataPorts {
        db: db.clone(),
        files,
        keys: keys.clone(),
        miners: miners.clone(),
        striper: Arc::new(striper.clone()),
        clock,
    };
    let data = Data::open(ports, config.clone()).await.unwrap();
    (db, data)
}

fn row(name: &str) -> Vec<u8> {
    [&[0x10], name.as_bytes()].concat()
}

fn rows_encode(map: &DataMap) -> Vec<u8> {
    postcard::to_stdvec(map).unwrap()
}

fn postcard_decode(bytes: &[u8]) -> DataMap {
    postcard::from_bytes(bytes).unwrap()
}
