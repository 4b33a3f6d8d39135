//! Listings: complete, in order, in pages, encoded when asked.

use aws_sdk_s3::types::EncodingType;

use crate::harness::{BUCKET, Gateway};

async fn with_keys(keys: &[&str]) -> Gateway {
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    for key in keys {
        sdk.put_object().bucket(BUCKET).key(*key).body(crate::harness::stream(b"x")).send().await.unwrap();
    }
    gateway
}

const KEYS: [&str; 9] = ["a", "a/b", "a/c/d", "a/c/e", "b c", "b+", "d/", "d/x", "é"];

#[tokio::test]
async fn pages_of_both_calls_are_complete_and_in_order() {
    let gateway = with_keys(&KEYS).await;
    let sdk = gateway.sdk();
    for size in 1..=10 {
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let page = sdk
                .list_objects_v2()
                .bucket(BUCKET)
                .max_keys(size)
                .set_continuation_token(token)
                .send()
                .await
                .unwrap();
            assert_eq!(page.key_count(), Some(page.contents().len() as i32));
            assert_eq!(page.is_truncated(), Some(page.next_continuation_token().is_some()));
            seen.extend(page.contents().iter().map(|it| it.key().unwrap().to_owned()));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, KEYS, "pages of {size}");
        let (mut seen, mut marker) = (Vec::new(), None::<String>);
        loop {
            let page =
                sdk.list_objects().bucket(BUCKET).max_keys(size).set_marker(marker).send().await.unwrap();
            assert!(page.next_marker().is_none());
            seen.extend(page.contents().iter().map(|it| it.key().unwrap().to_owned()));
            marker = seen.last().cloned();
            if page.is_truncated() != Some(true) {
                break;
            }
        }
        assert_eq!(seen, KEYS, "version 1, pages of {size}");
    }
}

#[tokio::test]
async fn delimiters_fold_prefixes() {
    let gateway = with_keys(&KEYS).await;
    let sdk = gateway.sdk();
    for size in 1..=8 {
        let (mut keys, mut prefixes, mut marker) = (Vec::new(), Vec::new(), None::<String>);
        loop {
            let page = sdk
                .list_objects()
                .bucket(BUCKET)
                .delimiter("/")
                .max_keys(size)
                .set_marker(marker)
                .send()
                .await
                .unwrap();
            keys.extend(page.contents().iter().map(|it| it.key().unwrap().to_owned()));
            prefixes.extend(page.common_prefixes().iter().map(|it| it.prefix().unwrap().to_owned()));
            marker = page.next_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) {
                break;
            }
            assert!(marker.is_some());
        }
        assert_eq!(keys, ["a", "b c", "b+", "é"], "pages of {size}");
        assert_eq!(prefixes, ["a/", "d/"], "pages of {size}");
    }
    let inside = sdk.list_objects_v2().bucket(BUCKET).prefix("a/").delimiter("/").send().await.unwrap();
    assert_eq!(inside.contents()[0].key(), Some("a/b"));
    assert_eq!(inside.common_prefixes()[0].prefix(), Some("a/c/"));
    assert_eq!(inside.key_count(), Some(2));
}

#[tokio::test]
async fn url_encoding_covers_names_and_leaves_tokens() {
    let gateway = with_keys(&KEYS).await;
    let target = "/bucket?encoding-type=url&list-type=2&max-keys=8&prefix=&start-after=a%2Fc%2Fd";
    let reply = gateway.wire("GET", target).send().await;
    for there in [
        "<Key>b%20c</Key>",
        "<Key>b%2B</Key>",
        "<Key>d/</Key>",
        "<Key>%C3%A9</Key>",
        "<StartAfter>a/c/d</StartAfter>",
        "<EncodingType>url</EncodingType>",
    ] {
        assert!(reply.text().contains(there), "{there} is not in {}", reply.text());
    }
    let reply = gateway.wire("GET", "/bucket?encoding-type=base64&list-type=2").send().await;
    assert_eq!((reply.status, reply.code()), (400, "InvalidArgument"));
    let sdk = gateway.sdk();
    let page = sdk
        .list_objects_v2()
        .bucket(BUCKET)
        .encoding_type(EncodingType::Url)
        .delimiter(" ")
        .send()
        .await
        .unwrap();
    assert_eq!(page.common_prefixes()[0].prefix(), Some("b%20"));
}

#[tokio::test]
async fn owners_are_told_when_asked_for() {
    let gateway = with_keys(&["k"]).await;
    let sdk = gateway.sdk();
    let plain = sdk.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    assert!(plain.contents()[0].owner().is_none());
    let owned = sdk.list_objects_v2().bucket(BUCKET).fetch_owner(true).send().await.unwrap();
    assert_eq!(owned.contents()[0].owner().unwrap().id(), Some("ann"));
    let first = sdk.list_objects().bucket(BUCKET).send().await.unwrap();
    assert_eq!(first.contents()[0].owner().unwrap().id(), Some("ann"));
}

#[tokio::test]
async fn bad_sizes_and_tokens_are_refused() {
    let gateway = with_keys(&["k"]).await;
    for query in [
        "list-type=2&max-keys=-1",
        "max-keys=x",
        "list-type=2&continuation-token=nonsense",
        "versions&version-id-marker=null",
    ] {
        let reply = gateway.wire("GET", &format!("/bucket?{query}")).send().await;
        assert_eq!((reply.status, reply.code()), (400, "InvalidArgument"), "{query}");
    }
    let none = gateway.wire("GET", "/bucket?list-type=2&max-keys=0").send().await;
    assert_eq!((none.element("KeyCount"), none.element("IsTruncated")), (Some("0"), Some("false")));
    assert_eq!(gateway.wire("GET", "/bucket?max-keys=5000").send().await.element("MaxKeys"), Some("1000"));
}

#[tokio::test]
async fn unversioned_objects_are_null_versions() {
    let gateway = with_keys(&KEYS).await;
    let sdk = gateway.sdk();
    let (mut seen, mut key_marker, mut version_marker) = (Vec::new(), None::<String>, None::<String>);
    loop {
        let page = sdk.list_object_versions().bucket(BUCKET).max_keys(4);
        let page =
            page.set_key_marker(key_marker).set_version_id_marker(version_marker).send().await.unwrap();
        for version in page.versions() {
            assert_eq!((version.version_id(), version.is_latest()), (Some("null"), Some(true)));
            seen.push(version.key().unwrap().to_owned());
        }
        key_marker = page.next_key_marker().map(str::to_owned);
        version_marker = page.next_version_id_marker().map(str::to_owned);
        if page.is_truncated() != Some(true) {
            break;
        }
    }
    assert_eq!(seen, KEYS);
}
