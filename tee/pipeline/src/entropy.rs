//! Where random bytes come from.
//!
//! Keys, salts and nonces are drawn from here and nowhere else, so that a simulation can replay a
//! run from its seed. Everything that is not a simulation uses [`OsEntropy`].

use gw_types::{PortError, PortErrorKind, PortResult};

/// A source of random bytes fit for keys.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills all of `out`, or fails and leaves it unspecified.
    fn fill(&self, out: &mut [u8]) -> PortResult<()>;
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) -> PortResult<()> {
        getrandom::fill(out).map_err(|error| {
            let message = "the operating system gives no random bytes";
            PortError::definite(PortErrorKind::Unavailable, message).with_source(error)
        })
    }
}

/// `N` random bytes.
pub(crate) fn draw<const N: usize>(entropy: &dyn Entropy) -> PortResult<[u8; N]> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
