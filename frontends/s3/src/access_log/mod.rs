//! Server access logs: requests for a bucket, written down as objects in another.
//!
//! A request whose bucket logs leaves a line in a bounded channel when its answer is out. One task
//! gathers lines by where they go and puts an object when there is a MiB of them or the oldest is
//! [`LogLimits::flush_every`] old, and the rest at a stop. As on AWS this is best effort: a line that
//! finds the channel full, or whose object cannot be put, is lost and counted, and what was gathered
//! dies with the process. No request waits for it.

mod line;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gw_store::{
    ContentHeaders, FinishOptions, LogPartition, LoggedBucket, ObjectAttributes, PutOptions, Store,
    StoreResult,
};
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::LogLimits;
use crate::dates::system_time;
use crate::metrics::S3Metrics;

pub(crate) use line::{Head, Outcome};

/// A line and where it goes.
#[derive(Debug)]
struct Entry {
    place: Arc<LoggedBucket>,
    at: SystemTime,
    request_id: String,
    line: String,
}

/// The way in, for requests.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    store: Arc<Store>,
    entries: mpsc::Sender<Entry>,
    metrics: Arc<S3Metrics>,
}

/// A request whose bucket logs.
#[derive(Debug)]
pub(crate) struct Logged {
    log: AccessLog,
    place: Arc<LoggedBucket>,
    head: Head,
}

impl AccessLog {
    /// Starts the task that puts the objects. It ends when the last way in is dropped.
    pub(crate) fn start(
        (store, metrics): (Arc<Store>, Arc<S3Metrics>),
        region: &str,
        limits: &LogLimits,
    ) -> (Self, JoinHandle<()>) {
        let (entries, receiver) = mpsc::channel(limits.lines_max.max(1));
        let writer = Writer {
            store: Arc::clone(&store),
            who: Authenticated::user("log-delivery", Frontend::Admin),
            region: region.to_owned(),
            limits: limits.clone(),
            metrics: Arc::clone(&metrics),
            gathered: HashMap::new(),
            bytes: 0,
        };
        let task = tokio::spawn(writer.run(receiver));
        (Self { store, entries, metrics }, task)
    }

    /// Whether any bucket at all logs.
    pub(crate) fn is_wanted(&self) -> bool {
        self.store.logs_any()
    }

    pub(crate) fn now(&self) -> SystemTime {
        system_time(self.store.now())
    }

    /// Where requests for a bucket are written down, if they are.
    pub(crate) fn place(&self, bucket: &str) -> Option<Arc<LoggedBucket>> {
        self.store.logged(bucket)
    }

    pub(crate) fn logged(&self, place: Arc<LoggedBucket>, head: Head) -> Logged {
        Logged { log: self.clone(), place, head }
    }
}

