//! The promises of the store, through its public face, on model ports.

#![allow(clippy::unwrap_used, reason = "a test that is surprised shall fail")]

mod access;
mod assemble;
mod buckets;
mod clearing;
mod crash;
mod cross;
mod events;
mod express;
mod iam;
mod kept;
mod kms;
mod lifecycle;
mod listing;
mod locks;
mod multipart;
mod objects;
mod posix;
mod races;
mod random;
mod support;
