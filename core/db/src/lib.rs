//! The journal, the overlay and the catalog: one log of commits, and an ordered map over it.
//!
//! A commit ([`Db::transact`]) is a closure under one lock that reads the newest state and writes
//! absolute rows. It gets the next LSN, is visible at once, and is durable when the staged watermark
//! has passed it ([`Db::wait_staged`]): one device sync serves all that gathered before it. The journal
//! (files `journal/*`) is the truth. Rows newer than the catalog engine live in memory, in versions, so
//! that a [`Snapshot`] shows one LSN for as long as it is held. A checkpoint moves them down, to the
//! engine and to sorted runs of our own; the engine may be deleted at any time while closed and is
//! filled again from runs and journal.
//!
//! Promises: what was acknowledged after [`Db::wait_staged`] survives a power cut; after any crash the
//! state is that of a prefix of the log; watermarks never move back; a device that failed a sync is
//! never believed again; every queue has a named maximum; a damaged file is an error that names it.
//!
//! Not here: what rows mean (their tables are given out in ARCHITECTURE.md; 0x00..=0x0F is ours), and
//! where sealed bytes live ([`InlineSink`] takes those that travel in records).

pub mod catalog;
mod checkpoint;
mod config;
mod db;
pub mod disk;
mod error;
mod import;
mod journal;
mod open;
mod overlay;
mod read;
mod record;
mod runs;
mod shared;
mod snapshot;
mod txn;

pub use checkpoint::CheckpointRows;
pub use config::{DbConfig, DbPorts, DbStats, Health, InlineSink, NoInlines};
pub use db::{Committed, Db};
pub use error::DbError;
pub use read::{Read, Rows};
pub use record::Record;
pub use runs::{RunFile, RunInfo};
pub use snapshot::Snapshot;
pub use txn::Txn;