impl Logged {
    /// Writes the request down.
    pub(crate) fn write(&self, outcome: &Outcome<'_>) {
        let outcome = Outcome { bucket: self.place.bucket.as_str(), owner: &self.place.owner, ..*outcome };
        let entry = Entry {
            place: Arc::clone(&self.place),
            at: self.head.at(),
            request_id: outcome.request_id.to_owned(),
            line: line::line(&self.head, &outcome),
        };
        if self.log.entries.try_send(entry).is_err() {
            self.log.metrics.log_lines_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where an object of lines goes; lines of one object share all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    target: String,
    source: String,
    /// The key up to the time of delivery, but for a partition by that time.
    prefix: String,
    by_delivery: bool,
}

struct Gathered {
    lines: String,
    count: u64,
    since: Instant,
    /// The first request's id: unique, so the object's name is too.
    id: String,
}

struct Writer {
    store: Arc<Store>,
    who: Authenticated,
    region: String,
    limits: LogLimits,
    metrics: Arc<S3Metrics>,
    gathered: HashMap<Place, Gathered>,
    bytes: usize,
}

impl Writer {
    async fn run(mut self, mut entries: mpsc::Receiver<Entry>) {
        loop {
            let oldest = self.gathered.values().map(|gathered| gathered.since).min();
            let due = oldest.map(|since| since + self.limits.flush_every);
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                entry = entries.recv() => match entry {
                    Some(entry) => self.gather(entry).await,
                    None => break,
                },
                () = wait => self.flush(|gathered, now, every| now - gathered.since >= every).await,
            }
        }
        self.flush(|_, _, _| true).await;
    }

    async fn gather(&mut self, entry: Entry) {
        let logging = &entry.place.logging;
        let place = Place {
            target: logging.target.clone(),
            source: entry.place.bucket.as_str().to_owned(),
            prefix: match logging.partition {
                LogPartition::None => logging.prefix.clone(),
                LogPartition::EventTime => self.partition(&entry.place, &line::digits(entry.at)),
                LogPartition::DeliveryTime => {
                    format!("{}{}/{}/{}/", logging.prefix, entry.place.owner, self.region, entry.place.bucket)
                }
            },
            by_delivery: logging.partition == LogPartition::DeliveryTime,
        };
        self.bytes += entry.line.len();
        let gathered = self.gathered.entry(place).or_insert_with(|| Gathered {
            lines: String::new(),
            count: 0,
            since: Instant::now(),
            id: entry.request_id,
        });
        gathered.lines.push_str(&entry.line);
        gathered.count += 1;
        let object_bytes_max = self.limits.object_bytes_max;
        if self.bytes >= self.limits.gathered_bytes_max {
            self.flush(|_, _, _| true).await;
        } else if gathered.lines.len() >= object_bytes_max {
            self.flush(|gathered, _, _| gathered.lines.len() >= object_bytes_max).await;
        }
    }

    fn partition(&self, place: &LoggedBucket, [year, month, day, ..]: &[String; 6]) -> String {
        let (prefix, owner, bucket) = (&place.logging.prefix, &place.owner, &place.bucket);
        format!("{prefix}{owner}/{}/{bucket}/{year}/{month}/{day}/", self.region)
    }

    /// Puts what is chosen.
    async fn flush(&mut self, chosen: impl Fn(&Gathered, Instant, Duration) -> bool) {
        let (now, every) = (Instant::now(), self.limits.flush_every);
        let places: Vec<Place> = self
            .gathered
            .iter()
            .filter(|(_, gathered)| chosen(gathered, now, every))
            .map(|(place, _)| place.clone())
            .collect();
        for place in places {
            let Some(gathered) = self.gathered.remove(&place) else { continue };
            self.bytes = self.bytes.saturating_sub(gathered.lines.len());
            let (count, key) = (gathered.count, key_of(&place, &gathered.id, system_time(self.store.now())));
            if let Err(error) = self.put(&place, key, gathered.lines).await {
                self.metrics.log_lines_lost.fetch_add(count, Ordering::Relaxed);
                tracing::warn!(
                    bucket = %place.source, target_bucket = %place.target, lines = count, %error,
                    "access log lines are lost"
                );
            }
        }
    }

    async fn put(&self, place: &Place, key: String, lines: String) -> StoreResult<()> {
        let bucket = BucketName::new(&*place.target).map_err(|_| gw_store::StoreErrorKind::NoSuchBucket)?;
        let key = ObjectKey::new(key).map_err(|_| gw_store::StoreErrorKind::NoSuchKey)?;
        let headers =
            ContentHeaders { content_type: Some("text/plain".to_owned()), ..ContentHeaders::default() };
        let options = PutOptions {
            attributes: ObjectAttributes { headers, ..ObjectAttributes::default() },
            len_hint: Some(lines.len() as u64),
            ..PutOptions::default()
        };
        let mut writer = self.store.put(&self.who, &bucket, &key, options).await?;
        writer.write(Bytes::from(lines)).await?;
        writer.finish(FinishOptions::default()).await?;
        Ok(())
    }
}

/// `PREFIX YYYY-MM-DD-hh-mm-ss-ID`, behind the day of delivery where the partition is by that.
fn key_of(place: &Place, id: &str, now: SystemTime) -> String {
    let [year, month, day, hour, minute, second] = line::digits(now);
    let folder = if place.by_delivery { format!("{year}/{month}/{day}/") } else { String::new() };
    format!("{}{folder}{year}-{month}-{day}-{hour}-{minute}-{second}-{id}", place.prefix)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Place, key_of};

    #[test]
    fn names_of_log_objects_are_aws_s() {
        let place = |by_delivery| Place {
            target: "t".to_owned(),
            source: "s".to_owned(),
            prefix: "logs/".to_owned(),
            by_delivery,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_549_411_238);
        assert_eq!(key_of(&place(false), "ID", now), "logs/2019-02-06-00-00-38-ID");
        assert_eq!(key_of(&place(true), "ID", now), "logs/2019/02/06/2019-02-06-00-00-38-ID");
    }
}
