//! The object core on its ports: opened in the order that the layers ask for, closed in reverse.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use gw_data::{DISK_CACHE_FOLDER, Data, DataConfig, DataPorts, SegmentFiles};
use gw_db::catalog::{Engine, open_engine};
use gw_db::disk::FileDisk;
use gw_db::{Db, DbConfig, DbPorts};
use gw_dispersal::{Dispersal, DispersalConfig, DispersalError, DispersalPorts, Restorable, RestorePorts};
use gw_store::{Durability, EventTarget, Horizon, Store, StoreConfig, StorePorts, StoredMaps};
use gw_tee::LocalStriper;
use gw_types::ports::{Chain, Clock, Disk, Keys, Miners, Striper};
use gw_types::{Level, Lsn, PortError, PortErrorKind, PortResult, StreamId};

use crate::error::{Context, Result, fail};
use crate::territory::{Renewal, TerritoryCare};

/// Largest cache on disk that nobody asked for.
const DISK_CACHE_DEFAULT_MAX: u64 = 16 << 30;

/// What the core stands on.
#[derive(Clone)]
pub struct CorePorts {
    pub chain: Arc<dyn Chain>,
    pub miners: Arc<dyn Miners>,
    pub keys: Arc<dyn Keys>,
    pub clock: Arc<dyn Clock>,
}

/// How it is opened.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Holds journal, runs, segments and the catalog.
    pub folder: PathBuf,
    /// `None`: what the folder has, else fjall.
    pub engine: Option<Engine>,
    pub staging_bytes_max: Option<u64>,
    pub cache_bytes_max: Option<u64>,
    /// For copies of what is finalized: segment files and frames from miners. `None`: the lesser of 16 GiB
    /// and a tenth of what is free.
    pub disk_cache_bytes_max: Option<u64>,
    pub dispersal: DispersalConfig,
    /// How the territory is prolonged.
    pub renewal: Renewal,
    /// An empty folder is filled from the network, if a log of this account and root key is there. Whether
    /// that may be done although a part of that log is left out.
    pub accept_incomplete_restore: bool,
    /// Where events may go.
    pub event_targets: Vec<EventTarget>,
}

/// The running core.
pub struct Core {
    pub ports: CorePorts,
    pub db: Arc<Db>,
    pub data: Arc<Data>,
    pub dispersal: Arc<Dispersal>,
    pub store: Store,
    pub territory: gw_types::TerritoryName,
    pub care: Arc<TerritoryCare>,
}

impl Core {
    /// Opens everything; replays what a crash left.
    pub async fn open(ports: CorePorts, config: CoreConfig) -> Result<Self> {
        let opening = || format!("opening the store in {}", config.folder.display());
        let disk: Arc<dyn Disk> = Arc::new(FileDisk::new(&config.folder).context(opening)?);
        let engine = choose_engine(&config.folder, config.engine)?;
        let catalog = open_engine(engine, &config.folder.join(catalog_folder(engine))).context(opening)?;
        let striper: Arc<dyn Striper> = Arc::new(LocalStriper::new(cores()));
        let files = SegmentFiles::new(Arc::clone(&disk));
        let disk_cache_bytes_max = match config.disk_cache_bytes_max {
            Some(bytes) => bytes,
            None => disk_cache_default(&*disk).context(opening)?,
        };
        let db_ports = DbPorts { disk, catalog, clock: Arc::clone(&ports.clock), sink: files.clone() };
        let db = Db::open(db_ports, DbConfig::default()).await.context(opening)?;
        if db.appended() == Lsn(0) {
            restore(&ports, Arc::clone(&striper), &db, config.accept_incomplete_restore).await?;
        }
        let data_ports = DataPorts {
            db: Arc::clone(&db),
            files,
            keys: Arc::clone(&ports.keys),
            miners: Arc::clone(&ports.miners),
            striper: Arc::clone(&striper),
            clock: Arc::clone(&ports.clock),
        };
        let mut data_config = DataConfig {
            staging_bytes_max: config.staging_bytes_max,
            disk_cache_bytes_max,
            finalized_bytes_max: Some(disk_cache_bytes_max),
            ..DataConfig::default()
        };
        if let Some(bytes) = config.cache_bytes_max {
            data_config.cache_bytes_max = bytes;
        }
        let data = Data::open(data_ports, data_config).await.context(opening)?;
        let territory = config.dispersal.territory.clone();
        let dispersal_ports = DispersalPorts {
            db: Arc::clone(&db),
            data: Arc::clone(&data),
            maps: Arc::new(StoredMaps),
            chain: Arc::clone(&ports.chain),
            miners: Arc::clone(&ports.miners),
            striper,
            keys: Arc::clone(&ports.keys),
            clock: Arc::clone(&ports.clock),
        };
        let dispersal = Dispersal::start(dispersal_ports, config.dispersal).context(opening)?;
        let (chain, clock) = (Arc::clone(&ports.chain), Arc::clone(&ports.clock));
        let care = TerritoryCare::new(chain, clock, territory.clone(), config.renewal);
        let store_config = StoreConfig { event_targets: config.event_targets, ..StoreConfig::default() };
        let store_ports = StorePorts {
            db: Arc::clone(&db),
            data: Arc::clone(&data),
            keys: Arc::clone(&ports.keys),
            clock: Arc::clone(&ports.clock),
            durability: Some(Arc::new(Dispersed(Arc::clone(&dispersal), Arc::clone(&care)))),
        };
        let store = Store::open(store_ports, store_config).await.context(opening)?;
        care.look(&store).await;
        Ok(Self { ports, db, data, dispersal, store, territory, care })
    }

