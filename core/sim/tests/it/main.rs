//! The models keep the promises of their ports, by the suites that the real ones run, and misbehave
//! as they are told.

#![allow(clippy::unwrap_used, reason = "helpers of tests; the lint knows only the tests themselves")]

mod chain;
mod clock;
mod fault_keys;
mod miners;
