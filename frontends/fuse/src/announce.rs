//! Telling the kernel what has changed without it.
//!
//! This runs on a thread of its own that holds nothing: the kernel may wait for locks that a request
//! under way holds, and that request may wait for us (`Documentation/filesystems/fuse.rst`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{INodeNo, Notifier};
use gw_store::files::{Files, FilesChange};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::metrics::MountMetrics;

/// `FUSE_NOTIFY_INC_EPOCH` of the protocol 7.44 (Linux 6.16): every name that the kernel knows is asked
/// for again. An older kernel refuses it, and believes what it knows until its time is over.
const NOTIFY_INC_EPOCH: i32 = 8;

/// What the thread works with.
pub struct Announcer {
    pub files: Arc<dyn Files>,
    pub notifier: Notifier,
    /// The connection, for what fuser 0.18 has no call for; only where this process mounted by itself.
    pub device: Option<File>,
    pub metrics: Arc<MountMetrics>,
    pub runtime: Handle,
    pub stop: watch::Receiver<bool>,
}

impl Announcer {
    /// Until there is no further change, or the mount ends.
    pub fn run(mut self) {
        while let Some(change) = self.next() {
            MountMetrics::add(&self.metrics.invalidations, 1);
            if let Err(error) = self.announce(&change) {
                tracing::debug!(%error, ?change, "the kernel could not be told of a change");
            }
        }
    }

    fn next(&mut self) -> Option<FilesChange> {
        let (files, stop) = (Arc::clone(&self.files), &mut self.stop);
        self.runtime.block_on(async move {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stopped| *stopped) => None,
                change = files.next_change() => change,
            }
        })
    }

    fn announce(&mut self, change: &FilesChange) -> io::Result<()> {
        match change {
            FilesChange::Entry { parent, name } => {
                self.notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name))
            }
            // From the first byte to the last, and the attributes.
            FilesChange::Inode { id } => self.notifier.inval_inode(INodeNo(id.0), 0, 0),
            FilesChange::Everything => self.everything(),
        }
    }

    /// struct fuse_out_header: length, code, and 0 for "no request's answer" (`fuse_kernel.h`).
    fn everything(&mut self) -> io::Result<()> {
        let Some(device) = &mut self.device else { return Ok(()) };
        let mut header = [0; 16];
        header[..4].copy_from_slice(&16_u32.to_ne_bytes());
        header[4..8].copy_from_slice(&NOTIFY_INC_EPOCH.to_ne_bytes());
        device.write_all(&header)
    }
}
