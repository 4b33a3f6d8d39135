//! Buckets, their settings, quotas and documents.

use bytes::Bytes;
use gw_store::{
    BucketListRequest, BucketOptions, BucketSettings, DeleteTarget, PutOptions, Quota, StoreErrorKind,
    UploadOptions, UserSpec, Versioning, WriteConditions,
};

use gw_types::Action;

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, user};

async fn add(store: &gw_store::Store, names: &[&str]) {
    for name in names {
        let spec = UserSpec { name: (*name).to_owned(), admin: false, access_key: None, secret: None };
        store.user_add(&admin(), spec).await.unwrap();
    }
}

#[tokio::test]
async fn a_bucket_is_made_once_and_belongs_to_its_maker() {
    let store = Machine::new().open().await;
    add(&store, &["ann", "bob"]).await;
    let (ann, bob) = (user("ann"), user("bob"));
    let settings = BucketSettings { region: "cess-1".to_owned(), ..BucketSettings::default() };
    let options = BucketOptions { settings: settings.clone(), ..BucketOptions::default() };
    let made = store.bucket_create(&ann, &name("photos"), options).await.unwrap();
    assert_eq!((made.owner.as_str(), &made.settings), ("ann", &settings));
    let again = |who| {
        let store = store.clone();
        async move { kind(store.bucket_create(&who, &name("photos"), BucketOptions::default()).await) }
    };
    assert_eq!(again(ann.clone()).await, StoreErrorKind::BucketAlreadyOwnedByYou);
    assert_eq!(again(bob.clone()).await, StoreErrorKind::BucketAlreadyExists);
    assert_eq!(store.bucket_head(&ann, &name("photos")).await.unwrap(), made);
    assert_eq!(kind(store.bucket_head(&bob, &name("photos")).await), StoreErrorKind::AccessDenied);
    assert_eq!(kind(store.bucket_head(&bob, &name("nothing")).await), StoreErrorKind::NoSuchBucket);
    assert_eq!(kind(store.bucket_delete(&bob, &name("photos")).await), StoreErrorKind::AccessDenied);
    store.bucket_delete(&ann, &name("photos")).await.unwrap();
    assert_eq!(kind(store.bucket_delete(&ann, &name("photos")).await), StoreErrorKind::NoSuchBucket);
}

#[tokio::test]
async fn buckets_are_listed_by_owner_in_pages() {
    let store = Machine::new().open().await;
    add(&store, &["ann", "bob"]).await;
    for number in 0..7 {
        let owner = if number % 2 == 0 { "ann" } else { "bob" };
        let bucket = name(&format!("bucket-{number}"));
        store.bucket_create(&user(owner), &bucket, BucketOptions::default()).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut request = BucketListRequest { max: 3, prefix: "bucket-".to_owned(), after: None };
    loop {
        let page = store.bucket_list(&user("ann"), request.clone()).await.unwrap();
        seen.extend(page.buckets.iter().map(|bucket| bucket.name.to_string()));
        assert!(page.buckets.len() <= 3);
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["bucket-0", "bucket-2", "bucket-4", "bucket-6"]);
    let all = store.bucket_list(&admin(), BucketListRequest::default()).await.unwrap();
    assert_eq!((all.buckets.len(), all.next), (7, None));
}

#[tokio::test]
async fn a_bucket_goes_only_when_nothing_is_left_in_it() {
    let here = Here::versioned(Machine::new().open().await, "bucket").await;
    let put = here.put("a/b/c", b"1").await;
    let delete = || here.store.bucket_delete(&here.who, &here.bucket);
    assert_eq!(kind(delete().await), StoreErrorKind::BucketNotEmpty);
    let marker = here.delete("a/b/c").await;
    assert_eq!(kind(delete().await), StoreErrorKind::BucketNotEmpty);
    here.delete_version("a/b/c", put.version_id).await.unwrap();
    assert_eq!(kind(delete().await), StoreErrorKind::BucketNotEmpty);
    here.delete_version("a/b/c", marker.version_id).await.unwrap();
    // Unfinished uploads do not keep it, however many they are.
    for number in 0..70 {
        let at = key(&format!("up/{number}"));
        here.store.upload_create(&here.who, &here.bucket, &at, UploadOptions::default()).await.unwrap();
    }
    delete().await.unwrap();
    // A new bucket of the same name begins empty.
    here.store.bucket_create(&here.who, &here.bucket, BucketOptions::default()).await.unwrap();
    assert_eq!(here.usage().await, gw_store::Usage::default());
}

#[tokio::test]
async fn a_put_that_outlives_its_bucket_does_not_reach_the_next_one() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let options = PutOptions::default();
    let mut writer = here.store.put(&here.who, &here.bucket, &key("k"), options).await.unwrap();
    writer.write(Bytes::from_static(b"late")).await.unwrap();
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
    here.store.bucket_create(&here.who, &here.bucket, BucketOptions::default()).await.unwrap();
    assert_eq!(kind(writer.finish(Default::default()).await), StoreErrorKind::NoSuchBucket);
    assert_eq!(kind(here.get("k").await), StoreErrorKind::NoSuchKey);
}

