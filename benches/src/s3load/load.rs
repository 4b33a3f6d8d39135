//! Load: many connections, each making one request after the other.
//!
//! All workers connect, wait for each other, and begin together. A worker takes a ticket, chooses what
//! to ask for, asks, and counts. Objects have generation 0, so each is known from its name alone:
//! `PREFIX00000042` always has the same size and bytes, and a later run can check what an earlier one
//! wrote. Threads run a small runtime each; nothing is shared between them on the way of a request but
//! two counters.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::client::{Answer, CallError, Client};
use super::content::Content;
use super::process::{Spent, look, look_at_all};
use super::report::{Interval, Report, Seen};
use super::target::{Target, TargetArgs};
use super::units::{Chance, Sizes, bytes, duration, mix, pick};
use super::{Error, Result, doing};

/// A worker whose server stays away gives up after so many attempts, this long apart.
const ATTEMPTS_MAX: u32 = 40;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the server's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// PutObject
    Put,
    /// GetObject, whole
    Get,
    /// GetObject, a range
    Range,
    /// HeadObject
    Head,
    /// ListObjectsV2, a page
    List,
    /// DeleteObject
    Delete,
    /// A multipart upload, from its beginning to its end
    Multipart,
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// What to do, how often, how long.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Size of objects, or sizes with weights: 4KiB:90,1MiB:10
    #[arg(long, default_value = "4KiB", value_parser = Sizes::parse)]
    pub size: Sizes,
    /// Connections, each with one request at a time
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Threads that drive them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Stop after this time
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Stop after so many requests, if that is earlier
    #[arg(long)]
    pub count: Option<u64>,
    /// How many different keys there are
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// What each key begins with
    #[arg(long, default_value = "load/")]
    pub prefix: String,
    /// For `mixed`: kinds and weights
    #[arg(long, default_value = "get=60,put=30,head=8,list=2")]
    pub mix: String,
    /// For `range`: how many bytes
    #[arg(long, default_value = "64KiB", value_parser = bytes)]
    pub range_len: u64,
    /// For `range`: offsets are multiples of this
    #[arg(long, default_value = "1", value_parser = bytes)]
    pub range_align: u64,
    /// For `list`: keys on a page
    #[arg(long, default_value_t = 1000)]
    pub page: u32,
    /// For `multipart`: size of parts
    #[arg(long, default_value = "8MiB", value_parser = bytes)]
    pub part_size: u64,
    /// Sign bodies by their SHA-256 (else UNSIGNED-PAYLOAD)
    #[arg(long)]
    pub sign_bodies: bool,
    /// Do not compare the bytes of objects with what was written
    #[arg(long)]
    pub no_verify: bool,
    /// Put every key once before the measurement
    #[arg(long)]
    pub prefill: bool,
    /// Another seed chooses other keys
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The kinds of `--mix get=60,put=40`.
pub fn read_mix(text: &str) -> Result<Vec<(Op, u64)>> {
    let wrong = |part: &str| {
        Error::Usage(format!(
            "{part:?} is not KIND=WEIGHT with put, get, range, head, list, delete or multipart"
        ))
    };
    let one = |part: &str| {
        let (op, weight) = part.split_once('=').ok_or_else(|| wrong(part))?;
        let op = Op::from_str(op.trim(), true).map_err(|_| wrong(part))?;
        Ok((op, weight.trim().parse().map_err(|_| wrong(part))?))
    };
    let mix = text.split(',').map(one).collect::<Result<Vec<_>>>()?;
    if mix.iter().all(|(_, weight)| *weight == 0) {
        return Err(Error::Usage("all weights of --mix are 0".to_owned()));
    }
    Ok(mix)
}

/// What both processes had spent when a run began or ended.
struct Moment {
    at: Instant,
    server: Option<Spent>,
    client: Option<Spent>,
}

impl Moment {
    fn now(target: &Target) -> Self {
        Self { at: Instant::now(), server: look_at_all(&target.pids), client: look(std::process::id()) }
    }
}

/// What all workers of a run share.
struct Run {
    args: LoadArgs,
    target: Target,
    mix: Vec<(Op, u64)>,
    barrier: Barrier,
    start: OnceLock<Moment>,
    /// Requests begun.
    tickets: AtomicU64,
    /// Keys handed out in order, for kinds that visit each key in turn.
    turns: AtomicU64,
}

