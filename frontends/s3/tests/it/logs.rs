//! Access logs of buckets, delivered as objects.

use gw_store::{ByteRange, ListRequest, ReadOptions, Store};
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey};

use crate::harness::Gateway;

fn admin() -> Authenticated {
    Authenticated::user("root", Frontend::Admin)
}

/// Keys and texts of all objects of a bucket.
async fn objects(store: &Store, bucket: &str) -> Vec<(String, String)> {
    let bucket = BucketName::new(bucket).unwrap();
    let request = ListRequest {
        bucket: bucket.clone(),
        prefix: String::new(),
        delimiter: None,
        start: gw_store::ListStart::Beginning,
        max: 1000,
    };
    let mut all = Vec::new();
    for entry in store.list(&admin(), request).await.unwrap().entries {
        let key = ObjectKey::new(entry.key.as_str()).unwrap();
        let read = store.get(&admin(), &bucket, &key, ReadOptions::default()).await.unwrap();
        let mut body = read.body(ByteRange::All).unwrap();
        let mut text = Vec::new();
        while let Some(piece) = body.next().await {
            text.extend_from_slice(&piece.unwrap());
        }
        all.push((entry.key, String::from_utf8(text).unwrap()));
    }
    all
}

fn document(target: &str, more: &str) -> String {
    format!(
        "<BucketLoggingStatus><LoggingEnabled><TargetBucket>{target}</TargetBucket>\
         <TargetPrefix>log/</TargetPrefix>{more}</LoggingEnabled></BucketLoggingStatus>"
    )
}

#[tokio::test]
async fn requests_of_a_bucket_become_lines_in_another() {
    let gateway = Gateway::start().await;
    let asked = &gateway;
    let set =
        |text: String| async move { asked.wire("PUT", "/bucket?logging").body(text.as_bytes()).send().await };
    assert_eq!(set(document("none", "")).await.code(), "InvalidTargetBucketForLogging");
    assert_eq!(gateway.wire("PUT", "/logs").send().await.status, 200);
    let bobs = gateway.wire("PUT", "/bobs-bucket").with(|wire| {
        wire.access_key = "AKIABOB".to_owned();
        wire.secret = "bobs-secret".to_owned();
    });
    assert_eq!(bobs.send().await.status, 200);
    assert_eq!(set(document("bobs-bucket", "")).await.code(), "InvalidTargetBucketForLogging");
    assert_eq!(set(document("logs", "")).await.status, 200);
    let shown = gateway.wire("GET", "/bucket?logging").send().await;
    assert_eq!((shown.element("TargetBucket"), shown.element("TargetPrefix")), (Some("logs"), Some("log/")));

    let put = gateway.put("a%20b", b"12345").await;
    let part = gateway.wire("GET", "/bucket/a%20b").header("range", "bytes=0-1").send().await;
    assert_eq!(part.status, 206);
    gateway.assert_absent("none").await;
    let Gateway { running, store, .. } = gateway;
    running.shutdown().await;

    let objects = objects(&store, "logs").await;
    let [(key, text)] = objects.as_slice() else { panic!("{objects:?}") };
    assert!(
        key.starts_with("log/20") && key.len() == "log/2019-02-06-00-00-38-0123456789ABCDEF".len(),
        "{key}"
    );
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    // The request that reads the rule, the put and both reads.
    let find = |operation: &str, key: &str| {
        lines.iter().find(|line| line[7] == operation && line[8] == key).unwrap_or_else(|| panic!("{text}"))
    };
    let line = find("REST.PUT.OBJECT", "a%20b");
    assert_eq!(&line[..2], ["ann", "bucket"]);
    assert_eq!((line[4], line[5]), ("127.0.0.1", "ann"));
    assert_eq!(Some(line[6]), put.header("x-amz-request-id"));
    assert_eq!(&line[9..16], ["\"PUT", "/bucket/a%20b", "HTTP/1.1\"", "200", "-", "-", "5"]);
    let line = find("REST.GET.OBJECT", "a%20b");
    assert_eq!(&line[12..16], ["206", "-", "2", "5"]);
    let line = find("REST.GET.OBJECT", "none");
    assert_eq!(&line[12..14], ["404", "NoSuchKey"]);
    assert!(lines.iter().any(|line| line[7] == "REST.GET.GETBUCKETLOGGING"), "{text}");
}

#[tokio::test]
async fn lines_can_be_parted_by_day_and_logging_ends_when_it_is_taken_off() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.wire("PUT", "/logs").send().await.status, 200);
    let format = "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>\
                  </PartitionedPrefix></TargetObjectKeyFormat>";
    let text = document("logs", format);
    assert_eq!(gateway.wire("PUT", "/bucket?logging").body(text.as_bytes()).send().await.status, 200);
    let shown = gateway.wire("GET", "/bucket?logging").send().await;
    assert_eq!(shown.element("PartitionDateSource"), Some("EventTime"));
    let off = gateway.wire("PUT", "/bucket?logging").body(b"<BucketLoggingStatus/>").send().await;
    assert_eq!(off.status, 200);
    gateway.put("unseen", b"").await;
    let Gateway { running, store, .. } = gateway;
    running.shutdown().await;
    let objects = objects(&store, "logs").await;
    assert!(objects[0].0.starts_with("log/ann/cess-1/bucket/20"), "{objects:?}");
    assert!(!objects[0].1.contains("unseen"), "{objects:?}");
}
