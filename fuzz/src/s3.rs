//! S3: heads, signatures, frames of bodies, documents, policies, forms.

use aws_sigv4::http_request::SignableBody;

use crate::bytes::{Input, encode};
use crate::sign::{Request, signed as sign};
use crate::wire::{Answer, answered, exchange, request};
use crate::world::{BUCKET, World, ask};

/// Anything at all as the head of a request. There may be no answer, but the connection ends.
pub(crate) fn head(data: &[u8]) {
    ask(|world| {
        let mut sent = data.to_vec();
        sent.extend_from_slice(b"\r\n\r\n");
        let answer = answered(&exchange(world.s3, &sent, true));
        assert_ne!(answer.status, 500, "an internal error: {answer:?}");
    });
}

const METHODS: &[&str] = &["GET", "PUT", "HEAD", "DELETE", "POST"];
/// Names of parameters that are given values, four of the first and the second kind.
const QUERY: [&str; 8] = ["prefix", "x-id", "versionId", "response-content-type", "a", "B", "c.d", "~"];

/// Any key, query and metadata, signed by another implementation: the signature is never in doubt.
pub(crate) fn signed(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let method = METHODS[usize::from(choice & 0x0f) % METHODS.len()];
    let presigned = choice & 0x80 != 0;
    let mut target = format!("/{BUCKET}/{}", encode(input.some(64), true));
    for name in 0..input.byte() % 4 {
        // Each name once: the order of equal names, and of names that are not ASCII, is s3s's own.
        let name = QUERY[usize::from(name) + 4 * usize::from(input.byte() % 2)];
        let value = encode(text(&mut input).as_bytes(), false);
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&if choice & 0x20 != 0 && value.is_empty() {
            name.to_owned()
        } else {
            format!("{name}={value}")
        });
    }
    let mut headers = Vec::new();
    while !input.is_empty() && headers.len() < 4 {
        let letter = char::from(b'a' + input.byte() % 26);
        // Any visible characters, with spaces among them.
        let value: String = input.some(32).iter().map(|byte| char::from(b' ' + byte % 95)).collect();
        headers.push((format!("x-amz-meta-{}{letter}", headers.len()), value.trim().to_owned()));
    }
    ask(|world| {
        let body = SignableBody::Bytes(&[]);
        let body = if presigned { SignableBody::UnsignedPayload } else { body };
        let (service, body_len) = ("s3", 0);
        let to_sign = Request { method, target: &target, headers, body, body_len, service, presigned };
        let Some(head) = sign(world.s3, to_sign) else { return };
        let answer = request(world.s3, &head, &[]);
        assert!(!answer.says("SignatureDoesNotMatch"), "refused: {head:?}: {answer:?}");
    });
}

/// A name or value in a query: AWS knows only UTF-8 there.
fn text(input: &mut Input<'_>) -> String {
    String::from_utf8_lossy(input.some(24)).into_owned()
}

const FRAMES: &[&str] = &[
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
];
const TRAILERS: &[&str] = &["x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-crc64nvme"];

/// Any bytes as an aws-chunked body. What is acknowledged is there in the declared length; what is refused is not.
pub(crate) fn chunked(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = usize::from(input.byte());
    let declared = usize::from(input.byte()) << (choice >> 6) | usize::from(input.byte() & 1);
    let body = input.rest();
    let frames = FRAMES[choice % FRAMES.len()];
    let mut headers = vec![
        ("content-encoding".to_owned(), "aws-chunked".to_owned()),
        ("x-amz-decoded-content-length".to_owned(), declared.to_string()),
    ];
    if choice & 0x20 != 0 {
        headers.push(("x-amz-trailer".to_owned(), TRAILERS[choice / 3 % TRAILERS.len()].to_owned()));
    }
    let target = format!("/{BUCKET}/chunked");
    ask(|world| {
        call(world, "DELETE", &target, &[]);
        let head = sign(
            world.s3,
            Request {
                method: "PUT",
                target: &target,
                headers,
                body: SignableBody::Precomputed(frames.to_owned()),
                body_len: body.len(),
                service: "s3",
                presigned: false,
            },
        );
        let Some(head) = head else { return };
        let put = request(world.s3, &head, body);
        let got = call(world, "GET", &target, &[]);
        if put.status == 200 {
            assert_eq!((got.status, got.body.len()), (200, declared), "acknowledged: {put:?}");
        } else {
            assert_eq!(got.status, 404, "refused, and there all the same: {put:?}");
        }
    });
}

