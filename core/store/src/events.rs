//! The outbox: events are rows of the very commit that makes them true.
//!
//! A change that a rule of its bucket fits writes an event into its target's queue, in order of
//! commits; whoever delivers reads the oldest, tells them, and takes them out. So an event is told
//! at least once if its change is in the log, and never if it is not: [`Core::events_next`] gives
//! nothing that is not staged. A bucket without rules pays one comparison for all of it. Queues are
//! bounded: at the maximum of its target an event is dropped and counted, or its change refused, as
//! the operator chose.

use std::collections::HashMap;
use std::sync::Arc;

use gw_db::Read;
use gw_types::{Action, Authenticated, BucketName, InodeId, Lsn, StreamId};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::access;
use crate::api::{
    Etag, Event, EventFate, EventKind, EventQueue, EventSeq, EventTarget, Notifications, VersionId, WhenFull,
};
use crate::core::{Core, INDEX_BITS, Work};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, EventRow, OutboxRow, key};

/// Name of the document that holds a bucket's rules.
const NOTIFICATIONS: &str = "notification";
/// Text and rules together.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Parsed rules kept in memory, counted.
const KEPT_MAX: usize = 1024;
/// Events of one reading.
const READ_MAX: usize = 1024;
/// Queues shown.
const QUEUES_MAX: usize = 1024;

/// What the store knows of events between commits.
#[derive(Debug)]
pub(crate) struct Events {
    targets: HashMap<String, EventTarget>,
    /// Rules by bucket and by the commit that set them.
    kept: RwLock<HashMap<InodeId, (u64, Arc<Notifications>)>>,
    /// Counts commits that added events.
    added: watch::Sender<u64>,
}

impl Events {
    pub(crate) fn new(targets: &[EventTarget]) -> Self {
        let targets = targets.iter().map(|target| (target.name.clone(), target.clone())).collect();
        Self { targets, kept: RwLock::default(), added: watch::Sender::new(0) }
    }
    pub(crate) fn wake(&self) {
        self.added.send_modify(|added| *added = added.wrapping_add(1));
    }
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.added.subscribe()
    }
    /// A target that is not configured any more keeps what waits for it, within the default.
    fn target(&self, name: &str) -> EventTarget {
        self.targets.get(name).cloned().unwrap_or_else(|| EventTarget::new(name))
    }
    fn rules(&self, read: &impl Read, row: &BucketRow) -> StoreResult<Option<Arc<Notifications>>> {
        let Some(revision) = row.rules.notify else { return Ok(None) };
        if let Some((at, rules)) = self.kept.read().get(&row.root)
            && *at == revision
        {
            return Ok(Some(rules.clone()));
        }
        let document = key::document(row.root, NOTIFICATIONS);
        let rules: Arc<Notifications> = Arc::new(rows::must(read, "notification", &document)?);
        let mut kept = self.kept.write();
        if kept.len() >= KEPT_MAX {
            // All are read again when they are used: crude, bounded, and rarely hit.
            kept.clear();
        }
        kept.insert(row.root, (revision, rules.clone()));
        Ok(Some(rules))
    }
}

/// Why something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Put,
    Post,
    Copy,
    Complete,
    /// A request to delete.
    Delete,
    /// A lifecycle rule.
    Expiry,
}

/// Who makes a change, where and why: what its event says besides what became of the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) who: &'a Authenticated,
    pub(crate) bucket: &'a BucketName,
    pub(crate) cause: Cause,
}

impl<'a> Origin<'a> {
    pub(crate) fn new(who: &'a Authenticated, bucket: &'a BucketName, cause: Cause) -> Self {
        Self { who, bucket, cause }
    }
    pub(crate) fn created(&self) -> EventKind {
        match self.cause {
            Cause::Post => EventKind::CreatedPost,
            Cause::Copy => EventKind::CreatedCopy,
            Cause::Complete => EventKind::CreatedComplete,
            Cause::Put | Cause::Delete | Cause::Expiry => EventKind::CreatedPut,
        }
    }
    pub(crate) fn removed(&self) -> EventKind {
        if self.cause == Cause::Expiry { EventKind::ExpiredDelete } else { EventKind::RemovedDelete }
    }
    pub(crate) fn marked(&self) -> EventKind {
        if self.cause == Cause::Expiry { EventKind::ExpiredMarker } else { EventKind::RemovedMarker }
    }
}

