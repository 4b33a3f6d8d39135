//! Event notifications as callers see them: what a bucket wants told, and what is told.
//!
//! AWS: "Amazon S3 Event Notifications", "Event message structure". A rule names one target; two
//! rules that could fit the same event are refused, so a change makes one event at most.

use gw_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Etag, VersionId};
use crate::error::{StoreError, StoreResult};

/// Most rules of a bucket (AWS: 100 notification configurations).
pub const NOTIFY_RULES_MAX: usize = 100;

/// What happened, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// `ObjectCreated:Put`
    CreatedPut,
    /// `ObjectCreated:Post`: a form.
    CreatedPost,
    /// `ObjectCreated:Copy`
    CreatedCopy,
    /// `ObjectCreated:CompleteMultipartUpload`
    CreatedComplete,
    /// `ObjectRemoved:Delete`: an object or version is gone.
    RemovedDelete,
    /// `ObjectRemoved:DeleteMarkerCreated`
    RemovedMarker,
    /// `LifecycleExpiration:Delete`
    ExpiredDelete,
    /// `LifecycleExpiration:DeleteMarkerCreated`
    ExpiredMarker,
    /// `ObjectTagging:Put`
    TaggingPut,
    /// `ObjectTagging:Delete`
    TaggingDelete,
    /// `ObjectAcl:Put`
    AclPut,
    /// `s3:TestEvent`: the first event of a configuration; no rule can ask for it.
    Test,
}

impl EventKind {
    const NAMED: [(Self, &'static str); 11] = [
        (Self::CreatedPut, "ObjectCreated:Put"),
        (Self::CreatedPost, "ObjectCreated:Post"),
        (Self::CreatedCopy, "ObjectCreated:Copy"),
        (Self::CreatedComplete, "ObjectCreated:CompleteMultipartUpload"),
        (Self::RemovedDelete, "ObjectRemoved:Delete"),
        (Self::RemovedMarker, "ObjectRemoved:DeleteMarkerCreated"),
        (Self::ExpiredDelete, "LifecycleExpiration:Delete"),
        (Self::ExpiredMarker, "LifecycleExpiration:DeleteMarkerCreated"),
        (Self::TaggingPut, "ObjectTagging:Put"),
        (Self::TaggingDelete, "ObjectTagging:Delete"),
        (Self::AclPut, "ObjectAcl:Put"),
    ];
    /// The name in a message, without `s3:`.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(kind, _)| *kind == self).map_or("TestEvent", |(_, name)| name)
    }
    /// The kinds that a word of a configuration means (`s3:ObjectCreated:*`, `s3:ObjectAcl:Put`);
    /// none for a word of something that never happens here.
    pub fn meant(word: &str) -> Vec<Self> {
        let Some(word) = word.strip_prefix("s3:") else { return Vec::new() };
        let fits = |name: &str| match word.strip_suffix('*') {
            Some(family) => family.ends_with(':') && name.starts_with(family),
            None => name == word,
        };
        Self::NAMED.iter().filter(|(_, name)| fits(name)).map(|(kind, _)| *kind).collect()
    }
}

/// One rule: which events go to which target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyRule {
    /// Its name, told with each event.
    pub id: String,
    /// Name of the target, from the operator's configuration.
    pub target: String,
    /// Kinds wanted.
    pub events: Vec<EventKind>,
    /// Beginning of the key.
    pub prefix: String,
    /// End of the key.
    pub suffix: String,
}

impl NotifyRule {
    /// Whether it wants this event.
    pub fn fits(&self, kind: EventKind, key: &str) -> bool {
        self.events.contains(&kind) && key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }
    /// Whether some event fits both.
    fn overlaps(&self, other: &Self) -> bool {
        let either = |one: &str, two: &str, fits: fn(&str, &str) -> bool| fits(one, two) || fits(two, one);
        self.events.iter().any(|kind| other.events.contains(kind))
            && either(&self.prefix, &other.prefix, |one, two| one.starts_with(two))
            && either(&self.suffix, &other.suffix, |one, two| one.ends_with(two))
    }
}

/// All rules of a bucket, with the text they came as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notifications {
    /// At most [`NOTIFY_RULES_MAX`].
    pub rules: Vec<NotifyRule>,
    /// The document, given back as it came.
    pub text: Vec<u8>,
}

