//! Events: written with the change, bounded, told in order, gone when they are told.

use gw_store::{
    EventFate, EventKind, EventQueue, EventSeq, EventTarget, Notifications, NotifyRule, Store,
    StoreErrorKind, Versioning, WhenFull,
};

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, target};

fn rule(id: &str, to: &str, events: &[&str], (prefix, suffix): (&str, &str)) -> NotifyRule {
    NotifyRule {
        id: id.to_owned(),
        target: to.to_owned(),
        events: events.iter().flat_map(|word| EventKind::meant(word)).collect(),
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
    }
}

async fn ask(here: &Here, rules: Vec<NotifyRule>) {
    let notifications = Notifications { rules, text: b"text".to_vec() };
    here.store.bucket_notifications_set(&here.who, &here.bucket, Some(notifications)).await.unwrap();
}

/// What waits for `to`, as kind and key.
async fn waiting(store: &Store, to: &str) -> Vec<(EventKind, String)> {
    let events = store.events_next(&admin(), to, EventSeq(0), 1000).await.unwrap();
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    events.into_iter().map(|event| (event.kind, event.key)).collect()
}

async fn queue(store: &Store, to: &str) -> EventQueue {
    let queues = store.event_queues(&admin()).unwrap();
    queues.into_iter().find(|queue| queue.target == to).unwrap()
}

fn targets(config: &mut gw_store::StoreConfig) {
    let small = EventTarget { events_max: 3, ..EventTarget::new("small") };
    let strict = EventTarget { events_max: 3, when_full: WhenFull::Refuse, ..EventTarget::new("strict") };
    config.event_targets = vec![EventTarget::new("all"), small, strict];
}

#[tokio::test]
async fn each_change_makes_the_event_that_its_rule_asks_for() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open_told(targets).await, "bucket").await;
    ask(&here, vec![rule("made", "all", &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], ("a/", ".jpg"))])
        .await;
    let put = here.put("a/1.jpg", b"12345").await;
    here.put("b/1.jpg", b"1").await;
    here.put("a/1.png", b"1").await;
    here.delete("a/1.jpg").await;
    here.delete_version("a/1.jpg", put.version_id).await.unwrap();
    here.delete_version("a/1.jpg", put.version_id).await.unwrap();
    here.versioning(Versioning::Suspended).await;
    let events = here.store.events_next(&admin(), "all", EventSeq(0), 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let wanted = [EventKind::Test, EventKind::CreatedPut, EventKind::RemovedMarker, EventKind::RemovedDelete];
    assert_eq!(kinds, wanted);
    let made = &events[1];
    assert_eq!((made.rule.as_str(), made.bucket.as_str(), made.key.as_str()), ("made", "bucket", "a/1.jpg"));
    assert_eq!((made.size, made.etag, made.version), (Some(5), Some(put.etag), put.version_id));
    assert_eq!(events[3].version, put.version_id);
    assert_ne!(events[2].version, put.version_id);
}

