//! Server access logs of a bucket (AWS: "Logging requests with server access logging").

use gw_types::BucketName;
use serde::{Deserialize, Serialize};

/// What time a partitioned prefix names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogPartition {
    /// `PREFIX` and the time of delivery.
    None,
    /// `PREFIX OWNER/REGION/BUCKET/YYYY/MM/DD/`, the day of the requests.
    EventTime,
    /// The same, the day of delivery.
    DeliveryTime,
}

/// Where a bucket's requests are written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLogging {
    /// Name of a bucket of the same owner.
    pub target: String,
    /// Beginning of the log objects' keys.
    pub prefix: String,
    /// How they go on.
    pub partition: LogPartition,
}

/// A bucket whose requests are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBucket {
    /// Its name.
    pub bucket: BucketName,
    /// Its owner.
    pub owner: String,
    /// Where to.
    pub logging: BucketLogging,
}
