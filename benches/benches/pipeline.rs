//! What sealing, encoding and hashing cost on one thread, beside the bare work they are made of.
//!
//! Run with `cargo bench -p benches --bench pipeline`; `-- --test` runs each case once. Input is a
//! fixed pattern without repetition. The figure of a case is bytes of *plain data* per second, so
//! cases of one group compare directly:
//!
//! - `seal`: frames of 64 KiB through the frame codec, against the bare cipher crate in place. Goal: >= 85 %.
//! - `encode`: 4 + 8 over whole segments, on each engine. Goal: >= 2 GB/s on the fast one.
//! - `sha256`: the bare hash crate, and the codec's two lanes.
//! - `segment`: a whole segment's way. `pipeline` seals 32 MiB of frames, hashes the segment, encodes
//!   it and hashes 12 fragments, as the gateway does. `sum_of_parts` does the same work part by part
//!   with the bare crates (and the fast engine). Goal: pipeline >= 80 % of it.

use std::num::NonZeroUsize;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use gw_codec::erasure::Code;
use gw_codec::frame::{FrameCipher, plain_capacity, seal_extent};
use gw_codec::hash::{Lanes, data_hashes, parity_hashes, stripe_hashes};
use gw_codec::layout::Segment;
use gw_tee::LocalStriper;
use gw_types::ports::{DataKey, Striper};
use gw_types::{
    ExtentId, FRAGMENT_BYTES, FRAME_BYTES, KeyId, LEASE_BYTES, SEALED_FRAME_BYTES, SEGMENT_BYTES,
};

const FRAME: usize = FRAME_BYTES as usize;
const SEALED_FRAME: usize = SEALED_FRAME_BYTES as usize;
const FRAGMENT: usize = FRAGMENT_BYTES as usize;
const SEGMENT: usize = SEGMENT_BYTES as usize;
/// Sealed room of an extent: a lease, 8 of which fill a segment.
const LEASE: usize = LEASE_BYTES as usize;
const KEY: [u8; 32] = [0x42; 32];

fn main() {
    divan::main();
}

/// xorshift64: no pattern for a cache or branch predictor to learn.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = vec![0; len];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn frame_cipher() -> FrameCipher {
    FrameCipher::new(&DataKey::new(KEY), KeyId(1))
}

/// The bare cipher: the same nonces and no associated data.
struct Bare(aes_gcm_siv::Aes256GcmSiv);

impl Bare {
    fn new() -> Self {
        use aes_gcm_siv::KeyInit;
        Self(aes_gcm_siv::Aes256GcmSiv::new(&KEY.into()))
    }

    fn seal(&self, frame: u32, buffer: &mut [u8]) -> [u8; 16] {
        use aes_gcm_siv::AeadInOut;
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&frame.to_be_bytes());
        let tag = self.0.encrypt_inout_detached(&nonce.into(), &[], buffer.into());
        tag.expect("a frame is short enough").into()
    }

    fn open(&self, frame: u32, buffer: &mut [u8], tag: &[u8; 16]) {
        use aes_gcm_siv::AeadInOut;
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&frame.to_be_bytes());
        let opened = self.0.decrypt_inout_detached(&nonce.into(), &[], buffer.into(), tag.into());
        opened.expect("it was sealed just so");
    }
}

fn bare_sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

#[divan::bench_group]
mod seal {
    use super::{
        Bare, Bencher, BytesCount, ExtentId, FRAME, SEALED_FRAME, black_box, frame_cipher, pattern,
        seal_extent,
    };

    /// 16 frames a turn, one buffer each time, so that the loop's own cost is small.
    const FRAMES: u32 = 16;

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        let (cipher, mut buffer) = (Bare::new(), pattern(FRAME));
        bencher.counter(BytesCount::new(FRAME * FRAMES as usize)).bench_local(|| {
            for frame in 0..FRAMES {
                black_box(cipher.seal(frame, black_box(&mut buffer)));
            }
        });
    }

    #[divan::bench]
    fn frames_in_place(bencher: Bencher<'_, '_>) {
        let (cipher, mut buffer) = (frame_cipher(), pattern(FRAME));
        let extent = ExtentId::from_raw(1);
        bencher.counter(BytesCount::new(FRAME * FRAMES as usize)).bench_local(|| {
            for frame in 0..FRAMES {
                black_box(cipher.seal_in_place(extent, frame, black_box(&mut buffer)));
            }
        });
    }

    #[divan::bench]
    fn frames_to_another_buffer(bencher: Bencher<'_, '_>) {
        let (cipher, plain, mut out) = (frame_cipher(), pattern(FRAME), vec![0; SEALED_FRAME]);
        let extent = ExtentId::from_raw(1);
        bencher.counter(BytesCount::new(FRAME * FRAMES as usize)).bench_local(|| {
            for frame in 0..FRAMES {
                cipher.seal_to(extent, frame, black_box(&plain), black_box(&mut out));
            }
        });
    }

    #[divan::bench]
    fn extent_appended(bencher: Bencher<'_, '_>) {
        let (cipher, plain) = (frame_cipher(), pattern(FRAME * FRAMES as usize));
        let mut out = Vec::with_capacity(SEALED_FRAME * FRAMES as usize);
        bencher.counter(BytesCount::of_slice(&plain)).bench_local(|| {
            out.clear();
            seal_extent(&cipher, ExtentId::from_raw(1), black_box(&plain), &mut out);
            black_box(&out);
        });
    }
}