impl Run {
    fn new(args: &LoadArgs, target: &Target, mix: Vec<(Op, u64)>) -> Arc<Self> {
        Arc::new(Self {
            args: args.clone(),
            target: target.clone(),
            mix,
            barrier: Barrier::new(args.connections as usize),
            start: OnceLock::new(),
            tickets: AtomicU64::new(0),
            turns: AtomicU64::new(0),
        })
    }
    fn start(&self) -> &Moment {
        self.start.get_or_init(|| Moment::now(&self.target))
    }
    /// Whether one more request is wanted.
    fn ticket(&self) -> bool {
        let begun = self.tickets.fetch_add(1, Ordering::Relaxed);
        self.args.count.is_none_or(|count| begun < count) && self.start().at.elapsed() < self.args.duration
    }
    fn key(&self, index: u64) -> (String, Content) {
        let key = format!("{}{index:08}", self.args.prefix);
        let content = Content::new(&key, 0, self.args.size.pick(mix(index)));
        (key, content)
    }
}

/// Prefills if asked, runs, and reports.
pub fn load(name: &str, args: &LoadArgs, mix: Vec<(Op, u64)>) -> Result<Report> {
    let target = Target::resolve(&args.target)?;
    make_bucket(&target)?;
    if args.prefill {
        prefill(args, &target)?;
    }
    run(name, args, &target, mix)
}

/// Makes the bucket where it is missing.
pub fn make_bucket(target: &Target) -> Result<()> {
    let doing = format!("bucket {} at {}", target.bucket, target.authority);
    let made = runtime()?.block_on(Client::new(target.clone(), false).make_bucket());
    made.map_err(|source| Error::Call { doing, source })
}

fn prefill(args: &LoadArgs, target: &Target) -> Result<()> {
    let args = LoadArgs { count: Some(args.keys), duration: Duration::from_secs(3600), ..args.clone() };
    let report = run("prefill", &args, target, vec![(Op::Put, 1)])?;
    if report.is_good() { Ok(()) } else { Err(Error::Usage(format!("not every key could be put: {report}"))) }
}

fn run(name: &str, args: &LoadArgs, target: &Target, mix: Vec<(Op, u64)>) -> Result<Report> {
    let run = Run::new(args, target, mix);
    let done = AtomicBool::new(false);
    let (seen, end, rss_bytes_max) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&target.pids, &done));
        let threads: Vec<_> = shares(args).map(|share| scope.spawn(|| drive(&run, share))).collect();
        let seen: Vec<_> =
            threads.into_iter().map(|thread| thread.join().expect("a driver does not panic")).collect();
        let end = Moment::now(target);
        done.store(true, Ordering::Relaxed);
        sampler.thread().unpark();
        (seen, end, sampler.join().expect("looking at a process does not panic"))
    });
    let mut all = Seen::default();
    for part in seen {
        all.merge(part?);
    }
    let start = run.start();
    let interval = |before: Option<Spent>, after: Option<Spent>, rss_bytes_max: u64| {
        Some(Interval { before: before?, after: after?, rss_bytes_max })
    };
    let server = interval(start.server, end.server, rss_bytes_max);
    let client = interval(start.client, end.client, 0);
    let (connections, keys, size) = (args.connections, args.keys, args.size.max());
    let title = format!("{name}: {connections} connections, {keys} keys, objects of at most {size} bytes");
    Ok(Report::new(title, end.at.duration_since(start.at), all, server, client))
}

/// Worker numbers by thread.
fn shares(args: &LoadArgs) -> impl Iterator<Item = Vec<u32>> {
    let (connections, threads) = (args.connections, args.threads.min(args.connections));
    (0..threads).map(move |thread| (thread..connections).step_by(threads as usize).collect())
}

fn drive(run: &Arc<Run>, workers: Vec<u32>) -> Result<Seen> {
    runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for number in workers {
            tasks.spawn(work(Arc::clone(run), number));
        }
        let mut seen = Seen::default();
        while let Some(worker) = tasks.join_next().await {
            seen.merge(worker.expect("a worker does not panic"));
        }
        Ok(seen)
    })
}

