//! Inventories: their documents, and the lists that are made of them.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use gw_s3::Inventories;
use gw_store::{ByteRange, FinishOptions, ListRequest, PutOptions, ReadOptions, Store};
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey};

use crate::harness::Gateway;
use crate::wire::Reply;

fn admin() -> Authenticated {
    Authenticated::user("root", Frontend::Admin)
}

fn lists() -> BucketName {
    BucketName::new("lists").unwrap()
}

async fn keys(store: &Store) -> Vec<String> {
    let page = store.list(&admin(), ListRequest::new(lists())).await.unwrap();
    page.entries.into_iter().map(|entry| entry.key).collect()
}

async fn bytes(store: &Store, key: &str) -> Vec<u8> {
    let key = ObjectKey::new(key).unwrap();
    let read = store.get(&admin(), &lists(), &key, ReadOptions::default()).await.unwrap();
    let mut body = read.body(ByteRange::All).unwrap();
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

async fn unpacked(store: &Store, key: &str) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes(store, key).await.as_slice()).read_to_string(&mut text).unwrap();
    text
}

struct Wanted<'a> {
    target: &'a str,
    format: &'a str,
    versions: &'a str,
    more: &'a str,
}

const PLAIN: Wanted<'static> = Wanted { target: "lists", format: "CSV", versions: "Current", more: "" };

fn document(wanted: &Wanted<'_>) -> String {
    let Wanted { target, format, versions, more } = wanted;
    format!(
        "<InventoryConfiguration><Id>daily</Id><IsEnabled>true</IsEnabled>\
         <IncludedObjectVersions>{versions}</IncludedObjectVersions>\
         <Schedule><Frequency>Daily</Frequency></Schedule>\
         <Destination><S3BucketDestination><Bucket>arn:aws:s3:::{target}</Bucket><Format>{format}</Format>\
         <Prefix>inv</Prefix></S3BucketDestination></Destination>{more}</InventoryConfiguration>"
    )
}

async fn set(gateway: &Gateway, wanted: &Wanted<'_>) -> Reply {
    gateway.wire("PUT", "/bucket?inventory&id=daily").body(document(wanted).as_bytes()).send().await
}

async fn with_lists() -> Gateway {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.wire("PUT", "/lists").send().await.status, 200);
    gateway
}

#[tokio::test]
async fn inventories_are_kept_shown_and_removed() {
    let gateway = with_lists().await;
    let none = gateway.wire("GET", "/bucket?inventory&id=daily").send().await;
    assert_eq!((none.status, none.code()), (404, "NoSuchConfiguration"));
    let bobs = gateway.wire("PUT", "/bobs-bucket").with(|wire| {
        wire.access_key = "AKIABOB".to_owned();
        wire.secret = "bobs-secret".to_owned();
    });
    assert_eq!(bobs.send().await.status, 200);
    for (wanted, code) in [
        (Wanted { target: "none", ..PLAIN }, "InvalidS3DestinationBucket"),
        (Wanted { target: "bobs-bucket", ..PLAIN }, "InvalidS3DestinationBucket"),
        (Wanted { format: "Parquet", ..PLAIN }, "NotImplemented"),
        (Wanted { format: "ORC", ..PLAIN }, "NotImplemented"),
        (Wanted { versions: "Some", ..PLAIN }, "MalformedXML"),
    ] {
        assert_eq!(set(&gateway, &wanted).await.code(), code);
    }
    let fields = "<OptionalFields><Field>ETag</Field><Field>Size</Field></OptionalFields>\
                  <Filter><Prefix>a/</Prefix></Filter>";
    let kept = set(&gateway, &Wanted { more: fields, ..PLAIN }).await;
    assert_eq!(kept.status, 200, "{kept:?}");
    let shown = gateway.wire("GET", "/bucket?inventory&id=daily").send().await;
    let told = ["Id", "IsEnabled", "IncludedObjectVersions", "Frequency", "Bucket", "Format", "Field"];
    let expected = ["daily", "true", "Current", "Daily", "arn:aws:s3:::lists", "CSV", "Size"];
    for (element, value) in told.into_iter().zip(expected) {
        assert_eq!(shown.element(element), Some(value), "{shown:?}");
    }
    let listed = gateway.wire("GET", "/bucket?inventory").send().await;
    assert_eq!((listed.element("Id"), listed.element("IsTruncated")), (Some("daily"), Some("false")));
    let other = gateway.wire("PUT", "/bucket?inventory&id=other").body(document(&PLAIN).as_bytes());
    assert_eq!(other.send().await.code(), "InvalidArgument");
    let gone = gateway.wire("DELETE", "/bucket?inventory&id=daily").send().await;
    assert_eq!(gone.status, 204);
    assert_eq!(
        gateway.wire("DELETE", "/bucket?inventory&id=daily").send().await.code(),
        "NoSuchConfiguration"
    );
    assert!(gateway.wire("GET", "/bucket?inventory").send().await.element("Id").is_none());
}