#[divan::bench_group]
mod open {
    use super::{Bare, Bencher, BytesCount, ExtentId, FRAME, SEALED_FRAME, black_box, frame_cipher, pattern};

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        let (cipher, mut sealed) = (Bare::new(), pattern(FRAME));
        let tag = cipher.seal(0, &mut sealed);
        let mut buffer = sealed.clone();
        bencher.counter(BytesCount::new(FRAME)).bench_local(|| {
            buffer.copy_from_slice(&sealed);
            cipher.open(0, black_box(&mut buffer), &tag);
        });
    }

    #[divan::bench]
    fn frame(bencher: Bencher<'_, '_>) {
        let (cipher, mut sealed, mut out) = (frame_cipher(), Vec::new(), Vec::with_capacity(SEALED_FRAME));
        cipher.seal_into(ExtentId::from_raw(1), 0, &pattern(FRAME), &mut sealed);
        bencher.counter(BytesCount::new(FRAME)).bench_local(|| {
            out.clear();
            let opened = cipher.open_into(ExtentId::from_raw(1), 0, black_box(&sealed), &mut out);
            opened.expect("it was sealed just so");
            black_box(&out);
        });
    }
}

#[divan::bench_group(sample_count = 20)]
mod encode {
    use super::{Bencher, BytesCount, Code, FRAGMENT, SEALED_FRAME, SEGMENT, Segment, black_box, pattern};

    fn columns(bencher: Bencher<'_, '_>, code: &Code) {
        let bytes = pattern(SEGMENT);
        let segment = Segment::new(&bytes).expect("32 MiB");
        bencher.counter(BytesCount::new(SEGMENT)).bench_local(|| {
            code.encode_columns(black_box(segment).data(), |column| {
                black_box(column);
            });
        });
    }

    /// All eight rows, as the pipeline takes them: column by column, in the cache.
    #[divan::bench]
    fn fast_by_column(bencher: Bencher<'_, '_>) {
        columns(bencher, &Code::detect());
    }

    #[divan::bench(sample_count = 5)]
    fn reference_by_column(bencher: Bencher<'_, '_>) {
        columns(bencher, &Code::reference());
    }

    /// All eight rows written out to memory.
    #[divan::bench]
    fn fast_to_memory(bencher: Bencher<'_, '_>) {
        let (code, bytes) = (Code::detect(), pattern(SEGMENT));
        let segment = Segment::new(&bytes).expect("32 MiB");
        let mut parity = vec![0; 8 * FRAGMENT];
        bencher.counter(BytesCount::new(SEGMENT)).bench_local(|| {
            let mut rows = parity.chunks_mut(FRAGMENT);
            let rows = std::array::from_fn(|_| rows.next().expect("eight rows"));
            code.encode(black_box(segment).data(), rows);
        });
    }

    /// One missing frame's range out of four others: what a degraded read does.
    #[divan::bench(sample_count = 100)]
    fn fast_rebuild_of_a_frame(bencher: Bencher<'_, '_>) {
        let (code, bytes) = (Code::detect(), pattern(4 * SEALED_FRAME));
        let mut given = gw_types::FragmentIndex::all().skip(1).zip(bytes.chunks(SEALED_FRAME));
        let given: [_; 4] = std::array::from_fn(|_| given.next().expect("four ranges"));
        let wanted = gw_types::FragmentIndex::new(0).expect("0 is below 12");
        let mut out = vec![0; SEALED_FRAME];
        bencher.counter(BytesCount::new(SEALED_FRAME)).bench_local(|| {
            code.rebuild(black_box(&given), wanted, black_box(&mut out)).expect("four of twelve");
        });
    }
}

#[divan::bench_group(sample_count = 20)]
mod sha256 {
    use super::{Bencher, BytesCount, FRAGMENT, Lanes, bare_sha256, black_box, pattern};

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        let bytes = pattern(FRAGMENT);
        bencher.counter(BytesCount::new(FRAGMENT)).bench_local(|| bare_sha256(black_box(&bytes)));
    }

    #[divan::bench]
    fn two_lanes(bencher: Bencher<'_, '_>) {
        let bytes = pattern(2 * FRAGMENT);
        let (one, other) = bytes.split_at(FRAGMENT);
        bencher.counter(BytesCount::new(2 * FRAGMENT)).bench_local(|| {
            let mut lanes = Lanes::new();
            lanes.update(black_box([one, other]));
            lanes.finish()
        });
    }
}

