//! How much room the territory has, for whom.
//!
//! ```text
//!   remaining, as the chain has it
//!   |-- segments here that are not declared yet --|-- bodies may take --|-- reserve --|
//! ```
//!
//! The reserve is what bodies may not take: without it a full territory could never give anything
//! back, because the record of a deletion, and the new homes of what is compacted, need space before
//! any is freed. What was accepted once is dispersed whatever is left, the reserve included: it stands
//! before later records in the log, which could not be finalized without it.

use std::time::Duration;

use gw_data::rows::{self, DealState, SegmentState};
use gw_types::ports::TerritoryState;
use gw_types::{SEGMENT_BYTES, SegmentSeq, TERRITORY_BYTES_PER_SEGMENT};

use crate::config::DispersalConfig;
use crate::error::DispersalError;
use crate::shared::Shared;
use crate::state::{RoomStatus, Who};

/// How often the chain is asked.
pub(crate) const LOOK: Duration = Duration::from_secs(10);
/// Rows read at a time.
const ROWS_MAX: usize = 500;
/// A smaller reserve would be none: the log of a deletion, a new home, and the log that tells of it.
const RESERVE_SEGMENTS_MIN: u64 = 3;

/// An Active territory, in whole segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// Segments that may still be declared; the chain wants strictly more room than a deal takes.
    pub(crate) free: u64,
    /// Of them, kept from bodies.
    pub(crate) reserve: u64,
    /// Segments on this machine that will be declared.
    pub(crate) undeclared: u64,
}

impl Space {
    fn new(total: u128, remaining: u128, undeclared: u64, config: &DispersalConfig) -> Self {
        let whole =
            |bytes: u128| u64::try_from(bytes / u128::from(TERRITORY_BYTES_PER_SEGMENT)).unwrap_or(u64::MAX);
        let reserve = match config.territory_reserve_bytes {
            Some(bytes) => bytes.div_ceil(TERRITORY_BYTES_PER_SEGMENT),
            None => (2 * config.bulk_deal_segments_max as u64).min(whole(total) / 8),
        };
        let reserve = reserve.max(RESERVE_SEGMENTS_MIN);
        Self { free: whole(remaining.saturating_sub(1)), reserve, undeclared }
    }

    /// Sealed bytes that bodies may still take. A segment is left for the log that tells of them.
    fn for_bodies(&self) -> u64 {
        let kept = self.reserve + 1;
        self.free.saturating_sub(self.undeclared).saturating_sub(kept).saturating_mul(SEGMENT_BYTES)
    }

    /// Whether bodies are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.for_bodies() == 0
    }

    /// Segments that compaction may fill; all that is free where it is urgent.
    pub(crate) fn for_compaction(&self, is_urgent: bool) -> u64 {
        let kept = if is_urgent { 0 } else { self.reserve };
        // One for the log that tells of it, one for the log that tells of the next deletion.
        self.free.saturating_sub(self.undeclared).saturating_sub(kept).saturating_sub(2)
    }

    /// Whether it is time to compact for want of room.
    pub(crate) fn is_low(&self, config: &DispersalConfig) -> bool {
        let threshold = match config.compact_room_bytes {
            Some(bytes) => bytes.div_ceil(TERRITORY_BYTES_PER_SEGMENT),
            None => 2 * self.reserve,
        };
        self.free.saturating_sub(self.undeclared) < threshold
    }
}

/// Asks the chain. `None`: there is no territory, or it is not Active.
pub(crate) async fn look(shared: &Shared) -> Result<Option<Space>, DispersalError> {
    // Counted first: what is declared between the two is counted twice rather than never.
    let undeclared = undeclared(shared).await?;
    let territory = shared.ports.chain.territory(&shared.config.territory).await?;
    let territory = territory.filter(|territory| territory.state == TerritoryState::Active);
    Ok(territory.map(|found| Space::new(found.total, found.remaining, undeclared, &shared.config)))
}

/// Tells the data layer how much bodies may take, and everybody when that is nothing.
pub(crate) async fn refresh(shared: &Shared) -> Result<Option<Space>, DispersalError> {
    let mark = shared.ports.data.room_mark();
    let space = look(shared).await?;
    let bodies = space.map(|space| space.for_bodies());
    shared.ports.data.set_room(bodies, mark);
    let bytes = |segments: u64| segments.saturating_mul(TERRITORY_BYTES_PER_SEGMENT);
    let is_full = space.is_some_and(|space| space.is_full());
    shared.board.note(|status| {
        status.room = space.map(|space| RoomStatus {
            free_bytes: bytes(space.free),
            reserve_bytes: bytes(space.reserve),
            bodies_bytes: space.for_bodies(),
            is_full,
        });
    });
    if is_full {
        let name = &shared.config.territory;
        let reason = format!(
            "territory {name} is full: new bodies are refused until objects are deleted and their space is back \
             (`cess-gateway compact`), or it is expanded (`cess-gateway territory expand {name} --gib N`)"
        );
        shared.board.waits(Who::Room, reason);
    } else {
        shared.board.goes_on(Who::Room);
    }
    Ok(space)
}

/// Segments that will take room and have not yet.
async fn undeclared(shared: &Shared) -> Result<u64, DispersalError> {
    let mut count = 0;
    let mut from = SegmentSeq(0);
    loop {
        let snapshot = shared.ports.db.snapshot();
        let page = rows::segments(&snapshot, from, ROWS_MAX)?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        from = last.next();
        for (_, row) in page {
            let is_declared = match (row.state, row.deal) {
                (SegmentState::Open, _) | (SegmentState::Sealed, None) => false,
                (SegmentState::Sealed, Some((fid, _))) => {
                    rows::deal(&snapshot, fid)?.is_some_and(|deal| deal.state > DealState::Intent)
                }
                _ => true,
            };
            count += u64::from(!is_declared);
        }
        drop(snapshot);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use gw_types::{SEGMENT_BYTES, TERRITORY_BYTES_PER_SEGMENT as SEGMENT, TerritoryName};

    use super::{DispersalConfig, Space};

    fn space(total: u128, remaining: u128, undeclared: u64, reserve: Option<u64>) -> Space {
        let mut config = DispersalConfig::new(TerritoryName::new("default").unwrap());
        config.territory_reserve_bytes = reserve;
        Space::new(total * u128::from(SEGMENT), remaining, undeclared, &config)
    }

    #[test]
    fn the_reserve_is_two_deals_or_an_eighth_and_never_less_than_what_a_deletion_needs() {
        assert_eq!(space(10_000, 0, 0, None).reserve, 128);
        assert_eq!(space(160, 0, 0, None).reserve, 20);
        assert_eq!(space(10, 0, 0, None).reserve, 3);
        assert_eq!(space(10_000, 0, 0, Some(5 * SEGMENT + 1)).reserve, 6);
        assert_eq!(space(10_000, 0, 0, Some(0)).reserve, 3);
    }

    #[test]
    fn the_chain_wants_strictly_more_and_undeclared_segments_count() {
        let segment = u128::from(SEGMENT);
        assert_eq!(space(160, 40 * segment, 0, None).free, 39);
        assert_eq!(space(160, 40 * segment + 1, 0, None).free, 40);
        let found = space(160, 40 * segment + 1, 17, None);
        assert_eq!(found.for_bodies(), 2 * SEGMENT_BYTES);
        assert_eq!((found.for_compaction(false), found.for_compaction(true)), (1, 21));
        assert_eq!(space(160, 10 * segment, 0, None).for_bodies(), 0);
        assert_eq!(space(160, 0, 50, None).for_compaction(true), 0);
    }
}
