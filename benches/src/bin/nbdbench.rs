//! The NBD server beside nbdkit and the `nbd` crate, in the same minute, with fio.
//!
//! ```sh
//! cargo build --release -p gw-nbd --examples
//! cargo run --release -p benches --bin nbdbench -- --bin-dir target/release/examples
//! ```
//!
//! Every job runs on each server in turn, and that several times; the table has medians. CPU is that
//! of the server's process, user and system, for one operation: on a shared machine it says more than
//! operations a second. All servers have their bytes in memory: files in the page cache. Needs fio
//! with the nbd engine; servers that are not installed are left out.

#![expect(clippy::print_stdout, reason = "a command line tool speaks to a terminal")]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

/// Options.
#[derive(Parser)]
struct Options {
    /// Where `nbd_file` and `nbd_baseline` are.
    #[arg(long)]
    bin_dir: PathBuf,
    /// Where the files are made: `/dev/shm` leaves disk and page cache out of it.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Only jobs with this in their names.
    #[arg(long, default_value = "")]
    job: String,
    /// Seconds of each job.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How often each job runs on each server.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Size of the devices in MiB.
    #[arg(long, default_value_t = 512)]
    size_mib: u64,
}

type Anything<T> = Result<T, Box<dyn Error>>;

/// Name, and fio's arguments.
const JOBS: &[(&str, &[&str])] = &[
    ("randread 4K qd1", &["--rw=randread", "--bs=4k", "--iodepth=1"]),
    ("randwrite 4K qd1", &["--rw=randwrite", "--bs=4k", "--iodepth=1"]),
    ("randread 4K qd32", &["--rw=randread", "--bs=4k", "--iodepth=32"]),
    ("randwrite 4K qd32", &["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
    ("read 1M qd8", &["--rw=read", "--bs=1M", "--iodepth=8"]),
    ("write 1M qd8", &["--rw=write", "--bs=1M", "--iodepth=8"]),
];

struct Server {
    name: &'static str,
    uri: String,
    child: Child,
    /// Kept open: a server that cannot speak ends.
    _output: Option<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy)]
struct Measured {
    iops: f64,
    mib_s: f64,
    p50_us: f64,
    cpu_us: f64,
}

fn main() -> Anything<()> {
    let options = Options::parse();
    let folder = options.dir.join(format!("nbdbench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = compare(&options, &folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn compare(options: &Options, folder: &Path) -> Anything<()> {
    let servers = servers(options, folder)?;
    for server in &servers {
        fio(server, options, &["--rw=write", "--bs=1M", "--iodepth=8"], true)?;
    }
    println!("| job | server | IOPS | MiB/s | p50 us | CPU us/op |\n|---|---|---|---|---|---|");
    for (name, job) in JOBS.iter().filter(|(name, _)| name.contains(&options.job)) {
        let mut results: Vec<Vec<Measured>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..options.rounds {
            for (server, measured) in servers.iter().zip(&mut results) {
                measured.push(measure(server, options, job)?);
            }
        }
        for (server, measured) in servers.iter().zip(&results) {
            let of = |value: fn(&Measured) -> f64| median(measured.iter().map(value).collect());
            println!(
                "| {name} | {} | {:.0} | {:.0} | {:.0} | {:.1} |",
                server.name,
                of(|m| m.iops),
                of(|m| m.mib_s),
                of(|m| m.p50_us),
                of(|m| m.cpu_us)
            );
        }
    }
    Ok(())
}

fn servers(options: &Options, folder: &Path) -> Anything<Vec<Server>> {
    let ours = options.bin_dir.join("nbd_file");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let file = |name: &str| -> Anything<String> {
        File::create(folder.join(name))?.set_len(options.size_mib << 20)?;
        Ok(path(name))
    };
    let mut servers = Vec::new();
    let socket = path("ours");
    let mut command = Command::new(&ours);
    command.args(["--unix", &socket, &file("ours.img")?]);
    servers.push(unix("gw-nbd file, unix", command, socket)?);
    for (name, plugin) in [("nbdkit file, unix", "file"), ("nbdkit memory, unix", "memory")] {
        let socket = path(plugin);
        let what = if plugin == "file" { file("nbdkit.img")? } else { format!("{}M", options.size_mib) };
        let mut command = Command::new("nbdkit");
        command.args(["-f", "-U", &socket, plugin, &what]);
        // nbdkit may not be installed.
        servers.extend(unix(name, command, socket).ok());
    }
    let mut command = Command::new(&ours);
    command.args(["--tcp", "127.0.0.1:0", "--insecure", &file("tcp.img")?]);
    servers.push(tcp("gw-nbd file, tcp", command)?);
    let mut command = Command::new(options.bin_dir.join("nbd_baseline"));
    command.args(["127.0.0.1:0", &file("crate.img")?]);
    servers.push(tcp("nbd crate file, tcp", command)?);
    Ok(servers)
}

fn unix(name: &'static str, mut command: Command, socket: String) -> Anything<Server> {
    let child = command.stdout(Stdio::null()).spawn()?;
    let server = Server { name, uri: format!("nbd+unix:///?socket={socket}"), child, _output: None };
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("{name} does not listen").into());
        }
        std::thread::yield_now();
    }
    Ok(server)
}

fn tcp(name: &'static str, mut command: Command) -> Anything<Server> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    let (_, port) = line.trim().rsplit_once(':').ok_or_else(|| format!("{name}: {line}"))?;
    Ok(Server { name, uri: format!("nbd://127.0.0.1:{port}"), child, _output: Some(output) })
}

fn measure(server: &Server, options: &Options, job: &[&str]) -> Anything<Measured> {
    let before = cpu_ticks(server)?;
    let report = fio(server, options, job, false)?;
    let ticks = cpu_ticks(server)? - before;
    let job = &report["jobs"][0];
    let ran = [&job["read"], &job["write"]].into_iter().find(|side| side["total_ios"].as_f64() > Some(0.0));
    let ran = ran.ok_or("fio did nothing")?;
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    Ok(Measured {
        iops: number(&ran["iops"]),
        mib_s: number(&ran["bw"]) / 1024.0,
        p50_us: number(&ran["clat_ns"]["percentile"]["50.000000"]) / 1000.0,
        // A tick is 10 ms on every Linux that this runs on.
        cpu_us: ticks * 10_000.0 / number(&ran["total_ios"]),
    })
}

fn fio(server: &Server, options: &Options, job: &[&str], once: bool) -> Anything<Value> {
    let mut command = Command::new("fio");
    command.args(["--name=nbd", "--ioengine=nbd", "--output-format=json", "--randrepeat=1", "--norandommap"]);
    command.arg(format!("--uri={}", server.uri)).arg(format!("--size={}M", options.size_mib)).args(job);
    if !once {
        command.arg(format!("--runtime={}", options.seconds)).arg("--time_based");
    }
    let output = command.stderr(Stdio::null()).output()?;
    let text = String::from_utf8(output.stdout)?;
    // fio says what it thinks of the clock before its report.
    let json =
        text.find('{').map(|at| &text[at..]).ok_or_else(|| format!("fio on {}: {text}", server.name))?;
    Ok(serde_json::from_str(json)?)
}

fn cpu_ticks(server: &Server) -> Anything<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id()))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("a stat without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // utime and stime are the 14th and 15th fields; the name was the second.
    Ok(fields.get(11).ok_or("no utime")?.parse::<f64>()?
        + fields.get(12).ok_or("no stime")?.parse::<f64>()?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
