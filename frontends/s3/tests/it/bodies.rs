//! Bodies that are not what they say leave nothing behind.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Gateway, pattern};
use crate::wire::{Payload, Wire, unsigned_chunks};

fn crc32(body: &[u8]) -> String {
    STANDARD.encode(Crc32::checksum(body))
}

/// Every algorithm's header with the right value.
fn all(body: &[u8]) -> [(&'static str, String); 5] {
    [
        ("x-amz-checksum-crc32", STANDARD.encode(Crc32::checksum(body))),
        ("x-amz-checksum-crc32c", STANDARD.encode(Crc32c::checksum(body))),
        ("x-amz-checksum-crc64nvme", STANDARD.encode(Crc64Nvme::checksum(body))),
        ("x-amz-checksum-sha1", STANDARD.encode(Sha1::checksum(body))),
        ("x-amz-checksum-sha256", STANDARD.encode(Sha256::checksum(body))),
    ]
}

#[tokio::test]
async fn checksums_in_headers_are_verified_kept_and_given_back() {
    let gateway = Gateway::start().await;
    let body = pattern(100_000);
    for ((name, right), (_, wrong)) in all(&body).into_iter().zip(all(b"other")) {
        let reply = gateway.wire("PUT", "/bucket/k").header(name, &wrong).body(&body).send().await;
        assert_eq!((reply.status, reply.code()), (400, "BadDigest"), "{name}");
        gateway.assert_absent("k").await;
        let reply = gateway.wire("PUT", "/bucket/k").header(name, &right).body(&body).send().await;
        assert_eq!((reply.status, reply.header(name)), (200, Some(right.as_str())), "{name}");
        let asked = gateway.wire("HEAD", "/bucket/k").header("x-amz-checksum-mode", "ENABLED").send().await;
        assert_eq!(asked.header(name), Some(right.as_str()));
        assert_eq!(asked.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        assert_eq!(gateway.wire("HEAD", "/bucket/k").send().await.header(name), None);
        gateway.wire("DELETE", "/bucket/k").send().await;
    }
}

#[tokio::test]
async fn an_object_without_a_checksum_gets_one() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"hello").await;
    let asked = gateway.wire("GET", "/bucket/k").header("x-amz-checksum-mode", "ENABLED").send().await;
    let crc = STANDARD.encode(Crc64Nvme::checksum(b"hello"));
    assert_eq!(asked.header("x-amz-checksum-crc64nvme"), Some(crc.as_str()));
    // A part of the object must not carry the checksum of the whole.
    let part = gateway
        .wire("GET", "/bucket/k")
        .header("x-amz-checksum-mode", "ENABLED")
        .header("range", "bytes=0-1");
    assert_eq!(part.send().await.header("x-amz-checksum-crc64nvme"), None);
}

#[tokio::test]
async fn a_wrong_md5_or_payload_digest_leaves_nothing() {
    let gateway = Gateway::start().await;
    let put = || gateway.wire("PUT", "/bucket/k").body(b"hello");
    let reply = put().header("content-md5", &STANDARD.encode(Md5::checksum(b"other"))).send().await;
    assert_eq!((reply.status, reply.code()), (400, "BadDigest"));
    let reply = put().header("content-md5", "not base64").send().await;
    assert_eq!((reply.status, reply.code()), (400, "InvalidDigest"));
    let reply = put().with(|wire| wire.spoil = |_| b"jello".to_vec()).send().await;
    assert_eq!((reply.status, reply.code()), (400, "XAmzContentSHA256Mismatch"));
    gateway.assert_absent("k").await;
    let reply = put().header("content-md5", &STANDARD.encode(Md5::checksum(b"hello"))).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, Some("\"5d41402abc4b2a76b9719d911017c592\"")));
}

#[tokio::test]
async fn a_truncated_body_leaves_nothing() {
    let gateway = Gateway::start().await;
    let body = pattern(300_000);
    for payload in [Payload::Whole, Payload::Unsigned, Payload::SignedChunks(65_536)] {
        let put = gateway.wire("PUT", "/bucket/k").body(&body).with(|wire| wire.payload = payload);
        let reply = put.send_truncated(1000).await;
        assert_eq!((reply.status, reply.code()), (400, "IncompleteBody"));
        gateway.assert_absent("k").await;
    }
}

