//! Mounts a namespace in memory with the gateway's own frontend: to try it, and for suites and
//! measurements. Nothing is stored: what is written is gone when it ends.
//!
//! ```sh
//! mkdir -p /tmp/mnt
//! cargo run --release -p gw-fuse --example fuse_memory -- /tmp/mnt
//! ```
//!
//! `--help` lists the options. It prints `ready` when it is mounted; SIGTERM and SIGINT unmount.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to a terminal")]

use gw_clock::SystemClock;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gw_fuse::{Ended, Mount, MountMetrics, MountOptions, Op};
use gw_memory_files::{MemoryFiles, MemoryLimits};
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
fuse_memory [OPTIONS] DIR

  --allow-other         let other users in
  --suid, --dev         let set-uid bits and devices have their effect
  --read-only           take no changes
  --writeback           let the kernel keep writes back
  --no-page-cache       let every read and write come here
  --negative-ttl MS     how long the kernel believes that a name is not there (default 0)
  --ttl MS              how long it believes what it was told (default 1000)
  --threads N           threads that take requests (default: half the cores, at most 4)
  --bytes N             room in bytes (default 1 GiB)
  --unmount-timeout S   wait so long for open files at the end (default 10)
  --counts              print how many requests of each kind there were, at the end
";

type Anything<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let outcome = match parse(std::env::args().skip(1)) {
        Ok(Some(asked)) => run(asked).await,
        Ok(None) => {
            print!("{HELP}");
            Ok(())
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuse_memory: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Asked {
    at: PathBuf,
    options: MountOptions,
    limits: MemoryLimits,
    counts: bool,
}

fn parse(mut args: impl Iterator<Item = String>) -> Anything<Option<Asked>> {
    let mut options = MountOptions { source: "fuse_memory".to_owned(), ..MountOptions::default() };
    let mut limits = MemoryLimits::default();
    let (mut at, mut counts) = (None, false);
    while let Some(arg) = args.next() {
        let mut number =
            || -> Anything<u64> { Ok(args.next().ok_or_else(|| format!("{arg} needs a number"))?.parse()?) };
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--allow-other" => options.allow_other = true,
            "--suid" => options.set_uid = true,
            "--dev" => options.devices = true,
            "--read-only" => options.read_only = true,
            "--writeback" => options.cache.writeback = true,
            "--no-page-cache" => options.cache.pages = false,
            "--negative-ttl" => options.cache.negative_ttl = Duration::from_millis(number()?),
            "--ttl" => {
                limits.ttl = Duration::from_millis(number()?);
                options.cache.ttl_max = limits.ttl;
            }
            "--threads" => options.threads = usize::try_from(number()?)?,
            "--bytes" => limits.bytes_max = number()?,
            "--unmount-timeout" => options.limits.unmount_timeout = Duration::from_secs(number()?),
            "--counts" => counts = true,
            other if other.starts_with('-') => return Err(format!("there is no option {other}").into()),
            _ => at = Some(PathBuf::from(arg)),
        }
    }
    let at = at.ok_or("where? fuse_memory [OPTIONS] DIR")?;
    Ok(Some(Asked { at, options, limits, counts }))
}

async fn run(asked: Asked) -> Anything<()> {
    let clock = Arc::new(SystemClock::new());
    let files = Arc::new(MemoryFiles::new(clock, 0, 0, asked.limits));
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mounted = Mount::start(files, &asked.at, asked.options).await?;
    println!("ready");
    let metrics = mounted.metrics();
    let outside = tokio::select! {
        _ = term.recv() => None,
        _ = int.recv() => None,
        ended = mounted.wait() => Some(ended),
    };
    let ended = match outside {
        Some(ended) => ended,
        None => mounted.unmount().await,
    };
    if asked.counts {
        for op in Op::ALL {
            let of = metrics.op(*op);
            let requests = MountMetrics::get(&of.requests);
            if let Some(micros) = MountMetrics::get(&of.micros).checked_div(requests) {
                println!("{:12} {requests:>9} requests, {micros} us each", op.name());
            }
        }
    }
    match ended {
        Ended::Failed(reason) => Err(reason.into()),
        _ => Ok(()),
    }
}
