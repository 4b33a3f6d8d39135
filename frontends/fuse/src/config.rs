//! What a mount is told: how it looks to the kernel, whose ids it shows, and the limit of everything.

use std::time::Duration;

use crate::ids::IdMap;

/// How a namespace is mounted.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// What `mount` and `df` show as the source.
    pub source: String,
    /// Changes are refused with `EROFS`, by the kernel.
    pub read_only: bool,
    /// Other users than the one who mounts may come in. Mode bits are checked either way.
    pub allow_other: bool,
    /// Set-uid and set-gid bits have their effect when a file is executed.
    pub set_uid: bool,
    /// Device files act as devices.
    pub devices: bool,
    /// Files may be executed.
    pub execute: bool,
    /// Users of the namespace as users of this machine.
    pub uids: IdMap,
    /// The same for groups.
    pub gids: IdMap,
    /// What the kernel may remember.
    pub cache: CacheOptions,
    /// Threads that take requests from the kernel, each with a buffer of 16 MiB.
    pub threads: usize,
    /// The limits.
    pub limits: MountLimits,
}

/// What the kernel may remember. Changes from elsewhere are announced to it, so that these times bound
/// only an announcement that was lost or overtaken.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// Bytes of files are kept in the page cache. Without it every read and write comes here, and
    /// shared writable mappings still work.
    pub pages: bool,
    /// Writes are kept too, and come later and larger: at `fsync`, at `close`, after some seconds.
    pub writeback: bool,
    /// How long names and attributes are believed, at most.
    pub ttl_max: Duration,
    /// How long it is believed that there is no such name.
    pub negative_ttl: Duration,
    /// Bytes read ahead of a sequential reader; taken where the mount is made by root.
    pub readahead_bytes: u32,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            pages: true,
            writeback: false,
            ttl_max: Duration::from_secs(1),
            negative_ttl: Duration::ZERO,
            readahead_bytes: 1 << 20,
        }
    }
}

/// How much, and how long. Where a limit is reached somebody waits or gets an error.
#[derive(Clone, Copy, Debug)]
pub struct MountLimits {
    /// Bytes of reads and writes that are under way. At the limit no further request is taken from the
    /// kernel. One request is always let in.
    pub in_flight_bytes_max: usize,
    /// Requests that wait for something.
    pub in_flight_requests_max: usize,
    /// Requests that the kernel sends ahead of anybody who waits (reading ahead, writing back).
    pub background_max: u16,
    /// A request that moves bytes and is not answered by then gets `ETIMEDOUT`.
    pub request_timeout: Duration,
    /// The same for what waits for durability: `fsync`, `close`, `syncfs`.
    pub sync_timeout: Duration,
    /// A request for names or attributes that takes longer is a fault: the mount is ended, so that
    /// nobody hangs on it. Everything on it gets `ECONNABORTED` or `ENOTCONN`.
    pub stuck_timeout: Duration,
    /// How long an unmount waits for files to be closed before it cuts them off.
    pub unmount_timeout: Duration,
}

impl Default for MountLimits {
    fn default() -> Self {
        Self {
            in_flight_bytes_max: 64 << 20,
            in_flight_requests_max: 1024,
            background_max: 64,
            request_timeout: Duration::from_secs(60),
            sync_timeout: Duration::from_secs(330),
            stuck_timeout: Duration::from_secs(120),
            unmount_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for MountOptions {
    /// Readable and writable by the one who mounts, ids as they are, no devices, no set-uid.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            source: "cess-gateway".to_owned(),
            read_only: false,
            allow_other: false,
            set_uid: false,
            devices: false,
            execute: true,
            uids: IdMap::default(),
            gids: IdMap::default(),
            cache: CacheOptions::default(),
            // On two cores a second loop wakes the other core for each request and is slower.
            threads: (cores / 2).clamp(1, 4),
            limits: MountLimits::default(),
        }
    }
}