#[tokio::test]
async fn a_body_needs_a_length() {
    let gateway = Gateway::start().await;
    let request = gateway.wire("PUT", "/bucket/k").with(|wire| wire.payload = Payload::Unsigned).bytes();
    let request =
        String::from_utf8(request).unwrap().replace("content-length: 0", "transfer-encoding: chunked");
    let reply =
        crate::wire::exchange(gateway.addr, format!("{request}5\r\nhello\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!((reply.status, reply.code()), (411, "MissingContentLength"));
    gateway.assert_absent("k").await;
}

/// An unsigned streaming put with a CRC-32 trailer.
fn streamed(gateway: &Gateway, body: &[u8], chunk: usize, crc: Option<&str>) -> Wire {
    let name = "x-amz-checksum-crc32";
    let framed = unsigned_chunks(body, chunk, crc.map(|crc| (name, crc)));
    let put = gateway
        .wire("PUT", "/bucket/k")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-trailer", name);
    put.header("x-amz-decoded-content-length", &body.len().to_string())
        .body(&framed)
        .with(|wire| wire.payload = Payload::UnsignedChunks)
}

#[tokio::test]
async fn unsigned_trailers_are_verified_after_the_body() {
    let gateway = Gateway::start().await;
    let body = pattern(200_000);
    let right = crc32(&body);
    // One chunk for the whole body is what several SDKs send.
    for chunk in [8192, 65_536, 1 << 20] {
        let reply = streamed(&gateway, &body, chunk, Some(&crc32(b"other"))).send().await;
        assert_eq!((reply.status, reply.code()), (400, "BadDigest"));
        let reply = streamed(&gateway, &body, chunk, None).send().await;
        assert_eq!((reply.status, reply.code()), (400, "MalformedTrailerError"));
        gateway.assert_absent("k").await;
        let reply = streamed(&gateway, &body, chunk, Some(&right)).send().await;
        assert_eq!(
            (reply.status, reply.header("x-amz-checksum-crc32")),
            (200, Some(right.as_str())),
            "{reply:?}"
        );
        let read = gateway.get("k").await;
        assert!(read.body == body && read.header("content-encoding").is_none());
        gateway.wire("DELETE", "/bucket/k").send().await;
    }
}

#[tokio::test]
async fn a_chunked_body_that_lies_about_its_length_leaves_nothing() {
    let gateway = Gateway::start().await;
    let body = pattern(1000);
    let right = crc32(&body);
    for declared in ["999", "1001"] {
        let framed = unsigned_chunks(&body, 100, Some(("x-amz-checksum-crc32", &right)));
        let put = gateway.wire("PUT", "/bucket/k").header("x-amz-trailer", "x-amz-checksum-crc32");
        let put = put.header("x-amz-decoded-content-length", declared).body(&framed);
        let reply = put.with(|wire| wire.payload = Payload::UnsignedChunks).send().await;
        assert_eq!((reply.status, reply.code()), (400, "IncompleteBody"), "{declared}");
    }
    // No last chunk.
    let reply = streamed(&gateway, &body, 100, Some(&right)).with(|wire| {
        wire.spoil = |body| body[..body.windows(5).position(|at| at == b"\r\n0\r\n").unwrap() + 2].to_vec();
    });
    assert_eq!(reply.send().await.code(), "IncompleteBody");
    let reply =
        streamed(&gateway, &body, 100, Some(&right)).with(|wire| wire.spoil = |_| b"zz\r\nx".to_vec());
    assert_eq!(reply.send().await.code(), "InvalidRequest");
    gateway.assert_absent("k").await;
}

#[tokio::test]
async fn signed_chunks_are_a_chain() {
    let gateway = Gateway::start().await;
    let body = pattern(200_000);
    let put = |payload| gateway.wire("PUT", "/bucket/k").body(&body).with(|wire| wire.payload = payload);
    let spoilt: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        // A byte of data.
        |mut body| {
            body[100_000] ^= 1;
            body
        },
        // A digit of the first signature.
        |mut body| {
            body[30] = if body[30] == b'0' { b'1' } else { b'0' };
            body
        },
        // The order of two chunks of the same size.
        |body| {
            let len = 65_536 + b"10000;chunk-signature=".len() + 64 + 4;
            [&body[len..2 * len], &body[..len], &body[2 * len..]].concat()
        },
    ];
    for spoil in spoilt {
        let reply = put(Payload::SignedChunks(65_536)).with(|wire| wire.spoil = spoil).send().await;
        assert_eq!((reply.status, reply.code()), (403, "SignatureDoesNotMatch"));
        gateway.assert_absent("k").await;
    }
    assert_eq!(put(Payload::SignedChunks(65_536)).send().await.status, 200);
    assert!(gateway.get("k").await.body == body);
}

#[tokio::test]
async fn signed_trailers_are_verified_twice_over() {
    let gateway = Gateway::start().await;
    let body = pattern(70_000);
    let put = |crc: String| {
        gateway.wire("PUT", "/bucket/k").body(&body).with(|wire| {
            wire.payload = Payload::SignedChunksTrailer(65_536);
            wire.trailers = vec![("x-amz-checksum-crc32", crc)];
        })
    };
    let reply = put(crc32(b"other")).send().await;
    assert_eq!((reply.status, reply.code()), (400, "BadDigest"));
    // The trailer's signature, then no trailer at all.
    let reply = put(crc32(&body)).with(|wire| {
        wire.spoil = |mut body| {
            let at = body.len() - 10;
            body[at] = if body[at] == b'0' { b'1' } else { b'0' };
            body
        };
    });
    assert_eq!(reply.send().await.code(), "SignatureDoesNotMatch");
    let reply = put(crc32(&body)).with(|wire| {
        wire.spoil = |body| {
            let at = body.windows(14).position(|at| at == b"x-amz-checksum").unwrap();
            [&body[..at], b"\r\n"].concat()
        };
    });
    assert_eq!(reply.send().await.code(), "MalformedTrailerError");
    gateway.assert_absent("k").await;
    let reply = put(crc32(&body)).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(gateway.get("k").await.body == body);
}

#[tokio::test]
async fn a_signed_chunk_too_large_to_hold_is_refused_an_unsigned_one_streams() {
    let gateway = Gateway::start_with(|config| config.limits.signed_chunk_bytes_max = 100_000).await;
    let body = pattern(200_000);
    let put = gateway.wire("PUT", "/bucket/k").body(&body);
    let reply = put.with(|wire| wire.payload = Payload::SignedChunks(200_000)).send().await;
    assert_eq!((reply.status, reply.code()), (400, "InvalidRequest"));
    gateway.assert_absent("k").await;
    assert_eq!(streamed(&gateway, &body, 200_000, Some(&crc32(&body))).send().await.status, 200);
}

#[tokio::test]
async fn aws_chunked_may_be_declared_without_being_there() {
    let gateway = Gateway::start().await;
    let put = gateway.wire("PUT", "/bucket/k").header("content-encoding", "aws-chunked, gzip").body(b"plain");
    assert_eq!(put.send().await.status, 200);
    let read = gateway.get("k").await;
    assert_eq!((&read.body[..], read.header("content-encoding")), (&b"plain"[..], Some("gzip")));
}

#[tokio::test]
async fn a_delete_list_with_a_wrong_digest_deletes_nothing() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    let body = b"<Delete><Object><Key>k</Key></Object></Delete>";
    let post = || gateway.wire("POST", "/bucket?delete").body(body);
    let reply = post().header("content-md5", &STANDARD.encode(Md5::checksum(b"other"))).send().await;
    assert_eq!((reply.status, reply.code()), (400, "BadDigest"));
    let sdk = |crc: &str| {
        post().header("x-amz-sdk-checksum-algorithm", "CRC32").header("x-amz-checksum-crc32", crc)
    };
    assert_eq!(sdk(&crc32(b"other")).send().await.code(), "BadDigest");
    assert_eq!(gateway.get("k").await.status, 200);
    let reply = sdk(&crc32(body)).send().await;
    assert_eq!((reply.status, reply.element("Key")), (200, Some("k")));
    gateway.assert_absent("k").await;
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_is_asked_for() {
    let gateway = Gateway::start().await;
    for (target, code) in [("/nobucket/k", "NoSuchBucket"), ("/bucket/k", "")] {
        let put = gateway.wire("PUT", target).header("expect", "100-continue").body(b"hello");
        let bytes = put.with(|wire| wire.payload = Payload::Unsigned).bytes();
        let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
        socket.write_all(&bytes[..bytes.len() - 5]).await.unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).await.unwrap();
        if code.is_empty() {
            assert_eq!(&head, b"HTTP/1.1 100");
            socket.write_all(b"hello").await.unwrap();
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.unwrap();
            assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 200"));
        } else {
            assert_eq!(&head, b"HTTP/1.1 404");
        }
    }
}

