//! Pure codecs of cess-gateway: what bytes look like once they are sealed, striped and named.
//!
//! Everything here is a function of its arguments. There is no runtime, file system, clock or
//! randomness: whoever needs a random nonce passes it in. Two families live side by side.
//!
//! - *Sealing*, which is ours: [`frame`] (bodies), [`wrap`] (keys), [`record`] (small secrets,
//!   checkpoints, log segments), [`kdf`] below them.
//! - *Striping*, which is CESS's and must agree with it to the bit: [`layout`] (segment, fragment,
//!   padding), [`erasure`] (4 + 8), [`hash`] and [`fid`]. `tests/data/cess-vectors.json` holds it to
//!   that.

mod aead;

pub mod erasure;
pub mod fid;
pub mod frame;
pub mod hash;
pub mod kdf;
pub mod layout;
pub mod record;
pub mod wrap;