#[tokio::test]
async fn quotas_hold_in_the_commit_and_free_what_is_deleted() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let quota = |bytes, objects| {
        let quota = Quota { bytes_max: bytes, objects_max: objects };
        let here = here.clone();
        async move { here.store.bucket_quota_set(&here.who, &here.bucket, quota).await.unwrap() }
    };
    quota(Some(100), Some(3)).await;
    here.put("a", &[1; 60]).await;
    let over = here.put_if("b", &[1; 41], WriteConditions::default()).await;
    assert_eq!(kind(over), StoreErrorKind::QuotaExceeded);
    assert_eq!(kind(here.get("b").await), StoreErrorKind::NoSuchKey);
    // What it replaces counts no more.
    here.put("a", &[1; 100]).await;
    let hopeless = PutOptions { len_hint: Some(101), ..PutOptions::default() };
    let refused = here.store.put(&here.who, &here.bucket, &key("c"), hopeless).await;
    assert_eq!(kind(refused), StoreErrorKind::QuotaExceeded);
    here.delete("a").await;
    for at in ["x", "y", "z"] {
        here.put(at, b"").await;
    }
    let fourth = here.put_if("w", b"", WriteConditions::default()).await;
    assert_eq!(kind(fourth), StoreErrorKind::QuotaExceeded);
    // A smaller limit keeps what is there and lets it shrink.
    quota(Some(0), Some(1)).await;
    here.delete("x").await;
    assert_eq!(here.usage().await.objects, 2);
    assert_eq!(here.store.status(&admin()).await.unwrap().usage.objects, 2);
}

#[tokio::test]
async fn documents_and_settings_are_kept_over_a_restart() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let set = |value: Option<&'static [u8]>| {
        let value = value.map(Bytes::from_static);
        here.store.bucket_document_set(&here.who, &here.bucket, ("cors", Action::PutBucketCors), value)
    };
    set(Some(b"<CORS/>")).await.unwrap();
    here.versioning(Versioning::Enabled).await;
    here.put("k", b"body").await;
    here.store.close().await.unwrap();

    let again = Here { store: machine.open().await, ..here.clone() };
    let document =
        again.store.bucket_document(&again.who, &again.bucket, "cors", Action::GetBucketCors).await.unwrap();
    assert_eq!(document, Some(Bytes::from_static(b"<CORS/>")));
    let head = again.store.bucket_head(&again.who, &again.bucket).await.unwrap();
    assert_eq!(head.settings.versioning, Versioning::Enabled);
    assert_eq!(again.get("k").await.unwrap(), b"body");
    let off = again.store.bucket_versioning_set(&again.who, &again.bucket, Versioning::Off).await;
    assert_eq!(kind(off), StoreErrorKind::InvalidBucketState);
    let remove =
        again.store.bucket_document_set(&again.who, &again.bucket, ("cors", Action::PutBucketCors), None);
    remove.await.unwrap();
    assert_eq!(
        again.store.bucket_document(&again.who, &again.bucket, "cors", Action::GetBucketCors).await.unwrap(),
        None
    );
    let many: Vec<DeleteTarget> =
        vec![crate::support::target("k", None), crate::support::target("n/o", None)];
    let outcomes = again.store.delete_many(&again.who, &again.bucket, many, None).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().delete_marker));
}
