//! Removes fragments that nobody wants any more: their deal is neither open nor an Active file that
//! names this miner. One look is never enough: a deal must be found unwanted in every pass for a
//! grace period, and a put in between begins it anew. An error of the chain proves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gw_types::{Fid, PortResult};

use crate::config::CollectConfig;
use crate::server::Shared;

/// Since when a deal was found unwanted, and how many puts it had seen then.
type Unwanted = BTreeMap<Fid, (Duration, u64)>;

/// Collects until dropped.
pub(crate) async fn run(shared: Arc<Shared>, config: CollectConfig) {
    let mut unwanted = Unwanted::new();
    loop {
        shared.clock.sleep(config.interval).await;
        pass(&shared, &config, &mut unwanted).await;
    }
}

async fn pass(shared: &Arc<Shared>, config: &CollectConfig, unwanted: &mut Unwanted) {
    let fids = shared.store.fids();
    unwanted.retain(|fid, _| fids.binary_search(fid).is_ok());
    for fid in fids {
        let Some(held) = shared.store.deal(&fid) else { continue };
        match is_wanted(shared, fid).await {
            Ok(true) => drop(unwanted.remove(&fid)),
            Ok(false) => {
                let now = shared.clock.elapsed();
                let (since, puts) = unwanted.entry(fid).or_insert((now, held.puts));
                if *puts != held.puts {
                    (*since, *puts) = (now, held.puts);
                } else if now > *since && now - *since >= config.grace {
                    collect(shared, fid, held.puts).await;
                }
            }
            Err(error) => tracing::debug!(%fid, %error, "the chain cannot be asked about a deal; it stays"),
        }
    }
}

async fn is_wanted(shared: &Shared, fid: Fid) -> PortResult<bool> {
    if shared.chain.deal(fid).await?.is_some() {
        return Ok(true);
    }
    let me = shared.chain.account();
    let file = shared.chain.file(fid).await?;
    Ok(file.is_some_and(|file| {
        file.segments.iter().flat_map(|segment| &segment.fragments).any(|one| one.miner == me)
    }))
}

async fn collect(shared: &Arc<Shared>, fid: Fid, puts: u64) {
    match shared.blocking(move |shared| shared.store.drop_deal(fid, puts)).await {
        Ok(true) => {
            shared.counters.collected.add(1);
            tracing::info!(%fid, "removed: the chain knows it no more");
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(%fid, ?error, "a forgotten deal could not be removed"),
    }
}
