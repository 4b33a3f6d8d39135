//! A network that outlives its gateway, and gateways that come and go on its disk.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gw_codec::erasure::Code;
use gw_codec::hash::stripe_hashes;
use gw_codec::layout::{Segment, segment_range};
use gw_data::rows;
use gw_data::{
    Data, DataConfig, DataError, DataMap, DataPorts, LaneClass, MapRows, SegmentFiles, StagedBody,
};
use gw_db::{Db, DbConfig, DbPorts};
use gw_dispersal::{Dispersal, DispersalConfig, DispersalError, DispersalPorts, Restorable, RestorePorts};
use gw_sim::{
    FaultKeys, FaultStriper, ForgettingCatalog, ForgettingDisk, ModelChain, ModelMiners, Rng, SimClock,
};
use gw_tee::{Entropy, RootKey, RootKeys};
use gw_types::ports::{Clock, FileState, Keys, StripeHashes, Striper, WrappedBucketKey};
use gw_types::{
    AccountId, FRAGMENT_BYTES, FRAGMENTS, Fid, FragmentIndex, Level, Lsn, PortError, PortErrorKind,
    PortResult, SegmentSeq, StreamId, TerritoryName,
};
use parking_lot::Mutex;

pub const OWNER: AccountId = AccountId([1; 32]);
/// Fragments that each miner has room for.
const CAPACITY: u64 = 512 * FRAGMENT_BYTES;
/// How long a test may wait for anything, in simulated time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// The code on the calling thread, so that simulated time never jumps past its work.
#[derive(Debug)]
pub struct InlineStriper(Code);

fn refused(error: impl std::fmt::Display) -> PortError {
    PortError::definite(PortErrorKind::Refused, error.to_string())
}

#[async_trait]
impl Striper for InlineStriper {
    async fn hash(&self, segment: Bytes) -> PortResult<StripeHashes> {
        let whole = Segment::new(&segment).ok_or_else(|| refused("not a segment"))?;
        Ok(stripe_hashes(&self.0, whole))
    }
    async fn fragment(&self, segment: Bytes, index: FragmentIndex) -> PortResult<Bytes> {
        if let Some(range) = segment_range(index) {
            return Ok(segment.slice(range));
        }
        let whole = Segment::new(&segment).ok_or_else(|| refused("not a segment"))?;
        let mut out = vec![0; FRAGMENT_BYTES as usize];
        self.0.fragment(whole.data(), index, &mut out);
        Ok(out.into())
    }
    async fn rebuild(
        &self,
        columns: Vec<(FragmentIndex, Bytes)>,
        wanted: FragmentIndex,
    ) -> PortResult<Bytes> {
        let given: Vec<_> = columns.iter().map(|(index, bytes)| (*index, bytes.as_ref())).collect();
        let mut out = vec![0; given.first().map_or(0, |(_, bytes)| bytes.len())];
        self.0.rebuild(&given, wanted, &mut out).map_err(refused)?;
        Ok(out.into())
    }
}

/// Random bytes that are the same in every run.
#[derive(Debug)]
struct Seeded(Mutex<Rng>);

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) -> PortResult<()> {
        let bytes = self.0.lock().bytes(out.len());
        out.copy_from_slice(&bytes);
        Ok(())
    }
}

pub fn territory() -> TerritoryName {
    TerritoryName::new("default").unwrap()
}

/// What outlives a gateway.
pub struct World {
    pub clock: SimClock,
    pub chain: ModelChain,
    pub miners: ModelMiners,
    pub disk: ForgettingDisk,
    pub catalog: ForgettingCatalog,
    pub keys: Arc<dyn Keys>,
    /// The same, to be told how to misbehave.
    pub key_faults: FaultKeys,
    pub striper_faults: FaultStriper,
    pub bucket: WrappedBucketKey,
    pub config: DispersalConfig,
    pub data_config: DataConfig,
}

impl World {
    /// With a territory of 20 GiB.
    pub async fn new(miners: u8) -> Self {
        let world = Self::poor(miners).await;
        world.mint().await;
        world
    }