/// The object of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: Option<VersionId>,
    pub(crate) size: Option<u64>,
    pub(crate) etag: Option<Etag>,
}

impl<'a> Told<'a> {
    /// Something that is gone.
    pub(crate) fn gone(key: &'a str, version: Option<VersionId>) -> Self {
        Self { key, version, size: None, etag: None }
    }
}

impl Work<'_, '_> {
    /// Puts an event into the queue of the rule that wants it, if one does.
    pub(crate) fn tell(
        &mut self,
        row: &BucketRow,
        origin: &Origin<'_>,
        kind: EventKind,
        told: Told<'_>,
    ) -> StoreResult<()> {
        if row.rules.notify.is_none() {
            return Ok(());
        }
        let Some(rules) = self.core.events.rules(&*self.txn, row)? else { return Ok(()) };
        match rules.rules.iter().find(|rule| rule.fits(kind, told.key)) {
            Some(rule) => self.enqueue(row, origin, (kind, &rule.id, &rule.target), told),
            None => Ok(()),
        }
    }

    fn enqueue(
        &mut self,
        row: &BucketRow,
        origin: &Origin<'_>,
        (kind, rule, target): (EventKind, &str, &str),
        told: Told<'_>,
    ) -> StoreResult<()> {
        let outbox_key = key::outbox(target);
        let mut outbox: OutboxRow = rows::load(&*self.txn, "outbox", &outbox_key)?.unwrap_or_default();
        let limits = self.core.events.target(target);
        if outbox.pending >= limits.events_max {
            if limits.when_full == WhenFull::Refuse {
                let message = format!("the queue of events for {target} is full");
                return Err(StoreError::new(StoreErrorKind::Busy, message));
            }
            outbox.dropped += 1;
            self.put_row(outbox_key, &outbox);
            return Ok(());
        }
        let said = |name: &str| {
            let values = origin.who.circumstances().map(|circumstances| circumstances.values(name));
            values.and_then(|values| values.into_iter().next()).unwrap_or_default()
        };
        let event = EventRow {
            kind,
            rule: rule.to_owned(),
            bucket: origin.bucket.as_str().to_owned(),
            owner: row.owner.clone(),
            key: told.key.to_owned(),
            size: told.size,
            etag: told.etag,
            version: EventRow::version_row(told.version),
            at: self.now,
            who: origin.who.name().map(str::to_owned),
            source_ip: said("aws:sourceip"),
            request_id: said("cess:requestid"),
        };
        let seq = self.new_event();
        self.put_row(key::event(target, seq), &event);
        outbox.pending += 1;
        self.put_row(outbox_key, &outbox);
        self.txn.stream(row.stream);
        Ok(())
    }
}

impl Core {
    pub(crate) fn bucket_notifications(
        &self,
        who: &Authenticated,
        name: &BucketName,
    ) -> StoreResult<Option<Notifications>> {
        let snapshot = self.snapshot();
        let row = self.bucket(&snapshot, who, Action::GetBucketNotification, name)?;
        rows::load(&snapshot, "notification", &key::document(row.root, NOTIFICATIONS))
    }

