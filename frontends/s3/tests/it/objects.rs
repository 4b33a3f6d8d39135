//! Objects: what is put is what is got, whole, in ranges, under conditions, copied, deleted.

use std::collections::HashMap;

use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, MetadataDirective, ObjectAttributes, ObjectIdentifier, StorageClass,
    VersioningConfiguration,
};

use crate::harness::{BUCKET, Gateway, pattern, stream, told};
use crate::wire::Auth;

#[tokio::test]
async fn what_is_put_with_an_object_comes_back_with_it() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let body = pattern(200_001);
    let put = sdk.put_object().bucket(BUCKET).key("dir/ö b+c%").body(stream(&body)).content_type("text/x");
    let put = put
        .cache_control("no-cache")
        .content_disposition("inline")
        .content_language("de")
        .content_encoding("br");
    let put = put.metadata("name", "value").storage_class(StorageClass::StandardIa).send().await.unwrap();
    let get = sdk.get_object().bucket(BUCKET).key("dir/ö b+c%").send().await.unwrap();
    assert_eq!(get.e_tag(), put.e_tag());
    assert_eq!(get.content_type(), Some("text/x"));
    assert_eq!(get.cache_control(), Some("no-cache"));
    assert_eq!(get.content_disposition(), Some("inline"));
    assert_eq!(get.content_language(), Some("de"));
    assert_eq!(get.content_encoding(), Some("br"));
    assert_eq!(get.storage_class(), Some(&StorageClass::StandardIa));
    assert_eq!(get.metadata(), Some(&HashMap::from([("name".to_owned(), "value".to_owned())])));
    assert_eq!(get.content_length(), Some(200_001));
    assert!(get.body.collect().await.unwrap().into_bytes()[..] == body[..]);
    let head = sdk.head_object().bucket(BUCKET).key("dir/ö b+c%").send().await.unwrap();
    assert_eq!((head.content_length(), head.content_type()), (Some(200_001), Some("text/x")));
}

#[tokio::test]
async fn keys_are_opaque_bytes() {
    let gateway = Gateway::start().await;
    let keys = [
        "a//b",
        "..",
        "../../etc/passwd",
        "./x",
        "%252e%252e",
        "a%00b",
        "d/",
        "%F0%9F%A6%80",
        "a%3Fb",
        "k%2Bp+q",
        "c%5Cd",
    ];
    for (number, key) in keys.iter().enumerate() {
        gateway.put(key, format!("{number}").as_bytes()).await;
    }
    for (number, key) in keys.iter().enumerate() {
        let reply = gateway.get(key).await;
        assert_eq!(reply.text(), number.to_string(), "{key}");
    }
    let long = "k".repeat(1025);
    let reply = gateway.wire("PUT", &format!("/bucket/{long}")).send().await;
    assert_eq!((reply.status, reply.code()), (400, "KeyTooLongError"));
    gateway.put(&long[..1024], b"x").await;
    let reply = gateway.wire("PUT", "/bucket/%ff%fe").send().await;
    assert_eq!((reply.status, reply.code()), (400, "InvalidURI"));
    // The last six are AWS's own.
    for name in ["Bad_Bucket", "sthree-a", "amzn-s3-demo-a", "a-s3alias", "a--ol-s3", "a.mrap", "a--x-s3"] {
        let reply = gateway.wire("PUT", &format!("/{name}")).send().await;
        assert_eq!((reply.status, reply.code()), (400, "InvalidBucketName"), "{name}");
    }
}

#[tokio::test]
async fn metadata_may_come_in_many_short_headers() {
    let gateway = Gateway::start().await;
    let names: Vec<String> = (0..150).map(|number| format!("x-amz-meta-{number:03}")).collect();
    let put = names.iter().fold(gateway.wire("PUT", "/bucket/k"), |put, name| put.header(name, "v"));
    assert_eq!(put.send().await.status, 200);
    let reply = gateway.wire("HEAD", "/bucket/k").send().await;
    assert!(names.iter().all(|name| reply.header(name) == Some("v")), "{reply:?}");
}