/// The most memory that the processes held until `done`.
fn sample(pids: &[u32], done: &AtomicBool) -> u64 {
    let mut rss_bytes_max = 0;
    while !done.load(Ordering::Relaxed) {
        if let Some(spent) = look_at_all(pids) {
            rss_bytes_max = rss_bytes_max.max(spent.rss_bytes);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    rss_bytes_max
}

/// A runtime on the calling thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    built.map_err(doing("starting a runtime"))
}

async fn work(run: Arc<Run>, number: u32) -> Seen {
    let mut client = Client::new(run.target.clone(), run.args.sign_bodies);
    let mut chance = Chance::new(run.args.seed ^ mix(u64::from(number)));
    let mut seen = Seen::default();
    // A failure shows again at the first request, and is counted there.
    client.connect().await.ok();
    run.barrier.wait().await;
    run.start();
    let mut attempts = 0;
    while run.ticket() {
        let op = pick(&run.mix, chance.draw() >> 7);
        let started = Instant::now();
        let Some(outcome) = act(&run, &mut client, &mut chance, op).await else { break };
        match outcome {
            Ok((answer, bytes)) => {
                let tally = seen.tallies.entry(op).or_default();
                tally.latency.add(started.elapsed());
                tally.first_byte.add(answer.first_byte);
                tally.bytes += bytes;
                attempts = 0;
            }
            Err(error) => {
                seen.failed(error.label(), format!("{op}: {error}"));
                attempts = if error.is_disconnect() { attempts + 1 } else { 0 };
                if attempts >= ATTEMPTS_MAX {
                    break;
                }
                if attempts > 0 {
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                }
            }
        }
    }
    seen
}

type Acted = std::result::Result<(Answer, u64), CallError>;

/// One request; `None` when there is nothing left to ask for.
async fn act(run: &Run, client: &mut Client, chance: &mut Chance, op: Op) -> Option<Acted> {
    let keys = run.args.keys;
    let index = match op {
        Op::Put | Op::Multipart => run.turns.fetch_add(1, Ordering::Relaxed) % keys,
        Op::Delete => Some(run.turns.fetch_add(1, Ordering::Relaxed)).filter(|turn| *turn < keys)?,
        _ => chance.below(keys),
    };
    let (key, content) = run.key(index);
    Some(match op {
        Op::Put => client.put(&key, &content).await.map(|answer| (answer, content.size())),
        Op::Multipart => {
            let put = client.put_in_parts(&key, &content, run.args.part_size.max(1)).await;
            put.map(|answer| (answer, content.size()))
        }
        Op::Get => get(run, client, &key, content, None).await,
        Op::Range => get(run, client, &key, content, Some(range(&run.args, chance, content.size()))).await,
        Op::Head => client.head(&key).await.and_then(|answer| sized(&key, answer, content.size())),
        Op::Delete => client.delete(&key).await.map(|answer| (answer, 0)),
        Op::List => {
            let listed = client.list(&run.args.prefix, run.args.page, None).await;
            listed.map(|(answer, _, _)| counted(answer))
        }
    })
}

async fn get(
    run: &Run,
    client: &mut Client,
    key: &str,
    content: Content,
    range: Option<(u64, u64)>,
) -> Acted {
    let answer = if run.args.no_verify {
        client.get(key, range, |_| ()).await
    } else {
        client.get_checked(key, content, range).await
    };
    answer.map(counted)
}

/// With the bytes of its body.
fn counted(answer: Answer) -> (Answer, u64) {
    let bytes = answer.body_bytes;
    (answer, bytes)
}

fn sized(key: &str, answer: Answer, size: u64) -> Acted {
    if answer.content_length == Some(size) {
        return Ok((answer, 0));
    }
    Err(CallError::Wrong(format!("{key}: {:?} bytes and not {size}", answer.content_length)))
}

/// First byte and end of a range within `size` bytes.
fn range(args: &LoadArgs, chance: &mut Chance, size: u64) -> (u64, u64) {
    let align = args.range_align.max(1);
    let places = size.saturating_sub(args.range_len) / align + 1;
    let first = chance.below(places) * align;
    (first, (first + args.range_len.max(1)).min(size))
}

#[cfg(test)]
mod tests {
    use super::{Op, read_mix};

    #[test]
    fn a_mix_is_read_or_refused_in_words() {
        assert_eq!(read_mix("get=60, put=40").unwrap(), [(Op::Get, 60), (Op::Put, 40)]);
        for wrong in ["get", "take=5", "get=x", "get=0"] {
            assert!(read_mix(wrong).is_err(), "{wrong}");
        }
    }
}
