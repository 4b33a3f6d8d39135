//! Uploads in parts.

use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::crypto::{Checksum as _, Crc64Nvme, Sha256};

use crate::harness::{BUCKET, Gateway, pattern, stream, told};

const PART: usize = 5 << 20;

/// Puts parts and completes; the SDK chooses checksums as it does by default.
async fn upload(gateway: &Gateway, key: &str, parts: &[&[u8]]) -> String {
    let sdk = gateway.sdk();
    let begun =
        sdk.create_multipart_upload().bucket(BUCKET).key(key).content_type("t/x").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut done = Vec::new();
    for (number, part) in (1..).zip(parts) {
        let put =
            sdk.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number).body(stream(part));
        let put = put.send().await.unwrap();
        let mut line = CompletedPart::builder().part_number(number).e_tag(put.e_tag().unwrap());
        line = line.set_checksum_crc32(put.checksum_crc32().map(str::to_owned));
        done.push(line.build());
    }
    let list = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
    let complete =
        sdk.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id).multipart_upload(list);
    complete.send().await.unwrap().e_tag().unwrap().to_owned()
}

#[tokio::test]
async fn parts_make_one_object_readable_whole_in_ranges_and_by_part() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let body = pattern(2 * PART + 1000);
    let tag = upload(&gateway, "big", &[&body[..PART], &body[PART..2 * PART], &body[2 * PART..]]).await;
    assert!(tag.ends_with("-3\""), "{tag}");
    let get =
        sdk.get_object().bucket(BUCKET).key("big").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!((get.e_tag(), get.content_type()), (Some(tag.as_str()), Some("t/x")));
    assert!(get.body.collect().await.unwrap().into_bytes()[..] == body[..]);
    let over = sdk
        .get_object()
        .bucket(BUCKET)
        .key("big")
        .range(format!("bytes={}-{}", PART - 5, PART + 4))
        .send()
        .await;
    assert!(over.unwrap().body.collect().await.unwrap().into_bytes()[..] == body[PART - 5..PART + 5]);
    let last = sdk.get_object().bucket(BUCKET).key("big").part_number(3).send().await.unwrap();
    assert_eq!((last.parts_count(), last.content_length()), (Some(3), Some(1000)));
    assert!(last.body.collect().await.unwrap().into_bytes()[..] == body[2 * PART..]);
    let none = gateway.wire("GET", "/bucket/big?partNumber=4").send().await;
    assert_eq!((none.status, none.code()), (416, "InvalidPartNumber"));
    let asked = vec![ObjectAttributes::ObjectParts];
    let told =
        sdk.get_object_attributes().bucket(BUCKET).key("big").set_object_attributes(Some(asked)).max_parts(2);
    let told = told.send().await.unwrap();
    let parts = told.object_parts().unwrap();
    assert_eq!((parts.total_parts_count(), parts.is_truncated()), (Some(3), Some(true)));
    assert_eq!(parts.parts().len(), 2);
}

#[tokio::test]
async fn full_object_and_composite_checksums_follow_from_the_parts() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let body = pattern(PART + 10);
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
    ] {
        let begun =
            sdk.create_multipart_upload().bucket(BUCKET).key("k").checksum_algorithm(algorithm.clone());
        let begun = begun.checksum_type(kind.clone()).send().await.unwrap();
        let id = begun.upload_id().unwrap();
        let mut done = Vec::new();
        for (number, part) in [(1, &body[..PART]), (2, &body[PART..])] {
            let put = sdk.upload_part().bucket(BUCKET).key("k").upload_id(id).part_number(number);
            let put = put.checksum_algorithm(algorithm.clone()).body(stream(part)).send().await.unwrap();
            let line = CompletedPart::builder().part_number(number).e_tag(put.e_tag().unwrap());
            let line = line.set_checksum_sha256(put.checksum_sha256().map(str::to_owned));
            done.push(line.set_checksum_crc64_nvme(put.checksum_crc64_nvme().map(str::to_owned)).build());
        }
        let list = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
        let complete =
            sdk.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(id).checksum_type(kind.clone());
        let wrong = complete.clone().multipart_upload(list.clone());
        let wrong = match kind {
            ChecksumType::FullObject => wrong.checksum_crc64_nvme("AAAAAAAAAAA="),
            _ => wrong.checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        };
        assert_eq!(told(wrong.send().await), (400, "BadDigest".to_owned()));
        gateway.assert_absent("k").await;
        let made = complete.multipart_upload(list).send().await.unwrap();
        assert_eq!(made.checksum_type(), Some(&kind));
        match kind {
            ChecksumType::FullObject => {
                let whole = STANDARD.encode(Crc64Nvme::checksum(&body));
                assert_eq!(made.checksum_crc64_nvme(), Some(whole.as_str()));
            }
            _ => {
                let joined = [Sha256::checksum(&body[..PART]), Sha256::checksum(&body[PART..])].concat();
                let whole = format!("{}-2", STANDARD.encode(Sha256::checksum(&joined)));
                assert_eq!(made.checksum_sha256(), Some(whole.as_str()));
            }
        }
        sdk.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
    }
    let sha =
        sdk.create_multipart_upload().bucket(BUCKET).key("k").checksum_algorithm(ChecksumAlgorithm::Sha1);
    let sha = sha.checksum_type(ChecksumType::FullObject).send().await;
    assert_eq!(told(sha), (400, "InvalidRequest".to_owned()));
}

