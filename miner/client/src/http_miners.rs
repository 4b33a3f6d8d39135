//! The port over HTTP. One request is: a permit of the miner (so many at once), the pooled client,
//! the answer read to its end, all within one time limit. What a failure means for a put is decided
//! by whether the connection had taken the body's last byte.

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use gw_miner_wire::{
    FRAGMENT_PATH, ReadKey, STATUS_PATH, StatusData, ZERO_FRAGMENT, boundary_for, content_type,
    encode_account, format_range, header,
};
use gw_types::ports::{Clock, MinerAddr, MinerLatency, MinerStatus, Miners};
use gw_types::{AccountId, FRAGMENT_BYTES, Fid, Hash32, PortError, PortErrorKind, PortResult};
use http::header::{CONTENT_TYPE, RANGE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, Uri, request};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;

use crate::body::PutBody;
use crate::latency::{Ledger, MinerEntry, ReadEnd, ReadTimer};
use crate::response::{read_bytes, read_reply};

/// A signature is made anew after this long. CESS checks no age, but the message is the time of
/// signing, so that a miner may begin to.
const CREDENTIALS_AGE_MAX_SECONDS: i64 = 60;

/// Limits of [`HttpMiners`].
#[derive(Clone, Debug)]
pub struct HttpMinersConfig {
    /// For one TCP connection.
    pub connect_timeout: Duration,
    /// For a whole put, waiting for a free connection included.
    pub put_timeout: Duration,
    /// For a whole get.
    pub get_timeout: Duration,
    /// For a probe.
    pub probe_timeout: Duration,
    /// An unused connection is closed after this long. Shorter than cess-miner's own limit, or a
    /// request may meet a connection that is just being closed.
    pub idle_timeout: Duration,
    /// Requests under way at one miner; more wait.
    pub max_connections_per_miner: usize,
    /// Miners whose statistics are kept; the one unused for longest is forgotten.
    pub max_miners: usize,
}

impl Default for HttpMinersConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            put_timeout: Duration::from_secs(120),
            get_timeout: Duration::from_secs(30),
            probe_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(20),
            max_connections_per_miner: 8,
            max_miners: 1024,
        }
    }
}

/// The port `Miners` over the HTTP API of cess-miner. Endpoints are `http://`; TLS is not spoken.
/// Redirects are not followed.
#[derive(Debug)]
pub struct HttpMiners {
    client: Client<HttpConnector, PutBody>,
    config: HttpMinersConfig,
    key: ReadKey,
    account: HeaderValue,
    credentials: Mutex<Option<Credentials>>,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Debug)]
struct Credentials {
    signed_at: i64,
    message: HeaderValue,
    signature: HeaderValue,
}

impl HttpMiners {
    /// A client that signs with `key`: any fresh key, never the account that pays. It must be used
    /// inside a tokio runtime.
    pub fn new(config: HttpMinersConfig, key: ReadKey, clock: Arc<dyn Clock>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(config.max_connections_per_miner)
            .build(connector);
        let account = text_value(encode_account(&key.account()));
        let ledger = Ledger::new(config.max_miners, config.max_connections_per_miner);
        Self { client, config, key, account, credentials: Mutex::new(None), ledger, clock }
    }

    fn credentials(&self) -> Credentials {
        let now = self.clock.now().unix_seconds();
        let mut kept = self.credentials.lock();
        if let Some(credentials) = &*kept
            && (0..CREDENTIALS_AGE_MAX_SECONDS).contains(&(now - credentials.signed_at))
        {
            return credentials.clone();
        }
        let message = now.to_string();
        let signature = text_value(self.key.sign(message.as_bytes()));
        let credentials = Credentials { signed_at: now, message: text_value(message), signature };
        *kept = Some(credentials.clone());
        credentials
    }

    fn fragment_request(
        &self,
        method: Method,
        miner: &MinerAddr,
        fid: Fid,
        fragment: Hash32,
    ) -> PortResult<request::Builder> {
        let credentials = self.credentials();
        Ok(Request::builder()
            .method(method)
            .uri(uri_of(miner, FRAGMENT_PATH)?)
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .header(header::FID, text_value(fid.0.to_hex()))
            .header(header::FRAGMENT, text_value(fragment.to_hex()))
            .header(header::ACCOUNT, self.account.clone())
            .header(header::MESSAGE, credentials.message)
            .header(header::SIGNATURE, credentials.signature))
    }

    async fn send(&self, request: Request<PutBody>) -> PortResult<Response<Incoming>> {
        let handed_over = request.body().handed_over();
        self.client.request(request).await.map_err(|error| {
            let sent = !error.is_connect() && handed_over.load(Ordering::Acquire);
            transport(error, sent)
        })
    }

