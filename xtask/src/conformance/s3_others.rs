//! `cargo xtask conformance s3 --mint DIR` and `--msst DIR`: two more suites, against the whole stack.
//!
//! Neither is part of this repository. **mint** (MinIO) is a folder of programs, one for each SDK or
//! tool; each is run where it lies, as mint's container would run it, and writes a JSON line for each
//! of its tests. What mint's own `build/` scripts download must have been put there before; a program
//! that is not there is said to be missing. **msst-s3** is a folder of Python files, loaded by
//! `msst.py`. Both make buckets public by lists and policies without asking for it when they make them, as
//! AWS let them before April 2023; and awscli presigns for us-east-1 with Signature Version 2.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::s3_server::{Kind, Server};
use crate::demo::{Work, wait_for};
use crate::run::Result;

/// A suite that lasts longer hangs.
const SUITE_MAX: Duration = Duration::from_secs(3 * 3600);

/// What to run and how to say what came of it.
pub struct Others {
    /// A checkout of minio/mint.
    pub mint: Option<PathBuf>,
    /// A checkout of mcgrof/msst-s3.
    pub msst: Option<PathBuf>,
    pub python: PathBuf,
    pub matching: String,
    pub json: bool,
}

/// One folder of mint's `run/core`: the program in it, and what it is started with.
struct Tool {
    name: &'static str,
    /// In its folder. `OUT` and `ERR` in the arguments are files.
    program: &'static str,
    args: &'static [&'static str],
}

const TOOLS: [Tool; 7] = [
    Tool { name: "awscli", program: "./run.sh", args: &["OUT", "ERR"] },
    Tool { name: "s3cmd", program: "./run.sh", args: &["OUT", "ERR"] },
    Tool { name: "minio-py", program: "tests.py", args: &[] },
    Tool { name: "minio-go", program: "./minio-go", args: &[] },
    Tool { name: "versioning", program: "./tests", args: &[] },
    Tool { name: "aws-sdk-go-v2", program: "./aws-sdk-go-v2", args: &[] },
    Tool { name: "mc", program: "./mc", args: &[] },
];

/// Files that mint's tools send, with their sizes in bytes (`create-data-files.sh`).
const FILES: [(&str, u64); 15] = [
    ("datafile-0-b", 0),
    ("datafile-1-b", 1),
    ("datafile-1-kB", 1 << 10),
    ("datafile-10-kB", 10 << 10),
    ("datafile-33-kB", 33 << 10),
    ("datafile-100-kB", 100 << 10),
    ("datafile-1.03-MB", 1056 << 10),
    ("datafile-1-MB", 1 << 20),
    ("datafile-5-MB", 5 << 20),
    ("datafile-5243880-b", 5_243_880),
    ("datafile-6-MB", 6 << 20),
    ("datafile-10-MB", 10 << 20),
    ("datafile-11-MB", 11 << 20),
    ("datafile-65-MB", 65 << 20),
    ("datafile-129-MB", 129 << 20),
];

/// Runs minio-py's tests, which would end with the first that fails.
const GO_ON: &str = "
import importlib.util, sys
spec = importlib.util.spec_from_file_location('tests', sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
call = tests._call_test
def go_on(*args, **kwargs):
    try:
        call(*args, **kwargs)
    except tests.TestFailed:
        pass
tests._call_test = go_on
tests.main()
";

/// What came of one part of a suite.
#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    /// Tests that say of themselves that they do not apply.
    not_applicable: u32,
    failures: Vec<(String, String)>,
}

/// Runs what `others` names against a server of `kind`; an error where something failed.
pub fn others(others: &Others, kind: &Kind) -> Result<()> {
    let server = Server::start(kind, &["suite"])?;
    let work = Work::new("s3-others", false)?;
    let mut counts = BTreeMap::new();
    if let Some(folder) = &others.mint {
        mint(others, folder, &server, &work.path, &mut counts)?;
    }
    if let Some(folder) = &others.msst {
        msst(others, folder, &server, &work.path, &mut counts)?;
    }
    report(&counts, others.json);
    Ok(())
}

fn mint(
    others: &Others,
    folder: &Path,
    server: &Server,
    work: &Path,
    counts: &mut BTreeMap<String, Count>,
) -> Result<()> {
    let data = work.join("data");
    make_files(&data)?;
    for tool in TOOLS.iter().filter(|tool| tool.name.contains(&others.matching)) {
        let home = folder.join("run/core").join(tool.name);
        let count = counts.entry(format!("mint {}", tool.name)).or_default();
        // The script of mc stands beside mc.
        let script = if tool.name == "mc" { "./functional-tests.sh" } else { tool.program };
        if let Some(missing) = [tool.program, script].into_iter().find(|name| !home.join(name).is_file()) {
            count.failures.push((missing.to_owned(), format!("is missing in {}", home.display())));
            continue;
        }
        let (out, err) = (work.join(format!("{}.out", tool.name)), work.join(format!("{}.err", tool.name)));
        let mut command = match script.strip_suffix(".py") {
            Some(_) => Command::new(&others.python),
            None => Command::new(home.join(script)),
        };
        if script.ends_with(".py") {
            command.args(["-c", GO_ON, script]);
        }
        for arg in tool.args {
            command.arg(if *arg == "OUT" { &out } else { &err });
        }
        environment(&mut command, others, server, work);
        let user = &server.users[0];
        command.env("SERVER_ENDPOINT", &server.address).env("SERVER_REGION", "us-east-1");
        command.env("ACCESS_KEY", &user.access_key).env("SECRET_KEY", &user.secret_key);
        command.env("ENABLE_HTTPS", "0").env("ENABLE_VIRTUAL_STYLE", "0").env("MINT_MODE", "full");
        command.env("MINT_DATA_DIR", &data).env("DATA_DIR", &data).env("RUN_ON_FAIL", "1");
        command.current_dir(&home);
        eprintln!("mint {}", tool.name);
        let status = ended(&mut command, &out, &err)?;
        read_mint(&out, count)?;
        if !status.success() && count.failed == 0 {
            let said = fs::read_to_string(&err).unwrap_or_default();
            count.failures.push((tool.name.to_owned(), format!("{status}: {}", tail(&said))));
        }
    }
    Ok(())
}

