//! Every kind of answer, and of silence, with the error and the outcome it becomes.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use gw_miner_client::conformance::{fid, fragment};
use gw_types::ports::{MinerAddr, Miners};
use gw_types::{AccountId, FRAGMENT_BYTES, Outcome, PortError, PortErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::world::{client, client_and_clock, miner, read_request};

fn json(code: u32) -> Vec<u8> {
    let body = format!(r#"{{"code":{code},"msg":"words","data":null}}"#);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn octets(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A miner that gives the same answer to everything.
async fn parrot(answer: Vec<u8>) -> MinerAddr {
    let answer: Bytes = answer.into();
    miner(move |mut socket: TcpStream| {
        let answer = answer.clone();
        async move {
            while read_request(&mut socket).await.is_some() {
                let _ = socket.write_all(&answer).await;
            }
        }
    })
    .await
    .0
}

/// cess-miner answers HTTP 200 to everything; the number in the body decides.
#[tokio::test]
async fn the_code_in_the_body_counts_although_http_says_200() {
    let (hash, bytes) = fragment(1);
    let client = client(|_| {});
    client.put(&parrot(json(200)).await, fid(1), hash, bytes.clone()).await.unwrap();
    for (code, kind) in
        [(400, PortErrorKind::Refused), (404, PortErrorKind::NotFound), (507, PortErrorKind::Full)]
    {
        let addr = parrot(json(code)).await;
        let put = client.put(&addr, fid(1), hash, bytes.clone()).await.unwrap_err();
        assert_eq!((put.kind(), put.outcome()), (kind, Outcome::Definite));
        let get = client.get(&addr, fid(1), hash, 0..16).await.unwrap_err();
        assert_eq!((get.kind(), get.outcome()), (kind, Outcome::Definite));
    }
    let put = client.put(&parrot(json(500)).await, fid(1), hash, bytes).await.unwrap_err();
    assert_eq!((put.kind(), put.outcome()), (PortErrorKind::Unavailable, Outcome::Unknown));
}

#[tokio::test]
async fn answers_of_another_length_are_corrupt() {
    let (hash, bytes) = fragment(1);
    let client = client(|_| {});
    for answer in [
        octets("206 Partial Content", &bytes[..15]),
        octets("206 Partial Content", &bytes[..17]),
        octets("200 OK", &bytes[..16]),
        json(200),
        b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n0f\r\n0123456789abcde\r\n0\r\n\r\n".to_vec(),
    ] {
        let error = client.get(&parrot(answer).await, fid(1), hash, 0..16).await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (PortErrorKind::Corrupt, Outcome::Definite), "{error}");
    }
}

#[tokio::test]
async fn bytes_come_whole_however_the_miner_cuts_them() {
    let (hash, bytes) = fragment(1);
    let client = client(|_| {});
    let chunked = b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec();
    assert_eq!(client.get(&parrot(chunked).await, fid(1), hash, 9..16).await.unwrap(), "abcdefg");
    // A miner that does not know ranges sends everything.
    let older = parrot(octets("200 OK", &bytes)).await;
    let part = client.get(&older, fid(1), hash, 4_000_000..4_065_552).await.unwrap();
    assert!(part == bytes[4_000_000..4_065_552]);
    let whole = client.get(&older, fid(1), hash, 0..FRAGMENT_BYTES as u32).await.unwrap();
    assert!(whole == bytes);
}

#[tokio::test]
async fn gibberish_and_broken_answers_are_errors() {
    let (hash, bytes) = fragment(1);
    let client = client(|_| {});
    let not_json = parrot(octets("200 OK", b"<html>")).await;
    assert_eq!(
        client.put(&not_json, fid(1), hash, bytes.clone()).await.unwrap_err().kind(),
        PortErrorKind::Corrupt
    );
    assert_eq!(client.probe(&not_json).await.unwrap_err().kind(), PortErrorKind::Corrupt);
    assert_eq!(client.probe(&parrot(json(200)).await).await.unwrap_err().kind(), PortErrorKind::Corrupt);
    let not_http = parrot(b"220 smtp ready\r\n".to_vec()).await;
    assert_eq!(
        client.get(&not_http, fid(1), hash, 0..16).await.unwrap_err().kind(),
        PortErrorKind::Unavailable
    );
    let (broken, _) = miner(|mut socket: TcpStream| async move {
        read_request(&mut socket).await;
        let _ = socket.write_all(&octets("206 Partial Content", &[1; 16])[..90]).await;
    })
    .await;
    let error = client.get(&broken, fid(1), hash, 0..16).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (PortErrorKind::Unavailable, Outcome::Definite));
}

/// A put whose time is up as soon as the miner says so on the channel.
async fn put_until_late<F>(serve: impl Fn(TcpStream, mpsc::Sender<()>) -> F + Send + 'static) -> PortError
where
    F: Future<Output = ()> + Send + 'static,
{
    let (hash, bytes) = fragment(1);
    let (client, clock) = client_and_clock(|_| {});
    let (now, mut is_now) = mpsc::channel(1);
    let (addr, _) = miner(move |socket| serve(socket, now.clone())).await;
    let late = async {
        is_now.recv().await;
        clock.advance(Duration::from_secs(3600));
        std::future::pending::<()>().await;
    };
    match select(client.put(&addr, fid(1), hash, bytes), pin!(late)).await {
        Either::Left((put, _)) => put.unwrap_err(),
        Either::Right(_) => unreachable!("that side never ends"),
    }
}

/// The miner reads everything and says nothing: it may have stored the fragment.
#[tokio::test]
async fn a_put_that_was_sent_and_not_answered_is_unknown() {
    let silent = put_until_late(|mut socket, now| async move {
        read_request(&mut socket).await;
        let _ = now.send(()).await;
        let _ = socket.read_u8().await;
    });
    let hanging_up = put_until_late(|mut socket, _| async move { drop(read_request(&mut socket).await) });
    for error in [silent.await, hanging_up.await] {
        assert_eq!(
            (error.kind(), error.outcome()),
            (PortErrorKind::Unavailable, Outcome::Unknown),
            "{error}"
        );
    }
}

/// The miner never reads all: it cannot have the fragment, so another miner may be tried at once.
#[tokio::test]
async fn a_put_that_was_not_sent_whole_definitely_did_not_happen() {
    let deaf = put_until_late(|socket, now| async move {
        let _ = now.send(()).await;
        std::future::pending::<()>().await;
        drop(socket);
    });
    let impatient = put_until_late(|mut socket, _| async move {
        let mut some = [0; 1000];
        let _ = socket.read_exact(&mut some).await;
    });
    for error in [deaf.await, impatient.await] {
        assert_eq!(
            (error.kind(), error.outcome()),
            (PortErrorKind::Unavailable, Outcome::Definite),
            "{error}"
        );
    }
}

#[tokio::test]
async fn connections_are_kept_and_no_more_than_allowed() {
    let (hash, bytes) = fragment(1);
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (answer, seen) = (Bytes::from(octets("206 Partial Content", &bytes[..16])), Arc::clone(&most));
    let (addr, connections) = miner(move |mut socket: TcpStream| {
        let (answer, under_way, most) = (answer.clone(), Arc::clone(&under_way), Arc::clone(&most));
        async move {
            while read_request(&mut socket).await.is_some() {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                (0..100).for_each(|_| std::thread::yield_now());
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                let _ = socket.write_all(&answer).await;
            }
        }
    })
    .await;
    let client = client(|config| config.max_connections_per_miner = 3);
    for _ in 0..5 {
        let gets = (0..12).map(|_| client.get(&addr, fid(1), hash, 0..16));
        for got in futures::future::join_all(gets).await {
            assert_eq!(got.unwrap(), bytes[..16]);
        }
    }
    assert!(seen.load(Ordering::SeqCst) <= 3, "never more than three at once");
    assert!(connections.load(Ordering::SeqCst) <= 6, "60 requests on a few connections: {connections:?}");
    assert!(client.latency(&addr.account).is_some_and(|latency| latency.error_rate == 0.0));
    assert!(client.latency(&AccountId([1; 32])).is_none());
}

#[tokio::test]
async fn endpoints_that_cannot_be_spoken_with_are_refused() {
    let (hash, bytes) = fragment(1);
    let client = client(|_| {});
    for endpoint in ["https://miner.example", "ftp://x", "", "http://", "http://a b"] {
        let addr = MinerAddr { account: AccountId([8; 32]), endpoint: endpoint.to_owned() };
        let error = client.put(&addr, fid(1), hash, bytes.clone()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (PortErrorKind::Refused, Outcome::Definite),
            "{endpoint}"
        );
        assert_eq!(client.probe(&addr).await.unwrap_err().kind(), PortErrorKind::Refused, "{endpoint}");
    }
}

#[tokio::test]
async fn requests_carry_the_headers_of_cess() {
    let (sender, mut heads) = mpsc::channel(4);
    let (addr, _) = miner(move |mut socket: TcpStream| {
        let sender = sender.clone();
        async move {
            while let Some(head) = read_request(&mut socket).await {
                let _ = sender.send(head).await;
                let _ = socket.write_all(&json(404)).await;
            }
        }
    })
    .await;
    let (hash, _) = fragment(1);
    let client = client(|_| {});
    let _ = client.get(&addr, fid(1), hash, 65_552..131_104).await;
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("get /fragment http/1.1\r\n"), "{head}");
    for line in [
        format!("fid: {}", fid(1)),
        format!("fragment: {hash}"),
        "range: bytes=65552-131104/8388608".to_owned(),
        "message: 1800000000".to_owned(),
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    assert!(head.contains("\r\naccount: cx") && head.contains("\r\nsignature: "), "{head}");
}