#[tokio::test]
async fn a_list_has_every_object_of_its_prefix_and_manifests_that_lead_to_it() {
    let gateway = with_lists().await;
    // More than a page; past the socket, which would take most of the time.
    let bucket = BucketName::new("bucket").unwrap();
    for index in 0..1234 {
        let key = ObjectKey::new(format!("a/{}/{index:04}", index % 3)).unwrap();
        let mut writer = gateway.store.put(&admin(), &bucket, &key, PutOptions::default()).await.unwrap();
        writer.write(Bytes::from_static(b"12345")).await.unwrap();
        writer.finish(FinishOptions::default()).await.unwrap();
    }
    gateway.put("b", b"").await;
    let fields = "<OptionalFields><Field>Size</Field><Field>ETag</Field><Field>EncryptionStatus</Field>\
                  <Field>ObjectOwner</Field></OptionalFields><Filter><Prefix>a/</Prefix></Filter>";
    assert_eq!(set(&gateway, &Wanted { more: fields, ..PLAIN }).await.status, 200);
    let inventories = Inventories::new(Arc::clone(&gateway.store));
    inventories.pass().await;

    let keys = keys(&gateway.store).await;
    let find = |end: &str| keys.iter().find(|key| key.ends_with(end)).unwrap_or_else(|| panic!("{keys:?}"));
    assert_eq!(keys.len(), 4, "{keys:?}");
    let manifest_key = find("manifest.json");
    assert!(manifest_key.starts_with("inv/bucket/daily/20"), "{manifest_key}");
    assert_eq!(manifest_key.len(), "inv/bucket/daily/2026-11-21T16-00Z/manifest.json".len());
    let text = bytes(&gateway.store, manifest_key).await;
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["sourceBucket"], "bucket");
    assert_eq!(manifest["destinationBucket"], "arn:aws:s3:::lists");
    assert_eq!(manifest["fileSchema"], "Bucket, Key, Size, ETag, EncryptionStatus, ObjectOwner");
    let md5 = {
        use md5::Digest as _;
        hex::encode(md5::Md5::digest(&text))
    };
    assert_eq!(bytes(&gateway.store, find("manifest.checksum")).await, md5.as_bytes());
    let data = manifest["files"][0]["key"].as_str().unwrap();
    assert_eq!(data, find(".csv.gz"));
    assert_eq!(manifest["files"][0]["size"], bytes(&gateway.store, data).await.len());
    assert_eq!(bytes(&gateway.store, find("symlink.txt")).await, format!("s3://lists/{data}\n").as_bytes());

    let text = unpacked(&gateway.store, data).await;
    let mut expected: Vec<String> = (0..1234).map(|index| format!("a/{}/{index:04}", index % 3)).collect();
    expected.sort();
    let five = "827ccb0eea8a706c4c34a16891f84e7b";
    let expected: Vec<String> = expected
        .iter()
        .map(|key| format!("\"bucket\",\"{key}\",\"5\",\"{five}\",\"SSE-S3\",\"ann\""))
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_day_has_one_list_whatever_is_restarted() {
    let gateway = with_lists().await;
    gateway.put("k", b"1").await;
    assert_eq!(set(&gateway, &PLAIN).await.status, 200);
    let bucket = BucketName::new("bucket").unwrap();
    // A gateway began the list, put some of it, and was stopped.
    let (_, begun) = gateway.store.inventory_begin(&admin(), &bucket, ("daily", true)).await.unwrap();
    Inventories::new(Arc::clone(&gateway.store)).pass().await;
    let first = keys(&gateway.store).await;
    let (hour, minute) = begun.started.hour_minute();
    let folder = format!("inv/bucket/daily/{}T{hour:02}-{minute:02}Z/", begun.started.day());
    assert!(first.iter().any(|key| *key == format!("{folder}manifest.json")), "{first:?}");
    // The next one finds that it was made, even if it was stopped before it could note that.
    Inventories::new(Arc::clone(&gateway.store)).pass().await;
    assert_eq!(keys(&gateway.store).await, first);
    assert!(gateway.store.inventories_due(&admin()).unwrap().is_empty());
    let state = gateway.store.bucket_inventories(&admin(), &bucket).await.unwrap()[0].state;
    assert_eq!((state.last, state.running), (Some(begun), None));
}

#[tokio::test]
async fn a_list_of_all_versions_has_markers_and_a_target_that_went_is_told_and_tried_again() {
    let gateway = with_lists().await;
    let on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(gateway.wire("PUT", "/bucket?versioning").body(on).send().await.status, 200);
    for body in [b"1", b"2"] {
        gateway.put("k", body).await;
    }
    assert_eq!(gateway.wire("DELETE", "/bucket/k").send().await.status, 204);
    let fields = "<OptionalFields><Field>Size</Field></OptionalFields>";
    assert_eq!(set(&gateway, &Wanted { versions: "All", more: fields, ..PLAIN }).await.status, 200);
    let inventories = Inventories::new(Arc::clone(&gateway.store));
    assert_eq!(gateway.wire("DELETE", "/lists").send().await.status, 204);
    inventories.pass().await;
    assert!(inventories.alarms()[0].contains("destination bucket"), "{:?}", inventories.alarms());
    assert_eq!(gateway.wire("PUT", "/lists").send().await.status, 200);
    inventories.pass().await;
    assert!(inventories.alarms().is_empty());

    let keys = keys(&gateway.store).await;
    let data = keys.iter().find(|key| key.ends_with(".csv.gz")).unwrap();
    let text = unpacked(&gateway.store, data).await;
    let flags: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').skip(3).collect()).collect();
    let (yes, no) = ("\"true\"", "\"false\"");
    assert_eq!(flags, [vec![yes, yes, "\"\""], vec![no, no, "\"1\""], vec![no, no, "\"1\""]], "{text}");
    let done = inventories.run(&BucketName::new("bucket").unwrap(), "daily").await.unwrap();
    assert_eq!(done.target, "lists");
    assert!(inventories.run(&BucketName::new("bucket").unwrap(), "none").await.is_err());
}
