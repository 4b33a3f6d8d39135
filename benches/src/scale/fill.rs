//! The first child: it fills the store, says what that cost, and puts on until it is killed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gw_clock::SystemClock;
use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::open_engine;
use gw_db::{Db, DbConfig, DbPorts};
use gw_store::{BucketOptions, FinishOptions, PutOptions, Store, StoreConfig, StoreErrorKind, StorePorts};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::{Clock, Keys};
use gw_types::{Authenticated, BucketName, Frontend, Lsn, ObjectKey};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::cli::ChildArgs;
use super::lists::lists;
use super::report::{Filled, Progress, Said, Times};
use super::world::{MeteredDisk, NoMiners};
use super::{Error, Result};
use crate::s3load::histogram::Histogram;
use crate::s3load::process;
use crate::s3load::units::mix;

/// Directories that the objects are spread over.
pub const DIRECTORIES: u64 = 1000;
/// The bucket.
const BUCKET: &str = "scale";
/// Times that progress is told.
const TELLINGS: u64 = 20;
/// Objects put behind the last that counts: an unclean end comes in the middle of something.
const MORE: u64 = 1_000_000;

/// The name of an object: every one in a random place, so that no order helps the engine.
pub fn object_name(number: u64) -> String {
    let mixed = mix(number);
    format!("tenants/{:03}/documents/{mixed:016x}.json", mixed % DIRECTORIES)
}

/// The store, and what is measured of it.
pub struct World {
    pub store: Store,
    db: Arc<Db>,
    data: Arc<Data>,
    disk: Arc<MeteredDisk>,
    pub who: Authenticated,
    pub bucket: BucketName,
    /// A put holds it shared; who holds it alone has the store for itself.
    quiet: RwLock<()>,
}

impl World {
    async fn open(args: &ChildArgs) -> Result<Self> {
        let disk = Arc::new(MeteredDisk::new(&args.folder)?);
        let catalog = open_engine(args.engine, &args.folder)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let root = RootKey::generate().map_err(|error| Error::Wrong(error.to_string()))?;
        let keys: Arc<dyn Keys> = Arc::new(RootKeys::new(root, clock.clone()));
        let files = SegmentFiles::new(disk.clone());
        let ports = DbPorts { disk: disk.clone(), catalog, clock: clock.clone(), sink: files.clone() };
        let db = Db::open(ports, DbConfig::default()).await?;
        db.hold_records_after(Lsn(if args.keep_journal { 0 } else { u64::MAX }));
        let ports = DataPorts {
            db: db.clone(),
            files,
            keys: keys.clone(),
            miners: Arc::new(NoMiners),
            striper: Arc::new(LocalStriper::new(std::num::NonZeroUsize::MIN)),
            clock: clock.clone(),
        };
        // The figures are the database's: nothing waits for dispersal, and bodies are not kept.
        let config = DataConfig {
            staging_bytes_max: Some(u64::MAX / 4),
            cache_bytes_max: 1 << 20,
            ..DataConfig::default()
        };
        let data = Data::open(ports, config).await?;
        let ports = StorePorts { db: db.clone(), data: data.clone(), keys, clock, durability: None };
        let store = Store::open(ports, StoreConfig::default()).await?;
        let who = Authenticated::user("root", Frontend::Admin);
        let bucket = BucketName::new(BUCKET).map_err(|error| Error::Wrong(error.to_string()))?;
        store.bucket_create(&who, &bucket, BucketOptions::default()).await?;
        Ok(Self { store, db, data, disk, who, bucket, quiet: RwLock::new(()) })
    }

