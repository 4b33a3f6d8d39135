//! A bucket's event notifications, between AWS's document and the store's rules.
//!
//! A target is one of the operator's, named by an ARN: `arn:cess:sqs:REGION:NAME:KIND`, KIND being
//! `webhook` or `nats`; the region may be left empty. Topics and functions are taken alike (`sns`,
//! `lambda` in the third place), so that tools that know one form only can be used.

use gw_store::{EventKind, Notifications, NotifyRule};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, not_implemented};
use super::wants::malformed;
use crate::config::EventArn;
use crate::errors::from_store;
use crate::xml;

const DOCUMENT: &str = "NotificationConfiguration";
const ID_CHARS_MAX: usize = 255;
const FILTER_BYTES_MAX: usize = 1024;

impl Operations {
    pub(super) async fn show_notifications(
        &self,
        request: S3Request<dto::GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<dto::GetBucketNotificationConfigurationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let kept = self.store.bucket_notifications(ask.who, &name).await.map_err(from_store)?;
        let mut output = dto::GetBucketNotificationConfigurationOutput::default();
        if let Some(kept) = kept {
            let document: dto::NotificationConfiguration = xml::read(DOCUMENT, &kept.text)?;
            output.queue_configurations = document.queue_configurations;
            output.topic_configurations = document.topic_configurations;
            output.lambda_function_configurations = document.lambda_function_configurations;
        }
        Ok(S3Response::new(output))
    }

    pub(super) async fn set_notifications(
        &self,
        request: S3Request<dto::PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<dto::PutBucketNotificationConfigurationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let notifications = read(input.notification_configuration, &self.event_arns)?;
        // An empty document takes all off (AWS).
        let notifications = (!notifications.rules.is_empty()).then_some(notifications);
        self.store.bucket_notifications_set(ask.who, &name, notifications).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketNotificationConfigurationOutput::default()))
    }
}

/// Checks a document; configurations without an Id get one, as AWS gives.
fn read(mut document: dto::NotificationConfiguration, arns: &[EventArn]) -> S3Result<Notifications> {
    if document.event_bridge_configuration.is_some() {
        return Err(not_implemented("There is no EventBridge here; name a queue, a topic or a function."));
    }
    let mut reading = Reading { arns, rules: Vec::new() };
    for one in document.queue_configurations.iter_mut().flatten() {
        reading.rule(&mut one.id, ("sqs", &one.queue_arn), &one.events, one.filter.as_mut())?;
    }
    for one in document.topic_configurations.iter_mut().flatten() {
        reading.rule(&mut one.id, ("sns", &one.topic_arn), &one.events, one.filter.as_mut())?;
    }
    for one in document.lambda_function_configurations.iter_mut().flatten() {
        reading.rule(&mut one.id, ("lambda", &one.lambda_function_arn), &one.events, one.filter.as_mut())?;
    }
    let text = xml::write(DOCUMENT, &document)?;
    Ok(Notifications { rules: reading.rules, text })
}

struct Reading<'a> {
    arns: &'a [EventArn],
    rules: Vec<NotifyRule>,
}

impl Reading<'_> {
    fn rule(
        &mut self,
        id: &mut Option<String>,
        (service, arn): (&str, &str),
        words: &[dto::Event],
        filter: Option<&mut dto::NotificationConfigurationFilter>,
    ) -> S3Result<()> {
        let id = id.get_or_insert_with(|| format!("notification-{}", self.rules.len() + 1)).clone();
        if id.chars().count() > ID_CHARS_MAX {
            return Err(argument("ID length should not exceed allowed limit of 255"));
        }
        let mut events = Vec::new();
        for word in words {
            let kinds = EventKind::meant(word.as_ref());
            if kinds.is_empty() {
                let message = format!("The event '{}' is not supported for notifications", word.as_ref());
                return Err(argument(message));
            }
            events.extend(kinds);
        }
        if events.is_empty() {
            return Err(malformed());
        }
        let (prefix, suffix) = match filter.and_then(|filter| filter.key.as_mut()) {
            None => Default::default(),
            Some(key) => filters(key.filter_rules.as_mut())?,
        };
        let target = target(arn, service, self.arns)?;
        self.rules.push(NotifyRule { id, target, events, prefix, suffix });
        Ok(())
    }
}

