//! `s3load verify`: is every object as the record says it must be?
//!
//! Reads every key of the record, whole, and decides which of its allowed states it is in; anything
//! else is a violation. Then lists all keys and holds the list against what was read. Nothing may
//! change the objects meanwhile. What was still open is settled by what was found, so that a later
//! verification holds the server to it: an object that was visible once may not vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::client::Client;
use super::content::{Checker, STAMP_BYTES};
use super::load::runtime;
use super::record::{Act, History, Kind, Recorder, line, load};
use super::target::{Target, TargetArgs};
use super::{Error, Result, doing};

/// So many violations are shown; all are counted.
const SHOWN_MAX: usize = 20;
/// Keys on a page of the list.
const PAGE: u32 = 1000;

/// What to verify.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// The record that `s3load record` wrote
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
    /// Connections
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub connections: u32,
    /// What each key begins with
    #[arg(long, default_value = "record/")]
    pub prefix: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Objects that are there, whole.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Keys that have no object, as allowed.
    pub absent: u64,
    /// Acts without acknowledgement that turned out to have happened.
    pub open_happened: u64,
    /// And those that have not.
    pub open_not_happened: u64,
    /// How many keys are not as they must be.
    pub violations: u64,
    /// The first of them, in words.
    pub shown: Vec<String>,
}

impl Verified {
    fn violated(&mut self, what: String) {
        self.violations += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(what);
        }
    }
    fn merge(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.absent += other.absent;
        self.open_happened += other.open_happened;
        self.open_not_happened += other.open_not_happened;
        self.violations += other.violations;
        self.shown.extend(other.shown);
        self.shown.truncate(SHOWN_MAX);
    }
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { objects, bytes, absent, open_happened, open_not_happened, violations, shown } = self;
        write!(f, "{objects} objects whole ({} MiB), {absent} absent as they must be; ", bytes >> 20)?;
        write!(f, "of acts in flight {open_happened} happened and {open_not_happened} did not; ")?;
        write!(f, "{violations} violations")?;
        shown.iter().try_for_each(|what| write!(f, "\n  {what}"))
    }
}

/// Takes a body and finds out which of the allowed ones it is.
struct Judge<'a> {
    key: &'a str,
    history: &'a History,
    stamp: Vec<u8>,
    body: Option<(Act, Checker)>,
    digest: Sha256,
}

impl<'a> Judge<'a> {
    fn new(key: &'a str, history: &'a History) -> Self {
        Self { key, history, stamp: Vec::new(), body: None, digest: Sha256::new() }
    }
    fn feed(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        let missing = STAMP_BYTES - self.stamp.len();
        if missing == 0 {
            return self.check(piece);
        }
        let (front, back) = piece.split_at(missing.min(piece.len()));
        self.stamp.extend_from_slice(front);
        if let Ok(stamp) = self.stamp.as_slice().try_into() {
            let generation = u64::from_le_bytes(stamp);
            let acts = self.history.allowed().filter(|act| act.generation() == generation);
            self.body = acts.filter_map(|act| Some((*act, Checker::whole(act.content(self.key)?)))).next();
            self.check(&stamp);
            self.check(back);
        }
    }
    fn check(&mut self, piece: &[u8]) {
        if let Some((_, checker)) = &mut self.body {
            checker.feed(piece);
        }
    }
    /// The act that left this body, or what is wrong with it.
    fn verdict(self) -> std::result::Result<Act, String> {
        let Some((act, checker)) = self.body else {
            return Err(match <[u8; STAMP_BYTES]>::try_from(self.stamp.as_slice()) {
                Ok(stamp) => format!("its body says generation {}", u64::from_le_bytes(stamp)),
                Err(_) => format!("its body has only {} bytes", self.stamp.len()),
            });
        };
        checker.verdict()?;
        match act {
            Act::Put { sha256, .. } if self.digest.finalize().as_slice() != sha256.as_slice() => {
                Err("its SHA-256 is not the recorded one".to_owned())
            }
            act => Ok(act),
        }
    }
}

/// Reads everything; the server must answer each request.
pub fn verify(args: &VerifyArgs) -> Result<Verified> {
    let target = Target::resolve(&args.target)?;
    let histories: Vec<_> = load(&args.record)?.into_iter().collect();
    if histories.is_empty() {
        return Err(Error::Usage(format!("{} records nothing", args.record.display())));
    }
    let histories = Arc::new(histories);
    runtime()?
        .block_on(async {
            let (mut verified, found) = read_all(args, &target, &histories).await?;
            let listed = list_all(&target, &args.prefix).await?;
            compare_list(&histories, &found, &listed, &mut verified);
            Ok::<_, Error>((verified, found))
        })
        .and_then(|(verified, found)| settle(args, &histories, &found).map(|()| verified))
}

