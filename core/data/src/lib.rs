//! Sealed bytes: segments on this disk, the maps that name parts of them, and reading them back from
//! here or from the miners.
//!
//! A body is sealed in frames while it is received and stands at its final place, (segment, offset),
//! before a commit of `gw-db` names it ([`BodyWriter`], [`StagedBody`]). A [`DataMap`] says which
//! sealed bytes are a body; maps are shared by reference count, and the live bytes of every segment
//! are counted in the commit that changes references ([`rows`]). A reader plans exactly the frames of
//! its range ([`plan`]) and takes them from memory, from the segment file, or from the miner of the
//! one fragment that holds them, rebuilt from four other columns where that miner is slow, gone or
//! lying ([`BodyReader`]).
//!
//! Promises: no plaintext and no key reaches the disk; bytes leave only through a frame's tag; a commit
//! never names bytes less durable than itself; an aborted write leaves nothing; a sealed segment never
//! changes; any eight of a stripe's twelve miners may fail a read in any way; everything that grows
//! has a named maximum ([`DataConfig`]).
//!
//! What is alive in a sparse segment is copied into another and every map pointed there by one row
//! ([`Data::live`], [`Data::compact`]); when and which segments, dispersal decides.
//!
//! Frames that miners sent are kept, sealed, in memory and in a bounded cache on the disk.

mod compact;
mod config;
mod customer;
mod data;
mod disk_cache;
mod error;
mod keyring;
mod locate;
mod map;
mod read;
pub mod rows;
mod segments;
mod tender;
mod trim;
mod upkeep;
mod write;

pub use compact::{Compacted, Live, MapRows};
pub use config::{DataConfig, DataPorts, DataStatus, DiskCacheStatus, ReadTotals, SegmentTotals};
pub use data::{Data, LOCAL_STREAM};
pub use disk_cache::DISK_CACHE_FOLDER;
pub use error::DataError;
pub use keyring::BodyKey;
pub use locate::Located;
pub use map::{
    BASE_PIECES_MAX, DataMap, ENTRIES_INLINE_MAX, ExtentRef, LAYERS_DEPTH_MAX, LEAF_BYTES, LEAF_ENTRIES_MAX,
    MAP_ENTRIES_MAX, MapBody, MapEntry, MapRun, Piece,
};
pub use read::{BodyPiece, BodyReader, Run, SealedRun, Span, plan};
pub use rows::{LaneClass, SegmentState};
pub use segments::{RoomMark, SegmentFiles};
pub use write::{BodyWriter, INLINE_MAX, StagedBody};
