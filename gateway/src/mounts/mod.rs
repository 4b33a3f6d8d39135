//! The mounts of a gateway: those of its configuration, and those that are asked for later.
//!
//! A mount lives in the gateway's process. What `mount -t fuse.cess-gateway` runs, and the verb `mount`,
//! only ask for it over the admin socket and end; `umount` ends it as any other mount.

pub mod options;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gw_fuse::{BUCKET_MICROS, Ended, Mount, MountMetrics, Mounted, Op};
use gw_store::{MountBuckets, MountOptions, Store};
use gw_types::{Authenticated, BucketName, Frontend};

use crate::admin::wire::MountLine;
use crate::error::{Context, Error, Result, fail};
use options::MountSpec;

/// Mounts at a time.
const MOUNTS_MAX: usize = 64;

/// Everything that is mounted.
#[derive(Debug)]
pub struct Mounts {
    store: Store,
    /// Whose rights a mount has that names nobody.
    user: Option<String>,
    live: Mutex<Vec<Live>>,
}

#[derive(Debug)]
struct Live {
    bucket: Option<String>,
    user: String,
    mounted: Mounted,
}

impl Mounts {
    /// Nothing yet.
    pub fn new(store: Store, user: Option<String>) -> Self {
        Self { store, user, live: Mutex::default() }
    }

    fn live(&self) -> MutexGuard<'_, Vec<Live>> {
        // A list of mounts is whole between any two statements.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mounts, and says where.
    pub async fn add(&self, spec: MountSpec) -> Result<MountLine> {
        self.live().retain(|live| live.mounted.ended().is_none());
        if self.live().len() >= MOUNTS_MAX {
            return fail(format!("{MOUNTS_MAX} mounts are the most"));
        }
        let user = spec.user.clone().or_else(|| self.user.clone());
        let user = user.ok_or_else(|| Error::new("say whose rights the mount has: user=NAME"))?;
        let doing = || format!("mounting on {}", spec.at.display());
        let admin = Authenticated::user("admin", Frontend::Admin);
        let users = self.store.user_list(&admin).await.context(doing)?;
        if !users.iter().any(|known| known.name == user) {
            return fail(format!("there is no user {user:?} to mount for"));
        }
        let buckets = match &spec.bucket {
            None => MountBuckets::All,
            Some(name) => MountBuckets::One(BucketName::new(name).context(doing)?),
        };
        let mut asked = MountOptions::new(Authenticated::user(user.as_str(), Frontend::Fuse), buckets);
        asked.read_only = spec.kernel.read_only;
        asked.level = spec.level;
        asked.ttl = spec.kernel.cache.ttl_max;
        let files = self.store.mount(asked).await.context(doing)?;
        let mounted = Mount::start(Arc::new(files), &spec.at, spec.kernel).await.context(doing)?;
        let live = Live { bucket: spec.bucket, user, mounted };
        let line = live.line();
        self.live().push(live);
        Ok(line)
    }

    /// Unmounts one.
    pub async fn remove(&self, at: &Path) -> Result<String> {
        let found = {
            let mut live = self.live();
            let index = live.iter().position(|live| live.mounted.at() == at);
            index.map(|index| live.swap_remove(index))
        };
        match found {
            Some(live) => Ok(ended_text(&live.mounted.unmount().await)),
            None => fail(format!("nothing is mounted on {} by this gateway", at.display())),
        }
    }

    /// What is mounted.
    pub fn lines(&self) -> Vec<MountLine> {
        self.live().iter().filter(|live| live.mounted.ended().is_none()).map(Live::line).collect()
    }

    /// Paths of all.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lines().into_iter().map(|line| line.at).collect()
    }

    /// Unmounts all, one after the other: each makes everything durable first.
    pub async fn stop(&self) {
        let all = std::mem::take(&mut *self.live());
        for live in all {
            let at = live.mounted.at().to_path_buf();
            match live.mounted.unmount().await {
                Ended::Unmounted | Ended::FromOutside => {}
                other => tracing::warn!(at = %at.display(), how = ended_text(&other), "unmounted"),
            }
        }
    }

    /// In Prometheus's text format.
    pub fn metrics(&self) -> String {
        let live = self.live();
        let mut text = String::new();
        if live.is_empty() {
            return text;
        }
        let name = "cess_gateway_mount_request_seconds";
        text.push_str(&format!("# HELP {name} Requests of the kernel by kind.\n# TYPE {name} histogram\n"));
        for live in live.iter() {
            live.histograms(name, &mut text);
        }
        for (name, help, value) in COUNTERS {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n"));
            for live in live.iter() {
                let at = label(live.mounted.at());
                text.push_str(&format!("{name}{{at=\"{at}\"}} {}\n", value(&live.mounted.metrics())));
            }
        }
        text
    }
}

type Counter = (&'static str, &'static str, fn(&MountMetrics) -> u64);

const COUNTERS: &[Counter] = &[
    ("cess_gateway_mount_read_bytes_total", "Bytes that readers got.", |of| {
        MountMetrics::get(&of.bytes_read)
    }),
    ("cess_gateway_mount_written_bytes_total", "Bytes that writers gave.", |of| {
        MountMetrics::get(&of.bytes_written)
    }),
    ("cess_gateway_mount_timed_out_total", "Requests that ran out of time.", |of| {
        MountMetrics::get(&of.timed_out)
    }),
    ("cess_gateway_mount_failed_total", "Requests answered with an error.", |of| {
        Op::ALL.iter().map(|op| MountMetrics::get(&of.op(*op).failed)).sum()
    }),
    ("cess_gateway_mount_invalidations_total", "Changes from elsewhere that the kernel heard of.", |of| {
        MountMetrics::get(&of.invalidations)
    }),
];

impl Live {
    fn line(&self) -> MountLine {
        let metrics = self.mounted.metrics();
        MountLine {
            at: self.mounted.at().to_path_buf(),
            bucket: self.bucket.clone(),
            user: self.user.clone(),
            open: self.mounted.open_count() as u64,
            requests: Op::ALL.iter().map(|op| MountMetrics::get(&metrics.op(*op).requests)).sum(),
        }
    }

    fn histograms(&self, name: &str, text: &mut String) {
        let (metrics, at) = (self.mounted.metrics(), label(self.mounted.at()));
        for op in Op::ALL {
            let of = metrics.op(*op);
            let count = MountMetrics::get(&of.requests);
            if count == 0 {
                continue;
            }
            let labels = format!("at=\"{at}\",op=\"{}\"", op.name());
            let mut below = 0;
            for (end, bucket) in BUCKET_MICROS.iter().zip(&of.buckets) {
                below += MountMetrics::get(bucket);
                let end = *end as f64 / 1e6;
                text.push_str(&format!("{name}_bucket{{{labels},le=\"{end}\"}} {below}\n"));
            }
            let seconds = MountMetrics::get(&of.micros) as f64 / 1e6;
            text.push_str(&format!("{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n"));
            text.push_str(&format!("{name}_sum{{{labels}}} {seconds}\n{name}_count{{{labels}}} {count}\n"));
        }
    }
}

/// A path as the value of a label.
fn label(at: &Path) -> String {
    at.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn ended_text(ended: &Ended) -> String {
    match ended {
        Ended::Unmounted => "unmounted".to_owned(),
        Ended::CutOff => "unmounted while files were open; they got errors".to_owned(),
        Ended::FromOutside => "it had been unmounted".to_owned(),
        Ended::Failed(reason) => format!("it had failed: {reason}"),
    }
}
