//! The development chain through the eyes of a subxt client, which is how everything else sees it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says with a panic what went wrong")]

mod calls;
mod deals;
mod durability;
mod expiry;
mod metadata;
mod miners;
mod oss;
mod rpc;
mod support;
mod territory;
mod vectors;
