//! The promises of a namespace, shown on the one in memory.

mod bytes;
mod names;
mod views;

use std::sync::Arc;

use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_sim::SimClock;
use gw_store::files::{Caller, FileId, Files, Found, HandleId, OpenFlags};

const ME: Caller = Caller { uid: 1000, gid: 1000, pid: 1, umask: 0 };
const BOTH: OpenFlags =
    OpenFlags { read: true, write: true, append: false, truncate: false, sync: false, exclusive: false };

fn empty() -> MemoryFiles {
    MemoryFiles::new(Arc::new(SimClock::default()), 1000, 1000, MemoryLimits::default())
}

fn file(files: &MemoryFiles, name: &[u8]) -> (Found, HandleId) {
    files.create(&ME, FileId::ROOT, name, 0o644, BOTH).expect("a name that is free")
}
