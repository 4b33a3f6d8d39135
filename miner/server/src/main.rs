//! `cess-miner`: one storage miner as a process of its own, against a CESS chain.
//!
//! It reads its key from a file or the environment, looks itself up on chain, announces its endpoint
//! there when asked to, serves until SIGTERM or SIGINT, and then stops in good order. It does not
//! register the miner: that stakes money, and is somebody's decision (`Sminer.regnstk`).

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cess_miner::{CollectConfig, Miner, MinerConfig, RunningMiner};
use clap::Parser;
use gw_chain::{Signer, SubxtChain};
use gw_clock::SystemClock;
use gw_types::ports::MinerChain;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// Longest key file that is read.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// A storage miner of the CESS network. It stores fragments and reports them; it proves nothing to the
/// chain (no TEE, no audit), and says `simulated` in its status.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Directory for fragments; used by one miner at a time.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:15001")]
    listen: SocketAddr,
    /// Room for fragments: bytes, or with KiB, MiB, GiB or TiB behind the number.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    capacity: u64,
    /// WebSocket of a chain node.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:9944")]
    chain: String,
    /// File with the miner's mnemonic or secret URI, readable by its owner only. Without it the
    /// environment variable CESS_MINER_SECRET is read.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// URL under which others reach this miner; announced on chain when it is another there.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Keep fragments that the chain knows no more.
    #[arg(long)]
    keep_all: bool,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,subxt=warn,jsonrpsee=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(one) = cause {
                text += &format!(": {one}");
                cause = one.source();
            }
            tracing::error!("{text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let signer = Signer::from_uri(&secret(args.key_file.as_deref())?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let chain = Arc::new(SubxtChain::connect(&args.chain, signer).await?);
    let mut config = MinerConfig::new(args.dir, args.listen, args.capacity);
    config.collect = (!args.keep_all).then(CollectConfig::default);
    let clock = Arc::new(SystemClock::new());
    let miner = Miner::start(config, Arc::clone(&chain) as Arc<dyn MinerChain>, clock).await?;
    tokio::select! {
        announced = announce(&*chain, &miner, args.endpoint.as_deref()) => {
            // A miner that is not announced still serves those who know it.
            if let Err(error) = announced {
                tracing::warn!(%error, "the chain does not know this miner's endpoint");
            }
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    miner.shutdown().await;
    Ok(())
}

async fn announce(
    chain: &dyn MinerChain,
    miner: &RunningMiner,
    endpoint: Option<&str>,
) -> Result<(), Failure> {
    let Some(info) = chain.registered().await? else {
        return Err(format!("account {:?} is not registered as a miner", miner.account()).into());
    };
    tracing::info!(state = info.state, endpoint = info.addr.endpoint, "registered");
    if let Some(endpoint) = endpoint.filter(|endpoint| *endpoint != info.addr.endpoint) {
        let receipt = chain.update_endpoint(endpoint).await?;
        tracing::info!(endpoint, block = receipt.block, "endpoint announced");
    }
    Ok(())
}

/// The secret, from a file that nobody else may read, or from the environment; never from the
/// command line, which everybody on the machine can see.
fn secret(key_file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let Some(path) = key_file else {
        let text = std::env::var("CESS_MINER_SECRET").map(Zeroizing::new);
        let text = text.map_err(|_| "give --key-file, or the secret in CESS_MINER_SECRET")?;
        return trimmed(&text, "CESS_MINER_SECRET");
    };
    let what = path.display().to_string();
    let about = std::fs::metadata(path).map_err(|error| format!("{what}: {error}"))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(format!("{what}: others may read it; run chmod 600 on it").into());
    }
    if about.len() > KEY_FILE_BYTES_MAX {
        return Err(format!("{what}: too long for a key file").into());
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| format!("{what}: {error}"))?);
    trimmed(&text, &what)
}

/// An empty text would be taken for the well-known development key.
fn trimmed(text: &str, what: &str) -> Result<Zeroizing<String>, Failure> {
    match text.trim() {
        "" => Err(format!("{what} is empty").into()),
        text => Ok(Zeroizing::new(text.to_owned())),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err("a number, with KiB, MiB, GiB or TiB behind it".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a number is missing".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::CommandFactory;

    use super::{Args, secret, size};

    #[test]
    fn arguments_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        assert_eq!((size("4096"), size("20MiB"), size("2 TiB")), (Ok(4096), Ok(20 << 20), Ok(2 << 40)));
        for bad in ["", "GiB", "-1", "1GB", "99999999999TiB", "1.5GiB", "7µ"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            secret(Some(&path))
        };
        assert_eq!(write("//Key\n", 0o600).unwrap().as_str(), "//Key");
        assert!(write("//Key\n", 0o640).is_err() && write(" \n", 0o600).is_err());
        assert!(write(&"x".repeat(5000), 0o600).is_err() && secret(Some(&dir.path().join("none"))).is_err());
    }
}
