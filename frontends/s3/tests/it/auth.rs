//! Who may ask, and how that must be said.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gw_s3::LOG_DIRECTIVE;

use crate::harness::{Gateway, SECRET};
use crate::wire::{Auth, Payload};

const LIST: &str = "/bucket?list-type=2";

#[tokio::test]
async fn a_wrong_secret_an_unknown_key_and_a_skewed_clock_are_refused() {
    let gateway = Gateway::start().await;
    let list = || gateway.wire("GET", LIST);
    assert_eq!(list().send().await.status, 200);
    let reply = list().with(|wire| wire.secret = "wrong".to_owned()).send().await;
    assert_eq!((reply.status, reply.code()), (403, "SignatureDoesNotMatch"));
    let reply = list().with(|wire| wire.access_key = "AKIANOBODY".to_owned()).send().await;
    assert_eq!((reply.status, reply.code()), (403, "InvalidAccessKeyId"));
    for back_secs in [1000, -1000] {
        let reply = list().skewed(back_secs).send().await;
        assert_eq!((reply.status, reply.code()), (403, "RequestTimeTooSkewed"), "{back_secs}");
    }
    assert_eq!(list().skewed(800).send().await.status, 200);
}

#[tokio::test]
async fn nobody_gets_nothing() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    for (method, target) in
        [("GET", "/"), ("GET", LIST), ("GET", "/bucket/k"), ("PUT", "/bucket/n"), ("DELETE", "/bucket/k")]
    {
        let anonymous = gateway.wire(method, target).with(|wire| wire.auth = Auth::Nothing);
        // A header that names nobody is as good as none.
        for wire in [anonymous.clone().header("authorization", ""), anonymous] {
            let reply = wire.send().await;
            assert_eq!((reply.status, reply.code()), (403, "AccessDenied"), "{method} {target}");
        }
    }
    assert_eq!(gateway.get("k").await.body, b"x");
}

#[tokio::test]
async fn another_users_bucket_is_closed() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    let as_bob = |method: &str, target: &str| {
        gateway.wire(method, target).with(|wire| {
            wire.access_key = "AKIABOB".to_owned();
            wire.secret = "bobs-secret".to_owned();
        })
    };
    for (method, target) in [
        ("GET", "/bucket/k"),
        ("PUT", "/bucket/k"),
        ("DELETE", "/bucket/k"),
        ("GET", LIST),
        ("GET", "/bucket?acl"),
    ] {
        let reply = as_bob(method, target).send().await;
        assert_eq!((reply.status, reply.code()), (403, "AccessDenied"), "{method} {target}");
    }
    assert!(!as_bob("GET", "/").send().await.text().contains("<Name>bucket</Name>"));
}

#[tokio::test]
async fn version_2_signatures_are_refused_and_the_fix_is_named() {
    let gateway = Gateway::start().await;
    let query =
        "/bucket/k?AWSAccessKeyId=AKIATEST&Signature=ddxnSmfCjcoweWjUycj43sF4fUc%3D&Expires=4102444800";
    let by_query = gateway.wire("GET", query).with(|wire| wire.auth = Auth::Nothing);
    let by_header = gateway
        .wire("GET", "/bucket/k")
        .with(|wire| wire.auth = Auth::Nothing)
        .header("authorization", "AWS AKIATEST:ddxnSmfCjcoweWjUycj43sF4fUc=")
        .header("date", "Thu, 01 Jan 2026 00:00:00 GMT");
    for request in [by_query, by_header] {
        let reply = request.send().await;
        assert_eq!((reply.status, reply.code()), (400, "InvalidRequest"));
        assert!(reply.text().contains("set region cess-1"), "{}", reply.text());
    }
}

#[tokio::test]
async fn another_region_is_refused_and_the_right_one_named() {
    let gateway = Gateway::start().await;
    let reply = gateway.wire("GET", LIST).with(|wire| wire.region = "eu-west-1".to_owned()).send().await;
    assert_eq!((reply.status, reply.code()), (400, "AuthorizationHeaderMalformed"));
    assert_eq!(reply.element("Region"), Some("cess-1"));
    let reply = gateway.wire("GET", LIST).with(|wire| wire.region = "us-east-1".to_owned()).send().await;
    assert_eq!(reply.status, 200);
    let reply = gateway.wire("GET", LIST).with(|wire| wire.service = "sts".to_owned()).send().await;
    assert_eq!(reply.code(), "AuthorizationHeaderMalformed");
}

#[tokio::test]
async fn presigned_urls_work_for_what_they_were_made_for_and_no_longer_than_a_week() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"hello").await;
    let presigned = |method: &str, target: &str, seconds: u64| {
        gateway.wire(method, target).with(|wire| {
            wire.auth = Auth::Query(seconds);
            wire.payload = Payload::Unsigned;
        })
    };
    let reply = presigned("GET", "/bucket/k?response-content-type=text%2Fx", 60).send().await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"hello"[..]), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/x"));
    assert_eq!(presigned("PUT", "/bucket/n", 60).body(b"new").send().await.status, 200);
    assert_eq!(gateway.get("n").await.body, b"new");
    let reply = presigned("GET", "/bucket/k", 60).skewed(61).send().await;
    assert_eq!((reply.status, reply.code()), (403, "AccessDenied"));
    assert_eq!(presigned("GET", "/bucket/k", 7 * 24 * 3600).send().await.status, 200);
    let reply = presigned("GET", "/bucket/k", 7 * 24 * 3600 + 1).send().await;
    assert_eq!((reply.status, reply.code()), (400, "AuthorizationQueryParametersError"));
    // The URL is good for its method and key only.
    let text = String::from_utf8(presigned("GET", "/bucket/k", 60).bytes()).unwrap();
    for (from, to) in [("GET /bucket/k", "GET /bucket/n"), ("GET ", "DELETE ")] {
        let other = text.replacen(from, to, 1);
        let reply = crate::wire::exchange(gateway.addr, other.as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (403, "SignatureDoesNotMatch"), "{to}");
    }
}

