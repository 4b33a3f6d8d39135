//! The suite that every implementation of the port `Miners` runs: the HTTP client against a real
//! miner, and whatever model stands in for it. A [`Bench`] says how to declare a deal; the suite puts
//! and gets. It panics at the first promise that is not kept, so it belongs into tests.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gw_miner_wire::ZERO_FRAGMENT;
use gw_types::ports::{DeclaredSegment, MinerAddr, Miners};
use gw_types::{FRAGMENT_BYTES, FRAGMENTS, Fid, Hash32, Outcome, PortErrorKind, PortResult};
use sha2::{Digest, Sha256};

/// What the suite needs of its surroundings.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The implementation under test.
    fn miners(&self) -> Arc<dyn Miners>;
    /// A miner that runs, with room for eight fragments.
    fn miner(&self) -> MinerAddr;
    /// A miner that nobody can reach.
    fn absent_miner(&self) -> MinerAddr;
    /// Opens a deal, so that its fragments may be put.
    async fn declare(&self, fid: Fid, segments: Vec<DeclaredSegment>);
}

/// Runs all of it.
pub async fn check_all(bench: &dyn Bench) {
    what_was_put_is_got_back(bench).await;
    putting_again_is_harmless(bench).await;
    ranges_are_exact(bench).await;
    ranges_outside_are_refused(bench).await;
    undeclared_fragments_are_refused(bench).await;
    wrong_bytes_are_refused_and_not_kept(bench).await;
    wrong_sizes_are_refused(bench).await;
    the_zero_fragment_needs_no_bytes(bench).await;
    what_is_not_there_is_not_found(bench).await;
    probe_shows_room_that_shrinks(bench).await;
    an_absent_miner_is_unavailable_and_nothing_happened(bench).await;
}

