//! The task that tends layers: what commits have left to be done on maps is done in steps, each a commit
//! of its own, while nobody waits.
//!
//! It looks at the task table whenever the journal has been synced, which is when there can be something
//! new; a look that finds nothing is one short scan. It holds nothing that keeps the data layer open.

use std::sync::Weak;

use gw_types::{Lsn, MapId};
use tokio::sync::watch;

use crate::data::Shared;
use crate::{Data, DataError, map, rows};

impl Shared {
    /// Works until nothing is left to be done.
    async fn tend(&self) -> Result<(), DataError> {
        let db = &self.ports.db;
        let mut after = MapId(0);
        let mut is_new_round = true;
        loop {
            let Some(id) = rows::next_task(&db.snapshot(), after)? else {
                if is_new_round {
                    return Ok(());
                }
                (after, is_new_round) = (MapId(0), true);
                continue;
            };
            if db.is_pressed() {
                return Err(DataError::Busy("too many rows wait for a checkpoint to tend layers now"));
            }
            let done = db.transact(|txn| map::tend(txn, id))?;
            if done.value {
                after = id;
            }
            is_new_round = false;
            tokio::task::yield_now().await;
        }
    }
}

impl Data {
    /// Does now what is left to be done on layers: leaves of deleted maps are let go, chains shortened.
    /// It happens by itself soon after each commit; who measures or tests may want to wait for it.
    pub async fn tend_layers(&self) -> Result<(), DataError> {
        self.shared.tend().await
    }
}

/// Ends with the database.
pub(crate) async fn run(shared: Weak<Shared>, mut staged: watch::Receiver<Lsn>) {
    loop {
        {
            let Some(shared) = shared.upgrade() else { return };
            if let Err(error) = shared.tend().await {
                // The rows say what is left; the next sync is the next try.
                tracing::debug!(%error, "layers are tended later");
            }
        }
        if staged.changed().await.is_err() {
            return;
        }
    }
}
