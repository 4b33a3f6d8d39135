//! Deleting, by the rules of the bucket's versioning.
//!
//! Without a version id: versioning off removes the object; enabled puts a delete marker on top,
//! even where nothing is; suspended removes the null version and puts a null marker on top. With a
//! version id exactly that version goes, and what was below it may become current again.

use std::sync::Arc;

use gw_types::{Action, Authenticated, BucketName, InodeId, Level, Timestamp, VersionSeq};

use super::current::{check_summary, check_write, shown_id};
use crate::access::Act;
use crate::api::{DeleteOutcome, DeleteTarget, LockMode, ObjectAttributes, VersionId, Versioning};
use crate::core::{Core, UsageChange, Work, load_bucket};
use crate::error::{StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin, Told};
use crate::history;
use crate::namespace::{self, Located, Presence, Spot};
use crate::rows::{self, BucketRow, InodeRow, Leaf, VersionRow, key};

/// Deletes in one commit; a request has at most 1000.
const BATCH: usize = 64;
/// Numbers that the deletes of one commit may take; a commit has 4096.
const NUMBERS_MAX: usize = 4000;
/// A marker and an event.
const NUMBERS_BESIDE: usize = 2;

impl Core {
    pub(crate) async fn delete(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        target: DeleteTarget,
        level: Option<Level>,
    ) -> StoreResult<DeleteOutcome> {
        let done = self.commit(|work| {
            let row = work.delete_from(who, bucket, &target)?;
            let outcome = work.delete((&row, &Origin::new(who, bucket, Cause::Delete)), &target)?;
            Ok((outcome, row.stream, row.settings.level))
        })?;
        let (mut outcome, stream, default) = done.value;
        outcome.lsn = done.lsn;
        self.settle(done.lsn, stream, level.unwrap_or(default)).await?;
        Ok(outcome)
    }

    pub(crate) async fn delete_many(
        self: &Arc<Self>,
        who: &Authenticated,
        bucket: &BucketName,
        targets: Vec<DeleteTarget>,
        level: Option<Level>,
    ) -> StoreResult<Vec<StoreResult<DeleteOutcome>>> {
        // The right is asked for each key: policies may tell keys apart.
        let row = load_bucket(&self.snapshot(), bucket)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        let mut outcomes = Vec::with_capacity(targets.len());
        let mut newest = None;
        let origin = Origin::new(who, bucket, Cause::Delete);
        for batch in batches(&targets) {
            let done = self.commit(|work| {
                batch
                    .iter()
                    .map(|target| {
                        each(match work.delete_from(who, bucket, target) {
                            Ok(now) if now.root == row.root => work.delete((&now, &origin), target),
                            Ok(_) => Err(StoreErrorKind::NoSuchBucket.into()),
                            Err(error) => Err(error),
                        })
                    })
                    .collect::<StoreResult<Vec<_>>>()
            })?;
            newest = Some(done.lsn);
            outcomes.extend(
                done.value
                    .into_iter()
                    .map(|outcome| outcome.map(|outcome| DeleteOutcome { lsn: done.lsn, ..outcome })),
            );
        }
        if let Some(lsn) = newest {
            self.settle(lsn, row.stream, level.unwrap_or(row.settings.level)).await?;
        }
        Ok(outcomes)
    }
}

/// Cuts targets into commits: at most [`BATCH`] in each, and no more than a commit has numbers for,
/// of which each directory of a key may need one.
fn batches(targets: &[DeleteTarget]) -> impl Iterator<Item = &[DeleteTarget]> {
    let numbers = |target: &DeleteTarget| target.key.as_str().matches('/').count() + NUMBERS_BESIDE;
    let mut rest = targets;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = rest.iter().take(BATCH).take_while(|target| {
            sum += numbers(target);
            sum <= NUMBERS_MAX
        });
        // A key has 1024 bytes at most, so one target always fits.
        let count = fits.count().max(1).min(rest.len());
        let (batch, more) = rest.split_at(count);
        rest = more;
        (!batch.is_empty()).then_some(batch)
    })
}

/// A refused target leaves the others alone, since it is decided before it writes; any other error
/// ends the whole commit.
fn each(outcome: StoreResult<DeleteOutcome>) -> StoreResult<StoreResult<DeleteOutcome>> {
    match outcome {
        Err(error) if !is_refusal(error.kind()) => Err(error),
        outcome => Ok(outcome),
    }
}

