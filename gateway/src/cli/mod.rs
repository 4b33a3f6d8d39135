//! The command line: what can be said, and its help.
//!
//! Verbs that talk to a running gateway find it by `--data-dir DIR` (its admin socket) or
//! `--admin URL` with a token, before or after the verb. Each takes `--json` for scripts.

mod dev;
mod iam;
mod volume;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use gw_types::Level;

#[cfg(feature = "dev-chain")]
pub use dev::DevMinerAct;
pub use dev::{DevArgs, DevMiner, DevVerb};
pub use iam::{For, GroupVerb, In, KeyOfVerb, PolicyVerb, RoleVerb};
pub use volume::VolumeVerb;

/// What mount(8) calls for the type `fuse.cess-gateway`.
const HELPER: &str = "mount.fuse.cess-gateway";

/// S3 over the CESS storage network, in one process.
///
/// The gateway seals, packs, erasure-codes and disperses objects to twelve miners each, buys the
/// space on chain, and serves them by S3. To try everything on this machine, run
/// `cess-gateway dev`; to serve against a chain and real miners, `cess-gateway serve --config FILE`.
#[derive(Debug, Parser)]
#[command(name = "cess-gateway", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub reach: Reach,
    #[command(subcommand)]
    pub verb: Verb,
}

/// How a running gateway is found, and how answers are printed.
#[derive(Args, Clone, Debug)]
pub struct Reach {
    /// The data directory of the gateway
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "cess-data",
        env = "CESS_GATEWAY_DATA_DIR"
    )]
    pub data_dir: PathBuf,
    /// The admin address of a gateway elsewhere (its token comes from CESS_GATEWAY_ADMIN_TOKEN)
    #[arg(long, global = true, value_name = "URL")]
    pub admin: Option<String>,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more: -v for debug, -vv for trace (RUST_LOG is honoured too)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the whole stack in one process: a development chain, miners and the gateway
    Dev(Box<DevArgs>),
    /// Serve against a chain endpoint and real miners
    Serve(ServeArgs),
    /// Show what the gateway holds, how safe it is, and what it is doing
    Status,
    /// Show which miners hold an object's bytes
    Placement(PlacementArgs),
    /// Bring everything written so far to a durability level, and wait for it
    Flush(FlushArgs),
    /// Move what is alive out of deals that are mostly dead, and give their space back
    Compact(CompactArgs),
    /// Space bought on chain
    #[command(subcommand)]
    Territory(TerritoryVerb),
    /// Mount the buckets of a running gateway, or one of them, on a directory of this machine
    Mount(MountArgs),
    /// Unmount what `mount` has mounted, once everything on it is durable
    Unmount(UnmountArgs),
    /// What is mounted
    Mounts,
    /// Accounts, users in them, their access keys and limits
    #[command(subcommand)]
    User(UserVerb),
    /// Groups of users in an account
    #[command(subcommand)]
    Group(GroupVerb),
    /// Roles that others may assume for a while
    #[command(subcommand)]
    Role(RoleVerb),
    /// Policies of users, groups and roles
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Named keys for SSE-KMS
    #[command(subcommand)]
    Kms(KmsVerb),
    /// Buckets and their limits
    #[command(subcommand)]
    Bucket(BucketVerb),
    /// Lists that buckets want of themselves (S3 Inventory)
    #[command(subcommand)]
    Inventory(InventoryVerb),
    /// Block devices on objects, and the names they are shown under over NBD
    #[command(subcommand)]
    Volume(VolumeVerb),
    /// The root key
    #[command(subcommand)]
    Key(KeyVerb),
    /// The local cache
    #[command(subcommand)]
    Cache(CacheVerb),
    /// Run one storage miner (started by `dev --miner-processes`)
    #[command(hide = true)]
    Miner(MinerArgs),
}

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration (TOML); `docs/CONFIG.md` explains every key
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Check the configuration and stop
    #[arg(long)]
    pub check: bool,
    /// Written (0600) when everything serves, removed at start and stop
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Restore an empty data directory although a part of its log cannot be read, and give that part up
    #[arg(long)]
    pub accept_incomplete_restore: bool,
}

#[derive(Args, Debug)]
pub struct PlacementArgs {
    /// The object, as s3://bucket/key
    #[arg(value_name = "s3://BUCKET/KEY")]
    pub object: String,
    /// Only these bytes, as FIRST-LAST (inclusive, as in HTTP)
    #[arg(long, value_name = "A-B")]
    pub range: Option<String>,
}

#[derive(Args, Debug)]
pub struct FlushArgs {
    /// How safe: `dispersed` (held by twelve miners) or `finalized` (in Active deals on chain)
    #[arg(long, default_value = "dispersed")]
    pub level: LevelArg,
    /// Give up after this many seconds (what was begun goes on)
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
}

/// The shape is mount(8)'s for its helpers: `SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`.
#[derive(Args, Debug)]
pub struct MountArgs {
    /// The data directory of the gateway, with `#BUCKET` behind it for one bucket only
    #[arg(value_name = "DATA_DIR[#BUCKET]")]
    pub source: String,
    /// Where
    #[arg(value_name = "DIR")]
    pub at: PathBuf,
    /// As in fstab, with commas: ro, allow_other, user=NAME, level=dispersed, ... (docs/FUSE.md)
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub options: Vec<String>,
    /// Look, and mount nothing
    #[arg(short = 'f', hide = true)]
    pub fake: bool,
    #[arg(short = 's', hide = true)]
    pub sloppy: bool,
    #[arg(short = 'n', hide = true)]
    pub no_mtab: bool,
    #[arg(short = 'N', hide = true)]
    pub namespace: Option<String>,
    #[arg(short = 't', hide = true)]
    pub kind: Option<String>,
}

