//! Connections: limits, counters, and an end that loses nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::Gateway;
use crate::wire::{Payload, parse};

#[tokio::test]
async fn shutdown_lets_a_running_request_end() {
    let gateway = Gateway::start().await;
    let bytes =
        gateway.wire("PUT", "/bucket/k").body(b"hello").with(|wire| wire.payload = Payload::Unsigned).bytes();
    let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
    let (head, tail) = bytes.split_at(bytes.len() - 2);
    socket.write_all(head).await.unwrap();
    // The request is under way once the server counts it.
    while !gateway.running.metrics().render().contains("cess_s3_in_flight 1") {
        tokio::task::yield_now().await;
    }
    let (addr, store) = (gateway.addr, gateway.store.clone());
    let ended = tokio::spawn(gateway.running.shutdown());
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished());
    socket.write_all(tail).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).status, 200);
    ended.await.unwrap();
    drop(store);
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end() {
    let gateway = Gateway::start_with(|config| config.limits.drain_timeout = Duration::from_millis(50)).await;
    let bytes =
        gateway.wire("PUT", "/bucket/k").body(b"hello").with(|wire| wire.payload = Payload::Unsigned).bytes();
    let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
    socket.write_all(&bytes[..bytes.len() - 2]).await.unwrap();
    while !gateway.running.metrics().render().contains("cess_s3_in_flight 1") {
        tokio::task::yield_now().await;
    }
    gateway.running.shutdown().await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn slow_heads_and_silent_connections_are_cut() {
    let gateway = Gateway::start_with(|config| {
        config.limits.head_timeout = Duration::from_millis(60);
        config.limits.idle_timeout = Duration::from_millis(60);
    })
    .await;
    for first in [&b""[..], b"GET / HT"] {
        let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
        socket.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_cut_and_leaves_nothing() {
    let gateway = Gateway::start_with(|config| config.limits.body_grace = Duration::from_millis(60)).await;
    let bytes =
        gateway.wire("PUT", "/bucket/k").body(b"hello").with(|wire| wire.payload = Payload::Unsigned).bytes();
    let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
    socket.write_all(&bytes[..bytes.len() - 2]).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let reply = parse(&answer);
    assert_eq!((reply.status, reply.code()), (400, "RequestTimeout"));
    gateway.assert_absent("k").await;
}

#[tokio::test]
async fn more_clients_than_slots_wait_and_are_served() {
    let gateway = Gateway::start_with(|config| config.limits.connections_max = 1).await;
    let first = TcpStream::connect(gateway.addr).await.unwrap();
    while !gateway.running.metrics().render().contains("cess_s3_connections 1") {
        tokio::task::yield_now().await;
    }
    let waiting = gateway.get("k");
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    drop(first);
    assert_eq!(waiting.await.status, 404);
}

#[tokio::test]
async fn heads_have_a_maximum() {
    let gateway = Gateway::start().await;
    let long = gateway.wire("GET", "/bucket").header("x-long", &"x".repeat(17_000)).send().await;
    assert_eq!((long.status, long.code()), (431, "RequestHeaderSectionTooLarge"));
    let mut many = gateway.wire("GET", "/bucket");
    for number in 0..300 {
        many = many.header(&format!("x-h{number}"), "v");
    }
    assert_eq!(many.send().await.status, 431);
    let big = gateway.wire("POST", "/bucket?delete").body(&vec![b' '; 5 << 20]).send().await;
    assert_eq!(big.status, 400);
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"hello").await;
    gateway.get("k").await;
    gateway.get("none").await;
    let text = gateway.running.metrics().render();
    for line in [
        "cess_s3_requests_total{operation=\"PutObject\",class=\"2xx\"} 1",
        "cess_s3_requests_total{operation=\"GetObject\",class=\"2xx\"} 1",
        "cess_s3_requests_total{operation=\"GetObject\",class=\"4xx\"} 1",
        "cess_s3_received_bytes_total{operation=\"PutObject\"} 5",
        "cess_s3_aborted_total{operation=\"GetObject\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
