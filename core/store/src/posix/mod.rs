//! POSIX names on the store: a mount's view of one bucket, or of all, as [`Files`].
//!
//! A verb is one commit that finds, judges and writes on the newest state, by the same rows that S3
//! has: a dentry is a name in both views, an inode a file and an object. What the kernel knows is
//! held ([`table`]), so that it stays when its last name goes; what changes without the kernel is told
//! ([`watch`]). A file that was made and not published is a dentry without a summary: S3 does not see
//! it. A directory is explicit exactly when the object `dir/` exists: `mkdir` puts it, any change
//! through a mount puts it where it is missing, `rmdir` and S3 delete it.
//!
//! Metadata verbs never wait for the disk: they are durable with the next `fsync`, `fsyncdir` or
//! `syncfs`, or when the journal is synced anyway. `docs/SEMANTICS.md` says what each verb promises.

mod attr;
mod body;
mod buckets;
mod content_type;
mod errno;
mod files;
mod names;
mod orphan;
mod remove;
mod rename;
mod table;
mod view;
mod watch;
mod xattr;

use std::sync::Arc;
use std::time::Duration;

use gw_db::Read;
use gw_types::ports::WrappedBucketKey;
use gw_types::{Action, Authenticated, BucketName, InodeId, Level, ObjectKey, Timestamp};
use parking_lot::Mutex;

use crate::access::Act;
use crate::api::files::{Errno, FileId, FilesError, FilesResult};
use crate::core::{Core, Done, Work, load_bucket};
use crate::error::StoreResult;
use crate::rows::{self, BucketRow, InodeBody, InodeRow, key};
use buckets::Names;
use table::{Hold, Table};
use watch::Watch;

pub(crate) use watch::{Changes, MountId, Watchers};
pub(crate) use xattr::first_attributes;

/// Tries of a verb that found the journal too far behind, each after a sync.
const BUSY_TRIES_MAX: usize = 64;
/// Files that can be appended to at the same time, at most.
const APPENDS: usize = 32;
/// Looks at a name that changes while it is being held, before the commit lock is taken for it.
const LOOKS_MAX: usize = 16;

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountBuckets {
    /// The root lists the buckets that the principal may list.
    All,
    /// The root is this bucket's.
    One(BucketName),
}

/// How to mount.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Whose rights every verb has.
    pub who: Authenticated,
    /// What.
    pub buckets: MountBuckets,
    /// Refuse every change (`EROFS`).
    pub read_only: bool,
    /// What `fsync` waits for; `None`: the level of the bucket.
    pub level: Option<Level>,
    /// How long the kernel may believe what it found without asking.
    pub ttl: Duration,
    /// Inodes that the kernel may know at a time.
    pub held_max: usize,
    /// Files and directories that may be open at a time.
    pub handles_max: usize,
    /// Changes kept for the kernel before they become "forget everything".
    pub changes_max: usize,
}

impl MountOptions {
    /// With a ttl of one second, four million inodes, a million handles, 4096 changes.
    pub fn new(who: Authenticated, buckets: MountBuckets) -> Self {
        Self {
            who,
            buckets,
            read_only: false,
            level: None,
            ttl: Duration::from_secs(1),
            held_max: 4 << 20,
            handles_max: 1 << 20,
            changes_max: 4096,
        }
    }
}

/// A mounted namespace. Dropping it lets go of all that its kernel knew.
pub struct StoreFiles {
    core: Arc<Core>,
    options: MountOptions,
    table: Arc<Table>,
    watch: Arc<Watch>,
    /// Names of buckets by their roots.
    names: Names,
    /// For the next bucket made here: keys are asked for asynchronously, `mkdir` is not.
    spare_key: Mutex<Option<WrappedBucketKey>>,
    mounted_at: Timestamp,
    appends: [tokio::sync::Mutex<()>; APPENDS],
}

impl std::fmt::Debug for StoreFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (held, open) = self.table.held_count();
        write!(f, "StoreFiles({:?}, {held} inodes held, {open} handles)", self.options.buckets)
    }
}

impl Core {
    /// Mounts: `NoSuchBucket` or `AccessDenied` where the one bucket cannot be listed.
    pub(crate) async fn mount(self: &Arc<Self>, options: MountOptions) -> StoreResult<StoreFiles> {
        let names = Names::default();
        let root = match &options.buckets {
            MountBuckets::All => None,
            MountBuckets::One(name) => {
                let row = self.bucket(&self.snapshot(), &options.who, Action::ListBucket, name)?;
                names.remember(row.root, name);
                Some(row.root)
            }
        };
        let spare_key = match &options.buckets {
            MountBuckets::All => Some(self.keys.new_bucket_key().await?),
            MountBuckets::One(_) => None,
        };
        let table = Arc::new(Table::new(self.pins.clone(), root, (options.held_max, options.handles_max)));
        let watch = self.watchers.add(&table, options.changes_max);
        Ok(StoreFiles {
            core: self.clone(),
            table,
            watch,
            names,
            spare_key: Mutex::new(spare_key),
            mounted_at: self.clock.now(),
            appends: Default::default(),
            options,
        })
    }
}

