//! What stands beside an object and can change without a new version: owner and access list, tags,
//! retention, legal hold, how its keys are kept.
//!
//! Each is one of the object's [`Document`]s, written and read here and nowhere else, so an object
//! without any of them costs nothing more.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AclRequest, CustomerKey, Document, Grant, ObjectAttributes, Retention};
use crate::error::{StoreError, StoreResult};
use crate::rows;

/// Most tags of an object (AWS).
pub const OBJECT_TAGS_MAX: usize = 10;
/// Most tags of a bucket (AWS).
pub const BUCKET_TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

pub(crate) const TAGS: &str = "tags";
pub(crate) const OWNER: &str = "owner";
pub(crate) const ACL: &str = "acl";
pub(crate) const RETENTION: &str = "retention";
pub(crate) const HOLD: &str = "hold";
pub(crate) const SSE: &str = "sse";

/// A key and a value.
pub type Tag = (String, String);

/// Checks a tag set: how many, how long, and that no key comes twice.
pub fn check_tags(tags: &[Tag], max: usize) -> StoreResult<()> {
    if tags.len() > max {
        return Err(StoreError::bad_tags(format!("no more than {max} tags")));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            return Err(StoreError::bad_tags("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return Err(StoreError::bad_tags("The TagValue you have provided is invalid"));
        }
        if tags[..index].iter().any(|(other, _)| other == key) {
            return Err(StoreError::bad_tags("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(())
}

/// How an object's data key is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum Encryption {
    /// Under the bucket's key, and the client asked for it by name (SSE-S3).
    Managed,
    /// Besides, under a named key of the gateway (SSE-KMS).
    Kms {
        /// Its name.
        key: String,
        /// Echoed; wraps here are the same with and without.
        bucket_key: bool,
        /// Echoed, as it came.
        context: Option<String>,
    },
    /// Besides, under a key that only the client has (SSE-C).
    Customer {
        /// MD5 of that key.
        key_md5: [u8; 16],
    },
}

impl Encryption {
    /// Whether the data key is under another key besides the bucket's.
    pub fn is_second_key(&self) -> bool {
        !matches!(self, Self::Managed)
    }
}

/// What a put asks for besides the object's attributes; all of it is decided in the commit.
#[derive(Clone, Debug, Default)]
pub struct ObjectWants {
    /// Access list; `None`: private.
    pub acl: Option<AclRequest>,
    /// Tags; for a copy `None` takes the source's.
    pub tags: Option<Vec<Tag>>,
    /// `None`: the bucket's default.
    pub retention: Option<Retention>,
    /// Legal hold.
    pub legal_hold: Option<bool>,
    /// The client named SSE-S3.
    pub managed: bool,
    /// SSE-KMS.
    pub kms: Option<KmsWish>,
    /// SSE-C.
    pub customer_key: Option<CustomerKey>,
}

/// SSE-KMS, as a request asks for it. What it leaves open the bucket decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KmsWish {
    /// Name of the key.
    pub key: Option<String>,
    /// Whether a bucket key is used: echoed.
    pub bucket_key: Option<bool>,
    /// Encryption context: echoed.
    pub context: Option<String>,
}

/// A named key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKeyInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: gw_types::Timestamp,
}

impl ObjectWants {
    /// Whether anything at all is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.acl.is_none()
            && self.tags.is_none()
            && self.retention.is_none()
            && self.legal_hold.is_none()
            && !self.managed
            && self.kms.is_none()
            && self.customer_key.is_none()
    }
}

impl ObjectAttributes {
    fn extra<T: DeserializeOwned>(&self, name: &'static str) -> StoreResult<Option<T>> {
        let document = self.documents.iter().find(|document| document.name == name);
        document.map(|document| rows::decode(name, &document.value)).transpose()
    }
    /// Sets or removes one.
    pub(crate) fn set_extra<T: Serialize>(&mut self, name: &'static str, value: Option<&T>) {
        self.documents.retain(|document| document.name != name);
        if let Some(value) = value {
            self.documents.push(Document { name: name.to_owned(), value: rows::encode(value) });
        }
    }

    /// Tags, in the order given.
    pub fn tags(&self) -> StoreResult<Vec<Tag>> {
        Ok(self.extra(TAGS)?.unwrap_or_default())
    }
    /// Who owns it, where that is not the bucket's owner.
    pub fn foreign_owner(&self) -> StoreResult<Option<String>> {
        self.extra(OWNER)
    }
    /// Its access list; `None`: private.
    pub fn acl(&self) -> StoreResult<Option<Vec<Grant>>> {
        self.extra(ACL)
    }
    /// Till when it stays.
    pub fn retention(&self) -> StoreResult<Option<Retention>> {
        self.extra(RETENTION)
    }
    /// Takes off a retention that is over, where a new version takes after this one.
    pub(crate) fn end_retention(&mut self, now: gw_types::Timestamp) -> StoreResult<()> {
        if self.retention()?.is_some_and(|retention| retention.until <= now) {
            self.set_extra::<()>(RETENTION, None);
        }
        Ok(())
    }
    /// Whether it stays until this is taken off; `None`: never set.
    pub fn legal_hold(&self) -> StoreResult<Option<bool>> {
        self.extra(HOLD)
    }
    /// How its data key is kept; `None`: under the bucket's key, unasked.
    pub fn encryption(&self) -> StoreResult<Option<Encryption>> {
        self.extra(SSE)
    }
}

#[cfg(test)]
mod tests {
    use super::{OBJECT_TAGS_MAX, TAGS, check_tags};
    use crate::api::ObjectAttributes;

    fn tag(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn tag_sets_have_limits() {
        let many: Vec<_> = (0..11).map(|index| tag(&index.to_string(), "")).collect();
        assert!(check_tags(&many[..10], OBJECT_TAGS_MAX).is_ok());
        assert!(check_tags(&many, OBJECT_TAGS_MAX).is_err());
        assert!(check_tags(&[tag(&"k".repeat(128), &"v".repeat(256))], 10).is_ok());
        assert!(check_tags(&[tag(&"k".repeat(129), "")], 10).is_err());
        assert!(check_tags(&[tag("k", &"v".repeat(257))], 10).is_err());
        assert!(check_tags(&[tag("", "v")], 10).is_err());
        assert!(check_tags(&[tag("k", "1"), tag("k", "2")], 10).is_err());
    }

    #[test]
    fn an_extra_is_replaced_and_removed_whole() {
        let mut attributes = ObjectAttributes::default();
        for value in ["1", "2"] {
            attributes.set_extra(TAGS, Some(&vec![tag("k", value)]));
        }
        assert_eq!(attributes.tags().unwrap(), vec![tag("k", "2")]);
        assert_eq!(attributes.documents.len(), 1);
        attributes.set_extra::<Vec<(String, String)>>(TAGS, None);
        assert_eq!(attributes, ObjectAttributes::default());
    }
}
