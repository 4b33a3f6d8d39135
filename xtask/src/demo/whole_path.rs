//! `cargo xtask demo`: the whole path, from the aws cli to twelve miners and back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::aws::{self, Aws};
use super::build::build;
use super::options::{Chance, Options, Work};
use super::placement::{self, Placed};
use super::second_home::SecondHome;
use super::stack::{Ready, Stack};
use super::story::{Story, size};
use super::tree::{self, Digests};
use crate::run::Result;

const BUCKET: &str = "demo";
/// Of the twelve miners of any stripe, this many may be gone.
const STOPPED: u64 = 8;
/// So many objects, spread over the tree, are asked for their placement.
const PLACEMENTS_MAX: usize = 200;
/// Seconds a flush may take.
const FLUSH_MAX: &str = "1800";

/// See `cargo xtask help`.
pub fn demo(args: &[String]) -> Result<()> {
    let known = ["--small", "--release", "--debug", "--bin-dir", "--keep", "--data-dir", "--seed"];
    let options = Options::read(args, &known)?;
    let mut story = Story::begin("cess-gateway demo: aws cli, a chain, 14 miners, 8 of them stopped");
    let mut program = PathBuf::new();
    story.step("find the aws cli, build cess-gateway", || {
        let version = aws::version()?;
        program = build("cess-gateway", &options)?;
        Ok(format!("{version}, {}", program.display()))
    })?;
    let work = Work::new("demo", options.keep)?;
    let data = data_dir(&options, &work.path)?;
    let demo = Demo {
        stack: Stack::new(&program, &data, &work.path),
        program,
        data,
        work: work.path.clone(),
        tree: work.path.join("tree"),
        back: work.path.join("back"),
        chance: Chance::new(options.seed),
        digests: Digests::new(),
        bytes: 0,
        placed: Placed::default(),
    };
    demo.tell(&mut story, &options)?;
    story.end("everything came back, byte for byte, four times, with 8 of 14 miners stopped");
    Ok(())
}

fn data_dir(options: &Options, work: &Path) -> Result<PathBuf> {
    let Some(path) = &options.data_dir else { return Ok(work.join("data")) };
    let is_empty = fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        Ok(path.clone())
    } else {
        Err(format!("{} is not empty; the demo begins fresh", path.display()))
    }
}

struct Demo {
    stack: Stack,
    program: PathBuf,
    data: PathBuf,
    work: PathBuf,
    tree: PathBuf,
    back: PathBuf,
    chance: Chance,
    digests: Digests,
    bytes: u64,
    placed: Placed,
}

impl Demo {
    fn tell(mut self, story: &mut Story, options: &Options) -> Result<()> {
        let extent = if options.small { tree::SMALL } else { tree::FULL };
        story.step("plant a tree of real files and take their SHA-256 digests", || self.plant(&extent))?;
        let mut aws = None;
        story.step("start the whole stack", || self.start(&mut aws))?;
        let aws = aws.ok_or("the stack did not start")?;
        story.step("aws s3 mb, aws s3 cp --recursive", || self.upload(&aws))?;
        story.step("cess-gateway flush --level finalized", || self.flush())?;
        story.step("cess-gateway placement, status: 12 fragments on 12 miners, deals Active", || {
            self.placement()
        })?;
        story.step("cess-gateway cache drop", || self.drop_cache())?;
        story.step("cess-gateway dev miner I stop, for 8 miners", || self.stop_miners())?;
        story.step("aws s3 cp --recursive everything back and compare", || self.read_back(&aws, "cp"))?;
        drop(aws);
        let mut aws = None;
        story.step("stop the whole stack (SIGTERM) and start it again", || self.restart(&mut aws))?;
        let aws = aws.ok_or("the stack did not start again")?;
        story.step("aws s3 sync everything back and compare", || self.read_back(&aws, "sync"))?;
        drop(aws);
        let mut ready = None;
        story.step("stop, delete the catalog, start: it is rebuilt from checkpoint and journal", || {
            self.rebuild_catalog(&mut ready)
        })?;
        let ready = ready.ok_or("the stack did not start again")?;
        story
            .step("aws s3 sync everything back and compare", || self.read_back(&Aws::new(&ready), "sync"))?;
        let mut second = None;
        story.step("lose the gateway: serve on a second, empty directory with the recovery copy", || {
            self.stack.stop()?;
            let data = self.data.clone();
            let (home, ready, said) = SecondHome::start(&self.program, &data, &self.work, &ready)?;
            second = Some((home, ready));
            Ok(said)
        })?;
        let (mut home, ready) = second.ok_or("the second gateway did not start")?;
        std::mem::swap(&mut self.stack, &mut home.gateway);
        story.step("aws s3 cp --recursive everything back and compare", || {
            self.read_back(&Aws::new(&ready), "cp")
        })?;
        std::mem::swap(&mut self.stack, &mut home.gateway);
        story.step("stop", || home.stop().map(|()| String::new()))
    }

