//! The access log: lines of JSON from the S3 frontend to a file, or to standard error.
//!
//! One thread takes lines from a bounded channel and writes what has gathered with one call. A file that
//! would pass its size is renamed to `PATH.1`, the one before to `PATH.2`, and so on up to the number that
//! is kept. A line that cannot be written is lost, counted, and warned of once a minute at most; no
//! request ever waits for it. What is in the channel when the gateway stops is written first.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gw_s3::AccessLines;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Context, Result, fail};

/// Lines that wait; more are lost.
const LINES_MAX: usize = 10_000;
/// Bytes of one write, about.
const WRITE_BYTES: usize = 64 << 10;
/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How long a stop waits for what is left.
const DRAIN: Duration = Duration::from_secs(5);

/// `[access_log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct AccessLogSection {
    /// `stderr`, or a file. Default: there is no access log.
    pub to: Option<String>,
    /// Size at which a file is put aside. Default 100 MiB.
    pub file_bytes_max: u64,
    /// Files that were put aside and are kept. Default 5.
    pub files: u32,
}

impl Default for AccessLogSection {
    fn default() -> Self {
        Self { to: None, file_bytes_max: 100 << 20, files: 5 }
    }
}

/// Where lines go.
enum Sink {
    Stderr,
    File(LogFile),
}

/// A file that is put aside when it is full.
struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
    section: AccessLogSection,
}

/// The running log.
#[derive(Debug)]
pub struct AccessLog {
    pub lines: AccessLines,
    writer: JoinHandle<()>,
}

impl AccessLog {
    /// Opens the file; `None` where no log is wanted.
    pub fn start(section: &AccessLogSection) -> Result<Option<Self>> {
        let Some(to) = &section.to else { return Ok(None) };
        if section.file_bytes_max == 0 {
            return fail("access_log.file_bytes_max is 0; leave out access_log.to for no log");
        }
        let sink = match to.as_str() {
            "stderr" => Sink::Stderr,
            path => {
                let doing = || format!("opening the access log {path}");
                Sink::File(LogFile::open(Path::new(path), section.clone()).context(doing)?)
            }
        };
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        let lines = AccessLines::new(sender);
        let lost = lines.lost();
        let writer = tokio::task::spawn_blocking(move || write_all(receiver, sink, &lost));
        Ok(Some(Self { lines, writer }))
    }

    /// Ends when the last way in is gone and all lines are written. Stop the S3 frontend first.
    pub async fn stop(self) {
        let Self { lines, writer } = self;
        drop(lines);
        if tokio::time::timeout(DRAIN, writer).await.is_err() {
            tracing::warn!("the access log was not written to its end");
        }
    }
}

fn write_all(mut lines: mpsc::Receiver<String>, mut sink: Sink, lost: &gw_s3::LostLines) {
    let mut warned: Option<Instant> = None;
    let mut batch = String::new();
    while let Some(first) = lines.blocking_recv() {
        batch.clear();
        batch.push_str(&first);
        let mut count = 1;
        while batch.len() < WRITE_BYTES
            && let Ok(more) = lines.try_recv()
        {
            batch.push_str(&more);
            count += 1;
        }
        if let Err(error) = sink.write(batch.as_bytes()) {
            lost.add(count);
            if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                warned = Some(Instant::now());
                tracing::warn!(%error, "lines of the access log are lost");
            }
        }
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File(file) => file.write(bytes),
        }
    }
}

impl LogFile {
    fn open(path: &Path, section: AccessLogSection) -> io::Result<Self> {
        let file = append_to(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, len, section })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len + bytes.len() as u64 > self.section.file_bytes_max {
            self.put_aside()?;
        }
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.section.files).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.section.files == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            std::fs::rename(&self.path, numbered(1))?;
        }
        self.file = append_to(&self.path)?;
        self.len = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::{AccessLogSection, LogFile};

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let section = AccessLogSection { to: None, file_bytes_max: 10, files: 2 };
        let mut file = LogFile::open(&path, section.clone()).unwrap();
        for line in ["one\n", "two\n", "three\n", "a line that is longer than a file\n", "four\n", "five\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("access.log"), "four\nfive\n");
        assert_eq!(read("access.log.1"), "a line that is longer than a file\n");
        assert_eq!(read("access.log.2"), "three\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        // A start goes on in the file that is there.
        let mut again = LogFile::open(&path, section).unwrap();
        again.write(b"six\n").unwrap();
        assert_eq!(
            (read("access.log"), read("access.log.1")),
            ("six\n".to_owned(), "four\nfive\n".to_owned())
        );
    }
}
