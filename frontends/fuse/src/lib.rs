//! The FUSE frontend: a namespace mounted in Linux's file tree.
//!
//! ```text
//! mount      a mount's life: begun, kept, ended           (Mount, Mounted)
//! config     how it looks, what is remembered, limits     (MountOptions)
//! frontend   the kernel's requests as verbs of `Files`
//! engine     carrying them out: measured and bounded
//! budget     what may be under way
//! watch      which request does not come back
//! announce   telling the kernel what changed elsewhere
//! convert    the kernel's words and the namespace's
//! ids        users and groups, mapped
//! device     mount(2), umount(2), what is mounted where
//! metrics    counters
//! ```
//!
//! Promises: the kernel checks mode bits (`default_permissions`), this crate nothing that it has
//! checked; every request is answered within a time that is written in [`MountLimits`], by an error if
//! need be, and a mount whose namespace hangs is ended, so that no process hangs on it for ever; bytes
//! under way are bounded; what changes elsewhere is announced to the kernel from a thread that holds no
//! lock; a mount that a killed process left behind is taken away at the next start.
//!
//! The protocol is spoken by fuser 0.18, which lives in this crate only. What it lacks is not here
//! either: `O_TMPFILE` (`EOPNOTSUPP`), `statx`'s time of birth, `syncfs` of one mount, requests over
//! io_uring, interrupts. Locks are the kernel's own, which is right for one mount of one machine.

mod announce;
mod budget;
mod config;
mod convert;
mod device;
mod engine;
mod frontend;
mod ids;
mod metrics;
mod mount;
mod watch;

pub use config::{CacheOptions, MountLimits, MountOptions};
pub use device::MOUNT_KIND;
pub use ids::{BadIdMap, IdMap, OVERFLOW_ID};
pub use metrics::{BUCKET_MICROS, MountMetrics, Op, OpMetrics};
pub use mount::{Ended, Mount, MountError, Mounted};
