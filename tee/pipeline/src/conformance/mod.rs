//! One suite for each port of this crate, for every implementation there is.
//!
//! A suite panics with the promise that was broken. It takes the port as its callers see it, so it
//! can be run on a wrapper, a remote implementation or an enclave's stub as well:
//!
//! ```no_run
//! # async fn example(keys: &dyn gw_types::ports::Keys, striper: &dyn gw_types::ports::Striper) {
//! gw_tee::conformance::keys(keys).await;
//! gw_tee::conformance::striper(striper).await;
//! # }
//! ```

mod keys;
mod striper;

pub use keys::{keys, keys_of_different_roots, keys_of_the_same_root};
pub use striper::striper;

use gw_types::{Outcome, PortErrorKind, PortResult};

/// Asserts that a call was answered with this kind of error, and that nothing happened.
#[track_caller]
fn refused<T>(result: PortResult<T>, kind: PortErrorKind, promise: &str) {
    match result {
        Ok(_) => panic!("{promise}: it was accepted"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{promise}: {error}");
            assert_eq!(error.outcome(), Outcome::Definite, "{promise}: {error}");
        }
    }
}
