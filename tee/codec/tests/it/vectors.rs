//! The CESS data vectors: V1 to V3 plain, V4 encrypted as DeOSS does. They were computed with an
//! independent implementation and with klauspost/reedsolomon (see `tests/data/README.md`).

use cbc::cipher::{Array, BlockModeEncrypt, KeyIvInit};
use gw_codec::erasure::Code;
use gw_codec::fid::FidRule;
use gw_codec::hash::{sha256, stripe_hashes};
use gw_codec::layout::{Segment, pad_segment, segment_count};
use gw_types::{Hash32, SEGMENT_BYTES};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    size: usize,
    sha256: String,
    cipher: String,
    segments: Vec<VectorSegment>,
    fid_merkle: String,
    fid_concat: String,
}

#[derive(Deserialize)]
struct VectorSegment {
    hash: String,
    fragments: Vec<String>,
}

fn vector(name: &str) -> Vector {
    let all: Vec<Vector> = serde_json::from_str(include_str!("../data/cess-vectors.json")).unwrap();
    all.into_iter().find(|vector| vector.name == name).unwrap()
}

/// V1 and V4 are a greeting, V2 and V3 count up modulo 251.
fn content(vector: &Vector) -> Vec<u8> {
    let content = match vector.size {
        13 => b"hello, cess!\n".to_vec(),
        size => (0..size).map(|at| (at % 251) as u8).collect(),
    };
    assert_eq!(sha256(&content).to_hex(), vector.sha256);
    content
}

fn check(code: &Code, vector: &Vector, segments: &[Vec<u8>]) {
    assert_eq!(segments.len(), vector.segments.len());
    let mut hashes = Vec::new();
    for (segment, expected) in segments.iter().zip(&vector.segments) {
        let stripe = stripe_hashes(code, Segment::new(segment).unwrap());
        assert_eq!(stripe.segment.to_hex(), expected.hash);
        assert_eq!(stripe.fragments.map(Hash32::to_hex).as_slice(), expected.fragments);
        hashes.push(stripe.segment);
    }
    assert_eq!(FidRule::Merkle.fid(&hashes).unwrap().to_string(), vector.fid_merkle);
    assert_eq!(FidRule::Concat.fid(&hashes).unwrap().to_string(), vector.fid_concat);
}

fn check_plain(code: &Code, name: &str) {
    let vector = vector(name);
    let content = content(&vector);
    assert_eq!(segment_count(content.len() as u64), vector.segments.len() as u64);
    let segments: Vec<_> =
        content.chunks(SEGMENT_BYTES as usize).map(|part| pad_segment(part).unwrap()).collect();
    check(code, &vector, &segments);
}

#[test]
fn v1_a_short_file_on_both_engines() {
    check_plain(&Code::detect(), "V1");
    check_plain(&Code::reference(), "V1");
}

#[test]
fn v2_one_full_segment_on_both_engines() {
    check_plain(&Code::detect(), "V2");
    check_plain(&Code::reference(), "V2");
}

#[test]
fn v3_three_segments_with_an_odd_merkle_level() {
    check_plain(&Code::detect(), "V3");
}

/// DeOSS encrypts each segment with AES-256-CBC: the passphrase filled up with ASCII zeros is the
/// key, its first half the IV, 32 MiB - 16 of zero-padded plaintext get one whole block of PKCS7.
/// We never write that (no integrity, one IV for all), but what comes out is a segment like any.
#[test]
fn v4_a_segment_as_deoss_encrypts_it() {
    let vector = vector("V4");
    let mut key = [b'0'; 32];
    key[..vector.cipher.len()].copy_from_slice(vector.cipher.as_bytes());
    let iv: [u8; 16] = key[..16].try_into().unwrap();

    let mut segment = pad_segment(&content(&vector)).unwrap();
    let padding = segment.len() - 16;
    segment[padding..].fill(16);
    let (blocks, rest) = Array::slice_as_chunks_mut(&mut segment);
    assert!(rest.is_empty());
    cbc::Encryptor::<aes::Aes256>::new(&key.into(), &iv.into()).encrypt_blocks(blocks);

    check(&Code::detect(), &vector, &[segment]);
}
