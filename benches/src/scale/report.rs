//! What children say and what people read.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::s3load::histogram::Histogram;

/// One line of a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The fill goes on.
    Progress(Progress),
    /// The fill is done; the child goes on putting until it is killed.
    Filled(Filled),
    /// The store was opened and looked at.
    Opened(Opened),
}

/// The fill at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Objects staged.
    pub objects: u64,
    /// Since the beginning.
    pub objects_per_second: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Rows that are not in the engine yet.
    pub overlay_bytes: u64,
    /// Journal files.
    pub journal_bytes: u64,
    /// Local checkpoint runs.
    pub runs: u64,
    /// The engine's files.
    pub catalog_bytes: u64,
    /// PUTs refused as busy, and repeated.
    pub refused: u64,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// The longest.
    pub longest_us: f64,
}

impl Times {
    /// The figures of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        Self {
            count: histogram.count(),
            p50_us: us(histogram.quantile(0.5)),
            p99_us: us(histogram.quantile(0.99)),
            longest_us: us(histogram.longest()),
        }
    }
}

/// What a fill cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Filled {
    /// Objects staged.
    pub objects: u64,
    /// How long it took.
    pub seconds: f64,
    /// Processor time of the process.
    pub cpu_seconds: f64,
    /// PUTs, the wait for the journal included.
    pub put: Times,
    /// PUTs refused as busy, and repeated.
    pub refused: u64,
    /// Mean group of a journal sync.
    pub records_per_sync: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// The most it was.
    pub rss_peak_bytes: u64,
    /// Bytes written to journal files.
    pub journal_written_bytes: u64,
    /// Bytes written to local checkpoint runs, merges included.
    pub runs_written_bytes: u64,
    /// Sealed bodies, which were dropped.
    pub body_written_bytes: u64,
    /// Bytes that the process sent to the device.
    pub device_written_bytes: u64,
    /// Objects when the engine's files and the runs were measured, after a checkpoint.
    pub catalog_objects: u64,
    /// The engine's files then.
    pub catalog_bytes: u64,
    /// Local checkpoint runs then.
    pub runs: u64,
    /// Their bytes.
    pub run_bytes: u64,
    /// Bytes of journal that were kept at the end.
    pub journal_bytes: u64,
    /// Listings, in the same process after a checkpoint, while nobody writes.
    pub lists: Lists,
}

/// Pages of 1000 of three kinds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Lists {
    /// Keys from a random one on, without a delimiter.
    pub keys: Paged,
    /// A directory's files, by delimiter.
    pub directory: Paged,
    /// A thousand directories, by delimiter.
    pub directories: Paged,
}

/// One kind of page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Paged {
    /// Page by page.
    pub times: Times,
    /// Processor time of the process for a page, on average.
    pub cpu_us: f64,
    /// Entries and common prefixes of a page, on average.
    pub entries: f64,
}

impl Filled {
    /// What the engine wrote: all that was neither journal nor runs.
    pub fn engine_written_bytes(&self) -> u64 {
        self.device_written_bytes.saturating_sub(self.journal_written_bytes + self.runs_written_bytes)
    }
}

/// What an open found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Opened {
    /// Until commits are taken.
    pub seconds: f64,
    /// Of these, until the engine was open.
    pub engine_seconds: f64,
    /// Row versions replayed from the journal.
    pub replayed_rows: u64,
    /// Resident memory then.
    pub rss_bytes: u64,
    /// The most it was until then.
    pub rss_peak_bytes: u64,
    /// Resident memory after the reads below.
    pub rss_read_bytes: u64,
    /// Random rows, by key, for the first time.
    pub get_first: Times,
    /// The same rows again.
    pub get_again: Times,
    /// Scans of 1000 rows from random keys.
    pub scan: Times,
    /// Inodes that are there.
    pub inodes: u64,
    /// The engine's files.
    pub catalog_bytes: u64,
}

/// All about one engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Its name.
    pub engine: String,
    /// The fill.
    pub filled: Filled,
    /// After SIGKILL in the middle of PUTs.
    pub unclean: Opened,
    /// After a stop.
    pub clean: Opened,
    /// With the catalog's folder deleted.
    pub rebuilt: Opened,
}

/// The whole measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Objects put.
    pub objects: u64,
    /// Bytes of each.
    pub body_bytes: usize,
    /// Writers at a time.
    pub writers: usize,
    /// One for each engine.
    pub engines: Vec<Measured>,
}

const MIB: f64 = (1 << 20) as f64;

