//! `[[notify]]`: where events of buckets may go, as the operator says it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gw_events::{NatsConfig, SecretText, TargetConfig, TargetKind, WebhookConfig};
use gw_s3::EventArn;
use gw_store::{EventTarget, WhenFull};
use serde::Deserialize;

use crate::datadir::read_secret;
use crate::error::{Context, Error, Result, fail};

/// Keys of one `[[notify]]`.
pub const KEYS: &[&str] = &[
    "name",
    "kind",
    "url",
    "urls",
    "subject",
    "secret_file",
    "token_file",
    "credentials_file",
    "events_max",
    "when_full",
    "parallel",
    "timeout_ms",
    "give_up_after_s",
];

/// One target.
#[derive(Clone, Debug, Deserialize)]
pub struct NotifySection {
    /// The name in ARNs: `arn:cess:sqs:REGION:NAME:KIND`.
    pub name: String,
    /// `webhook` or `nats`.
    pub kind: Kind,
    /// Webhook: the address.
    pub url: Option<String>,
    /// NATS: servers.
    #[serde(default)]
    pub urls: Vec<String>,
    /// NATS: a subject that a JetStream stream listens to.
    pub subject: Option<String>,
    /// Webhook: file (0600) with the key that signs messages.
    pub secret_file: Option<PathBuf>,
    /// Webhook: file (0600) with a bearer token.
    pub token_file: Option<PathBuf>,
    /// NATS: `.creds` file (0600).
    pub credentials_file: Option<PathBuf>,
    /// Most events that wait. Default 1,000,000.
    pub events_max: Option<u64>,
    /// What a full queue does. Default `drop`.
    #[serde(default)]
    pub when_full: Full,
    /// Keys told at once. Default 8.
    pub parallel: Option<usize>,
    /// Milliseconds for one telling. Default 10,000.
    pub timeout_ms: Option<u64>,
    /// Seconds after which an event that is refused is given up. Default 86,400.
    pub give_up_after_s: Option<u64>,
}

/// Kind of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Webhook,
    Nats,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Full {
    #[default]
    Drop,
    Refuse,
}

/// A target, as the store, S3 and delivery each know it.
#[derive(Clone, Debug)]
pub struct Target {
    pub queue: EventTarget,
    pub delivery: TargetConfig,
}

impl Target {
    /// What ARNs call it.
    pub fn arn(&self) -> EventArn {
        EventArn { name: self.queue.name.clone(), kind: self.delivery.kind.word().to_owned() }
    }
    /// A webhook with all defaults, by `NAME=URL`.
    pub fn webhook(text: &str) -> Result<Self> {
        let (name, url) =
            text.split_once('=').ok_or_else(|| Error::new(format!("{text:?} is not NAME=URL")))?;
        check_name(name)?;
        let kind = TargetKind::Webhook(WebhookConfig { url: url.to_owned(), secret: None, token: None });
        Ok(Self { queue: EventTarget::new(name), delivery: TargetConfig::new(name, kind) })
    }
}

/// Checks all sections and reads their secrets.
pub fn targets(sections: &[NotifySection]) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::with_capacity(sections.len());
    for section in sections {
        let target = section.target().context(|| format!("in [[notify]] {:?}", section.name))?;
        if targets.iter().any(|other| other.queue.name == target.queue.name) {
            return fail(format!("two [[notify]] have the name {:?}", section.name));
        }
        targets.push(target);
    }
    Ok(targets)
}

fn check_name(name: &str) -> Result<()> {
    if EventTarget::is_name(name) {
        return Ok(());
    }
    fail(format!("{name:?} is no name of a target: 1 to 64 letters, digits, `_` or `-`"))
}

fn secret(path: Option<&Path>) -> Result<Option<SecretText>> {
    let Some(path) = path else { return Ok(None) };
    let bytes = read_secret(path)?.ok_or_else(|| Error::new(format!("there is no {}", path.display())))?;
    let text = String::from_utf8(bytes).context(|| format!("reading {}", path.display()))?;
    Ok(Some(SecretText::new(text.trim())))
}

impl NotifySection {
    fn target(&self) -> Result<Target> {
        check_name(&self.name)?;
        let foreign = match self.kind {
            Kind::Webhook => {
                !self.urls.is_empty() || self.subject.is_some() || self.credentials_file.is_some()
            }
            Kind::Nats => self.url.is_some() || self.secret_file.is_some() || self.token_file.is_some(),
        };
        if foreign {
            return fail(
                "a webhook has url, secret_file, token_file; nats has urls, subject, credentials_file",
            );
        }
        let kind = match self.kind {
            Kind::Webhook => TargetKind::Webhook(WebhookConfig {
                url: self.url.clone().ok_or_else(|| Error::new("a webhook needs its url"))?,
                secret: secret(self.secret_file.as_deref())?,
                token: secret(self.token_file.as_deref())?,
            }),
            Kind::Nats => TargetKind::Nats(NatsConfig {
                urls: self.urls.clone(),
                subject: self.subject.clone().ok_or_else(|| Error::new("nats needs a subject"))?,
                credentials: secret(self.credentials_file.as_deref())?,
            }),
        };
        let mut queue = EventTarget::new(self.name.clone());
        queue.events_max = self.events_max.unwrap_or(queue.events_max);
        if self.when_full == Full::Refuse {
            queue.when_full = WhenFull::Refuse;
        }
        let mut delivery = TargetConfig::new(self.name.clone(), kind);
        delivery.parallel = self.parallel.unwrap_or(delivery.parallel).max(1);
        delivery.timeout = self.timeout_ms.map_or(delivery.timeout, Duration::from_millis);
        delivery.give_up_after = self.give_up_after_s.map_or(delivery.give_up_after, Duration::from_secs);
        Ok(Target { queue, delivery })
    }
}

#[cfg(test)]
mod tests {
    use super::{NotifySection, Target, targets};

    fn read(text: &str) -> Result<Vec<Target>, String> {
        let table: toml::Table = text.parse().unwrap();
        let sections: Vec<NotifySection> =
            table["notify"].clone().try_into().map_err(|error| error.to_string())?;
        targets(&sections).map_err(|error| error.to_string())
    }

    #[test]
    fn targets_are_read_with_their_defaults() {
        let text = "[[notify]]\nname = 'hook'\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n\
                    [[notify]]\nname = 'bus'\nkind = 'nats'\nurls = ['nats://127.0.0.1']\nsubject = 's3'\n\
                    when_full = 'refuse'\nevents_max = 5\n";
        let targets = read(text).unwrap();
        assert_eq!((targets[0].arn().kind.as_str(), targets[0].queue.events_max), ("webhook", 1_000_000));
        assert_eq!((targets[1].arn().kind.as_str(), targets[1].queue.events_max), ("nats", 5));
        assert_eq!(targets[0].delivery.parallel, 8);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = |more: &str| read(&format!("[[notify]]\nname = 'a'\nkind = 'webhook'\n{more}")).is_err();
        assert!(one("") && one("url = 'http://x'\nsubject = 's'\n") && !one("url = 'http://x'\n"));
        assert!(one("url = 'http://x'\n[[notify]]\nname = 'a'\nkind = 'webhook'\nurl = 'http://y'\n"));
        assert!(one("url = 'http://x'\n[[notify]]\nname = 'a:b'\nkind = 'webhook'\nurl = 'http://y'\n"));
        assert!(one("url = 'http://x'\nsecret_file = '/does/not/exist'\n"));
        assert!(Target::webhook("a=http://x").is_ok() && Target::webhook("http://x").is_err());
    }
}
