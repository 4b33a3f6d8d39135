//! A bucket's lifecycle configuration, between AWS's document and the store's rules.
//!
//! Only what is carried out is taken: expiration, noncurrent versions, delete markers, unfinished
//! uploads. Transitions between storage classes are refused, because all classes are stored alike.

use gw_store::{Lifecycle, LifecycleFilter, LifecycleRule, LifecycleWhen, NoncurrentExpiration};
use http::StatusCode;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, not_implemented};
use super::wants::{document_tags, malformed};
use crate::dates::from_s3;
use crate::errors::{coded, from_store};
use crate::xml;

const ID_CHARS_MAX: usize = 255;
const DOCUMENT: &str = "LifecycleConfiguration";
const DAY_SECONDS: i64 = 24 * 3600;

impl Operations {
    pub(super) async fn show_lifecycle(
        &self,
        request: S3Request<dto::GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLifecycleConfigurationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let lifecycle = self.store.bucket_lifecycle(ask.who, &name).await.map_err(from_store)?;
        let lifecycle = lifecycle.ok_or_else(|| {
            let message = "The lifecycle configuration does not exist";
            coded("NoSuchLifecycleConfiguration", StatusCode::NOT_FOUND, message)
        })?;
        let document: dto::BucketLifecycleConfiguration = xml::read(DOCUMENT, &lifecycle.text)?;
        let output =
            dto::GetBucketLifecycleConfigurationOutput { rules: Some(document.rules), ..Default::default() };
        Ok(S3Response::new(output))
    }

    pub(super) async fn set_lifecycle(
        &self,
        request: S3Request<dto::PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<dto::PutBucketLifecycleConfigurationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let document = input.lifecycle_configuration.ok_or_else(malformed)?;
        let lifecycle = read(document)?;
        self.store.bucket_lifecycle_set(ask.who, &name, Some(lifecycle)).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketLifecycleConfigurationOutput::default()))
    }

    pub(super) async fn remove_lifecycle(
        &self,
        request: S3Request<dto::DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketLifecycleOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        self.store.bucket_lifecycle_set(ask.who, &name, None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketLifecycleOutput::default()))
    }
}

/// Checks a document; rules without a name get one, as AWS gives.
fn read(mut document: dto::BucketLifecycleConfiguration) -> S3Result<Lifecycle> {
    if document.rules.is_empty() {
        return Err(malformed());
    }
    let mut rules: Vec<LifecycleRule> = Vec::with_capacity(document.rules.len());
    for (index, rule) in document.rules.iter_mut().enumerate() {
        let id = rule.id.get_or_insert_with(|| format!("rule-{}", index + 1)).clone();
        if id.chars().count() > ID_CHARS_MAX {
            return Err(argument("ID length should not exceed allowed limit of 255"));
        }
        if rules.iter().any(|other| other.id == id) {
            return Err(argument("Rule ID must be unique. Found same ID for more than one rule"));
        }
        rules.push(rule_of(rule, id)?);
    }
    let text = xml::write(DOCUMENT, &document)?;
    Ok(Lifecycle { rules, text })
}

fn rule_of(rule: &dto::LifecycleRule, id: String) -> S3Result<LifecycleRule> {
    let enabled = match rule.status.as_str() {
        dto::ExpirationStatus::ENABLED => true,
        dto::ExpirationStatus::DISABLED => false,
        _ => return Err(malformed()),
    };
    let transitions = rule.transitions.iter().flatten().count()
        + rule.noncurrent_version_transitions.iter().flatten().count();
    let dates = rule.transitions.iter().flatten().filter_map(|transition| transition.date.as_ref());
    for date in dates {
        midnight(date)?;
    }
    if transitions > 0 {
        return Err(not_implemented(
            "Lifecycle transitions are not supported: all classes are stored alike.",
        ));
    }
    let (expire, expired_markers) = match &rule.expiration {
        None => (None, false),
        Some(expiration) => expiration_of(expiration)?,
    };
    let noncurrent = rule.noncurrent_version_expiration.as_ref().map(|asked| {
        let days = positive(asked.noncurrent_days.ok_or_else(malformed)?)?;
        let keep = asked.newer_noncurrent_versions.map(positive).transpose()?.unwrap_or(0);
        Ok::<_, S3Error>(NoncurrentExpiration { days, keep })
    });
    let abort = rule
        .abort_incomplete_multipart_upload
        .as_ref()
        .map(|asked| asked.days_after_initiation.ok_or_else(malformed).and_then(positive));
    let made = LifecycleRule {
        id,
        enabled,
        filter: filter_of(rule)?,
        expire,
        expired_markers,
        noncurrent: noncurrent.transpose()?,
        abort_uploads_days: abort.transpose()?,
    };
    let acts = made.expire.is_some()
        || made.expired_markers
        || made.noncurrent.is_some()
        || made.abort_uploads_days.is_some();
    if !acts {
        return Err(S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            "At least one action needs to be specified in a rule.",
        ));
    }
    Ok(made)
}

