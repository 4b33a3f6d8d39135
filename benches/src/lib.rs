//! What the project measures itself with.
//!
//! Benches of single parts stand in `benches/`; this library holds the parts of [`s3load`], the load
//! tool that drives a running gateway, so that its signing, its HTTP reader and its bookkeeping can be
//! tested on their own.

pub mod s3load;