impl Drop for StoreFiles {
    fn drop(&mut self) {
        self.core.watchers.remove(&self.watch);
        for handle in self.table.handles() {
            if let Err(error) = self.close_handle(handle) {
                tracing::warn!(%error, "a file that was open at the end of its mount is not published");
            }
        }
        for inode in self.table.clear() {
            self.core.collect(inode);
        }
    }
}

/// A bucket, as a verb in it needs it.
#[derive(Clone, Debug)]
pub(super) struct Here {
    name: BucketName,
    row: BucketRow,
}

impl StoreFiles {
    /// One commit, again after a sync while the journal is too far behind. The closure may run several
    /// times; only its last run counts.
    fn change<T>(&self, mut act: impl FnMut(&mut Work<'_, '_>) -> FilesResult<T>) -> FilesResult<Done<T>> {
        self.writable()?;
        for _ in 1..BUSY_TRIES_MAX {
            match self.core.commit_by(Some(self.watch.id), &mut act) {
                Err(error) if error.errno == Errno::Interrupted => {
                    let behind = self.core.db.appended();
                    futures_block(self.core.db.wait_staged(behind))?;
                }
                done => return done,
            }
        }
        self.core.commit_by(Some(self.watch.id), &mut act).map_err(busy)
    }

    /// Who appends to a file takes turns with the others.
    fn append_turn(&self, inode: InodeId) -> &tokio::sync::Mutex<()> {
        // Numbers of one commit differ in their low twelve bits, commits in those above.
        let mixed = inode.0 ^ inode.0 >> 12;
        &self.appends[mixed as usize % APPENDS]
    }

    fn writable(&self) -> FilesResult<()> {
        if self.options.read_only { Err(Errno::ReadOnly.into()) } else { Ok(()) }
    }

    /// The inode behind a number; `EISDIR` for the list of buckets, which has none.
    fn inode(&self, id: FileId) -> FilesResult<InodeId> {
        self.table.inode(id).ok_or_else(|| Errno::IsDirectory.into())
    }

    /// The bucket of an inode, as it is now.
    fn here(&self, read: &impl Read, root: InodeId) -> FilesResult<Here> {
        let name = match self.names.find(root) {
            Some(name) => name,
            None => self.names.search(read, root)?.ok_or(Errno::Stale)?,
        };
        match load_bucket(read, &name)? {
            Some(row) if row.root == root => Ok(Here { name, row }),
            _ => Err(Errno::Stale.into()),
        }
    }

    /// Whether the mount's principal may do this to a name (`None`: to the bucket).
    fn may(
        &self,
        read: &impl Read,
        here: &Here,
        action: Action,
        at: Option<(InodeId, &[u8])>,
    ) -> FilesResult<()> {
        let who = &self.options.who;
        // The key matters to policies alone, and takes a walk up to the root.
        let key = match at {
            Some((parent, name)) if here.row.rules.policy.is_some() => {
                let path = path_of(read, parent, name)?;
                ObjectKey::new(String::from_utf8_lossy(&path).into_owned()).ok()
            }
            _ => None,
        };
        let act = Act { key: key.as_ref(), ..Act::from(action) };
        Ok(self.core.allow(read, who, act, (&here.name, &here.row))?)
    }

    /// Lets go of lookups or opens, and of the inode with them when nothing else keeps it.
    fn let_go(&self, inode: InodeId, why: Hold, count: u64) {
        if self.table.let_go(inode, why, count) {
            self.core.collect(inode);
        }
    }
}

/// `EINTR` says inside that a verb may be tried again; nobody else hears it.
fn busy<E: Into<FilesError>>(error: E) -> FilesError {
    let mut error = error.into();
    if error.errno == Errno::Interrupted {
        error.errno = Errno::Busy;
    }
    error
}

/// Waits on a thread that serves the kernel. Only for the journal, which has tasks of its own.
fn futures_block<T, E: Into<FilesError>>(
    wait: impl std::future::Future<Output = Result<T, E>>,
) -> FilesResult<T> {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut wait = std::pin::pin!(wait);
    loop {
        match wait.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => return done.map_err(Into::into),
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// The row of an inode that the kernel knows.
fn load(read: &impl Read, inode: InodeId) -> FilesResult<InodeRow> {
    rows::load(read, "inode", &key::inode(inode))?.ok_or_else(|| Errno::Stale.into())
}

/// A directory that names can be found in: `ENOENT` for one that was removed.
fn load_directory(read: &impl Read, inode: InodeId) -> FilesResult<InodeRow> {
    let row = load(read, inode)?;
    match &row.body {
        InodeBody::Directory(counts) if row.bucket == inode || is_named(&row) && counts.lives() => Ok(row),
        InodeBody::Directory(_) => Err(Errno::NoEntry.into()),
        _ => Err(Errno::NotDirectory.into()),
    }
}

fn is_named(row: &InodeRow) -> bool {
    !row.places.is_empty()
}

/// The full key of a name: `name` ends with `/` for a directory.
fn path_of(read: &impl Read, parent: InodeId, name: &[u8]) -> FilesResult<Vec<u8>> {
    let mut pieces = vec![name.to_vec()];
    let mut at = parent;
    loop {
        let row = load(read, at)?;
        let Some(place) = row.places.into_iter().next() else { break };
        pieces.push(place.name);
        at = place.parent;
    }
    pieces.reverse();
    Ok(pieces.concat())
}
