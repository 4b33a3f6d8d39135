//! Reading bodies back: plan, fetch, open, in order.
//!
//! ```text
//!   DataMap --plan--> runs --> memory cache? --> segment file? --> disk cache? --> miner of the one data fragment
//!                                                                                  | slow, gone, lying
//!                                                                                  v
//!                                                                    the same columns of any four others, rebuilt
//! ```
//!
//! [`plan`] is pure. A run is at most 1 MiB of whole frames that stand back to back in one fragment, so
//! it is one read of a file or one ranged GET, and nothing is fetched that the range does not touch.
//! Wherever bytes come from, they leave through the tags of their frames.

mod cache;
mod fetch;
mod penalty;
mod plan;
mod reader;
mod remote;
mod stats;
mod whole;

pub(crate) use cache::FrameCache;
pub(crate) use penalty::Penalties;
pub use plan::{Run, SealedRun, Span, plan};
pub use reader::{BodyPiece, BodyReader};
pub(crate) use stats::ReadStats;
pub(crate) use whole::whole_fragment;
