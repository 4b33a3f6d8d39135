//! The command line's side of the admin API: one request over the admin socket or TCP.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::wire::Refusal;
use crate::cli::Reach;
use crate::datadir::DataDir;
use crate::error::{Context, Error, Result, fail};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the admin API is.
#[derive(Clone, Debug)]
enum Place {
    Socket(PathBuf),
    Tcp { authority: String, token: String },
}

/// A way to one gateway.
#[derive(Clone, Debug)]
pub struct AdminClient {
    place: Place,
}

impl AdminClient {
    /// By `--admin URL` where given, else by the socket of `--data-dir`.
    pub fn new(reach: &Reach) -> Result<Self> {
        let Some(url) = &reach.admin else {
            return Ok(Self { place: Place::Socket(DataDir::admin_socket(&reach.data_dir)) });
        };
        let Some(rest) = url.strip_prefix("http://") else {
            return fail(
                "--admin takes http://host:port (put TLS in front of it where the network is not yours)",
            );
        };
        let token = std::env::var("CESS_GATEWAY_ADMIN_TOKEN").map_err(|_| {
            Error::new("set CESS_GATEWAY_ADMIN_TOKEN to the text of the gateway's admin.token")
        })?;
        let authority = rest.trim_end_matches('/').to_owned();
        Ok(Self { place: Place::Tcp { authority, token } })
    }

    /// GET, answered by JSON.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A> {
        self.call(Method::GET, path, None, Duration::from_secs(30)).await
    }
    /// POST of JSON, answered by JSON within `patience`.
    pub async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
        patience: Duration,
    ) -> Result<A> {
        let body = serde_json::to_vec(query).context(|| "writing the request".to_owned())?;
        self.call(Method::POST, path, Some(body), patience).await
    }
    /// DELETE, answered by JSON.
    pub async fn delete<A: DeserializeOwned>(&self, path: &str) -> Result<A> {
        self.call(Method::DELETE, path, None, Duration::from_secs(30)).await
    }

    async fn call<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<A> {
        let sent = self.send(method, path, body);
        let (status, bytes) = tokio::time::timeout(patience, sent).await.map_err(|_| {
            Error::new(format!("no answer within {} s (what was begun goes on)", patience.as_secs()))
        })??;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .context(|| "the gateway's answer is not what was expected".to_owned());
        }
        match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(refusal) => fail(refusal.error),
            Err(_) => fail(format!("the gateway answered {status}")),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        match &self.place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await.context(|| {
                    format!(
                        "no gateway answers at {}; is it running? (--data-dir names its directory)",
                        path.display()
                    )
                })?;
                let request = request.header(header::HOST, "localhost").body(body);
                exchange(stream, request.context(|| "building the request".to_owned())?).await
            }
            Place::Tcp { authority, token } => {
                let stream = TcpStream::connect(authority)
                    .await
                    .context(|| format!("no gateway answers at {authority}"))?;
                let request = request
                    .header(header::HOST, authority)
                    .header(header::AUTHORIZATION, format!("Bearer {token}"))
                    .body(body);
                exchange(stream, request.context(|| "building the request".to_owned())?).await
            }
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let talking = || "talking to the gateway".to_owned();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.context(talking)?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await.context(talking)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.context(talking)?;
    driver.abort();
    Ok((status, body.to_bytes()))
}
