//! A webhook: each event is one POST, and any 2xx answer means that it was taken.
//!
//! ```text
//! POST URL
//! Content-Type: application/json
//! X-Cess-Event: ObjectCreated:Put
//! X-Cess-Delivery: 00000000001A7000                  the event's number, the same when told again
//! X-Cess-Timestamp: 1700000000                       seconds since 1970
//! X-Cess-Signature: v1=HEX                           where there is a secret:
//!                   HMAC-SHA256(secret, timestamp "." body)
//! ```
//!
//! The time is under the signature, so a receiver can refuse old messages that somebody sends again.
//! Redirects are not followed: an address is the operator's to give. Connections are used again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;

use crate::config::{SecretText, WebhookConfig};
use crate::sink::{Message, Sink, SinkError};

/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Idle connections kept to one target.
const IDLE_MAX: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Webhook {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    secret: Option<SecretText>,
    authorization: Option<HeaderValue>,
}

impl Webhook {
    pub(crate) fn new(config: WebhookConfig, parallel: usize) -> io::Result<Self> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let url: Uri = config.url.parse().map_err(|error| bad(format!("the webhook's url: {error}")))?;
        let secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad(format!("{} is no http:// or https:// address", config.url))),
        };
        let authorization = match &config.token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|_| bad("the webhook's token cannot stand in a header".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let builder = if secure {
            builder.with_provider_and_native_roots(provider)?
        } else {
            // Never used: the address is plain HTTP.
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?;
            builder.with_tls_config(
                config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
            )
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX.min(parallel))
            .build(builder.https_or_http().enable_http1().build());
        Ok(Self { client, url, secret: config.secret, authorization })
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, SinkError> {
        let mut request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "cess-gateway")
            .header("x-cess-event", message.kind)
            .header("x-cess-delivery", &message.id)
            .header("x-cess-timestamp", message.now_seconds);
        if let Some(secret) = &self.secret {
            request =
                request.header("x-cess-signature", signature(secret, message.now_seconds, &message.body));
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request
            .body(Full::new(message.body.clone()))
            .map_err(|error| SinkError::of("making the request", &error))
    }
}

fn signature(secret: &SecretText, now_seconds: i64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(now_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[async_trait]
impl Sink for Webhook {
    async fn send(&self, message: &Message) -> Result<(), SinkError> {
        let request = self.request(message)?;
        let answer =
            self.client.request(request).await.map_err(|error| SinkError::of("the webhook", &error))?;
        let status = answer.status();
        // The body says nothing that counts; one that is too long costs the connection.
        let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        if status.is_success() { Ok(()) } else { Err(SinkError(format!("the webhook answered {status}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Webhook, signature};
    use crate::config::{SecretText, WebhookConfig};

    #[test]
    fn signatures_are_what_anybody_computes() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let golden = "v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature(&SecretText::new("key"), 1_700_000_000, b"{}"), golden);
    }

    #[test]
    fn only_http_addresses_are_taken() {
        let config = |url: &str| WebhookConfig { url: url.to_owned(), secret: None, token: None };
        assert!(Webhook::new(config("http://127.0.0.1:1/x"), 1).is_ok());
        for url in ["ftp://x/", "/x", "127.0.0.1", "not a url"] {
            assert!(Webhook::new(config(url), 1).is_err(), "{url}");
        }
    }
}
