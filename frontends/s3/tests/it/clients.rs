//! Five failures that real clients met with another server, each told as it happened. None may ever
//! happen here.

use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use tokio::task::JoinSet;

use crate::harness::{BUCKET, Gateway, stream, told};

/// Delta Lake commits by creating the next log file with `If-None-Match: *`. Three puts of one key
/// within 10 ms all got 200, so four writers each believed to have won and commits were lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_creators_exactly_one_wins() {
    let gateway = Arc::new(Gateway::start().await);
    for round in 0..10 {
        let mut racers = JoinSet::new();
        for racer in 0..8 {
            let gateway = Arc::clone(&gateway);
            racers.spawn(async move {
                let put = gateway
                    .wire("PUT", &format!("/bucket/log/{round:020}.json"))
                    .header("if-none-match", "*");
                (racer, put.body(format!("{racer}").as_bytes()).send().await)
            });
        }
        let mut winners = Vec::new();
        while let Some(done) = racers.join_next().await {
            let (racer, reply) = done.unwrap();
            match reply.status {
                200 => winners.push(racer),
                412 => assert_eq!(reply.code(), "PreconditionFailed"),
                409 => assert_eq!(reply.code(), "ConditionalRequestConflict"),
                _ => panic!("{reply:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let there = gateway.get(&format!("log/{round:020}.json")).await;
        assert_eq!(there.text(), winners[0].to_string());
    }
}

/// The same race where the commit is a CompleteMultipartUpload against a plain put.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_upload_races_by_the_same_rule() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let mut uploads = JoinSet::new();
    for number in 0..6 {
        let sdk = sdk.clone();
        let begun = sdk.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
        let id = begun.upload_id().unwrap().to_owned();
        let put = sdk.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(1);
        let put = put.body(stream(format!("{number}").as_bytes())).send().await.unwrap();
        let line = CompletedPart::builder().part_number(1).e_tag(put.e_tag().unwrap()).build();
        uploads.spawn(async move {
            let list = CompletedMultipartUpload::builder().parts(line).build();
            let complete =
                sdk.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(id).if_none_match("*");
            complete.multipart_upload(list).send().await.map_err(|error| told::<(), _>(Err(error)))
        });
    }
    let put = gateway.wire("PUT", "/bucket/k").header("if-none-match", "*").body(b"put").send().await;
    let mut winners = usize::from(put.status == 200);
    while let Some(done) = uploads.join_next().await {
        match done.unwrap() {
            Ok(_) => winners += 1,
            Err((status, _)) => assert!(status == 412 || status == 409, "{status}"),
        }
    }
    assert_eq!(winners, 1);
}

/// HEAD on a key that is only a prefix got 500: pyarrow could not open a data set, rclone retried
/// for 99 seconds.
#[tokio::test]
async fn a_key_that_is_only_a_prefix_is_not_found() {
    let gateway = Gateway::start().await;
    gateway.put("dir/sub/file", b"x").await;
    for key in ["dir", "dir/", "dir/sub", "dir/sub/", "dir/sub/file/", "dir/sub/fil"] {
        let head = gateway.wire("HEAD", &format!("/bucket/{key}")).send().await;
        assert_eq!((head.status, head.body.len()), (404, 0), "{key}");
        gateway.assert_absent(key).await;
    }
}

/// polars asks for the last 256 KiB of every file, and got 500 for smaller ones.
#[tokio::test]
async fn a_suffix_longer_than_the_object_is_the_object() {
    let gateway = Gateway::start().await;
    gateway.put("small.parquet", b"PAR1").await;
    let reply = gateway.wire("GET", "/bucket/small.parquet").header("range", "bytes=-262144").send().await;
    assert_eq!(
        (reply.status, reply.text(), reply.header("content-range")),
        (206, "PAR1", Some("bytes 0-3/4"))
    );
}

/// s3fs deletes "directories" too, and got 500 for the whole list.
#[tokio::test]
async fn deleting_a_prefix_among_objects_is_deleted() {
    let gateway = Gateway::start().await;
    gateway.put("dir/a", b"x").await;
    let objects = ["dir", "dir/a"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
    let done = gateway.sdk().delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (2, 0));
}

/// restic's `check` reported packs missing that were there: the listing skipped some.
#[tokio::test]
async fn a_long_listing_misses_nothing() {
    let gateway = Gateway::start().await;
    let mut keys: Vec<String> =
        (0..1203).map(|n| format!("data/{:02x}/{:032x}", (n * 37) % 256, n * 7919)).collect();
    for key in &keys {
        gateway.put(key, b"").await;
    }
    keys.sort();
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    loop {
        let list = gateway.sdk().list_objects_v2().bucket(BUCKET).prefix("data/").fetch_owner(true);
        let page = list.set_continuation_token(token).send().await.unwrap();
        seen.extend(page.contents().iter().map(|it| it.key().unwrap().to_owned()));
        token = page.next_continuation_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, keys);
    let folded =
        gateway.sdk().list_objects_v2().bucket(BUCKET).prefix("data/").delimiter("/").send().await.unwrap();
    assert_eq!(folded.common_prefixes().len(), 256);
}
