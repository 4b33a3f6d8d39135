//! Lifecycle: what the rules make go, and what they must leave.

use std::time::Duration;

use gw_store::{
    DeleteTarget, Lifecycle, LifecycleDone, LifecycleFilter, LifecycleRule, LifecycleWhen, ListRequest,
    ListStart, NoncurrentExpiration, StoreErrorKind, UploadOptions, VersionListRequest, Versioning,
};
use gw_types::Timestamp;

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, target, user};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn rule(id: &str, prefix: &str) -> LifecycleRule {
    LifecycleRule {
        id: id.to_owned(),
        enabled: true,
        filter: LifecycleFilter { prefix: prefix.to_owned(), ..LifecycleFilter::default() },
        expire: None,
        expired_markers: false,
        noncurrent: None,
        abort_uploads_days: None,
    }
}

async fn set(here: &Here, rules: Vec<LifecycleRule>) {
    let lifecycle = Lifecycle { rules, text: b"<x/>".to_vec() };
    here.store.bucket_lifecycle_set(&here.who, &here.bucket, Some(lifecycle)).await.unwrap();
}

async fn pass(here: &Here) -> LifecycleDone {
    here.store.lifecycle_pass(&admin()).await.unwrap()
}

async fn keys(here: &Here) -> Vec<String> {
    let request = ListRequest {
        bucket: here.bucket.clone(),
        prefix: String::new(),
        delimiter: None,
        start: ListStart::Beginning,
        max: 1000,
    };
    let page = here.store.list(&here.who, request).await.unwrap();
    page.entries.into_iter().map(|entry| entry.key).collect()
}

async fn rows(here: &Here) -> Vec<(String, bool, bool)> {
    let page =
        here.store.list_versions(&here.who, VersionListRequest::new(here.bucket.clone())).await.unwrap();
    page.entries.into_iter().map(|entry| (entry.key, entry.is_latest, entry.object.is_some())).collect()
}

#[tokio::test]
async fn objects_expire_when_their_rule_says_and_not_before() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    for at in ["keep/a", "logs/a", "logs/tagged"] {
        here.put(at, b"1").await;
    }
    here.put("logs/large", &[0; 100]).await;
    let tags = vec![("gone".to_owned(), "soon".to_owned())];
    here.store
        .object_tags_set(&here.who, (&here.bucket, &key("logs/tagged")), None, Some(tags.clone()))
        .await
        .unwrap();
    let days = |days, rule: LifecycleRule| LifecycleRule { expire: Some(LifecycleWhen::Days(days)), ..rule };
    let mut tagged = days(1, rule("tagged", ""));
    tagged.filter.tags = tags;
    let mut large = days(2, rule("large", "logs/"));
    large.filter.larger_than = Some(99);
    let off = LifecycleRule { enabled: false, ..days(1, rule("off", "")) };
    set(&here, vec![days(3, rule("logs", "logs/")), tagged, large, off]).await;

    assert_eq!(pass(&here).await, LifecycleDone::default());
    let mut left = vec!["keep/a", "logs/a", "logs/large", "logs/tagged"];
    for gone in ["logs/tagged", "logs/large", "logs/a"] {
        // Up to a whole day passes until the midnight that a rule waits for.
        machine.clock.advance(DAY);
        pass(&here).await;
        if keys(&here).await.contains(&gone.to_owned()) {
            machine.clock.advance(DAY);
            pass(&here).await;
        }
        left.retain(|at| *at != gone);
        assert!(!keys(&here).await.contains(&gone.to_owned()), "{gone}");
    }
    assert_eq!(keys(&here).await, ["keep/a"]);
    assert_eq!(pass(&here).await, LifecycleDone::default());
    assert_eq!(kind(here.store.lifecycle_pass(&user("ann")).await), StoreErrorKind::AccessDenied);
    here.store.bucket_lifecycle_set(&here.who, &here.bucket, None).await.unwrap();
    assert_eq!(here.store.bucket_lifecycle(&here.who, &here.bucket).await.unwrap(), None);
}

#[tokio::test]
async fn old_versions_go_by_age_and_number_and_lone_markers_after_them() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "bucket").await;
    for body in 0..4 {
        here.put("k", &[body]).await;
    }
    here.put("gone", b"1").await;
    here.delete("gone").await;
    let noncurrent = Some(NoncurrentExpiration { days: 1, keep: 1 });
    set(&here, vec![LifecycleRule { noncurrent, expired_markers: true, ..rule("all", "") }]).await;
    assert_eq!(pass(&here).await, LifecycleDone::default());
    machine.clock.advance(DAY * 2);
    // One noncurrent version of each name is kept, so the marker still hides something.
    assert_eq!(pass(&here).await, LifecycleDone { versions: 2, ..LifecycleDone::default() });
    assert_eq!(
        rows(&here).await,
        [
            ("gone".to_owned(), true, false),
            ("gone".to_owned(), false, true),
            ("k".to_owned(), true, true),
            ("k".to_owned(), false, true)
        ]
    );
    let none = Some(NoncurrentExpiration { days: 1, keep: 0 });
    set(&here, vec![LifecycleRule { noncurrent: none, expired_markers: true, ..rule("all", "") }]).await;
    assert_eq!(pass(&here).await, LifecycleDone { versions: 2, ..LifecycleDone::default() });
    assert_eq!(pass(&here).await, LifecycleDone { markers: 1, ..LifecycleDone::default() });
    assert_eq!(rows(&here).await, [("k".to_owned(), true, true)]);
    assert_eq!(here.get("k").await.unwrap(), [3]);
}

#[tokio::test]
async fn dates_uploads_and_locks_are_respected() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    here.put("k", b"1").await;
    let (store, who, bucket) = (&here.store, &here.who, &here.bucket);
    store.upload_create(who, bucket, &key("up"), UploadOptions::default()).await.unwrap();
    let long_ago = Some(LifecycleWhen::Date(Timestamp(0)));
    set(
        &here,
        vec![
            LifecycleRule { abort_uploads_days: Some(1), ..rule("uploads", "") },
            LifecycleRule { expire: long_ago, ..rule("date", "k") },
        ],
    )
    .await;
    assert_eq!(pass(&here).await, LifecycleDone { expired: 1, ..LifecycleDone::default() });
    machine.clock.advance(DAY * 2);
    assert_eq!(pass(&here).await, LifecycleDone { uploads: 1, ..LifecycleDone::default() });

    // A version under a hold is noncurrent for ever.
    here.versioning(Versioning::Enabled).await;
    store.bucket_lock_set(who, bucket, gw_store::ObjectLock::default()).await.unwrap();
    let held = here.put("h", b"1").await.version_id;
    store.object_legal_hold_set(who, (bucket, &key("h")), held, true).await.unwrap();
    here.put("h", b"2").await;
    let noncurrent = Some(NoncurrentExpiration { days: 1, keep: 0 });
    set(&here, vec![LifecycleRule { noncurrent, ..rule("all", "") }]).await;
    machine.clock.advance(DAY * 2);
    assert_eq!(pass(&here).await, LifecycleDone::default());
    assert_eq!(here.get_version("h", held).await.unwrap(), b"1");
    let target = DeleteTarget { bypass_governance: true, ..target("h", held) };
    assert_eq!(kind(store.delete(who, &name("bucket"), target, None).await), StoreErrorKind::Locked);
}
