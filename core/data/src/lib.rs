//! Segments, lanes, body writers and extent maps: where sealed bytes stand on this disk, and the
//! rows that say so.

mod error;
mod map;
pub mod rows;

pub use error::DataError;
pub use map::{DataMap, MapBody, MapEntry, Piece};