    /// Puts one object; says how often it was refused because the database was busy.
    async fn put(&self, number: u64, body: &Bytes) -> Result<u64> {
        let key = ObjectKey::new(object_name(number)).map_err(|error| Error::Wrong(error.to_string()))?;
        let _not_quiet = self.quiet.read().await;
        let mut refused = 0;
        loop {
            match self.try_put(&key, body).await {
                Ok(()) => return Ok(refused),
                Err(error) if error.kind() == StoreErrorKind::Busy => {
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_put(&self, key: &ObjectKey, body: &Bytes) -> gw_store::StoreResult<()> {
        let options = PutOptions { len_hint: Some(body.len() as u64), ..PutOptions::default() };
        let mut writer = self.store.put(&self.who, &self.bucket, key, options).await?;
        writer.write(body.clone()).await?;
        writer.finish(FinishOptions::default()).await.map(drop)
    }

    /// Full segments are sealed, as dispersal would have it.
    async fn seal_full(&self) -> Result<()> {
        for seq in self.data.sealable(Duration::MAX)? {
            self.data.seal(seq).await?;
        }
        Ok(())
    }
}

/// Puts that have been handed out and done.
#[derive(Debug, Default)]
struct Counts {
    next: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
    times: Mutex<Histogram>,
}

impl Counts {
    fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }
    fn times(&self) -> std::sync::MutexGuard<'_, Histogram> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until it is killed, or `MORE` objects after the last that counts.
pub async fn fill(args: &ChildArgs, mut say: impl FnMut(&Said) -> Result<()>) -> Result<()> {
    let world = Arc::new(World::open(args).await?);
    let counts = Arc::new(Counts::default());
    let body = Bytes::from(vec![b'x'; args.body_bytes]);
    let started = Instant::now();
    let mut writers = JoinSet::new();
    for _ in 0..args.writers {
        let (world, counts, body, end) = (world.clone(), counts.clone(), body.clone(), args.objects + MORE);
        writers.spawn(async move { write(&world, &counts, &body, end).await });
    }
    let step = (args.objects / TELLINGS).max(1);
    let mut told = 0;
    while counts.done() < args.objects {
        look_after(&mut writers).await?;
        if counts.done() / step > told / step {
            told = counts.done();
            world.seal_full().await?;
            say(&Said::Progress(progress(&world, &counts, started)))?;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let mut filled = filled(&world, &counts, seconds)?;
    // What the engine holds is told after a checkpoint, so that it is told of the same objects.
    world.db.checkpoint().await?;
    let (stats, done) = (world.db.stats(), counts.done());
    (filled.catalog_objects, filled.catalog_bytes) = (done, stats.catalog_bytes);
    (filled.runs, filled.run_bytes) = (stats.runs as u64, stats.run_bytes);
    filled.device_written_bytes = device_written()? * filled.objects / done;
    {
        let _quiet = world.quiet.write().await;
        filled.lists = lists(&world, args.objects).await?;
    }
    while counts.done() < done + args.objects / 50 {
        look_after(&mut writers).await?;
    }
    say(&Said::Filled(filled))?;
    while !writers.is_empty() {
        look_after(&mut writers).await?;
    }
    Ok(())
}

/// Waits a little; an error of a writer ends the fill.
async fn look_after(writers: &mut JoinSet<Result<()>>) -> Result<()> {
    match tokio::time::timeout(Duration::from_millis(20), writers.join_next()).await {
        Ok(Some(ended)) => ended.map_err(|error| Error::Wrong(error.to_string()))?,
        Ok(None) | Err(_) => Ok(()),
    }
}

async fn write(world: &World, counts: &Counts, body: &Bytes, end: u64) -> Result<()> {
    loop {
        let number = counts.next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok(());
        }
        let started = Instant::now();
        let refused = world.put(number, body).await?;
        counts.times().add(started.elapsed());
        counts.refused.fetch_add(refused, Ordering::Relaxed);
        counts.done.fetch_add(1, Ordering::Release);
    }
}

fn progress(world: &World, counts: &Counts, started: Instant) -> Progress {
    let stats = world.db.stats();
    let done = counts.done();
    Progress {
        objects: done,
        objects_per_second: done as f64 / started.elapsed().as_secs_f64(),
        rss_bytes: process::look(std::process::id()).unwrap_or_default().rss_bytes,
        overlay_bytes: stats.overlay_bytes,
        journal_bytes: stats.journal_bytes,
        runs: stats.runs as u64,
        catalog_bytes: stats.catalog_bytes,
        refused: counts.refused.load(Ordering::Relaxed),
    }
}

fn filled(world: &World, counts: &Counts, seconds: f64) -> Result<Filled> {
    let (stats, meter) = (world.db.stats(), world.disk.meter());
    let spent = process::look(std::process::id()).unwrap_or_default();
    Ok(Filled {
        objects: counts.done(),
        seconds,
        cpu_seconds: spent.cpu.as_secs_f64(),
        put: Times::of(&counts.times()),
        refused: counts.refused.load(Ordering::Relaxed),
        records_per_sync: stats.records as f64 / stats.syncs.max(1) as f64,
        rss_bytes: spent.rss_bytes,
        rss_peak_bytes: spent.rss_peak_bytes,
        journal_written_bytes: meter.journal.load(Ordering::Relaxed),
        runs_written_bytes: meter.runs.load(Ordering::Relaxed),
        body_written_bytes: meter.segments.load(Ordering::Relaxed),
        device_written_bytes: device_written()?,
        journal_bytes: stats.journal_bytes,
        ..Filled::default()
    })
}

/// Bytes that this process caused to be written to a device, those of files that were removed before
/// they got there left out (proc(5), /proc/pid/io).
fn device_written() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io").map_err(super::doing("read /proc/self/io"))?;
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(figure("write_bytes:").saturating_sub(figure("cancelled_write_bytes:")))
}
