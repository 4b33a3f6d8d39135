//! `cargo xtask conformance s3`: ceph/s3-tests against the S3 frontend.
//!
//! The suite is not part of this repository: it is checked out beside it, and a Python that has its
//! `requirements.txt` runs it. The server is the real frontend over a store in memory, or with
//! `--gateway` the whole stack, with the suite's users, buckets made as AWS made them before 2023 and
//! Signature Version 2 let in where it may be: the suite's tests of access lists and forms are from that
//! time. Nothing is dispersed from a store in memory, so its staging would fill in time: each batch of
//! tests gets a server of its own. Each test's marks and outcome come from a plugin
//! (`marks.py`), because pytest's own reports know nothing of marks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::s3_areas::{area, is_generic};
use super::s3_others::{Others, others};
use super::s3_server::{Kind, Server, User};
use crate::run::Result;

/// The suite's users: section of its configuration, name.
const USERS: [(&str, &str); 6] = [
    ("s3 main", "testid"),
    ("s3 alt", "altid"),
    ("s3 tenant", "testx$tenantid"),
    ("iam", "iamid"),
    ("iam root", "rootid"),
    ("iam alt root", "altrootid"),
];

const S3_FILES: [&str; 2] = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"];
/// With `--iam`, in place of those.
const IAM_FILES: [&str; 2] = ["s3tests/functional/test_iam.py", "s3tests/functional/test_sts.py"];

/// Tests that one server sees: they leave some 700 MiB in its staging at most.
const BATCH: usize = 120;

struct Options {
    suite: PathBuf,
    python: PathBuf,
    only: Option<PathBuf>,
    matching: Option<String>,
    timeout: Option<String>,
    all: bool,
    iam: bool,
    json: bool,
    keep: bool,
}

/// Everything that may be said behind `conformance s3`.
#[derive(Default)]
struct Flags {
    suite: Option<PathBuf>,
    mint: Option<PathBuf>,
    msst: Option<PathBuf>,
    python: Option<PathBuf>,
    only: Option<PathBuf>,
    matching: Option<String>,
    timeout: Option<String>,
    bin_dir: Option<PathBuf>,
    all: bool,
    iam: bool,
    json: bool,
    keep: bool,
    gateway: bool,
    debug: bool,
}

impl Flags {
    fn read(args: &[String]) -> Result<Self> {
        let mut flags = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().cloned().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--suite" => flags.suite = Some(value()?.into()),
                "--mint" => flags.mint = Some(value()?.into()),
                "--msst" => flags.msst = Some(value()?.into()),
                "--python" => flags.python = Some(value()?.into()),
                "--only" => flags.only = Some(value()?.into()),
                "--match" => flags.matching = Some(value()?),
                "--timeout" => flags.timeout = Some(value()?),
                "--bin-dir" => flags.bin_dir = Some(value()?.into()),
                "--all" => flags.all = true,
                "--iam" => flags.iam = true,
                "--json" => flags.json = true,
                "--keep" => flags.keep = true,
                "--gateway" => flags.gateway = true,
                "--debug" => flags.debug = true,
                other => return Err(format!("conformance s3 does not know {other:?}")),
            }
        }
        Ok(flags)
    }

    /// What ceph/s3-tests is told.
    fn suite(self) -> Result<Options> {
        let wanted = "conformance s3 --suite, --mint or --msst DIR: a checkout of ceph/s3-tests, minio/mint or msst-s3";
        let suite = self.suite.ok_or(wanted)?;
        if !suite.join("s3tests/functional/test_s3.py").is_file() {
            return Err(format!("{} is no checkout of ceph/s3-tests", suite.display()));
        }
        let python = self.python.unwrap_or_else(|| "python3".into());
        let Self { only, matching, timeout, all, iam, json, keep, .. } = self;
        Ok(Options { suite, python, only, matching, timeout, all, iam, json, keep })
    }
}

/// What is known of one test.
#[derive(Default)]
struct Test {
    marks: Vec<String>,
    outcome: String,
    reason: String,
}

