//! NATS: each event is published to a subject of JetStream and counts as taken when the stream says
//! that it keeps it.
//!
//! `Nats-Msg-Id` carries the number of the event, so a stream drops a second telling within its
//! window for duplicates. The client connects by itself and again; until it has, tellings fail and
//! are repeated like any others.

use std::io;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap};
use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::config::NatsConfig;
use crate::sink::{Message, Sink, SinkError};

/// Messages between us and the client's connection.
const CLIENT_CAPACITY: usize = 256;

pub(crate) struct Nats {
    options: parking_lot::Mutex<Option<ConnectOptions>>,
    urls: Vec<String>,
    subject: String,
    timeout: Duration,
    context: OnceCell<Context>,
}

impl Nats {
    pub(crate) fn new(config: NatsConfig, timeout: Duration) -> io::Result<Self> {
        let options = match &config.credentials {
            Some(credentials) => ConnectOptions::with_credentials(credentials.expose())?,
            None => ConnectOptions::new(),
        };
        let options = options
            .name("cess-gateway")
            .connection_timeout(timeout)
            .request_timeout(Some(timeout))
            .client_capacity(CLIENT_CAPACITY)
            .retry_on_initial_connect();
        for url in &config.urls {
            url.parse::<async_nats::ServerAddr>()?;
        }
        let wild = config.subject.split('.').any(|part| part.is_empty() || part == "*" || part == ">");
        if config.urls.is_empty() || wild || config.subject.contains(char::is_whitespace) {
            let why = "a NATS target needs urls and a subject without wildcards";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(Self {
            options: parking_lot::Mutex::new(Some(options)),
            urls: config.urls,
            subject: config.subject,
            timeout,
            context: OnceCell::new(),
        })
    }

    async fn context(&self) -> Result<&Context, SinkError> {
        self.context
            .get_or_try_init(|| async {
                let options = self.options.lock().take();
                let options = options.ok_or_else(|| SinkError("connecting to NATS had failed".to_owned()))?;
                // Returns at once: the client goes on trying.
                let client = options
                    .connect(self.urls.as_slice())
                    .await
                    .map_err(|error| SinkError::of("connecting to NATS", &error))?;
                let mut context = jetstream::new(client);
                context.set_timeout(self.timeout);
                Ok(context)
            })
            .await
    }
}

#[async_trait]
impl Sink for Nats {
    async fn send(&self, message: &Message) -> Result<(), SinkError> {
        let context = self.context().await?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", message.id.as_str());
        headers.insert("Cess-Event", message.kind);
        let kept = context
            .publish_with_headers(self.subject.clone(), headers, message.body.clone())
            .await
            .map_err(|error| SinkError::of("publishing to NATS", &error))?;
        kept.await.map_err(|error| SinkError::of("waiting for JetStream", &error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Nats;
    use crate::config::NatsConfig;

    #[test]
    fn subjects_and_addresses_are_checked_at_the_start() {
        let made = |url: &str, subject: &str| {
            let config =
                NatsConfig { urls: vec![url.to_owned()], subject: subject.to_owned(), credentials: None };
            Nats::new(config, Duration::from_secs(1)).is_ok()
        };
        assert!(made("nats://127.0.0.1:4222", "s3.events"));
        for subject in ["", "s3.*", "s3.>", "a..b", "a b"] {
            assert!(!made("nats://127.0.0.1:4222", subject), "{subject}");
        }
        assert!(!made("http://127.0.0.1", "s3"));
    }
}