fn msst(
    others: &Others,
    folder: &Path,
    server: &Server,
    work: &Path,
    counts: &mut BTreeMap<String, Count>,
) -> Result<()> {
    let script = work.join("msst.py");
    fs::write(&script, include_str!("msst.py")).map_err(|error| error.to_string())?;
    let (lines, log) = (work.join("msst.jsonl"), work.join("msst.log"));
    let user = &server.users[0];
    let mut command = Command::new(&others.python);
    environment(&mut command, others, server, work);
    command.arg(&script).current_dir(work);
    command.env("MSST", folder).env("MSST_OUT", &lines).env("MSST_MATCH", &others.matching);
    command.env("MSST_REGION", "us-east-1").env("S3_ENDPOINT", server.url());
    command.env("AWS_ACCESS_KEY_ID", &user.access_key).env("AWS_SECRET_ACCESS_KEY", &user.secret_key);
    let status = ended(&mut command, &log, &log)?;
    let text = fs::read_to_string(&lines).unwrap_or_default();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let kind = if line["numbered"] == true { "msst-s3, numbered files" } else { "msst-s3, named files" };
        let count = counts.entry(kind.to_owned()).or_default();
        if line["passed"] == true {
            count.passed += 1;
            continue;
        }
        count.failed += 1;
        let why: Vec<&str> =
            line["failed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let test = line["test"].as_str().unwrap_or_default().to_owned();
        count.failures.push((test, why.join("; ")));
    }
    if status.success() {
        return Ok(());
    }
    Err(format!("msst.py ended with {status}: {}", tail(&fs::read_to_string(&log).unwrap_or_default())))
}

/// What both suites' programs get: the Python's folder first on the path, a home of their own, no proxy.
fn environment(command: &mut Command, others: &Others, server: &Server, work: &Path) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let folder = others.python.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    command.env("HOME", work).env("NO_PROXY", server.address.split(':').next().unwrap_or_default());
    command.env("AWS_EC2_METADATA_DISABLED", "true");
}

/// Runs a program to its end with its output in files.
fn ended(command: &mut Command, out: &Path, err: &Path) -> Result<ExitStatus> {
    let open = |path: &Path| {
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    command.stdin(Stdio::null()).stdout(open(out)?).stderr(open(err)?);
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    match wait_for(SUITE_MAX, || child.try_wait().map_err(|error| error.to_string()))? {
        Some(status) => Ok(status),
        None => {
            child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
            Err(format!("{command:?} was not done after {} s", SUITE_MAX.as_secs()))
        }
    }
}

fn read_mint(out: &Path, count: &mut Count) -> Result<()> {
    let text = fs::read_to_string(out).map_err(|error| format!("{}: {error}", out.display()))?;
    for line in text.lines() {
        // Some tools also write lines for people.
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let word = |name: &str| line[name].as_str().unwrap_or_default();
        match word("status").to_ascii_uppercase().as_str() {
            "PASS" => count.passed += 1,
            "NA" => count.not_applicable += 1,
            "FAIL" => {
                count.failed += 1;
                let why = if word("error").is_empty() { word("message") } else { word("error") };
                count.failures.push((word("function").trim().to_owned(), why.to_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Random bytes: nothing in them can be guessed or compressed.
fn make_files(folder: &Path) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, bytes) in FILES {
        let mut random = File::open("/dev/urandom").map_err(failed)?.take(bytes);
        let mut file = File::create(folder.join(name)).map_err(failed)?;
        std::io::copy(&mut random, &mut file).map_err(failed)?;
    }
    Ok(())
}

fn tail(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or("it said nothing")
}

fn report(counts: &BTreeMap<String, Count>, as_json: bool) {
    if as_json {
        let counts: BTreeMap<_, _> = counts
            .iter()
            .map(|(name, count)| {
                let failures: Vec<Value> =
                    count.failures.iter().map(|(test, why)| json!({ "test": test, "why": why })).collect();
                let Count { passed, failed, not_applicable, .. } = count;
                let value = json!({ "passed": passed, "failed": failed, "not_applicable": not_applicable, "failures": failures });
                (name, value)
            })
            .collect();
        println!("{}", json!(counts));
        return;
    }
    println!("{:<28}{:>8}{:>8}{:>16}", "", "passed", "failed", "not applicable");
    for (name, count) in counts {
        println!("{name:<28}{:>8}{:>8}{:>16}", count.passed, count.failed, count.not_applicable);
    }
    for (name, count) in counts {
        for (test, why) in &count.failures {
            println!("  {name}: {test}  {why}");
        }
    }
}
