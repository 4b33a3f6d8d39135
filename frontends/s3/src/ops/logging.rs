//! A bucket's access log, between AWS's document and the store's rule.

use gw_store::{BucketLogging, LogPartition};
use http::StatusCode;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, bucket};
use super::wants::malformed;
use crate::errors::{coded, from_store};

const EVENT_TIME: &str = "EventTime";
const DELIVERY_TIME: &str = "DeliveryTime";

impl Operations {
    pub(super) async fn show_logging(
        &self,
        request: S3Request<dto::GetBucketLoggingInput>,
    ) -> S3Result<S3Response<dto::GetBucketLoggingOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let logging = self.store.bucket_logging(ask.who, &name).await.map_err(from_store)?;
        let enabled = logging.map(|logging| dto::LoggingEnabled {
            target_bucket: logging.target,
            target_grants: None,
            target_object_key_format: format_of(logging.partition),
            target_prefix: logging.prefix,
        });
        Ok(S3Response::new(dto::GetBucketLoggingOutput { logging_enabled: enabled }))
    }

    pub(super) async fn set_logging(
        &self,
        request: S3Request<dto::PutBucketLoggingInput>,
    ) -> S3Result<S3Response<dto::PutBucketLoggingOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let logging = input.bucket_logging_status.logging_enabled.map(read).transpose()?;
        self.store.bucket_logging_set(ask.who, &name, logging).await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketLoggingOutput::default()))
    }
}

fn format_of(partition: LogPartition) -> Option<dto::TargetObjectKeyFormat> {
    let source = match partition {
        LogPartition::None => return None,
        LogPartition::EventTime => EVENT_TIME,
        LogPartition::DeliveryTime => DELIVERY_TIME,
    };
    Some(dto::TargetObjectKeyFormat {
        partitioned_prefix: Some(dto::PartitionedPrefix {
            partition_date_source: Some(dto::PartitionDateSource::from_static(source)),
        }),
        simple_prefix: None,
    })
}

fn read(enabled: dto::LoggingEnabled) -> S3Result<BucketLogging> {
    if enabled.target_grants.is_some_and(|grants| !grants.is_empty()) {
        // Log objects belong to the bucket's owner, as if lists were off (AWS refuses them then).
        return Err(coded(
            "InvalidArgument",
            StatusCode::BAD_REQUEST,
            "TargetGrants are not supported: log objects belong to the owner of the target bucket.",
        ));
    }
    let partition = match enabled.target_object_key_format {
        None => LogPartition::None,
        Some(format) => match (format.simple_prefix, format.partitioned_prefix) {
            (Some(_), None) => LogPartition::None,
            (None, Some(prefix)) => match prefix.partition_date_source.as_ref().map(|source| source.as_str())
            {
                None | Some(DELIVERY_TIME) => LogPartition::DeliveryTime,
                Some(EVENT_TIME) => LogPartition::EventTime,
                Some(_) => return Err(malformed()),
            },
            _ => return Err(malformed()),
        },
    };
    Ok(BucketLogging { target: enabled.target_bucket, prefix: enabled.target_prefix, partition })
}