/// botocore would wait for a minute on the connection's next request.
#[tokio::test]
async fn a_connection_ends_with_an_answer_that_came_instead_of_100_continue() {
    let gateway = Gateway::start().await;
    let keeps = |body: &'static [u8]| {
        let put = gateway.wire("PUT", "/bucket/k").header("expect", "100-continue").body(body);
        let bytes = put.with(|wire| wire.payload = Payload::Unsigned).bytes();
        String::from_utf8(bytes).unwrap().replace("connection: close\r\n", "")
    };
    let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
    socket.write_all(keeps(b"").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
    // Where it was asked for its body, the connection stays.
    let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
    let two = keeps(b"hello") + &keeps(b"");
    socket.write_all(two.as_bytes()).await.unwrap();
    let mut answers = String::new();
    socket.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
}

#[tokio::test]
async fn the_sdk_streams_with_trailers() {
    use aws_sdk_s3::types::ChecksumAlgorithm;
    let gateway = Gateway::start().await;
    let sdk = gateway.sdk();
    let body = pattern(3 << 20);
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha256] {
        let put = sdk.put_object().bucket("bucket").key("k").checksum_algorithm(algorithm);
        put.body(crate::harness::stream(&body)).send().await.unwrap();
        let read = sdk.get_object().bucket("bucket").key("k").send().await.unwrap();
        let bytes = read.body.collect().await.unwrap().into_bytes();
        assert!(Cursor::new(&bytes).get_ref()[..] == body[..]);
    }
}