#[tokio::test]
async fn parts_are_copied_listed_replaced_and_given_up() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let body = pattern(PART + 100);
    gateway.put("source", &body).await;
    let begun = sdk.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let copy = |number, range: &str| {
        let copy = sdk.upload_part_copy().bucket(BUCKET).key("k").upload_id(id).part_number(number);
        copy.copy_source("bucket/source").copy_source_range(range)
    };
    copy(1, &format!("bytes=0-{}", PART - 1)).send().await.unwrap();
    copy(2, &format!("bytes={PART}-{}", PART + 99)).send().await.unwrap();
    assert_eq!(told(copy(3, "bytes=5-").send().await), (400, "InvalidArgument".to_owned()));
    assert_eq!(told(copy(3, &format!("bytes={}-{}", PART + 100, PART + 101)).send().await).0, 416);
    let page = sdk.list_parts().bucket(BUCKET).key("k").upload_id(id).max_parts(1).send().await.unwrap();
    assert_eq!(
        (page.parts().len(), page.is_truncated(), page.next_part_number_marker()),
        (1, Some(true), Some("1"))
    );
    let rest =
        sdk.list_parts().bucket(BUCKET).key("k").upload_id(id).part_number_marker("1").send().await.unwrap();
    assert_eq!((rest.parts()[0].part_number(), rest.parts()[0].size()), (Some(2), Some(100)));
    let uploads = sdk.list_multipart_uploads().bucket(BUCKET).prefix("k").send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id));
    let all = sdk.list_parts().bucket(BUCKET).key("k").upload_id(id).send().await.unwrap();
    let lines = all.parts().iter().map(|part| {
        CompletedPart::builder().part_number(part.part_number().unwrap()).e_tag(part.e_tag().unwrap()).build()
    });
    let list = CompletedMultipartUpload::builder().set_parts(Some(lines.collect())).build();
    let complete = || {
        sdk.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(id).multipart_upload(list.clone())
    };
    let first = complete().send().await.unwrap();
    assert!(gateway.get("k").await.body == body);
    // A client that lost the answer asks again and gets the same.
    assert_eq!(complete().send().await.unwrap().e_tag(), first.e_tag());

    let begun = sdk.create_multipart_upload().bucket(BUCKET).key("gone").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    sdk.abort_multipart_upload().bucket(BUCKET).key("gone").upload_id(id).send().await.unwrap();
    let put = sdk
        .upload_part()
        .bucket(BUCKET)
        .key("gone")
        .upload_id(id)
        .part_number(1)
        .body(stream(b"x"))
        .send()
        .await;
    assert_eq!(told(put), (404, "NoSuchUpload".to_owned()));
    let never = gateway.wire("GET", "/bucket/gone?uploadId=nonsense").send().await;
    assert_eq!((never.status, never.code()), (404, "NoSuchUpload"));
}

#[tokio::test]
async fn lists_of_parts_must_be_true() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let begun = sdk.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut tags = Vec::new();
    for number in [1, 2] {
        let put = sdk
            .upload_part()
            .bucket(BUCKET)
            .key("k")
            .upload_id(id)
            .part_number(number)
            .body(stream(b"small"));
        tags.push(put.send().await.unwrap().e_tag().unwrap().to_owned());
    }
    let complete = |parts: Vec<(i32, &str)>| {
        let lines =
            parts.into_iter().map(|(n, tag)| CompletedPart::builder().part_number(n).e_tag(tag).build());
        let list = CompletedMultipartUpload::builder().set_parts(Some(lines.collect())).build();
        sdk.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(id).multipart_upload(list).send()
    };
    let code = |result: Result<_, _>| told(result).1;
    assert_eq!(code(complete(vec![(1, &tags[0]), (2, &tags[1])]).await), "EntityTooSmall");
    assert_eq!(code(complete(vec![(2, &tags[1]), (1, &tags[0])]).await), "InvalidPartOrder");
    assert_eq!(code(complete(vec![(1, "\"0\"")]).await), "InvalidPart");
    assert_eq!(code(complete(vec![(3, &tags[0])]).await), "InvalidPart");
    let empty = gateway
        .wire("POST", &format!("/bucket/k?uploadId={id}"))
        .body(b"<CompleteMultipartUpload></CompleteMultipartUpload>");
    assert_eq!(empty.send().await.code(), "MalformedXML");
    let zero = gateway.wire("PUT", &format!("/bucket/k?uploadId={id}&partNumber=0")).body(b"x").send().await;
    assert_eq!((zero.status, zero.code()), (400, "InvalidArgument"));
    gateway.assert_absent("k").await;
    complete(vec![(1, &tags[0])]).await.unwrap();
    assert_eq!(gateway.get("k").await.body, b"small");
}

#[tokio::test]
async fn a_wrong_part_leaves_no_part() {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let begun = sdk.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let target = format!("/bucket/k?uploadId={id}&partNumber=1");
    let reply = gateway
        .wire("PUT", &target)
        .header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")
        .body(b"x")
        .send()
        .await;
    assert_eq!((reply.status, reply.code()), (400, "BadDigest"));
    let reply = gateway
        .wire("PUT", &target)
        .header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")
        .body(b"x")
        .send()
        .await;
    assert_eq!(reply.status, 400);
    let page = sdk.list_parts().bucket(BUCKET).key("k").upload_id(id).send().await.unwrap();
    assert!(page.parts().is_empty());
}