fn is_refusal(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::NoSuchKey
            | StoreErrorKind::PreconditionFailed
            | StoreErrorKind::ConditionalRequestConflict
            | StoreErrorKind::AccessDenied
            | StoreErrorKind::Leased
            | StoreErrorKind::Locked
    )
}

/// Whether an object of these attributes may go: `Locked` if not.
pub(crate) fn check_lock(
    bucket: &BucketRow,
    attributes: &ObjectAttributes,
    now: Timestamp,
    bypass: bool,
) -> StoreResult<()> {
    if bucket.rules.lock.is_none() {
        return Ok(());
    }
    let held = attributes.legal_hold()? == Some(true);
    let retained = attributes.retention()?.is_some_and(|retention| {
        retention.until > now && !(bypass && retention.mode == LockMode::Governance)
    });
    if held || retained { Err(StoreErrorKind::Locked.into()) } else { Ok(()) }
}

/// What a delete did to what was there.
enum Went {
    /// An object, version or marker is gone.
    Away,
    /// A marker was put on top.
    UnderMarker,
}

type Deleted = (DeleteOutcome, Option<Went>);

impl Work<'_, '_> {
    /// The bucket, where `who` may delete this in it, and lift a retention that it asks to bypass.
    fn delete_from(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        target: &DeleteTarget,
    ) -> StoreResult<BucketRow> {
        let action = match target.version {
            None => Action::DeleteObject,
            Some(_) => Action::DeleteObjectVersion,
        };
        let row = self.core.bucket(&*self.txn, who, Act::on(action, &target.key), bucket)?;
        if target.bypass_governance && row.rules.lock.is_some() {
            let act = Act::on(Action::BypassGovernanceRetention, &target.key);
            self.core.allow(&*self.txn, who, act, (bucket, &row))?;
        }
        Ok(row)
    }

