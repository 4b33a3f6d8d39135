//! The client against miners that misbehave: written by hand on bare sockets, because ours does not.

#![allow(clippy::unwrap_used, reason = "helpers of tests; the lint knows only the tests themselves")]

mod answers;
mod world;
