//! The servers that are compared, each started in a folder of its own and gone when dropped.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::demo::{Stack, wait_for};
use crate::run::{Result, root};

/// Longest a server may take to answer at all.
const START_MAX: Duration = Duration::from_secs(120);

/// A server that answers.
pub struct Server {
    /// As it stands in the table.
    pub name: &'static str,
    /// `http://host:port`
    pub endpoint: String,
    /// The region requests are signed for.
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
    /// Its processes.
    pub pids: Vec<u32>,
    _life: Life,
}

/// Whatever ends the server when it is dropped.
enum Life {
    Stack(#[expect(dead_code, reason = "it is held to be dropped")] Box<Stack>),
    Process(Child),
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Self::Process(child) = self {
            // SIGTERM, so that a script can end what it started. The shell's own `kill`: the program of this
            // name is not installed everywhere.
            let pid = child.id().to_string();
            Command::new("sh").args(["-c", "kill -s TERM \"$1\"", "sh", &pid]).status().ok();
            child.wait().ok();
        }
    }
}

/// The whole development stack.
pub fn gateway(program: &Path, work: &Path) -> Result<Server> {
    let mut stack = Stack::new(program, &work.join("gateway"), work);
    let (ready, _) = stack.start_any()?;
    let text =
        |name: &str| ready[name].as_str().map(str::to_owned).ok_or(format!("no {name} in the ready file"));
    let pid =
        ready["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).ok_or("no pid in the ready file")?;
    Ok(Server {
        name: "gateway",
        endpoint: text("s3")?,
        region: text("region")?,
        access_key: text("access_key")?,
        secret_key: text("secret_key")?,
        pids: vec![pid],
        _life: Life::Stack(Box::new(stack)),
    })
}

/// MinIO with one drive, from a program that is there.
pub fn minio(program: &Path, work: &Path) -> Result<Server> {
    let folder = work.join("minio");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let port = free_port()?;
    let log = log_file(work, "minio.log")?;
    let mut command = Command::new(program);
    command.args(["server", "--quiet", "--address"]).arg(format!("127.0.0.1:{port}")).arg(&folder);
    command.env("MINIO_ROOT_USER", "AKBENCH").env("MINIO_ROOT_PASSWORD", "SKBENCHSKBENCH");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let life = (child.id(), Life::Process(child));
    wait_for(START_MAX, || Ok(TcpStream::connect(("127.0.0.1", port)).ok()))?
        .ok_or("MinIO does not answer")?;
    Ok(bench_user("MinIO", port, "SKBENCHSKBENCH", vec![life.0], life.1))
}

/// radosgw over one OSD and one monitor.
pub fn radosgw(work: &Path) -> Result<Server> {
    let (mon_port, port) = (free_port()?, free_port()?);
    let script = root().join("xtask/src/peers/radosgw.sh");
    let mut command = Command::new("sh");
    command.arg(script).arg(work.join("ceph")).args([mon_port.to_string(), port.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file(work, "ceph.log")?);
    let mut child = command.spawn().map_err(|error| format!("sh: {error}"))?;
    let out = child.stdout.take().ok_or("the script has no output")?;
    let life = Life::Process(child);
    let mut said = String::new();
    BufReader::new(out).read_line(&mut said).map_err(|error| format!("radosgw.sh: {error}"))?;
    let pids: Vec<u32> =
        match said.trim().strip_prefix("ready ") {
            Some(pids) => pids.split(' ').filter_map(|pid| pid.parse().ok()).collect(),
            None => return Err(
                "no Ceph could be started (Debian: radosgw, ceph-mon, ceph-osd); --no-radosgw leaves it out"
                    .into(),
            ),
        };
    Ok(bench_user("radosgw", port, "SKBENCH", pids, life))
}

fn bench_user(name: &'static str, port: u16, secret_key: &str, pids: Vec<u32>, life: Life) -> Server {
    Server {
        name,
        endpoint: format!("http://127.0.0.1:{port}"),
        region: "us-east-1".to_owned(),
        access_key: "AKBENCH".to_owned(),
        secret_key: secret_key.to_owned(),
        pids,
        _life: life,
    }
}

fn log_file(work: &Path, name: &str) -> Result<File> {
    let path = work.join(name);
    File::create(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("a free port: {error}"))
}
