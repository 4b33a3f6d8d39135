//! `cargo xtask conformance posix`: suites of others against a mount.
//!
//! pjdfstest in its Rust form (a crate, installed into the target folder) and in its C form (checked
//! out by whoever runs this), and fsx (a crate) with seeds and kinds of caching. They run on a
//! namespace in memory, on the development gateway with all of its stack, or on whatever is mounted
//! already. Users are switched and devices made, so it needs root.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::run::{Result, cargo, root, run};

const PJDFSTEST: &str = "0.2.2";
const FSX: &str = "0.3.2";
/// Every operation that Linux has, bytes through descriptors and through mappings.
const FSX_CONFIG: &str = "flen = 262144\n[weights]\nclose_open = 1\ninvalidate = 1\ntruncate = 10\nfsync = 2\n\
    fdatasync = 2\nread = 10\nwrite = 10\nmapread = 10\nmapwrite = 10\nfallocate = 1\npunch_hole = 3\n\
    copy_file_range = 3\nsendfile = 1\nposix_fadvise = 1\n";
const START_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Asked {
    suite: Option<PathBuf>,
    gateway: bool,
    mount: Option<PathBuf>,
    only: Option<String>,
    seeds: u64,
    operations: u64,
    release: bool,
    json: bool,
}

fn parse(args: &[String]) -> Result<Asked> {
    let mut asked = Asked { seeds: 3, operations: 10_000, ..Asked::default() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number = |text: &String| text.parse().map_err(|_| format!("{text:?} is no number"));
        match arg.as_str() {
            "--suite" => asked.suite = Some(value()?.into()),
            "--mount" => asked.mount = Some(value()?.into()),
            "--files" => match value()?.as_str() {
                "memory" => asked.gateway = false,
                "gateway" => asked.gateway = true,
                other => return Err(format!("--files memory or gateway, not {other:?}")),
            },
            "--only" => match value()?.as_str() {
                only @ ("pjdfstest" | "suite" | "fsx") => asked.only = Some(only.to_owned()),
                other => return Err(format!("--only pjdfstest, suite or fsx, not {other:?}")),
            },
            "--seeds" => asked.seeds = number(value()?)?,
            "--ops" => asked.operations = number(value()?)?,
            "--release" => asked.release = true,
            "--json" => asked.json = true,
            other => return Err(format!("conformance posix has no option {other:?}")),
        }
    }
    Ok(asked)
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
    let asked = parse(args)?;
    if crate::run::output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err("the suites switch users and make devices: run this as root".to_owned());
    }
    let tools = install(&asked)?;
    let mut outcomes = Vec::new();
    let wants = |what: &str| asked.only.as_deref().is_none_or(|only| only == what);
    {
        let place = Place::new(&asked, false)?;
        if wants("pjdfstest") {
            outcomes.push(pjdfstest(&tools, &place.folder("pjdfstest-in-rust")?)?);
        }
        if let Some(suite) = asked.suite.as_deref().filter(|_| wants("suite")) {
            outcomes.push(c_suite(suite, &place.folder("pjdfstest-in-c")?)?);
        }
    }
    if wants("fsx") {
        for writeback in [false, true] {
            if writeback && asked.mount.is_some() {
                continue;
            }
            let place = Place::new(&asked, writeback)?;
            let name = if writeback { "fsx, writeback cache" } else { "fsx, page cache" };
            outcomes.push(fsx(name, &asked, &tools, &place.folder("fsx")?)?);
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
    for (name, version, wanted) in [("pjdfstest", PJDFSTEST, "pjdfstest"), ("fsx", FSX, "fsx")] {
        let skip = asked.only.as_deref().is_some_and(|only| only != wanted);
        if skip || bin.join(name).exists() {
            continue;
        }
        let mut install = cargo();
        install.args(["install", "--locked", name, "--version", version, "--root"]).arg(&at);
        install.arg("--target-dir").arg(at.join("target"));
        run(&mut install)?;
    }
    Ok(Tools { bin })
}

fn group_of(user: &str) -> Result<String> {
    Ok(crate::run::output(Command::new("id").args(["-gn", user]))?.trim().to_owned())
}

fn pjdfstest(tools: &Tools, at: &Path) -> Result<Outcome> {
    let config = target().join("conformance/pjdfstest.toml");
    let text = format!(
        "[features]\nposix_fallocate = {{}}\nrename_ctime = {{}}\nutime_now = {{}}\nutimensat = {{}}\n\
         [settings]\nnaptime = 0.001\nallow_remount = false\n\
         [dummy_auth]\nentries = [[\"nobody\", \"{}\"], [\"daemon\", \"{}\"]]\n",
        group_of("nobody")?,
        group_of("daemon")?
    );
    std::fs::write(&config, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(tools.bin.join("pjdfstest"));
    command.arg("-c").arg(&config).arg("-p").arg(at);
    let text = spoken(&mut command)?;
    // Summary: 0 failed, 16 skipped, 382 passed, 0 expected failures, 398 total
    let count = |what: &str| {
        let summary = text.lines().find(|line| line.starts_with("Summary:"))?;
        summary.split([':', ',']).find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    let (Some(passed), Some(skipped)) = (count("passed"), count("skipped")) else {
        return Err(format!("pjdfstest came to no end:\n{text}"));
    };
    let failures = text
        .lines()
        .filter_map(|line| line.strip_suffix("FAILED").map(|name| name.trim().to_owned()))
        .collect();
    Ok(Outcome { suite: "pjdfstest (Rust)".to_owned(), passed, skipped, failures })
}

fn c_suite(suite: &Path, at: &Path) -> Result<Outcome> {
    let suite = suite.canonicalize().map_err(|error| format!("{}: {error}", suite.display()))?;
    if !suite.join("pjdfstest").exists() {
        // Debian: apt-get install autoconf automake build-essential
        let build = "autoreconf -ifs && ./configure && make pjdfstest";
        run(Command::new("sh").args(["-c", build]).current_dir(&suite))?;
    }
    let mut prove = Command::new("prove");
    prove.arg("-rQ").arg(suite.join("tests")).current_dir(at);
    let text = spoken(&mut prove)?;
    // Files=238, Tests=8798, 77 wallclock secs …
    let total = text
        .lines()
        .find(|line| line.starts_with("Files="))
        .and_then(|line| line.split(", ").find_map(|part| part.strip_prefix("Tests=")?.parse::<u64>().ok()));
    let total = total.ok_or_else(|| format!("prove came to no end:\n{text}"))?;
    let mut failures = Vec::new();
    let mut file = String::new();
    for line in text.lines() {
        if let Some((name, _)) = line.split_once("(Wstat:") {
            file = name.rsplit("tests/").next().unwrap_or(name).trim().to_owned();
        }
        if let Some((_, numbers)) =
            line.split_once("Failed test:").or_else(|| line.split_once("Failed tests:"))
        {
            failures.extend(numbered(numbers).map(|number| format!("{file} {number}")));
        } else if line.contains("Non-zero exit") || line.contains("Bad plan") {
            failures.push(format!("{file}: {}", line.trim()));
        }
    }
    if failures.is_empty() && !text.contains("Result: PASS") {
        failures.push(text);
    }
    let passed = total.saturating_sub(failures.len() as u64);
    Ok(Outcome { suite: "pjdfstest (C)".to_owned(), passed, skipped: 0, failures })
}

/// `1, 3-5` as 1, 3, 4, 5.
fn numbered(text: &str) -> impl Iterator<Item = u64> {
    text.split(',').flat_map(|part| {
        let ends = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let ends = ends.0.parse().ok().zip(ends.1.parse().ok());
        ends.map_or(0..0, |(first, last): (u64, u64)| first..last + 1)
    })
}

fn fsx(name: &str, asked: &Asked, tools: &Tools, at: &Path) -> Result<Outcome> {
    let config = target().join("conformance/fsx.toml");
    std::fs::write(&config, FSX_CONFIG).map_err(|error| error.to_string())?;
    let mut outcome = Outcome { suite: name.to_owned(), passed: 0, skipped: 0, failures: Vec::new() };
    for seed in 1..=asked.seeds {
        let mut command = Command::new(tools.bin.join("fsx"));
        command.args(["-q", "-N", &asked.operations.to_string(), "-S", &seed.to_string(), "-f"]);
        command.arg(&config).arg("-P").arg(std::env::temp_dir()).arg(at.join(format!("seed-{seed}")));
        let text = spoken(&mut command)?;
        if text.contains("A-OK") {
            outcome.passed += 1;
        } else {
            outcome
                .failures
                .push(format!("seed {seed}: {}", text.lines().last().unwrap_or("it says nothing")));
        }
    }
    Ok(outcome)
}

/// All that a program says, whether it succeeds or not.
fn spoken(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&output.stdout) + &text(&output.stderr))
}

/// A mount to run in.
struct Place {
    /// Inside of the mount, where files can be made.
    at: PathBuf,
    server: Option<(Child, PathBuf)>,
}

impl Place {
    fn new(asked: &Asked, writeback: bool) -> Result<Self> {
        if let Some(at) = &asked.mount {
            return Ok(Self { at: at.clone(), server: None });
        }
        let folder =
            std::env::temp_dir().join(format!("posix-{}-{}", std::process::id(), u8::from(writeback)));
        let at = folder.join("mnt");
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        let child = if asked.gateway {
            gateway(asked, &folder, &at, writeback)?
        } else {
            memory(asked, &at, writeback)?
        };
        let mut place = Self { at: at.clone(), server: Some((child, folder.clone())) };
        let since = Instant::now();
        let ready = || match asked.gateway {
            true => folder.join("ready.json").exists(),
            false => is_mounted(&at),
        };
        while !ready() {
            let (child, _) = place.server.as_mut().ok_or("there is no server")?;
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("the server ended at once: {status}"));
            }
            if since.elapsed() > START_TIMEOUT {
                return Err("the server does not get ready".to_owned());
            }
            #[expect(clippy::disallowed_methods, reason = "another process is waited for")]
            std::thread::sleep(LOOK_EVERY);
        }
        if asked.gateway {
            // A directory of the root is a bucket.
            place.at = at.join("conformance");
            std::fs::create_dir_all(&place.at).map_err(|error| format!("making a bucket: {error}"))?;
        }
        Ok(place)
    }

    /// The Rust suite cannot make its longest paths below a very short one, so names are long here.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let at = self.at.join(name);
        std::fs::create_dir_all(&at).map_err(|error| format!("{}: {error}", at.display()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&at, mode).map_err(|error| format!("{}: {error}", at.display()))?;
        Ok(at)
    }
}

