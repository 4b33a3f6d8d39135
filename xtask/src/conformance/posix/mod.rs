//! `cargo xtask conformance posix`: suites of others against a mount.
//!
//! pjdfstest in its Rust form (a crate, installed into the target folder) and in its C form (checked
//! out by whoever runs this); fsx as a crate and in the form of xfstests, with seeds and kinds of
//! caching. They run on a namespace in memory, on the development gateway with all of its stack, or on
//! whatever is mounted already. After each run of fsx on the gateway its file is fetched by S3 and
//! compared with what the mount reads. Users are switched and devices made, so it needs root.

mod fsx;
mod pjdfstest;
mod place;

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use self::place::Place;
use crate::run::{Result, cargo, root, run};

const PJDFSTEST: &str = "0.2.2";
const FSX: &str = "0.3.2";

#[derive(Default)]
struct Asked {
    suite: Option<PathBuf>,
    fsx: Option<PathBuf>,
    bin_dir: Option<PathBuf>,
    gateway: bool,
    mount: Option<PathBuf>,
    only: Option<String>,
    writeback: Option<bool>,
    first_seed: u64,
    seeds: u64,
    operations: u64,
    release: bool,
    json: bool,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self> {
        let mut asked = Self { first_seed: 1, seeds: 3, operations: 10_000, ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            let number = |text: &String| text.parse().map_err(|_| format!("{text:?} is no number"));
            match arg.as_str() {
                "--suite" => asked.suite = Some(value()?.into()),
                "--fsx" => asked.fsx = Some(value()?.into()),
                "--bin-dir" => asked.bin_dir = Some(value()?.into()),
                "--mount" => asked.mount = Some(value()?.into()),
                "--files" => match value()?.as_str() {
                    "memory" => asked.gateway = false,
                    "gateway" => asked.gateway = true,
                    other => return Err(format!("--files memory or gateway, not {other:?}")),
                },
                "--cache" => match value()?.as_str() {
                    "pages" => asked.writeback = Some(false),
                    "writeback" => asked.writeback = Some(true),
                    other => return Err(format!("--cache pages or writeback, not {other:?}")),
                },
                "--only" => match value()?.as_str() {
                    only @ ("pjdfstest" | "suite" | "fsx") => asked.only = Some(only.to_owned()),
                    other => return Err(format!("--only pjdfstest, suite or fsx, not {other:?}")),
                },
                "--first-seed" => asked.first_seed = number(value()?)?,
                "--seeds" => asked.seeds = number(value()?)?,
                "--ops" => asked.operations = number(value()?)?,
                "--release" => asked.release = true,
                "--json" => asked.json = true,
                other => return Err(format!("conformance posix has no option {other:?}")),
            }
        }
        Ok(asked)
    }

    fn wants(&self, what: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == what)
    }
}

/// What one suite came to.
struct Outcome {
    suite: String,
    passed: u64,
    skipped: u64,
    failures: Vec<String>,
}

/// Runs what is asked for; an error when anything failed.
pub fn posix(args: &[String]) -> Result<()> {
    let asked = Asked::parse(args)?;
    if crate::run::output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err("the suites switch users and make devices: run this as root".to_owned());
    }
    let tools = install(&asked)?;
    let mut outcomes = Vec::new();
    if asked.wants("pjdfstest") || asked.suite.is_some() && asked.wants("suite") {
        let place = Place::new(&asked, false)?;
        if asked.wants("pjdfstest") {
            outcomes.push(pjdfstest::pjdfstest(&tools, &place.folder("pjdfstest-in-rust")?)?);
        }
        if let Some(suite) = asked.suite.as_deref().filter(|_| asked.wants("suite")) {
            outcomes.push(pjdfstest::c_suite(suite, &place.folder("pjdfstest-in-c")?)?);
        }
    }
    if asked.wants("fsx") {
        for writeback in [false, true] {
            let other = asked.writeback.is_some_and(|only| only != writeback);
            if other || writeback && asked.mount.is_some() {
                continue;
            }
            let place = Place::new(&asked, writeback)?;
            outcomes.extend(fsx::fsx(&asked, &tools, &place, writeback)?);
        }
    }
    tell(&outcomes, asked.json)
}

fn tell(outcomes: &[Outcome], as_json: bool) -> Result<()> {
    let failed: usize = outcomes.iter().map(|outcome| outcome.failures.len()).sum();
    if as_json {
        let list: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                json!({
                    "suite": outcome.suite, "passed": outcome.passed,
                    "skipped": outcome.skipped, "failures": outcome.failures,
                })
            })
            .collect();
        println!("{}", json!(list));
    } else {
        println!("\n{:28} {:>8} {:>8} {:>8}", "suite", "passed", "failed", "skipped");
        for outcome in outcomes {
            let (passed, failed) = (outcome.passed, outcome.failures.len());
            println!("{:28} {passed:>8} {failed:>8} {:>8}", outcome.suite, outcome.skipped);
        }
        for outcome in outcomes {
            for failure in &outcome.failures {
                println!("FAILED  {}: {failure}", outcome.suite);
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} failures")) }
}

/// Programs and their configuration.
struct Tools {
    bin: PathBuf,
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

fn install(asked: &Asked) -> Result<Tools> {
    let at = target().join("conformance");
    let bin = at.join("bin");
    for (name, version) in [("pjdfstest", PJDFSTEST), ("fsx", FSX)] {
        if !asked.wants(name) || bin.join(name).exists() {
            continue;
        }
        let mut install = cargo();
        install.args(["install", "--locked", name, "--version", version, "--root"]).arg(&at);
        install.arg("--target-dir").arg(at.join("target"));
        run(&mut install)?;
    }
    std::fs::create_dir_all(&at).map_err(|error| format!("{}: {error}", at.display()))?;
    Ok(Tools { bin })
}

/// All that a program says, whether it succeeds or not.
fn spoken(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&output.stdout) + &text(&output.stderr))
}
