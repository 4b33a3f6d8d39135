//! Rules of a bucket that most buckets do not have.

use serde::{Deserialize, Serialize};

use super::{Grant, ObjectLock, Ownership, PublicBlock};

/// What a bucket says beyond its settings. All `None` and `false` for a bucket that nobody changed,
/// and then nothing more is read or stored for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRules {
    /// `None`: never set, which acts as [`Ownership::ObjectWriter`].
    pub ownership: Option<Ownership>,
    /// `None`: never set, which blocks nothing.
    pub public_block: Option<PublicBlock>,
    /// The bucket's access list; `None`: its owner alone.
    pub acl: Option<Vec<Grant>>,
    /// The commit that set the policy; the text is a document.
    pub policy: Option<u64>,
    /// Object lock, which nobody can take off again.
    pub lock: Option<ObjectLock>,
    /// How new objects are encrypted that do not say it themselves.
    pub encrypt: Option<BucketEncryption>,
    /// Others than the owner must say that they pay.
    pub requester_pays: bool,
    /// The commit that set the lifecycle; the rules are a document.
    pub lifecycle: Option<u64>,
    /// There is a document for cross-origin requests.
    pub cors: bool,
    /// The commit that set the notifications; the rules are a document.
    pub notify: Option<u64>,
    /// Requests are written down; where to is a document.
    pub logging: bool,
}

impl BucketRules {
    /// Whether access lists count.
    pub fn acls_count(&self) -> bool {
        self.ownership != Some(Ownership::BucketOwnerEnforced)
    }
    /// The switches, all off where never set.
    pub fn blocked(&self) -> PublicBlock {
        self.public_block.unwrap_or_default()
    }
}

/// A bucket's default encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketEncryption {
    /// New objects are marked as encrypted by the gateway (SSE-S3).
    Managed,
    /// New objects are under a named key besides (SSE-KMS).
    Kms {
        /// Its name; `None`: the gateway's own, `aws/s3`.
        key: Option<String>,
        /// Echoed.
        bucket_key: bool,
    },
}