#[tokio::test]
async fn ranges_are_what_rfc_9110_says() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"0123456789").await;
    gateway.put("empty", b"").await;
    for (range, status, body, content_range) in [
        ("bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-4", 206, "6789", Some("bytes 6-9/10")),
        ("bytes=-400", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=8-400", 206, "89", Some("bytes 8-9/10")),
        ("bytes=5-3", 200, "0123456789", None),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("items=0-1", 200, "0123456789", None),
    ] {
        let reply = gateway.wire("GET", "/bucket/k").header("range", range).send().await;
        assert_eq!((reply.status, reply.text()), (status, body), "{range}");
        assert_eq!(reply.header("content-range"), content_range, "{range}");
        let head = gateway.wire("HEAD", "/bucket/k").header("range", range).send().await;
        assert_eq!(
            (head.status, head.header("content-length")),
            (status, reply.header("content-length")),
            "{range}"
        );
    }
    for (key, range, len) in [("k", "bytes=10-", 10), ("k", "bytes=-0", 10), ("empty", "bytes=0-", 0)] {
        let reply = gateway.wire("GET", &format!("/bucket/{key}")).header("range", range).send().await;
        assert_eq!((reply.status, reply.code()), (416, "InvalidRange"), "{range}");
        assert_eq!(reply.header("content-range"), Some(format!("bytes */{len}").as_str()));
    }
    assert_eq!(gateway.get("empty").await.header("content-length"), Some("0"));
}

#[tokio::test]
async fn reads_under_conditions() {
    let gateway = Gateway::start().await;
    let tag = gateway.put("k", b"hello").await.header("etag").unwrap().to_owned();
    let get = |name: &str, value: &str| gateway.wire("GET", "/bucket/k").header(name, value);
    let past = "Thu, 01 Jan 2015 00:00:00 GMT";
    let future = "Thu, 01 Jan 2099 00:00:00 GMT";
    for (name, value, status) in [
        ("if-match", tag.as_str(), 200),
        ("if-match", "\"0\", \"5d41402abc4b2a76b9719d911017c592\"", 200),
        ("if-match", "\"other\"", 412),
        ("if-match", "*", 200),
        ("if-none-match", tag.as_str(), 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "other", 200),
        ("if-modified-since", future, 304),
        ("if-modified-since", past, 200),
        ("if-modified-since", "nonsense", 200),
        ("if-unmodified-since", past, 412),
        ("if-unmodified-since", future, 200),
    ] {
        let reply = get(name, value).send().await;
        assert_eq!(reply.status, status, "{name}: {value}");
        if status == 304 {
            assert_eq!(reply.header("etag"), Some(tag.as_str()));
            assert!(reply.body.is_empty() && reply.header("content-type").is_none());
            assert!(reply.header("last-modified").is_some());
        }
    }
}

#[tokio::test]
async fn the_answer_s_headers_can_be_asked_for() {
    let gateway = Gateway::start().await;
    let put = gateway.wire("PUT", "/bucket/k").header("expires", "0").header("content-type", "a/b");
    assert_eq!(put.body(b"x").send().await.status, 200);
    let reply = gateway.get("k").await;
    assert_eq!((reply.header("expires"), reply.header("content-type")), (Some("0"), Some("a/b")));
    for name in ["x-amz-request-id", "x-amz-id-2", "date", "last-modified", "server"] {
        assert!(reply.header(name).is_some(), "{name}");
    }
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let asked = "/bucket/k?response-content-type=c%2Fd&response-content-disposition=attachment&response-cache-control=no-store";
    let reply = gateway.wire("GET", asked).send().await;
    assert_eq!(reply.header("content-type"), Some("c/d"));
    assert_eq!(reply.header("content-disposition"), Some("attachment"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn errors_name_code_resource_and_request() {
    let gateway = Gateway::start().await;
    let reply = gateway.get("no%20such").await;
    assert_eq!((reply.status, reply.code()), (404, "NoSuchKey"));
    assert_eq!(reply.element("Resource"), Some("/bucket/no%20such"));
    assert_eq!(reply.element("RequestId"), reply.header("x-amz-request-id"));
    assert_eq!(reply.header("content-type"), Some("application/xml"));
    assert_eq!(reply.text().matches("<RequestId>").count(), 1);
    assert_eq!(gateway.wire("GET", "/nobucket/k").send().await.code(), "NoSuchBucket");
    assert_eq!(gateway.wire("GET", "/bucket/k?versionId=nonsense").send().await.code(), "InvalidArgument");
    assert_eq!(gateway.wire("PUT", "/bucket?cors").body(b"<a/>").send().await.status, 400);
    let reply = gateway.wire("GET", "/bucket?metrics&id=x").send().await;
    assert_eq!((reply.status, reply.code()), (501, "NotImplemented"));
}

#[tokio::test]
async fn settings_that_no_bucket_has_say_so() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    for (what, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("cors", "NoSuchCORSConfiguration"),
        ("tagging", "NoSuchTagSet"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
    ] {
        let reply = gateway.wire("GET", &format!("/bucket?{what}")).send().await;
        assert_eq!((reply.status, reply.code()), (404, code), "{what}");
        let reply = gateway.wire("GET", &format!("/nobucket?{what}")).send().await;
        assert_eq!(reply.code(), "NoSuchBucket", "{what}");
    }
    for target in ["/bucket?acl", "/bucket/k?acl"] {
        let acl = gateway.wire("GET", target).send().await;
        assert_eq!((acl.element("Permission"), acl.element("ID")), (Some("FULL_CONTROL"), Some("ann")));
    }
    for what in
        ["ownershipControls", "publicAccessBlock", "requestPayment", "logging", "notification", "accelerate"]
    {
        assert_eq!(gateway.wire("GET", &format!("/bucket?{what}")).send().await.status, 200, "{what}");
    }
    assert_eq!(gateway.wire("GET", "/bucket/k?tagging").send().await.status, 200);
}

#[tokio::test]
async fn buckets_are_made_found_and_removed() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    sdk.create_bucket().bucket("second").send().await.unwrap();
    assert_eq!(
        told(sdk.create_bucket().bucket("second").send().await),
        (409, "BucketAlreadyOwnedByYou".to_owned())
    );
    let names: Vec<String> = sdk
        .list_buckets()
        .send()
        .await
        .unwrap()
        .buckets()
        .iter()
        .map(|it| it.name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["bucket", "second"]);
    let location = sdk.get_bucket_location().bucket("second").send().await.unwrap();
    assert_eq!(location.location_constraint().map(|it| it.as_str()), Some("cess-1"));
    let head = gateway.wire("HEAD", "/second").send().await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("cess-1")));
    assert_eq!(gateway.wire("HEAD", "/third").send().await.status, 404);
    let elsewhere = b"<CreateBucketConfiguration><LocationConstraint>mars-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(
        gateway.wire("PUT", "/third").body(elsewhere).send().await.code(),
        "InvalidLocationConstraint"
    );
    let east = b"<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(gateway.wire("PUT", "/third").body(east).send().await.status, 200);
    let reply = gateway.wire("GET", "/third?location").send().await;
    assert!(!reply.text().contains("us-east-1"), "{}", reply.text());
    gateway.wire("PUT", "/second/k").body(b"x").send().await;
    assert_eq!(told(sdk.delete_bucket().bucket("second").send().await), (409, "BucketNotEmpty".to_owned()));
    sdk.delete_object().bucket("second").key("k").send().await.unwrap();
    assert_eq!(gateway.wire("DELETE", "/second").send().await.status, 204);
    let foreign =
        gateway.wire("GET", "/bucket?location").header("x-amz-expected-bucket-owner", "bob").send().await;
    assert_eq!((foreign.status, foreign.code()), (403, "AccessDenied"));
}

