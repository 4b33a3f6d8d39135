//! Named keys: what they open, and that they outlive the process.

use gw_store::{
    BucketEncryption, CompleteOptions, CompletePart, CopyOptions, CopySource, Encryption, FinishOptions,
    KmsWish, ObjectWants, PartNumber, PutOptions, ReadConditions, ReadOptions, StoreErrorKind, UploadOptions,
};

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, user};

fn under(key: &str) -> ObjectWants {
    let wish = KmsWish { key: Some(key.to_owned()), ..KmsWish::default() };
    ObjectWants { kms: Some(wish), ..ObjectWants::default() }
}

async fn named(here: &Here, at: &str) -> Option<String> {
    let info = here.store.head(&here.who, &here.bucket, &key(at), ReadOptions::default()).await.unwrap();
    match info.attributes.encryption().unwrap() {
        Some(Encryption::Kms { key, .. }) => Some(key),
        _ => None,
    }
}

fn source(here: &Here, at: &str) -> CopySource {
    CopySource {
        bucket: here.bucket.clone(),
        key: key(at),
        version: None,
        conditions: ReadConditions::default(),
        customer_key: None,
    }
}

#[tokio::test]
async fn objects_under_a_named_key_open_after_a_restart_and_in_copies() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    here.store.kms_key_add(&admin(), "one").await.unwrap();
    assert_eq!(kind(here.store.kms_key_add(&admin(), "one").await), StoreErrorKind::UserExists);
    assert_eq!(kind(here.store.kms_key_add(&user("ann"), "two").await), StoreErrorKind::AccessDenied);
    assert_eq!(kind(here.store.kms_key_add(&admin(), "a b").await), StoreErrorKind::InvalidArgument);
    let put = PutOptions { wants: under("none"), ..PutOptions::default() };
    assert_eq!(kind(here.put_with("k", b"x", put).await), StoreErrorKind::NoSuchKmsKey);
    let body: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
    let put = PutOptions { wants: under("one"), ..PutOptions::default() };
    here.put_with("k", &body, put).await.unwrap();
    here.put("plain", b"plain").await;

    let upload = UploadOptions { wants: under("one"), ..UploadOptions::default() };
    let upload = here.store.upload_create(&here.who, &here.bucket, &key("m"), upload).await.unwrap();
    let number = |number| PartNumber::new(number).unwrap();
    let at = (&here.bucket, &key("m"), upload.upload_id);
    let mut writer =
        here.store.upload_put_part(&here.who, at.0, at.1, at.2, number(1), None, None).await.unwrap();
    writer.write(body.clone().into()).await.unwrap();
    let first = writer.finish(FinishOptions::default()).await.unwrap().etag;
    let from = (source(&here, "plain"), None);
    let second =
        here.store.upload_copy_part(&here.who, at.0, at.1, at.2, number(2), from, None).await.unwrap();
    let part = |index, etag| CompletePart { number: number(index), etag: Some(etag), checksums: Vec::new() };
    let parts = vec![part(1, first), part(2, second.etag)];
    here.store.upload_complete(&here.who, at.0, at.1, at.2, parts, CompleteOptions::default()).await.unwrap();

    let copy = CopyOptions::default();
    here.store.copy(&here.who, source(&here, "k"), &here.bucket, &key("k2"), copy).await.unwrap();
    let copy = CopyOptions { wants: under("one"), ..CopyOptions::default() };
    here.store.copy(&here.who, source(&here, "plain"), &here.bucket, &key("p2"), copy).await.unwrap();
    machine.kill(here.store).await;

    let here = Here { store: machine.open().await, who: admin(), bucket: name("bucket") };
    assert_eq!(here.get("k").await.unwrap(), body);
    assert_eq!(here.get("m").await.unwrap(), [&body[..], b"plain"].concat());
    assert_eq!((here.get("k2").await.unwrap(), named(&here, "k2").await), (body, None));
    assert_eq!(
        (here.get("p2").await.unwrap().as_slice(), named(&here, "p2").await.as_deref()),
        (&b"plain"[..], Some("one"))
    );
    let keys = here.store.kms_key_list(&admin()).unwrap();
    assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["one"]);
}

#[tokio::test]
async fn a_buckets_default_is_a_named_key_and_the_gateways_own_is_made_when_wanted() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let default = BucketEncryption::Kms { key: None, bucket_key: true };
    here.store.bucket_encrypt_set(&here.who, &here.bucket, Some(default)).await.unwrap();
    here.put("k", b"x").await;
    assert_eq!(named(&here, "k").await.as_deref(), Some("aws/s3"));
    let managed = PutOptions {
        wants: ObjectWants { managed: true, ..ObjectWants::default() },
        ..PutOptions::default()
    };
    here.put_with("m", b"y", managed).await.unwrap();
    assert_eq!(named(&here, "m").await, None);
    assert_eq!((here.get("k").await.unwrap(), here.get("m").await.unwrap()), (b"x".to_vec(), b"y".to_vec()));
    here.store.bucket_encrypt_set(&here.who, &here.bucket, None).await.unwrap();
    here.put("n", b"z").await;
    assert_eq!(named(&here, "n").await, None);
}

/// The bucket key of the target once had to open what only the named key opens: copies into another
/// bucket failed as if the bytes were damaged, while those within a bucket went well.
#[tokio::test]
async fn what_is_under_a_named_key_can_be_copied_into_another_bucket() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    here.store.kms_key_add(&admin(), "one").await.unwrap();
    let put = PutOptions { wants: under("one"), ..PutOptions::default() };
    here.put_with("k", b"a named key's", put).await.unwrap();
    let from = source(&here, "k");
    let other = Here::new(here.store, "other").await;

    other
        .store
        .copy(&other.who, from.clone(), &other.bucket, &key("k"), CopyOptions::default())
        .await
        .unwrap();
    assert_eq!(
        (other.get("k").await.unwrap().as_slice(), named(&other, "k").await),
        (&b"a named key's"[..], None)
    );
    let copy = CopyOptions { wants: under("one"), ..CopyOptions::default() };
    other.store.copy(&other.who, from.clone(), &other.bucket, &key("n"), copy).await.unwrap();
    assert_eq!(
        (other.get("n").await.unwrap().as_slice(), named(&other, "n").await.as_deref()),
        (&b"a named key's"[..], Some("one"))
    );

    let (number, m) = (PartNumber::new(1).unwrap(), key("m"));
    let at = (&other.bucket, &m);
    let upload = other.store.upload_create(&other.who, at.0, at.1, UploadOptions::default()).await;
    let upload = upload.unwrap().upload_id;
    let part = other
        .store
        .upload_copy_part(&other.who, at.0, at.1, upload, number, (from, None), None)
        .await
        .unwrap();
    let parts = vec![CompletePart { number, etag: Some(part.etag), checksums: Vec::new() }];
    let whole = CompleteOptions::default();
    other.store.upload_complete(&other.who, at.0, at.1, upload, parts, whole).await.unwrap();
    assert_eq!(other.get("m").await.unwrap(), b"a named key's");
}
