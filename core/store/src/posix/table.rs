//! What a mount's kernel knows: inodes it has looked up, handles it has open.
//!
//! An inode is held ([`crate::pins`]) from its first lookup or open to its last forget or release, and
//! so stays, without names if it must. Numbers are the store's own, never given twice; only the root
//! of what is mounted has number 1. Both tables have a maximum: beyond it a lookup or open is refused.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use gw_types::InodeId;
use parking_lot::Mutex;

use crate::api::files::{Errno, FileId, FilesError, FilesResult, HandleId, OpenFlags};
use crate::file::ReadView;
use crate::pins::Pins;

/// Positions that an open directory remembers exactly.
const POSITIONS_MAX: usize = 8192;

/// What is looked up and open.
#[derive(Debug)]
pub(crate) struct Table {
    pins: Pins,
    /// The bucket's root that has number 1; `None` where all buckets are mounted.
    root: Option<InodeId>,
    held_max: usize,
    handles_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<InodeId, Held>,
    handles: HashMap<u64, Arc<Handle>>,
    last_handle: u64,
}

#[derive(Debug, Default)]
struct Held {
    lookups: u64,
    opens: u64,
}

/// An open file or directory.
#[derive(Debug)]
pub(super) struct Handle {
    /// `None`: the list of buckets.
    pub(super) inode: Option<InodeId>,
    /// Root of its bucket.
    pub(super) root: Option<InodeId>,
    pub(super) flags: OpenFlags,
    pub(super) positions: Mutex<Positions>,
    pub(super) view: ReadView,
}

/// Where `readdir` has been lately: cookies and the names they stand behind. So a name that was
/// removed since is no obstacle.
#[derive(Debug, Default)]
pub(super) struct Positions(VecDeque<(u64, Vec<u8>)>);

impl Positions {
    pub(super) fn remember(&mut self, cookie: u64, name: Vec<u8>) {
        if self.0.len() == POSITIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((cookie, name));
    }
    pub(super) fn find(&self, cookie: u64) -> Option<Vec<u8>> {
        self.0.iter().rev().find(|(known, _)| *known == cookie).map(|(_, name)| name.clone())
    }
}

/// Why an inode is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Lookup,
    Open,
}

impl Table {
    pub(super) fn new(pins: Pins, root: Option<InodeId>, (held_max, handles_max): (usize, usize)) -> Self {
        Self { pins, root, held_max, handles_max, state: Mutex::default() }
    }

    pub(super) fn lists_buckets(&self) -> bool {
        self.root.is_none()
    }
    pub(super) fn root(&self) -> Option<InodeId> {
        self.root
    }
    pub(super) fn file_id(&self, inode: InodeId) -> FileId {
        if self.root == Some(inode) { FileId::ROOT } else { FileId(inode.0) }
    }
    /// `None`: the list of buckets.
    pub(super) fn inode(&self, id: FileId) -> Option<InodeId> {
        if id == FileId::ROOT { self.root } else { Some(InodeId(id.0)) }
    }

    /// The number of an inode that the kernel may remember something of.
    pub(super) fn known(&self, inode: InodeId) -> Option<FileId> {
        let known = self.root == Some(inode) || self.state.lock().held.contains_key(&inode);
        known.then(|| self.file_id(inode))
    }

    /// Holds an inode once more. `Some(true)`: it was held before, so what was found is there.
    /// `None`: it is being taken away just now.
    pub(super) fn hold(&self, inode: InodeId, why: Hold) -> FilesResult<Option<bool>> {
        let mut state = self.state.lock();
        let before = state.held.contains_key(&inode);
        if !before {
            if state.held.len() >= self.held_max {
                return Err(FilesError::new(Errno::NoSpace, "the mount knows too many inodes"));
            }
            if !self.pins.hold(inode) {
                return Ok(None);
            }
        }
        let held = state.held.entry(inode).or_default();
        match why {
            Hold::Lookup => held.lookups += 1,
            Hold::Open => held.opens += 1,
        }
        Ok(Some(before))
    }

    /// Takes holds back; `true` when nobody holds the inode any more.
    pub(super) fn let_go(&self, inode: InodeId, why: Hold, count: u64) -> bool {
        let mut state = self.state.lock();
        let Some(held) = state.held.get_mut(&inode) else { return false };
        match why {
            Hold::Lookup => held.lookups = held.lookups.saturating_sub(count),
            Hold::Open => held.opens = held.opens.saturating_sub(count),
        }
        if held.lookups > 0 || held.opens > 0 {
            return false;
        }
        state.held.remove(&inode);
        self.pins.let_go(inode)
    }

    /// Lets everything go; answers the inodes that nobody holds any more.
    pub(super) fn clear(&self) -> Vec<InodeId> {
        let mut state = self.state.lock();
        state.handles.clear();
        let held = std::mem::take(&mut state.held);
        held.into_keys().filter(|inode| self.pins.let_go(*inode)).collect()
    }

    /// `place`: an inode and the root of its bucket.
    pub(super) fn open(&self, place: Option<(InodeId, InodeId)>, flags: OpenFlags) -> FilesResult<HandleId> {
        let mut state = self.state.lock();
        if state.handles.len() >= self.handles_max {
            return Err(FilesError::new(Errno::NoSpace, "the mount has too many open files"));
        }
        state.last_handle += 1;
        let id = state.last_handle;
        let (inode, root) = place.unzip();
        let (positions, view) = Default::default();
        state.handles.insert(id, Arc::new(Handle { inode, root, flags, positions, view }));
        Ok(HandleId(id))
    }
    pub(super) fn handle(&self, id: HandleId) -> FilesResult<Arc<Handle>> {
        self.state.lock().handles.get(&id.0).cloned().ok_or_else(|| Errno::BadHandle.into())
    }
    pub(super) fn close(&self, id: HandleId) -> Option<Arc<Handle>> {
        self.state.lock().handles.remove(&id.0)
    }
    pub(super) fn handles(&self) -> Vec<HandleId> {
        self.state.lock().handles.keys().copied().map(HandleId).collect()
    }
    pub(super) fn held_count(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.held.len(), state.handles.len())
    }
}
