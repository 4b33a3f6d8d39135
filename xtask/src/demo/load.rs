//! The load tool, s3load, and the record it keeps of what was acknowledged.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::story::wait_for;
use crate::run::{Result, output};

/// Longest a load runs by itself; the gateway goes earlier.
const LOAD: &str = "60s";
/// It stops at once when the server goes; its requests have a time-out.
const END_MAX: Duration = Duration::from_secs(90);

/// s3load against one stack.
pub struct Load {
    program: PathBuf,
    ready_file: PathBuf,
    record: PathBuf,
}

/// A load that is running. It is killed when this is dropped.
pub struct Running(Option<Child>);

/// What a load came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    pub puts: u64,
    pub deletes: u64,
    pub in_flight: u64,
}

impl Load {
    /// With its record in `record`.
    pub fn new(program: &Path, ready_file: &Path, record: &Path) -> Self {
        Self {
            program: program.to_path_buf(),
            ready_file: ready_file.to_path_buf(),
            record: record.to_path_buf(),
        }
    }
    /// Starts to put, overwrite and delete.
    pub fn start(&self, seed: u64) -> Result<Running> {
        let mut command = self.command("record");
        command.args(["--duration", LOAD, "--seed", &seed.to_string()]).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        Ok(Running(Some(child)))
    }
    /// Compares every object with the record.
    pub fn verify(&self) -> Result<String> {
        let mut command = self.command("verify");
        let done = command.output().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let verified: Value = serde_json::from_slice(&done.stdout)
            .map_err(|_| format!("s3load verify: {}", String::from_utf8_lossy(&done.stderr)))?;
        if verified["violations"] != 0 || !done.status.success() {
            return Err(format!("not every acknowledged object is there, whole:\n{verified:#}"));
        }
        let count = |name: &str| verified[name].as_u64().unwrap_or_default();
        let open = (count("open_happened"), count("open_not_happened"));
        Ok(format!(
            "{} objects whole ({} MiB), {} deleted ones gone; in flight: {} happened, {} did not",
            count("objects"),
            count("bytes") >> 20,
            count("absent"),
            open.0,
            open.1
        ))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([verb, "--json", "--ready"]).arg(&self.ready_file).arg("--record").arg(&self.record);
        command
    }
}

impl Running {
    /// Whether it has ended by itself, which it should not before the gateway does.
    pub fn has_ended(&mut self) -> Result<bool> {
        let child = self.0.as_mut().ok_or("the load has ended")?;
        child.try_wait().map(|status| status.is_some()).map_err(|error| format!("s3load: {error}"))
    }
    /// Waits for its end, after the gateway went.
    pub fn end(mut self) -> Result<Acknowledged> {
        if wait_for(END_MAX, || Ok(self.has_ended()?.then_some(())))?.is_none() {
            return Err("s3load did not notice that the gateway went".to_owned());
        }
        let child = self.0.take().ok_or("the load has ended")?;
        let done = child.wait_with_output().map_err(|error| format!("s3load: {error}"))?;
        let recorded: Value = serde_json::from_slice(&done.stdout)
            .map_err(|_| format!("s3load record failed ({})", done.status))?;
        if let Some(refusal) = recorded["refusal"].as_str() {
            println!("               {} requests were refused, the first: {refusal}", recorded["refused"]);
        }
        let count = |name: &str| recorded[name].as_u64().unwrap_or_default();
        Ok(Acknowledged { puts: count("puts"), deletes: count("deletes"), in_flight: count("in_flight") })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Killed however the story ended.
            child.kill().and_then(|()| child.wait()).ok();
        }
    }
}

impl std::fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { puts, deletes, in_flight } = self;
        write!(f, "{puts} PUTs and {deletes} DELETEs acknowledged, {in_flight} in flight")
    }
}

/// Fails early where the tool cannot run.
pub fn check(program: &Path) -> Result<()> {
    output(Command::new(program).arg("--version")).map(|_| ())
}
