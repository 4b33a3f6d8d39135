//! Serves volumes of a store in a folder of this machine over NBD: the whole gateway but for its network.
//!
//! ```text
//!   nbd_volume --unix SOCKET --dir FOLDER [--size BYTES] NAME...
//! ```
//!
//! Makes volumes of these names, exported to anyone, where they are not there yet, and `NAME@SNAPSHOT` for
//! a snapshot taken now. Journal, segments and catalog stand in the folder as a gateway's do, so a program
//! that is killed and started again shows what a gateway would. Its root key stands beside them: for
//! trying and testing only.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its terminal")]

use gw_sim::NoMiners;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use gw_clock::SystemClock;
use gw_data::{Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::{Engine, open_engine};
use gw_db::disk::FileDisk;
use gw_db::{Db, DbConfig, DbPorts};
use gw_nbd::{Listen, NbdConfig, NbdServer, Principals, StoreExports};
use gw_store::{
    BucketOptions, ExportSpec, SnapshotName, Store, StoreConfig, StoreError, StoreErrorKind, StorePorts,
};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::{Clock, Disk};
use gw_types::{Authenticated, BucketName, Frontend, Lsn, ObjectKey};
use tokio::signal::unix::{SignalKind, signal};

type Anything<T> = Result<T, Box<dyn Error>>;

struct Options {
    unix: PathBuf,
    dir: PathBuf,
    size: u64,
    names: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match parse(std::env::args().skip(1)) {
        Ok(options) => match run(options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("nbd_volume: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("nbd_volume: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Anything<Options> {
    let (mut unix, mut dir, mut size, mut names) = (None, None, 64 << 20, Vec::new());
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--unix" => unix = Some(PathBuf::from(value()?)),
            "--dir" => dir = Some(PathBuf::from(value()?)),
            "--size" => size = value()?.parse()?,
            other if other.starts_with('-') => return Err(format!("there is no option {other}").into()),
            name => names.push(name.to_owned()),
        }
    }
    match (unix, dir, names.is_empty()) {
        (Some(unix), Some(dir), false) => Ok(Options { unix, dir, size, names }),
        _ => Err("nbd_volume --unix SOCKET --dir FOLDER [--size BYTES] NAME...".into()),
    }
}

async fn run(options: Options) -> Anything<()> {
    let store = open(&options).await?;
    let who = Authenticated::user("root", Frontend::Admin);
    let bucket = BucketName::new("disks").map_err(|_| "a bucket's name")?;
    done_before(
        store.bucket_create(&who, &bucket, BucketOptions::default()).await,
        StoreErrorKind::BucketAlreadyOwnedByYou,
    )?;
    for name in &options.names {
        let (key, snapshot) = match name.split_once('@') {
            Some((key, snapshot)) => (ObjectKey::new(key)?, Some(SnapshotName::new(snapshot)?)),
            None => (ObjectKey::new(name.as_str())?, None),
        };
        let at = (&bucket, &key);
        match &snapshot {
            None => done_before(
                store.volume_create(&who, at, options.size).await,
                StoreErrorKind::PreconditionFailed,
            )?,
            Some(snapshot) => done_before(
                store.volume_snapshot(&who, at, snapshot).await,
                StoreErrorKind::PreconditionFailed,
            )?,
        }
        let spec = ExportSpec {
            name: name.replace('@', "."),
            bucket: bucket.clone(),
            key,
            read_only: snapshot.is_some(),
            snapshot,
            anyone: true,
            users: Vec::new(),
        };
        store.export_set(&who, &spec).await?;
    }
    let listen = Listen::Unix { path: options.unix.clone(), mode: 0o600 };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = NbdConfig::new(listen, Principals::new(false));
    let running = NbdServer::bind(config, Arc::new(StoreExports::new(store.clone()))).await?;
    println!("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    store.close().await?;
    std::fs::remove_file(&options.unix)?;
    Ok(())
}

fn done_before<T>(result: Result<T, StoreError>, kind: StoreErrorKind) -> Result<(), StoreError> {
    match result {
        Err(error) if error.kind() != kind => Err(error),
        _ => Ok(()),
    }
}

async fn open(options: &Options) -> Anything<Store> {
    std::fs::create_dir_all(&options.dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let key_file = options.dir.join("root.key");
    let root = if key_file.exists() {
        RootKey::load(&key_file, None)?
    } else {
        let key = RootKey::generate()?;
        key.write_new(&key_file, None)?;
        key
    };
    let keys = Arc::new(RootKeys::new(root, clock.clone()));
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::new(options.dir.join("store"))?);
    let catalog = open_engine(Engine::Fjall, &options.dir.join("store/catalog-fjall"))?;
    let files = SegmentFiles::new(disk.clone());
    let ports = DbPorts { disk, catalog, clock: clock.clone(), sink: files.clone() };
    let db = Db::open(ports, DbConfig::default()).await?;
    // There is no log on a network that records would be kept for.
    db.hold_records_after(Lsn(u64::MAX));
    let ports = DataPorts {
        db: db.clone(),
        files,
        keys: keys.clone(),
        miners: Arc::new(NoMiners),
        striper: Arc::new(LocalStriper::new(NonZeroUsize::MIN)),
        clock: clock.clone(),
    };
    let data = Data::open(ports, DataConfig::default()).await?;
    let ports = StorePorts { db, data, keys, clock, durability: None };
    Ok(Store::open(ports, StoreConfig::default()).await?)
}