#[derive(Args, Debug)]
pub struct UnmountArgs {
    /// Where
    #[arg(value_name = "DIR")]
    pub at: PathBuf,
}

#[derive(Args, Debug)]
pub struct CompactArgs {
    /// Give up waiting after this many seconds (what was begun goes on)
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub timeout: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LevelArg {
    Staged,
    Dispersed,
    Finalized,
}

impl From<LevelArg> for Level {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::Staged => Self::Staged,
            LevelArg::Dispersed => Self::Dispersed,
            LevelArg::Finalized => Self::Finalized,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum TerritoryVerb {
    /// All territories of the account
    List,
    /// Buy space: GIB for DAYS days
    Mint {
        name: String,
        /// GiB to buy
        #[arg(long)]
        gib: u32,
        /// Days, at least 30
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// Add space to a territory, for the days it has left
    Expand {
        name: String,
        #[arg(long)]
        gib: u32,
    },
    /// Add days to a territory
    Renew {
        name: String,
        #[arg(long)]
        days: u32,
    },
}

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Add an account, or a user in one; prints its access key and, once, its secret
    Add {
        name: String,
        /// A user of this account, who may what policies say; without it an account of its own
        #[arg(long = "in", value_name = "ACCOUNT", conflicts_with = "as_admin")]
        account: Option<String>,
        /// May do everything in every bucket
        #[arg(long = "as-admin")]
        as_admin: bool,
        /// Write access key and secret to this file (0600, JSON) instead of the terminal
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// All accounts with their access keys (never secrets) and what they hold, or the users in one
    List {
        #[arg(long = "in", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Remove an account and all in it (its buckets stay), or a user in one
    Remove {
        name: String,
        #[arg(long = "in", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Access keys
    #[command(subcommand)]
    Key(KeyOfVerb),
    /// Show or set what an account may hold over all its buckets, and how fast each of its keys may
    /// be used; `none` lifts a limit
    Quota {
        name: String,
        /// Bytes, with an optional K, M, G, T (powers of 1024), or `none`
        #[arg(long)]
        bytes: Option<String>,
        /// Objects, or `none`
        #[arg(long)]
        objects: Option<String>,
        /// Requests in a second of each key, `none`, or `default` for what the gateway is configured with
        #[arg(long)]
        requests_per_second: Option<String>,
        /// Bytes in a second of each key, `none`, or `default`
        #[arg(long)]
        bytes_per_second: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum KmsVerb {
    /// Make a key that objects can be put under (x-amz-server-side-encryption: aws:kms)
    Add { name: String },
    /// All named keys; none is ever removed
    List,
}

#[derive(Debug, Subcommand)]
pub enum InventoryVerb {
    /// The inventories of a bucket, with their newest lists
    List { bucket: String },
    /// Make a list now, besides those of its schedule
    Run {
        bucket: String,
        id: String,
        /// Seconds to wait for it; it is made all the same
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        timeout: u64,
    },
}

#[derive(Debug, Subcommand)]
pub enum BucketVerb {
    /// All buckets with what they hold
    List,
    /// Delete a bucket: an empty one, or with everything in it
    Delete {
        bucket: String,
        /// Delete all that is in it first, for ever: versions, uploads, and files that S3 does not list
        #[arg(long)]
        with_files: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show or set a bucket's limits; `none` lifts one
    Quota {
        bucket: String,
        /// Bytes, with an optional K, M, G, T (powers of 1024), or `none`
        #[arg(long)]
        bytes: Option<String>,
        /// Objects, or `none`
        #[arg(long)]
        objects: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a root key in a file (0600, or wrapped by CESS_GATEWAY_PASSPHRASE)
    Init {
        /// Where; default is root.key in the data directory
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Make it from a recovery copy in CESS_GATEWAY_RECOVERY or the named file
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "")]
        recover: Option<String>,
    },
    /// Print the recovery copy of the root key (to a terminal, or with --out to a 0600 file)
    Recovery {
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// Forget cached bytes, and evict staged segments that are finalized (never others)
    Drop,
}

#[derive(Args, Debug)]
pub struct MinerArgs {
    /// The miner's directory, with its `miner.json`
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Where it serves
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// The chain, ws://…
    #[arg(long, value_name = "URL")]
    pub chain: String,
}

/// The command line, from the arguments of the process: called by mount(8) under the name of its
/// helper, the program does what the verb `mount` does.
pub fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut given: Vec<OsString> = given.collect();
    let name = given.first().and_then(|name| Path::new(name).file_name());
    if name.is_some_and(|name| name == HELPER) {
        given.insert(1, "mount".into());
    }
    given
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Verb};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_helper_of_mount_is_the_verb_mount() {
        let line = "/sbin/mount.fuse.cess-gateway /var/lib/cess#photos /mnt/photos -o rw,user=alice";
        let cli = Cli::try_parse_from(super::arguments(line.split(' ').map(Into::into))).unwrap();
        let Verb::Mount(args) = cli.verb else { panic!("another verb") };
        assert_eq!((args.source.as_str(), args.at.to_str()), ("/var/lib/cess#photos", Some("/mnt/photos")));
        assert_eq!(args.options, ["rw,user=alice"]);
    }

    #[test]
    fn a_gateway_is_named_before_or_after_the_verb() {
        for line in ["cess-gateway --data-dir /d status --json", "cess-gateway status --json --data-dir /d"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.reach.json && matches!(cli.verb, Verb::Status));
            assert_eq!(cli.reach.data_dir.to_str(), Some("/d"));
        }
    }
}
