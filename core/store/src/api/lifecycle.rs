//! Lifecycle rules of a bucket (AWS: "Managing the lifecycle of objects").

use gw_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::Tag;

/// What a rule is about: all of these must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleFilter {
    /// Beginning of the key.
    pub prefix: String,
    /// Each must be on the object.
    pub tags: Vec<Tag>,
    /// Only objects of more bytes.
    pub larger_than: Option<u64>,
    /// Only objects of fewer bytes.
    pub smaller_than: Option<u64>,
}

impl LifecycleFilter {
    /// Whether an object of this key and size may be meant, its tags aside.
    pub fn fits(&self, key: &str, size: u64) -> bool {
        key.starts_with(&self.prefix)
            && self.larger_than.is_none_or(|bytes| size > bytes)
            && self.smaller_than.is_none_or(|bytes| size < bytes)
    }
    /// Whether an object with these tags is meant, all else aside.
    pub fn fits_tags(&self, tags: &[Tag]) -> bool {
        self.tags.iter().all(|tag| tags.contains(tag))
    }
}

/// When current objects expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifecycleWhen {
    /// Days after they were put.
    Days(u32),
    /// From this midnight on.
    Date(Timestamp),
}

/// When noncurrent versions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// Days after they became noncurrent.
    pub days: u32,
    /// The newest so many stay.
    pub keep: u32,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Whether it is carried out.
    pub enabled: bool,
    /// What it is about.
    pub filter: LifecycleFilter,
    /// Current objects.
    pub expire: Option<LifecycleWhen>,
    /// Delete markers with nothing under them go.
    pub expired_markers: bool,
    /// Noncurrent versions.
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Days after which unfinished uploads are given up.
    pub abort_uploads_days: Option<u32>,
}

/// All rules of a bucket, with the text they came as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// At most 1000.
    pub rules: Vec<LifecycleRule>,
    /// The document, given back as it came.
    pub text: Vec<u8>,
}

impl Lifecycle {
    /// When a current object of this kind will expire, and by which rule: the earliest.
    pub fn expiry(
        &self,
        key: &str,
        size: u64,
        tags: &[Tag],
        (put, day_nanos): (Timestamp, i64),
    ) -> Option<(Timestamp, &LifecycleRule)> {
        let rules = self
            .rules
            .iter()
            .filter(|rule| rule.enabled && rule.filter.fits(key, size) && rule.filter.fits_tags(tags));
        let when = rules.filter_map(|rule| match rule.expire? {
            LifecycleWhen::Days(days) => Some((after_days(put, days, day_nanos), rule)),
            LifecycleWhen::Date(date) => Some((date, rule)),
        });
        when.min_by_key(|(at, _)| *at)
    }
}

/// The first midnight (UTC) that is at least so many days later, as AWS rounds.
pub(crate) fn after_days(from: Timestamp, days: u32, day_nanos: i64) -> Timestamp {
    let day_nanos = day_nanos.max(1);
    let due = from.0.saturating_add(i64::from(days).saturating_mul(day_nanos));
    let over = due.rem_euclid(day_nanos);
    Timestamp(if over == 0 { due } else { due.saturating_add(day_nanos - over) })
}

#[cfg(test)]
mod tests {
    use gw_types::Timestamp;

    use super::{Lifecycle, LifecycleFilter, LifecycleRule, LifecycleWhen, after_days};

    const DAY: i64 = 86_400_000_000_000;

    #[test]
    fn days_end_at_midnight() {
        assert_eq!(after_days(Timestamp(1), 1, DAY), Timestamp(2 * DAY));
        assert_eq!(after_days(Timestamp(DAY), 1, DAY), Timestamp(2 * DAY));
        assert_eq!(after_days(Timestamp(i64::MAX), 1, DAY).0, i64::MAX);
    }

    #[test]
    fn the_earliest_rule_that_fits_decides() {
        let rule = |id: &str, days, filter| LifecycleRule {
            id: id.to_owned(),
            enabled: true,
            filter,
            expire: Some(LifecycleWhen::Days(days)),
            expired_markers: false,
            noncurrent: None,
            abort_uploads_days: None,
        };
        let tag = ("k".to_owned(), "v".to_owned());
        let tagged = LifecycleFilter { tags: vec![tag.clone()], ..LifecycleFilter::default() };
        let large = LifecycleFilter { larger_than: Some(10), ..LifecycleFilter::default() };
        let logs = LifecycleFilter { prefix: "log/".to_owned(), ..LifecycleFilter::default() };
        let rules = vec![rule("logs", 30, logs), rule("tagged", 10, tagged), rule("large", 5, large)];
        let lifecycle = Lifecycle { rules, text: Vec::new() };
        let found = |key, size, tags: &[(String, String)]| {
            lifecycle.expiry(key, size, tags, (Timestamp(0), DAY)).map(|(_, rule)| rule.id.clone())
        };
        assert_eq!(found("log/a", 1, &[]).as_deref(), Some("logs"));
        assert_eq!(found("log/a", 1, &[tag]).as_deref(), Some("tagged"));
        assert_eq!(found("log/a", 11, &[]).as_deref(), Some("large"));
        assert_eq!(found("a", 10, &[]), None);
    }
}
