//! Where a job runs: its environment, its bucket, its folder; and its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Verdict;
use super::install::home;
use super::list::{Client, Job, Source};
use crate::demo::{Aws, Options, Ready, build, wait_for};
use crate::run::{Result, output};

/// A job that lasts longer hangs.
const JOB_MAX: Duration = Duration::from_secs(300);
/// Lines of a failed job's output that are shown.
const LINES: usize = 12;

/// A running stack and the folders.
pub struct Place {
    pub ready: Ready,
    /// Where clients are installed.
    pub folder: PathBuf,
    pub work: PathBuf,
    /// How binaries of ours are built.
    pub build: Options,
}

impl Place {
    /// Runs one client's job.
    pub fn run(&self, client: &'static Client) -> Verdict {
        if let Some(missing) = self.missing(client) {
            return Verdict::Missing(missing);
        }
        match self.job(client) {
            Ok(said) => Verdict::Passed(said),
            Err(said) => Verdict::Failed(said),
        }
    }

    /// What is not here.
    fn missing(&self, client: &Client) -> Option<String> {
        let home = home(client, &self.folder);
        match client.source {
            Source::Python(_) if !home.join("packages.txt").is_file() => Some("not installed".to_owned()),
            Source::Node(_) if !home.join("packages.txt").is_file() => Some("not installed".to_owned()),
            Source::Debian { program, .. } => {
                let found = output(Command::new("sh").args(["-c", "command -v \"$0\"", program]));
                found.is_err().then(|| format!("there is no {program}"))
            }
            Source::Python(_) | Source::Node(_) | Source::Ours(_) => None,
        }
    }

    fn job(&self, client: &Client) -> Result<String> {
        let home = home(client, &self.folder);
        let work = self.work.join(format!("job-{}", client.name));
        let io = |error: std::io::Error| format!("{}: {error}", work.display());
        fs::create_dir_all(&work).map_err(io)?;
        let (suffix, text) = match client.job {
            Job::Python(text) => ("py", text),
            Job::Shell(text) => ("sh", text),
            Job::Node(text) => ("mjs", text),
        };
        // Node looks for packages beside the script.
        let script = match client.job {
            Job::Node(_) => home.join("job.mjs"),
            Job::Python(_) | Job::Shell(_) => work.join(format!("job.{suffix}")),
        };
        fs::write(&script, text).map_err(io)?;
        let mut command = match client.job {
            Job::Python(_) => Command::new(home.join("bin/python")),
            Job::Node(_) => Command::new("node"),
            Job::Shell(_) => {
                let mut shell = Command::new("sh");
                shell.arg("-eu");
                shell
            }
        };
        command.arg(&script).current_dir(&work);
        self.environment(&mut command, client, &home, &work)?;
        let log = work.join("job.log");
        let open = || fs::File::options().create(true).append(true).open(&log).map_err(io);
        command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", script.display()))?;
        let ended = wait_for(JOB_MAX, || child.try_wait().map_err(|error| error.to_string()))?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        match ended {
            Some(status) if status.success() => Ok(last(&said, 1)),
            Some(status) => Err(format!("{status}\n{}", last(&said, LINES))),
            None => {
                child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                Err(format!("not done after {} s\n{}", JOB_MAX.as_secs(), last(&said, LINES)))
            }
        }
    }

    /// A client's Python with a script, in the environment of a job.
    pub fn python(&self, client: &'static Client, script: &Path) -> Result<Command> {
        let home = home(client, &self.folder);
        let mut command = Command::new(home.join("bin/python"));
        command.arg(script).current_dir(&self.work);
        self.environment(&mut command, client, &home, &self.work)?;
        Ok(command)
    }

    /// Nothing of the caller's own settings reaches a job.
    fn environment(&self, command: &mut Command, client: &Client, home: &Path, work: &Path) -> Result<()> {
        let ready = &self.ready;
        let host = ready.s3.trim_start_matches("http://");
        let bucket = format!("client-{}", client.name);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", home.join("bin").display()));
        command.env("HOME", work).env("WORK", work).env("BUCKET", &bucket);
        command.env("S3_ENDPOINT", &ready.s3).env("S3_HOST", host);
        command.env("AWS_ACCESS_KEY_ID", &ready.access_key);
        command.env("AWS_SECRET_ACCESS_KEY", &ready.secret_key);
        command.env("AWS_REGION", &ready.region).env("AWS_DEFAULT_REGION", &ready.region);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        if let Source::Ours(name) = client.source {
            command.env("PROGRAM", build(name, &self.build)?);
        }
        // Making one's own bucket again is no error, but awscli says so on its standard error.
        Aws::new(ready)
            .s3(&["mb", &format!("s3://{bucket}")])
            .map(drop)
            .or_else(|error| if error.contains("BucketAlreadyOwnedByYou") { Ok(()) } else { Err(error) })
    }
}

fn last(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
