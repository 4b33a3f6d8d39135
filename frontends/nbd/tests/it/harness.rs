//! A server of this crate with files behind it, in a folder of its own.

use std::path::Path;
use std::sync::Arc;

use gw_nbd::{
    BlockSizes, Export, ExportTable, Exports, FaultyExport, Features, FileExport, FileOptions, Limits,
    Listen, NbdConfig, NbdServer, Principals, RunningNbd, Who,
};
use tempfile::TempDir;

use crate::client::Target;

pub const SIZE: u64 = 40 << 20;

pub struct Server {
    pub target: Target,
    pub running: RunningNbd,
    /// The export behind the name `faulty`.
    pub faulty: Arc<FaultyExport>,
    pub folder: TempDir,
}

/// A sparse file of [`SIZE`] bytes.
pub fn file(folder: &Path, name: &str, options: FileOptions) -> Arc<dyn Export> {
    let path = folder.join(name);
    std::fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
    Arc::new(FileExport::open(&path, options).unwrap())
}

/// Exports of every kind: `disk` (everything), `faulty`, `readonly`, `blocks` (minimum 4096), `bare`
/// (nothing but reading and writing).
pub fn exports(folder: &Path) -> (ExportTable, Arc<FaultyExport>) {
    let plain = FileOptions { track_dirty: true, ..FileOptions::default() };
    let blocks = BlockSizes::new(4096, 8192, 1 << 20).unwrap();
    let bare_file = file(folder, "bare", FileOptions::default());
    let mut bare = bare_file.properties().clone();
    bare.contexts = Vec::new();
    bare.features = Features {
        flush: false,
        fua: false,
        trim: false,
        write_zeroes: false,
        fast_zero: false,
        cache: false,
        multi_conn: false,
        rotational: true,
    };
    let faulty = FaultyExport::new(file(folder, "faulty", FileOptions::default()));
    let table = ExportTable::new()
        .with("disk", file(folder, "disk", plain), Who::Anyone)
        .with("faulty", faulty.clone(), Who::Anyone)
        .with(
            "readonly",
            file(folder, "readonly", FileOptions { read_only: true, ..FileOptions::default() }),
            Who::Anyone,
        )
        .with("blocks", file(folder, "blocks", FileOptions { blocks, ..FileOptions::default() }), Who::Anyone)
        .with("bare", FaultyExport::with_properties(bare_file, bare), Who::Anyone);
    (table, faulty)
}

impl Server {
    pub async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }
    pub async fn with_limits(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (table, faulty) = exports(folder.path());
        Self::with(folder, Arc::new(table), faulty, limits).await
    }
    async fn with(
        folder: TempDir,
        exports: Arc<dyn Exports>,
        faulty: Arc<FaultyExport>,
        limits: Limits,
    ) -> Self {
        let path = folder.path().join("socket");
        let listen = Listen::Unix { path: path.clone(), mode: 0o600 };
        let mut config = NbdConfig::new(listen, Principals::new(false));
        config.limits = limits;
        let running = NbdServer::bind(config, exports).await.unwrap();
        Self { target: Target::Unix(path), running, faulty, folder }
    }
}
