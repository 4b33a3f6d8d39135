//! A storage miner of the CESS network, as far as storing goes: it speaks cess-miner's HTTP API, keeps
//! fragments on disk by their hash, and reports to the chain itself when it holds a whole column of a
//! deal.
//!
//! It promises: a put answered with 200 is on the disk (fragment, directory and index synced) and
//! survives a power loss; bytes whose SHA-256 is not the one announced are never kept; no more than
//! `capacity_bytes` are taken, puts under way included; a column that is complete is reported,
//! sooner or later, over restarts and lost replies, and not twice where the chain can be asked.
//!
//! It is `simulated`, and says so in `GET /status`: it has no TEE beside it, makes no PoDR2 tags, sends no
//! `calculate_report`, answers no audit and proves no idle space. As in CESS, a signature shows only
//! that the asker has some key: neither age nor repetition of the signed message is checked, so
//! anybody may read any fragment, and privacy is the sealer's work.
//!
//! ```text
//! dir/lock                 held while a miner runs here
//! dir/index.log            which deal holds which fragment; see `index`
//! dir/fragments/ab/ab12…   8 MiB each, named by their SHA-256
//! dir/tmp/                 puts under way; emptied at start
//! ```

mod answer;
mod collect;
mod config;
mod counters;
mod deals;
mod fragments;
mod get;
mod index;
mod paced;
mod put;
mod report;
mod running;
mod server;
mod space;
mod status;

pub use config::{CollectConfig, Fault, MinerConfig};
pub use counters::MinerCounters;
pub use running::{Miner, MinerStartError, RunningMiner};
