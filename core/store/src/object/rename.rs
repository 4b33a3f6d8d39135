//! Renaming within a bucket, as one commit that moves no byte (S3 Express One Zone: RenameObject).
//!
//! The new name shares the old one's extents and takes over everything that stands beside the object:
//! headers, metadata, tags, list, owner, checksums, parts, what locks it. The old name goes by the
//! rules of the bucket's versioning: without versions it is gone; with them a delete marker stands on
//! top and the version stays, with its lock, so nothing that must stay is lost. Both names change
//! together, and every condition is decided on the state that is changed.

use gw_types::{Action, Authenticated, BucketName, Level, ObjectKey};

use super::current::NewObject;
use super::find;
use super::read::{Found, check_read};
use crate::access::Act;
use crate::api::{DeleteTarget, PutOutcome, ReadConditions, WriteConditions};
use crate::core::{Core, UsageChange, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin};
use crate::rows::BucketRow;

/// What to rename, and on which conditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renaming<'a> {
    pub(crate) from: &'a ObjectKey,
    pub(crate) to: &'a ObjectKey,
    pub(crate) source: &'a ReadConditions,
    pub(crate) target: &'a WriteConditions,
}

impl Core {
    pub(crate) async fn rename(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        renaming: Renaming<'_>,
        level: Option<Level>,
    ) -> StoreResult<PutOutcome> {
        if renaming.from == renaming.to {
            return Err(StoreError::invalid("an object is not renamed to its own name"));
        }
        let done = self.commit(|work| {
            let row = self.bucket(&*work.txn, who, Act::on(Action::PutObject, renaming.to), bucket)?;
            let outcome = work.rename(who, (bucket, &row), renaming)?;
            Ok((outcome, row.stream, row.settings.level))
        })?;
        let (mut outcome, stream, default) = done.value;
        outcome.lsn = done.lsn;
        self.settle(done.lsn, stream, level.unwrap_or(default)).await?;
        Ok(outcome)
    }
}

impl Work<'_, '_> {
    fn rename(
        &mut self,
        who: &Authenticated,
        (bucket, row): (&BucketName, &BucketRow),
        renaming: Renaming<'_>,
    ) -> StoreResult<PutOutcome> {
        let found = self.to_rename(who, (bucket, row), &renaming)?;
        let published = found.published;
        // Shared before the old name lets go of it.
        let data = published.data.share(self.txn, 0..published.data.len)?;
        let mut attributes = published.attributes;
        attributes.end_retention(self.now)?;
        let target = DeleteTarget {
            key: renaming.from.clone(),
            version: None,
            conditions: WriteConditions::default(),
            bypass_governance: false,
        };
        self.delete((row, &Origin::new(who, bucket, Cause::Delete)), &target)?;
        let object = NewObject {
            origin: Origin::new(who, bucket, Cause::Copy),
            key: renaming.to.as_str(),
            conditions: renaming.target,
            etag: published.etag,
            attributes,
            checksums: published.checksums,
            parts: found.parts,
            data,
        };
        self.publish(row, object, UsageChange::default())
    }

    /// The object, where `who` may read and delete it and its conditions hold.
    fn to_rename(
        &self,
        who: &Authenticated,
        (bucket, row): (&BucketName, &BucketRow),
        renaming: &Renaming<'_>,
    ) -> StoreResult<Found> {
        let act = Act::on(Action::GetObject, renaming.from);
        let found = match find(&*self.txn, row.clone(), renaming.from, None, true) {
            Ok(found) => found,
            Err(error) => return Err(self.core.hide_absence(&*self.txn, who, (act, error), bucket)),
        };
        if found.is_behind {
            // Somebody writes to it through a mount or a volume: a move would leave that behind.
            return Err(StoreErrorKind::ConditionalRequestConflict.into());
        }
        let attributes = &found.published.attributes;
        self.core.allow(&*self.txn, who, act.of(attributes), (bucket, row))?;
        let act = Act::on(Action::DeleteObject, renaming.from);
        self.core.allow(&*self.txn, who, act.of(attributes), (bucket, row))?;
        check_read(renaming.source, &found).map_err(|error| match error.kind() {
            StoreErrorKind::NotModified => StoreErrorKind::PreconditionFailed.into(),
            _ => error,
        })?;
        Ok(found)
    }
}
