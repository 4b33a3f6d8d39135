//! Tables 0x12 and 0x14: a bucket by name. What it holds is a row of its own ([`crate::Usage`]),
//! because every put rewrites that and none rewrites this.

use gw_types::ports::WrappedBucketKey;
use gw_types::{InodeId, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::BucketSettings;

/// A bucket. Its number is its root directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketRow {
    pub(crate) root: InodeId,
    pub(crate) owner: String,
    pub(crate) created: Timestamp,
    /// Stream that its commits belong to.
    pub(crate) stream: StreamId,
    pub(crate) key: WrappedBucketKey,
    pub(crate) settings: BucketSettings,
}
