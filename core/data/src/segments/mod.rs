//! Segments on this machine: their files, who may write where in the open ones, and how much of the
//! disk staging takes.

mod book;
mod files;
mod lanes;
mod staging;

pub(crate) use book::{FRAMES_LEASE_BYTES, LaneKey, Place};
pub use files::SegmentFiles;
pub(crate) use lanes::{Lanes, Lease, SealStep};
pub(crate) use staging::{Reservation, Staging};
