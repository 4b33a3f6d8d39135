//! A gateway lost, and its namespace on a second, empty directory: what `docs/OPERATIONS.md` tells an
//! operator to do, done by the commands it names.
//!
//! The old directory lends its development chain and miners (`dev --network-only`) and the mnemonic;
//! nothing of its store or its root key file is used.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::Value;

use super::stack::{Ready, Stack};
use crate::run::{Result, output};

/// The second gateway and the network it stands on. Both end when this is dropped.
pub struct SecondHome {
    /// Serves on the second directory.
    pub gateway: Stack,
    network: Stack,
}

impl SecondHome {
    /// Restores what the gateway in `old` had finalized into `work/second`, and serves it to the user of
    /// `first`. The old one must be stopped.
    pub fn start(program: &Path, old: &Path, work: &Path, first: &Ready) -> Result<(Self, Ready, String)> {
        let (copy, key) = (work.join("recovery.txt"), work.join("second.key"));
        cli(program, &["key", "recovery", "--file", text(&old.join("root.key"))?, "--out", text(&copy)?])?;
        cli(program, &["key", "init", "--file", text(&key)?, "--recover", text(&copy)?])?;
        let account = work.join("account");
        write_secret(&account, &mnemonic(&old.join("dev.json"))?)?;

        let mut network = Stack::new(program, old, work).with_flags(&["--network-only"]);
        let (told, _) = network.start_any()?;
        let chain = told["chain"].as_str().ok_or("the network's ready file names no chain")?;
        let data = work.join("second");
        let config = work.join("serve.toml");
        let text_of = config_text(&data, chain, &account, &key);
        fs::write(&config, text_of).map_err(|error| format!("{}: {error}", config.display()))?;
        let mut gateway = Stack::serving(program, &config, &data, work);
        let (told, waited) = gateway.start_any()?;
        let s3 = told["s3"].as_str().ok_or("the ready file of serve names no S3 endpoint")?;
        // Users and their keys came back with the namespace.
        let ready = Ready { s3: s3.to_owned(), ..first.clone() };
        let said = format!("chain at {chain}; restored and ready after {:.1} s: {s3}", waited.as_secs_f64());
        Ok((Self { gateway, network }, ready, said))
    }

    /// Stops both as an operator would.
    pub fn stop(mut self) -> Result<()> {
        self.gateway.stop()?;
        self.network.stop().map(|_| ())
    }
}

fn config_text(data: &Path, chain: &str, account: &Path, key: &Path) -> String {
    format!(
        "data_dir = {:?}\n[s3]\nlisten = \"127.0.0.1:0\"\n[chain]\nurl = {chain:?}\naccount_file = {:?}\n\
         [territory]\nname = \"default\"\n[key]\nfile = {:?}\n",
        data.display().to_string(),
        account.display().to_string(),
        key.display().to_string()
    )
}

/// The mnemonic of a development network's gateway.
pub fn mnemonic(dev_file: &Path) -> Result<String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", dev_file.display());
    let bytes = fs::read(dev_file).map_err(|error| failed(&error))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    value["mnemonic"].as_str().map(str::to_owned).ok_or_else(|| failed(&"it has no mnemonic"))
}

/// A new file that only its owner reads.
pub fn write_secret(path: &Path, secret: &str) -> Result<()> {
    let open = fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    open.and_then(|mut file| std::io::Write::write_all(&mut file, secret.as_bytes()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// A verb of the gateway's command line.
pub fn cli(program: &Path, verb: &[&str]) -> Result<String> {
    output(std::process::Command::new(program).args(verb))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
