//! Lifecycle: what rules of a bucket make go, in passes over the buckets that have rules.
//!
//! A pass walks listings like any client and decides each deletion anew in its own commit, on the
//! object that is there then: one that was overwritten, retagged or locked since it was listed stays.
//! A pass that is broken off is begun again by the next one; nothing is remembered between passes.
//! AWS's rules of time hold: a day ends at midnight UTC, and a noncurrent version's days count from
//! the version that replaced it.

use std::sync::Arc;
use std::time::Duration;

use gw_db::Read;
use gw_types::{Action, Authenticated, BucketName, InodeId, Lsn, ObjectKey, StreamId, Timestamp};

use crate::access;
use crate::api::{
    DeleteTarget, Expiry, Lifecycle, ListRequest, ListStart, ObjectAttributes, UploadListRequest,
    VersionEntry, VersionId, VersionListRequest, WriteConditions, after_days,
};
use crate::bucket::bucket_name;
use crate::core::{Core, Work, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::events::{Cause, Origin};
use crate::namespace;
use crate::object::find;
use crate::rows::{self, BucketRow, key};

/// Name of the document that holds a bucket's rules.
const LIFECYCLE: &str = "lifecycle";
const SCAN_PAGE: usize = 256;
const PAGE: usize = 1000;
/// Most rules of a bucket (AWS).
const RULES_MAX: usize = 1000;
/// Documents have at most so many bytes, text and rules together.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifecycleDone {
    /// Current objects that expired.
    pub expired: u64,
    /// Noncurrent versions deleted.
    pub versions: u64,
    /// Delete markers removed.
    pub markers: u64,
    /// Uploads given up.
    pub uploads: u64,
}

/// One bucket in a pass.
struct Round<'a> {
    who: &'a Authenticated,
    name: &'a BucketName,
    root: InodeId,
    rules: &'a Lifecycle,
    now: Timestamp,
    day_nanos: i64,
    newest: Lsn,
    done: &'a mut LifecycleDone,
}

