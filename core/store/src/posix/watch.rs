//! Telling mounts what changed without them.
//!
//! A commit notes the names and inodes it changes ([`Changes`]); once it is visible, every mount but
//! the one that made it gets those it may remember: a kernel can only know names of directories that
//! it holds. Each mount has a queue with a named maximum; what does not fit becomes "forget
//! everything". A consumer has dealt with a change when it asks for the next one, and a write of
//! another frontend is answered when that has happened, or after [`TELL_WAIT_MAX`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future;
use gw_types::ports::Clock;
use gw_types::{BucketName, InodeId, Lsn};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::table::Table;
use crate::api::files::{FileId, FilesChange};

/// Longest wait of another frontend's write for a mount's kernel.
const TELL_WAIT_MAX: Duration = Duration::from_millis(100);

/// A mount, among those of this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MountId(u64);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Changed {
    Name(InodeId, Vec<u8>),
    Inode(InodeId),
    Bucket(BucketName),
}

/// What one commit changes.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Nobody listens: nothing is noted.
    on: bool,
    list: Vec<Changed>,
}

impl Changes {
    /// A name came, went, or leads elsewhere. A directory's may end with `/`.
    pub(crate) fn name(&mut self, parent: InodeId, name: &[u8]) {
        if self.on {
            self.note(Changed::Name(parent, name.strip_suffix(b"/").unwrap_or(name).to_vec()));
        }
    }
    /// Bytes or attributes of an inode changed.
    pub(crate) fn inode(&mut self, inode: InodeId) {
        if self.on {
            self.note(Changed::Inode(inode));
        }
    }
    /// A bucket came or went.
    pub(crate) fn bucket(&mut self, name: &BucketName) {
        if self.on {
            self.note(Changed::Bucket(name.clone()));
        }
    }
    fn note(&mut self, changed: Changed) {
        if !self.list.contains(&changed) {
            self.list.push(changed);
        }
    }
}

/// All mounts.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    mounts: RwLock<Vec<Arc<Watch>>>,
    count: AtomicUsize,
    next: AtomicU64,
    /// A consumer has dealt with something.
    handled: Notify,
}

impl Watchers {
    pub(crate) fn begin(&self) -> Changes {
        Changes { on: self.count.load(Ordering::Acquire) > 0, list: Vec::new() }
    }

    /// Passes a visible commit's changes on.
    pub(crate) fn tell(&self, lsn: Lsn, by: Option<MountId>, changes: Changes) {
        if changes.list.is_empty() {
            return;
        }
        for watch in self.mounts.read().iter().filter(|watch| Some(watch.id) != by) {
            watch.tell(lsn, &changes.list);
        }
    }

    /// Returns when all listening mounts have dealt with changes up to `lsn`, or the time is over.
    pub(crate) async fn told(&self, lsn: Lsn, clock: &dyn Clock) {
        if self.count.load(Ordering::Acquire) == 0 || self.is_told(lsn) {
            return;
        }
        let all = async {
            loop {
                let handled = self.handled.notified();
                if self.is_told(lsn) {
                    return;
                }
                handled.await;
            }
        };
        future::select(Box::pin(all), clock.sleep(TELL_WAIT_MAX)).await;
    }

    fn is_told(&self, lsn: Lsn) -> bool {
        self.mounts.read().iter().all(|watch| watch.is_told(lsn))
    }

    pub(super) fn add(&self, table: &Arc<Table>, queue_max: usize) -> Arc<Watch> {
        let id = MountId(self.next.fetch_add(1, Ordering::Relaxed));
        let watch = Arc::new(Watch {
            id,
            table: table.clone(),
            queue_max,
            state: Mutex::default(),
            wake: Notify::new(),
        });
        let mut mounts = self.mounts.write();
        mounts.push(watch.clone());
        self.count.store(mounts.len(), Ordering::Release);
        watch
    }

    pub(super) fn remove(&self, watch: &Watch) {
        let mut mounts = self.mounts.write();
        mounts.retain(|other| other.id != watch.id);
        self.count.store(mounts.len(), Ordering::Release);
        drop(mounts);
        watch.state.lock().closed = true;
        watch.wake.notify_one();
        self.handled.notify_waiters();
    }
}

/// One mount's queue.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) id: MountId,
    table: Arc<Table>,
    queue_max: usize,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Lsn, FilesChange)>,
    /// The queue was full: all up to this commit is one change.
    everything: Option<Lsn>,
    /// Given out, and not yet dealt with.
    handling: Option<Lsn>,
    /// Somebody has asked for changes.
    listening: bool,
    closed: bool,
}

impl Watch {
    fn tell(&self, lsn: Lsn, changes: &[Changed]) {
        let known: Vec<FilesChange> = changes.iter().filter_map(|changed| self.known(changed)).collect();
        if known.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        if state.everything.is_some() || state.queue.len() + known.len() > self.queue_max {
            state.queue.clear();
            state.everything = Some(lsn);
        } else {
            state.queue.extend(known.into_iter().map(|change| (lsn, change)));
        }
        drop(state);
        self.wake.notify_one();
    }

    /// A change as this mount sees it; `None` where its kernel cannot know.
    fn known(&self, changed: &Changed) -> Option<FilesChange> {
        match changed {
            Changed::Name(parent, name) => {
                let parent = self.table.known(*parent)?;
                Some(FilesChange::Entry { parent, name: name.clone() })
            }
            Changed::Inode(inode) => self.table.known(*inode).map(|id| FilesChange::Inode { id }),
            Changed::Bucket(name) => self.table.lists_buckets().then(|| FilesChange::Entry {
                parent: FileId::ROOT,
                name: name.as_str().as_bytes().to_vec(),
            }),
        }
    }

    fn is_told(&self, lsn: Lsn) -> bool {
        let state = self.state.lock();
        let waits = |at: Option<Lsn>| at.is_some_and(|at| at <= lsn);
        !state.listening
            || !(waits(state.handling)
                || state.everything.is_some()
                || waits(state.queue.front().map(|(at, _)| *at)))
    }

    pub(super) async fn next(&self, watchers: &Watchers) -> Option<FilesChange> {
        loop {
            {
                let mut state = self.state.lock();
                state.listening = true;
                state.handling = None;
                if state.closed {
                    return None;
                }
                let next = match state.everything.take() {
                    Some(lsn) => Some((lsn, FilesChange::Everything)),
                    None => state.queue.pop_front(),
                };
                if let Some((lsn, change)) = next {
                    state.handling = Some(lsn);
                    drop(state);
                    watchers.handled.notify_waiters();
                    return Some(change);
                }
            }
            watchers.handled.notify_waiters();
            self.wake.notified().await;
        }
    }
}