#[tokio::test]
async fn copies_keep_or_replace_what_the_source_had() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let body = pattern(100_000);
    let put =
        sdk.put_object().bucket(BUCKET).key("a b").body(stream(&body)).metadata("m", "1").content_type("t/a");
    put.send().await.unwrap();
    let copy = || sdk.copy_object().bucket(BUCKET).copy_source("bucket/a%20b");
    copy().key("kept").send().await.unwrap();
    let kept = sdk.get_object().bucket(BUCKET).key("kept").send().await.unwrap();
    assert_eq!((kept.content_type(), kept.metadata().unwrap()["m"].as_str()), (Some("t/a"), "1"));
    assert!(kept.body.collect().await.unwrap().into_bytes()[..] == body[..]);
    let replaced = copy().key("new").metadata_directive(MetadataDirective::Replace).metadata("n", "2");
    replaced.content_type("t/b").send().await.unwrap();
    let head = sdk.head_object().bucket(BUCKET).key("new").send().await.unwrap();
    assert_eq!(head.content_type(), Some("t/b"));
    assert_eq!(head.metadata(), Some(&HashMap::from([("n".to_owned(), "2".to_owned())])));
    assert_eq!(told(copy().key("a b").send().await), (400, "InvalidRequest".to_owned()));
    let none = sdk.copy_object().bucket(BUCKET).key("x").copy_source("bucket/none").send().await;
    assert_eq!(told(none), (404, "NoSuchKey".to_owned()));
    let tag = head.e_tag().unwrap();
    let other = copy().key("x").copy_source_if_none_match(tag).send().await;
    assert_eq!(told(other), (412, "PreconditionFailed".to_owned()));
    copy().key("x").copy_source_if_match(tag).send().await.unwrap();
    let onto = copy().key("x").if_none_match("*").send().await;
    assert_eq!(told(onto), (412, "PreconditionFailed".to_owned()));
}