    /// Syncs and closes. Deals under way go on at the next start.
    pub async fn close(self) -> Result<()> {
        self.dispersal.stop().await;
        self.data.keep_cache();
        self.store.close().await.context(|| "closing the store".to_owned())
    }
}

/// Nothing is written unless all of it can be read, or the operator said that less will do: what is
/// written afterwards goes on from there, and the rest is given up.
async fn restore(
    ports: &CorePorts,
    striper: Arc<dyn Striper>,
    db: &Db,
    accept_incomplete: bool,
) -> Result<()> {
    let doing = || "restoring the namespace from the network".to_owned();
    let restore_ports = RestorePorts {
        chain: Arc::clone(&ports.chain),
        miners: Arc::clone(&ports.miners),
        keys: Arc::clone(&ports.keys),
        striper,
    };
    let found = Restorable::read(&restore_ports).await.context(doing)?;
    if found.parts == 0 && found.parts_left > 0 {
        return fail(format!(
            "the network holds {} parts of a log and none can be opened: is this the right root key?",
            found.parts_left
        ));
    }
    if found.parts_left > 0 && !accept_incomplete {
        return fail(format!(
            "the network holds a log of this gateway that can be restored up to record {} only: {} parts \
             can be used, {} not, because one of them or bytes they point at are on no miner that answers \
             (see the log above). Nothing was changed. Start again when the miners are back. To go on \
             without the rest, for good: --accept-incomplete-restore",
            found.lsn.0, found.parts, found.parts_left
        ));
    }
    if !found.streams_left.is_empty() && !accept_incomplete {
        return fail(format!(
            "bytes of {} volumes are on no miner that answers, so these volumes can be restored as they were \
             earlier, and the rest up to record {} (see the log above). Nothing was changed. Start again \
             when the miners are back. To give up what the volumes wrote since, for good: \
             --accept-incomplete-restore",
            found.streams_left.len(),
            found.lsn.0
        ));
    }
    if found.parts > 0 {
        tracing::info!(
            parts = found.parts,
            left = found.parts_left,
            rows = found.row_count(),
            lsn = found.lsn.0,
            "restoring"
        );
        found.write(db, ports.clock.now()).await.context(doing)?;
    } else {
        tracing::info!("no log of this account on the network: an empty store begins");
    }
    Ok(())
}

/// The engine a folder has, or the one asked for in a new folder.
fn choose_engine(folder: &Path, asked: Option<Engine>) -> Result<Engine> {
    let there = [Engine::Fjall, Engine::Sled]
        .into_iter()
        .find(|engine| folder.join(catalog_folder(*engine)).exists());
    match (there, asked) {
        (Some(there), Some(asked)) if there != asked => fail(format!(
            "{} has a {} catalog; to change the engine, stop the gateway and delete that folder: it is rebuilt",
            folder.display(),
            catalog_folder(there)
        )),
        (Some(there), _) => Ok(there),
        (None, asked) => Ok(asked.unwrap_or(Engine::Fjall)),
    }
}

fn catalog_folder(engine: Engine) -> &'static str {
    match engine {
        Engine::Sled => "catalog-sled",
        Engine::Fjall => "catalog-fjall",
    }
}

/// A tenth of what would be free without the cache, but not more than pays off.
fn disk_cache_default(disk: &dyn Disk) -> PortResult<u64> {
    let own: u64 = disk.list(DISK_CACHE_FOLDER)?.iter().map(|entry| entry.len).sum();
    Ok((disk.free_bytes()?.saturating_add(own) / 10).min(DISK_CACHE_DEFAULT_MAX))
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Dispersal as the store's seam to what lies behind `staged`.
#[derive(Debug)]
struct Dispersed(Arc<Dispersal>, Arc<TerritoryCare>);

#[async_trait]
impl Durability for Dispersed {
    async fn wait(&self, level: Level, stream: StreamId, lsn: Lsn) -> PortResult<()> {
        self.0.wait(level, stream, lsn).await.map_err(port_error)
    }
    async fn flush(&self, level: Level) -> PortResult<()> {
        self.0.flush(level).await.map(drop).map_err(port_error)
    }
    fn watermark(&self, level: Level) -> Lsn {
        self.0.marks().at(level)
    }
    fn horizon(&self) -> Horizon {
        self.1.horizon()
    }
}

fn port_error(error: DispersalError) -> PortError {
    match error {
        DispersalError::Port(error) => error,
        other => PortError::unknown(PortErrorKind::Unavailable, "dispersal").with_source(other),
    }
}