/// Prefix and suffix; their names are put into AWS's spelling.
fn filters(rules: Option<&mut dto::FilterRuleList>) -> S3Result<(String, String)> {
    let (mut prefix, mut suffix) = (None, None);
    for rule in rules.into_iter().flatten() {
        let name = rule.name.as_ref().map(|name| name.as_str().to_ascii_lowercase()).unwrap_or_default();
        let (place, name) = match name.as_str() {
            "prefix" => (&mut prefix, "Prefix"),
            "suffix" => (&mut suffix, "Suffix"),
            _ => return Err(argument("filter rule name must be either prefix or suffix")),
        };
        rule.name = Some(dto::FilterRuleName::from_static(name));
        let value = rule.value.clone().unwrap_or_default();
        if value.len() > FILTER_BYTES_MAX {
            return Err(argument(
                "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation",
            ));
        }
        if place.replace(value).is_some() {
            return Err(argument(format!("Cannot specify more than one {name} rule in a filter.")));
        }
    }
    Ok((prefix.unwrap_or_default(), suffix.unwrap_or_default()))
}

/// The name of the target that an ARN means.
fn target(arn: &str, service: &str, arns: &[EventArn]) -> S3Result<String> {
    let unknown = || {
        S3Error::with_message(
            S3ErrorCode::InvalidArgument,
            format!("Unable to validate the following destination configurations: {arn}"),
        )
    };
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", "cess", said, _region, name, kind] = parts.as_slice() else {
        return Err(argument("The ARN could not be parsed: arn:cess:sqs:REGION:NAME:KIND is meant."));
    };
    let known = arns.iter().any(|known| known.name == *name && known.kind == *kind);
    if *said == service && known { Ok((*name).to_owned()) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests {
    use s3s::dto::NotificationConfiguration;

    use super::{DOCUMENT, read};
    use crate::config::EventArn;
    use crate::xml;

    fn check(text: &str) -> Result<Vec<(String, String, String, usize)>, String> {
        let arns = [EventArn { name: "hook".to_owned(), kind: "webhook".to_owned() }];
        let text = format!("<{DOCUMENT}>{text}</{DOCUMENT}>");
        let document: NotificationConfiguration = xml::read(DOCUMENT, text.as_bytes()).unwrap();
        let read = read(document, &arns).map_err(|error| error.code().as_str().to_owned())?;
        let rules = read.rules.into_iter();
        Ok(rules.map(|rule| (rule.target, rule.prefix, rule.suffix, rule.events.len())).collect())
    }

    fn queue(arn: &str, event: &str, more: &str) -> String {
        format!("<QueueConfiguration><Queue>{arn}</Queue><Event>{event}</Event>{more}</QueueConfiguration>")
    }

    #[test]
    fn queues_topics_and_functions_name_targets_by_arn() {
        let filter = "<Filter><S3Key><FilterRule><Name>Prefix</Name><Value>a/</Value></FilterRule>\
                      <FilterRule><Name>suffix</Name><Value>.jpg</Value></FilterRule></S3Key></Filter>";
        let one = queue("arn:cess:sqs:cess-1:hook:webhook", "s3:ObjectCreated:*", filter);
        assert_eq!(check(&one), Ok(vec![("hook".to_owned(), "a/".to_owned(), ".jpg".to_owned(), 4)]));
        let topic = "<TopicConfiguration><Topic>arn:cess:sns::hook:webhook</Topic>\
                     <Event>s3:ObjectAcl:Put</Event></TopicConfiguration>";
        let function = "<CloudFunctionConfiguration><CloudFunction>arn:cess:lambda::hook:webhook</CloudFunction>\
                        <Event>s3:ObjectTagging:Put</Event></CloudFunctionConfiguration>";
        assert_eq!(check(&format!("{topic}{function}")).unwrap().len(), 2);
        assert_eq!(check(""), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let twice = "<Filter><S3Key><FilterRule><Name>prefix</Name><Value>a</Value></FilterRule>\
                     <FilterRule><Name>prefix</Name><Value>b</Value></FilterRule></S3Key></Filter>";
        for (text, code) in [
            (queue("arn:cess:sqs::other:webhook", "s3:ObjectCreated:*", ""), "InvalidArgument"),
            (queue("arn:cess:sqs::hook:nats", "s3:ObjectCreated:*", ""), "InvalidArgument"),
            (queue("arn:cess:sns::hook:webhook", "s3:ObjectCreated:*", ""), "InvalidArgument"),
            (queue("arn:aws:sqs:us-east-1:1:q", "s3:ObjectCreated:*", ""), "InvalidArgument"),
            (queue("arn:cess:sqs::hook:webhook", "s3:ObjectRestore:Post", ""), "InvalidArgument"),
            (queue("arn:cess:sqs::hook:webhook", "s3:ObjectCreated:*", twice), "InvalidArgument"),
            ("<EventBridgeConfiguration></EventBridgeConfiguration>".to_owned(), "NotImplemented"),
        ] {
            assert_eq!(check(&text), Err(code.to_owned()), "{text}");
        }
    }
}