#[tokio::test]
async fn deleting_what_is_not_there_is_deleting() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    gateway.put("dir/k", b"x").await;
    sdk.delete_object().bucket(BUCKET).key("none").send().await.unwrap();
    let objects =
        ["dir/k", "dir", "none", "dir/"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
    let done = sdk.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (4, 0), "{done:?}");
    gateway.assert_absent("dir/k").await;
    let reply = gateway.wire("DELETE", "/nobucket/k").send().await;
    assert_eq!((reply.status, reply.code()), (404, "NoSuchBucket"));
    let long = "k".repeat(1025);
    let body = format!("<Delete><Object><Key>{long}</Key></Object><Object><Key>a</Key></Object></Delete>");
    let reply = gateway.wire("POST", "/bucket?delete").body(body.as_bytes()).send().await;
    assert!(
        reply.text().contains("<Error>") && reply.text().contains("<Deleted><Key>a</Key>"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn writes_under_conditions() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let put = |body: &[u8]| sdk.put_object().bucket(BUCKET).key("k").body(stream(body));
    assert_eq!(told(put(b"1").if_match("\"5d41402abc4b2a76b9719d911017c592\"").send().await).0, 404);
    let first = put(b"1").if_none_match("*").send().await.unwrap();
    assert_eq!(told(put(b"2").if_none_match("*").send().await), (412, "PreconditionFailed".to_owned()));
    put(b"2").if_match(first.e_tag().unwrap()).send().await.unwrap();
    assert_eq!(
        told(put(b"3").if_match(first.e_tag().unwrap()).send().await),
        (412, "PreconditionFailed".to_owned())
    );
    assert_eq!(gateway.get("k").await.body, b"2");
    let gone = sdk.delete_object().bucket(BUCKET).key("k").if_match(first.e_tag().unwrap()).send().await;
    assert_eq!(told(gone), (412, "PreconditionFailed".to_owned()));
}

#[tokio::test]
async fn attributes_are_told_as_asked() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"hello").await;
    let sdk = gateway.sdk();
    let asked = [ObjectAttributes::Etag, ObjectAttributes::ObjectSize, ObjectAttributes::Checksum];
    let told =
        sdk.get_object_attributes().bucket(BUCKET).key("k").set_object_attributes(Some(asked.to_vec()));
    let told = told.send().await.unwrap();
    assert_eq!(told.e_tag(), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(told.object_size(), Some(5));
    assert!(told.checksum().unwrap().checksum_crc64_nvme().is_some());
    assert!(told.storage_class().is_none());
    let one =
        gateway.wire("GET", "/bucket/k?attributes").header("x-amz-object-attributes", "ETag,StorageClass");
    let one = one.send().await;
    assert_eq!((one.element("StorageClass"), one.element("ObjectSize")), (Some("STANDARD"), None));
}

#[tokio::test]
async fn versions_are_kept_where_the_bucket_says_so() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let status = || async {
        let told = sdk.get_bucket_versioning().bucket(BUCKET).send().await.unwrap();
        told.status().map(|status| status.as_str().to_owned())
    };
    assert_eq!(status().await, None);
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    sdk.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
    assert_eq!(status().await.as_deref(), Some("Enabled"));
    let one = gateway.put("k", b"1").await.header("x-amz-version-id").unwrap().to_owned();
    let two = gateway.put("k", b"2").await.header("x-amz-version-id").unwrap().to_owned();
    assert_ne!(one, two);
    let marker = gateway.wire("DELETE", "/bucket/k").send().await;
    assert_eq!(marker.header("x-amz-delete-marker"), Some("true"));
    let marker = marker.header("x-amz-version-id").unwrap();
    let gone = gateway.get("k").await;
    assert_eq!((gone.status, gone.header("x-amz-delete-marker")), (404, Some("true")));
    assert_eq!(gateway.get(&format!("k?versionId={one}")).await.body, b"1");
    let reply = gateway.get(&format!("k?versionId={marker}")).await;
    assert_eq!((reply.status, reply.code()), (405, "MethodNotAllowed"));
    let listed = sdk.list_object_versions().bucket(BUCKET).send().await.unwrap();
    let ids: Vec<_> = listed.versions().iter().map(|version| version.version_id().unwrap()).collect();
    assert_eq!(ids, [two.as_str(), one.as_str()]);
    assert_eq!(listed.delete_markers()[0].version_id(), Some(marker));
    assert_eq!(listed.delete_markers()[0].is_latest(), Some(true));
    gateway.wire("DELETE", &format!("/bucket/k?versionId={marker}")).send().await;
    assert_eq!(gateway.get("k").await.body, b"2");
    let mfa = b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>";
    assert_eq!(gateway.wire("PUT", "/bucket?versioning").body(mfa).send().await.status, 501);
}

#[tokio::test]
async fn no_object_has_a_torrent() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    let ask = || gateway.wire("GET", "/bucket/k?torrent");
    let reply = ask().send().await;
    assert_eq!((reply.status, reply.code()), (404, "NoSuchKey"));
    assert!(reply.text().contains("There is no torrent of this object."));
    assert_eq!(ask().with(|wire| wire.auth = Auth::Nothing).send().await.status, 403);
}