/// Requests with a document.
const DOCUMENTS: &[(&str, &str)] = &[
    ("PUT", "?acl"),
    ("PUT", "?cors"),
    ("PUT", "?lifecycle"),
    ("PUT", "?tagging"),
    ("PUT", "?versioning"),
    ("PUT", "?notification"),
    ("PUT", "?logging"),
    ("PUT", "?website"),
    ("PUT", "?encryption"),
    ("PUT", "?object-lock"),
    ("PUT", "?ownershipControls"),
    ("PUT", "?publicAccessBlock"),
    ("PUT", "?requestPayment"),
    ("POST", "?delete"),
    ("PUT", "/key?tagging"),
    ("PUT", "/key?acl"),
    ("PUT", "/key?retention"),
    ("PUT", "/key?legal-hold"),
    ("POST", "/key?uploadId=0"),
    ("PUT", "?inventory&id=one"),
];

/// Any bytes as a document. A bucket's settings that were taken can be read again, and taken again as read.
pub(crate) fn xml(data: &[u8]) {
    let mut input = Input::new(data);
    let (method, place) = DOCUMENTS[usize::from(input.byte()) % DOCUMENTS.len()];
    let body = input.rest();
    ask(|world| {
        let target = format!("/{BUCKET}{place}");
        let put = call(world, method, &target, body);
        let is_setting = method == "PUT" && place.starts_with('?') && place != "?object-lock";
        if put.status == 200 && is_setting {
            let got = call(world, "GET", &target, &[]);
            assert!(matches!(got.status, 200 | 404), "taken, and not given back: {got:?}");
            if got.status == 200 && place != "?acl" {
                let again = call(world, "PUT", &target, &got.body);
                assert_eq!(again.status, 200, "given back as {got:?}, and then {again:?}");
            }
        }
        if place == "?versioning" {
            call(
                world,
                "PUT",
                &target,
                b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
            );
        }
    });
}

/// Any bytes as a bucket's policy, held against a few requests. Its owner can always take it away.
pub(crate) fn policy(data: &[u8]) {
    ask(|world| {
        let target = format!("/{BUCKET}?policy");
        if call(world, "PUT", &target, data).status == 204 {
            call(world, "GET", &format!("/{BUCKET}/a/key"), &[]);
            call(world, "GET", &format!("/{BUCKET}?list-type=2&prefix=a"), &[]);
            let bare = |what: &str| {
                format!("{what} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nuser-agent: x\r\n\r\n", world.s3)
            };
            request(world.s3, &bare(&format!("GET /{BUCKET}/a/key?versionId=null")), &[]);
            request(world.s3, &bare(&format!("DELETE /{BUCKET}/another")), &[]);
        }
        assert_eq!(call(world, "DELETE", &target, &[]).status, 204, "the owner takes the policy away");
    });
}

/// Any bytes as a browser's form, to a bucket that anybody may write.
pub(crate) fn form(data: &[u8]) {
    ask(|world| {
        let head = format!(
            "POST /{BUCKET} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
            world.s3,
            data.len()
        );
        request(world.s3, &head, data);
    });
}

/// A signed request whose body is not.
fn call(world: &World, method: &str, target: &str, body: &[u8]) -> Answer {
    let head = sign(
        world.s3,
        Request {
            method,
            target,
            headers: Vec::new(),
            body: SignableBody::UnsignedPayload,
            body_len: body.len(),
            service: "s3",
            presigned: false,
        },
    );
    request(world.s3, &head.expect("a plain request can be signed"), body)
}
