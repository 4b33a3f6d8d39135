//! The miner as the network sees it: requests over loopback, restarts, full disks, and the chain's
//! side of it. `world` holds the chain, the clock and the raw HTTP that the tests use.

#![allow(clippy::unwrap_used, reason = "helpers of tests; the lint knows only the tests themselves")]

mod checks;
mod collecting;
mod conformance;
mod faults;
mod reporting;
mod storing;
mod world;
