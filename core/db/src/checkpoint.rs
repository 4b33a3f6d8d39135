//! Local checkpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gw_types::Lsn;
use gw_types::ports::RowChange;

use crate::shared::Shared;
use crate::{Db, DbError};

impl Db {
    /// A local checkpoint now: everything staged that no snapshot still needs goes to the engine.
    pub async fn checkpoint(&self) -> Result<Lsn, DbError> {
        self.shared.checkpoint_now().await
    }
}

impl Shared {
    pub(crate) async fn checkpoint_now(&self) -> Result<Lsn, DbError> {
        let _one = self.checkpointing.lock().await;
        let upto = self.snapshots.floor(self.staged());
        self.checkpoint_upto(upto).await?;
        Ok(upto)
    }

    pub(crate) async fn checkpoint_upto(&self, upto: Lsn) -> Result<(), DbError> {
        let mut after = None;
        loop {
            let (rows, next) = self.overlay.collect(after.as_ref(), upto, self.config.catalog_batch_rows_max);
            let applied = if next.is_none() { upto } else { self.ports.catalog.applied() };
            let batch: Vec<RowChange> =
                rows.iter().map(|(key, value)| (key.to_vec(), value.as_ref().map(|v| v.to_vec()))).collect();
            self.ports.catalog.commit(batch, applied).await?;
            self.overlay.drop_upto(rows.iter().map(|(key, _)| &key[..]), upto);
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.checkpoint.store(upto.0, Ordering::Release);
        Ok(())
    }
}

pub(crate) async fn run(shared: Arc<Shared>) {
    while !shared.is_stopping() && shared.poison.get().is_none() {
        if shared.overlay_is_over() {
            if let Err(error) = shared.checkpoint_now().await {
                *shared.checkpoint_failed.lock() = Some(Arc::new(error));
            }
        }
        shared.wake.notified().await;
    }
}
