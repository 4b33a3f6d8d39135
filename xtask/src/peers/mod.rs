//! `cargo xtask peers`: the gateway's S3 beside other servers, on the same machine in the same minutes.
//!
//! All servers run at once, each in a folder of its own on the same disk, and only one is asked at a time. The
//! servers take turns within a round, and another one begins each round, so that a noisy neighbour meets all
//! of them. The load tool is the same for all: bare connections, bodies not signed. What a server spends is
//! the processor time of all its processes (for Ceph radosgw, OSD and monitor; for the gateway the whole
//! development stack with its 14 miners).

mod servers;
mod table;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use self::servers::{Server, gateway, minio, radosgw};
use self::table::Table;
use crate::demo::{Options, Story, Work, build};
use crate::run::{Result, output};

/// One kind of load.
struct Op {
    name: &'static str,
    verb: &'static str,
    args: &'static [&'static str],
    /// What must be there before, put once for all rounds.
    fill: bool,
}

const SMALL_KEYS: &[&str] = &["--bucket", "small", "--size", "4KiB", "--keys", "5000"];
const MIB_KEYS: &[&str] = &["--bucket", "middle", "--size", "1MiB", "--keys", "100"];
const LARGE_KEYS: &[&str] =
    &["--bucket", "large", "--size", "64MiB", "--keys", "4", "-c", "2", "--timeout", "10m"];

const OPS: &[Op] = &[
    Op { name: "PUT 4 KiB", verb: "put", args: SMALL_KEYS, fill: true },
    Op { name: "GET 4 KiB", verb: "get", args: SMALL_KEYS, fill: false },
    Op { name: "HEAD", verb: "head", args: SMALL_KEYS, fill: false },
    Op { name: "LIST of 1000 keys", verb: "list", args: SMALL_KEYS, fill: false },
    Op { name: "DELETE", verb: "delete", args: SMALL_KEYS, fill: false },
    Op { name: "PUT 1 MiB", verb: "put", args: MIB_KEYS, fill: true },
    Op { name: "GET 1 MiB", verb: "get", args: MIB_KEYS, fill: false },
    Op { name: "multipart 64 MiB", verb: "multipart", args: LARGE_KEYS, fill: false },
];

/// What the command was told.
struct Told {
    build: Options,
    rounds: u32,
    seconds: u32,
    minio: Option<PathBuf>,
    radosgw: bool,
    json: bool,
}

fn told(args: &[String]) -> Result<Told> {
    let mut told = Told {
        build: Options::for_build(false, None),
        rounds: 3,
        seconds: 4,
        minio: None,
        radosgw: true,
        json: false,
    };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--rounds" => told.rounds = number(value()?)?,
            "--seconds" => told.seconds = number(value()?)?,
            "--minio" => told.minio = Some(value()?.into()),
            "--no-radosgw" => told.radosgw = false,
            "--bin-dir" => told.build.bin_dir = Some(value()?.into()),
            "--debug" => told.build.debug = true,
            "--keep" => told.build.keep = true,
            "--json" => told.json = true,
            _ => return Err(format!("there is no flag {flag:?} here; see `cargo xtask help`")),
        }
    }
    Ok(told)
}

fn number(text: &str) -> Result<u32> {
    let read = text.parse().ok().filter(|number| *number > 0);
    read.ok_or_else(|| format!("{text:?} is not a number above 0"))
}

/// See `cargo xtask help`.
pub fn peers(args: &[String]) -> Result<()> {
    let told = told(args)?;
    let mut story = Story::begin("S3 beside other servers");
    let (mut program, mut s3load) = (PathBuf::new(), PathBuf::new());
    story.step("build cess-gateway and s3load", || {
        (program, s3load) = (build("cess-gateway", &told.build)?, build("s3load", &told.build)?);
        Ok(String::new())
    })?;
    let work = Work::new("peers", told.build.keep)?;
    let mut servers: Vec<Server> = Vec::new();
    story.step("start the servers", || {
        servers.push(gateway(&program, &work.path)?);
        if told.radosgw {
            servers.push(radosgw(&work.path)?);
        }
        if let Some(program) = &told.minio {
            servers.push(minio(program, &work.path)?);
        }
        let names: Vec<&str> = servers.iter().map(|server| server.name).collect();
        Ok(names.join(", "))
    })?;
    let mut table = Table::new(servers.iter().map(|server| server.name).collect());
    for op in OPS {
        story.step(op.name, || measure(op, &servers, &s3load, &told, &mut table))?;
    }
    if told.json {
        println!("{:#}", table.json());
    } else {
        println!("\n{table}");
    }
    story.end("measured");
    Ok(())
}

/// All rounds of one kind of load; says who did how many a second.
fn measure(op: &Op, servers: &[Server], s3load: &PathBuf, told: &Told, table: &mut Table) -> Result<String> {
    let seconds = format!("{}s", told.seconds);
    if op.fill {
        for server in servers {
            let fill = [op.args, &["--count", "5000", "--duration", "10m"]].concat();
            load(server, s3load, "put", &fill)?;
        }
    }
    for round in 0..told.rounds as usize {
        for turn in 0..servers.len() {
            let at = (round + turn) % servers.len();
            if op.verb == "delete" {
                let fill = [op.args, &["--count", "5000", "--duration", "10m"]].concat();
                load(&servers[at], s3load, "put", &fill)?;
            }
            let args = [op.args, &["--duration", seconds.as_str()]].concat();
            table.add(op.name, at, &load(&servers[at], s3load, op.verb, &args)?);
        }
    }
    Ok(table.said(op.name))
}

fn load(server: &Server, s3load: &PathBuf, verb: &str, args: &[&str]) -> Result<Value> {
    let mut command = Command::new(s3load);
    command.arg(verb).args(["--json", "--endpoint", &server.endpoint, "--region", &server.region]);
    command.args(["--access-key", &server.access_key]).env("AWS_SECRET_ACCESS_KEY", &server.secret_key);
    for pid in &server.pids {
        command.args(["--pid", &pid.to_string()]);
    }
    let text = output(command.args(args)).map_err(|error| format!("{}: {error}", server.name))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|error| format!("s3load {verb}: {error}: {text}"))?;
    match value["errors"].as_object() {
        Some(errors) if !errors.is_empty() => {
            Err(format!("{}: s3load {verb}: {}", server.name, value["errors"]))
        }
        _ => Ok(value),
    }
}
