//! `s3load record`: changes objects until it is told to stop or the server goes away.
//!
//! Each worker owns its keys, so the acts on one key follow each other and the record says what may be
//! true of it. A worker notes an act, sends it, and notes the acknowledgement; what fails stays noted
//! as tried. The server going away is not an error here: it is what this command is for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use super::client::{CallError, Client, sha256};
use super::content::{Content, STAMP_BYTES};
use super::load::{make_bucket, runtime};
use super::record::{Act, History, Kind, Recorder, line, load};
use super::target::{Target, TargetArgs};
use super::units::{Chance, Sizes, duration, mix, pick};
use super::{Error, Result, doing};

/// Larger objects are put in parts of this length, the smallest that S3 allows.
const PART_BYTES: u64 = 5 << 20;
/// Refusals in a row after which a worker believes the server.
const REFUSALS_MAX: u32 = 50;
const REFUSAL_PAUSE: Duration = Duration::from_millis(20);

/// What to write, and where to note it.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// The record; what it already says is gone on from
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
    /// Size of objects, or sizes with weights; at least 8 bytes. Above 5 MiB they are put in parts
    #[arg(long, default_value = "4KiB:180,64KiB:14,1MiB:5,11MiB:1", value_parser = Sizes::parse)]
    pub size: Sizes,
    /// Connections, each with keys of its own
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub connections: u32,
    /// Stop after this time, if the server is still there
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Of 100 acts, how many overwrite an object
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub overwrites: u64,
    /// Of 100 acts, how many delete an object
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub deletes: u64,
    /// What each key begins with
    #[arg(long, default_value = "record/")]
    pub prefix: String,
    /// Another seed makes other choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a run of `record` came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Objects put, acknowledged.
    pub puts: u64,
    /// Objects deleted, acknowledged.
    pub deletes: u64,
    /// Acts that were refused or got no answer in time.
    pub refused: u64,
    /// Acts on their way when the server went.
    pub in_flight: u64,
    /// The first refusal, in words.
    pub refusal: Option<String>,
    /// Whether the server went away.
    pub server_went: bool,
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { puts, deletes, refused, in_flight, refusal, server_went } = self;
        write!(
            f,
            "{puts} PUTs and {deletes} DELETEs acknowledged, {in_flight} in flight, {refused} refused"
        )?;
        if let Some(refusal) = refusal {
            write!(f, " (first: {refusal})")?;
        }
        if *server_went { write!(f, "; the server went away") } else { Ok(()) }
    }
}

struct Writer {
    args: RecordArgs,
    client: Client,
    recorder: Recorder,
    chance: Chance,
    number: u32,
    /// This worker's keys with their histories, in order of creation.
    keys: Vec<(String, History)>,
    stop: Arc<AtomicBool>,
    recorded: Recorded,
}

/// Runs to the end of the duration, or of the server.
pub fn record(args: &RecordArgs) -> Result<Recorded> {
    if args.size.max() < STAMP_BYTES as u64 {
        return Err(Error::Usage(format!("objects of a record have at least {STAMP_BYTES} bytes")));
    }
    let target = Target::resolve(&args.target)?;
    make_bucket(&target)?;
    let mut histories = load(&args.record)?;
    let (recorder, thread) = Recorder::open(&args.record)?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..args.connections)
        .map(|number| {
            let mine = folder(args, number);
            let keys = histories.extract_if(.., |key, _| key.starts_with(&mine)).collect();
            Writer {
                args: args.clone(),
                client: Client::new(target.clone(), false),
                recorder: recorder.clone(),
                chance: Chance::new(args.seed ^ mix(u64::from(number))),
                number,
                keys,
                stop: Arc::clone(&stop),
                recorded: Recorded::default(),
            }
        })
        .collect();
    drop(recorder);
    let recorded = runtime()?.block_on(all(writers));
    let written = thread.join().expect("the recorder does not panic");
    written.map_err(doing(format!("writing {}", args.record.display())))?;
    recorded
}

/// Where a worker's keys are.
fn folder(args: &RecordArgs, number: u32) -> String {
    format!("{}{number:03}/", args.prefix)
}

async fn all(writers: Vec<Writer>) -> Result<Recorded> {
    let until = Instant::now() + writers.first().map_or(Duration::ZERO, |writer| writer.args.duration);
    let mut tasks = JoinSet::new();
    for writer in writers {
        tasks.spawn(writer.run(until));
    }
    let mut total = Recorded::default();
    while let Some(one) = tasks.join_next().await {
        let one = one.expect("a writer does not panic")?;
        total.puts += one.puts;
        total.deletes += one.deletes;
        total.refused += one.refused;
        total.in_flight += one.in_flight;
        total.refusal = total.refusal.or(one.refusal);
        total.server_went |= one.server_went;
    }
    Ok(total)
}

impl Writer {
    async fn run(mut self, until: Instant) -> Result<Recorded> {
        let mut refusals = 0;
        while Instant::now() < until && !self.stop.load(Ordering::Relaxed) && refusals < REFUSALS_MAX {
            let (index, act) = self.choose();
            let key = self.keys[index].0.clone();
            self.recorder.note(line(Kind::Try, &key, &act)).await?;
            self.keys[index].1.open.push(act);
            match self.send(&key, &act).await {
                Ok(()) => {
                    self.recorder.settle(line(Kind::Ok, &key, &act)).await?;
                    self.keys[index].1 = History { settled: act, open: Vec::new() };
                    refusals = 0;
                }
                Err(error) if error.is_disconnect() => {
                    self.recorded.in_flight += 1;
                    self.recorded.server_went = true;
                    self.stop.store(true, Ordering::Relaxed);
                }
                Err(error) => {
                    self.recorded.refused += 1;
                    self.recorded.refusal.get_or_insert_with(|| format!("{key}: {error}"));
                    refusals += 1;
                    tokio::time::sleep(REFUSAL_PAUSE).await;
                }
            }
        }
        Ok(self.recorded)
    }

    /// Which key, by its place, and what to do with it.
    fn choose(&mut self) -> (usize, Act) {
        let known = self.keys.len();
        let (deletes, overwrites) = (self.args.deletes, self.args.overwrites);
        let new = 100u64.saturating_sub(deletes + overwrites);
        let want = if known == 0 {
            "new"
        } else {
            pick(&[("delete", deletes), ("overwrite", overwrites), ("new", new)], self.chance.draw() >> 7)
        };
        let index = match want {
            "new" => {
                let key = format!("{}{:04}/{known:07}", folder(&self.args, self.number), known / 100);
                self.keys.push((key, History::default()));
                known
            }
            _ => self.chance.below(known as u64) as usize,
        };
        let (key, history) = &self.keys[index];
        let generation = history.next_generation();
        if want == "delete" {
            return (index, Act::Delete { generation });
        }
        let size = self.args.size.pick(self.chance.draw() >> 7).max(STAMP_BYTES as u64);
        let sha256 = sha256(&Content::new(key, generation, size));
        (index, Act::Put { generation, size, sha256 })
    }

    async fn send(&mut self, key: &str, act: &Act) -> std::result::Result<(), CallError> {
        match act.content(key) {
            Some(content) => {
                if content.size() > PART_BYTES {
                    self.client.put_in_parts(key, &content, PART_BYTES).await?;
                } else {
                    self.client.put(key, &content).await?;
                }
                self.recorded.puts += 1;
            }
            None => {
                self.client.delete(key).await?;
                self.recorded.deletes += 1;
            }
        }
        Ok(())
    }
}