fn positive(count: i32) -> S3Result<u32> {
    u32::try_from(count)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| argument("'Days' for an action must be a positive integer"))
}

fn midnight(date: &dto::Timestamp) -> S3Result<gw_types::Timestamp> {
    let date = from_s3(date);
    if date.unix_seconds() % DAY_SECONDS == 0 {
        return Ok(date);
    }
    Err(argument("'Date' must be at midnight GMT"))
}

fn expiration_of(asked: &dto::LifecycleExpiration) -> S3Result<(Option<LifecycleWhen>, bool)> {
    match (asked.days, &asked.date, asked.expired_object_delete_marker) {
        (Some(days), None, None) => Ok((Some(LifecycleWhen::Days(positive(days)?)), false)),
        (None, Some(date), None) => Ok((Some(LifecycleWhen::Date(midnight(date)?)), false)),
        (None, None, Some(markers)) => Ok((None, markers)),
        _ => Err(malformed()),
    }
}

fn filter_of(rule: &dto::LifecycleRule) -> S3Result<LifecycleFilter> {
    let bytes = |count: i64| u64::try_from(count).map_err(|_| malformed());
    let mut made =
        LifecycleFilter { prefix: rule.prefix.clone().unwrap_or_default(), ..LifecycleFilter::default() };
    let Some(filter) = &rule.filter else { return Ok(made) };
    if rule.prefix.is_some() {
        return Err(malformed());
    }
    let (prefix, tags, larger, smaller) = match &filter.and {
        Some(and) => {
            let tags = and.tags.clone().unwrap_or_default();
            (and.prefix.clone(), tags, and.object_size_greater_than, and.object_size_less_than)
        }
        None => {
            let tags = filter.tag.clone().into_iter().collect();
            (filter.prefix.clone(), tags, filter.object_size_greater_than, filter.object_size_less_than)
        }
    };
    made.prefix = prefix.unwrap_or_default();
    made.tags = document_tags(tags)?;
    made.larger_than = larger.map(bytes).transpose()?;
    made.smaller_than = smaller.map(bytes).transpose()?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use s3s::dto::BucketLifecycleConfiguration;

    use super::{DOCUMENT, read};
    use crate::xml;

    fn check(rules: &str) -> Result<usize, String> {
        let text = format!("<{DOCUMENT}>{rules}</{DOCUMENT}>");
        let document: BucketLifecycleConfiguration = xml::read(DOCUMENT, text.as_bytes()).unwrap();
        read(document)
            .map(|lifecycle| lifecycle.rules.len())
            .map_err(|error| error.code().as_str().to_owned())
    }

    fn rule(id: &str, more: &str) -> String {
        format!("<Rule><ID>{id}</ID><Status>Enabled</Status>{more}</Rule>")
    }

    #[test]
    fn only_what_is_carried_out_is_taken() {
        let days = "<Filter><Prefix>a/</Prefix></Filter><Expiration><Days>1</Days></Expiration>";
        assert_eq!(check(&(rule("a", days) + &rule("b", days))), Ok(2));
        for (rules, code) in [
            (rule("a", days) + &rule("a", days), "InvalidArgument"),
            (rule(&"x".repeat(256), days), "InvalidArgument"),
            (rule("a", ""), "InvalidRequest"),
            (rule("a", "<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"),
            (rule("a", "<Expiration><Date>2030-01-01T05:00:00Z</Date></Expiration>"), "InvalidArgument"),
            (rule("a", days).replace("Enabled", "enabled"), "MalformedXML"),
            (
                rule("a", "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
                "NotImplemented",
            ),
        ] {
            assert_eq!(check(&rules), Err(code.to_owned()), "{rules}");
        }
    }
}