type Found = BTreeMap<String, Act>;

async fn read_all(
    args: &VerifyArgs,
    target: &Target,
    histories: &Arc<Vec<(String, History)>>,
) -> Result<(Verified, Found)> {
    let turns = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..args.connections {
        tasks.spawn(read_some(Client::new(target.clone(), false), Arc::clone(histories), Arc::clone(&turns)));
    }
    let (mut verified, mut found) = (Verified::default(), Found::new());
    while let Some(part) = tasks.join_next().await {
        let (part, some) = part.expect("a reader does not panic")?;
        verified.merge(part);
        found.extend(some);
    }
    Ok((verified, found))
}

async fn read_some(
    mut client: Client,
    histories: Arc<Vec<(String, History)>>,
    turns: Arc<AtomicUsize>,
) -> Result<(Verified, Found)> {
    let (mut verified, mut found) = (Verified::default(), Found::new());
    while let Some((key, history)) = histories.get(turns.fetch_add(1, Ordering::Relaxed)) {
        let mut judge = Judge::new(key, history);
        let verdict = match client.get(key, None, |piece| judge.feed(piece)).await {
            Ok(_) => judge.verdict(),
            Err(error) if error.is_missing() => absent(history),
            Err(source) => return Err(Error::Call { doing: format!("reading {key}"), source }),
        };
        match verdict {
            Ok(act) => {
                count(&mut verified, history, &act);
                found.insert(key.clone(), act);
            }
            Err(what) => verified.violated(format!("{key}: {what}; allowed is {}", allowed(history))),
        }
    }
    Ok((verified, found))
}

/// The act that left nothing, if one is allowed.
fn absent(history: &History) -> std::result::Result<Act, String> {
    let delete = history.allowed().find(|act| matches!(act, Act::Delete { .. }));
    delete.copied().ok_or_else(|| "it is not there".to_owned())
}

fn allowed(history: &History) -> String {
    let name = |act: &Act| match act {
        Act::Put { generation, size, .. } => format!("generation {generation} of {size} bytes"),
        Act::Delete { .. } => "nothing".to_owned(),
    };
    history.allowed().map(name).collect::<Vec<_>>().join(", or ")
}

fn count(verified: &mut Verified, history: &History, act: &Act) {
    match act {
        Act::Put { size, .. } => {
            verified.objects += 1;
            verified.bytes += size;
        }
        Act::Delete { .. } => verified.absent += 1,
    }
    if history.open.contains(act) {
        verified.open_happened += 1;
    } else if !history.open.is_empty() {
        verified.open_not_happened += 1;
    }
}

async fn list_all(target: &Target, prefix: &str) -> Result<BTreeMap<String, u64>> {
    let mut client = Client::new(target.clone(), false);
    let (mut listed, mut token) = (BTreeMap::new(), None);
    loop {
        let page = client.list(prefix, PAGE, token.as_deref()).await;
        let (_, objects, next) =
            page.map_err(|source| Error::Call { doing: format!("listing {prefix}"), source })?;
        listed.extend(objects.into_iter().map(|object| (object.key, object.size)));
        if next.is_none() {
            return Ok(listed);
        }
        token = next;
    }
}

/// Keys whose object was wrong are counted already.
fn compare_list(
    histories: &[(String, History)],
    found: &Found,
    listed: &BTreeMap<String, u64>,
    verified: &mut Verified,
) {
    for (key, act) in found {
        match (act, listed.get(key)) {
            (Act::Put { size, .. }, Some(said)) if said == size => {}
            (Act::Delete { .. }, None) => {}
            (Act::Put { size, .. }, said) => {
                verified.violated(format!("{key}: has {size} bytes, and the list says {said:?}"));
            }
            (Act::Delete { .. }, Some(_)) => verified.violated(format!("{key}: listed, but not there")),
        }
    }
    let known: BTreeSet<&String> = histories.iter().map(|(key, _)| key).collect();
    let strange = listed.keys().filter(|key| !known.contains(key));
    strange.for_each(|key| verified.violated(format!("{key}: listed, but never put")));
}

fn settle(args: &VerifyArgs, histories: &[(String, History)], found: &Found) -> Result<()> {
    let open = histories.iter().filter(|(_, history)| !history.open.is_empty());
    let seen = open.filter_map(|(key, _)| Some(line(Kind::Seen, key, found.get(key)?)));
    let lines: String = seen.collect();
    let (recorder, thread) = Recorder::open(&args.record)?;
    runtime()?.block_on(recorder.settle(lines))?;
    drop(recorder);
    let written = thread.join().expect("the recorder does not panic");
    written.map_err(doing(format!("writing {}", args.record.display())))
}