    /// Without a territory.
    pub async fn poor(miners: u8) -> Self {
        let clock = SimClock::default();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let chain = ModelChain::new(shared.clone());
        let miners = ModelMiners::new(&chain, shared.clone(), miners, CAPACITY);
        chain.fund(OWNER, u128::MAX / 2);
        let entropy = Seeded(Mutex::new(Rng::new(7)));
        let root = RootKey::generate_from(&entropy).unwrap();
        let root_keys = RootKeys::new(root, shared).with_entropy(Arc::new(entropy));
        let key_faults = FaultKeys::new(Arc::new(root_keys));
        let keys: Arc<dyn Keys> = Arc::new(key_faults.clone());
        let bucket = keys.new_bucket_key().await.unwrap();
        let mut config = DispersalConfig::new(territory());
        // Every call makes a block here, so blocks go by quickly.
        chain.set_mortality(64);
        config.lapse_blocks = 64;
        Self {
            clock,
            chain,
            miners,
            disk: ForgettingDisk::new(),
            catalog: ForgettingCatalog::new(),
            keys,
            key_faults,
            striper_faults: FaultStriper::new(Arc::new(InlineStriper(Code::detect()))),
            bucket,
            config,
            data_config: DataConfig::default(),
        }
    }

    pub async fn mint(&self) {
        self.run(self.chain.owner(OWNER).mint_territory(&territory(), 20, 365)).await.unwrap();
    }

    /// The same network, seen from another machine.
    pub fn elsewhere(&self) -> Self {
        Self {
            clock: self.clock.clone(),
            chain: self.chain.clone(),
            miners: self.miners.clone(),
            disk: ForgettingDisk::new(),
            catalog: ForgettingCatalog::new(),
            keys: self.keys.clone(),
            key_faults: self.key_faults.clone(),
            striper_faults: self.striper_faults.clone(),
            bucket: self.bucket.clone(),
            config: self.config.clone(),
            data_config: self.data_config.clone(),
        }
    }

    /// The same network, with what a power cut now might leave of the disk.
    pub fn power_cut(&self, seed: u64) -> Self {
        Self { disk: self.disk.power_cut(seed), catalog: self.catalog.power_cut(seed), ..self.elsewhere() }
    }

    /// The same network and disk after the process was killed. Tasks of the killed one may go on here
    /// for a moment; they write to the disk that is left behind.
    pub fn killed(&self, seed: u64) -> Self {
        Self { disk: self.disk.copy(), catalog: self.catalog.power_cut(seed), ..self.elsewhere() }
    }

    /// Lets simulated time pass until it is done.
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let limited = async {
            tokio::select! {
                biased;
                value = future => Some(value),
                () = self.clock.sleep(PATIENCE) => None,
            }
        };
        self.clock.run_until(limited).await.expect("this takes too long")
    }

    pub async fn seconds(&self, seconds: u64) {
        self.clock.run_for(Duration::from_secs(seconds)).await;
    }

    /// Seconds since the start.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_secs()
    }

    /// To be raced with something else.
    pub async fn sleep(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    fn striper(&self) -> Arc<dyn Striper> {
        Arc::new(self.striper_faults.clone())
    }

    async fn db(&self) -> Result<(Arc<Db>, Arc<SegmentFiles>), gw_db::DbError> {
        let files = SegmentFiles::new(Arc::new(self.disk.clone()));
        let ports = DbPorts {
            disk: Arc::new(self.disk.clone()),
            catalog: Arc::new(self.catalog.clone()),
            clock: self.shared_clock(),
            sink: files.clone(),
        };
        Ok((Db::open(ports, DbConfig::default()).await?, files))
    }

    pub async fn try_open(&self) -> Result<Gateway, DispersalError> {
        let (db, files) = self.db().await?;
        let (miners, striper) = (Arc::new(self.miners.clone()), self.striper());
        let data_ports = DataPorts {
            db: db.clone(),
            files,
            keys: self.keys.clone(),
            miners: miners.clone(),
            striper: striper.clone(),
            clock: self.shared_clock(),
        };
        let data = Data::open(data_ports, self.data_config.clone()).await?;
        let chain = self.chain.owner(OWNER);
        let ports = DispersalPorts {
            db: db.clone(),
            data: data.clone(),
            maps: Arc::new(NamedMaps),
            chain: chain.clone(),
            miners,
            striper,
            keys: self.keys.clone(),
            clock: self.shared_clock(),
        };
        let dispersal = Dispersal::start(ports, self.config.clone())?;
        Ok(Gateway { clock: self.clock.clone(), bucket: self.bucket.clone(), db, data, dispersal })
    }

    pub async fn open(&self) -> Gateway {
        self.run(self.try_open()).await.unwrap()
    }

    pub async fn restorable(&self) -> Restorable {
        let ports = RestorePorts {
            chain: self.chain.owner(OWNER),
            miners: Arc::new(self.miners.clone()),
            keys: self.keys.clone(),
            striper: self.striper(),
        };
        self.run(Restorable::read(&ports)).await.unwrap()
    }

    /// Restores onto this world's empty disk and opens.
    pub async fn restore(&self) -> Gateway {
        let found = self.restorable().await;
        let (db, _) = self.db().await.unwrap();
        let lsn = found.lsn;
        assert_eq!(self.run(found.write(&db, self.clock.now())).await.unwrap(), lsn);
        assert_eq!(db.appended(), lsn, "the log goes on behind it");
        db.close().await.unwrap();
        drop(db);
        self.open().await
    }

    /// All our files on chain.
    pub fn files(&self) -> BTreeMap<Fid, FileState> {
        let fids = self.chain.files(OWNER).into_iter().map(|held| held.fid);
        fids.map(|fid| (fid, self.chain.file(fid, OWNER).unwrap())).collect()
    }

    /// What must be true whenever everything is quiet and finalized.
    pub fn check_chain(&self) {
        assert!(self.chain.open_deals().is_empty(), "no deal is left open");
        for (fid, count) in self.chain.declarations() {
            assert_eq!(count, 1, "{fid} was declared {count} times");
        }
        for (fid, file) in self.files() {
            for segment in &file.segments {
                let mut holders: Vec<_> = segment.fragments.iter().map(|fragment| fragment.miner).collect();
                holders.sort();
                holders.dedup();
                assert_eq!(holders.len(), FRAGMENTS, "{fid}");
                for (index, fragment) in segment.fragments.iter().enumerate() {
                    let number =
                        (0..64).find(|number| ModelMiners::account(*number) == fragment.miner).unwrap();
                    assert!(self.miners.holds(number, &fragment.hash), "{fid} column {index} miner {number}");
                }
            }
        }
    }
}

