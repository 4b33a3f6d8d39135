//! Counters of a mount, for whoever shows them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What the kernel asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // the names are those of the calls
        pub enum Op { $($name,)* }

        impl Op {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in metrics and logs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

ops! {
    Lookup = "lookup", Forget = "forget", Getattr = "getattr", Setattr = "setattr",
    Readlink = "readlink", Mknod = "mknod", Mkdir = "mkdir", Symlink = "symlink", Link = "link",
    Unlink = "unlink", Rmdir = "rmdir", Rename = "rename", Create = "create", Open = "open",
    Read = "read", Write = "write", Flush = "flush", Release = "release", Fsync = "fsync",
    Allocate = "allocate", Seek = "seek", CopyRange = "copy_range", Opendir = "opendir",
    Readdir = "readdir", Releasedir = "releasedir", Fsyncdir = "fsyncdir", Setxattr = "setxattr",
    Getxattr = "getxattr", Listxattr = "listxattr", Removexattr = "removexattr", Statfs = "statfs",
}

/// Upper ends of the histogram's buckets but the last, in microseconds: powers of four.
pub const BUCKET_MICROS: [u64; 13] =
    [4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/// One kind of request.
#[derive(Debug, Default)]
pub struct OpMetrics {
    /// Answered.
    pub requests: AtomicU64,
    /// Answered with an error; that a name or an attribute is not there is none.
    pub failed: AtomicU64,
    /// Time from the kernel's request to the answer, in microseconds, added up.
    pub micros: AtomicU64,
    /// How many took at most [`BUCKET_MICROS`], the last one all that took longer.
    pub buckets: [AtomicU64; BUCKET_MICROS.len() + 1],
}

/// The counters of one mount. All but the two of what is under way only grow.
#[derive(Debug)]
pub struct MountMetrics {
    ops: Vec<OpMetrics>,
    /// Requests that ran out of time, also counted as failed.
    pub timed_out: AtomicU64,
    /// Bytes that readers got.
    pub bytes_read: AtomicU64,
    /// Bytes that writers gave.
    pub bytes_written: AtomicU64,
    /// Changes from elsewhere that the kernel was told of.
    pub invalidations: AtomicU64,
    /// Requests under way that wait for something.
    pub in_flight_requests: AtomicU64,
    /// Their bytes.
    pub in_flight_bytes: AtomicU64,
}

impl Default for MountMetrics {
    fn default() -> Self {
        Self {
            ops: Op::ALL.iter().map(|_| OpMetrics::default()).collect(),
            timed_out: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
            in_flight_requests: AtomicU64::new(0),
            in_flight_bytes: AtomicU64::new(0),
        }
    }
}

impl MountMetrics {
    /// The counters of one kind.
    pub fn op(&self, op: Op) -> &OpMetrics {
        &self.ops[op as usize]
    }

    /// The value of one of the counters.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, op: Op, begun: Instant, failed: bool) {
        let taken: Duration = begun.elapsed();
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        let of = self.op(op);
        Self::add(&of.requests, 1);
        Self::add(&of.micros, micros);
        if failed {
            Self::add(&of.failed, 1);
        }
        let bucket = BUCKET_MICROS.partition_point(|end| *end < micros);
        Self::add(&of.buckets[bucket], 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MountMetrics, Op};

    #[test]
    fn each_request_is_in_one_bucket_of_its_kind() {
        let metrics = MountMetrics::default();
        metrics.answered(Op::Read, Instant::now() - Duration::from_millis(2), false);
        metrics.answered(Op::Read, Instant::now() - Duration::from_secs(100), true);
        let read = metrics.op(Op::Read);
        let buckets: Vec<u64> = read.buckets.iter().map(MountMetrics::get).collect();
        assert_eq!((MountMetrics::get(&read.requests), MountMetrics::get(&read.failed)), (2, 1));
        assert_eq!(buckets, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(MountMetrics::get(&metrics.op(Op::Write).requests), 0);
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let mut names: Vec<_> = Op::ALL.iter().map(|op| op.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Op::ALL.len());
    }
}