    async fn read(
        &self,
        entry: &MinerEntry,
        request: Request<PutBody>,
        range: Range<u32>,
    ) -> PortResult<Bytes> {
        let limit = self.config.get_timeout;
        let started = self.clock.elapsed();
        let Some(permit) = self.within(limit, entry.connections.acquire()).await else {
            return Err(PortError::definite(
                PortErrorKind::Unavailable,
                "too many requests wait for this miner",
            ));
        };
        let want = range.end - range.start;
        let timer = ReadTimer::start(entry, &*self.clock, want);
        let exchange = async {
            let response = self.send(request).await.map_err(|error| {
                PortError::definite(error.kind(), "the read did not come through").with_source(error)
            })?;
            read_bytes(response, range.start, want).await
        };
        let left = limit.saturating_sub(self.clock.elapsed().saturating_sub(started));
        let answer = self.within(left, exchange).await;
        drop(permit);
        let Some(answer) = answer else {
            timer.finish(ReadEnd::TimedOut);
            return Err(late("get", limit, false));
        };
        timer.finish(match &answer {
            Err(error) if matches!(error.kind(), PortErrorKind::Unavailable | PortErrorKind::Corrupt) => {
                ReadEnd::Failed
            }
            _ => ReadEnd::Answered,
        });
        answer
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), self.clock.sleep(limit)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

const AGENT: &str = concat!("cess-gateway/", env!("CARGO_PKG_VERSION"));

#[async_trait]
impl Miners for HttpMiners {
    async fn put(&self, miner: &MinerAddr, fid: Fid, fragment: Hash32, body: Bytes) -> PortResult<()> {
        let form = if fragment == ZERO_FRAGMENT {
            PutBody::empty()
        } else if body.len() as u64 == FRAGMENT_BYTES {
            PutBody::form(&fragment, body)
        } else {
            let text = format!("a fragment has {FRAGMENT_BYTES} bytes, not {}", body.len());
            return Err(PortError::definite(PortErrorKind::Refused, text));
        };
        let begun = Arc::new(AtomicBool::new(false));
        let handed_over = form.handed_over();
        let request = self
            .fragment_request(Method::PUT, miner, fid, fragment)?
            .header(CONTENT_TYPE, text_value(content_type(&boundary_for(&fragment))))
            .body(form)
            .map_err(bad_request)?;
        let entry = self.ledger.entry(&miner.account);
        let exchange = async {
            let _permit = entry.connections.acquire().await.expect("this semaphore is never closed");
            begun.store(true, Ordering::Release);
            read_reply(self.send(request).await?).await
        };
        let limit = self.config.put_timeout;
        match self.within(limit, exchange).await {
            Some(answer) => answer.map(drop),
            None => {
                let sent = begun.load(Ordering::Acquire) && handed_over.load(Ordering::Acquire);
                Err(late("put", limit, sent))
            }
        }
    }

    async fn get(
        &self,
        miner: &MinerAddr,
        fid: Fid,
        fragment: Hash32,
        range: Range<u32>,
    ) -> PortResult<Bytes> {
        if range.start > range.end || u64::from(range.end) > FRAGMENT_BYTES {
            let text = format!("bytes {range:?} are not within a fragment");
            return Err(PortError::definite(PortErrorKind::Refused, text));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if fragment == ZERO_FRAGMENT {
            return Ok(Bytes::from(vec![0; range.len()]));
        }
        let mut request = self.fragment_request(Method::GET, miner, fid, fragment)?;
        if range.len() as u64 != FRAGMENT_BYTES {
            request = request.header(RANGE, text_value(format_range(&range)));
        }
        let request = request.body(PutBody::empty()).map_err(bad_request)?;
        let entry = self.ledger.entry(&miner.account);
        self.read(&entry, request, range).await
    }

    async fn probe(&self, miner: &MinerAddr) -> PortResult<MinerStatus> {
        let request = Request::get(uri_of(miner, STATUS_PATH)?)
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .body(PutBody::empty())
            .map_err(bad_request)?;
        let entry = self.ledger.entry(&miner.account);
        let started = self.clock.elapsed();
        let exchange = async {
            let _permit = entry.connections.acquire().await.expect("this semaphore is never closed");
            read_reply(self.send(request).await?).await
        };
        let limit = self.config.probe_timeout;
        let Some(answer) = self.within(limit, exchange).await else {
            return Err(late("probe", limit, false));
        };
        let data = answer.map_err(|error| {
            PortError::definite(error.kind(), "the miner gives no status").with_source(error)
        })?;
        let status: StatusData = serde_json::from_value(data).map_err(|error| {
            PortError::definite(PortErrorKind::Corrupt, "the miner's status cannot be read")
                .with_source(error)
        })?;
        let round_trip = self.clock.elapsed().saturating_sub(started);
        Ok(MinerStatus { free_bytes: status.idle_space, round_trip })
    }

    fn latency(&self, miner: &AccountId) -> Option<MinerLatency> {
        self.ledger.latency(miner, self.config.get_timeout)
    }
}

fn uri_of(miner: &MinerAddr, path: &str) -> PortResult<Uri> {
    let endpoint = miner.endpoint.trim_end_matches('/');
    let refuse =
        |why: &str| PortError::definite(PortErrorKind::Refused, format!("endpoint {endpoint:?}: {why}"));
    if !endpoint.starts_with("http://") {
        return Err(refuse("only http:// is spoken with miners"));
    }
    format!("{endpoint}{path}").parse().map_err(|error| refuse("not a URL").with_source(error))
}

/// Hex, base58, decimal numbers and our own forms are all visible ASCII.
fn text_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("only visible ASCII is put into headers")
}

fn bad_request(error: http::Error) -> PortError {
    PortError::definite(PortErrorKind::Refused, "the request cannot be formed").with_source(error)
}

fn transport(error: Error, sent: bool) -> PortError {
    let text =
        if error.is_connect() { "the miner is not reachable" } else { "the connection to the miner broke" };
    let made = if sent { PortError::unknown } else { PortError::definite };
    made(PortErrorKind::Unavailable, text).with_source(error)
}

fn late(verb: &str, limit: Duration, sent: bool) -> PortError {
    let text = format!("the {verb} took longer than {} ms", limit.as_millis());
    if sent {
        PortError::unknown(PortErrorKind::Unavailable, text)
    } else {
        PortError::definite(PortErrorKind::Unavailable, text)
    }
}
