//! What the operator says of a target.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

/// A secret that does not print.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// A target of events.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// The name that ARNs say; one that [`gw_store::EventTarget::is_name`] takes.
    pub name: String,
    /// What it is.
    pub kind: TargetKind,
    /// Keys told at once. At least 1.
    pub parallel: usize,
    /// Time for one telling, from connecting to the answer.
    pub timeout: Duration,
    /// Age at which an event that is refused is given up.
    pub give_up_after: Duration,
    /// First pause after a failure; it doubles up to [`TargetConfig::pause_max`].
    pub pause_min: Duration,
    /// Longest pause after failures.
    pub pause_max: Duration,
}

impl TargetConfig {
    /// A target with the defaults: 8 keys at once, 10 s for each telling, given up after a day,
    /// pauses of 1 s to 60 s.
    pub fn new(name: impl Into<String>, kind: TargetKind) -> Self {
        Self {
            name: name.into(),
            kind,
            parallel: 8,
            timeout: Duration::from_secs(10),
            give_up_after: Duration::from_secs(24 * 3600),
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// What a target is.
#[derive(Clone, Debug)]
pub enum TargetKind {
    /// Events are POSTed.
    Webhook(WebhookConfig),
    /// Events are published to JetStream.
    Nats(NatsConfig),
}

impl TargetKind {
    /// The last part of its ARN.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Nats(_) => "nats",
        }
    }
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// `http://` or `https://`.
    pub url: String,
    /// Signs each message; see [`crate`] and docs/EVENTS.md.
    pub secret: Option<SecretText>,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<SecretText>,
}

/// A subject of a NATS server with JetStream, which some stream must listen to: without one nobody
/// says that a message was kept, and at least once could not be promised.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// `nats://` or `tls://`, one or more.
    pub urls: Vec<String>,
    /// Where messages go.
    pub subject: String,
    /// Contents of a `.creds` file.
    pub credentials: Option<SecretText>,
}
