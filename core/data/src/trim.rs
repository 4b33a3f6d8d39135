//! Segment files that need not be here any more.
//!
//! The file of a finalized segment stays as a cache: what was written lately is read lately. Such files
//! take at most half of `finalized_bytes_max` (all of it where there is no disk cache), the disk cache
//! what they leave, and both less while the disk has little room for staging and journal. Those whose
//! bytes were used longest ago go first. Between two looks ([`crate::Data::trim`]) they may be more, by
//! what was finalized meanwhile.

use gw_types::{SEGMENT_BYTES, SegmentSeq};

use crate::rows::{self, SegmentState};
use crate::{Data, DataError};

/// Rows read on one snapshot.
const ROWS_A_SNAPSHOT: usize = 256;

impl Data {
    /// Evicts files of finalized segments, never of others, until they take no more than they may.
    /// Returns how many went. Does nothing where the configuration sets no bound.
    pub async fn trim(&self) -> Result<u64, DataError> {
        let shared = &self.shared;
        let Some(max) = shared.config.finalized_bytes_max else { return Ok(0) };
        let mut idle = self.finalized_files().await?;
        let allowed = self.allowed_bytes(max, idle.len() as u64 * SEGMENT_BYTES)?;
        let keep = usize::try_from(allowed / SEGMENT_BYTES).unwrap_or(usize::MAX);
        let mut evicted = 0;
        if idle.len() > keep {
            idle.sort_by_key(|seq| (shared.ports.files.used_at(*seq), *seq));
            let surplus = idle.len() - keep;
            for seq in idle.drain(..surplus) {
                evicted += u64::from(self.evict(seq).await?);
                tokio::task::yield_now().await;
            }
            tracing::debug!(evicted, kept = idle.len(), "segment files that are finalized went");
        }
        if let Some(cache) = &shared.disk_cache {
            cache.leave(idle.len() as u64 * SEGMENT_BYTES);
        }
        Ok(evicted)
    }

    async fn finalized_files(&self) -> Result<Vec<SegmentSeq>, DataError> {
        let ports = &self.shared.ports;
        let here: Vec<SegmentSeq> = ports.files.list()?.into_iter().collect();
        let mut found = Vec::new();
        for some in here.chunks(ROWS_A_SNAPSHOT) {
            let snapshot = ports.db.snapshot();
            for seq in some {
                let row = rows::segment(&snapshot, *seq)?;
                if row.is_some_and(|row| row.local && row.state == SegmentState::Finalized) {
                    found.push(*seq);
                }
            }
            drop(snapshot);
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// What files of `taken` bytes may keep of `max`.
    fn allowed_bytes(&self, max: u64, taken: u64) -> Result<u64, DataError> {
        let shared = &self.shared;
        let share = if shared.disk_cache.is_some() { max / 2 } else { max };
        let missing =
            shared.config.disk_cache_free_bytes_min.saturating_sub(shared.ports.files.free_bytes()?);
        Ok(share.min(taken.saturating_sub(missing)))
    }
}