    /// Sets or removes a bucket's rules, and queues a test event for each target they name.
    pub(crate) async fn bucket_notifications_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        notifications: Option<Notifications>,
    ) -> StoreResult<()> {
        let action = Action::PutBucketNotification;
        self.bucket(&self.snapshot(), who, action, name)?;
        let mut targets: Vec<String> = Vec::new();
        if let Some(notifications) = &notifications {
            notifications.check()?;
            for rule in &notifications.rules {
                if !self.events.targets.contains_key(&rule.target) {
                    return Err(StoreError::invalid(
                        "Unable to validate the following destination configurations",
                    ));
                }
                if !targets.contains(&rule.target) {
                    targets.push(rule.target.clone());
                }
            }
        }
        let document = notifications.as_ref().map(rows::encode);
        if document.as_ref().is_some_and(|document| document.len() > DOCUMENT_BYTES_MAX) {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        self.change_rules(who, action, name, |work, row| {
            row.rules.notify = document.as_ref().map(|_| work.txn.lsn().0);
            work.set_document(row.root, NOTIFICATIONS, document.as_deref())?;
            let origin = Origin::new(who, name, Cause::Put);
            for target in &targets {
                work.enqueue(row, &origin, (EventKind::Test, "", target), Told::gone("", None))?;
            }
            Ok(())
        })
        .await
    }

    /// The oldest events from `from` on that wait for a target, at most `max`; all of them staged.
    pub(crate) async fn events_next(
        &self,
        who: &Authenticated,
        target: &str,
        (from, max): (EventSeq, usize),
    ) -> StoreResult<Vec<Event>> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let found =
            rows::under(&snapshot, &key::events(target), &key::event(target, from), max.min(READ_MAX))?;
        drop(snapshot);
        let mut events = Vec::with_capacity(found.len());
        for (row_key, value) in found {
            let seq = key::event_seq(&row_key)
                .ok_or_else(|| StoreError::corrupt("the key of an event row does not parse"))?;
            events.push(rows::decode::<EventRow>("event", &value)?.event(seq));
        }
        if let Some(last) = events.last() {
            self.db.wait_staged(Lsn(last.seq.0 >> INDEX_BITS)).await?;
        }
        Ok(events)
    }

    /// Takes events out of a queue. What is not there any more is left alone.
    pub(crate) async fn events_done(
        &self,
        who: &Authenticated,
        target: &str,
        fates: &[(EventSeq, EventFate)],
    ) -> StoreResult<()> {
        let done = self.commit(|work| {
            access::decide_admin(&*work.txn, who)?;
            let outbox_key = key::outbox(target);
            let mut outbox: OutboxRow = rows::load(&*work.txn, "outbox", &outbox_key)?.unwrap_or_default();
            for (seq, fate) in fates {
                let event = key::event(target, *seq);
                if work.txn.get(&event)?.is_none() {
                    continue;
                }
                work.txn.delete(event);
                outbox.pending = outbox.pending.saturating_sub(1);
                match fate {
                    EventFate::Delivered => outbox.delivered += 1,
                    EventFate::Dead => outbox.dead += 1,
                }
            }
            work.put_row(outbox_key, &outbox);
            work.txn.stream(StreamId::default());
            Ok(())
        })?;
        self.settle(done.lsn, StreamId::default(), gw_types::Level::Staged).await
    }

    /// All queues, by target: those configured, and those that ever had an event.
    pub(crate) fn event_queues(&self, who: &Authenticated) -> StoreResult<Vec<EventQueue>> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let mut queues: Vec<EventQueue> = Vec::new();
        for (row_key, value) in rows::under(&snapshot, &key::outboxes(), &[], QUEUES_MAX)? {
            let row: OutboxRow = rows::decode("outbox", &value)?;
            queues.push(EventQueue {
                target: String::from_utf8_lossy(row_key.get(1..).unwrap_or_default()).into_owned(),
                pending: row.pending,
                delivered: row.delivered,
                dead: row.dead,
                dropped: row.dropped,
            });
        }
        for name in self.events.targets.keys() {
            if !queues.iter().any(|queue| queue.target == *name) {
                queues.push(EventQueue { target: name.clone(), ..EventQueue::default() });
            }
        }
        queues.sort_by(|one, two| one.target.cmp(&two.target));
        Ok(queues)
    }
}
