//! Versioning: what each state of a bucket keeps and shows.

use gw_store::{ErrorDetail, ListRequest, StoreErrorKind, VersionId, VersionListRequest, Versioning};

use crate::assemble::Machine;
use crate::support::{Here, kind};

async fn shown(here: &Here) -> Vec<(String, String, bool, bool)> {
    let page =
        here.store.list_versions(&here.who, VersionListRequest::new(here.bucket.clone())).await.unwrap();
    assert_eq!(page.next, None);
    page.entries
        .into_iter()
        .map(|entry| (entry.key, entry.version_id.to_string(), entry.is_latest, entry.object.is_none()))
        .collect()
}

async fn listed(here: &Here) -> Vec<String> {
    let page = here.store.list(&here.who, ListRequest::new(here.bucket.clone())).await.unwrap();
    page.entries.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn every_put_is_a_version_and_every_delete_a_marker() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "bucket").await;
    let one = here.put("d/k", b"1").await.version_id.unwrap();
    let two = here.put("d/k", b"2").await.version_id.unwrap();
    assert!(one < two);
    let gone = here.delete("d/k").await;
    let marker = gone.version_id.unwrap();
    assert!(gone.delete_marker);
    let error = here.get("d/k").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NoSuchKey);
    assert!(
        matches!(error.detail(), Some(ErrorDetail::DeleteMarker { version_id, .. }) if *version_id == marker)
    );
    assert_eq!(kind(here.get_version("d/k", Some(marker)).await), StoreErrorKind::IsDeleteMarker);
    assert_eq!(kind(here.get_version("d/k", Some(VersionId::Null)).await), StoreErrorKind::NoSuchVersion);
    assert_eq!(here.get_version("d/k", Some(one)).await.unwrap(), b"1");
    assert!(listed(&here).await.is_empty());
    let line = |version: VersionId, latest, marker| ("d/k".to_owned(), version.to_string(), latest, marker);
    assert_eq!(
        shown(&here).await,
        [line(marker, true, true), line(two, false, false), line(one, false, false)]
    );
    let usage = here.usage().await;
    assert_eq!((usage.objects, usage.noncurrent, usage.markers, usage.bytes), (0, 2, 1, 2));

    // The marker goes and the newest version is current again.
    let undone = here.delete_version("d/k", Some(marker)).await.unwrap();
    assert!(undone.delete_marker);
    assert_eq!(here.get("d/k").await.unwrap(), b"2");
    here.delete_version("d/k", Some(two)).await.unwrap();
    assert_eq!(here.get("d/k").await.unwrap(), b"1");
    here.delete_version("d/k", Some(one)).await.unwrap();
    assert!(shown(&here).await.is_empty());
    assert_eq!(here.usage().await, gw_store::Usage::default());
    assert_eq!(machine.live_bytes(), 0);
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
}

#[tokio::test]
async fn suspended_buckets_have_one_null_version_and_keep_the_others() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    here.put("k", b"before").await;
    here.versioning(Versioning::Enabled).await;
    let one = here.put("k", b"1").await.version_id.unwrap();
    assert_eq!(here.get_version("k", Some(VersionId::Null)).await.unwrap(), b"before");
    here.versioning(Versioning::Suspended).await;
    assert_eq!(here.put("k", b"null").await.version_id, Some(VersionId::Null));
    assert_eq!(here.get_version("k", Some(VersionId::Null)).await.unwrap(), b"null");
    here.put("k", b"null again").await;
    let line = |version: String, latest, marker| ("k".to_owned(), version, latest, marker);
    assert_eq!(shown(&here).await, [line("null".into(), true, false), line(one.to_string(), false, false)]);
    // A delete takes the null version and leaves a null marker.
    let gone = here.delete("k").await;
    assert_eq!((gone.delete_marker, gone.version_id), (true, Some(VersionId::Null)));
    assert_eq!(shown(&here).await, [line("null".into(), true, true), line(one.to_string(), false, false)]);
    assert_eq!(kind(here.get_version("k", Some(VersionId::Null)).await), StoreErrorKind::IsDeleteMarker);
    // A put takes the null marker.
    here.put("k", b"back").await;
    assert_eq!(shown(&here).await, [line("null".into(), true, false), line(one.to_string(), false, false)]);
    here.delete_version("k", Some(VersionId::Null)).await.unwrap();
    assert_eq!(here.get("k").await.unwrap(), b"1");
    here.delete_version("k", Some(one)).await.unwrap();
    assert_eq!(here.usage().await, gw_store::Usage::default());
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn a_delete_of_what_never_was_still_marks_it() {
    let here = Here::versioned(Machine::new().open().await, "bucket").await;
    let marker = here.delete("x/y/z").await;
    assert!(marker.delete_marker);
    assert_eq!(shown(&here).await.len(), 1);
    assert!(listed(&here).await.is_empty());
    let nothing = here.delete_version("x/y/z", Some(VersionId::Null)).await.unwrap();
    assert_eq!((nothing.delete_marker, nothing.version_id), (false, Some(VersionId::Null)));
    here.delete_version("x/y/z", marker.version_id).await.unwrap();
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
}

#[tokio::test]
async fn ids_that_nobody_was_given_are_told_from_ids_that_are_gone() {
    assert_eq!(kind(VersionId::parse("nonsense")), StoreErrorKind::InvalidVersionId);
    assert_eq!(kind(VersionId::parse("00000000000000AB")), StoreErrorKind::InvalidVersionId);
    assert_eq!(VersionId::parse("null").unwrap(), VersionId::Null);
    let here = Here::versioned(Machine::new().open().await, "bucket").await;
    let put = here.put("k", b"1").await.version_id.unwrap();
    assert_eq!(VersionId::parse(&put.to_string()).unwrap(), put);
    let other = VersionId::parse("00000000000000ab").unwrap();
    assert_eq!(kind(here.get_version("k", Some(other)).await), StoreErrorKind::NoSuchVersion);
}
