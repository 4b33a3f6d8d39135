//! `key init` and `key recovery`: the root key in a file, and its copy on paper.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use gw_tee::RootKey;
use zeroize::Zeroizing;

use crate::cli::{KeyVerb, Reach};
use crate::datadir::{read_secret, write_secret};
use crate::error::{Context, Error, Result, fail};

/// Runs on this machine; asks no gateway.
#[allow(clippy::print_stdout, reason = "this is what the command prints")]
pub fn key(reach: &Reach, verb: KeyVerb) -> Result<()> {
    match verb {
        KeyVerb::Init { file, recover } => {
            let path = path(reach, file);
            let key = match recover {
                None => RootKey::generate().context(|| "making a root key".to_owned())?,
                Some(from) => recovered(&from)?,
            };
            init(&path, &key)?;
            if reach.json {
                println!("{}", serde_json::json!({ "file": path, "fingerprint": key.fingerprint() }));
            } else {
                println!(
                    "{} holds the root key {} (software, simulated TEE).",
                    path.display(),
                    key.fingerprint()
                );
                println!(
                    "Keep a recovery copy elsewhere: cess-gateway key recovery --file {}",
                    path.display()
                );
            }
            Ok(())
        }
        KeyVerb::Recovery { file, out } => recovery(&path(reach, file), out.as_deref()),
    }
}

fn path(reach: &Reach, file: Option<PathBuf>) -> PathBuf {
    file.unwrap_or_else(|| reach.data_dir.join("root.key"))
}

fn passphrase() -> Option<Zeroizing<String>> {
    std::env::var("CESS_GATEWAY_PASSPHRASE").ok().filter(|text| !text.is_empty()).map(Zeroizing::new)
}

fn init(path: &Path, key: &RootKey) -> Result<()> {
    if path.exists() {
        return fail(format!("{} exists; a root key is never overwritten", path.display()));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).context(|| format!("making {}", folder.display()))?;
    }
    let passphrase = passphrase();
    key.write_new(path, passphrase.as_deref().map(String::as_str))
        .context(|| format!("writing {}", path.display()))
}

fn recovered(from: &str) -> Result<RootKey> {
    let text = if from.is_empty() {
        Zeroizing::new(std::env::var("CESS_GATEWAY_RECOVERY").map_err(|_| {
            Error::new("set CESS_GATEWAY_RECOVERY to the recovery copy, or name a 0600 file: --recover FILE")
        })?)
    } else {
        let bytes = read_secret(Path::new(from))?.ok_or_else(|| Error::new(format!("there is no {from}")))?;
        Zeroizing::new(String::from_utf8(bytes).context(|| format!("reading {from}"))?)
    };
    RootKey::from_recovery_text(text.trim()).context(|| "the recovery copy".to_owned())
}

/// Secrets go to a terminal or to a 0600 file, never into a pipe by accident.
fn recovery(path: &Path, out: Option<&Path>) -> Result<()> {
    let passphrase = passphrase();
    let key = RootKey::load(path, passphrase.as_deref().map(String::as_str))
        .context(|| format!("the root key {}", path.display()))?;
    let text = key.recovery_text();
    if let Some(out) = out {
        let line = Zeroizing::new(format!("{}\n", text.as_str()));
        return write_secret(out, line.as_bytes());
    }
    let mut stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return fail(
            "the recovery copy is a secret: it is printed to a terminal only, or written with --out FILE (0600)",
        );
    }
    writeln!(stdout, "{}", text.as_str()).context(|| "printing".to_owned())
}