#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Count {
    fn add(&mut self, outcome: &str) {
        *match outcome {
            "passed" => &mut self.passed,
            "skipped" => &mut self.skipped,
            _ => &mut self.failed,
        } += 1;
    }
    fn json(&self) -> Value {
        json!({ "passed": self.passed, "failed": self.failed, "skipped": self.skipped })
    }
}

/// Runs the generic tests; with `--all` every one, with `--iam` those on IAM and STS, with `--only` those
/// a file names.
pub fn s3(args: &[String]) -> Result<()> {
    let flags = Flags::read(args)?;
    let whole = flags.gateway || flags.mint.is_some() || flags.msst.is_some();
    let kind = if whole { Kind::whole(flags.debug, flags.bin_dir.clone())? } else { Kind::memory()? };
    if flags.mint.is_some() || flags.msst.is_some() {
        let Flags { mint, msst, python, matching, json, .. } = flags;
        let python = python.unwrap_or_else(|| "python3".into());
        return others(&Others { mint, msst, python, matching: matching.unwrap_or_default(), json }, &kind);
    }
    suite(&flags.suite()?, &kind)
}

fn suite(options: &Options, kind: &Kind) -> Result<()> {
    let failed = |error: std::io::Error| error.to_string();
    let folder = std::env::temp_dir().join(format!("s3-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::write(folder.join("marks.py"), include_str!("marks.py")).map_err(failed)?;
    std::fs::write(folder.join("s3tests.conf"), configuration("127.0.0.1:9", &nobody())?).map_err(failed)?;
    pytest(options, &folder, &["--collect-only"])?;
    let chosen = choose(options, &read_marks(&folder)?)?;
    for (number, batch) in chosen.chunks(BATCH).enumerate() {
        let server = Server::start(kind, &USERS.map(|(_, name)| name))?;
        eprintln!("batch {} of {}: {} tests", number + 1, chosen.len().div_ceil(BATCH), batch.len());
        std::fs::write(folder.join("s3tests.conf"), configuration(&server.address, &server.users)?)
            .map_err(failed)?;
        std::fs::write(folder.join("only"), batch.join("\n")).map_err(failed)?;
        pytest(options, &folder, &[])?;
    }
    report(options, &read_marks(&folder)?);
    if options.keep {
        println!("kept: {}", folder.display());
        return Ok(());
    }
    std::fs::remove_dir_all(&folder).map_err(failed)
}

fn choose(options: &Options, tests: &BTreeMap<String, Test>) -> Result<Vec<String>> {
    let named = match &options.only {
        None => None,
        Some(file) => {
            Some(std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?)
        }
    };
    let wanted = |id: &str, test: &Test| match &named {
        Some(names) => names.lines().any(|name| name.trim() == id),
        None => options.all || options.iam || is_generic(id, &test.marks),
    };
    let matching = options.matching.as_deref().unwrap_or_default();
    let chosen: Vec<String> = tests
        .iter()
        .filter(|(id, test)| wanted(id, test) && id.contains(matching))
        .map(|(id, _)| id.clone())
        .collect();
    if chosen.is_empty() { Err("no test is so named".to_owned()) } else { Ok(chosen) }
}

/// Names for collecting tests: the suite reads its configuration before it lists them.
fn nobody() -> [User; 6] {
    let none = || "none".to_owned();
    USERS.map(|(_, name)| User { name: name.to_owned(), access_key: none(), secret_key: none() })
}

fn configuration(address: &str, users: &[User]) -> Result<String> {
    let (host, port) = address.rsplit_once(':').ok_or("an address has a port")?;
    let mut text =
        format!("[DEFAULT]\nhost = {host}\nport = {port}\nis_secure = False\nssl_verify = False\n");
    text.push_str("[fixtures]\nbucket prefix = cess-{random}-\niam name prefix = s3-tests-\niam path prefix = /s3-tests/\n");
    for ((section, _), User { name, access_key, secret_key }) in USERS.into_iter().zip(users) {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[{section}]\ndisplay_name = {name}\nuser_id = {name}\nemail = {access_key}@example.com\n\
             api_name = cess-1\naccess_key = {access_key}\nsecret_key = {secret_key}\n"
        );
        if section == "s3 tenant" {
            text.push_str("tenant = testx\n");
        }
    }
    text.push_str("[webidentity]\ntoken=x\naud=x\nsub=x\nazp=x\nuser_token=x\nthumbprint=x\nKC_REALM=x\n");
    Ok(text)
}

/// Runs the tests that the file `only` names, where there is one.
fn pytest(options: &Options, folder: &Path, more: &[&str]) -> Result<()> {
    let failed = |error: std::io::Error| error.to_string();
    let log = std::fs::File::options().create(true).append(true).open(folder.join("pytest.log"));
    let mut command = Command::new(&options.python);
    command
        .current_dir(&options.suite)
        .args(["-m", "pytest", "-p", "marks", "-p", "no:cacheprovider", "-q", "--tb=line"])
        .args(more)
        .args(if options.iam { IAM_FILES } else { S3_FILES })
        .env("PYTHONPATH", folder)
        .env("S3TEST_CONF", folder.join("s3tests.conf"))
        .env("CONFORMANCE_MARKS", folder.join("marks.jsonl"))
        .env("NO_PROXY", "127.0.0.1")
        .stdout(log.map_err(failed)?);
    if options.iam && more.is_empty() {
        command.env("CONFORMANCE_IAM", "1");
    }
    if let Some(seconds) = &options.timeout {
        command.args(["--timeout", seconds]);
    }
    if folder.join("only").is_file() {
        command.env("CONFORMANCE_ONLY", folder.join("only"));
    }
    let status = command.status().map_err(|error| format!("{}: {error}", options.python.display()))?;
    // 1: some tests failed, which is what is to be counted.
    match status.code() {
        Some(0 | 1) => Ok(()),
        _ => Err(format!("pytest ended with {status}; see {}", folder.join("pytest.log").display())),
    }
}

fn read_marks(folder: &Path) -> Result<BTreeMap<String, Test>> {
    let text = std::fs::read_to_string(folder.join("marks.jsonl"))
        .map_err(|error| format!("no test was found: {error}"))?;
    let mut tests: BTreeMap<String, Test> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let test = tests.entry(word("id")).or_default();
        match word("outcome").as_str() {
            "collected" => {
                let marks = line["markers"].as_array().cloned().unwrap_or_default();
                test.marks = marks.iter().filter_map(|mark| mark.as_str().map(str::to_owned)).collect();
            }
            outcome => {
                test.outcome = outcome.to_owned();
                test.reason = word("reason");
            }
        }
    }
    Ok(tests)
}