#[tokio::test]
async fn a_presigned_body_is_compared_with_the_digest_that_comes_with_it() {
    let gateway = Gateway::start().await;
    let put = |digest: &str| {
        let wire = gateway.wire("PUT", "/bucket/k").body(b"hello").late("x-amz-content-sha256", digest);
        wire.with(|wire| {
            wire.auth = Auth::Query(60);
            wire.payload = Payload::Unsigned;
        })
    };
    let wrong = "0".repeat(64);
    let reply = put(&wrong).send().await;
    assert_eq!((reply.status, reply.code()), (400, "XAmzContentSHA256Mismatch"));
    gateway.assert_absent("k").await;
    let right = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(put(right).send().await.status, 200);
}

#[tokio::test]
async fn signing_twice_and_adding_headers_after_signing_are_refused() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    let both = gateway.wire("GET", "/bucket/k").with(|wire| {
        wire.auth = Auth::Query(60);
        wire.payload = Payload::Unsigned;
    });
    let both = both.late(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=a/20260101/cess-1/s3/aws4_request,SignedHeaders=host,Signature=0",
    );
    let reply = both.send().await;
    assert_eq!((reply.status, reply.code()), (400, "InvalidArgument"));
    let reply = gateway.wire("PUT", "/bucket/k").late("x-amz-acl", "public-read").send().await;
    assert_eq!((reply.status, reply.code()), (403, "AccessDenied"));
    let reply = gateway.wire("PUT", "/bucket/c").late("x-amz-copy-source", "/bucket/k").send().await;
    assert_eq!((reply.status, reply.code()), (403, "AccessDenied"));
    let reply = gateway.wire("GET", "/bucket/k").late("host", "other").send().await;
    assert_eq!((reply.status, reply.code()), (400, "InvalidRequest"));
    let token = gateway.wire("GET", "/bucket/k").header("x-amz-security-token", "t").send().await;
    assert_eq!((token.status, token.code()), (400, "InvalidToken"));
}

#[tokio::test]
async fn only_configured_domains_name_a_bucket_in_the_host() {
    let gateway = Gateway::start_with(|config| config.base_domains = vec!["s3.test".to_owned()]).await;
    gateway.put("k", b"hosted").await;
    let at = |host: &str, target: &str| gateway.wire("GET", target).with(|wire| wire.host = host.to_owned());
    assert_eq!(at("bucket.s3.test", "/k").send().await.body, b"hosted");
    assert_eq!(at("s3.test", "/bucket/k").send().await.body, b"hosted");
    // An unknown host is path style, never a bucket of that name.
    assert_eq!(at("bucket", "/bucket/k").send().await.body, b"hosted");
    assert_eq!(at("bucketxs3.test", "/bucket/k").send().await.body, b"hosted");
}

/// What is logged while it listens, s3s left out as the crate demands.
#[derive(Default)]
struct Captured {
    listens: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

struct Writer(Arc<Captured>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.listens.load(Ordering::Relaxed) {
            self.0.bytes.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The subscriber is the process's, so tests that run beside this one are searched too.
#[tokio::test]
async fn the_log_names_the_request_and_holds_no_secret_no_signature_and_no_content() {
    let captured = Arc::new(Captured::default());
    captured.listens.store(true, Ordering::Relaxed);
    let writer = Arc::clone(&captured);
    tracing_subscriber::fmt()
        // The clients here print what they sign.
        .with_env_filter(format!(
            "trace,{LOG_DIRECTIVE},aws_sigv4=off,aws_runtime=off,aws_smithy_runtime=off"
        ))
        .with_ansi(false)
        .with_writer(move || Writer(Arc::clone(&writer)))
        .init();
    let gateway = Gateway::start().await;
    gateway.put("seen-key", b"canary-content").await;
    let presigned = gateway.wire("GET", "/bucket/seen-key").with(|wire| {
        wire.auth = Auth::Query(60);
        wire.payload = Payload::Unsigned;
    });
    let text = String::from_utf8(presigned.bytes()).unwrap();
    let signature = text.split_once("X-Amz-Signature=").unwrap().1[..64].to_owned();
    assert_eq!(presigned.send().await.status, 200);
    gateway.get("unseen-key").await;
    gateway.running.shutdown().await;
    captured.listens.store(false, Ordering::Relaxed);
    let log = String::from_utf8(captured.bytes.lock().unwrap().clone()).unwrap();
    let line = |path: &str| {
        let mark = format!("path=/bucket/{path} ");
        log.lines().find(|line| line.contains(&mark)).unwrap_or_else(|| panic!("{path} is not in\n{log}"))
    };
    for there in ["access: ", "operation=\"PutObject\"", "user=\"ann\"", "status=200", "bytes_in=14"] {
        assert!(line("seen-key").contains(there), "{there}: {}", line("seen-key"));
    }
    assert!(line("unseen-key").contains("status=404 code=\"NoSuchKey\""), "{}", line("unseen-key"));
    for never in [SECRET, &signature, "canary-content", "X-Amz-Credential"] {
        assert!(
            !log.contains(never),
            "{never} is logged: {:?}",
            log.lines().find(|line| line.contains(never))
        );
    }
}
