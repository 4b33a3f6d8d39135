//! s3load against a small server that can lie, lose and leave; scale on few objects.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod load;
mod recorded;
mod scale;
mod server;
