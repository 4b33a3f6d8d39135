//! gw-chain: the gateway's client of the CESS chain.
//!
//! [`SubxtChain`] implements the ports `Chain` and `MinerChain` over subxt, against a real node or
//! the embedded development chain: the same code, because nothing in it knows an index or a layout.
//! Calls, storage entries and events are resolved by name in the metadata that the chain itself
//! gives; a chain whose runtime is upgraded is followed from the next call on.
//!
//! How it is cut: `link` holds the connection and opens it anew; `snapshot` reads at a
//! finalized block; `nonce` keeps the order of an account's calls; `submit` takes a call to its
//! receipt; `wire` and `calls` are the shapes; `fault` says what an error means; `events` is the
//! stream. [`Signer`] and [`ss58_encode`] stand beside them, and [`conformance`] is the suite that
//! every implementation of the two ports passes.
//!
//! The legacy JSON-RPC methods are used (`chain_*`, `state_*`, `author_*`): CESS nodes serve them,
//! while their `chainHead_v1` has been seen to fail.
//!
//! Promises: every wait is bounded by a field of [`ChainConfig`] (but a stream of events rests while
//! the chain does); an error before sending is definite, one between sending and finality is
//! unknown; a call made again after an unknown fate is not executed twice while the first can still
//! come into a block, as far as this process remembers; secrets are not printed; what the chain says
//! never panics.
//!
//! Not here: the proxy authorisations of pallet oss, the trade with territories, repair orders and
//! the audit. A restart forgets calls of unknown fate; look at the chain after it.

mod calls;
mod chain;
mod config;
pub mod conformance;
mod events;
mod fault;
mod link;
mod nonce;
mod signer;
mod snapshot;
mod ss58;
mod submit;
mod wire;

pub use chain::{OrderSpec, OrderType, SubxtChain};
pub use config::ChainConfig;
pub use signer::{Signer, SignerError, verify, verify_plain_or_wrapped};
pub use ss58::{CESS_SS58_PREFIX, Ss58Error, ss58_decode, ss58_encode};
pub use subxt::dynamic::Value;
pub use subxt_rpcs::{RpcClient, RpcClientT};
