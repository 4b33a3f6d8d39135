//! The gateway's side of the admin API.
//!
//! The unix socket is 0600, so whoever can open it may do everything. On TCP, `/healthz`,
//! `/readyz` and `/metrics` are open and everything else wants `Authorization: Bearer TOKEN`
//! (compared in constant time) and a `Host` that is an address of ours, so that a web page cannot
//! reach it by DNS rebinding. Requests are small, counted and bounded in time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::wire::Refusal;
use crate::error::{Context, Result};

const REQUEST_BYTES_MAX: usize = 1 << 20;
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer: a status and what stands in it.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    pub content_type: &'static str,
}

impl Answer {
    /// 200 with JSON.
    pub fn json<T: Serialize>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: StatusCode::OK, body, content_type: "application/json" },
            Err(error) => Self::refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
    /// Plain text.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            body: text.into().into_bytes(),
            content_type: "text/plain; version=0.0.4; charset=utf-8",
        }
    }
    /// `{"error": …}`.
    pub fn refusal(status: StatusCode, error: impl Into<String>) -> Self {
        let mut answer = Self::json(&Refusal { error: error.into() });
        answer.status = status;
        answer
    }
}

/// Who answers. `path` is the segments after the first slash.
#[async_trait]
pub trait Routes: Send + Sync + 'static {
    /// `/healthz`, `/readyz`, `/metrics`; `None` for every other path.
    async fn open(&self, path: &str) -> Option<Answer>;
    /// Everything else, once the caller is known to be the admin.
    async fn admin(&self, method: Method, path: &[&str], body: Bytes) -> Answer;
}

/// The listeners of one gateway; they end when this is dropped or stopped.
pub struct AdminServer {
    socket: PathBuf,
    addr: Option<SocketAddr>,
    stop: watch::Sender<bool>,
}

impl AdminServer {
    /// Serves the socket and, where given, TCP.
    pub async fn start(
        routes: Arc<dyn Routes>,
        socket: &Path,
        tcp: Option<TcpListener>,
        token: Arc<str>,
    ) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        std::fs::remove_file(socket).ok();
        let unix = UnixListener::bind(socket).context(|| format!("listening on {}", socket.display()))?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))
            .context(|| format!("closing {} to others", socket.display()))?;
        let addr = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        let door = Door { routes: Arc::clone(&routes), token: None };
        tokio::spawn(accept(Listener::Unix(unix), door, Arc::clone(&places), stopped.clone()));
        if let Some(listener) = tcp {
            let door = Door { routes, token: Some(token) };
            tokio::spawn(accept(Listener::Tcp(listener), door, places, stopped));
        }
        Ok(Self { socket: socket.to_path_buf(), addr, stop })
    }

    /// The TCP address, where it serves one.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Accepts nothing more.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        std::fs::remove_file(&self.socket).ok();
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct Door {
    routes: Arc<dyn Routes>,
    /// `None` on the socket.
    token: Option<Arc<str>>,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Listener {
    async fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

async fn accept(listener: Listener, door: Door, places: Arc<Semaphore>, mut stopped: watch::Receiver<bool>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = tokio::select! {
            () = told(&mut stopped) => return,
            accepted = listener.accept() => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting an admin connection");
                    // Out of descriptors: give others a moment to return theirs.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let door = door.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| door.clone().answer(request));
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "an admin connection ended");
            }
            drop(place);
        });
    }
}

async fn told(stopped: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

impl Door {
    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
        let answer = self.decide(request).await;
        let mut response = Response::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(answer.content_type));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
        Ok(response)
    }

    async fn decide(self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if head.method == Method::GET
            && let Some(answer) = self.routes.open(&path).await
        {
            return answer;
        }
        if let Some(token) = &self.token {
            if !host_is_ours(&head.headers) {
                return Answer::refusal(
                    StatusCode::FORBIDDEN,
                    "the Host header names no address of this gateway",
                );
            }
            if !bears(&head.headers, token) {
                return Answer::refusal(
                    StatusCode::UNAUTHORIZED,
                    "send the text of admin.token as a Bearer token",
                );
            }
        }
        let body = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return Answer::refusal(StatusCode::BAD_REQUEST, format!("reading the request: {error}"));
            }
        };
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        if self.token.is_some() && head.method != Method::GET && segments.starts_with(&["v1", "mounts"]) {
            // Whoever may mount anywhere on a machine owns it: the token is for the gateway alone.
            return Answer::refusal(StatusCode::FORBIDDEN, "mounts are made over the admin socket only");
        }
        self.routes.admin(head.method, &segments, body).await
    }
}

/// Loopback names and plain IP addresses cannot be the target of DNS rebinding.
fn host_is_ours(headers: &http::HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return false;
    };
    host.parse::<SocketAddr>().is_ok()
        || host.parse::<std::net::IpAddr>().is_ok()
        || host.rsplit_once(':').map_or(host, |(name, _)| name) == "localhost"
}

fn bears(headers: &http::HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    given.as_bytes().ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::{bears, host_is_ours};

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_name_that_could_be_rebound_is_refused() {
        for (host, ours) in [
            ("127.0.0.1:9001", true),
            ("[::1]:9001", true),
            ("localhost:9001", true),
            ("localhost", true),
            ("evil.example:9001", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(host_is_ours(&with(header::HOST, host)), ours, "{host}");
        }
        assert!(!host_is_ours(&HeaderMap::new()));
    }

    #[test]
    fn only_the_whole_token_opens() {
        assert!(bears(&with(header::AUTHORIZATION, "Bearer abc"), "abc"));
        for wrong in ["Bearer ab", "Bearer abcd", "abc", "Basic abc", "Bearer "] {
            assert!(!bears(&with(header::AUTHORIZATION, wrong), "abc"), "{wrong}");
        }
    }
}
