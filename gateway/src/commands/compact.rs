//! `compact`: asks for a run, shows how far it is, prints what it gave.

use std::time::Duration;

use indicatif::ProgressBar;

use super::size::show as size;
use super::{print, show};
use crate::admin::client::AdminClient;
use crate::admin::wire::{Compacted, Status};
use crate::cli::{CompactArgs, Reach};
use crate::error::Result;

/// How often the gateway is asked how far it is.
const WATCH: Duration = Duration::from_millis(500);

/// Waits in one request while a second connection watches.
pub async fn compact(reach: &Reach, client: &AdminClient, args: &CompactArgs) -> Result<()> {
    let bar = if reach.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    let waiting = client.post::<_, Compacted>("/v1/compact", &(), Duration::from_secs(args.timeout));
    tokio::pin!(waiting);
    let compacted = loop {
        tokio::select! {
            done = &mut waiting => break done,
            () = tokio::time::sleep(WATCH) => {
                bar.tick();
                if let Ok(status) = client.get::<Status>("/v1/status").await {
                    bar.set_message(progress(&status));
                }
            }
        }
    };
    bar.finish_and_clear();
    show(reach, &compacted?, print::compacted)
}

fn progress(status: &Status) -> String {
    let seen = &status.compaction;
    let reason =
        status.dispersal.waiting_for.as_ref().map_or(String::new(), |reason| format!("; waiting: {reason}"));
    format!(
        "{}: {} deals in hand, {} segments to move; {} moved and {} given back since the start{reason}",
        seen.phase,
        seen.victims,
        seen.segments_left,
        size(seen.done.moved_bytes),
        size(seen.done.freed_bytes)
    )
}