fn report(options: &Options, tests: &BTreeMap<String, Test>) {
    let (mut areas, mut all, mut generic) =
        (BTreeMap::<&str, Count>::new(), Count::default(), Count::default());
    let mut failures = Vec::new();
    let mut of = 0;
    for (id, test) in tests {
        let counts = is_generic(id, &test.marks);
        of += u32::from(counts);
        if test.outcome.is_empty() {
            continue;
        }
        all.add(&test.outcome);
        if counts {
            generic.add(&test.outcome);
            areas.entry(area(id)).or_default().add(&test.outcome);
        }
        if (counts || options.iam) && !matches!(test.outcome.as_str(), "passed" | "skipped") {
            failures.push(json!({ "test": id, "reason": test.reason }));
        }
    }
    if options.json {
        let areas: BTreeMap<_, _> = areas.iter().map(|(area, count)| (*area, count.json())).collect();
        println!(
            "{}",
            json!({ "areas": areas, "generic": generic.json(), "generic_of": of, "run": all.json(), "failures": failures })
        );
        return;
    }
    println!("{:<24}{:>8}{:>8}{:>8}", "generic tests about", "passed", "failed", "skipped");
    for (area, count) in &areas {
        println!("{area:<24}{:>8}{:>8}{:>8}", count.passed, count.failed, count.skipped);
    }
    println!(
        "{:<24}{:>8}{:>8}{:>8}   of {of} in the suite",
        "generic", generic.passed, generic.failed, generic.skipped
    );
    println!("{:<24}{:>8}{:>8}{:>8}", "all that were run", all.passed, all.failed, all.skipped);
    for failure in failures {
        println!(
            "  {}  {}",
            failure["test"].as_str().unwrap_or_default(),
            failure["reason"].as_str().unwrap_or_default()
        );
    }
}
