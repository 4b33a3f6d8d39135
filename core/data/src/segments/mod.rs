//! Segments on this machine: their files, who may write where in the open ones, how much of the disk
//! staging takes, and how much of the territory bodies may.

mod book;
mod files;
mod lanes;
mod room;
mod staging;

pub(crate) use book::{FRAMES_LEASE_BYTES, LaneKey, Place};
pub use files::SegmentFiles;
pub(crate) use lanes::{Lanes, Lease, SealStep};
pub use room::RoomMark;
pub(crate) use staging::{Reservation, Staging};
