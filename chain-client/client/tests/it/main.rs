//! gw-chain against the development chain: the conformance suite, and what happens when the way to
//! the node is bad.

// Tests may unwrap; clippy sees that only inside #[test] functions.
#![allow(clippy::unwrap_used)]

mod conformance;
mod faults;
mod net;
mod setup;
mod toxic;
mod websocket;
