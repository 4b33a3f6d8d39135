//! `cargo xtask figures`: speed and memory of the whole stack, each figure beside its goal.
//!
//! The load tool and the stack share the machine. Every rate is taken several times; the median, the
//! least and the most are shown, because machines differ and neighbours are noisy. The disk's own rate
//! of synced appends is measured in between: it is the floor of everything that is acknowledged.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::build::build;
use super::options::{Options, Work};
use super::stack::Stack;
use super::story::{Story, wait};
use crate::run::{Result, output};

/// Sealed bytes of a 4 KiB body.
const SEALED_4K: f64 = 4096.0 + 16.0;

/// How much is done.
struct Extent {
    rounds: usize,
    duration: &'static str,
    small_objects: u64,
    large_bytes: u64,
    ranges: u64,
}

const FULL: Extent =
    Extent { rounds: 5, duration: "8s", small_objects: 100_000, large_bytes: 128 << 20, ranges: 200 };
const SMALL: Extent =
    Extent { rounds: 1, duration: "1s", small_objects: 2_000, large_bytes: 8 << 20, ranges: 20 };

/// One line of the table.
struct Figure {
    name: &'static str,
    values: Vec<f64>,
    unit: &'static str,
    goal: Option<Goal>,
}

#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    fn median(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
    fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| match goal {
            Goal::AtLeast(goal) => self.median() >= goal,
            Goal::AtMost(goal) => self.median() <= goal,
        })
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let places = if self.median() < 20.0 { 3 } else { 0 };
        write!(f, "| {} | {:.places$} {}", self.name, self.median(), self.unit)?;
        if self.values.len() > 1 {
            write!(f, " ({least:.places$} to {most:.places$})")?;
        }
        let goal = match self.goal {
            Some(Goal::AtLeast(goal)) => format!("at least {goal}"),
            Some(Goal::AtMost(goal)) => format!("at most {goal}"),
            None => String::new(),
        };
        let met = self.is_met().map_or("", |met| if met { "yes" } else { "no" });
        write!(f, " | {goal} | {met} |")
    }
}

/// See `cargo xtask help`.
pub fn figures(args: &[String]) -> Result<()> {
    let options = Options::read(args, &["--small", "--release", "--debug", "--bin-dir", "--keep"])?;
    let extent = if options.small { SMALL } else { FULL };
    let mut story = Story::begin("figures of the whole stack");
    let mut programs = (PathBuf::new(), PathBuf::new());
    story.step("build cess-gateway and s3load", || {
        programs = (build("cess-gateway", &options)?, build("s3load", &options)?);
        Ok(String::new())
    })?;
    let work = Work::new("figures", options.keep)?;
    let mut bench = Bench {
        stack: Stack::new(&programs.0, &work.path.join("data"), &work.path),
        s3load: programs.1,
        work: work.path.clone(),
        extent,
        figures: Vec::new(),
    };
    bench.tell(&mut story)?;
    println!("\n| figure | median (least to most) | goal | met |\n|---|---|---|---|");
    bench.figures.iter().for_each(|figure| println!("{figure}"));
    story.end("measured");
    Ok(())
}

struct Bench {
    stack: Stack,
    s3load: PathBuf,
    work: PathBuf,
    extent: Extent,
    figures: Vec<Figure>,
}

impl Bench {
    fn tell(&mut self, story: &mut Story) -> Result<()> {
        story.step("start the whole stack, wait, look at its memory", || self.idle())?;
        story.step("PUT 4 KiB over 16 connections; synced appends of the disk", || self.puts())?;
        story.step("GET 4 KiB over 16 connections, from cache", || {
            self.rates("GET 4 KiB, 16 connections, cached", "get", &["--keys", "1000", "--prefill"], 10_000.0)
        })?;
        story.step("GET 4 KiB over one connection: the first byte", || self.first_byte())?;
        story.step("small objects: bytes of segments they take", || self.packing())?;
        story.step("ranges of dispersed objects, cold", || self.ranges())?;
        story.step("16 clients PUT, then GET large objects", || self.memory())?;
        story.step("stop", || self.stack.stop().map(|_| String::new()))
    }