impl Notifications {
    /// Whether the rules can be kept: not too many, and never two for one event.
    pub(crate) fn check(&self) -> StoreResult<()> {
        if self.rules.len() > NOTIFY_RULES_MAX {
            return Err(StoreError::invalid("a bucket has at most 100 notification configurations"));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.events.is_empty() {
                return Err(StoreError::invalid("a notification configuration names no event"));
            }
            for other in &self.rules[..index] {
                if other.id == rule.id {
                    return Err(StoreError::invalid("two notification configurations have the same Id"));
                }
                if other.overlaps(rule) {
                    return Err(StoreError::invalid(
                        "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules \
                         if the prefixes are overlapping for the same event type.",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What becomes of an event whose target has as many waiting as it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The change happens and the event is lost; the loss is counted.
    #[default]
    Drop,
    /// The change is refused with [`StoreErrorKind::Busy`](crate::StoreErrorKind::Busy).
    Refuse,
}

/// A target that events may go to, as the operator configured it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTarget {
    /// 1 to 64 letters, digits, `_` or `-`.
    pub name: String,
    /// Most events that wait for it.
    pub events_max: u64,
    /// What happens then.
    pub when_full: WhenFull,
}

impl EventTarget {
    /// Waiting events of a target that says nothing else: about 200 MB of rows.
    pub const EVENTS_MAX: u64 = 1_000_000;
    /// A target with the defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), events_max: Self::EVENTS_MAX, when_full: WhenFull::default() }
    }
    /// Whether a target may be called so.
    pub fn is_name(name: &str) -> bool {
        (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    }
}

/// An event's number: grows with the changes of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventSeq(pub u64);

/// An event that waits to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the order of changes.
    pub seq: EventSeq,
    /// What happened.
    pub kind: EventKind,
    /// The rule that wanted it.
    pub rule: String,
    /// Where.
    pub bucket: String,
    /// The bucket's owner.
    pub owner: String,
    /// To what; empty for a test event.
    pub key: String,
    /// Bytes of the object, where there is one now.
    pub size: Option<u64>,
    /// Its tag.
    pub etag: Option<Etag>,
    /// Its version, or the marker's, where the bucket has versions.
    pub version: Option<VersionId>,
    /// Time of the commit.
    pub at: Timestamp,
    /// Who did it; `None`: somebody without a name.
    pub who: Option<String>,
    /// The address the request came from; empty where there was no request.
    pub source_ip: String,
    /// The request's id; empty where there was none.
    pub request_id: String,
}

/// How telling went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFate {
    /// The target took it.
    Delivered,
    /// It was given up.
    Dead,
}

/// One target's queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQueue {
    /// The target's name.
    pub target: String,
    /// Events that wait.
    pub pending: u64,
    /// Taken by the target since the queue was first used.
    pub delivered: u64,
    /// Given up.
    pub dead: u64,
    /// Lost because the queue was full.
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::{EventKind, Notifications, NotifyRule};

    fn rule(id: &str, events: &str, prefix: &str, suffix: &str) -> NotifyRule {
        NotifyRule {
            id: id.to_owned(),
            target: "t".to_owned(),
            events: EventKind::meant(events),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        }
    }

    fn taken(rules: &[NotifyRule]) -> bool {
        Notifications { rules: rules.to_vec(), text: Vec::new() }.check().is_ok()
    }

    #[test]
    fn words_mean_kinds() {
        assert_eq!(EventKind::meant("s3:ObjectCreated:*").len(), 4);
        assert_eq!(EventKind::meant("s3:ObjectAcl:Put"), [EventKind::AclPut]);
        for word in ["s3:*", "ObjectCreated:*", "s3:ObjectCreated*", "s3:ObjectRestore:Post", "s3:TestEvent"]
        {
            assert!(EventKind::meant(word).is_empty(), "{word}");
        }
    }

    #[test]
    fn no_event_fits_two_rules() {
        let put = "s3:ObjectCreated:Put";
        assert!(taken(&[rule("1", put, "a/", ""), rule("2", put, "b/", "")]));
        assert!(taken(&[rule("1", put, "", ".jpg"), rule("2", put, "", ".png")]));
        assert!(taken(&[rule("1", put, "", ""), rule("2", "s3:ObjectRemoved:*", "", "")]));
        assert!(!taken(&[rule("1", put, "a/", ""), rule("2", "s3:ObjectCreated:*", "a/b", "")]));
        assert!(!taken(&[rule("1", put, "a", ".jpg"), rule("2", put, "", "g")]));
        assert!(!taken(&[rule("1", put, "a", ""), rule("1", put, "b", "")]));
        assert!(!taken(&[rule("1", "s3:Nothing", "a", "")]));
        let one = rule("1", put, "a/", ".jpg");
        assert!(one.fits(EventKind::CreatedPut, "a/b.jpg") && !one.fits(EventKind::CreatedCopy, "a/b.jpg"));
        assert!(!one.fits(EventKind::CreatedPut, "b.jpg") && !one.fits(EventKind::CreatedPut, "a/b.png"));
    }
}
