//! The fast engine: `rusty_erasure`'s kernels over klauspost's matrix.
//!
//! The crate takes the matrix as a value, so encoding eight rows, encoding one, and rebuilding one
//! from any four are the same act with other coefficients. A row for a rebuild is
//! `row(wanted) * inverse(rows(given))`.

use gw_types::{DATA_FRAGMENTS, FragmentIndex, PARITY_FRAGMENTS};
use rusty_erasure::kernel::Kernels;
use rusty_erasure::{Coder, Matrix, best_kernels, compat};

use super::COLUMN_BYTES;

#[derive(Debug)]
pub(super) struct Simd {
    matrix: Matrix,
    kernels: Kernels,
    all_parity: Coder,
}

impl Simd {
    /// `None` where the best kernel is the scalar one: the reference engine is faster then.
    pub(super) fn detect() -> Option<Self> {
        let kernels = best_kernels();
        if kernels.name == Kernels::scalar().name {
            return None;
        }
        let matrix = compat::reed_solomon_erasure_matrix(DATA_FRAGMENTS, PARITY_FRAGMENTS)
            .expect("4 + 8 is within the field");
        let all_parity = Coder::with_kernels(matrix.clone(), kernels).expect("the matrix has parity rows");
        Some(Self { matrix, kernels, all_parity })
    }

    pub(super) fn kernel(&self) -> &'static str {
        self.kernels.name
    }

    pub(super) fn encode(&self, data: [&[u8]; DATA_FRAGMENTS], parity: &mut [&mut [u8]; PARITY_FRAGMENTS]) {
        self.all_parity.encode(&data, parity).expect("12 ranges of one length");
    }

    pub(super) fn combine(
        &self,
        given: [FragmentIndex; DATA_FRAGMENTS],
        bytes: [&[u8]; DATA_FRAGMENTS],
        wanted: FragmentIndex,
        out: &mut [u8],
    ) {
        let row = self.row_coder(given, wanted);
        // Five streams are few enough for the cache's sets, so they are read where they lie.
        for (at, out) in (0..).step_by(COLUMN_BYTES).zip(out.chunks_mut(COLUMN_BYTES)) {
            let bytes = bytes.map(|fragment| &fragment[at..at + out.len()]);
            row.encode(&bytes, &mut [out]).expect("5 ranges of one length");
        }
    }

    /// A coder whose only parity row makes `wanted` out of `given`.
    fn row_coder(&self, given: [FragmentIndex; DATA_FRAGMENTS], wanted: FragmentIndex) -> Coder {
        let rows = self.matrix.select_rows(&given.map(FragmentIndex::get)).expect("indices are below 12");
        let inverse = rows.invert().expect("any 4 distinct rows are independent");
        let wanted = self.matrix.select_rows(&[wanted.get()]).expect("indices are below 12");
        let row = wanted.multiply(&inverse).expect("1 x 4 times 4 x 4");

        let top = &self.matrix.as_bytes()[..DATA_FRAGMENTS * DATA_FRAGMENTS];
        let matrix = Matrix::from_bytes(DATA_FRAGMENTS + 1, DATA_FRAGMENTS, [top, row.as_bytes()].concat())
            .expect("5 x 4 coefficients");
        Coder::with_kernels(matrix, self.kernels).expect("the matrix has a parity row")
    }
}
