//! What must stay, and what only the client's key opens.

use std::time::Duration;

use gw_store::{
    BucketOptions, BucketRules, BucketSettings, ByteRange, CompleteOptions, CompletePart, CopyOptions,
    CopySource, CustomerKey, DefaultRetention, DeleteTarget, FinishOptions, LockMode, LockPeriod, ObjectLock,
    ObjectWants, PartNumber, PutOptions, ReadConditions, ReadOptions, Retention, StoreErrorKind,
    UploadOptions, VersionId, Versioning,
};
use gw_types::Timestamp;

use crate::assemble::Machine;
use crate::support::{Here, admin, collect, key, kind, name, target};

const HOUR: i64 = 3600 * 1_000_000_000;

async fn locked(machine: &Machine) -> Here {
    let store = machine.open().await;
    let options = BucketOptions {
        settings: BucketSettings { versioning: Versioning::Enabled, ..BucketSettings::default() },
        rules: BucketRules { lock: Some(ObjectLock::default()), ..BucketRules::default() },
        ..BucketOptions::default()
    };
    store.bucket_create(&admin(), &name("locked"), options).await.unwrap();
    Here { store, who: admin(), bucket: name("locked") }
}

fn retain(mode: LockMode, until: Timestamp) -> PutOptions {
    let wants = ObjectWants { retention: Some(Retention { mode, until }), ..ObjectWants::default() };
    PutOptions { wants, ..PutOptions::default() }
}

async fn remove(here: &Here, version: Option<VersionId>, bypass: bool) -> Result<(), StoreErrorKind> {
    let target = DeleteTarget { bypass_governance: bypass, ..target("k", version) };
    here.store.delete(&here.who, &here.bucket, target, None).await.map(|_| ()).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_version_stays_for_its_retention_whoever_asks() {
    let machine = Machine::new();
    let here = locked(&machine).await;
    let until = Timestamp(here_now(&machine) + HOUR);
    let compliance = here.put_with("k", b"1", retain(LockMode::Compliance, until)).await.unwrap().version_id;
    let governance = here.put_with("k", b"2", retain(LockMode::Governance, until)).await.unwrap().version_id;
    // A marker on top takes nothing away.
    assert!(here.delete("k").await.delete_marker);
    for (version, bypass, expected) in [
        (compliance, false, Err(StoreErrorKind::Locked)),
        (compliance, true, Err(StoreErrorKind::Locked)),
        (governance, false, Err(StoreErrorKind::Locked)),
        (governance, true, Ok(())),
    ] {
        assert_eq!(remove(&here, version, bypass).await, expected);
    }
    let many =
        here.store.delete_many(&here.who, &here.bucket, vec![target("k", compliance)], None).await.unwrap();
    assert_eq!(kind(many.into_iter().next().unwrap()), StoreErrorKind::Locked);
    machine.clock.advance(Duration::from_secs(3601));
    assert_eq!(remove(&here, compliance, false).await, Ok(()));
}

fn here_now(machine: &Machine) -> i64 {
    use gw_types::ports::Clock as _;
    machine.clock.now().0
}

#[tokio::test]
async fn a_retention_gets_longer_and_never_weaker() {
    let machine = Machine::new();
    let here = locked(&machine).await;
    let now = here_now(&machine);
    let version = here.put("k", b"1").await.version_id;
    let set = |mode, hours: i64, bypass| {
        let retention = Some(Retention { mode, until: Timestamp(now + hours * HOUR) });
        let here = here.clone();
        async move {
            let place = (&here.bucket, &key("k"));
            let set = here.store.object_retention_set(&here.who, place, version, (retention, bypass)).await;
            set.map(|_| ()).map_err(|error| error.kind())
        }
    };
    assert_eq!(set(LockMode::Governance, 2, false).await, Ok(()));
    assert_eq!(set(LockMode::Governance, 1, false).await, Err(StoreErrorKind::Locked));
    assert_eq!(set(LockMode::Compliance, 3, false).await, Err(StoreErrorKind::Locked));
    assert_eq!(set(LockMode::Governance, 1, true).await, Ok(()));
    assert_eq!(set(LockMode::Compliance, 3, true).await, Ok(()));
    assert_eq!(set(LockMode::Compliance, 2, true).await, Err(StoreErrorKind::Locked));
    assert_eq!(set(LockMode::Compliance, 4, false).await, Ok(()));
    assert_eq!(set(LockMode::Compliance, -1, true).await, Err(StoreErrorKind::InvalidArgument));
}

#[tokio::test]
async fn a_hold_stands_until_it_is_taken_off_and_defaults_reach_every_new_version() {
    let machine = Machine::new();
    let here = locked(&machine).await;
    let version = here.put("k", b"1").await.version_id;
    let hold = |on| {
        let here = here.clone();
        async move { here.store.object_legal_hold_set(&here.who, (&here.bucket, &key("k")), version, on).await }
    };
    hold(true).await.unwrap();
    assert_eq!(remove(&here, version, true).await, Err(StoreErrorKind::Locked));
    hold(false).await.unwrap();
    assert_eq!(remove(&here, version, false).await, Ok(()));

    let period = LockPeriod::Days(1);
    let default = DefaultRetention { mode: LockMode::Governance, period };
    let lock = ObjectLock { default: Some(default) };
    here.store.bucket_lock_set(&here.who, &here.bucket, lock).await.unwrap();
    let put = here.put("k", b"2").await;
    let info = here.store.head(&here.who, &here.bucket, &key("k"), ReadOptions::default()).await.unwrap();
    let retention = info.attributes.retention().unwrap().unwrap();
    assert_eq!(retention.until.0, put.last_modified.0 + 24 * HOUR);
    assert_eq!(remove(&here, put.version_id, false).await, Err(StoreErrorKind::Locked));
    let suspend = here.store.bucket_versioning_set(&here.who, &here.bucket, Versioning::Suspended).await;
    assert_eq!(kind(suspend), StoreErrorKind::InvalidBucketState);
}

#[tokio::test]
async fn a_bucket_without_lock_takes_no_locks() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "plain").await;
    let until = Timestamp(here_now(&machine) + HOUR);
    let put = here.put_with("k", b"1", retain(LockMode::Governance, until)).await;
    assert_eq!(kind(put), StoreErrorKind::NoObjectLock);
    let lock = here.store.bucket_lock_set(&here.who, &here.bucket, ObjectLock::default()).await;
    assert_eq!(kind(lock), StoreErrorKind::InvalidBucketState);
    here.versioning(Versioning::Enabled).await;
    here.store.bucket_lock_set(&here.who, &here.bucket, ObjectLock::default()).await.unwrap();
    here.put_with("k", b"1", retain(LockMode::Governance, until)).await.unwrap();
}