    /// A version under a legal hold stays, and so does one within its retention.
    pub(crate) fn check_unlocked(&self, bucket: &BucketRow, inode: InodeId, bypass: bool) -> StoreResult<()> {
        if bucket.rules.lock.is_none() {
            return Ok(());
        }
        let row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(inode))?;
        match row.published() {
            Some(published) => check_lock(bucket, &published.attributes, self.now, bypass),
            None => Ok(()),
        }
    }

    /// Deletes one target. Refusals come before the first write.
    pub(crate) fn delete(
        &mut self,
        (bucket, origin): (&BucketRow, &Origin<'_>),
        target: &DeleteTarget,
    ) -> StoreResult<DeleteOutcome> {
        let (outcome, went) = self.delete_inner(bucket, target)?;
        let told = Told::gone(target.key.as_str(), outcome.version_id);
        match went {
            Some(Went::Away) => self.tell(bucket, origin, origin.removed(), told)?,
            Some(Went::UnderMarker) => self.tell(bucket, origin, origin.marked(), told)?,
            None => {}
        }
        Ok(outcome)
    }

    fn delete_inner(&mut self, bucket: &BucketRow, target: &DeleteTarget) -> StoreResult<Deleted> {
        let located = namespace::locate(&*self.txn, bucket.root, target.key.as_str())?;
        let spot = located.spot();
        let leaf = match &spot {
            Some(spot) => namespace::leaf(&*self.txn, spot)?,
            None => None,
        };
        if let Some(version) = target.version {
            return self.delete_version(bucket, target, spot, leaf, version);
        }
        check_write(&target.conditions, leaf.as_ref())?;
        if let Some(leaf) = &leaf {
            self.check_lease(leaf.inode, None)?;
        }
        if leaf.is_some_and(|leaf| leaf.published.is_none()) {
            // Absent for S3, and somebody's open file for POSIX.
            return Ok((self.outcome(false, None), None));
        }
        match bucket.settings.versioning {
            Versioning::Off => self.delete_plain(bucket, spot, leaf),
            versioning => self.delete_marked(bucket, &located, spot, leaf, versioning),
        }
    }

    fn delete_plain(
        &mut self,
        bucket: &BucketRow,
        spot: Option<Spot>,
        leaf: Option<Leaf>,
    ) -> StoreResult<Deleted> {
        let mut went = None;
        if let (Some(spot), Some(leaf)) = (spot, leaf) {
            went = Some(Went::Away);
            let mut change = UsageChange::default();
            self.drop_current(&spot, &leaf, &mut change)?;
            self.set_leaf(&spot, None);
            self.adjust(spot.parent, Presence::of(Some(&leaf), false), Presence::default())?;
            self.account(bucket, change)?;
        }
        Ok((self.outcome(false, None), went))
    }

    fn delete_marked(
        &mut self,
        bucket: &BucketRow,
        located: &Located<'_>,
        found: Option<Spot>,
        leaf: Option<Leaf>,
        versioning: Versioning,
    ) -> StoreResult<Deleted> {
        let mut change = UsageChange::default();
        let null = versioning == Versioning::Suspended;
        let had_history = match &found {
            Some(spot) => history::newest(&*self.txn, spot)?.is_some(),
            None => false,
        };
        let was = Presence::of(leaf.as_ref(), had_history);
        let is = Presence { history: true, ..Presence::default() };
        let spot = self.make_way(bucket.root, located, is)?;
        if found.is_some() {
            if let Some(leaf) = &leaf {
                if null && leaf.published.is_some_and(|summary| summary.null) {
                    self.drop_current(&spot, leaf, &mut change)?;
                } else {
                    self.retire(&spot, leaf, &mut change)?;
                }
                self.set_leaf(&spot, None);
            }
            if null {
                self.remove_null(&spot, &mut change)?;
            }
            self.adjust(spot.parent, was, is)?;
        }
        let seq = self.new_version();
        let marker = VersionRow::Marker { null, committed_at: self.now };
        self.add_version(&spot, seq, &marker, &mut change);
        self.account(bucket, change)?;
        Ok((self.outcome(true, shown_id(bucket, null, seq)), Some(Went::UnderMarker)))
    }

    fn delete_version(
        &mut self,
        bucket: &BucketRow,
        target: &DeleteTarget,
        spot: Option<Spot>,
        leaf: Option<Leaf>,
        version: VersionId,
    ) -> StoreResult<Deleted> {
        let nothing = |work: &Self| (work.outcome(false, Some(version)), None);
        let Some(spot) = spot else {
            check_summary(&target.conditions, None)?;
            return Ok(nothing(self));
        };
        let current = leaf.and_then(|leaf| leaf.published).filter(|summary| summary.version_id() == version);
        let old = match current {
            Some(_) => None,
            None => self.noncurrent(bucket, &spot, version)?,
        };
        let judged = current.or(match old {
            Some((_, VersionRow::Object { summary, .. })) => Some(summary),
            _ => None,
        });
        check_summary(&target.conditions, judged.as_ref())?;
        if current.is_none() && old.is_none() {
            return Ok(nothing(self));
        }
        let goes = match (&current, &leaf, &old) {
            (Some(_), Some(leaf), _) => Some(leaf.inode),
            (_, _, Some((_, VersionRow::Object { inode, .. }))) => Some(*inode),
            _ => None,
        };
        if let Some(inode) = goes {
            self.check_lease(inode, None)?;
            self.check_unlocked(bucket, inode, target.bypass_governance)?;
        }

        let mut change = UsageChange::default();
        let had_history = history::newest(&*self.txn, &spot)?.is_some();
        let was = Presence::of(leaf.as_ref(), had_history);
        let mut now = leaf;
        if let (Some(_), Some(leaf)) = (current, &leaf) {
            self.drop_current(&spot, leaf, &mut change)?;
            now = None;
        }
        if let Some((seq, row)) = &old {
            self.remove_version(&spot, *seq, row, &mut change)?;
        }
        if now.is_none() {
            now = self.promote(&spot, &mut change)?;
            self.set_leaf(&spot, now);
        }
        let has_history = history::newest(&*self.txn, &spot)?.is_some();
        self.adjust(spot.parent, was, Presence::of(now.as_ref(), has_history))?;
        self.account(bucket, change)?;
        let marker = matches!(old, Some((_, VersionRow::Marker { .. })));
        Ok((self.outcome(marker, Some(version)), Some(Went::Away)))
    }

    fn noncurrent(
        &self,
        bucket: &BucketRow,
        spot: &Spot,
        version: VersionId,
    ) -> StoreResult<Option<(VersionSeq, VersionRow)>> {
        if bucket.settings.versioning == Versioning::Off {
            return Ok(None);
        }
        let seq = match version {
            VersionId::Seq(seq) => Some(seq),
            VersionId::Null => history::null_seq(&*self.txn, spot)?,
        };
        let Some(seq) = seq else { return Ok(None) };
        let row = history::version(&*self.txn, spot, seq)?;
        Ok(row.filter(|row| row.version_id(seq) == version).map(|row| (seq, row)))
    }

    fn outcome(&self, delete_marker: bool, version_id: Option<VersionId>) -> DeleteOutcome {
        DeleteOutcome { delete_marker, version_id, lsn: self.txn.lsn() }
    }
}
