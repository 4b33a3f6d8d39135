//! The erasure code: agreement of the engines, with klauspost, and with arithmetic.

use gw_codec::erasure::{Code, RebuildError};
use gw_codec::hash::{ZERO_FRAGMENT, ZERO_SEGMENT, data_hashes, join, parity_hashes, sha256, stripe_hashes};
use gw_codec::layout::Segment;
use gw_types::{DATA_FRAGMENTS, FRAGMENTS, FragmentIndex, PARITY_FRAGMENTS, SEGMENT_BYTES};

use crate::lcg_bytes;

fn index(index: usize) -> FragmentIndex {
    FragmentIndex::new(index as u8).unwrap()
}

/// The detected engine (the fast one on any usual machine) and the reference.
fn engines() -> [Code; 2] {
    [Code::detect(), Code::reference()]
}

/// All twelve fragments, `len` bytes each, of reproducible data.
fn stripe(code: &Code, len: usize) -> Vec<Vec<u8>> {
    let data = lcg_bytes(12345, len * DATA_FRAGMENTS);
    let mut all: Vec<Vec<u8>> =
        (0..DATA_FRAGMENTS).map(|at| data[at * len..(at + 1) * len].to_vec()).collect();
    let mut parity = vec![vec![0; len]; PARITY_FRAGMENTS];
    let rows: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(std::array::from_fn(|at| all[at].as_slice()), rows.try_into().unwrap());
    all.extend(parity);
    all
}

/// Go's klauspost/reedsolomon 1.11.8 gives the same: 64 KiB shards of the generator's bytes, SHA-256
/// over the eight parity shards in order.
#[test]
fn golden_parity_of_klauspost() {
    for code in engines() {
        let parity = stripe(&code, 64 << 10).split_off(DATA_FRAGMENTS).concat();
        let golden = "9b0272da29bad4df297162f996df96c3ff0adf0b0a5ab19f66fe30aadfbbed97";
        assert_eq!(sha256(&parity).to_hex(), golden, "{}", code.engine());
    }
}

/// The matrix in numbers: a one in data fragment d shows column d of the parity rows.
#[test]
fn parity_rows_are_those_of_the_protocol() {
    const ROWS: [[u8; 4]; 8] = [
        [27, 28, 18, 20],
        [28, 27, 20, 18],
        [18, 20, 27, 28],
        [20, 18, 28, 27],
        [245, 232, 196, 216],
        [232, 245, 216, 196],
        [196, 216, 245, 232],
        [216, 196, 232, 245],
    ];
    for code in engines() {
        for data in 0..DATA_FRAGMENTS {
            let units: [[u8; 1]; 4] = std::array::from_fn(|at| [u8::from(at == data)]);
            code.encode_columns(units.each_ref().map(|unit| unit.as_slice()), |column| {
                assert_eq!(column.parity.map(|row| row[0]), ROWS.map(|row| row[data]), "{}", code.engine());
            });
        }
    }
}

/// 64 KiB shards, each of the 495 subsets, each of the eight absent fragments.
#[test]
fn any_4_of_12_rebuild_every_other() {
    let code = Code::detect();
    let all = stripe(&code, 64 << 10);
    let mut out = vec![0; 64 << 10];
    let mut subsets = 0;
    for mask in (0u16..1 << FRAGMENTS).filter(|mask| mask.count_ones() == 4) {
        subsets += 1;
        let given: Vec<_> = (0..FRAGMENTS).filter(|at| mask >> at & 1 == 1).collect();
        let columns: Vec<_> = given.iter().map(|&at| (index(at), all[at].as_slice())).collect();
        for wanted in (0..FRAGMENTS).filter(|at| !given.contains(at)) {
            code.rebuild(&columns, index(wanted), &mut out).unwrap();
            assert!(out == all[wanted], "{given:?} -> {wanted}");
        }
    }
    assert_eq!(subsets, 495);
}