fn is_mounted(at: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

fn profile(asked: &Asked) -> &'static str {
    if asked.release { "release" } else { "debug" }
}

fn build(asked: &Asked, what: &[&str]) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--locked"]).args(what);
    if asked.release {
        build.arg("--release");
    }
    run(&mut build)
}

fn memory(asked: &Asked, at: &Path, writeback: bool) -> Result<Child> {
    build(asked, &["-p", "gw-fuse", "--example", "fuse_memory"])?;
    let mut server = Command::new(target().join(profile(asked)).join("examples/fuse_memory"));
    server.args(["--allow-other", "--suid", "--dev"]).arg(at).stdout(Stdio::null());
    if writeback {
        server.arg("--writeback");
    }
    server.spawn().map_err(|error| format!("fuse_memory: {error}"))
}

fn gateway(asked: &Asked, folder: &Path, at: &Path, writeback: bool) -> Result<Child> {
    build(asked, &["-p", "gateway"])?;
    let mut server = Command::new(target().join(profile(asked)).join("cess-gateway"));
    let free = "127.0.0.1:0";
    server.arg("--data-dir").arg(folder.join("data")).arg("dev");
    for listen in ["--s3-listen", "--admin-listen", "--chain-listen"] {
        server.args([listen, free]);
    }
    let options = if writeback { "allow_other,suid,dev,writeback" } else { "allow_other,suid,dev" };
    server.arg("--mount").arg(at).args(["--mount-options", options]);
    server.arg("--ready-file").arg(folder.join("ready.json")).stdout(Stdio::null());
    let log = std::fs::File::create(folder.join("gateway.log")).map_err(|error| error.to_string())?;
    server.stderr(log).spawn().map_err(|error| format!("cess-gateway: {error}"))
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((mut child, folder)) = self.server.take() else { return };
        // The server unmounts when it is told to end; what it then leaves is taken away here.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let _ = child.wait();
        if is_mounted(&folder.join("mnt")) {
            let _ = Command::new("umount").arg("-l").arg(folder.join("mnt")).status();
        }
        let _ = std::fs::remove_dir_all(&folder);
    }
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn numbers_of_failed_tests_are_read() {
        assert_eq!(numbered("  3-5, 9, 12-12").collect::<Vec<_>>(), [3, 4, 5, 9, 12]);
        assert_eq!(numbered("").count(), 0);
    }
}
