//! Renames and appends: one commit each, and nothing that must stay is lost.

use gw_store::{
    BucketOptions, BucketRules, BucketSettings, EtagMatch, LockMode, ObjectLock, ObjectWants, PutOptions,
    PutOutcome, Quota, ReadConditions, ReadOptions, RenameOptions, Retention, StoreErrorKind, StoreResult,
    Versioning, WriteConditions,
};
use gw_types::Timestamp;

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name};

async fn rename(here: &Here, from: &str, to: &str, options: RenameOptions) -> StoreResult<PutOutcome> {
    here.store.rename(&here.who, &here.bucket, (&key(from), &key(to)), options).await
}

async fn append(here: &Here, at: &str, offset: u64, body: &[u8]) -> StoreResult<PutOutcome> {
    here.put_with(at, body, PutOptions { offset: Some(offset), ..PutOptions::default() }).await
}

#[tokio::test]
async fn a_renamed_object_keeps_all_but_its_name() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let tags = vec![("a".to_owned(), "b".to_owned())];
    let mut options = PutOptions::default();
    options.attributes.user_metadata = vec![("m".to_owned(), "v".to_owned())];
    options.wants = ObjectWants { tags: Some(tags.clone()), ..ObjectWants::default() };
    let body: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
    let put = here.put_with("a/old", &body, options).await.unwrap();
    here.put("b/new", b"was here").await;
    let (live, usage) = (machine.live_bytes(), here.usage().await);

    let keep = WriteConditions { if_none_match: Some(EtagMatch::Any), ..WriteConditions::default() };
    let refused = rename(&here, "a/old", "b/new", RenameOptions { target: keep, ..Default::default() }).await;
    assert_eq!(kind(refused), StoreErrorKind::PreconditionFailed);
    let other = ReadConditions {
        if_match: Some(EtagMatch::OneOf(vec![gw_store::Etag::Md5([0; 16])])),
        ..ReadConditions::default()
    };
    let refused = rename(&here, "a/old", "c", RenameOptions { source: other, ..Default::default() }).await;
    assert_eq!(kind(refused), StoreErrorKind::PreconditionFailed);
    assert_eq!(here.get("a/old").await.unwrap(), body);
    assert_eq!(kind(rename(&here, "none", "c", Default::default()).await), StoreErrorKind::NoSuchKey);
    assert_eq!(
        kind(rename(&here, "a/old", "a/old", Default::default()).await),
        StoreErrorKind::InvalidArgument
    );

    let done = rename(&here, "a/old", "b/new", RenameOptions::default()).await.unwrap();
    assert_eq!(done.etag, put.etag);
    assert_eq!(kind(here.get("a/old").await), StoreErrorKind::NoSuchKey);
    assert_eq!(here.get("b/new").await.unwrap(), body);
    let info = here.store.head(&here.who, &here.bucket, &key("b/new"), ReadOptions::default()).await.unwrap();
    assert_eq!((info.attributes.tags().unwrap(), info.attributes.user_metadata.len()), (tags, 1));
    assert!(machine.live_bytes() < live, "what was replaced is given up");
    assert_eq!((here.usage().await.objects, here.usage().await.bytes), (1, usage.bytes - 8));

    let full = Quota { objects_max: Some(1), bytes_max: Some(200_000) };
    here.store.bucket_quota_set(&here.who, &here.bucket, full).await.unwrap();
    rename(&here, "b/new", "d", RenameOptions::default()).await.unwrap();
    assert_eq!(here.get("d").await.unwrap(), body);
}

#[tokio::test]
async fn with_versions_and_locks_the_old_name_keeps_its_version() {
    let machine = Machine::new();
    let store = machine.open().await;
    let options = BucketOptions {
        settings: BucketSettings { versioning: Versioning::Enabled, ..BucketSettings::default() },
        rules: BucketRules { lock: Some(ObjectLock::default()), ..BucketRules::default() },
        ..BucketOptions::default()
    };
    store.bucket_create(&admin(), &name("locked"), options).await.unwrap();
    let here = Here { store, who: admin(), bucket: name("locked") };
    let until = Timestamp(here.store.now().0 + 3_600_000_000_000);
    let retention = Some(Retention { mode: LockMode::Compliance, until });
    let wants = ObjectWants { retention, ..ObjectWants::default() };
    let put = here.put_with("old", b"body", PutOptions { wants, ..PutOptions::default() }).await.unwrap();
    let done = rename(&here, "old", "new", RenameOptions::default()).await.unwrap();
    assert_eq!(kind(here.get("old").await), StoreErrorKind::NoSuchKey);
    assert_eq!(here.get_version("old", put.version_id).await.unwrap(), b"body");
    assert_eq!(kind(here.delete_version("old", put.version_id).await), StoreErrorKind::Locked);
    assert_eq!(kind(here.delete_version("new", done.version_id).await), StoreErrorKind::Locked);
    let longer = append(&here, "new", 4, b"+more").await.unwrap();
    assert_ne!(longer.version_id, done.version_id);
    assert_eq!(here.get("new").await.unwrap(), b"body+more");
    assert_eq!(here.get_version("new", done.version_id).await.unwrap(), b"body");
}

#[tokio::test]
async fn an_append_goes_behind_the_end_that_it_names_and_nowhere_else() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    here.store.kms_key_add(&admin(), "one").await.unwrap();
    assert_eq!(kind(append(&here, "k", 5, b"x").await), StoreErrorKind::NoSuchKey);
    append(&here, "k", 0, b"12345").await.unwrap();
    let tags = vec![("a".to_owned(), "b".to_owned())];
    here.store.object_tags_set(&here.who, (&here.bucket, &key("k")), None, Some(tags)).await.unwrap();
    assert_eq!(kind(append(&here, "k", 4, b"x").await), StoreErrorKind::WrongOffset);
    let large: Vec<u8> = (0..150_000u32).map(|at| at as u8).collect();
    let second = append(&here, "k", 5, &large).await.unwrap();
    assert_eq!(second.size, 150_005);
    let third = append(&here, "k", 150_005, b"end").await.unwrap();
    assert_ne!(second.etag, third.etag);
    let whole = [b"12345", &large[..], b"end"].concat();
    assert_eq!(here.get("k").await.unwrap(), whole);
    let info = here.store.head(&here.who, &here.bucket, &key("k"), ReadOptions::default()).await.unwrap();
    assert_eq!((info.attributes.tags().unwrap().len(), info.checksums.len()), (1, 0));
    assert_eq!(here.usage().await.bytes, whole.len() as u64);

    // Two writers that name the same end: one of them wins.
    let options = || PutOptions { offset: Some(whole.len() as u64), ..PutOptions::default() };
    let k = key("k");
    let one = here.store.put(&here.who, &here.bucket, &k, options()).await.unwrap();
    append(&here, "k", whole.len() as u64, b"!").await.unwrap();
    assert_eq!(kind(one.finish(Default::default()).await), StoreErrorKind::ConditionalRequestConflict);

    let wish = gw_store::KmsWish { key: Some("one".to_owned()), ..Default::default() };
    let wants = ObjectWants { kms: Some(wish), ..ObjectWants::default() };
    here.put_with("sealed", b"1", PutOptions { wants, ..PutOptions::default() }).await.unwrap();
    append(&here, "sealed", 1, b"2").await.unwrap();
    assert_eq!(here.get("sealed").await.unwrap(), b"12");
    let (before, usage) = (machine.live_bytes(), here.usage().await);
    here.delete("k").await;
    assert!(machine.live_bytes() < before && here.usage().await.bytes < usage.bytes);
}
