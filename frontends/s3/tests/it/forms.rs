//! Form uploads: fields, policies, signatures of both versions, what is answered.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_s3::NewBuckets;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

use crate::harness::{ACCESS_KEY, Gateway, SECRET};
use crate::wire::{Auth, Reply};

const POLICY: &str = r#"{"expiration":"2100-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},
    ["starts-with","$key","up/"],["starts-with","$x-amz-meta-a",""],["starts-with","$Content-Type",""],
    ["starts-with","$success_action_status",""],["starts-with","$x-amz-credential",""],
    ["starts-with","$x-amz-algorithm",""],["starts-with","$x-amz-date",""],["content-length-range",2,10]]}"#;

fn sign_4(policy: &str) -> Vec<(&'static str, String)> {
    let encoded = STANDARD.encode(policy);
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for word in ["20260101", "cess-1", "s3", "aws4_request"] {
        let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(word);
        key = mac.finalize().into_bytes().to_vec();
    }
    let signature = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(&encoded).finalize();
    vec![
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", format!("{ACCESS_KEY}/20260101/cess-1/s3/aws4_request")),
        ("x-amz-date", "20260101T000000Z".to_owned()),
        ("x-amz-signature", hex::encode(signature.into_bytes())),
        ("policy", encoded),
    ]
}

fn sign_2(policy: &str) -> Vec<(&'static str, String)> {
    let encoded = STANDARD.encode(policy);
    let mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&encoded);
    vec![
        ("AWSAccessKeyId", ACCESS_KEY.to_owned()),
        ("signature", STANDARD.encode(mac.finalize().into_bytes())),
        ("policy", encoded),
    ]
}

async fn post(gateway: &Gateway, fields: &[(&str, String)], file: &str) -> Reply {
    post_to(gateway, "/bucket", fields, file).await
}

async fn post_to(gateway: &Gateway, target: &str, fields: &[(&str, String)], file: &str) -> Reply {
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    body.push_str("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n");
    body.push_str(&format!("Content-Type: text/x\r\n\r\n{file}\r\n--B--\r\n"));
    let request = gateway.wire("POST", target).with(|wire| wire.auth = Auth::Nothing);
    request.header("content-type", "multipart/form-data; boundary=B").body(body.as_bytes()).send().await
}

fn with(
    mut signed: Vec<(&'static str, String)>,
    more: &[(&'static str, &str)],
) -> Vec<(&'static str, String)> {
    signed.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    signed
}

#[tokio::test]
async fn a_signed_form_puts_its_file_with_its_fields() {
    let gateway = Gateway::start().await;
    let fields = with(
        sign_4(POLICY),
        &[("key", "up/${filename}"), ("x-amz-meta-a", "b"), ("success_action_status", "201")],
    );
    let reply = post(&gateway, &fields, "hello").await;
    assert_eq!((reply.status, reply.element("Key")), (201, Some("up/f.txt")), "{reply:?}");
    let object = gateway.get("up/f.txt").await;
    assert_eq!((object.text(), object.header("x-amz-meta-a")), ("hello", Some("b")));
    assert_eq!(object.header("content-type"), Some("text/x"));
    let reply = post(&gateway, &with(sign_4(POLICY), &[("key", "up/2")]), "hello").await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
}

#[tokio::test]
async fn what_the_policy_does_not_say_is_refused_and_leaves_nothing() {
    let gateway = Gateway::start().await;
    for (fields, file, status, code) in [
        (with(sign_4(POLICY), &[("key", "down/x")]), "hello", 403, "AccessDenied"),
        (with(sign_4(POLICY), &[("key", "up/x"), ("acl", "private")]), "hello", 403, "AccessDenied"),
        (with(sign_4(POLICY), &[("key", "up/x")]), "h", 400, "EntityTooSmall"),
        (with(sign_4(POLICY), &[("key", "up/x")]), "hello hello hello", 400, "EntityTooLarge"),
        (with(sign_4("{}"), &[("key", "up/x")]), "hello", 400, "InvalidPolicyDocument"),
        (with(sign_4(&POLICY.replace("2100", "2000")), &[("key", "up/x")]), "hello", 403, "AccessDenied"),
        (sign_4(POLICY), "hello", 400, "InvalidArgument"),
        (with(sign_2(POLICY), &[("key", "up/x")]), "hello", 400, "InvalidRequest"),
        (with(vec![], &[("key", "up/x")]), "hello", 403, "AccessDenied"),
    ] {
        let reply = post(&gateway, &fields, file).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{fields:?}");
    }
    let mut forged = with(sign_4(POLICY), &[("key", "up/x")]);
    forged[3].1 = "0".repeat(64);
    assert_eq!(post(&gateway, &forged, "hello").await.code(), "SignatureDoesNotMatch");
    // A form goes to a bucket; its key stands in a field.
    let reply = post_to(&gateway, "/bucket/up/x", &with(sign_4(POLICY), &[("key", "up/x")]), "hello").await;
    assert_eq!((reply.status, reply.code()), (405, "MethodNotAllowed"));
    gateway.assert_absent("up/x").await;
}

#[tokio::test]
async fn version_2_is_let_in_where_the_operator_says_so() {
    let gateway = Gateway::start_with(|config| config.sigv2_presigned = true).await;
    let reply = post(&gateway, &with(sign_2(POLICY), &[("key", "up/x")]), "hello").await;
    assert_eq!(reply.status, 204, "{reply:?}");
    gateway.put("k", b"body").await;
    let presigned = |expires: u64| {
        let mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("GET\n\n\n{expires}\n/bucket/k")).finalize();
        let signature = crate::wire::escape(&STANDARD.encode(mac.into_bytes()));
        let target = format!("/bucket/k?AWSAccessKeyId={ACCESS_KEY}&Signature={signature}&Expires={expires}");
        gateway.wire("GET", &target).with(|wire| wire.auth = Auth::Nothing).send()
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(presigned(now + 3600).await.text(), "body");
    assert_eq!(presigned(1_000_000_000).await.status, 403);
    assert_eq!(presigned(now + 8 * 24 * 3600).await.code(), "AccessDenied");
    let by_header = gateway.wire("GET", "/bucket/k").with(|wire| wire.auth = Auth::Nothing);
    assert_eq!(by_header.header("authorization", "AWS AKIATEST:x").send().await.status, 400);
}

#[tokio::test]
async fn a_form_without_a_policy_comes_from_nobody() {
    let gateway = Gateway::start_with(|config| config.new_buckets = NewBuckets::Classic).await;
    let put = |key: &'static str| with(vec![], &[("key", key)]);
    assert_eq!(post(&gateway, &put("k"), "hello").await.code(), "AccessDenied");
    let acl = gateway.wire("PUT", "/bucket?acl").header("x-amz-acl", "public-read-write").send().await;
    assert_eq!(acl.status, 200, "{acl:?}");
    assert_eq!(post(&gateway, &put("k"), "hello").await.status, 204);
}
