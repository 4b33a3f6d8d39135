//! `GET /status`, open to everybody: room, account, state on chain, and that this miner is a simulated
//! one. The chain is asked at most every [`ASKED_EVERY`], by one request at a time, so that a stranger
//! cannot make the miner hammer it.

use std::sync::Arc;
use std::time::Duration;

use gw_miner_wire::{StatusData, encode_account};

use crate::answer::{self, Answer};
use crate::server::Shared;

/// How old the state on chain may be.
const ASKED_EVERY: Duration = Duration::from_secs(30);
/// How long one answer waits for the chain.
const CHAIN_WAIT_MAX: Duration = Duration::from_secs(2);

/// What the chain last said of this miner.
#[derive(Debug, Default)]
pub(crate) struct ChainState {
    known: parking_lot::Mutex<Known>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    state: String,
    until: Duration,
}

/// Answers a status request.
pub(crate) async fn status(shared: &Arc<Shared>) -> Answer {
    let space = shared.store.space.now();
    let health = match shared.store.is_healthy() {
        false => "failed",
        true if space.free_bytes() < gw_types::FRAGMENT_BYTES => "full",
        true => "ok",
    };
    answer::ok(Some(StatusData {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: state_on_chain(shared).await,
        signature_acc: encode_account(&shared.chain.account()),
        declaration_space: space.capacity_bytes,
        idle_space: space.free_bytes(),
        service_space: space.used_bytes,
        lock_space: space.reserved_bytes,
        health: health.to_owned(),
        simulated: true,
        fault: shared.fault.lock().name().to_owned(),
    }))
}

async fn state_on_chain(shared: &Shared) -> String {
    let cache = &shared.chain_state;
    let known = cache.known.lock().clone();
    if known.until > shared.clock.elapsed() {
        return known.state;
    }
    let Ok(_asking) = cache.asking.try_lock() else { return known.state };
    let state = match shared.within(CHAIN_WAIT_MAX, shared.chain.registered()).await {
        Some(Ok(Some(info))) => info.state,
        Some(Ok(None)) => "not registered".to_owned(),
        Some(Err(_)) | None => "unknown: the chain is away".to_owned(),
    };
    let until = shared.clock.elapsed() + ASKED_EVERY;
    *cache.known.lock() = Known { state: state.clone(), until };
    state
}
