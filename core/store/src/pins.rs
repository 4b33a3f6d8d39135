//! Pins and holds: which bodies are being read and which inodes a mount knows, so that nobody takes
//! them away meanwhile.
//!
//! A reader looks an inode up on a snapshot, pins it, and looks whether it is still there. A commit
//! that deletes an inode asks [`Releases::begin`]: pinned, it leaves the bytes as a doomed row for
//! the last reader; free, it marks the inode as going until the commit is visible, and a reader that
//! meets the mark looks again. Either the reader saw the inode alive after pinning, and then the
//! commit sees the pin; or it looks again and finds the newer state. A mount holds an inode in the same
//! way ([`Pins::hold`], [`Releases::keeps`]); a held one stays, as an orphan, when its last name goes.
//! Nothing here is durable: after a crash nobody reads or holds, and [`crate::Store::open`] releases
//! every doomed row and every orphan.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gw_types::InodeId;
use parking_lot::Mutex;

use crate::core::Core;

#[derive(Debug, Default)]
struct State {
    pinned: HashMap<InodeId, Pinned>,
    going: HashSet<InodeId>,
    /// By how many mounts.
    held: HashMap<InodeId, usize>,
    /// Handles that may write, over all mounts.
    writers: HashMap<InodeId, usize>,
}

#[derive(Debug, Default)]
struct Pinned {
    readers: usize,
    doomed: bool,
}

/// The registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins(Arc<Mutex<State>>);

impl Pins {
    /// `None`: it is being deleted just now; look again.
    pub(crate) fn pin(&self, core: &Arc<Core>, inode: InodeId) -> Option<Pin> {
        let mut state = self.0.lock();
        if state.going.contains(&inode) {
            return None;
        }
        state.pinned.entry(inode).or_default().readers += 1;
        Some(Pin { core: core.clone(), inode })
    }
    /// Holds an inode for a mount. `false`: it is being taken away just now; look again.
    pub(crate) fn hold(&self, inode: InodeId) -> bool {
        let mut state = self.0.lock();
        if state.going.contains(&inode) {
            return false;
        }
        *state.held.entry(inode).or_default() += 1;
        true
    }
    /// Takes one hold back; `true` when it was the last.
    pub(crate) fn let_go(&self, inode: InodeId) -> bool {
        let mut state = self.0.lock();
        let Some(holders) = state.held.get_mut(&inode) else { return false };
        *holders -= 1;
        if *holders > 0 {
            return false;
        }
        state.held.remove(&inode);
        true
    }
    /// A handle that may write was opened.
    pub(crate) fn begin_writing(&self, inode: InodeId) {
        *self.0.lock().writers.entry(inode).or_default() += 1;
    }
    /// One was closed; `true` when it was the last.
    pub(crate) fn end_writing(&self, inode: InodeId) -> bool {
        let mut state = self.0.lock();
        let Some(writers) = state.writers.get_mut(&inode) else { return false };
        *writers -= 1;
        if *writers > 0 {
            return false;
        }
        state.writers.remove(&inode);
        true
    }
    /// Handles that may write, over all mounts.
    pub(crate) fn writers(&self, inode: InodeId) -> usize {
        self.0.lock().writers.get(&inode).copied().unwrap_or_default()
    }
    pub(crate) fn is_written(&self, inode: InodeId) -> bool {
        self.0.lock().writers.contains_key(&inode)
    }
    pub(crate) fn releases(&self) -> Releases {
        Releases { pins: self.clone(), going: Vec::new() }
    }
    pub(crate) fn count(&self) -> usize {
        self.0.lock().pinned.values().map(|pinned| pinned.readers).sum()
    }
    /// Whether the last reader has gone and the bytes wait for it.
    fn unpin(&self, inode: InodeId) -> bool {
        let mut state = self.0.lock();
        let Some(pinned) = state.pinned.get_mut(&inode) else { return false };
        pinned.readers -= 1;
        if pinned.readers > 0 {
            return false;
        }
        state.pinned.remove(&inode).is_some_and(|pinned| pinned.doomed)
    }
}

/// The inodes one commit lets go. Kept by the caller until the commit is visible or has failed.
#[derive(Debug)]
pub(crate) struct Releases {
    pins: Pins,
    going: Vec<InodeId>,
}

impl Releases {
    /// Whether a mount holds the inode; if not, none can until the commit is visible.
    pub(crate) fn keeps(&mut self, inode: InodeId) -> bool {
        let mut state = self.pins.0.lock();
        if state.held.contains_key(&inode) {
            return true;
        }
        if state.going.insert(inode) {
            self.going.push(inode);
        }
        false
    }
    /// Whether the inode's bytes may be released now; otherwise its last reader will.
    pub(crate) fn begin(&mut self, inode: InodeId) -> bool {
        let mut state = self.pins.0.lock();
        if let Some(pinned) = state.pinned.get_mut(&inode) {
            pinned.doomed = true;
            return false;
        }
        if state.going.insert(inode) {
            self.going.push(inode);
        }
        true
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        if self.going.is_empty() {
            return;
        }
        let mut state = self.pins.0.lock();
        for inode in self.going.drain(..) {
            state.going.remove(&inode);
        }
    }
}

/// Holds an inode's bytes.
#[derive(Debug)]
pub(crate) struct Pin {
    core: Arc<Core>,
    inode: InodeId,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.core.pins.unpin(self.inode) {
            self.core.release_doomed(self.inode);
        }
    }
}
