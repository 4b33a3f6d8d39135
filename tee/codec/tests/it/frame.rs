//! Frames: what is sealed opens in its place, nowhere else, and is found by arithmetic.

use std::ops::Range;

use gw_codec::frame::{
    EXTENT_PLAIN_BYTES_MAX, FrameCipher, OpenError, frames_for, open_extent, open_span, plain_capacity,
    seal_extent, sealed_len,
};
use gw_codec::hash::sha256;
use gw_types::ports::DataKey;
use gw_types::{ExtentId, FRAME_BYTES, KeyId, LEASE_BYTES};
use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};

use crate::lcg_bytes;

const FRAME: usize = FRAME_BYTES as usize;

fn cipher() -> FrameCipher {
    FrameCipher::new(&DataKey::new([0x42; 32]), KeyId(7))
}

fn extent() -> ExtentId {
    ExtentId::new(0x0102, 0x0304_0506_0708).unwrap()
}

/// Nonce, AAD and layout in one: a change of any shows here. `tests/data/frames.hex` holds a short
/// frame whole; the extent of three frames is pinned by its hash.
#[test]
fn sealed_bytes_are_frozen() {
    let mut sealed = Vec::new();
    cipher().seal_into(extent(), 9, b"the bytes of a frame", &mut sealed);
    let mut whole = Vec::new();
    seal_extent(&cipher(), extent(), &lcg_bytes(1, 2 * FRAME + 1), &mut whole);
    let golden = format!("{}\n{}\n", hex::encode(sealed), sha256(&whole));
    assert_eq!(golden, include_str!("../data/frames.hex"));
}

/// RFC 8452 says what the bytes must be; this composes nonce and AAD by hand and asks the cipher.
#[test]
fn nonce_and_associated_data_are_as_drawn() {
    use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
    let nonce: [u8; 12] = hex::decode("010203040506070800000009").unwrap().try_into().unwrap();
    let aad = hex::decode("00000001000000000000000701020304050607080000000900000003").unwrap();
    let bare = aes_gcm_siv::Aes256GcmSiv::new(&[0x42; 32].into());
    let expected = bare.encrypt(&nonce.into(), Payload { msg: b"abc", aad: &aad }).unwrap();
    let mut sealed = Vec::new();
    cipher().seal_into(extent(), 9, b"abc", &mut sealed);
    assert_eq!(sealed, expected);
}

#[test]
fn every_way_of_sealing_gives_the_same_bytes() {
    for len in [0, 1, 15, 16, 4096, FRAME] {
        let plain = lcg_bytes(2, len);
        let mut appended = b"before".to_vec();
        cipher().seal_into(extent(), 3, &plain, &mut appended);
        let sealed = appended.strip_prefix(b"before").unwrap();

        let mut written = vec![0xee; len + 16];
        cipher().seal_to(extent(), 3, &plain, &mut written);
        assert_eq!(written, sealed);

        let mut in_place = plain.clone();
        let tag = cipher().seal_in_place(extent(), 3, &mut in_place);
        assert_eq!([in_place, tag.to_vec()].concat(), sealed);

        assert_eq!(cipher().open(extent(), 3, sealed).unwrap(), plain);
        let mut buffer = sealed.to_vec();
        assert_eq!(cipher().open_in_place(extent(), 3, &mut buffer).unwrap(), plain);
    }
}

