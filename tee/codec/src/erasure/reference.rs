//! The reference engine: `reed-solomon-erasure`, whose matrix is klauspost's by construction.
//!
//! Plain table look-ups, about 0.3 GB/s of data. It is what the fast engine is checked against, and
//! what runs where there is no vector kernel. Called in columns of 16 KiB it is twice as fast as
//! over whole fragments.

use gw_types::{DATA_FRAGMENTS, FRAGMENTS, FragmentIndex, PARITY_FRAGMENTS};
use reed_solomon_erasure::galois_8::ReedSolomon;

use super::COLUMN_BYTES;

pub(super) struct Reference(ReedSolomon);

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reference(..)")
    }
}

impl Reference {
    pub(super) fn new() -> Self {
        Self(ReedSolomon::new(DATA_FRAGMENTS, PARITY_FRAGMENTS).expect("4 + 8 is within the field"))
    }

    pub(super) fn encode(&self, data: [&[u8]; DATA_FRAGMENTS], parity: &mut [&mut [u8]; PARITY_FRAGMENTS]) {
        self.0.encode_sep(&data, parity).expect("12 ranges of one length, not empty");
    }

    pub(super) fn combine(
        &self,
        given: [FragmentIndex; DATA_FRAGMENTS],
        bytes: [&[u8]; DATA_FRAGMENTS],
        wanted: FragmentIndex,
        out: &mut [u8],
    ) {
        for (at, out) in (0..).step_by(COLUMN_BYTES).zip(out.chunks_mut(COLUMN_BYTES)) {
            let mut shards: [(Vec<u8>, bool); FRAGMENTS] =
                std::array::from_fn(|_| (vec![0; out.len()], false));
            for (index, bytes) in given.iter().zip(bytes) {
                let (shard, present) = &mut shards[index.get()];
                shard.copy_from_slice(&bytes[at..at + out.len()]);
                *present = true;
            }
            // Makes all eight absent ones for the sake of one: this is the slow engine.
            self.0.reconstruct(&mut shards).expect("4 fragments of one length, not empty");
            out.copy_from_slice(&shards[wanted.get()].0);
        }
    }
}
