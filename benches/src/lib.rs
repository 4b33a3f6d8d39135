//! What the project measures itself with.
//!
//! Benches of single parts stand in `benches/`; this library holds the parts of two tools, so that they
//! can be tested on their own: [`s3load`], which drives a running gateway, and [`scale`], which fills
//! stores with millions of objects to compare catalog engines.

pub mod s3load;
pub mod scale;