/// A running gateway.
pub struct Gateway {
    clock: SimClock,
    bucket: WrappedBucketKey,
    pub db: Arc<Db>,
    pub data: Arc<Data>,
    pub dispersal: Arc<Dispersal>,
}

/// Bytes that differ at every place and from body to body.
pub fn sample(seed: u64, len: usize) -> Bytes {
    Rng::new(seed).bytes(len).into()
}

fn key(name: &str) -> Vec<u8> {
    let mut key = vec![0x10];
    key.extend_from_slice(name.as_bytes());
    key
}

fn decoded(value: &[u8]) -> DataMap {
    postcard::from_bytes(value).unwrap()
}

/// Knows the rows of [`Gateway::put`].
#[derive(Debug)]
struct NamedMaps;

impl MapRows for NamedMaps {
    fn tables(&self) -> &[u8] {
        &[0x10]
    }
    fn maps(&self, _key: &[u8], value: &[u8]) -> Result<Vec<DataMap>, DataError> {
        Ok(vec![decoded(value)])
    }
}

impl Gateway {
    pub async fn stage(&self, body: &Bytes) -> Result<StagedBody, DataError> {
        self.stage_in(StreamId(0), body).await
    }

    async fn stage_in(&self, stream: StreamId, body: &Bytes) -> Result<StagedBody, DataError> {
        let len = Some(body.len() as u64);
        let mut writer = self.data.begin_in(LaneClass::Bulk, stream, &self.bucket, len, None)?;
        for part in body.chunks(100_000) {
            writer.write(body.slice_ref(part)).await?;
        }
        writer.finish().await
    }

    /// Stores a body under a name, replacing what is there, and waits until it is staged.
    pub async fn try_put(&self, name: &str, body: &Bytes) -> Result<Lsn, DataError> {
        let staged = self.stage(body).await?;
        let committed = self.db.transact(|txn| {
            if let Some(old) = txn.get(&key(name))? {
                decoded(&old).release(txn)?;
            }
            let map = staged.attach(txn)?;
            txn.put(key(name), postcard::to_stdvec(&map).unwrap());
            Ok::<_, DataError>(())
        })?;
        self.db.wait_staged(committed.lsn).await?;
        Ok(committed.lsn)
    }

