//! How long what is stored must last, and whether it can.
//!
//! An object under retention is a promise with a date. The space that holds it was bought up to a date
//! as well ([`Durability::horizon`](crate::Durability::horizon)). A retention that S3 asks for, or that a
//! bucket's default gives to what S3 writes, is refused where nobody prolongs that space in time; where
//! somebody does, it is accepted, and whoever prolongs asks [`Store::kept`](crate::Store::kept) what for.
//!
//! Rows count versions under retention by the day it ends (the next day, where it ends within one), and
//! those under a legal hold, which has no end, on the last day of all. Each commit that makes, changes
//! or deletes such a version keeps them, so the latest day is one look at the last row. Writes through
//! mounts are not refused: what a program has written to a file cannot be unsaid when it closes it.

use gw_types::{Authenticated, Timestamp};

use crate::access;
use crate::api::{Kept, ObjectAttributes, Retention};
use crate::core::{Core, Work};
use crate::durability::Horizon;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, KeptRow, key};

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;
/// The row of what is held without an end.
const ENDLESS: u32 = u32::MAX;

/// The rows that a version of these attributes counts in: of its retention, of its hold.
fn days(attributes: Option<&ObjectAttributes>) -> StoreResult<[Option<u32>; 2]> {
    let Some(attributes) = attributes else { return Ok([None, None]) };
    if attributes.documents.is_empty() {
        return Ok([None, None]);
    }
    let retention = attributes.retention()?.map(|retention| {
        let end = Timestamp(retention.until.0.saturating_add(DAY_NANOS - 1)).unix_days();
        // A time of 64 bits ends in the year 2262, before day 106,752.
        u32::try_from(end).unwrap_or(0).min(ENDLESS - 1)
    });
    Ok([retention, (attributes.legal_hold()? == Some(true)).then_some(ENDLESS)])
}

impl Core {
    /// Refuses a retention that what holds the bytes will not live to see.
    pub(crate) fn check_horizon(&self, retention: Option<&Retention>) -> StoreResult<()> {
        let (Some(retention), Some(durability)) = (retention, &self.durability) else { return Ok(()) };
        match durability.horizon() {
            Horizon::Open => Ok(()),
            Horizon::Ends { at, .. } if retention.until <= at => Ok(()),
            Horizon::Ends { at, advice } => Err(StoreError::new(
                StoreErrorKind::BeyondTerritory,
                format!(
                    "The retain until date, {}, lies beyond the end of the territory that holds the data, {}: {advice}",
                    retention.until.iso_seconds(),
                    at.iso_seconds()
                ),
            )),
            Horizon::Unknown { why } => Err(StoreError::new(
                StoreErrorKind::NoTerritory,
                format!("how long the data will last cannot be said, so no retention can be promised: {why}"),
            )),
        }
    }

    pub(crate) fn kept(&self, who: &Authenticated) -> StoreResult<Kept> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let end = key::after_prefix(&key::kept_days()).unwrap_or_default();
        let mut kept = Kept::default();
        for (row_key, value) in snapshot.scan(&key::kept_days(), &end, true, 2)? {
            let KeptRow(count) = rows::decode("kept", &value)?;
            match key::kept_day(&row_key) {
                Some(ENDLESS) => kept.held = count,
                Some(day) if kept.until.is_none() => {
                    kept.until = Some(Timestamp(i64::from(day).saturating_mul(DAY_NANOS)));
                }
                _ => {}
            }
        }
        Ok(kept)
    }
}

impl Work<'_, '_> {
    /// Counts a version that comes, changes or goes. What never was under lock costs nothing.
    pub(crate) fn keep(
        &mut self,
        was: Option<&ObjectAttributes>,
        is: Option<&ObjectAttributes>,
    ) -> StoreResult<()> {
        for (was, is) in days(was)?.into_iter().zip(days(is)?) {
            if was == is {
                continue;
            }
            if let Some(day) = was {
                self.count_kept(day, false)?;
            }
            if let Some(day) = is {
                self.count_kept(day, true)?;
            }
        }
        Ok(())
    }

    fn count_kept(&mut self, day: u32, more: bool) -> StoreResult<()> {
        let row_key = key::kept(day);
        let KeptRow(count) = rows::load(&*self.txn, "kept", &row_key)?.unwrap_or_default();
        match (count, more) {
            // Put under lock before this was counted.
            (0, false) => {}
            (1, false) => self.txn.delete(row_key),
            (count, false) => self.put_row(row_key, &KeptRow(count - 1)),
            (count, true) => self.put_row(row_key, &KeptRow(count.saturating_add(1))),
        }
        Ok(())
    }
}