/// A fragment of pseudo-random bytes, the same for the same seed, and its hash.
pub fn fragment(seed: u64) -> (Hash32, Bytes) {
    let mut bytes = Vec::with_capacity(FRAGMENT_BYTES as usize);
    // SplitMix64 (Steele, Lea, Flood 2014): short, and good enough to have no two fragments alike.
    let mut state = seed;
    while bytes.len() < FRAGMENT_BYTES as usize {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    (hash_of(&bytes), Bytes::from(bytes))
}

/// A segment whose fragment 0 is `first`; the others are hashes that nobody has bytes of.
pub fn segment_with(first: Hash32) -> DeclaredSegment {
    let mut fragments = [first; FRAGMENTS];
    for (index, fragment) in fragments.iter_mut().enumerate().skip(1) {
        *fragment = hash_of(&[&first.0[..], &[index as u8]].concat());
    }
    DeclaredSegment { hash: hash_of(&first.0), fragments }
}

/// A fid that nothing else in the suite uses.
pub fn fid(seed: u64) -> Fid {
    Fid(hash_of(&[b"conformance fid", &seed.to_le_bytes()[..]].concat()))
}

fn hash_of(bytes: &[u8]) -> Hash32 {
    Hash32(Sha256::digest(bytes).into())
}

/// Declares a deal with one fragment that we have, and puts it.
async fn put_one(bench: &dyn Bench, seed: u64) -> (Fid, Hash32, Bytes) {
    let (hash, bytes) = fragment(seed);
    bench.declare(fid(seed), vec![segment_with(hash)]).await;
    bench
        .miners()
        .put(&bench.miner(), fid(seed), hash, bytes.clone())
        .await
        .expect("a declared fragment is taken");
    (fid(seed), hash, bytes)
}

#[track_caller]
fn expect_error<T>(result: PortResult<T>, kind: PortErrorKind) {
    let error = result.err().expect("this must fail");
    assert_eq!((error.kind(), error.outcome()), (kind, Outcome::Definite), "{error}");
}

async fn what_was_put_is_got_back(bench: &dyn Bench) {
    let (fid, hash, bytes) = put_one(bench, 1).await;
    let back =
        bench.miners().get(&bench.miner(), fid, hash, 0..FRAGMENT_BYTES as u32).await.expect("it was put");
    assert!(back == bytes, "the same 8 MiB");
}

async fn putting_again_is_harmless(bench: &dyn Bench) {
    let (fid, hash, bytes) = put_one(bench, 1).await;
    let before = bench.miners().probe(&bench.miner()).await.expect("it runs").free_bytes;
    bench.miners().put(&bench.miner(), fid, hash, bytes).await.expect("once more");
    let after = bench.miners().probe(&bench.miner()).await.expect("it runs").free_bytes;
    assert_eq!(before, after, "a second put takes no second room");
}

async fn ranges_are_exact(bench: &dyn Bench) {
    let (fid, hash, bytes) = put_one(bench, 1).await;
    let end = FRAGMENT_BYTES as u32;
    for range in [0..1, 0..65_552, 65_552..131_104, end - 1..end, 1..end, 4_000_000..4_000_000, end..end] {
        let got =
            bench.miners().get(&bench.miner(), fid, hash, range.clone()).await.expect("within the fragment");
        assert!(got == bytes[range.start as usize..range.end as usize], "{range:?}");
    }
}

async fn ranges_outside_are_refused(bench: &dyn Bench) {
    let (fid, hash, _) = put_one(bench, 1).await;
    let end = FRAGMENT_BYTES as u32;
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tried")]
    for range in [0..end + 1, end + 1..end + 2, 8..7] {
        expect_error(bench.miners().get(&bench.miner(), fid, hash, range).await, PortErrorKind::Refused);
    }
}

async fn undeclared_fragments_are_refused(bench: &dyn Bench) {
    let (hash, bytes) = fragment(2);
    expect_error(
        bench.miners().put(&bench.miner(), fid(2), hash, bytes.clone()).await,
        PortErrorKind::Refused,
    );
    bench.declare(fid(2), vec![segment_with(fragment(3).0)]).await;
    expect_error(bench.miners().put(&bench.miner(), fid(2), hash, bytes).await, PortErrorKind::Refused);
}

async fn wrong_bytes_are_refused_and_not_kept(bench: &dyn Bench) {
    let (hash, _) = fragment(4);
    let (_, other) = fragment(5);
    bench.declare(fid(4), vec![segment_with(hash)]).await;
    let before = bench.miners().probe(&bench.miner()).await.expect("it runs").free_bytes;
    expect_error(bench.miners().put(&bench.miner(), fid(4), hash, other).await, PortErrorKind::Refused);
    expect_error(bench.miners().get(&bench.miner(), fid(4), hash, 0..16).await, PortErrorKind::NotFound);
    let after = bench.miners().probe(&bench.miner()).await.expect("it runs").free_bytes;
    assert_eq!(before, after, "a refused put takes no room");
}

async fn wrong_sizes_are_refused(bench: &dyn Bench) {
    let (hash, bytes) = fragment(6);
    bench.declare(fid(6), vec![segment_with(hash)]).await;
    let long = Bytes::from([&bytes[..], b"x"].concat());
    for body in [Bytes::new(), bytes.slice(1..), long] {
        expect_error(bench.miners().put(&bench.miner(), fid(6), hash, body).await, PortErrorKind::Refused);
    }
}

async fn the_zero_fragment_needs_no_bytes(bench: &dyn Bench) {
    bench.declare(fid(7), vec![segment_with(ZERO_FRAGMENT)]).await;
    let miners = bench.miners();
    miners.put(&bench.miner(), fid(7), ZERO_FRAGMENT, Bytes::new()).await.expect("the miner makes it itself");
    let got =
        miners.get(&bench.miner(), fid(7), ZERO_FRAGMENT, 8_000_000..8_000_064).await.expect("it was put");
    assert_eq!(&got[..], &[0; 64]);
}

async fn what_is_not_there_is_not_found(bench: &dyn Bench) {
    let (hash, _) = fragment(8);
    expect_error(bench.miners().get(&bench.miner(), fid(8), hash, 0..16).await, PortErrorKind::NotFound);
}

async fn probe_shows_room_that_shrinks(bench: &dyn Bench) {
    let before = bench.miners().probe(&bench.miner()).await.expect("it runs").free_bytes;
    put_one(bench, 9).await;
    let after = bench.miners().probe(&bench.miner()).await.expect("it runs").free_bytes;
    assert_eq!(before - after, FRAGMENT_BYTES);
}

async fn an_absent_miner_is_unavailable_and_nothing_happened(bench: &dyn Bench) {
    let (hash, bytes) = fragment(1);
    let miners = bench.miners();
    expect_error(miners.put(&bench.absent_miner(), fid(1), hash, bytes).await, PortErrorKind::Unavailable);
    expect_error(miners.get(&bench.absent_miner(), fid(1), hash, 0..16).await, PortErrorKind::Unavailable);
    expect_error(miners.probe(&bench.absent_miner()).await, PortErrorKind::Unavailable);
}