impl Core {
    pub(crate) async fn bucket_lifecycle_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        lifecycle: Option<Lifecycle>,
    ) -> StoreResult<()> {
        if lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.rules.len() > RULES_MAX) {
            return Err(StoreError::invalid("a lifecycle has at most 1000 rules"));
        }
        let document = lifecycle.as_ref().map(rows::encode);
        if document.as_ref().is_some_and(|document| document.len() > DOCUMENT_BYTES_MAX) {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        self.change_rules(who, Action::PutLifecycleConfiguration, name, |work, row| {
            row.rules.lifecycle = document.as_ref().map(|_| work.txn.lsn().0);
            work.set_document(row.root, LIFECYCLE, document.as_deref())
        })
        .await
    }

    pub(crate) fn bucket_lifecycle(
        &self,
        who: &Authenticated,
        name: &BucketName,
    ) -> StoreResult<Option<Lifecycle>> {
        let snapshot = self.snapshot();
        let row = self.bucket(&snapshot, who, Action::GetLifecycleConfiguration, name)?;
        rows::load(&snapshot, "lifecycle", &key::document(row.root, LIFECYCLE))
    }

    /// When an object goes by the rules of its bucket. A bucket without any pays one comparison.
    pub(crate) fn expiry(
        &self,
        read: &impl Read,
        bucket: &BucketRow,
        (name, attributes): (&str, &ObjectAttributes),
        (put, size): (Timestamp, u64),
    ) -> StoreResult<Option<Expiry>> {
        if bucket.rules.lifecycle.is_none() {
            return Ok(None);
        }
        let rules: Lifecycle = rows::must(read, "lifecycle", &key::document(bucket.root, LIFECYCLE))?;
        let day_nanos = i64::try_from(self.config.lifecycle_day.as_nanos()).unwrap_or(i64::MAX);
        let found = rules.expiry(name, size, &attributes.tags()?, (put, day_nanos));
        Ok(found.map(|(at, rule)| Expiry { at, rule: rule.id.clone() }))
    }

    /// One pass over all buckets. A bucket that fails is logged and left to the next pass.
    pub(crate) async fn lifecycle_pass(self: &Arc<Self>, who: &Authenticated) -> StoreResult<LifecycleDone> {
        access::decide_admin(&self.snapshot(), who)?;
        let mut done = LifecycleDone::default();
        let mut from = Vec::new();
        loop {
            let found = rows::under(&self.snapshot(), &key::buckets(""), &from, SCAN_PAGE)?;
            for (row_key, value) in &found {
                let row = BucketRow::decode(value)?;
                if row.rules.lifecycle.is_none() {
                    continue;
                }
                let name = bucket_name(row_key)?;
                if let Err(error) = self.lifecycle_of(who, (&name, &row), &mut done).await {
                    tracing::warn!(bucket = %name, %error, "the lifecycle of a bucket waits for the next pass");
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == SCAN_PAGE => from = key::after(last),
                _ => return Ok(done),
            }
        }
    }

    /// Passes for ever, `every` so often.
    pub(crate) async fn lifecycle_keep(self: &Arc<Self>, who: &Authenticated, every: Duration) {
        loop {
            self.clock.sleep(every).await;
            match self.lifecycle_pass(who).await {
                Ok(done) if done == LifecycleDone::default() => {}
                Ok(done) => tracing::info!(?done, "lifecycle rules were carried out"),
                Err(error) => tracing::warn!(%error, "lifecycle rules wait for the next pass"),
            }
        }
    }

    async fn lifecycle_of(
        self: &Arc<Self>,
        who: &Authenticated,
        (name, row): (&BucketName, &BucketRow),
        done: &mut LifecycleDone,
    ) -> StoreResult<()> {
        let document = key::document(row.root, LIFECYCLE);
        let Some(rules) = rows::load::<Lifecycle>(&self.snapshot(), "lifecycle", &document)? else {
            return Ok(());
        };
        let day_nanos = i64::try_from(self.config.lifecycle_day.as_nanos()).unwrap_or(i64::MAX);
        let (root, now) = (row.root, self.clock.now());
        let mut round =
            Round { who, name, root, rules: &rules, now, day_nanos, newest: Lsn::default(), done };
        let active = || rules.rules.iter().filter(|rule| rule.enabled);
        if active().any(|rule| rule.expire.is_some()) {
            self.expire_objects(&mut round).await?;
        }
        if active().any(|rule| rule.noncurrent.is_some() || rule.expired_markers) {
            self.expire_versions(&mut round).await?;
        }
        if active().any(|rule| rule.abort_uploads_days.is_some()) {
            self.expire_uploads(&mut round).await?;
        }
        Ok(())
    }

    async fn expire_objects(self: &Arc<Self>, round: &mut Round<'_>) -> StoreResult<()> {
        let mut start = ListStart::Beginning;
        loop {
            let request = ListRequest {
                bucket: round.name.clone(),
                prefix: String::new(),
                delimiter: None,
                start,
                max: PAGE,
            };
            let page = self.list(round.who, &request)?;
            for entry in page.entries {
                let maybe = round.rules.rules.iter().any(|rule| {
                    rule.enabled && rule.expire.is_some() && rule.filter.fits(&entry.key, entry.size)
                });
                let Ok(at) = ObjectKey::new(entry.key) else { continue };
                if maybe && self.commit_expiry(round, |work, round| work.expire(round, &at))? {
                    round.done.expired += 1;
                }
            }
            self.settle(round.newest, StreamId::default(), gw_types::Level::Staged).await?;
            match page.next {
                Some(next) => start = next,
                None => return Ok(()),
            }
        }
    }

    async fn expire_versions(self: &Arc<Self>, round: &mut Round<'_>) -> StoreResult<()> {
        let mut request = VersionListRequest { max: PAGE, ..VersionListRequest::new(round.name.clone()) };
        let mut name = History::default();
        loop {
            let page = self.list_versions(round.who, &request)?;
            for entry in page.entries {
                if name.key.as_ref().is_none_or(|key| *key != entry.key) {
                    self.expire_marker(round, &name)?;
                    name = History { key: Some(entry.key.clone()), ..History::default() };
                }
                let since = name.step(&entry);
                if let Some((since, newer)) = since {
                    self.expire_version(round, &entry, since, newer)?;
                }
            }
            self.settle(round.newest, StreamId::default(), gw_types::Level::Staged).await?;
            match page.next {
                Some((key, version)) => {
                    request.key_marker = Some(key);
                    request.version_marker = version;
                }
                None => return self.expire_marker(round, &name),
            }
        }
    }

    /// A marker that is all there is of its name.
    fn expire_marker(self: &Arc<Self>, round: &mut Round<'_>, name: &History) -> StoreResult<()> {
        let (Some(text), Some(version), 1) = (&name.key, name.marker, name.rows) else { return Ok(()) };
        let rules = &round.rules.rules;
        let wanted = rules
            .iter()
            .any(|rule| rule.enabled && rule.expired_markers && text.starts_with(&rule.filter.prefix));
        let Ok(at) = ObjectKey::new(text.as_str()) else { return Ok(()) };
        if wanted && self.commit_expiry(round, |work, round| work.drop_version(round, &at, version, None))? {
            round.done.markers += 1;
        }
        Ok(())
    }

    fn expire_version(
        self: &Arc<Self>,
        round: &mut Round<'_>,
        entry: &VersionEntry,
        since: Timestamp,
        newer: u32,
    ) -> StoreResult<()> {
        let size = entry.object.map_or(0, |(size, ..)| size);
        let fitting: Vec<_> = round
            .rules
            .rules
            .iter()
            .filter(|rule| {
                let due = rule.noncurrent.is_some_and(|noncurrent| {
                    newer >= noncurrent.keep
                        && after_days(since, noncurrent.days, round.day_nanos) <= round.now
                });
                rule.enabled && due && rule.filter.fits(&entry.key, size)
            })
            .map(|rule| rule.filter.tags.clone())
            .collect();
        let Ok(at) = ObjectKey::new(entry.key.as_str()) else { return Ok(()) };
        if fitting.is_empty() {
            return Ok(());
        }
        let version = entry.version_id;
        if self.commit_expiry(round, |work, round| work.drop_version(round, &at, version, Some(&fitting)))? {
            round.done.versions += 1;
        }
        Ok(())
    }

    async fn expire_uploads(self: &Arc<Self>, round: &mut Round<'_>) -> StoreResult<()> {
        let mut request = UploadListRequest { max: PAGE, ..UploadListRequest::new(round.name.clone()) };
        loop {
            let page = self.upload_list(round.who, &request)?;
            for entry in page.entries {
                let due = round.rules.rules.iter().any(|rule| {
                    rule.enabled
                        && entry.key.as_str().starts_with(&rule.filter.prefix)
                        && rule.abort_uploads_days.is_some_and(|days| {
                            after_days(entry.upload.created, days, round.day_nanos) <= round.now
                        })
                });
                if !due {
                    continue;
                }
                match self.upload_abort(round.who, round.name, &entry.key, entry.upload.upload_id).await {
                    Ok(()) => round.done.uploads += 1,
                    Err(error) if error.kind() == StoreErrorKind::NoSuchUpload => {}
                    Err(error) => return Err(error),
                }
            }
            match page.next {
                Some((key, upload)) => {
                    request.key_marker = Some(key);
                    request.upload_marker = upload;
                }
                None => return Ok(()),
            }
        }
    }

    /// Runs one decision; what may not go stays, and that is no failure of the pass.
    fn commit_expiry(
        &self,
        round: &mut Round<'_>,
        act: impl FnOnce(&mut Work<'_, '_>, &Round<'_>) -> StoreResult<bool>,
    ) -> StoreResult<bool> {
        match self.commit(|work| act(work, round)) {
            Ok(done) => {
                round.newest = round.newest.max(done.lsn);
                Ok(done.value)
            }
            Err(error) => match error.kind() {
                StoreErrorKind::Leased
                | StoreErrorKind::Locked
                | StoreErrorKind::NoSuchKey
                | StoreErrorKind::NoSuchVersion
                | StoreErrorKind::NoSuchBucket
                | StoreErrorKind::IsDeleteMarker => Ok(false),
                _ => Err(error),
            },
        }
    }
}

/// The versions of one name, newest first, as far as they were seen.
#[derive(Default)]
struct History {
    key: Option<String>,
    rows: u32,
    /// The newest row, where it is a delete marker.
    marker: Option<VersionId>,
    /// When the row before was made, which is when the next one became noncurrent.
    replaced_at: Option<Timestamp>,
    noncurrent: u32,
}

impl History {
    /// For a noncurrent row: since when it is, and how many newer noncurrent ones there are.
    fn step(&mut self, entry: &VersionEntry) -> Option<(Timestamp, u32)> {
        self.rows += 1;
        let since = self.replaced_at.replace(entry.last_modified);
        if entry.is_latest {
            self.marker = entry.object.is_none().then_some(entry.version_id);
            return None;
        }
        let newer = self.noncurrent;
        self.noncurrent += 1;
        Some((since?, newer))
    }
}

impl Work<'_, '_> {
    fn round_bucket(&self, round: &Round<'_>) -> StoreResult<BucketRow> {
        let row = load_bucket(&*self.txn, round.name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        if row.root == round.root { Ok(row) } else { Err(StoreErrorKind::NoSuchBucket.into()) }
    }

    /// Deletes the current object if a rule says so of the one that is there now.
    fn expire(&mut self, round: &Round<'_>, at: &ObjectKey) -> StoreResult<bool> {
        let row = self.round_bucket(round)?;
        let spot = namespace::locate(&*self.txn, row.root, at.as_str())?.spot();
        let Some(spot) = spot else { return Ok(false) };
        let leaf = namespace::leaf(&*self.txn, &spot)?;
        let Some(summary) = leaf.and_then(|leaf| leaf.published) else { return Ok(false) };
        let tagged = round.rules.rules.iter().any(|rule| !rule.filter.tags.is_empty());
        let tags = if tagged {
            find(&*self.txn, row.clone(), at, None, false)?.published.attributes.tags()?
        } else {
            Vec::new()
        };
        let when = (summary.committed_at, round.day_nanos);
        match round.rules.expiry(at.as_str(), summary.size, &tags, when) {
            Some((due, _)) if due <= round.now => {}
            _ => return Ok(false),
        }
        let conditions = WriteConditions::default();
        let target = DeleteTarget { key: at.clone(), version: None, conditions, bypass_governance: false };
        self.delete((&row, &Origin::new(round.who, round.name, Cause::Expiry)), &target)?;
        Ok(true)
    }

    /// Deletes a version that is not current, or a marker; `tags`: one of these sets must be on it.
    fn drop_version(
        &mut self,
        round: &Round<'_>,
        at: &ObjectKey,
        version: VersionId,
        tags: Option<&[Vec<crate::api::Tag>]>,
    ) -> StoreResult<bool> {
        let row = self.round_bucket(round)?;
        if let Some(sets) = tags.filter(|sets| sets.iter().all(|set| !set.is_empty())) {
            let found =
                find(&*self.txn, row.clone(), at, Some(version), false)?.published.attributes.tags()?;
            if !sets.iter().any(|set| set.iter().all(|tag| found.contains(tag))) {
                return Ok(false);
            }
        }
        let conditions = WriteConditions::default();
        let target =
            DeleteTarget { key: at.clone(), version: Some(version), conditions, bypass_governance: false };
        self.delete((&row, &Origin::new(round.who, round.name, Cause::Expiry)), &target)?;
        Ok(true)
    }
}