fn customer(byte: u8) -> CustomerKey {
    use md5::Digest as _;
    let key = [byte; 32];
    CustomerKey::new(key, md5::Md5::digest(key).into()).unwrap()
}

fn under(byte: u8) -> ObjectWants {
    ObjectWants { customer_key: Some(customer(byte)), ..ObjectWants::default() }
}

async fn read(here: &Here, at: &str, byte: Option<u8>) -> Result<Vec<u8>, StoreErrorKind> {
    let options = ReadOptions { customer_key: byte.map(customer), ..ReadOptions::default() };
    let found =
        here.store.get(&here.who, &here.bucket, &key(at), options).await.map_err(|error| error.kind())?;
    Ok(collect(found.body(ByteRange::All).unwrap()).await.unwrap())
}

#[tokio::test]
async fn only_the_customers_key_opens_what_was_put_under_it() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    for (at, body) in [("small", vec![7; 100]), ("large", vec![8; 300_000])] {
        here.put_with(at, &body, PutOptions { wants: under(1), ..PutOptions::default() }).await.unwrap();
        assert_eq!(read(&here, at, Some(1)).await, Ok(body));
        assert_eq!(read(&here, at, Some(2)).await, Err(StoreErrorKind::WrongCustomerKey));
        assert_eq!(read(&here, at, None).await, Err(StoreErrorKind::CustomerKeyNeeded));
    }
    here.put("plain", b"x").await;
    assert_eq!(read(&here, "plain", Some(1)).await, Err(StoreErrorKind::CustomerKeyNeeded));
}

#[tokio::test]
async fn copies_and_parts_pass_from_key_to_key() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let body = vec![9; 70_000];
    here.put_with("from", &body, PutOptions { wants: under(1), ..PutOptions::default() }).await.unwrap();
    let source = |byte: Option<u8>| CopySource {
        bucket: here.bucket.clone(),
        key: key("from"),
        version: None,
        conditions: ReadConditions::default(),
        customer_key: byte.map(customer),
    };
    let copy = |byte: Option<u8>, wants: ObjectWants| {
        let options = CopyOptions { wants, ..CopyOptions::default() };
        let (here, source) = (here.clone(), source(byte));
        async move { here.store.copy(&here.who, source, &here.bucket, &key("to"), options).await.map(|_| ()) }
    };
    assert_eq!(kind(copy(None, ObjectWants::default()).await), StoreErrorKind::CustomerKeyNeeded);
    assert_eq!(kind(copy(Some(2), ObjectWants::default()).await), StoreErrorKind::WrongCustomerKey);
    copy(Some(1), under(2)).await.unwrap();
    assert_eq!(read(&here, "to", Some(2)).await, Ok(body.clone()));
    assert_eq!(read(&here, "to", Some(1)).await, Err(StoreErrorKind::WrongCustomerKey));
    copy(Some(1), ObjectWants::default()).await.unwrap();
    assert_eq!(read(&here, "to", None).await, Ok(body.clone()));

    let (store, who, bucket, at) = (&here.store, &here.who, &here.bucket, key("parts"));
    let options = UploadOptions { wants: under(3), ..UploadOptions::default() };
    let upload = store.upload_create(who, bucket, &at, options).await.unwrap().upload_id;
    let number = PartNumber::new(1).unwrap();
    for wrong in [None, Some(customer(1))] {
        let put = store.upload_put_part(who, bucket, &at, upload, number, None, wrong.as_ref()).await;
        assert!(put.is_err());
    }
    let right = customer(3);
    let mut writer =
        store.upload_put_part(who, bucket, &at, upload, number, None, Some(&right)).await.unwrap();
    writer.write(vec![1; 10].into()).await.unwrap();
    let first = writer.finish(FinishOptions::default()).await.unwrap().etag;
    // Parts but the last have 5 MiB; one part is enough to see that it opens.
    let list = vec![CompletePart { number, etag: Some(first), checksums: Vec::new() }];
    store.upload_complete(who, bucket, &at, upload, list, CompleteOptions::default()).await.unwrap();
    assert_eq!(read(&here, "parts", Some(3)).await, Ok(vec![1; 10]));
    assert_eq!(read(&here, "parts", None).await, Err(StoreErrorKind::CustomerKeyNeeded));
}
