//! Sizes of the CESS data layout (cess-go-sdk `chain/pattern.go`: SegmentSize 32 MiB, FragmentSize
//! 8 MiB, 4 + 8) and of our own framing. All in bytes unless the name says otherwise.

/// A segment: what the chain charges for and what is erasure-coded as one.
pub const SEGMENT_BYTES: u64 = 32 << 20;
/// A fragment: one twelfth of a stripe, held by one miner.
pub const FRAGMENT_BYTES: u64 = 8 << 20;
/// Fragments that hold the segment's own bytes, in order (the code is systematic).
pub const DATA_FRAGMENTS: usize = 4;
/// Fragments that hold parity.
pub const PARITY_FRAGMENTS: usize = 8;
/// Fragments of a stripe; any [`DATA_FRAGMENTS`] of them rebuild the segment.
pub const FRAGMENTS: usize = DATA_FRAGMENTS + PARITY_FRAGMENTS;
/// Space of a territory that one segment takes, whatever is in it: 96 MiB.
pub const TERRITORY_BYTES_PER_SEGMENT: u64 = FRAGMENT_BYTES * FRAGMENTS as u64;

/// Plain bytes of a full frame. Only the last frame of an extent is shorter.
pub const FRAME_BYTES: u64 = 64 << 10;
/// Authentication tag behind each sealed frame (AES-256-GCM-SIV, RFC 8452).
pub const FRAME_TAG_BYTES: u64 = 16;
/// A full frame once sealed.
pub const SEALED_FRAME_BYTES: u64 = FRAME_BYTES + FRAME_TAG_BYTES;
/// What a body writer takes of an open segment at a time. Two leases fill a fragment exactly, so an
/// extent (which never outgrows its lease) never crosses a fragment border.
pub const LEASE_BYTES: u64 = 4 << 20;

const _: () = assert!(SEGMENT_BYTES == FRAGMENT_BYTES * DATA_FRAGMENTS as u64);
const _: () = assert!(FRAGMENT_BYTES.is_multiple_of(LEASE_BYTES));