#[tokio::test]
async fn tags_lists_copies_and_many_deletes_are_told_too() {
    let machine = Machine::new();
    let here = Here::new(machine.open_told(targets).await, "bucket").await;
    let words =
        ["s3:ObjectTagging:*", "s3:ObjectAcl:Put", "s3:ObjectCreated:Copy", "s3:ObjectRemoved:Delete"];
    ask(&here, vec![rule("r", "all", &words, ("", ""))]).await;
    here.put("k", b"1").await;
    let place = (&here.bucket, &key("k"));
    let tags = vec![("a".to_owned(), "b".to_owned())];
    here.store.object_tags_set(&here.who, place, None, Some(tags)).await.unwrap();
    here.store.object_tags_set(&here.who, place, None, None).await.unwrap();
    let source = gw_store::CopySource {
        bucket: here.bucket.clone(),
        key: key("k"),
        version: None,
        conditions: Default::default(),
        customer_key: None,
    };
    here.store.copy(&here.who, source, &here.bucket, &key("k2"), Default::default()).await.unwrap();
    let gone = vec![target("k", None), target("absent", None), target("k2", None)];
    here.store.delete_many(&here.who, &here.bucket, gone, None).await.unwrap();
    let told = waiting(&here.store, "all").await;
    let wanted = [
        (EventKind::Test, ""),
        (EventKind::TaggingPut, "k"),
        (EventKind::TaggingDelete, "k"),
        (EventKind::CreatedCopy, "k2"),
        (EventKind::RemovedDelete, "k"),
        (EventKind::RemovedDelete, "k2"),
    ];
    assert_eq!(told, wanted.map(|(kind, key)| (kind, key.to_owned())));
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_or_refuses_the_change() {
    let machine = Machine::new();
    let here = Here::new(machine.open_told(targets).await, "bucket").await;
    ask(&here, vec![rule("r", "small", &["s3:ObjectCreated:*"], ("", ""))]).await;
    for at in ["1", "2", "3", "4"] {
        here.put(at, b"").await;
    }
    let full = queue(&here.store, "small").await;
    assert_eq!((full.pending, full.dropped, full.delivered), (3, 2, 0));
    let strict =
        Here { bucket: name("strict-bucket"), ..Here::new(here.store.clone(), "strict-bucket").await };
    ask(&strict, vec![rule("r", "strict", &["s3:ObjectCreated:*"], ("", ""))]).await;
    strict.put("1", b"").await;
    strict.put("2", b"").await;
    let refused = strict.put_if("3", b"", Default::default()).await;
    assert_eq!(kind(refused), StoreErrorKind::Busy);
    assert_eq!(kind(strict.get("3").await), StoreErrorKind::NoSuchKey);
    let first = here.store.events_next(&admin(), "strict", EventSeq(0), 2).await.unwrap();
    let fates = [(first[0].seq, EventFate::Delivered), (first[1].seq, EventFate::Dead)];
    here.store.events_done(&admin(), "strict", &fates).await.unwrap();
    // Done twice is done once.
    here.store.events_done(&admin(), "strict", &fates).await.unwrap();
    strict.put("3", b"").await;
    let now = queue(&here.store, "strict").await;
    assert_eq!((now.pending, now.delivered, now.dead, now.dropped), (2, 1, 1, 0));
    assert_eq!(kind(here.store.event_queues(&crate::support::user("ann"))), StoreErrorKind::AccessDenied);
}

#[tokio::test]
async fn events_outlive_a_restart_and_go_with_their_configuration_only() {
    let machine = Machine::new();
    let here = Here::new(machine.open_told(targets).await, "bucket").await;
    let unknown =
        Notifications { rules: vec![rule("r", "gone", &["s3:ObjectAcl:Put"], ("", ""))], text: vec![] };
    let refused = here.store.bucket_notifications_set(&here.who, &here.bucket, Some(unknown)).await;
    assert_eq!(kind(refused), StoreErrorKind::InvalidArgument);
    ask(&here, vec![rule("r", "all", &["s3:ObjectCreated:*"], ("", ""))]).await;
    here.put("k", b"1").await;
    here.store.close().await.unwrap();
    drop(here);
    let store = machine.open_told(targets).await;
    let here = Here { store, who: admin(), bucket: name("bucket") };
    here.put("k", b"2").await;
    let told = waiting(&here.store, "all").await;
    assert_eq!(told.len(), 3);
    here.store.bucket_notifications_set(&here.who, &here.bucket, None).await.unwrap();
    here.put("k", b"3").await;
    assert_eq!(waiting(&here.store, "all").await.len(), 3);
    assert_eq!(here.store.bucket_notifications(&here.who, &here.bucket).await.unwrap(), None);
}

#[tokio::test]
async fn many_deletes_of_deep_names_take_as_many_commits_as_they_need() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "bucket").await;
    let deep = |first: char| target(&format!("{first}{}", "/".repeat(1000)), None);
    let targets: Vec<_> = ('A'..='Z').map(deep).collect();
    let outcomes = here.store.delete_many(&here.who, &here.bucket, targets, None).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|outcome| outcome.delete_marker)));
}
