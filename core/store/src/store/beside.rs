//! Verbs of whoever lists, mounts, operates the gateway, or delivers events.

use std::time::Duration;

use gw_types::{Authenticated, BucketName, Level, Lsn, ObjectKey};

use super::Store;
use crate::api::{
    ByteRange, Event, EventFate, EventQueue, EventSeq, ListPage, ListRequest, Placement, StoreStatus,
    VersionId, VersionListPage, VersionListRequest,
};
use crate::error::StoreResult;
use crate::lifecycle::LifecycleDone;
use crate::posix::{MountOptions, StoreFiles};

/// Mounts.
impl Store {
    /// The namespace as files: one bucket, or all. `NoSuchBucket` or `AccessDenied` where the one
    /// bucket cannot be listed.
    pub async fn mount(&self, options: MountOptions) -> StoreResult<StoreFiles> {
        self.core.mount(options).await
    }
}

/// Listings.
impl Store {
    /// Current objects.
    pub async fn list(&self, who: &Authenticated, request: ListRequest) -> StoreResult<ListPage> {
        self.core.list(who, &request)
    }
    /// All versions and delete markers.
    pub async fn list_versions(
        &self,
        who: &Authenticated,
        request: VersionListRequest,
    ) -> StoreResult<VersionListPage> {
        self.core.list_versions(who, &request)
    }
}

/// For the admin.
impl Store {
    /// The store at a glance. Admins only.
    pub async fn status(&self, who: &Authenticated) -> StoreResult<StoreStatus> {
        self.core.status(who)
    }
    /// Where an object's bytes are.
    pub async fn placement(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        range: ByteRange,
    ) -> StoreResult<Placement> {
        self.core.placement(who, bucket, (key, version), range)
    }
    /// Carries out all buckets' lifecycle rules once. Admins only.
    pub async fn lifecycle_pass(&self, who: &Authenticated) -> StoreResult<LifecycleDone> {
        self.core.lifecycle_pass(who).await
    }
    /// Carries them out again and again, `every` so often, until it is dropped. Admins only.
    pub async fn lifecycle_keep(&self, who: &Authenticated, every: Duration) {
        self.core.lifecycle_keep(who, every).await;
    }
    /// Brings everything committed so far to `level`; answers the newest commit it covers. Admins
    /// only.
    pub async fn flush(&self, who: &Authenticated, level: Level) -> StoreResult<Lsn> {
        self.core.flush(who, level).await
    }
}

/// Events, for who delivers them.
impl Store {
    /// Changes whenever an event was queued.
    pub fn events_added(&self) -> tokio::sync::watch::Receiver<u64> {
        self.core.events.subscribe()
    }
    /// The oldest events with numbers from `from` on that wait for a target, at most `max` (cut to
    /// 1024). What it gives is staged: it survives a crash. Admins only.
    pub async fn events_next(
        &self,
        who: &Authenticated,
        target: &str,
        from: EventSeq,
        max: usize,
    ) -> StoreResult<Vec<Event>> {
        self.core.events_next(who, target, (from, max)).await
    }
    /// Takes events out of their queue, delivered or given up. Admins only.
    pub async fn events_done(
        &self,
        who: &Authenticated,
        target: &str,
        fates: &[(EventSeq, EventFate)],
    ) -> StoreResult<()> {
        self.core.events_done(who, target, fates).await
    }
    /// All queues of events. Admins only.
    pub fn event_queues(&self, who: &Authenticated) -> StoreResult<Vec<EventQueue>> {
        self.core.event_queues(who)
    }
}
