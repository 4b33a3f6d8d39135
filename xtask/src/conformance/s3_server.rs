//! What a suite of S3 tests runs against, with the users it wants.
//!
//! Either the example `serve_mem` (the real frontend, store, data layer and keys over a disk in
//! memory), or the whole stack: a development chain with its miners as one process, `cess-gateway
//! serve` before it as another. Both listen on free ports of loopback, and are gone, with all they
//! kept, when the [`Server`] is dropped. Buckets are made as AWS made them before April 2023, and
//! Signature Version 2 is let in where it may be: the suites are from that time.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::demo::{Options, Stack, Work, build, cli, mnemonic, write_secret};
use crate::run::{Result, cargo, root, run};

/// An account of a server, with one key.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub access_key: String,
    pub secret_key: String,
}

/// Which server, built.
pub enum Kind {
    Memory { program: PathBuf },
    Whole { program: PathBuf },
}

impl Kind {
    /// Builds the example over a store in memory.
    pub fn memory() -> Result<Self> {
        run(cargo().args(["build", "--locked", "-p", "gw-s3", "--example", "serve_mem"]))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
        Ok(Self::Memory { program: target.join("debug/examples/serve_mem") })
    }

    /// Builds the gateway, or takes it from `bin_dir`.
    pub fn whole(debug: bool, bin_dir: Option<PathBuf>) -> Result<Self> {
        Ok(Self::Whole { program: build("cess-gateway", &Options::for_build(debug, bin_dir))? })
    }
}

/// A server that runs.
pub struct Server {
    /// `HOST:PORT`
    pub address: String,
    /// In the order in which they were asked for.
    pub users: Vec<User>,
    _running: Running,
}

enum Running {
    Memory { _child: Killed },
    Whole { _whole: Box<Whole> },
}

/// Ends in this order.
struct Whole {
    _gateway: Stack,
    _network: Stack,
    _work: Work,
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It has nothing to save, and one that has ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts one with an account for each name.
    pub fn start(kind: &Kind, names: &[&str]) -> Result<Self> {
        match kind {
            Kind::Memory { program } => Self::start_memory(program, names),
            Kind::Whole { program } => Self::start_whole(program, names),
        }
    }

    /// `http://HOST:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn start_memory(program: &Path, names: &[&str]) -> Result<Self> {
        let users: Vec<User> = names
            .iter()
            .enumerate()
            .map(|(number, name)| User {
                name: (*name).to_owned(),
                access_key: format!("AKIATEST{number}"),
                secret_key: format!("secret-of-user-{number}-0123456789"),
            })
            .collect();
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0");
        command
            .args(users.iter().map(|user| format!("{}:{}:{}", user.name, user.access_key, user.secret_key)));
        let child = command.env("SERVE_CLASSIC", "1").env("RUST_LOG", "error").stdout(Stdio::piped()).spawn();
        let mut child = Killed(child.map_err(|error| format!("{}: {error}", program.display()))?);
        let stdout = child.0.stdout.take().ok_or("serve_mem has no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let address =
            address.ok_or_else(|| format!("serve_mem said {line:?} instead of where it listens"))?;
        Ok(Self { address, users, _running: Running::Memory { _child: child } })
    }

    fn start_whole(program: &Path, names: &[&str]) -> Result<Self> {
        let work = Work::new("s3-suite", false)?;
        let path = |name: &str| work.path.join(name);
        let mut network = Stack::new(program, &path("network"), &work.path).with_flags(&["--network-only"]);
        let (told, _) = network.start_any()?;
        let chain = told["chain"].as_str().ok_or("the network's ready file names no chain")?;
        let (account, key, data) = (path("account"), path("root.key"), path("data"));
        write_secret(&account, &mnemonic(&path("network").join("dev.json"))?)?;
        cli(program, &["key", "init", "--file", &text(&key)?])?;
        let config = path("serve.toml");
        let said = configuration(&data, chain, &account, &key);
        fs::write(&config, said).map_err(|error| format!("{}: {error}", config.display()))?;
        let mut gateway = Stack::serving(program, &config, &data, &work.path);
        let (told, _) = gateway.start_any()?;
        let address = told["s3"].as_str().and_then(|url| url.strip_prefix("http://"));
        let address = address.ok_or("the ready file of serve names no S3 endpoint")?.to_owned();
        let users = names
            .iter()
            .enumerate()
            .map(|(number, name)| add(program, &data, name, &path(&format!("user-{number}.json"))))
            .collect::<Result<Vec<_>>>()?;
        // What ceph/s3-tests calls its keys.
        for name in ["testkey-1", "testkey-2"] {
            cli(program, &["kms", "add", name, "--data-dir", &text(&data)?])?;
        }
        Ok(Self {
            address,
            users,
            _running: Running::Whole {
                _whole: Box::new(Whole { _gateway: gateway, _network: network, _work: work }),
            },
        })
    }
}

fn add(program: &Path, data: &Path, name: &str, out: &Path) -> Result<User> {
    cli(program, &["user", "add", name, "--out", &text(out)?, "--data-dir", &text(data)?])?;
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", out.display());
    let bytes = fs::read(out).map_err(|error| failed(&error))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    let word =
        |field: &str| value[field].as_str().map(str::to_owned).ok_or_else(|| failed(&"it names no key"));
    Ok(User { name: name.to_owned(), access_key: word("access_key")?, secret_key: word("secret_key")? })
}

fn configuration(data: &Path, chain: &str, account: &Path, key: &Path) -> String {
    // ceph/s3-tests signs requests of IAM and STS for a region without a name.
    format!(
        "data_dir = {:?}\n[s3]\nlisten = \"127.0.0.1:0\"\nregions = [\"cess-1\", \"us-east-1\", \"\"]\n\
         new_buckets = \"classic\"\nsigv2 = \"presigned\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[chain]\n\
         url = {chain:?}\naccount_file = {:?}\n[territory]\nname = \"default\"\n[key]\nfile = {:?}\n",
        data.display().to_string(),
        account.display().to_string(),
        key.display().to_string()
    )
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