type Row = (&'static str, fn(&Measured) -> String);

const ROWS: &[Row] = &[
    ("fill: objects a second", |m| format!("{:.0}", m.filled.objects as f64 / m.filled.seconds)),
    ("fill: CPU an object", |m| format!("{:.0} us", m.filled.cpu_seconds * 1e6 / m.filled.objects as f64)),
    ("PUT p50 / p99 / longest", |m| {
        let ms = |us: f64| us / 1e3;
        let put = &m.filled.put;
        format!("{:.1} / {:.1} / {:.0} ms", ms(put.p50_us), ms(put.p99_us), ms(put.longest_us))
    }),
    ("PUTs refused as busy", |m| m.filled.refused.to_string()),
    ("resident after the fill (peak)", |m| {
        format!("{:.0} ({:.0}) MiB", m.filled.rss_bytes as f64 / MIB, m.filled.rss_peak_bytes as f64 / MIB)
    }),
    ("engine's files, an object", |m| kept(m, m.filled.catalog_bytes)),
    ("checkpoint runs, an object", |m| format!("{} in {}", kept(m, m.filled.run_bytes), m.filled.runs)),
    ("written by the engine, an object", |m| per_object(m, m.filled.engine_written_bytes())),
    ("written to runs, an object", |m| per_object(m, m.filled.runs_written_bytes)),
    ("written to the journal, an object", |m| per_object(m, m.filled.journal_written_bytes)),
    ("LIST from a random key: CPU, p50 / p99", |m| page(&m.filled.lists.keys)),
    ("LIST of a directory, delimiter", |m| page(&m.filled.lists.directory)),
    ("LIST of 1000 directories, delimiter", |m| page(&m.filled.lists.directories)),
    ("unclean open (its engine)", |m| seconds(&m.unclean)),
    ("clean open (its engine)", |m| seconds(&m.clean)),
    ("open without a catalog (rebuild)", |m| seconds(&m.rebuilt)),
    ("resident after unclean open (peak)", |m| {
        format!("{:.0} ({:.0}) MiB", m.unclean.rss_bytes as f64 / MIB, m.unclean.rss_peak_bytes as f64 / MIB)
    }),
    ("peak while it is rebuilt", |m| format!("{:.0} MiB", m.rebuilt.rss_peak_bytes as f64 / MIB)),
    ("resident after reads", |m| format!("{:.0} MiB", m.unclean.rss_read_bytes as f64 / MIB)),
    ("get, first touch: p50 / p99", |m| pair(&m.unclean.get_first)),
    ("get, again: p50 / p99", |m| pair(&m.unclean.get_again)),
    ("scan of 1000 rows: p50 / p99", |m| pair(&m.unclean.scan)),
];

fn per_object(measured: &Measured, bytes: u64) -> String {
    format!("{:.0} B", bytes as f64 / measured.filled.objects.max(1) as f64)
}

fn kept(measured: &Measured, bytes: u64) -> String {
    format!("{:.0} B", bytes as f64 / measured.filled.catalog_objects.max(1) as f64)
}

fn page(paged: &Paged) -> String {
    let Paged { times, cpu_us, entries } = paged;
    format!("{cpu_us:.0} us, {:.0} / {:.0} us, {entries:.0} entries", times.p50_us, times.p99_us)
}

fn seconds(opened: &Opened) -> String {
    format!("{:.2} ({:.2}) s", opened.seconds, opened.engine_seconds)
}

fn pair(times: &Times) -> String {
    format!("{:.1} / {:.1} us", times.p50_us, times.p99_us)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} objects of {} bytes under random names, {} writers\n",
            self.objects, self.body_bytes, self.writers
        )?;
        let engines: Vec<&str> = self.engines.iter().map(|measured| measured.engine.as_str()).collect();
        writeln!(f, "| | {} |\n|---|{}", engines.join(" | "), "---|".repeat(engines.len()))?;
        for (name, show) in ROWS {
            let cells: Vec<String> = self.engines.iter().map(show).collect();
            writeln!(f, "| {name} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / MIB;
        write!(
            f,
            "{:>9} objects, {:>6.0}/s, resident {:.0} MiB, overlay {:.0}, journal {:.0}, {} runs, catalog {:.0} MiB, {} refused",
            self.objects,
            self.objects_per_second,
            mib(self.rss_bytes),
            mib(self.overlay_bytes),
            mib(self.journal_bytes),
            self.runs,
            mib(self.catalog_bytes),
            self.refused
        )
    }
}
