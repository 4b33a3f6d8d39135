//! The whole stack, `cess-gateway dev`, or a gateway alone, `cess-gateway serve`, as a child process.
//!
//! It is started with free ports and waited for by its ready file; it can be stopped as an operator
//! would (SIGTERM), killed (SIGKILL) or frozen (SIGSTOP). However the story ends, the process is
//! killed by its id when this is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::story::wait_for;
use crate::run::{Result, output};

/// A stack that is not ready by then is broken, on any machine.
const READY_MAX: Duration = Duration::from_secs(120);
/// A graceful stop drains requests and syncs.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Lines of the log that are shown when something failed.
const LOG_LINES: usize = 25;

/// The stack and where its files are.
pub struct Stack {
    program: PathBuf,
    data: PathBuf,
    ready_file: PathBuf,
    log: PathBuf,
    verb: Vec<String>,
    flags: Vec<String>,
    child: Option<Child>,
}

/// What a ready file says.
#[derive(Clone)]
pub struct Ready {
    pub s3: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

impl Stack {
    /// Of `program`, with its data in `data` and everything else in `work`.
    pub fn new(program: &Path, data: &Path, work: &Path) -> Self {
        Self {
            program: program.to_path_buf(),
            data: data.to_path_buf(),
            ready_file: work.join("ready.json"),
            log: work.join("gateway.log"),
            verb: dev(data),
            flags: Vec::new(),
            child: None,
        }
    }
    /// `serve` with this configuration, which says that the data are in `data`.
    pub fn serving(program: &Path, config: &Path, data: &Path, work: &Path) -> Self {
        let verb = vec!["serve".to_owned(), "--config".to_owned(), config.to_string_lossy().into_owned()];
        let mut stack = Self::new(program, data, work);
        stack.ready_file = work.join("serve-ready.json");
        stack.log = work.join("serve.log");
        stack.verb = verb;
        stack
    }
    /// With more flags for `dev`.
    pub fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }
    /// Where the ready file is.
    pub fn ready_file(&self) -> &Path {
        &self.ready_file
    }

    /// Starts the process and does not wait.
    pub fn spawn(&mut self) -> Result<()> {
        assert!(self.child.is_none(), "one stack at a time");
        // A process that was killed left its ready file; it must not be taken for the new one's.
        fs::remove_file(&self.ready_file).ok();
        let open = || File::options().create(true).append(true).open(&self.log);
        let log = || open().map_err(|error| format!("{}: {error}", self.log.display()));
        let mut command = Command::new(&self.program);
        command.args(&self.verb).arg("--ready-file").arg(&self.ready_file);
        command.args(&self.flags).stdin(Stdio::null()).stdout(log()?).stderr(log()?);
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }
    /// Starts the process and waits until it serves; says how long that took.
    pub fn start(&mut self) -> Result<(Ready, Duration)> {
        let (value, waited) = self.start_any()?;
        let ready = Ready::read(&value).ok_or_else(|| format!("the ready file lacks something: {value}"))?;
        Ok((ready, waited))
    }
    /// The same, with whatever the ready file says.
    pub fn start_any(&mut self) -> Result<(Value, Duration)> {
        let begun = Instant::now();
        self.spawn()?;
        let pid = self.pid()?;
        let found = wait_for(READY_MAX, || match self.exit()? {
            Some(status) => Err(format!("the gateway ended at its start ({status})\n{}", self.log_tail())),
            None => Ok(read_ready(&self.ready_file, pid)),
        })?;
        let waited = begun.elapsed();
        let ready = found.ok_or_else(|| {
            format!("the gateway was not ready after {} s\n{}", waited.as_secs(), self.log_tail())
        })?;
        Ok((ready, waited))
    }
    /// SIGTERM, then waits for a clean end.
    pub fn stop(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.signal("TERM")?;
        match wait_for(STOP_MAX, || self.exit())? {
            Some(status) if status.success() => {
                self.child = None;
                Ok(begun.elapsed())
            }
            Some(status) => Err(format!("the gateway ended with {status}\n{}", self.log_tail())),
            None => {
                Err(format!("the gateway did not stop within {} s\n{}", STOP_MAX.as_secs(), self.log_tail()))
            }
        }
    }
    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the gateway had ended by itself ({status})\n{}", self.log_tail()));
        }
        child.kill().and_then(|()| child.wait()).map(|_| ()).map_err(|error| format!("kill: {error}"))
    }
    /// SIGSTOP: no instruction of it runs any more.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal("STOP")
    }

    /// A verb of the command line, its answer as JSON.
    pub fn ask(&self, verb: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(verb).arg("--json").arg("--data-dir").arg(&self.data);
        let text = output(&mut command).map_err(|error| format!("{error}\n{}", self.log_tail()))?;
        serde_json::from_str(&text).map_err(|error| format!("{verb:?} answered no JSON ({error}): {text}"))
    }
    /// The end of the log, for an error message.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        format!("the end of {}:\n{}", self.log.display(), tail.join("\n"))
    }

    fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).ok_or_else(|| "the gateway does not run".to_owned())
    }
    fn exit(&mut self) -> Result<Option<std::process::ExitStatus>> {
        let child = self.child.as_mut().ok_or("the gateway does not run")?;
        child.try_wait().map_err(|error| format!("waiting for the gateway: {error}"))
    }
    fn signal(&self, name: &str) -> Result<()> {
        // The shell's own `kill`: the program of this name is not installed everywhere.
        let pid = self.pid()?.to_string();
        output(Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid])).map(|_| ())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Killed however the story ended; a process that is gone already is as good.
            child.kill().and_then(|()| child.wait()).ok();
        }
    }
}

impl Ready {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            s3: text("s3")?,
            region: text("region")?,
            access_key: text("access_key")?,
            secret_key: text("secret_key")?,
        })
    }
}

fn dev(data: &Path) -> Vec<String> {
    let listen = ["--s3-listen", "--admin-listen", "--chain-listen"];
    let listen = listen.into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let data = data.to_string_lossy().into_owned();
    let begin = ["dev".to_owned(), "--data-dir".to_owned(), data];
    begin.into_iter().chain(listen.map(str::to_owned)).collect()
}

/// The ready file, once it is there and of this process.
fn read_ready(path: &Path, pid: u32) -> Option<Value> {
    let value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (value["pid"].as_u64() == Some(u64::from(pid))).then_some(value)
}
