//! Dispersal on model ports: a chain and miners that misbehave on demand, a disk that forgets, real
//! journal, real segments, real keys and code. Time is simulated: a minute of waiting costs nothing.

// Helpers outside `#[test]` functions are tests all the same.
#![allow(clippy::unwrap_used)]

mod chain_faults;
mod collect;
mod compact;
mod kill;
mod port_faults;
mod restore;
mod smooth;
mod streams;
mod world;
