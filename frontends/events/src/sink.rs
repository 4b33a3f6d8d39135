//! Where a message goes: the one thing that webhooks and NATS have in common.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

/// An event, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Its number, sixteen hex digits: the same whenever it is told again.
    pub(crate) id: String,
    /// `ObjectCreated:Put` and the like.
    pub(crate) kind: &'static str,
    /// When it is sent, in seconds since 1970.
    pub(crate) now_seconds: i64,
    /// AWS's JSON.
    pub(crate) body: Bytes,
}

/// Why a target did not take a message. It may have it all the same.
#[derive(Debug)]
pub(crate) struct SinkError(pub(crate) String);

impl SinkError {
    /// An error with its causes, in one line.
    pub(crate) fn of(doing: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = format!("{doing}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self(text)
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SinkError {}

/// A target. `Ok` means that it has the message and will not lose it; on `Err` it is told again.
#[async_trait]
pub(crate) trait Sink: Send + Sync + 'static {
    async fn send(&self, message: &Message) -> Result<(), SinkError>;
}
