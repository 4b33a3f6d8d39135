//! The words miners and their clients speak: header names, replies, ranges, signatures, multipart.
//!
//! It follows cess-miner `node/web/fragment.go` (snapshot of 2025-05): `PUT /fragment` takes a
//! multipart form with the field `file`, `GET /fragment` gives it back, `GET /status` says how the
//! miner is. Both of ours, the miner and the client, depend on this crate and not on each other.
//! It does no I/O and reads no clock; only signing and [`ReadKey::generate`] draw randomness, inside
//! schnorrkel.
//!
//! ```text
//! PUT /fragment HTTP/1.1
//! Fid: <64 hex>            the deal the fragment belongs to
//! Fragment: <64 hex>       SHA-256 of its 8 MiB
//! Account: <SS58>          whoever signs; any key pair will do
//! Message: <text>          anything; CESS checks neither age nor repetition
//! Signature: [0x]<128 hex> sr25519 over Message, or over <Bytes>Message</Bytes>
//! Content-Type: multipart/form-data; boundary=...
//! ```
//!
//! Every answer that is not fragment bytes is [`Reply`]: `{"code":200,"msg":"ok","data":null}`.
//! cess-miner answers HTTP 200 whatever the code in the body; ours sets both.

mod account;
mod multipart;
mod range;
mod reply;
mod signing;

pub use account::{decode_account, encode_account};
pub use multipart::{FileField, MultipartError, boundary_for, boundary_of, closing, content_type, opening};
pub use range::{RangeRefusal, format_range, parse_range};
pub use reply::{MSG_CHAIN_AWAY, MSG_OK, Reply, StatusData};
pub use signing::{ReadKey, verify_signature};

use gw_types::Hash32;

/// Where fragments are put and got.
pub const FRAGMENT_PATH: &str = "/fragment";
/// Where a miner says how it is.
pub const STATUS_PATH: &str = "/status";

/// Request headers, in the lower case that HTTP libraries want (names are case-insensitive).
pub mod header {
    /// The deal: 64 lower-case hex characters.
    pub const FID: &str = "fid";
    /// The fragment: 64 lower-case hex characters.
    pub const FRAGMENT: &str = "fragment";
    /// Signer, SS58.
    pub const ACCOUNT: &str = "account";
    /// What is signed.
    pub const MESSAGE: &str = "message";
    /// The signature, hex.
    pub const SIGNATURE: &str = "signature";
}

/// Most that a put request's body may have beyond the 8 MiB: multipart headers and small other fields.
pub const MULTIPART_OVERHEAD_BYTES_MAX: u64 = 16 << 10;

/// SHA-256 of 8 MiB of zeros (cess-go-sdk `chain.ZeroFileHash_8M`). Miners make this fragment
/// themselves, a put carries no bytes, and readers do not fetch it.
pub const ZERO_FRAGMENT: Hash32 = Hash32([
    0x2d, 0xae, 0xb1, 0xf3, 0x60, 0x95, 0xb4, 0x4b, 0x31, 0x84, 0x10, 0xb3, 0xf4, 0xe8, 0xb5, 0xd9, 0x89,
    0xdc, 0xc7, 0xbb, 0x02, 0x3d, 0x14, 0x26, 0xc4, 0x92, 0xda, 0xb0, 0xa3, 0x05, 0x3e, 0x74,
]);

#[cfg(test)]
mod tests {
    use super::ZERO_FRAGMENT;

    #[test]
    fn zero_fragment_has_the_hash_that_cess_names() {
        assert_eq!(
            ZERO_FRAGMENT.to_hex(),
            "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74"
        );
    }
}
