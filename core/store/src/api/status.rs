//! What the admin asks: how much, how safe, where.

use std::ops::Range;

use gw_data::DataStatus;
use gw_types::ports::MinerAddr;
use gw_types::{BucketName, Fid, FragmentIndex, Lsn, SegmentSeq};

use super::{Etag, Quota, Usage};

/// How far each level has come. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Newest commit.
    pub appended: Lsn,
    /// In the synced journal.
    pub staged: Lsn,
    /// Held by miners; `None` where nothing is dispersed at all.
    pub dispersed: Option<Lsn>,
    /// In Active deals of finalized blocks.
    pub finalized: Option<Lsn>,
}

/// One bucket of a [`StoreStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketStatus {
    /// Its name.
    pub name: BucketName,
    /// Its owner.
    pub owner: String,
    /// What it holds.
    pub usage: Usage,
    /// What it may hold.
    pub quota: Quota,
}

/// The store at a glance.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// Users known.
    pub users: u64,
    /// In order of name.
    pub buckets: Vec<BucketStatus>,
    /// Sums over all buckets.
    pub usage: Usage,
    /// How safe it is.
    pub watermarks: Watermarks,
    /// Segments, staging, cache and reads.
    pub data: DataStatus,
    /// Reads running now.
    pub pins: usize,
    /// Deleted bodies that wait for their last reader.
    pub doomed: u64,
}

/// How safe a range of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacedState {
    /// On this machine.
    Staged,
    /// On miners, deal open.
    Dispersed,
    /// On miners, deal Active.
    Finalized,
}

/// One fragment of a stripe and its miner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedFragment {
    /// Which of the stripe's twelve.
    pub index: FragmentIndex,
    /// Who holds it.
    pub miner: MinerAddr,
}

/// Where a range of an object's bytes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRange {
    /// Bytes of the object.
    pub range: Range<u64>,
    /// Segment that holds them, sealed.
    pub segment: SegmentSeq,
    /// How safe.
    pub state: PlacedState,
    /// Whether the segment's file is on this machine.
    pub local: bool,
    /// Its deal, once there is one.
    pub fid: Option<Fid>,
    /// The data fragment that holds just these bytes, and where in it.
    pub fragment: FragmentIndex,
    /// Sealed bytes of that fragment.
    pub fragment_range: Range<u32>,
    /// Who holds each of the twelve fragments, once they are placed.
    pub fragments: Vec<PlacedFragment>,
}

/// Where an object is. Miners hold ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its length in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: Etag,
    /// In order, without gaps over the range asked for.
    pub ranges: Vec<PlacedRange>,
}
