//! The chain's RPC over WebSocket and HTTP, on loopback.
//!
//! A chain that anybody may write to must not be reached from a web page: the listener binds loopback addresses
//! only, and a request whose `Host` is not loopback (a rebound DNS name) or whose `Origin` is another site gets
//! 403. Connections, subscriptions, message sizes and queues are bounded.

use crate::{
    error::{DevChainError, RpcFault},
    node::Node,
    rpc::{self, METHODS, SUBSCRIPTIONS},
};
use futures::{StreamExt, future::BoxFuture};
use jsonrpsee::{
    PendingSubscriptionSink, RpcModule,
    core::BoxError,
    server::{HttpBody, HttpRequest, HttpResponse, Server, ServerConfig, ServerHandle},
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Value, value::to_raw_value};
use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    task::{Context, Poll},
};
use tower::{Layer, Service, ServiceBuilder};

/// Most connections.
const CONNECTIONS_MAX: u32 = 64;
/// Most subscriptions of a connection; each watched transaction is one.
const SUBSCRIPTIONS_MAX: u32 = 1024;
/// Longest request in bytes: a transaction of 1000 segments in hex, and room.
const REQUEST_BYTES_MAX: u32 = 6 << 20;
/// Longest answer in bytes.
const RESPONSE_BYTES_MAX: u32 = 32 << 20;
/// Messages that wait for a slow connection before the sender waits.
const MESSAGES_MAX: u32 = 256;

/// A listener of the chain. It ends with the chain, or when told to.
#[derive(Debug, Clone)]
pub struct WsServer {
    addr: SocketAddr,
    handle: ServerHandle,
}

impl WsServer {
    /// Where it listens; `ws://` and this is the endpoint.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening and waits until the connections are closed. A second call does nothing.
    pub async fn stop(&self) {
        // An error says that it is stopped already.
        let _ = self.handle.stop();
        self.handle.clone().stopped().await;
    }
}

/// Listens on `addr`, which must be loopback; port 0 picks a free one.
pub(crate) async fn serve(node: &Arc<Node>, addr: SocketAddr) -> Result<WsServer, DevChainError> {
    if !addr.ip().is_loopback() {
        return Err(DevChainError::NotLoopback(addr));
    }
    let listen = |source| DevChainError::Listen { addr, source };
    let config = ServerConfig::builder()
        .max_connections(CONNECTIONS_MAX)
        .max_subscriptions_per_connection(SUBSCRIPTIONS_MAX)
        .max_request_body_size(REQUEST_BYTES_MAX)
        .max_response_body_size(RESPONSE_BYTES_MAX)
        .set_message_buffer_capacity(MESSAGES_MAX)
        .build();
    let server = Server::builder()
        .set_config(config)
        .set_http_middleware(ServiceBuilder::new().layer(LoopbackOnly))
        .build(addr)
        .await
        .map_err(listen)?;
    let addr = server.local_addr().map_err(listen)?;
    let handle = server.start(module(Arc::downgrade(node))?);
    Ok(WsServer { addr, handle })
}

fn module(node: Weak<Node>) -> Result<RpcModule<Weak<Node>>, DevChainError> {
    let mut module = RpcModule::new(node);
    for &method in METHODS {
        module.register_async_method(method, move |params, node, _| async move {
            rpc::request(&node, method, values(&params)?).await.map_err(to_object)
        })?;
    }
    for stream in SUBSCRIPTIONS {
        let name = stream.subscribe;
        module.register_subscription(
            name,
            stream.notification,
            stream.unsubscribe,
            move |params, pending, node, _| async move { feed(&node, name, values(&params), pending).await },
        )?;
    }
    Ok(module)
}

fn values(params: &Params<'_>) -> Result<Value, ErrorObjectOwned> {
    params.as_str().map_or(Ok(Value::Null), |text| {
        serde_json::from_str(text).map_err(|error| to_object(RpcFault::bad_params(error.to_string())))
    })
}

fn to_object(fault: RpcFault) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(fault.code, fault.message, fault.data)
}

/// Sends a stream to its subscriber until one of them ends.
async fn feed(
    node: &Weak<Node>,
    method: &str,
    params: Result<Value, ErrorObjectOwned>,
    pending: PendingSubscriptionSink,
) {
    let opened = match params {
        Ok(params) => rpc::subscribe(node, method, params).await.map_err(to_object),
        Err(error) => Err(error),
    };
    let mut values = match opened {
        Ok(values) => values,
        Err(error) => return pending.reject(error).await,
    };
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let value = tokio::select! {
            () = sink.closed() => return,
            value = values.next() => value,
        };
        let Some(Ok(message)) = value.map(|value| to_raw_value(&value)) else { return };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// Lets only requests through that a browser on another site cannot make.
#[derive(Debug, Clone, Copy)]
struct LoopbackOnly;

impl<S> Layer<S> for LoopbackOnly {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guard { inner }
    }
}

#[derive(Debug, Clone)]
struct Guard<S> {
    inner: S,
}

impl<S, B> Service<HttpRequest<B>> for Guard<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse>,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<HttpResponse, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let headers = request.headers();
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        if is_local(host, text("origin")) {
            let answer = self.inner.call(request);
            Box::pin(async move { answer.await.map_err(Into::into) })
        } else {
            tracing::warn!(?host, origin = ?text("origin"), "a request from elsewhere was refused");
            let mut refusal = HttpResponse::new(HttpBody::from("this chain serves loopback only\n"));
            *refusal.status_mut() = http::StatusCode::FORBIDDEN;
            Box::pin(async move { Ok(refusal) })
        }
    }
}

/// Whether a request comes from this machine and not from a page of another site.
fn is_local(host: Option<&str>, origin: Option<&str>) -> bool {
    let origin_is_local = origin.is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, authority)| is_loopback_authority(authority))
    });
    origin_is_local && host.is_some_and(is_loopback_authority)
}

/// `localhost`, `127.0.0.1`, `[::1]` and the like, with or without a port.
fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || is_port(port) => host,
            _ => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) if is_port(&format!(":{port}")) => host,
            Some(_) => return false,
            None => authority,
        },
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_loopback_hosts_and_origins_pass() {
        let good = [
            ("127.0.0.1:9944", None),
            ("localhost", None),
            ("LocalHost:80", Some("http://localhost:3000")),
            ("[::1]:9944", Some("http://127.0.0.1")),
            ("127.8.8.8", Some("https://[::1]:5")),
        ];
        for (host, origin) in good {
            assert!(is_local(Some(host), origin), "{host} {origin:?}");
        }
        let bad = [
            (None, None),
            (Some("example.org"), None),
            (Some("localhost.example.org"), None),
            (Some("127.0.0.1.example.org:9944"), None),
            (Some("10.0.0.1:9944"), None),
            (Some("localhost:9944"), Some("https://example.org")),
            (Some("localhost:9944"), Some("null")),
            (Some("localhost:9944"), Some("http://localhost@example.org")),
            (Some("localhost:9944"), Some("http://localhost:80@example.org")),
            (Some("[::1"), None),
            (Some("localhost:http"), None),
        ];
        for (host, origin) in bad {
            assert!(!is_local(host, origin), "{host:?} {origin:?}");
        }
    }
}