/// The same on the reference, on short ranges: it makes all eight to give one.
#[test]
fn any_4_of_12_rebuild_every_other_on_the_reference() {
    let code = Code::reference();
    let all = stripe(&code, 100);
    let mut out = vec![0; 100];
    for mask in (0u16..1 << FRAGMENTS).filter(|mask| mask.count_ones() == 4) {
        let columns: Vec<_> = (0..FRAGMENTS)
            .filter(|at| mask >> at & 1 == 1)
            .map(|at| (index(at), all[at].as_slice()))
            .collect();
        for wanted in (0..FRAGMENTS).filter(|at| mask >> at & 1 == 0) {
            code.rebuild(&columns, index(wanted), &mut out).unwrap();
            assert!(out == all[wanted]);
        }
    }
}

#[test]
fn engines_agree_at_every_odd_length() {
    let [fast, reference] = engines();
    for len in [1, 2, 15, 31, 32, 33, 63, 64, 65, 1000, 16_383, 16_384, 16_385, 40_000] {
        let all = stripe(&fast, len);
        assert!(all == stripe(&reference, len), "length {len}");
        let data: [&[u8]; 4] = std::array::from_fn(|at| all[at].as_slice());
        let four = [11, 2, 7, 4].map(|at| (index(at), all[at].as_slice()));
        for code in [&fast, &reference] {
            let mut out = vec![0; len];
            for wanted in FragmentIndex::all() {
                code.fragment(data, wanted, &mut out);
                assert!(out == all[wanted.get()], "fragment {wanted:?} of {len}");
            }
            code.rebuild(&four, index(1), &mut out).unwrap();
            assert!(out == all[1], "rebuild of {len}");
        }
    }
}

#[test]
fn the_order_of_given_fragments_does_not_matter() {
    let code = Code::detect();
    let all = stripe(&code, 1000);
    let mut out = vec![0; 1000];
    for order in [[0, 5, 9, 10], [10, 9, 5, 0], [5, 10, 0, 9]] {
        let given = order.map(|at| (index(at), all[at].as_slice()));
        code.rebuild(&given, index(3), &mut out).unwrap();
        assert!(out == all[3]);
    }
}

#[test]
fn impossible_rebuilds_are_refused() {
    for code in engines() {
        let bytes = [0; 64];
        let given =
            |indices: &[usize]| indices.iter().map(|&at| (index(at), bytes.as_slice())).collect::<Vec<_>>();
        let mut out = [0; 64];
        let mut rebuild = |columns: &[(FragmentIndex, &[u8])]| code.rebuild(columns, index(9), &mut out);
        assert_eq!(rebuild(&given(&[0, 1, 2])), Err(RebuildError::Count(3)));
        assert_eq!(rebuild(&given(&[0, 1, 2, 3, 4])), Err(RebuildError::Count(5)));
        assert_eq!(rebuild(&given(&[0, 1, 2, 2])), Err(RebuildError::Repeated(2)));
        assert_eq!(rebuild(&given(&[0, 1, 2, 9])), Err(RebuildError::Given(9)));
        let mut short = given(&[0, 1, 2, 3]);
        short[1].1 = &bytes[1..];
        assert_eq!(rebuild(&short), Err(RebuildError::Length));
    }
}

#[test]
fn empty_ranges_are_rebuilt_to_nothing() {
    for code in engines() {
        let given = [0, 1, 2, 3].map(|at| (index(at), [].as_slice()));
        assert_eq!(code.rebuild(&given, index(9), &mut []), Ok(()));
        code.encode_columns([&[]; 4], |_| panic!("there is no column"));
    }
}

/// Zeros take short cuts (constants, no encoding); a lone bit in the last byte must not.
#[test]
fn short_cuts_for_zeros_give_true_hashes() {
    let code = Code::detect();
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    let stripe = stripe_hashes(&code, Segment::new(&bytes).unwrap());
    assert_eq!((stripe.segment, stripe.fragments), (ZERO_SEGMENT, [ZERO_FRAGMENT; FRAGMENTS]));

    bytes[SEGMENT_BYTES as usize - 1] = 1;
    let segment = Segment::new(&bytes).unwrap();
    let stripe = stripe_hashes(&code, segment);
    assert_eq!(stripe.segment, sha256(&bytes));
    let mut out = vec![0; bytes.len() / 4];
    for at in FragmentIndex::all() {
        code.fragment(segment.data(), at, &mut out);
        assert_eq!(stripe.fragments[at.get()], sha256(&out));
    }
    assert_eq!(stripe, join(data_hashes(segment), parity_hashes(&code, segment)));
}