#[divan::bench_group(sample_count = 20)]
mod segment {
    use super::{
        Bare, Bencher, Bytes, BytesCount, Code, ExtentId, FRAGMENT, FRAME, LEASE, LEASE_BYTES, Lanes,
        LocalStriper, NonZeroUsize, SEGMENT, Segment, Striper, bare_sha256, black_box, data_hashes,
        frame_cipher, parity_hashes, pattern, plain_capacity, seal_extent, stripe_hashes,
    };

    #[divan::bench]
    fn pipeline(bencher: Bencher<'_, '_>) {
        let plain = pattern(plain_capacity(LEASE_BYTES) as usize);
        let (cipher, code) = (frame_cipher(), Code::detect());
        let mut sealed = Vec::with_capacity(SEGMENT);
        bencher.counter(BytesCount::new(SEGMENT)).bench_local(|| {
            sealed.clear();
            for lease in 1..=(SEGMENT / LEASE) as u64 {
                seal_extent(&cipher, ExtentId::from_raw(lease), black_box(&plain), &mut sealed);
                sealed.resize(lease as usize * LEASE, 0);
            }
            black_box(stripe_hashes(&code, Segment::new(&sealed).expect("8 leases are 32 MiB")))
        });
    }

    /// One half of a stripe's hashes: the segment and its data fragments, in one walk.
    #[divan::bench]
    fn half_data(bencher: Bencher<'_, '_>) {
        let bytes = pattern(SEGMENT);
        let segment = Segment::new(&bytes).expect("32 MiB");
        bencher.counter(BytesCount::new(SEGMENT)).bench_local(|| data_hashes(black_box(segment)));
    }

    /// The other half: parity, encoded and hashed in the cache.
    #[divan::bench]
    fn half_parity(bencher: Bencher<'_, '_>) {
        let (code, bytes) = (Code::detect(), pattern(SEGMENT));
        let segment = Segment::new(&bytes).expect("32 MiB");
        bencher.counter(BytesCount::new(SEGMENT)).bench_local(|| parity_hashes(&code, black_box(segment)));
    }

    /// Both halves at once, as `LocalStriper` runs them: one segment on two threads.
    #[divan::bench]
    fn striper_on_two_threads(bencher: Bencher<'_, '_>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let striper = LocalStriper::new(NonZeroUsize::MIN.saturating_add(1));
        let segment = Bytes::from(pattern(SEGMENT));
        bencher
            .counter(BytesCount::new(SEGMENT))
            .bench_local(|| runtime.block_on(striper.hash(segment.clone())));
    }

    /// The floor: each part by itself, with nothing of ours around it but the fast engine's columns.
    #[divan::bench]
    fn sum_of_parts(bencher: Bencher<'_, '_>) {
        let (cipher, code) = (Bare::new(), Code::detect());
        let mut bytes = pattern(SEGMENT);
        let parity = pattern(8 * FRAGMENT);
        bencher.counter(BytesCount::new(SEGMENT)).bench_local(|| {
            for (frame, buffer) in (0..).zip(bytes.chunks_mut(FRAME)) {
                black_box(cipher.seal(frame, buffer));
            }
            black_box(bare_sha256(&bytes));
            let segment = Segment::new(&bytes).expect("32 MiB");
            code.encode_columns(segment.data(), |column| {
                black_box(column);
            });
            for fragment in bytes.chunks(FRAGMENT).chain(parity.chunks(FRAGMENT)) {
                black_box(bare_sha256(fragment));
            }
        });
    }

    /// The same floor, with every hash on two lanes: what is left to gain.
    #[divan::bench]
    fn sum_of_parts_on_two_lanes(bencher: Bencher<'_, '_>) {
        let (cipher, code) = (Bare::new(), Code::detect());
        let mut bytes = pattern(SEGMENT);
        let others = pattern(3 * SEGMENT);
        bencher.counter(BytesCount::new(SEGMENT)).bench_local(|| {
            for (frame, buffer) in (0..).zip(bytes.chunks_mut(FRAME)) {
                black_box(cipher.seal(frame, buffer));
            }
            let segment = Segment::new(&bytes).expect("32 MiB");
            code.encode_columns(segment.data(), |column| {
                black_box(column);
            });
            // 128 MiB of messages in 64 MiB of steps: segment and 12 fragments.
            for (one, other) in
                bytes.chunks(FRAGMENT).chain(others.chunks(FRAGMENT).take(4)).zip(others.chunks(FRAGMENT))
            {
                let mut lanes = Lanes::new();
                lanes.update([one, other]);
                black_box(lanes.finish());
            }
        });
    }
}
