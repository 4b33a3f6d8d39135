//! `cess-gateway dev …`: the whole stack on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct DevArgs {
    #[command(subcommand)]
    pub verb: Option<DevVerb>,
    /// Where S3 is served; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub s3_listen: SocketAddr,
    /// Where health, metrics and the admin API are served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    pub admin_listen: SocketAddr,
    /// Where volumes are served over NBD: an address, or unix:PATH (may be said again)
    #[arg(long, value_name = "PLACE")]
    pub nbd_listen: Vec<String>,
    /// Where the development chain is served (WebSocket)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9944")]
    pub chain_listen: SocketAddr,
    /// Development miners, at least 12
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u16).range(12..=200))]
    pub miners: u16,
    /// Each miner in a process of its own
    #[arg(long)]
    pub miner_processes: bool,
    /// Access key of the first user (generated and kept when not given)
    #[arg(long, value_name = "KEY", requires = "secret_key")]
    pub access_key: Option<String>,
    /// Its secret. Others on this machine can read command lines: for development only
    #[arg(long, value_name = "SECRET", requires = "access_key")]
    pub secret_key: Option<String>,
    /// Written (0600) when everything serves, removed at start and stop
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// A webhook that buckets may send events to: arn:cess:sqs::NAME:webhook (may be repeated)
    #[arg(long, value_name = "NAME=URL")]
    pub notify: Vec<String>,
    /// Write a line of JSON for each S3 request to a file, or to `stderr`
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<String>,
    /// Mount all buckets here, for the first user (several times: several mounts)
    #[arg(long, value_name = "DIR")]
    pub mount: Vec<PathBuf>,
    /// Options of these mounts, as in fstab: bucket=NAME, allow_other, writeback, ... (docs/FUSE.md)
    #[arg(long, value_name = "OPTIONS", requires = "mount")]
    pub mount_options: Option<String>,
    /// Only the development chain and miners, for a gateway started with `serve`
    #[arg(long)]
    pub network_only: bool,
    /// Restore an empty data directory although a part of its log cannot be read, and give that part up
    #[arg(long)]
    pub accept_incomplete_restore: bool,
    /// GiB of territory bought on first start
    #[arg(long, value_name = "GIB", default_value_t = 1024)]
    pub territory_gib: u32,
    /// Days of territory bought on first start
    #[arg(long, value_name = "DAYS", default_value_t = 3650)]
    pub territory_days: u32,
    /// When it is renewed by itself: never, as long as object locks need it, or always
    #[arg(long, value_name = "WHEN", default_value = "locks", value_parser = ["never", "locks", "always"])]
    pub territory_renew: String,
    /// Milliseconds after which a segment that is not full is sealed and dispersed
    #[arg(long, value_name = "MS", default_value_t = 3_600_000)]
    pub seal_age_ms: u64,
    /// Bytes of staging (default: 64 GiB or half the free disk, whichever is less)
    #[arg(long, value_name = "BYTES")]
    pub staging_bytes_max: Option<u64>,
    /// Catalog engine of a new data directory, `fjall` (default) or `sled`
    #[arg(long, value_name = "ENGINE", value_parser = ["sled", "fjall"])]
    pub catalog: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum DevVerb {
    /// Stop, start, slow down or corrupt one development miner
    Miner(DevMiner),
}

#[derive(Args, Debug)]
pub struct DevMiner {
    /// Which, from 0
    pub index: u16,
    #[command(subcommand)]
    pub act: DevMinerAct,
}

#[derive(Clone, Debug, Subcommand, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "act")]
pub enum DevMinerAct {
    /// Stop it; it stays stopped over a restart
    Stop,
    /// Start it, and end any fault
    Start,
    /// Delay each of its answers
    Slow {
        /// Milliseconds
        ms: u64,
    },
    /// Have it answer reads with wrong bytes
    Corrupt,
}