#[test]
fn a_frame_opens_only_in_its_own_place_under_its_own_key() {
    let mut sealed = Vec::new();
    cipher().seal_into(extent(), 3, b"abc", &mut sealed);
    let other = ExtentId::new(0x0102, 1).unwrap();
    assert_eq!(cipher().open(other, 3, &sealed), Err(OpenError::Tag));
    assert_eq!(cipher().open(extent(), 4, &sealed), Err(OpenError::Tag));
    let key_id = FrameCipher::new(&DataKey::new([0x42; 32]), KeyId(8));
    assert_eq!(key_id.open(extent(), 3, &sealed), Err(OpenError::Tag));
    let key = FrameCipher::new(&DataKey::new([0x43; 32]), KeyId(7));
    assert_eq!(key.open(extent(), 3, &sealed), Err(OpenError::Tag));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused_and_nothing_is_left_behind() {
    let mut sealed = Vec::new();
    cipher().seal_into(extent(), 3, b"abcde", &mut sealed);
    for bit in 0..sealed.len() * 8 {
        let mut bent = sealed.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let before = bent.clone();
        assert_eq!(cipher().open_in_place(extent(), 3, &mut bent), Err(OpenError::Tag));
        assert_eq!(bent, before);
        let mut out = b"kept".to_vec();
        assert_eq!(cipher().open_into(extent(), 3, &bent, &mut out), Err(OpenError::Tag));
        assert_eq!(out, b"kept");
    }
    for len in 0..sealed.len() {
        assert!(cipher().open(extent(), 3, &sealed[..len]).is_err());
    }
    let long = vec![0; FRAME + 17];
    assert_eq!(cipher().open(extent(), 3, &long), Err(OpenError::Length(FRAME + 17)));
}

#[test]
fn swapped_missing_and_added_frames_are_refused() {
    let len = 3 * FRAME as u64;
    let mut sealed = Vec::new();
    seal_extent(&cipher(), extent(), &lcg_bytes(3, len as usize), &mut sealed);
    let open = |sealed: &[u8]| open_extent(&cipher(), extent(), len, sealed);
    assert!(open(&sealed).is_ok());

    let mut swapped = sealed.clone();
    let (first, rest) = swapped.split_at_mut(FRAME + 16);
    first.swap_with_slice(&mut rest[..FRAME + 16]);
    assert_eq!(open(&swapped), Err(OpenError::Tag));
    assert_eq!(open(&sealed[..2 * (FRAME + 16)]), Err(OpenError::Length(2 * (FRAME + 16))));
    assert!(open(&[sealed.as_slice(), &[0]].concat()).is_err());
    assert_eq!(open_extent(&cipher(), extent(), len - 1, &sealed[..sealed.len() - 1]), Err(OpenError::Tag));
}

#[test]
fn printing_a_cipher_shows_no_key() {
    assert_eq!(format!("{:?}", cipher()), "FrameCipher { key: KeyId(7), .. }");
}

#[test]
fn spans_at_the_edges() {
    assert_eq!((sealed_len(0), sealed_len(1), sealed_len(FRAME_BYTES + 1)), (0, 17, FRAME_BYTES + 33));
    assert_eq!(
        [0, 1, 16, 17, FRAME_BYTES + 16, FRAME_BYTES + 32].map(plain_capacity),
        [0, 0, 0, 1, FRAME_BYTES, FRAME_BYTES]
    );
    assert_eq!(frames_for(Range { start: 2, end: 1 }, 10), None);
    assert_eq!(frames_for(0..11, 10), None);
    assert_eq!(frames_for(0..1, EXTENT_PLAIN_BYTES_MAX), None);
    assert_eq!(sealed_len(u64::MAX), u64::MAX);
    let empty = frames_for(10..10, 10).unwrap();
    assert!(empty.frames.is_empty() && empty.sealed.is_empty());
    assert_eq!(open_span(&cipher(), extent(), &empty, &[]), Ok(Vec::new()));
    let aligned = frames_for(FRAME_BYTES..2 * FRAME_BYTES, 3 * FRAME_BYTES).unwrap();
    assert_eq!((aligned.frames, aligned.sealed), (1..2, FRAME_BYTES + 16..2 * (FRAME_BYTES + 16)));
    let none = frames_for(0..0, 0).unwrap();
    assert_eq!(open_span(&cipher(), extent(), &none, &[]), Ok(Vec::new()));
}

fn extent_and_range() -> impl Strategy<Value = (usize, Range<usize>)> {
    (1..5 * FRAME).prop_flat_map(|len| (0..=len, 0..=len).prop_map(move |(a, b)| (len, a.min(b)..a.max(b))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_is_read_from_exactly_its_frames((len, range) in extent_and_range()) {
        let plain = lcg_bytes(len as u32, len);
        let mut sealed = Vec::new();
        seal_extent(&cipher(), extent(), &plain, &mut sealed);
        prop_assert_eq!(sealed.len() as u64, sealed_len(len as u64));

        let span = frames_for(range.start as u64..range.end as u64, len as u64).unwrap();
        let fetched = &sealed[span.sealed.start as usize..span.sealed.end as usize];
        prop_assert!(fetched.len() <= range.len() + 2 * FRAME + 16 * (range.len() / FRAME + 2));
        prop_assert!(open_span(&cipher(), extent(), &span, fetched).unwrap() == plain[range]);
    }

    #[test]
    fn capacity_is_the_largest_that_fits(room in 0..4 * LEASE_BYTES) {
        let plain = plain_capacity(room);
        prop_assert!(sealed_len(plain) <= room);
        prop_assert!(sealed_len(plain + 1) > room);
    }
}