    fn rebuild_catalog(&mut self, ready: &mut Option<Ready>) -> Result<String> {
        self.stack.stop()?;
        let store = self.data.join("store");
        let failed = |error: std::io::Error| format!("{}: {error}", store.display());
        let mut deleted = Vec::new();
        for entry in fs::read_dir(&store).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name.starts_with("catalog-") {
                fs::remove_dir_all(store.join(&name)).map_err(failed)?;
                deleted.push(name);
            }
        }
        if deleted.is_empty() {
            return Err(format!("there is no catalog in {}", store.display()));
        }
        let (started, waited) = self.stack.start()?;
        *ready = Some(started);
        let dropped = self.drop_cache()?;
        Ok(format!("{} deleted; ready after {:.2} s; {dropped}", deleted.join(", "), waited.as_secs_f64()))
    }

    fn plant(&mut self, extent: &tree::Extent) -> Result<String> {
        let (files, bytes) = tree::plant(&self.tree, extent)?;
        self.digests = tree::digests(&self.tree)?;
        self.bytes = bytes;
        Ok(format!("{files} files, {}", size(bytes)))
    }

    fn start(&mut self, aws: &mut Option<Aws>) -> Result<String> {
        let (ready, waited) = self.stack.start()?;
        *aws = Some(Aws::new(&ready));
        let Ready { s3, region, .. } = &ready;
        Ok(format!("ready after {:.2} s: {s3}, region {region}", waited.as_secs_f64()))
    }

    fn upload(&self, aws: &Aws) -> Result<String> {
        aws.s3(&["mb", &format!("s3://{BUCKET}")])?;
        let (from, to) = (path(&self.tree)?, format!("s3://{BUCKET}/"));
        aws.s3(&["cp", "--recursive", "--only-show-errors", from, &to])?;
        let listed = aws.s3(&["ls", "--recursive", &to])?.lines().count();
        if listed != self.digests.len() {
            return Err(format!("{} files were put, and the list has {listed}", self.digests.len()));
        }
        Ok(format!("{listed} objects"))
    }

    fn flush(&self) -> Result<String> {
        let flushed = self.stack.ask(&["flush", "--level", "finalized", "--timeout", FLUSH_MAX])?;
        let status = self.stack.ask(&["status"])?;
        Ok(format!(
            "up to commit {}; {} alarms",
            flushed["lsn"],
            status["alarms"].as_array().map_or(0, Vec::len)
        ))
    }

    fn placement(&mut self) -> Result<String> {
        let every = self.digests.len().div_ceil(PLACEMENTS_MAX);
        let keys = self.digests.keys().enumerate();
        let some = keys.filter(|(place, key)| place % every == 0 || key.starts_with("large/"));
        let keys: Vec<_> = some.map(|(_, key)| key).collect();
        self.placed = placement::check(&self.stack, BUCKET, &keys)?;
        let said = placement::check_status(&self.stack.ask(&["status"])?, &self.placed)?;
        let (segments, miners) = (self.placed.segments.len(), self.placed.miners.len());
        Ok(format!(
            "{said}\n               {} objects looked at: {segments} segments, {miners} miners",
            keys.len()
        ))
    }

    fn drop_cache(&self) -> Result<String> {
        let dropped = self.stack.ask(&["cache", "drop"])?;
        let number = |name: &str| dropped[name].as_u64().unwrap_or_default();
        let (evicted, kept) = (number("segments_evicted"), number("segments_kept"));
        Ok(format!("{} dropped, {evicted} segments evicted, {kept} kept", size(number("cache_bytes"))))
    }

    fn stop_miners(&mut self) -> Result<String> {
        let known = self.stack.ask(&["status"])?["dispersal"]["miners_known"].as_u64().unwrap_or_default();
        let chosen = self.chance.some_of(STOPPED, known);
        for index in &chosen {
            self.stack.ask(&["dev", "miner", &index.to_string(), "stop"])?;
        }
        let said = self.check_stopped(known)?;
        Ok(format!("stopped {chosen:?}; {said}"))
    }

    fn check_stopped(&self, known: u64) -> Result<String> {
        let (answering, seen) = (self.placed.answering(), self.placed.miners.len());
        if answering as u64 + STOPPED > known {
            return Err(format!("{STOPPED} of {known} miners are stopped, but {answering} answer"));
        }
        Ok(format!("{answering} of the {seen} that hold fragments answer"))
    }

    fn restart(&mut self, aws: &mut Option<Aws>) -> Result<String> {
        let stopped = self.stack.stop()?.as_secs_f64();
        let started = self.start(aws)?;
        let known = self.stack.ask(&["status"])?["dispersal"]["miners_known"].as_u64();
        // A gateway that has not probed yet does not know how many there are; `dev` has 14.
        let miners = self.check_stopped(known.filter(|known| *known > 0).unwrap_or(14))?;
        let dropped = self.drop_cache()?;
        Ok(format!("stopped in {stopped:.1} s, {started}\n               {miners}; {dropped}"))
    }

    /// Reads everything into an empty folder, and holds it against what was planted.
    fn read_back(&self, aws: &Aws, how: &str) -> Result<String> {
        fs::remove_dir_all(&self.back).ok();
        let before = self.fetched()?;
        let (from, to) = (format!("s3://{BUCKET}/"), path(&self.back)?);
        let verb: &[&str] = if how == "cp" { &["cp", "--recursive"] } else { &["sync"] };
        aws.s3(&[verb, &["--only-show-errors", &from, to]].concat())?;
        let same = tree::compare(&self.digests, &tree::digests(&self.back)?)?;
        let fetched = self.fetched()?.saturating_sub(before);
        // All local copies were dropped, so less than this would mean that they were not.
        if fetched < self.bytes / 10 * 9 {
            return Err(format!("only {} of {} came from miners", size(fetched), size(self.bytes)));
        }
        Ok(format!("{same}; {} fetched from miners", size(fetched)))
    }

    fn fetched(&self) -> Result<u64> {
        let status: Value = self.stack.ask(&["status"])?;
        status["staging"]["fetched_bytes"]
            .as_u64()
            .ok_or_else(|| "status has no staging.fetched_bytes".to_owned())
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
