//! What a miner has done since its start. Counters only ever grow; gauges are read from the store.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start, and what is held now.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct MinerCounters {
            $($(#[$doc])* pub $name: u64,)*
            /// Bytes of fragments on disk.
            pub used_bytes: u64,
            /// Bytes set aside for puts under way.
            pub reserved_bytes: u64,
            /// As configured.
            pub capacity_bytes: u64,
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> MinerCounters {
                MinerCounters { $($name: self.$name.0.load(Ordering::Relaxed),)* ..MinerCounters::default() }
            }
        }
    };
}

counters! {
    /// Puts answered with 200.
    puts,
    /// Bytes stored by them.
    put_bytes,
    /// Gets answered with bytes.
    gets,
    /// Bytes of those answers.
    get_bytes,
    /// Requests answered with 4xx or 507.
    refused,
    /// Requests answered with another 5xx.
    failed,
    /// Columns that the chain has taken.
    reports,
    /// Reports that failed, to be tried again.
    report_failures,
    /// Deals whose fragments were removed.
    collected,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}
