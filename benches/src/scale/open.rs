//! The later children: they open what is there, look rows up, scan, and say how long it took.

use std::sync::Arc;
use std::time::Instant;

use gw_clock::SystemClock;
use gw_db::catalog::open_engine;
use gw_db::{Db, DbConfig, DbPorts, NoInlines};
use gw_types::Lsn;

use super::cli::ChildArgs;
use super::report::{Opened, Said, Times};
use super::world::MeteredDisk;
use super::{Error, Result};
use crate::s3load::histogram::Histogram;
use crate::s3load::process;
use crate::s3load::units::Chance;

/// Rows looked up.
const GETS: u64 = 20_000;
/// Scans.
const SCANS: u64 = 200;
/// Rows of a scan.
const SCAN_ROWS: usize = 1000;
/// The table of inodes, one row an object (ARCHITECTURE.md, Tables).
const INODES: u8 = 0x18;
/// Rows counted at a time.
const COUNT_ROWS: usize = 1024;

/// Opens, looks, closes.
pub async fn open(args: &ChildArgs, mut say: impl FnMut(&Said) -> Result<()>) -> Result<()> {
    let started = Instant::now();
    let catalog = open_engine(args.engine, &args.folder)?;
    let engine_seconds = started.elapsed().as_secs_f64();
    let disk = Arc::new(MeteredDisk::new(&args.folder)?);
    let clock = Arc::new(SystemClock::new());
    let ports = DbPorts { disk, catalog, clock, sink: Arc::new(NoInlines) };
    let db = Db::open(ports, DbConfig::default()).await?;
    let seconds = started.elapsed().as_secs_f64();
    db.hold_records_after(Lsn(if args.keep_journal { 0 } else { u64::MAX }));
    let opened_rss = process::look(std::process::id()).unwrap_or_default();
    let replayed_rows = db.stats().overlay_rows;

    let keys = sample(&db).await?;
    let (first, again) = (gets(&db, &keys)?, gets(&db, &keys)?);
    let scan = scans(&db, &keys)?;
    let objects = count_inodes(&db)?;
    if objects < args.objects {
        return Err(Error::Wrong(format!(
            "{objects} inodes are there, of {} objects acknowledged",
            args.objects
        )));
    }
    let stats = db.stats();
    say(&Said::Opened(Opened {
        seconds,
        engine_seconds,
        replayed_rows,
        rss_bytes: opened_rss.rss_bytes,
        rss_peak_bytes: opened_rss.rss_peak_bytes,
        rss_read_bytes: process::look(std::process::id()).unwrap_or_default().rss_bytes,
        get_first: Times::of(&first),
        get_again: Times::of(&again),
        scan: Times::of(&scan),
        inodes: objects,
        catalog_bytes: stats.catalog_bytes,
    }))?;
    db.checkpoint().await?;
    Ok(db.close().await?)
}

/// Random keys that exist, taken from the runs so that the engine's caches stay cold.
async fn sample(db: &Db) -> Result<Vec<Vec<u8>>> {
    let mut rows = db.checkpoint_rows().await?;
    let total = db.stats().run_rows.max(1);
    let wanted = GETS.min(total);
    let mut chance = Chance::new(1);
    let mut keys = Vec::new();
    loop {
        let page = rows.rows(COUNT_ROWS).await?;
        if page.is_empty() {
            break;
        }
        keys.extend(page.into_iter().map(|(key, _)| key).filter(|_| chance.below(total) < wanted));
    }
    // In random order: neighbours are not looked up one after the other.
    for at in (1..keys.len()).rev() {
        keys.swap(at, chance.below(at as u64 + 1) as usize);
    }
    Ok(keys)
}

fn gets(db: &Arc<Db>, keys: &[Vec<u8>]) -> Result<Histogram> {
    let snapshot = db.snapshot();
    let mut times = Histogram::default();
    for key in keys {
        let started = Instant::now();
        let found = snapshot.get(key)?;
        times.add(started.elapsed());
        if found.is_none() && key.first() == Some(&INODES) {
            return Err(Error::Wrong(format!("the row {key:02x?} of a checkpoint is not in the database")));
        }
    }
    Ok(times)
}

fn scans(db: &Arc<Db>, keys: &[Vec<u8>]) -> Result<Histogram> {
    let snapshot = db.snapshot();
    let mut times = Histogram::default();
    for key in keys.iter().take(SCANS as usize) {
        let started = Instant::now();
        snapshot.scan(key, &[], false, SCAN_ROWS)?;
        times.add(started.elapsed());
    }
    Ok(times)
}

fn count_inodes(db: &Arc<Db>) -> Result<u64> {
    let snapshot = db.snapshot();
    let mut from = vec![INODES];
    let mut count = 0;
    loop {
        let rows = snapshot.scan(&from, &[INODES + 1], false, COUNT_ROWS)?;
        let Some((last, _)) = rows.last() else { return Ok(count) };
        from = last.to_vec();
        from.push(0);
        count += rows.len() as u64;
    }
}
