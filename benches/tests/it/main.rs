//! s3load against a small server that can lie, lose and leave.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod load;
mod recorded;
mod server;
