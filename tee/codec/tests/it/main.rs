//! Promises of the codec, checked from outside. One binary for all of them.

#![allow(
    clippy::unwrap_used,
    reason = "in a test a panic is the answer; the lint spares only the test functions themselves"
)]

mod erasure;
mod frame;
mod vectors;

/// Bytes of the linear congruential generator that the golden vectors of the design notes use.
pub(crate) fn lcg_bytes(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}
