//! How long what is stored must last: what is refused, and what is counted.

use std::sync::Arc;

use gw_store::{
    BucketOptions, BucketRules, BucketSettings, CompleteOptions, CompletePart, CopyOptions, CopySource,
    DefaultRetention, DeleteTarget, FinishOptions, Horizon, Kept, LockMode, LockPeriod, ObjectLock,
    ObjectWants, PartNumber, PutOptions, ReadConditions, Retention, Store, StoreErrorKind, StoreResult,
    UploadOptions, Versioning,
};
use gw_types::Timestamp;
use gw_types::ports::Clock as _;
use parking_lot::Mutex;

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, target};

const DAY: i64 = 86_400 * 1_000_000_000;

async fn locked(store: Store) -> Here {
    let options = BucketOptions {
        settings: BucketSettings { versioning: Versioning::Enabled, ..BucketSettings::default() },
        rules: BucketRules { lock: Some(ObjectLock::default()), ..BucketRules::default() },
        ..BucketOptions::default()
    };
    store.bucket_create(&admin(), &name("locked"), options).await.unwrap();
    Here { store, who: admin(), bucket: name("locked") }
}

fn wants(until: i64) -> ObjectWants {
    let retention = Retention { mode: LockMode::Governance, until: Timestamp(until) };
    ObjectWants { retention: Some(retention), ..ObjectWants::default() }
}

fn put(until: i64) -> PutOptions {
    PutOptions { wants: wants(until), ..PutOptions::default() }
}

/// Every way to a retention that S3 has.
async fn everywhere(here: &Here, until: i64) -> Vec<StoreResult<()>> {
    let (store, who, bucket) = (&here.store, &here.who, &here.bucket);
    let retention = wants(until).retention;
    let copy = CopyOptions { wants: wants(until), ..CopyOptions::default() };
    let source = CopySource {
        bucket: bucket.clone(),
        key: key("free"),
        version: None,
        conditions: ReadConditions::default(),
        customer_key: None,
    };
    let upload = UploadOptions { wants: wants(until), ..UploadOptions::default() };
    vec![
        here.put_with("k", b"1", put(until)).await.map(|_| ()),
        store.copy(who, source, bucket, &key("copied"), copy).await.map(|_| ()),
        store.object_retention_set(who, (bucket, &key("free")), None, (retention, true)).await.map(|_| ()),
        store.upload_create(who, bucket, &key("parts"), upload).await.map(|_| ()),
    ]
}

#[tokio::test]
async fn a_retention_beyond_the_end_of_the_territory_is_refused_wherever_it_is_asked_for() {
    let machine = Machine::new();
    let now = machine.clock.now().0;
    let horizon = Arc::new(Mutex::new(Horizon::Open));
    let here = locked(machine.open_lasting(Arc::clone(&horizon)).await).await;
    here.put("free", b"0").await;
    *horizon.lock() = Horizon::Ends { at: Timestamp(now + 30 * DAY), advice: "renew it".to_owned() };
    for refused in everywhere(&here, now + 30 * DAY + 1).await {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::BeyondTerritory);
        assert!(error.message().contains("renew it"), "{error}");
    }
    for accepted in everywhere(&here, now + 30 * DAY).await {
        accepted.unwrap();
    }
    *horizon.lock() = Horizon::Unknown { why: "nobody answers".to_owned() };
    for refused in everywhere(&here, now + DAY).await {
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::NoTerritory);
    }
    // What asks for nothing is not asked.
    here.put("free", b"2").await;
}

#[tokio::test]
async fn a_default_and_an_upload_that_was_begun_earlier_are_measured_when_the_version_is_made() {
    let machine = Machine::new();
    let now = machine.clock.now().0;
    let horizon = Arc::new(Mutex::new(Horizon::Open));
    let here = locked(machine.open_lasting(Arc::clone(&horizon)).await).await;
    let (store, who, bucket) = (&here.store, &here.who, &here.bucket);
    let options = UploadOptions { wants: wants(now + 40 * DAY), ..UploadOptions::default() };
    let upload = store.upload_create(who, bucket, &key("parts"), options).await.unwrap().upload_id;
    let number = PartNumber::new(1).unwrap();
    let part = store.upload_put_part(who, bucket, &key("parts"), upload, number, None, None).await.unwrap();
    let etag = part.finish(FinishOptions::default()).await.unwrap().etag;
    let default = DefaultRetention { mode: LockMode::Governance, period: LockPeriod::Days(31) };
    store.bucket_lock_set(who, bucket, ObjectLock { default: Some(default) }).await.unwrap();

    *horizon.lock() = Horizon::Ends { at: Timestamp(now + 30 * DAY), advice: String::new() };
    let unasked = here.put_with("k", b"1", PutOptions::default()).await;
    assert_eq!(kind(unasked), StoreErrorKind::BeyondTerritory);
    let parts = vec![CompletePart { number, etag: Some(etag), checksums: Vec::new() }];
    let at = key("parts");
    let complete =
        || store.upload_complete(who, bucket, &at, upload, parts.clone(), CompleteOptions::default());
    assert_eq!(kind(complete().await), StoreErrorKind::BeyondTerritory);
    // Prolonged, the same upload is completed.
    *horizon.lock() = Horizon::Ends { at: Timestamp(now + 60 * DAY), advice: String::new() };
    complete().await.unwrap();
    here.put("k", b"1").await;
}

#[tokio::test]
async fn the_latest_end_and_the_holds_are_known_through_every_change() {
    let machine = Machine::new();
    let now = machine.clock.now().0;
    let here = locked(machine.open().await).await;
    let day = |days: i64| Timestamp((now + days * DAY + DAY - 1).div_euclid(DAY) * DAY);
    let kept = || here.store.kept(&admin()).unwrap();
    let until = |days: i64, held: u64| Kept { until: Some(day(days)), held };
    assert_eq!(kept(), Kept::default());
    let first = here.put_with("k", b"1", put(now + 10 * DAY)).await.unwrap().version_id;
    let second = here.put_with("k", b"2", put(now + 20 * DAY)).await.unwrap().version_id;
    assert_eq!(kept(), until(20, 0));
    let (store, who, at) = (&here.store, &here.who, (&here.bucket, key("k")));
    let shorter = wants(now + 5 * DAY).retention;
    store.object_retention_set(who, (at.0, &at.1), second, (shorter, true)).await.unwrap();
    assert_eq!(kept(), until(10, 0));
    store.object_legal_hold_set(who, (at.0, &at.1), first, true).await.unwrap();
    assert_eq!(kept(), until(10, 1));
    store.object_legal_hold_set(who, (at.0, &at.1), first, false).await.unwrap();
    // A marker takes nothing away; a restart forgets nothing.
    here.delete("k").await;
    assert_eq!(kept(), until(10, 0));
    machine.kill(here.store.clone()).await;
    let here = Here { store: machine.open().await, ..here };
    let kept = || here.store.kept(&admin()).unwrap();
    assert_eq!(kept(), until(10, 0));
    for (version, left) in [(first, until(5, 0)), (second, Kept::default())] {
        let target = DeleteTarget { bypass_governance: true, ..target("k", version) };
        here.store.delete(&here.who, &here.bucket, target, None).await.unwrap();
        assert_eq!(kept(), left);
    }
}
