//! Verbs of whoever lists, mounts, operates the gateway, or delivers events.

use std::time::Duration;

use gw_types::{Authenticated, BucketName, Level, Lsn, ObjectKey, VersionSeq};

use super::Store;
use crate::api::{
    ByteRange, Event, EventFate, EventQueue, EventSeq, Inventory, InventoryPage, InventoryRun, Kept,
    ListPage, ListRequest, Placement, StoreStatus, VersionId, VersionListPage, VersionListRequest,
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

/// What must stay, for who sees to it that it can.
impl Store {
    /// Till when versions are under retention, and how many are under a legal hold. Admins only.
    pub fn kept(&self, who: &Authenticated) -> StoreResult<Kept> {
        self.core.kept(who)
    }
}

/// Inventories, for who makes their lists. Admins only.
impl Store {
    /// Inventories whose list is due, or was begun and is not done.
    pub fn inventories_due(&self, who: &Authenticated) -> StoreResult<Vec<(BucketName, String)>> {
        self.core.inventories_due(who)
    }
    /// Begins a list, or takes up the one that was begun: its objects have the same names then.
    /// `scheduled`: it is the list of this day or week.
    pub async fn inventory_begin(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        (id, scheduled): (&str, bool),
    ) -> StoreResult<(Inventory, InventoryRun)> {
        self.core.inventory_begin(who, bucket, (id, scheduled)).await
    }
    /// The lines of a list, page by page: pass on what the page before said.
    pub fn inventory_page(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        inventory: &Inventory,
        after: Option<&(String, VersionSeq)>,
    ) -> StoreResult<InventoryPage> {
        self.core.inventory_page(who, bucket, inventory, after)
    }
    /// Notes that all objects of a list are there.
    pub async fn inventory_done(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        (id, run): (&str, InventoryRun),
    ) -> StoreResult<()> {
        self.core.inventory_done(who, bucket, (id, run)).await
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
