//! Integration tests of the NBD frontend, over real sockets.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]
#![expect(clippy::print_stdout, reason = "the score of the conformance checks is for people")]

mod client;
mod conformance;
mod connections;
mod fuzz;
mod harness;
mod requests;
mod tls;
mod volumes;