    pub async fn put(&self, name: &str, body: &Bytes) -> Lsn {
        self.clock.run_until(self.try_put(name, body)).await.unwrap()
    }

    /// Stores a body under a name in a stream of its own.
    pub async fn put_in(&self, stream: StreamId, name: &str, body: &Bytes) -> Lsn {
        let put = async {
            let staged = self.stage_in(stream, body).await?;
            let committed = self.db.transact(|txn| {
                if let Some(old) = txn.get(&key(name))? {
                    decoded(&old).release(txn)?;
                }
                let map = staged.attach(txn)?;
                txn.put(key(name), postcard::to_stdvec(&map).unwrap());
                Ok::<_, DataError>(())
            })?;
            self.db.wait_staged(committed.lsn).await?;
            Ok::<_, DataError>(committed.lsn)
        };
        self.clock.run_until(put).await.unwrap()
    }

    /// Puts what a name shows under another name, too, in a stream: a commit of both.
    pub fn share(&self, stream: StreamId, from: &str, to: &str) -> Lsn {
        let committed = self.db.transact(|txn| {
            let map = decoded(&txn.get(&key(from))?.expect("it is there"));
            let shared = map.share(txn, 0..map.len)?;
            txn.stream(stream);
            txn.put(key(to), postcard::to_stdvec(&shared).unwrap());
            Ok::<_, DataError>(())
        });
        committed.unwrap().lsn
    }

    /// Deletes what is under a name, if anything is, and waits until that is staged.
    pub async fn try_delete(&self, name: &str) -> Result<Lsn, DataError> {
        let committed = self.db.transact(|txn| {
            if let Some(old) = txn.get(&key(name))? {
                decoded(&old).release(txn)?;
                txn.delete(key(name));
            }
            Ok::<_, DataError>(())
        })?;
        self.db.wait_staged(committed.lsn).await?;
        Ok(committed.lsn)
    }

    pub async fn delete(&self, name: &str) -> Lsn {
        assert!(self.map(name).is_some(), "{name} is not there");
        self.clock.run_until(self.try_delete(name)).await.unwrap()
    }

    /// Writes a row without bytes.
    pub fn put_row(&self, table: u8, name: &str, value: &str) {
        let mut key = vec![table];
        key.extend_from_slice(name.as_bytes());
        self.db
            .transact(|txn| {
                txn.put(key, value.into());
                Ok::<_, DataError>(())
            })
            .unwrap();
    }

    pub fn map(&self, name: &str) -> Option<DataMap> {
        self.db.snapshot().get(&key(name)).unwrap().map(|value| decoded(&value))
    }

    pub async fn read(&self, name: &str) -> Bytes {
        let map = Arc::new(self.map(name).unwrap());
        let range: Range<u64> = 0..map.len;
        let mut reader = self.data.read(map, self.bucket.clone(), range);
        let read = async {
            let mut out = Vec::new();
            while let Some(bytes) = reader.next().await {
                out.extend_from_slice(&bytes.unwrap());
            }
            out.into()
        };
        self.clock.run_until(read).await
    }

    pub async fn flush(&self, level: Level) -> Lsn {
        let limited = async {
            tokio::select! {
                biased;
                flushed = self.dispersal.flush(level) => flushed,
                () = self.clock.sleep(PATIENCE) => panic!("not {level:?} in a day: {:?}", self.dispersal.status()),
            }
        };
        self.clock.run_until(limited).await.unwrap()
    }

    /// Rows that the store would have: tables 0x10 to 0x3F.
    pub fn namespace(&self) -> BTreeMap<Bytes, Bytes> {
        self.db.snapshot().scan(&[0x10], &[0x40], false, usize::MAX).unwrap().into_iter().collect()
    }

    pub fn segments(&self) -> Vec<(SegmentSeq, rows::SegmentRow)> {
        rows::segments(&self.db.snapshot(), SegmentSeq(0), 10_000).unwrap()
    }

    pub fn waiting_for(&self) -> String {
        self.dispersal.status().waiting_for.unwrap_or_default()
    }

    /// The process is killed: nothing more is done.
    pub fn kill(self) {
        drop(self);
    }

    pub async fn close(self) {
        let Self { clock, db, data, dispersal, .. } = self;
        clock.run_until(dispersal.stop()).await;
        drop((dispersal, data));
        clock.run_until(db.close()).await.unwrap();
    }
}