    fn load(&self, verb: &str, args: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.s3load);
        command.arg(verb).args(["--json", "--ready"]).arg(self.stack.ready_file()).args(args);
        let text = output(&mut command)?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| format!("s3load {verb}: {error}: {text}"))?;
        if value["errors"].as_object().is_some_and(|errors| !errors.is_empty()) {
            return Err(format!("s3load {verb}: {}", value["errors"]));
        }
        Ok(value)
    }

    fn note(
        &mut self,
        name: &'static str,
        values: Vec<f64>,
        unit: &'static str,
        goal: Option<Goal>,
    ) -> String {
        let figure = Figure { name, values, unit, goal };
        let said = format!("{:.3} {unit}", figure.median());
        self.figures.push(figure);
        said
    }

    fn idle(&mut self) -> Result<String> {
        let (ready, waited) = self.stack.start_any()?;
        self.note("start of `dev` until ready", vec![waited.as_secs_f64()], "s", Some(Goal::AtMost(10.0)));
        wait(Duration::from_secs(5));
        let mib = resident_mib(ready["pid"].as_u64().ok_or("the ready file has no pid")?)?;
        Ok(self.note("resident memory, idle, 14 miners", vec![mib], "MiB", Some(Goal::AtMost(300.0))))
    }

    fn puts(&mut self) -> Result<String> {
        let (mut rates, mut cpu, mut floors) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.extent.rounds {
            floors.push(synced_appends(&self.work)?);
            let done = self.load("put", &["--duration", self.extent.duration])?;
            rates.push(number(&done["ops"][0]["per_second"]));
            cpu.push(number(&done["server"]["cpu_us_per_op"]));
        }
        self.note("4 KiB appends with a sync each, of the disk, one writer", floors, "/s", None);
        self.note("CPU of the stack for a PUT of 4 KiB", cpu, "us", None);
        Ok(self.note("PUT 4 KiB, 16 connections", rates, "/s", Some(Goal::AtLeast(3000.0))))
    }

    fn rates(&mut self, name: &'static str, verb: &str, args: &[&str], goal: f64) -> Result<String> {
        let mut rates = Vec::new();
        for _ in 0..self.extent.rounds {
            let done = self.load(verb, &[args, &["--duration", self.extent.duration]].concat())?;
            rates.push(number(&done["ops"][0]["per_second"]));
        }
        Ok(self.note(name, rates, "/s", Some(Goal::AtLeast(goal))))
    }

    fn first_byte(&mut self) -> Result<String> {
        let mut medians = Vec::new();
        for _ in 0..self.extent.rounds {
            let args = ["--keys", "1000", "--prefill", "-c", "1", "--duration", self.extent.duration];
            medians.push(number(&self.load("get", &args)?["ops"][0]["first_byte_ms"]["p50"]));
        }
        Ok(self.note(
            "first byte of a cached GET, one connection, p50",
            medians,
            "ms",
            Some(Goal::AtMost(1.0)),
        ))
    }

    fn packing(&mut self) -> Result<String> {
        let count = self.extent.small_objects;
        let before = self.used_bytes()?;
        let text = count.to_string();
        let args = ["--bucket", "packing", "--duration", "60m", "--count", &text, "--keys", &text];
        let done = self.load("put", &args)?;
        let puts = number(&done["ops"][0]["count"]);
        let ratio = (self.used_bytes()? - before) / (puts * SEALED_4K);
        let goal = Some(Goal::AtMost(1.1));
        Ok(self.note("segment bytes of small objects over their sealed size", vec![ratio], "x", goal))
    }

    fn used_bytes(&self) -> Result<f64> {
        Ok(number(&self.stack.ask(&["status"])?["segments"]["used_bytes"]))
    }

    fn ranges(&mut self) -> Result<String> {
        let large = ["--bucket", "ranges", "--size", "16MiB", "--keys", "8"];
        self.load("put", &[&large[..], &["--duration", "60m", "--count", "8", "-c", "2"]].concat())?;
        self.stack.ask(&["flush", "--level", "finalized", "--timeout", "1800"])?;
        let count = self.extent.ranges.to_string();
        let mut said = String::new();
        let shapes = [
            ("bytes fetched for a cold range: 64 KiB, aligned", "64KiB", "64KiB", 1.01),
            ("bytes fetched for a cold range: 1 MiB, anywhere", "1MiB", "1", 1.13),
        ];
        for (name, len, align, goal) in shapes {
            self.stack.ask(&["cache", "drop"])?;
            let before = self.fetched()?;
            let shape =
                ["--range-len", len, "--range-align", align, "-c", "1", "--duration", "60m", "--count"];
            let done = self.load("range", &[&large[..], &shape, &[&count]].concat())?;
            let got = number(&done["ops"][0]["mib_per_second"]) * number(&done["seconds"]) * 1048576.0;
            // Frames that a range before had fetched are not fetched again, so this can be below 1.
            let ratio = (self.fetched()? - before) / got;
            said = self.note(name, vec![ratio], "x", Some(Goal::AtMost(goal)));
        }
        Ok(said)
    }

    fn fetched(&self) -> Result<f64> {
        Ok(number(&self.stack.ask(&["status"])?["staging"]["fetched_bytes"]))
    }

    fn memory(&mut self) -> Result<String> {
        let size = self.extent.large_bytes.to_string();
        let large =
            ["--bucket", "large", "--size", &size, "--keys", "16", "--count", "16", "--timeout", "30m"];
        let large = [&large[..], &["--duration", "60m"]].concat();
        let mut most = 0.0_f64;
        for verb in ["put", "get"] {
            most = most.max(number(&self.load(verb, &large)?["server"]["rss_mib_max"]));
        }
        let goal = Some(Goal::AtMost(1024.0));
        Ok(self.note(
            "resident memory at most, 16 clients PUT, then GET 128 MiB each",
            vec![most],
            "MiB",
            goal,
        ))
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn resident_mib(pid: u64) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| format!("{path} has no VmRSS"))
}

/// How often a second 4 KiB can be appended to a file and synced, one after the other.
fn synced_appends(folder: &Path) -> Result<f64> {
    let path = folder.join("floor");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = File::create(&path).map_err(failed)?;
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < Duration::from_secs(1) {
        file.write_all(&[7; 4096]).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        count += 1;
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    fs::remove_file(&path).map_err(failed)?;
    Ok(rate)
}
