//! One development miner: in this process, or in one of its own that is steered by lines on its
//! standard input and ends when that closes, so no miner outlives its gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cess_miner::{CollectConfig, Fault, Miner, MinerConfig, MinerStartError, RunningMiner};
use gw_chain::{Signer, SubxtChain};
use gw_clock::SystemClock;
use gw_types::ports::{Clock, MinerChain};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use zeroize::Zeroizing;

use super::MINER_PATIENCE;
use crate::cli::{DevMinerAct, MinerArgs};
use crate::datadir::{read_secret, write_secret};
use crate::error::{Context, Error, Result, fail};

/// What a development miner promises to hold, in bytes; the disk may say otherwise first.
const CAPACITY_BYTES: u64 = 4 << 40;
const FILE: &str = "miner.json";

/// What is remembered of a miner.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinerFile {
    /// 32 bytes, hex.
    #[serde(with = "super::secret_text")]
    pub seed: Zeroizing<String>,
    pub port: u16,
    /// Stopped by hand: it stays stopped over a restart.
    pub stopped: bool,
}

impl MinerFile {
    /// A new miner with random keys.
    pub fn generate(port: u16) -> Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| Error::new(format!("no randomness: {error}")))?;
        Ok(Self { seed: Zeroizing::new(hex::encode(seed.as_ref())), port, stopped: false })
    }
    /// Its key on chain.
    pub fn signer(&self) -> Result<Signer> {
        let mut seed = [0; 32];
        hex::decode_to_slice(self.seed.as_bytes(), &mut seed)
            .context(|| "reading a miner's key".to_owned())?;
        Signer::from_seed(seed).context(|| "reading a miner's key".to_owned())
    }
    /// As the chain has it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// A running miner.
pub enum MinerHost {
    Embedded(RunningMiner),
    Process { child: Child, stdin: ChildStdin, port: u16 },
}

/// The line a miner process prints when it serves.
#[derive(Serialize, Deserialize)]
struct Serving {
    port: u16,
}

impl MinerHost {
    /// In this process.
    pub async fn embed(
        index: u16,
        folder: &Path,
        file: &MinerFile,
        chain: Arc<dyn MinerChain>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let running =
            start(folder, file.port, chain, clock).await.context(|| format!("starting miner {index}"))?;
        Ok(Self::Embedded(running))
    }

    /// In a process of its own: the same binary, `cess-gateway miner`.
    pub async fn spawn(index: u16, folder: &Path, file: &MinerFile, chain: SocketAddr) -> Result<Self> {
        let doing = || format!("starting miner {index} in a process");
        tokio::fs::create_dir_all(folder).await.context(doing)?;
        let json = Zeroizing::new(serde_json::to_vec(file).context(doing)?);
        write_secret(&folder.join(FILE), &json)?;
        let mut child = Command::new(std::env::current_exe().context(doing)?)
            .arg("miner")
            .arg("--dir")
            .arg(folder)
            .args(["--listen", &format!("127.0.0.1:{}", file.port), "--chain", &format!("ws://{chain}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context(doing)?;
        let stdin = child.stdin.take().ok_or_else(|| Error::new("a miner process has no standard input"))?;
        let stdout =
            child.stdout.take().ok_or_else(|| Error::new("a miner process has no standard output"))?;
        let mut line = String::new();
        let mut lines = BufReader::new(stdout);
        let read = tokio::time::timeout(MINER_PATIENCE, lines.read_line(&mut line)).await;
        read.map_err(|_| {
            Error::new(format!("miner {index} did not serve within {} s", MINER_PATIENCE.as_secs()))
        })?
        .context(doing)?;
        let serving: Serving =
            serde_json::from_str(&line).context(|| format!("miner {index} ended at its start"))?;
        Ok(Self::Process { child, stdin, port: serving.port })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        match self {
            Self::Embedded(running) => running.local_addr().port(),
            Self::Process { port, .. } => *port,
        }
    }

    /// Switches a fault on, or (`start`) off.
    pub async fn fault(&mut self, act: &DevMinerAct) -> Result<()> {
        match self {
            Self::Embedded(running) => {
                running.set_fault(fault(act));
                Ok(())
            }
            Self::Process { stdin, .. } => {
                let mut line = serde_json::to_vec(act).context(|| "telling a miner".to_owned())?;
                line.push(b'\n');
                stdin.write_all(&line).await.context(|| "telling a miner".to_owned())
            }
        }
    }

    /// Gracefully; a process that does not end in time is killed.
    pub async fn stop(self) {
        match self {
            Self::Embedded(running) => running.shutdown().await,
            Self::Process { mut child, stdin, .. } => {
                drop(stdin);
                if tokio::time::timeout(MINER_PATIENCE, child.wait()).await.is_err()
                    && let Err(error) = child.kill().await
                {
                    tracing::warn!(%error, "a miner process does not end");
                }
            }
        }
    }
}

fn fault(act: &DevMinerAct) -> Fault {
    match act {
        DevMinerAct::Start | DevMinerAct::Stop => Fault::None,
        DevMinerAct::Slow { ms } => Fault::Slow(Duration::from_millis(*ms)),
        DevMinerAct::Corrupt => Fault::Corrupt,
    }
}

/// On its port, or a free one when that is taken.
async fn start(
    folder: &Path,
    port: u16,
    chain: Arc<dyn MinerChain>,
    clock: Arc<dyn Clock>,
) -> std::result::Result<RunningMiner, MinerStartError> {
    let config = |port| {
        let mut config =
            MinerConfig::new(folder, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CAPACITY_BYTES);
        config.collect = Some(CollectConfig::default());
        config
    };
    match Miner::start(config(port), Arc::clone(&chain), Arc::clone(&clock)).await {
        Err(MinerStartError::Listen { listen, source }) if source.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(%listen, "a miner's port is taken; a free one is used");
            Miner::start(config(0), chain, clock).await
        }
        outcome => outcome,
    }
}

/// `cess-gateway miner`: until standard input closes.
pub async fn run_miner(args: &MinerArgs) -> Result<()> {
    let bytes = read_secret(&args.dir.join(FILE))?;
    let Some(bytes) = bytes else { return fail(format!("{} has no {FILE}", args.dir.display())) };
    let file: MinerFile = serde_json::from_slice(&bytes).context(|| format!("reading {FILE}"))?;
    let chain = SubxtChain::connect(&args.chain, file.signer()?)
        .await
        .context(|| "connecting to the chain".to_owned())?;
    let running = start(&args.dir, args.listen.port(), Arc::new(chain), Arc::new(SystemClock::new()))
        .await
        .context(|| "starting the miner".to_owned())?;
    let line = serde_json::to_string(&Serving { port: running.local_addr().port() })
        .context(|| "answering".to_owned())?;
    let mut stdout = tokio::io::stdout();
    stdout.write_all(format!("{line}\n").as_bytes()).await.context(|| "answering".to_owned())?;
    stdout.flush().await.context(|| "answering".to_owned())?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.context(|| "reading standard input".to_owned())? {
        match serde_json::from_str::<DevMinerAct>(&line) {
            Ok(act) => running.set_fault(fault(&act)),
            Err(error) => tracing::warn!(%error, "a line that is no act"),
        }
    }
    running.shutdown().await;
    Ok(())
}
