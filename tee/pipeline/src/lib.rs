//! The part of cess-gateway that would stand inside an enclave: keys and the coding of segments.
//!
//! Two ports of `gw-types` get their first implementations here. [`RootKeys`] holds the root key in
//! this process's memory and keeps the key tree below it ([`gw_types::ports::Keys`]); no hardware
//! protects it, and its evidence says so (`software`, `simulated`). [`LocalStriper`] hashes and
//! erasure-codes on this machine's processors ([`gw_types::ports::Striper`]). The bytes they make are
//! those of `gw-codec`; here are only custody, threads and limits.
//!
//! [`conformance`] is one suite for each of the two ports. An implementation that passes it may
//! stand in for these.

mod cache;
mod entropy;
mod keys;
mod root;
mod striper;

pub mod conformance;

pub use cache::CacheLimits;
pub use entropy::{Entropy, OsEntropy};
pub use keys::RootKeys;
pub use root::{PassphraseCost, Protection, RecoveryTextError, RootKey, RootKeyError};
pub use striper::LocalStriper;
