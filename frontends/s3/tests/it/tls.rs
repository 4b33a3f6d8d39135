//! S3 over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gw_s3::ServerTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::Gateway;
use crate::wire::{Reply, parse};

/// Chain and key of a certificate that vouches for itself.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn tls((chain, key): &(String, String)) -> ServerTls {
    ServerTls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
}

/// A session with whoever shows this certificate.
async fn session(addr: SocketAddr, trusted: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(addr).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

async fn exchange(session: &mut TlsStream<TcpStream>, bytes: &[u8]) -> Reply {
    session.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = session.read_to_end(&mut answer).await;
    parse(&answer)
}

/// A gateway over TLS without its bucket: the harness speaks plain HTTP.
async fn start(made: &(String, String)) -> (Gateway, ServerTls) {
    let tls = tls(made);
    let shown = tls.clone();
    (Gateway::start_bare(|config| config.tls = Some(shown)).await, tls)
}

#[tokio::test]
async fn requests_over_tls_are_answered_and_known_as_secure() {
    let made = certificate();
    let (gateway, _) = start(&made).await;
    let ask = async |method: &str, target: &str, body: &[u8]| {
        let mut session = session(gateway.addr, &made.0, &["http/1.1"]).await.unwrap();
        exchange(&mut session, &gateway.wire(method, target).body(body).bytes()).await
    };
    assert_eq!(ask("PUT", "/bucket", b"").await.status, 200);
    assert_eq!(ask("PUT", "/bucket/k", &vec![7; 300_000]).await.status, 200);
    assert_eq!(ask("GET", "/bucket/k", b"").await.body.len(), 300_000);
    let policy =
        br#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",
        "Resource":"arn:aws:s3:::bucket/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}"#;
    assert_eq!(ask("PUT", "/bucket?policy", policy).await.status, 204);
    assert_eq!(ask("GET", "/bucket/k", b"").await.code(), "AccessDenied");
}

#[tokio::test]
async fn http_2_is_chosen_by_alpn() {
    let made = certificate();
    let (gateway, _) = start(&made).await;
    let mut two = session(gateway.addr, &made.0, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    two.read_exact(&mut frame).await.unwrap();
    // RFC 9113 3.4: the server's first frame is SETTINGS.
    assert_eq!(frame[3], 4);
    let one = session(gateway.addr, &made.0, &["http/1.1"]).await.unwrap();
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_handshake_on_and_cuts_nobody() {
    let (first, second) = (certificate(), certificate());
    let (gateway, tls) = start(&first).await;
    let mut old = session(gateway.addr, &first.0, &[]).await.unwrap();
    assert!(tls.replace(second.0.as_bytes(), first.1.as_bytes()).is_err(), "the key is another's");
    assert!(session(gateway.addr, &first.0, &[]).await.is_ok(), "the old one stays");
    tls.replace(second.0.as_bytes(), second.1.as_bytes()).unwrap();
    assert!(session(gateway.addr, &first.0, &[]).await.is_err());
    assert!(session(gateway.addr, &second.0, &[]).await.is_ok());
    let reply = exchange(&mut old, &gateway.wire("PUT", "/bucket").bytes()).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn handshakes_that_drag_on_and_plain_http_are_cut() {
    let made = certificate();
    let shown = tls(&made);
    let gateway = Gateway::start_bare(|config| {
        config.tls = Some(shown);
        config.limits.handshake_timeout = Duration::from_millis(60);
    })
    .await;
    for first in [&b""[..], b"\x16\x03\x01\x02\0", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
        socket.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn what_is_no_certificate_is_refused_by_name() {
    let (chain, key) = certificate();
    let (_, other) = certificate();
    for (chain, key, named) in [
        ("", key.as_str(), "the certificate"),
        (chain.as_str(), "", "the private key"),
        (chain.as_str(), other.as_str(), "certificate and key"),
    ] {
        let error = ServerTls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(named), "{error}");
    }
}
