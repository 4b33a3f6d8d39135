//! What every implementation of `Striper` promises.

use bytes::Bytes;
use gw_codec::hash::{ZERO_FRAGMENT, ZERO_SEGMENT, sha256};
use gw_types::PortErrorKind::Refused;
use gw_types::ports::Striper;
use gw_types::{FRAGMENT_BYTES, FRAGMENTS, FragmentIndex, Hash32, SEGMENT_BYTES};

use super::refused;

/// Vector V1 of the CESS data layout: the segment of `hello, cess!\n`, and its parity fragments.
const HELLO: &[u8] = b"hello, cess!\n";
const HELLO_HASHES: [&str; 13] = [
    "4099efcdc72e70a8f4766700b7f4c489f9e381f6ee58ef3f85ce5e886069ff7f",
    "44f9e5c888f2137d0b1fc7d0ca925c2779ca9a619c6ab520a38f40abd745eb58",
    "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74",
    "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74",
    "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74",
    "341d48a1cba7a94cb6afdbc279edfbd7ce7de7171a93a175b6a9627e38152590",
    "66ecda29a455212c8ac25f2bf6b4914146b0bc5b8c4108091dd83025a82afc90",
    "04439f51669e298ca58087ee982ec9bd8b320cbd694f64496085d0fecb64f734",
    "94d2ebbb72609c61b8b080de0bc5d723d5b4220f05e3668dde57b6f9532ef985",
    "1a5734a21e132864ca736cd36c59963498d2c4b4a841356d3cfd51ece9a9dce8",
    "bfaa47b3bbe4e6dda9156e30d40074db3de0175d321f56da4675a0c0c9129fb3",
    "f9ac6598d46307f2117dc589bd7eab1da3b2a755f5b1f461800d81108b1d647d",
    "51db2f19cb1203d7ef2976c779674d47d3ebb6e39f2cc3ee7c64588d5125e715",
];

/// The whole suite. Takes a few hundred megabytes of memory for a moment.
pub async fn striper(striper: &dyn Striper) {
    hashes_are_those_of_cess(striper).await;
    let segment = reproducible_segment();
    let stripe = fragments_fit_their_hashes(striper, &segment).await;
    whole_fragments_are_rebuilt(striper, &stripe).await;
    ranges_are_rebuilt(striper, &stripe).await;
    impossible_rebuilds_are_refused(striper, &stripe).await;
    other_lengths_are_refused(striper, &segment).await;
}

async fn hashes_are_those_of_cess(striper: &dyn Striper) {
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    let zero = striper.hash(Bytes::from(bytes.clone())).await.expect("hashes of zeros");
    assert_eq!(zero.segment, ZERO_SEGMENT);
    assert_eq!(zero.fragments, [ZERO_FRAGMENT; FRAGMENTS]);

    bytes[..HELLO.len()].copy_from_slice(HELLO);
    let hello = striper.hash(Bytes::from(bytes)).await.expect("hashes of V1");
    assert_eq!(hello.segment.to_hex(), HELLO_HASHES[0]);
    assert_eq!(hello.fragments.map(Hash32::to_hex), HELLO_HASHES[1..]);
}

async fn fragments_fit_their_hashes(striper: &dyn Striper, segment: &Bytes) -> Vec<Bytes> {
    let hashes = striper.hash(segment.clone()).await.expect("hashes");
    assert_eq!(hashes, striper.hash(segment.clone()).await.expect("hashes"), "same bytes, same hashes");
    assert_eq!(hashes.segment, sha256(segment));
    let mut stripe = Vec::new();
    for index in FragmentIndex::all() {
        let fragment = striper.fragment(segment.clone(), index).await.expect("a fragment");
        assert_eq!(fragment.len() as u64, FRAGMENT_BYTES);
        assert_eq!(sha256(&fragment), hashes.fragments[index.get()], "fragment {index:?} has its hash");
        stripe.push(fragment);
    }
    assert!(stripe[..4].concat() == *segment, "data fragments are the segment, in order");
    stripe
}

async fn whole_fragments_are_rebuilt(striper: &dyn Striper, stripe: &[Bytes]) {
    for (given, wanted) in [([4, 5, 6, 7], 0), ([11, 3, 8, 1], 10)] {
        let rebuilt =
            striper.rebuild(columns(stripe, &given, 0..FRAGMENT_BYTES as usize), index(wanted)).await;
        assert!(rebuilt.expect("any 4 suffice") == stripe[wanted], "{given:?} rebuild {wanted}");
    }
}

async fn ranges_are_rebuilt(striper: &dyn Striper, stripe: &[Bytes]) {
    for range in [0..0, 0..1, 5..38, 65_552..2 * 65_552, 1000..200_001] {
        for (given, wanted) in [([0, 1, 2, 3], 11), ([8, 9, 10, 11], 2), ([3, 4, 0, 7], 5), ([1, 2, 3, 4], 0)]
        {
            let rebuilt = striper.rebuild(columns(stripe, &given, range.clone()), index(wanted)).await;
            let rebuilt = rebuilt.expect("any range of any 4 suffices");
            assert!(rebuilt == stripe[wanted][range.clone()], "{given:?} rebuild {range:?} of {wanted}");
        }
    }
}

async fn impossible_rebuilds_are_refused(striper: &dyn Striper, stripe: &[Bytes]) {
    for (given, promise) in [
        ([].as_slice(), "nothing rebuilds nothing"),
        (&[0, 1, 2], "three are too few"),
        (&[0, 1, 2, 3, 4], "exactly four are asked for"),
        (&[0, 1, 2, 2], "four distinct ones"),
        (&[0, 1, 2, 9], "what is given is not rebuilt"),
    ] {
        for len in [64, 200_000] {
            refused(striper.rebuild(columns(stripe, given, 0..len), index(9)).await, Refused, promise);
        }
    }
    let mut uneven = columns(stripe, &[0, 1, 2, 3], 0..64);
    uneven[2].1 = stripe[2].slice(0..63);
    refused(striper.rebuild(uneven, index(9)).await, Refused, "ranges are equally long");
}

async fn other_lengths_are_refused(striper: &dyn Striper, segment: &Bytes) {
    let longer = Bytes::from([segment.as_ref(), &[0]].concat());
    for wrong in [Bytes::new(), segment.slice(1..), longer] {
        refused(striper.hash(wrong.clone()).await, Refused, "only whole segments are hashed");
        for at in [0, 4] {
            refused(striper.fragment(wrong.clone(), index(at)).await, Refused, "only whole segments are cut");
        }
    }
}

fn columns(stripe: &[Bytes], given: &[usize], range: std::ops::Range<usize>) -> Vec<(FragmentIndex, Bytes)> {
    given.iter().map(|&at| (index(at), stripe[at].slice(range.clone()))).collect()
}

fn index(at: usize) -> FragmentIndex {
    FragmentIndex::new(at as u8).expect("the suite counts below 12")
}

/// A segment without pattern, from a 64-bit xorshift generator.
fn reproducible_segment() -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    Bytes::from(bytes)
}
