//! Writing bodies: plain bytes in, sealed bytes on the disk, one commit to make them a body.
//!
//! ```text
//!   Data::begin -> BodyWriter --write*--> finish --> StagedBody --attach(txn)--> DataMap
//!        |             |                     |             |
//!   reserves      seals batches        syncs its      fills segment rows; the
//!   staging       into leases          segment        journal's sync acknowledges
//!                                      files
//! ```
//!
//! Only [`StagedBody::attach`] makes a map of fresh bytes, and only [`BodyWriter::finish`] makes a
//! staged body: the order *segment sync, commit, journal sync* cannot be written down wrongly.
//! Whatever is dropped on the way gives back its room and leaves nothing behind.

mod seal;
mod staged;
mod writer;

pub use staged::StagedBody;
pub(crate) use staged::fill;
pub(crate) use writer::BodySpec;
pub use writer::BodyWriter;

/// Bodies up to this many plain bytes travel sealed in the journal record of their commit (one sync
/// for record and bytes) and are placed into their segment from there.
pub const INLINE_MAX: u64 = 64 << 10;
